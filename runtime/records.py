"""What a runtime keeps: input records, the runtime record, boundary receipts.

An input record is split in two. The ``Admission`` is stamped once, when the input is admitted, and shared by all later
versions of the record; the rest is what machine 1 changes.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, final

from attrs import Factory, evolve, field, frozen

from ..spec.policy import PolicyDecision
from ..spec.vocabulary import (
    AbandonReason,
    Durability,
    InputEvent,
    InputKind,
    InputState,
    Lane,
    OutcomeKind,
    RunBoundary,
    RunEnding,
    RuntimeState,
)
from .building import builder
from .ids import InputId, RunId

TERMINAL_INPUT_STATES = frozenset(
    {InputState.CONSUMED, InputState.SUPERSEDED, InputState.COALESCED, InputState.ABANDONED}
)
TERMINAL_RUNTIME_STATES = frozenset({RuntimeState.STOPPED, RuntimeState.DESTROYED})
IN_FLIGHT_STATES = frozenset({InputState.STAGED, InputState.APPLIED, InputState.APPLIED_PENDING_CONSUMPTION})


@final
class HistoryEntry(NamedTuple):
    """One transition of an input: when, from, to, and the event that caused it."""

    at: datetime
    from_state: InputState
    to_state: InputState
    reason: InputEvent


@final
@frozen
class TerminalOutcome:
    """How an input ended. ``successor_id`` for superseded and coalesced, ``reason`` (and ``error``) for abandoned."""

    kind: OutcomeKind
    successor_id: InputId | None = None
    reason: AbandonReason | None = None
    error: str | None = None


@final
class ResultSource(StrEnum):
    """Which commit of the run gave the result that an input is answered with."""

    BOUNDARY = "boundary"
    COMPLETION = "completion"


@final
@frozen(weakref_slot=False)
class Admission:
    """What was decided about an input when it was admitted; never worked out again.

    ``order`` is its order key within the runtime, ``wakes`` whether it may wake an idle runtime, ``fingerprint`` 32
    bytes over its payload, ``blobs`` the digests that its body refers to.
    """

    input_id: InputId
    order: int
    kind: InputKind
    durability: Durability
    lane: Lane
    boundary: RunBoundary
    is_prompt: bool
    wakes: bool
    idempotency_key: str | None
    supersession_key: str | None
    fingerprint: bytes
    decision: PolicyDecision
    admitted_at: datetime
    blobs: tuple[str, ...] = ()

    @property
    def is_ephemeral(self) -> bool:
        """Whether it lives in memory alone."""
        return self.durability is Durability.EPHEMERAL


@final
@frozen(weakref_slot=False)
class InputRecord:
    """One input as machine 1 sees it. ``failure_cap`` is the cap in force at its last failure; ``not_before`` holds it
    back.
    """

    admission: Admission
    state: InputState = InputState.ACCEPTED
    last_run_id: RunId | None = None
    last_boundary_sequence: int | None = None
    attempt_count: int = 0
    failure_count: int = 0
    failure_cap: int | None = None
    recovery_count: int = 0
    outcome_kind: OutcomeKind | None = None
    successor_id: InputId | None = None
    abandon_reason: AbandonReason | None = None
    error: str | None = None
    not_before: datetime | None = None
    result_source: ResultSource | None = None
    history: tuple[HistoryEntry, ...] = ()
    history_dropped: int = 0

    @property
    def input_id(self) -> InputId:
        return self.admission.input_id

    @property
    def order(self) -> int:
        """The order key, given once at admission."""
        return self.admission.order

    @property
    def is_terminal(self) -> bool:
        """Whether the input has ended."""
        return self.state in TERMINAL_INPUT_STATES

    @property
    def terminal_outcome(self) -> TerminalOutcome | None:
        """How it ended; None while it has not."""
        if self.outcome_kind is None:
            return None
        return TerminalOutcome(
            self.outcome_kind,
            self.successor_id,
            self.abandon_reason,
            self.error if self.outcome_kind is OutcomeKind.ABANDONED else None,
        )


@final
@frozen
class RunBoundaryReceipt:
    """Proof that a boundary was committed: which inputs it lists, in staging order.

    ``sequence`` counts the receipts of the run from 0; ``conversation_digest`` is the SHA-256 (hex) of the session
    snapshot that was committed with it, if there was one.
    """

    run_id: RunId
    boundary: RunBoundary
    contributing_input_ids: tuple[InputId, ...]
    sequence: int = 0
    message_count: int = 0
    conversation_digest: str | None = None
    ephemeral_input_ids: tuple[InputId, ...] = field(default=(), eq=False)
    """Those of its inputs that no store has, stamped at the commit: their ids say nothing of stored inputs."""

    @property
    def stored_input_ids(self) -> tuple[InputId, ...]:
        """The durable and derived inputs that it lists, in staging order."""
        if not self.ephemeral_input_ids:
            return self.contributing_input_ids
        return tuple(each for each in self.contributing_input_ids if each not in self.ephemeral_input_ids)


@final
@frozen(weakref_slot=False)
class Counts:
    """How many rows a runtime has. All but active count what there ever was; retention keeps its own count. So
    ``events`` is the offset that the next event of the log gets.
    """

    active: int = 0
    ended: int = 0
    keys: int = 0
    receipts: int = 0
    results: int = 0
    events: int = 0


@final
@frozen
class LastRun:
    """The last run of a runtime that ended, and how: the same ending again is answered as done."""

    run_id: RunId
    ending: RunEnding


build_admission = builder(Admission)
build_input_record = builder(InputRecord)
build_counts = builder(Counts)
"""The constructors of the records that every command makes anew, several times faster."""

FIRST_ORDER = 1
PRIORITY_BIAS = -(2**62)
"""Order keys of the priority class lie this far below the others; within each class the counter decides."""


@final
@frozen(weakref_slot=False)
class RuntimeRecord:
    """One runtime. ``revision`` rises by one with every command that is committed, ``epoch`` with every open.

    ``contributors`` are the inputs of the current run in staging order, ``boundary_count`` its receipts so far, and
    ``shared_run`` whether it ever had more than one contributor (no failure of such a run ends an input for good, C15).
    """

    runtime_id: str
    state: RuntimeState = RuntimeState.INITIALIZING
    current_run_id: RunId | None = None
    pre_run_state: RuntimeState | None = None
    contributors: tuple[InputId, ...] = ()
    boundary_count: int = 0
    shared_run: bool = False
    last_run: LastRun | None = None
    epoch: int = 0
    revision: int = 0
    next_order: int = FIRST_ORDER
    counts: Counts = Factory(Counts)
    has_snapshot: bool = False
    created_at: datetime | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the runtime is stopped or destroyed."""
        return self.state in TERMINAL_RUNTIME_STATES


