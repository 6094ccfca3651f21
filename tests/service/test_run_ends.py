"""How runs end: whatever an executor does, in the state that is named, with what is named charged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from attrs import evolve

from holdstate.runtime.errors import InvalidInput, RunNotCurrent, StoreError
from holdstate.runtime.executor import ActiveRun, PermanentFailure
from holdstate.runtime.handles import Abandoned, Completed
from holdstate.runtime.outcomes import RunOutput
from holdstate.runtime.settings import RetryPolicy
from holdstate.spec.vocabulary import AbandonReason, InputState, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from .kit import (
    MAX_ATTEMPTS,
    RULES,
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    brought_up,
    event,
    prompt,
    service_over,
    serving,
    submitted,
    takes,
    worker_of,
)
from .virtual_loop import run


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


class Interrupting(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


def nested(depth: int) -> Exception:
    error: Exception = ValueError("root")
    for _ in range(depth):
        error = ExceptionGroup("layer", [error])
    return error


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
    "nested": nested(3000),
    "Interrupting": Interrupting(),
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
    assert len(outcome.error.encode()) <= 4096, "bounded, and in words that any store can encode"
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


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_an_executor_that_is_not_async_fails_its_runs(how: str) -> None:
    """Where its annotation does not tell, it is a failure with words, not the end of the worker."""

    class Plain:
        def apply(self, run: ActiveRun) -> Any:
            if how == "raises":
                raise ValueError("at once")
            return b"x"

    async def scenario() -> Any:
        async with serving(Plain()) as service:
            return await (await service.submit(RUNTIME, prompt("a"))).outcome()

    outcome = run(scenario)
    assert outcome.reason is AbandonReason.ATTEMPTS_EXHAUSTED


class Asynchronous:
    async def apply(self, run: ActiveRun) -> bytes:
        return b"done"


class Delegating:
    """Plain, and says that what it returns is to be awaited."""

    def apply(self, run: ActiveRun) -> Coroutine[Any, Any, bytes]:
        return Asynchronous().apply(run)


class Decorated:
    @wraps(Asynchronous.apply)  # whose annotations it takes over
    def apply(self, run: ActiveRun) -> Coroutine[Any, Any, bytes]:
        return Asynchronous().apply(run)


class Blocking:
    def apply(self, run: ActiveRun) -> bytes:
        return b"done"


def blocking(run: ActiveRun) -> bytes:
    return b"done"


NONE: Mapping[str, Any] = {
    "it blocks": Blocking(),
    "a class": Asynchronous,
    "a class that blocks": Blocking,
    "a function": blocking,
    "an object": object(),
    "a number": 7,
}


@pytest.mark.parametrize("executor", NONE.values(), ids=NONE)
def test_what_is_no_executor_is_refused_where_the_service_is_made(executor: Any) -> None:
    """Before an input is charged for it; one that blocks hears of ``holdstate.blocking``."""
    store = MemoryStore()
    with pytest.raises(InvalidInput, match="executor: ") as told:
        service_over(store, executor)
    assert ("holdstate.blocking" in told.value.problem) is isinstance(executor, Blocking)
    assert store.list_runtimes() == ()


@pytest.mark.parametrize(
    "executor",
    [
        Asynchronous(),
        Delegating(),
        Decorated(),
        SimpleNamespace(apply=Asynchronous().apply),
        SimpleNamespace(apply=partial(Delegating().apply)),
        AsyncMock(**{"apply.return_value": b"done"}),
        Mock(apply=Asynchronous().apply),
    ],
    ids=lambda executor: type(executor).__name__,
)
def test_whatever_may_return_an_awaitable_is_an_executor(executor: Any) -> None:
    """What cannot be told is not refused."""

    async def scenario() -> Any:
        async with serving(executor) as service:
            return await (await service.submit(RUNTIME, prompt("a"))).outcome()

    assert run(scenario).result == b"done"


def test_a_run_that_takes_too_long_is_cancelled_and_fails() -> None:
    """``run_timeout`` cancels the executor, charges an attempt each time, and the cap ends it."""

    async def scenario() -> tuple[Any, list[str | None], float]:
        executor = Scripted({"a": lambda _: takes(1e6)})
        async with serving(executor, evolve(SETTINGS, run_timeout=30.0)) as service:
            outcome = await (await service.submit(RUNTIME, prompt("a"))).outcome()
            return outcome, [each.token.reason for each in executor.runs], asyncio.get_running_loop().time()

    outcome, reasons, seconds = run(scenario)
    assert outcome.error == "timed out after 30 s"
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
            await asyncio.wait(worker._left_behind)
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
            await gate.cancelled.wait()
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
            driver = (await brought_up(service)).driver
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
