"""Submitting: queued when it returns, durable once ``accepted`` answers, in order, and waiting for room where asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime import service_intake
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import Fenced, NotReady, ServiceClosed, StoreError
from holdstate.runtime.handles import Abandoned, Completed, WaitFailed
from holdstate.runtime.inputs import ContinuationInput
from holdstate.runtime.outcomes import Accepted, Deduplicated, Rejected
from holdstate.runtime.rejections import RejectionCode
from holdstate.runtime.settings import Limits
from holdstate.runtime.status import StoreGauge
from holdstate.runtime.store import InputFilter
from holdstate.spec.vocabulary import AbandonReason, Durability, HandlingMode, InputState
from holdstate.stores.memory_store import MemoryStore

from ..faults import FaultyStore, Plan
from .kit import RULES, RUNTIME, SETTINGS, Gate, Scripted, brought_up, opened, progress, prompt, serving, takes
from .virtual_loop import explore, run, shuffled

TWO = evolve(SETTINGS, runtime=evolve(RULES, limits=Limits(max_active_inputs=2)))


def stored(store: MemoryStore, runtime_id: str = RUNTIME) -> list[str]:
    """The keys of what a runtime was given, in the order of admission."""
    return [str(record.admission.idempotency_key) for record in store.list_inputs(InputFilter(runtime_id)).records]


# -- the commit ------------------------------------------------------------------------------------------------------


def test_a_submitted_input_is_queued_and_its_acceptance_is_durable() -> None:
    """Nothing is stored when ``submit`` returns; it is when ``accepted`` answers, and not a moment later (C1)."""

    async def scenario() -> None:
        store = MemoryStore()
        async with serving(None, store=store) as service:
            await service.retire("other")
            await brought_up(service)
            commits = store.stats().commits
            handle = await service.submit(RUNTIME, prompt("a", idempotency_key="k"))
            assert (store.stats().commits, stored(store)) == (commits, [])
            accepted = await handle.accepted
            assert isinstance(accepted, Accepted)
            assert accepted.input_id == handle.input_id
            assert stored(store) == ["k"]

    run(scenario)


def test_what_one_task_submits_shares_commits_and_keeps_its_order() -> None:
    """A hundred inputs over two runtimes take one commit, and are admitted in order (C13)."""

    async def scenario() -> None:
        store = MemoryStore()
        async with serving(None, store=store) as service:
            for name in "ab":
                await brought_up(service, name)
            commits = store.stats().commits
            handles = [await service.submit("ab"[n % 2], prompt("x", idempotency_key=f"{n}")) for n in range(100)]
            for handle in reversed(handles):
                assert isinstance(await handle.accepted, Accepted)
            assert store.stats().commits == commits + 1
            assert stored(store, "a") == [f"{n}" for n in range(0, 100, 2)]
            assert stored(store, "b") == [f"{n}" for n in range(1, 100, 2)]

    run(scenario)


def test_no_schedule_reorders_what_one_task_submits() -> None:
    """Not while the runtime is opened for it either (C13)."""

    async def scenario() -> list[str]:
        store = MemoryStore()

        async def other(service: Any) -> None:
            await service.submit(RUNTIME, prompt("x", idempotency_key="other"))

        async with serving(Scripted(), store=store) as service:
            rival = asyncio.create_task(other(service))
            handles = [await service.submit(RUNTIME, prompt(key, idempotency_key=key)) for key in "abc"]
            await asyncio.gather(rival, *(handle.outcome() for handle in handles))
        return [key for key in stored(store) if key != "other"]

    for order in (*explore(scenario, 1), *shuffled(scenario, 100)):
        assert order == ["a", "b", "c"]


def test_an_acceptance_can_be_awaited_by_many_and_left_by_any() -> None:
    """Whoever leaves, at whatever step, the input goes on, and the others hear of it (C10)."""

    def leaving_after(steps: int) -> Callable[[], Any]:
        async def scenario() -> None:
            async with serving(Scripted()) as service:
                handle = await service.submit(RUNTIME, prompt("a"))

                async def waits() -> Any:
                    return await handle.accepted

                leaving, staying = (asyncio.create_task(waits()) for _ in range(2))
                for _ in range(steps):
                    await asyncio.sleep(0)
                leaving.cancel()
                accepted = await staying
                assert isinstance(accepted, Accepted)
                assert accepted is await handle.accepted
                assert await handle.outcome() == Completed(handle.input_id, b"a")

        return scenario

    for steps in range(8):
        run(leaving_after(steps))


def test_a_runtime_is_kept_open_for_a_submit_until_it_is_answered_and_no_longer() -> None:
    """With room for one it stays while its input is on the way, and is closed for the next one then."""

    async def scenario() -> None:
        async with serving(None, evolve(SETTINGS, max_open=1)) as service:
            handle = await service.submit("a", prompt("x"))
            using = asyncio.create_task(brought_up(service, "b"))
            assert isinstance(await handle.accepted, Accepted)
            await using
            await brought_up(service, "c")
            assert [entry.driver.runtime_id for entry in service._pool] == ["c"]
            assert service._pool._pins == {}

    run(scenario)


def test_a_handle_that_nobody_keeps_is_admitted_all_the_same() -> None:
    """Fire and forget: the input is worked off."""

    async def scenario() -> None:
        executor = Scripted()
        async with serving(executor) as service:
            await service.submit(RUNTIME, prompt("a"))
            await takes(1.0)
            assert executor.entered == [("a",)]

    run(scenario)


def test_what_keeps_an_input_out_is_told_by_its_acceptance() -> None:
    """A runtime that takes none, a store that fails, another opener: raised each time, and the wait claims nothing."""

    async def refused(service: Any) -> Any:
        handle = await service.submit(RUNTIME, prompt("a", idempotency_key="k"))
        causes = []
        for _ in range(2):
            with pytest.raises((NotReady, StoreError, Fenced, ServiceClosed)) as raised:
                await handle.accepted
            causes.append(raised.value)
        outcome = await handle.outcome()
        assert isinstance(outcome, WaitFailed)
        assert causes == [outcome.cause] * 2
        assert outcome.input_id == handle.input_id
        return outcome.cause

    async def scenario() -> list[type[BaseException]]:
        inner = MemoryStore()
        store, causes = FaultyStore(inner), []
        async with serving(None, store=store) as service:
            await service.retire(RUNTIME)
            causes.append(await refused(service))
            await service.recycle(RUNTIME)
            store.arm(Plan(write=0))
            causes.append(await refused(service))
            assert service.status().cause is not None
            await PersistentRuntimeDriver.open(RUNTIME, store)
            causes.append(await refused(service))
            assert stored(inner) == []
            assert isinstance(await service.ingest(RUNTIME, prompt("a")), Accepted), "it was opened anew"
        return [type(cause) for cause in causes]

    assert run(scenario) == [NotReady, StoreError, Fenced]


def test_a_runtime_that_cannot_be_opened_takes_nothing() -> None:
    """``submit`` raises what opening raised; the room it had is free again."""

    async def scenario() -> None:
        store = FaultyStore(MemoryStore())
        async with serving(None, evolve(SETTINGS, max_active_total=1), store=store) as service:
            store.arm(Plan(write=0))
            with pytest.raises(StoreError):
                await service.submit(RUNTIME, prompt("a"))
            handle = await service.submit(RUNTIME, prompt("a"))
            assert isinstance(await handle.accepted, Accepted)

    run(scenario)


def test_what_is_queued_when_the_service_closes_is_told_either_way() -> None:
    """Closed at every step after the submit: accepted and stored, or ``ServiceClosed`` and not stored (C4)."""

    def closing_after(steps: int) -> Callable[[], Any]:
        async def scenario() -> bool:
            store = MemoryStore()
            async with serving(None, store=store) as service:
                await brought_up(service)
                closing = asyncio.create_task(service.close())
                for _ in range(steps):
                    await asyncio.sleep(0)
                try:
                    handle = await service.submit(RUNTIME, prompt("a", idempotency_key="k"))
                    await handle.accepted
                except ServiceClosed:
                    assert stored(store) == []
                    return False
                finally:
                    await closing
                assert stored(store) == ["k"]
                return True

        return scenario

    assert [run(closing_after(steps)) for steps in range(2)] == [True, False]


def test_a_call_that_comes_behind_the_closing_of_its_driver_hears_of_the_service() -> None:
    """Not of a driver that the caller never saw."""

    async def scenario() -> None:
        async with serving(None) as service:
            await brought_up(service)
            entry = opened(service)
            entry.driver.release()
            service._pool._closing = asyncio.create_task(takes(0.0))
            call = asyncio.get_running_loop().create_future()
            told: list[object] = []
            service._pool.hold(entry, call, told.append)
            call.set_exception(await raised(entry.driver.retire()))
            await takes(1.0)
            assert [type(each) for each in told] == [ServiceClosed]
            service._pool._closing = None

    async def raised(work: Any) -> Exception:
        with pytest.raises(Exception) as error:
            await work
        return error.value

    run(scenario)


def test_a_retry_follows_the_input_that_came_first() -> None:
    """The handle has its own id until more is known, then that of the first, whose outcome it tells (C8)."""

    async def scenario() -> None:
        async with serving(Scripted()) as service:
            first = await service.submit(RUNTIME, prompt("a", idempotency_key="k"))
            given = prompt("b", idempotency_key="k")
            again = await service.submit(RUNTIME, given)
            assert again.input_id == given.header.id
            assert isinstance(await again.accepted, Deduplicated)
            assert again.input_id == first.input_id
            assert await again.outcome() == await first.outcome() == Completed(first.input_id, b"a")

    run(scenario)


def test_submits_that_wait_for_their_commits_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that submits in a loop gives the loop its turn."""
    monkeypatch.setattr(service_intake, "MOST_UNSETTLED", 10)

    async def scenario() -> tuple[int, list[str]]:
        store, most = MemoryStore(), 0
        async with serving(None, store=store) as service:
            for number in range(35):
                await service.submit(RUNTIME, prompt("x", idempotency_key=f"{number}"))
                most = max(most, service._intake._door.unsettled)
        return most, stored(store)

    most, keys = run(scenario)
    assert most == 10
    assert keys == [f"{number}" for number in range(35)]