build_runtime_record = builder(RuntimeRecord)


def stored_form(record: RuntimeRecord) -> RuntimeRecord:
    """``record`` as it is stored: an attached runtime is stored as idle, since being attached is volatile."""
    state = RuntimeState.IDLE if record.state is RuntimeState.ATTACHED else record.state
    pre = RuntimeState.IDLE if record.pre_run_state is RuntimeState.ATTACHED else record.pre_run_state
    if state is record.state and pre is record.pre_run_state:
        return record
    return build_runtime_record(
        record.runtime_id,
        state,
        record.current_run_id,
        pre,
        record.contributors,
        record.boundary_count,
        record.shared_run,
        record.last_run,
        record.epoch,
        record.revision,
        record.next_order,
        record.counts,
        record.has_snapshot,
        record.created_at,
    )


def attached_as(memory: RuntimeRecord, stored: RuntimeRecord) -> RuntimeRecord:
    """``stored`` with the volatile part of ``memory``: attached, and the order keys that ephemeral inputs took."""
    attached = RuntimeState.ATTACHED
    return evolve(
        stored,
        state=attached if memory.state is attached and stored.state is RuntimeState.IDLE else stored.state,
        pre_run_state=attached
        if memory.pre_run_state is attached and stored.pre_run_state is RuntimeState.IDLE
        else stored.pre_run_state,
        next_order=max(memory.next_order, stored.next_order),
    )
