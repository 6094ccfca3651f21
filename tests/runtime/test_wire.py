"""Inputs in and out of JSON: exact round trips, strict reading, errors with paths, fingerprints, images."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from holdstate.runtime.blocks import ImageBlock, TextBlock
from holdstate.runtime.errors import InvalidInput
from holdstate.runtime.headers import OperatorSource, PeerSource
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import (
    JSON,
    ContinuationInput,
    ExternalEventInput,
    Input,
    OperationInput,
    PeerInput,
    PeerMessage,
    PromptInput,
    TurnMetadata,
)
from holdstate.runtime.settings import Limits
from holdstate.runtime.validation import RejectionCode, check_input, strict_json
from holdstate.runtime.wire import (
    admit,
    blob_references,
    decode_body,
    encode_body,
    extract_blobs,
    hydrate,
    input_from_wire,
    input_to_wire,
    payload_fingerprint,
    to_wire,
)

from .input_strategies import inputs, json_values

ID = "0190b0a1-7c1e-7000-8000-0123456789ab"
TIME = "2025-01-31T12:00:00Z"
HEADER = {"id": ID, "timestamp": TIME, "source": {"type": "operator"}}


def same(first: Input, second: Input) -> bool:
    """Equal also in what ``==`` does not tell apart: True and 1, 1 and 1.0, 0.0 and -0.0, the order of keys."""
    return first == second and repr(input_to_wire(first)) == repr(input_to_wire(second))


# -- round trips ---------------------------------------------------------------------------------------------------


@given(inputs)
def test_a_body_is_the_input_again(value: Input) -> None:
    """Every admissible input comes back from its body exactly, and its body is the same each time."""
    assert check_input(value, Limits()) is None
    body = encode_body(value)
    assert same(decode_body(body), value)
    stored, _ = extract_blobs(value)
    assert admit(stored) == (encode_body(stored), payload_fingerprint(value))
    assert encode_body(decode_body(body)) == body


@given(inputs)
def test_the_wire_form_is_json_and_the_input_again(value: Input) -> None:
    """The wire form survives JSON text, and reading it gives the input."""
    wire = input_to_wire(value)
    text = json.dumps(wire)
    assert same(input_from_wire(strict_json(text)), value)
    assert json.loads(encode_body(value)) == wire


@given(inputs)
def test_images_go_out_and_come_back(value: Input) -> None:
    """Without its images an input is the same content, and hydrated it is the same input."""
    bare, blobs = extract_blobs(value)
    stored = dict(blobs)
    assert all(blob == f"sha256:{sha256(data).hexdigest()}" for blob, data in blobs)
    assert extract_blobs(bare) == (bare, ())
    assert payload_fingerprint(bare) == payload_fingerprint(value)
    unknown = {block.blob for block in getattr(value, "blocks", ()) if isinstance(block, ImageBlock)} - {None}
    if not unknown:
        assert hydrate(bare, stored.__getitem__) == value


def test_one_image_used_twice_is_stored_once() -> None:
    """Blobs are listed by content; a failing load is the caller's to see."""
    value = PromptInput.new("", (ImageBlock("image/png", b"x"), TextBlock("t"), ImageBlock("image/gif", b"x")))
    bare, blobs = extract_blobs(value)
    assert [data for _, data in blobs] == [b"x"]
    assert hydrate(bare, dict(blobs).__getitem__) == value
    assert set(blob_references(bare)) == set(dict(blobs))
    assert blob_references(value) == blob_references(ContinuationInput.new("r")) == ()
    with pytest.raises(KeyError):
        hydrate(bare, dict[str, bytes]().__getitem__)


@given(inputs, inputs)
def test_the_fingerprint_is_the_content_and_not_the_header(value: Input, other: Input) -> None:
    """Two inputs have one fingerprint exactly when kind and own fields are the same."""
    assert len(payload_fingerprint(value)) == 32
    assert payload_fingerprint(evolve(value, header=other.header)) == payload_fingerprint(value)
    moved = input_to_wire(extract_blobs(evolve(other, header=value.header))[0])
    as_given = json.dumps(input_to_wire(extract_blobs(value)[0]), sort_keys=True)
    assert (payload_fingerprint(value) == payload_fingerprint(other)) == (json.dumps(moved, sort_keys=True) == as_given)


