"""The curves of a scale run as one SVG: panels below each other over the same inputs, readable on a phone too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, log10
from typing import Final, final
from xml.sax.saxutils import escape

from attrs import frozen

from .diagram_svg import page
from .diagram_text import LABEL, SMALL
from .quantities import bytes_text, duration_text
from .scale_run import Report, Sample

_WIDTH: Final = 560
_LEFT, _RIGHT = 78, 20
_HEAD: Final = 62
_PANEL: Final = 96
_TITLE: Final = 40
"""Above each panel: its name, and what its lines are."""
_GAP: Final = 14
_FOOT: Final = 62
_TICKS: Final = 4
_STEPS: Final = (1, 2, 2.5, 5, 10)
_TABLE_ROWS: Final = 10

STYLE: Final = """
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.one { stroke: #0969da; } .two { stroke: #bc4c00; }
.one.key { fill: #0969da; stroke: none; } .two.key { fill: #bc4c00; stroke: none; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.prune { fill: #59636e; opacity: .1; }
.kill { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 5 4; }
.killed { fill: #cf222e; }
@media (prefers-color-scheme: dark) {
.one { stroke: #4493f8; } .two { stroke: #f0883e; }
.one.key { fill: #4493f8; } .two.key { fill: #f0883e; }
.grid { stroke: #30363d; }
.prune { fill: #9198a1; opacity: .16; }
.kill { stroke: #f85149; } .killed { fill: #f85149; }
}
"""


@final
@frozen
class Curve:
    """One line of a panel: its name, and its value at a sample."""

    name: str
    value: Callable[[Sample], float]


@final
@frozen
class Panel:
    """A panel: its name, how its values are told, in which unit they are round, and one curve or two."""

    name: str
    told: Callable[[float], str]
    unit: int
    curves: tuple[Curve, ...]


def _count(value: float) -> str:
    if value >= 1_000_000:  # noqa: PLR2004
        return f"{value / 1_000_000:g} M"
    return f"{value / 1000:g} k" if value >= 10_000 else f"{value:,.0f}"  # noqa: PLR2004


def _size(value: float) -> str:
    return bytes_text(round(value))


PANELS: Final = (
    Panel(
        "lives a second",
        _count,
        1,
        (
            Curve("by the clock", lambda sample: sample.rate),
            Curve("by the processor", lambda sample: sample.processor_rate),
        ),
    ),
    Panel(
        "file",
        _size,
        1024 * 1024,
        (
            Curve("length", lambda sample: sample.file_bytes),
            Curve("pages in use", lambda sample: sample.used_bytes),
        ),
    ),
    Panel(
        "memory of the process",
        _size,
        1024 * 1024,
        (
            Curve("its own", lambda sample: sample.program_bytes),
            Curve("pages of the file", lambda sample: sample.mapped_bytes),
        ),
    ),
    Panel("ended inputs that are stored", _count, 1, (Curve("rows", lambda sample: sample.ended),)),
)


def curves_svg(report: Report) -> str:
    """The whole file. Raises ValueError without a sample."""
    samples, plan = report.samples, report.plan
    if not samples:
        raise ValueError("there is no sample to draw")
    title = f"{plan.inputs:,} inputs through {plan.runtimes:,} runtimes"
    drawn = [
        f"<style>{STYLE}</style>",
        f'<text class="heading" x="{_LEFT}" y="28">{escape(title)}</text>',
        f'<text class="small" x="{_LEFT}" y="{28 + LABEL.line + 4}">{escape(_summary(report))}</text>',
    ]
    top = _HEAD
    for panel in PANELS:
        drawn += _panel(panel, report, top + _TITLE)
        top += _TITLE + _PANEL + _GAP
    drawn += _axis(report, top - _GAP)
    return page(f"{title}: {_summary(report)}", _WIDTH, top - _GAP + _FOOT, drawn)


def _summary(report: Report) -> str:
    rate = report.lives / report.working_seconds if report.working_seconds else 0.0
    told = f"{duration_text(report.working_seconds)} of work, {rate:,.0f} lives a second"
    recovery = report.recovery
    return told if recovery is None else f"{told}; back {duration_text(recovery.first)} after the kill"


def _x(report: Report, lives: float) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * lives / report.plan.inputs, 1)


def _panel(panel: Panel, report: Report, top: float) -> list[str]:
    most = max(curve.value(sample) for curve in panel.curves for sample in report.samples)
    step = nice_step(most / panel.unit) * panel.unit
    ceiling = max(step, ceil(most / step) * step)
    drawn = _names(panel, top)
    for pruning in report.prunings:
        left, right = _x(report, pruning.lives), _x(report, pruning.until)
        width = max(1.0, right - left)
        drawn.append(f'<rect class="prune" x="{left}" y="{top}" width="{width:.1f}" height="{_PANEL}"/>')
    value = 0.0
    while value <= ceiling:
        y = round(top + _PANEL * (1 - value / ceiling), 1)
        drawn.append(f'<path class="grid" d="M{_LEFT} {y}H{_WIDTH - _RIGHT}"/>')
        label = escape(panel.told(value))
        drawn.append(f'<text class="small" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{label}</text>')
        value += step
    if report.recovery is not None:
        x = _x(report, report.recovery.lives)
        drawn.append(f'<path class="kill" d="M{x} {top}V{top + _PANEL}"/>')
    for kind, curve in zip(("one", "two"), panel.curves, strict=False):
        points = [
            f"{_x(report, sample.lives)} {top + _PANEL * (1 - curve.value(sample) / ceiling):.1f}"
            for sample in report.samples
        ]
        drawn.append(f'<path class="curve {kind}" d="M{"L".join(points)}"/>')
    return drawn


def _names(panel: Panel, top: float) -> list[str]:
    """What the panel shows, and which line is which, from the right."""
    y = top - 11
    drawn = [f'<text class="label" x="{_LEFT}" y="{y}" font-weight="600">{escape(panel.name)}</text>']
    right = _WIDTH - _RIGHT
    named = list(zip(("one", "two"), panel.curves, strict=False)) if len(panel.curves) > 1 else []
    for kind, curve in reversed(named):
        drawn.append(f'<text class="small" x="{right}" y="{y}" text-anchor="end">{escape(curve.name)}</text>')
        right -= SMALL.width(curve.name) + 16
        drawn.append(f'<rect class="{kind} key" x="{right}" y="{y - 7}" width="11" height="4" rx="2"/>')
        right -= 14
    return drawn


def _axis(report: Report, bottom: float) -> list[str]:
    y, drawn = bottom + SMALL.line, []
    for number in range(_TICKS + 1):
        lives = report.plan.inputs * number / _TICKS
        anchor = "end" if number == _TICKS else "middle"
        x = _WIDTH - _RIGHT if number == _TICKS else _x(report, lives)
        drawn.append(f'<text class="small" x="{x}" y="{y}" text-anchor="{anchor}">{escape(_count(lives))}</text>')
    y += SMALL.line + 8
    x = _LEFT
    for mark, words in (
        ("", "inputs that have ended"),
        (f'<path class="kill" d="M{{x}} {y - 4}h18"/>' if report.recovery else None, "killed"),
        (
            f'<rect class="prune" x="{{x}}" y="{y - 11}" width="18" height="13"/>' if report.prunings else None,
            "pruning",
        ),
    ):
        if mark is None:
            continue
        if mark:
            drawn.append(mark.format(x=x))
            x += 25
        drawn.append(f'<text class="small" x="{x}" y="{y}">{words}</text>')
        x += SMALL.width(words) + 18
    return drawn


def nice_step(most: float) -> float:
    """The distance of grid lines: a round number, so that two to four of them reach ``most``."""
    if most <= 0:
        return 1.0
    rough = most / 3
    power = 10.0 ** floor(log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough)


COLUMNS: Final = (
    "inputs",
    "lives/s",
    "per processor s",
    "file",
    "in use",
    "own memory",
    "mapped",
    "ended rows",
    "commits",
)


def table_rows(samples: Sequence[Sample], most: int = _TABLE_ROWS) -> list[tuple[str, ...]]:
    """Samples as lines of a table, ``most`` of them at most, spread over the run; the last one always."""
    every = max(1, ceil(len(samples) / most))
    picked = [sample for number, sample in enumerate(samples, 1) if number % every == 0 or number == len(samples)]
    return [
        (
            f"{sample.lives:,}",
            f"{sample.rate:,.0f}",
            f"{sample.processor_rate:,.0f}",
            bytes_text(sample.file_bytes),
            bytes_text(sample.used_bytes),
            bytes_text(sample.program_bytes),
            bytes_text(sample.mapped_bytes),
            f"{sample.ended:,}",
            f"{sample.commits:,}",
        )
        for sample in picked
    ]
