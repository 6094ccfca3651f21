"""A failure is made small: fewer moves, simpler parameters, the same rule; and it stays a failure of the system."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from holdstate.spec import Field, Machine, Param, Transition, field, param
from holdstate.tools.harness import Broken, Move
from holdstate.tools.harness.replay import Subject, play
from holdstate.tools.harness.shrinking import simpler, smaller

from .shop import Speed

S = StrEnum("S", ["SHUT", "OPEN"])
E = StrEnum("E", ["LOCK", "ENTER", "KNOCK"])

SAFE = Machine(
    name="safe",
    states=S,
    initial=S.OPEN,
    fields=(Field("code", int, default=0),),
    events={E.LOCK: (Param("code", int),), E.ENTER: (Param("code", int),), E.KNOCK: (Param("times", int),)},
    transitions=(
        Transition(E.LOCK, S.OPEN, S.SHUT, sets={"code": param("code")}),
        Transition(E.ENTER, S.SHUT, S.OPEN, guard=param("code").eq(field("code"))),
        Transition(E.KNOCK, (S.SHUT, S.OPEN), S.SHUT, guard=param("times").gt(field("code"))),
    ),
)
LONG = [
    Move(E.LOCK, {"code": 7}),
    Move(E.ENTER, {"code": 7}),
    Move(E.LOCK, {"code": 4711}),
    Move(E.KNOCK, {"times": 5000}),
    Move(E.ENTER, {"code": 4711}),
]


class Safe:
    """It does not open for a code of four digits; ``flaky`` ones do so at the first try alone."""

    flaky = False
    tries = 0

    def start(self) -> None:
        self.now, self.code = "open", 0
        type(self).tries += 1

    def state(self) -> str:
        return self.now

    def fire(self, event: str, params: Any) -> None:
        known = self.code < 1000 or (self.flaky and self.tries > 1)
        if event == "lock" and self.now == "open":
            self.now, self.code = "shut", params["code"]
        elif event == "enter" and self.now == "shut" and params["code"] == self.code:
            self.now = "open" if known else "shut"
        elif event == "knock" and params["times"] > self.code:
            self.now = "shut"
        else:
            raise ValueError(event)

    refusals = (ValueError,)


class FlakySafe(Safe):
    flaky = True
    tries = 0


def failure(adapter: type[Safe], moves: list[Move]) -> Broken:
    broken, _trace = play(Subject(SAFE, adapter), moves)
    assert broken is not None
    return broken


def test_moves_are_left_out_and_values_that_have_to_agree_go_down_together() -> None:
    """The code is given twice: it goes down to the smallest that fails, in both moves."""
    found = smaller(Subject(SAFE, Safe), failure(Safe, LONG))
    assert [(move.event, dict(move.params)) for move in found.moves] == [
        (E.LOCK, {"code": 1000}),
        (E.ENTER, {"code": 1000}),
    ]
    assert found.rule == "the states differ"
    assert len(found.trace.steps) == 3


def test_what_is_small_already_stays_as_it_is() -> None:
    """And comes back as a failure of its own, without what others noted on the first one."""
    small = [Move(E.LOCK, {"code": 1000}), Move(E.ENTER, {"code": 1000})]
    first = failure(Safe, small)
    first.add_note("noise")
    found = smaller(Subject(SAFE, Safe), first)
    assert list(found.moves) == small
    assert not hasattr(found, "__notes__")


def test_a_failure_that_does_not_happen_again_is_told_as_it_is() -> None:
    """With a note, and with its moves."""
    first = failure(FlakySafe, LONG)
    found = smaller(Subject(SAFE, FlakySafe), first)
    assert found is first
    assert found.__notes__ == [
        "it did not happen again when the same moves were played again: the system is not deterministic"
    ]


@pytest.mark.parametrize("value", [0, False, Speed.SLOW, UUID(int=1), "", None], ids=repr)
def test_the_simplest_value_of_a_type_has_no_simpler_one(value: Any) -> None:
    """So that making smaller ends."""
    assert list(simpler(value)) == []


@pytest.mark.parametrize(
    ("value", "some"),
    [
        (9, [0, 5, 7, 8]),
        (-9, [9, 0, -5, -7, -8]),
        (True, [False]),
        (Speed.FAST, [Speed.SLOW]),
        (UUID(int=77), [UUID(int=1), UUID(int=2)]),
        ("xé", ["", "é", "x", "aé", "bé", "xa", "xb"]),
    ],
    ids=repr,
)
def test_simpler_values_come_the_simplest_first(value: Any, some: list[Any]) -> None:
    """Nearer to zero, shorter, earlier in the alphabet or in the enumeration; of the same type."""
    found = list(simpler(value))
    assert found == some
    assert {type(each) for each in found} == {type(value)}
