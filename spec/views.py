"""What the invariants look at: one runtime, its active inputs and, on a store at rest, all its other rows.

These are shapes, not classes: records, test doubles and rows that an auditor read all fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, final
from uuid import UUID

from attrs import frozen

from .vocabulary import (
    AbandonReason,
    Durability,
    InputKind,
    InputState,
    Lane,
    OutcomeKind,
    QueueMode,
    RunBoundary,
    RuntimeState,
)

IN_FLIGHT = frozenset({InputState.STAGED, InputState.APPLIED, InputState.APPLIED_PENDING_CONSUMPTION})
LANES = tuple(Lane)
ENDED = frozenset({InputState.CONSUMED, InputState.SUPERSEDED, InputState.COALESCED, InputState.ABANDONED})


class DecisionView(Protocol):
    """The part of a policy decision that the invariants speak of."""

    @property
    def queue_mode(self) -> QueueMode: ...
    @property
    def consumes_on_accept(self) -> bool: ...


class AdmissionView(Protocol):
    """What was stamped when an input was admitted."""

    @property
    def kind(self) -> InputKind: ...
    @property
    def durability(self) -> Durability: ...
    @property
    def lane(self) -> Lane: ...
    @property
    def boundary(self) -> RunBoundary: ...
    @property
    def is_prompt(self) -> bool: ...
    @property
    def idempotency_key(self) -> str | None: ...
    @property
    def supersession_key(self) -> str | None: ...
    @property
    def decision(self) -> DecisionView: ...


class InputView(Protocol):
    """One input, active or ended. Two versions of it are equal only if nothing changed between them."""

    @property
    def input_id(self) -> UUID: ...
    @property
    def order(self) -> int: ...
    @property
    def admission(self) -> AdmissionView: ...
    @property
    def state(self) -> InputState: ...
    @property
    def last_run_id(self) -> UUID | None: ...
    @property
    def last_boundary_sequence(self) -> int | None: ...
    @property
    def attempt_count(self) -> int: ...
    @property
    def failure_count(self) -> int: ...
    @property
    def failure_cap(self) -> int | None: ...
    @property
    def recovery_count(self) -> int: ...
    @property
    def outcome_kind(self) -> OutcomeKind | None: ...
    @property
    def successor_id(self) -> UUID | None: ...
    @property
    def abandon_reason(self) -> AbandonReason | None: ...
    @property
    def not_before(self) -> datetime | None: ...


class ReceiptView(Protocol):
    """A committed boundary."""

    @property
    def run_id(self) -> UUID: ...
    @property
    def sequence(self) -> int: ...
    @property
    def stored_input_ids(self) -> Sequence[UUID]: ...


class CountsView(Protocol):
    """How many rows the runtime record says there are or, but for the active ones, ever were."""

    @property
    def active(self) -> int: ...
    @property
    def ended(self) -> int: ...
    @property
    def keys(self) -> int: ...
    @property
    def receipts(self) -> int: ...
    @property
    def results(self) -> int: ...
    @property
    def events(self) -> int: ...


class PrunedView(Protocol):
    """How many rows retention removed."""

    @property
    def inputs(self) -> int: ...
    @property
    def keys(self) -> int: ...
    @property
    def receipts(self) -> int: ...
    @property
    def results(self) -> int: ...
    @property
    def events(self) -> int: ...


class RuntimeView(Protocol):
    """The runtime record."""

    @property
    def state(self) -> RuntimeState: ...
    @property
    def current_run_id(self) -> UUID | None: ...
    @property
    def pre_run_state(self) -> RuntimeState | None: ...
    @property
    def contributors(self) -> Sequence[UUID]: ...
    @property
    def boundary_count(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def next_order(self) -> int: ...
    @property
    def counts(self) -> CountsView: ...


@final
@frozen
class Stored:
    """What only a store at rest can show of a runtime. ``results`` is how many it holds, ``events`` are the offsets of
    its log.
    """

    ended: Sequence[InputView]
    receipts: Sequence[ReceiptView]
    keys: Mapping[str, UUID]
    results: int
    pruned: PrunedView
    events: Sequence[int] = ()


class Image(Protocol):
    """One runtime as the invariants see it. ``stored`` is None for one in memory, where ended inputs are forgotten."""

    @property
    def runtime(self) -> RuntimeView: ...
    @property
    def active(self) -> Sequence[InputView]: ...
    @property
    def stored(self) -> Stored | None: ...
    @property
    def set_aside(self) -> int:
        """Active inputs that are counted and cannot be read."""
        ...


@final
@frozen
class View:
    """An ``Image`` made of its parts."""

    runtime: RuntimeView
    active: Sequence[InputView]
    stored: Stored | None = None
    set_aside: int = 0


def ended_inputs(image: Image) -> Sequence[InputView]:
    """The ended inputs, as far as they are visible."""
    return () if image.stored is None else image.stored.ended


def all_inputs(image: Image) -> Iterable[InputView]:
    """Every visible input: the active ones, then the ended ones."""
    yield from image.active
    yield from ended_inputs(image)


def queued_in(image: Image, lane: Lane) -> list[InputView]:
    """The queued inputs of a lane by order key."""
    queued = [each for each in image.active if each.state is InputState.QUEUED and each.admission.lane is lane]
    return sorted(queued, key=lambda each: each.order)
