"""Runs: staging before the executor, boundaries once, recovery from durable identity alone."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from itertools import permutations
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import (
    ContributorsRefused,
    ReceiptConflict,
    RunIdReused,
    RunIncomplete,
    RunNotCurrent,
    StoreError,
)
from holdstate.runtime.events import EventEnvelope
from holdstate.runtime.outcomes import BoundaryApplied, Run, RunCancelled, RunCompleted, RunFailed, RunOutput
from holdstate.runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from holdstate.runtime.store import Commit, InputWrite, LoadedRuntime, RuntimeStore
from holdstate.spec.vocabulary import AbandonReason, EventCode, InputState, RunBoundary, RunEnding, RuntimeState
from holdstate.stores.lmdb_rows import ordinal_prefix, receipt_key

from ..faults import Fault, Plan
from .kit import (
    RUNTIME,
    SETTINGS,
    Home,
    NewHome,
    Seam,
    accept,
    assert_failure_is_typed,
    assert_memory_equals_store,
    begun,
    event,
    input_id,
    inputs_of,
    memory_of,
    on_the_thread,
    opened,
    operation,
    outcome_of,
    prompt,
    queue_of,
    receipt_of,
    rows_of,
    run_id,
    steer,
    trials,
    world,
)

OUTPUT = RunOutput(session_snapshot=b"snapshot", result=b"result")
DIGEST = sha256(b"snapshot").hexdigest()


# -- nothing before its commit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("thread", [False, True])
async def test_nothing_is_visible_before_its_commit(home: Home, *, thread: bool) -> None:
    """While a commit is being written no state, event, signal or answer of it can be seen, only after (C18)."""
    seam = Seam(home.store)
    prepare = home.store.prepare
    seen: list[tuple[RuntimeState, int, bool, list[bool]]] = []
    watched: list[Any] = []

    def watching(group: Any) -> Any:
        write = prepare(group)

        def look_and_write() -> Any:
            for driver, tasks in watched:
                actor = driver._actor
                seen.append(
                    (driver.runtime_state, len(actor.events._pending), actor.wake, [task.done() for task in tasks])
                )
            return write()

        return look_and_write

    seam.__dict__["prepare"] = watching
    driver = await opened(cast("RuntimeStore", seam))
    driver.drain_events()

    async def watched_call(call: Any) -> Any:
        before = (driver.runtime_state, 0, False, [False])
        task = asyncio.ensure_future(call)
        watched.append((driver, [task]))
        answer = await task
        assert seen == [before]
        seen.clear()
        watched.clear()
        return answer

    async def play() -> None:
        await watched_call(driver.accept_input(prompt(1)))
        assert driver.take_wake_requested()
        assert [each.code for each in driver.drain_events()] == [EventCode.INPUT_ACCEPTED]
        run = await watched_call(driver.begin_run())
        assert driver.runtime_state is RuntimeState.RUNNING
        assert driver.drain_events()
        await watched_call(driver.complete_run(run))
        events = driver.drain_events()
        assert EventCode.INPUT_CONSUMED in {each.code for each in events}
        await watched_call(driver.stop())

    if thread:
        with on_the_thread(cast("RuntimeStore", seam)):
            await play()
    else:
        await play()


async def test_failed_commit_announces_nothing(store_factory: NewHome) -> None:
    """Events and signals of a command that did not land never go out; those of one that landed go out once (C18)."""

    async def before(driver: PersistentRuntimeDriver) -> None:
        driver.drain_events()

    async for trial in trials(store_factory, lambda driver: driver.accept_input(prompt(1)), before=before):
        if trial.crashed:
            continue
        known = await outcome_of(trial.driver.input_record(input_id(1)))
        events: list[EventEnvelope] = trial.driver.drain_events()
        queued = [each for each in events if each.code is EventCode.INPUT_ACCEPTED]
        assert len(queued) == (1 if isinstance(known, InputRecord) else 0)
        assert trial.driver.take_wake_requested() is isinstance(known, InputRecord)


# -- boundaries -------------------------------------------------------------------------------------------------------


async def _facts(driver: PersistentRuntimeDriver, run: Run) -> tuple[bool, ...]:
    states = {await driver.input_state(each) for each in run.input_ids}
    assert len(states) == 1
    return (
        await driver.session_snapshot() == b"snapshot",
        await driver.boundary_receipt(run.run_id, 0) == receipt_of(run, conversation_digest=DIGEST),
        states == {InputState.CONSUMED},
        driver._actor.image.runtime.current_run_id is None
        and driver._actor.image.runtime.last_run is not None
        and driver._actor.image.runtime.last_run.ending is RunEnding.COMPLETED,
        await driver.input_result(run.input_ids[0]) == b"result",
    )


async def test_boundary_and_completion_are_one_commit_wherever_the_process_dies(store_factory: NewHome) -> None:
    """Crash anywhere shows all of (snapshot, receipt, records, runtime, result) or none; a retry is done once (C19)."""
    runs: list[Run] = []

    async def before(driver: PersistentRuntimeDriver) -> None:
        await accept(driver, event(1), event(2))
        runs[:] = [await begun(driver)]

    async for trial in trials(store_factory, lambda driver: driver.complete_run(runs[0], OUTPUT), before=before):
        assert_failure_is_typed(trial)
        facts = await _facts(trial.driver, runs[0])
        assert len(set(facts)) == 1, (trial.plan, facts)
        assert facts[0] or trial.failed
        if not trial.crashed:
            assert await trial.driver.complete_run(runs[0], OUTPUT) == runs[0].run_id
            assert set(await _facts(trial.driver, runs[0])) == {True}
        assert_memory_equals_store(trial.driver, trial.store)


async def test_answer_of_a_run_survives_a_crash(home: Home) -> None:
    """A caller who comes back after a crash gets the result that the boundary committed, and no second run (C19)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1, idempotency_key="k"))
    run = await begun(driver)
    receipt = receipt_of(run)
    await driver.on_run_event(BoundaryApplied(run.run_id, receipt, result=b"of the boundary"))
    driver = await opened(home.crash(), environment=world(1))
    assert driver.recovery_report.consumed == 1
    assert await driver.begin_run() is None
    assert await driver.input_result(input_id(1)) == b"of the boundary"


