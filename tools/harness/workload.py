"""What the conformance suite does with a store: inputs, a clock, ids and an executor that are the same every time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, Final, TypeVar, final
from uuid import UUID

from attrs import evolve, field, frozen

from ...runtime.blocks import ImageBlock
from ...runtime.driver import PersistentRuntimeDriver
from ...runtime.environment import Environment, RuntimeSettings
from ...runtime.errors import EventsPruned
from ...runtime.events import EventEnvelope
from ...runtime.ids import InputId
from ...runtime.inputs import (
    ExternalEventInput,
    Input,
    OperationInput,
    PeerInput,
    PeerResponseProgress,
    PromptInput,
    ResponsePhase,
    TurnMetadata,
)
from ...runtime.outcomes import Accepted, Deduplicated, Run, RunOutput
from ...runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from ...runtime.settings import Backoff, RetryPolicy
from ...runtime.store import InputFilter, ResultRef, RuntimeStore
from ...spec.errors import HoldstateError
from ...spec.vocabulary import HandlingMode

T = TypeVar("T")

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
RUNTIME: Final = "runtime"
MAX_ATTEMPTS: Final = 3
SETTINGS: Final = RuntimeSettings(
    retry=RetryPolicy(max_attempts=MAX_ATTEMPTS, backoff=Backoff(initial_seconds=0.0)), max_batch=2, event_log=True
)
PAGE: Final = 1000
PIXELS: Final = ImageBlock("image/png", data=b"pixels")
PIXELS_ID: Final = f"sha256:{sha256(b'pixels').hexdigest()}"


def world(seed: object = 0) -> Environment:
    """A clock that counts milliseconds, and ids and chance from a seed."""
    ticks = iter(range(1, 10**9))
    random = Random(f"world {seed}")
    return Environment(
        now=lambda: START + timedelta(milliseconds=next(ticks)),
        new_id=lambda: UUID(int=random.getrandbits(128), version=4),
        chance=random.random,
    )


def input_id(number: int) -> InputId:
    """The id of the ``number``-th input; ids come in no order."""
    return InputId(UUID(int=Random(f"input {number}").getrandbits(128), version=4))


# -- inputs ------------------------------------------------------------------------------------------------------------


def prompt(number: int, text: str = "", **header: Any) -> PromptInput:
    """A prompt; it is always alone in its batch."""
    return PromptInput.new(text or f"prompt {number}", id=input_id(number), timestamp=START, **header)


def steer(number: int, **header: Any) -> PromptInput:
    """A prompt for the steer lane."""
    metadata = TurnMetadata(handling_mode=HandlingMode.STEER)
    return PromptInput.new(f"steer {number}", (), metadata, id=input_id(number), timestamp=START, **header)


def event(number: int, payload: Any = None, **header: Any) -> ExternalEventInput:
    """An external event; several of them share a batch."""
    content = {"n": number} if payload is None else payload
    return ExternalEventInput.new("happened", content, id=input_id(number), timestamp=START, **header)


def progress(number: int, **header: Any) -> PeerInput:
    """News of a request; with a supersession key it replaces earlier news."""
    convention = PeerResponseProgress("request", ResponsePhase.IN_PROGRESS)
    return PeerInput.new(f"progress {number}", (), convention, id=input_id(number), timestamp=START, **header)


def message(number: int, **header: Any) -> PeerInput:
    """A message of a peer."""
    return PeerInput.new(f"message {number}", id=input_id(number), timestamp=START, **header)


def pictured(number: int) -> PromptInput:
    """A prompt with an image, which is kept as a blob."""
    return evolve(prompt(number), blocks=(PIXELS,))


def operation(number: int, **header: Any) -> OperationInput:
    """Consumed when it is accepted."""
    return OperationInput.new("operation", {"n": number}, id=input_id(number), timestamp=START, **header)


# -- working off -------------------------------------------------------------------------------------------------------


async def opened(
    store: RuntimeStore, runtime_id: str = RUNTIME, *, seed: object = 0, settings: RuntimeSettings = SETTINGS
) -> PersistentRuntimeDriver:
    """A driver of that runtime."""
    return await PersistentRuntimeDriver.open(runtime_id, store, settings=settings, environment=world(seed))


async def taken(driver: PersistentRuntimeDriver, *given: Input) -> None:
    """Send each input; it is accepted, or was before."""
    for each in given:
        outcome = await driver.accept_input(each)
        assert isinstance(outcome, Accepted | Deduplicated), outcome


async def outcome_of(call: Awaitable[T]) -> T | HoldstateError:
    """What the call answers, or the error of holdstate's that it raises."""
    try:
        return await call
    except HoldstateError as error:
        return error


@final
@frozen
class Scribe:
    """An executor whose session is the list of all inputs that it worked off, and whose result is that of one run.

    ``entered`` counts how often it was given each input, committed or not.
    """

    entered: dict[InputId, int] = field(factory=dict)

    async def output(self, driver: PersistentRuntimeDriver, run: Run) -> RunOutput:
        """What this run adds to the session that the store holds."""
        for each in run.input_ids:
            self.entered[each] = self.entered.get(each, 0) + 1
        session = session_of(await driver.session_snapshot())
        named = [str(each) for each in run.input_ids]
        return RunOutput(json.dumps([*session, *named]).encode(), json.dumps(named).encode(), len(session) + len(named))

    async def work_off(self, driver: PersistentRuntimeDriver, limit: int = PAGE) -> int:
        """Complete runs until there is nothing left to do; returns how many."""
        for count in range(limit):
            run = await driver.begin_run()
            if run is None:
                return count
            await driver.complete_run(run, await self.output(driver, run))
        raise AssertionError(f"work is not done after {limit} runs")