# -- ephemeral inputs --------------------------------------------------------------------------------------------------


def test_an_ephemeral_input_that_ends_in_the_group_of_its_admission_is_told_of() -> None:
    """Taken in by a newer one, or stopped, before its acceptance was heard: its handle knows how it ended (C46)."""

    async def scenario() -> None:
        async with serving(None) as service:
            await brought_up(service)
            first, second = [
                await service.submit(RUNTIME, progress(word, supersession_key="k", durability=Durability.EPHEMERAL))
                for word in "ab"
            ]
            stopping = asyncio.create_task(service.stop(RUNTIME))
            for handle in (first, second):
                assert await handle.outcome() == Abandoned(second.input_id, AbandonReason.STOPPED)
            await stopping

    run(scenario)


def test_an_ephemeral_input_that_comes_twice_is_told_of_twice() -> None:
    """The second handle is on the first input, which is active."""

    async def scenario() -> None:
        gate = Gate()
        async with serving(Scripted({"a": gate})) as service:
            await service.submit(RUNTIME, prompt("a"))
            await gate.began.wait()
            given = ContinuationInput.new("go", handling_mode=HandlingMode.QUEUE, durability=Durability.EPHEMERAL)
            handles = [await service.submit(RUNTIME, given) for _ in range(2)]
            assert [type(await handle.accepted) for handle in handles] == [Accepted, Deduplicated]
            gate.opened.set()
            for handle in handles:
                assert await handle.outcome() == Completed(handle.input_id, b"go")

    run(scenario)


