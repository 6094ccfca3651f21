"""Kill a working store again and again, and look each time whether it holds exactly what was acknowledged.

Children (``campaign_worker``) work on one LMDB store and tell each call before it is made and after its await returned.
The parent ends each with SIGKILL after a drawn number of acknowledgements and a drawn fraction of a millisecond; the
next child checks what is there and goes on with the same store, so damage would add up.

    python -m holdstate.tools.campaign --kills 300 --seed 1
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from time import perf_counter, perf_counter_ns
from typing import Any, Final, final

import msgspec
from attrs import asdict, define, field

from ..spec.errors import HoldstateError
from .campaign_nursery import Nursery

LEDGER: Final = "ledger.jsonl"
STORE: Final = "store"
MOST_ACKS: Final = 40
LONGEST_DELAY_NS: Final = 1_000_000
_CHUNK: Final = 65536


@final
class WorkerFailed(HoldstateError):
    """A child of the campaign ended by itself; what it wrote on stderr says why."""

    def __init__(self, kill: int, code: int | None) -> None:
        self.kill = kill
        self.code = code
        super().__init__(f"the worker of kill {kill} ended by itself with exit code {code}; see its message above")


@final
@define
class Report:
    """Counts of a campaign. ``acknowledged`` counts calls whose await returned, ``unacknowledged`` those that were in
    flight at a kill and had landed, ``dropped`` those in flight that had not.
    """

    seed: int
    kills: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0
    dropped: int = 0
    inputs: int = 0
    consumed: int = 0
    lost: int = 0
    consumed_twice: int = 0
    partial_commits: int = 0
    wrong_answers: int = 0
    verify_findings: int = 0
    seconds: float = 0.0
    operations: dict[str, int] = field(factory=dict)
    findings: list[str] = field(factory=list)
    """Each begins with its class and the number of the kill after which it was found."""

    def note(self, kill: int, findings: list[str]) -> None:
        """Count ``findings`` by their class."""
        for each in findings:
            what = each.partition(":")[0]
            self.lost += what == "lost"
            self.consumed_twice += what == "consumed twice"
            self.partial_commits += what == "partial commit"
            self.wrong_answers += what == "answer"
            self.verify_findings += what == "verify"
            self.findings.append(f"kill {kill}, seed {self.seed}: {each}")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@final
class Worker:
    """One child process, and the lines that it has written."""

    def __init__(self, nursery: Nursery, arguments: list[str]) -> None:
        self._nursery = nursery
        self._pid, self._stdin, self._stdout = nursery.bear(arguments)
        self._lines: list[bytes] = []
        self._rest = b""
        self.code: int | None = None
        """Its exit code, once it was waited for."""

    def start(self, wanted: str) -> None:
        """Let it go to work (``work``), or only look (``look``)."""
        with suppress(BrokenPipeError):  # it is gone: its missing answer will tell
            os.write(self._stdin, f"{wanted}\n".encode())

    def read(self) -> list[bytes]:
        """Some whole lines; none when it ended. A last line that was cut off is dropped."""
        while not self._lines:
            chunk = os.read(self._stdout, _CHUNK)
            if not chunk:
                return []
            *self._lines, self._rest = (self._rest + chunk).split(b"\n")
        lines, self._lines = self._lines, []
        return lines

    def read_until(self, wanted: str) -> Any:
        """The value of the next line named ``wanted``; None when it ended before. Later lines are left to be read."""
        while lines := self.read():
            for number, line in enumerate(lines):
                entry = msgspec.json.decode(line)
                if wanted in entry:
                    self._lines = lines[number + 1 :]
                    return entry[wanted]
        return None

    def kill(self) -> list[bytes]:
        """SIGKILL, then what is left in the pipe. Nothing where it was waited for before."""
        if self.code is not None:
            return []
        os.kill(self._pid, signal.SIGKILL)
        left: list[bytes] = []
        while lines := self.read():
            left += lines
        self.wait()
        return left

    def wait(self) -> None:
        """Wait for its end and close the pipes."""
        self.code = self._nursery.wait(self._pid)
        os.close(self._stdin)
        os.close(self._stdout)


@final
class Campaign:
    """``kills`` kills on the store in ``directory`` (which must be empty), drawn from ``seed``."""

    def __init__(self, directory: Path, kills: int, seed: int, sabotage: str = "") -> None:
        self._ledger = directory / LEDGER
        self._store = directory / STORE
        self._kills = kills
        self._sabotage = sabotage
        self._operations: Counter[str] = Counter()
        self.report = Report(seed)

    def run(self, tell: Callable[[Report], None] | None = None) -> Report:
        """Kill until ``kills`` is reached or something is found. ``tell`` hears of each kill."""
        started = perf_counter()
        self._ledger.touch()
        with Nursery() as nursery:
            for kill in range(self._kills):
                with self._life(nursery, kill) as worker:
                    if self._check(worker, kill, "work"):
                        break
                    self._work_and_kill(worker, kill)
                self.report.kills += 1
                if tell is not None:
                    tell(self.report)
            else:
                with self._life(nursery, self._kills) as worker:
                    self._check(worker, self._kills, "look")
        self.report.operations = dict(sorted(self._operations.items()))
        self.report.seconds = perf_counter() - started
        return self.report

    @contextmanager
    def _life(self, nursery: Nursery, number: int) -> Iterator[Worker]:
        seed = f"{self.report.seed}/{number}"
        worker = Worker(nursery, [str(self._store), str(self._ledger), seed, self._sabotage])
        try:
            yield worker
        finally:
            worker.kill()

    def _check(self, worker: Worker, kill: int, wanted: str) -> bool:
        """Let ``worker`` look at what the last kill left; whether it found anything."""
        worker.start(wanted)
        verdict = worker.read_until("checked")
        if verdict is None:
            worker.wait()
            raise WorkerFailed(kill, worker.code)
        self._append([msgspec.json.encode({"landed": verdict["landed"]})])
        report = self.report
        report.unacknowledged += verdict["unacknowledged"]
        report.dropped += verdict["pending"] - verdict["unacknowledged"]
        report.inputs, report.consumed = verdict["inputs"], verdict["consumed"]
        report.note(kill, verdict["findings"])
        return bool(verdict["findings"])

    def _work_and_kill(self, worker: Worker, kill: int) -> None:
        chance = Random(f"{self.report.seed}/{kill}/kill")
        wanted, delay = chance.randint(0, MOST_ACKS), chance.randint(0, LONGEST_DELAY_NS)
        lines: list[bytes] = []
        acknowledged = 0
        while acknowledged <= wanted:
            some = worker.read()
            if not some:
                worker.wait()
                raise WorkerFailed(kill, worker.code)
            lines += some
            acknowledged = sum(b'"ack"' in line for line in lines)
        _spin(delay)
        lines += worker.kill()
        self._append(lines)
        self._count(lines)

    def _count(self, lines: list[bytes]) -> None:
        calls: dict[int, str] = {}
        for line in lines:
            entry = msgspec.json.decode(line)
            if "call" in entry:
                calls[entry["call"]["n"]] = entry["call"]["op"]
            elif entry.get("ack") in calls:
                self._operations[calls[entry["ack"]]] += 1
                self.report.acknowledged += 1

    def _append(self, lines: list[bytes]) -> None:
        with self._ledger.open("ab") as ledger:
            ledger.writelines(line + b"\n" for line in lines)


def _spin(nanoseconds: int) -> None:
    """Wait for less than the shortest sleep there is."""
    end = perf_counter_ns() + nanoseconds
    while perf_counter_ns() < end:
        pass


@contextmanager
def campaign_directory(path: Path | None, prefix: str = "holdstate-kill-") -> Iterator[Path]:
    """A new directory under ``path`` (or among the temporary ones). It is removed unless its store was found bad."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=path))
    kept: list[bool] = []
    try:
        yield directory
        kept.append((directory / "keep").exists())
    finally:
        if not any(kept):
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    from .cli import cli

    cli.main(["test", "kill", *sys.argv[1:]], prog_name="holdstate")
