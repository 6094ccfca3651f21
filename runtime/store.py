"""The seam between the driver and a store: what is written, how it is read, and what every store promises.

A store keeps many runtimes. One verb writes: ``commit`` takes a group of commits and claims and makes all of them
visible at once or none, except that a member that is fenced, or whose claim cannot be settled, fails alone. Everything
else reads. ``docs/stores.md`` says what each call promises, for who writes a store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, final
from uuid import UUID

from attrs import define, field, frozen

from ..spec.errors import HoldstateError
from ..spec.vocabulary import InputKind, InputState
from .events import EventEnvelope
from .ids import RunId
from .records import InputRecord, ResultSource, RunBoundaryReceipt, RuntimeRecord
from .settings import Retention


@final
@frozen
class ResultRef:
    """Where a result is kept: with a boundary of a run (``sequence``) or with its completion (None)."""

    run_id: RunId
    sequence: int | None = None

    @staticmethod
    def of(record: InputRecord) -> ResultRef | None:
        """The result that ``record`` is answered with, if its run gave one."""
        if record.result_source is None or record.last_run_id is None:
            return None
        boundary = record.result_source is ResultSource.BOUNDARY
        return ResultRef(record.last_run_id, record.last_boundary_sequence if boundary else None)


@final
@define
class InputWrite:
    """One input row to write. ``body`` is given when the input is admitted; an input that is terminal moves to the
    ended ones.
    """

    record: InputRecord
    is_new: bool
    body: bytes | None = None
    drop_body: bool = False


@final
@define
class Commit:
    """What one runtime's part of a group writes. ``epoch`` and ``base_revision`` are checked."""

    runtime: RuntimeRecord
    epoch: int
    base_revision: int
    inputs: list[InputWrite] = field(factory=list)
    receipts: list[RunBoundaryReceipt] = field(factory=list)
    results: list[tuple[ResultRef, bytes]] = field(factory=list)
    blobs: list[tuple[str, bytes]] = field(factory=list)
    snapshot: bytes | None = None
    events: list[EventEnvelope] = field(factory=list)
    """For the log; their offsets end where ``runtime.counts.events`` says."""


@final
@frozen
class LoadedRuntime:
    """A runtime as stored: its record, its active inputs, and the receipts of the runs that those in flight were
    last staged by, in any order. For each input that was set aside, because a row that it needs cannot be read,
    ``set_aside`` names that row; the record counts these inputs.
    """

    record: RuntimeRecord
    inputs: tuple[InputRecord, ...] = ()
    receipts: tuple[RunBoundaryReceipt, ...] = ()
    set_aside: tuple[str, ...] = ()


@final
@frozen
class Claim:
    """Open a runtime: inside the transaction the store loads it (None: new) and commits what ``settle`` returns."""

    runtime_id: str
    settle: Callable[[LoadedRuntime | None], Commit]


@final
@define
class Written:
    """A member of a group that took effect. For a claim, ``commit`` is what ``settle`` returned."""

    commit: Commit


WriteResult = Written | HoldstateError


@final
@frozen
class InputFilter:
    """Which inputs ``list_inputs`` lists. None stands for all."""

    runtime_id: str
    states: frozenset[InputState] | None = None
    kinds: frozenset[InputKind] | None = None


@final
@frozen
class InputPage:
    """Some inputs, by order key; ``next_after`` continues the listing, None when there is no more."""

    records: tuple[InputRecord, ...]
    next_after: int | None


@final
@frozen
class Pruned:
    """How many rows retention removed. Of events that is always the front of the log."""

    inputs: int = 0
    keys: int = 0
    receipts: int = 0
    results: int = 0
    events: int = 0

    def plus(self, other: Pruned) -> Pruned:
        """Both together."""
        return Pruned(
            self.inputs + other.inputs,
            self.keys + other.keys,
            self.receipts + other.receipts,
            self.results + other.results,
            self.events + other.events,
        )


@final
@frozen
class Finding:
    """One thing that ``verify`` found wrong: which check, where, and what."""

    check: str
    where: str
    problem: str


@final
@frozen
class StoreStats:
    """Counters of a store. ``commits`` are write transactions with a sync each, since the store was opened; bytes are
    of keys and values as encoded. ``body_bytes`` is an upper bound of what the payloads of inputs
    take: LMDB counts whole pages, and state rows beside bodies.
    """

    runtimes: int
    active_inputs: int
    ended_inputs: int
    blobs: int
    body_bytes: int
    commits: int
    rows_written: int
    bytes_written: int
    size_bytes: int
    generation: int