async def test_foreign_missing_extra_or_reordered_contributors_change_nothing(home: Home) -> None:
    """A boundary or an ending with other contributors, or of another run, is an error that changes nothing (C20)."""
    driver = await opened(home.store)
    await accept(driver, event(1), event(2), event(3))
    run = await begun(driver)
    await accept(driver, event(4))
    rows, memory = rows_of(home.store), memory_of(driver)
    one, two, three, four = (input_id(n) for n in (1, 2, 3, 4))
    good = receipt_of(run)
    for ids in ((one, two), (), (one, two, three, four), (one, three, two), (one, one, two), (input_id(9), two, three)):
        with pytest.raises(ContributorsRefused):
            await driver.on_run_event(BoundaryApplied(run.run_id, evolve(good, contributing_input_ids=ids)))
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    wrong: list[Any] = [
        BoundaryApplied(run.run_id, evolve(good, run_id=run_id(9))),
        BoundaryApplied(run_id(9), evolve(good, run_id=run_id(9))),
        BoundaryApplied(run.run_id, evolve(good, sequence=1)),
        BoundaryApplied(run.run_id, evolve(good, boundary=RunBoundary.RUN_CHECKPOINT)),
        BoundaryApplied(run.run_id, evolve(good, conversation_digest=DIGEST)),
        BoundaryApplied(run.run_id, good, session_snapshot=b"snapshot"),
        BoundaryApplied(run.run_id, evolve(good, conversation_digest=DIGEST), session_snapshot=b"other"),
        RunCompleted(run_id(9), run.input_ids),
        RunCompleted(run.run_id, run.input_ids),
        RunFailed(run_id(9), "no"),
        RunCancelled(run_id(9)),
    ]
    for each in wrong:
        with pytest.raises((ContributorsRefused, RunNotCurrent, RunIncomplete)):
            await driver.on_run_event(each)
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await driver.on_run_event(BoundaryApplied(run.run_id, good))
    rows, memory = rows_of(home.store), memory_of(driver)
    for consumed in ((one, two), (one, two, three, four), ()):
        with pytest.raises(ContributorsRefused):
            await driver.on_run_event(RunCompleted(run.run_id, consumed))
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await driver.on_run_event(RunCompleted(run.run_id, (three, one, two)))
    assert {await driver.input_state(each) for each in (one, two, three)} == {InputState.CONSUMED}


