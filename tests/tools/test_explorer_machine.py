"""Machines as models: the shipped ones are right, and what is wrong with a machine is found."""

from __future__ import annotations

from typing import Any

import pytest

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE, Transition, field, param
from holdstate.spec.expressions import TRUE
from holdstate.tools.explorer import Explorer, Limits, Report, TraceStep, Verdict, Violation
from holdstate.tools.explorer_machine import MachineModel
from holdstate.tools.explorer_trace import explorer_trace
from holdstate.tools.trace_text import trace_text

from .explored import CANCEL, ORDER, PAY, REFUND, SHIP, E, Row, S, order


def _explore(machine: Any, **given: Any) -> Report:
    return Explorer(MachineModel(machine, **given)).run(Limits(states=10_000))


@pytest.mark.parametrize("machine", [INPUT_LIFECYCLE, RUNTIME_STATE, ORDER], ids=lambda machine: machine.name)
def test_a_good_machine_is_explored_to_its_end(machine: Any) -> None:
    """With ids named in order and without."""
    report, plain = _explore(machine), _explore(machine, symmetry=False)
    assert report.verdict is plain.verdict is Verdict.OK
    assert plain.states >= report.states


def test_the_states_of_the_order_are_counted() -> None:
    """A cart, three amounts paid and shipped, one cancelled: amounts from 0 to 3."""
    report = _explore(ORDER)
    assert (report.states, report.depth) == (8, 2)


BROKEN: tuple[tuple[str, tuple[Row, ...], str], ...] = (
    ("no way out", (PAY, CANCEL), "progress: "),
    ("two rows", (PAY, SHIP, CANCEL, REFUND, Transition(E.REFUND, S.PAID, S.SHIPPED)), "one_row_holds: "),
    ("a terminal state is left", (PAY, SHIP, CANCEL, Transition(E.REFUND, S.SHIPPED, S.CANCELLED)), "terminal_means"),
)


@pytest.mark.parametrize(
    ("rows", "problem"), [(rows, problem) for _, rows, problem in BROKEN], ids=[n for n, _, _ in BROKEN]
)
def test_a_broken_machine_is_found(rows: tuple[Row, ...], problem: str) -> None:
    """With the property that it breaks."""
    report = _explore(order(*rows))
    assert report.violation is not None
    assert report.violation.problems[0].startswith(problem)


def test_a_guard_without_a_value_is_found() -> None:
    """An order over a field that is None."""
    machine = INPUT_LIFECYCLE
    model = MachineModel(machine)
    state = (machine.states.STAGED, (None,) * len(machine.fields))
    found = [problem for move in model.moves(state) for problem in move.problems]
    assert any(problem.startswith("guards_have_values: ") for problem in found)
    assert any(problem.startswith("fields_have_their_types: ") for problem in model.problems(state))


def test_a_table_that_is_not_what_its_rows_say_is_found() -> None:
    """The compiled table is compared with the rows, read one by one."""
    model = MachineModel(ORDER)
    model._table = order(Transition(E.PAY, S.CART, S.PAID, guard=TRUE, sets={"paid": param("amount")}), SHIP).compile()
    (state,) = model.initial()
    found = [problem for move in model.moves(state) for problem in move.problems]
    assert any(problem.startswith("table_equals_rows: ") for problem in found)


def test_integers_past_the_bound_are_checked_and_not_gone_on_from() -> None:
    """A counter without an end has as many states as the bound says, and one more."""
    endless = order(
        PAY,
        SHIP,
        Transition(E.CANCEL, S.CART, S.CART, sets={"paid": field("paid").plus_one()}),
        Transition(E.REFUND, S.PAID, S.CANCELLED),
    )
    few, more = _explore(endless, integers=3), _explore(endless, integers=6)
    assert few.verdict is more.verdict is Verdict.OK
    assert few.states < more.states


def test_a_state_tells_its_fields_in_order_also_those_without_a_value() -> None:
    """A guard that asks whether a field is none can be followed in a trace."""
    model = MachineModel(RUNTIME_STATE)
    (state,) = model.initial()
    assert list(model.show(state).items()) == [
        ("state", "initializing"),
        ("current_run_id", None),
        ("pre_run_state", None),
    ]
    told = trace_text(explorer_trace("runtime_state", Violation(("stuck",), (TraceStep("", model.show(state)),))))
    assert "current_run_id = none, pre_run_state = none" in told


def test_dumped_states_are_read_back() -> None:
    """Ids and members of enums too."""
    model = MachineModel(INPUT_LIFECYCLE)
    explorer = Explorer(model)
    explorer.run(Limits(states=200))
    assert model.load(model.dump(explorer.graph.states)) == explorer.graph.states