def test_the_order_of_keys_is_kept_and_is_no_content() -> None:
    """A handler sees the keys in the caller's order; the fingerprint does not."""
    one = OperationInput.new("o", {"b": 1, "a": {"d": 1, "c": 2}})
    two = OperationInput.new("o", {"a": {"c": 2, "d": 1}, "b": 1})
    assert payload_fingerprint(one) == payload_fingerprint(two)
    back = decode_body(encode_body(one))
    assert isinstance(back, OperationInput)
    assert list(back.event) == ["b", "a"]  # type: ignore[arg-type]


@pytest.mark.parametrize("event", [1, 1.0, True, "1", None, [1], {"a": 1}])
def test_values_of_another_type_are_other_content(event: Any) -> None:
    """1, 1.0, True and "1" are four contents."""
    others: list[JSON] = [1, 1.0, True, "1", None, [1], {"a": 1}]
    same_content = [
        payload_fingerprint(OperationInput.new("o", event)) == payload_fingerprint(OperationInput.new("o", other))
        for other in others
    ]
    assert same_content.count(True) == 1


def test_fingerprints_stay_what_they_were() -> None:
    """Stored fingerprints are compared with new ones, so that a change of the algorithm would show here."""
    assert payload_fingerprint(PromptInput.new("hello")).hex() == HELLO
    assert payload_fingerprint(PeerInput.new("hello")).hex() != HELLO


HELLO = "6160ce60c7e4682ddb67d72931c853ca4b494a2a5104a1fd7bb6c192055e4f1f"


def test_times_are_stored_as_utc() -> None:
    """An aware time in another zone is the same instant in the body, written with Z."""
    there = datetime(2025, 1, 31, 14, tzinfo=timezone(timedelta(hours=2)))
    value = PromptInput.new("a", timestamp=there)
    body = encode_body(value)
    assert b'"2025-01-31T12:00:00Z"' in body
    assert decode_body(body).header.timestamp.tzinfo is UTC
    assert decode_body(body) == value


def test_the_wire_form_shares_nothing_with_the_input() -> None:
    """Changing it does not change the input."""
    value = OperationInput.new("o", {"a": [1]})
    wire: Any = input_to_wire(value)
    wire["event"]["a"].append(2)
    assert value.event == {"a": [1]}


# -- reading -------------------------------------------------------------------------------------------------------


def test_id_time_source_and_header_are_supplied_where_absent() -> None:
    """Absent parts of the header are minted by the given functions."""
    minted, then = UUID(ID), datetime(2025, 1, 31, 12, tzinfo=UTC)

    def read(data: object) -> Input:
        return input_from_wire(data, new_id=lambda: minted, now=lambda: then)

    bare = read({"input_type": "prompt", "text": "a"})
    assert bare == PromptInput.new("a", id=InputId(minted), timestamp=then)
    peer = read({"input_type": "peer", "body": "b", "header": {"source": {"type": "peer", "peer_id": "p"}}})
    assert peer.header.source == PeerSource("p")
    assert (peer.header.id, peer.header.timestamp) == (minted, then)
    assert read({"input_type": "prompt", "text": "a", "header": HEADER}).header.source == OperatorSource()


def test_optional_fields_may_be_null_and_keep_their_meaning() -> None:
    """Null and absent are one; an empty turn_metadata stays one."""
    value = input_from_wire({"input_type": "prompt", "text": "a", "header": HEADER, "turn_metadata": {}})
    assert value == input_from_wire(
        {"input_type": "prompt", "text": "a", "header": HEADER, "turn_metadata": {"model": None}}
    )
    assert isinstance(value, PromptInput)
    assert value.turn_metadata == TurnMetadata()
    peer = input_from_wire({"input_type": "peer", "body": "a", "convention": None, "header": HEADER})
    assert isinstance(peer, PeerInput)
    assert peer.convention is None


def prompt(**own: Any) -> dict[str, Any]:
    return {"input_type": "prompt", "text": "a", **own}


def header(**own: Any) -> dict[str, Any]:
    return prompt(header=own)


