"""The end of a service: it drains, calls off free of charge, and leaves to the next start what is queued."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime.errors import DriverClosed, ServiceClosed, WrongLoop
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Completed, WaitFailed
from holdstate.runtime.records import InputRecord
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.store import InputFilter
from holdstate.spec.vocabulary import EventCode, InputState
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .kit import (
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    brought_up,
    prompt,
    service_over,
    serving,
    takes,
    waiting_rules,
)
from .virtual_loop import explore, run


def records(store: MemoryStore, runtime_id: str = RUNTIME) -> list[InputRecord]:
    return list(store.list_inputs(InputFilter(runtime_id)).records)


def seconds() -> float:
    return asyncio.get_running_loop().time()


def test_close_waits_for_the_run_and_leaves_the_queue() -> None:
    """What runs may finish; what is queued is worked off by the next start, in order."""

    async def scenario() -> None:
        async def works(_: ActiveRun) -> bytes:
            await takes(3.0)
            return b"done"

        store, executor = MemoryStore(), Scripted({"a": works})
        service = service_over(store, executor)
        handles = [await service.submit(RUNTIME, prompt(word)) for word in "abc"]
        waiters = [asyncio.create_task(handle.outcome()) for handle in handles]
        await takes(1.0)
        await service.close()
        assert seconds() == 3.0
        outcomes = [await waiter for waiter in waiters]
        assert isinstance(outcomes[0], Completed)
        causes = [type(outcome.cause) for outcome in outcomes[1:] if isinstance(outcome, WaitFailed)]
        assert causes == [ServiceClosed] * 2
        states = Counter(record.state for record in records(store))
        assert states == {InputState.CONSUMED: 1, InputState.QUEUED: 2}
        async with serving(executor, store=store, seed=1) as again:
            for handle in handles:
                assert isinstance(await again.wait(RUNTIME, handle.input_id), Completed)
        assert executor.entered == [("a",), ("b",), ("c",)]

    run(scenario)


def test_after_the_deadline_runs_are_called_off_free_of_charge() -> None:
    """The input goes back to its place with no failure counted (C14)."""

    async def scenario() -> None:
        store, gate = MemoryStore(), Gate()
        service = service_over(store, Scripted({"a": gate}))
        await service.submit(RUNTIME, prompt("a"))
        await gate.began.wait()
        await service.close(7.0)
        assert seconds() == 7.0
        assert gate.was_cancelled
        (record,) = records(store)
        assert (record.state, record.failure_count) == (InputState.QUEUED, 0)

    run(scenario)


def test_a_second_close_calls_off_at_once_and_both_return_at_the_end() -> None:
    """As a second signal does."""

    async def scenario() -> None:
        store, gate = MemoryStore(), Gate()
        service = service_over(store, Scripted({"a": gate}))
        await service.submit(RUNTIME, prompt("a"))
        await gate.began.wait()
        first = asyncio.create_task(service.close(1000.0))
        await takes(2.0)
        assert not first.done()
        await service.close()
        assert seconds() == 2.0
        assert gate.was_cancelled
        await first
        await service.close()
        assert records(store)[0].failure_count == 0

    run(scenario)


def test_a_closer_who_is_cancelled_does_not_stop_the_closing() -> None:
    """It goes on to its end, of which subscribers hear; whoever closes next sees it through."""

    async def scenario() -> None:
        gate = Gate()
        service = service_over(MemoryStore(), Scripted({"a": gate}))
        events = service.subscribe(codes=[EventCode.RUNTIME_STATE_CHANGED])
        await service.submit(RUNTIME, prompt("a"))
        await gate.began.wait()
        first = asyncio.create_task(service.close(1000.0))
        await takes(1.0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        gate.opened.set()
        async for _ in events:
            pass
        await service.close()
        assert len(service._pool) == 0

    run(scenario)


async def test_a_service_is_closed_on_its_own_loop_alone() -> None:
    """On another one that is refused, and the service goes on (C27)."""
    async with RuntimeService(MemoryStore(), Scripted()) as service:
        with pytest.raises(WrongLoop):
            await asyncio.to_thread(lambda: asyncio.run(service.close()))
        assert isinstance(await (await service.submit(RUNTIME, prompt("a"))).outcome(60.0), Completed)


def test_a_service_whose_loop_is_gone_may_be_closed_on_another() -> None:
    """It is as after a crash: what was under way is in the store."""
    store = MemoryStore()
    service = RuntimeService(store)
    asyncio.run(service.retire(RUNTIME))
    asyncio.run(service.close())
    assert store.verify() == []


def test_an_executor_that_hangs_does_not_hold_up_the_end() -> None:
    """It is left behind after ``hang_seconds``."""

    async def scenario() -> float:
        async def ignores(_: ActiveRun) -> None:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue

        released = asyncio.Event()
        service = service_over(MemoryStore(), Scripted({"a": ignores}))
        await service.submit(RUNTIME, prompt("a"))
        await takes(1.0)
        await service.close(5.0)
        released.set()
        return seconds()

    assert run(scenario) == 1.0 + 5.0 + SETTINGS.hang_seconds


@pytest.mark.parametrize("reads", [0, 10**9])
def test_a_store_that_stays_broken_does_not_hold_up_the_end(reads: int) -> None:
    """The run's end cannot be stored: after the deadline it is left as a crash would leave it (C34)."""

    async def scenario() -> None:
        inner, gate = MemoryStore(), Gate()
        store = FaultyStore(inner)
        service = service_over(store, Scripted({"a": gate}))
        await service.submit(RUNTIME, prompt("a"))
        await gate.began.wait()
        store.arm(Plan(Fault.REFUSED, write=0, failing_writes=10**9, failing_reads=reads))
        gate.opened.set()
        await service.close(7.0)
        assert 7.0 <= seconds() < 8.0
        assert [record.state for record in records(inner)] == [InputState.STAGED]
        async with serving(Scripted(), store=inner, seed=1) as again:
            assert isinstance(await again.wait(RUNTIME, records(inner)[0].input_id), Completed)

    run(scenario)


