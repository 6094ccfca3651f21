"""The core under test: one image, stepped command by command; what always holds is checked at each step."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import pytest
from attrs import evolve

from holdstate.runtime import commands as c
from holdstate.runtime import core
from holdstate.runtime.actor import Actor
from holdstate.runtime.admitting import Prepared, prepare_input
from holdstate.runtime.delta import Delta
from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.ids import InputId, RunId
from holdstate.runtime.image import RuntimeImage
from holdstate.runtime.inputs import (
    ContinuationInput,
    ExternalEventInput,
    Input,
    OperationInput,
    PeerInput,
    PeerRequest,
    PeerResponseProgress,
    PromptInput,
    ResponsePhase,
)
from holdstate.runtime.outcomes import Accepted
from holdstate.runtime.records import Admission, InputRecord, RunBoundaryReceipt, RuntimeRecord
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.runtime.store import Commit
from holdstate.runtime.turn import Member
from holdstate.spec.commands import COMMANDS, Part
from holdstate.spec.errors import HoldstateError
from holdstate.spec.invariants import check_image
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.views import View
from holdstate.spec.vocabulary import (
    Durability,
    HandlingMode,
    InputKind,
    InputState,
    Lane,
    RunBoundary,
    RuntimeState,
)

E = TypeVar("E", bound=HoldstateError)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_BACKOFF = RuntimeSettings(retry=RetryPolicy(backoff=Backoff(initial_seconds=0.0)))
EPHEMERAL = Durability.EPHEMERAL
_ids = count(1)


def new_id() -> InputId:
    return InputId(UUID(int=next(_ids)))


def run_id(number: int) -> RunId:
    return RunId(UUID(int=1 << 64 | number))


# -- inputs of each sort -------------------------------------------------------------------------------------------


def prompt(**header: Any) -> PromptInput:
    return PromptInput.new("text", id=new_id(), timestamp=NOON, **header)


def event(mode: HandlingMode = HandlingMode.QUEUE, **header: Any) -> ExternalEventInput:
    return ExternalEventInput.new("event", None, (), mode, id=new_id(), timestamp=NOON, **header)


def steering(**header: Any) -> ContinuationInput:
    return ContinuationInput.new("go on", HandlingMode.STEER, id=new_id(), timestamp=NOON, **header)


def progress(**header: Any) -> PeerInput:
    convention = PeerResponseProgress("request", ResponsePhase.IN_PROGRESS)
    return PeerInput.new("body", (), convention, id=new_id(), timestamp=NOON, **header)


def request(intent: str = "intent", **header: Any) -> PeerInput:
    return PeerInput.new("body", (), PeerRequest("request", intent), id=new_id(), timestamp=NOON, **header)


def operation(**header: Any) -> OperationInput:
    return OperationInput.new("operation", None, id=new_id(), timestamp=NOON, **header)


def prepared(given: Input) -> Prepared:
    ready = prepare_input(given, RuntimeSettings().limits)
    assert isinstance(ready, Prepared)
    return ready


# -- what an image is ----------------------------------------------------------------------------------------------


def snapshot(image: RuntimeImage) -> object:
    """Everything that an image holds, deeply. Its records are frozen, so that holding them is copying them."""
    return (
        image.runtime,
        dict(image.inputs),
        {lane: list(image.lanes[lane].items()) for lane in Lane},
        {scope: frozenset(ids) for scope, ids in image.scopes.items()},
        dict(image.bodies),
    )


def a_record(state: InputState, order: int, **fields: Any) -> InputRecord:
    """A record that no command made: an event in the queue lane; ``stamp`` holds what else its admission says."""
    stamp: dict[str, Any] = {
        "input_id": InputId(UUID(int=1 << 96 | order % 2**64)),
        "order": order,
        "kind": InputKind.EXTERNAL_EVENT,
        "durability": Durability.DURABLE,
        "lane": Lane.QUEUE,
        "boundary": RunBoundary.RUN_START,
        "is_prompt": False,
        "wakes": True,
        "idempotency_key": None,
        "supersession_key": None,
        "fingerprint": bytes(32),
        "decision": DEFAULT_POLICY.resolve(InputKind.EXTERNAL_EVENT, HandlingMode.QUEUE, idle=True),
        "admitted_at": NOON,
        **fields.pop("stamp", {}),
    }
    return InputRecord(Admission(**stamp), state, **fields)


def parts_of(commit: Commit) -> set[Part]:
    """What a commit that is written holds."""
    present = {
        Part.RECORDS: commit.inputs,
        Part.BODIES: [write for write in commit.inputs if write.body is not None],
        Part.KEY: [write for write in commit.inputs if write.is_new and write.record.admission.idempotency_key],
        Part.BLOBS: commit.blobs,
        Part.RECEIPT: commit.receipts,
        Part.SNAPSHOT: commit.snapshot is not None,
        Part.RESULT: commit.results,
    }
    return {Part.RUNTIME, *(part for part, value in present.items() if value)}


# -- the core ------------------------------------------------------------------------------------------------------


class Core:
    """One runtime in memory. ``ended`` are the inputs that left it, ``receipts`` the boundaries, ``at`` the time."""

    def __init__(
        self,
        settings: RuntimeSettings = NO_BACKOFF,
        *,
        runtime: RuntimeRecord | None = None,
        inputs: Iterable[InputRecord] = (),
        sound: bool = True,
    ) -> None:
        self.settings = settings
        self.image = RuntimeImage(runtime or RuntimeRecord("r", created_at=NOON), inputs)
        self.ended: dict[InputId, InputRecord] = {}
        self.receipts: dict[tuple[RunId, int], RunBoundaryReceipt] = {}
        self.at = NOON
        self.sound = sound
        self.runs = 0
        self.last: Delta
        self.inverse: Delta
        if runtime is None:
            self.do(c.Open(self.at))

    def pass_time(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    @property
    def state(self) -> RuntimeState:
        return self.image.runtime.state

    @property
    def returns_to(self) -> RuntimeState | None:
        """Where the current run returns to."""
        return self.image.runtime.pre_run_state

    def do(self, command: c.Command) -> Any:
        """Steps and applies one command; returns its outcome."""
        before = snapshot(self.image)
        actor = Actor("r", self.image, self.settings, Environment(), 0)
        member = Member(actor)
        delta = core.step(self.image, command, self.settings)
        assert snapshot(self.image) == before, "a step changes nothing"
        inverse = self.image.apply(delta)
        after = snapshot(self.image)
        again = self.image.apply(inverse)
        assert snapshot(self.image) == before, "the inverse restores the image"
        assert again.runtime == delta.runtime
        self.inverse = self.image.apply(delta)
        assert snapshot(self.image) == after
        member.add([(delta, inverse)])
        self._check_commit(command, delta, member)
        if self.sound:
            assert check_image(View(self.image.runtime, self.image.active()), at_rest=False) == ()
        self.ended.update((new.input_id, new) for _, new in delta.changes if new is not None and new.is_terminal)
        self.receipts.update(((receipt.run_id, receipt.sequence), receipt) for receipt in delta.receipts)
        self.last = delta
        return delta.outcome

    def _check_commit(self, command: c.Command, delta: Delta, member: Member) -> None:
        assert member.is_stored is delta.stored
        assert not delta.stored or parts_of(member.commit()) <= COMMANDS[command.name].commits
        assert self.image.runtime.revision == member.base_revision + (1 if delta.stored else 0)

    def refuse(self, error: type[E], command: c.Command) -> E:
        """``command`` is refused with ``error``, and nothing is changed (C4, C20)."""
        before = snapshot(self.image)
        with pytest.raises(error) as caught:
            core.step(self.image, command, self.settings)
        assert snapshot(self.image) == before
        return caught.value

    # -- short forms -----------------------------------------------------------------------------------------------

    def accept_command(self, given: Input, **fields: Any) -> c.Accept:
        ready = prepared(given)
        return c.Accept(self.at, ready.input, ready.body, ready.fingerprint, ready.blobs, ready.blob_ids, **fields)

    def accept(self, given: Input, **fields: Any) -> InputId:
        """Admits ``given``, which must succeed."""
        outcome = self.do(self.accept_command(given, **fields))
        assert isinstance(outcome, Accepted)
        return outcome.input_id

    def begin(self) -> tuple[InputId, ...]:
        """Begins a run with the whole next batch."""
        self.runs += 1
        records = self.do(c.BeginRun(self.at, run_id(self.runs)))
        return () if records is None else tuple(record.input_id for record in records)

    @property
    def run(self) -> RunId:
        """The current run."""
        assert self.image.runtime.current_run_id is not None
        return self.image.runtime.current_run_id

    def receipt(self, snapshot: bytes | None = None, /, **fields: Any) -> RunBoundaryReceipt:
        """The receipt that the next boundary must have, or one that differs in ``fields``."""
        staged = self.image.staged()
        right = RunBoundaryReceipt(
            self.run,
            staged[0].admission.boundary if staged else RunBoundary.RUN_START,
            tuple(record.input_id for record in staged),
            self.image.runtime.boundary_count,
            conversation_digest=None if snapshot is None else sha256(snapshot).hexdigest(),
        )
        return evolve(right, **fields)

    def boundary(self, snapshot: bytes | None = None, result: bytes | None = None) -> RunBoundaryReceipt:
        receipt = self.receipt(snapshot)
        assert self.do(c.ApplyBoundary(self.at, receipt, snapshot, result)) == receipt
        return receipt

    def fail(self, *, recoverable: bool = True, jitter: float = 0.5) -> None:
        self.do(c.FailRun(self.at, self.run, "boom", recoverable, jitter))

    def complete(self) -> None:
        """A boundary, then the completion."""
        self.boundary()
        self.do(c.CompleteRun(self.at, self.run))

    def record(self, input_id: InputId) -> InputRecord:
        """The record of an input, active or ended."""
        return self.image.inputs.get(input_id) or self.ended[input_id]

    def state_of(self, input_id: InputId) -> InputState:
        return self.record(input_id).state

    def lane(self, lane: Lane) -> list[InputId]:
        return [record.input_id for record in self.image.lane(lane)]

    def stored_receipts(self) -> tuple[RunBoundaryReceipt, ...]:
        return tuple(self.receipts.values())


def running(count: int = 1, settings: RuntimeSettings | None = None) -> Core:
    """A run of ``count`` events."""
    core = Core() if settings is None else Core(settings)
    for _ in range(count):
        core.accept(event())
    core.begin()
    return core
