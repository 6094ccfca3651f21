"""What rows are made of: numbers for enumerations, counts, times; and the check on what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from msgspec import Meta, MsgspecError, msgpack

from ..runtime.errors import StoreCorruption
from .codec_envelope import row_name, unseal

T = TypeVar("T")
W = TypeVar("W")
E = TypeVar("E", bound=StrEnum)

Count = Annotated[int, Meta(ge=0)]
Time = Annotated[datetime, Meta(tz=True)]

encode = msgpack.Encoder(uuid_format="bytes").encode
"""A record of plain values as the payload of a row."""


def named(table: Mapping[E, int]) -> dict[int, E]:
    return {number: member for member, number in table.items()}


def named_or_none(table: Mapping[E, int]) -> dict[int, E | None]:
    return {0: None, **named(table)}


def numbered_or_none(table: Mapping[E, int]) -> dict[E | None, int]:
    return {None: 0, **dict(table.items())}


def decoding(row: type[W], build: Callable[[W], T]) -> Callable[[bytes, bytes, bytes], T]:
    """The function that turns a stored value into a record; what is not exactly such a record is StoreCorruption."""
    decode = msgpack.Decoder(row).decode

    def decode_value(table: bytes, key: bytes, value: bytes) -> T:
        payload = unseal(table, key, value)
        try:
            return build(decode(payload))
        except (MsgspecError, KeyError, UnicodeDecodeError) as error:
            problem = f"unknown number {error}" if isinstance(error, KeyError) else str(error)
            raise StoreCorruption(row_name(table, key), f"it is not such a record: {problem}") from error

    return decode_value
