"""A machine as a python-statemachine class, for its listeners, engines, diagrams and SCXML.

The class interprets the same rows: guards become conditions, assignments become actions, rows keep their order. It is
for showing, teaching and embedding; the runtime steps the compiled table, which is faster and needs no library.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable
from types import new_class
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import SpecError
from .expressions import TRUE

if TYPE_CHECKING:
    from enum import StrEnum

    from statemachine import StateChart

    from .machine import Machine, Transition

S = TypeVar("S", bound="StrEnum")
E = TypeVar("E", bound="StrEnum")

KEPT_BY_SEND = frozenset(
    {
        *("self", "event", "delay", "send_id", "internal", "key", "cache_key", "on_error"),
        *("event_data", "machine", "model", "transition", "state", "source", "target"),
    }
)
"""What ``send`` takes for itself: a parameter of that name would never arrive."""


def statechart_of(machine: Machine[S, E]) -> type[StateChart[Any]]:
    """The class; ``Machine.statechart`` keeps it and says what it is like."""
    # Here: it takes 40 ms, and most who import holdstate never ask for it.
    from statemachine import State, StateChart
    from statemachine.transition_list import TransitionList

    names = _names(machine, set(dir(StateChart)))
    left = {state for row in machine.transitions for state in row.source}
    states = {
        state: State(name=str(state), value=state, initial=state is machine.initial, final=state not in left)
        for state in machine.states
    }
    body: dict[str, Any] = {names[state]: states[state] for state in machine.states}
    triggers: dict[str, TransitionList] = {names[event]: TransitionList() for event in machine.events}
    for row in machine.transitions:
        cond, action = _guard(machine, row), _action(machine, row)
        for source in row.source:
            triggers[names[row.event]].add_transitions(states[source].to(states[row.target], cond=cond, on=action))
    body |= triggers
    body |= {
        "__doc__": _doc(machine),
        "__module__": __name__,
        "__init__": _initializer(machine, StateChart),
        "current": property(_current),
        "allow_event_without_transition": False,
        "catch_errors_as_events": False,
        "validate_disconnected_states": False,
        "validate_trap_states": False,
        "validate_final_reachability": False,
        "machine": machine,
    }
    title = "".join(part.capitalize() for part in machine.name.replace("-", "_").split("_"))
    return cast(
        "type[StateChart[Any]]", new_class(title, (StateChart,), exec_body=lambda namespace: namespace.update(body))
    )


def _names(machine: Machine[S, E], taken: set[str]) -> dict[StrEnum, str]:
    """By state and event, the attribute that python-statemachine has it under: its value, which must be free there."""
    names: dict[StrEnum, str] = {}
    for each in (*machine.states, *machine.events):
        name = str(each)
        if not name.isidentifier() or keyword.iskeyword(name) or name in taken:
            problem = f"{name!r} cannot be an attribute of a StateChart; give the member another value"
            raise SpecError(f"machine {machine.name!r}", problem)
        taken.add(name)
        names[each] = name
    for event, params in machine.events.items():
        for declared in params:
            if declared.name in KEPT_BY_SEND:
                problem = f"send() of a StateChart keeps {declared.name!r} for itself; give the parameter another name"
                raise SpecError(f"machine {machine.name!r}, event {event}", problem)
    return names


def _guard(spec: Machine[S, E], row: Transition[S, E]) -> Callable[..., bool] | None:
    if row.guard == TRUE:
        return None

    def cond(machine: Any, event_data: Any) -> bool:
        return bool(row.guard.evaluate(machine.fields, given(event_data)))

    given = _given(spec, row)
    cond.__name__ = row.guard.text()
    return cond


def _action(spec: Machine[S, E], row: Transition[S, E]) -> Callable[..., tuple[str, ...]]:
    """Assign the fields, all of them from the values before; gives the effects of the row, which ``send`` returns."""

    def on(machine: Any, event_data: Any) -> tuple[str, ...]:
        params = given(event_data)
        machine.fields |= {name: value.evaluate(machine.fields, params) for name, value in row.sets}
        return row.emits

    given = _given(spec, row)
    return on


def _given(machine: Machine[S, E], row: Transition[S, E]) -> Callable[[Any], dict[str, object]]:
    """The parameters that came with the event."""
    declared = machine.events[row.event]

    def given(event_data: Any) -> dict[str, object]:
        kwargs = event_data.trigger_data.kwargs
        for each in declared:
            if not each.optional and each.name not in kwargs:
                raise SpecError(f"machine {machine.name!r}, event {row.event}", f"parameter {each.name!r} is missing")
        return {each.name: kwargs.get(each.name) for each in declared}

    return given


def _initializer(machine: Machine[S, E], base: type) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - it becomes one
        self.fields = machine.compile().initial_fields() | kwargs.pop("fields", {})
        base.__init__(self, *args, **kwargs)  # type: ignore[misc]  # the class is made by hand

    return __init__


def _current(self: Any) -> object:
    """The state as a member of the machine's enumeration."""
    (state,) = self.configuration_values
    return state


def _doc(machine: Machine[S, E]) -> str:
    rows = "\n".join(
        f"    {', '.join(row.source)} --{row.event}--> {row.target}"
        + ("" if row.guard == TRUE else f"  [{row.guard.text()}]")
        + (f"  {row.doc}" if row.doc else "")
        for row in machine.transitions
    )
    return f"{machine.doc or machine.name}\n\n{rows}\n"
