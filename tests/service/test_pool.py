"""The open runtimes: the same driver for all, a bounded number of idle ones, fencing, and the backlog at a start."""

from __future__ import annotations

import asyncio
import threading
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from holdstate.runtime import commit_thread
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import Fenced, ServiceClosed, StoreClosed, StoreCorruption, StoreError, UnknownInput
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Completed, WaitFailed
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import ContinuationInput
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.store import InputFilter
from holdstate.spec.vocabulary import Durability, InputState, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .kit import (
    RULES,
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    opened,
    progress,
    prompt,
    service_over,
    serving,
    submitted,
    takes,
    waiting_rules,
    worker_of,
)
from .virtual_loop import explore, run, shuffled

NARROW = evolve(SETTINGS, max_open=2)


# -- one driver for all ------------------------------------------------------------------------------------------------


def test_tasks_that_open_the_same_runtime_at_once_get_the_same_driver() -> None:
    """One claim, one driver, commands in the order in which they came (C29)."""

    async def scenario() -> tuple[int, list[str]]:
        store = MemoryStore()
        async with serving(None, store=store) as service:
            drivers: list[Any] = []

            async def uses() -> None:
                async with service._pool.use(RUNTIME) as entry:
                    drivers.append(entry.driver)

            await asyncio.gather(*(uses() for _ in range(5)))
            assert len({id(driver) for driver in drivers}) == 1
            loaded = store.load_runtime(RUNTIME)
            assert loaded is not None
            await submitted(service, *(prompt(str(n)) for n in range(3)))
            texts = [given.text for given in [await drivers[0].persisted_input(i) for i in await _ids(drivers[0])]]
            return loaded.record.epoch, texts

    for epoch, texts in (*explore(scenario, 1), *shuffled(scenario, 20)):
        assert epoch == 1
        assert sorted(texts) == ["0", "1", "2"]


async def _ids(driver: Any) -> Any:
    return await driver.active_input_ids()


def test_an_opener_who_leaves_does_not_stop_the_opening_for_others() -> None:
    """The first caller is cancelled at every step; the second gets the runtime (C10)."""

    def leaving_after(steps: int) -> Any:
        async def scenario() -> RuntimeState | None:
            async with serving(None, NARROW) as service:
                first = asyncio.create_task(service.retire(RUNTIME))
                second = asyncio.create_task(service.retire(RUNTIME))
                for _ in range(steps):
                    await asyncio.sleep(0)
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
                await second
                assert service._pool._pins == {}
                return await service.runtime_state(RUNTIME)

        return scenario

    for steps in range(12):
        assert run(leaving_after(steps)) is RuntimeState.RETIRED


def test_an_opening_that_nobody_waits_for_any_more_can_be_closed_again() -> None:
    """It is idle at once, not held open for ever."""

    async def scenario() -> None:
        async with serving(None, NARROW) as service:
            caller = asyncio.create_task(service.retire(RUNTIME))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            caller.cancel()
            await takes(1.0)
            assert RUNTIME in service._pool
            for name in ("a", "b"):
                await service.retire(name)
            assert RUNTIME not in service._pool

    run(scenario)


