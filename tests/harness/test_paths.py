"""Paths from the table: all of them up to a length, and covers that name what they cannot reach."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE, Field, Machine, Param, SpecError, Transition, field, param
from holdstate.tools.harness import Broken, Move, all_paths, check_paths, coverage_of, pair_cover, transition_cover
from holdstate.tools.harness.machine_tests import FAILURES_VARIABLE
from holdstate.tools.harness.moves import foretold, moves
from holdstate.tools.harness.replay import read_replay

from .shop import BUGS, ORDER, Event, Order, Shop

S = StrEnum("S", ["ON", "OFF", "GONE"])
E = StrEnum("E", ["FLIP", "COUNT", "GO"])

SWITCH = Machine(
    name="switch",
    states=S,
    initial=S.OFF,
    terminal={S.GONE},
    fields=(Field("times", int, default=0),),
    events={E.FLIP: (), E.COUNT: (Param("by", int),), E.GO: (Param("sure", bool),)},
    transitions=(
        Transition(E.FLIP, S.OFF, S.ON),
        Transition(E.FLIP, S.ON, S.OFF, sets={"times": field("times").plus_one()}),
        Transition(E.COUNT, S.ON, S.ON, guard=param("by").eq(3), sets={"times": param("by")}),
        Transition(E.GO, (S.ON, S.OFF), S.GONE, guard=param("sure") & field("times").ge(1)),
    ),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where failures go."""
    monkeypatch.setenv(FAILURES_VARIABLE, str(tmp_path))
    return tmp_path


def walked(machine: Any, path: Iterable[Move]) -> tuple[Any, dict[str, Any], list[tuple[int, Any]]]:
    """Where a path ends, and the (row, source) pairs that it takes."""
    state, fields, rows = machine.initial, machine.compile().initial_fields(), []
    for move in path:
        step: Any = foretold(machine, state, fields, move, check=True)
        rows.append((step.row, state))
        state = step.target
        fields |= step.sets
    return state, fields, rows


def test_all_paths_are_all_there_are() -> None:
    """Counted by hand for the switch, the shortest first, none twice."""
    paths = [tuple(move.text() for move in path) for path in all_paths(SWITCH, 3)]
    assert paths == [
        ("flip()",),
        ("flip()", "flip()"),
        ("flip()", "count(by=3)"),
        ("flip()", "flip()", "flip()"),
        ("flip()", "flip()", "go(sure=True)"),
        ("flip()", "count(by=3)", "flip()"),
        ("flip()", "count(by=3)", "count(by=3)"),
        ("flip()", "count(by=3)", "go(sure=True)"),
    ]


@pytest.mark.parametrize("machine", [ORDER, SWITCH, INPUT_LIFECYCLE, RUNTIME_STATE], ids=lambda each: each.name)
def test_a_transition_cover_takes_every_row_from_every_source(machine: Any) -> None:
    """With few paths, each of which runs as the table says (C49)."""
    cover = transition_cover(machine)
    taken = {pair for path in cover.paths for pair in walked(machine, path)[2]}
    wanted = {(number, source) for number, row in enumerate(machine.transitions) for source in row.source}
    assert cover.missing == ()
    assert taken == wanted
    for path in cover.paths:
        assert not any(other[: len(path)] == path for other in cover.paths if other is not path)


@pytest.mark.parametrize("machine", [ORDER, SWITCH, INPUT_LIFECYCLE, RUNTIME_STATE], ids=lambda each: each.name)
def test_a_pair_cover_takes_each_row_after_each_that_can_come_before_it(machine: Any) -> None:
    """What is missing is named, and no path up to a length has it."""
    cover = pair_cover(machine)
    taken = {pair for path in cover.paths for pair in _pairs(walked(machine, path)[2])}
    short = {pair for path in all_paths(machine, 3) for pair in _pairs(walked(machine, path)[2])}
    assert short <= taken
    assert len(cover.missing) < len(taken) + len(cover.missing)


def _pairs(rows: list[tuple[int, Any]]) -> set[tuple[tuple[int, Any], tuple[int, Any]]]:
    return set(pairwise(rows))


