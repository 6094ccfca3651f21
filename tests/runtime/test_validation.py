"""Admission's judgement of inputs: every hostile value is refused by name, nothing raises, nothing is changed."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import Enum, StrEnum
from typing import Any, NoReturn, cast
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.runtime.blocks import ImageBlock, TextBlock
from holdstate.runtime.errors import InvalidInput
from holdstate.runtime.headers import (
    ExternalSource,
    FlowSource,
    OperatorSource,
    PeerSource,
    Source,
    SystemSource,
)
from holdstate.runtime.ids import RuntimeId
from holdstate.runtime.inputs import (
    ContinuationInput,
    Convention,
    ExternalEventInput,
    FlowStepInput,
    Input,
    OperationInput,
    PeerInput,
    PeerMessage,
    PeerRequest,
    PeerResponseProgress,
    PeerResponseTerminal,
    PromptInput,
    ResponsePhase,
    ResponseStatus,
    TurnMetadata,
)
from holdstate.runtime.settings import Limits
from holdstate.runtime.validation import RejectionCode, check_input, check_shape, check_size, strict_json
from holdstate.runtime.wire import encode_body
from holdstate.spec.vocabulary import Durability

from .input_strategies import inputs, json_values

LIMITS = Limits(max_payload_bytes=64 * 1024, max_blob_bytes=1000, max_blobs=2)
INVALID, ENCODABLE, LARGE = RejectionCode.INVALID_FIELD, RejectionCode.NOT_ENCODABLE, RejectionCode.TOO_LARGE
SKILLS = "turn_metadata.skill_references"
RANGE, DEEP, KEY = RejectionCode.NUMBER_OUT_OF_RANGE, RejectionCode.TOO_DEEP, RejectionCode.INVALID_KEY


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Time(datetime):
    pass


class Id(UUID):
    pass


class Mode(StrEnum):
    QUEUE = "queue"


class Fighting:
    """Raises at whatever it is asked."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> NoReturn:
        raise RuntimeError

    def __hash__(self) -> NoReturn:
        raise RuntimeError

    def __repr__(self) -> NoReturn:
        raise RuntimeError


class Zone(tzinfo):
    def utcoffset(self, _: datetime | None) -> NoReturn:
        raise RuntimeError

    dst = tzname = utcoffset


STRANGE = [
    None,
    True,
    5,
    1.5,
    "text",
    b"bytes",
    (),
    [],
    {},
    set(),
    object(),
    Fighting(),
    Text("a"),
    Whole(1),
    Mode.QUEUE,
]
# By name, since a test runner cannot hold an object that fights back.
STRANGE_INPUTS = {type(value).__name__: value for value in STRANGE} | {
    "class": PromptInput,
    "type": type,
    "zone": Zone(),
}


def nested(levels: int, inner: Any = 1) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


def with_header(**changes: Any) -> PromptInput:
    value = PromptInput.new("a")
    return attrs.evolve(value, header=attrs.evolve(value.header, **changes))


def event(payload: Any) -> OperationInput:
    return OperationInput.new("o", payload)


def skilled(*references: str) -> PromptInput:
    return PromptInput.new("", turn_metadata=TurnMetadata(skill_references=references))


LATE = datetime.max.replace(tzinfo=timezone(timedelta(hours=-9)))
FULL: list[Input] = [
    PromptInput.new("a", (TextBlock("t"), ImageBlock("a/b", b"x"), ImageBlock("a/b", blob="sha256:" + "0" * 64))),
    PromptInput.new("a", turn_metadata=TurnMetadata(None, True, "m", "p", {}, ("a",), ("b",), {"a": 1}, {})),
    PeerInput.new("a", convention=PeerRequest("r", "i"), source=PeerSource("p", None)),
    PeerInput.new("a", convention=PeerResponseProgress("r", ResponsePhase.ACCEPTED), source=FlowSource("f", 1)),
    PeerInput.new("a", convention=PeerResponseTerminal("r", ResponseStatus.FAILED), source=ExternalSource("x")),
    FlowStepInput.new("s", "i"),
    ExternalEventInput.new("e", {"a": [1]}, render_metadata={}),
    ContinuationInput.new("r", request_id="q", correlation_id="c", idempotency_key="k", supersession_key="s"),
    OperationInput.new("o", None),
]


