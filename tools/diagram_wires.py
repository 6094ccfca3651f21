"""The wires of a picture: which way each arrow takes between two columns of states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Final, NamedTuple, final

from attrs import frozen

from .diagram_overlay import Labels
from .diagram_parts import MANY, Arrow, ArrowKind, Edge, Parts
from .diagram_text import LABEL, listed

LABEL_COLUMNS: Final = 15


@final
class Way(StrEnum):
    """Where a wire runs."""

    DOWN = "straight to the next state of its column"
    BACK = "up, on the left of the first column"
    SKIP = "down, on the right of the first column"
    ACROSS = "between the columns"
    COMMON = "from the frame round the first column to the second"
    BESIDE = "on the right of the second column"


@final
class Told(NamedTuple):
    """A line of a label, or a part of one; ``is_unreached`` where none of its events was taken."""

    kind: ArrowKind
    text: str
    is_unreached: bool = False


@final
@frozen
class Wire:
    """One line with all its branches; ``label`` has its lines, each of some of its ``events``. ``unreached`` are the
    sources from which it was never taken, ``""`` where it begins at the frame.
    """

    way: Way
    sources: tuple[str, ...]
    target: str
    kind: ArrowKind
    label: tuple[Told, ...]
    events: tuple[str, ...]
    unreached: frozenset[str] = frozenset()

    @property
    def label_width(self) -> int:
        return max(LABEL.width(told.text) for told in self.label)

    @property
    def label_height(self) -> int:
        return len(self.label) * LABEL.line


def wires_of(parts: Parts, labels: Labels) -> tuple[Wire, ...]:
    """Every wire, in the order of the rows."""
    place = {state: number for number, state in enumerate(parts.live)}
    ended = {state: number for number, state in enumerate(second_column(parts))}
    found: dict[tuple[Way, tuple[str, ...], str, ArrowKind], list[tuple[ArrowKind, str, tuple[Edge, ...]]]] = {}
    names: dict[tuple[Way, tuple[str, ...], str, ArrowKind], dict[str, None]] = {}
    for arrow in parts.arrows:
        for way, sources in _ways(arrow, place, ended):
            # A straight line is shared by all that goes this way; its words keep their kinds.
            kind = ArrowKind.STEP if way is Way.DOWN else arrow.kind
            events = [(arrow.kind, event, edges) for event, edges in arrow.events_from(sources)]
            key = (way, sources, arrow.target, kind)
            found.setdefault(key, []).extend(events)
            names.setdefault(key, {}).update(dict.fromkeys(arrow.events))
    wires = []
    for (way, sources, target, kind), events in found.items():
        words = [Told(of, labels.told(event, edges), labels.is_unreached(edges)) for of, event, edges in events]
        kinds = {word.kind for word in words}
        every = [edge for _, _, edges in events for edge in edges]
        unreached = frozenset(
            source
            for source in sources or ("",)
            if labels.is_unreached(edge for edge in every if not source or edge[0] == source)
        )
        wires.append(
            Wire(
                way,
                sources,
                target,
                words[0].kind if len(kinds) == 1 else kind,
                _lines(words),
                (*names[way, sources, target, kind],),
                unreached,
            )
        )
    return tuple(wires)


def second_column(parts: Parts) -> tuple[str, ...]:
    """The terminal states, the nearest to where they are reached from first."""
    place = {state: number for number, state in enumerate(parts.live)}
    rank = {}
    for state in parts.terminal:
        sources = [each for arrow in parts.arrows if arrow.target == state for each in arrow.sources]
        places = [place[each] for each in sources if each in place]
        rank[state] = sum(places) / len(places) if places else len(place)
    return tuple(sorted(parts.terminal, key=lambda state: rank[state]))


def _lines(words: Sequence[Told]) -> tuple[Told, ...]:
    return tuple(
        Told(kind, line, is_unreached)
        for (kind, is_unreached), group in groupby(words, key=lambda word: (word.kind, word.is_unreached))
        for line in listed([word.text for word in group], LABEL_COLUMNS)
    )


def _ways(arrow: Arrow, place: dict[str, int], ended: dict[str, int]) -> Iterable[tuple[Way, tuple[str, ...]]]:
    """The ways that an arrow takes, each with the sources that share it."""
    if not arrow.sources:
        return [(Way.COMMON, ())]
    column, other = (place, ended) if arrow.target in place else (ended, place)
    target = column[arrow.target]
    before = [each for each in arrow.sources if each in column and column[each] < target]
    after = [each for each in arrow.sources if each in column and column[each] > target]
    across = [each for each in arrow.sources if each in other]
    straight = [each for each in before if column[each] == target - 1 and len(before) < MANY]
    before = [each for each in before if each not in straight]
    groups = [(Way.DOWN, straight), (Way.ACROSS, across)]
    if column is place:
        groups += [(Way.SKIP, before), (Way.BACK, after)]
    else:
        groups += [(Way.BESIDE, before + after)]
    return [(way, tuple(group)) for way, group in groups if group]
