"""Identifiers, the clock, and the rules for texts that name something. Ids are compared as given."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NewType, TypeVar
from unicodedata import category
from uuid import UUID

from .errors import InvalidInput
from .rejections import RejectionCode

if sys.version_info >= (3, 14):  # pragma: no cover - one of the two, by the interpreter
    from uuid import uuid7 as new_uuid7
else:  # pragma: no cover
    from uuid_utils.compat import uuid7 as new_uuid7

__all__ = [
    "EventId",
    "IdempotencyKey",
    "InputId",
    "RunId",
    "RuntimeId",
    "SupersessionKey",
    "check_runtime_id",
    "check_text",
    "check_uuid",
    "check_uuids",
    "in_utc",
    "key_problem",
    "new_uuid7",
    "text_problem",
    "utc_now",
]

InputId = NewType("InputId", UUID)
RunId = NewType("RunId", UUID)
EventId = NewType("EventId", UUID)
RuntimeId = NewType("RuntimeId", str)
IdempotencyKey = NewType("IdempotencyKey", str)
SupersessionKey = NewType("SupersessionKey", str)
U = TypeVar("U", bound=UUID)

MAX_RUNTIME_ID_BYTES = 255
MAX_KEY_BYTES = 512


def utc_now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


def in_utc(time: datetime, path: str) -> datetime:
    """An aware ``time`` in UTC, in which times can be added and compared; InvalidInput for a naive one."""
    if not isinstance(time, datetime):
        raise InvalidInput(path, f"must be a datetime, not {type(time).__name__}")
    if time.tzinfo is UTC:
        return time
    if time.utcoffset() is None:
        problem = "has no time zone; give an aware time, such as datetime.now(UTC)"
        raise InvalidInput(path, problem, RejectionCode.NAIVE_TIMESTAMP)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(path, "is outside the years 1 to 9999 in UTC") from None


def text_problem(text: object) -> str | None:
    """What keeps ``text`` from being stored as UTF-8 exactly, or None. NUL is fine, a lone surrogate is not."""
    if type(text) is not str:
        return f"must be text, not {type(text).__name__}"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has a lone surrogate at character {error.start}; give well-formed Unicode text"
    return None


def key_problem(text: object) -> str | None:
    """What is wrong with an idempotency or supersession key, or None: 1 to 512 UTF-8 bytes, no lone surrogates."""
    return _sized_text_problem(text, MAX_KEY_BYTES)


def runtime_id_problem(text: object) -> str | None:
    """What is wrong with a runtime id, or None: 1 to 255 UTF-8 bytes, no control characters, no lone surrogates."""
    problem = _sized_text_problem(text, MAX_RUNTIME_ID_BYTES)
    if problem is None and any(category(character) == "Cc" for character in str(text)):
        return "has a control character; use printable text"
    return problem


def check_runtime_id(text: str) -> RuntimeId:
    """``text`` as a runtime id; InvalidInput when it is not one."""
    problem = runtime_id_problem(text)
    if problem is not None:
        raise InvalidInput("runtime_id", problem)
    return RuntimeId(text)


def check_text(text: str, path: str) -> str:
    """``text``, which has to be well-formed."""
    problem = text_problem(text)
    if problem is not None:
        raise InvalidInput(path, problem)
    return text


def check_uuid(value: U, path: str) -> U:
    """``value``, which has to be a UUID; its text is none."""
    if not isinstance(value, UUID):
        raise InvalidInput(path, f"must be a UUID, not {type(value).__name__}; of its text make one with uuid.UUID()")
    return value


def check_uuids(values: Iterable[U], path: str) -> tuple[U, ...]:
    """``values``, each of which has to be a UUID."""
    try:
        ids = tuple(values)
    except TypeError:
        raise InvalidInput(path, f"must be UUIDs, in a tuple or a list, not {type(values).__name__}") from None
    return tuple([check_uuid(each, f"{path}[{index}]") for index, each in enumerate(ids)])


def _sized_text_problem(text: object, limit: int) -> str | None:
    problem = text_problem(text)
    if problem is not None:
        return problem
    size = len(str(text).encode())
    if 1 <= size <= limit:
        return None
    return f"is {size} bytes of UTF-8; 1 to {limit} are allowed"
