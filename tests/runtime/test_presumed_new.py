"""An input that comes alone and that nobody in memory knows is presumed to be new: its write looks anyway."""

from __future__ import annotations

from math import inf

import pytest

from holdstate.runtime import commit_thread, flush
from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import Fenced, NotReady, StoreError
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.outcomes import Accepted, Deduplicated, Rejected
from holdstate.runtime.settings import Limits
from holdstate.spec.vocabulary import Durability, InputState
from holdstate.stores.memory_store import MemoryStore
from tests.faults import Fault, FaultyStore, Plan

from .test_lone_calls import accept, opened, outcome_at_once


@pytest.fixture(autouse=True)
def unthreaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, commits stay on the loop."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", inf)
    monkeypatch.setattr(flush, "LONGEST_HOLD_SECONDS", inf)


async def test_a_new_input_by_itself_is_not_looked_for() -> None:
    """No view of the store is taken for it, and from the begin of a run to its end one, for the payload."""
    store = FaultyStore(MemoryStore())  # it counts its calls
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a", idempotency_key="k"))
    await driver.accept_input(PromptInput.new("b"))
    assert store.reads == 0
    run = await driver.begin_run()
    assert store.reads == 1
    await driver.complete_run(run)
    assert store.reads == 1


@pytest.mark.parametrize("by_key", [True, False])
async def test_an_input_that_ended_is_known_although_it_was_presumed_to_be_new(*, by_key: bool) -> None:
    """C5, C7: the store refuses the second one, so the call is decided by what the store says; nothing else changes."""
    store = FaultyStore(MemoryStore())  # it counts its calls
    driver = await opened(store)
    first = PromptInput.new("a", idempotency_key="k")
    await driver.accept_input(first)
    await driver.complete_run(await driver.begin_run())
    again = PromptInput.new("a", idempotency_key="k") if by_key else first
    before = driver._actor.image.runtime
    store.arm(Plan())
    commits = store.stats().commits
    outcome = outcome_at_once(driver.accept_input(again))
    assert isinstance(outcome, Deduplicated)
    assert (outcome.existing_id, outcome.existing_state) == (first.header.id, InputState.CONSUMED)
    assert (store.reads, store.stats().commits) == (1, commits)
    assert driver._actor.image.runtime is before
    assert await driver.active_input_ids() == ()


async def test_a_write_whose_refusal_got_lost_applied_nothing() -> None:
    """The store's answer to the presumed input is lost: a look says that nothing was written, the next try is told."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    first = PromptInput.new("a")
    await driver.accept_input(first)
    await driver.complete_run(await driver.begin_run())
    store.arm(Plan(Fault.LANDED, write=0))
    with pytest.raises(StoreError) as raised:
        await driver.accept_input(first)
    assert raised.value.applied is False
    assert isinstance(await driver.accept_input(first), Deduplicated)


async def test_what_is_known_comes_before_every_refusal() -> None:
    """C9: also a runtime that takes nothing, or has no room, tells of the first try; only then it refuses."""
    driver = await Driver.open("r", MemoryStore(), settings=RuntimeSettings(limits=Limits(max_active_inputs=1)))
    first = PromptInput.new("a")
    await driver.accept_input(first)
    await driver.complete_run(await driver.begin_run())
    await driver.accept_input(PromptInput.new("b"))
    assert isinstance(await driver.accept_input(first), Deduplicated)
    assert isinstance(await driver.accept_input(PromptInput.new("c")), Rejected)
    await driver.retire()
    assert isinstance(await driver.accept_input(first), Deduplicated)
    with pytest.raises(NotReady):
        await driver.accept_input(PromptInput.new("c"))


async def test_an_ephemeral_input_is_looked_for() -> None:
    """No write of it would compare."""
    driver = await opened(MemoryStore())
    first = PromptInput.new("a")
    await driver.accept_input(first)
    await driver.complete_run(await driver.begin_run())
    again = PromptInput.new("a", id=first.header.id, durability=Durability.EPHEMERAL)
    assert isinstance(await driver.accept_input(again), Deduplicated)


async def test_a_fenced_driver_is_not_asked_again() -> None:
    """C32: a refusal because of a newer opener is final, presumed new or not."""
    store = MemoryStore()
    old = await opened(store)
    await opened(store)
    with pytest.raises(Fenced):
        outcome_at_once(accept(old))
    assert isinstance(old._actor.finished, Fenced)
    assert not old._actor.image.inputs


async def test_on_the_thread_it_is_decided_again_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where commits take long the write is on the thread, and what it refuses is next in line (C5)."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    first = PromptInput.new("a", idempotency_key="k")
    await driver.accept_input(first)
    await driver.complete_run(await driver.begin_run())
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", -1.0)
    store.arm(Plan())
    outcome = await driver.accept_input(PromptInput.new("a", idempotency_key="k"))
    assert isinstance(outcome, Deduplicated)
    assert outcome.existing_id == first.header.id
    assert (store.writes, store.reads) == (1, 1)
    assert isinstance(await driver.accept_input(PromptInput.new("b", idempotency_key="l")), Accepted)
