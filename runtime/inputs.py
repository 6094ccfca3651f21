"""The six inputs and their parts. Constructors only hold values; ``validation`` judges them."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias, final

from attrs import frozen

from ..spec.vocabulary import Durability, HandlingMode, InputKind
from .blocks import Block, ImageBlock, TextBlock
from .conventions import (
    Convention,
    PeerMessage,
    PeerRequest,
    PeerResponseProgress,
    PeerResponseTerminal,
    ResponsePhase,
    ResponseStatus,
)
from .headers import (
    EXTERNAL,
    FLOW,
    OPERATOR,
    PEER,
    SYSTEM,
    VISIBLE,
    ExternalSource,
    FlowSource,
    InputHeader,
    OperatorSource,
    PeerSource,
    Source,
    SystemSource,
    Visibility,
    new_header,
)
from .ids import InputId

__all__ = [
    "JSON",
    "Block",
    "ContinuationInput",
    "Convention",
    "ExternalEventInput",
    "ExternalSource",
    "FlowSource",
    "FlowStepInput",
    "ImageBlock",
    "Input",
    "InputHeader",
    "JSONObject",
    "OperationInput",
    "OperatorSource",
    "PeerInput",
    "PeerMessage",
    "PeerRequest",
    "PeerResponseProgress",
    "PeerResponseTerminal",
    "PeerSource",
    "PromptInput",
    "ResponsePhase",
    "ResponseStatus",
    "Source",
    "SystemSource",
    "TextBlock",
    "TurnMetadata",
    "Visibility",
]

JSON: TypeAlias = bool | int | float | str | list["JSON"] | dict[str, "JSON"] | None
JSONObject: TypeAlias = dict[str, JSON]


@final
@frozen
class TurnMetadata:
    """Wishes for the turn that works an input off; None is no wish. ``handling_mode`` decides the input's lane."""

    handling_mode: HandlingMode | None = None
    keep_alive: bool | None = None
    model: str | None = None
    provider: str | None = None
    provider_params: JSONObject | None = None
    additional_instructions: tuple[str, ...] | None = None
    skill_references: tuple[str, ...] | None = None
    flow_tool_overlay: JSONObject | None = None
    render_metadata: JSONObject | None = None


# -- the inputs ----------------------------------------------------------------------------------------------------


_PEER_KINDS: dict[type[object], InputKind] = {
    PeerMessage: InputKind.PEER_MESSAGE,
    PeerRequest: InputKind.PEER_REQUEST,
    PeerResponseProgress: InputKind.PEER_RESPONSE_PROGRESS,
    PeerResponseTerminal: InputKind.PEER_RESPONSE_TERMINAL,
    type(None): InputKind.PEER_MESSAGE,
}


@final
@frozen
class PromptInput:
    """What the operator says to the agent."""

    header: InputHeader
    text: str
    blocks: tuple[Block, ...] = ()
    turn_metadata: TurnMetadata | None = None

    @property
    def kind(self) -> InputKind:
        """What the policy table and the supersession scope know it as."""
        return InputKind.PROMPT

    @property
    def stated_handling_mode(self) -> HandlingMode | None:
        """The handling mode that it asks for, or None."""
        return None if self.turn_metadata is None else self.turn_metadata.handling_mode

    @classmethod
    def new(
        cls,
        text: str,
        blocks: tuple[Block, ...] = (),
        turn_metadata: TurnMetadata | None = None,
        *,
        source: Source = OPERATOR,
        durability: Durability = Durability.DURABLE,
        idempotency_key: str | None = None,
        supersession_key: str | None = None,
        correlation_id: str | None = None,
        visibility: Visibility = VISIBLE,
        id: InputId | None = None,
        timestamp: datetime | None = None,
    ) -> PromptInput:
        """A new one, from the operator by default; id and time are minted where they are not given."""
        header = new_header(
            source, durability, idempotency_key, supersession_key, correlation_id, visibility, id, timestamp
        )
        return cls(header, text, blocks, turn_metadata)


@final
@frozen
class PeerInput:
    """What another agent says; ``convention`` gives it its kind, none means a message."""

    header: InputHeader
    body: str
    blocks: tuple[Block, ...] = ()
    convention: Convention | None = None

    @property
    def kind(self) -> InputKind:
        """What the policy table and the supersession scope know it as."""
        return _PEER_KINDS[type(self.convention)]

    @property
    def stated_handling_mode(self) -> HandlingMode | None:
        """The handling mode that it asks for, or None."""
        return None

    @classmethod
    def new(
        cls,
        body: str,
        blocks: tuple[Block, ...] = (),
        convention: Convention | None = None,
        *,
        source: Source = PEER,
        durability: Durability = Durability.DURABLE,
        idempotency_key: str | None = None,
        supersession_key: str | None = None,
        correlation_id: str | None = None,
        visibility: Visibility = VISIBLE,
        id: InputId | None = None,
        timestamp: datetime | None = None,
    ) -> PeerInput:
        """A new one, from a peer called "peer" by default; id and time are minted where they are not given."""
        header = new_header(
            source, durability, idempotency_key, supersession_key, correlation_id, visibility, id, timestamp
        )
        return cls(header, body, blocks, convention)