def test_an_ephemeral_retry_of_a_stored_input_that_ended_gets_its_stored_end() -> None:
    """Under the id of a durable one: nothing more will be heard of that, the store tells."""

    async def scenario() -> None:
        async with serving(Scripted()) as service:
            given = prompt("a")
            first = await (await service.submit(RUNTIME, given)).outcome()
            again = ContinuationInput.new("go", durability=Durability.EPHEMERAL, id=given.header.id)
            handle = await service.submit(RUNTIME, again)
            assert isinstance(await handle.accepted, Deduplicated)
            assert await handle.outcome() == first == Completed(given.header.id, b"a")

    run(scenario)


# -- room ------------------------------------------------------------------------------------------------------------


def test_a_caller_may_wait_for_room_in_a_runtime() -> None:
    """Twelve inputs pass through a runtime that takes two, in order, and none is refused (C13)."""

    async def scenario() -> list[tuple[str, ...]]:
        executor = Scripted()
        async with serving(executor, TWO) as service:
            words = [f"{number}" for number in range(12)]
            handles = [await service.submit(RUNTIME, prompt(word), wait_for_room=True) for word in words]
            outcomes = [await handle.outcome() for handle in handles]
            assert [outcome.result for outcome in outcomes if isinstance(outcome, Completed)] == [
                word.encode() for word in words
            ]
        return executor.entered

    for entered in (run(scenario), *shuffled(scenario, 30)):
        assert entered == [(f"{number}",) for number in range(12)]


def test_without_waiting_a_full_runtime_refuses_with_a_hint() -> None:
    """Both ways in; nothing is stored (C4)."""

    async def scenario() -> None:
        store = MemoryStore()
        async with serving(None, TWO, store) as service:
            for key in "ab":
                await service.submit(RUNTIME, prompt("x", idempotency_key=key))
            handle = await service.submit(RUNTIME, prompt("x", idempotency_key="c"))
            for refusal in (await handle.accepted, await service.ingest(RUNTIME, prompt("x"))):
                assert isinstance(refusal, Rejected)
                assert (refusal.code, refusal.retry_after_seconds) == (RejectionCode.OVERLOADED, 1.0)
            assert stored(store) == ["a", "b"]

    run(scenario)


