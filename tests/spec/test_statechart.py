"""Machines as python-statemachine classes, and back."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from statemachine import State, StateChart
from statemachine.exceptions import TransitionNotAllowed

from holdstate.runtime.machines import InputLifecycle, RuntimeState
from holdstate.spec.errors import SpecError, TransitionRefused
from holdstate.spec.expressions import field, param
from holdstate.spec.input_lifecycle import INPUT_LIFECYCLE
from holdstate.spec.machine import Field, Machine, Param, Transition
from holdstate.spec.runtime_state import RUNTIME_STATE
from holdstate.spec.statechart import KEPT_BY_SEND

ONE, TWO = UUID(int=1), UUID(int=2)


def values(declared: Field | Param) -> list[object]:
    """A few values of the declared type, so that every guard of our machines comes out both ways."""
    of_type: Mapping[type, list[object]] = {int: [0, 1, 2], str: ["x"], bool: [False, True], UUID: [ONE, TWO]}
    found = list(declared.type) if issubclass(declared.type, Enum) else of_type[declared.type]
    return [None, *found] if declared.optional else list(found)


def read_by(machine: Machine[Any, Any], state: StrEnum, event: StrEnum) -> tuple[set[str], set[str]]:
    """The fields and parameters that the guards of a cell look at."""
    names = [row.guard.names() for row in machine.matrix()[state, event]]
    return {name for each in names for name in each.fields}, {name for each in names for name in each.params}


def situations(
    machine: Machine[Any, Any], state: StrEnum, event: StrEnum
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Fields and parameters of a cell: all values of what its guards read, one of everything else."""
    fields, params = read_by(machine, state, event)
    start = machine.compile().initial_fields()
    field_choices = [values(each) if each.name in fields else [start[each.name]] for each in machine.fields]
    param_choices = [values(each) if each.name in params else values(each)[-1:] for each in machine.events[event]]
    return [
        (
            dict(zip((each.name for each in machine.fields), one, strict=True)),
            dict(zip((each.name for each in machine.events[event]), other, strict=True)),
        )
        for one in itertools.product(*field_choices)
        for other in itertools.product(*param_choices)
    ]


@pytest.mark.parametrize(("machine", "chart"), [(INPUT_LIFECYCLE, InputLifecycle), (RUNTIME_STATE, RuntimeState)])
def test_the_class_steps_like_the_table_in_every_cell(machine: Machine[Any, Any], chart: type[StateChart[Any]]) -> None:
    """Every (state, event, outcome of the guards) ends in the same state with the same memory and effects (C50)."""
    taken = set[int]()
    refused = 0
    for state, event in machine.matrix():
        for fields, params in situations(machine, state, event):
            sm = chart(start_value=state, fields=fields)
            try:
                step = machine.compile().step(state, event, fields, params)
            except (TransitionRefused, SpecError):
                with pytest.raises(TransitionNotAllowed):
                    sm.send(event, **params)
                assert (sm.current, sm.fields) == (state, fields)  # type: ignore[attr-defined]  # generated
                refused += 1
                continue
            assert (sm.send(event, **params) or ()) == step.emits
            assert sm.current is step.target  # type: ignore[attr-defined]  # generated
            assert sm.fields == {**fields, **step.sets}  # type: ignore[attr-defined]  # generated
            taken.add(step.row)
    assert taken == set(range(len(machine.transitions)))
    assert refused > len(machine.matrix()) // 2


def test_a_class_is_made_once_and_is_found_by_its_name() -> None:
    """``machine.statechart()`` gives the same class each time; the runtime's two are importable."""
    assert INPUT_LIFECYCLE.statechart() is InputLifecycle
    assert InputLifecycle.__name__ == "InputLifecycle"
    assert "staged --apply--> applied" in (InputLifecycle.__doc__ or "")
    assert {state.value for state in RuntimeState.final_states} == {RUNTIME_STATE.states.DESTROYED}


def test_listeners_hear_of_every_transition() -> None:
    """The library's listeners work, with the state as the machine's own enumeration."""
    heard: list[tuple[str, object]] = []

    class Listener:
        def after_transition(self, event: str, target: State) -> None:
            heard.append((event, target.value))

    sm = InputLifecycle(listeners=[Listener()])
    sm.send("queue")
    sm.send("stage", run_id=ONE)
    assert heard[-2:] == [("queue", INPUT_LIFECYCLE.states.QUEUED), ("stage", INPUT_LIFECYCLE.states.STAGED)]


def test_an_async_listener_makes_the_engine_async() -> None:
    """With coroutine callbacks events are awaited."""
    heard: list[str] = []

    class Listener:
        async def on_enter_state(self, target: State) -> None:
            heard.append(str(target.value))

    async def live() -> None:
        sm = InputLifecycle(listeners=[Listener()])
        await sm.activate_initial_state()
        await sm.send("queue")

    asyncio.run(live())
    assert heard == ["accepted", "queued"]


def test_the_library_draws_the_class() -> None:
    """Its formats know every state and edge."""
    text = format(InputLifecycle(), "mermaid")
    for row in INPUT_LIFECYCLE.transitions:
        for source in row.source:
            assert f"{source} --> {row.target} :" in text


def test_a_missing_parameter_is_named() -> None:
    """An event without a parameter that its row needs is refused by name, and nothing changed."""
    sm = InputLifecycle(start_value=INPUT_LIFECYCLE.states.QUEUED)
    with pytest.raises(SpecError, match="parameter 'run_id' is missing"):
        sm.send("stage")
    assert sm.fields["attempt_count"] == 0  # type: ignore[attr-defined]  # generated


