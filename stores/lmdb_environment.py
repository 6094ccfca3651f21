"""The one ``lmdb.Environment`` of a store: opened with checks, grown when it is full, reopened when it is in doubt.

Every transaction is one ``with`` block or one function that runs to its end on its thread, never ``lmdb.aio``. A commit
call that fails otherwise than with a full map leaves the outcome unknown and the environment suspect; the next use
closes and reopens it and raises the generation.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar, final

import lmdb
from attrs import field, frozen

from ..runtime.errors import (
    StoreClosed,
    StoreCorruption,
    StoreError,
    StoreForked,
    StoreFull,
    StoreInUse,
    StoreLost,
    StoreReadOnly,
    StoreTooNew,
)
from . import lmdb_files as files
from .codec import decode_number, encode_number
from .lmdb_errors import error_of_lmdb, error_of_os
from .lmdb_gate import Gate
from .lmdb_rows import FORMAT_KEY, META, STORE_FORMAT, TABLES, Database, Rows, Transaction

T = TypeVar("T")

_ENGINE: Final = 0
"""LMDB 0.9; left open, an environment variable of py-lmdb would decide the file format of new stores."""
_RETRIES: Final = 8


@final
@frozen
class EnvironmentOptions:
    """How an environment is opened. Sizes are bytes of address space, not of disk."""

    map_size: int
    max_map_size: int
    read_only: bool
    allow_network: bool
    max_readers: int = field(default=126)


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
        self._options = options
        self._map_size = options.map_size
        self._pid = os.getpid()
        self._gate = Gate()
        self._is_closed = False
        self._is_suspect = False
        self._env: lmdb.Environment | None = None
        self._databases: dict[bytes, Database] = {}
        self._data_path = str(path / files.DATA_FILE)
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
                files.create(path, self._fill)
            if not options.read_only:
                # The store may be somebody else's whose rename has not reached the disk yet.
                files.sync(path)
                files.sync(path.parent)
            status = os.stat(self._data_path)  # noqa: PTH116 - on every call later; a Path costs more than the call
        except OSError as error:
            raise error_of_os(error, f"cannot open the store at {path}") from error
        return status.st_dev, status.st_ino

    def _fill(self, directory: Path) -> None:
        try:
            with self._map(directory, create=True) as env:
                databases = {name: env.open_db(name) for name in TABLES}
                with env.begin(write=True) as txn:
                    Rows(txn, databases).put(META, FORMAT_KEY, encode_number(STORE_FORMAT))
        except lmdb.Error as error:
            raise self.error(error, f"cannot create a store in {directory.parent}", applied=False) from error

    def _map(self, directory: Path, *, create: bool = False, lock: bool = True) -> lmdb.Environment:
        options = self._options
        return lmdb.open(
            str(directory),
            map_size=self._map_size,
            subdir=True,
            readonly=options.read_only,
            create=create,
            mode=files.FILE_MODE,
            max_dbs=len(TABLES),
            max_readers=options.max_readers,
            lock=lock,
            lib_version=_ENGINE,
        )

    def _open(self) -> None:
        """Map the file and check what is in it; nothing stays open when that fails."""
        try:
            self._check_file()
            files.check_data_file(Path(self._data_path))
            env = self._map_with_lock()
        except lmdb.Error as error:
            raise self._open_error(error) from error
        try:
            self._check_flags(env)
            env.reader_check()
            self._databases = self._open_databases(env)
            self._check_format(env)
        except lmdb.Error as error:
            env.close()
            raise self._open_error(error) from error
        except BaseException:
            env.close()
            raise
        self._env = env

    def _map_with_lock(self) -> lmdb.Environment:
        try:
            return self._map(self.path)
        except lmdb.Error as error:
            if not self._options.read_only or error.code not in {errno.EACCES, errno.EROFS, errno.ENOENT, errno.EPERM}:
                raise
            # Nobody here can enter the reader table, so nobody here can write either: a still copy is read without it.
            return self._map(self.path, lock=False)

    def _check_flags(self, env: lmdb.Environment) -> None:
        flags = env.flags()
        if not (flags["sync"] and flags["metasync"]) or flags["writemap"] or flags["map_async"]:
            raise StoreError(
                f"{self.path} was opened without synced commits ({flags}); nothing acknowledged would be safe"
            )

    def _open_databases(self, env: lmdb.Environment) -> dict[bytes, Database]:
        # py-lmdb drops handles that were opened in a read transaction, and without one given it waits for the writers'
        # lock with the interpreter's lock held.
        txn = None if self._options.read_only else env.begin(write=True)
        try:
            databases = {name: env.open_db(name, txn=txn, create=False) for name in TABLES}
            if txn is not None:
                txn.commit()
        except lmdb.NotFoundError as error:
            problem = f"a sub-database is missing ({error}); it is not a holdstate store, or not a whole one"
            raise StoreCorruption(self._data_path, problem) from error
        finally:
            if txn is not None:
                txn.abort()
        return databases

    def _check_format(self, env: lmdb.Environment) -> None:
        with env.begin() as txn:
            found = Rows(txn, self._databases).read(META, FORMAT_KEY, decode_number)
        if found is None or found < 1:
            raise StoreCorruption(self._data_path, f"its store format is {found}")
        if found > STORE_FORMAT:
            raise StoreTooNew(f"store {self.path}", found, STORE_FORMAT)

    def _open_error(self, error: lmdb.Error) -> StoreError:
        if "already open" in str(error):
            return StoreInUse(
                f"{self.path} is open in this process already; share that store, or close it first (one that was "
                "inherited by fork too)",
                cause=error,
            )
        return self.error(error, f"cannot open the store at {self.path}", applied=False)

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

    def write(self, work: Callable[[Rows], T]) -> T:
        """Run ``work`` in one write transaction and commit what it changed. It is run again when the map had to grow.

        Raises StoreError (``applied`` False, or None when the commit call failed), or what ``work`` raises.
        """
        if self._options.read_only:
            self._check_process()
            raise StoreReadOnly(f"the store at {self.path} was opened with read_only=True")
        while True:
            rows = self.enter(write=True)
            try:
                outcome = work(rows)
                if rows.changes:
                    self._commit(rows)
                return outcome
            except lmdb.MapFullError:
                pass
            except lmdb.Error as error:
                raise self.error(error, "a write failed", applied=False) from error
            finally:
                self.leave(rows)
            self._grow()

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
        """Begin a transaction; ``leave`` ends it, without committing."""
        self._check_process()
        for _ in range(_RETRIES):
            if self._env is None or self._is_suspect:
                self._reopen()
            self._gate.enter()
            rows = None
            try:
                self._check_closed()
                self._check_file()
                rows = self._begin(write=write)
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

    def _begin(self, *, write: bool) -> Rows | None:
        """A transaction; None when the environment has to be reopened (it is marked suspect) or adopt a larger map."""
        if self._env is None or self._is_suspect:
            return None
        try:
            return Rows(self._env.begin(write=write), self._databases)
        except lmdb.MapResizedError:
            return None
        except lmdb.PanicError:
            self._is_suspect = True
            return None
        except lmdb.Error as error:
            raise self.error(error, "a transaction could not begin", applied=False) from error

    # -- growth, reopening, closing ------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Double the map, up to the cap; StoreFull when it is there."""
        with self._gate.exclusive():
            self._check_closed()
            if self._env is None:
                return
            size = self._env.info()["map_size"]
            if size >= self._options.max_map_size:
                raise StoreFull(
                    f"the map of {self.path} is full at its cap of {size} bytes; prune or sweep, or open it with a "
                    "larger max_map_size"
                )
            self._resize(self._env, min(2 * size, self._options.max_map_size))
            self._env.reader_check()

    def _follow_growth(self) -> None:
        """Adopt the map size that another process set."""
        with self._gate.exclusive():
            if self._env is not None and not self._is_closed:
                self._resize(self._env, 0)

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
            raise StoreClosed(f"the store at {self.path} was closed; open it anew")

    def _check_file(self) -> None:
        try:
            status = os.stat(self._data_path)  # noqa: PTH116 - as above
        except OSError as error:
            problem = (
                f"{self._data_path} cannot be found any more ({error.strerror}); restore it and open the store anew"
            )
            raise StoreLost(problem, cause=error) from error
        if (status.st_dev, status.st_ino) != self._identity:
            raise StoreLost(f"{self._data_path} was replaced by another file; close this store and open it anew")

    # -- facts ---------------------------------------------------------------------------------------------------

    def size_bytes(self) -> int:
        """The length of the data file."""
        return os.stat(self._data_path).st_size  # noqa: PTH116 - as above

    def error(self, error: lmdb.Error, doing: str, *, applied: bool | None) -> StoreError:
        """What py-lmdb raised, as one of our errors; a panic makes the environment suspect."""
        if isinstance(error, lmdb.PanicError):
            self._is_suspect = True
        return error_of_lmdb(error, self.path, doing, applied=applied)