def source(**own: Any) -> dict[str, Any]:
    return header(source=own)


def flow(step_index: Any) -> dict[str, Any]:
    return source(type="flow", flow_id="f", step_index=step_index)


def image(**own: Any) -> dict[str, Any]:
    return prompt(blocks=[{"type": "image", "media_type": "a/b", **own}])


def peer(convention: Any) -> dict[str, Any]:
    return {"input_type": "peer", "body": "a", "convention": convention}


def event(payload: Any) -> dict[str, Any]:
    return {"input_type": "external_event", "event_type": "a", "payload": payload}


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (None, ""),
        ([], ""),
        ({}, "input_type"),
        ({"input_type": "promt"}, "input_type"),
        ({"input_type": ["prompt"]}, "input_type"),
        ({"input_type": "prompt"}, "text"),
        ({"input_type": "prompt", "text": 5}, "text"),
        ({"input_type": "prompt", "text": None}, "text"),
        ({"input_type": "prompt", "text": "\ud800"}, "text"),
        ({"input_type": "prompt", "text": "a", "txt": "b"}, "txt"),
        ({"input_type": "prompt", "text": "a", "odd key": "b"}, '["odd key"]'),
        ({"input_type": "prompt", "text": "a", 5: "b"}, '["5"]'),
        ({"input_type": "prompt", "text": "a", "header": None}, "header"),
        (header(idd=1), "header.idd"),
        (header(id=5), "header.id"),
        (header(id="5"), "header.id"),
        (header(timestamp=5), "header.timestamp"),
        (header(timestamp="now"), "header.timestamp"),
        (header(timestamp="2025-01-31T12:00:00"), "header.timestamp"),
        (header(timestamp="0001-01-01T00:00:00+10:00"), "header.timestamp"),
        (header(durability="eternal"), "header.durability"),
        (header(durability=None), "header.durability"),
        (header(visibility={"operator_eligible": 1}), "header.visibility.operator_eligible"),
        (header(idempotency_key=""), "header.idempotency_key"),
        (header(source="operator"), "header.source"),
        (source(), "header.source.type"),
        (source(type="alien"), "header.source.type"),
        (source(type="operator", x=1), "header.source.x"),
        (source(type="peer"), "header.source.peer_id"),
        (source(type="peer", peer_id="p", runtime_id=""), "header.source.runtime_id"),
        (flow("0"), "header.source.step_index"),
        (flow(True), "header.source.step_index"),
        (flow(-1), "header.source.step_index"),
        (prompt(blocks="ab"), "blocks"),
        (prompt(blocks=["ab"]), "blocks[0]"),
        (prompt(blocks=[{"type": "text", "text": ""}, {"type": "text"}]), "blocks[1].text"),
        (prompt(blocks=[{"type": "image", "media_type": "image/png"}]), "blocks[0]"),
        (image(data="?"), "blocks[0].data"),
        (image(data=5), "blocks[0].data"),
        (image(data="é"), "blocks[0].data"),
        (image(blob="x"), "blocks[0].blob"),
        (prompt(turn_metadata=[]), "turn_metadata"),
        (prompt(turn_metadata={"handling_mode": "now"}), "turn_metadata.handling_mode"),
        (prompt(turn_metadata={"skill_references": [1]}), "turn_metadata.skill_references[0]"),
        (prompt(turn_metadata={"provider_params": []}), "turn_metadata.provider_params"),
        (peer("request"), "convention"),
        (peer({"type": "request", "request_id": "r"}), "convention.intent"),
        (peer({"type": "response_progress", "request_id": "r", "phase": 1}), "convention.phase"),
        ({"input_type": "flow_step", "step_id": "a"}, "instructions"),
        ({"input_type": "external_event", "event_type": "a"}, "payload"),
        (event({"x": [1, {"y z": float("nan")}]}), 'payload.x[1]["y z"]'),
        (event({"x": {1: 2}}), "payload.x"),
        (event(2**64), "payload"),
        (event(deep(100_000)), "payload" + "[0]" * 256),
        ({"input_type": "continuation", "reason": "a", "handling_mode": None}, "handling_mode"),
        ({"input_type": "operation", "operation_id": "a", "event": 10**100_000}, "event"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "",
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(data: object, path: str) -> None:
    """Whatever is wrong with a wire form, the error is InvalidInput and names the field."""
    with pytest.raises(InvalidInput) as refused:
        input_from_wire(data)
    assert refused.value.path == path
    assert refused.value.problem
    assert str(refused.value).startswith(path or "input")
    str(refused.value).encode()


def test_an_unknown_field_error_lists_the_known_ones() -> None:
    """A misspelt field can be mended from the message."""
    source = {"type": "peer", "peer": "p", "peer_id": "q"}
    with pytest.raises(
        InvalidInput, match=r"header\.source\.peer: is not a field here; there are: peer_id, runtime_id"
    ):
        input_from_wire({"input_type": "prompt", "text": "a", "header": {"source": source}})
    with pytest.raises(InvalidInput, match="there are: none"):
        input_from_wire({"input_type": "prompt", "text": "a", "header": {"source": {"type": "system", "x": 1}}})


def test_limits_can_be_given_to_the_reader() -> None:
    """Sizes are those of the caller, not only the hard ones."""
    data = {"input_type": "prompt", "text": "a" * 5000}
    input_from_wire(data)
    with pytest.raises(InvalidInput) as refused:
        input_from_wire(data, limits=Limits(max_payload_bytes=4096))
    assert refused.value.code is RejectionCode.TOO_LARGE


@given(json_values)
def test_no_json_value_breaks_the_reader(data: Any) -> None:
    """Any JSON value is an input or InvalidInput, as a whole and in each place of an input."""
    for wire in (data, {"input_type": "prompt", "text": "a", "header": data}, {"input_type": "peer", "body": data}):
        try:
            value = input_from_wire(wire)
        except InvalidInput:
            continue
        assert check_input(value, Limits()) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"input_type":"prompt"}',
        b'{"input_type":"prompt","text":"a","header":1}',
        b"[" * 100_000,
        b'{"event":' + b"9" * 100_000 + b"}",
        b'"\\ud800"',
        b'"\xff"',
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    """Bytes that encode_body cannot have made are InvalidInput, however hostile."""
    with pytest.raises(InvalidInput):
        decode_body(body)


