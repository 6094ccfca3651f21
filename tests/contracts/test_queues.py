"""Queues and retry: lanes, order, batches, caps, and inputs that nothing may strand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate.runtime.conventions import PeerRequest
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import BatchRefused, RunIdReused, RunIncomplete, RunInProgress, RunNotCurrent, StoreError
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import PeerInput
from holdstate.runtime.outcomes import Run
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.spec.errors import HoldstateError, SpecError
from holdstate.spec.policy import DEFAULT_POLICY, Policy
from holdstate.spec.vocabulary import (
    AbandonReason,
    ApplyMode,
    ConsumePoint,
    Durability,
    InputKind,
    InputState,
    Lane,
)

from .kit import (
    MAX_ATTEMPTS,
    NO_BACKOFF,
    PRIORITY,
    SETTINGS,
    START,
    Home,
    MemoryHome,
    NewHome,
    accept,
    assert_memory_equals_store,
    begun,
    event,
    input_id,
    inputs_of,
    memory_of,
    message,
    opened,
    operation,
    outcome_of,
    progress,
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

# -- one lane each, exact prefixes ------------------------------------------------------------------------------------

_MAKERS: list[Callable[..., Any]] = [prompt, steer, event, message, progress, operation]
_WORDS = [
    "accept",
    "ephemeral",
    "begin",
    "complete",
    "fail",
    "cancel",
    "crash",
    "cancel input",
    "more",
    "retire",
    "recycle",
]


def _assert_lanes(driver: PersistentRuntimeDriver, batch: Run | None, before: list[InputId]) -> None:
    image = driver._actor.image
    in_lanes = [image.inputs[each] for lane in Lane for each in image.lanes[lane].values()]
    assert len({each.input_id for each in in_lanes}) == len(in_lanes)
    assert {each.input_id for each in in_lanes} == {
        each.input_id for each in image.inputs.values() if each.state is InputState.QUEUED
    }
    for lane in Lane:
        assert all(image.inputs[each].admission.lane is lane for each in image.lanes[lane].values())
    assert not any(each.is_terminal for each in image.inputs.values())
    if batch is not None:
        lane_of_batch = [each for each in before if each in batch.input_ids]
        assert list(batch.input_ids) == lane_of_batch
        assert not any(record.is_terminal for record in batch.records)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(_WORDS), st.integers(0, 5)), max_size=25))
def test_each_queued_input_is_in_exactly_one_lane_and_nothing_else_is_in_any(  # noqa: C901 - one branch per word
    script: list[tuple[str, int]],
) -> None:
    """Each queued input is in exactly one lane, nothing else is in any, and no ended input is ever staged (C11)."""

    async def play() -> None:  # noqa: C901
        home = MemoryHome()
        driver = await opened(home.store)
        for number, (word, pick) in enumerate(script):
            before = queue_of(driver)
            run: Run | None = None
            current = driver._actor.image.runtime.current_run_id
            if word in {"accept", "ephemeral"}:
                durability = Durability.EPHEMERAL if word == "ephemeral" else Durability.DURABLE
                make = _MAKERS[pick]
                await outcome_of(driver.accept_input(make(number, supersession_key="s", durability=durability)))
            elif word == "begin" and current is None:
                outcome = await outcome_of(driver.begin_run())
                run = outcome if isinstance(outcome, Run) else None
            elif word == "complete" and current is not None:
                await driver.complete_run(current)
            elif word == "fail" and current is not None:
                await driver.fail_run(current, "no", recoverable=bool(pick % 2))
            elif word == "cancel" and current is not None:
                await driver.cancel_run(current)
            elif word == "crash":
                driver = await opened(home.crash(), environment=world(number))
            elif word == "cancel input" and before:
                await driver.cancel_input(before[pick % len(before)])
            elif word == "more" and current is not None:
                steered = list(driver._actor.image.lanes[Lane.STEER].values())[:1]
                await outcome_of(driver.stage_batch(steered, current))
            elif word == "retire":
                await driver.retire()
            elif word == "recycle" and current is None:
                await outcome_of(driver.recycle_preserving_work())
            _assert_lanes(driver, run, before)
            assert home.store.verify() == []

    asyncio.run(play())


async def test_staging_anything_but_a_prefix_of_the_next_batch_changes_nothing(home: Home) -> None:
    """A batch is an exact prefix of one lane; staging anything else is refused and changes nothing (C12)."""
    driver = await opened(home.store)
    await accept(driver, event(1), event(2), event(3), prompt(4), operation(5))
    await driver.start_run(run_id(1))
    rows, memory = rows_of(home.store), memory_of(driver)
    ones, twos, threes, prompts = (input_id(n) for n in (1, 2, 3, 4))
    for wrong in (
        (),
        (twos,),
        (twos, ones),
        (ones, threes),
        (ones, ones),
        (ones, twos, threes, prompts),
        (prompts,),
        (input_id(5),),
        (input_id(99),),
    ):
        with pytest.raises(BatchRefused):
            await driver.stage_batch(wrong, run_id(1))
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await driver.stage_batch((ones, twos), run_id(1))
    states = {record.input_id: record.state for record in inputs_of(home.store)}
    assert [states[each] for each in (ones, twos, threes)] == [InputState.STAGED, InputState.STAGED, InputState.QUEUED]


async def test_what_a_batch_may_hold(home: Home) -> None:
    """The steer lane goes first; a prompt runs alone; a batch ends before one and at ``max_batch`` (C12)."""
    driver = await opened(home.store, settings=evolve(SETTINGS, max_batch=2))
    await accept(driver, event(1), event(2), event(3), prompt(4), event(5), steer(6))
    runs = await work_off(driver)
    assert [run.input_ids for run in runs] == [
        (input_id(6),),
        (input_id(1), input_id(2)),
        (input_id(3),),
        (input_id(4),),
        (input_id(5),),
    ]


async def test_more_is_staged_into_a_run_from_the_front_of_the_steer_lane_only(home: Home) -> None:
    """A current run takes a prefix of the steer lane besides; anything else is refused and changes nothing (C12)."""
    driver = await opened(home.store)
    await accept(driver, event(1), event(2))
    run = await begun(driver)
    await accept(driver, steer(3), steer(4), event(5))
    rows, memory = rows_of(home.store), memory_of(driver)
    for wrong in ((), (input_id(4),), (input_id(5),), (input_id(4), input_id(3)), (input_id(1),)):
        with pytest.raises(BatchRefused):
            await driver.stage_batch(wrong, run.run_id)
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await driver.stage_batch((input_id(3),), run.run_id)
    assert driver._actor.image.runtime.contributors == (*run.input_ids, input_id(3))


# -- order ------------------------------------------------------------------------------------------------------------


async def _mixed(driver: PersistentRuntimeDriver) -> None:
    await accept(driver, event(1), event(2), steer(3), message(4), prompt(5), event(6), steer(7), event(8), message(9))


_DISTURBANCES: dict[str, Callable[[PersistentRuntimeDriver, Home], Any]] = {}


def _disturbance(
    call: Callable[[PersistentRuntimeDriver, Home], Any],
) -> Callable[[PersistentRuntimeDriver, Home], Any]:
    _DISTURBANCES[call.__name__.strip("_")] = call
    return call


@_disturbance
async def _failure(driver: PersistentRuntimeDriver, home: Home) -> None:
    await driver.fail_run(await begun(driver), "no")


@_disturbance
async def _cancel(driver: PersistentRuntimeDriver, home: Home) -> None:
    await driver.cancel_run(await begun(driver))


@_disturbance
async def _rollback(driver: PersistentRuntimeDriver, home: Home) -> None:
    run = await begun(driver)
    await driver.rollback_staged(reversed(run.input_ids))
    await driver.cancel_run(run)


@_disturbance
async def _recycle(driver: PersistentRuntimeDriver, home: Home) -> None:
    await driver.recycle_preserving_work()


@_disturbance
async def _crash_in_a_run(driver: PersistentRuntimeDriver, home: Home) -> None:
    await begun(driver)


@_disturbance
async def _crash_at_rest(driver: PersistentRuntimeDriver, home: Home) -> None:
    pass


@_disturbance
async def _retire_and_recycle(driver: PersistentRuntimeDriver, home: Home) -> None:
    await driver.retire()
    await driver.recycle_preserving_work()


@pytest.mark.parametrize("disturbance", _DISTURBANCES)
@pytest.mark.parametrize("crash", [False, True])
async def test_order_before_is_order_after(home: Home, *, disturbance: str, crash: bool) -> None:
    """Failure, cancel, rollback, recycle and crash leave every lane in its order, front placement too (C13)."""
    driver = await opened(home.store, settings=PRIORITY)
    await _mixed(driver)
    before = queue_of(driver)
    assert before == [input_id(n) for n in (3, 7, 4, 9, 1, 2, 5, 6, 8)]
    await _DISTURBANCES[disturbance](driver, home)
    if crash or disturbance.startswith("crash"):
        driver = await opened(home.crash(), settings=PRIORITY, environment=world(1))
    assert queue_of(driver) == before
    worked = [each for run in await work_off(driver) for each in run.input_ids]
    assert worked == before


@pytest.mark.parametrize("seed", range(4))
async def test_batches_are_composed_the_same_before_and_after_a_crash(store_factory: NewHome, seed: int) -> None:
    """The runs that work a queue off are the same with a crash before each of them, whatever the ids (C13)."""
    random = Random(seed)
    makers: list[Callable[..., Any]] = [event, prompt, steer, message, progress]
    script = [(random.choice(makers), n) for n in range(14)]

    async def runs(*, crashing: bool) -> list[tuple[InputId, ...]]:
        home = store_factory()
        driver = await opened(home.store, settings=evolve(PRIORITY, max_batch=3))
        await accept(driver, *(make(100 * seed + n) for make, n in script))
        found: list[tuple[InputId, ...]] = []
        while True:
            if crashing:
                rules = evolve(PRIORITY, max_batch=3)
                driver = await opened(home.crash(), settings=rules, environment=world(len(found) + 1))
            run = await driver.begin_run()
            if run is None:
                return found
            found.append(run.input_ids)
            await driver.complete_run(run)

    assert await runs(crashing=True) == await runs(crashing=False)


# -- caps -------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["fail", "crash", "cancel", "lost", "begin"]), max_size=16), st.integers(1, 4))
def test_no_input_fails_or_crashes_its_run_more_often_than_the_cap(script: list[str], cap: int) -> None:
    """Failures and crashes are counted up to the cap and never fall; cancelling a run costs nothing (C14)."""

    async def play() -> None:
        rules = evolve(SETTINGS, retry=RetryPolicy(max_attempts=cap, backoff=NO_BACKOFF))
        home = MemoryHome()
        driver = await opened(home.store, settings=rules)
        await accept(driver, event(1))
        failures = 0
        for attempts, word in enumerate(script, start=1):
            run = await driver.begin_run()
            if run is None:
                break
            (record,) = inputs_of(home.store)
            assert (record.state, record.attempt_count) == (InputState.STAGED, attempts)
            if word == "fail":
                failures += 1
                await driver.fail_run(run, "no")
            elif word in {"crash", "begin"}:
                failures += 1
                driver = await opened(home.crash(), settings=rules, environment=world(attempts))
            elif word == "lost":
                failures += 1
                await driver.fail_run(run, "no", recoverable=False)
            else:
                await driver.cancel_run(run)
            (record,) = inputs_of(home.store)
            assert record.attempt_count == attempts
            if word == "lost":
                assert record.abandon_reason in {AbandonReason.FAILED, AbandonReason.ATTEMPTS_EXHAUSTED}
                break
            assert record.failure_count == failures
            assert record.is_terminal is (failures >= cap)
            if record.is_terminal:
                assert record.abandon_reason is AbandonReason.ATTEMPTS_EXHAUSTED
                assert await driver.begin_run() is None
        assert failures <= cap

    asyncio.run(play())


async def test_lowered_cap_takes_effect_at_the_next_failure(home: Home) -> None:
    """A cap that was lowered ends an input at its next failure and not before (C14)."""
    driver = await opened(home.store)
    await accept(driver, event(1))
    for _ in range(2):
        await driver.fail_run(await begun(driver), "no")
    lower = evolve(SETTINGS, retry=RetryPolicy(max_attempts=2, backoff=NO_BACKOFF))
    driver = await opened(home.crash(), settings=lower)
    record = await driver.input_record(input_id(1))
    assert record is not None
    assert (record.state, record.failure_count) == (InputState.QUEUED, 2)
    await driver.fail_run(await begun(driver), "no")
    record = await driver.input_record(input_id(1))
    assert record is not None
    assert (record.abandon_reason, record.failure_count) == (AbandonReason.ATTEMPTS_EXHAUSTED, 3)
    assert home.store.verify() == []


async def test_backoff_of_the_head_holds_its_lane_and_no_other(home: Home) -> None:
    """After a failure the lane waits for its head until the stored time, the other lane goes on (C13, C14)."""
    rules = evolve(SETTINGS, retry=RetryPolicy(max_attempts=5, backoff=Backoff(initial_seconds=1.0, jitter=0.0)))
    driver = await opened(home.store, settings=rules)
    await accept(driver, event(1), event(2))
    first = await begun(driver)
    await driver.rollback_staged((input_id(2),))
    await driver.fail_run(first, "no")
    due = await driver.next_due()
    assert due is not None
    assert await driver.begin_run() is None
    await accept(driver, steer(3))
    assert (await work_off(driver))[0].input_ids == (input_id(3),)
    driver = await opened(home.crash(), settings=rules)
    assert await driver.next_due() == due
    assert await driver.begin_run() is None
    later = evolve(world(), now=lambda: due)
    driver = await opened(home.crash(), settings=rules, environment=later)
    assert (await begun(driver)).input_ids == (input_id(1),)


# -- poison -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fail", "fail for good", "crash"])
@pytest.mark.parametrize("others", [1, 6])
async def test_poisoned_head_takes_nobody_with_it(home: Home, how: str, others: int) -> None:
    """With an input that always fails at the head every other one ends in bounded runs, none for its sake (C15)."""
    driver = await opened(home.store)
    await accept(driver, *(event(n) for n in range(others + 1)))
    poison = input_id(0)
    runs = 0
    while (run := await driver.begin_run()) is not None:
        runs += 1
        assert runs <= MAX_ATTEMPTS + others + 1
        if poison not in run.input_ids:
            await driver.complete_run(run)
        elif how == "crash":
            driver = await opened(home.crash(), environment=world(runs))
        else:
            await driver.fail_run(run, "poisoned", recoverable=how == "fail")
    ended = {record.input_id: record for record in inputs_of(home.store)}
    assert ended.pop(poison).state is InputState.ABANDONED
    assert {record.state for record in ended.values()} == {InputState.CONSUMED}
    assert home.store.verify() == []


async def test_poison_staged_into_a_run_later_makes_it_shared(home: Home) -> None:
    """A run that took more inputs on the way is shared: its failure for good abandons none of them (C15)."""
    driver = await opened(home.store)
    await accept(driver, event(1))
    run = await begun(driver)
    await accept(driver, steer(2))
    await driver.stage_batch((input_id(2),), run.run_id)
    await driver.rollback_staged((input_id(2),))
    await driver.fail_run(run, "no", recoverable=False)
    assert await driver.input_state(input_id(1)) is InputState.QUEUED


async def test_one_attempt_means_batches_of_one(home: Home) -> None:
    """With a cap of one every batch is of one, so that no input is abandoned for another (C15)."""
    rules = evolve(SETTINGS, retry=RetryPolicy(max_attempts=1, backoff=NO_BACKOFF))
    driver = await opened(home.store, settings=rules)
    await accept(driver, event(1), event(2), event(3))
    await driver.fail_run(await begun(driver), "no")
    runs = await work_off(driver)
    assert [run.input_ids for run in runs] == [(input_id(2),), (input_id(3),)]
    assert await driver.input_state(input_id(1)) is InputState.ABANDONED


# -- nothing strands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("apply", "consume"),
    [(ApplyMode.IGNORE, ConsumePoint.ON_RUN_COMPLETE), (ApplyMode.STAGE_RUN_START, ConsumePoint.ON_ACCEPT)],
)
@pytest.mark.parametrize("place", ["kind", "mode", "otherwise"])
def test_policy_that_would_strand_an_input_is_refused_when_it_is_built(
    apply: ApplyMode, consume: ConsumePoint, place: str
) -> None:
    """A decision that is ignored yet not consumed on accept, or the other way round, makes no policy (C17)."""
    row = evolve(DEFAULT_POLICY.otherwise, apply=apply, consume=consume)
    by_kind, by_mode = dict(DEFAULT_POLICY.by_kind), dict(DEFAULT_POLICY.by_handling_mode)
    otherwise = DEFAULT_POLICY.otherwise
    if place == "kind":
        by_kind[InputKind.PROMPT] = row
    elif place == "mode":
        by_mode[next(iter(by_mode))] = row
    else:
        otherwise = row
    with pytest.raises(SpecError, match="strand"):
        Policy(name="bad", version=1, by_handling_mode=by_mode, by_kind=by_kind, otherwise=otherwise)


async def test_silent_request_wakes_nobody_and_is_worked_off_all_the_same(home: Home) -> None:
    """A request of a silent intent is queued, wakes nobody, and ends with the next run that is begun (C17)."""
    driver = await opened(home.store)
    driver.set_silent_comms_intents(["hush"])
    silent = PeerInput.new("psst", (), PeerRequest("r", "hush"), id=input_id(1), timestamp=START)
    await accept(driver, silent)
    assert not driver.take_wake_requested()
    assert not driver.take_process_requested()
    driver = await opened(home.crash())
    assert not driver.take_wake_requested()
    assert [run.input_ids for run in await work_off(driver)] == [(input_id(1),)]


async def test_refused_step_changes_nothing_and_strands_nothing(home: Home) -> None:
    """Every refused step leaves all as it was, and the work goes on to its end (C17)."""
    driver = await opened(home.store)
    await accept(driver, event(1), event(2))
    run = await begun(driver)
    rows, memory = rows_of(home.store), memory_of(driver)
    foreign = run_id(7)
    refusals: list[tuple[type[HoldstateError], Callable[[], Any]]] = [
        (RunInProgress, driver.begin_run),
        (RunIdReused, lambda: driver.begin_run(run.run_id)),
        (RunInProgress, driver.reset),
        (RunInProgress, driver.recover),
        (RunIncomplete, driver.complete_run),
        (RunNotCurrent, lambda: driver.complete_run(foreign)),
        (RunNotCurrent, lambda: driver.fail_run(foreign, "no")),
        (RunNotCurrent, lambda: driver.cancel_run(foreign)),
        (RunNotCurrent, lambda: driver.apply_input(input_id(1), foreign)),
        (HoldstateError, lambda: driver.apply_input(input_id(1), run.run_id)),
        (HoldstateError, lambda: driver.rollback_staged((input_id(99),))),
        (HoldstateError, lambda: driver.rollback_staged((input_id(1), input_id(1)))),
        (HoldstateError, lambda: driver.consume_inputs((input_id(1),), run.run_id)),
        (HoldstateError, driver.recycle_preserving_work),
        (RunInProgress, lambda: driver.start_run(foreign)),
    ]
    for error, call in refusals:
        with pytest.raises(error):
            await call()
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory), error
    await driver.complete_run(run)
    assert await driver.active_input_ids() == ()


async def test_every_input_ends_whatever_the_store_does(store_factory: NewHome) -> None:
    """A whole life under a fault at every store call: once the faults are over, every input ends (C17, C35)."""

    async def life(driver: PersistentRuntimeDriver) -> None:
        await accept(driver, event(1), steer(2))
        await driver.complete_run(await begun(driver))
        run = await begun(driver)
        await driver.fail_run(run, "no")
        await driver.retire()

    async for trial in trials(store_factory, life):
        driver = trial.driver
        await driver.active_input_ids()
        current = driver._actor.handed_out
        if current is not None:
            await driver.cancel_run(current)
        await work_off(driver)
        assert await driver.active_input_ids() == ()
        assert_memory_equals_store(driver, trial.store)
        assert not trial.failed or trial.crashed or isinstance(trial.outcome, StoreError)


async def test_run_goes_on_with_what_a_boundary_left(home: Home) -> None:
    """A failed run consumes what its boundary lists and takes the rest back to its place (C13, C15)."""
    driver = await opened(home.store)
    await accept(driver, event(1))
    run = await begun(driver)
    await driver.apply_input(input_id(1), run.run_id)
    await accept(driver, steer(2), steer(3))
    await driver.stage_batch((input_id(2),), run.run_id)
    await driver.fail_run(run, "no", recoverable=False)
    assert await driver.input_state(input_id(1)) is InputState.CONSUMED
    assert queue_of(driver) == [input_id(2), input_id(3)]
    assert await driver.boundary_receipt(run.run_id, 0) == receipt_of(run)
    assert home.store.verify() == []
