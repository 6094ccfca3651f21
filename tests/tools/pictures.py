"""What must hold of every picture: nothing overlaps, and no line runs through what it does not belong to."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import combinations, pairwise
from typing import Any

from hypothesis import strategies as st

from holdstate.spec import Machine, Transition
from holdstate.tools.diagram_shapes import Box, Layout, Line, Point

AIR = 2
"""Pixels between any two things."""


def problems(layout: Layout) -> Iterator[str]:
    """What is wrong with the picture, in words."""
    things = {f"state {node.name}": node.box for node in layout.nodes}
    things |= {f"label {word.text} at {word.x},{word.y}": word.box for word in layout.words}
    for (one, box), (other, another) in combinations(things.items(), 2):
        if _overlap(_grown(box, AIR), another):
            yield f"{one} overlaps {other}"
    for name, box in things.items():
        if box.x < AIR or box.y < AIR or box.right > layout.width - AIR or box.bottom > layout.height - AIR:
            yield f"{name} is not in the picture"
        for line in layout.lines:
            for segment in pairwise(line.points):
                if _overlap(_grown(box, -1), _hull(*segment)):
                    yield f"{line.source} → {line.target} runs through {name}"
    yield from _line_problems(layout)


def _line_problems(layout: Layout) -> Iterator[str]:
    for line in layout.lines:
        if any(not (0 < x < layout.width and 0 < y < layout.height) for x, y in line.points):
            yield f"{line.source} → {line.target} leaves the picture"
    for one_line, other_line in combinations(layout.lines, 2):
        if one_line.points[-1] != other_line.points[-1] and _share(one_line, other_line):
            yield f"{_told(one_line)} runs along {_told(other_line)}"


def _told(line: Line) -> str:
    return f"{line.source} → {line.target} {line.points}"


def _share(one: Line, other: Line) -> bool:
    """Whether two lines share more than a point."""
    return any(_collinear(first, second) for first in pairwise(one.points) for second in pairwise(other.points))


def _collinear(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    for along, fixed in ((0, 1), (1, 0)):
        if one[0][fixed] == one[1][fixed] == other[0][fixed] == other[1][fixed]:
            first = sorted(point[along] for point in one)
            second = sorted(point[along] for point in other)
            if max(first[0], second[0]) < min(first[1], second[1]):
                return True
    return False


def _hull(one: Point, other: Point) -> Box:
    x, y = min(one[0], other[0]), min(one[1], other[1])
    return Box(x, y, abs(one[0] - other[0]), abs(one[1] - other[1]))


def _grown(box: Box, pixels: int) -> Box:
    return Box(box.x - pixels, box.y - pixels, box.width + 2 * pixels, box.height + 2 * pixels)


def _overlap(one: Box, other: Box) -> bool:
    """Whether the two have a point in common that is not on an edge of the first; the second may be a line."""
    return (
        one.x < max(other.right, other.x + 1)
        and other.x < one.right
        and one.y < max(other.bottom, other.y + 1)
        and other.y < one.bottom
    )


NAMES = ("a", "waiting", "in_progress", "a state with a long name", "awaiting_confirmation_of_somebody", "日本語の状態")
EVENTS = ("go", "recover_it", "an_event_with_a_long_name", "b", "cancel", "起動")


@st.composite
def machines(draw: st.DrawFn) -> Machine[Any, Any]:
    """Small machines of every shape."""
    live, ended = draw(st.integers(1, 7)), draw(st.integers(0, 4))
    names = [f"{draw(st.sampled_from(NAMES))}{number}" for number in range(live + ended)]
    states = StrEnum("states", {f"S{number}": name for number, name in enumerate(names)})  # type: ignore[misc]
    events = StrEnum("events", {f"E{number}": name for number, name in enumerate(EVENTS)})  # type: ignore[misc]
    members, sent = list(states), list(events)
    rows = draw(
        st.lists(
            st.builds(
                Transition,
                st.sampled_from(sent),
                st.lists(st.sampled_from(members), min_size=1, unique=True),
                st.sampled_from(members),
            ),
            max_size=14,
        )
    )
    return Machine(
        name="drawn",
        states=states,
        initial=members[0],
        terminal=members[live:],
        events=dict.fromkeys(sent, ()),
        transitions=rows,
    )
