"""What a trace shows at each step, ready to be drawn: panes that have values in common side by side, row by row, with
what changed. The page, the terminal and the text all draw this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, TypeAlias, final

from attrs import frozen

from .trace import Panes, Trace
from .trace_itf import Plain

Path: TypeAlias = tuple[str, ...]
"""Where a value is inside a pane: the variable, then the keys and places inside it."""

NEW: Final = "new"
GONE: Final = "gone"

_WORDS: Final = frozenset({"", "none", "true", "false"})
_MARKS: Final = frozenset(",[]{}\"'")


@final
@frozen
class Cell:
    """A value before and after a step, None where it is not there. ``is_changed``: it became different, came or went
    away, and not with its whole pane.
    """

    before: str | None
    after: str | None
    is_changed: bool

    def text(self) -> str:
        """Both, where they are different: ``cart → paid``."""
        if not self.is_changed or self.before is None:
            return str(self.after)
        return f"{self.before} → {GONE if self.after is None else self.after}"


@final
@frozen
class Row:
    """One value in every pane of a board. ``group`` is what it is part of, empty for a variable by itself."""

    group: str
    name: str
    cells: tuple[Cell, ...]

    @property
    def path(self) -> str:
        """Group and name with dots between their parts."""
        return f"{_dotted(self.group)}.{self.name}" if self.group else self.name

    @property
    def is_changed(self) -> bool:
        """In one pane at least."""
        return any(cell.is_changed for cell in self.cells)

    @property
    def is_apart(self) -> bool:
        """Panes that both have it have it differently now."""
        return len({cell.after for cell in self.cells if cell.after is not None}) > 1


@final
@frozen
class Board:
    """Panes side by side, with every value that one of them has before or after the step. ``came`` and ``gone`` are the
    panes that are there for the first time, or not any more; ``absent`` those that are not there now.
    """

    panes: tuple[str, ...]
    rows: tuple[Row, ...]
    came: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()

    @property
    def is_changed(self) -> bool:
        """The step changed something here."""
        return bool(self.came or self.gone or self.changed())

    def changed(self) -> tuple[Row, ...]:
        """The rows that the step changed."""
        return tuple(row for row in self.rows if row.is_changed)

    def summary(self) -> tuple[str, ...]:
        """What the step changed, in few words and the most telling first: panes that came or went, values that became
        others, groups that came or went, the rest. What panes share is told once.
        """
        told: tuple[list[str], ...] = ([], [], [], [])
        told[0].extend(
            f"{visible(pane)} {word}" for word, panes in self._comings() for pane in self.panes if pane in panes
        )
        for group, members in groupby(self.rows, lambda row: row.group):
            rows = list(members)
            for place in range(len(self.panes)):
                cells = [(row, row.cells[place]) for row in rows if row.cells[place].is_changed]
                word = _coming(group, [row.cells[place] for row in rows]) if cells else ""
                if word:
                    told[2].append(f"{_dotted(group)} {word}")
                    continue
                for row, cell in cells:
                    is_other = cell.before is not None and cell.after is not None
                    told[1 if is_other else 3].append(f"{row.path} {cell.text()}")
        return tuple(dict.fromkeys(each for part in told for each in part))

    def _comings(self) -> tuple[tuple[str, frozenset[str]], ...]:
        return (NEW, self.came), (GONE, self.gone)


def _coming(group: str, cells: Sequence[Cell]) -> str:
    """``new`` or ``gone`` for a group of which nothing was there before, or is there now."""
    if not group or len(cells) == 1:  # a single value is told by itself
        return ""
    if all(cell.before is None for cell in cells):
        return NEW
    return GONE if all(cell.after is None for cell in cells) else ""


def _dotted(group: str) -> str:
    return group.replace(" ", ".")


@final
class TraceView:
    """The boards of ``trace``. Panes that have a value in common anywhere in the trace are on one board; boards, panes
    and rows keep their order from step to step.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._steps = [leaves_of(step.panes) for step in trace.steps]
        self._boards = _boards(self._steps)
        self._order = path_order(self._steps)

    def boards(self, number: int) -> tuple[Board, ...]:
        """What step ``number`` shows."""
        after = self._steps[number]
        before = self._steps[number - 1] if number else after
        return tuple(board for panes in self._boards if (board := self._board(panes, before, after)).rows)

    def _board(self, panes: tuple[str, ...], before: Leaves, after: Leaves) -> Board:
        paths = {path for pane in panes for leaves in (before, after) for path in leaves.get(pane, {})}
        was, now = ({pane for pane in panes if leaves.get(pane)} for leaves in (before, after))
        rows = [
            Row(
                " ".join(visible(part) for part in path[:-1]),
                visible(path[-1]),
                tuple(
                    _cell(before.get(pane, {}).get(path), after.get(pane, {}).get(path), pane in was & now)
                    for pane in panes
                ),
            )
            for path in sorted(paths, key=self._order.__getitem__)
        ]
        return Board(panes, tuple(rows), frozenset(now - was), frozenset(was - now), frozenset({*panes} - now))


