"""Machine 2: the state of a runtime.

``attached`` (an executor is there) is volatile and stored as ``idle``; ``recovering`` is passed through within one
command. A run is current in ``running``, and in ``retired`` when the runtime was retired while it ran.
``pre_run_state`` is where a run returns to, and in ``recovering`` what recovery returns to; a target that depends on it
is written as guarded rows. The parameter ``handed_out`` says that the current run is in the hands of an executor.

Repeating what is already so (retire in retired, the same ending twice) is answered by the command table, not by this
machine.
"""

from __future__ import annotations

from uuid import UUID

from .expressions import field, param
from .machine import Field, Machine, Param, Transition
from .vocabulary import EventCode, RowGroup, RuntimeEvent, RuntimeState

_S, _E, _C, _G = RuntimeState, RuntimeEvent, EventCode, RowGroup
_RUN, _HANDED_OUT = Param("run_id", UUID), Param("handed_out", bool)

_changed = (_C.RUNTIME_STATE_CHANGED,)
_no_run, _this_run = field("current_run_id").is_none(), field("current_run_id").eq(param("run_id"))
_returns_to = field("pre_run_state").eq
_none_in_hand = param("handed_out").eq(False)
_cleared = {"current_run_id": None, "pre_run_state": None}
_live = (_S.INITIALIZING, _S.IDLE, _S.ATTACHED, _S.RUNNING, _S.RECOVERING, _S.RETIRED)


def _endings(event: RuntimeEvent, code: EventCode) -> tuple[Transition[RuntimeState, RuntimeEvent], ...]:
    """The four rows of one way for a run to end: back where it began, or on in retired."""
    emits = (code, *_changed)
    return (
        *(
            Transition(event, _S.RUNNING, back, guard=_this_run & _returns_to(back), sets=_cleared, emits=emits,
                       doc=f"back to {back}")
            for back in (_S.IDLE, _S.ATTACHED, _S.RETIRED)
        ),
        Transition(event, _S.RETIRED, _S.RETIRED, guard=_this_run, sets=_cleared, emits=(code,), doc="retired since"),
    )  # fmt: skip


def _begin(source: RuntimeState) -> Transition[RuntimeState, RuntimeEvent]:
    return Transition(_E.BEGIN_RUN, source, _S.RUNNING, guard=_no_run,
                      sets={"current_run_id": param("run_id"), "pre_run_state": source},
                      emits=(_C.RUN_STARTED, *_changed), doc=f"a run begins in {source}")  # fmt: skip


