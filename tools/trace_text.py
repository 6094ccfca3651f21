"""A trace as text, for failure messages and pipes: a line for each step, and below it what changed in each pane."""

from __future__ import annotations

from collections.abc import Iterator

from .trace import Trace
from .trace_view import GONE, Board, Cell, TraceView, visible, visible_lines

CRASH_LINE = "~ ~ ~ crash ~ ~ ~"


def trace_text(trace: Trace) -> str:
    """All steps; the last lines say what is broken."""
    return "\n".join(_lines(trace))


def _lines(trace: Trace) -> Iterator[str]:
    view = TraceView(trace)
    yield visible(trace.title)
    width = len(str(len(trace.steps) - 1))
    for number, step in enumerate(trace.steps):
        note = f"   ({visible(step.note)})" if step.note else ""
        yield f"  {number:>{width}}  {visible(trace.label(number))}{note}"
        if step.is_crash:
            yield f"  {'':>{width}}  {CRASH_LINE}"
        for board in view.boards(number):
            for pane, shown in _panes(board, is_first=number == 0):
                yield f"  {'':>{width}}     {visible(pane)}: {', '.join(shown)}"
    if trace.loop is not None:
        yield f"  and on from step {trace.loop} for ever"
    if trace.broken:
        yield f"broken: {visible_lines(trace.broken)}"


def _panes(board: Board, *, is_first: bool) -> Iterator[tuple[str, list[str]]]:
    for place, pane in enumerate(board.panes):
        if pane in board.gone:
            yield pane, [GONE]
            continue
        is_new = is_first or pane in board.came
        cells = ((row.path, row.cells[place]) for row in board.rows)
        shown = [
            cell_text(path, cell) for path, cell in cells if cell.is_changed or (is_new and cell.after is not None)
        ]
        if shown:
            yield pane, shown


def cell_text(name: str, cell: Cell) -> str:
    """What became of a value: ``state: cart → paid``, or ``state = cart`` where there was none before."""
    return f"{name}: {cell.text()}" if cell.is_changed and cell.before is not None else f"{name} = {cell.text()}"
