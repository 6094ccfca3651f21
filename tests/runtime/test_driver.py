"""The driver's surface: reads, runs that are only opened, volatile settings, closing."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import (
    ContributorsRefused,
    DriverClosed,
    RunIdReused,
    RunIncomplete,
    RunInProgress,
    RunNotCurrent,
    StoreError,
)
from holdstate.runtime.events import EventEnvelope
from holdstate.runtime.ids import InputId, RunId
from holdstate.runtime.inputs import ContinuationInput, PeerInput, PeerRequest, PromptInput
from holdstate.runtime.outcomes import (
    Accepted,
    BoundaryApplied,
    Rejected,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunOutput,
    RunStarted,
)
from holdstate.runtime.records import RunBoundaryReceipt
from holdstate.runtime.settings import Limits
from holdstate.spec.errors import TransitionRefused
from holdstate.spec.vocabulary import (
    AbandonReason,
    Durability,
    EventCode,
    HandlingMode,
    InputState,
    RunBoundary,
    RuntimeControl,
    RuntimeState,
    WakeMode,
)
from holdstate.stores.memory_store import MemoryStore
from tests.faults import Fault, FaultyStore, Plan

DEBUG = RuntimeSettings(debug=True)
RUN, OTHER = (RunId(UUID(int=number, version=4)) for number in (1, 2))
NOBODY = InputId(UUID(int=3, version=4))


async def opened(store: object | None = None, settings: RuntimeSettings = DEBUG) -> Driver:
    return await Driver.open("r", store or MemoryStore(), settings=settings)  # type: ignore[arg-type]


async def with_work(*texts: str) -> tuple[Driver, list[InputId]]:
    driver = await opened()
    given = [PromptInput.new(text) for text in texts]
    for each in given:
        await driver.accept_input(each)
    return driver, [each.header.id for each in given]


async def test_reads_know_nothing_of_what_is_not_there() -> None:
    """None, not an error."""
    driver = await opened()
    assert driver.runtime_id == "r"
    assert await driver.input_state(NOBODY) is None
    assert await driver.input_record(NOBODY) is None
    assert await driver.find_by_key("k") is None
    assert await driver.persisted_input(NOBODY) is None
    assert await driver.input_result(NOBODY) is None
    assert await driver.boundary_receipt(RUN, 0) is None
    assert await driver.session_snapshot() is None
    assert await driver.dequeue_next() is None
    assert await driver.dequeue_by_id(NOBODY) is None
    assert await driver.next_due() is None
    assert not await driver.has_queued_input_outside(())


async def test_an_input_can_be_read_through_its_whole_life() -> None:
    """C41, C42: the payload goes when it ends, the record, the key and the result stay."""
    driver = await opened()
    given = PromptInput.new("a", idempotency_key="k")
    input_id = given.header.id
    await driver.accept_input(given)
    assert await driver.input_state(input_id) is InputState.QUEUED
    assert await driver.persisted_input(input_id) == given
    assert await driver.dequeue_by_id(input_id) == (input_id, given)
    assert await driver.has_queued_input_outside(())
    assert not await driver.has_queued_input_outside([input_id])
    run = await driver.begin_run()
    assert run is not None
    assert await driver.dequeue_by_id(input_id) is None
    assert await driver.complete_run(run, RunOutput(b"snapshot", b"result", 2)) == run.run_id
    assert await driver.input_state(input_id) is InputState.CONSUMED
    assert await driver.persisted_input(input_id) is None
    assert await driver.input_result(input_id) == b"result"
    assert await driver.session_snapshot() == b"snapshot"
    receipt = await driver.boundary_receipt(run.run_id, 0)
    assert receipt is not None
    assert receipt.message_count == 2
    record = await driver.find_by_key("k")
    assert record is not None
    assert record.input_id == input_id


async def test_an_ephemeral_input_is_never_persisted() -> None:
    """It can be run and peeked at, and no store has it."""
    store = MemoryStore()
    driver = await opened(store)
    given = PromptInput.new("a", durability=Durability.EPHEMERAL)
    await driver.accept_input(given)
    assert await driver.persisted_input(given.header.id) is None
    assert await driver.dequeue_by_id(given.header.id) == (given.header.id, given)
    assert store.load_input("r", given.header.id) is None


async def test_what_is_no_input_or_too_large_is_rejected_before_its_turn() -> None:
    """A value, never a traceback."""
    driver = await opened(settings=RuntimeSettings(limits=Limits(max_payload_bytes=1024)))
    for given in (PromptInput.new("x" * 2000), PromptInput.new("\n" * 600), "no input"):
        assert isinstance(await driver.accept_input(given), Rejected)  # type: ignore[arg-type]
    assert await driver.active_input_ids() == ()


async def test_a_failed_input_is_due_later() -> None:
    """next_due says when the lane goes on."""
    driver, _ = await with_work("a")
    run = await driver.begin_run()
    assert run is not None
    await driver.fail_run(run, "broken")
    assert await driver.next_due() is not None
    assert await driver.begin_run() is None


# -- runs that are only opened -----------------------------------------------------------------------------------------


async def test_an_opened_run_begins_with_its_first_staging() -> None:
    """C24: start_run keeps the run in memory; stage_input begins it durably, stage_batch takes more into it."""
    store = MemoryStore()
    driver = await opened(store)
    first, more = ContinuationInput.new("a", HandlingMode.STEER), ContinuationInput.new("b", HandlingMode.STEER)
    await driver.accept_input(first)
    await driver.start_run(RUN)
    assert driver.is_idle
    for refused in (driver.start_run(OTHER), driver.begin_run()):
        with pytest.raises(RunInProgress):
            await refused
    with pytest.raises(RunIncomplete):
        await driver.complete_run()
    await driver.stage_input(first.header.id, RUN)
    assert driver.runtime_state is RuntimeState.RUNNING
    await driver.accept_input(more)
    await driver.stage_batch([more.header.id], RUN)
    with pytest.raises(ContributorsRefused):
        await driver.apply_input(first.header.id, RUN)
    with pytest.raises(RunNotCurrent):
        await driver.apply_input(first.header.id, OTHER)
    await driver.rollback_staged([more.header.id])
    await driver.apply_input(first.header.id, RUN)
    await driver.consume_inputs([first.header.id], RUN)
    assert await driver.complete_run() == RUN
    assert await driver.complete_run() == RUN
    with pytest.raises(RunIdReused):
        await driver.start_run(RUN)
    assert store.verify() == []


async def test_an_opened_run_is_forgotten_when_it_ends_or_the_runtime_does() -> None:
    """Failing, cancelling, reset and recover leave no open run; a runtime that takes none refuses to open one."""
    driver = await opened()
    await driver.on_run_event(RunStarted(RUN))
    for forget in (
        lambda: driver.fail_run(RUN, "no"),
        lambda: driver.cancel_run(RUN),
        driver.reset,
        driver.recover,
        driver.recycle_preserving_work,
    ):
        await driver.start_run(RUN)
        await forget()
        with pytest.raises(RunNotCurrent):
            await driver.stage_batch([NOBODY], RUN)
    with pytest.raises(RunNotCurrent):
        await driver.complete_run()
    await driver.on_runtime_control(RuntimeControl.RESUME)
    await driver.on_runtime_control(RuntimeControl.STOP)
    with pytest.raises(TransitionRefused):
        await driver.start_run(RUN)


async def test_a_start_that_shares_its_group_with_a_failed_commit_did_not_happen() -> None:
    """C24: its caller gets the error, and may start again."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    store.arm(Plan(Fault.REFUSED, write=0))
    answers = await asyncio.gather(
        driver.accept_input(PromptInput.new("a")), driver.start_run(RUN), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreError, StoreError]
    await driver.start_run(RUN)


