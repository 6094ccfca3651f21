"""A run of the bench as one document, as a table for a terminal, and as one in Markdown."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from typing import Any, Final, final

import lmdb
from attrs import asdict, field, frozen

from .bench_peer_rows import PeerLine
from .bench_setting import LEAST_ROUNDS, Bench, Line, RowLeftOut, StoreKind
from .output import write_table

COLUMNS: Final = ("row", "what", "ours", "beside it", "ratio", "least to greatest", "counts", "aim", "met", "next")
EARLIER: Final = ("last", "best", "than last")
PEER_COLUMNS: Final = (
    "work",
    "who",
    "takes",
    "times raw",
    "least to greatest",
    "times ours",
    "syncs each",
    "durability",
)
_NUMBERS: Final = frozenset(
    {"ours", "beside it", "ratio", "least to greatest", "aim", "next", "last", "best"}
    | {"takes", "times raw", "times ours", "syncs each"}
)
_WHOLE: Final = 100.0
_TENTHS: Final = 10.0


@final
@frozen
class Compared:
    """One ratio of this run beside the last and the best of earlier ones. ``slack`` is by how much it may be worse
    than the last.
    """

    line: Line
    last: float
    best: float
    slack: float

    @property
    def is_worse(self) -> bool:
        """Beyond the slack."""
        worse = self.last - self.line.ratio if self.line.more_is_better else self.line.ratio - self.last
        return worse > self.slack


@final
@frozen
class Outcome:
    """What a run of the bench found, and what it could not measure."""

    size: str
    bench: Bench
    lines: list[Line] = field(factory=list)
    left_out: list[RowLeftOut] = field(factory=list)
    peers: list[PeerLine] = field(factory=list)
    beside: dict[tuple[str, str, str], Compared] = field(factory=dict)
    """What earlier runs say, by the key of a line; empty where none was asked for."""

    @property
    def head(self) -> str:
        """On what, and how often, in one sentence."""
        told = versions()
        rounds = (
            f"{self.bench.size.rounds} rounds"
            if self.bench.seconds is None
            else f"{self.bench.seconds:g} s for each row, {LEAST_ROUNDS} rounds at least"
        )
        memory = (
            "" if self.bench.store is StoreKind.LMDB else "; the store is in memory and keeps nothing, so no aim holds"
        )
        return (
            f"holdstate {told['version']}, Python {told['python']}, LMDB {told['lmdb']}, {told['system']} "
            f"{told['machine']}; size {self.size}, {rounds}{memory}."
        )

    def document(self) -> dict[str, Any]:
        """The whole as plain JSON values."""
        return {
            "size": self.size,
            "rounds": self.bench.size.rounds if self.bench.seconds is None else None,
            "seconds": self.bench.seconds,
            "store": self.bench.store.value,
            **versions(),
            "rows": [{**asdict(line), "met": line.met, **self._earlier(line)} for line in self.lines],
            "peers": [asdict(each) for each in self.peers],
            "left_out": [{"row": each.row, "why": each.why} for each in self.left_out],
        }

    def _earlier(self, line: Line) -> dict[str, Any]:
        found = self.beside.get(line.key)
        if found is None:
            return {}
        return {"last": found.last, "best": found.best, "slack": found.slack, "worse": found.is_worse}


def versions() -> dict[str, str]:
    """Of what was measured, and of what it stands on."""
    from .. import __version__

    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "lmdb": ".".join(map(str, lmdb.version(subpatch=False))),
    }


def show(outcome: Outcome) -> None:
    """Tables on stdout."""
    if outcome.lines:
        write_table(*_table(outcome))
    if outcome.peers:
        write_table(PEER_COLUMNS, map(peer_cells, outcome.peers))


def markdown(outcome: Outcome) -> str:
    """The same with what it was measured on, and what was left out."""
    missing = "".join(f"- left out: *{each.row}*, for {each.why}\n" for each in outcome.left_out)
    parts = [
        f"{outcome.head}\n",
        table_in_markdown(*_table(outcome)) if outcome.lines else "",
        table_in_markdown(PEER_COLUMNS, map(peer_cells, outcome.peers)) if outcome.peers else "",
        missing,
    ]
    return "\n".join(filter(None, parts))


def _table(outcome: Outcome) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The columns and the rows; with what earlier runs say, where that was asked for and is known."""
    if not outcome.beside:
        return COLUMNS, [cells(line) for line in outcome.lines]
    rows = [(*cells(line), *_beside(outcome.beside.get(line.key))) for line in outcome.lines]
    return (*COLUMNS, *EARLIER), rows


def _beside(found: Compared | None) -> tuple[str, ...]:
    if found is None:
        return ("", "", "")
    return figure(found.last), figure(found.best), "worse" if found.is_worse else "no worse"


def table_in_markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells as they are; columns of numbers to the right."""
    rules = ["---:" if column in _NUMBERS else "---" for column in columns]
    lines = [columns, rules, *rows]
    return "".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |\n" for line in lines)


def peer_cells(line: PeerLine) -> tuple[str, ...]:
    """A library at one work as a row of ``PEER_COLUMNS``."""
    return (
        line.work,
        f"{line.who} {line.version}".strip(),
        f"{figure(line.microseconds)} µs",
        figure(line.ratio),
        f"{figure(line.low)} to {figure(line.high)}",
        figure(line.of_ours),
        "not counted" if line.syncs is None else figure(line.syncs),
        line.durability,
    )


def cells(line: Line) -> tuple[str, ...]:
    """A line of the result as a row of ``COLUMNS``."""
    sign = "≥" if line.more_is_better else "≤"
    return (
        line.name,
        line.what,
        f"{figure(line.ours)} {line.unit}",
        "" if line.raw is None else f"{figure(line.raw)} {line.unit}",
        figure(line.ratio),
        f"{figure(line.low)} to {figure(line.high)}",
        line.reads,
        "" if line.aim is None else f"{sign} {line.aim:,g}",
        "" if line.met is None else ("yes" if line.met else "no"),
        "" if line.goal is None else f"{sign} {line.goal:,g}",
    )


def figure(value: float) -> str:
    """Three digits, or all that are before the point: ``1.59``, ``23.4``, ``12,345``."""
    if abs(value) >= _WHOLE:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _TENTHS else f"{value:.2f}"