# -- any record ----------------------------------------------------------------------------------------------------


class Colour(StrEnum):
    RED = "red"


@frozen
class Sample:
    colour: Colour
    when: datetime
    who: UUID
    raw: bytes
    inner: object
    counts: dict[Colour, int]
    words: tuple[str, ...]
    some: frozenset[str]
    nothing: None = None


def test_any_record_can_be_shown_as_json() -> None:
    """Enums by value, times in UTC, ids as text, bytes in base64, inputs in wire form, None kept."""
    value = PeerInput.new("b", (ImageBlock("image/png", b"x"),), PeerMessage())
    there = datetime(2025, 1, 31, 14, tzinfo=timezone(timedelta(hours=2)))
    record = Sample(
        Colour.RED, there, UUID(ID), b"ab", (value, TextBlock("t"), [1]), {Colour.RED: 1}, ("a",), frozenset("ba")
    )
    assert to_wire(record) == {
        "colour": "red",
        "when": TIME,
        "who": ID,
        "raw": "YWI=",
        "inner": [input_to_wire(value), {"type": "text", "text": "t"}, [1]],
        "counts": {"red": 1},
        "words": ["a"],
        "some": ["a", "b"],
        "nothing": None,
    }
    json.dumps(to_wire(record))


@given(inputs)
def test_an_input_is_shown_in_wire_form(value: Input) -> None:
    """The view of an input can be given to the reader again."""
    assert same(input_from_wire(to_wire(value)), value)


@given(st.sampled_from([ContinuationInput.new("r"), ExternalEventInput.new("e", None), OperationInput.new("o", 1)]))
def test_defaults_are_left_out(value: Input) -> None:
    """Bodies hold what was said and nothing else."""
    wire = input_to_wire(value)
    header = wire["header"]
    assert isinstance(header, dict)
    assert set(header) == {"id", "timestamp", "source"}
    assert not {"handling_mode", "blocks", "request_id", "render_metadata"} & set(wire)