@pytest.mark.parametrize("later", ["now", "in the next run", "after a crash", "when stopped"])
async def test_same_receipt_again_is_done_and_another_one_conflicts(home: Home, later: str) -> None:
    """Same receipt again: no-op, whatever run is current; different content under its place: conflict (C20)."""
    driver = await opened(home.store)
    await accept(driver, event(1), prompt(2))
    run = await begun(driver)
    receipt = receipt_of(run)
    await driver.on_run_event(BoundaryApplied(run.run_id, receipt))
    if later != "now":
        await driver.complete_run(run)
    if later == "in the next run":
        await begun(driver)
    elif later == "after a crash":
        driver = await opened(home.crash(), environment=world(1))
    elif later == "when stopped":
        await driver.stop()
    rows, memory = rows_of(home.store), memory_of(driver)
    await driver.on_run_event(BoundaryApplied(run.run_id, receipt))
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    for other in (evolve(receipt, message_count=1), evolve(receipt, contributing_input_ids=())):
        with pytest.raises(ReceiptConflict):
            await driver.on_run_event(BoundaryApplied(run.run_id, other))
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)


async def test_sequences_of_a_run_are_dense_and_rising(home: Home) -> None:
    """Receipts of a run count from 0 without a gap; a skipped or repeated number is refused (C21)."""
    driver = await opened(home.store)
    await accept(driver, event(1))
    run = await begun(driver)
    for sequence in range(4):
        ids = run.input_ids if sequence == 0 else ()
        receipt = RunBoundaryReceipt(run.run_id, RunBoundary.RUN_START, ids, sequence)
        for wrong in (sequence + 1, 2**64 - 1):
            with pytest.raises(ContributorsRefused):
                await driver.on_run_event(BoundaryApplied(run.run_id, evolve(receipt, sequence=wrong)))
        await driver.on_run_event(BoundaryApplied(run.run_id, receipt))
    await driver.complete_run(run)
    found = [await driver.boundary_receipt(run.run_id, sequence) for sequence in range(5)]
    assert [each.sequence if each else None for each in found] == [0, 1, 2, 3, None]
    assert home.store.verify() == []


_sequences = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 255, 256, 2**32, 2**63 - 1, 2**63, 2**64 - 1])


@given(
    st.tuples(st.integers(0, 2**64 - 1), st.uuids(), _sequences),
    st.tuples(st.integers(0, 2**64 - 1), st.uuids(), _sequences),
)
def test_receipt_keys_are_injective_and_sort_by_sequence(first: Any, second: Any) -> None:
    """Keys of receipts are injective over runtime, run, sequence up to 2^64 - 1, and rise with the sequence (C21)."""
    key, other = (receipt_key(ordinal_prefix(each[0]), each[1], each[2]) for each in (first, second))
    assert (key == other) is (first == second)
    assert (receipt_key(b"", first[1], first[2]) < receipt_key(b"", first[1], second[2])) is (first[2] < second[2])


# -- staging ----------------------------------------------------------------------------------------------------------


async def test_staging_is_durable_before_the_run_is_handed_out(store_factory: NewHome) -> None:
    """When begin_run returns the staging is stored; if that write fails, no run is handed out (C22)."""

    async def before(driver: PersistentRuntimeDriver) -> None:
        await accept(driver, event(1), event(2))

    async def begin(driver: PersistentRuntimeDriver) -> Run:
        run = await begun(driver)
        staged = {record.input_id: record for record in inputs_of(cast("Any", driver._committer._store).faulty.inner)}
        assert [staged[each].last_run_id for each in run.input_ids] == [run.run_id] * 2
        return run

    async for trial in trials(store_factory, begin, before=before):
        if trial.crashed:
            landed = trial.plan is not None and trial.plan.fault is Fault.DIES_AFTER
            assert [record.failure_count for record in inputs_of(trial.store)] == [int(landed)] * 2
            continue
        if trial.failed:
            assert trial.driver._actor.handed_out is None
            again = await begun(trial.driver)
            assert again.input_ids == (input_id(1), input_id(2))
            assert [record.failure_count for record in again.records] == [0, 0]
        assert_memory_equals_store(trial.driver, trial.store)