def test_a_runtime_that_waits_for_its_turn_does_not_begin() -> None:
    """It was next when the closing began; it stays queued."""

    async def scenario() -> None:
        store, gate = MemoryStore(), Gate()
        executor = Scripted({"a": gate})
        service = service_over(store, executor, evolve(SETTINGS, max_runs=1))
        await service.submit("first", prompt("a"))
        await gate.began.wait()
        await service.submit("second", prompt("b"))
        closing = asyncio.create_task(service.close())
        await takes(1.0)
        gate.opened.set()
        await closing
        assert executor.entered == [("a",)]
        assert [record.attempt_count for record in records(store, "second")] == [0]

    run(scenario)


def test_held_work_does_not_hold_up_the_end() -> None:
    """A backoff is waited for by the next start."""

    async def scenario() -> float:
        async def fails(_: ActiveRun) -> None:
            raise ValueError

        service = service_over(MemoryStore(), Scripted({"a": fails}), evolve(SETTINGS, runtime=waiting_rules(100.0)))
        await service.submit(RUNTIME, prompt("a"))
        await takes(1.0)
        await service.close()
        return seconds()

    assert run(scenario) == 1.0


@pytest.mark.parametrize("drain", [0.0, 5.0])
def test_close_at_any_step_of_a_submit_leaves_all_or_nothing(drain: float) -> None:
    """The caller is answered, or hears ``ServiceClosed``; what was acknowledged is stored and whole (C1)."""
    seen = set()

    def closing_after(steps: int) -> Any:
        async def scenario() -> str:
            store = MemoryStore()
            service = service_over(store, Scripted())
            given = prompt("a")

            async def caller() -> Any:
                handle = await service.submit(RUNTIME, given)
                return handle, await handle.outcome()

            task = asyncio.create_task(caller())
            for _ in range(steps):
                await asyncio.sleep(0)
            await service.close(drain)
            answer: Any = (await asyncio.gather(task, return_exceptions=True))[0]
            assert store.verify() == []
            stored = {record.input_id: record for record in records(store)}
            if isinstance(answer, BaseException):
                assert isinstance(answer, ServiceClosed)
                return "refused"
            record = stored[given.header.id]
            assert record.failure_count == 0
            assert (record.state is InputState.CONSUMED) or isinstance(answer[1], WaitFailed)
            return type(answer[1]).__name__

        return scenario

    for steps in range(40):
        seen.add(run(closing_after(steps)))
        for _ in explore(closing_after(steps), 0):
            pass
    assert seen == {"refused", "WaitFailed", "Completed"}


