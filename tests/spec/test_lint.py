"""Lint: each kind of finding on a machine made for it, and none on a good one."""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.spec import Expression, Field, Finding, FindingCode, Machine, Param, Transition, const, field, param
from holdstate.spec.lint import lint_machine


class State(StrEnum):
    OPEN = "open"
    HELD = "held"
    SHUT = "shut"


class Event(StrEnum):
    HOLD = "hold"
    SHUT = "shut"


class Effect(StrEnum):
    RING = "ring"
    BUZZ = "buzz"


_HOLD = Transition(Event.HOLD, State.OPEN, State.HELD)
_SHUT = Transition(Event.SHUT, State.HELD, State.SHUT)
_COUNT, _BEST, _OWNER = (
    Field("count", int, default=0),
    Field("best", int, optional=True),
    Field("owner", UUID, optional=True),
)
_CAP, _BY, _NOTE, _SIDE, _LOUD = (
    Param("cap", int), Param("by", UUID), Param("note", str), Param("side", State), Param("loud", bool),
)  # fmt: skip
_count, _best, _owner, _cap = field("count"), field("best"), field("owner"), param("cap")
_next = _count.plus_one()


def _machine(*rows: Transition[State, Event], **changes: Any) -> Machine[State, Event]:
    parts: dict[str, Any] = {
        "name": "door",
        "states": State,
        "initial": State.OPEN,
        "terminal": {State.SHUT},
        "events": {Event.HOLD: (), Event.SHUT: ()},
        "transitions": rows or (_HOLD, _SHUT),
    }
    return Machine(**parts | changes)


def _guarded(
    *guards: Expression, params: tuple[Param, ...] = (), fields: tuple[Field, ...] = (), **sets: Any
) -> Machine[State, Event]:
    """A good machine but for the guards of its rows for ``hold`` in ``open``."""
    rows = [Transition(Event.HOLD, State.OPEN, State.HELD, guard=guard, sets=sets) for guard in guards]
    return _machine(*rows, _SHUT, events={Event.HOLD: params, Event.SHUT: ()}, fields=fields)


def _codes(findings: tuple[Finding, ...]) -> list[FindingCode]:
    return [finding.code for finding in findings]


def test_a_good_machine_has_no_findings() -> None:
    """Nothing is reported where nothing is wrong."""
    assert _machine().lint() == ()


def test_a_machine_that_never_ends_may_have_no_terminal_state() -> None:
    """Being trapped means having an end and not reaching it."""
    assert _machine(_HOLD, Transition(Event.SHUT, State.HELD, State.SHUT), terminal=()).lint() == ()


def test_states_and_rows_that_cannot_be_reached_are_found() -> None:
    """A row whose guard never holds leads nowhere."""
    never = Transition(Event.HOLD, State.OPEN, State.HELD, guard=const(value=False))
    findings = _machine(never, _SHUT).lint()
    assert [(finding.code, finding.place) for finding in findings] == [
        (FindingCode.DEAD_ROW, "transitions[0] (open --hold--> held)"),
        (FindingCode.UNREACHABLE_STATE, "state held"),
        (FindingCode.UNREACHABLE_STATE, "state shut"),
        (FindingCode.DEAD_ROW, "transitions[1] (held --shut--> shut)"),
        (FindingCode.TRAPPED_STATE, "state open"),
    ]
    assert str(findings[1]) == "door: state held: no rows lead here from open [unreachable_state]"


def test_a_state_without_a_way_to_an_end_is_found() -> None:
    """Held is left by no row."""
    findings = _machine(_HOLD, Transition(Event.SHUT, State.OPEN, State.SHUT)).lint()
    assert [(finding.code, finding.place) for finding in findings] == [(FindingCode.TRAPPED_STATE, "state held")]


def test_exits_of_terminal_states_are_declared_or_found() -> None:
    """An exit that is not declared, and a declaration without an exit, are findings; the two together are none."""
    exit_row = Transition(Event.HOLD, State.SHUT, State.HELD)
    pair = {(State.SHUT, Event.HOLD)}
    assert _codes(_machine(_HOLD, _SHUT, exit_row).lint()) == [FindingCode.UNDECLARED_EXIT]
    assert _codes(_machine(terminal_exits=pair).lint()) == [FindingCode.UNUSED_EXIT]
    assert _machine(_HOLD, _SHUT, exit_row, terminal_exits=pair).lint() == ()


def test_what_nothing_uses_is_found() -> None:
    """Fields, parameters, events and effects; a field that is only set, or only read, is used."""
    hold = Transition(
        Event.HOLD,
        (State.OPEN, State.HELD),
        State.SHUT,
        guard=_owner.is_none(),
        sets={"count": 1},
        emits=(Effect.RING,),
    )
    findings = _machine(
        hold,
        states=State,
        fields=(_COUNT, _BEST, _OWNER),
        events={Event.HOLD: (_CAP,), Event.SHUT: (_BY,)},
        effects=Effect,
    ).lint()
    assert [(finding.code, finding.place) for finding in findings[1:]] == [
        (FindingCode.UNUSED_FIELD, "field best"),
        (FindingCode.UNUSED_PARAM, "event hold"),
        (FindingCode.UNUSED_EVENT, "event shut"),
        (FindingCode.UNUSED_EFFECT, "effect buzz"),
    ]
    assert _codes(findings[:1]) == [FindingCode.UNREACHABLE_STATE]