def session_of(snapshot: bytes | None) -> list[str]:
    """The inputs that a session snapshot of ``Scribe`` lists, in order."""
    return [] if snapshot is None else list(json.loads(snapshot))


# -- looking -----------------------------------------------------------------------------------------------------------


@final
@frozen
class Content:
    """Everything that a store tells of one runtime."""

    record: RuntimeRecord
    inputs: tuple[InputRecord, ...]
    keys: tuple[tuple[str, InputId], ...]
    receipts: tuple[RunBoundaryReceipt, ...]
    results: tuple[tuple[ResultRef, bytes | None], ...]
    snapshot: bytes | None
    events: tuple[EventEnvelope, ...]

    def consumed_by(self) -> dict[InputId, list[RunBoundaryReceipt]]:
        """The receipts that list each input."""
        found: dict[InputId, list[RunBoundaryReceipt]] = {}
        for receipt in self.receipts:
            for each in receipt.contributing_input_ids:
                found.setdefault(each, []).append(receipt)
        return found


def runtimes_of(store: RuntimeStore) -> tuple[RuntimeRecord, ...]:
    """All runtimes, page by page."""
    found: list[RuntimeRecord] = []
    last: str | None = None
    while page := store.list_runtimes(after=last, limit=3):
        found += page
        after, last = last, page[-1].runtime_id
        assert after is None or after.encode() < page[0].runtime_id.encode(), f"a page after {after!r} does not go on"
    return tuple(found)


def inputs_of(store: RuntimeStore, runtime_id: str = RUNTIME, *, limit: int = PAGE) -> tuple[InputRecord, ...]:
    """All inputs of a runtime, page by page."""
    found: list[InputRecord] = []
    after: int | None = None
    while True:
        page = store.list_inputs(InputFilter(runtime_id), after=after, limit=limit)
        assert len(page.records) <= limit, f"{len(page.records)} inputs on a page of {limit}"
        assert after is None or page.next_after is None or page.next_after > after, (
            f"a page after {after} does not go on"
        )
        found += page.records
        after = page.next_after
        if after is None:
            return tuple(found)


def content_of(store: RuntimeStore, runtime_id: str = RUNTIME) -> Content | None:
    """What the store tells of a runtime; None where it has none of that id."""
    loaded = store.load_runtime(runtime_id)
    if loaded is None:
        return None
    inputs = inputs_of(store, runtime_id)
    keys = tuple(_keys(store, runtime_id, inputs))
    runs = dict.fromkeys(each.last_run_id for each in inputs if each.last_run_id is not None)
    receipts = tuple(receipt for run_id in runs for receipt in _receipts(store, runtime_id, run_id))
    refs = dict.fromkeys(ref for ref in map(ResultRef.of, inputs) if ref is not None)
    return Content(
        loaded.record,
        inputs,
        keys,
        receipts,
        tuple((ref, store.load_result(runtime_id, ref)) for ref in refs),
        store.load_session_snapshot(runtime_id),
        _events(store, runtime_id),
    )


def _events(store: RuntimeStore, runtime_id: str) -> tuple[EventEnvelope, ...]:
    """What is left of the log."""
    try:
        return store.load_events(runtime_id, None, 10 * PAGE)
    except EventsPruned as pruned:
        return store.load_events(runtime_id, pruned.first_available - 1, 10 * PAGE)


def _keys(store: RuntimeStore, runtime_id: str, inputs: tuple[InputRecord, ...]) -> Iterator[tuple[str, InputId]]:
    for record in inputs:
        key = record.admission.idempotency_key
        found = None if key is None else store.find_by_key(runtime_id, key)
        if key is not None and found is not None:
            yield key, found.input_id


def _receipts(store: RuntimeStore, runtime_id: str, run_id: UUID) -> Iterator[RunBoundaryReceipt]:
    sequence = 0
    while (receipt := store.load_receipt(runtime_id, run_id, sequence)) is not None:
        assert receipt.sequence == sequence, f"asked for receipt {sequence} of run {run_id}, got {receipt.sequence}"
        yield receipt
        sequence += 1


def whole(store: RuntimeStore) -> dict[str, Content | None]:
    """What the store tells of all its runtimes."""
    return {record.runtime_id: content_of(store, record.runtime_id) for record in runtimes_of(store)}


def essence(content: Content | None) -> object:
    """``content`` without epoch, revision, times and what else differs between two ways to the same end: state, inputs
    with their outcomes, boundaries in order, results, session.
    """
    if content is None:
        return None
    return (
        content.record.state,
        [
            (each.input_id, each.state, each.outcome_kind, each.attempt_count, each.failure_count)
            for each in content.inputs
        ],
        [(each.contributing_input_ids, each.sequence) for each in content.receipts],
        [result for _ref, result in content.results],
        session_of(content.snapshot),
    )