# -- recovery ---------------------------------------------------------------------------------------------------------


async def test_recovery_consumes_by_receipt_and_by_nothing_else(home: Home) -> None:
    """What a stored receipt lists is consumed, what none lists is queued again, whatever else the rows say (C23)."""
    driver = await opened(home.store)
    await accept(driver, event(1), event(2))
    run = await begun(driver)
    await driver.on_run_event(BoundaryApplied(run.run_id, receipt_of(run)))
    await accept(driver, steer(3), event(4))
    await driver.stage_batch((input_id(3),), run.run_id)
    driver = await opened(home.crash(), environment=world(1))
    report = driver.recovery_report
    assert (report.recovered, report.consumed, report.requeued, report.abandoned) == (4, 2, 1, 0)
    assert [await driver.input_state(input_id(n)) for n in (1, 2, 3, 4)] == [
        InputState.CONSUMED,
        InputState.CONSUMED,
        InputState.QUEUED,
        InputState.QUEUED,
    ]
    assert home.store.verify() == []


async def _in_flight_rows(home: Home) -> tuple[LoadedRuntime, dict[Any, bytes]]:
    """Rows of three unsettled runs, one of them with a receipt, made from sound ones by hand."""
    driver = await opened(home.store, "source")
    given_ = [event(n) for n in range(5)]
    await accept(driver, *given_)
    with home.store.reading() as reader:
        loaded = reader.load_runtime("source")
        assert loaded is not None
        bodies: dict[Any, bytes] = {each.input_id: reader.load_body("source", each) or b"" for each in loaded.inputs}
    runs = [run_id(n) for n in range(3)]
    inputs = list(loaded.inputs)
    for place, (state, run) in enumerate(
        [
            (InputState.STAGED, runs[0]),
            (InputState.APPLIED_PENDING_CONSUMPTION, runs[1]),
            (InputState.APPLIED_PENDING_CONSUMPTION, runs[0]),
            (InputState.APPLIED, runs[1]),
            (InputState.STAGED, runs[2]),
        ]
    ):
        sequence = 0 if state is InputState.APPLIED_PENDING_CONSUMPTION else None
        inputs[place] = evolve(
            inputs[place], state=state, last_run_id=run, last_boundary_sequence=sequence, attempt_count=1
        )
    receipt = RunBoundaryReceipt(runs[1], RunBoundary.RUN_START, (inputs[1].input_id, inputs[3].input_id))
    record = evolve(
        loaded.record,
        state=RuntimeState.RUNNING,
        current_run_id=runs[0],
        pre_run_state=RuntimeState.IDLE,
        contributors=(inputs[0].input_id, inputs[2].input_id),
        counts=evolve(loaded.record.counts, receipts=1),
    )
    return LoadedRuntime(record, tuple(inputs), (receipt,)), bodies


def _store_rows(store: RuntimeStore, name: str, rows: LoadedRuntime, bodies: dict[Any, bytes], order: Any) -> None:
    record = evolve(rows.record, runtime_id=name, epoch=1, revision=1)
    writes = [InputWrite(rows.inputs[place], True, bodies[rows.inputs[place].input_id]) for place in order]
    store.claim(name, lambda _: Commit(record, epoch=1, base_revision=0, inputs=writes, receipts=list(rows.receipts)))


async def test_any_number_of_unsettled_runs_is_recovered_whatever_the_order_of_rows(home: Home) -> None:
    """Rows of three unsettled runs in any order recover to the same: consumed by receipt, the rest queued (C23)."""
    rows, bodies = await _in_flight_rows(home)
    results = set()
    for number, order in enumerate(list(permutations(range(5)))[::17]):
        name = f"copy {number}"
        _store_rows(home.store, name, rows, bodies, order)
        driver = await opened(home.store, name)
        report = driver.recovery_report
        assert (report.consumed, report.requeued) == (2, 3)
        results.add((report, tuple(inputs_of(home.store, name)), tuple(queue_of(driver))))
        assert driver.runtime_state is RuntimeState.IDLE
    assert len(results) == 1
    (_, records, queue) = results.pop()
    assert [record.state for record in records] == [
        InputState.QUEUED,
        InputState.CONSUMED,
        InputState.QUEUED,
        InputState.CONSUMED,
        InputState.QUEUED,
    ]
    assert queue == tuple(record.input_id for record in records if record.state is InputState.QUEUED)


