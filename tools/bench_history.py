"""Earlier runs of the bench: a file of JSON lines, and what a run says beside the last and the best of them.

Ratios alone are kept and held against each other, never times: those depend on the hour.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, Self, final

import msgspec
from attrs import frozen

from ..spec.errors import HoldstateError
from .bench_output import Compared, Outcome, versions
from .bench_setting import Line

KIND: Final = "holdstate bench"
FORMAT: Final = 1
SLACK: Final = 0.05
"""Of the earlier ratio: that much may two runs of the same differ, beside what their spreads say."""


@final
class HistoryDamaged(HoldstateError, ValueError):
    """A line of a file of earlier runs is none that ``--save`` wrote."""

    def __init__(self, path: Path, number: int, problem: str) -> None:
        self.path = path
        self.number = number
        self.problem = problem
        super().__init__(f"{path}, line {number}: {problem}; remove the line, or name another file")


@final
@frozen
class Measured:
    """One ratio of an earlier run; ``name``, ``what`` and ``reads`` say which."""

    name: str
    what: str
    reads: str
    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, line: Line) -> Self:
        """What is kept of a line."""
        return cls(line.name, line.what, line.reads, line.ratio, line.low, line.high)

    @property
    def key(self) -> tuple[str, str, str]:
        """The same in every run that measures it."""
        return self.name, self.what, self.reads


@final
@frozen
class Entry:
    """One run. ``commit`` is that of the source tree, where it is one."""

    kind: Literal["holdstate bench"]
    format: int
    date: str
    version: str
    python: str
    machine: str
    commit: str | None
    size: str
    store: str
    rows: tuple[Measured, ...]

    def is_like(self, other: Entry) -> bool:
        """Whether the ratios of both may be held against each other: same machine, Python, size and store."""
        return (self.machine, _minor(self.python), self.size, self.store) == (
            other.machine,
            _minor(other.python),
            other.size,
            other.store,
        )


def entry_of(outcome: Outcome) -> Entry:
    """This run as it is kept: without what is a time."""
    told = versions()
    return Entry(
        KIND,
        FORMAT,
        datetime.now(UTC).isoformat(timespec="seconds"),
        told["version"],
        told["python"],
        f"{told['system']} {told['machine']}, {os.cpu_count()} processors, {_processor()}",
        _commit(),
        outcome.size,
        outcome.bench.store.value,
        tuple(Measured.of(line) for line in outcome.lines if not line.is_timed),
    )


def append(path: Path, entry: Entry) -> None:
    """Append one line. What is there already has to be whole."""
    read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")


def read(path: Path) -> list[Entry]:
    """All runs of a file in their order; none where there is no file. Raises HistoryDamaged."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    if lines.pop():
        raise HistoryDamaged(path, len(lines) + 1, "it does not end, so something of it may be missing")
    return [_entry(path, number, line) for number, line in enumerate(lines, 1)]


def _entry(path: Path, number: int, line: bytes) -> Entry:
    try:
        made = msgspec.json.decode(line, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HistoryDamaged(path, number, f"it is no run of holdstate bench ({error})") from error
    if made.format != FORMAT:
        raise HistoryDamaged(path, number, f"it has format {made.format}, this version reads {FORMAT}")
    return made


def compared(entry: Entry, lines: Iterable[Line], earlier: Sequence[Entry]) -> dict[tuple[str, str, str], Compared]:
    """Each ratio that a comparable run has, too, by the key of its line."""
    alike = [each for each in earlier if each.is_like(entry)]
    found = {}
    for line in lines:
        known = [row for each in alike for row in each.rows if row.key == line.key]
        if not known:
            continue
        ratios = [row.ratio for row in known]
        best = max(ratios) if line.more_is_better else min(ratios)
        found[line.key] = Compared(line, ratios[-1], best, _slack(line, known[-1]))
    return found


def _slack(line: Line, last: Measured) -> float:
    """Nothing for what is exact. Else a part of the ratio, and half of what both spreads are on average."""
    if line.is_exact:
        return 0.0
    return SLACK * last.ratio + (line.high - line.low + last.high - last.low) / 4


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _processor(account: Path = Path("/proc/cpuinfo")) -> str:
    """The model of the processor, as far as the system tells."""
    try:
        lines = account.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def _commit() -> str | None:
    """The commit of the source tree that this file is part of; None where it is installed from elsewhere."""
    place = Path(__file__).resolve()

    def git(*words: str) -> str:
        command = ["git", "-C", str(place.parent), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        # A package that is installed below somebody's own repository is not part of it.
        git("ls-files", "--error-unmatch", place.name)
        return git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None
