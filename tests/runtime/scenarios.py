"""Short stories that take every row of the tables, those that no driver can reach included.

A driver never stores ``accepted`` or ``applied``, and never starts in ``recovering``: those rows serve records from
elsewhere, so their images are made by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from holdstate.runtime import commands as c
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.outcomes import Cancelled, DetachReport, EndReport, InFlight, RecoveryReport
from holdstate.runtime.records import Counts, InputRecord, LastRun, RunBoundaryReceipt, RuntimeRecord
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.vocabulary import (
    AbandonReason,
    InputKind,
    InputState,
    QueueMode,
    RunBoundary,
    RunEnding,
    RuntimeState,
)

from .cores import NO_BACKOFF, NOON, Core, a_record, event, operation, progress, prompt, run_id, steering

SUPERSEDING = evolve(
    NO_BACKOFF,
    policy=evolve(
        DEFAULT_POLICY,
        by_kind={
            **DEFAULT_POLICY.by_kind,
            InputKind.PROMPT: evolve(DEFAULT_POLICY.by_kind[InputKind.PROMPT], queue_mode=QueueMode.SUPERSEDE),
        },
    ),
)
TWICE = RuntimeSettings(retry=RetryPolicy(max_attempts=2, backoff=Backoff(initial_seconds=0.0)))
OPERATION = DEFAULT_POLICY.resolve_by_kind(InputKind.OPERATION, idle=True)
RUN = run_id(77)
QUEUED, STAGED, PENDING = InputState.QUEUED, InputState.STAGED, InputState.APPLIED_PENDING_CONSUMPTION
CONSUMED, ABANDONED = InputState.CONSUMED, InputState.ABANDONED
SCENARIOS: dict[str, Callable[[], None]] = {}


def scenario(story: Callable[[], None]) -> Callable[[], None]:
    SCENARIOS[story.__name__] = story
    return story


def by_hand(state: RuntimeState, *inputs: InputRecord, settings: RuntimeSettings = NO_BACKOFF, **fields: Any) -> Core:
    """An image that no command made."""
    counts = Counts(active=len(inputs))
    runtime = RuntimeRecord("r", state, created_at=NOON, next_order=1000, counts=counts, **fields)
    return Core(settings, runtime=runtime, inputs=inputs, sound=False)


def torn() -> tuple[InputRecord, ...]:
    """An active input in every state, as something else may have stored it; the one that is queued is untouched."""
    ran = {"last_run_id": RUN, "attempt_count": 1}
    return (
        a_record(InputState.ACCEPTED, 1),
        a_record(InputState.ACCEPTED, 2, stamp={"kind": InputKind.OPERATION, "decision": OPERATION}),
        a_record(QUEUED, 3),
        a_record(STAGED, 4, **ran),
        a_record(InputState.APPLIED, 5, **ran),
        a_record(InputState.APPLIED, 6, **ran),
        a_record(PENDING, 7, last_boundary_sequence=0, **ran),
        a_record(PENDING, 8, last_boundary_sequence=0, **ran),
    )


def receipt_of(*records: InputRecord) -> RunBoundaryReceipt:
    return RunBoundaryReceipt(RUN, RunBoundary.RUN_START, tuple(record.input_id for record in records))


# -- from admission to the end ---------------------------------------------------------------------------------------


@scenario
def an_input_is_worked_off() -> None:
    core = Core()
    first = core.accept(event())
    core.do(c.Attach(core.at))
    core.begin()
    core.boundary(snapshot=b"session", result=b"answer")
    core.do(c.CompleteRun(core.at, core.run, b"result"))
    assert (core.state_of(first), core.state) == (CONSUMED, RuntimeState.ATTACHED)
    assert core.do(c.Detach(core.at)) == DetachReport(was_attached=True)


@scenario
def an_operation_ends_when_it_is_admitted() -> None:
    core = Core()
    assert core.state_of(core.accept(operation(idempotency_key="key"))) is CONSUMED


@scenario
def newer_progress_takes_older_in() -> None:
    core = Core()
    old, new = (core.accept(progress(supersession_key="topic")) for _ in range(2))
    assert (core.state_of(old), core.record(old).successor_id) == (InputState.COALESCED, new)


@scenario
def a_newer_prompt_supersedes_an_older_one() -> None:
    core = Core(SUPERSEDING)
    old, new = (core.accept(prompt(supersession_key="topic")) for _ in range(2))
    assert (core.state_of(old), core.record(old).successor_id) == (InputState.SUPERSEDED, new)


@scenario
def more_is_staged_and_leaves_again() -> None:
    core = Core()
    first, more = core.accept(event()), None
    core.begin()
    core.boundary()
    more = core.accept(steering())
    core.do(c.StageMore(core.at, core.run))
    core.do(c.RollbackStaged(core.at, (more,)))
    assert core.state_of(more) is QUEUED
    core.do(c.ConsumeInputs(core.at, core.run, (first,)))
    assert core.state_of(first) is CONSUMED
    core.do(c.CompleteRun(core.at, core.run))
    assert core.lane(core.record(more).admission.lane) == [more]


@scenario
def a_failure_is_tried_again_until_the_cap() -> None:
    core = Core(TWICE)
    first = core.accept(event())
    core.begin()
    core.fail()
    assert (core.state_of(first), core.record(first).failure_count) == (QUEUED, 1)
    core.begin()
    core.fail()
    assert core.record(first).abandon_reason is AbandonReason.ATTEMPTS_EXHAUSTED


@scenario
def a_failure_for_good_ends_the_input_at_once() -> None:
    core = Core()
    first = core.accept(event())
    core.begin()
    core.fail(recoverable=False)
    assert core.record(first).abandon_reason is AbandonReason.FAILED


@scenario
def a_run_that_fails_after_its_boundary_consumes() -> None:
    core = Core()
    first = core.accept(event())
    core.begin()
    core.boundary()
    core.fail()
    assert core.state_of(first) is CONSUMED


@scenario
def a_cancelled_run_consumes_or_gives_back() -> None:
    core = Core()
    first = core.accept(event())
    core.begin()
    core.boundary()
    second = core.accept(steering())
    core.do(c.StageMore(core.at, core.run))
    core.do(c.CancelRun(core.at, core.run))
    assert (core.state_of(first), core.state_of(second)) == (CONSUMED, QUEUED)


@scenario
def inputs_are_given_up() -> None:
    core = Core()
    first, second, third = (core.accept(event()) for _ in range(3))
    assert core.do(c.CancelInput(core.at, first)) == Cancelled(first)
    core.do(c.BeginRun(core.at, run_id(1), (second,)))
    assert core.do(c.CancelInput(core.at, second)) == InFlight(second, run_id(1))
    report = core.do(c.AbandonPending(core.at, AbandonReason.FAILED, "no more"))
    assert report == EndReport(inputs_abandoned=1)
    assert (core.state_of(second), core.record(third).error) == (STAGED, "no more")


# -- the runtime -----------------------------------------------------------------------------------------------------


@scenario
def an_executor_comes_and_goes_during_a_run() -> None:
    core = Core()
    core.accept(event())
    core.begin()
    core.do(c.Attach(core.at))
    returns_to = [core.returns_to]
    core.do(c.Detach(core.at))
    assert [*returns_to, core.returns_to] == [RuntimeState.ATTACHED, RuntimeState.IDLE]
    assert core.do(c.Detach(core.at)) == DetachReport(was_attached=False)


def _end(core: Core, ending: RunEnding) -> None:
    if ending is RunEnding.COMPLETED:
        core.complete()
    elif ending is RunEnding.FAILED:
        core.fail()
    else:
        core.do(c.CancelRun(core.at, core.run))


@scenario
def every_ending_returns_where_its_run_began() -> None:
    for ending in (RunEnding.COMPLETED, RunEnding.FAILED, RunEnding.CANCELLED):
        for prepare, back in ((None, "idle"), (c.Attach, "attached"), (c.Retire, "retired")):
            core = Core()
            core.accept(event())
            if prepare is not None:
                core.do(prepare(core.at))
            core.begin()
            _end(core, ending)
            assert (core.state, core.image.runtime.last_run) == (RuntimeState(back), LastRun(run_id(1), ending))


@scenario
def a_runtime_that_is_retired_during_a_run_stays_retired() -> None:
    for ending in (RunEnding.COMPLETED, RunEnding.FAILED, RunEnding.CANCELLED):
        core = Core()
        core.accept(event())
        core.begin()
        core.do(c.Retire(core.at))
        _end(core, ending)
        assert (core.state, core.image.runtime.current_run_id) == (RuntimeState.RETIRED, None)


@scenario
def a_runtime_is_retired_reset_and_recycled_from_everywhere() -> None:
    for prepare in (None, c.Attach):
        for leave, state in ((c.Retire, "retired"), (c.Reset, "idle"), (c.Recycle, "idle")):
            core = Core()
            first = core.accept(event())
            if prepare is not None:
                core.do(prepare(core.at))
            core.do(leave(core.at))
            assert core.state is RuntimeState(state)
            assert core.state_of(first) is (ABANDONED if leave is c.Reset else QUEUED)
    for leave in (c.Reset, c.Recycle):
        core = Core()
        core.do(c.Retire(core.at))
        core.do(leave(core.at))
        assert core.state is RuntimeState.IDLE


@scenario
def a_reset_reaches_states_that_are_passed_through() -> None:
    for state in (RuntimeState.INITIALIZING, RuntimeState.RECOVERING):
        core = by_hand(state, a_record(InputState.ACCEPTED, 1), a_record(QUEUED, 2))
        assert core.do(c.Reset(core.at)) == EndReport(inputs_abandoned=2)
        assert core.state is RuntimeState.IDLE


@scenario
def every_state_can_be_stopped_and_destroyed() -> None:
    live = set(RuntimeState) - {RuntimeState.STOPPED, RuntimeState.DESTROYED}
    for end, terminal in ((c.Stop, RuntimeState.STOPPED), (c.Destroy, RuntimeState.DESTROYED)):
        for state in live:
            core = by_hand(state, *torn())
            assert core.do(end(core.at)) == EndReport(inputs_abandoned=6, inputs_consumed=2)
            assert (core.state, core.image.inputs) == (terminal, {})
        core = Core()
        core.do(c.Stop(core.at))
        core.do(end(core.at))
        assert core.state is terminal


@scenario
def a_recovery_that_somebody_began_is_left() -> None:
    core = by_hand(RuntimeState.RECOVERING, pre_run_state=RuntimeState.IDLE)
    core.do(c.Resume(core.at))
    assert (core.state, core.image.runtime.pre_run_state) == (RuntimeState.IDLE, None)


# -- recovery --------------------------------------------------------------------------------------------------------


@scenario
def whatever_was_stored_is_settled() -> None:
    for make in (c.Open, c.Recover, c.Recycle):
        records = torn()
        core = by_hand(RuntimeState.IDLE, *records)
        report: RecoveryReport = core.do(make(core.at, (receipt_of(records[5], records[7]),)))
        ends = [core.state_of(record.input_id) for record in records]
        assert ends == [QUEUED, CONSUMED, QUEUED, QUEUED, QUEUED, CONSUMED, QUEUED, CONSUMED]
        assert (report.recovered, report.requeued, report.consumed, report.abandoned) == (8, 4, 3, 0)


@scenario
def a_crash_at_the_cap_is_the_last() -> None:
    for make in (c.Open, c.Recover, c.Recycle):
        record = a_record(STAGED, 1, last_run_id=RUN, attempt_count=2, failure_count=1, failure_cap=2)
        core = by_hand(RuntimeState.IDLE, record, settings=TWICE)
        report: RecoveryReport = core.do(make(core.at))
        assert (report.requeued, report.abandoned) == (0, 1)
        assert core.record(record.input_id).abandon_reason is AbandonReason.ATTEMPTS_EXHAUSTED


@scenario
def a_stored_state_becomes_idle_or_stays_retired() -> None:
    idle, retired = RuntimeState.IDLE, RuntimeState.RETIRED
    for state, pre, after in (
        (RuntimeState.INITIALIZING, None, idle),
        (idle, None, idle),
        (RuntimeState.ATTACHED, None, idle),
        (RuntimeState.RUNNING, idle, idle),
        (RuntimeState.RUNNING, retired, retired),
        (retired, idle, retired),
    ):
        core = by_hand(state, pre_run_state=pre, current_run_id=RUN if pre else None)
        core.do(c.Open(core.at))
        assert (core.state, core.image.runtime.current_run_id, core.image.runtime.pre_run_state) == (after, None, None)
