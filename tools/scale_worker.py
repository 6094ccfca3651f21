"""The working side of a scale run: a service over the store, many callers, retention now and then. A process of its
own, which is killed in the middle.

It tells its parent on stdout what happened, one JSON line each: ``started``, ``opened``, ``first``, ``recovered``,
``sample``, ``pruned``, ``broken``, ``done``.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final, final
from uuid import UUID

import msgspec

from ..runtime.errors import UnknownInput
from ..runtime.executor import ActiveRun
from ..runtime.handles import Completed, WaitFailed
from ..runtime.outcomes import Accepted, RunOutput
from ..runtime.records import InputRecord, RuntimeRecord
from ..runtime.service import RuntimeService
from ..runtime.service_settings import ServiceSettings
from ..runtime.settings import Retention
from ..runtime.store import InputFilter
from ..spec.errors import HoldstateError
from ..spec.vocabulary import InputState
from ..stores.lmdb_store import LmdbStore
from .scale_ledger import Ledger
from .scale_plan import Plan, folded

STORE: Final = "store"
LEDGER: Final = "ledger"
STATUS_FILE: Final = Path("/proc/self/status")
_KIB: Final = 1024

Tell = Callable[[str, dict[str, Any]], None]


@final
class LifeFailed(HoldstateError):
    """An input of a scale run did not end as it should: it was not admitted, not consumed, or it is gone."""

    def __init__(self, runtime_id: str, problem: str) -> None:
        self.runtime_id = runtime_id
        self.problem = problem
        super().__init__(f"runtime {runtime_id!r}: {problem}")


@final
class Folding:
    """The executor: it counts its inputs in the session snapshot, and does no other work."""

    async def apply(self, run: ActiveRun) -> RunOutput:
        """The snapshot of before with the inputs of ``run``."""
        snapshot = run.session_snapshot
        for given in run.inputs:
            snapshot = folded(snapshot, given.header.idempotency_key or "")
        return RunOutput(session_snapshot=snapshot)


@final
class Work:
    """All callers of one process over an open store, from where the ledger says that the last one stopped."""

    def __init__(self, plan: Plan, store: LmdbStore, ledger: Ledger, tell: Tell) -> None:
        self._plan = plan
        self._store = store
        self._ledger = ledger
        self._tell = tell
        self._started = perf_counter(), _processor_seconds()
        self._done = sum(ledger.ended)
        self._looked_at = array("B", bytes(plan.runtimes))
        self._own: set[UUID] = set()
        self._left = 0
        self._first = True
        self._is_due = False
        self._pruning: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Bring every input that is missing, each caller one after the other, until all have ended."""
        self._left = self._store.stats().active_inputs
        settings = ServiceSettings(max_runs=self._plan.callers)
        async with RuntimeService(self._store, Folding(), settings=settings) as service:
            service.listen(self._heard)
            self._tell("opened", {"left": self._left})
            plan = self._plan
            for number in range(min(self._ledger.ended) // plan.visit, plan.rounds):
                # A round ends before the next one begins: two callers never bring inputs to the same runtime.
                visits = plan.order()
                async with asyncio.TaskGroup() as callers:
                    for _ in range(min(plan.callers, plan.runtimes)):
                        callers.create_task(self._call(service, visits, (number + 1) * plan.visit))
            if self._pruning is not None:
                await self._pruning
        self._sample()

    async def _call(self, service: RuntimeService, visits: Iterator[int], until: int) -> None:
        for runtime in visits:
            if not self._looked_at[runtime]:
                await self._look(service, runtime)
                self._looked_at[runtime] = 1
            for number in range(self._ledger.ended[runtime], min(until, self._plan.inputs_of(runtime))):
                await self._live(service, runtime, number)

    async def _live(self, service: RuntimeService, runtime: int, number: int) -> None:
        name, given = self._plan.name(runtime), self._plan.new_input(runtime, number)
        self._own.add(given.header.id)
        try:
            handle = await service.submit(name, given, wait_for_room=True)
            answer = await handle.accepted
        except HoldstateError as error:
            raise LifeFailed(name, f"input {number} was refused: {error}") from error
        if not isinstance(answer, Accepted):
            raise LifeFailed(name, f"input {number} was answered with {answer}")
        self._ledger.acknowledged[runtime] = number + 1
        if self._is_due:  # here, so that inputs are under way in what is seen, and in what is killed
            self._sample()
        outcome = await handle.outcome()
        if not isinstance(outcome, Completed):
            raise LifeFailed(name, f"input {number} ended as {outcome}")
        self._note_ended(runtime, number + 1)

    def _note_ended(self, runtime: int, ended: int) -> None:
        before, plan = self._done, self._plan
        self._done += ended - self._ledger.ended[runtime]
        self._ledger.ended[runtime] = ended
        if self._done // plan.sample_every > before // plan.sample_every:
            self._is_due = True
        if plan.retention is not None and self._done // plan.prune_every > before // plan.prune_every:
            self._start_pruning(plan.retention)

    # -- after a kill ----------------------------------------------------------------------------------------------

    async def _look(self, service: RuntimeService, runtime: int) -> None:
        """What the process before left of a runtime: nothing acknowledged may be missing; what waits is waited for."""
        name = self._plan.name(runtime)
        record = self._record(name)
        stored = 0 if record is None else record.counts.active + record.counts.ended
        if stored < self._ledger.acknowledged[runtime]:
            problem = f"{self._ledger.acknowledged[runtime]} inputs were acknowledged, {stored} are stored"
            raise LifeFailed(name, problem)
        while record is not None and record.counts.active:
            for each in self._store.list_inputs(InputFilter(name, _ACTIVE)).records:
                outcome = await service.wait(name, each.input_id)
                if not isinstance(outcome, Completed) and not _is_pruned(outcome):
                    raise LifeFailed(name, f"an input from before the kill ended as {outcome}")
            record = self._record(name)
        if record is not None:
            self._ledger.acknowledged[runtime] = record.counts.ended
            self._note_ended(runtime, record.counts.ended)

    def _record(self, name: str) -> RuntimeRecord | None:
        with self._store.reading() as reader:
            return reader.load_record(name)

    def _heard(self, runtime_id: str, record: InputRecord) -> None:
        if self._first:
            self._first = False
            self._tell("first", {})
        if record.input_id in self._own:
            self._own.discard(record.input_id)
        elif self._left:
            self._left -= 1
            if not self._left:
                self._tell("recovered", {})

    # -- what is told ----------------------------------------------------------------------------------------------

    def _sample(self) -> None:
        self._is_due = False
        stats, space = self._store.stats(), self._store.space()
        program, mapped = resident_bytes()
        sample = {
            "lives": self._done,
            "seconds": perf_counter() - self._started[0],
            "file_bytes": space.file_bytes,
            "used_bytes": space.used_pages * space.page_bytes,
            "program_bytes": program,
            "mapped_bytes": mapped,
            "active": stats.active_inputs,
            "ended": stats.ended_inputs,
            "commits": stats.commits,
            "processor_seconds": _processor_seconds() - self._started[1],
        }
        self._tell("sample", sample)

    def _start_pruning(self, retention: float) -> None:
        if self._pruning is None or self._pruning.done():
            if self._pruning is not None:
                self._pruning.result()
            self._pruning = asyncio.get_running_loop().create_task(self._prune(retention))

    async def _prune(self, retention: float) -> None:
        """As a user would who keeps the loop free: on a thread, beside the work."""
        began, lives = perf_counter(), self._done
        rule, commits = Retention(keep_ended_seconds=retention), self._store.stats().commits
        pruned = await asyncio.to_thread(lambda: self._store.prune(rule, now=datetime.now(UTC)))
        blobs = await asyncio.to_thread(self._store.sweep_blobs)
        told = {
            "lives": lives,
            "until": self._done,
            "seconds": perf_counter() - began,
            "inputs": pruned.inputs,
            "receipts": pruned.receipts,
            "blobs": blobs,
            "commits": self._store.stats().commits - commits,
        }
        self._tell("pruned", told)


def _processor_seconds() -> float:
    """What this process had of the processor, on all its threads."""
    return sum(os.times()[:2])


_ACTIVE: Final = frozenset({InputState.QUEUED, InputState.STAGED})


def _is_pruned(outcome: object) -> bool:
    return isinstance(outcome, WaitFailed) and isinstance(outcome.cause, UnknownInput)


def resident_bytes(status: Path = STATUS_FILE) -> tuple[int, int]:
    """Memory of this process now: its own, and pages of mapped files, which the system takes back when it needs them.

    Elsewhere than on Linux (proc(5)) the most that it ever had, and 0.
    """
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        own, mapped = (int(fields[name].split()[0]) * _KIB for name in ("RssAnon", "RssFile"))
        return own, mapped
    unit = 1 if sys.platform == "darwin" else _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, 0


def say(what: str, told: dict[str, Any]) -> None:
    """One line on stdout, whole."""
    os.write(1, msgspec.json.encode({"what": what, **told}) + b"\n")


async def work(plan: Plan, directory: Path, tell: Tell) -> None:
    """Open the store in ``directory``, go on where the ledger there stands, and tell when all is done."""
    with Ledger(directory / LEDGER, plan.runtimes) as ledger, LmdbStore.open(directory / STORE) as store:
        try:
            await Work(plan, store, ledger, tell).run()
        except* LifeFailed as failed:
            for error in failed.exceptions:
                if isinstance(error, LifeFailed):
                    tell("broken", {"where": error.runtime_id, "problem": error.problem})
        else:
            tell("done", {})


def main(arguments: list[str]) -> None:
    """``DIRECTORY PLAN``: where the store and the ledger are, and the plan as JSON."""
    directory, plan = arguments
    say("started", {})
    with suppress(BrokenPipeError):
        asyncio.run(work(msgspec.json.decode(plan, type=Plan), Path(directory), say))


if __name__ == "__main__":
    main(sys.argv[1:])
