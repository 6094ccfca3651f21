"""The envelope of every stored value: a version byte, a checksum, the payload.

The CRC-32 goes over sub-database, key, version and payload, so a row that was written to the wrong place fails too.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, final
from zlib import crc32

from ..runtime.errors import StoreCorruption, StoreTooNew

ROW_FORMAT: Final = 1
"""The newest row version that is read, and the one that is written."""

_HEAD: Final = Struct(">BI")
_pack_head: Final = _HEAD.pack
_VERSION_BYTE: Final = bytes([ROW_FORMAT])
ENVELOPE_BYTES: Final = _HEAD.size


_SEALED_AS: Final = {b"bodies": b"active"}
"""Rows that move between two sub-databases as they are, whole or damaged, are sealed for the first one."""


@final
class _Seeds(dict[bytes, int]):
    """The checksum of what stands for a sub-database in front of every row."""

    def __missing__(self, table: bytes) -> int:
        seed = self[table] = crc32(_SEALED_AS.get(table, table) + b"\0")
        return seed


_seeds: Final = _Seeds()


def seal(table: bytes, key: bytes, payload: bytes) -> bytes:
    """``payload`` as the value that is stored under ``key`` of ``table``."""
    return sealed(table, key, payload)[2]


def sealed(table: bytes, key: bytes, payload: bytes) -> tuple[bytes, bytes, bytes]:
    """A row to put: table, key, and ``payload`` as the value that is stored there."""
    return table, key, _pack_head(ROW_FORMAT, crc32(payload, crc32(key + _VERSION_BYTE, _seeds[table]))) + payload


def unseal(table: bytes, key: bytes, value: bytes) -> bytes:
    """The payload of a stored value. Raises StoreCorruption or StoreTooNew, naming the row."""
    if len(value) < ENVELOPE_BYTES:
        raise StoreCorruption(row_name(table, key), f"its value has {len(value)} bytes, less than an envelope")
    version, checksum = _HEAD.unpack_from(value)
    payload = value[ENVELOPE_BYTES:]
    # The checksum comes first: it has the same place in every version, and a version that rotted is not a newer one.
    if crc32(payload, crc32(key + value[:1], _seeds[table])) != checksum:
        raise StoreCorruption(row_name(table, key), "its checksum does not match its content")
    if version > ROW_FORMAT:
        raise StoreTooNew(row_name(table, key), version, ROW_FORMAT)
    if version < 1:
        raise StoreCorruption(row_name(table, key), f"row format {version} never existed")
    return payload


def row_name(table: bytes, key: bytes) -> str:
    """How errors and findings name a row: its sub-database and its key in hex."""
    return f"{table.decode()} row {key.hex()}"
