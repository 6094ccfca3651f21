"""The command table: what each command sends to the runtime, to which inputs, and what its commit holds.

The core interprets these rows; the explorer, the harness and the auditor enumerate them. Reading a row:

``needs``     must hold of the runtime (its fields and ``state``) and of the command's facts, else the command is
refused
``done_in``   states in which the command has nothing left to do: answered as done, nothing is committed
``sends``     the runtime events, in order
``inputs``    groups of selected inputs; each input takes the first rule whose state and condition fit, and none
otherwise
``commits``   what the one commit may hold; empty: the command changes volatile memory only
``announces`` events of the command itself, besides those of the machine rows that it takes

A parameter of an input event takes the command's fact of the same name unless the rule gives it (``given``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import final

from attrs import field as attrs_field
from attrs import frozen

from .expressions import TRUE, Expression, const, field, param
from .table import Condition, compile_condition
from .vocabulary import AbandonReason, CommandName, EventCode, InputEvent, InputState, RuntimeEvent, RuntimeState


@final
class Selection(StrEnum):
    """Which inputs a group of a command speaks of; contributors in staging order, the others by order key."""

    NEW = "the input to admit"
    REPLACED = "the queued inputs of the same scope"
    BATCH = "the batch"
    NAMED = "the named inputs"
    STAGED = "the staged contributors of the current run"
    CONTRIBUTORS = "the contributors of the current run"
    OUTSIDE_RUN = "every active input that is not in the current run"
    ACTIVE = "every active input"


@final
class Part(StrEnum):
    """What a commit may hold besides the runtime record, which every commit holds."""

    RUNTIME = "runtime"
    RECORDS = "records"
    BODIES = "bodies"
    KEY = "idempotency entry"
    BLOBS = "blobs"
    RECEIPT = "receipt"
    SNAPSHOT = "snapshot"
    RESULT = "result"


@final
@frozen
class Send:
    """One input event, with the parameters that are fixed by the row."""

    event: InputEvent
    given: Mapping[str, Expression] = MappingProxyType({})


@final
@frozen
class Rule:
    """What an input in one of ``states`` gets where ``when`` holds; ``then`` is tried on the result."""

    states: tuple[InputState, ...]
    sends: tuple[Send, ...]
    when: Expression = TRUE
    then: tuple[Rule, ...] = ()
    holds: Condition = attrs_field(init=False, repr=False, eq=False)
    """``when``, compiled."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "holds", compile_condition(self.when))


@final
@frozen
class InputGroup:
    """Selected inputs, and the rules that say what each of them gets."""

    select: Selection
    rules: tuple[Rule, ...]


