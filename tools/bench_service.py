"""The rows of the bench that go through a whole service: many runtimes at once, and many that lie still."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, final

import msgspec
from attrs import define, evolve, field

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.executor import ActiveRun
from ..runtime.handles import Completed
from ..runtime.service import RuntimeService
from ..runtime.store import InputFilter
from ..spec.vocabulary import InputState
from ..stores.lmdb_store import LmdbStore
from ..stores.memory_store import MemoryStore
from .bench_setting import CALLERS, Bench, Line, NothingMeasured, Raw, interleaved, need, per_call, rounds_of, spread
from .bench_visit import Visit

COMMITS: Final = 3
"""Of one life, each with a sync, where nobody shares them: accepted, staged, consumed."""

_VISITOR: Final = "holdstate.tools.bench_visit"
_GROUP: Final = 512
_MS: Final = 1_000.0
_MIB: Final = 1024.0 * 1024.0


@final
class NoWork:
    """An executor that is done at once."""

    async def apply(self, run: ActiveRun) -> None:
        """Nothing to do, and no result."""


async def service_lives(bench: Bench) -> list[Line]:
    """64 callers on as many runtimes of one service, each waits for the end of an input before it brings the next."""
    name, what, size = "service", "accept to consumed, 64 runtimes at once", bench.size
    runtimes = [f"service {number}" for number in range(CALLERS)]
    lives = CALLERS * size.turns
    with bench.new_store() as store, Raw(bench.new_directory()) as raw:
        async with RuntimeService(store, NoWork()) as service:
            works = partial(raw.put, size.calls), partial(_live_together, bench, service, runtimes)
            theirs, ours = await interleaved(bench, *works, stock=lives)
        raw.check(name)
        need(name, sum(_consumed(store, each) for each in runtimes), rounds_of(ours) * lives, "consumed inputs")
    pairs = zip(ours, theirs, strict=True)
    ratio, low, high = spread([(other / size.calls * COMMITS) / (own / lives) for own, other in pairs])
    rate, least, most = spread([lives / own for own in ours])
    ours_us, raw_us = per_call(ours, lives), per_call(theirs, size.calls) * COMMITS
    by_rate = Line(name, what, "lifecycles/s", rate, None, "lives/s", rate, least, most, 2_500.0, 4_000.0)
    by_ratio = Line(name, what, "times the rate of 3 raw commits", ours_us, raw_us, "µs", ratio, low, high)
    return [evolve(line, more_is_better=True) for line in (evolve(by_rate, is_timed=True), by_ratio)]


async def _live_together(bench: Bench, service: RuntimeService, runtimes: list[str]) -> None:
    await asyncio.gather(*(_live(bench, service, each) for each in runtimes))


async def _live(bench: Bench, service: RuntimeService, runtime_id: str) -> None:
    for _ in range(bench.size.turns):
        handle = await service.submit(runtime_id, bench.new_prompt())
        outcome = await handle.outcome()
        if not isinstance(outcome, Completed):
            raise NothingMeasured("service", f"an input ended as {outcome}")


def _consumed(store: LmdbStore | MemoryStore, runtime_id: str) -> int:
    wanted, found = InputFilter(runtime_id, frozenset({InputState.CONSUMED})), 0
    after: int | None = None
    while True:
        page = store.list_inputs(wanted, after=after)
        found += len(page.records)
        if page.next_after is None:
            return found
        after = page.next_after


@final
@define
class Still:
    """A store of ``known`` runtimes, one of which is used at each visit; in the last one work was left."""

    path: Path
    known: int
    visits: list[Visit] = field(factory=list)

    @property
    def used(self) -> str:
        """The runtime that a visit uses."""
        return self.name(self.known // 2 - 1)

    @property
    def last(self) -> str:
        """The one that a service which looks for work left behind comes to last."""
        return self.name(self.known - 1)

    @staticmethod
    def name(number: int) -> str:
        """Ids sort like their numbers."""
        return f"known {number:09}"


async def idle_service(bench: Bench) -> list[Line]:
    """A service over many known runtimes, of which one is used and one has work left, against one over those two.

    Each visit is a process of its own, so that its memory is that of the service alone.
    """
    few, many = (Still(bench.new_directory() / "store", known) for known in (2, bench.size.known))
    for still in (few, many):
        await _make_known(still)
    for number in bench.rounds():
        for still in (few, many):
            await _leave_work(bench, still)
            seen = await _visit(still)
            if number:
                still.visits.append(seen)
    for still in (few, many):
        _check(still, rounds_of(still.visits))
    return [
        _beside_few(many, few, "open to a run done", "ms", lambda seen: seen.first_run * _MS),
        _beside_few(many, few, "open to work found", "ms", lambda seen: seen.last_found * _MS),
        _beside_few(many, few, "memory", "MiB", lambda seen: seen.grown_bytes / _MIB),
        _each(many),
    ]


def _beside_few(many: Still, few: Still, what: str, unit: str, read: Callable[[Visit], float]) -> Line:
    ours, theirs = ([read(seen) for seen in still.visits] for still in (many, few))
    ratio, low, high = spread([own / other for own, other in zip(ours, theirs, strict=True)])
    what, reads = f"{what}, {many.known} runtimes known", f"times with {few.known} known"
    return Line("idle-service", what, reads, median(ours), median(theirs), unit, ratio, low, high)


def _each(many: Still) -> Line:
    grown, low, high = spread([seen.grown_bytes / many.known for seen in many.visits])
    what = f"memory by {many.known} runtimes known"
    return Line("idle-service", what, "bytes for each", grown, None, "bytes", grown, low, high)


async def _make_known(still: Still) -> None:
    with LmdbStore.open(still.path) as store:
        for start in range(0, still.known, _GROUP):
            numbers = range(start, min(start + _GROUP, still.known))
            opened = await asyncio.gather(*(PersistentRuntimeDriver.open(still.name(n), store) for n in numbers))
            for driver in opened:
                driver.release()


async def _leave_work(bench: Bench, still: Still) -> None:
    with LmdbStore.open(still.path) as store:
        async with await PersistentRuntimeDriver.open(still.last, store) as driver:
            await bench.accept(driver, 1)


async def _visit(still: Still) -> Visit:
    command = (sys.executable, "-m", _VISITOR, str(still.path), still.used, still.last)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    if process.returncode != 0:
        raise NothingMeasured("idle-service", f"the visiting process ended with {process.returncode}; see stderr")
    return msgspec.json.decode(told, type=Visit)


def _check(still: Still, visits: int) -> None:
    with LmdbStore.open(still.path) as store:
        need("idle-service", store.stats().runtimes, still.known, "known runtimes")
        for each in (still.used, still.last):
            need("idle-service", _consumed(store, each), visits, f"consumed inputs of {each}")
