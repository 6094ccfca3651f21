"""The loop of one runtime: no wake-up is lost, held work sleeps, and turns are fair."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from typing import Any, cast

import pytest
from attrs import evolve

from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Completed
from holdstate.runtime.records import RuntimeRecord
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.worker import RuntimeWorker
from holdstate.spec.vocabulary import AbandonReason, InputState
from holdstate.stores.memory_store import MemoryStore

from .kit import (
    MAX_ATTEMPTS,
    NO_BACKOFF,
    RULES,
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    at_rest,
    progress,
    prompt,
    serving,
    steer,
    takes,
    waiting_rules,
    worker_of,
)
from .virtual_loop import Stuck, explore, run, shuffled


def last_run(store: MemoryStore, runtime_id: str = RUNTIME) -> RuntimeRecord:
    loaded = store.load_runtime(runtime_id)
    assert loaded is not None
    return loaded.record


# -- wake-ups ----------------------------------------------------------------------------------------------------------


def test_an_arrival_at_any_step_of_the_worker_is_worked_off() -> None:
    """The second input comes after k steps of the loop, for every k from before the first run to after it (C16)."""

    def arrival_after(steps: int) -> Callable[[], Any]:
        async def scenario() -> tuple[Any, ...]:
            async with serving(Scripted()) as service:
                first = await service.submit(RUNTIME, prompt("first"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                second = await service.submit(RUNTIME, prompt("second"))
                return await first.outcome(), await second.outcome()

        return scenario

    for steps in range(60):
        first, second = run(arrival_after(steps))
        assert (first.result, second.result) == (b"first", b"second")


async def test_a_worker_that_ends_while_its_task_is_made_can_be_woken_again() -> None:
    """Eager tasks run at once; one that finds nothing to do is over before anybody holds it (C16)."""

    def eager(loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None) -> asyncio.Future[Any]:
        if work.__qualname__ != "RuntimeWorker._work":
            return asyncio.Task(work, loop=loop, context=context)
        with pytest.raises(StopIteration):
            work.send(None)
        done = loop.create_future()
        done.set_result(None)
        return done

    async with RuntimeService(MemoryStore(), Scripted()) as service:
        loop = asyncio.get_running_loop()
        await (await service.submit(RUNTIME, prompt("first"))).outcome()
        await until_idle(service)
        loop.set_task_factory(cast("Any", eager))
        await service.wake(RUNTIME)
        loop.set_task_factory(None)
        assert not worker_of(service).is_busy
        assert isinstance(await (await service.submit(RUNTIME, prompt("second"))).outcome(60.0), Completed)


async def until_idle(service: RuntimeService) -> None:
    """Until the worker sleeps and nothing else is ready."""
    task = worker_of(service).task
    if task is not None:
        await asyncio.wait({task})
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_order_of_two_arrivals_and_the_worker_loses_a_wake_up() -> None:
    """Both wait for their ends, too much to try every order: all that leave asyncio's once, and random ones (C16)."""

    async def scenario() -> list[bytes | None]:
        async with serving(Scripted()) as service:

            async def caller(word: str) -> bytes | None:
                handle = await service.submit(RUNTIME, prompt(word))
                outcome = await handle.outcome()
                assert isinstance(outcome, Completed)
                return outcome.result

            return list(await asyncio.gather(caller("a"), caller("b")))

    count = 0
    for answers in (*explore(scenario, 1), *shuffled(scenario, 300)):
        assert answers == [b"a", b"b"]
        count += 1
    assert count > 340


