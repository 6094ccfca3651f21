"""The conformance suite: real processes, killed by SIGKILL while they work, and several on one store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import IO, Final, cast, final

from ...spec.vocabulary import InputState
from .conformance_base import (
    Capability,
    ConformanceBase,
    Home,
    SuiteMisused,
    assert_session_is_that_of_the_receipts,
    assert_sound,
    run,
)
from .conformance_worker import ACCEPTED, COMPLETED, DONE, FENCED, OPENED
from .workload import Scribe, content_of, opened

MOST_LINES: Final = 25
LONGEST_SPIN: Final = 20_000
_WORKER: Final = "holdstate.tools.harness.conformance_worker"


@final
class Worker:
    """One process, and what it said."""

    def __init__(self, factory: str, location: Path, what: str) -> None:
        environment = {**os.environ, "HOLDSTATE_SUITE_PATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", _WORKER, factory, str(location), what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.lines: list[str] = []

    def read(self) -> str:
        """The next line; empty when the process ended. A line that was cut off is dropped."""
        line = cast("IO[bytes]", self._process.stdout).readline().decode()
        if not line.endswith("\n"):
            return ""
        self.lines.append(line.strip())
        return self.lines[-1]

    def read_all(self) -> list[str]:
        """Everything that it says until it ends."""
        while self.read():
            pass
        return self.lines

    def tell(self) -> None:
        """A word, for a process that holds."""
        pipe = cast("IO[bytes]", self._process.stdin)
        pipe.write(b"go on\n")
        pipe.flush()

    def kill(self) -> list[str]:
        """SIGKILL; returns everything it had said."""
        self._process.send_signal(signal.SIGKILL)
        said = self.read_all()
        self.close()
        return said

    def close(self) -> int:
        """Wait for its end; its exit code."""
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            cast("IO[bytes]", pipe).close()
        return code

    def facts(self, word: str) -> set[str]:
        """What followed ``word`` in its lines."""
        return {line.partition(" ")[2] for line in self.lines if line.startswith(f"{word} ")}


class ProcessesConformance(ConformanceBase):
    """Kills, an owner in another process, and two that resume at once."""

    def test_killed_process_loses_nothing_acknowledged(self, home: Home) -> None:
        """Processes work on one store and are killed, ``kills`` of them: what they were told is there, whole, and
        nothing is consumed twice (C1, C2, C19).
        """
        self.needs(Capability.PROCESSES, "SIGKILL")
        random = Random(self.seed)
        accepted: set[str] = set()
        completed: set[str] = set()
        home.store.close()
        for kill in range(self.kills):
            worker = self._worker(home, "work")
            for _ in range(random.randrange(1, MOST_LINES)):
                assert worker.read(), f"kill {kill}: the process ended by itself"
            _spin(random.randrange(LONGEST_SPIN))
            worker.kill()
            accepted |= worker.facts(ACCEPTED)
            completed |= worker.facts(COMPLETED)
            with self._looking(home):
                self._check(home, accepted, completed, f"kill {kill} of seed {self.seed}")
        with self._looking(home):
            run(_worked_off(home))
            self._check(home, accepted, completed, "after the last kill")
            content = content_of(home.store)
            assert content is not None
            assert {each.state for each in content.inputs} <= {InputState.CONSUMED, InputState.ABANDONED}
        home.store = self.open_store(home.location)

    def _check(self, home: Home, accepted: set[str], completed: set[str], where: str) -> None:
        content = content_of(home.store)
        assert content is not None, where
        stored = {str(each.input_id) for each in content.inputs}
        assert accepted <= stored, f"{where}: {len(accepted - stored)} acknowledged inputs are lost"
        runs = {str(each.run_id) for each in content.receipts}
        assert completed <= runs, f"{where}: {len(completed - runs)} acknowledged boundaries are lost"
        twice = [each for each, receipts in content.consumed_by().items() if len(receipts) > 1]
        assert twice == [], f"{where}: consumed twice"
        assert_session_is_that_of_the_receipts(home.store)
        assert_sound(home.store)

    def test_owner_in_another_process_is_fenced(self, home: Home) -> None:
        """Opening a runtime here fences the process that held it; what it tries afterwards changes nothing (C32)."""
        self.needs(Capability.PROCESSES, "an owner in another process")
        worker = self._worker(home, "hold")
        assert worker.read() == OPENED
        run(_opened_here(home))
        before = content_of(home.store)
        worker.tell()
        assert worker.read_all() == [OPENED, FENCED], "a process that had been fenced went on"
        worker.close()
        assert content_of(home.store) == before

    def test_processes_that_resume_at_once_consume_once(self, home: Home) -> None:
        """After a kill, several processes resume at once: each input is consumed once, by one of them (C5, C32)."""
        self.needs(Capability.PROCESSES, "resuming in several processes")
        home.store.close()
        first = self._worker(home, "work")
        while len(first.facts(ACCEPTED)) < MOST_LINES:
            assert first.read()
        first.kill()
        resuming = [self._worker(home, "resume") for _ in range(2)]
        ends = [each.read_all()[-1] for each in resuming]
        assert [each.close() for each in resuming] == [0, 0]
        assert set(ends) <= {DONE, FENCED}
        assert DONE in ends, "both were fenced"
        with self._looking(home):
            said = set.union(*(each.facts(COMPLETED) for each in (first, *resuming)))
            self._check(home, first.facts(ACCEPTED), said, "two processes resumed")
        home.store = self.open_store(home.location)

    def _worker(self, home: Home, what: str) -> Worker:
        if not self.factory:
            raise SuiteMisused(type(self).__name__, "Capability.PROCESSES is declared: set factory = 'module:NAME'")
        return Worker(self.factory, home.location, what)

    @contextmanager
    def _looking(self, home: Home) -> Iterator[None]:
        home.store = self.open_store(home.location)
        try:
            yield
        finally:
            home.store.close()


async def _worked_off(home: Home) -> None:
    driver = await opened(home.store, seed="at last")
    await Scribe().work_off(driver)


async def _opened_here(home: Home) -> None:
    await opened(home.store, seed="here")


def _spin(times: int) -> None:
    """Wait for less than the shortest sleep there is."""
    for _ in range(times):
        pass
