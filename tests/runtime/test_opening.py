"""Opening: one claim, made again where its result is unknown, and refused where nothing can be trusted."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.errors import Fenced, InvalidInput, StoreCorruption, StoreError
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.opening import CLAIM_ATTEMPTS
from holdstate.spec.vocabulary import RuntimeState
from holdstate.stores.memory_store import MemoryStore
from tests.faults import Fault, FaultyStore, Plan

from .stores import GatedStore


async def test_a_new_runtime_is_idle_and_stored() -> None:
    """Its first open initializes it."""
    store = MemoryStore()
    driver = await Driver.open("r", store)
    assert driver.runtime_state is RuntimeState.IDLE
    assert driver.is_idle
    (record,) = store.list_runtimes()
    assert (record.state, record.epoch) == (RuntimeState.IDLE, 1)


async def test_a_bad_id_is_refused_before_anything_is_written() -> None:
    """C44."""
    store = MemoryStore()
    with pytest.raises(InvalidInput):
        await Driver.open("", store)
    assert store.list_runtimes() == ()


@pytest.mark.parametrize("fault", [Fault.UNKNOWN, Fault.LANDED])
async def test_a_claim_of_unknown_result_is_made_again(fault: Fault) -> None:
    """C31, C34: claiming twice recovers the same."""
    store = FaultyStore(MemoryStore(), Plan(fault, write=0))
    driver = await Driver.open("r", store)
    await driver.accept_input(PromptInput.new("a"))
    assert store.struck == 1
    assert store.verify() == []


async def test_a_claim_that_stays_unknown_is_told() -> None:
    """After some attempts the caller hears of it."""
    store, tried = GatedStore(), []

    def fail() -> None:
        tried.append(1)
        raise StoreError("lost", applied=None)

    store.before = fail
    with pytest.raises(StoreError, match="lost"):
        await Driver.open("r", store.as_store())
    assert len(tried) == CLAIM_ATTEMPTS
    assert store.inner.list_runtimes() == ()


async def test_a_claim_that_was_refused_is_not_made_again() -> None:
    """Nothing was applied; the next open works."""
    store = FaultyStore(MemoryStore(), Plan(Fault.REFUSED, write=0))
    with pytest.raises(StoreError) as told:
        await Driver.open("r", store)
    assert told.value.applied is False
    assert store.writes == 1
    assert (await Driver.open("r", store)).is_idle


async def test_a_runtime_that_cannot_be_trusted_stays_unopened() -> None:
    """C30: nothing is written, and the older holder is not fenced."""
    store = MemoryStore()
    driver = await Driver.open("r", store)
    tables = store._tables
    good = tables.records["r"]
    tables.records["r"] = evolve(good, state=RuntimeState.RECOVERING)
    with pytest.raises(StoreCorruption):
        await Driver.open("r", store)
    tables.records["r"] = good
    await driver.accept_input(PromptInput.new("a"))


async def test_an_opening_whose_caller_left_in_time_does_not_claim() -> None:
    """Cancelled before the flush it does not happen; the older holder goes on."""
    store = MemoryStore()
    driver = await Driver.open("r", store)
    task = asyncio.create_task(Driver.open("r", store))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await driver.accept_input(PromptInput.new("a"))
    await Driver.open("r", store)
    with pytest.raises(Fenced):
        await driver.accept_input(PromptInput.new("a"))
