"""How a store grew, as far as its rows tell: inputs admitted and ended over time, as a chart and as a table.

Rows that retention removed are gone, and no store keeps how large it once was; so neither is drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from .quantities import counted, duration_text, moment_text, rate_text
from .store_survey import Survey

POINTS: Final = 48
_ROWS: Final = 12
_WIDTH: Final = 1000
_HEIGHT: Final = 150
_AIR: Final = 6


def cumulated(times: Sequence[datetime], at: Sequence[datetime]) -> list[int]:
    """How many of ``times`` there were by each of ``at``."""
    known = sorted(times)
    return [bisect_right(known, each) for each in at]


def growth_section(found: Survey) -> str:
    """The part of a page about growth."""
    head = "<h2>Growth</h2>\n"
    times = [*found.admitted, *found.ended]
    if not times or min(times) == max(times):
        return (
            f'{head}<p class="dim">There is nothing to compare yet: inputs of two different times make a chart.</p>\n'
        )
    first, last = min(times), max(times)
    span = last - first
    admitted, ended = len(found.admitted), len(found.ended)
    rates = [rate_text(count, span.total_seconds()) for count in (admitted, ended)]
    told = " and ".join(
        f"{count:,} {what}{f' ({rate})' if rate else ''}"
        for count, what, rate in zip((admitted, ended), ("admitted", "ended"), rates, strict=True)
    )
    return (
        f"{head}<p>Inputs that are stored: {told} over {duration_text(span.total_seconds())}. {_missing(found)}</p>\n"
        f"{_chart(found, first, span)}{_table(found, first, span)}"
    )


def _missing(found: Survey) -> str:
    """What the chart cannot know of."""
    lost = []
    if found.pruned:
        lost.append(f"{counted(found.pruned, 'ended input')} that retention removed")
    if found.untimed:
        lost.append(f"when {counted(found.untimed, 'input')} without a history ended")
    return f"Not known: {'; '.join(lost)}." if lost else ""


def _chart(found: Survey, first: datetime, span: timedelta) -> str:
    at = [first + span * number / POINTS for number in range(1, POINTS + 1)]
    admitted, ended = cumulated(found.admitted, at), cumulated(found.ended, at)
    most = max(1, *admitted)

    def points(counts: Sequence[int]) -> list[str]:
        heights = [_HEIGHT - _AIR - round(count / most * (_HEIGHT - 2 * _AIR)) for count in (0, *counts)]
        return [f"{round(number / POINTS * _WIDTH)} {height}" for number, height in enumerate(heights)]

    above, below = points(admitted), points(ended)
    label = f"Admitted rises to {admitted[-1]:,}, ended to {ended[-1]:,}; the table below has the numbers"
    return (
        f'<div class="chart"><div class="ends"><span>{most:,} inputs</span></div>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<path class="between" d="M{"L".join((*above, *reversed(below)))}Z"/>'
        f'<path class="admitted" d="M{"L".join(above)}"/><path class="ended" d="M{"L".join(below)}"/></svg>\n'
        f'<div class="ends"><span>{moment_text(first)}</span><span>{moment_text(first + span)}</span></div>\n'
        '<div class="legend"><span class="admitted"><b>admitted</b></span><span class="ended"><b>ended</b></span>'
        '<span class="between"><b>active in between</b></span></div></div>\n'
    )


def _table(found: Survey, first: datetime, span: timedelta) -> str:
    at = [first + span * number / _ROWS for number in range(1, _ROWS + 1)]
    rows = "\n".join(
        f'<tr><th scope="row">{moment_text(each)}</th><td class="number">{admitted:,}</td>'
        f'<td class="number">{ended:,}</td><td class="number">{max(0, admitted - ended):,}</td></tr>'
        for each, admitted, ended in zip(at, cumulated(found.admitted, at), cumulated(found.ended, at), strict=True)
    )
    heads = "".join(f'<th scope="col" class="number">{name}</th>' for name in ("admitted", "ended", "active"))
    return (
        '<details><summary>The numbers</summary><div class="scroll" tabindex="0"><table><thead><tr>'
        f'<th scope="col">by</th>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div></details>\n'
    )