async def test_a_start_after_a_reset_in_one_group_is_open() -> None:
    """The reset forgets what was open before it, and nothing that comes after it."""
    driver = await opened()
    await driver.start_run(OTHER)
    await asyncio.gather(driver.reset(), driver.start_run(RUN))
    given = PromptInput.new("a")
    await driver.accept_input(given)
    await driver.stage_input(given.header.id, RUN)
    assert driver.runtime_state is RuntimeState.RUNNING


async def test_a_boundary_and_its_completion_in_two_commits() -> None:
    """C20: the receipt has to be of the run, and the completion names its contributors."""
    driver, ids = await with_work("a")
    run = await driver.begin_run(RUN)
    assert run is not None
    receipt = RunBoundaryReceipt(RUN, RunBoundary.RUN_START, (ids[0],))
    with pytest.raises(ContributorsRefused):
        await driver.on_run_event(BoundaryApplied(OTHER, receipt))
    await driver.on_run_event(BoundaryApplied(RUN, receipt, None, b"early"))
    with pytest.raises(RunInProgress):
        await driver.recover()
    await driver.on_run_event(RunCompleted(RUN, (ids[0],)))
    assert await driver.input_result(ids[0]) == b"early"


async def test_lifecycle_calls_say_what_they_gave_up() -> None:
    """Abandoning spares the run, retiring keeps what is queued, stop and destroy settle the rest; repeating is done."""
    driver, _ = await with_work("a", "b", "c")
    await driver.begin_run(RUN)
    assert (await driver.abandon_pending_inputs(AbandonReason.FAILED, "why")).inputs_abandoned == 2
    assert (await driver.retire()).inputs_pending_drain == 1
    await driver.on_run_event(RunFailed(RUN, "broken"))
    await driver.on_run_event(RunFailed(RUN, "broken"))
    assert (await driver.stop()).inputs_abandoned == 1
    assert (await driver.destroy()).inputs_abandoned == 0
    assert (await driver.destroy()).inputs_abandoned == 0
    assert driver.runtime_state is RuntimeState.DESTROYED


