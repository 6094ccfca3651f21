"""Runtime records that this process wrote last: taken as they are for as long as the stored bytes are the same."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime.errors import Fenced, StoreCorruption, StoreError
from holdstate.runtime.records import RuntimeRecord
from holdstate.runtime.store import Written
from holdstate.stores import lmdb_writer
from holdstate.stores.codec import encode_runtime
from holdstate.stores.lmdb_reader import LmdbReader
from holdstate.stores.lmdb_rows import FIRST_ORDINAL, RUNTIMES, ordinal_prefix
from holdstate.stores.lmdb_store import LmdbStore

from ..contracts.damage import flipped, overwrite, raw_rows
from .builders import Books, loaded
from .test_lmdb_faults import failing_commit

PREFIX = ordinal_prefix(FIRST_ORDINAL)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runtimes whose stored record was decoded to fence a commit."""
    names: list[str] = []
    real = LmdbReader.fence_at

    def fence_at(reader: LmdbReader, prefix: bytes, runtime_id: str) -> object:
        names.append(runtime_id)
        return real(reader, prefix, runtime_id)

    monkeypatch.setattr(LmdbReader, "fence_at", fence_at)
    return names


def put_record(store: LmdbStore, record: RuntimeRecord) -> None:
    """Write a runtime record past everything that notes what was written."""
    store._environment.write(lambda rows: rows.put(RUNTIMES, PREFIX, encode_runtime(record)))


def test_a_record_that_was_just_written_is_not_decoded(store: LmdbStore, books: Books, decoded: list[str]) -> None:
    """Commit after commit of one opener."""
    for _ in range(5):
        books.write(store, books.accept())
    assert decoded == []
    assert store.verify() == []


@pytest.mark.parametrize(
    ("changes", "error"), [({"revision": 9}, StoreError), ({"epoch": 2}, Fenced), ({"epoch": 2, "revision": 9}, Fenced)]
)
def test_a_record_that_somebody_else_changed_is_noticed(
    store: LmdbStore, books: Books, decoded: list[str], changes: dict[str, Any], error: type[Exception]
) -> None:
    """Between any two commits: the second is refused and changes nothing (C32)."""
    books.write(store, books.accept())
    put_record(store, evolve(books.record, **changes))
    before = loaded(store)
    (result,) = store.commit([books.accept()])
    assert type(result) is error
    assert loaded(store) == before
    assert decoded == ["r"]
    put_record(store, books.record)
    books.write(store, books.accept())


def test_a_record_that_was_damaged_is_noticed(store: LmdbStore, books: Books) -> None:
    """One bit: the commit is refused, and the bytes stay as they are (C38)."""
    books.write(store, books.accept())
    ((key, value),) = raw_rows(store, RUNTIMES)
    overwrite(store, RUNTIMES, key, flipped(value, -1))
    (result,) = store.commit([books.accept()])
    assert isinstance(result, StoreCorruption)
    assert raw_rows(store, RUNTIMES) == [(key, flipped(value, -1))]


@pytest.mark.parametrize("lands", [False, True])
def test_what_a_failed_commit_would_have_written_is_not_believed(
    store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch, *, lands: bool
) -> None:
    """The stored bytes decide, whichever of the two it was (C36)."""
    first = books.accept()
    failing_commit(monkeypatch, lands=lands)
    with pytest.raises(StoreError):
        store.commit([first])
    (again,) = store.commit([first])
    assert isinstance(again, StoreError if lands else Written)
    books.record = first.runtime
    books.write(store, books.accept())
    assert store.verify() == []


def test_many_runtimes_are_forgotten_and_known_anew(store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept has an end; who was forgotten is read."""
    monkeypatch.setattr(lmdb_writer, "_KEPT_RUNTIMES", 2)
    many = [Books(f"r{number}", seed=number) for number in range(5)]
    for books in many:
        books.open(store)
    for _ in range(3):
        for books in many:
            books.write(store, books.accept())
            assert len(store._written) <= 2
    assert store.verify() == []
