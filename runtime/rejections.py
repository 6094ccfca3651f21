"""Why an input is not taken: a closed set of codes, and the answer that carries one."""

from __future__ import annotations

from enum import StrEnum
from typing import final

from attrs import frozen


@final
class RejectionCode(StrEnum):
    """Why an input was not taken."""

    INVALID_FIELD = "invalid_field"
    NOT_ENCODABLE = "not_encodable"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    NAIVE_TIMESTAMP = "naive_timestamp"
    INVALID_KEY = "invalid_key"
    DERIVED_FORBIDDEN = "derived_forbidden"
    KEY_NEEDS_DURABLE = "key_needs_durable"
    BLOB_MISSING = "blob_missing"
    OVERLOADED = "overloaded"


@final
@frozen
class Rejection:
    """An input that was refused: the code, the sentence, the path of the field. Nothing was changed (C4)."""

    code: RejectionCode
    reason: str
    path: str
