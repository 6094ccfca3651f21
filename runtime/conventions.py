"""What a peer's input is meant as: a message, a request, or a response to one."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias, final

from attrs import frozen


@final
class ResponsePhase(StrEnum):
    """How far a peer got with a request."""

    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    PARTIAL_RESULT = "partial_result"


@final
class ResponseStatus(StrEnum):
    """How a peer's work on a request ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@final
@frozen
class PeerMessage:
    """A message that asks for nothing; no convention at all means the same."""


@final
@frozen
class PeerRequest:
    """A request that wants a response; ``intent`` names what is asked for."""

    request_id: str
    intent: str


@final
@frozen
class PeerResponseProgress:
    """News about a request that is being worked on."""

    request_id: str
    phase: ResponsePhase


@final
@frozen
class PeerResponseTerminal:
    """The end of a request."""

    request_id: str
    status: ResponseStatus


Convention: TypeAlias = PeerMessage | PeerRequest | PeerResponseProgress | PeerResponseTerminal
