"""A run of the bench as one document, as a table for a terminal, and as one in Markdown."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any, Final, final

import lmdb
from attrs import asdict, field, frozen

from .bench_setting import LEAST_ROUNDS, Bench, Line, RowLeftOut, StoreKind
from .output import write_table

COLUMNS: Final = ("row", "what", "ours", "beside it", "ratio", "least to greatest", "counts", "aim", "met", "next")
_NUMBERS: Final = frozenset({"ours", "beside it", "ratio", "least to greatest", "aim", "next"})
_WHOLE: Final = 100.0
_TENTHS: Final = 10.0


@final
@frozen
class Outcome:
    """What a run of the bench found, and what it could not measure."""

    size: str
    bench: Bench
    lines: list[Line] = field(factory=list)
    left_out: list[RowLeftOut] = field(factory=list)

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
            "rows": [{**asdict(line), "met": line.met} for line in self.lines],
            "left_out": [{"row": each.row, "why": each.why} for each in self.left_out],
        }


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
    """A table on stdout."""
    write_table(COLUMNS, map(cells, outcome.lines))


def markdown(outcome: Outcome) -> str:
    """The same with what it was measured on, and what was left out."""
    missing = "".join(f"\nLeft out: *{each.row}*, for {each.why}.\n" for each in outcome.left_out)
    return f"{outcome.head}\n\n{table_in_markdown(COLUMNS, map(cells, outcome.lines))}{missing}"


def table_in_markdown(columns: Sequence[str], rows: Any) -> str:
    """Cells as they are; columns of numbers to the right."""
    rules = ("---:" if column in _NUMBERS else "---" for column in columns)
    lines = [columns, tuple(rules), *rows]
    return "".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |\n" for line in lines)


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