def test_a_wake_up_that_is_dropped_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler finds the bug that it is for: a worker that forgets who came while it looked."""

    async def forgetful(self: Any) -> None:
        await original(self)
        self._look_again = False

    original = RuntimeWorker._look

    async def scenario() -> None:
        async with serving(Scripted()) as service:
            await service.submit(RUNTIME, prompt("a"))
            handle = await service.submit(RUNTIME, prompt("b"))
            await handle.outcome()

    monkeypatch.setattr(RuntimeWorker, "_look", forgetful)
    with pytest.raises(Stuck):
        for _ in explore(scenario, 1):
            pass


def test_a_commit_that_lands_after_its_caller_left_wakes_the_runtime() -> None:
    """The caller is cancelled at every step of its call: what is stored is worked off, what is not never was (C10)."""

    def leaving_after(steps: int) -> Callable[[], Any]:
        async def scenario() -> InputState | None:
            given = prompt("a")
            async with serving(Scripted(), evolve(SETTINGS, max_open=1)) as service:
                caller = asyncio.create_task(service.ingest(RUNTIME, given))
                for _ in range(steps):
                    await asyncio.sleep(0)
                caller.cancel()
                await asyncio.gather(caller, return_exceptions=True)
                await service.retire("other")
                await takes(1.0)
                return await service.input_state(RUNTIME, given.header.id)

        return scenario

    states = [run(leaving_after(steps)) for steps in range(20)]
    assert set(states) == {None, InputState.CONSUMED}


def test_held_work_sleeps() -> None:
    """While a backoff holds the only input, the worker looks once for each attempt, and never in between (C16)."""

    async def scenario() -> tuple[int, list[float], Any]:
        times: list[float] = []

        async def fails(_: ActiveRun) -> None:
            times.append(asyncio.get_running_loop().time())
            raise ValueError("no")

        settings = evolve(SETTINGS, runtime=waiting_rules(100.0))
        async with serving(Scripted({"a": fails}), settings) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            await handle.accepted
            worker, looks = worker_of(service), Counter[str]()
            original = worker._look

            async def look() -> None:
                looks["look"] += 1
                await original()

            worker._look = look  # type: ignore[method-assign]
            outcome = await handle.outcome()
            await at_rest(worker)
            return looks["look"], times, outcome

    looks, times, outcome = run(scenario)
    assert outcome.reason is AbandonReason.ATTEMPTS_EXHAUSTED
    assert [round(time) for time in times] == [0, 100, 200]
    assert looks == 2 * MAX_ATTEMPTS - 1, "a run, and a look that finds the lane held or empty; not counting the first"


def test_a_held_lane_is_looked_at_again_when_somebody_comes() -> None:
    """An arrival in the other lane ends the sleep, is worked off, and the sleep goes on."""

    async def scenario() -> list[tuple[str, ...]]:
        tries = iter((True, False))

        async def fails_once(_: ActiveRun) -> bytes:
            if next(tries):
                raise ValueError("no")
            return b"done"

        executor = Scripted({"a": fails_once})
        async with serving(executor, evolve(SETTINGS, runtime=waiting_rules(100.0))) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            await takes(10.0)
            assert isinstance(await (await service.submit(RUNTIME, steer("s"))).outcome(), Completed)
            assert round(asyncio.get_running_loop().time()) == 10
            assert isinstance(await handle.outcome(), Completed)
            assert round(asyncio.get_running_loop().time()) == 100
        return executor.entered

    assert run(scenario) == [("a",), ("s",), ("a",)]


def test_an_input_that_wakes_nobody_waits_for_company() -> None:
    """A no-wake input lies still in an idle runtime; the next run's worker finds it (C16)."""

    async def scenario() -> list[tuple[str, ...]]:
        executor = Scripted()
        async with serving(executor) as service:
            quiet = await service.submit(RUNTIME, progress("news"))
            await takes(1000.0)
            assert executor.entered == []
            assert not worker_of(service).is_busy
            await (await service.submit(RUNTIME, prompt("a"))).outcome()
            assert isinstance(await quiet.outcome(), Completed)
        return executor.entered

    assert run(scenario) == [("news",), ("a",)]


# -- turns -------------------------------------------------------------------------------------------------------------


def test_runs_under_way_are_bounded_and_turns_are_fair() -> None:
    """With two turns for six runtimes of ten inputs each, never more than two runs, and nobody is far ahead."""

    async def scenario() -> tuple[int, list[str]]:
        order: list[str] = []

        async def works(run: ActiveRun) -> None:
            order.append(run.runtime_id)
            await takes(1.0)

        executor = Scripted({"a": works})
        names = [f"runtime {n}" for n in range(6)]
        async with serving(executor, evolve(SETTINGS, max_runs=2)) as service:
            handles = await asyncio.gather(*(service.submit(name, prompt("a")) for _ in range(10) for name in names))
            for handle in handles:
                assert isinstance(await handle.outcome(), Completed)
        return executor.most, order

    for most, order in (run(scenario), *shuffled(scenario, 5)):
        assert most == 2
        assert len(order) == 60
        for end in range(len(order)):
            seen = Counter(order[: end + 1])
            assert max(seen.values()) - min(seen[f"runtime {n}"] for n in range(6)) <= 2


def test_a_runtime_whose_executor_is_slow_does_not_hold_up_another() -> None:
    """Commands and runs of a second runtime go on at once (C29)."""

    async def scenario() -> float:
        gate = Gate()
        async with serving(Scripted({"slow": gate})) as service:
            slow = await service.submit("slow", prompt("slow"))
            await gate.began.wait()
            await (await service.submit("quick", prompt("a"))).outcome()
            seconds = asyncio.get_running_loop().time()
            gate.opened.set()
            await slow.outcome()
        return seconds

    assert run(scenario) == 0.0


def test_without_backoff_a_retry_is_at_once() -> None:
    """A failed run with no wait ahead of it is begun again in the same moment."""

    async def scenario() -> float:
        async def fails(_: ActiveRun) -> None:
            raise ValueError

        async with serving(Scripted({"a": fails})) as service:
            assert RULES.retry.backoff == NO_BACKOFF
            await (await service.submit(RUNTIME, prompt("a"))).outcome()
            return asyncio.get_running_loop().time()

    assert run(scenario) == 0.0


def test_idle_means_that_nothing_selectable_is_left() -> None:
    """When the worker has gone to rest, every input of a random mix has ended or wakes nobody (C16)."""

    async def scenario() -> None:
        store = MemoryStore()
        async with serving(Scripted(), store=store) as service:
            await asyncio.gather(*(service.submit(RUNTIME, prompt(str(n))) for n in range(5)))
            await at_rest(worker_of(service))
            assert last_run(store).counts.active == 0

    for _ in shuffled(scenario, 50):
        pass
