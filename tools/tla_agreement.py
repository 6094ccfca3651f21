"""Whether a TLA+ module says what the compiled table of its machine says: as many states, and the same single steps."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import product
from typing import Any, TypeVar

from ..spec.errors import HoldstateError
from ..spec.machine import Machine
from ..spec.tla import names_of, tla_value
from ..spec.tla_machine import TlaBounds, counting_fields, domain_of, read_fields
from .tla_values import read_value
from .tlc import StateGraph

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

Situation = tuple[Any, ...]
"""The state and the fields of a machine, in the order in which it declares them."""

SingleStep = tuple[Situation, tuple[Any, ...], Situation]
"""Where it starts, the event with its parameters, where it leads."""


def count_states(machine: Machine[S, E], bounds: TlaBounds) -> int:
    """How many states the compiled table reaches, with the domains and the bounds of the module. Like TLC it leaves a
    state beyond the bounds out, and goes on from none of these.
    """
    counting = [1 + machine.fields.index(each) for each in counting_fields(machine)]
    first = (machine.initial, *(each.default for each in machine.fields))
    seen, pending = {first}, [first]
    while pending:
        for _, after in _steps_from(machine, bounds, pending.pop()):
            if after not in seen and all(after[at] is None or after[at] <= bounds.highest for at in counting):
                seen.add(after)
                pending.append(after)
    return len(seen)


def single_steps(machine: Machine[S, E], bounds: TlaBounds) -> frozenset[SingleStep]:
    """Every step of the compiled table from any state with any values of the fields that rows read, as TLC says it."""
    read = read_fields(machine)
    domains = [domain_of(each, machine, bounds) if each in read else (each.default,) for each in machine.fields]
    return frozenset(
        (_printed(before), _printed(step), _printed(after))
        for before in product(machine.states, *domains)
        for step, after in _steps_from(machine, bounds, before)
    )


def graph_steps(machine: Machine[S, E], graph: StateGraph) -> frozenset[SingleStep]:
    """The single steps in the graph of ``steps_module``."""
    variables = ("state", *(names_of(machine).fields[each.name] for each in machine.fields))
    found = set()
    for source, _, target in graph.steps:
        before, after = graph.states[source], graph.states[target]
        found.add((tuple(before[name] for name in variables), after["step"], tuple(after[name] for name in variables)))
    return frozenset(found)


def disagreements(machine: Machine[S, E], bounds: TlaBounds, graph: StateGraph) -> tuple[str, ...]:
    """What only one of the two allows, as sentences; empty where the compiled table and the module agree (C50)."""
    compiled, exported = single_steps(machine, bounds), graph_steps(machine, graph)
    only = [("the compiled table", compiled - exported), ("the TLA+ module", exported - compiled)]
    return tuple(
        f"only {which} allows {step} from {before}, to {after}"
        for which, steps in only
        for before, step, after in sorted(steps, key=repr)
    )


def _steps_from(
    machine: Machine[S, E], bounds: TlaBounds, before: Situation
) -> Iterator[tuple[tuple[Any, ...], Situation]]:
    table, names = machine.compile(), [each.name for each in machine.fields]
    fields = dict(zip(names, before[1:], strict=True))
    for event in table.events(before[0]):
        params = machine.events[event]
        for values in product(*(domain_of(param, machine, bounds) for param in params)):
            given = dict(zip((param.name for param in params), values, strict=True))
            try:
                step = table.step(before[0], event, fields, given)
            except HoldstateError:
                continue
            sets = {**fields, **step.sets}
            yield (event, *values), (step.target, *(sets[name] for name in names))


def _printed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values as they come back from TLC: members of enums and ids as texts, spelled as TLA+ can."""
    return tuple(read_value(tla_value(each)) for each in values)
