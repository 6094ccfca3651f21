"""The floor of what a store like ours can reach on this machine: its own rows, put by hand.

The rows of each commit are read off a store in which ours did the same before. Plain py-lmdb then puts and deletes
them, byte by byte the same but for the number of the runtime in their keys, in as many commits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias, final

import lmdb
from attrs import frozen

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.outcomes import RunOutput
from ..runtime.store import StoreStats
from ..stores.lmdb_files import append_zeros
from ..stores.lmdb_rows import TABLES, ordinal_prefix
from ..stores.lmdb_store import LmdbStore
from .bench_file import Change, Place, applied, change, rows_in
from .bench_setting import DATA_FILE, GIB, RUNTIME, Bench, Line, Raw, interleaved, need, rounds_of, slower

NAME: Final = "by-hand"
_PREFIX: Final = ordinal_prefix(1)
"""What the keys of the first runtime of a store start with."""
_AHEAD: Final = 16 * 1024 * 1024

_open = PersistentRuntimeDriver.open


@final
class Hand:
    """Plain py-lmdb with the tables and the flags of the store. A file of zeros is there ahead of need, as in ours."""

    def __init__(self, directory: Path, changes: list[Change]) -> None:
        self._changes = changes
        self._env = lmdb.open(str(directory), map_size=GIB, max_dbs=len(TABLES), lib_version=0)
        self._tables = {name: self._env.open_db(name) for name in TABLES}
        self._data = directory / DATA_FILE
        self._rounds = 0
        self._next: list[Change] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._env.close()

    def make_ready(self) -> None:
        """The rows of the next round, under a runtime of their own, and room for them. Before the clock runs."""
        self._rounds += 1
        prefix = ordinal_prefix(self._rounds)
        self._next = [_moved(each, prefix) for each in self._changes]
        status = self._data.stat()
        used = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        append_zeros(str(self._data), (status.st_dev, status.st_ino), used + _AHEAD)

    async def put(self) -> None:
        """One commit for each change."""
        for each in self._next:
            with self._env.begin(write=True) as txn:
                for (table, key), value in each.puts:
                    txn.put(key, value, db=self._tables[table])
                for table, key in each.deletes:
                    txn.delete(key, db=self._tables[table])

    def check(self, commits: int) -> None:
        """NothingMeasured unless every round left the rows that its changes make, in so many commits in all."""
        left = len(applied({}, self._changes))
        with self._env.begin() as txn:
            found = sum(txn.stat(table)["entries"] for table in self._tables.values())
        need(NAME, found, self._rounds * left, "rows put by hand")
        need(NAME, self._rounds * len(self._changes), commits, "commits by hand")


def _moved(made: Change, prefix: bytes) -> Change:
    """The same for another runtime."""

    def moved(place: Place) -> Place:
        table, key = place
        return table, prefix + key.removeprefix(_PREFIX)

    puts = tuple((moved(place), value) for place, value in made.puts)
    return Change(puts, tuple(map(moved, made.deletes)))


Step: TypeAlias = Callable[[Bench, PersistentRuntimeDriver, Callable[[], None]], Awaitable[None]]
"""One work of ours; what it is given last is called after each commit."""


@final
@frozen
class Work:
    """What is done ``times`` times a round: by ``step``, which looks after each commit, and by ``ours`` for the clock.
    ``done`` reads in the store how many of them there were.
    """

    what: str
    times: int
    step: Step
    ours: Callable[[PersistentRuntimeDriver, int], Awaitable[None]]
    done: Callable[[StoreStats], int]


async def by_hand(bench: Bench) -> list[Line]:
    """The rows of a lone accept and of a life by hand, each beside raw puts and beside ours."""
    size = bench.size
    works = [
        Work("an accept", size.calls, _accept, bench.accept, attrgetter("active_inputs")),
        Work("accept to consumed", size.lives, _live, bench.live, attrgetter("ended_inputs")),
    ]
    return [line for work in works for line in await _beside(bench, work)]


async def _beside(bench: Bench, work: Work) -> list[Line]:
    """Its rows by hand against raw puts, and ours against them."""
    calls, times, changes = bench.size.calls, work.times, await _recorded(bench, work)
    with (
        LmdbStore.open(bench.new_directory() / "store") as store,
        Raw(bench.new_directory()) as raw,
        Hand(bench.new_directory(), changes) as hand,
    ):
        driver = await _open(RUNTIME, store)
        works = partial(raw.put, calls), hand.put, partial(work.ours, driver, times)
        theirs, hands, own = await interleaved(bench, *works, stock=times, before=hand.make_ready)
        raw.check(NAME)
        hand.check(rounds_of(own) * len(changes))
        need(NAME, work.done(store.stats()), rounds_of(own) * times, "inputs")
    floor = Line(NAME, f"the rows of {work.what}, put by hand", "times raw")
    above = Line(NAME, f"{work.what} by ours, beside that", "times by hand")
    return [slower(floor, hands, theirs, times, calls), slower(above, own, hands, times, times)]


async def _recorded(bench: Bench, work: Work) -> list[Change]:
    """What each commit of a round changed."""
    scratch = bench.new_directory()
    changes: list[Change] = []
    with LmdbStore.open(bench.new_directory() / "store") as store:
        driver = await _open(RUNTIME, store)
        seen = rows_in(store.path, scratch)

        def look() -> None:
            nonlocal seen
            found = rows_in(store.path, scratch)
            changes.append(change(seen, found))
            seen = found

        for _ in range(work.times):
            await work.step(bench, driver, look)
    need(NAME, sum(bool(each.puts) for each in changes), len(changes), "commits of ours that put rows")
    return changes


async def _accept(bench: Bench, driver: PersistentRuntimeDriver, look: Callable[[], None]) -> None:
    await bench.accept(driver, 1)
    look()


async def _live(bench: Bench, driver: PersistentRuntimeDriver, look: Callable[[], None]) -> None:
    await _accept(bench, driver, look)
    run = await driver.begin_run()
    look()
    await driver.complete_run(run, RunOutput(result=b"result"))
    look()
