"""A kill, and an error, at each system call that writes: strace ends the worker there, or lets the call fail.

After a kill the store has to hold every acknowledged call. After an error the worker opens the store again, as a
service would, and goes on; what the call that failed left is unknown unless its error says that it was not applied.
Where the error lasts, the worker ends once it cannot open the store, and a process without the error takes over.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final, final

import msgspec
from attrs import define, field, frozen

from . import crash_report as outcomes
from .crash_checker import STORE
from .crash_pool import Answer, Pool
from .crash_power import WORKER, problem_of
from .crash_report import CrashReport
from .crash_trace import TraceFailed, record, writing_calls
from .crash_worker import LAST, STORE_FAILED

SCRIPTS: Final = (
    "accept,begin,end,accept,begin,end,blob,accept,begin,reopen,sweep,cancel,retire,begin,end,prune,reset",
    f"accept,begin,end,{LAST}",
)
"""Of the second one only the last step is disturbed; what it leaves is audited."""
KILL: Final = "kill"
SHORT: Final = "short"
"""A write that says it wrote one byte, and wrote none."""
ERRORS: Final = ("EIO", "ENOSPC", "EROFS", "EINTR", SHORT)
PASSING: Final = "EINTR"
"""Never lasts: LMDB tries again for as long as it is interrupted."""
_SAYING: Final = "write"
_TIMEOUT_SECONDS: Final = 120


@final
@frozen
class _Case:
    """``fault`` at the ``number``-th call of ``call``, and at all later ones where it ``lasts``."""

    fault: str
    call: str
    number: int
    command: str
    steps: str
    lasts: bool = False

    @property
    def injection(self) -> str:
        """As strace's option has it."""
        what = {KILL: "signal=KILL", SHORT: "retval=1"}.get(self.fault, f"error={self.fault}")
        return f"inject={self.call}:{what}:when={self.number}{'+' if self.lasts else ''}"

    @property
    def point(self) -> str:
        """Its row in the matrix."""
        return f"{self.fault} at {self.call}{' and on' if self.lasts else ''}"