def test_a_name_that_the_library_takes_is_refused() -> None:
    """A state called like a method of a StateChart would hide it."""

    class States(StrEnum):
        SEND = "send"
        DONE = "done"

    class Events(StrEnum):
        GO = "go"

    machine = Machine(
        name="clash",
        states=States,
        initial=States.SEND,
        terminal=[States.DONE],
        events={Events.GO: ()},
        transitions=[Transition(Events.GO, States.SEND, States.DONE)],
    )
    with pytest.raises(SpecError, match="'send' cannot be an attribute"):
        machine.statechart()


@pytest.mark.parametrize("name", sorted(KEPT_BY_SEND))
def test_a_parameter_that_would_never_arrive_is_refused(name: str) -> None:
    """The library's ``send`` keeps some names for itself."""

    class States(StrEnum):
        OPEN = "opened"
        DONE = "done"

    class Events(StrEnum):
        GO = "go"

    machine = Machine(
        name="clash",
        states=States,
        initial=States.OPEN,
        events={Events.GO: (Param(name, int),)},
        transitions=[Transition(Events.GO, States.OPEN, States.DONE, guard=param(name).gt(0))],
    )
    with pytest.raises(SpecError, match=f"machine 'clash', event go: .* keeps '{name}' for itself"):
        machine.statechart()


def test_importing_the_spec_does_not_import_the_library() -> None:
    """Only who asks for a class pays for python-statemachine."""
    code = "import sys, holdstate.spec, holdstate; holdstate.INPUT_LIFECYCLE; print('statemachine' in sys.modules)"
    import subprocess

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# -- the other way -------------------------------------------------------------------------------------------------


class Order(StateChart[Any]):
    """An order."""

    cart = State(initial=True)
    paid = State()
    shipped = State(final=True)

    pay = cart.to(paid, cond="has_money and !is_blocked", unless="late")
    ship = paid.to(shipped, cond="by_air or by_sea")
    cancel = cart.to(shipped) | paid.to(shipped)

    def is_open(self) -> bool:
        return True

    @cart.to(cart, cond=is_open)  # type: ignore[untyped-decorator]  # as the library has it
    def add(self, item: str) -> None: ...


def test_a_flat_class_becomes_a_machine() -> None:
    """States, events and conditions are there; the conditions are facts that come with the event."""
    machine = Machine.from_statechart(Order)
    rows = {(str(row.event), str(row.source[0]), str(row.target)): row.guard for row in machine.transitions}
    has_money, blocked = param("has_money").eq(True), param("is_blocked").eq(True)
    assert rows["pay", "cart", "paid"] == (has_money & ~blocked) & ~param("late").eq(True)
    assert rows["ship", "paid", "shipped"] == param("by_air").eq(True) | param("by_sea").eq(True)
    assert rows["add", "cart", "cart"] == param("is_open").eq(True)
    assert {("cancel", "cart", "shipped"), ("cancel", "paid", "shipped")} <= set(rows)
    assert (str(machine.initial), sorted(map(str, machine.terminal))) == ("cart", ["shipped"])
    assert machine.doc == "An order."
    assert machine.lint() == ()


def test_there_and_back_is_the_same_machine() -> None:
    """A machine without memory comes back as it was from its own class."""
    machine = Machine.from_statechart(Order)
    sm = machine.statechart()()
    sm.send("pay", has_money=True, is_blocked=False, late=False)
    assert str(sm.current) == "paid"  # type: ignore[attr-defined]  # generated


class Outer(StateChart[Any]):
    """A state with states inside."""

    class inner(State.Compound):  # noqa: N801 - the library takes the name of the state from it
        one = State(initial=True)
        two = State(final=True)
        go = one.to(two)

    end = State(final=True)
    leave = inner.to(end)


class Eventless(StateChart[Any]):
    """A transition that happens by itself."""

    one = State(initial=True)
    two = State(final=True)
    one.to(two)


class Nameless(StateChart[Any]):
    """A condition that is nobody's."""

    one = State(initial=True)
    two = State(final=True)
    go = one.to(two, cond=lambda: True)


class Comparing(StateChart[Any]):
    """A condition that compares."""

    one = State(initial=True)
    two = State(final=True)
    go = one.to(two, cond="total > 3")


@pytest.mark.parametrize(
    ("chart", "problem"),
    [
        (Outer, "only flat machines"),
        (Eventless, "needs an event"),
        (Nameless, "give it a name of its own"),
        (Comparing, "give it a name of its own"),
    ],
)
def test_what_a_flat_machine_cannot_say_is_refused(chart: type[StateChart[Any]], problem: str) -> None:
    """Rather than a machine that steps differently there is an error that says what to do."""
    with pytest.raises(SpecError, match=problem):
        Machine.from_statechart(chart)


@pytest.mark.parametrize("given", [5, object, Nameless()])
def test_what_is_no_class_of_the_library_is_refused(given: Any) -> None:
    """An instance too, with what to give."""
    with pytest.raises(SpecError, match="is not a class of python-statemachine; give it the class itself"):
        Machine.from_statechart(given)


def test_fields_are_assigned_from_the_values_before() -> None:
    """Two assignments of a row see the same memory, as in the table."""

    class States(StrEnum):
        ONE = "one"
        TWO = "two"

    class Events(StrEnum):
        GO = "go"

    machine = Machine(
        name="twice",
        states=States,
        initial=States.ONE,
        fields=[Field("a", int, 1), Field("b", int, 5)],
        events={Events.GO: (Param("n", int),)},
        transitions=[
            Transition(
                Events.GO,
                States.ONE,
                States.TWO,
                guard=field("a").lt(param("n")),
                sets={"a": field("b"), "b": field("a")},
            )
        ],
    )
    sm = machine.statechart()()
    sm.send("go", n=2)
    assert sm.fields == {"a": 5, "b": 1}  # type: ignore[attr-defined]  # generated
