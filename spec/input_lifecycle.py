"""Machine 1: the life of one input.

An input is admitted, waits in a lane, is staged into a run, applied at a boundary, and consumed; or it ends earlier
because another input took its place or because somebody gave it up. Four states are terminal and refuse every event.

``accepted`` and ``applied`` are passed through within one command; rows that start there also serve records that were
written by something else. Facts from outside are parameters: the cap on failures (``max_attempts``), and whether a
stored receipt of the last run lists the input (``receipt_lists``).
"""

from __future__ import annotations

from uuid import UUID

from .expressions import Expression, Value, field, param
from .machine import Field, Machine, Param, Transition
from .vocabulary import AbandonReason, EventCode, InputEvent, InputState, OutcomeKind, RowGroup

_S, _E, _O, _A, _C, _G = InputState, InputEvent, OutcomeKind, AbandonReason, EventCode, RowGroup

_RUN, _SEQUENCE = Param("run_id", UUID), Param("sequence", int)
_CAP, _ERROR = Param("max_attempts", int), Param("error", str, optional=True)
_BY, _INTO = Param("by", UUID), Param("into", UUID)
_REASON, _RECEIPT = Param("reason", AbandonReason), Param("receipt_lists", bool)

_failures, _one_more = field("failure_count"), field("failure_count").plus_one()
_same_run, _listed = field("last_run_id").eq(param("run_id")), param("receipt_lists").eq(True)
_below_cap = _one_more.lt(param("max_attempts"))


def _abandoned(reason: Expression | AbandonReason) -> dict[str, Expression | Value]:
    return {"terminal_outcome": _O.ABANDONED, "abandon_reason": reason, "error": param("error")}


# fmt: off
_ROWS = (
    # event                source                            target              guard, what it sets, what it announces
    Transition(_E.QUEUE,             _S.ACCEPTED,                    _S.QUEUED,
               emits=(_C.INPUT_ACCEPTED,), doc="wait in a lane"),
    Transition(_E.CONSUME_ON_ACCEPT, _S.ACCEPTED,                    _S.CONSUMED,
               sets={"terminal_outcome": _O.CONSUMED},
               emits=(_C.INPUT_ACCEPTED, _C.INPUT_CONSUMED), doc="its policy has nothing to run"),
    Transition(_E.STAGE,             _S.QUEUED,                      _S.STAGED,
               sets={"last_run_id": param("run_id"), "attempt_count": field("attempt_count").plus_one()},
               emits=(_C.INPUT_STAGED,), doc="a run takes it"),
    Transition(_E.ROLLBACK,          _S.STAGED,                      _S.QUEUED,
               emits=(_C.INPUT_ROLLED_BACK,), doc="back to its place, free of charge"),
    Transition(_E.ROLLBACK_FAILED,   _S.STAGED,                      _S.QUEUED,          guard=_below_cap,
               sets={"failure_count": _one_more, "error": param("error")},
               emits=(_C.INPUT_ROLLED_BACK,), doc="back to its place, one failure more"),
    Transition(_E.EXHAUST,           _S.STAGED,                      _S.ABANDONED,       guard=~_below_cap,
               sets={"failure_count": _one_more, **_abandoned(_A.ATTEMPTS_EXHAUSTED)},
               emits=(_C.INPUT_ABANDONED,), doc="it failed as often as it may"),
    Transition(_E.APPLY,             _S.STAGED,                      _S.APPLIED,         guard=_same_run,
               emits=(_C.INPUT_APPLIED,), doc="its run got past it"),
    Transition(_E.MARK_PENDING,      _S.APPLIED,                     _S.APPLIED_PENDING_CONSUMPTION,
               sets={"last_boundary_sequence": param("sequence")}, doc="a boundary receipt lists it"),
    Transition(_E.CONSUME,           _S.APPLIED_PENDING_CONSUMPTION, _S.CONSUMED,
               sets={"terminal_outcome": _O.CONSUMED},
               emits=(_C.INPUT_CONSUMED,), doc="done"),
    Transition(_E.SUPERSEDE,         _S.QUEUED,                      _S.SUPERSEDED,
               sets={"terminal_outcome": _O.SUPERSEDED, "successor_id": param("by")},
               emits=(_C.INPUT_SUPERSEDED,), doc="a newer input replaces it"),
    Transition(_E.COALESCE,          _S.QUEUED,                      _S.COALESCED,
               sets={"terminal_outcome": _O.COALESCED, "successor_id": param("into")},
               emits=(_C.INPUT_COALESCED,), doc="a newer input takes it in"),
    Transition(_E.ABANDON,           (_S.ACCEPTED, _S.QUEUED, _S.STAGED, _S.APPLIED), _S.ABANDONED,
               sets=_abandoned(param("reason")),
               emits=(_C.INPUT_ABANDONED,), group=_G.GIVING_UP, doc="somebody gave it up"),
    Transition(_E.RECOVER_QUEUE,     _S.ACCEPTED,                    _S.QUEUED,          guard=~_listed,
               sets={"last_boundary_sequence": None},
               emits=(_C.INPUT_RECOVERED,), group=_G.RECOVERY, doc="admitted, never queued"),
    Transition(_E.RECOVER_QUEUE,     (_S.STAGED, _S.APPLIED, _S.APPLIED_PENDING_CONSUMPTION), _S.QUEUED, guard=~_listed,
               sets={"last_boundary_sequence": None, "failure_count": _one_more},
               emits=(_C.INPUT_RECOVERED,), group=_G.RECOVERY, doc="its run left no boundary"),
    Transition(_E.RECOVER_CONSUME,   (_S.APPLIED, _S.APPLIED_PENDING_CONSUMPTION), _S.CONSUMED, guard=_listed,
               sets={"terminal_outcome": _O.CONSUMED},
               emits=(_C.INPUT_RECOVERED, _C.INPUT_CONSUMED), group=_G.RECOVERY, doc="its boundary is stored"),
)
# fmt: on

INPUT_LIFECYCLE = Machine(
    name="input_lifecycle",
    doc="The life of one input, from admission to its end.",
    states=InputState,
    initial=_S.ACCEPTED,
    terminal={_S.CONSUMED, _S.SUPERSEDED, _S.COALESCED, _S.ABANDONED},
    fields=(
        Field("last_run_id", UUID, optional=True),
        Field("last_boundary_sequence", int, optional=True),
        Field("attempt_count", int, default=0),
        Field("failure_count", int, default=0),
        Field("terminal_outcome", OutcomeKind, optional=True),
        Field("successor_id", UUID, optional=True),
        Field("abandon_reason", AbandonReason, optional=True),
        Field("error", str, optional=True),
    ),
    events={
        _E.QUEUE: (),
        _E.CONSUME_ON_ACCEPT: (),
        _E.STAGE: (_RUN,),
        _E.ROLLBACK: (),
        _E.ROLLBACK_FAILED: (_CAP, _ERROR),
        _E.EXHAUST: (_CAP, _ERROR),
        _E.APPLY: (_RUN,),
        _E.MARK_PENDING: (_SEQUENCE,),
        _E.CONSUME: (),
        _E.SUPERSEDE: (_BY,),
        _E.COALESCE: (_INTO,),
        _E.ABANDON: (_REASON, _ERROR),
        _E.RECOVER_QUEUE: (_RECEIPT,),
        _E.RECOVER_CONSUME: (_RECEIPT,),
    },
    transitions=_ROWS,
)
