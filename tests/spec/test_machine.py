"""Machines: what is written badly is refused when it is built, with the place and what to mend."""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import attrs
import pytest

from holdstate.spec import TRUE, Field, Machine, Param, SpecError, Transition, const, field, param


class State(StrEnum):
    OPEN = "open"
    SHUT = "shut"


class Other(StrEnum):
    OPEN = "open"


class Event(StrEnum):
    PUSH = "push"
    PULL = "pull"


_TEXT: Any = "int"


class Level(IntEnum):
    LOW = 1


_FIELD = Field("count", int, default=0)
_PUSH: Transition[State, Event] = Transition(Event.PUSH, State.OPEN, State.SHUT)


def _machine(**changes: Any) -> Machine[State, Event]:
    parts: dict[str, Any] = {
        "name": "door",
        "states": State,
        "initial": State.OPEN,
        "terminal": {State.SHUT},
        "fields": (Field("count", int, default=0), Field("owner", UUID, optional=True)),
        "events": {Event.PUSH: (Param("by", UUID), Param("note", str, optional=True)), Event.PULL: ()},
        "transitions": (_PUSH,),
    }
    return Machine(**parts | changes)


def _row(
    *, event: Any = Event.PUSH, source: Any = State.OPEN, target: Any = State.SHUT, **parts: Any
) -> dict[str, Any]:
    return {"transitions": [_PUSH, Transition(event, source, target, **parts)]}


def test_the_matrix_is_total() -> None:
    """Each pair of states × events is there; a pair without rows has an empty tuple."""
    assert _machine().matrix() == {
        (State.OPEN, Event.PUSH): (_PUSH,),
        (State.OPEN, Event.PULL): (),
        (State.SHUT, Event.PUSH): (),
        (State.SHUT, Event.PULL): (),
    }


def test_parts_are_kept_as_values_that_do_not_change() -> None:
    """One source becomes a tuple, raw values become constants, one effect becomes a tuple of one."""
    row = Transition(Event.PUSH, State.OPEN, State.SHUT, sets={"count": 3, "owner": param("by")}, emits="rang")
    assert row.source == (State.OPEN,)
    assert row.sets == (("count", const(3)), ("owner", param("by")))
    assert row.emits == ("rang",)
    assert row.guard == TRUE
    assert hash(row) == hash(Transition(Event.PUSH, (State.OPEN,), State.SHUT, sets=dict(row.sets), emits=("rang",)))
    machine = _machine(effects=["rang"], transitions=[row])
    assert machine.transitions == (row,)
    assert machine.effects == ("rang",)
    assert machine.place(0) == "transitions[0] (open --push--> shut)"
    with pytest.raises(TypeError):
        machine.events[Event.PULL] = ()  # type: ignore[index]


def test_what_is_well_formed_is_taken() -> None:
    """Fields of every type, None for optional ones, exits of terminal states, conditions as values."""
    _machine(
        fields=(
            Field("count", int, default=0),
            Field("text", str, default=""),
            Field("flag", bool, default=False),
            Field("state", State, default=State.OPEN),
            Field("level", Level, default=Level.LOW),
            Field("owner", UUID, optional=True),
        ),
        terminal_exits={(State.SHUT, Event.PULL)},
        transitions=(
            Transition(
                Event.PUSH,
                State.OPEN,
                State.SHUT,
                guard=param("note").is_none(),
                sets={"owner": None, "flag": field("count").gt(0), "state": State.SHUT, "count": 0},
            ),
            Transition(Event.PULL, State.SHUT, State.OPEN),
        ),
    )


@pytest.mark.parametrize(
    ("changes", "where", "problem"),
    [
        ({"states": [State.OPEN]}, "machine 'door'", "states must be a StrEnum class"),
        ({"states": Level}, "machine 'door'", "states must be a StrEnum class"),
        ({"initial": Other.OPEN}, "machine 'door'", "is not a member of State"),
        ({"terminal": {"shut"}}, "machine 'door'", "'shut' is not a member of State"),
        ({"terminal_exits": {(Other.OPEN, Event.PUSH)}}, "machine 'door'", "is not a member of State"),
        ({"initial": State.SHUT}, "machine 'door'", "the initial state shut is terminal"),
        ({"terminal_exits": {(State.OPEN, Event.PUSH)}}, "machine 'door'", "open, which is not terminal"),
        ({"terminal_exits": {(State.SHUT, "kick")}}, "machine 'door'", "'kick', which is not an event"),
        ({"fields": [Field("a b", int, default=0)]}, "machine 'door', field 'a b'", "ASCII identifier"),
        ({"fields": [Field("a", float, default=0)]}, "machine 'door', field 'a'", "the type must be"),
        ({"fields": [Field("a", _TEXT, default=0)]}, "machine 'door', field 'a'", "the type must be"),
        ({"fields": [Field("a", int)]}, "machine 'door', field 'a'", "give it a default"),
        (
            {"fields": [Field("a", int, default=True)]},
            "machine 'door', field 'a'",
            "the default True is not of type int",
        ),
        ({"fields": [Field("a", int, default=0)] * 2}, "machine 'door', fields", "'a' is declared twice"),
        ({"events": {}}, "machine 'door', events", "members of one StrEnum class"),
        ({"events": {"push": ()}}, "machine 'door', events", "members of one StrEnum class"),
        ({"events": {Event.PUSH: (), Other.OPEN: ()}}, "machine 'door', events", "members of one StrEnum class"),
        ({"events": {Event.PUSH: ()}}, "machine 'door', events", "pull is not declared"),
        (
            {"events": {Event.PUSH: (Param("by", list),), Event.PULL: ()}},
            "machine 'door', event push, parameter 'by'",
            "the type must be",
        ),
        (
            {"events": {Event.PUSH: [Param("by", int)] * 2, Event.PULL: ()}},
            "machine 'door', event push",
            "'by' is declared twice",
        ),
        ({"name": 4}, "machine 4", "the name is 4; give a text"),
        ({"name": " "}, "machine ' '", "a text that is not empty"),
        ({"doc": None}, "machine 'door'", "the doc is None, not a text"),
        ({"fields": _FIELD}, "machine 'door'", "fields must be given as a list"),
        ({"fields": ("n",)}, "machine 'door', fields", "'n' is not a Field"),
        ({"transitions": _PUSH}, "machine 'door'", "transitions must be given as a list"),
        ({"transitions": [_PUSH, (Event.PUSH, State.OPEN)]}, "machine 'door', transitions[1]", "not a Transition"),
        ({"terminal": State.SHUT}, "machine 'door'", "terminal must be given as a list"),
        ({"terminal": [[State.SHUT]]}, "machine 'door'", "terminal must be given as a list"),
        ({"terminal_exits": {State.SHUT}}, "machine 'door'", "give pairs of a state and an event"),
        ({"terminal_exits": {(State.SHUT, "push")}}, "machine 'door'", "'push', which is not an event"),
        ({"effects": "rang"}, "machine 'door'", "effects must be given as a list"),
        ({"effects": [""]}, "machine 'door'", "an effect is ''; give a text"),
        ({"events": [Event.PUSH, Event.PULL]}, "machine 'door'", "events must map each event"),
        ({"events": {Event.PUSH: Param("by", int), Event.PULL: ()}}, "machine 'door', event push", "a list of Param"),
        ({"events": {Event.PUSH: ("by",), Event.PULL: ()}}, "machine 'door', event push", "a list of Param"),
    ],
)
def test_a_badly_declared_part_is_refused(changes: dict[str, Any], where: str, problem: str) -> None:
    """The error names the machine and the part, and says what to mend."""
    with pytest.raises(SpecError, match=problem) as refused:
        _machine(**changes)
    assert refused.value.where == where


