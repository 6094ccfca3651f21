"""What a machine does to a store, one function a fault: it begins, lasts for some steps, and is over. See ``Case``."""

from __future__ import annotations

import os
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, final
from unittest.mock import patch

from attrs import frozen

from ..runtime.errors import StoreFull, StoreReadOnly
from ..stores import codec_envelope, lmdb_environment, lmdb_errors, lmdb_opening, lmdb_reader
from ..stores.codec_envelope import ENVELOPE_BYTES, ROW_FORMAT
from ..stores.lmdb_environment import StoreEnvironment
from ..stores.lmdb_store import LmdbStore
from ..stores.lmdb_writer import GroupWriter
from .crash_checker import digest_of
from .crash_host_case import DISTURBED, Case
from .crash_host_files import cut_off, damaged_rows, newer_row, newer_store
from .crash_host_processes import Rival, ViewOfAnother, fork, killed_reader, newer_owner
from .crash_mounts import make_read_only, make_writable

DISK_BYTES: Final = 16 * 1024 * 1024
_SMALL_MAP: Final = 64 * 1024
_STEPS: Final = 6


# -- no room -------------------------------------------------------------------------------------------------------


async def _file_limit(case: Case) -> None:
    """The file may not grow: RLIMIT_FSIZE."""
    size = case.data.stat().st_size + case.chance.choice((0, 512, 4096, 100_000, 700_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        await _without_room(case)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def _disk_full(case: Case) -> None:
    """Another file takes the room of the disk, all of it but a little, and goes again."""
    ballast = case.path.parent / "ballast"
    disk = os.statvfs(case.path)
    spare = case.chance.choice((0, 4096, 50_000, 300_000, 1_500_000))
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_frsize - spare))
    try:
        await _without_room(case)
    finally:
        ballast.unlink()


async def _without_room(case: Case) -> None:
    await case.fill_up((StoreFull,))
    await case.work(_STEPS, DISTURBED, met=(StoreFull,))
    if case.store.verify():
        case.wrong("without room, it does not audit clean")


async def _map_full(case: Case) -> None:
    """The map has grown to its cap; what makes room goes on there."""
    cap = case.options["max_map_size"]
    await case.fill_up((StoreFull,))
    if case.data.stat().st_size < cap // 2:
        case.wrong(f"the map did not grow: the file has {case.data.stat().st_size} bytes, the cap is {cap}")
    await case.work(_STEPS, DISTURBED, met=(StoreFull,))
    for op in ("sweep", "prune"):
        if not await case.do(op, "", (StoreFull,)):
            case.wrong(f"{op} was refused, though it makes room")
    case.leave()
    case.options = {}
    await case.enter()


# -- no writing ----------------------------------------------------------------------------------------------------


async def _read_only(case: Case) -> None:
    """The file system is mounted read-only while nobody has the store open."""
    before = digest_of(case.store)
    case.leave()
    make_read_only(case.path.parent)
    try:
        case.refuse(StoreReadOnly, lambda: LmdbStore.open(case.path), "open")
        case.refuse(StoreReadOnly, lambda: LmdbStore.open(case.path.parent / "new"), "create")
        with LmdbStore.open(case.path, read_only=True) as store:
            case.refuse(StoreReadOnly, lambda: store.put_blob(b"more"), "blob")
            if digest_of(store) != before or store.verify():
                case.wrong("read-only, it is not what it was")
    finally:
        make_writable(case.path.parent)
    await case.enter()


# -- all of them ---------------------------------------------------------------------------------------------------


def _nothing(*_: object, **__: object) -> None:
    return None


def _unseen(*row: bytes) -> bytes:
    return row[2][ENVELOPE_BYTES:]


def _no_growth(*_: object) -> bool:
    return False


@final
class _AnyVersionIsOurs:
    """In place of the head of a row."""

    def unpack_from(self, value: bytes) -> tuple[int, int]:
        return min(value[0], ROW_FORMAT), int.from_bytes(value[1:ENVELOPE_BYTES], "big")


def _epoch_is_not_compared(writer: Any, commit: Any, prefix: bytes | None) -> int:
    return int(writer._stored_fence(prefix, commit.runtime.runtime_id).next_order)  # noqa: SLF001


Change = tuple[Any, str, object]


@final
@frozen
class HostFault:
    """A fault, and how holdstate would be if it did not care for it (the control)."""

    run: Callable[[Case], Awaitable[None]]
    careless: tuple[Change, ...]
    mounts: bool = False
    others: tuple[Callable[[Path, str], Callable[[Any], Any]], ...] = ()

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The control, while this is entered."""
        with ExitStack() as stack:
            for owner, name, value in self.careless:
                stack.enter_context(patch.object(owner, name, value))
            yield


def _viewer(path: Path, _: str) -> Callable[[Any], Any]:
    return ViewOfAnother(path)


HOST_FAULTS: Final[dict[str, HostFault]] = {
    "file limit": HostFault(_file_limit, ((lmdb_errors, "_FULL", frozenset()),)),
    "disk full": HostFault(_disk_full, ((lmdb_errors, "_FULL", frozenset()),), mounts=True),
    "map full": HostFault(
        _map_full, ((StoreEnvironment, "_grow", _no_growth), (StoreEnvironment, "_set_size", _nothing))
    ),
    "read-only": HostFault(_read_only, ((lmdb_errors, "_READ_ONLY", frozenset()),), mounts=True),
    "cut off": HostFault(cut_off, ((lmdb_opening, "check_data_file", _nothing),)),
    "newer store": HostFault(
        newer_store, ((lmdb_opening, "_check_format", _nothing), (lmdb_opening, "check_data_file", _nothing))
    ),
    "newer row": HostFault(newer_row, ((codec_envelope, "_HEAD", _AnyVersionIsOurs()),)),
    "damaged rows": HostFault(damaged_rows, ((lmdb_reader, "unseal", _unseen),)),
    "newer owner": HostFault(newer_owner, ((GroupWriter, "_fence", _epoch_is_not_compared),), others=(Rival,)),
    "fork": HostFault(fork, ((StoreEnvironment, "_check_process", _nothing),)),
    "killed reader": HostFault(
        killed_reader,
        ((lmdb_opening, "clear_dead_readers", _nothing), (lmdb_environment, "clear_dead_readers", _nothing)),
        others=(_viewer, _viewer),
    ),
}
"""By name, in the order in which they are tried."""


def options_of(fault: str, chance: Any) -> dict[str, Any]:
    """How the store of a case is opened."""
    if fault != "map full":
        return {}
    return {"map_size": _SMALL_MAP, "max_map_size": chance.choice((2, 3, 4)) * 1024 * 1024}
