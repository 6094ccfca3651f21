"""What has to be in the store when a scale run is over: every input of every runtime, consumed once and in order."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import final

from attrs import frozen

from ..runtime.records import RuntimeRecord
from ..runtime.store import InputFilter
from ..spec.vocabulary import InputState
from ..stores.lmdb_reader import LmdbReader
from ..stores.lmdb_store import LmdbStore
from .scale_plan import Plan, count_in, folded


@final
class Promise(StrEnum):
    """Which promise was broken."""

    LOST = "lost"
    TWICE = "consumed twice"
    ORDER = "out of order"
    SOUND = "unsound store"


@final
@frozen
class Broken:
    """One broken promise: of which runtime or row, and how."""

    promise: Promise
    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.where}: {self.problem}"


def broken_promises(store: LmdbStore, plan: Plan) -> Iterator[Broken]:
    """Everything that is not as ``plan`` wants it, runtime by runtime; then what the auditor finds."""
    with store.reading() as reader:
        for runtime in range(plan.runtimes):
            yield from _of_runtime(reader, plan, runtime)
    stored = store.stats().runtimes
    if stored > plan.runtimes:
        yield Broken(Promise.SOUND, "the store", f"{stored} runtimes are stored, {plan.runtimes} were used")
    for finding in store.verify():
        yield Broken(Promise.SOUND, finding.where, f"{finding.check}: {finding.problem}")


def _of_runtime(reader: LmdbReader, plan: Plan, runtime: int) -> Iterator[Broken]:
    name, wanted = plan.name(runtime), plan.inputs_of(runtime)
    record = reader.load_record(name)
    if record is None:
        if wanted:
            yield Broken(Promise.LOST, name, f"the runtime is not stored, nor any of its {wanted} inputs")
        return
    yield from _by_counts(record, wanted)
    snapshot = reader.load_session_snapshot(name)
    if snapshot is None:
        yield Broken(Promise.LOST, name, f"no run of its {wanted} inputs left a snapshot")
    else:
        yield from _by_snapshot(plan, runtime, snapshot)
    yield from _by_rows(reader, plan, runtime)


def _by_counts(record: RuntimeRecord, wanted: int) -> Iterator[Broken]:
    name, counts = record.runtime_id, record.counts
    if counts.active:
        yield Broken(Promise.LOST, name, f"{counts.active} of its inputs were not worked off")
    if counts.ended + counts.active < wanted:
        yield Broken(Promise.LOST, name, f"{counts.ended} of {wanted} inputs have ended")
    if counts.ended > wanted:
        yield Broken(Promise.TWICE, name, f"{counts.ended} inputs have ended, {wanted} were brought")
    if counts.receipts > wanted:
        yield Broken(Promise.TWICE, name, f"{counts.receipts} boundaries for {wanted} inputs of a run each")


def _by_snapshot(plan: Plan, runtime: int, snapshot: bytes) -> Iterator[Broken]:
    name, wanted, found = plan.name(runtime), plan.inputs_of(runtime), count_in(snapshot)
    if found != wanted:
        promise = Promise.LOST if found < wanted else Promise.TWICE
        yield Broken(promise, name, f"its runs saw {found} inputs, {wanted} were brought")
        return
    expected: bytes | None = None
    for number in range(wanted):
        expected = folded(expected, plan.key(runtime, number))
    if snapshot != expected:
        yield Broken(Promise.ORDER, name, f"its runs saw {found} inputs, but others or in another order")


def _by_rows(reader: LmdbReader, plan: Plan, runtime: int) -> Iterator[Broken]:
    """The rows that retention has left are the last ones, in order, and all of them say that they were consumed."""
    name, keys = plan.name(runtime), []
    after: int | None = None
    while True:
        page = reader.list_inputs(InputFilter(name), after, 1000)
        for record in page.records:
            keys.append(record.admission.idempotency_key)
            if record.state is not InputState.CONSUMED:
                yield Broken(Promise.LOST, name, f"input {keys[-1]!r} is {record.state}")
        after = page.next_after
        if after is None:
            break
    wanted = plan.inputs_of(runtime)
    if keys != [plan.key(runtime, number) for number in range(wanted - len(keys), wanted)]:
        yield Broken(Promise.ORDER, name, f"the {len(keys)} inputs that are stored are not the last of {wanted}")