def test_no_order_of_close_and_work_strands_anything() -> None:
    """Two submits and a close at once, in every schedule with one deviation: the next start ends everything once."""

    async def scenario() -> None:
        store, executor = MemoryStore(), Scripted()
        service = service_over(store, executor)
        given = [prompt("a"), prompt("b")]
        calls = [service.submit(RUNTIME, each) for each in given]
        answers = await asyncio.gather(*calls, service.close(), return_exceptions=True)
        assert all(not isinstance(answer, BaseException) or isinstance(answer, ServiceClosed) for answer in answers)
        assert len(service._pool) == 0
        accepted = [each for each, answer in zip(given, answers, strict=False) if not isinstance(answer, BaseException)]
        async with serving(executor, store=store, seed=1) as again:
            for each in accepted:
                assert isinstance(await again.wait(RUNTIME, each.header.id), Completed)
        words = [word for run in executor.entered for word in run]
        assert len(words) == len(set(words))

    assert sum(1 for _ in explore(scenario, 1)) > 20


def test_a_block_that_raises_closes_the_service_too() -> None:
    """The error goes on, the run may finish, nothing is left open."""

    async def scenario() -> None:
        store, gate = MemoryStore(), Gate()
        service = service_over(store, Scripted({"a": gate}))
        with pytest.raises(KeyError):  # noqa: PT012 - the block is what is tested
            async with service:
                await service.submit(RUNTIME, prompt("a"))
                await gate.began.wait()
                gate.opened.set()
                raise KeyError
        assert len(service._pool) == 0
        assert [record.state for record in records(store)] == [InputState.CONSUMED]

    run(scenario)


def test_a_call_that_is_overtaken_by_the_end_hears_that_the_service_is_closed() -> None:
    """Not that some driver is."""

    async def scenario() -> None:
        service = service_over(MemoryStore(), None)
        with pytest.raises(ServiceClosed) as raised:  # noqa: PT012 - the same
            async with service._pool.use(RUNTIME) as entry:
                await service.close()
                await entry.driver.retire()
        assert isinstance(raised.value.__cause__, DriverClosed)

    run(scenario)


def test_a_run_that_is_just_being_begun_is_called_off_by_an_abort() -> None:
    """The executor is not entered any more, and nothing is charged."""

    async def scenario() -> bool:
        store, executor = MemoryStore(), Scripted()
        service = service_over(store, executor)
        closing: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()
        driver = (await brought_up(service)).driver
        original = driver.begin_run

        async def begins(run_id: Any = None) -> Any:
            run = await original(run_id)
            closing.set_result(asyncio.create_task(service.close(0.0)))
            await takes(1.0)
            assert service._pool._closing is not None
            return run

        driver.begin_run = begins  # type: ignore[method-assign]
        await service.submit(RUNTIME, prompt("a"))
        await (await closing)
        (record,) = records(store)
        assert (record.state, record.attempt_count, record.failure_count) == (InputState.QUEUED, 1, 0)
        return bool(executor.entered)

    assert run(scenario) is False
