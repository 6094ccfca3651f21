"""Inputs as JSON, in and out: the wire form, the stored body, the payload fingerprint, images taken out and put back.

The wire form of an input is one object: ``input_type``, ``header`` and the input's own fields, with what is a default
left out. A body is its text in UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from hashlib import blake2b, sha256
from typing import Any, Final
from uuid import UUID

import attrs
import msgspec
from cattrs.errors import ClassValidationError

from .blocks import Block, ImageBlock
from .converters import (
    DEFAULT_SOURCES,
    INPUT_CLASSES,
    TAG,
    TAGS,
    as_utc,
    first_problem,
    new_decoder,
    new_encoder,
    own_fields_encoder,
    pick,
)
from .errors import InvalidInput
from .headers import InputHeader
from .ids import new_uuid7, utc_now
from .inputs import JSON, ContinuationInput, Input, OperationInput
from .rejections import RejectionCode
from .settings import HARD_LIMITS, Limits
from .validation import check_shape

INPUT_TAG: Final = "input_type"
FINGERPRINT_BYTES: Final = 32

_encoder: Final = new_encoder()
_header_to_dict: Final = _encoder.get_unstructure_hook(InputHeader)
# By class: the tag and the function for the own fields.
_own_fields: Final[dict[type, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
    cls: (tag, own_fields_encoder(_encoder, cls)) for tag, cls in INPUT_CLASSES.items()
}
# A tuple: a union would be made anew at each call.
_WITHOUT_BLOCKS: Final = (ContinuationInput, OperationInput)
_encode: Final = msgspec.json.Encoder().encode
# The order in which a caller filled a dict is kept in the body, and is no part of the content.
_encode_sorted: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder().decode


# -- wire form -----------------------------------------------------------------------------------------------------


def input_to_wire(value: Input) -> dict[str, JSON]:
    """The wire form of an admissible input, as plain JSON values that share nothing with it."""
    wire = {"header": _header_to_dict(value.header), **_payload(value)}
    return msgspec.to_builtins(wire)  # type: ignore[no-any-return]  # dicts stay dicts


def input_from_wire(
    data: object,
    *,
    new_id: Callable[[], UUID] = new_uuid7,
    now: Callable[[], datetime] = utc_now,
    limits: Limits = HARD_LIMITS,
) -> Input:
    """The input that ``data`` is the wire form of. Where id, time, source or the header are absent they are supplied.

    InvalidInput with the path of the first field that is wrong. Durability rules are judged at admission.
    """
    if type(data) is not dict:
        raise InvalidInput("", f"must be an object, not {type(data).__name__}")
    tag = pick({name: name for name in INPUT_CLASSES}, data, INPUT_TAG)
    header = data.get("header", {})
    if type(header) is dict:
        supplied: dict[str, object] = {}
        if "id" not in header:
            supplied["id"] = str(new_id())
        if "timestamp" not in header:
            supplied["timestamp"] = now().isoformat()
        if "source" not in header:
            supplied["source"] = _encoder.unstructure(DEFAULT_SOURCES[tag])
        header = {**header, **supplied}
    return check_shape(_read({**data, "header": header}), limits)


@cache
def _readers() -> dict[str, Any]:
    # At the first read: cattrs takes some 15 ms to write them, and who imports this need not read.
    decoder = new_decoder()
    return {tag: (cls, decoder.get_structure_hook(cls)) for tag, cls in INPUT_CLASSES.items()}


def _read(data: dict[Any, Any]) -> Any:
    cls, hook = pick(_readers(), data, INPUT_TAG)
    try:
        return hook({key: item for key, item in data.items() if key != INPUT_TAG}, cls)
    except (InvalidInput, ClassValidationError) as error:
        raise first_problem(error) from error


# -- stored form ---------------------------------------------------------------------------------------------------


def admit(value: Input) -> tuple[bytes, bytes]:
    """The body and the payload fingerprint of an admissible input without inline images, from one pass over it."""
    payload = _payload(value)
    return _encode({"header": _header_to_dict(value.header), **payload}), _fingerprint(payload)


def encode_body(value: Input) -> bytes:
    """An admissible input as compact JSON, keys of JSON objects in the order in which they are."""
    return _encode({"header": _header_to_dict(value.header), **_payload(value)})


def decode_body(body: bytes) -> Input:
    """The input that ``encode_body`` made ``body`` of; InvalidInput when it cannot be one."""
    try:
        data = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("", f"the body is not the JSON of an input: {error}", RejectionCode.NOT_ENCODABLE) from error
    if type(data) is not dict:
        raise InvalidInput("", f"must be an object, not {type(data).__name__}")
    return _read(data)  # type: ignore[no-any-return]  # one of the six classes


def payload_fingerprint(value: Input) -> bytes:
    """32 bytes that are the same exactly for the same kind of input with the same own fields, whatever its header.

    An image counts by its content, inline or not; the order of keys does not count.
    """
    return _fingerprint(_payload(extract_blobs(value)[0]))


def _payload(value: Input) -> dict[str, Any]:
    tag, own_fields = _own_fields[type(value)]
    return {INPUT_TAG: tag, **own_fields(value)}


def _fingerprint(payload: dict[str, Any]) -> bytes:
    return blake2b(_encode_sorted(payload), digest_size=FINGERPRINT_BYTES).digest()


# -- images --------------------------------------------------------------------------------------------------------


def extract_blobs(value: Input) -> tuple[Input, tuple[tuple[str, bytes], ...]]:
    """The input with references in place of inline images, and the images, each once, by reference."""
    blobs: dict[str, bytes] = {}

    def take_out(block: Block) -> Block:
        if not isinstance(block, ImageBlock) or block.data is None:
            return block
        blob = f"sha256:{sha256(block.data).hexdigest()}"
        blobs[blob] = block.data
        return ImageBlock(block.media_type, blob=blob)

    return _with_blocks(value, take_out), tuple(blobs.items())


def blob_references(value: Input) -> tuple[str, ...]:
    """The blobs that the input refers to, each once, in order."""
    if isinstance(value, _WITHOUT_BLOCKS) or not value.blocks:
        return ()
    blobs = (block.blob for block in value.blocks if isinstance(block, ImageBlock))
    return tuple(dict.fromkeys(blob for blob in blobs if blob is not None))


def hydrate(value: Input, load: Callable[[str], bytes]) -> Input:
    """The input with the images that ``load`` gives for their references. What ``load`` raises goes through."""

    def put_back(block: Block) -> Block:
        if not isinstance(block, ImageBlock) or block.blob is None:
            return block
        return ImageBlock(block.media_type, data=load(block.blob))

    return _with_blocks(value, put_back)


def _with_blocks(value: Input, change: Callable[[Block], Block]) -> Input:
    if isinstance(value, _WITHOUT_BLOCKS) or not value.blocks:
        return value
    return attrs.evolve(value, blocks=tuple(map(change, value.blocks)))


# -- any record ----------------------------------------------------------------------------------------------------


def to_wire(record: object) -> JSON:
    """A record and all in it as plain JSON, to be shown: inputs in wire form, enums by value, None kept."""
    cls = type(record)
    if cls in _own_fields:
        return input_to_wire(record)  # type: ignore[arg-type]  # one of the six classes
    if attrs.has(cls):
        view = {field.name: to_wire(getattr(record, field.name)) for field in attrs.fields(cls)}
        return {TAG: TAGS[cls], **view} if cls in TAGS else view
    if isinstance(record, Mapping):
        return {str(to_wire(key)): to_wire(item) for key, item in record.items()}
    if isinstance(record, list | tuple):
        return [to_wire(item) for item in record]
    if isinstance(record, set | frozenset):
        return [to_wire(item) for item in sorted(record)]
    if isinstance(record, datetime):
        record = as_utc(record)
    return msgspec.to_builtins(record)  # type: ignore[no-any-return]  # a leaf: text, number, UUID, enum, bytes
