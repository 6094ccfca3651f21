"""Lifecycle: commands that fail, repeat, race with a crash, or meet rows that nobody should have written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import (
    BatchRefused,
    Fenced,
    NotReady,
    RunInProgress,
    RunNotCurrent,
    StoreCorruption,
    StoreError,
)
from holdstate.runtime.ids import RunId
from holdstate.runtime.inputs import Input
from holdstate.runtime.outcomes import Accepted, BoundaryApplied, Deduplicated, Run, RunCompleted, RunOutput
from holdstate.runtime.records import Counts, InputRecord, LastRun, RunBoundaryReceipt, RuntimeRecord
from holdstate.runtime.store import Commit, InputWrite, LoadedRuntime, RuntimeStore
from holdstate.runtime.wire import admit
from holdstate.spec.errors import HoldstateError
from holdstate.spec.vocabulary import (
    AbandonReason,
    InputState,
    Lane,
    OutcomeKind,
    RunBoundary,
    RunEnding,
    RuntimeState,
)
from holdstate.stores.lmdb_rows import ACTIVE, is_body
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .damage import raw_rows
from .kit import (
    MAX_ATTEMPTS,
    RUNTIME,
    SETTINGS,
    Home,
    MemoryHome,
    NewHome,
    Seam,
    accept,
    assert_memory_equals_store,
    begun,
    event,
    input_id,
    inputs_of,
    memory_of,
    opened,
    outcome_of,
    prompt,
    queue_of,
    receipt_of,
    rows_of,
    run_id,
    steer,
    trials,
    work_off,
    world,
)

# -- every command under every fault ----------------------------------------------------------------------------------

Act = Callable[[PersistentRuntimeDriver], Any]
_LAST_RUN = 2


def _summary(driver: PersistentRuntimeDriver, store: RuntimeStore) -> tuple[object, ...]:
    """What a command leaves behind, but for times, epochs and how often a run was begun."""
    runtime = driver._actor.image.runtime
    return (
        runtime.state,
        runtime.current_run_id is None,
        None if runtime.last_run is None else runtime.last_run.ending,
        runtime.counts,
        store.load_session_snapshot(RUNTIME),
        [
            (
                record.input_id,
                record.state,
                record.failure_count,
                record.terminal_outcome,
                record.last_boundary_sequence,
            )
            for record in inputs_of(store)
        ],
        queue_of(driver),
    )


def _without_last_run(summary: tuple[object, ...]) -> tuple[object, ...]:
    return summary[:_LAST_RUN] + summary[_LAST_RUN + 1 :]


class _Scene:
    """Two events and a steering prompt; ``act`` of each command works on the run that ``before`` began."""

    def __init__(self) -> None:
        self.run: Run | None = None

    @property
    def run_id(self) -> RunId:
        assert self.run is not None
        return self.run.run_id

    async def queued(self, driver: PersistentRuntimeDriver) -> None:
        self.run = None
        await accept(driver, event(1), event(2))

    async def running(self, driver: PersistentRuntimeDriver) -> None:
        await self.queued(driver)
        self.run = await begun(driver)
        await accept(driver, steer(3))

    async def pending(self, driver: PersistentRuntimeDriver) -> None:
        await self.running(driver)
        await driver.on_run_event(BoundaryApplied(self.run_id, receipt_of(cast("Run", self.run))))

    async def retired(self, driver: PersistentRuntimeDriver) -> None:
        await self.queued(driver)
        await driver.retire()


def _commands(scene: _Scene) -> dict[str, tuple[Act, Act]]:
    output = RunOutput(b"snapshot", b"result")
    return {
        "accept": (scene.queued, lambda d: d.accept_input(prompt(9, idempotency_key="k"))),
        "begin": (scene.queued, lambda d: d.begin_run()),
        "stage more": (scene.running, lambda d: d.stage_input(input_id(3), scene.run_id)),
        "boundary": (
            scene.running,
            lambda d: d.on_run_event(BoundaryApplied(scene.run_id, receipt_of(cast("Run", scene.run)))),
        ),
        "complete": (scene.running, lambda d: d.complete_run(scene.run_id, output)),
        "completed": (
            scene.pending,
            lambda d: d.on_run_event(RunCompleted(scene.run_id, (input_id(1), input_id(2)), b"result")),
        ),
        "fail": (scene.running, lambda d: d.fail_run(scene.run_id, "no")),
        "fail after boundary": (scene.pending, lambda d: d.fail_run(scene.run_id, "no")),
        "cancel run": (scene.running, lambda d: d.cancel_run(scene.run_id)),
        "cancel input": (scene.queued, lambda d: d.cancel_input(input_id(1))),
        "abandon": (scene.running, lambda d: d.abandon_pending_inputs(AbandonReason.CANCELLED)),
        "retire": (scene.queued, lambda d: d.retire()),
        "retire in a run": (scene.running, lambda d: d.retire()),
        "reset": (scene.queued, lambda d: d.reset()),
        "reset when retired": (scene.retired, lambda d: d.reset()),
        "stop": (scene.queued, lambda d: d.stop()),
        "stop in a run": (scene.pending, lambda d: d.stop()),
        "destroy": (scene.queued, lambda d: d.destroy()),
        "destroy in a run": (scene.pending, lambda d: d.destroy()),
        "recycle": (scene.retired, lambda d: d.recycle_preserving_work()),
        "recover": (scene.queued, lambda d: d.recover()),
    }


_NAMES = tuple(_commands(_Scene()))
_LIFECYCLE = tuple(
    name for name in _NAMES if name.split(" ", 1)[0] in {"retire", "reset", "stop", "destroy", "recycle", "recover"}
)


@pytest.mark.parametrize("name", _LIFECYCLE)
async def test_failed_lifecycle_command_leaves_the_state_before_or_after(store_factory: NewHome, name: str) -> None:
    """A failed lifecycle command leaves the state before it, or after it if it landed; a retry succeeds (C27)."""
    scene = _Scene()
    before, act = _commands(scene)[name]
    home = store_factory()
    reference = await opened(home.store)
    await before(reference)
    state_before = reference.runtime_state
    after: object = None
    state_after = state_before
    async for trial in trials(store_factory, act, before=before):
        if trial.plan is None:
            after = _summary(trial.driver, trial.store)
            state_after = trial.driver.runtime_state
            continue
        assert trial.failed or trial.plan.fault is Fault.LANDED
        if trial.crashed:
            fresh_before = {RuntimeState.RUNNING: RuntimeState.IDLE}.get(state_before, state_before)
            assert trial.driver.runtime_state in {fresh_before, state_after}
        else:
            assert trial.driver.runtime_state in {state_before, state_after}
        await act(trial.driver)
        if not trial.crashed:
            assert _summary(trial.driver, trial.store) == after, trial.plan
        assert_memory_equals_store(trial.driver, trial.store)


async def test_repeated_endings_are_answered_as_done(home: Home) -> None:
    """Repeating retire, stop, destroy or the same run ending is answered as done and changes nothing (C27)."""
    driver = await opened(home.store)
    await accept(driver, *(prompt(n) for n in range(4)))

    async def twice(call: Callable[[], Any]) -> None:
        await call()
        rows, memory = rows_of(home.store), memory_of(driver)
        await call()
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)

    completed, failed, cancelled = await begun(driver), None, None
    await twice(lambda: driver.complete_run(completed))
    failed = await begun(driver)
    await twice(lambda: driver.fail_run(failed, "no"))
    cancelled = await begun(driver)
    await twice(lambda: driver.cancel_run(cancelled))
    await twice(driver.retire)
    await twice(driver.stop)
    await twice(driver.destroy)


@pytest.mark.parametrize("name", _NAMES)
async def test_error_returned_but_applied_converges_on_retry(store_factory: NewHome, name: str) -> None:
    """For every command and fault a retry ends where one clean call ends, without a double effect (C34)."""
    scene = _Scene()
    before, act = _commands(scene)[name]
    clean: Any = None
    async for trial in trials(store_factory, act, before=before):
        if trial.plan is None:
            clean = _summary(trial.driver, trial.store)
            continue
        if trial.crashed:
            assert_memory_equals_store(trial.driver, trial.store)
            continue
        if trial.failed:
            assert isinstance(trial.outcome, StoreError), trial.plan
            again = await outcome_of(act(trial.driver))
            # What was staged before cannot be staged again: the refusal says that it happened, once.
            assert not isinstance(again, HoldstateError) or (name == "stage more" and isinstance(again, BatchRefused))
        # A run that began and reached nobody was called off before the next one began.
        compared = _without_last_run if name == "begin" else tuple
        assert compared(_summary(trial.driver, trial.store)) == compared(clean), trial.plan
        assert_memory_equals_store(trial.driver, trial.store)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["running", "retired in a run"])
async def test_refused_lifecycle_call_changes_nothing_anywhere(home: Home, state: str) -> None:
    """A reset, recycle or recover while a run is in an executor's hands is refused and changes nothing (C28)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1), prompt(2))
    run = await begun(driver)
    if state != "running":
        await driver.retire()
    rows, memory = rows_of(home.store), memory_of(driver)
    for call in (driver.reset, driver.recover, driver.recycle_preserving_work):
        with pytest.raises(HoldstateError):
            await call()
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await driver.complete_run(run)


