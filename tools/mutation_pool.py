"""Mutants tried in several processes. One that takes its process with it, or never comes to an end, is told as such and
costs nothing but itself.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Final, TypeAlias, final

from attrs import define

from .mutation import Mutant, Trial

MOST_SECONDS: Final = 600.0
"""How long one mutant may take; all checks together take some seconds."""

Noticed: TypeAlias = tuple[str, str] | None
Work: TypeAlias = Callable[[str], Noticed]
"""Tries the mutant with that label in the process that it is called in. A function of a module, to be found there."""

_PROCESSES: Final = get_context("spawn")


@final
@define
class _Worker:
    process: BaseProcess
    connection: Connection
    is_ready: bool = False
    place: int | None = None
    deadline: float = 0.0
    """When the mutant in hand has taken too long, as ``monotonic`` counts."""

    @staticmethod
    def start(work: Work) -> _Worker:
        ours, theirs = _PROCESSES.Pipe()
        process = _PROCESSES.Process(target=_serve, args=(theirs, work), daemon=True)
        process.start()
        theirs.close()  # so that its end is seen here
        return _Worker(process, ours)

    def send(self, label: str) -> None:
        """Once it is ready: the time that a process takes to start is not the mutant's. OSError where it is gone."""
        if not self.is_ready:
            self.is_ready = self.connection.recv() is None
        self.connection.send(label)

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()

    def answer(self, *, is_ready: bool) -> tuple[Noticed, str | None]:
        """What it noticed; or, second, what became of it: it is gone then."""
        if not is_ready:
            self.kill()
            return None, "it took too long"
        try:
            noticed: Noticed = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            self.kill()
            return None, f"its process was killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return noticed, None


def tried_in_processes(
    chosen: Sequence[Mutant], jobs: int, work: Work, *, most_seconds: float = MOST_SECONDS
) -> Iterator[Trial]:
    """Each of the mutants, in their order, tried by ``work`` in ``jobs`` processes."""
    workers = [_Worker.start(work) for _ in range(min(jobs, len(chosen)))]
    waiting = deque(range(len(chosen)))
    found: dict[int, Trial] = {}
    told = 0
    try:
        while told < len(chosen):
            for number, worker in enumerate(workers):
                if worker.place is None and waiting:
                    workers[number] = _given(worker, waiting.popleft(), chosen, work)
                    workers[number].deadline = monotonic() + most_seconds
            _collect(workers, chosen, found, work)
            while told in found:
                yield found.pop(told)
                told += 1
    finally:
        for worker in workers:
            worker.kill()


def _given(worker: _Worker, place: int, chosen: Sequence[Mutant], work: Work) -> _Worker:
    """``worker`` with something to do; one that died with nothing in hand is replaced first."""
    try:
        worker.send(chosen[place].label)
    except OSError:
        worker.kill()
        worker = _Worker.start(work)
        worker.send(chosen[place].label)
    worker.place = place
    return worker


def _collect(workers: list[_Worker], chosen: Sequence[Mutant], found: dict[int, Trial], work: Work) -> None:
    """Wait for an answer, an end or a deadline, and take all that there are."""
    busy = [worker for worker in workers if worker.place is not None]
    first = min(worker.deadline for worker in busy)
    ready = wait([worker.connection for worker in busy], max(first - monotonic(), 0.0))
    for number, worker in enumerate(workers):
        is_ready = worker.connection in ready
        if worker.place is None or not (is_ready or worker.deadline <= monotonic()):
            continue
        noticed, died = worker.answer(is_ready=is_ready)
        found[worker.place] = Trial(chosen[worker.place], noticed, died)
        worker.place = None
        if died is not None:
            workers[number] = _Worker.start(work)


def _serve(connection: Connection, work: Work) -> None:
    """What a process does until nobody asks any more."""
    connection.send(None)
    with suppress(EOFError):
        while True:
            connection.send(work(connection.recv()))
