"""A store in memory: the semantics of every store, without the disk. It is gone with the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from heapq import merge
from threading import RLock
from types import TracebackType
from typing import Self, final
from uuid import UUID

from ..runtime.checks import check_after, check_instance, check_sequence
from ..runtime.errors import StoreClosed, StoreCorruption
from ..runtime.events import EventEnvelope
from ..runtime.ids import check_runtime_id, check_text, check_uuid, in_utc
from ..runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..runtime.settings import Retention
from ..runtime.store import (
    Claim,
    Commit,
    Finding,
    InputFilter,
    InputPage,
    LoadedRuntime,
    Pruned,
    Reader,
    ResultRef,
    StoreStats,
    WriteResult,
    Written,
)
from ..spec.errors import HoldstateError
from .audit import StoredBlob, StoredRuntime, audit
from .memory_retention import prune_runtime
from .memory_tables import RuntimeRows, Tables, Undo


@final
class MemoryStore:
    """Runtimes in memory, for tests and for runtimes that need not outlive the process. Any thread may call.

    A view taken with ``reading()`` holds up writers on other threads for as long as it is open.
    """

    def __init__(self) -> None:
        self._tables = Tables()
        self._lock = RLock()
        self._closed = False
        self._commits = 0
        self._rows_written = 0
        self._bytes_written = 0

    # -- opening and closing -------------------------------------------------------------------------------------

    def close(self) -> None:
        """Refuse every further call. Closing twice is fine."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def generation(self) -> int:
        """Always 0: nothing is ever reopened."""
        return 0

    @contextmanager
    def _open(self) -> Iterator[Tables]:
        with self._lock:
            if self._closed:
                raise StoreClosed("the store was closed; open another one")
            yield self._tables

    # -- writing -------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[tuple[Tables, Undo]]:
        """All that is written inside, or nothing of it."""
        with self._open() as tables:
            undo = Undo()
            try:
                yield tables, undo
            except BaseException:
                undo.roll_back()
                raise
            if undo.rows_written:
                self._commits += 1
                self._rows_written += undo.rows_written
                self._bytes_written += undo.bytes_written

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        """The function that writes ``group``, all of it or nothing; a refused member fails alone."""
        members = tuple(group)

        def write() -> list[WriteResult]:
            with self._writing() as (tables, undo):
                return [_write_member(tables, member, undo) for member in members]

        return write

    def commit(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        """``prepare(group)()``."""
        return self.prepare(group)()

    def claim(self, runtime_id: str, settle: Callable[[LoadedRuntime | None], Commit]) -> LoadedRuntime:
        """Commit what ``settle`` makes of one runtime; returns the runtime as it is then, or raises why not."""
        with self._open() as tables:
            (result,) = self.commit([Claim(runtime_id, settle)])
            if isinstance(result, HoldstateError):
                raise result
            loaded = tables.load(runtime_id)
        assert loaded is not None
        return loaded

    def put_blob(self, content: bytes) -> str:
        """Keep ``content`` until ``sweep_blobs``, or for as long as an input refers to it. Returns its id."""
        digest = f"sha256:{sha256(content).hexdigest()}"
        with self._writing() as (tables, undo):
            if digest not in tables.held:
                undo.put(tables.held, digest, True)
            if digest not in tables.blobs:
                undo.put(tables.blobs, digest, bytes(content))
        return digest

    def sweep_blobs(self) -> int:
        """Remove blobs that no input refers to; returns how many. What was held until now is held no more."""
        with self._writing() as (tables, undo):
            for digest in tuple(tables.held):
                undo.drop(tables.held, digest)
            return tables.drop_unreferenced(tuple(tables.blobs), undo)

    def prune(self, retention: Retention, *, now: datetime) -> Pruned:
        """Remove ended inputs past their retention and what only they refer to, and events past theirs. A successor
        outlives who names it.
        """
        check_instance(retention, Retention, "retention")
        now = in_utc(now, "now")
        total = Pruned()
        with self._writing() as (tables, undo):
            for runtime_id in tables.records:
                total = total.plus(prune_runtime(tables, runtime_id, retention, now, undo))
        return total

    # -- reading -------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A consistent view, to be left soon: nothing may be awaited or written inside."""
        with self._open():
            yield self

    def load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        """The runtime as stored; ``StoreCorruption`` when rows are missing."""
        with self._of(runtime_id) as tables:
            return tables.load(runtime_id)

    def load_record(self, runtime_id: str) -> RuntimeRecord | None:
        """The runtime record alone."""
        with self._of(runtime_id) as tables:
            record: RuntimeRecord | None = tables.records.get(runtime_id)
            return record

    def load_input(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        """The record of an input, active or ended."""
        check_uuid(input_id, "input_id")
        with self._rows(runtime_id) as rows:
            return rows.find(input_id)

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key, active or ended."""
        check_text(key, "key")
        with self._rows(runtime_id) as rows:
            input_id = rows.keys.get(key)
            if input_id is None:
                return None
            record = rows.find(input_id)
            if record is None:
                raise StoreCorruption(
                    f"runtime {runtime_id!r}", f"key {key!r} names input {input_id}, which is missing"
                )
            return record

    def load_ended(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        """The record of an ended input."""
        return _if_ended(self.load_input(runtime_id, input_id))

    def find_ended_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the ended input that was admitted under an idempotency key."""
        return _if_ended(self.find_by_key(runtime_id, key))

    def load_body(self, runtime_id: str, record: InputRecord) -> bytes | None:
        """The input as admitted; None when it is unknown or its payload was dropped."""
        with self._rows(runtime_id) as rows:
            return rows.bodies.get(record.order)

    def load_receipt(self, runtime_id: str, run_id: UUID, sequence: int) -> RunBoundaryReceipt | None:
        """One receipt, by its run and its sequence."""
        check_uuid(run_id, "run_id")
        check_sequence(sequence, "sequence")
        with self._rows(runtime_id) as rows:
            receipt: RunBoundaryReceipt | None = rows.receipts.get((run_id, sequence))
            return receipt

    def has_receipt(self, runtime_id: str, run_id: UUID) -> bool:
        """Whether any boundary of that run is committed."""
        check_uuid(run_id, "run_id")
        with self._rows(runtime_id) as rows:
            return bool(rows.receipts_of(run_id))

    def load_result(self, runtime_id: str, ref: ResultRef) -> bytes | None:
        """The result of a boundary or of a completion."""
        with self._rows(runtime_id) as rows:
            return rows.results.get(ref)

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        """The latest session snapshot."""
        with self._of(runtime_id) as tables:
            return tables.snapshots.get(runtime_id)

    def load_events(self, runtime_id: str, after: int | None = None, limit: int = 1000) -> tuple[EventEnvelope, ...]:
        """The log of a runtime by offset, at most ``limit`` events after the offset ``after``."""
        check_after(after)
        with self._of(runtime_id) as tables:
            return tables.events(runtime_id, after, limit)

    def list_runtimes(self, *, after: str | None = None, limit: int = 1000) -> tuple[RuntimeRecord, ...]:
        """Runtimes by id in the order of their UTF-8 bytes (which is that of their code points)."""
        with self._open() as tables:
            first = 0 if after is None else tables.records.bisect_right(check_text(after, "after"))
            return tuple(tables.records.values()[first : first + max(limit, 0)])

    def list_inputs(self, wanted: InputFilter, *, after: int | None = None, limit: int = 1000) -> InputPage:
        """Inputs of one runtime by order key, ended and active."""
        check_after(after)
        found: list[InputRecord] = []
        with self._rows(wanted.runtime_id) as rows:
            ranges = [table.irange(after, None, inclusive=(False, True)) for table in (rows.active, rows.ended)]
            for order in merge(*ranges):
                record = rows.at(order)
                assert record is not None
                if not _is_wanted(record, wanted):
                    continue
                if len(found) >= limit:
                    return InputPage(tuple(found), found[-1].order if found else after)
                found.append(record)
        return InputPage(tuple(found), None)

    def get_blob(self, blob_id: str) -> bytes | None:
        """The content of a blob."""
        with self._open() as tables:
            return tables.blobs.get(blob_id)

    def blob_exists(self, blob_id: str) -> bool:
        """Whether a blob is stored."""
        with self._open() as tables:
            return blob_id in tables.blobs

    # -- looking at the whole ------------------------------------------------------------------------------------

    def verify(self) -> list[Finding]:
        """Audit everything; an empty list when nothing is wrong."""
        with self._open() as tables:
            runtimes = (_stored_runtime(tables, runtime_id) for runtime_id in tables.records)
            blobs = (StoredBlob(digest, content, digest in tables.held) for digest, content in tables.blobs.items())
            return list(audit(runtimes, blobs))

    def stats(self) -> StoreStats:
        """Counters since the store was made; bytes are those of bodies, results, snapshots and blobs."""
        with self._open() as tables:
            kept: list[Iterable[bytes]] = [tables.blobs.values(), tables.snapshots.values()]
            for rows in tables.rows.values():
                kept += [rows.bodies.values(), rows.results.values()]
            return StoreStats(
                runtimes=len(tables.records),
                active_inputs=sum(len(rows.active) for rows in tables.rows.values()),
                ended_inputs=sum(len(rows.ended) for rows in tables.rows.values()),
                blobs=len(tables.blobs),
                body_bytes=sum(len(body) for rows in tables.rows.values() for body in rows.bodies.values()),
                commits=self._commits,
                rows_written=self._rows_written,
                bytes_written=self._bytes_written,
                size_bytes=sum(len(content) for contents in kept for content in contents),
                generation=self.generation,
            )

    @contextmanager
    def _of(self, runtime_id: str) -> Iterator[Tables]:
        """All that is kept, for a question about one runtime."""
        with self._open() as tables:
            if type(runtime_id) is not str or runtime_id not in tables.records:
                check_runtime_id(runtime_id)
            yield tables

    @contextmanager
    def _rows(self, runtime_id: str) -> Iterator[RuntimeRows]:
        with self._of(runtime_id) as tables:
            yield tables.rows.get(runtime_id) or RuntimeRows()


def _write_member(tables: Tables, member: Commit | Claim, undo: Undo) -> WriteResult:
    try:
        commit = tables.decide(member)
    except HoldstateError as error:
        return error
    tables.write(commit, undo)
    return Written(commit)


def _is_wanted(record: InputRecord, wanted: InputFilter) -> bool:
    return (wanted.states is None or record.state in wanted.states) and (
        wanted.kinds is None or record.admission.kind in wanted.kinds
    )


def _stored_runtime(tables: Tables, runtime_id: str) -> StoredRuntime:
    rows = tables.rows[runtime_id]
    return StoredRuntime(
        record=tables.records[runtime_id],
        active=list(rows.active.values()),
        ended=list(rows.ended.values()),
        bodies=set(rows.bodies),
        orders=dict(rows.orders),
        keys=dict(rows.keys),
        receipts=list(rows.receipts.values()),
        results=set(rows.results),
        events=list(rows.events),
        has_snapshot=runtime_id in tables.snapshots,
        blob_refs={
            (digest, order) for digest, users in tables.refs.items() for owner, order in users if owner == runtime_id
        },
        pruned=tables.pruned.get(runtime_id, Pruned()),
    )


def _if_ended(record: InputRecord | None) -> InputRecord | None:
    return record if record is not None and record.is_terminal else None
