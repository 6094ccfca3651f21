"""A scale run as a whole: a process that works is started, watched, killed in the middle and started again; then every
input is counted in the store.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Final, final

import msgspec
from attrs import asdict, define, evolve, field, frozen

from ..spec.errors import HoldstateError
from ..stores.lmdb_store import LmdbStore
from .scale_checks import Broken, Promise, broken_promises
from .scale_plan import Plan
from .scale_worker import STORE

_WORKER: Final = "holdstate.tools.scale_worker"
MOST_TOLD: Final = 100
"""Broken promises that are kept; one bug can break as many as there are inputs."""


@final
class ScaleWorkerFailed(HoldstateError):
    """The working process ended without being killed, and without being done. What it said is on stderr."""

    def __init__(self, lives: int, code: int) -> None:
        self.lives = lives
        self.code = code
        super().__init__(f"the working process ended with exit code {code} after {lives} lives; see what it said above")


@final
@frozen
class Sample:
    """The store and the process after ``lives``: ``seconds`` of work, without the time from a kill to the restart."""

    lives: int
    seconds: float
    file_bytes: int
    used_bytes: int
    program_bytes: int
    mapped_bytes: int
    active: int
    ended: int
    commits: int
    processor_seconds: float
    rate: float = 0.0
    """Lives a second since the sample before."""
    processor_rate: float = 0.0
    """Lives for each second that the process had of the processor, since the sample before."""


@final
@frozen
class Pruning:
    """Retention at work, from ``lives`` to ``until``: what went, in how many commits."""

    lives: int
    until: int
    seconds: float
    inputs: int
    receipts: int
    blobs: int
    commits: int


@final
@frozen
class Recovery:
    """After the kill: seconds from the start of the next process until it ran, had opened the store, had ended its
    first input, and had ended all ``left`` inputs that were active (None where there were none).
    """

    lives: int
    left: int
    started: float
    opened: float
    first: float
    recovered: float | None


@final
@define
class Report:
    """What a scale run saw."""

    plan: Plan
    samples: list[Sample] = field(factory=list)
    prunings: list[Pruning] = field(factory=list)
    recovery: Recovery | None = None
    check_seconds: float = 0.0
    broken: list[Broken] = field(factory=list)

    @property
    def lives(self) -> int:
        """Lives by the last sample."""
        return self.samples[-1].lives if self.samples else 0

    @property
    def working_seconds(self) -> float:
        """Seconds of work by the last sample, without kill, restart and checks."""
        return self.samples[-1].seconds if self.samples else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@final
class _Life:
    """One working process, from its start to its end or its kill; what it tells goes into ``report``."""

    def __init__(self, report: Report, tell: Callable[[Sample, int], None]) -> None:
        self._report = report
        self._tell = tell
        self._times: dict[str, float] = {}
        self._left = 0
        self._processor = 0.0
        self._born = perf_counter()
        self._first_lives, self._first_seconds = report.lives, report.working_seconds

    def live(self, directory: Path, kill_at: int | None) -> None:
        """Until it is done or something is broken, or until it told of ``kill_at`` lives and was killed."""
        plan = msgspec.json.encode(self._report.plan).decode()
        with subprocess.Popen((sys.executable, "-m", _WORKER, directory, plan), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None, "it is a pipe"
            is_done = False
            try:
                for line in process.stdout:
                    is_done = self._hear(msgspec.json.decode(line))
                    if is_done or self._report.broken or (kill_at is not None and self._report.lives >= kill_at):
                        break
            finally:
                if not is_done and process.poll() is None:
                    process.kill()
        if not is_done and process.returncode != -signal.SIGKILL:
            raise ScaleWorkerFailed(self._report.lives, process.returncode)
        self._note_recovery()

    def _hear(self, told: dict[str, Any]) -> bool:
        """Whether it was the last word."""
        what, report = told.pop("what"), self._report
        match what:
            case "sample":
                self._take(Sample(**told))
            case "pruned":
                report.prunings.append(Pruning(**told))
            case "broken":
                report.broken.append(Broken(Promise.LOST, **told))
            case _:
                self._times[what] = perf_counter() - self._born
                self._left = told.get("left", self._left)
        return bool(what == "done")

    def _take(self, sample: Sample) -> None:
        """Work out the rate since the sample before, or since the process began; add the time before the kill."""
        report = self._report
        lives = sample.lives - report.lives
        processor, self._processor = sample.processor_seconds - self._processor, sample.processor_seconds
        sample = evolve(sample, seconds=sample.seconds + self._first_seconds)
        rate, processor_rate = _rate(lives, sample.seconds - report.working_seconds), _rate(lives, processor)
        report.samples.append(evolve(sample, rate=rate, processor_rate=processor_rate))
        self._tell(report.samples[-1], len(report.samples))

    def _note_recovery(self) -> None:
        times = self._times
        if self._first_lives and "first" in times:
            recovered = times.get("recovered")
            self._report.recovery = Recovery(
                self._first_lives, self._left, times["started"], times["opened"], times["first"], recovered
            )


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


def scale(directory: Path, plan: Plan, kill_at: float, tell: Callable[[Sample, int], None]) -> Report:
    """Work ``plan`` off in ``directory``, which must be empty: kill, go on, count. ``kill_at`` is a share of the
    inputs; 0 kills nobody. ``tell`` hears of each sample and its number. Raises ScaleWorkerFailed.
    """
    report = Report(plan)
    for until in [round(plan.inputs * kill_at), None] if kill_at else [None]:
        if not report.broken:
            _Life(report, tell).live(directory, until)
    started = perf_counter()
    with LmdbStore.open(directory / STORE, read_only=True) as store:
        report.broken += islice(broken_promises(store, plan), MOST_TOLD)
    report.check_seconds = perf_counter() - started
    return report
