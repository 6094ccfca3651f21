"""The rows of the bench. Each times its work beside the raw yardstick, then counts in the store what it says it did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from types import MappingProxyType
from typing import Final

from attrs import evolve

from ..runtime import core
from ..runtime.admitting import Prepared, prepare_input
from ..runtime.commands import Accept
from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import RuntimeSettings
from ..runtime.ids import utc_now
from ..runtime.image import RuntimeImage
from ..runtime.records import RuntimeRecord
from ..spec.vocabulary import RuntimeState
from ..stores.lmdb_store import LmdbStore
from .bench_by_hand import by_hand
from .bench_memory import memory
from .bench_past import accept_after_many, opening, opening_after_many
from .bench_service import idle_service, service_lives
from .bench_setting import (
    CALLERS,
    RUNTIME,
    Bench,
    Line,
    Raw,
    interleaved,
    last_transaction,
    need,
    per_call,
    rounds_of,
    slower,
    spread,
)
from .bench_tmpfs import software
from .bench_written import written

_LOOP: Final = 1_000
_RATIO: Final = "times raw"

_open = PersistentRuntimeDriver.open


async def accept_one(bench: Bench) -> list[Line]:
    """One caller: an accept against one raw put, both synced."""
    name, calls = "accept", bench.size.calls
    with bench.new_store() as store, Raw(bench.new_directory()) as raw:
        driver = await _open(RUNTIME, store)
        works = partial(raw.put, calls), partial(bench.accept, driver, calls)
        theirs, ours = await interleaved(bench, *works, stock=calls)
        raw.check(name)
        need(name, store.stats().active_inputs, rounds_of(ours) * calls, "inputs")
    line = Line(name, "accept, one caller", _RATIO, aim=1.6, goal=1.3)
    return [slower(line, ours, theirs, calls, calls)]


async def accept_many(bench: Bench) -> list[Line]:
    """64 callers on one runtime."""
    return [await _together(bench, "accept-64", "accept, 64 callers on one runtime", 1, aim=4.0, goal=5.0)]


async def accept_everywhere(bench: Bench) -> list[Line]:
    """64 callers on as many runtimes."""
    return [await _together(bench, "accept-64x64", "accept, 64 callers on 64 runtimes", CALLERS, aim=None, goal=3.7)]


async def _together(bench: Bench, name: str, what: str, runtimes: int, *, aim: float | None, goal: float) -> Line:
    size = bench.size
    accepts = CALLERS * size.turns
    with bench.new_store() as store, Raw(bench.new_directory()) as raw:
        opened = [await _open(f"{RUNTIME} {number}", store) for number in range(runtimes)]
        drivers = [opened[number % runtimes] for number in range(CALLERS)]
        works = partial(raw.put, size.calls), partial(bench.accept_together, drivers, size.turns)
        theirs, ours = await interleaved(bench, *works, stock=accepts)
        raw.check(name)
        need(name, store.stats().active_inputs, rounds_of(ours) * accepts, "inputs")
    pairs = zip(ours, theirs, strict=True)
    ratio, low, high = spread([(other / size.calls) / (own / accepts) for own, other in pairs])
    ours_us, raw_us = per_call(ours, accepts), per_call(theirs, size.calls)
    return Line(
        name, what, "times the raw rate", ours_us, raw_us, "µs", ratio, low, high, aim, goal, more_is_better=True
    )


async def lifecycle(bench: Bench) -> list[Line]:
    """Accept, begin, complete with a result: three commits, one input at a time."""
    name, lives = "lifecycle", bench.size.lives
    with bench.new_store() as store, Raw(bench.new_directory()) as raw:
        driver = await _open(RUNTIME, store)
        works = partial(raw.put, bench.size.calls), partial(bench.live, driver, lives)
        theirs, ours = await interleaved(bench, *works, stock=lives)
        raw.check(name)
        need(name, store.stats().ended_inputs, rounds_of(ours) * lives, "consumed inputs")
    line = Line(name, "accept to consumed, one at a time", _RATIO, goal=4.0)
    return [slower(line, ours, theirs, lives, bench.size.calls)]


async def syncs(bench: Bench) -> list[Line]:
    """Commits, each synced once, read off the file: exact, whatever the machine."""
    with LmdbStore.open(bench.new_directory() / "store") as store:
        driver = await _open(RUNTIME, store)

        async def count(name: str, what: str, work: Callable[[], Awaitable[None]], times: int, aim: int) -> Line:
            before = last_transaction(store)
            await work()
            commits = last_transaction(store) - before
            each = commits / times
            return Line(name, what, "syncs each", commits, None, "syncs", each, each, each, aim, is_exact=True)

        calls = bench.size.calls
        lines = [
            await count("syncs", "syncs of a lone accept", partial(bench.accept, driver, calls), calls, 1),
            await count("syncs", "syncs of 64 gathered accepts", partial(bench.accept_all, driver, CALLERS), 1, 1),
        ]
        need("syncs", store.stats().active_inputs, calls + CALLERS, "inputs")
        await driver.reset()
        ended = store.stats().ended_inputs
        lives = bench.size.lives
        lines.append(await count("syncs", "syncs of accept to consumed", partial(bench.live, driver, lives), lives, 3))
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
    each, least, most = spread([per_call([own], steps) for own in ours])
    line = Line("core", "the core step of an accept, in memory", "µs", each, per_call(theirs, steps))
    return [
        evolve(line, ratio=each, low=least, high=most, aim=20.0, is_timed=True),
        evolve(line, reads=f"times a loop of {_LOOP} additions", ratio=ratio, low=low, high=high),
    ]


ROWS: Final = MappingProxyType(
    {
        "accept": accept_one,
        "accept-64": accept_many,
        "accept-64x64": accept_everywhere,
        "lifecycle": lifecycle,
        "by-hand": by_hand,
        "syncs": syncs,
        "written": written,
        "core": core_step,
        "software": software,
        "memory": memory,
        "accept-after": accept_after_many,
        "open": opening,
        "open-after": opening_after_many,
        "service": service_lives,
        "idle-service": idle_service,
    }
)

ON_MEMORY: Final = frozenset({"accept", "accept-64", "accept-64x64", "lifecycle", "core", "accept-after", "service"})
"""Rows that a store without a file can run, too."""
