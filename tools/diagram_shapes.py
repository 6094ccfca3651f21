"""What a picture is made of once everything has its place, in whole pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from attrs import Factory, define, frozen

from .diagram_parts import ArrowKind
from .diagram_text import LABEL, NAME, SMALL
from .diagram_wires import Wire

MARGIN: Final = 20
PORT: Final = 15
SPACE: Final = 8
"""Between a line, a label and a box."""
LEAST_WIDTH: Final = 108
LEAST_HEIGHT: Final = 42

Point = tuple[int, int]


@final
@frozen
class Box:
    """A rectangle; ``x`` and ``y`` are its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def middle(self) -> int:
        return self.x + self.width // 2


@final
@frozen
class Word:
    """One line of the label of ``wire`` on its baseline, which begins at ``x``, or ends there."""

    x: int
    y: int
    text: str
    kind: ArrowKind
    ends: bool
    wire: Wire
    is_unreached: bool = False

    @property
    def box(self) -> Box:
        width = LABEL.width(self.text)
        return Box(self.x - width if self.ends else self.x, self.y - LABEL.size + 2, width, LABEL.size + 1)


@final
@frozen
class Line:
    """One branch of ``wire``, by its corners; no ``source`` is the frame. It ends at its target, and is dashed where it
    is not reached.
    """

    points: tuple[Point, ...]
    wire: Wire
    source: str
    is_unreached: bool = False

    @property
    def kind(self) -> ArrowKind:
        return self.wire.kind

    @property
    def target(self) -> str:
        return self.wire.target


@final
@define
class Node:
    """A state. ``left`` and ``right`` are the ports of its sides from the top: a wire, and whether it ends here.
    ``figures`` are told below its name; one that nothing was ever in is dashed.
    """

    name: str
    lines: tuple[str, ...]
    loops: tuple[str, ...]
    figures: tuple[str, ...] = ()
    is_unvisited: bool = False
    left: list[tuple[Wire, bool]] = Factory(list)
    right: list[tuple[Wire, bool]] = Factory(list)
    box: Box = Box(0, 0, 0, 0)

    @property
    def text_height(self) -> int:
        return len(self.lines) * NAME.line + (len(self.figures) + len(self.loops)) * SMALL.line

    def height(self) -> int:
        return max(
            LEAST_HEIGHT,
            self.text_height + 2 * SPACE,
            *(sum(map(_slot, side)) + SPACE for side in (self.left, self.right)),
        )

    def width(self) -> int:
        return max(
            LEAST_WIDTH,
            *(NAME.width(line) + 2 * SPACE + 6 for line in self.lines),
            *(SMALL.width(line) + 2 * SPACE for line in (*self.figures, *self.loops)),
        )

    def port(self, side: Sequence[tuple[Wire, bool]], wire: Wire, *, ends: bool) -> int:
        """The height at which ``wire`` begins or ends on one side."""
        y = self.box.y + (self.box.height - sum(map(_slot, side))) // 2
        for each in side:
            y += _slot(each)
            if each == (wire, ends):
                break
        return y - PORT // 2

    def heights(self, side: Sequence[tuple[Wire, bool]]) -> list[int]:
        return [self.port(side, wire, ends=ends) for wire, ends in side]


def _slot(port: tuple[Wire, bool]) -> int:
    wire, ends = port
    return PORT + (wire.label_height if ends else 0)


@final
@frozen
class Layout:
    """A picture, ready to be drawn."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    words: tuple[Word, ...]
    frame: Box | None
    start: tuple[Point, Point]
