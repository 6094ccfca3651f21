"""Live events: after the commit, in order, bounded for each subscriber, and never in anybody's way (C18, C45)."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from attrs import evolve

from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import EventLogOff, InvalidInput, ServiceClosed, StoreError
from holdstate.runtime.events import EventEnvelope
from holdstate.runtime.ids import EventId, new_uuid7
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.subscriptions import EventGap, Subscription
from holdstate.spec.vocabulary import EventCode, InputState
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .watching import START, Gated, Watched


def pending(subscription: Subscription) -> list[EventEnvelope]:
    """What is in the buffer now."""
    return list(subscription._pending)


async def rest(subscription: Subscription) -> list[EventEnvelope | EventGap]:
    subscription.close()
    return [event async for event in subscription]


async def test_a_subscriber_hears_of_every_transition_in_order() -> None:
    """From the opening of the runtime to the end of the run, with dense sequence numbers."""
    executor = Gated()
    executor.gate.set()
    async with Watched(executor) as watched, watched.service.subscribe("a") as subscription:
        handle = await watched.service.submit("a", PromptInput.new("x"))
        await handle.outcome(10)
        events = cast("list[EventEnvelope]", await rest(subscription))
        codes = [event.code for event in events if event.code is not EventCode.RUNTIME_STATE_CHANGED]
        assert codes == [
            EventCode.INPUT_ACCEPTED,
            EventCode.RUN_STARTED,
            EventCode.INPUT_STAGED,
            EventCode.INPUT_APPLIED,
            EventCode.RUN_BOUNDARY_APPLIED,
            EventCode.RUN_COMPLETED,
            EventCode.INPUT_CONSUMED,
        ]
        assert events[0].code is EventCode.RUNTIME_STATE_CHANGED
        assert [event.sequence for event in events] == list(range(len(events)))


async def test_an_event_is_heard_after_its_commit_and_before_its_answer() -> None:
    """Nothing is heard of a commit that failed; of one that landed the subscriber hears before the caller (C18)."""
    store = FaultyStore(MemoryStore())
    async with Watched(store=store) as watched:
        await watched.service.runtime_state("a")
        await watched.service.retire("b")
        subscription = watched.service.subscribe("b")
        store.plan = Plan(Fault.REFUSED, write=store.writes)
        with pytest.raises(StoreError):
            await watched.service.recycle("b")
        assert pending(subscription) == []
        await watched.service.recycle("b")
        assert [event.code for event in pending(subscription)] == [EventCode.RUNTIME_STATE_CHANGED]


async def test_codes_and_runtimes_pick_the_events() -> None:
    """A subscription to one runtime hears nothing of another; codes leave out the others without a gap."""
    async with Watched() as watched:
        accepted = watched.service.subscribe(codes=[EventCode.INPUT_ACCEPTED], buffer=2)
        of_b = watched.service.subscribe("b")
        for runtime_id in ("a", "b"):
            await watched.service.ingest(runtime_id, PromptInput.new("x"))
        assert [event.runtime_id for event in pending(accepted)] == ["a", "b"]
        assert {event.code for event in pending(accepted)} == {EventCode.INPUT_ACCEPTED}
        assert {event.runtime_id for event in pending(of_b)} == {"b"}
        assert all(isinstance(event, EventEnvelope) for event in await rest(accepted))


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many() -> None:
    """The gap stands where the events were; the service went on all the while, and another one lost nothing (C45)."""
    async with Watched() as watched:
        slow = watched.service.subscribe(codes=[EventCode.INPUT_ACCEPTED], buffer=2)
        fast = watched.service.subscribe(codes=[EventCode.INPUT_ACCEPTED])
        given = [PromptInput.new("x") for _ in range(5)]
        for each in given:
            await watched.service.ingest("a", each)
        first, *others = await rest(slow)
        assert first == EventGap(3)
        assert [event.input_id for event in others if isinstance(event, EventEnvelope)] == [
            each.header.id for each in given[3:]
        ]
        assert len(await rest(fast)) == 5


async def test_a_waiting_subscriber_is_woken_and_ends_with_the_service() -> None:
    """Who waits gets the next event; closing the service ends the iteration after what is in the buffer."""
    async with Watched() as watched:
        subscription = watched.service.subscribe(codes=[EventCode.INPUT_ACCEPTED])
        waiting = asyncio.create_task(anext(subscription))
        given = PromptInput.new("x")
        await watched.service.ingest("a", given)
        event = await waiting
        assert isinstance(event, EventEnvelope)
        assert event.input_id == given.header.id
        last = asyncio.create_task(anext(subscription, None))
        await watched.service.ingest("a", PromptInput.new("y"))
        await watched.service.close(0.0)
        assert await last is not None
        assert [event async for event in subscription] == []
        with pytest.raises(ServiceClosed):
            watched.service.subscribe()


async def test_closing_a_subscription_ends_the_wait_for_it() -> None:
    """Who waits for the next event learns that there is none."""
    async with Watched() as watched:
        subscription = watched.service.subscribe()
        waiting = asyncio.create_task(anext(subscription, None))
        await watched.service.ingest("a", PromptInput.new("x"))
        assert await waiting is not None
        while pending(subscription):
            await anext(subscription)
        waiting = asyncio.create_task(anext(subscription, None))
        await asyncio.wait([waiting], timeout=0)
        subscription.close()
        assert await asyncio.wait_for(waiting, 10) is None


async def test_a_closed_subscription_is_forgotten() -> None:
    """It costs nothing any more; closing it twice, or after the service, is fine."""
    async with Watched() as watched:
        first, second = watched.service.subscribe("a"), watched.service.subscribe("a")
        assert watched.service.status().subscribers == 2
        first.close()
        first.close()
        assert watched.service.status().subscribers == 1
        second.close()
        assert watched.service.status().subscribers == 0
        await watched.service.ingest("a", PromptInput.new("x"))
        assert pending(second) == []


async def test_sequence_numbers_go_on_while_nobody_listens() -> None:
    """Events that nobody heard take up no memory, yet their numbers show that they were (C45)."""
    async with Watched() as watched:
        await watched.service.ingest("a", PromptInput.new("x"))
        subscription = watched.service.subscribe("a")
        await watched.service.ingest("a", PromptInput.new("y"))
        assert (pending(subscription)[0].sequence or 0) > 0


@pytest.mark.parametrize("buffer", [0, -1])
async def test_a_buffer_that_holds_nothing_is_refused(buffer: int) -> None:
    """A subscription holds at least one event."""
    async with Watched() as watched:
        with pytest.raises(InvalidInput, match="buffer"):
            watched.service.subscribe(buffer=buffer)


async def test_a_code_that_is_none_is_refused() -> None:
    """A misspelt code would be silence; the message shows it."""
    async with Watched() as watched:
        with pytest.raises(InvalidInput, match=r"input\.acepted"):
            watched.service.subscribe(codes=[cast("EventCode", "input.acepted")])


# -- from outside, and from the log --------------------------------------------------------------------------------


async def test_an_event_from_outside_reaches_the_subscribers_and_no_store() -> None:
    """It is handed to the runtime and to who listens; one that names another runtime is refused."""
    async with Watched() as watched:
        await watched.service.retire("a")
        subscription = watched.service.subscribe("a")
        envelope = EventEnvelope(EventId(new_uuid7()), None, "a", EventCode.RUN_FAILED, START)
        commits = watched.store.stats().commits
        await watched.service.publish_event("a", envelope)
        assert pending(subscription) == [envelope]
        assert watched.store.stats().commits == commits
        with pytest.raises(InvalidInput, match="envelope"):
            await watched.service.publish_event("b", envelope)
        assert pending(subscription) == [envelope]


async def test_the_log_is_read_from_an_offset() -> None:
    """With the log on, live events carry the offset under which the log has them."""
    async with Watched(runtime=RuntimeSettings(event_log=True)) as watched:
        subscription = watched.service.subscribe("a")
        given = PromptInput.new("x")
        await watched.service.ingest("a", given)
        live = pending(subscription)
        logged = await watched.service.events("a")
        assert [event.offset for event in logged] == list(range(len(logged)))
        assert logged == tuple(evolve(event, sequence=None) for event in live if event.offset is not None)
        assert await watched.service.events("a", logged[0].offset, 1) == logged[1:2]
        assert await watched.service.input_state("a", given.header.id) is InputState.QUEUED


async def test_without_a_log_there_is_nothing_to_read() -> None:
    """The error names the setting."""
    async with Watched() as watched:
        with pytest.raises(EventLogOff, match="event_log=True") as raised:
            await watched.service.events("a")
        assert raised.value.runtime_id == "a"
