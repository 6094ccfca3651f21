"""One runtime in doubt: commits that landed or not, stores that came back as something else, events not taken."""

from __future__ import annotations

from copy import deepcopy
from uuid import UUID

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import Fenced, InvariantViolated, RunNotCurrent, StoreError
from holdstate.runtime.ids import RunId
from holdstate.runtime.inputs import ContinuationInput, ExternalEventInput, PromptInput
from holdstate.runtime.outcomes import Accepted, Deduplicated
from holdstate.spec.vocabulary import Durability, EventCode, HandlingMode, InputState, RuntimeState
from holdstate.stores.memory_store import MemoryStore
from tests.faults import Fault, FaultyStore, Plan

from .stores import GatedStore

DEBUG = RuntimeSettings(debug=True)
RUN = RunId(UUID(int=1, version=4))


async def opened(store: object, settings: RuntimeSettings = DEBUG) -> Driver:
    return await Driver.open("r", store, settings=settings)  # type: ignore[arg-type]  # a store of tests


@pytest.mark.parametrize("landed", [True, False])
async def test_a_commit_in_doubt_is_settled_by_the_revision(*, landed: bool) -> None:
    """C35, C36: every call is refused with the first cause until the store can be read; then the answer is known."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    fault = Fault.LANDED if landed else Fault.UNKNOWN
    store.arm(Plan(fault, write=0, failing_reads=3))
    given = PromptInput.new("a", idempotency_key="k")
    problems = []
    for call in (lambda: driver.accept_input(given), driver.active_input_ids, driver.begin_run):
        with pytest.raises(StoreError) as told:
            await call()
        assert told.value.applied is None
        problems.append(told.value.problem)
    assert len(set(problems)) == 1
    assert type(await driver.accept_input(given)) is (Deduplicated if landed else Accepted)
    assert store.verify() == []


@pytest.mark.parametrize("landed", [True, False])
async def test_a_run_that_a_commit_in_doubt_began_is_nobodys(*, landed: bool) -> None:
    """C36: it is rolled back before the next call, and its inputs paid nothing."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a"))
    store.arm(Plan(Fault.LANDED if landed else Fault.UNKNOWN, write=0, failing_reads=1))
    with pytest.raises(StoreError):
        await driver.begin_run(RUN)
    with pytest.raises(RunNotCurrent):
        await driver.fail_run(RUN, "mine?")
    run = await driver.begin_run()
    assert run is not None
    assert (run.attempt, run.records[0].failure_count) == (1 + landed, 0)


async def test_a_run_in_hand_survives_a_commit_in_doubt() -> None:
    """C36: no reload touches a run that an executor holds."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a"))
    run = await driver.begin_run()
    assert run is not None
    store.arm(Plan(Fault.LANDED, write=0, failing_reads=1))
    with pytest.raises(StoreError):
        await driver.accept_input(PromptInput.new("b"))
    await driver.complete_run(run)
    assert await driver.input_state(run.input_ids[0]) is InputState.CONSUMED


@pytest.mark.parametrize("landed", [True, False])
async def test_what_was_opened_before_a_commit_in_doubt_stays_open(*, landed: bool) -> None:
    """C24: the caller of start_run was told that his run is open, and begins it when the doubt is over."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    accepted = await driver.accept_input(PromptInput.new("a"))
    await driver.start_run(RUN)
    store.arm(Plan(Fault.LANDED if landed else Fault.UNKNOWN, write=0, failing_reads=1))
    with pytest.raises(StoreError):
        await driver.accept_input(PromptInput.new("b"))
    assert isinstance(accepted, Accepted)
    await driver.stage_batch((accepted.input_id,), RUN)
    assert await driver.input_state(accepted.input_id) is InputState.STAGED


async def test_what_was_opened_for_a_caller_in_doubt_is_not_open() -> None:
    """C24: start_run shared its group with a commit that landed unseen; its caller was told nothing."""
    import asyncio

    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    store.arm(Plan(Fault.LANDED, write=0, failing_reads=1))
    answers = await asyncio.gather(
        driver.accept_input(PromptInput.new("a")), driver.start_run(RUN), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreError, StoreError]
    await driver.start_run(RUN)


