"""The contracts of the service as a whole, under random traffic, failing executors, failing stores and crashes."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate.runtime.errors import NotReady, RunInProgress, RunNotCurrent, StoreError
from holdstate.runtime.executor import ActiveRun, PermanentFailure
from holdstate.runtime.handles import Abandoned, Completed, WaitFailed
from holdstate.runtime.outcomes import RunOutput
from holdstate.runtime.records import InputRecord, RunBoundaryReceipt
from holdstate.runtime.store import InputFilter
from holdstate.spec.errors import TransitionRefused
from holdstate.spec.vocabulary import AbandonReason, InputState, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .kit import (
    MAX_ATTEMPTS,
    RULES,
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    at_rest,
    event,
    opened,
    prompt,
    said,
    service_over,
    serving,
    steer,
    takes,
    waiting_rules,
    worker_of,
)
from .virtual_loop import run

NAMES = ("r0", "r1", "r2")


def records(store: MemoryStore, runtime_id: str) -> tuple[InputRecord, ...]:
    return store.list_inputs(InputFilter(runtime_id)).records


def receipts(store: MemoryStore, runtime_id: str) -> list[RunBoundaryReceipt]:
    runs = {record.last_run_id for record in records(store, runtime_id)} - {None}
    found = (store.load_receipt(runtime_id, each, number) for each in runs if each for number in range(10))
    return [receipt for receipt in found if receipt is not None]


# -- one by one --------------------------------------------------------------------------------------------------------


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
            await service.interrupt(RUNTIME)
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


# -- random lives ------------------------------------------------------------------------------------------------------


class Erratic:
    """An executor that succeeds, fails, hangs, returns nonsense, checkpoints and steers, as chance has it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(f"erratic {seed}")
        self.calm = False
        self.under_way: Counter[str] = Counter()
        self.overlaps = 0

    async def apply(self, run: ActiveRun) -> Any:
        self.under_way[run.runtime_id] += 1
        self.overlaps += self.under_way[run.runtime_id] > 1
        try:
            return await self._work(run)
        finally:
            self.under_way[run.runtime_id] -= 1

    async def _work(self, run: ActiveRun) -> Any:
        for _ in range(0 if self.calm else self.random.randrange(3)):
            match self.random.randrange(4):
                case 0:
                    await run.take_steers()
                case 1:
                    await run.checkpoint(said(run.inputs[-1]).encode())
                case _:
                    await takes(self.random.random())
        match 9 if self.calm else self.random.randrange(10):
            case 0:
                raise ValueError("no")
            case 1:
                raise PermanentFailure("never")
            case 2:
                return await takes(1e6)
            case 3:
                return "nonsense"
            case 4:
                raise SystemExit(1)
            case _:
                return RunOutput(result=b"ok")


CHAOS = evolve(SETTINGS, runtime=evolve(waiting_rules(1.0)), run_timeout=5.0, max_open=2, max_runs=2, hang_seconds=1.0)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["prompt", "event", "steer", "same", "cancel", "interrupt", "pause", "crash", "close", "fault", "retire"]
        ),
        st.integers(0, 2),
    ),
    max_size=30,
)


@settings(max_examples=120)
@given(STEPS, st.integers(0, 1000))
def test_any_life_of_a_service_keeps_its_promises(steps: list[tuple[str, int]], seed: int) -> None:
    """Whatever arrives, fails and crashes: what was acknowledged ends, once, in order, and the store is whole.

    C1, C5, C14, C16, C18 to C29 and C46, over three runtimes with room for two.
    """

    async def scenario() -> None:
        life = Life(seed)
        await life.start()
        for step, number in steps:
            await life.take(step, number)
        await life.end()

    run(scenario)