@final
@frozen
class FlowStepInput:
    """Instructions of a flow for its next step."""

    header: InputHeader
    step_id: str
    instructions: str
    blocks: tuple[Block, ...] = ()
    turn_metadata: TurnMetadata | None = None

    @property
    def kind(self) -> InputKind:
        """What the policy table and the supersession scope know it as."""
        return InputKind.FLOW_STEP

    @property
    def stated_handling_mode(self) -> HandlingMode | None:
        """The handling mode that it asks for, or None."""
        return None if self.turn_metadata is None else self.turn_metadata.handling_mode

    @classmethod
    def new(
        cls,
        step_id: str,
        instructions: str,
        blocks: tuple[Block, ...] = (),
        turn_metadata: TurnMetadata | None = None,
        *,
        source: Source = FLOW,
        durability: Durability = Durability.DURABLE,
        idempotency_key: str | None = None,
        supersession_key: str | None = None,
        correlation_id: str | None = None,
        visibility: Visibility = VISIBLE,
        id: InputId | None = None,
        timestamp: datetime | None = None,
    ) -> FlowStepInput:
        """A new one, from step 0 of a flow "flow" by default; id and time are minted where they are not given."""
        header = new_header(
            source, durability, idempotency_key, supersession_key, correlation_id, visibility, id, timestamp
        )
        return cls(header, step_id, instructions, blocks, turn_metadata)


@final
@frozen
class ExternalEventInput:
    """Something that happened outside. ``payload`` is any JSON value."""

    header: InputHeader
    event_type: str
    payload: JSON
    blocks: tuple[Block, ...] = ()
    handling_mode: HandlingMode = HandlingMode.QUEUE
    render_metadata: JSONObject | None = None

    @property
    def kind(self) -> InputKind:
        """What the policy table and the supersession scope know it as."""
        return InputKind.EXTERNAL_EVENT

    @property
    def stated_handling_mode(self) -> HandlingMode | None:
        """The handling mode that it asks for, or None."""
        return self.handling_mode

    @classmethod
    def new(
        cls,
        event_type: str,
        payload: JSON,
        blocks: tuple[Block, ...] = (),
        handling_mode: HandlingMode = HandlingMode.QUEUE,
        render_metadata: JSONObject | None = None,
        *,
        source: Source = EXTERNAL,
        durability: Durability = Durability.DURABLE,
        idempotency_key: str | None = None,
        supersession_key: str | None = None,
        correlation_id: str | None = None,
        visibility: Visibility = VISIBLE,
        id: InputId | None = None,
        timestamp: datetime | None = None,
    ) -> ExternalEventInput:
        """A new one, from a source called "external" by default; id and time are minted where they are not given."""
        header = new_header(
            source, durability, idempotency_key, supersession_key, correlation_id, visibility, id, timestamp
        )
        return cls(header, event_type, payload, blocks, handling_mode, render_metadata)


@final
@frozen
class ContinuationInput:
    """The runtime's wish to go on by itself."""

    header: InputHeader
    reason: str
    handling_mode: HandlingMode = HandlingMode.QUEUE
    request_id: str | None = None

    @property
    def kind(self) -> InputKind:
        """What the policy table and the supersession scope know it as."""
        return InputKind.CONTINUATION

    @property
    def stated_handling_mode(self) -> HandlingMode | None:
        """The handling mode that it asks for, or None."""
        return self.handling_mode

    @classmethod
    def new(
        cls,
        reason: str,
        handling_mode: HandlingMode = HandlingMode.QUEUE,
        request_id: str | None = None,
        *,
        source: Source = SYSTEM,
        durability: Durability = Durability.DURABLE,
        idempotency_key: str | None = None,
        supersession_key: str | None = None,
        correlation_id: str | None = None,
        visibility: Visibility = VISIBLE,
        id: InputId | None = None,
        timestamp: datetime | None = None,
    ) -> ContinuationInput:
        """A new one, from the system by default; id and time are minted where they are not given."""
        header = new_header(
            source, durability, idempotency_key, supersession_key, correlation_id, visibility, id, timestamp
        )
        return cls(header, reason, handling_mode, request_id)


@final
@frozen
class OperationInput:
    """News of an operation that only needs to be on record. ``event`` is any JSON value."""

    header: InputHeader
    operation_id: str
    event: JSON

    @property
    def kind(self) -> InputKind:
        """What the policy table and the supersession scope know it as."""
        return InputKind.OPERATION

    @property
    def stated_handling_mode(self) -> HandlingMode | None:
        """The handling mode that it asks for, or None."""
        return None

    @classmethod
    def new(
        cls,
        operation_id: str,
        event: JSON,
        *,
        source: Source = SYSTEM,
        durability: Durability = Durability.DURABLE,
        idempotency_key: str | None = None,
        supersession_key: str | None = None,
        correlation_id: str | None = None,
        visibility: Visibility = VISIBLE,
        id: InputId | None = None,
        timestamp: datetime | None = None,
    ) -> OperationInput:
        """A new one, from the system by default; id and time are minted where they are not given."""
        header = new_header(
            source, durability, idempotency_key, supersession_key, correlation_id, visibility, id, timestamp
        )
        return cls(header, operation_id, event)


Input: TypeAlias = PromptInput | PeerInput | FlowStepInput | ExternalEventInput | ContinuationInput | OperationInput