@pytest.mark.parametrize(
    "guards",
    [
        (_next.lt(_cap), _next.ge(_cap)),
        (_count.lt(100), _count.eq(100), _count.gt(100)),
        (_owner.is_none(), _owner.eq(param("by")), _owner.is_some() & _owner.ne(param("by"))),
        (param("note").eq("a"), ~param("note").is_in("a", "b"), param("note").eq("b")),
        (param("side").eq(State.OPEN), param("side").is_in(State.HELD, State.SHUT)),
        (param("loud"), ~param("loud")),
        (_best.is_none() | _best.lt(_cap), _best.is_some() & _best.ge(_cap)),
    ],
)
def test_guards_that_exclude_each_other_are_no_finding(guards: tuple[Expression, ...]) -> None:
    """Ids, texts, enum members, booleans, None and integers with + 1 are all decided."""
    machine = _guarded(*guards, params=(_CAP, _BY, _NOTE, _SIDE, _LOUD), fields=(_COUNT, _BEST, _OWNER))
    assert set(_codes(machine.lint())) <= {FindingCode.UNUSED_FIELD, FindingCode.UNUSED_PARAM}


@pytest.mark.parametrize(
    ("guards", "example"),
    [
        ((_next.le(_cap), _next.ge(_cap)), "count = .*, cap = "),
        ((_count.gt(100), _count.lt(102)), "count = 101"),
        ((_owner.ne(param("by")), _owner.is_none()), "owner = none, by = "),
        ((param("note").ne("a"), param("note").ne("b")), "note = 'text 1'"),
        ((param("note").ne("text 1"), param("note").ne("b")), "note = 'text 2'"),
        ((param("loud"), param("side").eq(State.SHUT)), "side = shut, loud = true"),
    ],
)
def test_guards_that_hold_at_once_are_found(guards: tuple[Expression, ...], example: str) -> None:
    """The finding names both rows and gives an example."""
    machine = _guarded(*guards, params=(_CAP, _BY, _NOTE, _SIDE, _LOUD), fields=(_COUNT, _BEST, _OWNER))
    (finding,) = [each for each in machine.lint() if each.code is FindingCode.OVERLAPPING_GUARDS]
    assert finding.place == "open --hold"
    assert finding.message.startswith("transitions[0] and transitions[1] both hold, for instance: ")
    assert re.search(example, finding.message)


def test_a_row_behind_one_that_always_holds_is_dead() -> None:
    """Two rows without a guard overlap, and the second never fires."""
    findings = _guarded(const(value=True), const(value=True)).lint()
    assert _codes(findings) == [FindingCode.OVERLAPPING_GUARDS, FindingCode.DEAD_ROW]
    assert findings[0].message.endswith("for instance: always")
    assert findings[1].message == "in open an earlier row holds whenever it does"


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (_guarded(_best.lt(3), fields=(_BEST,)), "the guard best < 3 has no value when best = none"),
        (
            _guarded(_best.ne(1), fields=(_BEST,), best=_best.plus_one()),
            "best = best + 1 has no value when best = none",
        ),
        (_guarded(_best.ne(1), fields=(_BEST, _COUNT), count=_best), "count = best has no value when best = none"),
    ],
)
def test_none_where_a_number_is_needed_is_found(machine: Machine[State, Event], message: str) -> None:
    """An order, a + 1, or a field that is not optional."""
    assert [(each.code, each.message) for each in machine.lint()] == [(FindingCode.UNDEFINED_VALUE, message)]


def test_none_that_a_guard_keeps_out_is_no_finding() -> None:
    """Only what the guard lets through is looked at, and None may stay None."""
    safe = _guarded(_best.is_some() & _best.lt(3), fields=(_BEST, _COUNT), count=_best.plus_one())
    assert safe.lint() == ()
    assert _guarded(_owner.ne(UUID(int=1)), fields=(_OWNER,), owner=_owner).lint() == ()


def test_too_many_cases_are_reported_as_undecided() -> None:
    """Nothing is skipped silently: a guard, an assignment, and a set of guards over the limit."""
    wide = _guarded(_count.lt(_cap), params=(_CAP,), fields=(_COUNT,))
    assert _codes(lint_machine(wide, limit=9)) == [FindingCode.UNDECIDED]
    assert [each.place for each in lint_machine(wide, limit=9)] == ["transitions[0] (open --hold--> held)"]
    assigned = _guarded(_count.lt(3), params=(_CAP,), fields=(_COUNT,), count=_cap)
    assert [each.message.partition(";")[0] for each in lint_machine(assigned, limit=9)] == [
        "more than 9 cases for count = cap"
    ]
    pair = _guarded(_count.lt(3), _cap.lt(3), params=(_CAP,), fields=(_COUNT,))
    assert [(each.code, each.place) for each in lint_machine(pair, limit=9)] == [(FindingCode.UNDECIDED, "open --hold")]


_terms = st.sampled_from([_count, _next, _next.plus_one(), _cap, const(0), const(7)])
_compare = st.sampled_from(["lt", "le", "gt", "ge", "eq", "ne"])
_conditions = st.recursive(
    st.builds(lambda one, compare, other: getattr(one, compare)(other), _terms, _compare, _terms),
    lambda inner: st.one_of(st.builds(lambda a, b: a & b, inner, inner), inner.map(lambda each: ~each)),
    max_leaves=4,
)


@given(_conditions, _conditions)
def test_overlap_is_decided_as_by_a_much_wider_search(one: Expression, other: Expression) -> None:
    """The small windows around the constants miss nothing that a search over 41 × 41 values finds."""
    machine = _guarded(one, other, params=(_CAP,), fields=(_COUNT,))
    overlap = any(
        one.evaluate({"count": count}, {"cap": cap}) and other.evaluate({"count": count}, {"cap": cap})
        for count, cap in product(range(-20, 21), repeat=2)
    )
    codes = _codes(machine.lint())
    assert (FindingCode.OVERLAPPING_GUARDS in codes) is overlap
    assert FindingCode.UNDECIDED not in codes