def test_what_is_closed_as_soon_as_it_is_open_is_opened_anew_for_who_comes_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the end of an opening that its caller left and the news of that end, nobody gets the closed runtime."""

    async def scenario() -> bool:
        async with serving(None, evolve(SETTINGS, max_open=1)) as service:
            await service.ingest("another", prompt("kept open", durability=Durability.EPHEMERAL))
            comers: list[asyncio.Task[bool]] = []

            async def come() -> bool:
                async with service._pool.use(RUNTIME) as entry:
                    return service._pool.get(RUNTIME) is entry

            def release(driver: PersistentRuntimeDriver) -> None:
                release_it(driver)
                if driver.runtime_id == RUNTIME and not comers:
                    comers.append(asyncio.create_task(come()))

            release_it = PersistentRuntimeDriver.release
            monkeypatch.setattr(PersistentRuntimeDriver, "release", release)
            leaver = asyncio.create_task(service.wake(RUNTIME))
            await asyncio.sleep(0)
            leaver.cancel()
            await takes(1.0)
            return await comers[0]

    assert run(scenario)


def test_an_opening_that_fails_is_told_to_all_who_wait_and_tried_again_by_the_next() -> None:
    """A store that fails once makes no runtime unusable (C35)."""

    async def scenario() -> None:
        store = FaultyStore(MemoryStore())
        async with serving(None, store=store) as service:
            store.arm(Plan(Fault.REFUSED, write=0))
            answers = await asyncio.gather(*(service.retire(RUNTIME) for _ in range(3)), return_exceptions=True)
            assert [type(answer) for answer in answers] == [StoreError] * 3
            assert RUNTIME not in service._pool
            await service.retire(RUNTIME)

    run(scenario)


def test_a_runtime_that_is_stopped_while_it_is_attached_stays_usable() -> None:
    """Attaching lost the race, which is nobody's mistake."""

    async def scenario() -> Any:
        async with serving(Scripted()) as service:
            await service.retire(RUNTIME)
            recycled = asyncio.create_task(service.recycle(RUNTIME))
            stopped = asyncio.create_task(service.stop(RUNTIME))
            await asyncio.gather(recycled, stopped, return_exceptions=True)
            driver = opened(service).driver
            async with service._pool.use(RUNTIME) as entry:
                original = driver.attach

                async def after_a_stop() -> None:
                    await driver.stop()
                    await original()

                driver.attach = after_a_stop  # type: ignore[method-assign]
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(type(driver), "runtime_state", RuntimeState.IDLE)
                    await service._pool.attach(entry.driver)
            return await service.runtime_state(RUNTIME)

    assert run(scenario) is RuntimeState.STOPPED


# -- what is kept open -------------------------------------------------------------------------------------------------


def test_many_runtimes_few_open() -> None:
    """2,000 runtimes with room for 50: never more open than that and what is busy, and every result is right."""

    async def scenario() -> int:
        most = 0

        async def works(run: ActiveRun) -> bytes:
            nonlocal most
            most = max(most, len(service._pool))
            return run.runtime_id.encode()

        settings = evolve(SETTINGS, max_open=50, max_runs=8, runtime=evolve(RULES, debug=False))
        async with serving(Scripted({"a": works}), settings) as service:

            async def caller(first: int) -> None:
                for number in range(first, 2000, 10):
                    for _ in range(2):
                        outcome = await (await service.submit(f"r{number}", prompt("a"))).outcome()
                        assert isinstance(outcome, Completed)
                        assert outcome.result == f"r{number}".encode()

            await asyncio.gather(*(caller(first) for first in range(10)))
            assert len(service._pool) <= 50
            # one that was closed comes back with all it had
            assert "r0" not in service._pool
            await service.submit("r0", prompt("a"))
            assert "r0" in service._pool
        return most

    assert run(scenario) <= 50 + 10


def test_nothing_is_closed_that_is_needed() -> None:
    """Running, waiting for a backoff, waited for, and holding ephemeral inputs: all stay open, whatever the bound."""

    async def scenario() -> None:
        async def fails(_: ActiveRun) -> None:
            raise ValueError

        gate = Gate()
        settings = evolve(SETTINGS, max_open=1, runtime=waiting_rules(1000.0))
        async with serving(Scripted({"a": gate, "bad": fails}), settings) as service:
            await service.submit("running", prompt("a"))
            await service.submit("held", prompt("bad"))
            quiet = await service.submit("waited for", progress("quiet"))
            waiter = asyncio.create_task(quiet.outcome())
            await service.submit("ephemeral", progress("news", durability=Durability.EPHEMERAL))
            await takes(1.0)
            for number in range(5):
                await service.retire(f"other {number}")
            needed = {"running", "held", "waited for", "ephemeral"}
            assert {entry.driver.runtime_id for entry in service._pool} >= needed
            assert len(service._pool) <= len(needed) + 1
            waiter.cancel()
            gate.opened.set()
            await takes(1.0)
            assert {entry.driver.runtime_id for entry in service._pool} == {"held", "ephemeral"}

    run(scenario)


def test_a_runtime_that_somebody_uses_again_is_not_closed_under_them() -> None:
    """It was idle, and the first to go; now it is in use and stays (C29)."""

    async def scenario() -> None:
        async with serving(None, evolve(SETTINGS, max_open=1)) as service:
            await service.retire(RUNTIME)
            async with service._pool.use(RUNTIME) as entry:
                await service.retire("other")
                assert RUNTIME in service._pool
                await entry.driver.retire()

    run(scenario)


