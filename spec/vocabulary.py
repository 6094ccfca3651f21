"""Every closed set of the system: states, events, kinds, policy parts, reasons, commands.

One enumeration per set, and no second spelling anywhere: the values are the words used in tables, on the wire, in
documentation and on the command line. Only the codec turns them into smaller numbers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import final

# -- the table language --------------------------------------------------------------------------------------------


@final
class RowGroup(StrEnum):
    """What a row of a machine is there for. Pictures tell the groups apart; nothing that runs does."""

    STEP = "step"
    RECOVERY = "recovery"
    GIVING_UP = "giving up"


# -- machine 1: the life of an input -------------------------------------------------------------------------------


@final
class InputState(StrEnum):
    """Where an input is in its life (machine 1)."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    STAGED = "staged"
    APPLIED = "applied"
    APPLIED_PENDING_CONSUMPTION = "applied_pending_consumption"
    CONSUMED = "consumed"
    SUPERSEDED = "superseded"
    COALESCED = "coalesced"
    ABANDONED = "abandoned"


@final
class InputEvent(StrEnum):
    """What can happen to an input (machine 1)."""

    QUEUE = "queue"
    CONSUME_ON_ACCEPT = "consume_on_accept"
    STAGE = "stage"
    ROLLBACK = "rollback"
    ROLLBACK_FAILED = "rollback_failed"
    EXHAUST = "exhaust"
    APPLY = "apply"
    MARK_PENDING = "mark_pending"
    CONSUME = "consume"
    SUPERSEDE = "supersede"
    COALESCE = "coalesce"
    ABANDON = "abandon"
    RECOVER_QUEUE = "recover_queue"
    RECOVER_CONSUME = "recover_consume"


@final
class OutcomeKind(StrEnum):
    """How an input ended."""

    CONSUMED = "consumed"
    SUPERSEDED = "superseded"
    COALESCED = "coalesced"
    ABANDONED = "abandoned"


@final
class AbandonReason(StrEnum):
    """Why an input was given up (C25)."""

    RETIRED = "retired"
    RESET = "reset"
    STOPPED = "stopped"
    DESTROYED = "destroyed"
    CANCELLED = "cancelled"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    FAILED = "failed"


# -- machine 2: the state of a runtime -----------------------------------------------------------------------------


@final
class RuntimeState(StrEnum):
    """What a runtime is doing (machine 2)."""

    INITIALIZING = "initializing"
    IDLE = "idle"
    ATTACHED = "attached"
    RUNNING = "running"
    RECOVERING = "recovering"
    RETIRED = "retired"
    STOPPED = "stopped"
    DESTROYED = "destroyed"


@final
class RuntimeEvent(StrEnum):
    """What can happen to a runtime (machine 2)."""

    INITIALIZE = "initialize"
    ATTACH = "attach"
    DETACH = "detach"
    BEGIN_RUN = "begin_run"
    RUN_COMPLETED = "run_completed"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"
    RETIRE = "retire"
    RESET = "reset"
    STOP = "stop"
    DESTROY = "destroy"
    RECOVER = "recover"
    RECOVERED = "recovered"
    RECYCLE = "recycle"
    RECYCLED = "recycled"
    RESUME = "resume"


@final
class RunEnding(StrEnum):
    """How the last run of a runtime ended. The first three are answers of an executor, the others ended it from
    outside.
    """

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"
    DESTROYED = "destroyed"
    RECOVERED = "recovered"


# -- inputs --------------------------------------------------------------------------------------------------------


@final
class InputKind(StrEnum):
    """What an input is; peer inputs by their convention."""

    PROMPT = "prompt"
    PEER_MESSAGE = "peer_message"
    PEER_REQUEST = "peer_request"
    PEER_RESPONSE_PROGRESS = "peer_response_progress"
    PEER_RESPONSE_TERMINAL = "peer_response_terminal"
    FLOW_STEP = "flow_step"
    EXTERNAL_EVENT = "external_event"
    CONTINUATION = "continuation"
    OPERATION = "operation"


@final
class Durability(StrEnum):
    """Whether an input is stored before it is acknowledged, kept in memory only, or can be rebuilt from others."""

    DURABLE = "durable"
    EPHEMERAL = "ephemeral"
    DERIVED = "derived"