# -- taken ---------------------------------------------------------------------------------------------------------


@given(inputs)
def test_every_admissible_input_is_taken(value: Input) -> None:
    """No rejection, and the input is as it was."""
    assert check_input(value, Limits()) is None
    assert check_shape(value, Limits()) is value


@pytest.mark.parametrize("text", ["", "\x00", "a\x00b", "\U0010ffff", "é", "\u2028", '"\\'])
def test_any_unicode_text_is_taken(text: str) -> None:
    """NUL included, in texts, JSON strings and JSON keys."""
    assert check_input(PromptInput.new(text), LIMITS) is None
    assert check_input(event({text: [text]}), LIMITS) is None


def test_any_aware_time_is_taken() -> None:
    """A time in another zone is admitted; it is stored as UTC."""
    zone = timezone(timedelta(hours=-5))
    assert check_input(with_header(timestamp=datetime(2025, 1, 1, tzinfo=zone)), LIMITS) is None


def test_numbers_to_the_edges_of_their_range_are_taken() -> None:
    """-2**63 to 2**64 - 1, and every finite double, -0.0 too."""
    assert check_input(event([-(2**63), 2**64 - 1, -0.0, 5e-324, 1.7976931348623157e308]), LIMITS) is None
    assert check_input(PromptInput.new("a", source=FlowSource("f", 2**63 - 1)), LIMITS) is None


def test_depth_counts_containers() -> None:
    """max_depth levels of lists are taken, one more is not."""
    assert check_input(event(nested(64)), LIMITS) is None
    rejection = check_input(event(nested(65)), LIMITS)
    assert rejection is not None
    assert (rejection.code, rejection.path) == (DEEP, "event" + "[0]" * 64)


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRANGE_INPUTS)
def test_no_object_makes_the_check_raise(name: str) -> None:
    """Whatever is handed in as an input is a rejection."""
    rejection = check_input(STRANGE_INPUTS[name], LIMITS)
    assert rejection is not None
    assert rejection.code is INVALID


@pytest.mark.parametrize(
    "cls", [PromptInput, PeerInput, FlowStepInput, ExternalEventInput, ContinuationInput, OperationInput]
)
def test_an_input_that_was_never_initialised_is_refused(cls: Any) -> None:
    """Fields that are not there are a rejection, not an AttributeError."""
    rejection = check_input(cls.__new__(cls), LIMITS)
    assert rejection is not None
    assert "AttributeError" in rejection.reason


Put = Callable[[Any], Any]


def inside(outer: Put, inner: Put) -> Put:
    return lambda other: outer(inner(other))


def field_of(record: Any, name: str) -> Put:
    return lambda other: attrs.evolve(record, **{name: other})


def item_of(items: tuple[Any, ...], index: int) -> Put:
    return lambda other: (*items[:index], other, *items[index + 1 :])


def places(record: Any) -> list[tuple[str, Put]]:
    """The path of each field of a record and of the records in it, and how to put something else there."""
    found: list[tuple[str, Put]] = []
    for field in attrs.fields(type(record)):
        name, value, put = field.name, getattr(record, field.name), field_of(record, field.name)
        found.append((name, put))
        if attrs.has(type(value)):
            found += [(f"{name}.{path}", inside(put, deeper)) for path, deeper in places(value)]
        if name == "blocks":
            for index, block in enumerate(value):
                item = inside(put, item_of(value, index))
                found.append((f"blocks[{index}]", item))
                found += [(f"blocks[{index}].{path}", inside(item, deeper)) for path, deeper in places(block)]
    return found


@pytest.mark.parametrize("value", FULL, ids=lambda value: value.kind)
def test_a_strange_value_in_any_field_is_refused_by_its_path(value: Input) -> None:
    """Each field takes exactly its own types: all others are refused there, and what is taken can be encoded."""
    refused = 0
    for path, put in places(value):
        for strange in STRANGE:
            rejection = check_input(put(strange), LIMITS)
            if rejection is None:
                encode_body(put(strange))
            else:
                assert rejection.path == path or path.startswith(f"{rejection.path}.")
                assert rejection.reason.startswith(rejection.path)
                refused += 1
    assert refused > len(places(value)) * len(STRANGE) // 2


