"""Machines of users: one with twelve states, guards of every sort, and names that TLA+ keeps for itself."""

from __future__ import annotations

from enum import Enum, StrEnum
from uuid import UUID

from holdstate.spec import TRUE, Field, Machine, Param, Transition, const, field, param

OWNER = UUID(int=7)


class Stage(StrEnum):
    NEW = "new"
    TRIAGED = "triaged"
    ASSIGNED = "assigned"
    WORKING = "working"
    BLOCKED = "blocked"
    REVIEW = "in review"
    TESTING = "testing"
    STAGING = 'stag"ing\\'
    RELEASED = "released"
    REOPENED = "re-opened"
    CLOSED = "closed"
    DELETED = "gelöscht"


class Move(StrEnum):
    INIT = "init"
    TRIAGE = "triage"
    ASSIGN = "assign-to"
    WORK = "work"
    BLOCK = "block"
    UNBLOCK = "unblock"
    SUBMIT = "submit"
    JUDGE = "judge"
    TEST = "2nd test"
    RELEASE = "release"
    REOPEN = "reopen"
    CLOSE = "close"
    DELETE = "delete"
    NEVER = "never"


class Priority(Enum):
    LOW = 1
    HIGH = 2


_S, _M = Stage, Move

TICKET = Machine(
    name="ticket machine",
    states=Stage,
    initial=_S.NEW,
    terminal={_S.CLOSED, _S.DELETED},
    terminal_exits={(_S.CLOSED, _M.REOPEN), (_S.CLOSED, _M.DELETE)},
    fields=(
        Field("state", UUID, optional=True),
        Field("CASE", Priority, optional=True),
        Field("reopened", int, default=0),
        Field("score", int, optional=True),
        Field("reason", str, default="none yet"),
        Field("_", bool, default=False),
    ),
    events={
        _M.INIT: (),
        _M.TRIAGE: (Param("CASE", Priority),),
        _M.ASSIGN: (Param("owner", UUID),),
        _M.WORK: (Param("owner", UUID, optional=True),),
        _M.BLOCK: (Param("reason", str),),
        _M.UNBLOCK: (),
        _M.SUBMIT: (),
        _M.JUDGE: (Param("score", int), Param("is_final", bool)),
        _M.TEST: (Param("score", int, optional=True),),
        _M.RELEASE: (),
        _M.REOPEN: (),
        _M.CLOSE: (),
        _M.DELETE: (),
        _M.NEVER: (),
    },
    transitions=(
        Transition(_M.INIT, _S.NEW, _S.NEW, sets={"_": True}),
        Transition(_M.TRIAGE, (_S.NEW, _S.REOPENED), _S.TRIAGED, sets={"CASE": param("CASE")}),
        Transition(_M.ASSIGN, _S.TRIAGED, _S.ASSIGNED, sets={"state": param("owner")}, doc="somebody gets it"),
        Transition(
            _M.WORK, _S.ASSIGNED, _S.WORKING, guard=field("state").eq(param("owner")) | param("owner").eq(OWNER)
        ),
        Transition(_M.BLOCK, _S.WORKING, _S.BLOCKED, sets={"reason": param("reason")}, emits=("alarm", "mail")),
        Transition(_M.UNBLOCK, _S.BLOCKED, _S.WORKING, guard=field("reason").ne('a "quoted" reason') & const(True)),
        Transition(_M.SUBMIT, _S.WORKING, _S.REVIEW, guard=~(field("CASE").is_none() | field("_").eq(False))),
        # These two overlap, so the first one that holds is taken.
        Transition(
            _M.JUDGE, _S.REVIEW, _S.TESTING, guard=param("score").ge(1), sets={"score": param("score").plus_one()}
        ),
        Transition(_M.JUDGE, (_S.REVIEW, _S.TESTING), _S.WORKING, guard=param("score").gt(0) | param("is_final")),
        Transition(_M.TEST, _S.TESTING, _S.STAGING, guard=param("score").is_some() & field("score").is_some()),
        Transition(_M.TEST, _S.STAGING, _S.STAGING, guard=param("score").is_none(), sets={"score": None}),
        Transition(
            _M.RELEASE, _S.STAGING, _S.RELEASED, guard=field("reopened").le(1) & field("CASE").is_in(Priority.HIGH)
        ),
        Transition(_M.REOPEN, (_S.RELEASED, _S.CLOSED), _S.REOPENED, sets={"reopened": field("reopened").plus_one()}),
        Transition(_M.CLOSE, (_S.RELEASED, _S.STAGING), _S.CLOSED, guard=field("reopened").lt(5)),
        Transition(_M.DELETE, (_S.CLOSED, _S.NEW), _S.DELETED, guard=TRUE),
    ),
)

ENDLESS = Machine(
    name="endless",
    states=Stage,
    initial=_S.NEW,
    events=dict.fromkeys(Move, ()),
    transitions=(Transition(_M.INIT, _S.NEW, _S.NEW),),
    doc="It has no field and no end.",
)
