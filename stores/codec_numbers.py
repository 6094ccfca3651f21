"""The numbers of the closed sets in stored rows. Append only: a number that was ever written keeps its meaning."""

from __future__ import annotations

from typing import Final

from ..runtime.records import ResultSource
from ..spec.vocabulary import (
    AbandonReason,
    ApplyMode,
    ConsumePoint,
    DrainPolicy,
    Durability,
    EventCode,
    InputEvent,
    InputKind,
    InputState,
    InterruptPolicy,
    Lane,
    OutcomeKind,
    QueueMode,
    RoutingDisposition,
    RunBoundary,
    RunEnding,
    RuntimeState,
    WakeMode,
)

INPUT_STATES: Final = {
    InputState.ACCEPTED: 1,
    InputState.QUEUED: 2,
    InputState.STAGED: 3,
    InputState.APPLIED: 4,
    InputState.APPLIED_PENDING_CONSUMPTION: 5,
    InputState.CONSUMED: 6,
    InputState.SUPERSEDED: 7,
    InputState.COALESCED: 8,
    InputState.ABANDONED: 9,
}
INPUT_EVENTS: Final = {
    InputEvent.QUEUE: 1,
    InputEvent.CONSUME_ON_ACCEPT: 2,
    InputEvent.STAGE: 3,
    InputEvent.ROLLBACK: 4,
    InputEvent.ROLLBACK_FAILED: 5,
    InputEvent.EXHAUST: 6,
    InputEvent.APPLY: 7,
    InputEvent.MARK_PENDING: 8,
    InputEvent.CONSUME: 9,
    InputEvent.SUPERSEDE: 10,
    InputEvent.COALESCE: 11,
    InputEvent.ABANDON: 12,
    InputEvent.RECOVER_QUEUE: 13,
    InputEvent.RECOVER_CONSUME: 14,
}
OUTCOME_KINDS: Final = {
    OutcomeKind.CONSUMED: 1,
    OutcomeKind.SUPERSEDED: 2,
    OutcomeKind.COALESCED: 3,
    OutcomeKind.ABANDONED: 4,
}
ABANDON_REASONS: Final = {
    AbandonReason.RETIRED: 1,
    AbandonReason.RESET: 2,
    AbandonReason.STOPPED: 3,
    AbandonReason.DESTROYED: 4,
    AbandonReason.CANCELLED: 5,
    AbandonReason.ATTEMPTS_EXHAUSTED: 6,
    AbandonReason.FAILED: 7,
}
RUNTIME_STATES: Final = {
    RuntimeState.IDLE: 1,
    RuntimeState.RUNNING: 2,
    RuntimeState.RETIRED: 3,
    RuntimeState.STOPPED: 4,
    RuntimeState.DESTROYED: 5,
}
"""Without the states that are never stored: initializing, attached, recovering."""
ANNOUNCED_STATES: Final = {
    **RUNTIME_STATES,
    RuntimeState.INITIALIZING: 6,
    RuntimeState.ATTACHED: 7,
    RuntimeState.RECOVERING: 8,
}
"""What events say of a runtime, which may be any state."""
EVENT_CODES: Final = {
    EventCode.INPUT_ACCEPTED: 1,
    EventCode.INPUT_STAGED: 2,
    EventCode.INPUT_ROLLED_BACK: 3,
    EventCode.INPUT_APPLIED: 4,
    EventCode.INPUT_CONSUMED: 5,
    EventCode.INPUT_SUPERSEDED: 6,
    EventCode.INPUT_COALESCED: 7,
    EventCode.INPUT_ABANDONED: 8,
    EventCode.INPUT_RECOVERED: 9,
    EventCode.RUN_STARTED: 10,
    EventCode.RUN_BOUNDARY_APPLIED: 11,
    EventCode.RUN_COMPLETED: 12,
    EventCode.RUN_FAILED: 13,
    EventCode.RUN_CANCELLED: 14,
    EventCode.RUNTIME_STATE_CHANGED: 15,
}
RUN_ENDINGS: Final = {
    RunEnding.COMPLETED: 1,
    RunEnding.FAILED: 2,
    RunEnding.CANCELLED: 3,
    RunEnding.STOPPED: 4,
    RunEnding.DESTROYED: 5,
    RunEnding.RECOVERED: 6,
}
INPUT_KINDS: Final = {
    InputKind.PROMPT: 1,
    InputKind.PEER_MESSAGE: 2,
    InputKind.PEER_REQUEST: 3,
    InputKind.PEER_RESPONSE_PROGRESS: 4,
    InputKind.PEER_RESPONSE_TERMINAL: 5,
    InputKind.FLOW_STEP: 6,
    InputKind.EXTERNAL_EVENT: 7,
    InputKind.CONTINUATION: 8,
    InputKind.OPERATION: 9,
}
DURABILITIES: Final = {Durability.DURABLE: 1, Durability.DERIVED: 2}
"""Without ephemeral, which is never stored."""
LANES: Final = {Lane.QUEUE: 1, Lane.STEER: 2}
RUN_BOUNDARIES: Final = {RunBoundary.RUN_START: 1, RunBoundary.RUN_CHECKPOINT: 2}
RESULT_SOURCES: Final = {ResultSource.BOUNDARY: 1, ResultSource.COMPLETION: 2}
APPLY_MODES: Final = {
    ApplyMode.STAGE_RUN_START: 1,
    ApplyMode.STAGE_RUN_BOUNDARY: 2,
    ApplyMode.INJECT_NOW: 3,
    ApplyMode.IGNORE: 4,
}
WAKE_MODES: Final = {WakeMode.WAKE_IF_IDLE: 1, WakeMode.INTERRUPT_YIELDING: 2, WakeMode.NONE: 3}
QUEUE_MODES: Final = {
    QueueMode.NONE: 1,
    QueueMode.FIFO: 2,
    QueueMode.COALESCE: 3,
    QueueMode.SUPERSEDE: 4,
    QueueMode.PRIORITY: 5,
}
CONSUME_POINTS: Final = {
    ConsumePoint.ON_ACCEPT: 1,
    ConsumePoint.ON_APPLY: 2,
    ConsumePoint.ON_RUN_START: 3,
    ConsumePoint.ON_RUN_COMPLETE: 4,
    ConsumePoint.EXPLICIT_ACK: 5,
}
INTERRUPT_POLICIES: Final = {InterruptPolicy.NONE: 1, InterruptPolicy.INTERRUPT_YIELDING: 2}
DRAIN_POLICIES: Final = {
    DrainPolicy.QUEUE_NEXT_TURN: 1,
    DrainPolicy.STEER_BATCH: 2,
    DrainPolicy.IMMEDIATE: 3,
    DrainPolicy.IGNORE: 4,
}
ROUTES: Final = {
    RoutingDisposition.QUEUE: 1,
    RoutingDisposition.STEER: 2,
    RoutingDisposition.IMMEDIATE: 3,
    RoutingDisposition.DROP: 4,
}