@pytest.mark.parametrize("end", ["stop", "destroy"])
async def test_terminal_runtime_refuses_what_would_revive_it(home: Home, end: str) -> None:
    """No lifecycle call brings a terminal runtime back, and a refused one changes nothing (C28)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    await getattr(driver, end)()
    rows, memory = rows_of(home.store), memory_of(driver)
    calls = [driver.retire, driver.reset, driver.recycle_preserving_work, driver.attach, driver.begin_run]
    if end == "destroy":
        calls.append(driver.stop)
    for call in calls:
        with pytest.raises(HoldstateError):
            await cast("Any", call)()
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    report = await driver.recover()
    assert (report.recovered, report.details) == (0, ())
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)


async def test_retired_runtime_drains_takes_nothing_new_and_works_again_after_reset(home: Home) -> None:
    """Retire during a run: reset waits for the run; nothing is accepted while it drains; afterwards it works (C33)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1), prompt(2))
    run = await begun(driver)
    await driver.retire()
    with pytest.raises(RunInProgress):
        await driver.reset()
    with pytest.raises(NotReady):
        await driver.accept_input(prompt(3))
    await driver.complete_run(run)
    assert driver.runtime_state is RuntimeState.RETIRED
    drained = await begun(driver)
    with pytest.raises(NotReady):
        await driver.accept_input(prompt(3))
    await driver.complete_run(drained)
    assert driver.runtime_state is RuntimeState.RETIRED
    driver = await opened(home.crash(), environment=world(1))
    assert driver.runtime_state is RuntimeState.RETIRED
    await driver.reset()
    await accept(driver, prompt(3))
    assert [each.input_ids for each in await work_off(driver)] == [(input_id(3),)]


