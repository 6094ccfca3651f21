"""What commands cost, in counts that do not depend on the machine: syncs, rows, bytes (C3)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import ExternalEventInput
from holdstate.runtime.outcomes import Accepted, Deduplicated, RunOutput
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools.bench_setting import last_transaction

GATHERED = 64
# Order keys, counts and revisions take as many bytes from the 300th input on as at the 1,300th.
FIRST, TENTH, THOUSANDTH = 300, 310, 1300


def _input(number: int) -> ExternalEventInput:
    input_id = InputId(UUID(int=(0x018F << 112) + (7 << 76) + (2 << 62) + number))
    return ExternalEventInput.new("cost", "x" * 200, id=input_id, idempotency_key=f"key {number:08}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with LmdbStore.open(tmp_path / "store") as opened:
        yield opened


async def test_a_lone_accept_is_one_sync(store: LmdbStore) -> None:
    """Each accept that nobody else's joins is one commit, told by the store and by the file."""
    driver = await PersistentRuntimeDriver.open("one", store)
    for number in range(5):
        before = store.stats().commits, last_transaction(store)
        assert type(await driver.accept_input(_input(number))) is Accepted
        assert (store.stats().commits, last_transaction(store)) == (before[0] + 1, before[1] + 1)


async def test_from_accept_to_consumed_is_three_syncs(store: LmdbStore) -> None:
    """Accept, begin, and boundary with completion, snapshot and result: a commit each."""
    driver = await PersistentRuntimeDriver.open("one", store)
    for number in range(5):
        before = last_transaction(store)
        await driver.accept_input(_input(number))
        run = await driver.begin_run()
        await driver.complete_run(run, RunOutput(session_snapshot=b"snapshot", result=b"result"))
        assert last_transaction(store) == before + 3
    assert store.stats().ended_inputs == 5


@pytest.mark.parametrize("runtimes", [1, GATHERED])
async def test_accepts_of_one_turn_share_a_sync(store: LmdbStore, runtimes: int) -> None:
    """64 gathered accepts are one commit, on one runtime or on 64."""
    drivers = [await PersistentRuntimeDriver.open(f"runtime {number}", store) for number in range(runtimes)]
    before = last_transaction(store)
    calls = [drivers[number % runtimes].accept_input(_input(number)) for number in range(GATHERED)]
    outcomes = await asyncio.gather(*calls)
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert last_transaction(store) == before + 1
    assert store.stats().active_inputs == GATHERED


async def test_what_changes_nothing_is_no_sync(store: LmdbStore) -> None:
    """A retry, a read, an idle begin and attaching write nothing."""
    driver = await PersistentRuntimeDriver.open("one", store)
    await driver.accept_input(_input(1))
    await driver.complete_run(await driver.begin_run())
    before = last_transaction(store), store.stats().rows_written
    assert type(await driver.accept_input(_input(1))) is Deduplicated
    assert await driver.begin_run() is None
    await driver.input_record(_input(1).header.id)
    await driver.find_by_key("key 00000001")
    await driver.attach()
    await driver.detach()
    assert (last_transaction(store), store.stats().rows_written) == before


async def test_an_accept_writes_the_same_after_a_thousand(store: LmdbStore) -> None:
    """Rows and bytes of the 10th and of the 1,000th accept are the same: no history is written again (C3)."""
    driver = await PersistentRuntimeDriver.open("one", store)
    costs = {}
    for number in range(THOUSANDTH + 1):
        before = store.stats()
        await driver.accept_input(_input(number))
        after = store.stats()
        costs[number] = after.rows_written - before.rows_written, after.bytes_written - before.bytes_written
        await driver.complete_run(await driver.begin_run())
    assert costs[TENTH] == costs[THOUSANDTH]
    assert {costs[number] for number in range(FIRST, THOUSANDTH + 1)} == {costs[TENTH]}


async def test_a_lifecycle_writes_the_same_beside_many_waiting(store: LmdbStore) -> None:
    """What a run writes depends on its batch, not on what else is queued (C3)."""
    driver = await PersistentRuntimeDriver.open("one", store)
    await asyncio.gather(*(driver.accept_input(_input(number)) for number in range(FIRST, THOUSANDTH + 1)))
    rows = []
    for _ in range(3):
        before = store.stats().rows_written
        run = await driver.begin_run()
        await driver.complete_run(run, RunOutput(result=b"result"))
        rows.append(store.stats().rows_written - before)
    assert len(set(rows)) == 1


async def test_both_stores_commit_alike(store: LmdbStore) -> None:
    """The memory store counts the commits that the LMDB store syncs."""
    memory = MemoryStore()
    counts = []
    for each in (store, memory):
        driver = await PersistentRuntimeDriver.open("one", each)
        before = each.stats().commits
        await asyncio.gather(*(driver.accept_input(_input(number)) for number in range(GATHERED)))
        await driver.complete_run(await driver.begin_run())
        counts.append(each.stats().commits - before)
    assert counts == [3, 3]


PROGRAM = """
import asyncio, sys
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.inputs import PromptInput
from holdstate.stores.lmdb_store import LmdbStore

async def main() -> None:
    with LmdbStore.open(sys.argv[1]) as store:
        driver = await PersistentRuntimeDriver.open("one", store)
        for _ in range(int(sys.argv[2])):
            await driver.accept_input(PromptInput.new("hello"))

asyncio.run(main())
"""


def test_the_kernel_sees_one_sync_for_an_accept(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Counted from outside: 20 accepts are 20 calls of fdatasync more than none."""
    strace = require_tool("strace")

    def count(accepts: int) -> int:
        trace = tmp_path / f"trace {accepts}"
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / f"store {accepts}"), str(accepts)]
        traced = [strace, "-f", "-qq", "-e", "trace=fdatasync", "-o", str(trace), *command]
        subprocess.run(traced, check=True, env={**os.environ})
        return sum("fdatasync(" in line for line in trace.read_text().splitlines())

    assert count(20) - count(0) == 20
