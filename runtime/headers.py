"""The header of every input: id, time, who sent it, who may see it, and its keys."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, TypeAlias, final

from attrs import frozen

from ..spec.vocabulary import Durability
from .ids import IdempotencyKey, InputId, RuntimeId, SupersessionKey, new_uuid7, utc_now


@final
@frozen
class OperatorSource:
    """The person or program in charge of the runtime."""


@final
@frozen
class PeerSource:
    """Another agent, with its runtime where that is known."""

    peer_id: str
    runtime_id: RuntimeId | None = None


@final
@frozen
class FlowSource:
    """A step of a flow; ``step_index`` counts from 0."""

    flow_id: str
    step_index: int


@final
@frozen
class SystemSource:
    """The host of the runtime itself."""


@final
@frozen
class ExternalSource:
    """Something outside: a webhook, a timer, a file."""

    source_name: str


Source: TypeAlias = OperatorSource | PeerSource | FlowSource | SystemSource | ExternalSource


@final
@frozen
class Visibility:
    """Whether an input may show in the transcript, and to the operator."""

    transcript_eligible: bool = True
    operator_eligible: bool = True


VISIBLE = Visibility()
OPERATOR = OperatorSource()
SYSTEM = SystemSource()
PEER = PeerSource("peer")
FLOW = FlowSource("flow", 0)
EXTERNAL = ExternalSource("external")


@final
@frozen
class TraceContext:
    """Which span of a distributed trace sent an input: the two headers of W3C Trace Context, level 1."""

    traceparent: str
    tracestate: str | None = None


_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE: Final = re.compile(r"[\x20-\x7e]{1,512}")


def traceparent_problem(text: str) -> str | None:
    """What is wrong with ``text`` as a traceparent of version 00, or None."""
    if _TRACEPARENT.fullmatch(text):
        return None
    return "must be 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, lower case, neither id all zero"


def tracestate_problem(text: str) -> str | None:
    """What is wrong with ``text`` as a tracestate, or None; what is in its list is not looked at."""
    return None if _TRACESTATE.fullmatch(text) else "must be 1 to 512 printable ASCII characters"


@final
@frozen
class InputHeader:
    """What every input carries. ``timestamp`` is aware and stored as UTC; keys have 1 to 512 UTF-8 bytes.

    ``trace_context`` is filled in by a service where OpenTelemetry is installed and a span is current.
    """

    id: InputId
    timestamp: datetime
    source: Source
    durability: Durability = Durability.DURABLE
    visibility: Visibility = VISIBLE
    idempotency_key: IdempotencyKey | None = None
    supersession_key: SupersessionKey | None = None
    correlation_id: str | None = None
    trace_context: TraceContext | None = None


def new_header(  # noqa: PLR0917 - the six inputs pass their own parameters through in this order
    source: Source,
    durability: Durability,
    idempotency_key: str | None,
    supersession_key: str | None,
    correlation_id: str | None,
    visibility: Visibility,
    id: InputId | None,
    timestamp: datetime | None,
) -> InputHeader:
    """A header; id and time are minted where they are None."""
    return InputHeader(
        id=InputId(new_uuid7()) if id is None else id,
        timestamp=utc_now() if timestamp is None else timestamp,
        source=source,
        durability=durability,
        visibility=visibility,
        idempotency_key=None if idempotency_key is None else IdempotencyKey(idempotency_key),
        supersession_key=None if supersession_key is None else SupersessionKey(supersession_key),
        correlation_id=correlation_id,
    )
