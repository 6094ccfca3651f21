"""What an input must be: types, sizes, depth, encodability, durability rules; and JSON text read strictly.

Everything is told by exact type, so that no object a caller hands in has a say in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, Final, NoReturn
from uuid import UUID

from ..spec.vocabulary import Durability, HandlingMode, InputKind
from .blocks import ImageBlock, TextBlock
from .errors import InvalidInput
from .headers import (
    VISIBLE,
    ExternalSource,
    FlowSource,
    InputHeader,
    OperatorSource,
    PeerSource,
    SystemSource,
    TraceContext,
    Visibility,
    traceparent_problem,
    tracestate_problem,
)
from .ids import MAX_KEY_BYTES, in_utc, key_problem, runtime_id_problem
from .inputs import (
    ContinuationInput,
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
from .json_values import check_encodable, check_json, over_payload, refuse, strict_json
from .rejections import Rejection, RejectionCode
from .settings import Limits

__all__ = ["Rejection", "RejectionCode", "check_input", "check_shape", "check_size", "strict_json"]


_DURABLE: Final = Durability.DURABLE
_BARE_SOURCES: Final = frozenset({OperatorSource, SystemSource})
"""Sources that say nothing but what they are."""
_NOTHING: Final = ()
"""There is one empty tuple: what is it needs no look."""
LARGEST_INDEX: Final = 2**63 - 1

_BLOB: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SOURCES_WITHOUT_DERIVED: Final = (OperatorSource, PeerSource, ExternalSource)
_KINDS_WITHOUT_DERIVED: Final = frozenset(
    {
        InputKind.PROMPT,
        InputKind.PEER_MESSAGE,
        InputKind.PEER_REQUEST,
        InputKind.PEER_RESPONSE_TERMINAL,
        InputKind.FLOW_STEP,
    }
)


def check_input(value: object, limits: Limits) -> Rejection | None:
    """Why ``value`` cannot be admitted, or None. Never raises, whatever it is given.

    Sizes are judged by a lower bound here, before anything is encoded; ``check_size`` has the exact word on the body.
    """
    try:
        checked = check_shape(value, limits)
        if checked.header.durability is not _DURABLE:
            _check_durability(checked)
    except InvalidInput as error:
        return Rejection(error.code, str(error), error.path)
    return None


def check_size(body: bytes, limits: Limits) -> Rejection | None:
    """Whether an encoded body (images taken out) is within ``max_payload_bytes``."""
    if len(body) <= limits.max_payload_bytes:
        return None
    reason = f"input: is {len(body)} bytes encoded; {limits.max_payload_bytes} are allowed (Limits.max_payload_bytes)"
    return Rejection(RejectionCode.TOO_LARGE, reason, "")


def check_shape(value: object, limits: Limits) -> Input:
    """``value`` as the input that it is; InvalidInput names the first field that breaks a rule on its shape."""
    try:
        check = _CHECKS.get(type(value))
        if check is None:
            _refuse_type("", value, "one of the six inputs (PromptInput, PeerInput, …)")
        check(_Check(limits), value)
        return value  # type: ignore[return-value]  # its exact type was just told
    except InvalidInput:
        raise
    except Exception as error:  # an object that was never initialised, or one that fights back
        raise InvalidInput("", f"cannot be read: {type(error).__name__}; build it with its constructor") from error


def _check_durability(value: Input) -> None:
    header = value.header
    if header.durability is Durability.EPHEMERAL:
        if header.idempotency_key is not None:
            problem = "an ephemeral input is forgotten and cannot keep a key; make it durable, or leave the key out"
            raise InvalidInput("header.idempotency_key", problem, RejectionCode.KEY_NEEDS_DURABLE)
        return
    if value.kind in _KINDS_WITHOUT_DERIVED:
        problem = f"a {value.kind} input cannot be derived; make it durable or ephemeral"
        raise InvalidInput("header.durability", problem, RejectionCode.DERIVED_FORBIDDEN)
    if type(header.source) in _SOURCES_WITHOUT_DERIVED:
        problem = "nothing from an operator, a peer or outside can be derived; make it durable or ephemeral"
        raise InvalidInput("header.durability", problem, RejectionCode.DERIVED_FORBIDDEN)


# -- the walk over one input ---------------------------------------------------------------------------------------


def _refuse_type(path: str, value: object, wanted: str) -> NoReturn:
    refuse(path, f"must be {wanted}, not {type(value).__name__}")


class _Check:
    """One pass over one input. ``left`` is what is left of the payload bytes, by a lower bound of what was seen."""

    __slots__ = ("left", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.left = limits.max_payload_bytes

    def prompt(self, value: Any) -> None:
        self.header(value.header)
        self.text(value.text, "text")
        if value.blocks is not _NOTHING:
            self.blocks(value.blocks)
        if value.turn_metadata is not None:
            self.turn_metadata(value.turn_metadata)

    def peer(self, value: Any) -> None:
        self.header(value.header)
        self.text(value.body, "body")
        if value.blocks is not _NOTHING:
            self.blocks(value.blocks)
        self.convention(value.convention)

    def flow_step(self, value: Any) -> None:
        self.header(value.header)
        self.text(value.step_id, "step_id")
        self.text(value.instructions, "instructions")
        if value.blocks is not _NOTHING:
            self.blocks(value.blocks)
        if value.turn_metadata is not None:
            self.turn_metadata(value.turn_metadata)

    def external_event(self, value: Any) -> None:
        self.header(value.header)
        self.text(value.event_type, "event_type")
        self.json(value.payload, "payload")
        if value.blocks is not _NOTHING:
            self.blocks(value.blocks)
        _member(value.handling_mode, HandlingMode, "handling_mode")
        self.json_object(value.render_metadata, "render_metadata")

    def continuation(self, value: Any) -> None:
        self.header(value.header)
        self.text(value.reason, "reason")
        _member(value.handling_mode, HandlingMode, "handling_mode")
        self.optional_text(value.request_id, "request_id")

    def operation(self, value: Any) -> None:
        self.header(value.header)
        self.text(value.operation_id, "operation_id")
        self.json(value.event, "event")

    # -- the header

    def header(self, header: Any) -> None:
        if type(header) is not InputHeader:
            _refuse_type("header", header, "an InputHeader")
        if type(header.id) is not UUID or type(header.id.int) is not int:
            _refuse_type("header.id", header.id, "a uuid.UUID")
        _timestamp(header.timestamp)
        if type(header.source) not in _BARE_SOURCES:
            self.source(header.source)
        durability: Any = header.durability
        if type(durability) is not Durability:
            _member(durability, Durability, "header.durability")
        if header.visibility is not VISIBLE:
            self.visibility(header.visibility)
        if header.idempotency_key is not None:
            _key(header.idempotency_key, "header.idempotency_key")
        if header.supersession_key is not None:
            _key(header.supersession_key, "header.supersession_key")
        if header.correlation_id is not None:
            self.text(header.correlation_id, "header.correlation_id")
        if header.trace_context is not None:
            self.trace_context(header.trace_context)

    def visibility(self, visibility: Any) -> None:
        if type(visibility) is not Visibility:
            _refuse_type("header.visibility", visibility, "a Visibility")
        _boolean(visibility.transcript_eligible, "header.visibility.transcript_eligible")
        _boolean(visibility.operator_eligible, "header.visibility.operator_eligible")

    def trace_context(self, context: Any) -> None:
        if type(context) is not TraceContext:
            _refuse_type("header.trace_context", context, "a TraceContext or None")
        self.text(context.traceparent, "header.trace_context.traceparent")
        problem = traceparent_problem(context.traceparent)
        if problem is not None:
            refuse("header.trace_context.traceparent", problem)
        self.optional_text(context.tracestate, "header.trace_context.tracestate")
        problem = None if context.tracestate is None else tracestate_problem(context.tracestate)
        if problem is not None:
            refuse("header.trace_context.tracestate", problem)

    def source(self, source: Any) -> None:
        kind = type(source)
        if kind is PeerSource:
            self.text(source.peer_id, "header.source.peer_id")
            problem = None if source.runtime_id is None else runtime_id_problem(source.runtime_id)
            if problem is not None:
                refuse("header.source.runtime_id", problem)
        elif kind is FlowSource:
            self.text(source.flow_id, "header.source.flow_id")
            index = source.step_index
            if type(index) is not int or not 0 <= index <= LARGEST_INDEX:
                refuse("header.source.step_index", f"must be a whole number from 0 to {LARGEST_INDEX}")
        elif kind is ExternalSource:
            self.text(source.source_name, "header.source.source_name")
        else:
            _refuse_type("header.source", source, "one of the five sources (OperatorSource, PeerSource, …)")

    # -- own fields

    def blocks(self, blocks: Any) -> None:
        if type(blocks) is not tuple:
            _refuse_type("blocks", blocks, "a tuple of blocks")
        images = 0
        for index, block in enumerate(blocks):
            path = f"blocks[{index}]"
            self.left -= len('{"type":"text"},')
            if self.left < 0:
                self.too_large(path)
            if type(block) is TextBlock:
                self.text(block.text, f"{path}.text")
            elif type(block) is ImageBlock:
                images += 1
                self.image(block, path)
            else:
                _refuse_type(path, block, "a TextBlock or an ImageBlock")
        if images > self.limits.max_blobs:
            problem = f"has {images} images; {self.limits.max_blobs} are allowed (Limits.max_blobs)"
            refuse("blocks", problem, RejectionCode.TOO_LARGE)

    def image(self, block: Any, path: str) -> None:
        self.text(block.media_type, f"{path}.media_type")
        if not block.media_type:
            refuse(f"{path}.media_type", "must not be empty; give a media type such as image/png")
        data, blob = block.data, block.blob
        if (data is None) == (blob is None):
            refuse(path, "needs exactly one of data (the bytes) and blob (a reference)")
        if data is None:
            if type(blob) is not str or _BLOB.fullmatch(blob) is None:
                refuse(f"{path}.blob", "must be sha256: and 64 lower-case hex digits")
        elif type(data) is not bytes:
            _refuse_type(f"{path}.data", data, "bytes")
        elif len(data) > self.limits.max_blob_bytes:
            problem = f"is {len(data)} bytes; {self.limits.max_blob_bytes} are allowed (Limits.max_blob_bytes)"
            refuse(f"{path}.data", problem, RejectionCode.TOO_LARGE)

    def convention(self, convention: Any) -> None:
        kind = type(convention)
        if convention is None or kind is PeerMessage:
            return
        if kind is PeerRequest:
            self.text(convention.intent, "convention.intent")
        elif kind is PeerResponseProgress:
            _member(convention.phase, ResponsePhase, "convention.phase")
        elif kind is PeerResponseTerminal:
            _member(convention.status, ResponseStatus, "convention.status")
        else:
            _refuse_type("convention", convention, "one of the four conventions (PeerMessage, PeerRequest, …) or None")
        self.text(convention.request_id, "convention.request_id")

    def turn_metadata(self, turn: Any) -> None:
        if type(turn) is not TurnMetadata:
            _refuse_type("turn_metadata", turn, "a TurnMetadata or None")
        if turn.handling_mode is not None:
            _member(turn.handling_mode, HandlingMode, "turn_metadata.handling_mode")
        if turn.keep_alive is not None:
            _boolean(turn.keep_alive, "turn_metadata.keep_alive")
        self.optional_text(turn.model, "turn_metadata.model")
        self.optional_text(turn.provider, "turn_metadata.provider")
        self.json_object(turn.provider_params, "turn_metadata.provider_params")
        self.texts(turn.additional_instructions, "turn_metadata.additional_instructions")
        self.texts(turn.skill_references, "turn_metadata.skill_references")
        self.json_object(turn.flow_tool_overlay, "turn_metadata.flow_tool_overlay")
        self.json_object(turn.render_metadata, "turn_metadata.render_metadata")

    # -- leaves

    def text(self, value: Any, path: str) -> None:
        if type(value) is not str:
            _refuse_type(path, value, "text")
        self.left -= len(value)
        if self.left < 0:
            self.too_large(path)
        if not value.isascii():
            check_encodable(value, path)

    def optional_text(self, value: Any, path: str) -> None:
        if value is not None:
            self.text(value, path)

    def texts(self, values: Any, path: str) -> None:
        if values is None:
            return
        if type(values) is not tuple:
            _refuse_type(path, values, "a tuple of texts or None")
        for index, value in enumerate(values):
            self.left -= len('"",')
            self.text(value, f"{path}[{index}]")

    def json_object(self, value: Any, path: str) -> None:
        if value is None:
            return
        if type(value) is not dict:
            _refuse_type(path, value, "a JSON object (dict) or None")
        self.json(value, path)

    def json(self, value: Any, path: str) -> None:
        limits = self.limits
        used = limits.max_payload_bytes - self.left
        self.left -= check_json(value, path, max_depth=limits.max_depth, max_bytes=limits.max_payload_bytes, used=used)

    def too_large(self, path: str) -> NoReturn:
        refuse(path, over_payload(self.limits.max_payload_bytes), RejectionCode.TOO_LARGE)


_CHECKS: Final[dict[type, Callable[[_Check, Any], None]]] = {
    PromptInput: _Check.prompt,
    PeerInput: _Check.peer,
    FlowStepInput: _Check.flow_step,
    ExternalEventInput: _Check.external_event,
    ContinuationInput: _Check.continuation,
    OperationInput: _Check.operation,
}


def _member(value: object, wanted: type[Enum], path: str) -> None:
    if type(value) is not wanted:
        words = ", ".join(str(member) for member in wanted)
        _refuse_type(path, value, f"a {wanted.__name__} ({words})")


def _boolean(value: object, path: str) -> None:
    if type(value) is not bool:
        _refuse_type(path, value, "True or False")


def _key(value: object, path: str) -> None:
    if type(value) is str and value.isascii() and 0 < len(value) <= MAX_KEY_BYTES:
        return
    problem = key_problem(value)
    if problem is not None:
        refuse(path, problem, RejectionCode.INVALID_KEY)


def _timestamp(value: object) -> None:
    if type(value) is not datetime:
        _refuse_type("header.timestamp", value, "a datetime")
    in_utc(value, "header.timestamp")
