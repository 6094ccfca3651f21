"""A picture as SVG: light or dark by what its reader prefers, with a title and a description for screen readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from .diagram_overlay import UNREACHED
from .diagram_parts import ArrowKind, Parts
from .diagram_shapes import MARGIN, Box, Layout, Line, Node, Point, Word
from .diagram_text import FAMILY, LABEL, NAME, SMALL, paragraph
from .diagram_wires import Wire

_RADIUS: Final = 7
_CLASS: Final = {ArrowKind.STEP: "step", ArrowKind.RECOVERY: "recovery", ArrowKind.GIVING_UP: "giving"}
_HEAD: Final = 8
_SAMPLE: Final = 22
_NOTES: Final = 560
"""The least width of a picture with notes."""

STYLE: Final = f"""
text {{ font-family: {FAMILY}; fill: #1f2328; }}
.panel {{ fill: #ffffff; stroke: #d1d9e0; }}
.frame {{ fill: #f6f8fa; stroke: #d1d9e0; }}
.state {{ fill: #ffffff; stroke: #59636e; stroke-width: 1.4; }}
.first {{ fill: #ddf4ff; stroke: #0969da; }}
.end {{ fill: #eef1f4; stroke: #59636e; stroke-width: 1.4; }}
.rim {{ fill: none; stroke: #59636e; stroke-width: 1; }}
.name {{ font-size: {NAME.size}px; font-weight: 600; text-anchor: middle; }}
.heading {{ font-size: {NAME.size}px; font-weight: 600; }}
.small {{ font-size: {SMALL.size}px; fill: #59636e; }}
.label {{ font-size: {LABEL.size}px; }}
.wire {{ fill: none; stroke-width: 1.5; stroke-linecap: round; }}
.step {{ stroke: #59636e; }} .recovery {{ stroke: #0969da; }} .giving {{ stroke: #bc4c00; }}
.head {{ stroke: none; }}
.rule {{ stroke: #d1d9e0; }}
.chip {{ fill: #f6f8fa; stroke-width: 1.2; }}
.head.step {{ fill: #59636e; }} .head.recovery {{ fill: #0969da; }} .head.giving {{ fill: #bc4c00; }}
.unreached {{ stroke-dasharray: 4 4; }}
.figure {{ font-size: {SMALL.size}px; text-anchor: middle; fill: #1f2328; }}
.label.step {{ fill: #1f2328; stroke: none; }} .label.recovery {{ fill: #0550ae; stroke: none; }}
.label.giving {{ fill: #953800; stroke: none; }}
.label.unreached {{ fill: #6e7781; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }}
.panel {{ fill: #0d1117; stroke: #30363d; }}
.frame {{ fill: #151b23; stroke: #30363d; }}
.state {{ fill: #0d1117; stroke: #9198a1; }}
.first {{ fill: #0c2d4f; stroke: #4493f8; }}
.end {{ fill: #212830; stroke: #9198a1; }}
.rim {{ stroke: #9198a1; }}
.rule {{ stroke: #30363d; }}
.chip {{ fill: #151b23; }}
.small {{ fill: #9198a1; }}
.figure {{ fill: #e6edf3; }}
.step {{ stroke: #9198a1; }} .recovery {{ stroke: #4493f8; }} .giving {{ stroke: #f0883e; }}
.head.step {{ fill: #9198a1; }} .head.recovery {{ fill: #4493f8; }} .head.giving {{ fill: #f0883e; }}
.label.step {{ fill: #e6edf3; }} .label.recovery {{ fill: #79c0ff; }} .label.giving {{ fill: #ffa657; }}
.label.unreached {{ fill: #848d97; }}
}}
"""


def svg_of(parts: Parts, layout: Layout, notes: Sequence[str] = ()) -> str:
    """The whole file, with what its colours mean. ``notes`` are paragraphs below the picture.

    What belongs to a state or an event says so (``data-state``, ``data-events``), for a page that brings it to life.
    """
    most = max(layout.width, _NOTES if notes else 0) - 2 * MARGIN
    told = [line for note in notes for line in paragraph(note, most * 100 // SMALL.width("x" * 100))]
    legend, width = _legend(layout, layout.height + SMALL.size - SMALL.line // 2)
    width = max(layout.width, width, *(SMALL.width(line) + 2 * MARGIN for line in told), 0)
    height = layout.height + (SMALL.line if legend else 0)
    drawn = [
        f'<g transform="translate({(width - layout.width) // 2} 0)">',
        *([_rect(layout.frame, "frame", 12)] if layout.frame else []),
        *map(_wire, sorted(layout.lines, key=lambda line: not line.is_unreached)),
        *_heads(layout.lines),
        *_start(layout.start),
        *(each for node in layout.nodes for each in _node(node, parts)),
        *map(_word, layout.words),
        "</g>",
        *legend,
    ]
    for line in told:
        height += SMALL.line
        drawn.append(f'<text class="small" x="{MARGIN}" y="{height}" xml:space="preserve">{escape(line)}</text>')
    return page(parts.title, width, height + (MARGIN if told else 0), drawn)


def _legend(layout: Layout, y: int) -> tuple[list[str], int]:
    """What colours and dashes mean, on one line, and how wide the picture has to be; nothing where all is alike."""
    kinds = [kind for kind in ArrowKind if any(line.kind is kind for line in layout.lines)]
    told = [] if kinds == [ArrowKind.STEP] else [(_CLASS[kind], str(kind)) for kind in kinds]
    if any(line.is_unreached for line in layout.lines):
        told.append(("step unreached", UNREACHED))
    drawn, x = [], MARGIN
    for kind, meaning in told:
        drawn.append(f'<path class="wire {kind}" d="M{x} {y - 4}h{_SAMPLE}"/>')
        drawn.append(f'<text class="small" x="{x + _SAMPLE + 6}" y="{y}">{meaning}</text>')
        x += _SAMPLE + 6 + SMALL.width(meaning) + MARGIN
    return drawn, x if told else 0


def page(title: str, width: int, height: int, drawn: Sequence[str]) -> str:
    """An SVG file of this size, on a panel of its own so that it can be read on any ground."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title">',
        f'<title id="title">{escape(title)}</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="panel" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        *drawn,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _word(word: Word) -> str:
    anchor = ' text-anchor="end"' if word.ends else ""
    kind = f"{_CLASS[word.kind]}{' unreached' if word.is_unreached else ''}"
    ends = _ends(word.wire, word.wire.sources)
    return f'<text class="label {kind}"{ends} x="{word.x}" y="{word.y}"{anchor}>{escape(word.text)}</text>'


def _wire(line: Line) -> str:
    """Those that are not reached are drawn first, so that what they share with others is not dashed."""
    kind = f"{_CLASS[line.kind]}{' unreached' if line.is_unreached else ''}"
    ends = _ends(line.wire, [line.source])
    return f'<path class="wire {kind}"{ends} d="{_path(line.points, from_end=line.is_unreached)}"/>'


def _ends(wire: Wire, sources: Sequence[str]) -> str:
    """Where a line or a label belongs; names have line breaks between them, and no source is every live state."""
    parts = {"from": "\n".join(sources), "to": wire.target, "events": "\n".join(wire.events)}
    return "".join(f" data-{name}={quoteattr(value)}" for name, value in parts.items())


def _rect(box: Box, kind: str, radius: int, inset: int = 0) -> str:
    x, y, width, height = box.x + inset, box.y + inset, box.width - 2 * inset, box.height - 2 * inset
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>'


def _node(node: Node, parts: Parts) -> list[str]:
    box, dashed = node.box, " unreached" if node.is_unvisited else ""
    if node.name in parts.terminal:
        drawn = [_rect(box, f"end{dashed}", 14), _rect(box, f"rim{dashed}", 11, 3)]
    else:
        drawn = [_rect(box, f"state{' first' if node.name == parts.initial else ''}{dashed}", 8)]
    y = box.y + (box.height - node.text_height) // 2 + NAME.size - 1
    for line in node.lines:
        drawn.append(f'<text class="name" x="{box.middle}" y="{y}">{escape(line)}</text>')
        y += NAME.line
    for line in node.figures:
        drawn.append(f'<text class="figure" x="{box.middle}" y="{y - 2}">{escape(line)}</text>')
        y += SMALL.line
    if node.loops:
        x = box.middle - max(SMALL.width(line) for line in node.loops) // 2
        for line in node.loops:
            drawn.append(f'<text class="small" x="{x}" y="{y - 2}" xml:space="preserve">{escape(line)}</text>')
            y += SMALL.line
    return [f"<g data-state={quoteattr(node.name)}>", *drawn, "</g>"]


def _start(start: tuple[Point, Point]) -> list[str]:
    (x, y), (_, end) = start
    return [
        f'<circle class="head step" cx="{x}" cy="{y}" r="5"/>',
        f'<path class="wire step" d="M{x} {y}V{end - 2}"/>',
        _head((x, y), (x, end), "step"),
    ]


def _heads(lines: Sequence[Line]) -> list[str]:
    """One arrowhead for each end; branches share it."""
    heads = {(line.points[-2], line.points[-1], line.wire): None for line in lines}
    return [_head(before, end, _CLASS[wire.kind], _ends(wire, wire.sources)) for before, end, wire in heads]


def _head(before: Point, end: Point, kind: str, ends: str = "") -> str:
    (x, y), half = end, _HEAD // 2
    if before[0] == x:
        back = y - _HEAD if before[1] < y else y + _HEAD
        corners = f"{x},{y} {x - half},{back} {x + half},{back}"
    else:
        back = x - _HEAD if before[0] < x else x + _HEAD
        corners = f"{x},{y} {back},{y - half} {back},{y + half}"
    return f'<polygon class="head {kind}"{ends} points="{corners}"/>'


def _path(points: Sequence[Point], *, from_end: bool = False) -> str:
    """A line with round corners, which stops short of the tip of its arrowhead. Drawn ``from_end`` the dashes of
    branches fall together where they share their way.
    """
    ends = list(dict.fromkeys(points))
    ends[-1] = _towards(ends[-1], ends[-2], 2)
    if from_end:
        ends.reverse()
    drawn = [f"M{ends[0][0]} {ends[0][1]}"]
    for before, corner, after in zip(ends, ends[1:], ends[2:], strict=False):
        radius = min(_RADIUS, _length(before, corner) // 2, _length(corner, after) // 2)
        begin, end = _towards(corner, before, radius), _towards(corner, after, radius)
        drawn.append(f"L{begin[0]} {begin[1]}Q{corner[0]} {corner[1]} {end[0]} {end[1]}")
    return f"{''.join(drawn)}L{ends[-1][0]} {ends[-1][1]}"


def _length(one: Point, other: Point) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(point: Point, other: Point, pixels: int) -> Point:
    """The point so many pixels nearer to ``other``."""

    def step(start: int, end: int) -> int:
        return start + (pixels if end > start else -pixels if end < start else 0)

    return step(point[0], other[0]), step(point[1], other[1])
