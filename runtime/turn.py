"""One call's turn on a runtime: what it looks up, what it steps, and how that is taken back.

A turn sees the store through one snapshot, corrected by what earlier calls of the same group have decided and the store
does not hold yet.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol, final

from ..spec.vocabulary import Durability
from . import core
from .commands import Command
from .delta import Delta
from .errors import StoreCorruption
from .events import EventEnvelope, logged
from .ids import InputId, RunId
from .inputs import Input
from .records import TERMINAL_INPUT_STATES, InputRecord, RunBoundaryReceipt
from .store import Commit, InputWrite, Reader, ResultRef
from .wire import decode_body, hydrate

if TYPE_CHECKING:
    from .actor import Actor


@final
class Merged:
    """What several deltas of one runtime add up to: a row that changed twice is there once."""

    __slots__ = ("blobs", "deltas", "keys", "receipts", "results", "snapshot", "writes")

    def __init__(self) -> None:
        self.deltas = 0
        # By the number of the input: an id takes ten times as long to hash.
        self.writes: dict[int, tuple[bool, InputRecord, bytes | None]] = {}
        self.keys: dict[str, InputId] = {}
        self.blobs: dict[str, bytes] = {}
        self.receipts: dict[tuple[RunId, int], RunBoundaryReceipt] = {}
        self.results: dict[ResultRef, bytes] = {}
        self.snapshot: bytes | None = None

    def add(self, delta: Delta) -> None:
        for before, after in delta.changes:
            if after is None or after.admission.is_ephemeral:
                continue
            admission = after.admission
            input_id = admission.input_id
            number = input_id.int
            written = self.writes.get(number)
            if written is None:
                body = delta.bodies.get(input_id) if delta.bodies else None
                self.writes[number] = (before is None, after, body)
            else:
                self.writes[number] = (written[0], after, written[2])
            if admission.idempotency_key is not None:
                self.keys[admission.idempotency_key] = input_id
        self.blobs.update(delta.blobs)
        for receipt in delta.receipts:
            self.receipts[receipt.run_id, receipt.sequence] = receipt
        self.results.update(delta.results)
        if delta.snapshot is not None:
            self.snapshot = delta.snapshot
        self.deltas += 1


NOTHING_MERGED: Final = Merged()
"""Before the first call of a group; never added to."""


@final
class Member:
    """One runtime's part of a group: its deltas so far, and what they add up to."""

    __slots__ = ("actor", "base_revision", "deltas", "merged", "opened_run")

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.base_revision = actor.image.runtime.revision
        self.opened_run = actor.opened_run
        self.deltas: list[tuple[Delta, Delta]] = []
        self.merged = NOTHING_MERGED

    def add(self, applied: list[tuple[Delta, Delta]]) -> None:
        """Take over what a turn applied to memory, all of it at once: from here on ``undo`` takes it back (C37)."""
        self.deltas.extend(applied)

    def merge(self) -> None:
        """Bring what the deltas add up to up to date. It may be done again from where it failed."""
        if self.deltas and self.merged is NOTHING_MERGED:
            self.merged = Merged()
        while self.merged.deltas < len(self.deltas):
            self.merged.add(self.deltas[self.merged.deltas][0])

    @property
    def is_stored(self) -> bool:
        for delta, _ in self.deltas:  # noqa: SIM110 - a generator costs more than the loop
            if delta.stored:
                return True
        return False

    def commit(self) -> Commit:
        """All deltas as one commit."""
        settings = self.actor.settings
        runtime = self.actor.stored_runtime()
        keep = settings.retention.keep_payloads
        if len(self.deltas) == 1:  # almost always: there is nothing to merge
            delta = self.deltas[0][0]
            bodies, given, snapshot = delta.bodies, delta.blobs, delta.snapshot
            receipts, results = [*delta.receipts], [*delta.results]
            inputs = [
                _write(after, before is None, bodies.get(after.admission.input_id) if bodies else None, keep)
                for before, after in delta.changes
                if after is not None and after.admission.durability is not _EPHEMERAL
            ]
        else:
            self.merge()
            merged = self.merged
            given, snapshot = tuple(merged.blobs.items()), merged.snapshot
            receipts, results = [*merged.receipts.values()], [*merged.results.items()]
            inputs = [_write(record, is_new, body, keep) for is_new, record, body in merged.writes.values()]
        blobs: list[tuple[str, bytes]] = []
        if given:
            needed = {blob_id for each in inputs if each.body is not None for blob_id in each.record.admission.blobs}
            blobs = [(blob_id, content) for blob_id, content in dict(given).items() if blob_id in needed]
        events = self._log() if settings.event_log else []
        return Commit(runtime, runtime.epoch, self.base_revision, inputs, receipts, results, blobs, snapshot, events)

    def _log(self) -> list[EventEnvelope]:
        """The events of all commands that write, in order. What is published later are these very ones."""
        events: list[EventEnvelope] = []
        for delta, _ in self.deltas:
            if delta.stored:
                first = delta.runtime.counts.events - len(delta.announcements)
                delta.events = logged(delta.announcements, first, self.actor.runtime_id, self.actor.environment.new_id)
                events += delta.events
        return events

    def undo(self) -> None:
        for _, inverse in reversed(self.deltas):
            self.actor.image.apply(inverse)
        self.actor.opened_run = self.opened_run