def test_a_runtime_that_comes_to_rest_gives_its_room_at_once() -> None:
    """Nobody has to come by for the bound to hold."""

    async def scenario() -> int:
        async with serving(Scripted(), NARROW) as service:
            await asyncio.gather(*(service.ingest(f"r{n}", prompt("a")) for n in range(20)))
            await takes(1.0)
            return len(service._pool)

    assert run(scenario) == 2


def test_a_commit_on_its_way_keeps_its_runtime_open() -> None:
    """The caller left while the thread was writing; the runtime is not closed before that landed, and wakes (C10)."""
    hold: threading.Event | None = None
    prepare = MemoryStore.prepare

    def slowly(store: MemoryStore, group: Any) -> Any:
        write, held_by = prepare(store, group), hold

        def held() -> Any:
            if held_by is not None:
                reached.set()
                held_by.wait(10.0)
            return write()

        return held

    reached = threading.Event()

    async def scenario() -> None:
        nonlocal hold
        store, given, executor = MemoryStore(), prompt("a"), Scripted()
        service = RuntimeService(store, executor, settings=evolve(SETTINGS, max_open=1))
        async with service, service._pool.use("other"):
            async with service._pool.use(RUNTIME):
                reached.clear()
                hold = threading.Event()
                caller = asyncio.create_task(service.ingest(RUNTIME, given))
                while not reached.is_set():  # noqa: ASYNC110 - another thread sets it
                    await asyncio.sleep(0)
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            assert not opened(service).is_busy
            assert RUNTIME in service._pool, "there is no room for it, yet it is not done"
            hold.set()
            hold = None
            while not executor.entered:  # noqa: ASYNC110 - nobody waits for the input: it wakes by itself
                await asyncio.sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit_thread, "LONG_COMMIT_SECONDS", -1.0)
        patch.setattr(MemoryStore, "prepare", slowly)
        asyncio.run(scenario())


def test_a_runtime_that_is_woken_while_it_is_idle_is_passed_over() -> None:
    """A late commit started its worker: it is not the one that is closed."""

    async def scenario() -> None:
        async with serving(Scripted(), NARROW) as service:
            await service.retire("a")
            await service.retire("b")
            worker_of(service, "a").kick()
            await service.retire("c")
            assert {entry.driver.runtime_id for entry in service._pool} >= {"a"}
            await takes(1.0)
            assert len(service._pool) == 2

    run(scenario)


# -- fencing -----------------------------------------------------------------------------------------------------------


def test_asking_how_an_input_ended_takes_its_runtime_from_nobody() -> None:
    """Nor does interrupting it elsewhere; what is unknown is told so, and nothing is made for it (C32)."""

    async def scenario() -> None:
        store, gate = MemoryStore(), Gate()
        async with serving(Scripted({"a": gate}), store=store) as service:
            ended = await service.submit(RUNTIME, prompt("x"))
            assert await ended.outcome() == Completed(ended.input_id, b"x")
            active = await service.submit(RUNTIME, prompt("a"))
            await gate.began.wait()
            before = store.list_runtimes()
            async with serving(None, store=store, seed=1) as reader:
                assert await reader.wait(RUNTIME, ended.input_id) == Completed(ended.input_id, b"x")
                for runtime_id in (RUNTIME, "unknown"):
                    unknown = await reader.wait(runtime_id, InputId(UUID(int=7)))
                    assert isinstance(unknown, WaitFailed)
                    assert isinstance(unknown.cause, UnknownInput)
                    assert await reader.interrupt(runtime_id) is False
                assert len(reader._pool) == 0
            assert store.list_runtimes() == before
            with pytest.raises(ServiceClosed):
                await reader.interrupt(RUNTIME)
            gate.opened.set()
            assert await active.outcome() == Completed(active.input_id, b"gated")

    run(scenario)


