"""Which rows of which tables were taken: by state, and which after which. Collected while the harness plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias, final

from attrs import define, field, frozen

from ..explorer_file import tables_digest
from .moves import AnyMachine

RARE: Final = 0.01
"""A state is rare where it was visited in less than this part of all steps."""


MOST_TOLD: Final = 10
"""How many rows, pairs or refusals that were never taken are told one by one in the terminal."""


@final
@frozen
class Edge:
    """One row of a table, by its place from 0, taken from one of its source states."""

    row: int
    source: StrEnum
    event: StrEnum
    target: StrEnum

    def text(self) -> str:
        """The row in words, by its number from 1, as everywhere that people read it."""
        return f"{self.source} --{self.event}--> {self.target} (row {self.row + 1})"


Pair: TypeAlias = tuple[Edge, Edge]
Document: TypeAlias = dict[str, Any]

_SHARES: Final = ("transitions", "pairs", "refusals")
_MISSING: Final = ("never_taken", "pairs_never_taken", "never_refused")
"""What is missing of each of them."""


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
        return _rare({str(state): self.states[str(state)] for state in self.machine.states}, part)

    def as_dict(self) -> Document:
        """Plain JSON."""
        edges, pairs = edges_of(self.machine), pairs_of(self.machine)
        return {
            "machine": self.machine.name,
            "tables": tables_digest(self.machine),
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
        return lines_of(self.as_dict())


def lines_of(document: Document) -> Iterator[str]:
    """What ``Coverage.as_dict`` says, for people."""
    shares = ", ".join(f"{document[of]['taken']} of {document[of]['of']} {of}" for of in _SHARES)
    played = f"{document['steps']} steps, {document['refused']} refused, {document['crashes']} crashes"
    yield f"{document['machine']}: {shares}; {played}"
    for kind in _MISSING:
        missing = document[kind]
        for each in missing[:MOST_TOLD]:
            yield f"  {kind.replace('_', ' ')}: {each}"
        if len(missing) > MOST_TOLD:
            yield f"  {kind.replace('_', ' ')}: {len(missing) - MOST_TOLD} more, which the JSON file lists"
    for state in document["rare_states"]:
        yield f"  rare state: {state} ({document['states'][state]} visits)"


def merged(documents: Iterable[Document]) -> tuple[Document, ...]:
    """What several processes have taken, each told by ``Coverage.as_dict``: one document of each machine, by name."""
    alike: dict[tuple[str, str], list[Document]] = {}
    for document in documents:
        alike.setdefault((document["machine"], document["tables"]), []).append(document)
    return tuple(_sum(each) for _, each in sorted(alike.items()))


def _sum(documents: list[Document]) -> Document:
    first = documents[0]
    total: Document = dict(first)
    for kind in ("steps", "refused", "crashes"):
        total[kind] = sum(each[kind] for each in documents)
    for kind in ("states", "taken"):
        counted: Counter[str] = Counter()
        for each in documents:
            counted.update(each[kind])
        total[kind] = {name: counted[name] for name in {**first[kind], **counted}}
    for kind, share in zip(_MISSING, _SHARES, strict=True):
        total[kind] = [name for name in first[kind] if all(name in each[kind] for each in documents)]
        total[share] = {"taken": first[share]["of"] - len(total[kind]), "of": first[share]["of"]}
    total["rare_states"] = [state for state, _ in _rare(total["states"], RARE)]
    return total


def _rare(states: Mapping[str, int], part: float) -> tuple[tuple[str, int], ...]:
    total = sum(states.values())
    return tuple(
        sorted((each for each in states.items() if each[1] < part * total or not each[1]), key=lambda it: it[1])
    )


_COLLECTED: Final[dict[int, Coverage]] = {}


def coverage_of(machine: AnyMachine) -> Coverage:
    """What this process has taken of ``machine`` so far."""
    return _COLLECTED.setdefault(id(machine), Coverage(machine))


def collected() -> tuple[Coverage, ...]:
    """What this process has taken, of every machine that a harness has played, by name."""
    return tuple(sorted(_COLLECTED.values(), key=lambda each: each.machine.name))
