"""Opening an ``lmdb.Environment``: which flags and sub-databases it has, and what is checked before it is used."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final, final

import lmdb
from attrs import frozen

from ..runtime.errors import StoreCorruption, StoreError, StoreInUse, StoreTooNew
from ..spec.vocabulary import OnCorrupt
from .codec import decode_number, encode_number
from .lmdb_errors import DATA_FILE, code_of, error_of_lmdb
from .lmdb_files import FILE_MODE, check_data_file
from .lmdb_rows import FORMAT_KEY, META, STORE_FORMAT, TABLES, Database, Rows

_ENGINE: Final = 0
"""LMDB 0.9; left open, an environment variable of py-lmdb would decide the file format of new stores."""
_NOT_PERMITTED: Final = frozenset({errno.EACCES, errno.EROFS, errno.ENOENT, errno.EPERM})


@final
@frozen
class EnvironmentOptions:
    """How an environment is opened. Sizes are bytes of address space, not of disk."""

    map_size: int
    max_map_size: int
    read_only: bool
    allow_network: bool
    on_corrupt: OnCorrupt = OnCorrupt.STRICT


def fill(directory: Path, options: EnvironmentOptions) -> None:
    """Make an empty store in ``directory``."""
    try:
        with _map(directory, options, options.map_size, create=True) as env:
            databases = {name: env.open_db(name) for name in TABLES}
            with env.begin(write=True) as txn:
                Rows(txn, databases).put(META, FORMAT_KEY, encode_number(STORE_FORMAT))
    except lmdb.Error as error:
        raise error_of_lmdb(error, directory.parent, "a store cannot be created", applied=False) from error


def open_environment(
    path: Path, options: EnvironmentOptions, map_size: int
) -> tuple[lmdb.Environment, dict[bytes, Database]]:
    """Map the store at ``path`` and check what is in it. Nothing stays open when that fails."""
    check_data_file(path / DATA_FILE)
    try:
        env = _map_with_lock(path, options, map_size)
    except lmdb.Error as error:
        raise _open_error(error, path) from error
    try:
        _check_flags(env, path)
        clear_dead_readers(env)
        databases = _open_databases(env, path, read_only=options.read_only)
        _check_format(env, databases, path)
    except lmdb.Error as error:
        env.close()
        raise _open_error(error, path) from error
    except BaseException:
        env.close()
        raise
    return env, databases


def clear_dead_readers(env: lmdb.Environment) -> None:
    """Give back the places of readers whose process is gone: LMDB keeps every page that one of them may still need."""
    env.reader_check()


def _map(
    directory: Path, options: EnvironmentOptions, map_size: int, *, create: bool = False, lock: bool = True
) -> lmdb.Environment:
    return lmdb.open(
        str(directory),
        map_size=map_size,
        subdir=True,
        readonly=options.read_only,
        create=create,
        mode=FILE_MODE,
        max_dbs=len(TABLES),
        lock=lock,
        lib_version=_ENGINE,
    )


def _map_with_lock(path: Path, options: EnvironmentOptions, map_size: int) -> lmdb.Environment:
    try:
        return _map(path, options, map_size)
    except lmdb.Error as error:
        if not options.read_only or code_of(error) not in _NOT_PERMITTED:
            raise
        # Who may not write here cannot enter the reader table; the store is read without being announced in it.
        return _map(path, options, map_size, lock=False)


def _check_flags(env: lmdb.Environment, path: Path) -> None:
    flags = env.flags()
    if not (flags["sync"] and flags["metasync"]) or flags["writemap"] or flags["map_async"]:
        raise StoreError(f"{path} was opened without synced commits ({flags}); nothing acknowledged would be safe")


def _open_databases(env: lmdb.Environment, path: Path, *, read_only: bool) -> dict[bytes, Database]:
    # py-lmdb drops handles that were opened in a read transaction; and without a transaction it waits for the lock of
    # the writers with the lock of the interpreter held.
    txn = None if read_only else env.begin(write=True)
    try:
        databases = {name: env.open_db(name, txn=txn, create=False) for name in TABLES}
        if txn is not None:
            txn.commit()
    except lmdb.NotFoundError as error:
        problem = f"a sub-database is missing ({error}); it is not a holdstate store, or not a whole one"
        raise StoreCorruption(str(path / DATA_FILE), problem) from error
    finally:
        if txn is not None:
            txn.abort()
    return databases


def _check_format(env: lmdb.Environment, databases: dict[bytes, Database], path: Path) -> None:
    with env.begin() as txn:
        found = Rows(txn, databases).read(META, FORMAT_KEY, decode_number)
    if found is None or found < 1:
        raise StoreCorruption(str(path / DATA_FILE), f"its store format is {found}")
    if found > STORE_FORMAT:
        raise StoreTooNew(f"store {path}", found, STORE_FORMAT)


def _open_error(error: lmdb.Error, path: Path) -> StoreError:
    if "already open" in str(error):
        return StoreInUse(
            f"{path} is open in this process already; share that store, or close it first (one that was inherited by "
            "fork too)",
            cause=error,
        )
    return error_of_lmdb(error, path, "the store cannot be opened", applied=False)
