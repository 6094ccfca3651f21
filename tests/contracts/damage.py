"""Rows of an LMDB store as bytes: to read them, and to put something else in their place."""

from __future__ import annotations

from typing import Any

from holdstate.stores.lmdb_store import LmdbStore


def overwrite(store: LmdbStore, table: bytes, key: bytes, value: bytes) -> None:
    """Put raw bytes where a row is."""

    def put(rows: Any) -> None:
        rows.txn.put(key, value, db=rows._databases[table])
        rows.changes += 1

    store._environment.write(put)


def raw_rows(store: LmdbStore, table: bytes) -> list[tuple[bytes, bytes]]:
    """Keys and values of a table as stored."""
    with store._environment.reading() as rows:
        return list(rows.scan(table, b""))


def flipped(value: bytes, place: int) -> bytes:
    """``value`` with one bit of the byte at ``place`` (from the end, if negative) turned."""
    changed = bytearray(value)
    changed[place] ^= 0x10
    return bytes(changed)
