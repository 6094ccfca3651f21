"""Compiled table, python-statemachine class, TLA+ module and driver agree on every cell (C50)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Final

import pytest
from attrs import evolve

from holdstate.runtime import stepper
from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE, TRUE
from holdstate.spec.tla_machine import machine_module
from holdstate.spec.vocabulary import InputEvent, RuntimeEvent
from holdstate.tools.export_command import machine_files
from holdstate.tools.mutation import replaced
from holdstate.tools.tlc import StateGraph, TlcReport

from .four_sides import BOUNDS, After, AnyMachine, Case, Driver, cases, chart, compiled, driven, model_checked

pytestmark = pytest.mark.usefixtures("untraced")

Tlc = Callable[..., TlcReport]
GraphOf = Callable[[AnyMachine], StateGraph]
SIDES: Final = ("compiled table", "statechart", "TLA+", "driver")
MACHINES: Final = (INPUT_LIFECYCLE, RUNTIME_STATE)
COMPILED: Final = {INPUT_LIFECYCLE.name: "INPUTS", RUNTIME_STATE.name: "RUNTIMES"}
"""Where the runtime has the table of each machine."""


@pytest.fixture(scope="module")
def graph_of(tlc: Tlc, tmp_path_factory: pytest.TempPathFactory) -> GraphOf:
    """TLC's graph of the single steps of a machine; of the shipped ones it is made once."""

    def made(machine: AnyMachine) -> StateGraph:
        folder = tmp_path_factory.mktemp("steps")
        for name, text in machine_files(machine, BOUNDS).items():
            (folder / name).write_text(text, encoding="utf-8")
        graph = tlc(folder, f"{machine_module(machine, BOUNDS).name}_steps", with_graph=True).graph
        assert graph is not None
        return graph

    shipped = {machine.name: made(machine) for machine in MACHINES}
    return lambda machine: shipped[machine.name] if machine in MACHINES else made(machine)


async def _answers(
    machine: AnyMachine, tried: Sequence[Case], graph_of: GraphOf, wrong: dict[str, AnyMachine]
) -> dict[str, list[After | None]]:
    """What each side makes of each case; ``wrong`` names sides that are given another machine."""
    given = {side: wrong.get(side, machine) for side in SIDES}
    steps = {
        "compiled table": compiled(given["compiled table"]),
        "statechart": chart(given["statechart"]),
        "TLA+": model_checked(given["TLA+"], graph_of(given["TLA+"])),
    }
    answers = {side: [step(case) for case in tried] for side, step in steps.items()}
    other = (stepper, COMPILED[machine.name], given["driver"].compile())
    with replaced(other) if "driver" in wrong else nullcontext():
        drive = driven(machine, await Driver.open())
        answers["driver"] = [await drive(case) for case in tried]
    return answers


def _odd_ones(answers: dict[str, list[After | None]]) -> dict[str, int]:
    """How often each side is not what the other three say."""
    odd = dict.fromkeys(SIDES, 0)
    for found in zip(*(answers[side] for side in SIDES), strict=True):
        for side, after in zip(SIDES, found, strict=True):
            odd[side] += sum(each != after for each in found) == len(SIDES) - 1
    return odd


async def test_all_four_agree_on_every_cell(graph_of: GraphOf) -> None:
    """C50: of each case all four say the same state and the same fields, or refuse; every row is taken."""
    for machine in MACHINES:
        tried = list(cases(machine))
        answers = await _answers(machine, tried, graph_of, {})
        for case, *found in zip(tried, *(answers[side] for side in SIDES), strict=True):
            assert found.count(found[0]) == len(SIDES), (case, dict(zip(SIDES, found, strict=True)))
        cells = {case.cell for case in tried}
        taken = sum(after is not None for after in answers["driver"])
        print(f"{machine.name}: {len(cells)} cells compared on four sides, in {len(tried)} cases; {taken} are taken")
        assert {(state, event) for state, event, _ in cells} == set(machine.matrix())
        _every_guard_both_ways(machine, tried)


def _every_guard_both_ways(machine: AnyMachine, tried: Sequence[Case]) -> None:
    for row in machine.transitions:
        for state in row.source:
            rows = [each for each in machine.transitions if each.event == row.event and state in each.source]
            place = rows.index(row)
            seen = {case.guards[place] for case in tried if (case.state, case.event) == (state, row.event)}
            assert seen == ({True} if row.guard == TRUE else {True, False}), row


PLANTED: Final = (
    (INPUT_LIFECYCLE, InputEvent.ROLLBACK_FAILED, "guard"),
    (INPUT_LIFECYCLE, InputEvent.STAGE, "sets"),
    (RUNTIME_STATE, RuntimeEvent.RUN_FAILED, "guard"),
    (RUNTIME_STATE, RuntimeEvent.RETIRE, "target"),
)


def _changed(machine: AnyMachine, event: object, what: str) -> AnyMachine:
    """The machine with the first row of ``event`` wrong in one thing."""
    number = next(number for number, row in enumerate(machine.transitions) if row.event == event)
    row = machine.transitions[number]
    changes: dict[str, dict[str, Any]] = {
        "guard": {"guard": ~row.guard, "sets": dict(row.sets)},
        "sets": {"sets": dict(row.sets[1:])},
        "target": {"target": machine.initial, "sets": dict(row.sets)},
    }
    rows = (*machine.transitions[:number], evolve(row, **changes[what]), *machine.transitions[number + 1 :])
    return evolve(machine, transitions=rows)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("machine", "event", "what"), PLANTED, ids=[f"{event} {what}" for _, event, what in PLANTED])
async def test_a_disagreement_is_noticed_on_each_side(
    side: str, machine: AnyMachine, event: object, what: str, graph_of: GraphOf
) -> None:
    """Controls: a row that one side has wrong makes that side, and no other, the odd one."""
    tried = [case for case in cases(machine) if case.event == event]
    answers = await _answers(machine, tried, graph_of, {side: _changed(machine, event, what)})
    odd = _odd_ones(answers)
    assert odd.pop(side) > 0
    assert set(odd.values()) == {0}
