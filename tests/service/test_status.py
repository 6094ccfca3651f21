"""The status: what it counts, when it is degraded and when no longer, and that asking waits for nobody (C47)."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest
from attrs import evolve, frozen

from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import Fenced, StoreError
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.inputs import PeerInput, PromptInput
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.status import MOST_PROBLEMS, Problems, ServiceState, ServiceStatus, StoreGauge
from holdstate.runtime.store import RuntimeStore, StoreStats
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.vocabulary import EventCode, InputKind, InputState, QueueMode, RuntimeControl, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .watching import START, Clock, Gated, Watched


def judged(status: ServiceStatus) -> ServiceState:
    return status.state


async def test_a_new_service_is_ok_and_empty() -> None:
    """Nothing open, nothing queued, and the store read when it started."""
    async with Watched() as watched:
        status = watched.service.status()
        assert (status.state, status.cause, status.since) == (ServiceState.OK, None, None)
        assert (status.open_runtimes, status.runtimes, status.inputs) == (0, {}, {})
        assert (status.oldest_queued_seconds, status.runs_under_way, status.overdue) == (None, 0, ())
        assert status.store == watched.store.stats()
        assert status.store_age_seconds == 0.0


async def test_counts_follow_the_commits() -> None:
    """By state, with runs under way and the age of what is queued the longest."""
    executor = Gated()
    async with Watched(executor) as watched:
        first = await watched.service.submit("a", PromptInput.new("x"))
        await executor.began.get()
        watched.clock.pass_time(5.0)
        await watched.service.ingest("a", PromptInput.new("y"))
        watched.clock.pass_time(2.0)
        await watched.service.retire("b")
        status = watched.service.status()
        assert status.runtimes == {RuntimeState.RUNNING: 1, RuntimeState.RETIRED: 1}
        assert status.inputs == {InputState.STAGED: 1, InputState.QUEUED: 1}
        assert (status.runs_under_way, status.open_runtimes, status.active_inputs) == (1, 2, 2)
        assert status.oldest_queued_seconds == 2.0
        executor.gate.set()
        await first.outcome(10)
        assert watched.service.status().inputs.get(InputState.STAGED, 0) <= 1


async def test_the_oldest_input_is_found_behind_priority() -> None:
    """An input of the priority class is worked off first and may be younger than what it overtook."""
    first = evolve(DEFAULT_POLICY.by_kind[InputKind.PEER_MESSAGE], queue_mode=QueueMode.PRIORITY)
    by_kind = {**DEFAULT_POLICY.by_kind, InputKind.PEER_MESSAGE: first}
    async with Watched(runtime=RuntimeSettings(policy=evolve(DEFAULT_POLICY, by_kind=by_kind))) as watched:
        await watched.service.ingest("a", PeerInput.new("older"))
        watched.clock.pass_time(3.0)
        await watched.service.ingest("b", PeerInput.new("younger"))
        await watched.service.ingest("b", PromptInput.new("x"))
        assert watched.service.status().oldest_queued_seconds == 3.0
        await watched.service.stop("a")
        watched.clock.pass_time(1.0)
        await watched.service.ingest("c", PromptInput.new("x"))
        watched.clock.pass_time(1.0)
        await watched.service.ingest("c", PeerInput.new("overtakes"))
        await watched.service.stop("b")
        assert watched.service.status().oldest_queued_seconds == 1.0


async def test_a_backoff_is_parked_and_overdue_when_nobody_goes_on() -> None:
    """Parked while its time is not over; well after it, with nobody working, it is overdue and the service degraded."""
    executor = Gated()
    executor.gate.set()
    async with Watched(executor) as watched, watched.service.subscribe("a", codes=[EventCode.RUN_FAILED]) as failures:
        await watched.service.ingest("a", PromptInput.new("fail"))
        await anext(failures)
        status = watched.service.status()
        assert (status.parked, status.overdue, status.state) == (1, (), ServiceState.OK)
        watched.clock.pass_time(300.0)
        assert (watched.service.status().parked, watched.service.status().overdue) == (0, ())
        watched.clock.pass_time(6.0)
        status = watched.service.status()
        assert [(late.runtime_id, late.run_id) for late in status.overdue] == [("a", None)]
        assert status.state is ServiceState.DEGRADED
        assert "tried again" in (status.cause or "")
        await watched.service.stop("a")
        assert judged(watched.service.status()) is ServiceState.OK


async def test_a_run_that_takes_long_is_overdue_until_it_ends() -> None:
    """The status names the run; nothing is done to it."""
    executor = Gated()
    async with Watched(executor) as watched:
        handle = await watched.service.submit("a", PromptInput.new("x"))
        run = await executor.began.get()
        watched.clock.pass_time(301.0)
        status = watched.service.status()
        assert [(late.runtime_id, late.run_id, late.since) for late in status.overdue] == [("a", run.run_id, START)]
        assert (status.state, status.since) == (ServiceState.DEGRADED, START)
        assert str(run.run_id) in (status.cause or "")
        executor.gate.set()
        await handle.outcome(10)
        assert judged(watched.service.status()) is ServiceState.OK


async def test_a_failure_of_the_store_lasts_until_it_takes_something_again() -> None:
    """Degraded with the first cause and since when; the next commit of that runtime ends it."""
    store = FaultyStore(MemoryStore())
    async with Watched(store=store) as watched:
        await watched.service.retire("a")
        for _ in range(2):
            store.plan = Plan(Fault.REFUSED, write=store.writes)
            with pytest.raises(StoreError):
                await watched.service.recycle("a")
            watched.clock.pass_time(10.0)
        status = watched.service.status()
        assert (status.state, status.since) == (ServiceState.DEGRADED, START)
        assert (status.cause or "").startswith("runtime 'a': the store failed")
        await watched.service.recycle("a")
        assert judged(watched.service.status()) is ServiceState.OK


async def test_another_problem_is_over_a_minute_after_it_was_heard_of_last() -> None:
    """What an executor did wrong shows, also after the commit of the command that it was told of, and is forgotten."""

    @frozen
    class Rude:
        async def apply(self, run: ActiveRun) -> None:
            """Not called here."""

        async def control(self, runtime_id: str, control: RuntimeControl) -> None:
            raise ValueError("no")

    async with Watched(Rude()) as watched:
        await watched.service.stop("a")
        assert "control failed: no" in (watched.service.status().cause or "")
        watched.clock.pass_time(60.0)
        assert judged(watched.service.status()) is ServiceState.DEGRADED
        watched.clock.pass_time(1.0)
        assert judged(watched.service.status()) is ServiceState.OK


async def test_a_runtime_that_somebody_else_took_is_no_longer_counted() -> None:
    """Its driver is let go; its inputs are told of by the store from then on."""
    async with Watched() as watched:
        await watched.service.ingest("a", PromptInput.new("x"))
        async with RuntimeService(watched.store) as other:
            await other.retire("a")
        with pytest.raises(Fenced):
            await watched.service.retire("a")
        status = watched.service.status()
        assert (status.open_runtimes, status.inputs, status.active_inputs) == (0, {}, 1)


# -- the store's counters ------------------------------------------------------------------------------------------


class Moody:
    """A memory store whose counters cannot be read, or only when they are let."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.failure: Exception | None = None
        self.readings = 0
        self.gate = threading.Event()
        self.gate.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def stats(self) -> StoreStats:
        self.readings += 1
        self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        return self._store.stats()

    @property
    def as_store(self) -> RuntimeStore:
        return cast("RuntimeStore", self)


