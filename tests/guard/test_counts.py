"""What operations write, exactly: commits, rows by table, bytes, steps of the core (C3)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdstate.runtime import commit_thread
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.tools.bench_setting import last_transaction

from .counted import counted, counted_service
from .meter import metered
from .operations import OPERATIONS, Setting
from .table import OF_A_SERVICE, TABLE


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_writes_what_the_table_says(tmp_path: Path, operation: str) -> None:
    """Neither a row nor a byte more, in as many commits and steps."""
    assert counted(tmp_path / "store", [operation]) == {operation: TABLE[operation]}


@pytest.mark.parametrize("runtimes", OF_A_SERVICE)
def test_lives_in_a_service_write_what_the_table_says(tmp_path: Path, runtimes: int) -> None:
    """Of one caller, and of 64 who share their commits."""
    assert counted_service(tmp_path / "store", runtimes) == OF_A_SERVICE[runtimes]


@pytest.mark.parametrize("runtimes", OF_A_SERVICE)
def test_a_slow_disk_changes_no_count(tmp_path: Path, runtimes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where commits take long they are made on a thread; what shares one does not depend on that."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", -1.0)
    assert counted_service(tmp_path / "store", runtimes) == OF_A_SERVICE[runtimes]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_file_counts_as_many_commits(tmp_path: Path, operation: str) -> None:
    """By the number of the last transaction in its meta pages, for which neither the store nor LMDB is asked."""

    async def transactions() -> int:
        with LmdbStore.open(tmp_path / "store") as store:
            setting = Setting(store)
            prepared = await OPERATIONS[operation](setting, await setting.open())
            before = last_transaction(store)
            await prepared()
            return last_transaction(store) - before

    assert asyncio.run(transactions()) == TABLE[operation].commits


def test_the_meter_and_the_store_count_alike(tmp_path: Path) -> None:
    """Two that count rows and bytes at different places agree."""

    async def work() -> None:
        with metered() as meter, LmdbStore.open(tmp_path / "store") as store:
            setting = Setting(store)
            driver = await setting.open()
            prepared = await OPERATIONS["accept, begin, complete"](setting, driver)
            before = store.stats()
            meter.reset()
            await prepared()
            after = store.stats()
            assert meter.commits == after.commits - before.commits
            assert meter.puts.total() == after.rows_written - before.rows_written
            assert meter.bytes_put == after.bytes_written - before.bytes_written

    asyncio.run(work())


def test_every_operation_has_its_line() -> None:
    """And no line is left over."""
    assert list(TABLE) == list(OPERATIONS)
