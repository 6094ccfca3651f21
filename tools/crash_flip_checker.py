"""The process that reads a store one bit of which was turned. Messages are those of ``crash_checker``."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Final, TypeAlias

from ..spec.errors import HoldstateError
from ..stores.codec_envelope import unseal
from ..stores.lmdb_rows import TABLES
from ..stores.lmdb_store import LmdbStore
from .crash_checker import place, serve
from .crash_report import DETECTED, HARMLESS, VANISHED, WENT_BACK, WRONG

_COMMIT_NUMBERS: Final = (144, 4096 + 144)
"""Where LMDB 0.9 has the number of the transaction in its two meta pages, with pages of 4096 bytes."""
Content: TypeAlias = dict[tuple[bytes, bytes], bytes]


def read_rows(store: LmdbStore, *, is_checked: bool) -> Content:
    """Every row; where ``is_checked``, StoreCorruption for the first one whose checksum fails."""
    found: Content = {}
    with store._environment.reading() as rows:  # noqa: SLF001 - below every other way to look at it
        for table in TABLES:
            for key, value in rows.scan(table, b""):
                if is_checked:
                    unseal(table, key, value)
                found[table, key] = value
    return found


def look(path: Path, whole: Content, older: Content, *, is_checked: bool) -> str:
    """What became of the store at ``path``, which held the rows ``whole``, and ``older`` before."""
    try:
        with LmdbStore.open(path) as store:
            found = read_rows(store, is_checked=is_checked)
            noticed = is_checked and bool(store.verify())
    except HoldstateError:
        return DETECTED
    if found == older and found != whole and not noticed:
        return WENT_BACK
    if any(whole.get(each) != value for each, value in found.items()):
        return DETECTED if noticed else WRONG
    if noticed:
        return DETECTED
    return HARMLESS if len(found) == len(whole) else VANISHED


def _rows_of(folder: Path, content: bytes) -> Content:
    with LmdbStore.open(place(folder, content, len(content), "store", 0)) as store:
        return read_rows(store, is_checked=False)


def _before_last_commit(content: bytes) -> bytes:
    """The file with its newer meta page made the older one."""
    numbers = [int.from_bytes(content[at : at + 8], sys.byteorder) for at in _COMMIT_NUMBERS]
    newer = _COMMIT_NUMBERS[numbers.index(max(numbers))]
    return content[:newer] + bytes(8) + content[newer + 8 :]


def main(arguments: list[str]) -> None:
    """``FOLDER``: where the damaged files are laid out."""
    folder = Path(arguments[0]) / f"flips-{os.getpid()}"
    content = b""
    whole: Content = {}
    older: Content = {}

    def do(job: dict[str, Any]) -> dict[str, Any]:
        nonlocal content, whole, older
        if job["content"] is not None:
            content = job["content"]
            whole, older = (_rows_of(folder, each) for each in (content, _before_last_commit(content)))
        damaged = bytearray(content)
        damaged[job["place"] // 8] ^= 1 << job["place"] % 8
        path = place(folder, bytes(damaged), len(damaged), "store", 0)
        return {"outcome": look(path, whole, older, is_checked=job["is_checked"])}

    serve(do)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