class Life:
    """A store, the service that lives on it now, and what its callers were promised."""

    def __init__(self, seed: int) -> None:
        self.inner = MemoryStore()
        self.store = FaultyStore(self.inner)
        self.executor = Erratic(seed)
        self.random = Random(f"life {seed}")
        self.services = 0
        self.service: Any = None
        self.acknowledged: list[tuple[str, Any]] = []
        self.waiting: list[tuple[Any, asyncio.Task[Any]]] = []

    async def start(self) -> None:
        self.services += 1
        self.service = service_over(self.store, self.executor, CHAOS, seed=self.services)
        await self.service.__aenter__()

    async def take(self, step: str, number: int) -> None:
        name = NAMES[number]
        try:
            match step:
                case "prompt" | "event" | "steer" | "same":
                    await self.submit(name, step)
                case "cancel" if self.acknowledged:
                    runtime_id, input_id = self.random.choice(self.acknowledged)
                    await self.service.cancel(runtime_id, input_id)
                case "interrupt":
                    await self.service.interrupt(name)
                case "crash":
                    await self.crash()
                case "close":
                    await self.service.close(self.random.choice([0.0, 3.0]))
                    await self.start()
                case "fault":
                    fault = self.random.choice([Fault.REFUSED, Fault.UNKNOWN, Fault.LANDED])
                    self.store.arm(Plan(fault, write=number, failing_reads=self.random.randrange(3)))
                case "retire" if number == 2:
                    await self.service.retire(name)
                    await self.service.recycle(name)
                case _:
                    await takes(self.random.random() * 2)
        except (StoreError, TransitionRefused, NotReady, RunInProgress):
            return  # the caller was told, and does not come back

    async def submit(self, name: str, step: str) -> None:
        make: Any = {"prompt": prompt, "event": event, "steer": steer, "same": prompt}[step]
        given = make(step, idempotency_key="same") if step == "same" else make(step)
        handle = await self.service.submit(name, given)
        self.waiting.append((handle, asyncio.create_task(handle.outcome())))
        await handle.accepted
        self.acknowledged.append((name, handle.input_id))

    async def crash(self) -> None:
        """The process is gone: its store takes nothing from it any more, and another service takes over."""
        crashed, self.store = self.store, FaultyStore(self.inner)
        crashed.arm(Plan(write=0, failing_writes=10**9))
        gone = self.service
        with pytest.raises(StoreError):
            crashed.put_blob(b"")
        await self.start()
        await gone.close(0.0)

    async def end(self) -> None:
        """A calm end: faults are over, the executor works, and everybody is told."""
        self.store.arm(Plan())
        self.executor.calm = True
        await self.service.close(1.0)
        await self.start()
        outcomes = []
        for name, input_id in self.acknowledged:
            outcomes.append(await asyncio.wait_for(self.service.wait(name, input_id), 1000.0))
        told = [(handle.input_id, await waiter) for handle, waiter in self.waiting]
        await self.service.close()
        assert self.inner.verify() == []
        assert not any(isinstance(outcome, WaitFailed) for outcome in outcomes)
        final = {outcome.input_id: outcome for outcome in outcomes}
        for input_id, outcome in told:
            assert isinstance(outcome, WaitFailed) or outcome == final[input_id]
        for name in NAMES:
            self.check(name)

    def check(self, name: str) -> None:
        stored = records(self.inner, name)
        assert all(record.is_terminal for record in stored)
        assert all(record.failure_count <= MAX_ATTEMPTS for record in stored)
        assert sum(record.admission.idempotency_key == "same" for record in stored) <= 1
        listed = [each for receipt in receipts(self.inner, name) for each in receipt.contributing_input_ids]
        consumed = [record.input_id for record in stored if record.state is InputState.CONSUMED]
        assert sorted(map(str, listed)) == sorted(map(str, consumed)), "consumed exactly by one boundary"


def test_two_runs_of_a_runtime_never_overlap_in_an_executor_that_heeds_its_cancellation() -> None:
    """Timeouts, interrupts and failures in any order, and never two at once on one runtime."""

    async def scenario() -> int:
        executor = Erratic(7)
        async with serving(executor, evolve(CHAOS, runtime=RULES)) as service:
            for number in range(40):
                await service.submit(NAMES[number % 3], prompt("a"))
                await takes(0.4)
                await service.interrupt(NAMES[(number + 1) % 3])
            executor.calm = True
            await takes(100.0)
        return executor.overlaps

    assert run(scenario) == 0
