"""Figures on the picture of a machine: what is in its states, and how often each row was taken from each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from attrs import field, frozen

from ..spec.machine import Machine
from .diagram_parts import Edge, numbers_of
from .machine_markdown import Section, code
from .quantities import rate_text

UNREACHED: Final = "not taken"
"""What the legend says of a dashed line."""

EDGE_COLUMNS: Final = ("row", "event", "from", "to", "taken")


@final
@frozen
class Overlay:
    """``states`` has lines for the states that have any; ``edges`` how often each edge was taken, None where nobody
    counted; ``seconds`` is the time over which they were counted, as far as it is known. States in ``unvisited`` are
    dashed, as edges are that were not taken. ``caption`` says what all of it rests on, ``sections`` tell everything.
    """

    states: Mapping[str, tuple[str, ...]]
    edges: Mapping[Edge, int] | None
    caption: tuple[str, ...]
    seconds: float = 0.0
    unvisited: frozenset[str] = frozenset()
    sections: tuple[Section, ...] = ()

    def count(self, edges: Iterable[Edge]) -> int | None:
        """How often any of these was taken; None where nobody counted."""
        counts = self.edges
        return None if counts is None else sum(counts.get(each, 0) for each in edges)

    def mark(self, edges: Iterable[Edge]) -> str:
        """What is told behind the name of an event: how often, and at what rate."""
        taken = self.count(edges)
        if taken is None:
            return ""
        return " · ".join(part for part in (f"×{taken:,}", rate_text(taken, self.seconds)) if part)


@final
@frozen
class Labels:
    """How an event is told: by its name, ``numbered`` with its rows counted from 1, with an overlay also how often."""

    numbered: bool = False
    overlay: Overlay | None = field(default=None)

    def told(self, event: str, edges: Iterable[Edge]) -> str:
        """An event that is sent along these edges."""
        edges = tuple(edges)
        rows = f"({', '.join(str(row + 1) for row in numbers_of(edges))})" if self.numbered else ""
        mark = "" if self.overlay is None else self.overlay.mark(edges)
        return " ".join(part for part in (event, rows, mark) if part)

    def is_unreached(self, edges: Iterable[Edge]) -> bool:
        """Whether somebody counted, and none of these was taken."""
        return self.overlay is not None and self.overlay.count(edges) == 0

    def figures(self, state: str) -> tuple[str, ...]:
        """What is told in a state."""
        return () if self.overlay is None else self.overlay.states.get(state, ())

    def is_unvisited(self, state: str) -> bool:
        """Whether the overlay says that nothing was ever in that state."""
        return self.overlay is not None and state in self.overlay.unvisited


def edges_section(machine: Machine[Any, Any], edges: Mapping[Edge, int], seconds: float, text: str) -> Section:
    """Every edge of a machine as a row of a table; rates have a column where there are any."""
    columns = (*EDGE_COLUMNS, "rate") if any(rate_text(count, seconds) for count in edges.values()) else EDGE_COLUMNS
    rows = []
    for number, row in enumerate(machine.transitions):
        for source in map(str, row.source):
            taken = edges.get((source, number), 0)
            cells = (str(number + 1), code(str(row.event)), code(source), code(str(row.target)))
            rows.append((*cells, f"{taken:,}" if taken else "never", rate_text(taken, seconds))[: len(columns)])
    return Section("Edges", columns, rows, text)
