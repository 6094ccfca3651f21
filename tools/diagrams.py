"""Pictures of machines, made from the rows that run."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from ..spec.machine import Machine

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def mermaid(machine: Machine[S, E]) -> str:
    """A Mermaid state diagram: one arrow per pair of states, labelled with its events.

    An event that leads from every state that is not terminal to the same one is drawn once, from a box around them.
    """
    live = [state for state in machine.states if state not in machine.terminal]
    sources: dict[tuple[E, S], set[S]] = {}
    for row in machine.transitions:
        sources.setdefault((row.event, row.target), set()).update(row.source)
    from_all = {arrow for arrow, states in sources.items() if states.issuperset(live)}
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in machine.transitions:
        for source in row.source:
            is_common = (row.event, row.target) in from_all and source in live
            events = arrows.setdefault(("live" if is_common else source.value, row.target.value), [])
            if row.event.value not in events:
                events.append(row.event.value)
    inside = [arrow for arrow in arrows if from_all and {*arrow} <= {state.value for state in live}]
    outside = [arrow for arrow in arrows if arrow not in inside]
    lines = ["stateDiagram-v2", f"    [*] --> {machine.initial}"]
    if from_all:
        lines += ["    state live {", *(f"    {_drawn(arrow, arrows[arrow])}" for arrow in inside), "    }"]
    lines += [_drawn(arrow, arrows[arrow]) for arrow in outside]
    lines += [f"    {state} --> [*]" for state in machine.states if state in machine.terminal]
    return "\n".join(lines)


def _drawn(arrow: tuple[str, str], events: list[str]) -> str:
    return f"    {arrow[0]} --> {arrow[1]}: {', '.join(events)}"
