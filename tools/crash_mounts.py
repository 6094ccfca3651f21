"""File systems of one process: mounted in a namespace of its own, so that they go when it ends. Linux, and root."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_NEW_NAMESPACE: Final = 0x20000
_READ_ONLY: Final = 1
_REMOUNT: Final = 32
_RECURSIVE_PRIVATE: Final = 0x4000 | 0x40000
_DETACH: Final = 2


def leave_the_namespace() -> bool:
    """Mounts of this process are seen by nobody else from now on. False where it may not."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_NAMESPACE):
            return False
        _mount(None, Path("/"), _RECURSIVE_PRIVATE)
    except (OSError, AttributeError):
        return False
    return True


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    """A file system in memory of so many bytes."""
    place.mkdir()
    _mount(b"tmpfs", place, 0, b"size=%d" % size)
    try:
        yield
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(place), _DETACH)


def make_read_only(place: Path) -> None:
    """Until ``make_writable``. OSError while a file is open for writing."""
    _mount(b"tmpfs", place, _REMOUNT | _READ_ONLY)


def make_writable(place: Path) -> None:
    """As it was mounted."""
    _mount(b"tmpfs", place, _REMOUNT)


def _mount(kind: bytes | None, place: Path, flags: int, options: bytes | None = None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(kind, os.fsencode(place), kind, ctypes.c_ulong(flags), options):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(place))
