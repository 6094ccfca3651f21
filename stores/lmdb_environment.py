"""The one ``lmdb.Environment`` of a store: opened with checks, grown when it is full, reopened when it is in doubt.

Every transaction is one ``with`` block or one function that runs to its end on its thread, never ``lmdb.aio``. A commit
call that fails otherwise than with a full map leaves the outcome unknown and the environment suspect; the next use
closes and reopens it and raises the generation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, final

import lmdb

from ..runtime.errors import (
    StoreClosed,
    StoreError,
    StoreForked,
    StoreFull,
    StoreLost,
    StoreReadOnly,
)
from ..spec.vocabulary import OnCorrupt
from . import lmdb_files as files
from .codec import encode_number
from .lmdb_errors import DATA_FILE, error_of_lmdb, error_of_os
from .lmdb_gate import Gate
from .lmdb_opening import EnvironmentOptions, clear_dead_readers, fill, open_environment
from .lmdb_quarantine import Quarantine
from .lmdb_rows import FORMAT_KEY, META, STORE_FORMAT, TABLES, Database, Rows, Transaction, pages_of
from .lmdb_space import META_PAGES, StoreSpace, TableSpace

T = TypeVar("T")

_RETRIES: Final = 8
_LOOK_EVERY: Final = 8
_PAGES_LEFT: Final = 256
_FILL_BYTES: Final = 1024 * 1024
RESERVE_BYTES: Final = 64 * 1024 * 1024
"""Beyond the cap of the map, for what makes room: ending inputs, pruning, sweeping."""


def never() -> bool:
    """What a transaction says of itself that may admit something."""
    return False


def always() -> bool:
    """What a transaction says of itself that only makes room."""
    return True


def commit_transaction(txn: Transaction) -> None:
    """The one place where a write transaction is committed."""
    txn.commit()


@final
class StoreEnvironment:
    """The environment under one store, for all threads of the process that opened it."""

    def __init__(self, path: Path, options: EnvironmentOptions) -> None:
        self.path = path
        self.generation = 0
        self.commits = 0
        self.rows_written = 0
        self.bytes_written = 0
        self.ordinals: dict[str, bytes] = {}
        """Key prefixes of runtimes by id, as committed; emptied when the environment is reopened."""
        self.quarantine = Quarantine() if options.on_corrupt is OnCorrupt.QUARANTINE else None
        self._options = options
        self._map_size = options.map_size
        self._pid = os.getpid()
        self._gate = Gate()
        self._is_closed = False
        self._is_suspect = False
        self._env: lmdb.Environment | None = None
        self._begun = -1
        """Write transactions; the first one looks how much of the file is left."""
        self._databases: dict[bytes, Database] = {}
        self._data_path = str(path / DATA_FILE)
        self._identity = self._prepare_files()
        self._open()

    # -- opening -------------------------------------------------------------------------------------------------

    def _prepare_files(self) -> tuple[int, int]:
        """Create the store where there is none; returns which file it is."""
        options, path = self._options, self.path
        try:
            if not options.allow_network:
                files.refuse_network(path)
            if files.is_new(path, read_only=options.read_only):
                files.create(path, partial(fill, options=options))
            if not options.read_only:
                # The store may be somebody else's whose rename has not reached the disk yet.
                files.sync(path)
                files.sync(path.parent)
            status = os.stat(self._data_path)  # noqa: PTH116 - on every call later; a Path costs more than the call
        except OSError as error:
            raise error_of_os(error, f"cannot open the store at {path}") from error
        return status.st_dev, status.st_ino

    def _open(self) -> None:
        self._check_file()
        self._env, self._databases = open_environment(self.path, self._options, self._map_size)
        self._page_size = self._env.stat()["psize"]

    # -- transactions --------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Rows]:
        """One read transaction."""
        rows = self.enter(write=False)
        try:
            yield rows
        except lmdb.Error as error:
            raise self.error(error, "a read failed", applied=False) from error
        finally:
            self.leave(rows)

    def write(self, work: Callable[[Rows], T], *, releases: Callable[[], bool] = never) -> T:
        """Run ``work`` in one write transaction and commit what it changed. It is run again when the map had to grow.

        ``releases`` says whether it admits nothing new, so that at the cap of the map it may use the reserve. Raises
        StoreError (``applied`` False, or None when the commit call failed), or what ``work`` raises.
        """
        if self._options.read_only:
            self._check_process()
            raise StoreReadOnly(f"the store at {self.path} was opened with read_only=True")
        while True:
            try:
                return self._write_once(work)
            except lmdb.MapFullError as error:
                if self._grow():
                    continue
                makes_room = releases()
                if not makes_room and not self._tick():
                    raise self._full() from error
                break
        return self._write_with_reserve(work) if makes_room else self._write_at_cap(work)

    def _write_at_cap(self, work: Callable[[Rows], T]) -> T:
        try:
            return self._write_once(work)
        except lmdb.MapFullError as error:
            raise self._full() from error

    def _write_with_reserve(self, work: Callable[[Rows], T]) -> T:
        """Deleting takes pages too. Afterwards the map is as small again as what is in it allows."""
        cap = self._options.max_map_size
        self._set_size(cap + RESERVE_BYTES)
        try:
            return self._write_at_cap(work)
        finally:
            # What was committed stays so when this fails; the next use reopens.
            with suppress(StoreFull):
                self._set_size(cap)

    def _write_once(self, work: Callable[[Rows], T]) -> T:
        rows = self.enter(write=True)
        try:
            outcome = work(rows)
            if rows.changes:
                self._commit(rows)
            return outcome
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            raise self.error(error, "a write failed", applied=False) from error
        finally:
            self.leave(rows)

    def _tick(self) -> bool:
        """Commit next to nothing: pages that one transaction frees are there for the next but one. False when full."""
        try:
            self._write_once(lambda rows: rows.put(META, FORMAT_KEY, encode_number(STORE_FORMAT)))
        except lmdb.MapFullError:
            return False
        return True

    def _full(self) -> StoreFull:
        return StoreFull(
            f"the map of {self.path} is full at its cap of {self._map_size} bytes; prune or sweep, or open it with a "
            "larger max_map_size"
        )

    def _commit(self, rows: Rows) -> None:
        try:
            commit_transaction(rows.txn)
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            self._is_suspect = True
            raise self.error(error, "a commit failed", applied=None) from error
        except BaseException:
            self._is_suspect = True
            raise
        self.commits += 1
        self.rows_written += rows.rows_written
        self.bytes_written += rows.bytes_written

    def enter(self, *, write: bool) -> Rows:
        """Begin a transaction; ``leave`` ends it, without committing.

        That the path still names the mapped file is checked for writing: reading what is mapped does no harm.
        """
        if self._pid != os.getpid() or self._is_closed:
            self._check_process()
        for _ in range(_RETRIES):
            if self._env is None or self._is_suspect:
                self._reopen()
            self._gate.enter()
            rows = None
            try:
                if self._is_closed:
                    raise self._closed()
                length = self._check_file().st_size if write else None
                rows = self._begin(length)
            finally:
                if rows is None:
                    self._gate.leave()
            if rows is not None:
                return rows
            if not self._is_suspect:
                self._follow_growth()
        raise StoreError(f"the store at {self.path} changes faster than it can be opened; try again")

    def leave(self, rows: Rows) -> None:
        """End what ``enter`` began."""
        try:
            rows.txn.abort()
        finally:
            self._gate.leave()

    def _begin(self, length: int | None) -> Rows | None:
        """A transaction, for writing when the length of the file is given; None when the environment has to be reopened
        (it is marked suspect) or adopt a larger map.
        """
        if self._env is None or self._is_suspect:
            return None
        try:
            txn = self._env.begin(write=length is not None)
            if length is not None:
                self._begun += 1
                if not self._begun % _LOOK_EVERY:
                    self._fill_ahead(self._env, length)
            return Rows(txn, self._databases)
        except lmdb.MapResizedError:
            return None
        except lmdb.PanicError:
            self._is_suspect = True
            return None
        except lmdb.Error as error:
            raise self.error(error, "a transaction could not begin", applied=False) from error

    def _fill_ahead(self, env: lmdb.Environment, length: int) -> None:
        """Lengthen the file by zeros before its pages are used up: a commit that need not lengthen it is synced faster.

        Nobody else writes, for the write transaction has begun. Where there is no room the commit will say so. Only
        every eighth transaction looks: what is left is enough for more than eight ordinary ones.
        """
        info = env.info()
        # The reserve beyond the cap is for what makes room.
        end = min(info["map_size"], self._options.max_map_size)
        wanted = (info["last_pgno"] + 1 + _PAGES_LEFT) * self._page_size
        if length < wanted < end:
            with suppress(OSError):
                files.append_zeros(self._data_path, self._identity, min(wanted + _FILL_BYTES, end))

    # -- growth, reopening, closing ------------------------------------------------------------------------------

    def _grow(self) -> bool:
        """Double the map, up to the cap; False when it is there."""
        with self._gate.exclusive():
            self._check_closed()
            if self._env is not None and not self._is_suspect:
                size = self._map_size = self._env.info()["map_size"]
                if size >= self._options.max_map_size:
                    return False
                self._resize(self._env, min(2 * size, self._options.max_map_size))
                clear_dead_readers(self._env)
            return True

    def _follow_growth(self) -> None:
        """Adopt the map size that another process set."""
        self._set_size(0)

    def _set_size(self, size: int) -> None:
        with self._gate.exclusive():
            if self._env is not None and not self._is_closed and not self._is_suspect:
                self._resize(self._env, size)

    def _resize(self, env: lmdb.Environment, size: int) -> None:
        try:
            env.set_mapsize(size)
        except lmdb.Error as error:
            # The old map may be gone already.
            self._is_suspect = True
            raise StoreFull(f"the map of {self.path} cannot grow to {size} bytes: {error}", cause=error) from error
        self._map_size = env.info()["map_size"]

    def _reopen(self) -> None:
        """Close what is in doubt and open the same file again; when that fails, the next call tries again."""
        with self._gate.exclusive():
            self._check_closed()
            if self._env is not None and not self._is_suspect:
                return
            self._is_suspect = True
            if self._env is not None:
                env, self._env = self._env, None
                env.close()
            self._open()
            self.ordinals.clear()
            self.generation += 1
            self._is_suspect = False

    def close(self) -> None:
        """Close; twice is fine. A forked child closes what it inherited, and can then open the store anew."""
        if self._pid != os.getpid():
            self._release()
            return
        with self._gate.exclusive():
            self._release()

    def _release(self) -> None:
        self._is_closed = True
        env, self._env = self._env, None
        if env is not None:
            env.close()

    # -- checks on every call ------------------------------------------------------------------------------------

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise StoreForked(
                f"the store at {self.path} was opened in process {self._pid} and came here by fork; close it here and "
                "open it anew"
            )
        self._check_closed()

    def _check_closed(self) -> None:
        if self._is_closed:
            raise self._closed()

    def _closed(self) -> StoreClosed:
        return StoreClosed(f"the store at {self.path} was closed; open it anew")

    def _check_file(self) -> os.stat_result:
        try:
            status = os.stat(self._data_path)  # noqa: PTH116 - as above
        except OSError as error:
            problem = (
                f"{self._data_path} cannot be found any more ({error.strerror}); restore it and open the store anew"
            )
            raise StoreLost(problem, cause=error) from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise StoreLost(f"{self._data_path} was replaced by another file; close this store and open it anew")
        return status

    # -- facts ---------------------------------------------------------------------------------------------------

    def size_bytes(self) -> int:
        """The length of the data file. Raises StoreLost when it is gone."""
        return self._check_file().st_size

    def space(self) -> StoreSpace:
        """What takes which room in the file."""
        with self.reading() as rows:
            env = self._env
            assert env is not None, "it is open as long as a transaction is"
            info, main = env.info(), pages_of(env.stat())
            tables = tuple(TableSpace(table.decode(), rows.count(table), rows.pages(table)) for table in TABLES)
            length = self.size_bytes()
        return StoreSpace(
            self._page_size,
            tables,
            main + META_PAGES,
            info["last_pgno"] + 1,
            length,
            info["map_size"],
            info["last_txnid"],
        )

    def error(self, error: lmdb.Error, doing: str, *, applied: bool | None) -> StoreError:
        """What py-lmdb raised, as one of our errors; a panic makes the environment suspect."""
        if isinstance(error, lmdb.PanicError):
            self._is_suspect = True
        return error_of_lmdb(error, self.path, doing, applied=applied)
