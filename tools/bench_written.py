"""The row of the bench that counts what is written: rows, their bytes, and what went to the file. No clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, final

from attrs import field, frozen

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.outcomes import Run, RunOutput
from ..stores.lmdb_store import LmdbStore
from .bench_file import Change, change, rows_in, written_by_process
from .bench_setting import CALLERS, DATA_FILE, RUNTIME, Bench, Line, NothingMeasured, need, spread

NAME: Final = "written"
TIMES: Final = 16
"""Each work is counted so often; what differs is where LMDB has to split a page."""


@final
@frozen
class Cost:
    """Of one commit; ``file_bytes`` is None where the system does not tell."""

    change: Change
    file_bytes: int | None


@final
@frozen
class Counter:
    """Does a step, and says what it wrote: by the file, and by the store's own account, which has to agree."""

    store: LmdbStore
    scratch: Path
    costs: list[Cost] = field(factory=list)

    async def step(self, work: Callable[[], Awaitable[object]]) -> object:
        """What ``work`` returns; it is one commit."""
        before, told = rows_in(self.store.path, self.scratch), self.store.stats()
        length, handed = self._length(), written_by_process()
        outcome = await work()
        total, longer = written_by_process(), self._length() - length
        found, tells = change(before, rows_in(self.store.path, self.scratch)), self.store.stats()
        need(NAME, len(found.puts), tells.rows_written - told.rows_written, "rows in the file that were put")
        need(NAME, found.row_bytes, tells.bytes_written - told.bytes_written, "bytes in them")
        # The zeros by which the store lengthens its file ahead of need are no cost of this commit.
        self.costs.append(Cost(found, None if handed is None or total is None else total - handed - longer))
        return outcome

    def _length(self) -> int:
        return (self.store.path / DATA_FILE).stat().st_size


async def written(bench: Bench) -> list[Line]:
    """Rows, bytes in rows, and bytes that went to the file, for one accept, one of a group, and one life."""
    scratch = bench.new_directory()
    with LmdbStore.open(bench.new_directory() / "store") as store:
        driver = await PersistentRuntimeDriver.open(RUNTIME, store)
        lone = [await _counted(store, scratch, [partial(bench.accept, driver, 1)]) for _ in range(TIMES)]
        group = partial(_accept_group, bench, driver)
        gathered = [await _counted(store, scratch, [group]) for _ in range(TIMES)]
        need(NAME, store.stats().active_inputs, TIMES + TIMES * CALLERS, "inputs")
        await driver.reset()
        ended = store.stats().ended_inputs
        lives = [await _life(bench, driver, store, scratch) for _ in range(TIMES)]
        need(NAME, store.stats().ended_inputs - ended, TIMES, "consumed inputs")
    return [
        *_lines("a lone accept", lone, 1),
        *_lines(f"one of {CALLERS} gathered accepts", gathered, CALLERS),
        *_lines("accept to consumed", lives, 1),
    ]


async def _accept_group(bench: Bench, driver: PersistentRuntimeDriver) -> None:
    await asyncio.gather(*(bench.accept(driver, 1) for _ in range(CALLERS)))


async def _counted(store: LmdbStore, scratch: Path, works: list[Callable[[], Awaitable[object]]]) -> list[Cost]:
    counter = Counter(store, scratch)
    for work in works:
        await counter.step(work)
    return counter.costs


async def _life(bench: Bench, driver: PersistentRuntimeDriver, store: LmdbStore, scratch: Path) -> list[Cost]:
    counter = Counter(store, scratch)
    await counter.step(partial(bench.accept, driver, 1))
    run = await counter.step(driver.begin_run)
    if not isinstance(run, Run):
        raise NothingMeasured(NAME, "no run began")
    await counter.step(partial(driver.complete_run, run, RunOutput(result=b"result")))
    return counter.costs


def _lines(what: str, counted: list[list[Cost]], inputs: int) -> list[Line]:
    """A line of rows, one of their bytes, and one of the bytes in the file, each for one input."""
    rows = [sum(cost.change.rows for cost in costs) / inputs for costs in counted]
    row_bytes = [sum(cost.change.row_bytes for cost in costs) / inputs for costs in counted]
    lines = [
        _line(f"rows put and deleted by {what}", "rows", rows),
        _line(f"keys and values put by {what}", "bytes", row_bytes),
    ]
    told = [[cost.file_bytes for cost in costs if cost.file_bytes is not None] for costs in counted]
    if all(map(len, told)):
        lines.append(_line(f"written to the file by {what}", "bytes", [sum(each) / inputs for each in told]))
    return lines


def _line(what: str, unit: str, counts: list[float]) -> Line:
    each, low, high = spread(counts)
    return Line(NAME, what, f"{unit} each", each, None, unit, each, low, high, is_exact=unit == "rows")