async def test_a_run_that_a_commit_in_doubt_began_is_not_open_again_when_the_next_commit_is_refused() -> None:
    """C24, C36: taking back what followed the settling of a doubt leaves the doubt settled."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    accepted = await driver.accept_input(PromptInput.new("a"))
    assert isinstance(accepted, Accepted)
    await driver.start_run(RUN)
    store.arm(Plan(Fault.LANDED, write=0, failing_reads=1))
    with pytest.raises(StoreError):
        await driver.stage_batch((accepted.input_id,), RUN)
    store.arm(Plan(Fault.REFUSED, write=0))
    with pytest.raises(StoreError):
        await driver.attach()
    run = await driver.begin_run()
    assert run is not None
    assert run.input_ids == (accepted.input_id,)


async def test_a_driver_in_doubt_that_was_fenced_meanwhile_is_finished() -> None:
    """C32: whether its commit landed is the newer one's business."""
    inner = MemoryStore()
    store = FaultyStore(inner)
    driver = await opened(store)
    store.arm(Plan(Fault.LANDED, write=0, failing_reads=1))
    with pytest.raises(StoreError):
        await driver.accept_input(PromptInput.new("a"))
    await opened(inner)
    for _ in range(2):
        with pytest.raises(Fenced):
            await driver.active_input_ids()


async def test_a_driver_whose_unknown_commit_was_followed_by_a_newer_opener_is_fenced() -> None:
    """C32: the read-back shows a newer epoch."""
    store = GatedStore()
    driver = await opened(store)

    def overtaken() -> None:
        tables = store.inner._tables
        record = tables.records["r"]
        tables.records["r"] = evolve(record, epoch=record.epoch + 1)
        raise OSError("gone")

    store.after = overtaken
    with pytest.raises(Fenced):
        await driver.accept_input(PromptInput.new("a"))
    with pytest.raises(Fenced):
        await driver.active_input_ids()


async def test_a_store_that_was_reopened_and_holds_the_same_changes_nothing() -> None:
    """C35: a new generation makes the driver compare revisions, and that is all."""
    store = GatedStore()
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a"))
    run = await driver.begin_run()
    store.generation += 1
    assert run is not None
    await driver.complete_run(run)
    assert driver.runtime_state is RuntimeState.IDLE


async def test_a_store_that_came_back_older_is_loaded_again() -> None:
    """Its last commits are gone: the run is not there any more, and ephemeral inputs, which no store has, survive."""
    store = GatedStore()
    driver = await opened(store)
    await driver.attach()
    kept = ExternalEventInput.new("e", 1)
    await driver.accept_input(kept)
    before = deepcopy(store.inner._tables)
    light = ExternalEventInput.new("e", 2, durability=Durability.EPHEMERAL)
    await driver.accept_input(light)
    run = await driver.begin_run()
    assert run is not None
    assert run.input_ids == (kept.header.id, light.header.id)
    store.inner._tables = before
    store.generation += 1
    assert await driver.active_input_ids() == (kept.header.id, light.header.id)
    assert await driver.input_state(light.header.id) is InputState.QUEUED
    with pytest.raises(RunNotCurrent):
        await driver.complete_run(run)
    again = await driver.begin_run()
    assert again is not None
    # What recovery found staged counts as a failure, and runs alone.
    assert again.input_ids == (kept.header.id,)
    assert again.inputs == (kept,)


async def test_a_runtime_that_is_gone_from_the_store_is_refused() -> None:
    """There is nothing to go on with; the driver says so at every call."""
    store = GatedStore()
    driver = await opened(store)
    store.inner = MemoryStore()
    store.generation += 1
    for _ in range(2):
        with pytest.raises(StoreError, match="no longer in the store"):
            await driver.active_input_ids()


async def test_a_record_that_cannot_be_read_after_a_reopening_is_told_as_it_is() -> None:
    """C35: the failing read is the first cause then."""
    store = GatedStore()
    driver = await opened(store)
    store.generation += 1
    load = store.inner.load_record

    def fail(runtime_id: str) -> object:
        raise StoreError("cannot read")

    store.inner.load_record = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError, match="cannot read") as told:
        await driver.active_input_ids()
    assert told.value.applied is None
    store.inner.load_record = load  # type: ignore[method-assign]
    assert await driver.active_input_ids() == ()


