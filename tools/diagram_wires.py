"""The wires of a picture: which way each arrow takes between two columns of states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import groupby
from typing import Final, final

from attrs import frozen

from .diagram_parts import MANY, Arrow, ArrowKind, Parts
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
@frozen
class Wire:
    """One line with all its branches; ``label`` has its lines, each with the kind of its ``events``."""

    way: Way
    sources: tuple[str, ...]
    target: str
    kind: ArrowKind
    label: tuple[tuple[ArrowKind, str], ...]
    events: tuple[str, ...]

    @property
    def label_width(self) -> int:
        return max(LABEL.width(text) for _, text in self.label)

    @property
    def label_height(self) -> int:
        return len(self.label) * LABEL.line


def wires_of(parts: Parts, *, numbered: bool) -> tuple[Wire, ...]:
    """Every wire, in the order of the rows. With ``numbered``, labels name the rows of each event, counted from 1."""
    place = {state: number for number, state in enumerate(parts.live)}
    ended = {state: number for number, state in enumerate(second_column(parts))}
    found: dict[tuple[Way, tuple[str, ...], str, ArrowKind], list[tuple[ArrowKind, str]]] = {}
    events: dict[tuple[Way, tuple[str, ...], str, ArrowKind], dict[str, None]] = {}
    for arrow in parts.arrows:
        for way, sources in _ways(arrow, place, ended):
            words = [(arrow.kind, told(event, rows, numbered=numbered)) for event, rows in arrow.events_from(sources)]
            # A straight line is shared by all that goes this way; its words keep their kinds.
            kind = ArrowKind.STEP if way is Way.DOWN else arrow.kind
            found.setdefault((way, sources, arrow.target, kind), []).extend(words)
            events.setdefault((way, sources, arrow.target, kind), {}).update(dict.fromkeys(arrow.events))
    return tuple(
        Wire(*key[:3], words[0][0] if len({each for each, _ in words}) == 1 else key[3], _lines(words), (*events[key],))
        for key, words in found.items()
    )


def second_column(parts: Parts) -> tuple[str, ...]:
    """The terminal states, the nearest to where they are reached from first."""
    place = {state: number for number, state in enumerate(parts.live)}
    rank = {}
    for state in parts.terminal:
        sources = [each for arrow in parts.arrows if arrow.target == state for each in arrow.sources]
        places = [place[each] for each in sources if each in place]
        rank[state] = sum(places) / len(places) if places else len(place)
    return tuple(sorted(parts.terminal, key=lambda state: rank[state]))


def told(event: str, rows: Iterable[int], *, numbered: bool) -> str:
    """An event, ``numbered`` with its rows counted from 1."""
    return f"{event} ({', '.join(str(row + 1) for row in rows)})" if numbered else event


def _lines(words: Sequence[tuple[ArrowKind, str]]) -> tuple[tuple[ArrowKind, str], ...]:
    return tuple(
        (kind, line)
        for kind, group in groupby(words, key=lambda word: word[0])
        for line in listed([text for _, text in group], LABEL_COLUMNS)
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