# fmt: off
_ROWS = (
    # event                  source                            target
    Transition(_E.INITIALIZE, _S.INITIALIZING,                 _S.IDLE,       emits=_changed, doc="the first open"),
    Transition(_E.ATTACH,     _S.IDLE,                         _S.ATTACHED,   emits=_changed, doc="an executor comes"),
    Transition(_E.DETACH,     _S.ATTACHED,                     _S.IDLE,       emits=_changed, doc="the executor goes"),
    Transition(_E.ATTACH,     _S.RUNNING,                      _S.RUNNING,    guard=_returns_to(_S.IDLE),
               sets={"pre_run_state": _S.ATTACHED}, doc="an executor comes during a run"),
    Transition(_E.DETACH,     _S.RUNNING,                      _S.RUNNING,    guard=_returns_to(_S.ATTACHED),
               sets={"pre_run_state": _S.IDLE}, doc="the executor goes during a run"),
    _begin(_S.IDLE), _begin(_S.ATTACHED), _begin(_S.RETIRED),
    *_endings(_E.RUN_COMPLETED, _C.RUN_COMPLETED),
    *_endings(_E.RUN_FAILED,    _C.RUN_FAILED),
    *_endings(_E.RUN_CANCELLED, _C.RUN_CANCELLED),
    Transition(_E.RETIRE,     (_S.IDLE, _S.ATTACHED, _S.RUNNING), _S.RETIRED, emits=_changed,
               doc="no new input; a current run goes on"),
    Transition(_E.RESET,      (_S.INITIALIZING, _S.IDLE, _S.ATTACHED, _S.RECOVERING, _S.RETIRED), _S.IDLE,
               guard=_no_run, sets={"pre_run_state": None}, emits=_changed, doc="start over"),
    Transition(_E.STOP,       _live,                           _S.STOPPED,    sets=_cleared, emits=_changed,
               group=_G.GIVING_UP, doc="the end"),
    Transition(_E.DESTROY,    (*_live, _S.STOPPED),            _S.DESTROYED,  sets=_cleared, emits=_changed,
               group=_G.GIVING_UP, doc="the end, for good"),
    Transition(_E.RECOVER,    (_S.IDLE, _S.ATTACHED),          _S.RECOVERING, guard=_none_in_hand,
               sets={"pre_run_state": _S.IDLE}, group=_G.RECOVERY, doc="settle what a crash left"),
    Transition(_E.RECOVER,    _S.RUNNING,                      _S.RECOVERING,
               guard=_none_in_hand & field("pre_run_state").ne(_S.RETIRED),
               sets={"pre_run_state": _S.IDLE}, group=_G.RECOVERY, doc="its run is gone"),
    Transition(_E.RECOVER,    _S.RUNNING,                      _S.RECOVERING,
               guard=_none_in_hand & _returns_to(_S.RETIRED), group=_G.RECOVERY,
               doc="its run is gone; it began in retired"),
    Transition(_E.RECOVER,    _S.RETIRED,                      _S.RECOVERING, guard=_none_in_hand,
               sets={"pre_run_state": _S.RETIRED}, group=_G.RECOVERY, doc="stays retired"),
    Transition(_E.RECOVERED,  _S.RECOVERING,                   _S.RETIRED,    guard=_returns_to(_S.RETIRED),
               sets=_cleared, emits=_changed, group=_G.RECOVERY, doc="retired it was"),
    Transition(_E.RECOVERED,  _S.RECOVERING,                   _S.IDLE,       guard=~_returns_to(_S.RETIRED),
               sets=_cleared, emits=_changed, group=_G.RECOVERY, doc="ready"),
    Transition(_E.RECYCLE,    (_S.IDLE, _S.ATTACHED, _S.RETIRED), _S.RECOVERING, guard=_no_run,
               doc="back into service"),
    Transition(_E.RECYCLED,   _S.RECOVERING,                   _S.IDLE,       sets=_cleared, emits=_changed,
               doc="ready"),
    Transition(_E.RESUME,     _S.RECOVERING,                   _S.IDLE,       sets=_cleared, emits=_changed,
               doc="leave a recovery that somebody else began"),
)
# fmt: on

RUNTIME_STATE = Machine(
    name="runtime_state",
    doc="The state of one runtime, from its first open to its end.",
    states=RuntimeState,
    initial=_S.INITIALIZING,
    terminal={_S.STOPPED, _S.DESTROYED},
    terminal_exits={(_S.STOPPED, _E.DESTROY)},
    fields=(Field("current_run_id", UUID, optional=True), Field("pre_run_state", RuntimeState, optional=True)),
    events={
        _E.INITIALIZE: (),
        _E.ATTACH: (),
        _E.DETACH: (),
        _E.BEGIN_RUN: (_RUN,),
        _E.RUN_COMPLETED: (_RUN,),
        _E.RUN_FAILED: (_RUN,),
        _E.RUN_CANCELLED: (_RUN,),
        _E.RETIRE: (),
        _E.RESET: (),
        _E.STOP: (),
        _E.DESTROY: (),
        _E.RECOVER: (_HANDED_OUT,),
        _E.RECOVERED: (),
        _E.RECYCLE: (),
        _E.RECYCLED: (),
        _E.RESUME: (),
    },
    transitions=_ROWS,
)