_HERE = "machine 'door', transitions[1]"
_ROW = f"{_HERE} (open --push--> shut)"


@pytest.mark.parametrize(
    ("changes", "where", "problem"),
    [
        (_row(event="kick"), _HERE, "'kick' is not an event"),
        (_row(event="push"), _HERE, "'push' is not an event"),
        (_row(source=None), _HERE, "None is not a member of State"),
        (_row(source="open"), _HERE, "'open' is not a member of State"),
        (_row(doc=5), _ROW, "the doc is 5, not a text"),
        (_row(emits=5), _ROW, "an effect that it emits is 5; give a text"),
        (_row(emits=("",)), _ROW, "an effect that it emits is ''; give a text"),
        (_row(sets=5), _ROW, "sets has 5; map each field to its new value"),
        (_row(sets=[("count",)]), _ROW, "map each field to its new value"),
        (_row(sets=[("count", 1), ("count", 2)]), _ROW, "sets 'count' twice"),
        (_row(sets={"count": 1.5}), _ROW, "1.5: a constant must be an int"),
        (_row(source=Other.OPEN), _HERE, "is not a member of State"),
        (_row(target="shut"), _HERE, "'shut' is not a member of State"),
        (_row(source=()), f"{_HERE} ( --push--> shut)", "at least one"),
        (_row(source=(State.OPEN, State.OPEN)), f"{_HERE} (open, open --push--> shut)", "each source state once"),
        (_row(emits=("boom",)) | {"effects": Other}, _ROW, "'boom' is not in the effects"),
        (_row(guard=operator.eq(field("count"), 1)), _ROW, r"the guard is False, not an expression; write x\.eq\(y\)"),
        (_row(guard=field("count")), _ROW, "the guard count is not a condition"),
        (_row(guard=field("size").eq(1)), _ROW, "size: no such field of the machine; declared are count, owner"),
        (_row(guard=param("size").eq(1)), _ROW, "size: no such parameter of the event; declared are by, note"),
        (_row(guard=param("by").lt(1)), _ROW, "only ints are ordered, not UUID and int"),
        (_row(group="mending"), _ROW, "the group is 'mending', not one of step, recovery, giving up; use RowGroup"),
        (_row(sets={"size": 1}), _ROW, "sets 'size', which is not a field"),
        (_row(sets={"count": param("by")}), _ROW, r"sets 'count' \(int\) to by \(UUID\)"),
        (_row(sets={"count": None}), _ROW, r"sets 'count' \(int\) to none \(NoneType\)"),
    ],
)
def test_a_bad_row_is_refused(changes: dict[str, Any], where: str, problem: str) -> None:
    """The error names the machine and the row, and says what to mend."""
    with pytest.raises(SpecError, match=problem) as refused:
        _machine(**changes)
    assert refused.value.where == where


def test_a_row_is_changed_in_one_part_and_keeps_the_others() -> None:
    """``attrs.evolve`` takes what a row has made of its parts."""
    row = Transition(Event.PUSH, State.OPEN, State.SHUT, sets={"count": 3, "owner": param("by")}, emits="rang")
    other = attrs.evolve(row, doc="pushed")
    assert other == Transition(
        Event.PUSH, State.OPEN, State.SHUT, sets={"count": 3, "owner": param("by")}, emits="rang", doc="pushed"
    )
    assert _machine(transitions=[other]).transitions == (other,)


@pytest.mark.parametrize("build", [lambda: _machine(states=None), lambda: _machine(events={})])
def test_a_badly_built_machine_is_a_value_error(build: Callable[[], object]) -> None:
    """A user's mistake is also the built-in kind."""
    with pytest.raises(ValueError, match="machine 'door'"):
        build()
