"""Where everything of a picture goes: a layout of our own, in whole pixels, the same for the same machine.

The states that are not terminal stand in a column, from the initial one downwards; terminal ones in a second column. A
step to the next state goes straight down; a wire back runs in lanes on the left, one that skips states in lanes on the
right, and one to the other column in lanes between the two. A wire collects all its sources before it reaches its
target, where its label stands. So lanes hold lines alone, and every label has a place to itself. Where nothing but the
frame round the first column leads to the terminal states, they stand in a row below it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Final, final

from attrs import evolve

from .diagram_lanes import Rail, lanes
from .diagram_overlay import Labels, Overlay
from .diagram_parts import Parts
from .diagram_shapes import MARGIN, SPACE, Box, Layout, Line, Node, Point, Word
from .diagram_text import LABEL, listed, wrapped
from .diagram_wires import Way, Wire, second_column, wires_of

GAP: Final = 34
LANE: Final = 12
NAME_COLUMNS: Final = 12
LOOP_COLUMNS: Final = 16
START: Final = 26
"""The height of the arrow that shows where it starts."""
NEAR: Final = 12
"""Pixels that a terminal state is moved so that a line comes straight."""
APART: Final = 7
"""Pixels between two lines that run side by side into the two columns."""

Side = Callable[[Node], Sequence[tuple[Wire, bool]]]


def layout_of(parts: Parts, *, numbered: bool = False, overlay: Overlay | None = None) -> Layout:
    """Everything in its place. With ``numbered``, labels name rows; with an overlay they tell its figures."""
    return _Plan(parts, Labels(numbered, overlay)).layout()


@final
class _Plan:
    """The two columns while they are being placed, first downwards, then across."""

    def __init__(self, parts: Parts, labels: Labels) -> None:
        self.parts = parts
        self.wires = wires_of(parts, labels)
        loops: dict[str, list[str]] = {}
        for loop in parts.loops:
            loops.setdefault(loop.state, []).append(labels.told(loop.event, loop.edges))
        self.first = [_node(state, loops.get(state, ()), labels) for state in parts.live]
        self.second = [_node(state, loops.get(state, ()), labels) for state in second_column(parts)]
        self.node = {node.name: node for node in (*self.first, *self.second)}
        self.place = {node.name: number for number, node in enumerate(self.first)}
        self.rank = {node.name: number for number, node in enumerate(self.second)}
        self.is_below = parts.has_common and not self.of(Way.ACROSS, Way.BESIDE)

    def layout(self) -> Layout:
        self._give_ports()
        top = MARGIN + START + (SPACE if self.parts.has_common else 0)
        bottom = self._stack(self.first, [top] * len(self.first))
        if not self.is_below:
            self._place_second(top, bottom)
            bottom = max(node.box.bottom for node in self.node.values())
        return _Drawing(self, bottom + (SPACE if self.parts.has_common else 0)).layout()

    def of(self, *ways: Way) -> list[Wire]:
        return [wire for wire in self.wires if wire.way in ways]

    def span(self, wire: Wire) -> int:
        target = self.place[wire.target]
        return max(abs(self.place[source] - target) for source in wire.sources)

    def _give_ports(self) -> None:
        """In an order that lets lines leave and arrive without crossing each other: long ones outside."""
        back = sorted(self.of(Way.BACK), key=self.span)
        skip = sorted(self.of(Way.SKIP), key=self.span)
        across = sorted(self.of(Way.ACROSS), key=self._across_order)
        for node in self.first:
            node.left = [(wire, False) for wire in back if node.name in wire.sources]
            node.left += [(wire, True) for wire in reversed(back) if wire.target == node.name]
            node.right = [(wire, True) for wire in skip if wire.target == node.name]
            node.right += _ports(across, node.name)
            node.right += [(wire, False) for wire in reversed(skip) if node.name in wire.sources]
        for node in self.second:
            node.left = _ports(sorted(across, key=self._mean), node.name)
            if not self.is_below:
                node.left += [(wire, True) for wire in self.of(Way.COMMON) if wire.target == node.name]
            node.right = _ports(self.of(Way.BESIDE), node.name)

    def _across_order(self, wire: Wire) -> tuple[int, float]:
        ends = [self.rank[each] for each in (*wire.sources, wire.target) if each in self.rank]
        return min(ends), self._mean(wire)

    def _mean(self, wire: Wire) -> float:
        ends = [self.place[each] for each in (*wire.sources, wire.target) if each in self.place]
        return sum(ends) / len(ends)

    def _stack(self, nodes: Sequence[Node], wanted: Sequence[int]) -> int:
        """Place nodes one below the other, none above what is wanted; gives the bottom."""
        y = 0
        for number, (node, least) in enumerate(zip(nodes, wanted, strict=True)):
            y = max(y, least)
            node.box = Box(0, y, 0, node.height())
            y += node.box.height + (self._gap(node, nodes[number + 1]) if number + 1 < len(nodes) else 0)
        return y

    def _gap(self, upper: Node, lower: Node) -> int:
        """Room for the labels of the straight line between two neighbours."""
        labels = [
            wire.label_height
            for wire in self.of(Way.DOWN)
            if (wire.sources, wire.target) == ((upper.name,), lower.name)
        ]
        return (
            max([GAP, *(height + SPACE + 12 for height in labels)]) if labels or upper.name in self.place else GAP // 2
        )

    def _place_second(self, top: int, bottom: int) -> None:
        """Each as near as it gets to where it is reached from."""
        wanted = [self._wanted(node, top, bottom) for node in self.second]
        end = self._stack(self.second, wanted)
        if end > bottom:
            # Move up what hangs out below, as far as there is room above.
            limit = bottom
            for number in reversed(range(len(self.second))):
                node = self.second[number]
                wanted[number] = max(top, min(node.box.y, limit - node.box.height))
                limit = wanted[number] - (self._gap(self.second[number - 1], node) if number else 0)
            self._stack(self.second, wanted)
        least = top - NEAR
        for number, node in enumerate(self.second):
            wanted = [each.box.y for each in self.second]
            wanted[number] = self._straightest(node, least)
            self._stack(self.second, wanted)
            if number + 1 < len(self.second):
                least = node.box.bottom + self._gap(node, self.second[number + 1])

    def _straightest(self, node: Node, least: int) -> int:
        """The height near its own, and not above ``least``, at which most wires come straight and none comes along
        another one.
        """
        ports = [
            (wire, y) for each in self.first for (wire, _), y in zip(each.right, each.heights(each.right), strict=True)
        ]
        ours = [(wire, y - node.box.y) for (wire, _), y in zip(node.left, node.heights(node.left), strict=True)]

        def rank(y: int) -> tuple[bool, int, int]:
            pairs = [(wire is other, abs(y + height - taken)) for wire, height in ours for other, taken in ports]
            is_free = all(apart >= APART or (is_same and apart == 0) for is_same, apart in pairs)
            return is_free, sum(is_same and apart == 0 for is_same, apart in pairs), -abs(y - node.box.y)

        near = range(max(least, node.box.y - NEAR), node.box.y + NEAR + 1)
        best = max(near, key=rank)
        return best if rank(best)[0] else next(y for y in count(near[-1]) if rank(y)[0])

    def _wanted(self, node: Node, top: int, bottom: int) -> int:
        ends = {each for wire, ends in node.left for each in (wire.sources if ends else (wire.target,))}
        middles = [self.node[each].box.y + self.node[each].box.height // 2 for each in ends if each in self.place]
        middle = sum(middles) // len(middles) if middles else bottom
        return max(top, middle - node.height() // 2)


def _ports(wires: Sequence[Wire], name: str) -> list[tuple[Wire, bool]]:
    found = []
    for wire in wires:
        if wire.target == name:
            found.append((wire, True))
        if name in wire.sources:
            found.append((wire, False))
    return found


def _node(name: str, loops: Sequence[str], labels: Labels) -> Node:
    inside = listed(loops, LOOP_COLUMNS) if loops else ()
    return Node(
        name,
        wrapped(name, NAME_COLUMNS),
        tuple(f"{'  ' if number else '↻ '}{line}" for number, line in enumerate(inside)),
        labels.figures(name),
        labels.is_unvisited(name),
    )


@final
class _Drawing:
    """Everything has its height; this gives it its place across, and makes lines."""

    def __init__(self, plan: _Plan, bottom: int) -> None:
        self.plan = plan
        self.bottom = bottom
        self.lines: list[Line] = []
        self.words: list[Word] = []

    def layout(self) -> Layout:
        plan = self.plan
        across = plan.of(Way.ACROSS)
        between = lanes([Rail(*self._sides(wire)) for wire in across])
        frame, edge = self._first()
        outer = edge + (LANE if across else 0) + max(0, _count(between) - 1) * LANE
        if plan.is_below:
            assert frame is not None, "what is below it is reached from it"
            reach, bottom = self._row(frame)
        else:
            reach, bottom = self._second(outer, frame), self.bottom
        self._across(across, between, edge + LANE)
        self._straight()
        first = plan.first[0].box
        return Layout(
            max(reach, edge) + MARGIN,
            bottom + MARGIN,
            (*plan.first, *plan.second),
            tuple(self.lines),
            tuple(self.words),
            frame,
            ((first.middle, first.y - START + 4), (first.middle, first.y)),
        )

    def _first(self) -> tuple[Box | None, int]:
        """The first column with its lanes; gives the frame, if there is one, and how far it reaches."""
        plan = self.plan
        back, skip = plan.of(Way.BACK), plan.of(Way.SKIP)
        left = lanes([self._rail(wire, _left) for wire in back])
        right = lanes([self._rail(wire, _right) for wire in skip])
        framed = LANE if plan.parts.has_common else 0
        width = max(node.width() for node in plan.first)
        x = MARGIN + framed + _count(left) * LANE + _room(back)
        for node in plan.first:
            node.box = Box(x, node.box.y, width, node.box.height)
        self._lanes(back, left, _left, lambda lane: x - _room(back) - lane * LANE)
        entering = [*skip, *(wire for wire in plan.of(Way.ACROSS) if wire.target in plan.place)]
        inner = x + width + max(_room(entering), self._overhang(width, plan.place))
        self._lanes(skip, right, _right, lambda lane: inner + lane * LANE)
        edge = inner + max(0, _count(right) - 1) * LANE
        if not framed:
            return None, edge
        frame = Box(MARGIN, MARGIN, edge + framed - MARGIN, self.bottom - MARGIN)
        return frame, frame.right

    def _row(self, frame: Box) -> tuple[int, int]:
        """The second column as a row below the frame; gives how far it reaches to the right and down."""
        plan = self.plan
        label = {wire.target: wire for wire in plan.of(Way.COMMON)}
        step = {wire.target: wire for wire in plan.of(Way.DOWN) if wire.target in plan.rank}
        y = frame.bottom + max([GAP, *(wire.label_height + 2 * SPACE + 4 for wire in label.values())])
        height = max(node.height() for node in plan.second)
        x, last = MARGIN, 0
        for node in plan.second:
            if node.name in step:
                x += step[node.name].label_width + 2 * SPACE + 4
            width = node.width()
            x = max(x, last - width // 2)
            node.box = Box(x, y, width, height)
            x += width + 3 * SPACE
            last = node.box.middle + (label[node.name].label_width + 3 * SPACE if node.name in label else 0)
        reach = max(plan.second[-1].box.right, last - SPACE)
        shift = max(0, (frame.width + 2 * MARGIN - reach - MARGIN) // 2)
        for node in plan.second:
            node.box = evolve(node.box, x=node.box.x + shift)
            if node.name in label:
                wire, middle = label[node.name], node.box.middle
                self._line(wire, ((middle, frame.bottom), (middle, y)))
                self._label(wire, middle + SPACE, y - SPACE - 4)
            if node.name in step:
                wire, before = step[node.name], plan.node[step[node.name].sources[0]].box
                middle = y + height // 2
                points = ((before.right, middle), (node.box.x, middle))
                self._line(wire, points, wire.sources[0])
                self._label(wire, before.right + (node.box.x - before.right - wire.label_width) // 2, middle - 5)
        return reach + shift, y + height

    def _second(self, outer: int, frame: Box | None) -> int:
        """The second column and what is on its right; gives how far it reaches."""
        plan = self.plan
        if not plan.second:
            return outer
        common, beside = plan.of(Way.COMMON), plan.of(Way.BESIDE)
        entering = [*common, *(wire for wire in plan.of(Way.ACROSS) if wire.target in plan.rank)]
        x = outer + max(_room(entering), 3 * LANE)
        width = max(node.width() for node in plan.second)
        for node in plan.second:
            node.box = Box(x, node.box.y, width, node.box.height)
        for wire in common:
            assert frame is not None, "it is there where a wire leaves it"
            node = plan.node[wire.target]
            y = node.port(node.left, wire, ends=True)
            self._line(wire, ((frame.right, y), (x, y)))
            self._entry(wire, x, y, is_left=True)
        far = lanes([self._rail(wire, _right) for wire in beside])
        reach = x + width + max(_room(beside), self._overhang(width, plan.rank))
        self._lanes(beside, far, _right, lambda lane: reach + lane * LANE)
        return reach + max(0, _count(far) - 1) * LANE

    def _rail(self, wire: Wire, side: Side) -> Rail:
        return Rail((*self._sources(wire, side), self._end(wire, side)))

    def _sources(self, wire: Wire, side: Side) -> tuple[int, ...]:
        nodes = [self.plan.node[source] for source in wire.sources]
        return tuple(node.port(side(node), wire, ends=False) for node in nodes)

    def _end(self, wire: Wire, side: Side) -> int:
        node = self.plan.node[wire.target]
        return node.port(side(node), wire, ends=True)

    def _sides(self, wire: Wire) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The heights of a wire between the columns, at the first one and at the second."""
        if wire.target in self.plan.rank:
            return self._sources(wire, _right), (self._end(wire, _left),)
        return (self._end(wire, _right),), self._sources(wire, _left)

    def _lanes(self, wires: Sequence[Wire], lane: Sequence[int], side: Side, x_of: Callable[[int], int]) -> None:
        """Wires that leave and arrive on the same side."""
        for wire, number in zip(wires, lane, strict=True):
            x, y, target = x_of(number), self._end(wire, side), self.plan.node[wire.target]
            edge = target.box.x if side is _left else target.box.right
            for source, height in zip(wire.sources, self._sources(wire, side), strict=True):
                points = ((edge, height), (x, height), (x, y), (edge, y))
                self._line(wire, points, source)
            self._entry(wire, edge, y, is_left=side is _left)

    def _across(self, wires: Sequence[Wire], lane: Sequence[int], start: int) -> None:
        for wire, number in zip(wires, lane, strict=True):
            target, x = self.plan.node[wire.target], start + number * LANE
            goes_right = wire.target in self.plan.rank
            y = self._end(wire, _left if goes_right else _right)
            edge = target.box.x if goes_right else target.box.right
            for source in wire.sources:
                node = self.plan.node[source]
                height = node.port(node.right if goes_right else node.left, wire, ends=False)
                begin = node.box.right if goes_right else node.box.x
                self._line(wire, ((begin, height), (x, height), (x, y), (edge, y)), source)
            self._entry(wire, edge, y, is_left=goes_right)

    def _straight(self) -> None:
        plan = self.plan
        for wire in plan.of(Way.DOWN):
            if plan.is_below and wire.target in plan.rank:
                continue
            upper, lower = plan.node[wire.sources[0]].box, plan.node[wire.target].box
            self._line(wire, ((upper.middle, upper.bottom), (upper.middle, lower.y)), wire.sources[0])
            room = lower.y - upper.bottom - 8
            self._label(wire, upper.middle + SPACE, upper.bottom + (room + wire.label_height) // 2 - 2)

    def _line(self, wire: Wire, points: tuple[Point, ...], source: str = "") -> None:
        """One branch of a wire; it begins at the frame where it has no source."""
        self.lines.append(Line(points, wire, source, source in wire.unreached))

    def _entry(self, wire: Wire, x: int, y: int, *, is_left: bool) -> None:
        """The label of a wire that ends at a side of a box, above it."""
        self._label(wire, x - SPACE - 1 if is_left else x + SPACE + 4, y - 5, ends=is_left)

    def _label(self, wire: Wire, x: int, y: int, *, ends: bool = False) -> None:
        """The lines of a label, the last one on the baseline ``y``; they begin at ``x``, or end there."""
        for number, told in enumerate(reversed(wire.label)):
            self.words.append(Word(x, y - number * LABEL.line, told.text, told.kind, ends, wire, told.is_unreached))

    def _overhang(self, width: int, column: Mapping[str, int]) -> int:
        """How far the labels of straight lines reach beyond their boxes."""
        reach = [
            SPACE + wire.label_width + SPACE - width // 2 for wire in self.plan.of(Way.DOWN) if wire.target in column
        ]
        return max([0, *reach])


def _left(node: Node) -> Sequence[tuple[Wire, bool]]:
    return node.left


def _right(node: Node) -> Sequence[tuple[Wire, bool]]:
    return node.right


def _count(lane: Sequence[int]) -> int:
    return max(lane, default=-1) + 1


def _room(wires: Sequence[Wire]) -> int:
    """Room for labels between a box and the first lane."""
    return max((wire.label_width + 2 * SPACE + 4 for wire in wires), default=SPACE)