async def test_a_store_that_cannot_be_read_makes_the_status_unknown() -> None:
    """From the first failure on, until it can be read again; the last counters stay, with their age."""
    store = Moody()
    async with Watched(store=store.as_store) as watched:
        for _ in range(2):
            store.failure = StoreError("gone")
            watched.clock.pass_time(2.0)
            watched.service.status()
            await watched.service._observed.gauge.settle()
        status = watched.service.status()
        assert (status.state, status.since) == (ServiceState.UNKNOWN, START.replace(second=2))
        assert "StoreError: gone" in (status.cause or "")
        assert status.store_age_seconds == 4.0
        store.failure = None
        watched.clock.pass_time(2.0)
        watched.service.status()
        await watched.service._observed.gauge.settle()
        assert (watched.service.status().state, watched.service.status().store_age_seconds) == (ServiceState.OK, 0.0)


async def test_a_store_that_cannot_be_read_at_the_start_is_unknown() -> None:
    """The service starts; its status says what is wrong, and has no counters."""
    store = Moody()
    store.failure = OSError("disk")
    async with Watched(store=store.as_store) as watched:
        status = watched.service.status()
        assert (status.state, status.store, status.store_age_seconds) == (ServiceState.UNKNOWN, None, None)
        assert "OSError: disk" in (status.cause or "")


