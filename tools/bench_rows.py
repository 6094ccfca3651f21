"""The rows of the bench. Each times its work beside the raw yardstick, then counts in the store what it says it did."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Final

import lmdb
from attrs import evolve

from ..runtime import core
from ..runtime.admitting import Prepared, prepare_input
from ..runtime.commands import Accept
from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import RuntimeSettings
from ..runtime.ids import utc_now
from ..runtime.image import RuntimeImage
from ..runtime.outcomes import RunOutput
from ..runtime.records import RuntimeRecord
from ..spec.vocabulary import RuntimeState
from ..stores.lmdb_rows import ACTIVE
from ..stores.lmdb_store import LmdbStore
from .bench_service import idle_service, service_lives
from .bench_setting import (
    CALLERS,
    Bench,
    Line,
    Raw,
    interleaved,
    last_transaction,
    need,
    per_call,
    spread,
)

RUNTIME: Final = "bench"
_LOOP: Final = 1_000
_GATHERED: Final = 256
_CHUNK: Final = 512
_RATIO: Final = "times raw"

_open = PersistentRuntimeDriver.open


async def accept_one(bench: Bench) -> list[Line]:
    """One caller: an accept against one raw put, both synced."""
    name, calls = "accept", bench.size.calls
    with LmdbStore.open(bench.new_directory() / "store") as store, Raw(bench.new_directory()) as raw:
        driver = await _open(RUNTIME, store)
        bench.stock_up(calls)
        theirs, ours = await interleaved(bench, partial(raw.put, calls), partial(bench.accept, driver, calls))
        raw.check(name)
        need(name, store.stats().active_inputs, (bench.size.rounds + 1) * calls, "inputs")
    line = Line(name, "accept, one caller", _RATIO, aim=1.6, goal=1.3)
    return [_slower(line, ours, theirs, calls, calls)]


async def accept_many(bench: Bench) -> list[Line]:
    """64 callers on one runtime."""
    return [await _together(bench, "accept-64", "accept, 64 callers on one runtime", 1, aim=4.0, goal=5.0)]


async def accept_everywhere(bench: Bench) -> list[Line]:
    """64 callers on as many runtimes."""
    return [await _together(bench, "accept-64x64", "accept, 64 callers on 64 runtimes", CALLERS, aim=None, goal=3.7)]


async def _together(bench: Bench, name: str, what: str, runtimes: int, *, aim: float | None, goal: float) -> Line:
    size = bench.size
    accepts = CALLERS * size.turns
    with LmdbStore.open(bench.new_directory() / "store") as store, Raw(bench.new_directory()) as raw:
        opened = [await _open(f"{RUNTIME} {number}", store) for number in range(runtimes)]
        drivers = [opened[number % runtimes] for number in range(CALLERS)]
        bench.stock_up(accepts)
        theirs, ours = await interleaved(
            bench, partial(raw.put, size.calls), partial(bench.accept_together, drivers, size.turns)
        )
        raw.check(name)
        need(name, store.stats().active_inputs, (size.rounds + 1) * accepts, "inputs")
    pairs = zip(ours, theirs, strict=True)
    ratio, low, high = spread([(other / size.calls) / (own / accepts) for own, other in pairs])
    ours_us, raw_us = per_call(ours, accepts), per_call(theirs, size.calls)
    return Line(
        name, what, "times the raw rate", ours_us, raw_us, "µs", ratio, low, high, aim, goal, more_is_better=True
    )


async def lifecycle(bench: Bench) -> list[Line]:
    """Accept, begin, complete with a result: three commits, one input at a time."""
    name, lives = "lifecycle", bench.size.lives
    with LmdbStore.open(bench.new_directory() / "store") as store, Raw(bench.new_directory()) as raw:
        driver = await _open(RUNTIME, store)
        bench.stock_up(lives)
        theirs, ours = await interleaved(
            bench, partial(raw.put, bench.size.calls), partial(_live, bench, driver, lives)
        )
        raw.check(name)
        need(name, store.stats().ended_inputs, (bench.size.rounds + 1) * lives, "consumed inputs")
    line = Line(name, "accept to consumed, one at a time", _RATIO, goal=4.0)
    return [_slower(line, ours, theirs, lives, bench.size.calls)]


async def _live(bench: Bench, driver: PersistentRuntimeDriver, lives: int) -> None:
    for _ in range(lives):
        await driver.accept_input(bench.new_prompt())
        run = await driver.begin_run()
        await driver.complete_run(run, RunOutput(result=b"result"))


def _slower(line: Line, ours: list[float], theirs: list[float], calls: int, puts: int) -> Line:
    """``line`` with what was measured: ``calls`` of ours in a round against ``puts`` raw ones."""
    pairs = zip(ours, theirs, strict=True)
    ratio, low, high = spread([(own / calls) / (other / puts) for own, other in pairs])
    ours_us, raw_us = per_call(ours, calls), per_call(theirs, puts)
    return evolve(line, ours=ours_us, raw=raw_us, ratio=ratio, low=low, high=high)


async def syncs(bench: Bench) -> list[Line]:
    """Commits, each synced once, read off the file: exact, whatever the machine."""
    with LmdbStore.open(bench.new_directory() / "store") as store:
        driver = await _open(RUNTIME, store)

        async def count(name: str, what: str, work: Callable[[], Awaitable[None]], times: int, aim: int) -> Line:
            before = last_transaction(store)
            await work()
            commits = last_transaction(store) - before
            each = commits / times
            return Line(name, what, "syncs each", commits, None, "syncs", each, each, each, aim)

        calls = bench.size.calls
        lines = [
            await count("syncs", "syncs of a lone accept", partial(bench.accept, driver, calls), calls, 1),
            await count("syncs", "syncs of 64 gathered accepts", partial(bench.accept_all, driver, CALLERS), 1, 1),
        ]
        need("syncs", store.stats().active_inputs, calls + CALLERS, "inputs")
        await driver.reset()
        ended = store.stats().ended_inputs
        lives = bench.size.lives
        lines.append(
            await count("syncs", "syncs of accept to consumed", partial(_live, bench, driver, lives), lives, 3)
        )
        need("syncs", store.stats().ended_inputs - ended, lives, "consumed inputs")
    return lines


async def core_step(bench: Bench) -> list[Line]:
    """The decision alone, in memory, against a fixed loop of Python: how fast the interpreter is drops out."""
    steps, settings = bench.size.steps, RuntimeSettings()
    image = RuntimeImage(RuntimeRecord(RUNTIME, RuntimeState.IDLE, epoch=1, revision=1))
    prepared = prepare_input(bench.new_prompt(), settings.limits)
    assert isinstance(prepared, Prepared)
    command = Accept(utc_now(), prepared.input, prepared.body, prepared.fingerprint)

    async def work() -> None:
        for _ in range(steps):
            delta = core.step(image, command, settings)
            if len(delta.changes) != 1:
                need("core", len(delta.changes), 1, "changes")

    async def loop() -> None:
        for _ in range(steps):
            total = 0
            for number in range(_LOOP):
                total += number
            need("core", total, _LOOP * (_LOOP - 1) // 2, "added up")

    theirs, ours = await interleaved(bench, loop, work)
    ratio, low, high = spread([own / other for own, other in zip(ours, theirs, strict=True)])
    what = "the core step of an accept, in memory"
    reads = f"times a loop of {_LOOP} additions"
    return [Line("core", what, reads, per_call(ours, steps), per_call(theirs, steps), "µs", ratio, low, high)]


async def accept_after_many(bench: Bench) -> list[Line]:
    """An accept after many inputs have ended, against the same in an empty store."""
    name, size = "accept-after", bench.size
    directory = bench.new_directory()
    with LmdbStore.open(directory / "full") as full, LmdbStore.open(directory / "empty") as empty:
        old, new = await _open(RUNTIME, full), await _open(RUNTIME, empty)
        await _work_off(bench, old, size.earlier)
        need(name, full.stats().ended_inputs, size.earlier, "ended inputs")
        bench.stock_up(2 * size.calls)
        theirs, ours = await interleaved(
            bench, partial(bench.accept, new, size.calls), partial(bench.accept, old, size.calls)
        )
        for store in (full, empty):
            need(name, store.stats().active_inputs, (size.rounds + 1) * size.calls, "inputs")
    ratio, low, high = spread([own / other for own, other in zip(ours, theirs, strict=True)])
    ours_us, raw_us = per_call(ours, size.calls), per_call(theirs, size.calls)
    what = f"accept after {size.earlier} inputs"
    return [Line(name, what, "times the empty store", ours_us, raw_us, "µs", ratio, low, high, 1.3, 1.2)]


async def _work_off(bench: Bench, driver: PersistentRuntimeDriver, inputs: int) -> None:
    for start in range(0, inputs, _CHUNK):
        await bench.accept_all(driver, min(_CHUNK, inputs - start))
        while run := await driver.begin_run():
            await driver.complete_run(run)


async def opening(bench: Bench) -> list[Line]:
    """Open a runtime with many active inputs, against a raw cursor over the same rows."""
    name, size = "open", bench.size
    directory = bench.new_directory()
    with LmdbStore.open(directory / "store") as store:
        driver = await _open(RUNTIME, store)
        for start in range(0, size.active, _CHUNK):
            await bench.accept_all(driver, min(_CHUNK, size.active - start))
    shutil.copytree(directory / "store", directory / "copy")
    with (
        LmdbStore.open(directory / "store") as store,
        lmdb.open(str(directory / "copy"), readonly=True, lock=False, max_dbs=32, lib_version=0) as raw,
    ):
        table = raw.open_db(ACTIVE, create=False)
        ours, theirs = [], []
        for _ in range(size.rounds + 1):
            started = perf_counter()
            with raw.begin(db=table) as txn:
                rows = len(list(txn.cursor()))
            theirs.append(perf_counter() - started)
            need(name, rows, 2 * size.active, "raw rows")
            started = perf_counter()
            driver = await _open(RUNTIME, store)
            ours.append(perf_counter() - started)
            need(name, len(await driver.active_input_ids()), size.active, "active inputs")
    del ours[0], theirs[0]
    ratio, low, high = spread([own / other for own, other in zip(ours, theirs, strict=True)])
    what = f"open with {size.active} active inputs"
    milliseconds, low_ms, high_ms = (1000.0 * each for each in spread(ours))
    raw_ms = per_call(theirs, 1) / 1000.0
    return [
        Line(name, what, "ms", milliseconds, None, "ms", milliseconds, low_ms, high_ms, 250.0, 120.0),
        Line(name, what, "times a raw scan", milliseconds, raw_ms, "ms", ratio, low, high),
    ]


ROWS: Final = MappingProxyType(
    {
        "accept": accept_one,
        "accept-64": accept_many,
        "accept-64x64": accept_everywhere,
        "lifecycle": lifecycle,
        "syncs": syncs,
        "core": core_step,
        "accept-after": accept_after_many,
        "open": opening,
        "service": service_lives,
        "idle-service": idle_service,
    }
)
