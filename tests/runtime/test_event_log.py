"""The event log: an event is in it exactly if its commit landed, and a reader sees every one once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.errors import DriverClosed, EventsPruned, Fenced, StoreError
from holdstate.runtime.events import EventEnvelope
from holdstate.runtime.inputs import Input
from holdstate.runtime.outcomes import RunOutput
from holdstate.runtime.records import InputRecord
from holdstate.runtime.store import RuntimeStore
from holdstate.spec.errors import HoldstateError
from holdstate.spec.input_lifecycle import INPUT_LIFECYCLE
from holdstate.spec.vocabulary import Durability, EventCode, RuntimeState
from holdstate.stores.lmdb_store import LmdbStore

from ..contracts.kit import (
    RUNTIME,
    SETTINGS,
    Home,
    LmdbHome,
    MemoryHome,
    NewHome,
    Seam,
    accept,
    assert_memory_equals_store,
    begun,
    event,
    input_id,
    inputs_of,
    on_the_thread,
    opened,
    operation,
    outcome_of,
    prompt,
    rows_of,
    trials,
    work_off,
    world,
)
from ..faults import Fault, Plan, SimulatedCrash, write_faults

LOGGED: Final = evolve(SETTINGS, event_log=True)
ALL: Final = 10**6


@pytest.fixture(params=["memory", "lmdb"])
def new_home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewHome]:
    """Makes homes for new stores; all of them are closed at the end."""
    numbers, homes = count(), list[Home]()

    def make() -> Home:
        home: Home = MemoryHome() if request.param == "memory" else LmdbHome(tmp_path / f"store-{next(numbers)}")
        homes.append(home)
        return home

    yield make
    for home in homes:
        home.close()


@pytest.fixture
def store(new_home: NewHome) -> RuntimeStore:
    return new_home().store


async def logged(
    store: RuntimeStore, runtime_id: str = RUNTIME, *, settings: RuntimeSettings = LOGGED, seed: int = 0
) -> PersistentRuntimeDriver:
    return await opened(store, runtime_id, settings=settings, environment=world(seed))


# -- what a sound log is -------------------------------------------------------------------------------------------

_ANNOUNCED: Final = {
    (row.event, state): [EventCode(code) for code in row.emits]
    for row in INPUT_LIFECYCLE.transitions
    for state in row.source
}


def _announced(record: InputRecord) -> list[EventCode]:
    """What was announced of an input, told from its history."""
    assert record.history_dropped == 0
    return [code for entry in record.history for code in _ANNOUNCED[entry.reason, entry.from_state]]


def log_of(store: RuntimeStore, runtime_id: str = RUNTIME) -> list[EventEnvelope]:
    """The whole log, read in small pages."""
    found: list[EventEnvelope] = []
    while page := store.load_events(runtime_id, found[-1].offset if found else None, 3):
        found += page
    return found


def assert_log_is_sound(store: RuntimeStore, runtime_id: str = RUNTIME) -> None:
    """Dense, and told twice over: what it says of each input is what the stored history of that input says."""
    log = log_of(store, runtime_id)
    assert [each.offset for each in log] == list(range(len(log)))
    assert len({each.event_id for each in log}) == len(log)
    assert {(each.runtime_id, each.sequence) for each in log} <= {(runtime_id, None)}
    told: dict[object, list[EventCode]] = {}
    for each in log:
        if each.input_id is not None:
            told.setdefault(each.input_id, []).append(each.code)
    assert told == {record.input_id: _announced(record) for record in inputs_of(store, runtime_id)}
    loaded = store.load_runtime(runtime_id)
    assert loaded is not None
    assert loaded.record.counts.events == len(log)
    boundaries = [each for each in log if each.code is EventCode.RUN_BOUNDARY_APPLIED]
    assert len(boundaries) == loaded.record.counts.receipts
    assert store.verify() == []


def delivered(driver: PersistentRuntimeDriver) -> list[EventEnvelope]:
    """What the driver hands out, as the log has it."""
    return [evolve(each, sequence=None) for each in driver.drain_events()]


# -- what is written -----------------------------------------------------------------------------------------------


async def test_the_log_holds_what_is_delivered(store: RuntimeStore) -> None:
    """The same events with the same ids in the same order, from the opening on."""
    driver = await logged(store)
    await accept(driver, prompt(1), operation(2), event(3), event(4))
    await driver.fail_run(await begun(driver), "it rained")
    await driver.complete_run(await begun(driver), RunOutput(b"snapshot", b"result"))
    await driver.cancel_input(input_id(3))
    await driver.stop()
    events = driver.drain_events()
    assert [each.sequence for each in events] == list(range(len(events)))
    assert [evolve(each, sequence=None) for each in events] == log_of(store)
    assert_log_is_sound(store)
    (cancelled,) = [each for each in events if each.code is EventCode.INPUT_ABANDONED and each.input_id == input_id(3)]
    assert cancelled.outcome == store.load_input(RUNTIME, input_id(3)).terminal_outcome  # type: ignore[union-attr]


async def test_ids_of_events_are_version_7_by_default(store: RuntimeStore) -> None:
    """The environment mints them, when the commit is built."""
    driver = await PersistentRuntimeDriver.open(RUNTIME, store, settings=LOGGED)
    await accept(driver, prompt(1))
    assert {each.event_id.version for each in log_of(store)} == {7}


async def test_calls_of_one_group_are_logged_in_their_order(store: RuntimeStore) -> None:
    """One commit for two runtimes: each log has its own offsets, in the order of the calls."""
    one, other = await logged(store, "one"), await logged(store, "other", seed=1)
    commits = store.stats().commits
    await asyncio.gather(*(driver.accept_input(event(n)) for n in range(9) for driver in (one, other)), one.begin_run())
    assert store.stats().commits == commits + 1
    for driver in (one, other):
        log = log_of(store, driver.runtime_id)
        accepted = [each.input_id for each in log if each.code is EventCode.INPUT_ACCEPTED]
        assert accepted == [input_id(n) for n in range(9)]
        assert log == delivered(driver)
        assert_log_is_sound(store, driver.runtime_id)


async def test_commands_that_commit_nothing_are_not_logged(store: RuntimeStore) -> None:
    """Attaching, detaching and an ephemeral input are announced without an offset, alone and beside a commit."""
    driver = await logged(store)
    driver.drain_events()
    before = rows_of(store)
    await driver.attach()
    await accept(driver, event(1, durability=Durability.EPHEMERAL))
    assert rows_of(store) == before
    first = driver.drain_events()
    assert {each.offset for each in first} == {None}
    await asyncio.gather(
        driver.accept_input(event(2, durability=Durability.EPHEMERAL)), driver.accept_input(event(3)), driver.detach()
    )
    events = driver.drain_events()
    assert [each.sequence for each in (*first, *events)] == list(
        range(first[0].sequence or 0, 2 + len(first) + len(events))
    )
    assert [each.input_id for each in events if each.offset is not None] == [input_id(3)]
    assert_log_is_sound(store)


async def test_a_run_of_ephemeral_inputs_is_logged(store: RuntimeStore) -> None:
    """Its beginning and its end commit, so all they announce is in the log, in the states that were announced."""
    driver = await logged(store)
    await driver.attach()
    await accept(driver, event(1, durability=Durability.EPHEMERAL))
    first = len(log_of(store))
    await driver.complete_run(await begun(driver))
    events = log_of(store)[first:]
    assert {each.code for each in events if each.input_id == input_id(1)} >= {EventCode.INPUT_CONSUMED}
    assert RuntimeState.ATTACHED in {each.state for each in events}
    assert store.verify() == []


async def test_without_the_setting_nothing_is_logged(store: RuntimeStore) -> None:
    """No row, no count, no offset."""
    driver = await logged(store, settings=SETTINGS)
    await accept(driver, prompt(1))
    await work_off(driver)
    assert await driver.events() == ()
    assert {each.offset for each in driver.drain_events()} == {None}
    record = store.load_runtime(RUNTIME)
    assert record is not None
    assert record.record.counts.events == 0


async def test_an_event_costs_one_row(tmp_path: Path) -> None:
    """In the same commit: as many rows more as the command announced events."""
    costs, announced = {}, 0
    for settings in (SETTINGS, LOGGED):
        with LmdbStore.open(tmp_path / str(settings.event_log)) as store:
            driver = await logged(store, settings=settings)
            for number in range(2):
                driver.drain_events()
                before = store.stats()
                await accept(driver, prompt(number))
                after = store.stats()
                costs[settings.event_log] = after.rows_written - before.rows_written, after.commits - before.commits
                announced = len(driver.drain_events())
    assert costs[True] == (costs[False][0] + announced, costs[False][1])


async def test_offsets_go_on_over_reopenings(new_home: NewHome) -> None:
    """Also where the log was off for a while: then only what happened meanwhile is missing."""
    home = new_home()
    for number, settings in enumerate((LOGGED, LOGGED, SETTINGS, LOGGED)):
        driver = await logged(home.crash(), settings=settings, seed=number)
        await accept(driver, prompt(number))
        await begun(driver)
    log = log_of(home.store)
    assert [each.offset for each in log] == list(range(len(log)))
    accepted = [each.input_id for each in log if each.code is EventCode.INPUT_ACCEPTED]
    assert accepted == [input_id(0), input_id(1), input_id(3)]
    assert home.store.verify() == []


async def test_a_fenced_command_is_not_logged(store: RuntimeStore) -> None:
    """The newer opener goes on where the older one stopped; the older can still read."""
    older = await logged(store)
    await accept(older, prompt(1))
    newer = await logged(store, seed=1)
    before = rows_of(store)
    with pytest.raises(Fenced):
        await older.accept_input(prompt(2))
    assert rows_of(store) == before
    await accept(newer, prompt(3))
    assert await older.events(limit=ALL) == tuple(log_of(store))
    assert_log_is_sound(store)


# -- faults --------------------------------------------------------------------------------------------------------

Act = Callable[[PersistentRuntimeDriver], Awaitable[Any]]


async def _prepared(driver: PersistentRuntimeDriver) -> None:
    await accept(driver, prompt(1), event(2), event(3))
    await driver.fail_run(await begun(driver), "first")


async def _running(driver: PersistentRuntimeDriver) -> None:
    await _prepared(driver)
    await begun(driver)


async def _complete(driver: PersistentRuntimeDriver) -> None:
    run_id = driver._actor.image.runtime.current_run_id
    assert run_id is not None
    await driver.complete_run(run_id, RunOutput(result=b"done"))


async def _recover(driver: PersistentRuntimeDriver) -> None:
    run_id = driver._actor.image.runtime.current_run_id
    assert run_id is not None
    driver._actor.disown(run_id)
    await driver.recover()


async def _many(driver: PersistentRuntimeDriver) -> None:
    calls = (driver.accept_input(event(7)), driver.accept_input(operation(8)), driver.cancel_input(input_id(2)))
    results = await asyncio.gather(*calls, driver.attach(), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


ACTS: dict[str, tuple[Act, Act]] = {
    "accept": (_prepared, lambda driver: driver.accept_input(prompt(9))),
    "begin": (_prepared, lambda driver: driver.begin_run()),
    "complete": (_running, _complete),
    "cancel an input": (_prepared, lambda driver: driver.cancel_input(input_id(2))),
    "a group": (_prepared, _many),
    "stop": (_running, lambda driver: driver.stop()),
    "recover": (_running, _recover),
    "recycle": (_prepared, lambda driver: driver.recycle_preserving_work()),
}


@pytest.mark.parametrize("on_thread", [False, True])
@pytest.mark.parametrize("name", ACTS)
async def test_an_event_is_in_the_log_exactly_if_its_commit_landed(
    new_home: NewHome, name: str, *, on_thread: bool
) -> None:
    """Every fault at every store call: no loss, no phantom, the delivered ids, and offsets that go on."""
    before, act = ACTS[name]

    async def acting(driver: PersistentRuntimeDriver) -> object:
        if not on_thread:
            return await act(driver)
        with on_the_thread(driver._committer.store):
            return await act(driver)

    async for trial in trials(new_home, acting, before=before, settings=LOGGED):
        await trial.driver.active_input_ids()  # settles what is in doubt
        assert_log_is_sound(trial.store)
        assert_memory_equals_store(trial.driver, trial.store)
        events = [each for each in delivered(trial.driver) if each.offset is not None]
        log = log_of(trial.store)
        assert events == (log[len(log) - len(events) :] if trial.crashed else log)
        if trial.driver.runtime_state is not RuntimeState.STOPPED:
            await accept(trial.driver, prompt(20))
        assert_log_is_sound(trial.store)


async def _left_by_a_crash(home: Home) -> int:
    driver = await logged(home.store)
    await _running(driver)
    home.crash()
    return len(log_of(home.store))


@pytest.mark.parametrize("plan", [*write_faults(1)], ids=str)
@pytest.mark.parametrize("is_new", [True, False])
async def test_what_an_opening_announces_is_logged_with_its_claim(
    new_home: NewHome, plan: Plan, *, is_new: bool
) -> None:
    """A claim that landed has its events in the log, one that did not has none; a claim made twice has them twice."""
    home = new_home()
    first = 0 if is_new else await _left_by_a_crash(home)
    seam: Any = Seam(home.store)
    seam.faulty.arm(plan)
    try:
        driver = await logged(seam, seed=1)
    except (HoldstateError, SimulatedCrash):
        seam.faulty.arm(Plan())
        added = len(log_of(home.store)) - first
        assert (added > 0) is (plan.fault in {Fault.LANDED, Fault.DIES_AFTER})
        driver = await logged(home.crash(), seed=2)
    assert_log_is_sound(home.store)
    events = delivered(driver)
    assert events == log_of(home.store)[-len(events) :]
    seam.faulty.arm(Plan())
    await work_off(driver)
    assert_log_is_sound(home.store)


async def test_recovering_a_run_that_nobody_holds_announces_what_is_stored(store: RuntimeStore) -> None:
    """The run is rolled back, and then there is nothing to recover; a failure takes all of it back."""
    seam: Any = Seam(store)
    driver = await logged(seam)
    await _running(driver)
    driver.drain_events()
    seam.faulty.arm(Plan(Fault.REFUSED, write=0))
    with pytest.raises(StoreError):
        await _recover(driver)
    assert driver.drain_events() == []
    assert_memory_equals_store(driver, store)
    assert (await driver.recover()).requeued == 0
    codes = [each.code for each in driver.drain_events() if each.input_id is not None]
    assert codes == [EventCode.INPUT_ROLLED_BACK]
    assert_log_is_sound(store)


@pytest.mark.parametrize("seed", range(12))
async def test_a_long_life_with_crashes_and_faults_leaves_a_sound_log(new_home: NewHome, seed: int) -> None:
    """Random calls, each of them with a random fault at its first write, every third time."""
    draw, home, seam = Random(f"life {seed}"), new_home(), None
    settings = evolve(LOGGED, max_history=1000)
    driver: PersistentRuntimeDriver | None = None
    for step in range(60):
        if seam is None or driver is None:
            seam = Seam(home.store)
            driver = await opened(seam, settings=settings, environment=world(1000 * seed + step))
        if draw.random() < 0.34:
            seam.faulty.arm(Plan(draw.choice(list(Fault)), write=0, failing_reads=draw.randrange(2)))
        try:
            await outcome_of(_random_call(driver, draw, step))
        except SimulatedCrash:
            home.crash()
            seam = driver = None
            continue
        seam.faulty.arm(Plan())
    if driver is not None:
        await driver.active_input_ids()
    assert len(log_of(home.store)) > 20
    assert_log_is_sound(home.store)


def _random_call(driver: PersistentRuntimeDriver, draw: Random, step: int) -> Awaitable[object]:
    run_id = driver._actor.image.runtime.current_run_id
    given: list[Input] = [prompt(step), event(step), operation(step)]
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: driver.accept_input(draw.choice(given)),
        driver.begin_run,
        lambda: driver.cancel_input(input_id(draw.randrange(step + 1))),
        driver.attach,
        driver.recover,
    ]
    if run_id is not None:
        calls += [
            lambda: driver.complete_run(run_id),
            lambda: driver.fail_run(run_id, "no"),
            lambda: driver.cancel_run(run_id),
        ]
    return draw.choice(calls)()


# -- reading -------------------------------------------------------------------------------------------------------


async def test_a_reader_goes_on_after_the_last_offset_that_it_saw(store: RuntimeStore) -> None:
    """Pages of any size make up the log; past its end there is nothing, as there is of an unknown runtime."""
    driver = await logged(store)
    await accept(driver, *(event(number) for number in range(10)))
    log = await driver.events()
    assert [each.offset for each in log] == list(range(len(log)))
    for limit in (1, 2, 7, ALL):
        pages: list[EventEnvelope] = []
        after: int | None = None
        while page := await driver.events(after, limit):
            pages += page
            after = page[-1].offset
        assert tuple(pages) == log
    assert await driver.events(-1) == await driver.events(-9) == log
    assert await driver.events(limit=0) == await driver.events(len(log) - 1) == await driver.events(2**70) == ()
    assert store.load_events("unknown") == ()
    with store.reading() as reader:
        assert reader.load_events(RUNTIME, 1, 2) == log[2:4]


async def test_the_log_of_a_closed_or_ended_runtime_is_read(store: RuntimeStore) -> None:
    """Reading needs no claim."""
    driver = await logged(store)
    await accept(driver, prompt(1))
    await driver.destroy()
    await driver.close()
    with pytest.raises(DriverClosed):
        await driver.active_input_ids()
    log = await driver.events()
    assert log[-1].code is EventCode.INPUT_ABANDONED
    assert log == store.load_events(RUNTIME)


async def test_pruned_events_are_told_to_the_driver_who_asks_for_them(store: RuntimeStore) -> None:
    """The error names the first offset that is left."""
    environment = world()
    driver = await PersistentRuntimeDriver.open(RUNTIME, store, settings=LOGGED, environment=environment)
    await accept(driver, prompt(1))
    retention = evolve(LOGGED.retention, keep_events_seconds=0.0)
    dropped = store.prune(retention, now=environment.now()).events
    assert dropped == len(delivered(driver))
    with pytest.raises(EventsPruned) as gap:
        await driver.events()
    assert (gap.value.runtime_id, gap.value.first_available) == (RUNTIME, dropped)
    await accept(driver, prompt(2))
    assert [each.offset for each in await driver.events(gap.value.first_available - 1)] == [dropped]
    assert store.verify() == []


async def test_ids_of_events_in_no_log_are_minted_when_they_are_drained() -> None:
    """Accepting costs none."""
    home = MemoryHome()
    minted = world()
    calls = count()

    def new_id() -> Any:
        next(calls)
        return minted.new_id()

    environment = Environment(now=minted.now, new_id=new_id, chance=minted.chance)
    driver = await opened(home.store, settings=SETTINGS, environment=environment)
    await accept(driver, prompt(1))
    assert next(calls) == 0
    assert driver.drain_events()
    assert next(calls) > 1
