"""Compiled tables: what a step returns, and how it is refused."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.spec import Expression, Field, Machine, Param, SpecError, Transition, TransitionRefused, field, param

from .test_expressions import Color, conditions


class State(StrEnum):
    OPEN = "open"
    BUSY = "busy"
    CLOSED = "closed"


class Event(StrEnum):
    TAKE = "take"
    TRY = "try"
    CLOSE = "close"
    AGE = "age"


RUN = UUID(int=1)
_once_more = field("tries").plus_one()
_last = _once_more.eq(param("cap"))
_GIVE_UP = {"tries": 0, "owner": None}

DESK = Machine(
    name="desk",
    states=State,
    initial=State.OPEN,
    terminal={State.CLOSED},
    fields=(Field("tries", int, default=0), Field("owner", UUID, optional=True), Field("age", int, optional=True)),
    events={
        Event.TAKE: (Param("owner", UUID), Param("note", str, optional=True)),
        Event.TRY: (Param("cap", int),),
        Event.CLOSE: (),
        Event.AGE: (),
    },
    transitions=(
        Transition(Event.TAKE, State.OPEN, State.BUSY, guard=param("note").is_none(), sets={"owner": param("owner")}),
        Transition(Event.TRY, State.BUSY, State.BUSY, guard=_once_more.lt(param("cap")), sets={"tries": _once_more}),
        Transition(Event.TRY, State.BUSY, State.OPEN, guard=_last, sets=_GIVE_UP, emits=("gave_up",)),
        Transition(Event.CLOSE, (State.OPEN, State.BUSY), State.CLOSED),
        Transition(Event.CLOSE, State.OPEN, State.OPEN),
        Transition(Event.AGE, State.OPEN, State.OPEN, guard=field("age").lt(9)),
    ),
)  # fmt: skip
TABLE = DESK.compile()


def test_compile_is_done_once() -> None:
    """Two calls give the same table, whose rows are those of the machine."""
    assert DESK.compile() is TABLE
    assert TABLE.rows is DESK.transitions
    assert TABLE.initial_fields() == {"tries": 0, "owner": None, "age": None}


def test_rows_are_tried_in_order() -> None:
    """The first row whose guard holds decides; after a row without a guard, nothing is looked at."""
    busy = TABLE.step(State.BUSY, Event.TRY, {"tries": 0}, {"cap": 2})
    assert (busy.target, busy.sets, busy.row) == (State.BUSY, {"tries": 1}, 1)
    done = TABLE.step(State.BUSY, Event.TRY, {"tries": 1}, {"cap": 2})
    assert (done.target, done.sets, done.emits, done.row) == (State.OPEN, {"tries": 0, "owner": None}, ("gave_up",), 2)
    assert TABLE.step(State.OPEN, Event.CLOSE).row == 3


def test_events_of_a_state_are_those_with_a_row() -> None:
    """A terminal state without exits has none."""
    assert TABLE.events(State.OPEN) == (Event.TAKE, Event.CLOSE, Event.AGE)
    assert TABLE.events(State.CLOSED) == ()


def test_each_refusal_says_why() -> None:
    """A terminal state, no row, or no guard that holds, with the values that it saw."""
    reasons = []
    arguments: list[tuple[State, Event, dict[str, object], dict[str, object]]] = [
        (State.CLOSED, Event.CLOSE, {}, {}),
        (State.BUSY, Event.TAKE, {}, {}),
        (State.BUSY, Event.TRY, {"tries": 5, "more": 1}, {"cap": 2}),
        (State.OPEN, Event.TAKE, {}, {"owner": RUN, "note": "x"}),
    ]
    for state, event, fields, params in arguments:
        before = dict(fields), dict(params)
        with pytest.raises(TransitionRefused) as refused:
            TABLE.step(state, event, fields, params)
        assert (refused.value.machine, refused.value.state, refused.value.event) == ("desk", state, event)
        assert refused.value.__context__ is None
        assert (fields, params) == before
        reasons.append(refused.value.reason)
    assert reasons == [
        "terminal state",
        "no row",
        "guard not met: tries + 1 < cap; tries + 1 = cap (tries = 5, cap = 2)",
        "guard not met: note is none (note = 'x')",
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nowhere", Event.CLOSE), "'nowhere' is not a state; the states are open, busy, closed"),
        ((State.OPEN, "nothing"), "'nothing' is not an event; the events are take, try, close, age"),
        ((State.OPEN, Event.TAKE), "parameter 'owner' is missing"),
        ((State.BUSY, Event.TRY, {}, {"cap": 1}), "field 'tries' is missing"),
        ((State.BUSY, Event.TRY, {"tries": 3}, {"cap": True}), "parameter 'cap' must be int, not True"),
        ((State.BUSY, Event.TRY, {"tries": "3"}, {"cap": 1}), "field 'tries' must be int, not '3'"),
        ((State.OPEN, Event.TAKE, {}, {"owner": RUN, "note": 3}), "parameter 'note' must be str or None, not 3"),
        ((State.OPEN, Event.AGE, {"age": None}), "no value for age = none; put is_some"),
        ((State.BUSY, Event.TRY, {"tries": 3}, None), "the parameters must be a mapping of names to values, not None"),
        ((State.OPEN, Event.TAKE, {}, [RUN]), "the parameters must be a mapping of names to values"),
        ((State.OPEN, Event.TAKE, {}, None), "the parameters must be a mapping of names to values, not None"),
        ((State.OPEN, Event.AGE, None), "the fields must be a mapping of names to values, not None"),
    ],
)
def test_mistakes_of_the_caller_are_no_refusals(arguments: tuple[Any, ...], problem: str) -> None:
    """What the machine does not know, or what is missing, is named in a SpecError."""
    with pytest.raises(SpecError, match=problem.replace("+", r"\+")):
        TABLE.step(*arguments)


def test_check_looks_at_values_before_a_step_that_would_succeed() -> None:
    """Undeclared parameters and wrong types pass unseen on the fast path, and are found with ``check``."""
    arguments = (State.OPEN, Event.TAKE, {"owner": None}, {"owner": RUN, "extra": 1})
    assert TABLE.step(*arguments).target is State.BUSY
    with pytest.raises(SpecError, match="'extra' is not declared; declared are owner"):
        TABLE.step(*arguments, check=True)
    with pytest.raises(SpecError, match="'x' is not declared; declared are none"):
        TABLE.step(State.OPEN, Event.AGE, {"age": 9}, {"x": 1}, check=True)


def test_more_facts_than_an_event_takes_do_not_hide_a_refusal() -> None:
    """A refusal is told as one, whatever undeclared parameters were given with it."""
    with pytest.raises(TransitionRefused, match="guard not met"):
        TABLE.step(State.BUSY, Event.TRY, {"tries": 5}, {"cap": 2, "x": 1})


def test_check_passes_what_fits() -> None:
    """With ``check`` a step that fits is taken as without."""
    assert TABLE.step(State.OPEN, Event.TAKE, {}, {"owner": RUN}, check=True).sets == {"owner": RUN}


_FIELDS = (
    Field("count", int, default=0),
    Field("maybe", int, default=0),
    Field("flag", bool, default=False),
    Field("color", Color, default=Color.RED),
    Field("owner", UUID, default=RUN),
)
_values = st.fixed_dictionaries(
    {
        "count": st.integers(-1, 4),
        "maybe": st.integers(-1, 4),
        "flag": st.booleans(),
        "color": st.sampled_from(Color),
        "owner": st.just(RUN),
    }
)


_given_params = st.fixed_dictionaries({"limit": st.integers(-1, 4), "listed": st.booleans(), "by": st.just(RUN)})


@given(conditions, _values, _given_params)
def test_a_step_is_taken_exactly_when_the_guard_holds(
    guard: Expression, fields: dict[str, Any], params: dict[str, Any]
) -> None:
    """The compiled table agrees with the guard as data (C50)."""
    machine = Machine(
        name="guarded",
        states=State,
        initial=State.OPEN,
        fields=_FIELDS,
        events=dict.fromkeys(Event, (Param("limit", int), Param("listed", bool), Param("by", UUID))),
        transitions=(Transition(Event.TRY, State.OPEN, State.BUSY, guard=guard, sets={"flag": guard}),),
    )
    if guard.evaluate(fields, params):
        assert machine.compile().step(State.OPEN, Event.TRY, fields, params).sets == {"flag": True}
    else:
        with pytest.raises(TransitionRefused, match="guard not met"):
            machine.compile().step(State.OPEN, Event.TRY, fields, params)
