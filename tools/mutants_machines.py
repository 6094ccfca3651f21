"""Mutants of the two machines: every row without it, with each other target, guard, assignment and effect."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, Final

from attrs import evolve

from ..spec.expressions import TRUE
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine, Transition
from ..spec.runtime_state import RUNTIME_STATE
from .mutation import Mutant, Part, Tables

Row = Transition[Any, Any]
Rows = tuple[Row, ...]

_MACHINES: Final[dict[str, Machine[Any, Any]]] = {"inputs": INPUT_LIFECYCLE, "runtimes": RUNTIME_STATE}


def machine_mutants() -> Iterator[Mutant]:
    """All mutants of both machines, row by row."""
    for name, machine in _MACHINES.items():
        for number, row in enumerate(machine.transitions):
            for change, changed in row_changes(machine, row):
                rows = (*machine.transitions[:number], *changed, *machine.transitions[number + 1 :])
                label = f"{machine.name} {machine.place(number)}: {change}"
                yield Mutant(Part.MACHINE, label, partial(_tables, name, machine, rows))


def _tables(name: str, machine: Machine[Any, Any], rows: Rows) -> Tables:
    changed = evolve(machine, transitions=rows)
    return Tables(inputs=changed) if name == "inputs" else Tables(runtimes=changed)


def _remade(row: Row, **changes: Any) -> Row:
    given = {"guard": row.guard, "sets": dict(row.sets), "emits": row.emits, "doc": row.doc, **changes}
    source, target = given.pop("source", row.source), given.pop("target", row.target)
    return Transition(row.event, source, target, **given)


def row_changes(machine: Machine[Any, Any], row: Row) -> Iterator[tuple[str, Rows]]:
    """What is done to a row, and what stands in its place then."""
    yield "dropped", ()
    for state in machine.states:
        if state is not row.target:
            yield f"leads to {state}", (_remade(row, target=state),)
    if len(row.source) > 1:
        for state in row.source:
            yield f"not from {state}", (_remade(row, source=tuple(each for each in row.source if each is not state)),)
    if row.guard != TRUE:
        yield "without its guard", (_remade(row, guard=TRUE),)
        yield "guard negated", (_remade(row, guard=~row.guard),)
    yield from _changed_sets(row)
    for effect in row.emits:
        yield f"does not emit {effect}", (_remade(row, emits=tuple(each for each in row.emits if each != effect)),)
    if len(row.emits) > 1:
        yield "emits in the other order", (_remade(row, emits=row.emits[::-1]),)


def _changed_sets(row: Row) -> Iterator[tuple[str, Rows]]:
    sets = dict(row.sets)
    for name in sets:
        yield f"does not set {name}", (_remade(row, sets={key: sets[key] for key in sets if key != name}),)
    names = list(sets)
    for first, second in pairwise(names):
        if sets[first] != sets[second]:
            swapped = {**sets, first: sets[second], second: sets[first]}
            yield f"sets {first} and {second} to each other's value", (_remade(row, sets=swapped),)
