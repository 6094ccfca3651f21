"""Group commit: who is in a group, when answers come, what a failure or a vanished caller leaves behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from functools import partial
from typing import NoReturn
from uuid import UUID

import pytest
from attrs import evolve

from holdstate.runtime import calls, commit_thread, flush
from holdstate.runtime.admitting import Prepared, prepare_input
from holdstate.runtime.commands import Retire
from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.errors import (
    DriverClosed,
    Fenced,
    RunInProgress,
    RunNotCurrent,
    StoreError,
    StoreFull,
    StoreReadOnly,
    WrongLoop,
)
from holdstate.runtime.flush import committer_of
from holdstate.runtime.ids import RunId
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.outcomes import Accepted, Deduplicated, Run
from holdstate.runtime.turn import Turn
from holdstate.spec.vocabulary import InputState, RuntimeState
from holdstate.stores.memory_store import MemoryStore
from tests.faults import Fault, FaultyStore, Plan

from .stores import GatedStore

DEBUG = RuntimeSettings(debug=True)
RUN = RunId(UUID(int=1, version=4))


async def opened(store: object, runtime_id: str = "r") -> Driver:
    return await Driver.open(runtime_id, store, settings=DEBUG)  # type: ignore[arg-type]  # a store of tests


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def threaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit runs on the thread."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", -1.0)


def _has_thread(committer: flush.GroupCommitter) -> bool:
    return committer._thread.is_started


def _unwritable(group: object) -> NoReturn:
    raise ZeroDivisionError


async def until_entered(store: GatedStore) -> None:
    """Turn the loop until the thread is inside the writing function."""
    assert await asyncio.to_thread(store.entered.wait, 30)


# -- groups ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("threaded")
async def test_what_is_queued_within_a_flush_waits_for_its_write() -> None:
    """One write at a time: what comes while a group is decided is decided after that group has landed."""
    prepared = prepare_input(PromptInput.new("a"), DEBUG.limits)
    assert isinstance(prepared, Prepared)
    accept = partial(calls.accept, prepared=prepared)
    store = GatedStore()
    driver = await opened(store)
    committer = committer_of(store.as_store())
    seen: list[str] = []
    store.gate.clear()
    store.entered.clear()

    def second(turn: Turn) -> object:
        seen.append("second")
        return turn.step(Retire(turn.at))

    def first(turn: Turn) -> object:
        seen.append("first")
        committer.submit(driver._actor, second)
        return accept(turn)

    future = committer.submit(driver._actor, first)
    await until_entered(store)
    await turns()
    assert seen == ["first"]
    store.gate.set()
    assert isinstance(await future, Accepted)
    assert len(await driver.active_input_ids()) == 1
    assert seen == ["first", "second"]
    assert driver.runtime_state is RuntimeState.RETIRED


async def test_calls_of_one_turn_of_the_loop_are_one_commit() -> None:
    """64 accepts gathered by two drivers take one write transaction, and are answered in order."""
    store = MemoryStore()
    one, two = await opened(store, "one"), await opened(store, "two")
    before, order = store.stats().commits, []

    async def accept(number: int) -> None:
        await (one if number % 2 else two).accept_input(PromptInput.new(str(number)))
        order.append(number)

    await asyncio.gather(*(accept(number) for number in range(64)))
    assert store.stats().commits == before + 1
    assert order == list(range(64))
    assert len(await one.active_input_ids()) == 32


async def test_a_group_has_an_end() -> None:
    """More calls than a group takes make two commits, in order."""
    store = MemoryStore()
    driver = await opened(store)
    before = store.stats().commits
    await asyncio.gather(*(driver.accept_input(PromptInput.new("a")) for _ in range(flush.MAX_GROUP + 1)))
    assert store.stats().commits == before + 2


async def test_a_refused_call_changes_nothing_and_its_neighbours_go_on() -> None:
    """C28: reset is refused between two accepts of one group, which are committed."""
    driver = await opened(MemoryStore())
    await driver.accept_input(PromptInput.new("a"))
    assert await driver.begin_run() is not None
    answers = await asyncio.gather(
        driver.accept_input(PromptInput.new("b")),
        driver.reset(),
        driver.accept_input(PromptInput.new("c")),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [Accepted, RunInProgress, Accepted]
    assert len(await driver.active_input_ids()) == 3


async def test_a_refusal_that_rests_on_an_uncommitted_call_waits_for_its_commit() -> None:
    """C18: what a caller is told is never about a commit that then fails; such a call fails with it."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a"))
    store.arm(Plan(Fault.REFUSED, write=0))
    answers = await asyncio.gather(driver.begin_run(), driver.begin_run(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreError, StoreError]
    run, refused = await asyncio.gather(driver.begin_run(), driver.begin_run(), return_exceptions=True)
    assert isinstance(run, Run)
    assert isinstance(refused, RunInProgress)


async def test_the_same_key_twice_in_one_group_is_one_input() -> None:
    """C5: the second sees what was decided for the first and is not stored yet."""
    driver = await opened(MemoryStore())
    first, second = await asyncio.gather(
        *(driver.accept_input(PromptInput.new("a", idempotency_key="k")) for _ in range(2))
    )
    assert isinstance(first, Accepted)
    assert isinstance(second, Deduplicated)
    assert second.existing_id == first.input_id


async def test_a_fenced_member_fails_alone() -> None:
    """C32: of two drivers in one group the older holder is refused and finished, the other one is answered."""
    store = MemoryStore()
    old, other = await opened(store, "shared"), await opened(store, "mine")
    new = await opened(store, "shared")
    refused, also, accepted = await asyncio.gather(
        old.accept_input(PromptInput.new("a")),
        old.accept_input(PromptInput.new("b")),
        other.accept_input(PromptInput.new("c")),
        return_exceptions=True,
    )
    assert isinstance(refused, Fenced)
    assert isinstance(also, Fenced)
    assert isinstance(accepted, Accepted)
    assert await new.active_input_ids() == ()
    with pytest.raises(Fenced):
        await old.active_input_ids()
    await old.close()


async def test_recover_waits_until_what_came_before_it_is_committed() -> None:
    """It loads the store, so nothing of its runtime may be undecided; later calls of the runtime wait with it."""
    store = MemoryStore()
    driver = await opened(store)
    accepted, report, later = await asyncio.gather(
        driver.accept_input(PromptInput.new("a")), driver.recover(), driver.accept_input(PromptInput.new("b"))
    )
    assert report.recovered == 1
    assert isinstance(accepted, Accepted)
    assert isinstance(later, Accepted)
    assert store.verify() == []


async def test_opening_waits_for_the_calls_of_its_runtime_in_the_same_group() -> None:
    """The older holder's accept is committed before the claim; its next one is fenced."""
    store = MemoryStore()
    old = await opened(store)
    accepted, new, late = await asyncio.gather(
        old.accept_input(PromptInput.new("a")),
        opened(store),
        old.accept_input(PromptInput.new("b")),
        return_exceptions=True,
    )
    assert isinstance(accepted, Accepted)
    assert isinstance(new, Driver)
    assert isinstance(late, Fenced)
    assert await new.active_input_ids() == (accepted.input_id,)


async def test_two_openings_at_once_leave_one_holder() -> None:
    """Both claim, one after the other; the first is fenced by the second."""
    store = MemoryStore()
    first, second = await asyncio.gather(opened(store), opened(store))
    with pytest.raises(Fenced):
        await first.accept_input(PromptInput.new("a"))
    assert isinstance(await second.accept_input(PromptInput.new("a")), Accepted)


async def test_two_drivers_of_one_runtime_are_never_in_one_group() -> None:
    """The older one is refused whichever comes first."""
    store = MemoryStore()
    old, new = await opened(store), await opened(store)
    for pair in ((old, new), (new, old)):
        answers = await asyncio.gather(
            *(driver.accept_input(PromptInput.new("a")) for driver in pair), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {Accepted, Fenced}


# -- callers who are gone ----------------------------------------------------------------------------------------------


async def test_a_caller_cancelled_before_the_flush_takes_its_call_back() -> None:
    """C10: nothing happens."""
    driver = await opened(MemoryStore())
    task = asyncio.create_task(driver.accept_input(PromptInput.new("a")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await driver.active_input_ids() == ()


@pytest.mark.usefixtures("threaded")
async def test_a_caller_cancelled_while_its_commit_runs_leaves_the_input_accepted() -> None:
    """C10: the write in the thread is not orphaned, memory follows it."""
    store = GatedStore()
    driver = await opened(store)
    store.gate.clear()
    store.entered.clear()
    task = asyncio.create_task(driver.accept_input(PromptInput.new("a")))
    await until_entered(store)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.gate.set()
    assert len(await driver.active_input_ids()) == 1
    assert store.inner.verify() == []


@pytest.mark.usefixtures("threaded")
async def test_a_run_begun_for_a_caller_who_left_during_the_commit_is_taken_back() -> None:
    """C10: nobody holds it, so the next begin_run hands the input out, and the cancelled run cost nothing."""
    store = GatedStore()
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a"))
    store.gate.clear()
    store.entered.clear()
    task = asyncio.create_task(driver.begin_run())
    await until_entered(store)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.gate.set()
    run = await driver.begin_run()
    assert run is not None
    assert run.attempt == 2
    assert run.records[0].failure_count == 0


async def test_a_run_whose_caller_left_when_it_was_already_answered_is_taken_back() -> None:
    """C10: the future had its result, the caller never saw it."""
    driver = await opened(MemoryStore())
    await driver.accept_input(PromptInput.new("a"))
    task = asyncio.create_task(driver.begin_run())
    await turns(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns()
    assert driver.runtime_state is RuntimeState.IDLE
    assert (await driver.begin_run()) is not None


async def test_a_vanished_run_is_taken_back_although_the_first_try_to_do_so_fails() -> None:
    """C35: one transient fault never makes a runtime unusable for good."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a"))
    task = asyncio.create_task(driver.begin_run())
    await turns(2)
    store.arm(Plan(Fault.REFUSED, write=0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns()
    assert store.struck == 1
    assert (await driver.begin_run()) is not None


async def test_cancelling_a_begin_run_that_had_nothing_to_do_or_failed_is_harmless() -> None:
    """There is no run to give back."""
    driver = await opened(MemoryStore())
    for _ in range(2):
        task = asyncio.create_task(driver.begin_run())
        await turns(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await driver.start_run(RUN) if driver._actor.opened_run is None else None
    assert driver._actor.opened_run == RUN


# -- the thread --------------------------------------------------------------------------------------------------------


async def test_long_commits_move_to_the_thread_and_short_ones_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The average decides; it is the clock's word, which this test gives."""
    ticks = iter(range(0, 10**6, 5))
    for module in (flush, commit_thread):
        monkeypatch.setattr(module, "perf_counter", lambda: float(next(ticks)))
    store = MemoryStore()
    driver = await opened(store)
    committer = driver._committer
    assert not _has_thread(committer)
    await driver.accept_input(PromptInput.new("a"))
    assert _has_thread(committer)
    for module in (flush, commit_thread):
        monkeypatch.setattr(module, "perf_counter", lambda: 0.0)
    for _ in range(60):
        await driver.accept_input(PromptInput.new("a"))
    assert committer._thread.average_seconds < commit_thread.LONG_COMMIT_SECONDS


@pytest.mark.usefixtures("threaded")
async def test_nothing_is_seen_before_its_commit() -> None:
    """C18: while the commit runs there is no answer, no event, no signal and no other state; reads wait for it."""
    store = GatedStore()
    driver = await opened(store)
    driver.drain_events()
    store.gate.clear()
    store.entered.clear()
    accept = asyncio.create_task(driver.accept_input(PromptInput.new("a")))
    begin = asyncio.create_task(driver.begin_run())
    await until_entered(store)
    read = asyncio.create_task(driver.active_input_ids())
    await turns()
    assert not accept.done()
    assert not begin.done()
    assert not read.done()
    assert driver.drain_events() == []
    assert not driver.take_wake_requested()
    assert driver.is_idle
    store.gate.set()
    run = await begin
    assert isinstance(run, Run)
    assert await read == run.input_ids
    assert driver.runtime_state is RuntimeState.RUNNING
    assert driver.take_wake_requested()
    assert driver.drain_events()


@pytest.mark.usefixtures("threaded")
async def test_a_commit_that_fails_on_the_thread_is_taken_back() -> None:
    """C36: as on the loop."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    store.arm(Plan(Fault.UNKNOWN, write=0))
    with pytest.raises(StoreError) as told:
        await driver.accept_input(PromptInput.new("a"))
    assert told.value.applied is False
    assert await driver.active_input_ids() == ()


# -- loops -------------------------------------------------------------------------------------------------------------


def test_another_loop_is_refused_while_the_first_is_alive() -> None:
    """WrongLoop, and nothing is changed."""
    store = MemoryStore()
    first, second = asyncio.Runner(), asyncio.Runner()
    driver = first.run(opened(store))
    with pytest.raises(WrongLoop):
        second.run(driver.accept_input(PromptInput.new("a")))
    assert first.run(driver.active_input_ids()) == ()
    first.close()
    assert isinstance(second.run(driver.accept_input(PromptInput.new("a"))), Accepted)
    second.close()


def test_a_loop_that_ended_with_a_call_queued_leaves_a_usable_driver() -> None:
    """The call that was never flushed did not happen."""
    store = MemoryStore()
    with asyncio.Runner() as first:
        driver = first.run(opened(store))

        async def leave() -> None:
            driver._committer.submit_quietly(driver._actor, lambda _: None)

        first.run(leave())
        first.get_loop().call_soon(first.get_loop().stop)
    assert isinstance(asyncio.run(driver.accept_input(PromptInput.new("a"))), Accepted)


@pytest.mark.usefixtures("threaded")
def test_a_loop_that_ended_during_a_commit_hands_it_to_the_next_one() -> None:
    """C10: the commit is waited for, calls behind it go with their loop, and a run begun for nobody goes back."""
    store = GatedStore()
    decided: list[object] = []

    async def leave() -> Driver:
        driver = await opened(store)
        await driver.accept_input(PromptInput.new("a"))
        store.gate.clear()
        store.entered.clear()
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(driver.begin_run())]
        await until_entered(store)
        tasks.append(asyncio.create_task(driver.accept_input(PromptInput.new("b"))))
        driver._committer.submit_quietly(driver._actor, decided.append)  # nobody is there to cancel it
        await turns(2)
        return driver

    driver = asyncio.run(leave())
    store.gate.set()

    async def go_on() -> None:
        run = await driver.begin_run()
        assert run is not None
        assert run.attempt == 2
        assert len(await driver.active_input_ids()) == 1

    asyncio.run(go_on())
    assert decided == []
    assert store.inner.verify() == []


@pytest.mark.usefixtures("threaded")
def test_a_loop_that_was_closed_under_its_callers_leaves_no_run_behind() -> None:
    """A loop closed by hand cancels nobody: a future of a closed loop has no caller either."""
    store = GatedStore()
    loop = asyncio.new_event_loop()
    driver = loop.run_until_complete(opened(store))
    loop.run_until_complete(driver.accept_input(PromptInput.new("a")))
    store.gate.clear()
    store.entered.clear()

    async def submit() -> asyncio.Future[object]:
        future = driver._committer.submit(driver._actor, partial(calls.begin_run, given=None))
        await until_entered(store)
        return future

    future = loop.run_until_complete(submit())
    loop.close()
    store.gate.set()

    async def go_on() -> Run | None:
        return await driver.begin_run()

    run = asyncio.run(go_on())
    assert run is not None
    assert not future.done()


async def test_a_store_that_nobody_uses_is_freed() -> None:
    """The table of committers keeps no store alive."""
    store = MemoryStore()
    driver = await opened(store)
    gone = weakref.ref(driver._committer)
    del store, driver
    await turns()
    gc.collect()
    assert gone() is None


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreError("no"), OSError("no")])
async def test_a_store_that_cannot_be_read_refuses_all_that_look_into_it(error: Exception) -> None:
    """C37: whatever it raises, callers hear of it, nothing hangs, and nothing was changed."""
    store = GatedStore()
    driver = await opened(store)
    store.reading_fails = error
    answers = await asyncio.gather(
        driver.accept_input(PromptInput.new("a")), driver.recover(), driver.session_snapshot(), return_exceptions=True
    )
    assert all(isinstance(answer, StoreError) and answer.applied is False for answer in answers)
    store.reading_fails = None
    assert await driver.active_input_ids() == ()


async def test_a_store_that_fails_in_a_way_of_its_own_is_in_doubt_until_it_can_be_read() -> None:
    """C35: an error that is no StoreError says nothing of the commit, nor does one while reading back."""
    store = GatedStore()
    driver = await opened(store)

    def fail() -> None:
        store.reading_fails = OSError("cannot read")
        raise OSError("cannot write")

    store.after = fail
    with pytest.raises(StoreError) as told:
        await driver.accept_input(PromptInput.new("a", idempotency_key="k"))
    assert told.value.applied is None
    store.after = lambda: None
    with pytest.raises(StoreError) as again:
        await driver.active_input_ids()
    assert again.value.problem == told.value.problem
    store.reading_fails = None
    assert isinstance(await driver.accept_input(PromptInput.new("a", idempotency_key="k")), Deduplicated)


@pytest.mark.parametrize("calls", [1, 3])
async def test_a_group_that_cannot_be_encoded_is_taken_back(calls: int) -> None:
    """C37: prepare() failed, so nothing was written; one call or several."""
    store = GatedStore()
    driver = await opened(store)
    store.inner.prepare = _unwritable  # type: ignore[method-assign]
    accepts = (driver.accept_input(PromptInput.new("a")) for _ in range(calls))
    for told in await asyncio.gather(*accepts, return_exceptions=True):
        assert isinstance(told, StoreError)
        assert told.applied is False
    assert await driver.active_input_ids() == ()


async def test_a_clock_that_fails_refuses_the_call_it_was_asked_for() -> None:
    """C17: an environment that raises strands nobody."""
    times = {"fail": False}
    plain = Environment()

    def now() -> object:
        if times["fail"]:
            raise OSError("no clock")
        return plain.now()

    driver = await Driver.open("r", MemoryStore(), environment=Environment(now=now))  # type: ignore[arg-type]
    times["fail"] = True
    async with asyncio.timeout(5):
        with pytest.raises(OSError, match="no clock"):
            await driver.accept_input(PromptInput.new("a"))
    times["fail"] = False
    assert await driver.active_input_ids() == ()


async def test_an_input_that_ends_in_the_group_that_admits_it_is_stored_ended() -> None:
    """Its payload is never written."""
    store = MemoryStore()
    driver = await opened(store)
    given = PromptInput.new("a")
    accepted, _ = await asyncio.gather(driver.accept_input(given), driver.cancel_input(given.header.id))
    assert isinstance(accepted, Accepted)
    assert await driver.input_state(given.header.id) is InputState.ABANDONED
    assert await driver.persisted_input(given.header.id) is None
    assert store.verify() == []


async def test_recover_after_a_run_that_nobody_holds_takes_it_back_first() -> None:
    """C35: the orphan of a commit in doubt is cancelled, free of charge, and recover sees the store after that."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a"))
    store.arm(Plan(Fault.LANDED, write=0, failing_reads=1))
    with pytest.raises(StoreError):
        await driver.begin_run()
    report = await driver.recover()
    assert report.requeued == 0
    (input_id,) = await driver.active_input_ids()
    record = await driver.input_record(input_id)
    assert record is not None
    assert (record.attempt_count, record.failure_count) == (1, 0)
    assert store.verify() == []


async def test_close_ends_the_driver_even_when_the_store_fails() -> None:
    """After close, every call is refused with DriverClosed."""
    store = GatedStore()
    driver = await opened(store)

    def fail() -> None:
        store.reading_fails = StoreError("no")
        raise OSError("no")

    store.after = fail
    with pytest.raises(StoreError):
        await driver.accept_input(PromptInput.new("a"))
    with pytest.raises(StoreError):
        await driver.close()
    store.reading_fails = None
    with pytest.raises(DriverClosed):
        await driver.accept_input(PromptInput.new("a"))


async def test_a_staged_run_that_is_cancelled_in_the_same_group_is_cancelled() -> None:
    """C26: a run that was opened in memory and begun in this group is no longer only in memory."""
    driver = await opened(MemoryStore())
    given = PromptInput.new("a")
    await driver.accept_input(given)
    await asyncio.gather(
        driver.start_run(RUN),
        driver.stage_batch([given.header.id], RUN),
        driver.cancel_run(RUN),
    )
    assert driver.runtime_state is RuntimeState.IDLE
    with pytest.raises(RunNotCurrent):
        await driver.fail_run(RUN, "late")


async def test_recover_is_told_when_the_run_that_nobody_holds_cannot_be_taken_back() -> None:
    """C35: while the store refuses to write, recover fails with that; once it writes again, recover works."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    await driver.accept_input(PromptInput.new("a"))
    store.arm(Plan(Fault.LANDED, write=0, failing_reads=1, failing_writes=3))
    with pytest.raises(StoreError):
        await driver.begin_run()
    async with asyncio.timeout(5):
        for _ in range(3):
            with pytest.raises(StoreError, match="still fails"):
                await driver.recover()
    assert (await driver.recover()).requeued == 0
    assert driver.runtime_state is RuntimeState.IDLE


@pytest.mark.usefixtures("threaded")
async def test_a_recover_that_waits_may_be_cancelled() -> None:
    """Its caller left while the run that nobody held was taken back."""
    gated = GatedStore()
    driver = await opened(gated)
    await driver.accept_input(PromptInput.new("a"))
    run = await driver.begin_run()
    assert run is not None
    driver._actor.disown(run.run_id)
    gated.gate.clear()
    gated.entered.clear()
    task = asyncio.create_task(driver.recover())
    await until_entered(gated)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gated.gate.set()
    assert len(await driver.active_input_ids()) == 1
    assert driver.runtime_state is RuntimeState.IDLE


async def test_a_commit_that_landed_unnoticed_is_answered_as_done() -> None:
    """C36: the revision that is read back says so."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    store.arm(Plan(Fault.LANDED, write=0))
    assert isinstance(await driver.accept_input(PromptInput.new("a")), Accepted)
    assert len(await driver.active_input_ids()) == 1


@pytest.mark.parametrize("kind", [StoreFull, StoreReadOnly])
async def test_what_failed_is_told_by_its_type_once_it_was_read_back(kind: type[StoreFull | StoreReadOnly]) -> None:
    """A disk that turns full in the commit call is StoreFull to the caller, read back or not (C35, C43)."""
    gated = GatedStore()
    driver = await opened(gated)

    def fails() -> None:
        raise kind("no room", applied=None)

    gated.before = fails
    with pytest.raises(kind) as caught:
        await driver.accept_input(PromptInput.new("a"))
    assert caught.value.applied is False

    def fails_for_good() -> None:
        gated.reading_fails = StoreError("it cannot be read")
        fails()

    gated.before = fails_for_good
    with pytest.raises(kind) as caught:
        await driver.accept_input(PromptInput.new("b"))
    assert caught.value.applied is None
    gated.before, gated.reading_fails = dict, None
    assert isinstance(await driver.accept_input(PromptInput.new("c")), Accepted)


async def test_a_commit_that_the_store_refuses_is_taken_back_and_the_driver_goes_on_refused() -> None:
    """C36: memory that fell behind the store is told so, and nothing of the call stays."""
    store = MemoryStore()
    driver = await opened(store)
    tables = store._tables
    good = tables.records["r"]
    tables.records["r"] = evolve(good, revision=good.revision + 1)
    with pytest.raises(StoreError, match="builds on"):
        await driver.accept_input(PromptInput.new("a"))
    assert await driver.active_input_ids() == ()
    tables.records["r"] = good
    assert isinstance(await driver.accept_input(PromptInput.new("a")), Accepted)


async def test_a_caller_who_left_hears_nothing_of_a_store_that_cannot_be_read() -> None:
    """The others in the queue do."""
    store = GatedStore()
    driver = await opened(store)
    store.reading_fails = StoreError("no")
    tasks = [asyncio.create_task(driver.session_snapshot()) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    left, told = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError)
    assert isinstance(told, StoreError)


async def test_a_run_that_ended_before_its_caller_left_is_not_taken_back_twice() -> None:
    """It was cancelled by a later call of its group; there is nothing to disown."""
    driver = await opened(MemoryStore())
    await driver.accept_input(PromptInput.new("a"))
    begin = asyncio.create_task(driver.begin_run(RUN))
    cancel = asyncio.create_task(driver.cancel_run(RUN))
    await turns(2)
    begin.cancel()
    await cancel
    with pytest.raises(asyncio.CancelledError):
        await begin
    run = await driver.begin_run()
    assert run is not None
    assert run.attempt == 2
