"""Tables that say what may happen, and the language they are written in. Nothing here does any I/O.

``expressions``      conditions and values over fields and parameters, as data
``machine``          ``Machine``: states, fields, events, rows
``table``            ``TransitionTable``: a machine compiled, one dict lookup per step
``lint``             what is well formed in a machine and still wrong
``vocabulary``       every closed set of the system
``input_lifecycle``  machine 1, ``runtime_state`` machine 2
``policy``           what becomes of an input, ``commands`` what each command does
``invariants``       what always holds, with ``step_properties`` and ``relations``
``errors``           ``HoldstateError``, ``SpecError``, ``TransitionRefused``
"""

from .commands import COMMANDS, CommandRow
from .errors import HoldstateError, SpecError, TransitionRefused
from .expressions import TRUE, Expression, ExpressionError, Names, const, field, param
from .input_lifecycle import INPUT_LIFECYCLE
from .invariants import INVARIANTS, Invariant, check_image
from .lint import Finding, FindingCode
from .machine import Field, Machine, Param, Transition
from .policy import DEFAULT_POLICY, Policy, PolicyDecision, PolicyRow
from .runtime_state import RUNTIME_STATE
from .step_properties import STEP_PROPERTIES, check_step
from .table import Step, TransitionTable
from .vocabulary import (
    AbandonReason,
    ApplyMode,
    CommandName,
    ConsumePoint,
    DrainPolicy,
    Durability,
    EventCode,
    HandlingMode,
    InputEvent,
    InputKind,
    InputState,
    InterruptPolicy,
    Lane,
    OutcomeKind,
    QueueMode,
    RoutingDisposition,
    RowGroup,
    RunBoundary,
    RunEnding,
    RuntimeControl,
    RuntimeEvent,
    RuntimeState,
    WakeMode,
)

__all__ = [
    "COMMANDS",
    "DEFAULT_POLICY",
    "INPUT_LIFECYCLE",
    "INVARIANTS",
    "RUNTIME_STATE",
    "STEP_PROPERTIES",
    "TRUE",
    "AbandonReason",
    "ApplyMode",
    "CommandName",
    "CommandRow",
    "ConsumePoint",
    "DrainPolicy",
    "Durability",
    "EventCode",
    "Expression",
    "ExpressionError",
    "Field",
    "Finding",
    "FindingCode",
    "HandlingMode",
    "HoldstateError",
    "InputEvent",
    "InputKind",
    "InputState",
    "InterruptPolicy",
    "Invariant",
    "Lane",
    "Machine",
    "Names",
    "OutcomeKind",
    "Param",
    "Policy",
    "PolicyDecision",
    "PolicyRow",
    "QueueMode",
    "RoutingDisposition",
    "RowGroup",
    "RunBoundary",
    "RunEnding",
    "RuntimeControl",
    "RuntimeEvent",
    "RuntimeState",
    "SpecError",
    "Step",
    "Transition",
    "TransitionRefused",
    "TransitionTable",
    "WakeMode",
    "check_image",
    "check_step",
    "const",
    "field",
    "param",
]
