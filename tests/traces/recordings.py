"""Recorded runs: where they are, and what their words mean here."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from holdstate.runtime.headers import ExternalSource, FlowSource, OperatorSource, PeerSource, Source, SystemSource
from holdstate.runtime.ids import InputId
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
from holdstate.spec.policy import PolicyDecision
from holdstate.spec.vocabulary import Durability, HandlingMode

Command = dict[str, Any]
Answer = dict[str, Any]
Trace = list[tuple[Command, Answer]]

TRACES = Path(__file__).parent.parent / "data" / "reference-traces.jsonl"
TIME = datetime(2025, 1, 1, tzinfo=UTC)
_SOURCES: dict[str, Source] = {
    "operator": OperatorSource(),
    "peer": PeerSource("peer"),
    "flow": FlowSource("flow", 0),
    "system": SystemSource(),
    "external": ExternalSource("external"),
}
_CONVENTIONS: dict[str, Convention] = {
    "peer_message": PeerMessage(),
    "peer_request": PeerRequest("request", "intent"),
    "peer_response_progress": PeerResponseProgress("request", ResponsePhase.IN_PROGRESS),
    "peer_response_terminal": PeerResponseTerminal("request", ResponseStatus.COMPLETED),
}


def load_traces(path: Path = TRACES) -> list[Trace]:
    with path.open(encoding="utf-8") as lines:
        return [[(command, answer) for command, answer in json.loads(line)] for line in lines]


def recorded_policy(decision: PolicyDecision) -> Answer:
    """A decision in the words of the recordings."""
    return {
        "apply_mode": decision.apply.value,
        "consume_point": decision.consume.value,
        "drain_policy": decision.drain.value,
        "emit_operator_content": decision.emit_operator_content,
        "interrupt_policy": decision.interrupt.value,
        "policy_version": decision.policy_version,
        "queue_mode": decision.queue_mode.value,
        "record_transcript": decision.record_transcript,
        "routing_disposition": decision.route.value,
        "wake_mode": decision.wake.value,
    }


def build_input(command: Command) -> Input:
    """The input that an ``accept`` of a recording speaks of."""
    kind = command["kind"]
    stated = command.get("handling_mode")
    header: dict[str, Any] = {
        "source": _SOURCES[command["source"]],
        "durability": Durability(command["durability"]),
        "idempotency_key": command.get("idempotency_key"),
        "id": InputId(UUID(int=command["n"])),
        "timestamp": TIME,
    }
    mode = HandlingMode.QUEUE if stated is None else HandlingMode(stated)
    metadata = None if stated is None else TurnMetadata(handling_mode=mode)
    if kind == "prompt":
        return PromptInput.new("text", (), metadata, **header)
    if kind == "flow_step":
        return FlowStepInput.new("step", "instructions", (), metadata, **header)
    if kind == "external_event":
        return ExternalEventInput.new("event", None, (), mode, **header)
    if kind == "continuation":
        return ContinuationInput.new("reason", mode, **header)
    if kind == "operation":
        return OperationInput.new("operation", None, **header)
    return PeerInput.new("body", (), _CONVENTIONS[kind], **header)
