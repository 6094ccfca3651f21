"""The driver in the hands of a test: one event loop, a clock that stands still, ids that look random and are not.

Also the two translations between the driver and the model: inputs one way, answers the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, TypeVar, final
from uuid import UUID

from attrs import define, evolve, field

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.inputs import (
    ContinuationInput,
    ExternalEventInput,
    ExternalSource,
    FlowSource,
    FlowStepInput,
    Input,
    OperationInput,
    OperatorSource,
    PeerInput,
    PeerMessage,
    PeerRequest,
    PeerResponseProgress,
    PeerResponseTerminal,
    PeerSource,
    PromptInput,
    ResponsePhase,
    ResponseStatus,
    SystemSource,
    TurnMetadata,
)
from holdstate.runtime.outcomes import (
    Accepted,
    Cancelled,
    Deduplicated,
    DetachReport,
    Ended,
    EndReport,
    InFlight,
    RecoveryReport,
    Rejected,
    RetireReport,
    Run,
    Steers,
    Unknown,
)
from holdstate.runtime.records import InputRecord, RunBoundaryReceipt, TerminalOutcome
from holdstate.runtime.settings import Backoff, Limits, RetryPolicy
from holdstate.runtime.store import InputFilter, ResultRef, RuntimeStore
from holdstate.spec.policy import DEFAULT_POLICY, Policy
from holdstate.spec.views import Stored, View
from holdstate.spec.vocabulary import Durability, HandlingMode, InputKind, QueueMode

from .model import Given, Model, Receipt, Rules

T = TypeVar("T")

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


@final
@define
class Clock:
    """The time that a test sets, ids from a counter, and the one draw of chance."""

    seconds: float = 0.0
    drawn: int = 0
    jitter: float = 0.5

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def new_id(self) -> UUID:
        """Neither rising nor falling, so that nothing may lean on the order of ids (C13)."""
        self.drawn += 1
        return UUID(bytes=sha256(self.drawn.to_bytes(8, "big")).digest()[:16], version=4)

    def environment(self) -> Environment:
        return Environment(self.now, self.new_id, lambda: self.jitter)


@final
@define
class Loop:
    """One event loop for as long as a test lasts. What goes wrong in a callback of it is not lost."""

    runner: asyncio.Runner = field(factory=asyncio.Runner)
    troubles: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.runner.get_loop().set_exception_handler(lambda _, context: self.troubles.append(repr(context)))

    def run(self, *calls: Callable[[], Awaitable[Any]]) -> list[Any]:
        """What each of ``calls`` returned or raised. All of them are made in one turn of the loop, in order."""

        async def together() -> list[Any]:
            async with asyncio.timeout(60):
                return await asyncio.gather(*(call() for call in calls), return_exceptions=True)

        answers = self.runner.run(together())
        assert not self.troubles, self.troubles
        return answers

    def one(self, call: Callable[[], Awaitable[T]]) -> T:
        """What ``call`` returns; what it raises is raised."""
        (answer,) = self.run(call)
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]  # gather() returns what the call did

    def close(self) -> None:
        self.runner.close()


def policy_of(rules: Rules) -> Policy:
    """The default policy with the queue modes that the rules name."""
    by_kind = dict(DEFAULT_POLICY.by_kind)
    for kinds, mode in ((rules.superseding, QueueMode.SUPERSEDE), (rules.priority, QueueMode.PRIORITY)):
        for kind in kinds:
            by_kind[InputKind(kind)] = evolve(by_kind[InputKind(kind)], queue_mode=mode)
    return Policy("stateful", 2, DEFAULT_POLICY.by_handling_mode, by_kind, DEFAULT_POLICY.otherwise)


def settings_of(rules: Rules) -> RuntimeSettings:
    """The settings that the model's rules mean, in debug mode."""
    return RuntimeSettings(
        policy=policy_of(rules),
        retry=RetryPolicy(rules.max_attempts, Backoff(*rules.backoff)),
        limits=Limits(max_active_inputs=rules.max_active),
        max_batch=rules.max_batch,
        max_history=3,
        max_events=50,
        debug=True,
    )


# -- from the model ----------------------------------------------------------------------------------------------------

