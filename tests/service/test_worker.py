"""The loop of one runtime: no wake-up is lost, held work sleeps, turns are fair, and every run ends as it is named."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime.errors import RunNotCurrent, StoreClosed, StoreError
from holdstate.runtime.executor import ActiveRun, PermanentFailure
from holdstate.runtime.handles import Abandoned, Completed, WaitFailed
from holdstate.runtime.outcomes import RunOutput
from holdstate.runtime.records import RuntimeRecord
from holdstate.runtime.settings import RetryPolicy
from holdstate.runtime.worker import STORE_RETRY_SECONDS, RuntimeWorker
from holdstate.spec.vocabulary import AbandonReason, InputState, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .kit import (
    MAX_ATTEMPTS,
    NO_BACKOFF,
    RULES,
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    event,
    opened,
    progress,
    prompt,
    serving,
    steer,
    submitted,
    takes,
    until,
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


def test_no_order_of_two_arrivals_and_the_worker_loses_a_wake_up() -> None:
    """Every schedule that leaves asyncio's order up to twice, and many random ones (C16)."""

    async def scenario() -> list[bytes | None]:
        async with serving(Scripted()) as service:

            async def caller(word: str) -> bytes | None:
                handle = await service.submit(RUNTIME, prompt(word))
                outcome = await handle.outcome()
                assert isinstance(outcome, Completed)
                return outcome.result

            return list(await asyncio.gather(caller("a"), caller("b")))

    count = 0
    for answers in (*explore(scenario, 2), *shuffled(scenario, 300)):
        assert answers == [b"a", b"b"]
        count += 1
    assert count > 500


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
            worker, looks = worker_of(service), Counter[str]()
            original = worker._look

            async def look() -> None:
                looks["look"] += 1
                await original()

            worker._look = look  # type: ignore[method-assign]
            outcome = await handle.outcome()
            await until(lambda: not worker.is_busy)
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


# -- how runs end ------------------------------------------------------------------------------------------------------


async def one_end(does: Callable[[ActiveRun], Awaitable[Any]]) -> tuple[Any, int, Any]:
    """How an input ends whose runs all do that, how often they were entered, and its record."""
    executor, store = Scripted({"a": does}), MemoryStore()
    async with serving(executor, store=store) as service:
        handle = await service.submit(RUNTIME, prompt("a"))
        outcome = await handle.outcome(1000.0)
        # the runtime is as good as new
        after = await (await service.submit(RUNTIME, prompt("next"))).outcome(1000.0)
        assert isinstance(after, Completed), after
        record = await service.input_record(RUNTIME, handle.input_id)
    return outcome, len(executor.entered) - 1, record


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("not even that")


def deep() -> None:
    deep()


async def raises_recursion(_: ActiveRun) -> None:
    deep()


RAISED: dict[str, BaseException] = {
    "ValueError": ValueError("no"),
    "KeyError": KeyError("k"),
    "OSError": OSError(5, "io"),
    "TimeoutError": TimeoutError("late"),
    "AssertionError": AssertionError(),
    "StopIteration": StopIteration(1),
    "StopAsyncIteration": StopAsyncIteration(),
    "MemoryError": MemoryError(),
    "StoreError": StoreError("of some other store"),
    "RunNotCurrent": RunNotCurrent("theirs", None, None),
    "ExceptionGroup": ExceptionGroup("several", [ValueError(1), PermanentFailure("x")]),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "SystemExit": SystemExit(3),
    "GeneratorExit": GeneratorExit(),
    "CancelledError": asyncio.CancelledError("mine"),
    "BaseExceptionGroup": BaseExceptionGroup("worse", [KeyboardInterrupt()]),
    "Unspeakable": Unspeakable(),
    "UnicodeError": ValueError("\ud800 surrogate \x00"),
    "long": ValueError("x" * 100_000),
}


@pytest.mark.parametrize("name", RAISED)
def test_whatever_an_executor_raises_is_a_failure_of_its_run(name: str) -> None:
    """Each run is charged, the cap ends the input with the words of the error, and the runtime goes on (C14, C25)."""

    async def raises(_: ActiveRun) -> None:
        raise RAISED[name]

    outcome, runs, record = run(lambda: one_end(raises))
    assert isinstance(outcome, Abandoned)
    assert outcome.reason is AbandonReason.ATTEMPTS_EXHAUSTED
    assert (runs, record.failure_count, record.attempt_count) == (MAX_ATTEMPTS,) * 3
    assert outcome.error is not None
    assert len(outcome.error.encode()) <= 4000, "bounded, and in words that any store can encode"
    assert type(RAISED[name]).__name__ in outcome.error or name == "StopIteration"


