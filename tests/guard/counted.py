"""Counts operations in a store and tells what they cost as lines of the table."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import final

from attrs import frozen

from holdstate.stores.lmdb_store import LmdbStore

from .meter import Meter, metered
from .operations import OPERATIONS, Setting, crowd, serve


@final
@frozen
class Count:
    """What one operation costs. Rows are told as ``table`` or ``table=n``, in the order of the alphabet."""

    commits: int
    steps: int
    bytes: int
    puts: str = ""
    deletes: str = ""


def told(rows: Counter[str]) -> str:
    """Rows by table, in words."""
    return " ".join(f"{table}={rows[table]}" if rows[table] > 1 else table for table in sorted(rows) if rows[table])


def count_of(meter: Meter) -> Count:
    """What the meter has counted, as a line of the table."""
    return Count(meter.commits, meter.steps, meter.bytes_put, told(meter.puts), told(meter.deletes))


def counted(path: Path, operations: Iterable[str], *, inputs: int = 0, ended: bool = False) -> dict[str, Count]:
    """What each of ``operations`` costs, one after the other in one new store, beside so many inputs that wait, or have
    ended.
    """

    async def count() -> dict[str, Count]:
        with metered() as meter, LmdbStore.open(path) as store:
            setting = Setting(store)
            driver = await setting.open()
            await crowd(driver, inputs, ended=ended)
            found = {}
            for operation in operations:
                prepared = await OPERATIONS[operation](setting, driver)
                meter.reset()
                await prepared()
                found[operation] = count_of(meter)
            return found

    return asyncio.run(count())


def counted_service(path: Path, runtimes: int) -> Count:
    """What one life costs on each of so many runtimes of a service at once; they are open by then."""

    async def count() -> Count:
        with metered() as meter, LmdbStore.open(path) as store:
            setting = Setting(store)
            async with setting.service() as service:
                await serve(service, setting, runtimes)
                meter.reset()
                await serve(service, setting, runtimes)
                return count_of(meter)

    return asyncio.run(count())
