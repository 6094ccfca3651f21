"""The embedded store: all runtimes in one LMDB file, every commit synced before it is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final
from uuid import UUID

from ..runtime.checks import check_instance, member_of
from ..runtime.errors import InvalidInput, StoreError
from ..runtime.events import EventEnvelope
from ..runtime.ids import in_utc
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
    ResultRef,
    StoreStats,
    WriteResult,
)
from ..spec.errors import HoldstateError
from ..spec.vocabulary import OnCorrupt
from .lmdb_environment import StoreEnvironment, always
from .lmdb_opening import EnvironmentOptions
from .lmdb_reader import ReadTransaction
from .lmdb_retention import prune_store, sweep_step
from .lmdb_rows import (
    ACTIVE,
    BLOB_REFS,
    BLOBS,
    BODIES,
    ENDED,
    NOBODY,
    RUNTIMES,
    Rows,
    blob_name,
)
from .lmdb_space import StoreSpace
from .lmdb_verification import verify_store
from .lmdb_writer import GroupWriter, WrittenRuntimes, prepare_group, releases

GIB: Final = 1024**3
TIB: Final = 1024**4
_KEPT_ORDINALS: Final = 100_000
_LARGEST_PAGE: Final = 64 * 1024
_LARGEST_MAP: Final = 2**47
"""What a process can map at all, on most machines."""


def _whole_pages(size: int) -> int:
    return max(1, -(-size // _LARGEST_PAGE)) * _LARGEST_PAGE


def _check_map_size(size: int, path: str) -> None:
    if type(size) is not int or not 1 <= size <= _LARGEST_MAP:
        raise InvalidInput(path, f"must be a whole number of bytes, from 1 to {_LARGEST_MAP}")


@final
class LmdbStore:
    """Runtimes in an LMDB file. A process opens it once, for all its threads; other processes may open it too.

    Use it as a context manager, plain or async, or call ``close``.
    """

    def __init__(self, environment: StoreEnvironment) -> None:
        check_instance(environment, StoreEnvironment, "environment", "; open a store with LmdbStore.open(path)")
        self._environment = environment
        self._written: WrittenRuntimes = {}

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        map_size: int = GIB,
        max_map_size: int = TIB,
        read_only: bool = False,
        allow_network: bool = False,
        on_corrupt: OnCorrupt | str = OnCorrupt.STRICT,
    ) -> Self:
        """The open store in the directory ``path``; it is made where there is none.

        ``map_size`` bytes of address space are reserved at first; they are doubled when they are full, up to
        ``max_map_size``. ``read_only`` changes nothing but LMDB's own lock file. Network file systems are refused
        unless ``allow_network``. Raises ``StoreError``, of a subclass where there is one for the cause, and
        ``InvalidInput`` for a size or an ``on_corrupt`` that is none.

        A runtime with a row that cannot be read is refused by name. With ``on_corrupt="quarantine"`` it opens without
        the inputs that such a row belongs to, as far as its own record can be read; see ``quarantined``.
        """
        _check_map_size(map_size, "map_size")
        _check_map_size(max_map_size, "max_map_size")
        options = EnvironmentOptions(
            map_size=_whole_pages(map_size),
            max_map_size=_whole_pages(max(map_size, max_map_size)),
            read_only=read_only,
            allow_network=allow_network,
            on_corrupt=member_of(OnCorrupt, on_corrupt, "on_corrupt"),
        )
        return cls(StoreEnvironment(Path(path).resolve(), options))

    def close(self) -> None:
        """Close the file; twice is fine. A forked child closes what it inherited before it opens the store anew."""
        self._environment.close()

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
    def path(self) -> Path:
        """The directory of the store."""
        return self._environment.path

    @property
    def generation(self) -> int:
        """How often the file had to be reopened after a commit of unknown result."""
        return self._environment.generation

    @property
    def quarantined(self) -> tuple[Finding, ...]:
        """Rows that could not be read and were met since the store was opened with ``on_corrupt="quarantine"``. Their
        bytes stay as they are; ``verify`` also finds those that nobody met.
        """
        quarantine = self._environment.quarantine
        return () if quarantine is None else quarantine.findings()

    # -- writing -------------------------------------------------------------------------------------------------

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        """Encode ``group``; the function that is returned writes it in one synced transaction, on any one thread."""
        environment = self._environment
        prepared = prepare_group(group, environment.ordinals)

        def work(rows: Rows) -> tuple[list[WriteResult], dict[str, bytes]]:
            writer = GroupWriter(rows, environment.ordinals, self._written, environment.quarantine)
            return writer.write(prepared), writer.created

        def write() -> list[WriteResult]:
            results, created = environment.write(work, releases=lambda: releases(group))
            if created:
                self._remember(created)
            return results

        return write

    def _remember(self, created: dict[str, bytes]) -> None:
        ordinals = self._environment.ordinals
        if len(ordinals) + len(created) > _KEPT_ORDINALS:
            ordinals.clear()
        ordinals.update(created)

    def commit(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        """``prepare(group)()``."""
        return self.prepare(group)()

    def claim(self, runtime_id: str, settle: Callable[[LoadedRuntime | None], Commit]) -> LoadedRuntime:
        """Commit what ``settle`` makes of a runtime and return the runtime as it is then. Raises what prevented it."""
        (result,) = self.commit([Claim(runtime_id, settle)])
        if isinstance(result, HoldstateError):
            raise result
        loaded = self.load_runtime(runtime_id)
        if loaded is None:
            raise StoreError(f"runtime {runtime_id!r} was claimed and is gone", applied=True)
        return loaded

    def put_blob(self, content: bytes) -> str:
        """Keep ``content`` until ``sweep_blobs``, or for as long as an input refers to it. Returns its id."""
        digest = sha256(content).digest()

        def work(rows: Rows) -> None:
            if rows.get(BLOBS, digest) is None:
                rows.put(BLOBS, digest, bytes(content))
            if rows.get(BLOB_REFS, digest + NOBODY) is None:
                rows.put(BLOB_REFS, digest + NOBODY, b"")

        self._environment.write(work)
        return blob_name(digest)

    def sweep_blobs(self) -> int:
        """Remove blobs that no input refers to; returns how many. What was held until now is held no more."""
        swept, after = 0, b""
        while True:
            count, more = self._environment.write(partial(sweep_step, after=after), releases=always)
            swept += count
            if more is None:
                return swept
            after = more

    def prune(self, retention: Retention, *, now: datetime) -> Pruned:
        """Remove ended inputs past their retention and what only they refer to, and events past theirs. A successor
        outlives who names it.
        """
        check_instance(retention, Retention, "retention")
        return prune_store(self._environment, retention, in_utc(now, "now"))

    # -- reading -------------------------------------------------------------------------------------------------

    def reading(self) -> ReadTransaction:
        """A consistent view, to be left soon: nothing may be awaited or written inside."""
        return ReadTransaction(self._environment)

    def load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        """The runtime as stored; ``StoreCorruption`` when rows are damaged or missing."""
        with self.reading() as reader:
            return reader.load_runtime(runtime_id)

    def load_input(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        """The record of an input, active or ended."""
        with self.reading() as reader:
            return reader.load_input(runtime_id, input_id)

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key, active or ended."""
        with self.reading() as reader:
            return reader.find_by_key(runtime_id, key)

    def load_receipt(self, runtime_id: str, run_id: UUID, sequence: int) -> RunBoundaryReceipt | None:
        """One receipt, by its run and its sequence."""
        with self.reading() as reader:
            return reader.load_receipt(runtime_id, run_id, sequence)

    def load_result(self, runtime_id: str, ref: ResultRef) -> bytes | None:
        """The result of a boundary or of a completion."""
        with self.reading() as reader:
            return reader.load_result(runtime_id, ref)

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        """The latest session snapshot."""
        with self.reading() as reader:
            return reader.load_session_snapshot(runtime_id)

    def load_events(self, runtime_id: str, after: int | None = None, limit: int = 1000) -> tuple[EventEnvelope, ...]:
        """The log of a runtime by offset, at most ``limit`` events after the offset ``after``."""
        with self.reading() as reader:
            return reader.load_events(runtime_id, after, limit)

    def list_runtimes(self, *, after: str | None = None, limit: int = 1000) -> tuple[RuntimeRecord, ...]:
        """Runtimes by id in the order of their UTF-8 bytes, at most ``limit`` after ``after``."""
        with self.reading() as reader:
            return reader.list_runtimes(after, limit)

    def list_inputs(self, wanted: InputFilter, *, after: int | None = None, limit: int = 1000) -> InputPage:
        """Inputs of one runtime by order key, ended and active."""
        with self.reading() as reader:
            return reader.list_inputs(wanted, after, limit)

    def get_blob(self, blob_id: str) -> bytes | None:
        """The content of a blob."""
        with self.reading() as reader:
            return reader.get_blob(blob_id)

    def blob_exists(self, blob_id: str) -> bool:
        """Whether a blob is stored."""
        with self.reading() as reader:
            return reader.blob_exists(blob_id)

    def verify(self) -> list[Finding]:
        """Audit everything; an empty list when nothing is wrong."""
        with self._environment.reading() as rows:
            return list(verify_store(rows))

    def space(self) -> StoreSpace:
        """What takes which room in the file."""
        return self._environment.space()

    def stats(self) -> StoreStats:
        """Counts of rows now, and of what was written since the store was opened."""
        environment = self._environment
        with environment.reading() as rows:
            runtimes, active_rows, ended, blobs = map(rows.count, (RUNTIMES, ACTIVE, ENDED, BLOBS))
            body_bytes = rows.page_bytes(ACTIVE) + rows.page_bytes(BODIES)
        return StoreStats(
            runtimes=runtimes,
            active_inputs=active_rows // 2,  # each has a state row and a body
            ended_inputs=ended,
            blobs=blobs,
            body_bytes=body_bytes,
            commits=environment.commits,
            rows_written=environment.rows_written,
            bytes_written=environment.bytes_written,
            size_bytes=environment.size_bytes(),
            generation=environment.generation,
        )
