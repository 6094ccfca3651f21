"""Handles: every waiter is told once, and what the stored record says (C18, C46)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import InputRejected, ServiceClosed, StoreError, UnknownInput, WaitTimedOut
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Abandoned, Completed, InputHandle, Superseded, Waiters, WaitFailed
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import ContinuationInput, OperationInput
from holdstate.runtime.outcomes import Accepted, Deduplicated, Rejected
from holdstate.runtime.store import InputFilter, ResultRef
from holdstate.spec.policy import DEFAULT_POLICY, Policy
from holdstate.spec.vocabulary import AbandonReason, Durability, InputKind, OutcomeKind, QueueMode
from holdstate.stores.memory_store import MemoryStore

from .kit import (
    RULES,
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    event,
    opened,
    progress,
    prompt,
    said,
    service_over,
    serving,
    takes,
)
from .virtual_loop import explore, run


def replacing(mode: QueueMode, kind: InputKind = InputKind.EXTERNAL_EVENT) -> RuntimeSettings:
    """Rules under which a queued input of that kind gives way to a newer one of its key."""
    by_mode = {
        mode_: evolve(decision, queue_mode=mode) if kind is InputKind.EXTERNAL_EVENT else decision
        for mode_, decision in DEFAULT_POLICY.by_handling_mode.items()
    }
    by_kind = {**DEFAULT_POLICY.by_kind, kind: evolve(DEFAULT_POLICY.by_kind[kind], queue_mode=mode)}
    return evolve(RULES, policy=Policy("test", 2, by_mode, by_kind, DEFAULT_POLICY.otherwise))


# -- one outcome each --------------------------------------------------------------------------------------------------


def test_completed_with_and_without_a_result() -> None:
    """The result is that of the run; None where it gave none."""

    async def scenario() -> list[Any]:
        async def nothing(_: ActiveRun) -> None:
            return None

        async with serving(Scripted({"none": nothing})) as service:
            handles = [await service.submit(RUNTIME, prompt(word)) for word in ("a", "none")]
            assert all([isinstance(await handle.accepted, Accepted) for handle in handles])
            return [await handle.outcome() for handle in handles]

    first, second = run(scenario)
    assert (first.result, second.result) == (b"a", None)


@pytest.mark.parametrize("durability", [Durability.DURABLE, Durability.EPHEMERAL])
def test_consumed_on_accept_is_completed_at_once(durability: Durability) -> None:
    """Nothing runs for it, and nobody waits; an ephemeral one is forgotten, yet its handle knows."""

    async def scenario() -> Any:
        executor = Scripted()
        async with serving(executor) as service:
            handle = await service.submit(RUNTIME, OperationInput.new("o", {}, durability=durability))
            outcome = await handle.outcome(0.5)
            assert executor.entered == []
            return outcome, handle.input_id

    outcome, input_id = run(scenario)
    assert outcome == Completed(input_id)


def test_cancelled_by_its_caller_is_abandoned() -> None:
    """The waiter of a cancelled input hears so."""

    async def scenario() -> Any:
        gate = Gate()
        async with serving(Scripted({"a": gate})) as service:
            await service.submit(RUNTIME, prompt("a"))
            await gate.began.wait()
            handle = await service.submit(RUNTIME, prompt("b"))
            waiter = asyncio.create_task(handle.outcome())
            await takes(1.0)
            await service.cancel(RUNTIME, handle.input_id)
            gate.opened.set()
            return await waiter

    outcome = run(scenario)
    assert isinstance(outcome, Abandoned)
    assert outcome.reason is AbandonReason.CANCELLED


@pytest.mark.parametrize("ending", ["stop", "destroy", "reset"])
def test_what_a_lifecycle_command_ends_is_abandoned_for_that_reason(ending: str) -> None:
    """Distinct and true (C25)."""

    async def scenario() -> Any:
        async with serving(None) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            waiter = asyncio.create_task(handle.outcome())
            await takes(1.0)
            await getattr(service, ending)(RUNTIME)
            return await waiter

    reasons = {"stop": AbandonReason.STOPPED, "destroy": AbandonReason.DESTROYED, "reset": AbandonReason.RESET}
    assert run(scenario).reason is reasons[ending]


def test_superseded_names_the_newer_input() -> None:
    """The newer one goes its own way."""

    async def scenario() -> None:
        async with serving(None, evolve(SETTINGS, runtime=replacing(QueueMode.SUPERSEDE))) as service:
            first = await service.submit(RUNTIME, event("1", supersession_key="k"))
            waiter = asyncio.create_task(first.outcome())
            await takes(1.0)
            second = await service.submit(RUNTIME, event("2", supersession_key="k"))
            assert await waiter == Superseded(first.input_id, second.input_id)
            assert await first.outcome() == Superseded(first.input_id, second.input_id)

    run(scenario)


@pytest.mark.parametrize("durability", [Durability.DURABLE, Durability.EPHEMERAL])
def test_coalesced_is_followed_to_the_end_of_the_chain(durability: Durability) -> None:
    """Each of a chain hears how the last one ended, whether it waited all along or asks afterwards."""

    async def scenario() -> tuple[list[Any], InputId]:
        gate = Gate()
        async with serving(Scripted({"a": gate})) as service:
            await service.submit(RUNTIME, prompt("a"))
            await gate.began.wait()
            handles, waiters = [], []
            for number in range(4):
                given = progress(f"news {number}", supersession_key="k", durability=durability)
                handles.append(await service.submit(RUNTIME, given))
                waiters.append(asyncio.create_task(handles[-1].outcome()))
                await takes(1.0)
            gate.opened.set()
            outcomes = [await waiter for waiter in waiters]
            outcomes += [await handle.outcome() for handle in handles]
            return outcomes, handles[-1].input_id

    outcomes, last = run(scenario)
    assert outcomes == [Completed(last, b"news 3")] * 8


def test_a_chain_is_followed_through_closing_and_opening() -> None:
    """The waiter comes back after its runtime was closed for room, and after another process took over."""

    async def scenario() -> None:
        store = MemoryStore()
        fed = evolve(SETTINGS, max_open=1)
        async with serving(None, fed, store) as service:
            handles = [
                await service.submit(RUNTIME, progress(f"news {number}", supersession_key="k")) for number in range(3)
            ]
            await service.retire("other")
            assert RUNTIME not in service._pool
            waiter = asyncio.create_task(handles[0].outcome())
            await takes(1.0)
            await service.stop(RUNTIME)
            last = handles[2].input_id
            assert await waiter == Abandoned(last, AbandonReason.STOPPED)
        async with serving(None, store=store) as service:
            for handle in handles:
                assert await service.wait(RUNTIME, handle.input_id) == Abandoned(last, AbandonReason.STOPPED)

    run(scenario)


def test_an_ephemeral_input_is_told_of_although_it_is_forgotten() -> None:
    """Its handle listens from its admission on; a handle that nobody keeps leaves nothing behind."""

    async def scenario() -> None:
        async with serving(Scripted()) as service:
            handle = await service.submit(RUNTIME, ContinuationInput.new("go", durability=Durability.EPHEMERAL))
            await takes(1.0)
            assert opened(service).driver.image.bodies == {}
            assert await handle.outcome() == Completed(handle.input_id, b"go")
            assert await handle.outcome() == Completed(handle.input_id, b"go")
            unknown = await service.wait(RUNTIME, handle.input_id)
            assert isinstance(unknown, WaitFailed)
            assert isinstance(unknown.cause, UnknownInput)
            for _ in range(3):
                await service.submit(RUNTIME, progress("quiet", durability=Durability.EPHEMERAL))
            gc.collect()
            await takes(1.0)
            assert len(opened(service).waiters) == 0

    run(scenario)


def test_a_handle_may_be_dropped_on_any_thread_and_at_any_moment() -> None:
    """What it listened to is forgotten on the loop, and not in the middle of telling others that the input ended."""

    async def scenario() -> InputHandle:
        async with serving(Scripted()) as service:
            quiet = progress("quiet", durability=Durability.EPHEMERAL)
            handles = [await service.submit(RUNTIME, quiet) for _ in range(3)]
            waiters = opened(service).waiters
            for drop in (handles.pop, lambda: start_and_join(handles.pop)):
                before = len(waiters)
                drop()
                assert len(waiters) == before
                await takes(1.0)
                assert len(waiters) == before - 1
            return handles.pop()

    handle = [run(scenario)]
    handle.pop()  # its loop is closed: there is nobody to tell


def start_and_join(work: Callable[[], object]) -> None:
    """Run ``work`` on a thread of its own."""
    thread = Thread(target=work)
    thread.start()
    thread.join()


# -- who waits, and for how long ---------------------------------------------------------------------------------------


def test_running_out_of_patience_cancels_nothing() -> None:
    """The wait ends after the given seconds; the input goes on and can be asked for again."""

    async def scenario() -> Any:
        gate = Gate()
        async with serving(Scripted({"a": gate})) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            with pytest.raises(WaitTimedOut) as late:
                await handle.outcome(5.0)
            assert (late.value.seconds, late.value.input_id) == (5.0, handle.input_id)
            assert round(asyncio.get_running_loop().time()) == 5
            assert isinstance(late.value, TimeoutError)
            assert len(opened(service).waiters) == 0
            gate.opened.set()
            return await handle.outcome()

    assert run(scenario).result == b"gated"


def test_a_handle_waits_for_an_active_input_without_a_call() -> None:
    """Its admission was answered, so memory knows; whoever waits for any id has to ask."""

    async def scenario() -> tuple[int, int]:
        gate, asked = Gate(), 0
        ask = PersistentRuntimeDriver.input_record

        async def counted(driver: PersistentRuntimeDriver, input_id: InputId) -> Any:
            nonlocal asked
            asked += 1
            return await ask(driver, input_id)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PersistentRuntimeDriver, "input_record", counted)
            async with serving(Scripted({"a": gate})) as service:
                given = prompt("a")
                handle, again = [await service.submit(RUNTIME, given) for _ in range(2)]
                works = [handle.outcome(), again.outcome(), service.wait(RUNTIME, handle.input_id)]
                waits = [asyncio.ensure_future(work) for work in works]
                await gate.began.wait()
                await takes(1.0)
                by_waits = asked
                gate.opened.set()
                assert [await each for each in waits] == [Completed(handle.input_id, b"gated")] * 3
                await handle.outcome()
                return by_waits, asked

    assert run(scenario) == (1, 2)


def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    """Cancelled at every step of its wait; others who wait for the same input hear as they would have."""

    def leaving_after(steps: int) -> Callable[[], Any]:
        async def scenario() -> Any:
            gate = Gate()
            async with serving(Scripted({"a": gate})) as service:
                handle = await service.submit(RUNTIME, prompt("a"))
                leaving, staying = (asyncio.create_task(handle.outcome()) for _ in range(2))
                for _ in range(steps):
                    await asyncio.sleep(0)
                leaving.cancel()
                gate.opened.set()
                await asyncio.gather(leaving, return_exceptions=True)
                outcome = await staying
                await takes(1.0)
                assert len(opened(service).waiters) == 0
                assert service._pool._pins == {}
                return outcome

        return scenario

    for steps in range(15):
        assert run(leaving_after(steps)).result == b"gated"


def test_whoever_comes_back_with_the_key_gets_the_stored_result() -> None:
    """Before and after a restart, without a second run (C5, C8)."""

    async def scenario() -> None:
        store, executor = MemoryStore(), Scripted()
        for seed in range(3):
            async with serving(executor, store=store, seed=seed) as service:
                handle = await service.submit(RUNTIME, prompt("a", idempotency_key="k"))
                assert isinstance(await handle.accepted, Accepted if seed == 0 else Deduplicated)
                outcome = await handle.outcome()
                assert isinstance(outcome, Completed)
                assert outcome.result == b"a"
        assert executor.entered == [("a",)]

    run(scenario)


def test_a_refused_input_is_told_by_its_handle() -> None:
    """``accepted`` is the refusal, there is no outcome, what is no input has no handle, and nothing is stored."""

    async def scenario() -> None:
        store = MemoryStore()
        async with serving(None, store=store) as service:
            handle = await service.submit(RUNTIME, prompt("a", durability=Durability.DERIVED))
            refusal = await handle.accepted
            assert isinstance(refusal, Rejected)
            assert refusal.input_id == handle.input_id
            with pytest.raises(InputRejected) as refused:
                await handle.outcome()
            assert refused.value.rejection == refusal
            nonsense: Any = "text"
            with pytest.raises(InputRejected):
                await service.submit(RUNTIME, nonsense)
            assert store.list_inputs(InputFilter(RUNTIME)).records == ()

    run(scenario)


def test_a_wait_that_cannot_go_on_claims_nothing() -> None:
    """Unknown input, closed service, failing store: ``WaitFailed`` with the cause."""

    async def scenario() -> list[type[BaseException]]:
        store = MemoryStore()
        async with serving(Scripted(), store=store) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            await handle.outcome()
            unknown = await service.wait("other", handle.input_id)

            def fails(*_: Any) -> Any:
                raise StoreError("down")

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(MemoryStore, "load_result", fails)
                down = await handle.outcome()
        closed = await handle.outcome()
        outcomes = (unknown, down, closed)
        assert all(isinstance(outcome, WaitFailed) for outcome in outcomes)
        return [type(outcome.cause) for outcome in outcomes if isinstance(outcome, WaitFailed)]

    assert run(scenario) == [UnknownInput, StoreError, ServiceClosed]


def test_no_order_of_a_wait_and_an_end_misses_it() -> None:
    """A caller who begins to wait while the run ends is told, in every schedule with two deviations."""

    async def scenario() -> bytes | None:
        async with serving(Scripted()) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            await asyncio.sleep(0)
            outcome = await handle.outcome()
            assert isinstance(outcome, Completed)
            return outcome.result

    assert set(explore(scenario, 2)) == {b"a"}


# -- the futures themselves --------------------------------------------------------------------------------------------


def test_waiters_that_come_after_the_failure_hear_of_it_too() -> None:
    """Nothing more will be heard, so nobody is left waiting."""

    async def scenario() -> None:
        waiters, cause = Waiters(), ServiceClosed()
        early = waiters.future(prompt("a").header.id)
        gone = waiters.future(prompt("a").header.id)
        gone.cancel()
        waiters.fail(cause)
        late = waiters.future(prompt("b").header.id)
        assert (await early, await late, len(waiters)) == (cause, cause, 0)
        waiters.forget(early)
        waiters.forget(late)

    run(scenario)


# -- any interleaving --------------------------------------------------------------------------------------------------

WORDS = ["submit", "supersede", "coalesce", "again", "wait", "leave", "cancel", "pause", "crash", "reset"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["submit", "supersede", "coalesce", "again", "wait", "leave", "cancel", "pause", "crash", "reset"]
        ),
        st.integers(0, 5),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(STEPS, st.integers(0, 3))
def test_every_waiter_is_told_once_and_as_it_is_stored(  # noqa: C901 - one branch a step
    steps: list[tuple[str, int]], seed: int
) -> None:
    """Submits, replacements, waits, cancellations and crashes in any order (C46)."""
    rules = replacing(QueueMode.SUPERSEDE)

    async def scenario() -> None:  # noqa: C901
        store, services = MemoryStore(), [0]

        async def slow(run: ActiveRun) -> bytes:
            await takes(0.5)
            if said(run.inputs[0]).endswith("3"):
                raise ValueError
            return b"slow"

        executor = Scripted({f"{word} {n}": slow for word in ("submit", "supersede", "coalesce") for n in range(6)})

        def start() -> Any:
            services[0] += 1
            service = service_over(store, executor, evolve(SETTINGS, runtime=rules, max_open=1), seed=services[0])
            service._pool.resume()
            return service

        service, ids, waiting, heard = start(), [], [], []
        try:
            for step, number in steps:
                if step in ("submit", "supersede", "coalesce"):
                    make: Any = {"submit": prompt, "supersede": event, "coalesce": progress}[step]
                    key = {} if step == "submit" else {"supersession_key": "k"}
                    handle = await service.submit(RUNTIME, make(f"{step} {number}", **key))
                    ids.append(handle.input_id)
                elif step == "wait" and ids:
                    waiting.append(asyncio.create_task(service.wait(RUNTIME, ids[number % len(ids)])))
                elif step == "leave" and waiting:
                    waiting.pop(number % len(waiting)).cancel()
                elif step == "cancel" and ids:
                    await service.cancel(RUNTIME, ids[number % len(ids)])
                elif step == "again" and ids:
                    await service.input_record(RUNTIME, ids[number % len(ids)])
                    await service.retire("other")
                elif step == "crash":
                    crashed, service = service, start()
                    async with service._pool.use(RUNTIME):  # claims it, so that the first is fenced
                        pass
                    await crashed.close(0.0)
                elif step == "reset" and not executor.under_way.total():
                    await asyncio.gather(service.reset(RUNTIME), return_exceptions=True)
                else:
                    await takes(0.3)
            waiting += [asyncio.create_task(service.wait(RUNTIME, each)) for each in ids]
            await service.submit(RUNTIME, prompt("last"))
            heard = await asyncio.wait_for(asyncio.gather(*waiting), 1000.0)
        finally:
            await service.close(5.0)
        assert store.verify() == []
        assert not any(isinstance(outcome, WaitFailed) for outcome in heard[len(heard) - len(ids) :])
        for outcome in heard:
            agrees_with(store, outcome)

    run(scenario)


def agrees_with(store: MemoryStore, outcome: Any) -> None:
    record = store.load_input(RUNTIME, outcome.input_id)
    if isinstance(outcome, WaitFailed):
        return
    assert record is not None
    match outcome:
        case Completed():
            ref = ResultRef.of(record)
            assert record.outcome_kind is OutcomeKind.CONSUMED
            assert outcome.result == (None if ref is None else store.load_result(RUNTIME, ref))
        case Superseded():
            assert (record.outcome_kind, record.successor_id) == (OutcomeKind.SUPERSEDED, outcome.by)
        case Abandoned():
            assert (record.outcome_kind, record.abandon_reason) == (OutcomeKind.ABANDONED, outcome.reason)
