"""What takes which room in the file of an LMDB store."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdstate.runtime.errors import StoreClosed
from holdstate.stores.lmdb_rows import TABLES
from holdstate.stores.lmdb_store import LmdbStore

from .builders import Books, last_txnid


def test_every_byte_of_the_file_is_accounted_for(tmp_path: Path) -> None:
    """In use, free, or ahead of need; row by row as LMDB counts them; also by another opener that only reads."""
    books = Books()
    with LmdbStore.open(tmp_path / "store") as store:
        books.open(store)
        for _ in range(20):
            books.write(store, books.accept())
        space = store.space()
        assert [table.name for table in space.tables] == [table.decode() for table in TABLES]
        rows = {table.name: table.rows for table in space.tables}
        assert (rows["runtimes"], rows["active"], rows["ended"], rows["events"]) == (1, 40, 0, 0)
        length = (tmp_path / "store" / "data.mdb").stat().st_size
        assert space.file_bytes == length
        assert (space.used_pages + space.free_pages) * space.page_bytes + space.ahead_bytes == length
        assert space.free_pages > 0
        assert space.commits == last_txnid(store)
        assert space.map_bytes >= length
    with LmdbStore.open(tmp_path / "store", read_only=True) as again:
        assert again.space() == space


def test_the_space_of_a_closed_store_is_refused(tmp_path: Path) -> None:
    """With a typed error."""
    store = LmdbStore.open(tmp_path / "store")
    store.close()
    with pytest.raises(StoreClosed):
        store.space()
