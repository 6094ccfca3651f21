"""What a service takes on: limits that hold exactly, refusals that cost nothing, and a hint when to come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import evolve

from holdstate.runtime.backpressure import Load, Pace
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import Fenced, InputRejected, InvalidInput, ServiceClosed
from holdstate.runtime.ids import InputId, new_uuid7
from holdstate.runtime.inputs import ContinuationInput, ImageBlock, OperationInput, PromptInput
from holdstate.runtime.outcomes import Accepted, Deduplicated, Rejected
from holdstate.runtime.rejections import RejectionCode
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.service_settings import ServiceSettings
from holdstate.runtime.settings import Limits, Retention
from holdstate.runtime.store import InputFilter, StoreStats
from holdstate.spec.vocabulary import Durability
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore

from .watching import Clock, Gated, Watched


def limited(inputs: int = 1_000_000, size_bytes: int = 2**30, max_open: int = 1000) -> Watched:
    return Watched(
        change=lambda settings: evolve(
            settings, max_active_total=inputs, max_queued_bytes=size_bytes, max_open=max_open
        )
    )


def refused(outcome: object) -> Rejected:
    assert isinstance(outcome, Rejected)
    assert outcome.code is RejectionCode.OVERLOADED
    assert outcome.retry_after_seconds is not None
    return outcome


async def test_the_total_of_inputs_is_never_exceeded_by_callers_who_come_at_once() -> None:
    """Of ten at once over ten runtimes exactly as many are admitted as there is room for; the others hear it."""
    async with limited(inputs=4) as watched:
        given = [watched.service.ingest(f"r{each}", PromptInput.new("x")) for each in range(10)]
        outcomes = await asyncio.gather(*given)
        assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 4
        assert len([refused(outcome) for outcome in outcomes if isinstance(outcome, Rejected)]) == 6
        assert watched.store.stats().active_inputs == 4


async def test_a_refusal_opens_no_runtime_and_stores_nothing() -> None:
    """Where there is no room a runtime that is not open stays unknown."""
    async with limited(inputs=1) as watched:
        await watched.service.ingest("open", PromptInput.new("x"))
        commits = watched.store.stats().commits
        refused(await watched.service.ingest("other", PromptInput.new("x")))
        assert await watched.service.runtime_state("other") is None
        assert watched.service.status().open_runtimes == 1
        assert watched.store.stats().commits == commits
        handle = await watched.service.submit("other", PromptInput.new("x"))
        assert refused(await handle.accepted).retry_after_seconds == 1.0
        with pytest.raises(InputRejected):
            await handle.outcome()
        assert await watched.service.runtime_state("other") is None


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_retry_of_what_was_admitted_is_deduplicated_when_there_is_no_room(*, is_open: bool) -> None:
    """By id and by key, whether its runtime is open or not (C8)."""
    async with limited(inputs=1, max_open=1) as watched:
        first = PromptInput.new("x", idempotency_key="k")
        await watched.service.ingest("a", first)
        if not is_open:
            await watched.service.retire("b")  # there is room for one open runtime
        assert watched.service.status().open_runtimes == 1
        again = await watched.service.ingest("a", first)
        by_key = await watched.service.ingest("a", PromptInput.new("y", idempotency_key="k"))
        assert isinstance(again, Deduplicated)
        assert again.same_payload
        assert isinstance(by_key, Deduplicated)
        assert (by_key.existing_id, by_key.same_payload) == (first.header.id, False)
        refused(await watched.service.ingest("a", PromptInput.new("y", idempotency_key="other")))


async def test_bytes_count_payloads_and_new_images() -> None:
    """Where the next one would go over the limit it is refused, a smaller one is not; ends give the bytes back."""
    async with limited(size_bytes=3000) as watched:
        image = PromptInput.new("x", (ImageBlock("image/png", b"\0" * 2000),))
        await watched.service.ingest("a", image)
        assert 2000 < watched.service.status().queued_bytes < 3000
        refused(await watched.service.ingest("b", PromptInput.new("x" * 1000)))
        assert isinstance(await watched.service.ingest("b", PromptInput.new("x")), Accepted)
        await watched.service.cancel("a", image.header.id)
        await watched.service.stop("b")
        status = watched.service.status()
        assert (status.queued_bytes, status.active_inputs, status.is_full) == (0, 0, False)
        assert isinstance(await watched.service.ingest("a", PromptInput.new("x" * 1000)), Accepted)


async def test_the_limit_of_one_runtime_carries_a_hint_too() -> None:
    """``Limits.max_active_inputs`` is refused with the same code and a time to come back."""
    runtime = RuntimeSettings(limits=Limits(max_active_inputs=1))
    async with Watched(runtime=runtime) as watched:
        await watched.service.ingest("a", PromptInput.new("x"))
        outcome = refused(await watched.service.ingest("a", PromptInput.new("x")))
        assert outcome.retry_after_seconds == 1.0
        assert isinstance(await watched.service.ingest("b", PromptInput.new("x")), Accepted)


async def test_what_is_not_well_formed_is_refused_for_that() -> None:
    """A bad input and a bad runtime id are told as such, also where there is no room; a closed service says so."""
    async with limited(inputs=1) as watched:
        await watched.service.ingest("a", PromptInput.new("x"))
        outcome = await watched.service.ingest("a", PromptInput.new("\ud800"))
        assert isinstance(outcome, Rejected)
        assert (outcome.code, outcome.retry_after_seconds) == (RejectionCode.NOT_ENCODABLE, None)
        with pytest.raises(InvalidInput, match="runtime_id"):
            await watched.service.ingest("\n", PromptInput.new("x"))
    with pytest.raises(ServiceClosed):
        await watched.service.ingest("a", PromptInput.new("x"))


async def test_the_same_input_brought_twice_at_once_takes_one_place() -> None:
    """Two callers with one id take one place; the second learns of the first."""
    async with limited(inputs=2) as watched:
        given = PromptInput.new("x")
        outcomes = await asyncio.gather(*(watched.service.ingest("a", given) for _ in range(2)))
        assert {type(outcome) for outcome in outcomes} == {Accepted, Deduplicated}
        assert watched.service.status().active_inputs == 1
        assert isinstance(await watched.service.ingest("a", PromptInput.new("y")), Accepted)


async def test_a_caller_who_is_cancelled_leaves_no_place_taken() -> None:
    """The place that was kept for an admission is free again when its caller is gone."""
    async with limited(inputs=1) as watched:
        await watched.service.retire("other")
        task = asyncio.create_task(watched.service.ingest("a", PromptInput.new("x")))
        await asyncio.wait([task], timeout=0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not watched.service.status().is_full


async def test_an_input_that_is_consumed_on_accept_takes_no_room() -> None:
    """It has ended when it is admitted."""
    async with limited(inputs=1) as watched:
        for _ in range(2):
            assert isinstance(await watched.service.ingest("a", OperationInput.new("op", {})), Accepted)
        assert watched.service.status().active_inputs == 0


async def test_room_comes_back_as_runs_consume() -> None:
    """What a run consumed makes room, and an input that replaces another takes its place."""
    executor = Gated()
    async with Watched(executor, change=lambda settings: evolve(settings, max_active_total=1)) as watched:
        handle = await watched.service.submit("a", PromptInput.new("x"))
        refused(await watched.service.ingest("b", PromptInput.new("x")))
        executor.gate.set()
        await handle.outcome(10)
        assert isinstance(await watched.service.ingest("b", PromptInput.new("x")), Accepted)


@pytest.mark.parametrize("keeps_payloads", [True, False])
async def test_a_restart_counts_what_the_store_holds(tmp_path: Path, *, keeps_payloads: bool) -> None:
    """A new service over the same store starts with its active inputs and about their bytes; both end at nothing."""
    runtime = RuntimeSettings(retention=Retention(keep_payloads=keeps_payloads))
    settings = ServiceSettings(runtime=runtime, max_active_total=3)
    given = [PromptInput.new("x" * 1000) for _ in range(3)]
    with LmdbStore.open(tmp_path / "store") as store:
        async with RuntimeService(store, settings=settings) as service:
            for each in given:
                await service.ingest("a", each)
            await service.cancel("a", given[0].header.id)
        async with RuntimeService(store, settings=settings) as service:
            status = service.status()
            assert status.active_inputs == 2
            assert 2000 < status.queued_bytes < 20_000
            assert isinstance(await service.ingest("b", PromptInput.new("x")), Accepted)
            refused(await service.ingest("c", PromptInput.new("x")))
            for each in given[1:]:
                await service.cancel("a", each.header.id)
            await service.stop("b")
            status = service.status()
            assert (status.active_inputs, status.queued_bytes) == (0, 0)


async def test_what_recovery_ends_is_no_longer_counted() -> None:
    """An input that a crash ends for good at the next open leaves the count."""
    store = MemoryStore()
    runtime = RuntimeSettings(retry=evolve(RuntimeSettings().retry, max_attempts=1))
    executor = Gated()
    crashed = RuntimeService(store, executor, settings=ServiceSettings(runtime=runtime))
    await crashed.submit("a", PromptInput.new("x"))
    await executor.began.get()
    async with Watched(store=store, runtime=runtime) as watched:
        assert watched.service.status().active_inputs == 1
        await watched.service.retire("a")
        assert watched.service.status().active_inputs == 0
        executor.gate.set()
    await crashed.close(0.0)


async def test_a_runtime_that_is_closed_keeps_its_durable_inputs_in_the_count() -> None:
    """Taken over by somebody else, it counts as the store tells; its ephemeral inputs are gone and count no more."""
    async with limited() as watched:
        await watched.service.ingest("a", PromptInput.new("x"))
        await watched.service.ingest("a", ContinuationInput.new("r", durability=Durability.EPHEMERAL))
        assert watched.service.status().active_inputs == 2
        size_bytes = watched.service.status().queued_bytes
        async with RuntimeService(watched.store) as other:
            await other.retire("a")
        with pytest.raises(Fenced):
            await watched.service.retire("a")
        status = watched.service.status()
        assert (status.open_runtimes, status.active_inputs) == (0, 1)
        assert 0 < status.queued_bytes < size_bytes


async def test_a_full_service_looks_at_the_store_again() -> None:
    """What another process worked off makes room at the latest when the counters are read again, a second later."""
    async with limited(inputs=1) as watched:
        await watched.service.ingest("a", PromptInput.new("x"))
        async with RuntimeService(watched.store) as other:
            page = watched.store.list_inputs(InputFilter("a"))
            await other.cancel("a", page.records[0].input_id)
        refused(await watched.service.ingest("b", PromptInput.new("x")))
        watched.clock.pass_time(2.0)
        with pytest.raises(Fenced):
            await watched.service.retire("a")
        refused(await watched.service.ingest("b", PromptInput.new("x")))
        await watched.service._observed.gauge.settle()
        assert isinstance(await watched.service.ingest("b", PromptInput.new("x")), Accepted)


# -- the hint ------------------------------------------------------------------------------------------------------


def test_the_hint_is_the_turn_of_the_caller_at_the_pace_of_late() -> None:
    """The n-th who is refused waits for n ends, from 1 to 60 seconds; whoever is admitted ends the row."""
    clock = Clock()
    pace = Pace(clock)
    assert [pace.refused(), pace.refused()] == [1.0, 1.0]
    pace.admitted()
    pace.ended(1)
    clock.pass_time(8.0)
    pace.ended(4)
    assert [pace.refused() for _ in range(3)] == [2.0, 4.0, 6.0]
    clock.pass_time(7.0)
    pace.ended(1)
    assert pace.refused() == pytest.approx(3 * 3.0)
    assert [pace.refused() for _ in range(100)][-1] == 60.0
    pace.admitted()
    assert pace.refused() == pytest.approx(3.0)


def test_whoever_finds_room_ends_the_row() -> None:
    """The turns of those who were refused before are not waited for any more."""
    clock = Clock()
    load = Load(1, 100, clock)
    load.adjust(StoreStats(1, 3, 0, 0, 0, 0, 0, 0, 0, 0), keeps_payloads=False)
    load._pace.ended(1)
    clock.pass_time(10.0)
    load._pace.ended(1)
    assert [load.retry_after() for _ in range(3)] == [10.0, 20.0, 30.0]
    load.ended_unseen(3)
    assert load.reserve("a", InputId(new_uuid7()), 10)
    assert load.retry_after() == 10.0


def test_a_clock_that_was_set_back_does_not_break_the_hint() -> None:
    """Time that ran backwards counts as none."""
    clock = Clock()
    pace = Pace(clock)
    pace.ended(1)
    clock.pass_time(-100.0)
    pace.ended(1)
    assert pace.refused() == 1.0


def test_ends_that_nobody_counted_do_not_go_below_nothing() -> None:
    """More ends than were known, and closing what is not open, leave zero."""
    load = Load(10, 100, Clock())
    load.ended_unseen(3)
    load.closed("a")
    assert (load.active, load.queued_bytes, load.is_full) == (0, 0, False)
    load.adjust(StoreStats(1, 2, 0, 0, 10, 0, 0, 0, 0, 0), keeps_payloads=False)
    load.ended_unseen(1)
    assert (load.active, load.queued_bytes) == (1, 5)
    load.ended_unseen(5)
    assert (load.active, load.queued_bytes) == (0, 0)