async def test_debug_mode_names_the_invariant_that_broke() -> None:
    """The call is refused, and nothing is changed."""
    driver = await opened(MemoryStore())
    image = driver._actor.image
    image.runtime = evolve(image.runtime, next_order=-5)
    with pytest.raises(InvariantViolated) as broken:
        await driver.accept_input(PromptInput.new("a"))
    assert broken.value.runtime_id == "r"
    assert broken.value.findings
    assert await driver.active_input_ids() == ()


async def test_ephemeral_inputs_survive_a_reload_and_no_crash() -> None:
    """C36: recover loads the store again; opening anew is what a crash leaves."""
    store = MemoryStore()
    driver = await opened(store)
    given = PromptInput.new("a", durability=Durability.EPHEMERAL)
    await driver.accept_input(given)
    await driver.recover()
    assert await driver.active_input_ids() == (given.header.id,)
    run = await driver.begin_run()
    assert run is not None
    assert run.inputs == (given,)
    again = await opened(store)
    assert await again.active_input_ids() == ()


async def test_events_are_bounded_and_a_gap_shows_what_was_lost() -> None:
    """C45: numbers are dense, ids and outcomes are typed, and draining empties the buffer."""
    driver = await opened(MemoryStore(), RuntimeSettings(max_events=3))
    driver.drain_events()
    given = [PromptInput.new(str(number)) for number in range(5)]
    for each in given:
        await driver.accept_input(each)
    first = driver.drain_events()
    assert [event.input_id for event in first] == [each.header.id for each in given[2:]]
    oldest = first[0].sequence
    assert oldest is not None
    assert [event.sequence for event in first] == [oldest, oldest + 1, oldest + 2]
    assert oldest >= 2
    assert driver.drain_events() == []
    await driver.cancel_input(given[0].header.id)
    (ended,) = driver.drain_events()
    assert ended.code is EventCode.INPUT_ABANDONED
    assert ended.outcome is not None
    assert ended.sequence == oldest + 3


async def test_signals_are_taken_once() -> None:
    """A prompt wakes an idle runtime; steer work wants to be processed; both are told once."""
    driver = await opened(MemoryStore())
    await driver.accept_input(ContinuationInput.new("go on", HandlingMode.STEER))
    assert driver.take_wake_requested()
    assert driver.take_process_requested()
    assert not driver.take_wake_requested()
    assert not driver.take_process_requested()


async def test_the_cursor_walks_the_lanes_and_starts_over_when_they_change() -> None:
    """dequeue_next shows steer before queue, each input once; staging and rolling back reset it, accepting does not."""
    driver = await opened(MemoryStore())
    prompt, steer = PromptInput.new("a"), ContinuationInput.new("b", HandlingMode.STEER)
    for given in (prompt, steer):
        await driver.accept_input(given)
    assert await driver.dequeue_next() == (steer.header.id, steer)
    assert await driver.dequeue_next() == (prompt.header.id, prompt)
    assert await driver.dequeue_next() is None
    late = PromptInput.new("c")
    await driver.accept_input(late)
    assert await driver.dequeue_next() == (late.header.id, late)
    run = await driver.begin_run()
    assert run is not None
    assert await driver.dequeue_next() == (prompt.header.id, prompt)
    await driver.cancel_run(run)
    assert await driver.dequeue_next() == (steer.header.id, steer)


async def test_memory_knows_an_active_input_while_nothing_is_in_doubt() -> None:
    """Not one that ended or that nobody knows; and nothing of a driver in doubt, or of one that is finished."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    given, other = PromptInput.new("a"), PromptInput.new("b")
    assert not driver.knows_active(given.header.id)
    await driver.accept_input(given)
    assert driver.knows_active(given.header.id)
    store.arm(Plan(Fault.UNKNOWN, write=0, failing_reads=1))
    with pytest.raises(StoreError):
        await driver.accept_input(other)
    assert not driver.knows_active(given.header.id)
    await driver.active_input_ids()  # settles it
    assert driver.knows_active(given.header.id)
    assert not driver.knows_active(other.header.id)
    run = await driver.begin_run()
    assert run is not None
    assert driver.knows_active(given.header.id)
    await driver.complete_run(run)
    assert not driver.knows_active(given.header.id)
    await driver.accept_input(other)
    await driver.close()
    assert not driver.knows_active(other.header.id)