@pytest.mark.parametrize("end", ["stop", "destroy"])
async def test_events_of_a_run_that_was_ended_from_outside_are_errors(home: Home, end: str) -> None:
    """Events of a run that stop or destroy ended are errors that change nothing (C33)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    run = await begun(driver)
    await getattr(driver, end)()
    rows, memory = rows_of(home.store), memory_of(driver)
    for call in (
        lambda: driver.complete_run(run),
        lambda: driver.fail_run(run, "no"),
        lambda: driver.cancel_run(run),
        lambda: driver.on_run_event(BoundaryApplied(run.run_id, receipt_of(run))),
    ):
        with pytest.raises(RunNotCurrent):
            await call()
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)


# -- recovery ---------------------------------------------------------------------------------------------------------


async def _left_behind(store: RuntimeStore) -> None:
    driver = await opened(store)
    await accept(driver, event(1), event(2), prompt(3))
    run = await begun(driver)
    await driver.on_run_event(BoundaryApplied(run.run_id, receipt_of(run)))
    await accept(driver, steer(4))
    await driver.stage_input(input_id(4), run.run_id)


async def test_recovering_twice_or_dying_inside_gives_the_same(store_factory: NewHome) -> None:
    """Recover is idempotent, also when it dies inside, and what is settled already is not written again (C31)."""
    results = []
    plans = [None, *(Plan(fault, write=0) for fault in Fault)]
    plans += [Plan(fault, write=0, failing_writes=1) for fault in (Fault.UNKNOWN, Fault.LANDED)]
    for plan in plans:
        home = store_factory()
        await _left_behind(home.store)
        store = home.crash()
        if plan is not None:
            seam = Seam(store)
            seam.faulty.arm(plan)
            outcome = await outcome_of(opened(cast("RuntimeStore", seam), environment=world(1)))
            assert seam.faulty.struck == 1
            if isinstance(outcome, PersistentRuntimeDriver):
                assert_memory_equals_store(outcome, store)
            store = home.crash()
        driver = await opened(store, environment=world(2))
        rows = rows_of(store)
        report = await driver.recover()
        assert (report.requeued, report.consumed, report.abandoned) == (0, 0, 0)
        assert rows_of(store) == rows
        assert_memory_equals_store(driver, store)
        record = driver._actor.image.runtime
        found = [
            (each.input_id, each.state, each.failure_count, each.recovery_count, each.terminal_outcome)
            for each in inputs_of(store)
        ]
        results.append((record.state, record.counts, record.last_run, found, queue_of(driver)))
    assert all(each == results[0] for each in results)


async def test_older_writer_changes_nothing_after_a_newer_one_opened(home: Home) -> None:
    """After a newer opener every command of the older one is fenced and changes nothing, for good (C32)."""
    old = await opened(home.store)
    await accept(old, prompt(1), prompt(2))
    run = await begun(old)
    new = await opened(home.store, environment=world(1))
    rows = rows_of(home.store)
    calls: list[Callable[[], Any]] = [
        lambda: old.complete_run(run, RunOutput(b"snapshot", b"result")),
        lambda: old.accept_input(prompt(3)),
        lambda: old.fail_run(run, "no"),
        old.begin_run,
        old.retire,
        old.reset,
        old.stop,
        old.destroy,
        old.recover,
        lambda: old.cancel_input(input_id(2)),
    ]
    for call in calls:
        with pytest.raises(Fenced) as caught:
            await call()
        assert (caught.value.epoch, caught.value.stored_epoch) == (1, 2)
        assert rows_of(home.store) == rows
    assert len(await work_off(new)) == 2
    assert home.store.verify() == []


@pytest.mark.parametrize("name", [each for each in _NAMES if each != "recover"])
async def test_each_first_command_of_an_older_writer_is_fenced(home: Home, name: str) -> None:
    """Whatever an older writer tries first, the store is as the newer one left it (C32)."""
    scene = _Scene()
    before, act = _commands(scene)[name]
    old = await opened(home.store)
    await before(old)
    await opened(home.store, environment=world(1))
    rows = rows_of(home.store)
    with pytest.raises(Fenced):
        await act(old)
    assert rows_of(home.store) == rows


def _returning(commit: Commit) -> Callable[[LoadedRuntime | None], Commit]:
    """What a claim settles to, whatever is stored."""
    return lambda _: commit


async def test_commit_without_a_stored_epoch_is_refused(home: Home) -> None:
    """A commit for a runtime that was never opened, of another epoch or another revision, is refused (C32)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    record = driver._actor.stored_runtime()
    rows = rows_of(home.store)
    after = evolve(record, revision=record.revision + 1)
    for commit in (
        Commit(evolve(after, runtime_id="never opened"), epoch=0, base_revision=0),
        Commit(evolve(after, runtime_id="never opened"), epoch=1, base_revision=record.revision),
        Commit(evolve(after, epoch=0), epoch=0, base_revision=record.revision),
        Commit(evolve(after, epoch=2), epoch=2, base_revision=record.revision),
        Commit(after, epoch=1, base_revision=record.revision - 1),
        Commit(after, epoch=1, base_revision=record.revision + 1),
    ):
        (result,) = home.store.commit([commit])
        assert isinstance(result, HoldstateError)
        assert rows_of(home.store) == rows
    assert isinstance(await driver.accept_input(prompt(2)), Accepted)