@pytest.mark.parametrize("who_notices", ["a caller", "the worker", "nobody before the end"])
def test_a_second_service_takes_a_runtime_over_whole(who_notices: str) -> None:
    """The first lets go: its waiter is told, its executor is cancelled, its boundary is refused; one result (C32)."""

    async def scenario() -> None:
        store, gate, second_executor = MemoryStore(), Gate(), Scripted()
        first_executor = Scripted({"a": gate})
        async with serving(first_executor, store=store) as first:
            handle = await first.submit(RUNTIME, prompt("a"))
            waiter = asyncio.create_task(handle.outcome())
            await gate.began.wait()
            async with serving(second_executor, store=store, seed=1) as second:
                outcome = await second.wait(RUNTIME, handle.input_id)
                assert isinstance(outcome, Completed)
                if who_notices == "a caller":
                    with pytest.raises(Fenced):
                        await first.ingest(RUNTIME, prompt("b"))
                    await gate.cancelled.wait()
                elif who_notices == "the worker":
                    gate.opened.set()
                if who_notices != "nobody before the end":
                    told = await waiter
                    assert isinstance(told, WaitFailed)
                    assert isinstance(told.cause, Fenced)
                    assert RUNTIME not in first._pool
                    await takes(5.0)
                    assert first_executor.under_way.total() == 0
                record = await second.input_record(RUNTIME, handle.input_id)
                assert record is not None
                assert (record.state, record.attempt_count, record.failure_count) == (InputState.CONSUMED, 2, 1)
                assert outcome.result == b"a"
        await waiter

    run(scenario)


def test_a_runtime_that_was_lost_can_be_taken_back() -> None:
    """The next call opens it anew, which fences the other; an old worker's last words do not touch the new driver."""

    async def scenario() -> None:
        store, gate = MemoryStore(), Gate()
        async with serving(Scripted({"a": gate}), store=store) as first, serving(None, store=store, seed=1) as second:
            await first.submit(RUNTIME, prompt("a"))
            await gate.began.wait()
            await second.retire(RUNTIME)
            with pytest.raises(Fenced):
                await first.retire(RUNTIME)
            handle = await first.submit("other", prompt("b"))
            async with first._pool.use(RUNTIME):
                pass
            gate.opened.set()
            assert isinstance(await handle.outcome(), Completed)
            await takes(5.0)
            assert RUNTIME in first._pool
            with pytest.raises(Fenced):
                await second.destroy(RUNTIME)

    run(scenario)


def test_a_store_that_was_closed_lets_every_user_know() -> None:
    """The runtime is let go, its waiters are told."""

    async def scenario() -> None:
        store = MemoryStore()
        async with serving(None, store=store) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            waiter = asyncio.create_task(handle.outcome())
            await takes(1.0)
            driver = opened(service).driver

            async def closed() -> Any:
                raise StoreClosed("closed")

            driver.retire = closed  # type: ignore[method-assign]
            with pytest.raises(StoreClosed):
                await service.retire(RUNTIME)
            told = await waiter
            assert isinstance(told, WaitFailed)
            assert isinstance(told.cause, StoreClosed)

    run(scenario)


# -- the backlog -------------------------------------------------------------------------------------------------------


async def left_over(store: MemoryStore, runtimes: int) -> None:
    """A service without an executor takes an input for each of so many runtimes, and ends."""
    async with serving(None, store=store) as service:
        for number in range(runtimes):
            await service.ingest(f"r{number:04}", prompt("a"))
        await service.retire("idle")


def test_what_is_left_is_worked_off_at_the_next_start() -> None:
    """Nobody asks for it, and there are far more runtimes than may be open at once."""

    async def scenario() -> tuple[int, int, bool]:
        store, executor = MemoryStore(), Scripted()
        await left_over(store, 1200)
        settings = evolve(SETTINGS, max_open=10, max_runs=4, runtime=evolve(RULES, debug=False))
        async with serving(executor, settings, store, seed=1) as service:
            most = 0
            while len(executor.entered) < 1200:
                most = max(most, len(service._pool))
                await asyncio.sleep(0)
            loaded = store.load_runtime("idle")
            assert loaded is not None
            return most, executor.most, loaded.record.epoch == 1

    most, at_once, idle_untouched = run(scenario)
    assert most <= 10 + 1
    assert at_once <= 4
    assert idle_untouched


def test_a_retired_runtime_drains_after_a_restart() -> None:
    """It has no executor attached, and is worked off all the same (C33)."""

    async def scenario() -> list[tuple[str, ...]]:
        store, executor = MemoryStore(), Scripted()
        async with serving(None, store=store) as service:
            await service.ingest(RUNTIME, prompt("a"))
            await service.retire(RUNTIME)
        async with serving(executor, store=store, seed=1) as service:
            await takes(1.0)
            assert await service.runtime_state(RUNTIME) is RuntimeState.RETIRED
        return executor.entered

    assert run(scenario) == [("a",)]