@pytest.mark.parametrize(
    ("value", "code", "path"),
    [
        (with_header(timestamp=datetime(2025, 1, 1)), RejectionCode.NAIVE_TIMESTAMP, "header.timestamp"),  # noqa: DTZ001
        (with_header(timestamp=Time(2025, 1, 1, tzinfo=UTC)), INVALID, "header.timestamp"),
        (with_header(timestamp=LATE), INVALID, "header.timestamp"),
        (with_header(timestamp=datetime(2025, 1, 1, tzinfo=Zone())), INVALID, ""),
        (with_header(id=Id(int=1)), INVALID, "header.id"),
        (with_header(id=UUID.__new__(UUID)), INVALID, ""),
        (with_header(idempotency_key=""), KEY, "header.idempotency_key"),
        (with_header(idempotency_key="k" * 513), KEY, "header.idempotency_key"),
        (with_header(supersession_key="\ud800"), KEY, "header.supersession_key"),
        (with_header(correlation_id="\ud800"), ENCODABLE, "header.correlation_id"),
        (with_header(source=PeerSource("p", RuntimeId("a\n"))), INVALID, "header.source.runtime_id"),
        (with_header(source=FlowSource("f", 2**63)), INVALID, "header.source.step_index"),
        (with_header(source=FlowSource("f", -1)), INVALID, "header.source.step_index"),
        (PromptInput.new("a\udfff"), ENCODABLE, "text"),
        (PromptInput.new("a" * 65 * 1024), LARGE, "text"),
        (PromptInput.new("", (TextBlock(""),) * 10_000), LARGE, "blocks[4096]"),
        (PromptInput.new("", (ImageBlock("a/b"),)), INVALID, "blocks[0]"),
        (PromptInput.new("", (ImageBlock("a/b", b"", "sha256:" + "0" * 64),)), INVALID, "blocks[0]"),
        (PromptInput.new("", (ImageBlock("", b""),)), INVALID, "blocks[0].media_type"),
        (PromptInput.new("", (ImageBlock("a/b", cast("bytes", bytearray(b"x"))),)), INVALID, "blocks[0].data"),
        (PromptInput.new("", (ImageBlock("a/b", b"x" * 1001),)), LARGE, "blocks[0].data"),
        (PromptInput.new("", (ImageBlock("a/b", blob="sha256:" + "A" * 64),)), INVALID, "blocks[0].blob"),
        (PromptInput.new("", (ImageBlock("a/b", blob="sha256:" + "0" * 64 + "\n"),)), INVALID, "blocks[0].blob"),
        (PromptInput.new("", (ImageBlock("a/b", b""),) * 3), LARGE, "blocks"),
        (skilled("a", "\ud800"), ENCODABLE, f"{SKILLS}[1]"),
        (skilled(*[""] * 30_000), LARGE, f"{SKILLS}[21845]"),
        (event(float("nan")), ENCODABLE, "event"),
        (event([1, float("-inf")]), ENCODABLE, "event[1]"),
        (event({"a": {"b c": "\ud800"}}), ENCODABLE, 'event.a["b c"]'),
        (event({"\ud800": 1}), ENCODABLE, 'event["\\ud800"]'),
        (event({"k" * 1000: float("nan")}), ENCODABLE, "event." + "k" * 60),
        (event({1: 1}), ENCODABLE, "event"),
        (event({Text("a"): 1}), ENCODABLE, "event"),
        (event({"a": (1, 2)}), ENCODABLE, "event.a"),
        (event({"a": {1, 2}}), ENCODABLE, "event.a"),
        (event({"a": b"x"}), ENCODABLE, "event.a"),
        (event(OrderedDict(a=1)), ENCODABLE, "event"),
        (event([Whole(1)]), ENCODABLE, "event[0]"),
        (event([Fighting()]), ENCODABLE, "event[0]"),
        (event([2**64]), RANGE, "event[0]"),
        (event([-(2**63) - 1]), RANGE, "event[0]"),
        (event([10**100_000]), RANGE, "event[0]"),
        (event(nested(100_000)), DEEP, "event" + "[0]" * 64),
        (event(["a" * 70_000]), LARGE, "event"),
        (event([0] * 40_000), LARGE, "event"),
        (event({"a" * 70_000: 0}), LARGE, "event"),
        (ExternalEventInput.new("e", "x" * 40_000, render_metadata={"a": "x" * 40_000}), LARGE, "render_metadata"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_by_code_and_path(value: Input, code: RejectionCode, path: str) -> None:
    """Each hostile value has its code and is named by its place (C4)."""
    rejection = check_input(value, LIMITS)
    assert rejection is not None
    assert (rejection.code, rejection.path) == (code, path)
    rejection.reason.encode()
    assert len(rejection.reason) < 700


def test_a_list_in_itself_is_too_deep() -> None:
    """A cycle ends at the depth limit, however wide it is."""
    narrow: list[Any] = []
    narrow.append(narrow)
    wide: dict[str, Any] = {}
    wide.update({str(index): wide for index in range(100)})
    codes = [
        rejection.code
        for rejection in (check_input(event(narrow), LIMITS), check_input(event(wide), LIMITS))
        if rejection
    ]
    assert codes == [DEEP, DEEP]


def test_shared_parts_count_each_time() -> None:
    """Lists of the same list, doubled 60 times, end at the size limit and not after 2**60 steps."""
    value: Any = [1]
    for _ in range(60):
        value = [value, value]
    rejection = check_input(event(value), LIMITS)
    assert rejection is not None
    assert rejection.code is LARGE
    assert rejection.reason == "event: takes the input over 65536 bytes (Limits.max_payload_bytes)"


@given(inputs, st.integers(1024, 3000))
def test_the_early_size_check_never_refuses_what_fits(value: Input, limit: int) -> None:
    """The lower bound is one: an input that it refuses has a longer body."""
    limits = Limits(max_payload_bytes=limit)
    rejection = check_input(value, limits)
    if rejection is not None:
        assert rejection.code is LARGE
        assert check_size(encode_body(value), limits) is not None


def test_the_exact_size_is_that_of_the_body() -> None:
    """check_size refuses one byte too many."""
    limits = Limits(max_payload_bytes=2000)
    assert check_size(b"x" * 2000, limits) is None
    rejection = check_size(b"x" * 2001, limits)
    assert rejection is not None
    assert rejection.code is LARGE
    assert "2001" in rejection.reason


# -- durability ----------------------------------------------------------------------------------------------------

SOURCES: list[Source] = [OperatorSource(), PeerSource("p"), FlowSource("f", 0), SystemSource(), ExternalSource("x")]
CONVENTIONS: list[Convention | None] = [
    None,
    PeerMessage(),
    PeerRequest("r", "i"),
    PeerResponseProgress("r", ResponsePhase.ACCEPTED),
    PeerResponseTerminal("r", ResponseStatus.FAILED),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: type(source).__name__)
def test_derived_inputs_come_from_flows_and_the_system_only(source: Source) -> None:
    """Derived is refused from operator, peer and external, and for five kinds whatever the source."""
    derived: dict[str, Any] = {"durability": Durability.DERIVED, "source": source}
    makers: list[Any] = [lambda c=c: PeerInput.new("b", convention=c, **derived) for c in CONVENTIONS]
    makers += [
        lambda: PromptInput.new("a", **derived),
        lambda: FlowStepInput.new("s", "i", **derived),
        lambda: ExternalEventInput.new("e", 1, **derived),
        lambda: ContinuationInput.new("r", **derived),
        lambda: OperationInput.new("o", 1, **derived),
    ]
    taken = set()
    for make in makers:
        rejection = check_input(make(), LIMITS)
        if rejection is None:
            taken.add(str(make().kind))
        else:
            assert (rejection.code, rejection.path) == (RejectionCode.DERIVED_FORBIDDEN, "header.durability")
    allowed = {"peer_response_progress", "external_event", "continuation", "operation"}
    assert taken == (allowed if isinstance(source, FlowSource | SystemSource) else set())


def test_an_ephemeral_input_has_no_idempotency_key() -> None:
    """The key could not be kept; a supersession key is fine."""
    assert check_input(PromptInput.new("a", durability=Durability.EPHEMERAL, supersession_key="s"), LIMITS) is None
    rejection = check_input(PromptInput.new("a", durability=Durability.EPHEMERAL, idempotency_key="k"), LIMITS)
    assert rejection is not None
    assert (rejection.code, rejection.path) == (RejectionCode.KEY_NEEDS_DURABLE, "header.idempotency_key")


# -- JSON text -----------------------------------------------------------------------------------------------------


@given(json_values)
def test_strict_json_reads_what_json_writes(value: Any) -> None:
    """Any plain value comes back from its text, as text and as bytes."""
    text = json.dumps(value)
    assert repr(strict_json(text)) == repr(value)
    assert repr(strict_json(json.dumps(value, ensure_ascii=False).encode(), max_depth=64)) == repr(value)


@pytest.mark.parametrize(
    ("text", "code", "mention"),
    [
        ("", ENCODABLE, "line 1, column 1"),
        ("[1,\n2,]", ENCODABLE, "line 2"),
        ("[1] x", ENCODABLE, "column 5"),
        ("\ufeff1", ENCODABLE, "line 1"),
        (b"\xff", ENCODABLE, "byte 0"),
        (b'"\xed\xa0\x80"', ENCODABLE, "byte 1"),
        ('"\\ud800"', ENCODABLE, "surrogate"),
        ('{"a":["\\udc00"]}', ENCODABLE, "a[0]"),
        ('"\ud800"', ENCODABLE, "surrogate"),
        ('{"a":{"b":1,"b":2}}', INVALID, "b: occurs twice"),
        ('{"a b":1,"x":0,"a b":1}', INVALID, '["a b"]: occurs twice'),
        ("NaN", ENCODABLE, "finite"),
        ('{"a":-Infinity}', ENCODABLE, "a: must be finite"),
        ("1e400", RANGE, "out of range"),
        ('{"a":[18446744073709551616]}', RANGE, "a[0]"),
        ("-9223372036854775809", RANGE, "out of range"),
        ("9" * 100_000, RANGE, "out of range"),
        ("[" * 100_000, DEEP, "character 8"),
        ("[" * 100_000 + "]" * 100_000, DEEP, "character 8"),
        ('{"a":' * 100_000, DEEP, "levels"),
        ('"' + "[" * 100_000, ENCODABLE, "Unterminated"),
        ("[" * 9 + "]" * 9, DEEP, "levels"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_strict_json_refuses_what_is_not_exact(text: str | bytes, code: RejectionCode, mention: str) -> None:
    """Each refusal has its code and says where; nothing recurses."""
    with pytest.raises(InvalidInput) as refused:
        strict_json(text, max_depth=8)
    assert refused.value.code is code
    assert mention in str(refused.value)


def test_brackets_in_strings_are_no_depth() -> None:
    """Only structure counts, also after escaped quotes; siblings do not add up."""
    assert strict_json('["[[[\\"[[[", [], [], {}]', max_depth=2) == ['[[["[[[', [], [], {}]


def test_a_depth_that_the_stack_does_not_allow_is_refused() -> None:
    """A caller's larger max_depth does not end in a RecursionError."""
    with pytest.raises(InvalidInput) as refused:
        strict_json("[" * 100_000 + "]" * 100_000, max_depth=1_000_000)
    assert refused.value.code is DEEP


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_no_text_breaks_strict_json(text: str | bytes) -> None:
    """Any text is a value or InvalidInput."""
    try:
        value = strict_json(text, max_depth=4)
    except InvalidInput:
        return
    assert strict_json(json.dumps(value)) == value


def test_codes_are_closed_and_spelled_once() -> None:
    """The words on the wire."""
    assert issubclass(RejectionCode, Enum)
    assert {str(code) for code in RejectionCode} == {code.name.lower() for code in RejectionCode}
