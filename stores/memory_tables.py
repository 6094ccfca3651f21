"""The rows of a memory store, and how a member of a group changes them: all checks first, each put with its undo."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any, TypeVar, final
from uuid import UUID

from attrs import Factory, define
from sortedcontainers import SortedDict

from ..runtime.checks import LARGEST_SEQUENCE
from ..runtime.errors import EventsPruned, Fenced, StoreCorruption, StoreError
from ..runtime.events import EventEnvelope, offset_of
from ..runtime.ids import InputId
from ..runtime.records import IN_FLIGHT_STATES, InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..runtime.store import Claim, Commit, InputWrite, LoadedRuntime, Pruned, ResultRef

K = TypeVar("K")
V = TypeVar("V")


@final
class Undo:
    """Writes rows and keeps what was there, so that a write that does not reach its end leaves nothing behind (C37)."""

    def __init__(self) -> None:
        self.bytes_written = 0
        self._old: list[tuple[MutableMapping[Any, Any], Any, Any]] = []

    @property
    def rows_written(self) -> int:
        return len(self._old)

    def put(self, rows: MutableMapping[K, V], key: K, value: V) -> None:
        self._old.append((rows, key, rows.get(key)))
        rows[key] = value
        if isinstance(value, bytes):
            self.bytes_written += len(value)

    def drop(self, rows: MutableMapping[K, V], key: K) -> None:
        """Remove a row, where there is one."""
        old = rows.pop(key, None)
        if old is not None:
            self._old.append((rows, key, old))

    def roll_back(self) -> None:
        while self._old:
            rows, key, old = self._old.pop()
            if old is None:
                rows.pop(key, None)
            else:
                rows[key] = old


@final
@define
class RuntimeRows:
    """All rows of one runtime but its record. Inputs and bodies are kept by order key, receipts by run and sequence."""

    active: SortedDict[int, InputRecord] = Factory(SortedDict)
    ended: SortedDict[int, InputRecord] = Factory(SortedDict)
    bodies: dict[int, bytes] = Factory(dict)
    orders: dict[UUID, int] = Factory(dict)
    keys: dict[str, InputId] = Factory(dict)
    receipts: SortedDict[tuple[UUID, int], RunBoundaryReceipt] = Factory(SortedDict)
    results: dict[ResultRef, bytes] = Factory(dict)
    events: SortedDict[int, EventEnvelope] = Factory(SortedDict)

    def find(self, input_id: UUID) -> InputRecord | None:
        order = self.orders.get(input_id)
        if order is None:
            return None
        record = self.at(order)
        if record is None or record.input_id != input_id:
            raise StoreCorruption(f"input {input_id}", f"it is not where its index points, at order {order}")
        return record

    def at(self, order: int) -> InputRecord | None:
        record = self.active.get(order)
        return self.ended.get(order) if record is None else record

    def receipts_of(self, run_id: UUID) -> list[RunBoundaryReceipt]:
        """The receipts of a run by sequence."""
        keys = self.receipts.irange((run_id, 0), (run_id, LARGEST_SEQUENCE))
        return [self.receipts[key] for key in keys]


@final
@define
class Tables:
    """Everything that a memory store keeps. ``held`` blobs were put by themselves, ``refs`` says who needs a blob."""

    records: SortedDict[str, RuntimeRecord] = Factory(SortedDict)
    rows: dict[str, RuntimeRows] = Factory(dict)
    snapshots: dict[str, bytes] = Factory(dict)
    pruned: dict[str, Pruned] = Factory(dict)
    blobs: dict[str, bytes] = Factory(dict)
    held: dict[str, bool] = Factory(dict)
    refs: dict[str, dict[tuple[str, int], bool]] = Factory(dict)

    def load(self, runtime_id: str) -> LoadedRuntime | None:
        """One runtime; ``StoreCorruption`` when it has another number of active inputs than its record says."""
        record = self.records.get(runtime_id)
        if record is None:
            return None
        rows = self.rows[runtime_id]
        if record.counts.active != len(rows.active):
            problem = f"{len(rows.active)} active inputs are stored, the record counts {record.counts.active}"
            raise StoreCorruption(f"runtime {runtime_id!r}", problem)
        inputs = tuple(rows.active.values())
        in_flight = {item.last_run_id for item in inputs if item.state in IN_FLIGHT_STATES}
        runs = sorted(run_id for run_id in in_flight if run_id is not None)
        return LoadedRuntime(record, inputs, tuple(receipt for run in runs for receipt in rows.receipts_of(run)))

    def events(self, runtime_id: str, after: int | None, limit: int) -> tuple[EventEnvelope, ...]:
        """Some of the log of a runtime, which has no gap."""
        record = self.records.get(runtime_id)
        first = 0 if after is None else max(after + 1, 0)
        if record is None or first >= record.counts.events or limit < 1:
            return ()
        dropped = self.pruned.get(runtime_id, Pruned()).events
        if first < dropped:
            raise EventsPruned(runtime_id, dropped)
        wanted = range(first, min(first + limit, record.counts.events))
        stored = self.rows[runtime_id].events
        missing = next((offset for offset in wanted if offset not in stored), None)
        if missing is not None:
            raise StoreCorruption(f"runtime {runtime_id!r}", f"event {missing} of its log is missing")
        return tuple(stored[offset] for offset in wanted)

    # -- one member of a group -----------------------------------------------------------------------------------

    def decide(self, member: Commit | Claim) -> Commit:
        """What ``member`` writes, with everything checked that could keep it from being written."""
        commit = self._settle(member) if isinstance(member, Claim) else self._fence(member)
        self._check_rows(commit)
        return commit

    def _settle(self, claim: Claim) -> Commit:
        loaded = self.load(claim.runtime_id)
        commit = claim.settle(loaded)
        epoch, revision = (loaded.record.epoch, loaded.record.revision) if loaded is not None else (0, 0)
        if commit.runtime.runtime_id != claim.runtime_id or commit.runtime.epoch != epoch + 1:
            raise _refused(commit, f"a claim of {claim.runtime_id!r} has to raise its epoch from {epoch} by one")
        if commit.base_revision != revision:
            raise _refused(commit, f"it builds on revision {commit.base_revision}, stored is {revision}")
        return commit

    def _fence(self, commit: Commit) -> Commit:
        stored = self.records.get(commit.runtime.runtime_id)
        if stored is None:
            raise _refused(commit, "the runtime is not stored; open it first")
        if stored.epoch > commit.epoch:
            raise Fenced(commit.runtime.runtime_id, commit.epoch, stored.epoch)
        if stored.epoch != commit.epoch or stored.revision != commit.base_revision:
            raise _refused(
                commit,
                f"it builds on epoch {commit.epoch} and revision {commit.base_revision}, "
                f"stored are {stored.epoch} and {stored.revision}",
            )
        return commit

    def _check_rows(self, commit: Commit) -> None:
        rows = self.rows.get(commit.runtime.runtime_id, _NO_ROWS)
        given = {digest for digest, _ in commit.blobs}
        for write in commit.inputs:
            admission = write.record.admission
            if not write.is_new:
                stored = rows.active.get(admission.order)
                if stored is None or stored.input_id != admission.input_id:
                    raise _refused(commit, f"input {admission.input_id} is not an active one of the runtime")
                continue
            if admission.input_id in rows.orders or rows.at(admission.order) is not None:
                raise _refused(
                    commit, f"input {admission.input_id} or its order key {admission.order} is stored already"
                )
            if admission.idempotency_key in rows.keys:
                raise _refused(commit, f"the idempotency key of input {admission.input_id} is stored already")
            missing = [digest for digest in admission.blobs if digest not in self.blobs and digest not in given]
            if missing and not write.drop_body:
                raise _refused(
                    commit, f"input {admission.input_id} refers to the blob {missing[0]}, which is not stored"
                )
        self._check_additions(commit, rows)

    @staticmethod
    def _check_additions(commit: Commit, rows: RuntimeRows) -> None:
        for receipt in commit.receipts:
            if (receipt.run_id, receipt.sequence) in rows.receipts:
                raise _refused(commit, f"receipt {receipt.sequence} of run {receipt.run_id} is stored already")
        for event in commit.events:
            if event.offset in rows.events:
                raise _refused(commit, f"event {event.offset} is stored already")

    def write(self, commit: Commit, undo: Undo) -> None:
        """Write a commit that was decided."""
        runtime_id = commit.runtime.runtime_id
        if runtime_id not in self.rows:
            undo.put(self.rows, runtime_id, RuntimeRows())
        rows = self.rows[runtime_id]
        undo.put(self.records, runtime_id, commit.runtime)
        for digest, content in commit.blobs:
            if digest not in self.blobs:
                undo.put(self.blobs, digest, content)
        for write in commit.inputs:
            self._write_input(runtime_id, rows, write, undo)
        for receipt in commit.receipts:
            undo.put(rows.receipts, (receipt.run_id, receipt.sequence), receipt)
        for ref, result in commit.results:
            undo.put(rows.results, ref, result)
        for event in commit.events:
            undo.put(rows.events, offset_of(event), event)
        if commit.snapshot is not None:
            undo.put(self.snapshots, runtime_id, commit.snapshot)
        self.drop_unreferenced((digest for digest, _ in commit.blobs), undo)

    def _write_input(self, runtime_id: str, rows: RuntimeRows, write: InputWrite, undo: Undo) -> None:
        record, admission = write.record, write.record.admission
        if write.is_new:
            undo.put(rows.orders, admission.input_id, admission.order)
            if admission.idempotency_key is not None:
                undo.put(rows.keys, admission.idempotency_key, admission.input_id)
            if write.body is not None and not write.drop_body:
                undo.put(rows.bodies, admission.order, write.body)
                for digest in admission.blobs:
                    if digest not in self.refs:
                        undo.put(self.refs, digest, {})
                    undo.put(self.refs[digest], (runtime_id, admission.order), True)
        if record.is_terminal:
            undo.drop(rows.active, admission.order)
            undo.put(rows.ended, admission.order, record)
        else:
            undo.put(rows.active, admission.order, record)
        if write.drop_body:
            self.drop_body(runtime_id, record, undo)

    # -- bodies and blobs ----------------------------------------------------------------------------------------

    def drop_body(self, runtime_id: str, record: InputRecord, undo: Undo) -> None:
        """Remove the body of an input, and each blob that nothing else needs."""
        undo.drop(self.rows[runtime_id].bodies, record.order)
        for digest in record.admission.blobs:
            if digest in self.refs:
                undo.drop(self.refs[digest], (runtime_id, record.order))
        self.drop_unreferenced(record.admission.blobs, undo)

    def drop_unreferenced(self, digests: Iterable[str], undo: Undo) -> int:
        """Remove those blobs that no body refers to and nobody holds; returns how many."""
        dropped = 0
        for digest in digests:
            if self.refs.get(digest):
                continue
            undo.drop(self.refs, digest)
            if digest in self.blobs and digest not in self.held:
                undo.drop(self.blobs, digest)
                dropped += 1
        return dropped


_NO_ROWS = RuntimeRows()


def _refused(commit: Commit, why: str) -> StoreError:
    return StoreError(f"commit of runtime {commit.runtime.runtime_id!r} refused: {why}", applied=False)
