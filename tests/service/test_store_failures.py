"""A store that fails around a run: tried again, never executed twice for it, never lost."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from holdstate.runtime.errors import StoreClosed, StoreError
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Abandoned, Completed, WaitFailed
from holdstate.runtime.outcomes import RunOutput
from holdstate.runtime.worker import STORE_RETRY_SECONDS
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .kit import (
    RUNTIME,
    Gate,
    Scripted,
    brought_up,
    opened,
    prompt,
    serving,
    takes,
)
from .virtual_loop import run


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
            driver, loop = (await brought_up(service)).driver, asyncio.get_running_loop()
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
