"""A flat python-statemachine class as a machine, so that what somebody already has can be checked, shown and tested.

What the class decides by code, its conditions and validators, becomes a boolean parameter of the event under the same
name: a fact from outside. Actions are left out, for they say nothing of where an event leads.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from enum import StrEnum
from functools import reduce
from typing import TYPE_CHECKING, Any

from .errors import SpecError
from .expressions import TRUE, Expression, is_name, param

if TYPE_CHECKING:
    from statemachine import StateChart

    from .machine import Machine


def machine_of(chart: type[StateChart[Any]]) -> Machine[StrEnum, StrEnum]:
    """The machine; ``Machine.from_statechart`` says what is taken over and what is refused."""
    from statemachine import StateChart

    from .machine import Machine, Param, Transition, is_class

    if not is_class(chart, StateChart):
        raise SpecError("from_statechart", f"{chart!r} is not a class of python-statemachine; give it the class itself")
    where = f"statechart {chart.__name__}"
    for state in chart.states_map.values():
        if state.states or state.parallel or state.history:
            raise SpecError(where, f"state {state.id!r} is not a simple one; only flat machines can be taken over")
    states = StrEnum(f"{chart.__name__}State", {state.id: state.id for state in chart.states})  # type: ignore[misc]
    found = list(_rows(chart, where))
    names = dict.fromkeys(event for event, *_ in found)
    events = StrEnum(f"{chart.__name__}Event", {name: name for name in names})  # type: ignore[misc]
    facts: dict[str, dict[str, None]] = {name: {} for name in names}
    for event, _, _, guard in found:
        facts[event].update(dict.fromkeys(sorted(guard.names().params)))
    return Machine(
        name=chart.__name__,
        states=states,
        initial=next(states(state.id) for state in chart.states if state.initial),
        terminal=[states(state.id) for state in chart.states if state.final],
        events={events(name): [Param(fact, bool) for fact in facts[name]] for name in names},
        transitions=[
            Transition(events(event), states(source), states(target), guard=guard)
            for event, source, target, guard in found
        ],
        doc=(chart.__doc__ or "").strip(),
    )


def _rows(chart: type[StateChart[Any]], where: str) -> Iterator[tuple[str, str, str, Expression]]:
    for state in chart.states:
        for transition in state.transitions:
            if transition.is_eventless or len(transition.targets) != 1:
                problem = "every transition needs an event and one target"
                raise SpecError(where, f"{problem}; the one from {state.id!r} {transition!r} is another")
            guards = [_guard(spec, where) for spec in transition._specs if _decides(spec)]  # noqa: SLF001 - no other way
            guard = reduce(lambda one, other: one & other, guards) if guards else TRUE
            for event in transition.events:
                yield str(event), state.id, transition.target.id, guard


def _decides(spec: Any) -> bool:
    return spec.group.name in {"COND", "VALIDATOR"} and not spec.is_convention


def _guard(spec: Any, where: str) -> Expression:
    """The condition over facts; one that is expected to be false (``unless``) is negated."""
    text = spec.attr_name if not isinstance(spec.func, str) else _with_words(spec.func)
    try:
        expression = _expression(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError) as error:
        problem = f"condition {text!r} is not made of names with and, or, not; give it a name of its own as a method"
        raise SpecError(where, problem) from error
    return ~expression if spec.expected_value is False else expression


def _with_words(text: str) -> str:
    from statemachine.spec_parser import replace_operators

    return replace_operators(text)


def _expression(node: ast.expr) -> Expression:
    match node:
        case ast.Name(id=name) if is_name(name):
            return param(name).eq(True)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_expression(operand)
        case ast.BoolOp(op=op, values=values):
            parts = [_expression(value) for value in values]
            both = isinstance(op, ast.And)
            return reduce(lambda one, other: one & other if both else one | other, parts)
        case _:
            raise ValueError(ast.dump(node))