@final
@frozen
class _Ended:
    """How a worker ended."""

    code: int
    said: bytes
    complaint: str

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it; strace then ends the same way."""
        return self.code in {-signal.SIGKILL, 128 + signal.SIGKILL}


@final
@define
class _Told:
    """What a worker said, as histories that the store may have."""

    calls: list[dict[str, Any]] = field(factory=list)
    answers: dict[int, object] = field(factory=dict)
    blobs: list[str] = field(factory=list)
    steps: list[str] = field(factory=list)
    doubtful: dict[int, tuple[bool, ...]] = field(factory=dict)
    """Calls of steps that failed, which were not acknowledged, and whether they may have landed."""
    first: int = 0
    has_failed: bool = False

    def hear(self, said: dict[str, Any]) -> None:
        """One line."""
        if "step" in said:
            self.steps.append(said["op"])
            self.first = len(self.calls)
            if said["op"] == "sweep":
                self.blobs.clear()
        elif "call" in said:
            self.calls.append(said["call"])
        elif "ack" in said:
            self.answers[said["ack"]] = said["answer"]
        elif "kept" in said:
            self.blobs.append(said["kept"])
        elif "failed" in said:
            self.has_failed = True
            failed = [number for number in range(self.first, len(self.calls)) if number not in self.answers]
            is_known = said["applied"] is False and len(failed) == 1
            self.doubtful |= dict.fromkeys(failed, (False,) if is_known else (False, True))

    def histories(self) -> Iterator[tuple[list[dict[str, Any]], list[tuple[int, object]]]]:
        """With and without each call that is in doubt; calls are numbered anew."""
        for landed in product(*self.doubtful.values()):
            dropped = {number for number, is_there in zip(self.doubtful, landed, strict=True) if not is_there}
            kept = [number for number in range(len(self.calls)) if number not in dropped]
            calls = [{**self.calls[number], "n": place} for place, number in enumerate(kept)]
            answers = [(place, self.answers[number]) for place, number in enumerate(kept) if number in self.answers]
            yield calls, answers


@final
class SyscallCampaign:
    """At most ``cases`` of all calls and faults (None: all of them), drawn from ``seed``; ``folder`` is scratch.

    The faults are a kill and each of ``errors``; with ``lasting`` the errors alone, from the call on for as long as the
    process lives.
    """

    def __init__(
        self,
        folder: Path,
        cases: int | None,
        seed: int,
        *,
        errors: Sequence[str] = ERRORS,
        lasting: bool = False,
        control: str = "",
        processes: int = 1,
    ) -> None:
        self._folder = folder
        self._cases = cases
        self._errors = [each for each in errors if not (lasting and each == PASSING)]
        self._lasting = lasting
        self._met = 0
        self._control = control
        self._processes = processes
        self.report = CrashReport("syscall", seed, control)

    def run(self, tell: Callable[[CrashReport], None] | None = None) -> CrashReport:
        """Count the calls in a run without faults, then run once for each. Raises TraceFailed without strace."""
        cases = [case for place, steps in enumerate(SCRIPTS) for case in self._count(place, steps)]
        chosen = cases
        if self._cases is not None and self._cases < len(cases):
            chosen = Random(self.report.seed).sample(cases, self._cases)
        self.report.facts.update(
            {
                "system calls": len({(case.steps, case.call, case.number) for case in cases}),
                "kills and errors there are": len(cases),
                "errors that the worker met": 0,
            }
        )
        with Pool(self._folder, 1) as pool, ThreadPoolExecutor(self._processes) as workers:
            folders = [self._folder / f"case-{place}" for place in range(len(chosen))]
            for case, folder, ended in zip(chosen, folders, workers.map(self._play, chosen, folders), strict=True):
                self._check(pool, case, folder, ended)
        if tell is not None:
            tell(self.report)
        return self.report

    def _count(self, place: int, steps: str) -> list[_Case]:
        folder, trace = self._folder / f"counted-{place}", self._folder / "trace"
        folder.mkdir()
        record(WORKER, self._arguments(folder, steps), trace)
        found = [each for each in writing_calls(trace) if LAST not in steps or each[2] == LAST]
        trace.unlink()
        kills = [] if self._lasting else [_Case(KILL, *each, steps) for each in found]
        failing = [each for each in found if each[0] != _SAYING]
        return kills + [
            _Case(error, *each, steps, self._lasting)
            for error in self._errors
            for each in failing
            if error != SHORT or "write" in each[0]
        ]

    def _arguments(self, folder: Path, steps: str) -> list[str]:
        return [str(folder / STORE), str(self.report.seed), steps, self._control]

    def _play(self, case: _Case, folder: Path) -> _Ended:
        folder.mkdir()
        command = [
            "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={case.call}", "-e", case.injection,
            sys.executable, "-m", WORKER, *self._arguments(folder, case.steps),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_SECONDS, check=False)
        return _Ended(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def _check(self, pool: Pool, case: _Case, folder: Path, ended: _Ended) -> None:
        told = _Told()
        *lines, _ = ended.said.split(b"\n")
        for line in lines:
            told.hear(msgspec.json.decode(line))
        if ended.was_killed != (case.fault == KILL):
            raise TraceFailed(f"{case.injection} ended the worker with {ended.code}: {ended.complaint[-300:]}")
        if case.fault != KILL and (told.has_failed or ended.code):
            self._met += 1
            self.report.facts["errors that the worker met"] = self._met
        # A service that cannot even begin says so and ends; later it has to go on, unless the error lasts.
        may_end = not told.steps or (case.lasts and ended.code == STORE_FAILED)
        if ended.code and case.fault != KILL and not may_end:
            why = f"{case.injection}, seed {self.report.seed}: it did not go on: {ended.complaint.strip()[-200:]}"
            self.report.count(case.point, case.command, outcomes.REFUSED, why)
            return
        histories = [] if LAST in told.steps else list(told.histories())
        job = {"path": str(folder / STORE), "histories": histories, "blobs": told.blobs}
        pool.submit(job, self._judge_of(case, folder))
        pool.drain()

    def _judge_of(self, case: _Case, folder: Path) -> Callable[[Answer], None]:
        def receive(answer: Answer) -> None:
            outcome, why = problem_of(answer) or (outcomes.OK, "")
            finding = f"{why} ({case.injection}, seed {self.report.seed})" if why else ""
            self.report.count(case.point, case.command, outcome, finding)
            shutil.rmtree(folder, ignore_errors=True)

        return receive
