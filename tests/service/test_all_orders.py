"""Every order of the callbacks, for small scenarios: no lost wake-up, no stuck waiter, no double run (C16, C46).

``virtual_loop.exhaust`` has what is tried. What lies still at the end of a scenario is looked at an hour later.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import pytest
from attrs import define, evolve, field

from holdstate.runtime import flush
from holdstate.runtime.errors import ServiceClosed
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Abandoned, Completed, Ending, WaitFailed
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.outcomes import Accepted, Cancelled, Ended, InFlight, Unknown
from holdstate.runtime.records import InputRecord
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.store import InputFilter
from holdstate.runtime.worker import RuntimeWorker
from holdstate.spec.vocabulary import InputState
from holdstate.stores.memory_store import MemoryStore

from .kit import RULES, RUNTIME, SETTINGS, START, brought_up, prompt, said, serving, takes
from .loop_states import UnknownState
from .virtual_loop import Explored, Spins, Stuck, VirtualLoop, exhaust, in_any_order, run

T = TypeVar("T")

ORDERS = evolve(SETTINGS, runtime=evolve(RULES, debug=False))
AN_HOUR = 3600.0


@pytest.fixture
def _always_through_the_loop(_one_in_a_row: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For scenarios with too many orders; that a call is flushed at once is in the others."""
    monkeypatch.setattr(flush, "MOST_IN_A_ROW", 0)