@final
@frozen
class CommandRow:
    """One command; the columns are explained at the top of this module."""

    name: CommandName
    doc: str
    needs: Expression = TRUE
    done_in: tuple[RuntimeState, ...] = ()
    sends: tuple[RuntimeEvent, ...] = ()
    inputs: tuple[InputGroup, ...] = ()
    commits: frozenset[Part] = frozenset({Part.RUNTIME, Part.RECORDS})
    announces: tuple[EventCode, ...] = ()
    allows: Condition = attrs_field(init=False, repr=False, eq=False)
    """``needs``, compiled."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "allows", compile_condition(self.needs))


_N, _R, _V, _S, _I, _X = CommandName, RuntimeState, RuntimeEvent, InputState, InputEvent, Selection
_ACTIVE = (_S.ACCEPTED, _S.QUEUED, _S.STAGED, _S.APPLIED)
_PENDING, _APPLIED, _STAGED = (
    (_S.APPLIED_PENDING_CONSUMPTION,),
    (_S.APPLIED, _S.APPLIED_PENDING_CONSUMPTION),
    (_S.STAGED,),
)

_accepts = field("state").is_in(_R.IDLE, _R.ATTACHED) | (
    field("state").eq(_R.RUNNING) & field("pre_run_state").ne(_R.RETIRED)
)
_this_run = field("current_run_id").eq(param("run_id"))
_consumed_on_accept = param("consumes_on_accept").eq(True)
_alone_for_good = param("recoverable").eq(False) & param("alone").eq(True)
_at_cap = field("failure_count").plus_one().ge(param("max_attempts"))


def _abandon(reason: AbandonReason) -> Send:
    return Send(_I.ABANDON, {"reason": const(reason), "error": const(None)})


def _one(event: InputEvent) -> tuple[Send, ...]:
    return (Send(event),)


_exhausted = (
    Rule(
        (_S.QUEUED,),
        (_abandon(AbandonReason.ATTEMPTS_EXHAUSTED),),
        when=field("failure_count").ge(param("max_attempts")),
    ),
)
_consume_pending = Rule(_PENDING, _one(_I.CONSUME))
_settle = InputGroup(
    _X.ACTIVE,
    (
        Rule((_S.ACCEPTED,), _one(_I.CONSUME_ON_ACCEPT), when=_consumed_on_accept),
        Rule((_S.ACCEPTED,), _one(_I.RECOVER_QUEUE)),
        Rule(_APPLIED, _one(_I.RECOVER_CONSUME), when=param("receipt_lists").eq(True)),
        Rule((*_STAGED, *_APPLIED), _one(_I.RECOVER_QUEUE), then=_exhausted),
    ),
)


def _end_all(reason: AbandonReason) -> tuple[InputGroup, ...]:
    return (InputGroup(_X.ACTIVE, (_consume_pending, Rule(_ACTIVE, (_abandon(reason),)))),)


_ROWS = (
    CommandRow(
        _N.ACCEPT,
        "Admit one input; the one it replaces ends in the same commit.",
        needs=_accepts,
        inputs=(
            InputGroup(
                _X.NEW,
                (
                    Rule((_S.ACCEPTED,), _one(_I.CONSUME_ON_ACCEPT), when=_consumed_on_accept),
                    Rule((_S.ACCEPTED,), _one(_I.QUEUE)),
                ),
            ),
            InputGroup(
                _X.REPLACED,
                (
                    Rule((_S.QUEUED,), _one(_I.COALESCE), when=param("coalesces").eq(True)),
                    Rule((_S.QUEUED,), _one(_I.SUPERSEDE)),
                ),
            ),
        ),
        commits=frozenset({Part.RUNTIME, Part.RECORDS, Part.BODIES, Part.KEY, Part.BLOBS}),
    ),
    CommandRow(
        _N.OPEN,
        "Claim the runtime, initialize it where new, settle what a crash left. A terminal runtime is sent nothing.",
        done_in=(_R.STOPPED, _R.DESTROYED),
        sends=(_V.INITIALIZE, _V.RECOVER, _V.RECOVERED),
        inputs=(_settle,),
    ),
    CommandRow(_N.ATTACH, "An executor comes.", sends=(_V.ATTACH,), commits=frozenset()),
    CommandRow(_N.DETACH, "The executor goes.", sends=(_V.DETACH,), commits=frozenset()),
    CommandRow(
        _N.BEGIN_RUN,
        "Stage a batch into a new run.",
        sends=(_V.BEGIN_RUN,),
        inputs=(InputGroup(_X.BATCH, (Rule((_S.QUEUED,), _one(_I.STAGE)),)),),
    ),
    CommandRow(
        _N.STAGE_MORE,
        "Stage a prefix of the steer lane into the current run.",
        needs=_this_run,
        inputs=(InputGroup(_X.BATCH, (Rule((_S.QUEUED,), _one(_I.STAGE)),)),),
    ),
    CommandRow(
        _N.BOUNDARY_APPLIED,
        "Commit what the run has done so far, with a receipt that lists the staged contributors.",
        needs=_this_run,
        inputs=(InputGroup(_X.STAGED, (Rule(_STAGED, (Send(_I.APPLY), Send(_I.MARK_PENDING))),)),),
        commits=frozenset({Part.RUNTIME, Part.RECORDS, Part.RECEIPT, Part.SNAPSHOT, Part.RESULT}),
        announces=(EventCode.RUN_BOUNDARY_APPLIED,),
    ),
    CommandRow(
        _N.RUN_COMPLETED,
        "End the current run well; its contributors are consumed.",
        needs=_this_run,
        sends=(_V.RUN_COMPLETED,),
        inputs=(InputGroup(_X.CONTRIBUTORS, (_consume_pending,)),),
        commits=frozenset({Part.RUNTIME, Part.RECORDS, Part.RESULT}),
    ),
    CommandRow(
        _N.RUN_FAILED,
        "End the current run badly. What a boundary lists is consumed; the rest is tried again or given up.",
        needs=_this_run,
        sends=(_V.RUN_FAILED,),
        inputs=(
            InputGroup(
                _X.CONTRIBUTORS,
                (
                    _consume_pending,
                    Rule(
                        _STAGED,
                        (Send(_I.ABANDON, {"reason": const(AbandonReason.FAILED)}),),
                        when=_alone_for_good,
                    ),
                    Rule(_STAGED, _one(_I.EXHAUST), when=_at_cap),
                    Rule(_STAGED, _one(_I.ROLLBACK_FAILED)),
                ),
            ),
        ),
    ),
    CommandRow(
        _N.RUN_CANCELLED,
        "Call the current run off, free of charge.",
        needs=_this_run,
        sends=(_V.RUN_CANCELLED,),
        inputs=(InputGroup(_X.CONTRIBUTORS, (_consume_pending, Rule(_STAGED, _one(_I.ROLLBACK)))),),
    ),
    CommandRow(
        _N.ROLLBACK_STAGED,
        "Named staged contributors go back to their places and leave the run.",
        needs=field("current_run_id").is_some(),
        inputs=(InputGroup(_X.NAMED, (Rule(_STAGED, _one(_I.ROLLBACK)),)),),
    ),
    CommandRow(
        _N.CONSUME_INPUTS,
        "Named pending contributors are consumed while the run goes on.",
        needs=_this_run,
        inputs=(InputGroup(_X.NAMED, (_consume_pending,)),),
    ),
    CommandRow(
        _N.CANCEL,
        "Give one waiting input up.",
        inputs=(InputGroup(_X.NAMED, (Rule((_S.ACCEPTED, _S.QUEUED), (_abandon(AbandonReason.CANCELLED),)),)),),
    ),
    CommandRow(
        _N.ABANDON_PENDING,
        "Give everything up that is not in the current run.",
        inputs=(InputGroup(_X.OUTSIDE_RUN, (Rule(_ACTIVE, _one(_I.ABANDON)),)),),
    ),
    CommandRow(
        _N.RETIRE,
        "Take no new input; what is queued may still be worked off.",
        done_in=(_R.RETIRED,),
        sends=(_V.RETIRE,),
        commits=frozenset({Part.RUNTIME}),
    ),
    CommandRow(
        _N.RESET,
        "Give everything up and start over.",
        sends=(_V.RESET,),
        inputs=(InputGroup(_X.ACTIVE, (Rule(_ACTIVE, (_abandon(AbandonReason.RESET),)),)),),
    ),
    CommandRow(
        _N.STOP,
        "End the runtime; it can still be read and destroyed.",
        done_in=(_R.STOPPED,),
        sends=(_V.STOP,),
        inputs=_end_all(AbandonReason.STOPPED),
    ),
    CommandRow(
        _N.DESTROY,
        "End the runtime for good.",
        done_in=(_R.DESTROYED,),
        sends=(_V.DESTROY,),
        inputs=_end_all(AbandonReason.DESTROYED),
    ),
    CommandRow(
        _N.RECYCLE,
        "Back into service with all work kept.",
        sends=(_V.RECYCLE, _V.RECYCLED),
        inputs=(_settle,),
    ),
    CommandRow(
        _N.RECOVER,
        "Settle what a crash left, without claiming. A terminal runtime is sent nothing.",
        done_in=(_R.STOPPED, _R.DESTROYED),
        sends=(_V.RECOVER, _V.RECOVERED),
        inputs=(_settle,),
    ),
    CommandRow(
        _N.RESUME,
        "Leave recovering; done in every other state.",
        done_in=tuple(state for state in _R if state is not _R.RECOVERING),
        sends=(_V.RESUME,),
        commits=frozenset({Part.RUNTIME}),
    ),
)

COMMANDS: Mapping[CommandName, CommandRow] = MappingProxyType({row.name: row for row in _ROWS})
