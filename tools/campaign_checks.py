"""What a fresh process looks for after a kill: the store holds a prefix of the calls, with every acknowledged one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, final
from uuid import UUID

import msgspec
from attrs import define

from ..runtime.ids import InputId, RunId
from ..runtime.records import InputRecord, RuntimeRecord
from ..runtime.store import InputFilter, Reader, ResultRef
from ..runtime.wire import decode_body, to_wire
from ..spec.vocabulary import InputState
from ..stores.lmdb_store import LmdbStore
from .campaign_model import REFUSED, Model, ModelRuntime, Operation

_PAGE: Final = 10_000
_SHOWN: Final = 3
_SEARCHED_BACK: Final = 500
"""How many acknowledged operations are taken back in search of the state that a bad store is in."""


@final
@define
class History:
    """All calls so far, in order, and the answers of those that were acknowledged, by number."""

    calls: list[Operation]
    answers: dict[int, object]
    seen: int = 0
    """So many calls were found in the store after an earlier kill."""

    @property
    def acknowledged(self) -> int:
        """The least number of calls that the store must hold: up to the last one that was acknowledged, or seen.

        A refusal is told at once, and so before the commit of the calls that came before it: it holds nothing.
        """
        done = (number for number, answer in self.answers.items() if answer != REFUSED)
        return max(self.seen, max(done, default=-1) + 1)


def read_ledger(path: Path) -> History:
    """The history in a ledger: what the parent read from its children, one JSON line each."""
    history = History([], {})
    for line in path.read_bytes().splitlines():
        entry = msgspec.json.decode(line)
        if "call" in entry:
            history.calls.append(entry["call"])
        elif "ack" in entry:
            history.answers[entry["ack"]] = entry["answer"]
        else:
            history.seen = entry["landed"]
            del history.calls[history.seen :]
            history.answers = {number: answer for number, answer in history.answers.items() if number < history.seen}
    return history


def check_store(store: LmdbStore, history: History) -> dict[str, Any]:
    """Findings and counts, as plain JSON. ``landed`` is how many of the calls the store holds."""
    findings = [f"verify: {each.check}: {each.where}: {each.problem}" for each in store.verify()]
    stored = _Stored(store)
    model, wrong = _replay(history, history.acknowledged)
    findings += wrong
    landed = history.acknowledged
    differing = stored.differing(model)
    while differing and landed < len(history.calls):
        model.touched.clear()
        model.apply(history.calls[landed])
        landed += 1
        differing = stored.differing(model, differing | model.touched)
    if differing:
        findings += _explain(stored, history, differing)
        landed = history.acknowledged
    findings += [f"consumed twice: {each}" for each in stored.consumed_twice(model)]
    return {
        "findings": findings,
        "landed": landed,
        "unacknowledged": landed - history.acknowledged,
        "pending": len(history.calls) - history.acknowledged,
        "inputs": sum(len(each.inputs) for each in model.runtimes.values()),
        "consumed": stored.consumed,
    }


def _replay(history: History, count: int) -> tuple[Model, list[str]]:
    model, wrong = Model(), []
    for number, call in enumerate(history.calls[:count]):
        expected = model.apply(call)
        answer = history.answers.get(number)
        if answer is not None and answer != expected:
            wrong.append(
                f"answer: call {number} ({call['op']} of {call['rt']}) said {answer}, the model says {expected}"
            )
    return model, wrong


def _explain(stored: _Stored, history: History, differing: set[str]) -> list[str]:
    """Lost operations where the store is at an earlier call; else a state that no prefix of the calls leads to."""
    acknowledged = history.acknowledged
    for count in range(acknowledged - 1, max(acknowledged - _SEARCHED_BACK, 0) - 1, -1):
        model, _ = _replay(history, count)
        if not stored.differing(model):
            lost = [f"{call['n']} {call['op']} of {call['rt']}" for call in history.calls[count:acknowledged]]
            return [f"lost: the store holds {count} of {acknowledged} acknowledged calls; lost are {', '.join(lost)}"]
    model, _ = _replay(history, acknowledged)
    details = [each for name in sorted(differing) for each in stored.differences(name, model.runtimes.get(name))]
    return [f"partial commit: {each}" for each in details[:_SHOWN]]


@final
class _Stored:
    """The whole content of a store, in the words of the model."""

    def __init__(self, store: LmdbStore) -> None:
        self.runtimes: dict[str, tuple[object, ...]] = {}
        self.inputs: dict[str, dict[str, tuple[object, ...]]] = {}
        self.consumed = 0
        self._store = store
        for record in store.list_runtimes():
            page = store.list_inputs(InputFilter(record.runtime_id), limit=_PAGE * _PAGE)
            self.inputs[record.runtime_id] = {str(each.input_id): _facts(each) for each in page.records}
            self.runtimes[record.runtime_id] = _runtime_facts(record, store.load_session_snapshot(record.runtime_id))
            self.consumed += sum(each.state is InputState.CONSUMED for each in page.records)

    def differing(self, model: Model, names: set[str] | None = None) -> set[str]:
        """The runtimes that are not as in ``model``; ``names`` are those to look at, None for all."""
        looked_at = set(self.runtimes) | set(model.runtimes) if names is None else names
        return {name for name in looked_at if any(self.differences(name, model.runtimes.get(name)))}

    def differences(self, name: str, wanted: ModelRuntime | None) -> Iterator[str]:
        """What is not as in the model, in words."""
        if wanted is None or name not in self.runtimes:
            if (wanted is None) != (name not in self.runtimes):
                yield f"runtime {name} is {'not expected' if wanted is None else 'missing'}"
            return
        if self.runtimes[name] != wanted.facts():
            yield f"runtime {name} is {self.runtimes[name]}, the model says {wanted.facts()}"
        stored = self.inputs[name]
        for input_id in stored.keys() | wanted.inputs.keys():
            each = wanted.inputs.get(input_id)
            facts = None if each is None else each.facts()
            if stored.get(input_id) != facts:
                yield f"input {input_id} of {name} is {stored.get(input_id)}, the model says {facts}"
        with self._store.reading() as reader:
            yield from _other_rows(reader, name, wanted)

    def consumed_twice(self, model: Model) -> Iterator[str]:
        """Inputs that more than one stored receipt lists."""
        for name, runtime in model.runtimes.items():
            listed: Counter[InputId] = Counter()
            for run_id in runtime.receipts:
                receipt = self._store.load_receipt(name, UUID(run_id), 0)
                listed.update(() if receipt is None else receipt.contributing_input_ids)
            yield from (
                f"input {input_id} of {name}, {times} receipts" for input_id, times in listed.items() if times > 1
            )


def _other_rows(reader: Reader, name: str, wanted: ModelRuntime) -> Iterator[str]:
    for run_id, input_ids in wanted.receipts.items():
        receipt = reader.load_receipt(name, UUID(run_id), 0)
        listed = None if receipt is None else [str(input_id) for input_id in receipt.contributing_input_ids]
        if listed != input_ids:
            yield f"the receipt of run {run_id} of {name} lists {listed}, the model says {input_ids}"
    for run_id, result in wanted.results.items():
        if reader.load_result(name, ResultRef(RunId(UUID(run_id)))) != result.encode():
            yield f"the result of run {run_id} of {name} is not {result!r}"
    for input_id in wanted.active:
        record = reader.load_input(name, UUID(input_id))
        body = None if record is None else reader.load_body(name, record)
        if body is None or input_id not in str(_without_header(body)):
            yield f"the payload of input {input_id} of {name} is missing or another's"


def _without_header(body: bytes) -> object:
    wire = to_wire(decode_body(body))
    return {key: value for key, value in wire.items() if key != "header"} if isinstance(wire, dict) else wire


def _facts(record: InputRecord) -> tuple[object, ...]:
    return (
        record.state,
        record.order,
        record.attempt_count,
        record.failure_count,
        None if record.last_run_id is None else str(record.last_run_id),
        record.last_boundary_sequence,
        record.outcome_kind,
        record.abandon_reason,
        None if record.successor_id is None else str(record.successor_id),
    )


def _runtime_facts(record: RuntimeRecord, snapshot: bytes | None) -> tuple[object, ...]:
    return (
        record.state,
        record.pre_run_state,
        None if record.current_run_id is None else str(record.current_run_id),
        tuple(str(input_id) for input_id in record.contributors),
        record.epoch,
        record.next_order,
        None if snapshot is None else snapshot.decode(),
        record.counts.active,
        record.counts.active + record.counts.ended,
        record.counts.receipts,
    )
