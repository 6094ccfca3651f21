"""Machines in TLA+, checked by TLC: as many states and the same single steps as the compiled table and the explorer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE, TRUE, Field, Machine, Param, Transition
from holdstate.spec.tla_machine import TlaBounds, domain_of, machine_module, steps_module
from holdstate.spec.vocabulary import InputEvent, InputState, RuntimeEvent, RuntimeState
from holdstate.tools.explorer import Explorer, Limits
from holdstate.tools.explorer_machine import MachineModel
from holdstate.tools.export_command import machine_files
from holdstate.tools.tla_agreement import count_states, disagreements, single_steps
from holdstate.tools.tlc import TlcReport, TlcVerdict

from .machines import ENDLESS, TICKET

Tlc = Callable[..., TlcReport]
AnyMachine = Machine[Any, Any]
BOUNDS = TlaBounds(ids=2, texts=2, highest=2)


def _write(folder: Path, machine: AnyMachine, bounds: TlaBounds) -> str:
    for name, text in machine_files(machine, bounds).items():
        (folder / name).write_text(text, encoding="utf-8")
    return machine_module(machine, bounds).name


@pytest.mark.parametrize("machine", [INPUT_LIFECYCLE, RUNTIME_STATE, TICKET, ENDLESS], ids=lambda machine: machine.name)
def test_tlc_finds_the_states_of_the_compiled_table(machine: AnyMachine, tlc: Tlc, tmp_path: Path) -> None:
    """Every check holds, and the distinct states are as many as the compiled table reaches."""
    report = tlc(tmp_path, _write(tmp_path, machine, BOUNDS))
    assert (report.verdict, report.problem, report.trace) == (TlcVerdict.OK, None, ())
    assert report.distinct == count_states(machine, BOUNDS)


@pytest.mark.parametrize("machine", [INPUT_LIFECYCLE, RUNTIME_STATE], ids=lambda machine: machine.name)
def test_tlc_finds_the_states_of_the_explorer(machine: AnyMachine, tlc: Tlc, tmp_path: Path) -> None:
    """With the same ids, texts and ints, without symmetry. States past the bound are seen by both, counted by one."""
    explorer = Explorer(MachineModel(machine, integers=BOUNDS.highest, ids=BOUNDS.ids, symmetry=False))
    explorer.run(Limits())
    counted = [each for each in explorer.graph.states if all(not _is_past(value) for value in each[1])]
    assert tlc(tmp_path, _write(tmp_path, machine, BOUNDS)).distinct == len(counted)


def _is_past(value: object) -> bool:
    return type(value) is int and value > BOUNDS.highest


@pytest.mark.parametrize("machine", [INPUT_LIFECYCLE, RUNTIME_STATE, TICKET], ids=lambda machine: machine.name)
def test_tlc_takes_the_steps_of_the_compiled_table(machine: AnyMachine, tlc: Tlc, tmp_path: Path) -> None:
    """Every (state, event, parameters) from any values of the fields that guards read leads to the same (C50)."""
    bounds = TlaBounds(ids=1) if machine is TICKET else TlaBounds()
    report = tlc(tmp_path, f"{_write(tmp_path, machine, bounds)}_steps", with_graph=True)
    assert report.graph is not None
    assert disagreements(machine, bounds, report.graph) == ()
    assert len(report.graph.steps) == len(single_steps(machine, bounds)) > 0


@pytest.mark.parametrize("machine", [INPUT_LIFECYCLE, RUNTIME_STATE], ids=lambda machine: machine.name)
def test_the_compared_steps_meet_every_guard_both_ways(machine: AnyMachine) -> None:
    """Each guard holds for some of the values that are tried and fails for some; each row is taken in each source."""
    bounds = TlaBounds()
    for row in machine.transitions:
        names = row.guard.names()
        fields = [each for each in machine.fields if each.name in names.fields]
        params = [each for each in machine.events[row.event] if each.name in names.params]
        declared: list[Field | Param] = [*fields, *params]
        values = product(*(domain_of(each, machine, bounds) for each in declared))
        outcomes = set()
        for case in values:
            named = dict(zip((each.name for each in fields), case, strict=False))
            given = dict(zip((each.name for each in params), case[len(fields) :], strict=True))
            outcomes.add(row.guard.evaluate(named, given))
        assert outcomes == ({True} if row.guard == TRUE else {True, False}), row
    taken = {(before[0], step[0], after[0]) for before, step, after in single_steps(machine, bounds)}
    expected = {(state.value, row.event.value, row.target.value) for row in machine.transitions for state in row.source}
    assert taken == expected


def _mutants() -> Iterator[tuple[str, AnyMachine]]:
    """A machine for each row: without it, with another target, and without its guard."""
    for machine in (INPUT_LIFECYCLE, RUNTIME_STATE):
        for number in range(0, len(machine.transitions), 5):
            yield f"no {machine.place(number)}", _with(machine, number, ())
            row = machine.transitions[number]
            target = next(state for state in machine.states if state != row.target)
            yield f"{machine.place(number)} elsewhere", _with(machine, number, (_copy(row, target=target),))
            if row.guard != TRUE:
                yield f"{machine.place(number)} unguarded", _with(machine, number, (_copy(row, guard=TRUE),))


def _with(machine: AnyMachine, number: int, rows: tuple[Transition[Any, Any], ...]) -> AnyMachine:
    return evolve(machine, transitions=(*machine.transitions[:number], *rows, *machine.transitions[number + 1 :]))


def _copy(row: Transition[Any, Any], **changes: Any) -> Transition[Any, Any]:
    return evolve(row, **{"sets": dict(row.sets), **changes})


def test_a_module_of_another_table_is_noticed(tlc: Tlc, tmp_path: Path) -> None:
    """A control: the shipped graph disagrees with tables where a row is gone, leads elsewhere, or has no guard."""
    graphs = {}
    for machine in (INPUT_LIFECYCLE, RUNTIME_STATE):
        graph = tlc(tmp_path, f"{_write(tmp_path, machine, TlaBounds())}_steps", with_graph=True).graph
        assert graph is not None
        graphs[machine.name] = graph
    mutants = list(_mutants())
    assert len(mutants) > 20
    for what, mutant in mutants:
        assert disagreements(mutant, TlaBounds(), graphs[mutant.name]), what


def test_a_way_out_of_a_terminal_state_is_noticed(tlc: Tlc, tmp_path: Path) -> None:
    """A control for what TLC checks of every machine: an exit that is not declared, with the way to it."""
    back = Transition(InputEvent.QUEUE, InputState.CONSUMED, InputState.QUEUED)
    report = tlc(
        tmp_path, _write(tmp_path, evolve(INPUT_LIFECYCLE, transitions=(*INPUT_LIFECYCLE.transitions, back)), BOUNDS)
    )
    assert (report.verdict, report.problem) == (TlcVerdict.INVARIANT, "Invariant FinalStatesRefuse is violated.")
    assert [state["state"] for _, state in report.trace] == ["accepted", "consumed"]
    back_again = Transition(RuntimeEvent.RESUME, RuntimeState.STOPPED, RuntimeState.IDLE)
    report = tlc(
        tmp_path, _write(tmp_path, evolve(RUNTIME_STATE, transitions=(*RUNTIME_STATE.transitions, back_again)), BOUNDS)
    )
    assert (report.verdict, report.problem) == (
        TlcVerdict.PROPERTY,
        "Action property ExitsAreDeclared_stopped is violated.",
    )


def test_the_modules_are_named_after_the_machine() -> None:
    """Whatever the name holds; the steps come on top of it."""
    assert machine_module(TICKET).name == "ticket_machine"
    assert steps_module(TICKET).name == "ticket_machine_steps"
    assert "EXTENDS ticket_machine" in steps_module(TICKET).module


@pytest.mark.parametrize("name", ["Naturals", "Integers", "TLC", "Sequences"])
def test_a_machine_that_is_called_like_a_standard_module_gets_a_prefix(name: str, tlc: Tlc, tmp_path: Path) -> None:
    """The module would hide the one that it stands on."""
    machine = evolve(ENDLESS, name=name)
    assert _write(tmp_path, machine, BOUNDS) == f"machine_{name}"
    assert tlc(tmp_path, f"machine_{name}").verdict is TlcVerdict.OK
