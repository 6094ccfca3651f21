"""The rows of the bench about a store that holds much already: accepts after many, and opening."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

import lmdb
from attrs import evolve

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import RuntimeSettings
from ..stores.lmdb_rows import ACTIVE
from ..stores.lmdb_store import LmdbStore
from ..stores.memory_store import MemoryStore
from .bench_setting import RUNTIME, Bench, Line, StoreKind, interleaved, need, per_call, rounds_of, spread

_CHUNK: Final = 512
_MS: Final = 1_000.0
_FEW_ENDED: Final = 100_000
_FEW_ACTIVE: Final = 10_000

_open = PersistentRuntimeDriver.open


async def accept_after_many(bench: Bench) -> list[Line]:
    """An accept after many inputs have ended, against the same in an empty store."""
    name, size = "accept-after", bench.size
    with ExitStack() as stack:
        stores = full, empty = await _with_a_past(bench, name), bench.new_store()
        for store in stores:
            stack.enter_context(store)
        old, new = await _open(RUNTIME, full), await _open(RUNTIME, empty)
        works = partial(bench.accept, new, size.calls), partial(bench.accept, old, size.calls)
        theirs, ours = await interleaved(bench, *works, stock=2 * size.calls)
        for store in stores:
            need(name, store.stats().active_inputs, rounds_of(ours) * size.calls, "inputs")
    ratio, low, high = spread([own / other for own, other in zip(ours, theirs, strict=True)])
    ours_us, raw_us = per_call(ours, size.calls), per_call(theirs, size.calls)
    what = f"accept after {size.earlier} inputs"
    goal = 1.2 if size.earlier <= _FEW_ENDED else None
    return [Line(name, what, "times the empty store", ours_us, raw_us, "µs", ratio, low, high, 1.3, goal)]


async def _with_a_past(bench: Bench, row: str) -> LmdbStore | MemoryStore:
    """An open store in which ``earlier`` inputs have ended."""
    if bench.store is StoreKind.MEMORY:
        store = MemoryStore()
        await _work_off(bench, store, row)
        return store
    return LmdbStore.open(await _past(bench, row))


async def _past(bench: Bench, row: str) -> Path:
    """A store in which ``earlier`` inputs have ended: a copy of one that is made once."""
    if bench.past is None:
        path = bench.new_directory() / "store"
        with LmdbStore.open(path) as store:
            await _work_off(bench, store, row)
        bench.past = path
    copy = bench.new_directory() / "store"
    shutil.copytree(bench.past, copy)
    return copy


async def _work_off(bench: Bench, store: LmdbStore | MemoryStore, row: str) -> None:
    """End ``earlier`` inputs, as many in one run as were admitted together: three commits for all of them."""
    earlier = bench.size.earlier
    driver = await _open(RUNTIME, store, settings=RuntimeSettings(max_batch=_CHUNK))
    for start in range(0, earlier, _CHUNK):
        await bench.accept_all(driver, min(_CHUNK, earlier - start))
        while run := await driver.begin_run():
            await driver.complete_run(run)
    driver.release()
    need(row, store.stats().ended_inputs, earlier, "ended inputs")


async def opening(bench: Bench) -> list[Line]:
    """Open a runtime with many active inputs, against a raw cursor over the same rows."""
    name, size = "open", bench.size
    directory = bench.new_directory()
    with LmdbStore.open(directory / "store") as store:
        await _admit(bench, store, size.active)
    shutil.copytree(directory / "store", directory / "copy")
    ours, theirs = [], []
    with LmdbStore.open(directory / "store") as store, _raw(directory / "copy") as raw:
        table = raw.open_db(ACTIVE, create=False)
        for _ in bench.rounds():
            theirs.append(_timed(partial(_scan, name, raw, table, size.active)))
            started = perf_counter()
            driver = await _open(RUNTIME, store)
            ours.append(perf_counter() - started)
            need(name, len(await driver.active_input_ids()), size.active, "active inputs")
    aim, goal = (250.0, 120.0) if size.active <= _FEW_ACTIVE else (1_500.0, None)
    return _opened(Line(name, f"open with {size.active} active inputs", "", aim=aim, goal=goal), ours, theirs)


async def opening_after_many(bench: Bench) -> list[Line]:
    """Open a store and the runtime in it, where many inputs have ended and few wait, against a raw open and cursor."""
    name, size = "open-after", bench.size
    path = await _past(bench, name)
    with LmdbStore.open(path) as store:
        await _admit(bench, store, size.waiting)
    ours, theirs = [], []
    for _ in bench.rounds():
        theirs.append(_timed(partial(_open_raw, name, path, size.waiting)))
        started = perf_counter()
        with LmdbStore.open(path) as store:
            driver = await _open(RUNTIME, store)
            ours.append(perf_counter() - started)
            need(name, len(await driver.active_input_ids()), size.waiting, "active inputs")
            need(name, store.stats().ended_inputs, size.earlier, "ended inputs")
    what = f"open with {size.earlier} ended and {size.waiting} active"
    return _opened(Line(name, what, "", aim=10.0), ours, theirs)


async def _admit(bench: Bench, store: LmdbStore, inputs: int) -> None:
    driver = await _open(RUNTIME, store)
    for start in range(0, inputs, _CHUNK):
        await bench.accept_all(driver, min(_CHUNK, inputs - start))
    driver.release()


def _raw(path: Path) -> lmdb.Environment:
    return lmdb.open(str(path), readonly=True, lock=False, max_dbs=32, lib_version=0)


def _open_raw(row: str, path: Path, inputs: int) -> None:
    with _raw(path) as raw:
        _scan(row, raw, raw.open_db(ACTIVE, create=False), inputs)


def _scan(row: str, raw: lmdb.Environment, table: lmdb._Database, inputs: int) -> None:
    with raw.begin(db=table) as txn:
        rows = len(list(txn.cursor()))
    need(row, rows, 2 * inputs, "raw rows")


def _timed(work: Callable[[], None]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def _opened(line: Line, ours: list[float], theirs: list[float]) -> list[Line]:
    """``line`` in milliseconds, and as a ratio without an aim. The first round is not counted."""
    del ours[0], theirs[0]
    ratio, low, high = spread([own / other for own, other in zip(ours, theirs, strict=True)])
    milliseconds, least, most = (_MS * each for each in spread(ours))
    raw = spread(theirs)[0] * _MS
    timed = evolve(line, reads="ms", ours=milliseconds, unit="ms", ratio=milliseconds, low=least, high=most)
    paired = Line(line.name, line.what, "times a raw scan", milliseconds, raw, "ms", ratio, low, high)
    return [evolve(timed, is_timed=True), paired]
