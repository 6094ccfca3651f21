"""The zeros by which the data file is lengthened ahead of what commits need."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdstate.runtime.errors import StoreFull, StoreLost
from holdstate.runtime.store import Written
from holdstate.stores import lmdb_files
from holdstate.stores.lmdb_store import LmdbStore

from .builders import Books, loaded

KIB = 1024
MIB = 1024 * KIB


def length(store: LmdbStore) -> int:
    return (store.path / "data.mdb").stat().st_size


def used(store: LmdbStore) -> int:
    """Bytes up to the last page that was ever used."""
    env = store._environment._env
    assert env is not None
    return (env.info()["last_pgno"] + 1) * env.stat()["psize"]


def written(store: LmdbStore, books: Books, number: int, size: int = 30_000) -> Iterator[int]:
    """Commits one by one; after each the length of the file."""
    for _ in range(number):
        books.write(store, books.accept(body=bytes(size)))
        yield length(store)


def test_the_file_is_longer_than_what_is_used_and_seldom_lengthened(store: LmdbStore, books: Books) -> None:
    """Whole steps, ahead of need: of many commits few lengthen the file."""
    lengths = set()
    for each in written(store, books, 100):
        assert each > used(store)
        lengths.add(each)
    assert used(store) > 2 * MIB
    assert 1 < len(lengths) < 6
    assert store.verify() == []


def test_what_lies_behind_the_last_page_is_zeros(store: LmdbStore, books: Books) -> None:
    """Nothing of what was written before shows up there."""
    *_, end = written(store, books, 50)
    with (store.path / "data.mdb").open("rb") as file:
        file.seek(used(store))
        rest = file.read()
    assert len(rest) == end - used(store) > 0
    assert not any(rest)


@pytest.mark.parametrize("cap", [512 * KIB, 3 * MIB])
def test_the_file_is_never_lengthened_beyond_the_cap_of_its_map(tmp_path: Path, cap: int) -> None:
    """A full map is full where it was without the zeros, also while what makes room goes beyond it (C43)."""
    with LmdbStore.open(tmp_path / "store", map_size=64 * KIB, max_map_size=cap) as store:
        books = Books()
        books.open(store)
        lengths = written(store, books, cap)
        with pytest.raises(StoreFull):
            assert all(each <= cap for each in lengths)
        number = len(books.active)
        assert number * 30_000 > cap * 0.4
        assert used(store) <= cap
        for _ in range(number):
            books.write(store, books.stage())
            books.write(store, books.finish())
            assert length(store) <= max(cap, used(store))
        books.write(store, books.accept(body=bytes(4000)))
        assert store.verify() == []


def test_a_file_that_took_the_place_of_ours_is_not_touched(store: LmdbStore, books: Books) -> None:
    """By device and inode, looked at on the file that is open, and not on its path."""
    data = store.path / "data.mdb"
    other = store.path / "other"
    other.write_bytes(b"somebody else's")
    lmdb_files.append_zeros(str(other), store._environment._identity, MIB)
    assert other.read_bytes() == b"somebody else's"
    data.rename(store.path / "away")
    shutil.copy(store.path / "away", data)
    os.truncate(data, 100 * KIB)
    for _ in range(9):
        with pytest.raises(StoreLost):
            store.commit([books.accept()])
    assert data.stat().st_size == 100 * KIB


def test_a_file_that_is_long_enough_is_left_alone(store: LmdbStore) -> None:
    """It is never cut."""
    before = (store.path / "data.mdb").read_bytes()
    for size in (0, len(before) - 1, len(before)):
        lmdb_files.append_zeros(str(store.path / "data.mdb"), store._environment._identity, size)
    assert (store.path / "data.mdb").read_bytes() == before


class Disk:
    """A disk with so much room."""

    f_frsize = 4 * KIB

    def __init__(self, free: int) -> None:
        self.f_bavail = free // self.f_frsize


def test_the_last_room_of_a_disk_is_left_alone(store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """With little left the file grows by what commits need, and ahead again once there is more."""
    *_, start = written(store, books, 10)
    monkeypatch.setattr(os, "fstatvfs", lambda _: Disk(lmdb_files.SPARE_BYTES))
    *_, end = written(store, books, 100)
    assert end == max(start, used(store))
    monkeypatch.undo()
    *_, end = written(store, books, 8)
    assert end > used(store) + MIB


@pytest.mark.parametrize("call", ["open", "fstat", "fstatvfs", "pwrite"])
def test_a_file_that_cannot_be_lengthened_takes_commits_as_long_as_it_can(
    store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Filling is no part of a commit: where it fails nobody hears of it, and every commit lands (C43)."""
    calls = []

    def fail(*given: Any, **named: Any) -> Any:
        calls.append(given)
        raise OSError(errno.ENOSPC, "No space left on device")

    books.write(store, books.accept())
    os.truncate(store.path / "data.mdb", used(store))
    monkeypatch.setattr(os, call, fail)
    for _ in range(20):
        (result,) = store.commit([commit := books.accept(body=bytes(3000))])
        assert isinstance(result, Written)
        books.record = commit.runtime
    monkeypatch.undo()
    assert calls
    assert store.generation == 0
    assert len(loaded(store).inputs) == 21