async def test_claim_that_does_not_raise_the_epoch_is_refused(home: Home) -> None:
    """A claim has to raise the epoch; one that does not, or builds on another revision, changes nothing (C32)."""
    driver = await opened(home.store)
    record = driver._actor.stored_runtime()
    rows = rows_of(home.store)
    for epoch, base in ((0, record.revision), (1, record.revision), (2, record.revision + 1)):
        commit = Commit(evolve(record, epoch=epoch, revision=base + 1), epoch=epoch, base_revision=base)
        with pytest.raises(StoreError):
            home.store.claim(RUNTIME, _returning(commit))
        assert rows_of(home.store) == rows


async def test_two_openers_at_once_leave_one_writer(home: Home) -> None:
    """Of two openers at once the later one holds the runtime, the other is fenced (C32)."""
    first, second = await asyncio.gather(opened(home.store), opened(home.store, environment=world(1)))
    outcomes = [await outcome_of(each.accept_input(prompt(n))) for n, each in enumerate((first, second))]
    assert sorted(type(each).__name__ for each in outcomes) == ["Accepted", "Fenced"]


# -- torn rows --------------------------------------------------------------------------------------------------------

_RUNS = [run_id(n) for n in range(3)]
_GIVEN: list[Input] = [event(0), prompt(1), steer(2), event(3), event(4)]


