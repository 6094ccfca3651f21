"""Which of our errors stands for what the operating system or LMDB reported. Codes decide, not only classes."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

import lmdb

from ..runtime.errors import StoreCorruption, StoreError, StoreFull, StoreReadOnly

DATA_FILE: Final = "data.mdb"

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def error_of_code(code: int, problem: str, *, applied: bool | None, cause: BaseException | None) -> StoreError:
    """The error for an errno of the operating system."""
    if code in _FULL:
        return StoreFull(f"{problem}; make room and try again", applied=applied, cause=cause)
    if code in _READ_ONLY:
        return StoreReadOnly(
            f"{problem}; open it with read_only=True, or make it writable", applied=applied, cause=cause
        )
    return StoreError(problem, applied=applied, cause=cause)


def error_of_os(error: OSError, doing: str) -> StoreError:
    """The error for a call of the operating system that failed before anything was written."""
    return error_of_code(error.errno or 0, f"{doing}: {error.strerror or error}", applied=False, cause=error)


_DAMAGED: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)
_SCARCE_BYTES: Final = 1024 * 1024


def code_of(error: lmdb.Error) -> int:
    """The errno or LMDB code; py-lmdb gives none where it refuses by itself."""
    return getattr(error, "code", 0)


def error_of_lmdb(error: lmdb.Error, path: Path, doing: str, *, applied: bool | None) -> StoreError:
    """The error for what py-lmdb raised about the store in the directory ``path``."""
    if isinstance(error, _DAMAGED) and applied is False:
        return StoreCorruption(str(path), f"{doing}: {error}")
    code = code_of(error)
    # LMDB makes EIO of a write that was cut short, as the last bytes of a full disk do.
    if code == errno.EIO and _is_disk_full(path):
        code = errno.ENOSPC
    return error_of_code(code, f"{doing} in {path}: {error}", applied=applied, cause=error)


def _is_disk_full(path: Path) -> bool:
    """Whether the disk has no room, or the limit on the size of a file leaves none."""
    with suppress(OSError):
        disk = os.statvfs(path)
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        rooms = [disk.f_bavail * disk.f_frsize]
        if limit != resource.RLIM_INFINITY:
            rooms.append(limit - (path / DATA_FILE).stat().st_size)
        return min(rooms) < _SCARCE_BYTES
    return False