_EPHEMERAL: Final = Durability.EPHEMERAL


def _write(record: InputRecord, is_new: bool, body: bytes | None, keep: bool) -> InputWrite:  # noqa: FBT001 - hot path
    """What is written of an input; its body only where it stays."""
    if keep or record.state not in TERMINAL_INPUT_STATES:
        return InputWrite(record, is_new, body)
    return InputWrite(record, is_new, None, not is_new)


class View(Protocol):
    """A way to one consistent view of the store, for who needs it."""

    @property
    def reader(self) -> Reader: ...


@final
class Turn:
    """Handed to the function that decides a call. ``step`` may be used several times; all of it happens or none.

    With ``presumes_new``, an input that memory does not know may be taken for one that the store does not know either;
    the call is decided again, without, where the store refuses what came of it.
    """

    __slots__ = (
        "_at",
        "actor",
        "after_commit",
        "applied",
        "member",
        "presumes_new",
        "view",
        "when_abandoned",
    )

    def __init__(self, actor: Actor, member: Member, view: View, *, presumes_new: bool = False) -> None:
        self.actor = actor
        self.member = member
        self.view = view
        self.presumes_new = presumes_new
        self._at: datetime | None = None
        self.applied: list[tuple[Delta, Delta]] = []
        self.after_commit: list[Callable[[], None]] = []
        self.when_abandoned: Callable[[Turn], object] | None = None

    @property
    def at(self) -> datetime:
        """The time of this turn: the clock is asked once, by the first who wants to know."""
        if self._at is None:
            self._at = self.actor.environment.now()
        return self._at

    def step(self, command: Command) -> object:
        """Step the core and apply what it says to memory; returns the outcome."""
        delta = core.step(self.actor.image, command, self.actor.settings)
        self.applied.append((delta, self.actor.image.apply(delta)))
        if self.actor.settings.debug:
            self.actor.check_invariants()
        return delta.outcome

    def take_back(self) -> None:
        for _, inverse in reversed(self.applied):
            self.actor.image.apply(inverse)
        self.applied.clear()
        self.after_commit.clear()
        self.when_abandoned = None

    @property
    def reader(self) -> Reader:
        return self.view.reader

    # -- look-ups --------------------------------------------------------------------------------------------------

    def find_input(self, input_id: InputId) -> InputRecord | None:
        """The record of an input, active or ended."""
        record = self.actor.image.inputs.get(input_id)
        if record is not None:
            return record
        written = self.member.merged.writes.get(input_id.int)
        if written is not None:
            return written[1]
        return self.reader.load_ended(self.actor.runtime_id, input_id)

    def find_by_key(self, key: str) -> InputRecord | None:
        """The record of the input that was admitted under ``key``, active or ended."""
        input_id = self.actor.image.keys.get(key) or self.member.merged.keys.get(key)
        if input_id is not None:
            return self.find_input(input_id)
        return self.reader.find_ended_by_key(self.actor.runtime_id, key)

    def receipt(self, run_id: RunId, sequence: int) -> RunBoundaryReceipt | None:
        decided = self.member.merged.receipts.get((run_id, sequence))
        return decided or self.reader.load_receipt(self.actor.runtime_id, run_id, sequence)

    def has_receipt(self, run_id: RunId) -> bool:
        decided = any(decided_run == run_id for decided_run, _ in self.member.merged.receipts)
        return decided or self.reader.has_receipt(self.actor.runtime_id, run_id)

    def blob_exists(self, blob_id: str) -> bool:
        return blob_id in self.member.merged.blobs or self.reader.blob_exists(blob_id)

    def session_snapshot(self) -> bytes | None:
        if self.member.merged.snapshot is not None:
            return self.member.merged.snapshot
        return self.reader.load_session_snapshot(self.actor.runtime_id)

    def result(self, ref: ResultRef) -> bytes | None:
        decided = self.member.merged.results.get(ref)
        return decided if decided is not None else self.reader.load_result(self.actor.runtime_id, ref)

    def input(self, record: InputRecord) -> Input | None:
        """The input as admitted, images inline again; None when its payload was dropped."""
        body = self.actor.image.bodies.get(record.input_id)
        if body is None:
            written = self.member.merged.writes.get(record.input_id.int)
            body = None if written is None else written[2]
        if body is None:
            body = self.reader.load_body(self.actor.runtime_id, record)
        if body is None and record.is_terminal:
            return None
        if body is None:
            raise StoreCorruption(f"input {record.input_id}", "it is active, yet its payload is not in the store")
        return hydrate(decode_body(body), self.blob)

    def blob(self, blob_id: str) -> bytes:
        """The content of a blob that is known to be there; StoreCorruption where it is not."""
        content = self.member.merged.blobs.get(blob_id)
        if content is None:
            content = self.reader.get_blob(blob_id)
        if content is None:
            raise StoreCorruption(f"blob {blob_id}", "an active input refers to it, yet it is not in the store")
        return content
