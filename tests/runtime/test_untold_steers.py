"""Steers that were staged for a caller who never heard of it: they leave the run, and nothing consumes them unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from holdstate.runtime import commit_thread
from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import StoreError
from holdstate.runtime.ids import RunId
from holdstate.runtime.inputs import ContinuationInput, PromptInput
from holdstate.runtime.outcomes import RunFailed, Steers
from holdstate.runtime.records import InputRecord
from holdstate.runtime.store import RuntimeStore
from holdstate.spec.vocabulary import HandlingMode, InputState
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore
from tests.faults import Fault, FaultyStore, Plan

from .stores import GatedStore

RUN = RunId(UUID(int=1, version=4))
IN_DOUBT = Plan(Fault.LANDED, write=0, failing_reads=1)


@pytest.fixture(autouse=True)
def _on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit, however slow the disk: turns of the loop are counted here."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", 1000.0)


@pytest.fixture(params=["memory", "lmdb"])
def inner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RuntimeStore]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        with LmdbStore.open(tmp_path / "store") as store:
            yield store


async def steered(store: RuntimeStore) -> tuple[Driver, ContinuationInput]:
    """A run in hand, and a steer that waits for it."""
    driver = await Driver.open("r", store, settings=RuntimeSettings(debug=True))
    await driver.accept_input(PromptInput.new("a"))
    assert await driver.begin_run(RUN) is not None
    steer = ContinuationInput.new("s", handling_mode=HandlingMode.STEER)
    await driver.accept_input(steer)
    return driver, steer


async def record_of(driver: Driver, steer: ContinuationInput) -> InputRecord:
    record = await driver.input_record(steer.header.id)
    assert record is not None
    return record


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def left(task: asyncio.Task[Steers]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def told_nothing(driver: Driver) -> None:
    with pytest.raises(StoreError) as told:
        await driver.take_steers(RUN)
    assert told.value.applied is None


async def test_steers_whose_taker_left_when_answered_are_queued_again(inner: RuntimeStore) -> None:
    """C10: at once and free of charge; who takes them next gets them, and the run consumes them."""
    driver, steer = await steered(inner)
    task = asyncio.create_task(driver.take_steers(RUN))
    await turns(2)
    await left(task)
    await turns()
    record = inner.load_input("r", steer.header.id)
    assert record is not None
    assert (record.state, record.failure_count) == (InputState.QUEUED, 0)
    assert (await driver.take_steers(RUN)).inputs == (steer,)
    await driver.complete_run(RUN)
    assert (await record_of(driver, steer)).state is InputState.CONSUMED
    assert inner.verify() == []


@pytest.mark.parametrize("again", [True, False])
async def test_steers_whose_taker_left_during_the_commit_are_not_consumed(
    monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    """C10: the end of the run may be called for before the commit has landed."""
    store = GatedStore()
    driver, steer = await steered(store.as_store())
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", -1.0)
    store.gate.clear()
    store.entered.clear()
    task = asyncio.create_task(driver.take_steers(RUN))
    while not store.entered.is_set():  # noqa: ASYNC110 - it is set by a thread
        await asyncio.sleep(0)
    await left(task)
    retry = asyncio.create_task(driver.take_steers(RUN)) if again else None
    ending = asyncio.create_task(driver.complete_run(RUN))
    await turns()
    store.gate.set()
    await ending
    if retry is not None:
        assert (await retry).inputs == (steer,)
    else:
        run = await driver.begin_run()
        assert run is not None
        assert run.inputs == (steer,)
        await driver.complete_run(run)
    assert (await record_of(driver, steer)).state is InputState.CONSUMED
    assert store.inner.verify() == []


async def test_a_retry_after_a_commit_in_doubt_hands_out_what_it_staged(inner: RuntimeStore) -> None:
    """C34: "error returned but applied" converges, however often it is so."""
    store = FaultyStore(inner)
    driver, steer = await steered(store)
    for _ in range(3):
        store.arm(IN_DOUBT)
        await told_nothing(driver)
    store.arm(Plan())
    assert (await driver.take_steers(RUN)).inputs == (steer,)
    assert (await driver.take_steers(RUN)).inputs == ()
    receipt = await driver.checkpoint(RUN)
    assert steer.header.id in receipt.contributing_input_ids
    assert (await record_of(driver, steer)).failure_count == 0
    assert inner.verify() == []


@pytest.mark.parametrize(
    "end",
    [
        lambda driver: driver.complete_run(RUN),
        lambda driver: driver.checkpoint(RUN),
        lambda driver: driver.cancel_run(RUN),
        lambda driver: driver.fail_run(RUN, "for good", recoverable=False),
        lambda driver: driver.on_run_event(RunFailed(RUN, "for good", recoverable=False)),
        lambda driver: driver.rollback_staged(()),
    ],
)
async def test_no_other_call_touches_what_nobody_was_given(
    inner: RuntimeStore, end: Callable[[Driver], Awaitable[object]]
) -> None:
    """Neither a boundary consumes it nor a failure is counted for it (C14, C34)."""
    store = FaultyStore(inner)
    driver, steer = await steered(store)
    store.arm(IN_DOUBT)
    await told_nothing(driver)
    await asyncio.gather(end(driver), return_exceptions=True)
    record = await record_of(driver, steer)
    assert (record.state, record.failure_count) == (InputState.QUEUED, 0)
    assert inner.verify() == []


async def test_taking_back_is_tried_again_where_its_commit_fails(inner: RuntimeStore) -> None:
    """C35: one transient fault changes nothing of it."""
    store = FaultyStore(inner)
    driver, steer = await steered(store)
    task = asyncio.create_task(driver.take_steers(RUN))
    await turns(2)
    store.arm(Plan(Fault.REFUSED, write=0))
    await left(task)
    await turns()
    assert store.struck == 1
    assert (await record_of(driver, steer)).state is InputState.QUEUED
    assert (await driver.take_steers(RUN)).inputs == (steer,)


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNKNOWN])
async def test_what_did_not_land_may_be_staged_by_name(inner: RuntimeStore, fault: Fault) -> None:
    """The driver knows it then, whoever stages it, and leaves it in the run."""
    store = FaultyStore(inner)
    driver, steer = await steered(store)
    store.arm(Plan(fault, write=0, failing_reads=int(fault is Fault.UNKNOWN)))
    with pytest.raises(StoreError):
        await driver.take_steers(RUN)
    await driver.stage_input(steer.header.id, RUN)
    await driver.complete_run(RUN)
    assert (await record_of(driver, steer)).state is InputState.CONSUMED


async def test_a_taker_who_left_with_nothing_leaves_nothing_behind() -> None:
    """There was no steer, or the call was never decided."""
    driver, steer = await steered(MemoryStore())
    await driver.cancel_input(steer.header.id)
    for count in (1, 2):
        task = asyncio.create_task(driver.take_steers(RUN))
        await turns(count)
        await left(task)
    revision = driver.image.runtime.revision
    await driver.accept_input(ContinuationInput.new("s", handling_mode=HandlingMode.STEER))
    assert driver.image.runtime.revision == revision + 1
    assert len((await driver.take_steers(RUN)).inputs) == 1