def _templates() -> list[InputRecord]:
    async def make() -> list[InputRecord]:
        home = MemoryHome()
        driver = await opened(home.store)
        await accept(driver, *_GIVEN)
        return inputs_of(home.store)

    return asyncio.run(make())


_TEMPLATES = _templates()
_runs = st.none() | st.sampled_from(_RUNS)
_small = st.integers(0, 4)


@st.composite
def _torn_inputs(draw: st.DrawFn) -> list[InputRecord]:
    orders = draw(st.permutations(range(1, 7)))
    made = []
    for template, order in zip(
        draw(st.lists(st.sampled_from(_TEMPLATES), unique_by=id, max_size=5)), orders, strict=False
    ):
        made.append(
            evolve(
                template,
                admission=evolve(
                    template.admission,
                    order=order,
                    lane=draw(st.sampled_from(Lane)),
                    boundary=draw(st.sampled_from(RunBoundary)),
                    is_prompt=draw(st.booleans()),
                ),
                state=draw(st.sampled_from(InputState)),
                last_run_id=draw(_runs),
                last_boundary_sequence=draw(st.none() | st.integers(0, 2)),
                attempt_count=draw(_small),
                failure_count=draw(_small),
                failure_cap=draw(st.none() | _small),
                outcome_kind=draw(st.none() | st.sampled_from(OutcomeKind)),
                abandon_reason=draw(st.none() | st.sampled_from(AbandonReason)),
                successor_id=draw(st.none() | st.sampled_from([input_id(0), input_id(77)])),
            )
        )
    return made


@st.composite
def _torn_commits(draw: st.DrawFn) -> Commit:
    inputs = draw(_torn_inputs())
    ids = st.sampled_from([*(each.header.id for each in _GIVEN), input_id(77)])
    ended = sum(each.is_terminal for each in inputs)
    places = draw(st.lists(st.tuples(st.sampled_from(_RUNS), st.integers(0, 2)), unique=True, max_size=3))
    receipts = [
        RunBoundaryReceipt(run, draw(st.sampled_from(RunBoundary)), tuple(draw(st.lists(ids, max_size=3))), sequence)
        for run, sequence in places
    ]
    true = Counts(len(inputs) - ended, ended, 0, len(receipts), 0)
    torn = st.builds(Counts, _small, _small, _small, _small, _small)
    record = RuntimeRecord(
        RUNTIME,
        state=draw(st.sampled_from(RuntimeState)),
        current_run_id=draw(_runs),
        pre_run_state=draw(st.none() | st.sampled_from(RuntimeState)),
        contributors=tuple(draw(st.lists(ids, max_size=3))),
        boundary_count=draw(st.integers(0, 3)),
        shared_run=draw(st.booleans()),
        last_run=draw(st.none() | st.builds(LastRun, st.sampled_from(_RUNS), st.sampled_from(RunEnding))),
        epoch=1,
        revision=draw(st.integers(1, 3)),
        next_order=draw(st.sampled_from([7, 7, 8, 1, 3])),
        counts=draw(st.just(true) | torn),
        has_snapshot=draw(st.booleans()),
    )
    bodies = {each.header.id: admit(each)[0] for each in _GIVEN}
    writes = [InputWrite(each, True, None if each.is_terminal else bodies[each.input_id]) for each in inputs]
    return Commit(record, epoch=1, base_revision=0, inputs=writes, receipts=receipts)