class Reader(Protocol):
    """One consistent view of the store. Every answer is a copy; unreadable rows raise ``StoreCorruption``."""

    def load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        """The runtime as stored, without claiming it; None when there is none."""
        ...

    def load_record(self, runtime_id: str) -> RuntimeRecord | None:
        """The runtime record alone."""
        ...

    def load_input(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        """The record of an input, active or ended."""
        ...

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key, active or ended."""
        ...

    def load_ended(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        """The record of an ended input. Unlike ``load_input`` it may not take longer the more inputs are active."""
        ...

    def find_ended_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the ended input that was admitted under an idempotency key, as quickly as ``load_ended``."""
        ...

    def load_body(self, runtime_id: str, record: InputRecord) -> bytes | None:
        """The input of ``record`` as admitted; None when it is unknown or its payload was dropped."""
        ...

    def load_receipt(self, runtime_id: str, run_id: UUID, sequence: int) -> RunBoundaryReceipt | None:
        """The receipt of one boundary; None when there is none."""
        ...

    def has_receipt(self, runtime_id: str, run_id: UUID) -> bool:
        """Whether any boundary of that run is committed."""
        ...

    def load_result(self, runtime_id: str, ref: ResultRef) -> bytes | None:
        """A stored result; None when there is none."""
        ...

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        """The latest session snapshot; None when there is none."""
        ...

    def load_events(self, runtime_id: str, after: int | None, limit: int) -> tuple[EventEnvelope, ...]:
        """The log of the runtime by offset, at most ``limit`` events after the offset ``after`` (None: from 0).

        Raises ``EventsPruned`` where retention removed some of those, ``StoreCorruption`` where one is missing.
        """
        ...

    def get_blob(self, blob_id: str) -> bytes | None:
        """The content of a blob; None when it is not there."""
        ...

    def blob_exists(self, blob_id: str) -> bool:
        """Whether a blob is there."""
        ...


class RuntimeStore(Protocol):
    """What every store gives. Calls are plain functions; the driver decides on which thread the writing one runs."""

    @property
    def generation(self) -> int:
        """Rises when the store had to reopen what it stands on after a commit of unknown result."""
        ...

    def reading(self) -> AbstractContextManager[Reader]:
        """A consistent view, to be left soon: nothing may be awaited inside."""
        ...

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        """Encode ``group``; the function that is returned writes it in one transaction and may run on another thread.

        It returns one result per member, or raises ``StoreError`` for all of them (``applied`` False or None).
        """
        ...

    def commit(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        """``prepare(group)()``."""
        ...

    def claim(self, runtime_id: str, settle: Callable[[LoadedRuntime | None], Commit]) -> LoadedRuntime:
        """Raise the epoch of one runtime and commit what ``settle`` makes of it; see ``Claim``."""
        ...

    def load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        """A runtime with its active inputs, without claiming it; None when there is none."""
        ...

    def load_input(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        """The record of an input, active or ended; None when it is unknown."""
        ...

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key; None when there is none."""
        ...

    def load_receipt(self, runtime_id: str, run_id: UUID, sequence: int) -> RunBoundaryReceipt | None:
        """The receipt of one boundary; None when there is none."""
        ...

    def load_result(self, runtime_id: str, ref: ResultRef) -> bytes | None:
        """A stored result; None when there is none."""
        ...

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        """The latest session snapshot; None when there is none."""
        ...

    def load_events(self, runtime_id: str, after: int | None = None, limit: int = 1000) -> tuple[EventEnvelope, ...]:
        """See ``Reader.load_events``."""
        ...

    def list_runtimes(self, *, after: str | None = None, limit: int = 1000) -> tuple[RuntimeRecord, ...]:
        """Runtimes by id in the order of their UTF-8 bytes, at most ``limit`` after ``after``."""
        ...

    def list_inputs(self, wanted: InputFilter, *, after: int | None = None, limit: int = 1000) -> InputPage:
        """Inputs of one runtime by order key, ended and active."""
        ...

    def put_blob(self, content: bytes) -> str:
        """Keep ``content`` until ``sweep_blobs``, or for as long as an input refers to it. Returns its id."""
        ...

    def get_blob(self, blob_id: str) -> bytes | None:
        """The content of a blob; None when it is not there."""
        ...

    def blob_exists(self, blob_id: str) -> bool:
        """Whether a blob is there."""
        ...

    def sweep_blobs(self) -> int:
        """Remove blobs that no input refers to; returns how many."""
        ...

    def prune(self, retention: Retention, *, now: datetime) -> Pruned:
        """Remove ended inputs past their retention and what only they refer to, and events past theirs."""
        ...

    def verify(self) -> list[Finding]:
        """Audit everything; an empty list when nothing is wrong."""
        ...

    def stats(self) -> StoreStats:
        """Counts and sizes."""
        ...

    def close(self) -> None:
        """Every other call raises ``StoreClosed`` from now on."""
        ...