@final
class HandlingMode(StrEnum):
    """What a sender may ask for: wait for a run, or steer the one that is going on."""

    QUEUE = "queue"
    STEER = "steer"


@final
class Lane(StrEnum):
    """Where a queued input waits. The steer lane goes first."""

    QUEUE = "queue"
    STEER = "steer"


@final
class RunBoundary(StrEnum):
    """At which point of a run an input takes effect."""

    RUN_START = "run_start"
    RUN_CHECKPOINT = "run_checkpoint"


# -- policy --------------------------------------------------------------------------------------------------------


@final
class ApplyMode(StrEnum):
    """When a decision lets an input take effect."""

    STAGE_RUN_START = "stage_run_start"
    STAGE_RUN_BOUNDARY = "stage_run_boundary"
    INJECT_NOW = "inject_now"
    IGNORE = "ignore"


@final
class WakeMode(StrEnum):
    """Whom an input wakes."""

    WAKE_IF_IDLE = "wake_if_idle"
    INTERRUPT_YIELDING = "interrupt_yielding"
    NONE = "none"


@final
class QueueMode(StrEnum):
    """How an input meets those that are queued already."""

    NONE = "none"
    FIFO = "fifo"
    COALESCE = "coalesce"
    SUPERSEDE = "supersede"
    PRIORITY = "priority"


@final
class ConsumePoint(StrEnum):
    """When an input counts as consumed. Only on_accept ends it before a run."""

    ON_ACCEPT = "on_accept"
    ON_APPLY = "on_apply"
    ON_RUN_START = "on_run_start"
    ON_RUN_COMPLETE = "on_run_complete"
    EXPLICIT_ACK = "explicit_ack"


@final
class InterruptPolicy(StrEnum):
    """Whether a run that yields is interrupted."""

    NONE = "none"
    INTERRUPT_YIELDING = "interrupt_yielding"


@final
class DrainPolicy(StrEnum):
    """Which batch takes the input."""

    QUEUE_NEXT_TURN = "queue_next_turn"
    STEER_BATCH = "steer_batch"
    IMMEDIATE = "immediate"
    IGNORE = "ignore"


@final
class RoutingDisposition(StrEnum):
    """Which lane an input is routed to; all but steer wait in the queue lane."""

    QUEUE = "queue"
    STEER = "steer"
    IMMEDIATE = "immediate"
    DROP = "drop"


# -- stores --------------------------------------------------------------------------------------------------------


@final
class OnCorrupt(StrEnum):
    """What opening a runtime does with the rows of it that cannot be read: refuse it, or go on without them."""

    STRICT = "strict"
    QUARANTINE = "quarantine"


# -- commands and what they announce -------------------------------------------------------------------------------


@final
class CommandName(StrEnum):
    """Every command: the rows of the command table."""

    ACCEPT = "accept"
    OPEN = "open"
    ATTACH = "attach"
    DETACH = "detach"
    BEGIN_RUN = "begin_run"
    STAGE_MORE = "stage_more"
    BOUNDARY_APPLIED = "boundary_applied"
    RUN_COMPLETED = "run_completed"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"
    ROLLBACK_STAGED = "rollback_staged"
    CONSUME_INPUTS = "consume_inputs"
    CANCEL = "cancel"
    ABANDON_PENDING = "abandon_pending"
    RETIRE = "retire"
    RESET = "reset"
    STOP = "stop"
    DESTROY = "destroy"
    RECYCLE = "recycle"
    RECOVER = "recover"
    RESUME = "resume"


@final
class EventCode(StrEnum):
    """What a runtime announces after a commit."""

    INPUT_ACCEPTED = "input.accepted"
    INPUT_STAGED = "input.staged"
    INPUT_ROLLED_BACK = "input.rolled_back"
    INPUT_APPLIED = "input.applied"
    INPUT_CONSUMED = "input.consumed"
    INPUT_SUPERSEDED = "input.superseded"
    INPUT_COALESCED = "input.coalesced"
    INPUT_ABANDONED = "input.abandoned"
    INPUT_RECOVERED = "input.recovered"
    RUN_STARTED = "run.started"
    RUN_BOUNDARY_APPLIED = "run.boundary_applied"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    RUNTIME_STATE_CHANGED = "runtime.state_changed"


@final
class RuntimeControl(StrEnum):
    """What ``on_runtime_control`` takes."""

    STOP = "stop"
    RESUME = "resume"