def test_a_full_runtime_is_worked_off_for_who_waits_also_where_nothing_wakes_it() -> None:
    """Inputs that wake nobody, in a runtime that may not run, give way to who waits for their room."""

    async def scenario() -> list[tuple[str, ...]]:
        executor = Scripted()
        async with serving(executor, evolve(TWO, may_run=lambda _: False)) as service:
            for word in ("quiet", "too"):
                await (await service.submit(RUNTIME, progress(word))).accepted
            await takes(10.0)
            assert executor.entered == []
            handle = await service.submit(RUNTIME, prompt("a"), wait_for_room=True)
            assert isinstance(await handle.accepted, Accepted)
            await takes(10.0)
            assert await service.input_state(RUNTIME, handle.input_id) is InputState.QUEUED, "nobody waits any more"
        return executor.entered

    assert run(scenario) == [("quiet", "too")]


def test_who_waits_first_is_let_in_first_and_who_leaves_gives_way() -> None:
    """Four callers at a full runtime; the second one leaves."""

    async def scenario() -> list[str]:
        store, gate = MemoryStore(), Gate()
        async with serving(Scripted({"gate": gate}), TWO, store) as service:

            async def comes(key: str) -> None:
                handle = await service.submit(RUNTIME, prompt("x", idempotency_key=key), wait_for_room=True)
                await handle.accepted

            await service.submit(RUNTIME, prompt("gate", idempotency_key="gate"))
            await gate.began.wait()
            await (await service.submit(RUNTIME, prompt("x", idempotency_key="x"))).accepted
            waiting = []
            for key in "abcd":
                waiting.append(asyncio.create_task(comes(key)))
                await takes(1.0)
            waiting[1].cancel()
            await takes(1.0)
            assert stored(store) == ["gate", "x"]
            gate.opened.set()
            await asyncio.gather(*waiting, return_exceptions=True)
        return stored(store)

    assert run(scenario) == ["gate", "x", "a", "c", "d"]


def test_a_caller_may_wait_for_room_among_all_runtimes(refreshed: list[StoreGauge]) -> None:
    """Of the limit in total too, first come first served; the counters of the store are looked at each second."""

    async def scenario() -> list[str]:
        order: list[str] = []
        gate = Gate()
        async with serving(Scripted({"gate": gate}), evolve(SETTINGS, max_active_total=1)) as service:

            async def comes(name: str) -> None:
                await (await service.submit(name, prompt("x"), wait_for_room=True)).outcome()
                order.append(name)

            await service.submit("first", prompt("gate"))
            await gate.began.wait()
            waiting = []
            for name in "abc":
                waiting.append(asyncio.create_task(comes(name)))
                await takes(5.0)
            assert order == []
            gate.opened.set()
            assert 15 <= len(refreshed) <= 25
            await asyncio.gather(*waiting)
        return order

    assert run(scenario) == ["a", "b", "c"]


def test_waiting_for_room_is_not_for_what_has_none_or_was_here(refreshed: list[StoreGauge]) -> None:
    """A retry is told at once, what is too large is refused at once, and a service that closes lets nobody wait."""

    async def scenario() -> None:
        settings = evolve(SETTINGS, max_active_total=1, max_queued_bytes=2000)
        async with serving(None, settings) as service:
            await (await service.submit(RUNTIME, prompt("a", idempotency_key="k"))).accepted
            again = await service.submit(RUNTIME, prompt("a", idempotency_key="k"), wait_for_room=True)
            assert isinstance(await again.accepted, Deduplicated)
            large = await service.submit(RUNTIME, prompt("x" * 3000), wait_for_room=True)
            assert isinstance(await large.accepted, Rejected)
            waiting = asyncio.create_task(service.submit(RUNTIME, prompt("b"), wait_for_room=True))
            await takes(10.0)
            assert not waiting.done()
            closing = asyncio.create_task(service.close())
            with pytest.raises(ServiceClosed):
                await waiting
            await closing
        assert refreshed

    run(scenario)


@pytest.mark.parametrize("how", ["close", "fenced"])
def test_nobody_waits_for_room_in_a_runtime_that_is_gone(how: str) -> None:
    """The service closes, or somebody else opened the runtime: who waits is told."""

    async def scenario() -> type[BaseException]:
        store = MemoryStore()
        async with serving(None, TWO, store) as service:
            for _ in range(2):
                await (await service.submit(RUNTIME, prompt("x"))).accepted
            waiting = asyncio.create_task(service.submit(RUNTIME, prompt("b"), wait_for_room=True))
            await takes(10.0)
            assert not waiting.done()
            if how == "close":
                await service.close()
            else:
                await PersistentRuntimeDriver.open(RUNTIME, store)
                with pytest.raises(Fenced):
                    await service.retire(RUNTIME)
            with pytest.raises((ServiceClosed, Fenced)) as raised:
                await waiting
            return type(raised.value)

    assert run(scenario) is (ServiceClosed if how == "close" else Fenced)