def _cell(before: str | None, after: str | None, is_there: bool) -> Cell:  # noqa: FBT001 - one caller
    return Cell(before, after, is_there and before != after)


Leaves: TypeAlias = dict[str, dict[Path, str]]
"""The values of each pane as texts, by where they are."""


def leaves_of(panes: Panes) -> Leaves:
    """Every value of ``panes``."""
    return {
        pane: {path: text for name, value in variables.items() for path, text in _leaves((name,), value)}
        for pane, variables in panes.items()
    }


def _leaves(path: Path, value: Plain) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves((*path, name), inner)
    elif not isinstance(value, str) and isinstance(value, Sequence) and any(isinstance(it, Mapping) for it in value):
        for place, inner in enumerate(value, 1):
            yield from _leaves((*path, str(place)), inner)
    else:
        yield path, value_text(value)


def _boards(steps: Sequence[Leaves]) -> tuple[tuple[str, ...], ...]:
    """The panes of each board, in the order in which they are first seen."""
    known: dict[str, set[Path]] = {}
    for leaves in steps:
        for pane, found in leaves.items():
            known.setdefault(pane, set()).update(found)
    boards: list[tuple[list[str], set[Path]]] = []
    for pane, paths in known.items():
        joined = [board for board in boards if board[1] & paths]
        merged = (
            [*(each for board in joined for each in board[0]), pane],
            paths.union(*(board[1] for board in joined)),
        )
        if joined:
            boards[boards.index(joined[0])] = merged
            boards = [board for board in boards if board is merged or board not in joined]
        else:
            boards.append(merged)
    return tuple(tuple(panes) for panes, _ in boards)


def path_order(steps: Sequence[Leaves]) -> dict[Path, tuple[bool, int, int, int]]:
    """Values by themselves, then variables, groups inside them, and values inside these, each by when it is first
    seen.
    """
    variables: dict[str, int] = {}
    groups: dict[Path, int] = {}
    order: dict[Path, tuple[bool, int, int, int]] = {}
    for leaves in steps:
        for found in leaves.values():
            for path in found:
                variable = variables.setdefault(path[0], len(variables))
                group = groups.setdefault(path[:-1], len(groups))
                order.setdefault(path, (len(path) > 1, variable, group, len(order)))
    return order


# -- texts -------------------------------------------------------------------------------------------------------------


def value_text(value: Plain) -> str:
    """A value for people. A text stands without quotation marks unless it could be taken for something else."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value) if _is_ambiguous(value) else visible(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_inner(name)}: {_inner(each)}' for name, each in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{', '.join(_inner(each) for each in value)}]"
    return str(value)


def _inner(value: Plain) -> str:
    return _quoted(value) if isinstance(value, str) and _MARKS & {*value} else value_text(value)


def _is_ambiguous(text: str) -> bool:
    if text in _WORDS or text != text.strip() or text[0] in _MARKS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quoted(text: str) -> str:
    return f'"{visible(text)}"'


def visible(text: str) -> str:
    r"""``text`` with an escape in place of every character that has no shape of its own, so that none of them can move
    the cursor of a terminal or turn the direction of a line.

    >>> visible("a\x1b[2J\u202eb")
    'a\\x1b[2J\\u202eb'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def visible_lines(text: str) -> str:
    """``text`` likewise, but for its line breaks."""
    return "\n".join(visible(line) for line in text.split("\n"))