def test_what_no_value_reaches_is_named() -> None:
    """A guard on a value that nobody would guess; naming the value reaches it."""
    odd = Machine(
        name="odd",
        states=S,
        initial=S.OFF,
        events={E.FLIP: (Param("code", str), Param("again", str)), E.COUNT: (), E.GO: ()},
        transitions=(
            Transition(E.FLIP, S.OFF, S.ON, guard=param("code").ne("a") & param("code").ne("b") & param("code").ne("")),
            Transition(E.COUNT, S.ON, S.ON),
            Transition(E.GO, S.ON, S.GONE),
        ),
    )
    cover = transition_cover(odd)
    assert (cover.paths, len(cover.missing)) == ((), 3)
    assert cover.missing[0] == "off --flip--> on (row 1)"
    for values in ({"code": ["c"]}, {"flip.code": ["c"]}):
        assert transition_cover(odd, values=values).missing == ()
    with pytest.raises(SpecError, match="cod"):
        transition_cover(odd, values={"cod": ["c"]})
    with pytest.raises(SpecError, match="cod"):
        list(all_paths(odd, 1, values={"cod": ["c"]}))


def test_values_are_those_that_guards_compare_with_and_their_neighbours() -> None:
    """Constants and fields of the type, one more and one less; every member of an enum; None where it is optional."""
    amounts = [move.params["amount"] for move in moves(ORDER, {"paid": 5, "payer": None}, Event.PAY)]
    assert {4, 5, 6, 0, 1} <= set(amounts)
    assert None in {move.params["payer"] for move in moves(ORDER, {"paid": 5}, Event.PAY)}
    speeds = {move.params["speed"] for move in moves(ORDER, {}, Event.SHIP)}
    assert len(speeds) == 2


def test_what_a_counter_comes_to_is_worth_trying() -> None:
    """A parameter that a guard compares with one more than a field: every row is reached."""
    later = field("last").plus_one()
    retries = Machine(
        name="retries",
        states=S,
        initial=S.OFF,
        terminal={S.GONE},
        fields=(Field("failed", int, default=0), Field("last", int, optional=True)),
        events={E.FLIP: (Param("most", int),), E.COUNT: (Param("number", int),), E.GO: ()},
        transitions=(
            Transition(E.COUNT, S.OFF, S.OFF, guard=field("last").is_none(), sets={"last": param("number")}),
            Transition(E.COUNT, S.OFF, S.ON, guard=field("last").is_some() & later.eq(param("number"))),
            Transition(
                E.FLIP,
                (S.OFF, S.ON),
                S.ON,
                guard=field("failed").plus_one().lt(param("most")),
                sets={"failed": field("failed").plus_one()},
            ),
            Transition(E.FLIP, (S.OFF, S.ON), S.GONE, guard=field("failed").plus_one().ge(param("most"))),
        ),
    )
    assert transition_cover(retries).missing == ()
    again = [move.params["most"] for path in all_paths(retries, 2) for move in path if move.event is E.FLIP]
    assert {2, 3} <= set(again)


def test_a_sound_system_passes_every_path_and_every_refusal() -> None:
    """Without Hypothesis; coverage is that of the paths, and at each end every refused event was tried."""
    machine = Machine(
        name="on paths",
        states=Order,
        initial=ORDER.initial,
        terminal=ORDER.terminal,
        fields=ORDER.fields,
        events=ORDER.events,
        transitions=ORDER.transitions,
    )
    cover = transition_cover(machine)
    assert check_paths(machine, Shop, cover.paths) == len(cover.paths) + 1
    facts = coverage_of(machine).as_dict()
    assert facts["never_taken"] == []
    assert facts["crashes"] == len(cover.paths) + 1
    assert facts["refused"] > 0
    assert check_paths(machine, Shop, all_paths(machine, 2), refusals=False) > 0


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: str(bug.__name__))
def test_paths_find_every_kind_of_bug(bug: Any, folder: Path) -> None:
    """The failure that is written needs none of its moves less."""
    with pytest.raises(Broken) as caught:
        check_paths(ORDER, bug, all_paths(ORDER, 3))
    assert BUGS[bug] in caught.value.rule
    assert len(read_replay(folder / "order.replay.json").moves) <= 3