async def _assert_usable(driver: PersistentRuntimeDriver, store: RuntimeStore) -> None:
    if driver.runtime_state is RuntimeState.RETIRED:
        await work_off(driver)
        await driver.reset()
    if driver.runtime_state in {RuntimeState.STOPPED, RuntimeState.DESTROYED}:
        with pytest.raises(NotReady):
            await driver.accept_input(prompt(50))
        await driver.destroy()
        return
    assert driver.runtime_state is RuntimeState.IDLE
    assert driver._actor.image.runtime.current_run_id is None
    rows = rows_of(store)
    outcome = await outcome_of(driver.accept_input(prompt(50)))
    if isinstance(outcome, StoreError):
        # An ended row has an order key that was never given out; each accept is refused until that is repaired.
        assert "order key" in str(outcome)
        assert rows_of(store) == rows
        return
    assert isinstance(outcome, Accepted)
    await work_off(driver)
    assert await driver.active_input_ids() == ()
    assert await driver.input_state(input_id(50)) is InputState.CONSUMED
    loaded = store.load_runtime(RUNTIME)
    assert loaded is not None
    assert loaded.inputs == ()


@settings(max_examples=300)
@given(_torn_commits())
def test_cold_start_over_any_rows_ends_usable_or_refused_with_every_byte_in_place(commit: Commit) -> None:
    """From every storable state, torn ones too, open ends usable, or in a typed error with the rows untouched (C30)."""

    async def play() -> None:
        home = MemoryHome()
        home.store.claim(RUNTIME, _returning(commit)) if _is_loadable(commit) else _put(home, commit)
        rows = rows_of(home.store)
        driver = await outcome_of(opened(home.store, settings=evolve(SETTINGS, debug=False)))
        if isinstance(driver, HoldstateError):
            assert rows_of(home.store) == rows
            assert isinstance(driver, StoreCorruption), driver
        else:
            await _assert_usable(driver, home.store)

    asyncio.run(play())


def _is_loadable(commit: Commit) -> bool:
    """Whether ``claim`` can read back what it wrote: it loads the runtime, and counts the active inputs."""
    return commit.runtime.counts.active == sum(not each.record.is_terminal for each in commit.inputs)


def _put(home: MemoryHome, commit: Commit) -> None:
    with pytest.raises(StoreCorruption):
        home.store.claim(RUNTIME, _returning(commit))


async def test_missing_body_is_a_typed_error_that_one_can_get_past(home: Home) -> None:
    """An active input without its payload is corruption that names it, changes nothing, and can be cancelled (C30)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1), prompt(2))
    if isinstance(home.store, LmdbStore):
        environment = home.store._environment
        body = next(key for key, _ in raw_rows(home.store, ACTIVE) if is_body(key))
        assert environment.write(lambda rows: rows.delete(ACTIVE, body))
    else:
        del cast("MemoryStore", home.store)._tables.rows[RUNTIME].bodies[1]
    driver = await opened(home.crash(), environment=world(1))
    rows = rows_of(home.store)
    with pytest.raises(StoreCorruption, match=str(input_id(1))):
        await driver.begin_run()
    assert rows_of(home.store) == rows
    await driver.cancel_input(input_id(1))
    assert [run.input_ids for run in await work_off(driver)] == [(input_id(2),)]


async def test_crash_loop_ends_at_the_cap(home: Home) -> None:
    """Crashing in every run ends after as many runs as the cap allows, and the runtime goes on (C14, C30)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1), prompt(2))
    for number in range(MAX_ATTEMPTS):
        assert (await begun(driver)).input_ids == (input_id(1),)
        driver = await opened(home.crash(), environment=world(number + 1))
    assert driver.recovery_report.abandoned == 1
    outcome = await driver.accept_input(prompt(1))
    assert isinstance(outcome, Deduplicated)
    assert [run.input_ids for run in await work_off(driver)] == [(input_id(2),)]
    assert isinstance(FaultyStore(home.store).verify(), list)
