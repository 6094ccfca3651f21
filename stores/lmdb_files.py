"""The files under an LMDB store: where they may lie, how they are created, and what is checked before LMDB maps them.

A damaged file kills the process that maps it (SIGBUS when it is too short), so it is read by ordinary means first.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Final

from ..runtime.errors import StoreCorruption, StoreError, StoreTooNew
from .lmdb_errors import DATA_FILE, error_of_os

LOCK_FILE: Final = "lock.mdb"
DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600
SPARE_BYTES: Final = 64 * 1024 * 1024
"""With less than that left on the disk no file is lengthened ahead of need."""

# -- where it lies -------------------------------------------------------------------------------------------------

_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "coda",
        "fuse",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
    }
)
_MOUNTS: Final = Path("/proc/self/mountinfo")


def refuse_network(path: Path, mounts: Path = _MOUNTS) -> None:
    """Raise StoreError when ``path`` lies on a network file system, where neither locks nor maps can be trusted."""
    kind = _file_system(path, mounts)
    if kind is not None and (kind in _NETWORK or kind.startswith("fuse.")):
        raise StoreError(
            f"{path} is on {kind}, a file system whose locks and maps LMDB cannot trust; use a local disk, or pass "
            "allow_network=True when you know that one machine alone uses it"
        )


def _file_system(path: Path, mounts: Path) -> str | None:
    """The type of the file system that ``path`` lies on, by Linux' list of mounts; None where that is not to be had."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    found, longest = None, -1
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields.split(" ")[4])
        # Of two mounts on one point the later one is seen.
        if path.is_relative_to(point) and len(point) >= longest:
            found, longest = rest.split(" ")[0], len(point)
    return found


# -- creation ------------------------------------------------------------------------------------------------------


def is_new(path: Path, *, read_only: bool) -> bool:
    """Whether a store is to be created at ``path``: nothing or an empty directory is there."""
    if (path / DATA_FILE).exists():
        return False
    if read_only:
        raise StoreError(f"there is no store at {path}; check the path, read_only=True creates none")
    if not path.exists():
        return True
    if not path.is_dir():
        raise StoreError(f"{path} is not a directory; a store is a directory with {DATA_FILE} in it")
    if any(path.iterdir()):
        raise StoreError(f"{path} holds other files and no {DATA_FILE}; give an empty or a new directory")
    return True


def create(path: Path, fill: Callable[[Path], None]) -> None:
    """Make a store at ``path`` so that a crash at any point leaves either none or a whole one.

    LMDB itself writes its first pages without a sync, and never syncs a directory. So ``fill`` makes the store under a
    temporary name beside ``path``, which then is synced and renamed. A crash may leave ``.holdstate-*`` behind there.
    """
    temporary = Path(tempfile.mkdtemp(prefix=".holdstate-", dir=path.parent))
    try:
        fill(temporary)
        (temporary / LOCK_FILE).unlink(missing_ok=True)
        sync(temporary / DATA_FILE)
        sync(temporary)
        temporary.rename(path)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        # Somebody else made one meanwhile; theirs is as good.
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def sync(path: Path) -> None:
    """Bring a file or a directory to stable storage."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- before it is mapped -------------------------------------------------------------------------------------------

_PAGE_HEADER_BYTES: Final = 16
_META: Final = Struct("=IIQQI92xQQ")
"""LMDB's MDB_meta: magic, version, address, map size, page size, the rest of two trees, last page, transaction id."""
_MAGIC: Final = 0xBEEFC0DE
_ENGINE: Final = 1
_PAGE_SIZES: Final = range(256, 0x10000 + 1)


def check_data_file(path: Path) -> None:
    """Raise StoreCorruption when ``path`` is no LMDB file, or is shorter than its own meta pages say.

    The last pages of a sound file may be missing when they are free; then the whole file is walked to tell.
    """
    try:
        with path.open("rb") as file:
            first = _read_meta(path, file.read(_PAGE_HEADER_BYTES + _META.size))
            page_size = first[0]
            file.seek(page_size)
            second = _read_meta(path, file.read(_PAGE_HEADER_BYTES + _META.size))
            # After the meta pages: another process may be writing, and it extends the file before it says so there.
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise error_of_os(error, f"cannot read {path}") from error
    _, last_page, _ = max(first, second, key=lambda meta: meta[2])
    wanted = (last_page + 1) * page_size
    if size >= wanted:
        return
    problem = _missing(path, page_size)
    if problem:
        raise StoreCorruption(str(path), f"it is cut off: it has {size} of {wanted} bytes ({problem})")


def _missing(path: Path, page_size: int) -> str:
    """What is wrong with a file that ends before its last page; empty when all that is in use is there."""
    # Not at the top: this is seldom needed, and it is a large module.
    from lmdb import verify

    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            checker = verify._Verifier(file, size)  # type: ignore[no-untyped-call]  # noqa: SLF001 - who knows the pages
            problems: list[str] = checker.verify()  # type: ignore[no-untyped-call]
    except (verify.VerifyError, OSError) as error:
        return str(error)
    if problems:
        return problems[0]
    # Of a value of several pages LMDB's own check looks at the first one alone.
    last = checker.live.rfind(1)
    return f"page {last} is missing" if size < (last + 1) * page_size else ""


def append_zeros(path: str, identity: tuple[int, int], size: int) -> None:
    """Lengthen a file to ``size`` bytes, where it is still the one of that device and inode. Not synced.

    The last room of a disk is left to those who need it now.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        status, disk = os.fstat(descriptor), os.fstatvfs(descriptor)
        lacking = size - status.st_size
        has_room = disk.f_bavail * disk.f_frsize >= lacking + SPARE_BYTES
        if (status.st_dev, status.st_ino) == identity and lacking > 0 and has_room:
            os.pwrite(descriptor, bytes(lacking), status.st_size)
    finally:
        os.close(descriptor)


def _read_meta(path: Path, head: bytes) -> tuple[int, int, int]:
    """Page size, last page and transaction id in a meta page."""
    if len(head) < _PAGE_HEADER_BYTES + _META.size:
        raise StoreCorruption(str(path), "it is cut off within the meta pages")
    magic, version, _, _, page_size, last_page, transaction = _META.unpack_from(head, _PAGE_HEADER_BYTES)
    if magic != _MAGIC:
        raise StoreCorruption(str(path), "it is not an LMDB file")
    if version > _ENGINE:
        raise StoreTooNew(f"{path} (LMDB data)", version, _ENGINE)
    if page_size not in _PAGE_SIZES or page_size & (page_size - 1):
        raise StoreCorruption(str(path), f"its meta page gives {page_size} as page size")
    return page_size, last_page, transaction
