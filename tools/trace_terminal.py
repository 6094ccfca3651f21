"""A trace in a terminal: the boards of the page as tables, all steps at once, or one by one with the arrow keys."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING, Final

from .output import PIPE_WIDTH, new_console, write_result
from .trace import Trace
from .trace_text import trace_text
from .trace_view import GONE, NEW, Board, Cell, Row, TraceView, visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

CRASH: Final = "crash"
LIST_WIDTH: Final = 34

NEXT: Final = frozenset({"\x1b[B", "\x1b[C", "\x1bOB", "\x1bOC", "j", "n", " "})
BACK: Final = frozenset({"\x1b[A", "\x1b[D", "\x1bOA", "\x1bOD", "k", "p"})
FIRST: Final = frozenset({"\x1b[H", "\x1bOH", "\x1b[1~", "g"})
LAST: Final = frozenset({"\x1b[F", "\x1bOF", "\x1b[4~", "G"})
LEAVE: Final = frozenset({"q", "\x1b", "\x04", ""})
ONLY: Final = "c"
_KEYS: Final = "arrows, Home, End: walk   c: what changed   q: leave"


def write_trace(trace: Trace) -> None:
    """All steps on stdout: with colours and side by side in a terminal, as plain text elsewhere."""
    console = new_console()
    if not console.is_terminal:
        write_result(trace_text(trace))
        return
    view = TraceView(trace)
    parts: list[RenderableType] = [_title(trace)]
    for number in range(len(trace.steps)):
        parts += [_line(trace, number), *_boards(view, number, console, is_whole=number == 0)]
    _write(console, [*parts, *_end(trace)])


def write_step(trace: Trace, number: int) -> None:
    """All that is there at step ``number``, with what the step changed."""
    console = new_console()
    _write(console, _step(TraceView(trace), number, console))


def walk(trace: Trace, key: Callable[[], str]) -> None:
    """Show one step at a time, with the list of steps on its left, until told to leave. ``key`` waits for a key."""
    console, view = new_console(), TraceView(trace)
    number, last, is_whole = len(trace.steps) - 1, len(trace.steps) - 1, True
    with console.screen(hide_cursor=True) as screen:
        while True:
            screen.update(_screen(view, number, console, is_whole=is_whole))
            pressed = key()
            if pressed in LEAVE:
                return
            if pressed in FIRST or pressed in LAST:
                number = 0 if pressed in FIRST else last
            number = max(0, min(last, number + (pressed in NEXT) - (pressed in BACK)))
            is_whole ^= pressed == ONLY


def _write(console: Console, parts: list[RenderableType]) -> None:
    # Captured first: rich ends the program by itself when a pipe is closed.
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    write_result(captured.get().removesuffix("\n"))


# -- lines -------------------------------------------------------------------------------------------------------------


def _title(trace: Trace) -> Text:
    from rich.text import Text

    return Text.assemble((visible(trace.title), "bold"), (f"   {visible(trace.source)}", "dim"))


def _line(trace: Trace, number: int) -> Text:
    """The step in one line, and the line of a crash below it."""
    from rich.text import Text

    step, width = trace.steps[number], len(str(len(trace.steps) - 1))
    line = Text.assemble((f"{number:>{width}}  ", "dim"), (visible(trace.label(number)), "bold"))
    if step.note:
        line.append(f"   {visible_lines(step.note)}", "dim")
    if step.is_crash:
        line.append(f"\n{'':>{width}}  ╌╌╌╌╌╌ {CRASH} ╌╌╌╌╌╌", "bold red")
    return line


def _end(trace: Trace) -> list[RenderableType]:
    from rich.text import Text

    found: list[RenderableType] = []
    if trace.loop is not None:
        found.append(Text(f"and on from step {trace.loop}, for ever", "dim"))
    if trace.broken:
        name, rest = trace.broken_name, trace.broken.strip().removeprefix(trace.broken_name)
        found.append(Text.assemble((f"✗ {visible(name)}", "bold red"), visible_lines(rest)))
    return found


def _step(view: TraceView, number: int, console: Console, *, is_whole: bool = True) -> list[RenderableType]:
    from rich.text import Text

    trace, last = view.trace, len(view.trace.steps) - 1
    parts: list[RenderableType] = [_line(trace, number), *_boards(view, number, console, is_whole=is_whole)]
    if number and not any(board.is_changed for board in view.boards(number)):
        parts.append(Text("nothing that is shown changed", "dim"))
    return [*parts, *(_end(trace) if number == last else [])]


# -- boards ------------------------------------------------------------------------------------------------------------


def _boards(view: TraceView, number: int, console: Console, *, is_whole: bool) -> list[RenderableType]:
    """The boards of a step, whole or what changed in them; pane by pane where there is no room for them all."""
    from rich.measure import Measurement

    tables: list[RenderableType] = []
    for board in view.boards(number):
        if is_whole or board.is_changed:
            places = tuple(range(len(board.panes)))
            together = _table(board, places, is_whole=is_whole)
            is_narrow = (
                Measurement.get(console, console.options.update_width(PIPE_WIDTH), together).maximum > console.width
            )
            apart = [(place,) for place in places] if is_narrow else [places]
            tables += [together] if apart == [places] else [_table(board, each, is_whole=is_whole) for each in apart]
    return tables


def _table(board: Board, places: tuple[int, ...], *, is_whole: bool) -> Table:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for place in places:
        table.add_column(_pane(board, board.panes[place]), overflow="fold")
    if len(places) > 1:
        table.add_column("", width=1)
    rows = [row for row in board.rows if any(_is_shown(row, board, place, is_whole=is_whole) for place in places)]
    for group, members in groupby(rows, lambda row: row.group):
        if group:
            table.add_row(Text(group, "bold"))
        for row in members:
            name = Padding(Text(row.name, "" if row.is_changed else "dim"), (0, 0, 0, 2 if group else 0))
            sign = [Text("≠" if row.is_apart else "", "bold red")] if len(places) > 1 else []
            table.add_row(name, *(_cell(row, board, place) for place in places), *sign)
    return table


def _is_shown(row: Row, board: Board, place: int, *, is_whole: bool) -> bool:
    cell = row.cells[place]
    if is_whole or board.panes[place] in board.came:
        return cell.after is not None or cell.is_changed or board.panes[place] in board.gone
    return cell.is_changed


def _pane(board: Board, pane: str) -> Text:
    from rich.text import Text

    word = NEW if pane in board.came else GONE if pane in board.absent else ""
    return Text.assemble(
        (visible(pane), "bold"), (f" {word}" if word else "", "yellow" if pane in board.gone else "dim")
    )


def _cell(row: Row, board: Board, place: int) -> Text:
    from rich.text import Text

    cell: Cell = row.cells[place]
    if board.panes[place] in board.gone and cell.before is not None:
        return Text(cell.before, "dim strike")
    if not cell.is_changed:
        return Text("–", "dim") if cell.after is None else Text(cell.after)
    before = "" if cell.before is None else f"{cell.before} → "
    after = (GONE, "yellow") if cell.after is None else (cell.after, "bold yellow")
    return Text.assemble((before, "dim"), after)


# -- the screen --------------------------------------------------------------------------------------------------------


def _screen(view: TraceView, number: int, console: Console, *, is_whole: bool) -> RenderableType:
    """Title, the steps around ``number`` on the left and that step on the right, the keys at the bottom."""
    from rich.console import Console, Group
    from rich.layout import Layout
    from rich.text import Text

    trace, room = view.trace, console.height - 3
    left = min(LIST_WIDTH, console.width // 3)
    right = Console(width=console.width - left - 2, height=room)
    parts = _step(view, number, right, is_whole=is_whole)
    if len(right.render_lines(Group(*parts))) > room:
        parts = _step(view, number, right, is_whole=False)
    layout, middle = Layout(), Layout()
    middle.split_row(Layout(_list(trace, number, room), size=left), Layout(Text(" "), size=2), Layout(Group(*parts)))
    layout.split_column(
        Layout(_title(trace), size=1),
        middle,
        Layout(Text(f"\n{_KEYS}", "dim", no_wrap=True, overflow="ellipsis"), size=2),
    )
    return layout


def _list(trace: Trace, number: int, room: int) -> Text:
    from rich.text import Text

    last = len(trace.steps) - 1
    first = max(0, min(number - room // 2, last + 1 - room))
    lines = Text(no_wrap=True, overflow="ellipsis")
    for each in range(first, min(first + room, last + 1)):
        mark = "✗" if trace.broken and each == last else "╌" if trace.steps[each].is_crash else " "
        style = "reverse" if each == number else "red" if mark != " " else ""
        lines.append(f"{mark}{each:>3} {visible(trace.label(each))}\n", style)
    return lines