@pytest.fixture(autouse=True)
def _one_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second call that finds the loop idle goes through it: a count to eight would make eight states of each."""
    monkeypatch.setattr(flush, "MOST_IN_A_ROW", 1)


def given(word: str) -> PromptInput:
    """The same input in every run."""
    return prompt(word, id=input_id(word), timestamp=START)


def input_id(word: str) -> InputId:
    return InputId(UUID(int=ord(word)))


@define
class Desk:
    """An open runtime that lies still, and what its executor was given, in order."""

    service: RuntimeService
    store: MemoryStore
    entered: list[str] = field(factory=list)
    too_early_or_late: list[str] = field(factory=list)
    """What the store did not show as staged when the executor was entered (C22)."""

    async def apply(self, run: ActiveRun) -> None:
        self.entered += [said(each) for each in run.inputs]
        self.too_early_or_late += [
            said(each) for each, record in zip(run.inputs, run.records, strict=True) if self.stored(record) != record
        ]

    def stored(self, record: InputRecord) -> InputRecord | None:
        return self.store.load_input(RUNTIME, record.input_id)

    async def submit(self, word: str) -> type[object]:
        """Bring an input and wait for its end; returns which end."""
        try:
            handle = await self.service.submit(RUNTIME, given(word))
            return type(await handle.outcome())
        except ServiceClosed as error:
            return type(error)

    def states(self) -> dict[InputState, int]:
        """How many inputs the store has in which state."""
        return Counter(record.state for record in self.store.list_inputs(InputFilter(RUNTIME)).records)


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    store = MemoryStore()
    made = Desk(None, store)  # type: ignore[arg-type]  # the service comes next, as it needs an executor
    async with serving(made, ORDERS, store) as made.service:
        await brought_up(made.service)
        yield made
    assert not made.too_early_or_late


def all_orders(scenario: Callable[[], Coroutine[Any, Any, T]]) -> Explored[T]:
    """All that comes of it; says how much that was."""
    found = exhaust(scenario)
    print(f"{scenario.__name__}: {found.states} states, {found.runs} runs, {len(found.results)} to the end")
    return found


# -- arrivals ----------------------------------------------------------------------------------------------------------


async def two_arrivals() -> list[str]:
    async with desk() as at:
        with in_any_order():
            tasks = [asyncio.create_task(at.service.ingest(RUNTIME, given(word))) for word in "ab"]
            for task in tasks:
                assert isinstance(await task, Accepted)
            await takes(AN_HOUR)
        assert at.states() == {InputState.CONSUMED: 2}
        return at.entered


def test_two_inputs_that_arrive_at_once_are_worked_off_once_each() -> None:
    """Submit against submit against the worker that wakes, works and goes to sleep."""
    found = all_orders(two_arrivals)
    assert {tuple(entered) for entered in found.results} == {("a", "b"), ("b", "a")}
    assert found.states > 150


async def arrival_while_one_is_worked_off() -> list[str]:
    async with desk() as at:
        first = await at.service.submit(RUNTIME, given("a"))
        await first.accepted
        with in_any_order():
            second = asyncio.create_task(at.service.ingest(RUNTIME, given("b")))
            assert isinstance(await first.outcome(), Completed)
            assert isinstance(await second, Accepted)
            await takes(AN_HOUR)
        assert at.states() == {InputState.CONSUMED: 2}
        return at.entered


def test_an_input_that_arrives_at_any_step_of_the_worker_is_worked_off() -> None:
    """From the begin of a run to the sleep after it, with a waiter on the first."""
    found = all_orders(arrival_while_one_is_worked_off)
    assert {tuple(entered) for entered in found.results} == {("a", "b")}
    assert found.states > 50


# -- against what ends an input, a call or the service -----------------------------------------------------------------


async def submit_and_close() -> tuple[type[object], int, dict[InputState, int]]:
    async with desk() as at:
        with in_any_order():
            caller = asyncio.create_task(at.submit("a"))
            closing = asyncio.create_task(at.service.close())
            heard = await caller
            await closing
        return heard, len(at.entered), at.states()


@pytest.mark.usefixtures("_always_through_the_loop")
def test_a_service_that_closes_leaves_no_waiter_behind() -> None:
    """The input is refused, left in the store for the next service, or consumed; its caller is told in any case."""
    found = all_orders(submit_and_close)
    assert {(heard, entered, *states.items()) for heard, entered, states in found.results} == {
        (ServiceClosed, 0),
        (WaitFailed, 0, (InputState.QUEUED, 1)),
        (WaitFailed, 1, (InputState.CONSUMED, 1)),
        (Completed, 1, (InputState.CONSUMED, 1)),
    }
    assert found.states > 150


async def submit_and_cancel() -> tuple[type[object], type[object], int]:
    async with desk() as at:
        with in_any_order():
            caller = asyncio.create_task(at.submit("a"))
            cancelled = asyncio.create_task(at.service.cancel(RUNTIME, input_id("a")))
            answers = await caller, type(await cancelled)
            await takes(AN_HOUR)
        assert sum(at.states().values()) == 1
        return *answers, len(at.entered)


@pytest.mark.usefixtures("_always_through_the_loop")
def test_an_input_that_is_cancelled_ends_once() -> None:
    """Given up before its run, or too early, or too late; whoever waits hears the same as whoever cancels (C46)."""
    found = all_orders(submit_and_cancel)
    assert set(found.results) == {
        (Completed, Unknown, 1),
        (Completed, InFlight, 1),
        (Completed, Ended, 1),
        (Abandoned, Cancelled, 0),
    }
    assert found.states > 150


async def submit_and_stop() -> tuple[type[object], int, int]:
    async with desk() as at:
        handle = await at.service.submit(RUNTIME, given("a"))
        await handle.accepted
        with in_any_order():
            stopping = asyncio.create_task(at.service.stop(RUNTIME))
            heard = type(await handle.outcome())
            report = await stopping
            await takes(AN_HOUR)
        return heard, report.inputs_abandoned, len(at.entered)


def test_a_stop_at_any_step_of_a_run_ends_its_input_once() -> None:
    """Before the run, in it, or after it."""
    found = all_orders(submit_and_stop)
    assert set(found.results) == {(Abandoned, 1, 0), (Abandoned, 1, 1), (Completed, 0, 1)}
    assert found.states > 50


async def stop_as_it_begins() -> int:
    async with desk() as at:
        handle = await at.service.submit(RUNTIME, given("a"))
        with in_any_order():
            await handle.accepted
            await at.service.stop(RUNTIME)
            await takes(AN_HOUR)
        return len(at.entered)


def test_a_run_that_is_stopped_in_the_group_that_begins_it_enters_no_executor() -> None:
    """Both are in one commit, so that its staging is never stored (C22)."""
    assert set(all_orders(stop_as_it_begins).results) == {0, 1}


async def submit_and_leave() -> tuple[type[object], int, dict[InputState, int]]:
    async with desk() as at:
        with in_any_order():
            caller = asyncio.create_task(at.service.ingest(RUNTIME, given("a")))
            asyncio.get_running_loop().call_soon(caller.cancel)
            (heard,) = await asyncio.gather(caller, return_exceptions=True)
            await takes(AN_HOUR)
        return type(heard), len(at.entered), at.states()


def test_what_a_caller_who_leaves_has_stored_is_worked_off() -> None:
    """The call is cancelled at any step: what is in the store wakes the runtime, what is not never was (C10)."""
    found = all_orders(submit_and_leave)
    assert {(heard, entered, *states.items()) for heard, entered, states in found.results} == {
        (asyncio.CancelledError, 0),
        (asyncio.CancelledError, 1, (InputState.CONSUMED, 1)),
        (Accepted, 1, (InputState.CONSUMED, 1)),
    }
    assert found.states > 50


# -- controls: bugs that the search is for -----------------------------------------------------------------------------


def deaf_while_awake(worker: RuntimeWorker) -> None:
    """A kick that finds the task relies on it, and does not tell it."""
    if worker.task is None:
        kick(worker)


async def forgetful(worker: RuntimeWorker) -> None:
    """What came while the worker looked is forgotten."""
    await look(worker)
    worker._look_again = False


async def slow_to_sleep(worker: RuntimeWorker) -> None:
    """An await between "nothing to do" and "asleep"."""
    try:
        while worker._look_again and not worker._is_paused:
            worker._look_again = False
            await worker._look()
        await asyncio.sleep(0)
    finally:
        worker.task = None
    worker._on_idle()


kick, look = RuntimeWorker.kick, RuntimeWorker._look


@pytest.mark.parametrize(
    ("name", "bug", "scenario"),
    [
        ("kick", deaf_while_awake, two_arrivals),
        ("_look", forgetful, arrival_while_one_is_worked_off),
        ("_work", slow_to_sleep, arrival_while_one_is_worked_off),
    ],
)
def test_a_wake_up_that_is_lost_in_one_order_is_found(
    name: str, bug: object, scenario: Callable[[], Coroutine[Any, Any, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each planted bug loses a wake-up in some orders only: asyncio's own order may well hide it."""
    monkeypatch.setattr(RuntimeWorker, name, bug)
    with pytest.raises(AssertionError, match=r"QUEUED|Stuck|nothing is ready"):
        exhaust(scenario)


