"""A run of the bench as a picture: a bar for each line, its aim as a mark, its least and greatest round as a whisker.

Every line has a scale of its own, for what they count differs; where there is an aim, it is in the same place in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final
from xml.sax.saxutils import escape

from attrs import frozen

from .bench_output import Outcome, figure
from .bench_peer_rows import EQUAL, OURS, PeerLine
from .bench_setting import Line
from .diagram_text import FAMILY, LABEL, NAME, SMALL, paragraph

WIDTH: Final = 520
MARGIN: Final = 16
TRACK: Final = 208
"""The width that bars have; the figure stands right of it."""
PITCH: Final = 46
_BAR: Final = 12
_AIM_AT: Final = 0.6
_FULL: Final = 0.97
_SPACE: Final = 10
_INNER: Final = WIDTH - 2 * MARGIN

_STYLE: Final = f"""
text {{ font-family: {FAMILY}; fill: #1f2328; }}
.panel {{ fill: #ffffff; stroke: #d1d9e0; }}
.heading {{ font-size: {NAME.size}px; font-weight: 600; }}
.label {{ font-size: {LABEL.size}px; }}
.small {{ font-size: {SMALL.size}px; fill: #59636e; }}
.end {{ text-anchor: end; }}
.track {{ fill: #eef1f4; }}
.plain {{ fill: #8c959f; }} .met {{ fill: #2f7fd8; }} .missed {{ fill: #d9622b; }}
text.missed {{ fill: #953800; }}
.whisker {{ stroke: #1f2328; stroke-width: 1.2; fill: none; }}
.aim {{ stroke: #1a7f37; stroke-width: 2.4; }} .goal {{ stroke: #1a7f37; stroke-width: 1.4; stroke-dasharray: 2 2; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }}
.panel {{ fill: #0d1117; stroke: #30363d; }}
.small {{ fill: #9198a1; }}
.track {{ fill: #212830; }}
.plain {{ fill: #6e7681; }} .met {{ fill: #3f8ae0; }} .missed {{ fill: #d9743f; }}
text.missed {{ fill: #ffa657; }}
.whisker {{ stroke: #e6edf3; }}
.aim, .goal {{ stroke: #3fb950; }}
}}
"""


@final
@frozen
class Bar:
    """One line of the picture. ``most`` is the value at the end of the track; ``note`` stands at the right above it."""

    what: str
    value: str
    ratio: float
    low: float
    high: float
    most: float
    look: str = "plain"
    note: str = ""
    aim: float | None = None
    goal: float | None = None


@final
@frozen
class Section:
    """Bars under a heading."""

    heading: str
    bars: Sequence[Bar]


def bar_of(line: Line) -> Bar:
    """The bar of a line of the result."""
    marks = [each for each in (line.aim, line.goal) if each is not None]
    return Bar(
        line.what,
        f"{figure(line.ratio)} {line.reads}",
        line.ratio,
        line.low,
        line.high,
        most=max(line.high / _FULL, max(marks, default=0.0) / _AIM_AT) or 1.0,
        look={None: "plain", True: "met", False: "missed"}[line.met],
        note=_note(line),
        aim=line.aim,
        goal=line.goal,
    )


def _note(line: Line) -> str:
    """The aim in words, and what comes next as far as there is room."""
    sign = "≥" if line.more_is_better else "≤"
    words = [
        *([] if line.aim is None else [f"{'aim' if line.met else 'missed'} {sign} {line.aim:,g}"]),
        *([] if line.goal is None else [f"next {sign} {line.goal:,g}"]),
    ]
    both = ", ".join(words)
    return both if LABEL.width(line.what) + SMALL.width(both) + _SPACE <= _INNER else words[0]


def picture_of(outcome: Outcome) -> str:
    """The whole run as one SVG file."""
    sections = [Section("", [bar_of(line) for line in outcome.lines])]
    for work in dict.fromkeys(each.work for each in outcome.peers):
        lines = [each for each in outcome.peers if each.work == work]
        most = max(each.high for each in lines) / _FULL
        sections.append(Section(f"{work}, beside other libraries", [_peer_bar(each, most) for each in lines]))
    return svg_of(outcome.head, sections)


def _peer_bar(line: PeerLine, most: float) -> Bar:
    return Bar(
        f"{line.who} {line.version}".strip(),
        f"{figure(line.ratio)} times raw",
        line.ratio,
        line.low,
        line.high,
        most,
        look="met" if line.who == OURS else "plain",
        note="" if line.durability.startswith(EQUAL) else line.durability,
    )


def svg_of(head: str, sections: Sequence[Section]) -> str:
    """A heading, the bars, and what they mean."""
    drawn: list[str] = []
    y = MARGIN + NAME.size
    drawn.append(_text(MARGIN, y, "heading", "holdstate bench"))
    for line in _lines(head):
        y += SMALL.line
        drawn.append(_text(MARGIN, y, "small", line))
    for section in sections:
        if section.heading and section.bars:
            y += NAME.line + SMALL.line
            drawn.append(_text(MARGIN, y, "heading", section.heading))
        for bar in section.bars:
            drawn += _bar(bar, y + SMALL.line)
            y += PITCH
    y += SMALL.line
    meaning = _lines(_meaning(sections))
    drawn += [_text(MARGIN, y + number * SMALL.line, "small", line) for number, line in enumerate(meaning, 1)]
    height = y + SMALL.line * len(meaning) + MARGIN
    title = "What holdstate bench measured"
    described = "; ".join(f"{bar.what}: {bar.value}" for section in sections for bar in section.bars)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-labelledby="title what">\n<title id="title">{title}</title>\n'
        f'<desc id="what">{escape(described)}</desc>\n<style>{_STYLE}</style>\n'
        f'<rect class="panel" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _lines(words: str) -> list[str]:
    return [line.strip() for line in paragraph(words, _INNER * 100 // SMALL.width("x" * 100) + 4)]


def _meaning(sections: Sequence[Section]) -> str:
    """What the parts of the picture mean that are in it."""
    bars = [bar for section in sections for bar in section.bars]
    scales = "Each measure has a scale of its own. " if any(not each.heading and each.bars for each in sections) else ""
    aims = "Solid mark: aim. " if any(each.aim is not None for each in bars) else ""
    goals = "Dotted mark: what comes next. " if any(each.goal is not None for each in bars) else ""
    missed = "Orange: aim missed." if any(each.look == "missed" for each in bars) else ""
    return f"{scales}Bar: median of the rounds. Whisker: least and greatest round. {aims}{goals}{missed}".strip()


def _bar(bar: Bar, y: int) -> list[str]:
    """Its name with its aim, and below the track with its figure."""
    base = y + LABEL.size
    top = base + 7
    middle = top + _BAR / 2

    def at(value: float) -> float:
        return round(MARGIN + min(1.0, value / bar.most) * TRACK, 1)

    drawn = [_text(MARGIN, base, "label", bar.what)]
    if bar.note:
        drawn.append(_text(WIDTH - MARGIN, base, f"small end{' missed' if bar.look == 'missed' else ''}", bar.note))
    drawn.append(f'<rect class="track" x="{MARGIN}" y="{top}" width="{TRACK}" height="{_BAR}" rx="2"/>')
    width = round(at(bar.ratio) - MARGIN, 1)
    drawn.append(f'<rect class="{bar.look}" x="{MARGIN}" y="{top}" width="{width}" height="{_BAR}" rx="2"/>')
    low, high = at(bar.low), at(bar.high)
    if low != high:
        ends = f"M{low} {middle - 3}V{middle + 3}M{high} {middle - 3}V{middle + 3}"
        drawn.append(f'<path class="whisker" d="M{low} {middle}H{high}{ends}"/>')
    for kind, value in (("aim", bar.aim), ("goal", bar.goal)):
        if value is not None:
            drawn.append(f'<path class="{kind}" d="M{at(value)} {top - 2}V{top + _BAR + 2}"/>')
    drawn.append(_text(MARGIN + TRACK + _SPACE, top + _BAR - 2, "small", bar.value))
    return drawn


def _text(x: float, y: float, look: str, words: str) -> str:
    return f'<text class="{look}" x="{x}" y="{y}">{escape(words)}</text>'