def test_closing_does_not_wait_for_the_backlog() -> None:
    """Its reading waits for room among runs that take long; the end does not wait for that."""

    async def scenario() -> float:
        store, gate = MemoryStore(), Gate()
        await left_over(store, 3)
        service = service_over(store, Scripted({"a": gate}), evolve(SETTINGS, max_open=1), seed=1)
        async with service:
            await gate.began.wait()
            await takes(1.0)
            await service.close(2.0)
        return asyncio.get_running_loop().time()

    assert run(scenario) == 3.0


def test_a_backlog_is_left_alone_where_that_is_asked_for() -> None:
    """With ``resume_backlog=False`` a runtime waits until it is used."""

    async def scenario() -> tuple[int, int]:
        store, executor = MemoryStore(), Scripted()
        await left_over(store, 2)
        async with serving(executor, evolve(SETTINGS, resume_backlog=False), store, seed=1) as service:
            await takes(100.0)
            before = len(executor.entered)
            await service.wake("r0000")
            await takes(100.0)
            return before, len(executor.entered)

    assert run(scenario) == (0, 1)


def test_a_backlog_that_cannot_be_read_is_tried_again() -> None:
    """A store that fails for a while is asked again; a runtime whose rows are bad is told of and passed over."""

    async def scenario() -> tuple[int, str | None]:
        inner, executor = MemoryStore(), Scripted()
        await left_over(inner, 3)
        store = FaultyStore(inner)
        failing = iter([True] * 6)

        def list_runtimes(**page: Any) -> Any:
            if next(failing, False):
                raise StoreError("down")
            return inner.list_runtimes(**page)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FaultyStore, "list_runtimes", lambda _, **page: list_runtimes(**page))
            original = PersistentRuntimeDriver.open.__func__  # type: ignore[attr-defined]
            refused = iter([True])

            async def opens(cls: Any, runtime_id: str, *args: Any, **kwargs: Any) -> Any:
                if runtime_id == "r0001":
                    raise StoreCorruption("row", "bad")
                if runtime_id == "r0002" and next(refused, False):
                    raise StoreError("down")
                return await original(cls, runtime_id, *args, **kwargs)

            patch.setattr(PersistentRuntimeDriver, "open", classmethod(opens))
            async with serving(executor, store=store, seed=1) as service:
                await takes(60.0)
                cause = service.status().cause
        return len(executor.entered), cause

    entered, cause = run(scenario)
    assert entered == 2
    assert cause is not None


def test_closing_while_the_backlog_is_read_ends_the_reading() -> None:
    """No runtime is opened after that, and none is left half open."""
    for steps in range(30):

        async def scenario(steps: int = steps) -> None:
            store = MemoryStore()
            await left_over(store, 3)
            service = service_over(store, Scripted(), evolve(SETTINGS, max_open=1), seed=1)
            async with service:
                for _ in range(steps):
                    await asyncio.sleep(0)
            assert len(service._pool) == 0
            with pytest.raises(ServiceClosed):
                await service.retire("r0000")
            assert store.verify() == []
            for number in range(3):
                for record in store.list_inputs(InputFilter(f"r{number:04}")).records:
                    assert record.failure_count == 0

        run(scenario)


def test_a_service_without_an_executor_resumes_nothing() -> None:
    """It is only fed and read; entering it twice begins nothing twice."""

    async def scenario() -> None:
        async with serving(None) as service:
            assert service._pool._resuming is None
        async with serving(Scripted()) as service:
            first = service._pool._resuming
            service._pool.resume()
            assert service._pool._resuming is first

    run(scenario)


def test_an_ephemeral_input_outlives_the_rush_for_room() -> None:
    """It was acknowledged; it is worked off although its runtime was the least recently used."""

    async def scenario() -> list[tuple[str, ...]]:
        executor = Scripted()
        async with serving(executor, evolve(SETTINGS, max_open=1)) as service:
            await service.submit(RUNTIME, progress("news", durability=Durability.EPHEMERAL))
            for number in range(5):
                await service.retire(f"r{number}")
            handle = await service.submit(RUNTIME, ContinuationInput.new("go"))
            await handle.outcome()
        return executor.entered

    assert run(scenario) == [("news",), ("go",)]
