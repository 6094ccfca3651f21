"""What a commit changed in the file of a store, by looking at the file: its rows before and after, through plain LMDB.

The store that is looked at must not be written to meanwhile.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias, final

import lmdb
from attrs import frozen

from ..stores.lmdb_files import FILE_MODE
from .bench_setting import DATA_FILE

Place: TypeAlias = tuple[bytes, bytes]
"""A table and a key in it."""

ACCOUNT: Final = Path("/proc/self/io")
"""Where Linux keeps what this process has read and written (proc(5))."""


@final
@frozen
class Change:
    """The rows that one commit put, and those that it deleted."""

    puts: tuple[tuple[Place, bytes], ...]
    deletes: tuple[Place, ...]

    @property
    def rows(self) -> int:
        """Puts and deletes."""
        return len(self.puts) + len(self.deletes)

    @property
    def row_bytes(self) -> int:
        """Keys and values that were put."""
        return sum(len(key) + len(value) for (_, key), value in self.puts)


def rows_in(store: Path, scratch: Path) -> dict[Place, bytes]:
    """All rows of the store in the directory ``store``, read from a copy of its file in ``scratch``."""
    shutil.copyfile(store / DATA_FILE, scratch / DATA_FILE)
    with (
        lmdb.open(str(scratch), readonly=True, lock=False, max_dbs=64, mode=FILE_MODE, lib_version=0) as env,
        env.begin() as txn,
    ):
        names = list(txn.cursor().iternext(values=False))
        tables = [(name, env.open_db(name, txn, create=False)) for name in names]
        return {(name, key): value for name, table in tables for key, value in txn.cursor(table)}


def change(before: Mapping[Place, bytes], after: Mapping[Place, bytes]) -> Change:
    """What makes ``after`` of ``before``. A row that was put again as it was is none of it."""
    puts = tuple((place, value) for place, value in after.items() if before.get(place) != value)
    return Change(puts, tuple(place for place in before if place not in after))


def applied(rows: Mapping[Place, bytes], changes: Iterable[Change]) -> dict[Place, bytes]:
    """``rows`` after ``changes``."""
    made = dict(rows)
    for each in changes:
        made.update(each.puts)
        for place in each.deletes:
            del made[place]
    return made


def written_by_process(account: Path = ACCOUNT) -> int | None:
    """The bytes that this process has handed to the system to write, to whatever file; None where that is not told."""
    with suppress(OSError):
        for line in account.read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(":")
            if name == "wchar":
                return int(count)
    return None
