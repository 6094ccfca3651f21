"""Sub-databases and keys of an LMDB store, and one transaction seen as rows. See docs/storage-format.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from itertools import groupby, islice
from operator import itemgetter
from typing import Final, TypeAlias, TypeVar, final
from uuid import UUID

import lmdb

from ..runtime.store import ResultRef
from .codec_envelope import sealed

T = TypeVar("T")

Database: TypeAlias = lmdb._Database  # noqa: SLF001 - the only name that py-lmdb gives it
Transaction: TypeAlias = "lmdb.Transaction[bytes]"

META: Final = b"meta"
NAMES: Final = b"names"
RUNTIMES: Final = b"runtimes"
ACTIVE: Final = b"active"
ENDED: Final = b"ended"
BODIES: Final = b"bodies"
ORDERS: Final = b"orders"
KEYS: Final = b"keys"
RECEIPTS: Final = b"receipts"
RESULTS: Final = b"results"
SNAPSHOTS: Final = b"snapshots"
BLOBS: Final = b"blobs"
BLOB_REFS: Final = b"blob_refs"
PRUNED: Final = b"pruned"
EVENTS: Final = b"events"

TABLES: Final = (
    META,
    NAMES,
    RUNTIMES,
    ACTIVE,
    ENDED,
    BODIES,
    ORDERS,
    KEYS,
    RECEIPTS,
    RESULTS,
    SNAPSHOTS,
    BLOBS,
    BLOB_REFS,
    PRUNED,
    EVENTS,
)

STORE_FORMAT: Final = 1
FORMAT_KEY: Final = b"format"
ORDINAL_KEY: Final = b"next ordinal"
FIRST_ORDINAL: Final = 1

_ORDER_BIAS: Final = 2**63
_BLOB_PREFIX: Final = "sha256:"
_STATE: Final = b"\0"
_BODY: Final = b"\1"
_FEW: Final = 16
"""Rows that are put one by one: a cursor for each table costs more than that."""
_TABLE: Final = itemgetter(0)
_OF_BOUNDARY: Final = b"\0"
_OF_COMPLETION: Final = b"\1"
DIGEST_BYTES: Final = 32
NOBODY: Final = bytes(16)
"""In place of ordinal and order: the blob was put by itself and is held until it is swept. Ordinals start at 1."""


def pages_of(stat: lmdb._StatDict) -> int:
    """The pages of a table, by what LMDB says of it."""
    return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]


def ordinal_prefix(ordinal: int) -> bytes:
    """What all keys of a runtime start with."""
    return ordinal.to_bytes(8, "big")


def order_key(prefix: bytes, order: int) -> bytes:
    """The key of an input; keys sort as order keys do, negative ones first."""
    return prefix + (order + _ORDER_BIAS).to_bytes(8, "big")


def behind_order(prefix: bytes, order: int) -> bytes:
    """Behind all rows of an order key, which may be any number."""
    return order_key(prefix, min(max(order, -_ORDER_BIAS), _ORDER_BIAS - 1)) + b"\xff"


def state_key(place: bytes) -> bytes:
    """Where the state row of an active input is, by ``order_key``."""
    return place + _STATE


def body_key(place: bytes) -> bytes:
    """Where the body of an input is, right behind its state row; in ``bodies``, once it has ended."""
    return place + _BODY


def is_body(key: bytes) -> bool:
    """Whether a key of ``active`` is one of a body."""
    return key.endswith(_BODY)


def order_of(key: bytes) -> int:
    """The order key at the end of ``key``."""
    return int.from_bytes(key[-8:], "big") - _ORDER_BIAS


def input_key(prefix: bytes, input_id: UUID) -> bytes:
    """Where the order key of an input is found."""
    return prefix + input_id.bytes


def idempotency_key(prefix: bytes, key: str) -> bytes:
    """Where the input under an idempotency key is found."""
    return prefix + blake2b(key.encode(), digest_size=DIGEST_BYTES).digest()


def run_prefix(prefix: bytes, run_id: UUID) -> bytes:
    """What the keys of receipts and results of a run start with."""
    return prefix + run_id.bytes


def receipt_key(prefix: bytes, run_id: UUID, sequence: int) -> bytes:
    """The key of a receipt, by sequence up to 2**64 - 1."""
    return prefix + run_id.bytes + sequence.to_bytes(8, "big")


def event_key(prefix: bytes, offset: int) -> bytes:
    """The key of an event of the log, by offset up to 2**64 - 1."""
    return prefix + offset.to_bytes(8, "big")


def result_key(prefix: bytes, ref: ResultRef) -> bytes:
    """The key of a result."""
    if ref.sequence is None:
        return prefix + ref.run_id.bytes + _OF_COMPLETION
    return prefix + ref.run_id.bytes + _OF_BOUNDARY + ref.sequence.to_bytes(8, "big")


def blob_key(blob_id: str) -> bytes | None:
    """The digest in ``blob_id``; None when it is not the id of a blob."""
    if not blob_id.startswith(_BLOB_PREFIX):
        return None
    try:
        digest = bytes.fromhex(blob_id[len(_BLOB_PREFIX) :])
    except ValueError:
        return None
    return digest if blob_name(digest) == blob_id and len(digest) == DIGEST_BYTES else None


def blob_name(digest: bytes) -> str:
    """The id of the blob with that digest."""
    return _BLOB_PREFIX + digest.hex()


@final
class Rows:
    """One transaction, by table and key. Values go in and come out as stored; everything is a copy."""

    __slots__ = ("_databases", "bytes_written", "changes", "rows_written", "txn")

    def __init__(self, txn: Transaction, databases: Mapping[bytes, Database]) -> None:
        self.txn = txn
        self._databases = databases
        self.changes = 0
        self.rows_written = 0
        self.bytes_written = 0

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The stored value, or None."""
        return self.txn.get(key, None, self._databases[table])

    def read(self, table: bytes, key: bytes, decode: Callable[[bytes, bytes, bytes], T]) -> T | None:
        """The decoded row, or None."""
        value = self.txn.get(key, None, self._databases[table])
        return None if value is None else decode(table, key, value)

    def scan(self, table: bytes, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of the rows whose key starts with ``prefix``, from ``start`` on, in order."""
        with self.txn.cursor(self._databases[table]) as cursor:
            if not (cursor.set_range(start or prefix) if start or prefix else cursor.first()):
                return
            for key, value in cursor:
                if not key.startswith(prefix):
                    return
                yield key, value

    def states(self, prefix: bytes, start: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """The state rows of active inputs, as ``scan`` gives them; of the bodies between them no page is read."""
        with self.txn.cursor(self._databases[ACTIVE]) as cursor:
            if not cursor.set_range(start or prefix):
                return
            value = cursor.value
            for key in cursor.iternext(keys=True, values=False):
                if not key.startswith(prefix):
                    return
                if not key.endswith(_BODY):
                    yield key, value()

    def keys_from(self, table: bytes, start: bytes, limit: int | None) -> list[bytes]:
        """At most ``limit`` keys from ``start`` on, without their values."""
        with self.txn.cursor(self._databases[table]) as cursor:
            if not (cursor.set_range(start) if start else cursor.first()):
                return []
            return list(islice(cursor.iternext(keys=True, values=False), limit))

    def has_prefix(self, table: bytes, prefix: bytes) -> bool:
        """Whether any key starts with ``prefix``."""
        with self.txn.cursor(self._databases[table]) as cursor:
            return cursor.set_range(prefix) and cursor.key().startswith(prefix)

    def count(self, table: bytes) -> int:
        """How many rows a table has."""
        return self.txn.stat(self._databases[table])["entries"]

    def page_bytes(self, table: bytes) -> int:
        """What the pages that hold the rows of a table take."""
        stat = self.txn.stat(self._databases[table])
        return stat["psize"] * (stat["leaf_pages"] + stat["overflow_pages"])

    def pages(self, table: bytes) -> int:
        """All pages that a table takes, those that only lead to its rows too."""
        return pages_of(self.txn.stat(self._databases[table]))

    def put_all(self, puts: list[tuple[bytes, bytes, bytes]]) -> None:
        """Write sealed rows, each replacing what is there; many go table by table in the order of keys."""
        databases, size = self._databases, 0
        if len(puts) <= _FEW:
            put = self.txn.put
            for table, key, value in puts:
                # By position (dupdata, overwrite, append), which takes half the time.
                put(key, value, True, True, False, databases[table])
                size += len(key) + len(value)
        else:
            for table, rows in groupby(sorted(puts), _TABLE):
                with self.txn.cursor(databases[table]) as cursor:
                    cursor.putmulti([(key, value) for _, key, value in rows])
            size = sum([len(key) + len(value) for _, key, value in puts])
        self.bytes_written += size
        self.changes += len(puts)
        self.rows_written += len(puts)

    def put(self, table: bytes, key: bytes, payload: bytes) -> None:
        """Seal and write one row."""
        self.put_all([sealed(table, key, payload)])

    def move(self, key: bytes, source: bytes, target: bytes) -> None:
        """Give a row to another table as it is, if it is there."""
        value = self.get(source, key)
        if value is not None:
            self.put_all([(target, key, value)])
            self.delete(source, key)

    def delete(self, table: bytes, key: bytes) -> bool:
        """Remove one row; False when there is none."""
        removed = self.txn.delete(key, db=self._databases[table])
        self.changes += removed
        return removed