# -- starts and endings -----------------------------------------------------------------------------------------------


async def test_failed_start_leaves_no_open_run(store_factory: NewHome) -> None:
    """A start that fails leaves the runtime as before: no open run, and the next start succeeds (C24)."""

    async def before(driver: PersistentRuntimeDriver) -> None:
        await accept(driver, event(1))

    async for trial in trials(store_factory, lambda driver: driver.begin_run(), before=before):
        if not trial.failed:
            continue
        active = await trial.driver.active_input_ids()
        assert active == (input_id(1),)
        assert trial.driver._actor.image.runtime.current_run_id is None
        assert trial.driver.runtime_state is RuntimeState.IDLE
        assert await trial.driver.begin_run() is not None


async def test_start_in_a_group_whose_commit_failed_leaves_no_open_run(home: Home) -> None:
    """A run opened in memory is as it was before when the commit of its group fails (C24, C37)."""
    seam = Seam(home.store)
    driver = await opened(cast("RuntimeStore", seam))
    await accept(driver, event(1))
    seam.faulty.arm(Plan(Fault.REFUSED, write=0))
    outcomes = await asyncio.gather(driver.accept_input(event(2)), driver.start_run(run_id(1)), return_exceptions=True)
    assert all(isinstance(each, StoreError) for each in outcomes)
    assert driver._actor.opened_run is None
    await driver.start_run(run_id(2))
    seam.faulty.arm(Plan(Fault.REFUSED, write=0))
    await asyncio.gather(driver.accept_input(event(2)), driver.cancel_run(run_id(2)), return_exceptions=True)
    await driver.stage_input(input_id(1), run_id(2))
    await driver.apply_input(input_id(1), run_id(2))
    assert await driver.complete_run() == run_id(2)


@pytest.mark.parametrize("state", ["retired and empty", "stopped", "destroyed", "no work"])
async def test_start_without_work_or_in_the_wrong_state_opens_nothing(home: Home, state: str) -> None:
    """begin_run with nothing to do, or in a terminal runtime, leaves no open run and no row (C24)."""
    driver = await opened(home.store)
    if state != "no work":
        await {"retired and empty": driver.retire, "stopped": driver.stop, "destroyed": driver.destroy}[state]()
    rows, memory = rows_of(home.store), memory_of(driver)
    run = await outcome_of(driver.begin_run())
    assert not isinstance(run, Run)
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)


async def test_run_ids_are_never_used_twice(home: Home) -> None:
    """A given run id that is current, was the last, or has a receipt is refused and changes nothing (C21, C24)."""
    driver = await opened(home.store)
    await accept(driver, *(prompt(n) for n in range(4)))
    for number in (1, 2):
        run = await driver.begin_run(run_id(number))
        assert run is not None
        await driver.complete_run(run)
    run = await driver.begin_run(run_id(3))
    await driver.cancel_run(run_id(3))
    rows = rows_of(home.store)
    for number in (1, 2, 3):
        for call in (driver.begin_run, driver.start_run):
            with pytest.raises(RunIdReused):
                await call(run_id(number))
    assert rows_of(home.store) == rows


async def test_ways_to_end_are_distinct_and_true(home: Home) -> None:
    """attempts_exhausted, cancelled, failed, reset, stopped, destroyed, retired are told apart, also later (C25)."""
    found: dict[AbandonReason, str | None] = {}

    async def end(name: str) -> None:
        driver = await opened(home.store, name)
        await accept(driver, event(1))
        if name == "attempts_exhausted":
            while (run := await driver.begin_run()) is not None:
                await driver.fail_run(run, "again")
        elif name == "failed":
            await driver.fail_run(await begun(driver), "for good", recoverable=False)
        elif name == "cancelled":
            await driver.cancel_input(input_id(1))
        elif name == "retired":
            await driver.abandon_pending_inputs(AbandonReason.RETIRED)
        else:
            await {"reset": driver.reset, "stopped": driver.stop, "destroyed": driver.destroy}[name]()
        announced = [each.outcome for each in driver.drain_events() if each.code is EventCode.INPUT_ABANDONED]
        record = await driver.input_record(input_id(1))
        assert record is not None
        assert announced == [record.terminal_outcome]

    names = [reason.value for reason in AbandonReason]
    for name in names:
        await end(name)
    home.crash()
    for name in names:
        again = await opened(home.store, name)
        record = await again.input_record(input_id(1))
        assert record is not None
        assert record.abandon_reason is AbandonReason(name)
        found[AbandonReason(name)] = record.error
    told = {reason: error for reason, error in found.items() if error is not None}
    assert told == {AbandonReason.FAILED: "for good", AbandonReason.ATTEMPTS_EXHAUSTED: "again"}


