"""What a picture of a machine shows, whatever draws it: states, arrows that are worth one line each, and loops.

Events that lead from the same states to the same state are one arrow. One that leads from every state that is not
terminal to a terminal one comes from all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeAlias, final

from attrs import frozen

from ..spec.expressions import TRUE
from ..spec.machine import Machine, Transition
from ..spec.vocabulary import RowGroup

MANY: Final = 3
"""From so many states on, an event that ends them counts as giving up, whatever its rows say."""

Edge: TypeAlias = tuple[str, int]
"""A row by its number, counted from 0, taken from one of its source states."""


@final
class ArrowKind(StrEnum):
    """How an arrow is drawn: as the group of its rows."""

    STEP = "step"
    RECOVERY = "recovery"
    GIVING_UP = "giving up"


@final
@frozen
class Arrow:
    """Events that lead from each of ``sources`` to ``target``; no source is every state that is not terminal.

    ``rows`` are the edges of each event.
    """

    sources: tuple[str, ...]
    target: str
    events: tuple[str, ...]
    rows: tuple[tuple[Edge, ...], ...]
    kind: ArrowKind

    def events_from(self, sources: Sequence[str]) -> Iterator[tuple[str, tuple[Edge, ...]]]:
        """Each event with its edges that start in one of ``sources``."""
        for event, edges in zip(self.events, self.rows, strict=True):
            yield event, tuple(edge for edge in edges if edge[0] in sources or not sources)


@final
@frozen
class Loop:
    """An event that leaves ``state`` as it is."""

    state: str
    event: str
    rows: tuple[int, ...]

    @property
    def edges(self) -> tuple[Edge, ...]:
        return tuple((self.state, row) for row in self.rows)


@final
@frozen
class Parts:
    """Everything in a picture. ``live`` begins with the initial state and goes on by the steps that it takes to get
    there; ``terminal`` is in the order of the machine.
    """

    title: str
    initial: str
    live: tuple[str, ...]
    terminal: tuple[str, ...]
    arrows: tuple[Arrow, ...]
    loops: tuple[Loop, ...]

    @property
    def has_common(self) -> bool:
        """Whether an arrow leads from all live states at once."""
        return any(not arrow.sources for arrow in self.arrows)


def parts_of(machine: Machine[Any, Any]) -> Parts:
    """What a picture of ``machine`` shows."""
    live = _by_distance(machine)
    terminal = tuple(str(state) for state in machine.states if state in machine.terminal)
    leads: dict[tuple[str, str, RowGroup], dict[str, list[int]]] = {}
    for number, row in enumerate(machine.transitions):
        sources = leads.setdefault((str(row.event), str(row.target), row.group), {})
        for source in row.source:
            sources.setdefault(str(source), []).append(number)
    arrows: list[Arrow] = []
    loops: list[Loop] = []
    for (event, target, group), sources in leads.items():
        if target in sources:
            loops.append(Loop(target, event, tuple(sources.pop(target))))
        arrows += _arrows(event, target, sources, live, terminal, kind=ArrowKind(group))
    return Parts(machine.doc or machine.name, str(machine.initial), live, terminal, merged(arrows), tuple(loops))


def _arrows(
    event: str,
    target: str,
    sources: Mapping[str, list[int]],
    live: tuple[str, ...],
    terminal: tuple[str, ...],
    *,
    kind: ArrowKind,
) -> list[Arrow]:
    if target in terminal and len(sources) >= MANY:
        kind = ArrowKind.GIVING_UP
    is_common = kind is ArrowKind.GIVING_UP and set(live) <= set(sources)
    group = [each for each in sources if not (is_common and each in live)]
    found = [Arrow(tuple(group), target, (event,), (_rows(group, sources),), kind)] if group else []
    if is_common:
        found.append(Arrow((), target, (event,), (_rows(live, sources),), kind))
    return found


def numbers_of(edges: Iterable[Edge]) -> tuple[int, ...]:
    """The rows of these edges."""
    return tuple(sorted({number for _, number in edges}))


def _rows(group: Iterable[str], sources: Mapping[str, list[int]]) -> tuple[Edge, ...]:
    return tuple((source, number) for source in group for number in sources[source])


def merged(arrows: Iterable[Arrow]) -> tuple[Arrow, ...]:
    """Arrows with the same sources, target and kind become one."""
    found: dict[tuple[tuple[str, ...], str, ArrowKind], Arrow] = {}
    for arrow in arrows:
        key = (arrow.sources, arrow.target, arrow.kind)
        known = found.get(key)
        if known is None:
            found[key] = arrow
        else:
            found[key] = Arrow(*key[:2], known.events + arrow.events, known.rows + arrow.rows, arrow.kind)
    return tuple(found.values())


def _by_distance(machine: Machine[Any, Any]) -> tuple[str, ...]:
    """The states that are not terminal, the nearest to the initial one first, else as they were declared."""
    distance = {machine.initial: 0}
    queue = [machine.initial]
    for state in queue:
        for row in machine.transitions:
            if state in row.source and row.target not in distance:
                distance[row.target] = distance[state] + 1
                queue.append(row.target)
    live = [state for state in machine.states if state not in machine.terminal]
    return tuple(str(state) for state in sorted(live, key=lambda state: distance.get(state, len(live))))


def row_text(row: Transition[Any, Any]) -> str:
    """The condition and the assignments of a row: ``[amount > 0] paid = amount``; empty where it has neither."""
    guard = "" if row.guard == TRUE else f"[{row.guard.text()}]"
    sets = ", ".join(f"{name} = {value.text()}" for name, value in row.sets)
    return " ".join(part for part in (guard, sets) if part)