async def test_asking_waits_for_no_store() -> None:
    """While the counters are being read, the status answers with the last ones and asks no second time (C47)."""
    store = Moody()
    async with Watched(store=store.as_store) as watched:
        store.gate.clear()
        watched.clock.pass_time(2.0)
        first = watched.service.status()
        watched.clock.pass_time(2.0)
        assert watched.service.status().store_age_seconds == 4.0
        assert first.store_age_seconds == 2.0
        store.gate.set()
        await watched.service._observed.gauge.settle()
        assert store.readings == 2
        assert watched.service.status().store_age_seconds == 0.0


async def test_asking_waits_for_no_commit() -> None:
    """It is a plain call: while a command of a runtime is queued, the status is told as of the last commit (C47)."""
    async with Watched() as watched:
        await watched.service.ingest("a", PromptInput.new("x"))
        queued = asyncio.ensure_future(watched.service.stop("a"))
        await asyncio.wait([queued], timeout=0)
        assert watched.service.status().at == START
        await queued


async def test_a_reading_that_is_cancelled_changes_nothing() -> None:
    """The loop that ends takes its readings along; the last counters stay."""
    store = Moody()
    clock = Clock()
    readings: list[StoreStats] = []
    gauge = StoreGauge(store.as_store, clock, readings.append)
    gauge.read_now()
    before = gauge.stats
    store.gate.clear()
    clock.pass_time(2.0)
    gauge.refresh()
    assert gauge._under_way is not None
    gauge._under_way.cancel()
    await gauge.settle()
    store.gate.set()
    assert (gauge.stats, gauge.failure, readings) == (before, None, [before])
    await gauge.settle()


# -- problems ------------------------------------------------------------------------------------------------------


def test_a_problem_that_comes_back_after_it_was_over_begins_anew() -> None:
    """``since`` is the first time of this spell."""
    clock, problems = Clock(), Problems()
    problems.note("a", "what", ValueError("v"), clock(), is_of_store=False)
    clock.pass_time(100.0)
    problems.note("a", "what", ValueError("v"), clock(), is_of_store=False)
    first = problems.first(clock())
    assert first is not None
    assert first.first_at == clock()


def test_problems_are_bounded() -> None:
    """Of very many runtimes with problems the later ones are not kept; what one knows already goes on."""
    clock, problems = Clock(), Problems()
    for number in range(MOST_PROBLEMS + 5):
        problems.note(str(number), "what", ValueError("v"), clock(), is_of_store=True)
    problems.note("0", "more", ValueError("v"), clock(), is_of_store=True)
    assert len(problems._by_place) == MOST_PROBLEMS
    assert len(problems._by_place["0"]) == 2
    problems.committed("0")
    problems.committed("unknown")
    assert "0" not in problems._by_place