SOURCES: Final = {
    "operator": OperatorSource(),
    "peer": PeerSource("p"),
    "flow": FlowSource("f", 0),
    "system": SystemSource(),
    "external": ExternalSource("e"),
}


def real_input(given: Given) -> Input:
    """The input that the model was told of."""
    header: dict[str, Any] = {
        "source": SOURCES[given.source],
        "durability": Durability(given.durability),
        "idempotency_key": given.key,
        "supersession_key": given.scope,
        "id": given.id,
        "timestamp": START,
    }
    mode = None if given.mode is None else HandlingMode(given.mode)
    metadata = None if mode is None else TurnMetadata(handling_mode=mode)
    conventions: dict[str, Any] = {
        "peer_message": PeerMessage(),
        "peer_request": PeerRequest("q", given.intent or "ask"),
        "peer_response_progress": PeerResponseProgress("q", ResponsePhase.ACCEPTED),
        "peer_response_terminal": PeerResponseTerminal("q", ResponseStatus.COMPLETED),
    }
    text = given.content
    if given.kind in conventions:
        return PeerInput.new(text, convention=conventions[given.kind], **header)
    if given.kind == "prompt":
        return PromptInput.new(text, turn_metadata=metadata, **header)
    if given.kind == "flow_step":
        return FlowStepInput.new("s", text, turn_metadata=metadata, **header)
    if given.kind == "operation":
        return OperationInput.new("o", text, **header)
    assert mode is not None, "external events and continuations always state a handling mode"
    if given.kind == "external_event":
        return ExternalEventInput.new("t", {"text": text}, handling_mode=mode, **header)
    return ContinuationInput.new(text, mode, **header)


# -- to the model ------------------------------------------------------------------------------------------------------


def plain_outcome(outcome: TerminalOutcome | None) -> tuple[Any, ...] | None:
    """How an input ended, in the model's words."""
    if outcome is None:
        return None
    if outcome.kind.value == "abandoned":
        assert outcome.reason is not None
        return ("abandoned", outcome.reason.value, outcome.error)
    if outcome.successor_id is not None:
        return (outcome.kind.value, outcome.successor_id)
    return (outcome.kind.value,)


def plain_receipt(receipt: RunBoundaryReceipt) -> Receipt:
    """A receipt in the model's words."""
    return Receipt(
        receipt.run_id,
        receipt.sequence,
        receipt.contributing_input_ids,
        receipt.boundary.value,
        receipt.message_count,
        receipt.conversation_digest,
    )


def plain(answer: Any) -> tuple[Any, ...]:  # noqa: C901, PLR0911, PLR0912 - one line for each answer there is
    """What the driver answered, in the model's words."""
    match answer:
        case Accepted():
            return ("accepted", answer.input_id, answer.replaced)
        case Deduplicated():
            outcome = plain_outcome(answer.terminal_outcome)
            return ("deduplicated", answer.existing_id, answer.existing_state.value, outcome, answer.same_payload)
        case Rejected():
            return ("rejected", answer.code.value)
        case Cancelled():
            return ("cancelled",)
        case InFlight():
            return ("in_flight", answer.run_id)
        case Ended():
            return ("ended", plain_outcome(answer.outcome))
        case Unknown():
            return ("unknown",)
        case Run():
            return answer.input_ids
        case Steers():
            return tuple(record.input_id for record in answer.records)
        case RecoveryReport():
            return (answer.recovered, answer.requeued, answer.consumed, answer.abandoned)
        case EndReport():
            return (answer.inputs_abandoned, answer.inputs_consumed)
        case RetireReport():
            return (answer.inputs_abandoned, answer.inputs_pending_drain)
        case DetachReport():
            return (answer.was_attached,)
        case _:
            return ()


# -- looking -----------------------------------------------------------------------------------------------------------


def stored_view(store: RuntimeStore, runtime_id: str) -> View:
    """One runtime as the store at rest shows it, ended inputs included."""
    loaded = store.load_runtime(runtime_id)
    assert loaded is not None
    everything = store.list_inputs(InputFilter(runtime_id)).records
    ended = [record for record in everything if record.is_terminal]
    return View(loaded.record, loaded.inputs, _only_ended(ended))