async def test_a_run_can_be_completed_after_a_boundary_with_nothing_left_to_list() -> None:
    """C19: no second receipt then; a new snapshot makes one."""
    for output, receipts in ((RunOutput(result=b"late"), 1), (RunOutput(b"snapshot"), 2)):
        driver, ids = await with_work("a")
        await driver.begin_run(RUN)
        await driver.apply_input(ids[0], RUN)
        await driver.complete_run(RUN, output)
        assert driver._actor.image.runtime.counts.receipts == receipts
        assert await driver.input_result(ids[0]) == output.result


async def test_a_run_can_be_cancelled_by_an_event() -> None:
    """As cancel_run."""
    driver, ids = await with_work("a")
    await driver.begin_run(RUN)
    await driver.on_run_event(RunCancelled(RUN))
    assert await driver.input_state(ids[0]) is InputState.QUEUED


# -- volatile ----------------------------------------------------------------------------------------------------------


async def test_silent_intents_wake_nobody() -> None:
    """They are the driver's, and gone with it."""
    store = MemoryStore()
    driver = await opened(store)
    driver.set_silent_comms_intents(["ping"])
    asked = PeerInput.new("a", convention=PeerRequest("q", "ping"))
    accepted = await driver.accept_input(asked)
    assert isinstance(accepted, Accepted)
    assert accepted.policy.wake is WakeMode.NONE
    assert not driver.take_wake_requested()
    again = await opened(store)
    await again.accept_input(PeerInput.new("b", convention=PeerRequest("q", "ping")))
    assert again.take_wake_requested()


async def test_attached_counts_as_idle_for_who_asks() -> None:
    """An executor comes and goes."""
    driver = await opened()
    await driver.attach()
    assert driver.is_idle_or_attached
    assert not driver.is_idle
    assert (await driver.detach()).was_attached
    event = driver.drain_events()[0]
    assert isinstance(event, EventEnvelope)
    assert event.code is EventCode.RUNTIME_STATE_CHANGED
    await driver.on_runtime_event(event)


# -- closing -----------------------------------------------------------------------------------------------------------


async def test_close_waits_for_what_was_called_before_and_refuses_the_rest() -> None:
    """Closing twice is fine; the store keeps everything, and the runtime can be opened again."""
    store = MemoryStore()
    driver = await opened(store)
    accepted, _ = await asyncio.gather(driver.accept_input(PromptInput.new("a")), driver.close())
    assert isinstance(accepted, Accepted)
    await driver.close()
    for call in (driver.active_input_ids, driver.begin_run, driver.retire):
        with pytest.raises(DriverClosed):
            await call()
    with pytest.raises(DriverClosed):
        await driver.accept_input(PromptInput.new("b"))
    async with await opened(store) as again:
        assert await again.active_input_ids() == (accepted.input_id,)
    with pytest.raises(DriverClosed):
        await again.active_input_ids()


async def test_a_call_that_was_queued_when_its_driver_was_left_is_refused() -> None:
    """Leaving the block closes at once."""
    driver = await opened()
    async with driver:
        task = asyncio.create_task(driver.accept_input(PromptInput.new("a")))
        await asyncio.sleep(0)
    with pytest.raises(DriverClosed):
        await task


async def test_the_id_of_an_ephemeral_input_that_ended_may_come_again() -> None:
    """A receipt that lists the ephemeral one says nothing of the durable one, not even within the same run."""
    store = MemoryStore()
    driver = await Driver.open("r", store, settings=RuntimeSettings(debug=True))
    used, run_id = InputId(UUID(int=6)), RunId(UUID(int=5))
    steer = HandlingMode.STEER
    await driver.accept_input(ContinuationInput.new("first", steer))
    await driver.accept_input(ContinuationInput.new("second", steer, durability=Durability.EPHEMERAL, id=used))
    run = await driver.begin_run(run_id)
    assert run is not None
    receipt = await driver.checkpoint(run)
    assert (receipt.ephemeral_input_ids, receipt.stored_input_ids) == ((used,), run.input_ids[:1])
    await driver.consume_inputs([used], run_id)
    assert isinstance(await driver.accept_input(ContinuationInput.new("third", steer, id=used)), Accepted)
    await driver.stage_batch([used], run_id)
    assert store.verify() == []
    again = await Driver.open("r", store)
    assert await again.input_state(used) is InputState.QUEUED
    assert store.verify() == []