def test_a_waiter_that_looks_before_it_listens_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that ends between the look and the listening leaves its waiter stuck, in some orders only."""

    async def looks_first(service: RuntimeService, runtime_id: str, waited: InputId, *, is_admitted: bool) -> Ending:
        async with service._pool.use(runtime_id) as entry:
            record = await entry.driver.input_record(waited)
            assert record is not None
            return record if record.is_terminal else await entry.waiters.future(waited)

    monkeypatch.setattr(RuntimeService, "_ended", looks_first)
    with pytest.raises(Stuck):
        exhaust(one_input)
    assert run(one_input) == (Completed, 2)  # asyncio's own order hides it


async def one_input() -> tuple[type[object], int]:
    async with desk() as at:
        await at.service.ingest(RUNTIME, given("a"))
        with in_any_order():
            await at.service.ingest(RUNTIME, given("b"))
            heard = type(await at.service.wait(RUNTIME, input_id("b")))
        return heard, len(at.entered)


# -- controls: the search itself ---------------------------------------------------------------------------------------


async def lost_update() -> int:
    """Three tasks add one each, with an await between the read and the write."""
    total = 0

    async def add() -> None:
        nonlocal total
        read = total
        await asyncio.sleep(0)
        total = read + 1

    with in_any_order():
        for task in [asyncio.create_task(add()) for _ in range(3)]:
            await task
    return total


@pytest.mark.parametrize("scenario", [lost_update, one_input])
def test_the_search_finds_what_the_plain_enumeration_finds(
    scenario: Callable[[], Coroutine[Any, Any, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of scenarios that are small enough to try every order one by one; with no two states alike, all are."""
    found = exhaust(scenario)
    numbers = count()
    monkeypatch.setattr(VirtualLoop, "state", lambda _: b"%d" % next(numbers))
    plain = exhaust(scenario)
    print(f"{scenario.__name__}: {plain.runs} orders, of which {found.runs} were run")
    assert set(found.results) == set(plain.results)
    assert found.runs < plain.runs == len(plain.results)


def test_a_lost_update_is_found() -> None:
    """With every order tried, three tasks come to each sum that they can come to."""
    assert set(exhaust(lost_update).results) == {1, 2, 3}


def test_every_run_of_the_search_is_the_same_every_time() -> None:
    """Nothing that differs from run to run gets into a digest: addresses, clocks, ids."""
    first, second = exhaust(one_input), exhaust(one_input)
    assert first == second
    assert set(first.results) == {(Completed, 2)}


def test_a_scenario_that_goes_round_in_circles_is_found() -> None:
    """Waiting by looking again and again never ends in the order in which the others never run."""

    async def scenario() -> None:
        is_set = False

        async def polls() -> None:
            while not is_set:  # noqa: ASYNC110 - what is to be found
                await asyncio.sleep(0)

        async def sets() -> None:
            nonlocal is_set
            is_set = True

        with in_any_order():
            tasks = [asyncio.create_task(polls()), asyncio.create_task(sets())]
            for task in tasks:
                await task

    with pytest.raises(Spins):
        exhaust(scenario)


def test_what_the_digest_cannot_read_is_refused() -> None:
    """An iterator of C code whose position is not to be seen, in a variable of a coroutine that waits."""

    async def scenario() -> None:
        numbers = count()
        with in_any_order():
            for task in [asyncio.create_task(asyncio.sleep(0)) for _ in range(2)]:
                await task
        next(numbers)

    with pytest.raises(UnknownState, match=r"itertools\.count"):
        exhaust(scenario)


def test_a_scenario_that_is_too_large_is_refused() -> None:
    """The bound is on runs; a search that was not finished is not passed off as one that was."""
    with pytest.raises(AssertionError, match="more than 10 runs"):
        exhaust(lost_update, limit=10)
