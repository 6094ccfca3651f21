"""The contracts of the service one by one; ``test_service_lives`` has them all at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from holdstate.runtime.errors import RunNotCurrent
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Abandoned, Completed
from holdstate.runtime.records import InputRecord
from holdstate.runtime.store import InputFilter
from holdstate.spec.vocabulary import AbandonReason, InputState, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from ..faults import FaultyStore, Plan
from .kit import (
    MAX_ATTEMPTS,
    RUNTIME,
    Gate,
    Scripted,
    at_rest,
    brought_up,
    event,
    opened,
    prompt,
    said,
    serving,
    worker_of,
)
from .virtual_loop import run


def records(store: MemoryStore, runtime_id: str) -> tuple[InputRecord, ...]:
    return store.list_inputs(InputFilter(runtime_id)).records


def test_when_the_executor_is_entered_the_staging_is_durable() -> None:
    """Read from the store, at the first step of the executor (C22)."""

    async def scenario() -> None:
        async def looks(run: ActiveRun) -> None:
            loaded = store.load_runtime(RUNTIME)
            assert loaded is not None
            assert loaded.record.current_run_id == run.run_id
            assert [record.state for record in loaded.inputs] == [InputState.STAGED]

        store = MemoryStore()
        async with serving(Scripted({"a": looks}), store=store) as service:
            assert isinstance(await (await service.submit(RUNTIME, prompt("a"))).outcome(), Completed)

    run(scenario)


def test_no_outcome_is_told_before_its_commit() -> None:
    """At the moment in which a waiter is told, the store says the same (C18)."""

    async def scenario() -> None:
        store = MemoryStore()
        async with serving(Scripted(), store=store) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            future = opened(service).waiters.future(handle.input_id)
            seen: list[InputState] = []
            future.add_done_callback(lambda _: seen.append(records(store, RUNTIME)[0].state))
            await handle.outcome()
            assert seen == [InputState.CONSUMED]

    run(scenario)


def test_success_is_boundary_and_completion_in_one_commit() -> None:
    """A run costs the store two commits: one before the executor, one after (C19)."""

    async def scenario() -> int:
        store = FaultyStore(MemoryStore())
        async with serving(Scripted(), store=store) as service:
            await brought_up(service)
            store.arm(Plan())
            await (await service.submit(RUNTIME, prompt("a"))).outcome()
            return store.writes

    assert run(scenario) == 3


def test_a_cancelled_run_does_not_touch_the_next_one() -> None:
    """Late words of run A, and a second interrupt that arrives when B runs, find nothing of A (C26)."""

    async def scenario() -> None:
        late: list[ActiveRun] = []
        gates = [Gate(), Gate()]

        async def works(run: ActiveRun) -> bytes | None:
            late.append(run)
            return await gates[len(late) - 1](run)

        async with serving(Scripted({"a": works})) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            await gates[0].began.wait()
            await service.interrupt(RUNTIME)
            await gates[1].began.wait()
            late[0].token.cancel("again")
            for call in (late[0].checkpoint, late[0].take_steers):
                with pytest.raises(RunNotCurrent):
                    await call()
            with pytest.raises(RunNotCurrent):
                await opened(service).driver.complete_run(late[0].run_id)
            assert not gates[1].was_cancelled
            gates[1].opened.set()
            assert isinstance(await handle.outcome(), Completed)

    run(scenario)


def test_stop_overtakes_a_full_queue() -> None:
    """With a hundred inputs ahead of it, a stop ends the run at once and abandons the rest, distinct and true (C25)."""

    async def scenario() -> tuple[float, Counter[Any], RuntimeState | None]:
        gate = Gate()
        async with serving(Scripted({"a": gate})) as service:
            handles = [await service.submit(RUNTIME, prompt("a")) for _ in range(100)]
            waiters = [asyncio.create_task(handle.outcome()) for handle in handles]
            await gate.began.wait()
            report = await service.stop(RUNTIME)
            assert report.inputs_abandoned == 100
            outcomes = [await waiter for waiter in waiters]
            await gate.cancelled.wait()
            reasons = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Abandoned))
            return asyncio.get_running_loop().time(), reasons, await service.runtime_state(RUNTIME)

    time, reasons, state = run(scenario)
    assert time < 0.1
    assert reasons == {AbandonReason.STOPPED: 100}
    assert state is RuntimeState.STOPPED


def test_a_retired_runtime_drains_and_then_rests() -> None:
    """What was queued is worked off, nothing new is taken, and recycle brings it back with an executor (C33)."""

    async def scenario() -> list[tuple[str, ...]]:
        executor, gate = Scripted(), Gate()
        executor.does["a"] = gate
        async with serving(executor) as service:
            handles = [await service.submit(RUNTIME, prompt(word)) for word in "ab"]
            await gate.began.wait()
            await service.retire(RUNTIME)
            gate.opened.set()
            for handle in handles:
                assert isinstance(await handle.outcome(), Completed)
            await at_rest(worker_of(service))
            await service.recycle(RUNTIME)
            assert await service.runtime_state(RUNTIME) is RuntimeState.ATTACHED
            assert isinstance(await (await service.submit(RUNTIME, prompt("c"))).outcome(), Completed)
        return executor.entered

    assert run(scenario) == [("a",), ("b",), ("c",)]


def test_a_poisoned_input_holds_the_others_up_for_a_bounded_number_of_runs() -> None:
    """It is abandoned at the cap; the others end, and none of them is charged for it twice (C15)."""

    async def scenario() -> tuple[list[Any], int]:
        async def poisoned(run: ActiveRun) -> None:
            if any(said(given) == "bad" for given in run.inputs):
                raise ValueError

        executor = Scripted({"bad": poisoned, "good": poisoned})
        gate = executor.does["gate"] = Gate()
        async with serving(executor) as service:
            await service.submit(RUNTIME, prompt("gate"))
            await gate.began.wait()
            handles = [await service.submit(RUNTIME, event(word)) for word in ("bad", "good", "good", "good")]
            gate.opened.set()
            return [await handle.outcome() for handle in handles], len(executor.entered)

    outcomes, runs = run(scenario)
    assert [type(outcome) for outcome in outcomes] == [Abandoned, *[Completed] * 3]
    assert runs <= 1 + 1 + MAX_ATTEMPTS + 3