async def test_cancelling_one_run_never_touches_another_and_is_one_effect(store_factory: NewHome) -> None:
    """Cancelling run A leaves run B alone, in this runtime and in others; repeating it is one effect (C26)."""
    home = store_factory()
    driver = await opened(home.store)
    neighbour = await opened(home.store, "neighbour")
    await accept(driver, event(1))
    await accept(neighbour, event(1))
    first = await begun(driver)
    other = await begun(neighbour)
    await driver.cancel_run(first)
    rows, memory = rows_of(home.store), memory_of(driver)
    await driver.cancel_run(first)
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    second = await begun(driver)
    rows, memory = rows_of(home.store), memory_of(driver)
    for stranger in (first.run_id, other.run_id):
        outcome = await outcome_of(driver.cancel_run(stranger))
        assert outcome is None or isinstance(outcome, RunNotCurrent)
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await driver.complete_run(second)
    await neighbour.complete_run(other)
    assert home.store.verify() == []


async def test_cancel_is_one_effect_under_every_fault(store_factory: NewHome) -> None:
    """A cancel whose answer was lost is repeated without a second effect (C26, C34)."""
    runs: list[Run] = []

    async def before(driver: PersistentRuntimeDriver) -> None:
        await accept(driver, event(1))
        runs[:] = [await begun(driver)]

    async for trial in trials(store_factory, lambda driver: driver.cancel_run(runs[0]), before=before):
        if not trial.crashed:
            await trial.driver.cancel_run(runs[0])
            (record,) = inputs_of(trial.store)
            assert (record.state, record.attempt_count, record.failure_count) == (InputState.QUEUED, 1, 0)
            assert [entry.to_state for entry in record.history].count(InputState.QUEUED) == 2
        assert_memory_equals_store(trial.driver, trial.store)


@settings(max_examples=30)
@given(endings=st.lists(st.integers(0, 3), max_size=6), crash=st.booleans())
def test_last_run_says_truly_how_it_ended(*, endings: list[int], crash: bool) -> None:
    """The runtime record tells the last run and its ending, also after a crash (C25)."""
    from .kit import MemoryHome

    async def play() -> None:
        home = MemoryHome()
        driver = await opened(home.store, settings=SETTINGS)
        expected = None
        for number, ending in enumerate(endings):
            await accept(driver, prompt(number))
            run = await begun(driver)
            if ending == 0:
                await driver.complete_run(run)
            elif ending == 1:
                await driver.fail_run(run, "no")
            elif ending == 2:
                await driver.cancel_run(run)
            else:
                driver = await opened(home.crash(), environment=world(number + 1))
            names = [RunEnding.COMPLETED, RunEnding.FAILED, RunEnding.CANCELLED, RunEnding.RECOVERED]
            expected = (run.run_id, names[ending])
        if crash:
            driver = await opened(home.crash(), environment=world(100))
        record: RuntimeRecord = driver._actor.image.runtime
        found = None if record.last_run is None else (record.last_run.run_id, record.last_run.ending)
        assert found == expected

    asyncio.run(play())


async def test_run_of_nothing_but_operations_never_begins(home: Home) -> None:
    """An input that was consumed on accept is in no run, and says so (C11, C25)."""
    driver = await opened(home.store)
    await accept(driver, operation(1))
    assert await driver.begin_run() is None
    record = await driver.input_record(input_id(1))
    assert record is not None
    assert (record.state, record.last_run_id, record.attempt_count) == (InputState.CONSUMED, None, 0)
    assert home.store.list_runtimes()[0].runtime_id == RUNTIME