def memory_view(driver: PersistentRuntimeDriver, store: RuntimeStore) -> View:
    """One runtime as its driver sees it, with the ended inputs that the store has."""
    image = driver._actor.image
    everything = store.list_inputs(InputFilter(driver.runtime_id)).records
    return View(image.runtime, image.active(), _only_ended([record for record in everything if record.is_terminal]))


@final
@define
class _NothingPruned:
    inputs: int = 0
    keys: int = 0
    receipts: int = 0
    results: int = 0
    events: int = 0


def _only_ended(ended: list[Any]) -> Stored:
    return Stored(ended, (), {}, 0, _NothingPruned())


def differences(model: Model, driver: PersistentRuntimeDriver, store: RuntimeStore) -> list[str]:
    """Where the driver and its store are not as the model says; an empty list when they agree."""
    return [
        f"{name}: driver {found!r}, model {wanted!r}"
        for name, found, wanted in (*_of_runtime(model, driver, store), *_of_inputs(model, driver, store))
        if found != wanted
    ]


def _of_runtime(model: Model, driver: PersistentRuntimeDriver, store: RuntimeStore) -> list[tuple[str, Any, Any]]:
    actor = driver._actor
    runtime, last = actor.image.runtime, actor.image.runtime.last_run
    runtime_id = driver.runtime_id
    found: list[tuple[str, Any, Any]] = [
        ("state", runtime.state.value, model.state),
        ("runtime_state", driver.runtime_state, runtime.state),
        ("current run", runtime.current_run_id, model.run),
        ("state before the run", runtime.pre_run_state and runtime.pre_run_state.value, model.back_to),
        ("contributors", list(runtime.contributors), model.contributors),
        ("boundaries", runtime.boundary_count, model.boundaries),
        ("shared", runtime.shared_run, model.shared),
        ("last run", last and (last.run_id, last.ending.value), model.last),
        ("handed out", actor.handed_out, model.held),
        ("opened", actor.opened_run, model.opened),
        ("wake", actor.wake, model.wake),
        ("process", actor.process, model.process),
        ("snapshot", store.load_session_snapshot(runtime_id), model.snapshot),
        ("receipts", runtime.counts.receipts, len(model.receipts)),
        ("queue", [record.input_id for record in actor.image.queued()], model.queue()),
        ("active", [record.input_id for record in actor.image.active()], [each.given.id for each in model.active()]),
    ]
    for (run_id, sequence), receipt in model.receipts.items():
        stored = store.load_receipt(runtime_id, run_id, sequence)
        found.append((f"receipt {sequence} of {run_id}", stored and plain_receipt(stored), receipt))
    return found


def _of_inputs(model: Model, driver: PersistentRuntimeDriver, store: RuntimeStore) -> list[tuple[str, Any, Any]]:
    stored = {record.input_id: record for record in store.list_inputs(InputFilter(driver.runtime_id)).records}
    durable = {input_id for input_id, item in model.items.items() if not item.ephemeral}
    found: list[tuple[str, Any, Any]] = [("stored inputs", set(stored), durable)]
    for input_id, item in model.items.items():
        record = driver._actor.image.inputs.get(input_id) or stored.get(input_id)
        if record is None:
            found.append((f"input {input_id}", None, item))
            continue
        due = None if item.due is None else START + timedelta(seconds=item.due)
        here = (record.last_run_id, record.last_boundary_sequence, record.attempt_count, record.failure_count)
        there = (item.run, item.sequence, item.attempts, item.failures)
        found += [
            (f"state of {input_id}", record.state.value, item.state),
            (f"counts of {input_id}", here, there),
            (f"outcome of {input_id}", plain_outcome(record.terminal_outcome), item.outcome),
            (f"due time of {input_id}", record.not_before, due),
            (f"wakes of {input_id}", record.admission.wakes, item.wakes),
        ]
        if item.state == "consumed" or item.result is not None:
            found.append((f"result of {input_id}", _result(driver.runtime_id, record, store), item.result))
    return found


def _result(runtime_id: str, record: InputRecord, store: RuntimeStore) -> bytes | None:
    ref = ResultRef.of(record)
    return None if ref is None else store.load_result(runtime_id, ref)
