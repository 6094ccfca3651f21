"""Which rows of which tables were taken: by state, and which after which. Collected while the harness plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, TypeAlias, final

from attrs import define, field, frozen

from .moves import AnyMachine

RARE: Final = 0.01
"""A state is rare where it was visited in less than this part of all steps."""


MOST_TOLD: Final = 10
"""How many rows, pairs or refusals that were never taken are told one by one in the terminal."""


@final
@frozen
class Edge:
    """One row of a table, taken from one of its source states."""

    row: int
    source: StrEnum
    event: StrEnum
    target: StrEnum

    def text(self) -> str:
        """The row in words."""
        return f"{self.source} --{self.event}--> {self.target} (row {self.row})"


Pair: TypeAlias = tuple[Edge, Edge]


def edges_of(machine: AnyMachine) -> tuple[Edge, ...]:
    """Every (row, source state) of a machine."""
    return tuple(
        Edge(number, source, row.event, row.target)
        for number, row in enumerate(machine.transitions)
        for source in row.source
    )


def pairs_of(machine: AnyMachine) -> tuple[Pair, ...]:
    """Every two edges of which the second leaves the state that the first leads to. Guards are not looked at, so some
    may never follow each other.
    """
    edges = edges_of(machine)
    return tuple((first, second) for first in edges for second in edges if first.target == second.source)


@final
@define(eq=False)
class Coverage:
    """What was taken of one machine. ``refused`` counts (state, event) pairs that the table refused."""

    machine: AnyMachine
    edges: Counter[Edge] = field(factory=Counter)
    pairs: Counter[Pair] = field(factory=Counter)
    refused: Counter[tuple[str, str]] = field(factory=Counter)
    states: Counter[str] = field(factory=Counter)
    crashes: int = 0

    def started(self) -> None:
        """An example began."""
        self.states[str(self.machine.initial)] += 1

    def took(self, row: int, source: StrEnum, event: StrEnum, target: StrEnum, before: Edge | None) -> Edge:
        """A row was taken, after ``before``; returns its edge."""
        edge = Edge(row, source, event, target)
        self.edges[edge] += 1
        self.states[str(target)] += 1
        if before is not None:
            self.pairs[before, edge] += 1
        return edge

    def never_taken(self) -> tuple[Edge, ...]:
        """Edges that were not taken once."""
        return tuple(edge for edge in edges_of(self.machine) if edge not in self.edges)

    def rare_states(self, part: float = RARE) -> tuple[tuple[str, int], ...]:
        """States visited in less than ``part`` of the steps, with their counts, the rarest first."""
        total = sum(self.states.values())
        counts = [(str(state), self.states[str(state)]) for state in self.machine.states]
        return tuple(sorted((each for each in counts if each[1] < part * total or not each[1]), key=lambda it: it[1]))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        edges, pairs = edges_of(self.machine), pairs_of(self.machine)
        return {
            "machine": self.machine.name,
            "steps": sum(self.edges.values()),
            "refused": sum(self.refused.values()),
            "crashes": self.crashes,
            "transitions": {"taken": len(self.edges), "of": len(edges)},
            "pairs": {"taken": len(self.pairs), "of": len(pairs)},
            "refusals": {"taken": len(self.refused), "of": len(self._refusable())},
            "states": {str(state): self.states[str(state)] for state in self.machine.states},
            "rare_states": [state for state, _ in self.rare_states()],
            "taken": {edge.text(): self.edges[edge] for edge in edges if edge in self.edges},
            "never_taken": [edge.text() for edge in self.never_taken()],
            "pairs_never_taken": [
                f"{one.text()} then {two.text()}" for one, two in pairs if (one, two) not in self.pairs
            ],
            "never_refused": [
                f"{event} in {state}" for state, event in self._refusable() if (state, event) not in self.refused
            ],
        }

    def _refusable(self) -> tuple[tuple[str, str], ...]:
        """The (state, event) pairs that may be refused: no row without a guard stands in them. Guards are not tried, so
        some may never be.
        """
        return tuple(
            (str(state), str(event))
            for (state, event), rows in self.machine.matrix().items()
            if all(row.guard.text() != "true" for row in rows)
        )

    def lines(self) -> Iterator[str]:
        """For people: one line of counts, and what is missing or rare, ``MOST_TOLD`` of a kind."""
        facts = self.as_dict()
        shares = ", ".join(
            f"{facts[of]['taken']} of {facts[of]['of']} {of}" for of in ("transitions", "pairs", "refusals")
        )
        played = f"{facts['steps']} steps, {facts['refused']} refused, {self.crashes} crashes"
        yield f"{self.machine.name}: {shares}; {played}"
        for kind in ("never_taken", "pairs_never_taken", "never_refused"):
            for each in facts[kind][:MOST_TOLD]:
                yield f"  {kind.replace('_', ' ')}: {each}"
            if len(facts[kind]) > MOST_TOLD:
                yield f"  {kind.replace('_', ' ')}: {len(facts[kind]) - MOST_TOLD} more, which the JSON file lists"
        for state, visits in self.rare_states():
            yield f"  rare state: {state} ({visits} visits)"


_COLLECTED: Final[dict[int, Coverage]] = {}


def coverage_of(machine: AnyMachine) -> Coverage:
    """What this process has taken of ``machine`` so far."""
    return _COLLECTED.setdefault(id(machine), Coverage(machine))


def collected() -> tuple[Coverage, ...]:
    """What this process has taken, of every machine that a harness has played, by name."""
    return tuple(sorted(_COLLECTED.values(), key=lambda each: each.machine.name))
