"""What an embedder has in hand: who may run and when, who hears of ends, what a failure means, and put-off runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import Fenced, InvalidInput, ServiceClosed, StoreError
from holdstate.runtime.executor import ActiveRun, PermanentFailure, TransientFailure, TryLater
from holdstate.runtime.handles import Abandoned, Completed
from holdstate.runtime.records import InputRecord
from holdstate.runtime.worker import STORE_RETRY_SECONDS
from holdstate.spec.vocabulary import AbandonReason, InputState
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .kit import (
    MAX_ATTEMPTS,
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    at_rest,
    event,
    opened,
    progress,
    prompt,
    serving,
    steer,
    submitted,
    takes,
    worker_of,
)
from .virtual_loop import run

STOPS = evolve(SETTINGS, stop_on_failure=True)


# -- who may run -----------------------------------------------------------------------------------------------------


def test_only_runtimes_that_may_run_are_worked_off() -> None:
    """What may not run lies still, costs no run, and is worked off at the next wake after it may."""

    async def scenario() -> list[tuple[str, ...]]:
        allowed = {"a"}
        executor = Scripted()
        async with serving(executor, evolve(SETTINGS, may_run=allowed.__contains__)) as service:
            held = await service.submit("b", prompt("held"))
            await (await service.submit("a", prompt("free"))).outcome()
            await takes(100.0)
            assert executor.entered == [("free",)]
            assert not opened(service, "b").is_busy
            allowed.add("b")
            await service.wake("b")
            assert isinstance(await held.outcome(), Completed)
        return executor.entered

    assert run(scenario) == [("free",), ("held",)]


def test_it_is_asked_before_each_run() -> None:
    """One that may no more finishes the run that it has, and begins no other."""

    async def scenario() -> list[tuple[str, ...]]:
        gate = Gate()
        executor = Scripted({"a": gate})
        allowed = [True]
        async with serving(executor, evolve(SETTINGS, may_run=lambda _: allowed[0])) as service:
            await service.submit(RUNTIME, prompt("a"))
            await service.submit(RUNTIME, prompt("b"))
            await gate.began.wait()
            allowed.clear()
            allowed.append(False)
            gate.opened.set()
            await takes(100.0)
        return executor.entered

    assert run(scenario) == [("a",)]


def test_a_wake_works_off_what_wakes_nobody() -> None:
    """Without an executor it changes nothing."""

    async def scenario() -> None:
        store = MemoryStore()
        async with serving(None, store=store) as service:
            await (await service.submit(RUNTIME, progress("news"))).accepted
            await service.wake(RUNTIME)
        executor = Scripted()
        async with serving(executor, evolve(SETTINGS, resume_backlog=False), store) as service:
            await takes(10.0)
            assert executor.entered == []
            await service.wake(RUNTIME)
            await takes(1.0)
            assert executor.entered == [("news",)]

    run(scenario)


# -- who hears of ends -----------------------------------------------------------------------------------------------


def test_a_listener_hears_of_every_end_in_order_and_after_its_commit() -> None:
    """Consumed, coalesced, cancelled, stopped: once each, with the record as it is stored (C18, C46)."""

    async def scenario() -> None:
        store, heard = MemoryStore(), list[tuple[str, InputRecord]]()

        def listener(runtime_id: str, record: InputRecord) -> None:
            assert store.load_input(runtime_id, record.input_id) == record
            heard.append((runtime_id, record))

        async with serving(Scripted(), store=store) as service:
            service.listen(listener)
            done = await service.submit("a", prompt("x"))
            await done.outcome()
            news = [await service.submit("b", progress(word, supersession_key="k")) for word in "xy"]
            await news[1].accepted
            await service.stop("b")
        told = [(runtime_id, record.input_id, record.state) for runtime_id, record in heard]
        assert told == [
            ("a", done.input_id, InputState.CONSUMED),
            ("b", news[0].input_id, InputState.COALESCED),
            ("b", news[1].input_id, InputState.ABANDONED),
        ]

    run(scenario)


def test_a_listener_that_raises_is_a_problem_of_its_own() -> None:
    """The input has ended, its waiter is told, other listeners hear, and the status tells."""

    async def scenario() -> tuple[Any, str | None, int]:
        heard: list[object] = []

        def fails(*_: object) -> None:
            raise ValueError("no")

        async with serving(Scripted()) as service:
            service.listen(fails)
            service.listen(lambda *ended: heard.append(ended))
            outcome = await (await service.submit(RUNTIME, prompt("a"))).outcome()
            return outcome, service.status().cause, len(heard)

    outcome, cause, heard = run(scenario)
    assert isinstance(outcome, Completed)
    assert cause is not None
    assert "a listener failed" in cause
    assert heard == 1


# -- a failure that ends the service -----------------------------------------------------------------------------------


@pytest.mark.parametrize("write", range(4))
def test_with_stop_on_failure_the_first_failure_of_the_store_ends_the_service(write: int) -> None:
    """Opening, accepting, beginning, completing: told as the cause, nothing is tried for ever, nothing is charged."""

    async def scenario() -> None:
        inner = MemoryStore()
        store = FaultyStore(inner)
        async with serving(Scripted(), STOPS, store) as service:
            store.arm(Plan(write=write, failing_writes=100))
            given = prompt("a")
            try:
                await (await service.submit(RUNTIME, given)).accepted
            except StoreError:
                assert write < 2
            failure = await service.failure()
            assert isinstance(failure, StoreError)
            with pytest.raises(ServiceClosed) as closed:
                await service.ingest(RUNTIME, given)
            assert closed.value.__cause__ is failure
            await service.close()
            assert asyncio.get_running_loop().time() < 1.0
        store.arm(Plan())
        record = inner.load_input(RUNTIME, given.header.id)
        assert (record is None) == (write < 2)
        assert record is None or record.failure_count == 0

    run(scenario)


def test_with_stop_on_failure_another_opener_ends_the_service() -> None:
    """Its other runs are called off, free of charge (C14, C32)."""

    async def scenario() -> None:
        store, gates = MemoryStore(), {"a": Gate(), "b": Gate()}
        async with serving(Scripted({**gates}), STOPS, store) as service:
            handles = [await service.submit(name, prompt(name)) for name in gates]
            for gate in gates.values():
                await gate.began.wait()
            await PersistentRuntimeDriver.open("b", store)
            gates["b"].opened.set()
            assert isinstance(await service.failure(), Fenced)
            await service.close()
            record = store.load_input("a", handles[0].input_id)
            assert record is not None
            assert (record.state, record.attempt_count, record.failure_count) == (InputState.QUEUED, 1, 0)
            assert gates["a"].was_cancelled

    run(scenario)


def test_with_stop_on_failure_a_failure_while_closing_waits_no_longer() -> None:
    """The runs under way are called off at once; the failure is told."""

    async def scenario() -> float:
        store, gates = MemoryStore(), {"a": Gate(), "b": Gate()}
        async with serving(Scripted({**gates}), STOPS, store) as service:
            for name in gates:
                await service.submit(name, prompt(name))
            for gate in gates.values():
                await gate.began.wait()
            closing = asyncio.create_task(service.close(1000.0))
            await takes(1.0)
            await PersistentRuntimeDriver.open("b", store)
            gates["b"].opened.set()
            assert isinstance(await service.failure(), Fenced)
            await closing
            return asyncio.get_running_loop().time()

    assert run(scenario) < 2.0


def test_with_stop_on_failure_a_backlog_that_cannot_be_read_ends_the_service() -> None:
    """At the first try."""

    async def scenario() -> None:
        store = FaultyStore(MemoryStore())
        store.arm(Plan(read=0))
        async with serving(Scripted(), STOPS, store) as service:
            assert isinstance(await service.failure(), StoreError)

    run(scenario)


def test_with_stop_on_failure_an_executor_that_hangs_is_none() -> None:
    """It is left behind, and the service goes on."""

    async def scenario() -> Any:
        stubborn = asyncio.Event()

        async def ignores(_: ActiveRun) -> None:
            while not stubborn.is_set():
                try:
                    await stubborn.wait()
                except asyncio.CancelledError:
                    continue

        async with serving(Scripted({"a": ignores}), evolve(STOPS, run_timeout=1.0)) as service:
            handle = await service.submit("a", prompt("a"))
            outcome = await (await service.submit("b", prompt("b"))).outcome()
            assert isinstance(await handle.outcome(), Abandoned)
            stubborn.set()
            await takes(1.0)
            return outcome

    assert isinstance(run(scenario), Completed)


# -- put off -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("refreshed")
def test_a_run_that_is_put_off_comes_again_after_its_time_and_costs_nothing() -> None:
    """Arrivals do not end the wait, other runtimes go on, and the order is kept (C13, C14)."""

    async def scenario() -> None:
        times: list[float] = []

        async def later(_: ActiveRun) -> bytes:
            times.append(asyncio.get_running_loop().time())
            if len(times) < 3:
                raise TryLater(10.0)
            return b"now"

        executor = Scripted({"a": later})
        async with serving(executor, evolve(SETTINGS, max_runs=1)) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            await takes(1.0)
            status = service.status()
            assert (status.parked, status.runs_under_way, status.state) == (1, 0, "ok")
            behind = [await service.submit(RUNTIME, given) for given in (steer("s"), prompt("b"))]
            assert isinstance(await (await service.submit("other", prompt("o"))).outcome(), Completed)
            assert asyncio.get_running_loop().time() == 1.0
            assert opened(service).is_busy
            assert await handle.outcome() == Completed(handle.input_id, b"now")
            for each in behind:
                assert isinstance(await each.outcome(), Completed)
            record = await service.input_record(RUNTIME, handle.input_id)
            assert record is not None
            assert (record.attempt_count, record.failure_count) == (3, 0)
            assert service.status().parked == 0
        assert [round(time) for time in times] == [0, 10, 20]
        assert executor.entered == [("a",), ("o",), ("s",), ("a",), ("a",), ("b",)]

    run(scenario)


def test_a_runtime_that_was_put_off_can_be_stopped_and_closed() -> None:
    """Neither waits for its time."""

    async def scenario() -> float:
        async def later(_: ActiveRun) -> None:
            raise TryLater(1e6)

        async with serving(Scripted({"a": later})) as service:
            handles = [await service.submit(name, prompt("a")) for name in "xy"]
            await takes(1.0)
            await service.stop("x")
            assert await handles[0].outcome() == Abandoned(handles[0].input_id, AbandonReason.STOPPED)
        return asyncio.get_running_loop().time()

    assert run(scenario) == 1.0


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "5", None, True])
def test_a_run_is_put_off_for_a_time(seconds: Any) -> None:
    """None, or one without end, is refused, and fails the run."""
    with pytest.raises(InvalidInput):
        TryLater(seconds)


def test_a_run_is_put_off_for_a_year_at_most() -> None:
    """Longer than calendars go, and the status can still tell when the runtime goes on (C47)."""

    async def scenario() -> int:
        async def later(_: ActiveRun) -> None:
            raise TryLater(1e300)

        async with serving(Scripted({"a": later})) as service:
            await service.submit(RUNTIME, prompt("a"))
            await takes(1.0)
            parked = service.status().parked
            await service.stop(RUNTIME)
        return parked

    assert TryLater(1e300).seconds == 365 * 24 * 3600
    assert run(scenario) == 1


async def charged(error: BaseException) -> tuple[Any, int, list[tuple[str, ...]]]:
    """How an input ends whose first run raises ``error``, how many failures it was charged, and all runs."""
    errors = [error]

    async def raises_once(_: ActiveRun) -> bytes:
        if errors:
            raise errors.pop()
        return b"done"

    executor = Scripted({"a": raises_once})
    async with serving(executor) as service:
        handle = await service.submit(RUNTIME, prompt("a"))
        outcome = await handle.outcome()
        record = await service.input_record(RUNTIME, handle.input_id)
        assert record is not None
        return outcome, record.failure_count, executor.entered


@pytest.mark.parametrize(
    ("error", "failures"),
    [
        (TryLater(1.0), 0),
        (ExceptionGroup("both", [TryLater(1.0), ExceptionGroup("deep", [TryLater(2.0)])]), 0),
        (ExceptionGroup("mixed", [TryLater(1.0), ValueError()]), 1),
        (TransientFailure("words"), 1),
    ],
)
def test_what_is_charged_for_a_wish_for_later(error: BaseException, failures: int) -> None:
    """Nothing, also for several in a group; what failed besides counts."""
    outcome, charges, _ = run(lambda: charged(error))
    assert (outcome.result, charges) == (b"done", failures)


@pytest.mark.parametrize(
    ("words", "stored"),
    [
        ("exit 1: no\nluck", "exit 1: no\nluck"),
        ("x" * 5000, "x" * 4096),
        ("ä" * 3000, "ä" * 2048),
        ("\ud800", "\\ud800"),
    ],
)
def test_the_words_of_a_failure_are_stored_as_they_are(words: str, stored: str) -> None:
    """Without a type in front, up to 4096 bytes, whole characters."""

    async def scenario() -> Any:
        async def fails(_: ActiveRun) -> None:
            raise TransientFailure(words)

        async with serving(Scripted({"a": fails})) as service:
            return await (await service.submit(RUNTIME, prompt("a"))).outcome()

    outcome = run(scenario)
    assert (outcome.reason, outcome.error) == (AbandonReason.ATTEMPTS_EXHAUSTED, stored)


# -- a store that fails within a run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["checkpoint", "take_steers", "in a group"])
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNKNOWN])
def test_a_failure_of_the_store_that_an_executor_lets_through_is_not_charged(call: str, fault: Fault) -> None:
    """The run is called off and tried again, less and less often, until the store works (C14, C34)."""

    async def scenario() -> None:
        store, times = FaultyStore(MemoryStore()), list[float]()

        async def works(run: ActiveRun) -> bytes:
            times.append(asyncio.get_running_loop().time())
            if call == "take_steers":  # which is worked off in between, so that there is no row of failures
                await service.submit(RUNTIME, steer("s"))
            await takes(1.0)
            if len(times) < MAX_ATTEMPTS + 3:
                store.arm(Plan(fault, write=0))
            if call == "take_steers":
                await run.take_steers()
            elif call == "checkpoint":
                await run.checkpoint(b"half")
            else:
                async with asyncio.TaskGroup() as group:
                    group.create_task(run.checkpoint(b"half"))
            return b"done"

        async with serving(Scripted({"a": works}), store=store) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            outcome = await handle.outcome()
            assert outcome == Completed(handle.input_id, b"done")
            record = await service.input_record(RUNTIME, handle.input_id)
            assert record is not None
            assert record.failure_count == 0
            assert not worker_of(service).held_seconds
            await at_rest(worker_of(service))
        assert len(times) == MAX_ATTEMPTS + 3
        waits = [later - earlier - 1.0 for earlier, later in pairwise(times)]
        expected = (
            [STORE_RETRY_SECONDS[0]] * 5 if call == "take_steers" else [*STORE_RETRY_SECONDS, STORE_RETRY_SECONDS[-1]]
        )
        assert [round(wait, 2) for wait in waits] == expected

    run(scenario)


def test_a_failure_of_some_other_store_is_charged() -> None:
    """Also one that is raised in place of ours; what an executor caught is forgotten."""

    async def scenario() -> int:
        store, errors = FaultyStore(MemoryStore()), iter([True, False])

        async def works(run: ActiveRun) -> bytes:
            await takes(1.0)
            if next(errors):
                store.arm(Plan(write=0))
                with pytest.raises(StoreError):
                    await run.checkpoint(b"half")
                raise StoreError("of mine")
            return b"done"

        async with serving(Scripted({"a": works}), store=store) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            await handle.outcome()
            record = await service.input_record(RUNTIME, handle.input_id)
            assert record is not None
            return record.failure_count

    assert run(scenario) == 1


# -- whose context -----------------------------------------------------------------------------------------------------

caller: ContextVar[str] = ContextVar("caller", default="nobody")


def test_runs_do_not_inherit_the_context_of_who_happened_to_start_them() -> None:
    """They have that in which the service was made, each a copy of its own, by whatever way they were started."""

    async def scenario() -> list[str]:
        seen: list[str] = []

        async def looks(_: ActiveRun) -> None:
            seen.append(caller.get())
            caller.set("a run before")

        async def fails_once(run: ActiveRun) -> None:
            await looks(run)
            if len(seen) == 1:
                raise ValueError

        async def comes(start: Callable[[], Awaitable[object]]) -> None:
            caller.set("somebody")
            await start()

        caller.set("the maker")
        async with serving(Scripted({"a": looks, "fails": fails_once})) as service:
            await asyncio.create_task(comes(lambda: service.submit(RUNTIME, prompt("fails"))))
            await takes(1.0)
            await asyncio.create_task(comes(lambda: submitted(service, prompt("a"), event("a"))))
            await takes(1.0)
        return seen

    assert run(scenario) == ["the maker"] * 4


def test_a_permanent_failure_in_a_group_with_others_is_tried_again() -> None:
    """Only where nothing else failed is trying again ruled out."""
    error = ExceptionGroup("mixed", [PermanentFailure("never"), TryLater(1.0)])
    outcome, charges, entered = run(lambda: charged(error))
    assert (outcome.result, charges, len(entered)) == (b"done", 1, 2)
