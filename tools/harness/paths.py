"""Paths through a machine, worked out from its table: all up to a length, or some that take every row or every pair.

Parameters are chosen among a few values that matter (constants of the table, values of fields, their neighbours). What
no such value can reach is named by ``Cover.missing``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Final, TypeAlias, final

from attrs import frozen

from ...spec.errors import TransitionRefused
from .coverage import Edge, Pair, edges_of, pairs_of
from .moves import AnyMachine, Fields, Move, Values, check_values, foretold, moves

Path: TypeAlias = tuple[Move, ...]

MOST_PLACES: Final = 20_000
"""How many (state, fields) a cover looks at before it gives up on the rows that are left."""


@final
@frozen
class Place:
    """Where a path stands: a state and the values of all fields."""

    state: StrEnum
    fields: tuple[tuple[str, Hashable], ...]

    @staticmethod
    def first(machine: AnyMachine) -> Place:
        """Where every path begins."""
        return Place(machine.initial, tuple(machine.compile().initial_fields().items()))


@final
@frozen
class Cover:
    """``paths`` that together take all there is to take, but for ``missing``: what was not reached, in words.

    Iterating over it gives the paths, so ``check_paths`` takes it as it is.
    """

    paths: tuple[Path, ...]
    missing: tuple[str, ...]

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)


def _steps_from(machine: AnyMachine, place: Place, values: Values | None) -> Iterator[tuple[Move, Edge, Place]]:
    """One move for each row that can be taken here and each place it leads to."""
    fields = dict(place.fields)
    for event in machine.compile().events(place.state):
        seen = set()
        for move in moves(machine, fields, event, values):
            step = foretold(machine, place.state, fields, move)
            if isinstance(step, TransitionRefused):
                continue
            after = Place(step.target, tuple({**fields, **step.sets}.items()))
            if (step.row, after) not in seen:
                seen.add((step.row, after))
                yield move, Edge(step.row, place.state, event, step.target), after


def refusals_at(machine: AnyMachine, state: StrEnum, fields: Fields, values: Values | None = None) -> Iterator[Move]:
    """One move for each event without a row here, and every move with such values that only a guard refuses."""
    possible = machine.compile().events(state)
    for event in machine.events:
        tried = moves(machine, fields, event, values)
        for move in tried if event in possible else islice(tried, 1):
            if isinstance(foretold(machine, state, fields, move), TransitionRefused):
                yield move


def all_paths(machine: AnyMachine, length: int, *, values: Values | None = None) -> Iterator[Path]:
    """Every path of 1 to ``length`` rows, the shortest first. At a place, each row is taken once for each place that it
    leads to, so the count grows with the number of values that matter; start with a small ``length``, and name the
    ``values`` to try, by ``event.param`` or ``param``, where the chosen ones do not fit your system.
    """
    check_values(machine, values)
    level: list[tuple[Path, Place]] = [((), Place.first(machine))]
    for _ in range(length):
        level = [
            ((*path, move), after)
            for path, place in level
            for move, _edge, after in _steps_from(machine, place, values)
        ]
        yield from (path for path, _place in level)


def transition_cover(machine: AnyMachine, *, values: Values | None = None) -> Cover:
    """Few short paths that take every row from each of its source states."""
    return _cover(machine, values, edges_of(machine), lambda _before, edge: edge, lambda edge: edge.text())


def pair_cover(machine: AnyMachine, *, values: Values | None = None) -> Cover:
    """Few short paths that take every row after each row that can come right before it."""

    def pair_of(before: Edge | None, edge: Edge) -> Pair | None:
        return None if before is None else (before, edge)

    return _cover(machine, values, pairs_of(machine), pair_of, lambda pair: f"{pair[0].text()} then {pair[1].text()}")


def _cover(
    machine: AnyMachine,
    values: Values | None,
    wanted: Sequence[Edge] | Sequence[Pair],
    taken_by: Callable[[Edge | None, Edge], Edge | Pair | None],
    text: Callable[..., str],
) -> Cover:
    """The shortest path to each of ``wanted``, without those that a longer one begins with."""
    check_values(machine, values)
    left: set[Edge | Pair] = set(wanted)
    found: list[Path] = []
    start = (None, Place.first(machine))
    seen: set[tuple[Edge | None, Place]] = {start}
    waiting: deque[tuple[Path, Edge | None, Place]] = deque([((), *start)])
    by_pairs = any(isinstance(each, tuple) for each in wanted)
    while waiting and left and len(seen) < MOST_PLACES:
        path, before, place = waiting.popleft()
        for move, edge, after in _steps_from(machine, place, values):
            taken = taken_by(before, edge)
            longer = (*path, move)
            if taken in left:
                left.remove(taken)
                found.append(longer)
            spot = (edge if by_pairs else None, after)
            if spot not in seen:
                seen.add(spot)
                waiting.append((longer, edge, after))
    missing = tuple(text(each) for each in wanted if each in left)
    return Cover(tuple(_without_beginnings(found)), missing)


def _without_beginnings(paths: Iterable[Path]) -> Iterator[Path]:
    kept = list(paths)
    keys = [tuple(move.text() for move in path) for path in kept]
    beginnings = {key[:length] for key in keys for length in range(len(key))}
    for path, key in zip(kept, keys, strict=True):
        if key not in beginnings:
            yield path