def test_an_executor_that_recurses_for_ever_fails_its_run() -> None:
    """RecursionError is an error like any other."""
    outcome, runs, _ = run(lambda: one_end(raises_recursion))
    assert outcome.error.startswith("RecursionError")
    assert runs == MAX_ATTEMPTS


@pytest.mark.parametrize(
    "error",
    [PermanentFailure("never"), ExceptionGroup("all", [PermanentFailure("never"), PermanentFailure("ever")])],
)
def test_a_permanent_failure_is_not_tried_again(error: Exception) -> None:
    """The input is abandoned with its words after one run; so where a task group bundled it (C25)."""

    async def raises(_: ActiveRun) -> None:
        raise error

    outcome, runs, _ = run(lambda: one_end(raises))
    assert (outcome.reason, runs) == (AbandonReason.FAILED, 1)
    assert "never" in outcome.error or "all" in outcome.error


def test_a_permanent_failure_of_a_shared_run_takes_nobody_down() -> None:
    """The members of a batch are tried again one by one, and only the bad one is abandoned (C15)."""

    async def scenario() -> tuple[list[Any], list[tuple[str, ...]]]:
        async def refuses(run: ActiveRun) -> None:
            if any(given.event_type == "bad" for given in run.inputs):  # type: ignore[union-attr]
                raise PermanentFailure("bad")

        executor = Scripted({"good": refuses, "bad": refuses})
        gate = executor.does["gate"] = Gate()
        async with serving(executor) as service:
            first = await service.submit(RUNTIME, prompt("gate"))
            await gate.began.wait()
            handles = await submitted(service, event("good"), event("bad"), event("good"))
            gate.opened.set()
            await first.outcome()
            return [await handle.outcome() for handle in handles], executor.entered

    outcomes, entered = run(scenario)
    assert [type(outcome) for outcome in outcomes] == [Completed, Abandoned, Completed]
    assert entered == [("gate",), ("good", "bad", "good"), ("good",), ("bad",), ("good",)]


NONSENSE: dict[str, Any] = {
    "text": "text",
    "number": 7,
    "list": [],
    "bytearray": bytearray(b"x"),
    "snapshot": RunOutput(session_snapshot="text"),  # type: ignore[arg-type]
    "result": RunOutput(result=7),  # type: ignore[arg-type]
    "negative": RunOutput(message_count=-1),
    "huge": RunOutput(message_count=2**64),
    "bool": RunOutput(message_count=True),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_that_an_executor_returns_is_a_failure(name: str) -> None:
    """Nothing of it reaches the store, and the words say what is wanted."""

    async def returns(_: ActiveRun) -> Any:
        return NONSENSE[name]

    outcome, runs, _ = run(lambda: one_end(returns))
    assert (outcome.reason, runs) == (AbandonReason.ATTEMPTS_EXHAUSTED, MAX_ATTEMPTS)
    assert "the executor returned" in outcome.error


@pytest.mark.parametrize("returned", [None, b"x", RunOutput(result=b"x"), RunOutput()])
def test_what_an_executor_may_return_completes_the_run(returned: Any) -> None:
    """None, bytes and RunOutput."""

    async def returns(_: ActiveRun) -> Any:
        return returned

    outcome, runs, _ = run(lambda: one_end(returns))
    assert isinstance(outcome, Completed)
    assert (outcome.result, runs) == (getattr(returned, "result", returned), 1)


@pytest.mark.parametrize("how", ["returns", "raises", "no such method"])
def test_an_executor_that_is_not_async_fails_its_runs(how: str) -> None:
    """A plain function in place of a coroutine function is a failure with words, not the end of the worker."""

    class Plain:
        def apply(self, run: ActiveRun) -> Any:
            if how == "raises":
                raise ValueError("at once")
            return b"x"

    async def scenario() -> Any:
        executor: Any = object() if how == "no such method" else Plain()
        async with serving(executor) as service:
            return await (await service.submit(RUNTIME, prompt("a"))).outcome()

    outcome = run(scenario)
    assert outcome.reason is AbandonReason.ATTEMPTS_EXHAUSTED


def test_a_run_that_takes_too_long_is_cancelled_and_fails() -> None:
    """``run_timeout`` cancels the executor, charges an attempt each time, and the cap ends it."""

    async def scenario() -> tuple[Any, list[str | None], float]:
        executor = Scripted({"a": lambda _: takes(1e6)})
        async with serving(executor, evolve(SETTINGS, run_timeout=30.0)) as service:
            outcome = await (await service.submit(RUNTIME, prompt("a"))).outcome()
            return outcome, [each.token.reason for each in executor.runs], asyncio.get_running_loop().time()

    outcome, reasons, seconds = run(scenario)
    assert outcome.error == "the run took longer than 30.0 s"
    assert reasons == ["timeout"] * MAX_ATTEMPTS
    assert round(seconds) == 90


def test_an_executor_that_ignores_its_cancellation_is_left_behind() -> None:
    """Its run fails without it, its turn is given back, its later boundary is refused, and the runtime goes on."""

    async def scenario() -> tuple[Any, Any, list[BaseException], int, int]:
        refused: list[BaseException] = []
        stubborn = asyncio.Event()

        async def ignores(run: ActiveRun) -> bytes:
            while not stubborn.is_set():
                try:
                    await stubborn.wait()
                except asyncio.CancelledError:
                    continue
            for late in (run.checkpoint, run.take_steers):
                try:
                    await late()
                except RunNotCurrent as error:
                    refused.append(error)
            return b"too late"

        settings = evolve(SETTINGS, run_timeout=30.0, max_runs=1, runtime=evolve(RULES, retry=RetryPolicy(1)))
        async with serving(Scripted({"a": ignores}), settings) as service:
            outcome = await (await service.submit(RUNTIME, prompt("a"))).outcome()
            after = await (await service.submit(RUNTIME, prompt("b"))).outcome()
            worker = worker_of(service)
            left = worker.left_behind
            assert service.status().cause is not None
            stubborn.set()
            await until(lambda: worker.left_behind == 0)
            return outcome, after, refused, left, worker.left_behind

    outcome, after, refused, left, later = run(scenario)
    assert isinstance(outcome, Abandoned)
    assert after.result == b"b"
    assert [type(error) for error in refused] == [RunNotCurrent] * 2
    assert (left, later) == (1, 0)


def test_an_executor_task_that_somebody_else_cancels_fails_its_run() -> None:
    """Also when that hits it before its first step: no run is left without an end."""

    async def scenario() -> Any:
        executor = Scripted()
        async with serving(executor) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            hit = 0
            while hit < 2:
                for task in asyncio.all_tasks():
                    if "executed" in repr(task.get_coro()):
                        hit += task.cancel()
                await asyncio.sleep(0)
            return await handle.outcome()

    assert isinstance(run(scenario), Completed | Abandoned)


def test_an_interrupted_run_is_free_of_charge_and_tried_again() -> None:
    """``interrupt`` calls the run off; the input keeps its place and its count of failures (C14, C26)."""

    async def scenario() -> tuple[bool, bool, Any, Any]:
        gate = Gate()
        executor = Scripted({"a": gate})
        async with serving(executor) as service:
            assert not await service.interrupt(RUNTIME)
            handle = await service.submit(RUNTIME, prompt("a"))
            await gate.began.wait()
            first = await service.interrupt(RUNTIME)
            again = await service.interrupt(RUNTIME)
            await until(lambda: gate.was_cancelled)
            gate.opened.set()
            outcome = await handle.outcome()
            record = await service.input_record(RUNTIME, handle.input_id)
            return first, again, outcome, record

    first, again, outcome, record = run(scenario)
    assert first
    assert again, "once more while it ends is one effect"
    assert outcome.result == b"gated"
    assert (record.attempt_count, record.failure_count) == (2, 0)


@pytest.mark.parametrize("control", ["interrupt", "stop", "destroy"])
def test_control_at_any_step_of_a_run_leaves_nothing_stranded(control: str) -> None:
    """The command comes after k steps of the loop, for every k: the input ends, and agrees with the record (C26)."""

    def after(steps: int) -> Callable[[], Any]:
        async def scenario() -> tuple[Any, Any, RuntimeState | None]:
            executor, store = Scripted(), MemoryStore()
            async with serving(executor, store=store) as service:
                handle = await service.submit(RUNTIME, prompt("a"))
                for _ in range(steps):
                    await asyncio.sleep(0)
                await getattr(service, control)(RUNTIME)
                outcome = await handle.outcome(60.0)
                record = await service.input_record(RUNTIME, handle.input_id)
                assert executor.under_way.total() == 0 or control != "interrupt"
                return outcome, record, await service.runtime_state(RUNTIME)

        return scenario

    seen = set()
    for steps in range(25):
        outcome, record, state = run(after(steps))
        seen.add((type(outcome), state))
        assert (record.state is InputState.CONSUMED) == isinstance(outcome, Completed)
        assert record.failure_count == 0
    if control != "interrupt":
        terminal = RuntimeState.STOPPED if control == "stop" else RuntimeState.DESTROYED
        assert seen == {(Completed, terminal), (Abandoned, terminal)}


def test_a_run_that_is_interrupted_before_its_executor_has_it_is_called_off() -> None:
    """It is begun in the store, and not entered; its next attempt is (C26)."""

    async def scenario() -> tuple[bool, list[tuple[str, ...]], Any]:
        executor = Scripted()
        async with serving(executor) as service:
            await service.interrupt(RUNTIME)
            driver = opened(service).driver
            answers: list[bool] = []
            original = driver.begin_run

            async def begins(run_id: Any = None) -> Any:
                run = await original(run_id)
                if not answers:
                    answers.append(await service.interrupt(RUNTIME))
                return run

            driver.begin_run = begins  # type: ignore[method-assign]
            handle = await service.submit(RUNTIME, prompt("a"))
            assert isinstance(await handle.outcome(), Completed)
            return answers[0], executor.entered, await service.input_record(RUNTIME, handle.input_id)

    answered, entered, record = run(scenario)
    assert answered
    assert entered == [("a",)]
    assert (record.attempt_count, record.failure_count) == (2, 0)


def test_a_stop_during_a_run_is_no_problem_of_the_service() -> None:
    """The end of a run that somebody else ended is dropped without a word."""

    async def scenario() -> str | None:
        gate = Gate()
        async with serving(Scripted({"a": gate})) as service:
            await service.submit(RUNTIME, prompt("a"))
            await gate.began.wait()
            await service.stop(RUNTIME)
            await takes(1.0)
            assert not worker_of(service).is_busy
            return service.status().cause

    assert run(scenario) is None


def test_an_executor_is_told_of_a_stop_before_it_happens() -> None:
    """``control`` hears first; one that fails, hangs, or is no coroutine changes nothing."""

    async def stopped(control: Any) -> tuple[RuntimeState | None, str | None]:
        executor = Scripted()
        told: Any = executor
        if control is not None:

            class Told:
                apply = executor.apply

                def control(self, runtime_id: str, command: Any) -> Any:
                    return control(runtime_id, command)

            told = Told()
        async with serving(told) as service:
            await service.submit(RUNTIME, prompt("a"))
            await service.stop(RUNTIME)
            return await service.runtime_state(RUNTIME), service.status().cause

    heard: list[tuple[str, Any]] = []

    async def hears(*command: Any) -> None:
        heard.append(command)

    async def fails(*_: Any) -> None:
        raise KeyboardInterrupt

    assert run(lambda: stopped(None)) == (RuntimeState.STOPPED, None)
    assert run(lambda: stopped(hears)) == (RuntimeState.STOPPED, None)
    assert [runtime_id for runtime_id, _ in heard] == [RUNTIME]
    for control in (fails, lambda *_: None, lambda *_: takes(1e6)):
        state, cause = run(lambda control=control: stopped(control))  # type: ignore[misc]
        assert state is RuntimeState.STOPPED
        assert cause is not None
        assert "control failed" in cause


# -- the store fails ---------------------------------------------------------------------------------------------------


def plans() -> list[Plan]:
    return [
        Plan(fault, write=number, failing_writes=more, failing_reads=reads)
        for number in range(4)
        for fault in (Fault.REFUSED, Fault.UNKNOWN, Fault.LANDED)
        for more in (0, 3)
        for reads in (0, 2)
    ]


@pytest.mark.parametrize("how", ["completes", "fails"])
@pytest.mark.parametrize("plan", plans(), ids=repr)
def test_a_store_that_fails_is_tried_again_and_no_work_is_repeated(plan: Plan, how: str) -> None:
    """At every commit of a run's life: the run is executed as often as it is charged, and its end is not lost (C34)."""

    async def scenario() -> tuple[Any, list[tuple[str, ...]]]:
        fails = iter((how == "fails", False))

        async def fails_once(_: ActiveRun) -> bytes:
            if next(fails):
                raise ValueError("once")
            return b"done"

        store, executor = FaultyStore(MemoryStore()), Scripted({"a": fails_once})
        async with serving(executor, store=store) as service:
            await service.retire("other")
            store.arm(plan)
            given = prompt("a")
            while True:
                try:
                    handle = await service.submit(RUNTIME, given)
                    outcome = await handle.outcome(1000.0)
                except StoreError:
                    outcome = None
                if isinstance(outcome, Completed | Abandoned):
                    return outcome, executor.entered
                await takes(0.01)

    outcome, entered = run(scenario)
    assert isinstance(outcome, Completed)
    assert outcome.result == b"done"
    assert len(entered) == (1 if how == "completes" else 2)


def test_a_snapshot_that_cannot_be_read_costs_the_run_nothing() -> None:
    """The run is called off before the executor is entered, and begun again later."""

    async def scenario() -> tuple[list[tuple[str, ...]], Any]:
        async def keeps(_: ActiveRun) -> RunOutput:
            return RunOutput(session_snapshot=b"kept")

        executor = Scripted({"a": keeps})
        async with serving(executor) as service:
            await (await service.submit(RUNTIME, prompt("a"))).outcome()
            driver, failures = opened(service).driver, iter([True, True, False])
            original = driver.session_snapshot

            async def unreadable() -> bytes | None:
                if next(failures):
                    raise StoreError("unreadable")
                return await original()

            driver.session_snapshot = unreadable  # type: ignore[method-assign]
            handle = await service.submit(RUNTIME, prompt("b"))
            await handle.outcome()
            assert executor.runs[-1].session_snapshot == b"kept"
            return executor.entered, await service.input_record(RUNTIME, handle.input_id)

    entered, record = run(scenario)
    assert entered == [("a",), ("b",)]
    assert (record.attempt_count, record.failure_count) == (3, 0)


def test_a_failing_store_is_tried_again_less_and_less_often() -> None:
    """Looks at a store that fails are seconds apart, and the runtime goes on when it works again."""

    async def scenario() -> tuple[list[float], Any]:
        times: list[float] = []
        async with serving(Scripted()) as service:
            await service.retire("other")
            await service.interrupt(RUNTIME)
            driver, loop = opened(service).driver, asyncio.get_running_loop()
            original = driver.begin_run

            async def failing(run_id: Any = None) -> Any:
                times.append(loop.time())
                if len(times) < 8:
                    raise StoreError("down")
                return await original(run_id)

            driver.begin_run = failing  # type: ignore[method-assign]
            outcome = await (await service.submit(RUNTIME, prompt("a"))).outcome()
            return times, outcome

    times, outcome = run(scenario)
    assert isinstance(outcome, Completed)
    waits = [round(later - earlier, 3) for earlier, later in pairwise(times[:8])]
    assert waits == [*STORE_RETRY_SECONDS, *([STORE_RETRY_SECONDS[-1]] * 3)]


def test_a_store_that_was_closed_ends_the_wait() -> None:
    """Nothing will ever come of it: the waiter is told so, and the worker does not try for ever."""

    async def scenario() -> Any:
        gate, store = Gate(), FaultyStore(MemoryStore())
        service_store: Any = store

        async with serving(Scripted({"a": gate}), store=service_store) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            waiter = asyncio.create_task(handle.outcome())
            await gate.began.wait()
            driver = opened(service).driver

            async def closed(*_: Any, **__: Any) -> Any:
                raise StoreClosed("closed")

            driver.complete_run = closed  # type: ignore[method-assign]
            gate.opened.set()
            outcome = await waiter
            assert len(service._pool) == 0
            return outcome

    outcome = run(scenario)
    assert isinstance(outcome, WaitFailed)
    assert isinstance(outcome.cause, StoreClosed)


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
            await until(lambda: not worker_of(service).is_busy)
            assert last_run(store).counts.active == 0

    for _ in shuffled(scenario, 50):
        pass
