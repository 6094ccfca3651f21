"""Runs: how they begin, grow, commit boundaries and end."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from holdstate.runtime import commands as c
from holdstate.runtime.errors import (
    BatchRefused,
    ContributorsRefused,
    ReceiptConflict,
    RunIdReused,
    RunIncomplete,
    RunInProgress,
    RunNotCurrent,
)
from holdstate.runtime.records import LastRun, ResultSource, RunBoundaryReceipt
from holdstate.runtime.store import ResultRef
from holdstate.spec.errors import TransitionRefused
from holdstate.spec.vocabulary import AbandonReason, InputState, Lane, RunBoundary, RunEnding, RuntimeState

from .cores import Core, event, new_id, run_id, running, steering
from .scenarios import TWICE

QUEUED, STAGED, PENDING = InputState.QUEUED, InputState.STAGED, InputState.APPLIED_PENDING_CONSUMPTION
OTHER = run_id(99)


# -- beginning -----------------------------------------------------------------------------------------------------


def test_a_run_stages_its_batch_and_lists_it() -> None:
    """The contributors of the run are the batch in order, each staged by it for the first time."""
    core = running(3)
    records = [core.record(each) for each in core.image.runtime.contributors]
    assert [record.admission.order for record in records] == [1, 2, 3]
    assert {(record.state, record.last_run_id, record.attempt_count) for record in records} == {(STAGED, core.run, 1)}
    assert core.image.runtime.shared_run


def test_nothing_to_stage_begins_no_run() -> None:
    """Without work the outcome is None and nothing changes."""
    core = Core()
    before = core.image.runtime
    assert core.begin() == ()
    assert core.image.runtime is before
    assert not core.last.stored


def test_a_run_id_is_used_once() -> None:
    """One that is current, was the last, or has a receipt is refused."""
    core = running()
    core.refuse(RunIdReused, c.BeginRun(core.at, core.run))
    core.do(c.CancelRun(core.at, core.run))
    core.refuse(RunIdReused, c.BeginRun(core.at, run_id(1)))
    core.refuse(RunIdReused, c.BeginRun(core.at, OTHER, run_id_used=True))


def test_one_run_at_a_time() -> None:
    """A second run is refused while one is current, in retired too."""
    core = running()
    assert core.refuse(RunInProgress, c.BeginRun(core.at, OTHER)).run_id == core.run
    core.do(c.Retire(core.at))
    core.refuse(RunInProgress, c.BeginRun(core.at, OTHER))


def test_only_a_prefix_of_the_batch_can_be_staged() -> None:
    """Anything else is refused and changes nothing (C12)."""
    core = Core()
    first, second = core.accept(event()), core.accept(event())
    for batch in ((), (second,), (second, first), (first, first), (first, second, new_id())):
        core.refuse(BatchRefused, c.BeginRun(core.at, OTHER, batch))
    core.do(c.BeginRun(core.at, OTHER, (first,)))
    assert list(core.image.runtime.contributors) == [first]
    assert not core.image.runtime.shared_run


def test_a_terminal_runtime_begins_no_run() -> None:
    """Stopped refuses it, whether or not there is anything to do."""
    core = Core()
    core.do(c.Stop(core.at))
    core.refuse(TransitionRefused, c.BeginRun(core.at, OTHER))


# -- staging more --------------------------------------------------------------------------------------------------


def test_a_prefix_of_the_steer_lane_joins_the_current_run() -> None:
    """Later contributors come after the earlier ones, and the run counts as shared."""
    core = running()
    more = [core.accept(steering()) for _ in range(3)]
    core.refuse(BatchRefused, c.StageMore(core.at, core.run, (more[1],)))
    outcome = core.do(c.StageMore(core.at, core.run, tuple(more[:2])))
    assert [record.input_id for record in outcome] == more[:2]
    assert core.image.runtime.contributors[1:] == tuple(more[:2])
    assert core.image.runtime.shared_run
    assert core.lane(Lane.STEER) == more[2:]


def test_staging_more_needs_the_current_run_and_something_to_stage() -> None:
    """Another run is refused; an empty steer lane changes nothing."""
    core = running()
    core.accept(event())
    core.refuse(RunNotCurrent, c.StageMore(core.at, OTHER))
    before = core.image.runtime
    assert core.do(c.StageMore(core.at, core.run)) == ()
    assert core.image.runtime is before


def test_more_goes_into_a_run_without_contributors() -> None:
    """After all contributors left, one that joins is not shared with anybody unless the run ever was."""
    core = running()
    core.do(c.RollbackStaged(core.at, core.image.runtime.contributors))
    core.accept(steering())
    core.do(c.StageMore(core.at, core.run))
    assert not core.image.runtime.shared_run


def test_a_run_that_was_ever_shared_stays_shared() -> None:
    """Others may have spoiled it for the one that is left, so that no failure of it ends that one for good (C15)."""
    core = running(2)
    core.do(c.RollbackStaged(core.at, core.image.runtime.contributors))
    last = core.accept(steering())
    core.do(c.StageMore(core.at, core.run))
    assert core.image.runtime.shared_run
    core.fail(recoverable=False)
    assert core.state_of(last) is InputState.QUEUED


def test_a_failure_for_good_at_the_cap_is_told_as_one_for_good() -> None:
    """What is given up for good was given up for that reason, though it had no attempt left either (C25)."""
    core = Core(TWICE)
    first = core.accept(event())
    core.begin()
    core.fail()
    core.begin()
    core.fail(recoverable=False)
    assert core.record(first).abandon_reason is AbandonReason.FAILED


# -- boundaries ----------------------------------------------------------------------------------------------------


def test_a_boundary_takes_all_that_is_staged() -> None:
    """Every staged contributor is pending, with the sequence of the receipt; result and snapshot are kept."""
    core = running(2)
    receipt = core.boundary(snapshot=b"session", result=b"answer")
    records = core.image.contributors()
    assert {(each.state, each.last_boundary_sequence, each.result_source) for each in records} == {
        (PENDING, 0, ResultSource.BOUNDARY)
    }
    assert receipt.conversation_digest == sha256(b"session").hexdigest()
    assert (core.last.receipts, core.last.snapshot) == ((receipt,), b"session")
    assert core.last.results == ((ResultRef(core.run, 0), b"answer"),)
    counts = core.image.runtime.counts
    assert (counts.receipts, counts.results, core.image.runtime.has_snapshot) == (1, 1, True)


def test_sequences_of_a_run_are_dense() -> None:
    """Each boundary lists what is staged then, possibly nothing, under the next sequence (C21)."""
    core = running()
    core.boundary()
    more = core.accept(steering())
    core.do(c.StageMore(core.at, core.run))
    second, third = core.boundary(), core.boundary()
    assert (second.sequence, second.contributing_input_ids) == (1, (more,))
    assert (second.boundary, third.boundary) == (RunBoundary.RUN_CHECKPOINT, RunBoundary.RUN_START)
    assert (third.sequence, third.contributing_input_ids) == (2, ())
    assert core.last.stored


def test_a_receipt_that_is_not_the_next_one_is_refused() -> None:
    """Foreign, missing, extra, reordered contributors, another sequence, boundary or digest change nothing (C20)."""
    core = running(2)
    first, second = core.image.runtime.contributors
    wrong: list[dict[str, Any]] = [
        {"contributing_input_ids": ()},
        {"contributing_input_ids": (first,)},
        {"contributing_input_ids": (second, first)},
        {"contributing_input_ids": (first, second, new_id())},
        {"sequence": 1},
        {"boundary": RunBoundary.RUN_CHECKPOINT},
        {"conversation_digest": sha256(b"").hexdigest()},
    ]
    for fields in wrong:
        core.refuse(ContributorsRefused, c.ApplyBoundary(core.at, core.receipt(**fields)))
    core.refuse(ContributorsRefused, c.ApplyBoundary(core.at, core.receipt(), b"session"))
    receipt = RunBoundaryReceipt(OTHER, RunBoundary.RUN_START, (first, second))
    core.refuse(RunNotCurrent, c.ApplyBoundary(core.at, receipt))


def test_a_stored_receipt_is_done_when_equal_and_a_conflict_when_not() -> None:
    """Whatever run is current, or none (C20)."""
    core = running()
    receipt = core.boundary()
    different = core.receipt(sequence=0, contributing_input_ids=(new_id(),))
    for _ in range(2):
        before = core.image.runtime
        assert core.do(c.ApplyBoundary(core.at, receipt, stored=receipt)) == receipt
        assert core.image.runtime is before
        assert not core.last.stored
        core.refuse(ReceiptConflict, c.ApplyBoundary(core.at, different, stored=receipt))
        if core.image.runtime.current_run_id is not None:
            core.do(c.CompleteRun(core.at, core.run))


# -- completion ----------------------------------------------------------------------------------------------------


def test_a_completion_needs_a_boundary_over_every_contributor() -> None:
    """One that comes too early changes nothing and says what is missing."""
    core = running(2)
    error = core.refuse(RunIncomplete, c.CompleteRun(core.at, core.run))
    assert (error.staged, error.receipts) == (2, 0)
    core.do(c.RollbackStaged(core.at, core.image.runtime.contributors))
    error = core.refuse(RunIncomplete, c.CompleteRun(core.at, core.run))
    assert (error.staged, error.receipts) == (0, 0)
    core.boundary()
    core.accept(steering())
    core.do(c.StageMore(core.at, core.run))
    error = core.refuse(RunIncomplete, c.CompleteRun(core.at, core.run))
    assert (error.staged, error.receipts) == (1, 1)


def test_a_completion_consumes_its_contributors_and_keeps_the_result() -> None:
    """The named inputs must be exactly the contributors, in any order; their rows point to the result."""
    core = running(2)
    core.boundary()
    first, second = core.image.runtime.contributors
    for wrong in ((), (first,), (first, second, new_id()), (first, second, second)):
        core.refuse(ContributorsRefused, c.CompleteRun(core.at, core.run, consumed=wrong))
    core.refuse(RunNotCurrent, c.CompleteRun(core.at, OTHER))
    core.do(c.CompleteRun(core.at, core.run, b"result", (second, first)))
    assert core.last.results == ((ResultRef(run_id(1)), b"result"),)
    for each in (first, second):
        record = core.record(each)
        assert (record.state, record.result_source) == (InputState.CONSUMED, ResultSource.COMPLETION)
        assert ResultRef.of(record) == ResultRef(run_id(1))
    runtime = core.image.runtime
    assert (runtime.contributors, runtime.boundary_count, runtime.shared_run) == ((), 0, False)
    assert (runtime.counts.active, runtime.counts.ended, runtime.counts.results) == (0, 2, 1)


@pytest.mark.parametrize("ending", [RunEnding.COMPLETED, RunEnding.FAILED, RunEnding.CANCELLED])
def test_repeating_the_last_ending_is_answered_as_done(ending: RunEnding) -> None:
    """The same ending twice changes nothing, also while the next run goes on; another ending is an error (C26, C27)."""
    core = running()
    commands = {
        RunEnding.COMPLETED: c.CompleteRun(core.at, run_id(1)),
        RunEnding.FAILED: c.FailRun(core.at, run_id(1), "boom"),
        RunEnding.CANCELLED: c.CancelRun(core.at, run_id(1)),
    }
    core.boundary()
    core.do(commands[ending])
    core.accept(event())
    assert core.image.runtime.last_run == LastRun(run_id(1), ending)
    for _ in range(2):
        before = core.image.runtime
        assert core.do(commands[ending]) == run_id(1)
        assert core.image.runtime is before
        for other in set(commands) - {ending}:
            core.refuse(RunNotCurrent, commands[other])
        if core.image.runtime.current_run_id is None:
            core.begin()


def test_events_of_a_run_that_was_stopped_are_errors() -> None:
    """What stop ended cannot be completed, failed or cancelled afterwards (C33)."""
    core = running()
    core.do(c.Stop(core.at))
    assert core.image.runtime.last_run == LastRun(run_id(1), RunEnding.STOPPED)
    for command in (
        c.CompleteRun(core.at, run_id(1)),
        c.FailRun(core.at, run_id(1), "boom"),
        c.CancelRun(core.at, run_id(1)),
        c.ConsumeInputs(core.at, run_id(1), ()),
        c.RollbackStaged(core.at, ()),
    ):
        core.refuse(RunNotCurrent, command)


# -- leaving a run -------------------------------------------------------------------------------------------------


def test_named_contributors_leave_the_run() -> None:
    """A rollback and a consumption speak of distinct contributors in the right state, and of nothing else (C20)."""
    core = running(3)
    first, second, third = core.image.runtime.contributors
    waiting = core.accept(event())
    for wrong in ((), (first, first), (waiting,), (first, new_id())):
        core.refuse(ContributorsRefused, c.RollbackStaged(core.at, wrong))
    core.refuse(ContributorsRefused, c.ConsumeInputs(core.at, core.run, (first,)))
    assert core.do(c.RollbackStaged(core.at, (third, second))) == (third, second)
    assert list(core.image.runtime.contributors) == [first]
    assert core.lane(Lane.QUEUE) == [second, third, waiting]
    core.boundary()
    core.refuse(ContributorsRefused, c.RollbackStaged(core.at, (first,)))
    core.refuse(RunNotCurrent, c.ConsumeInputs(core.at, OTHER, (first,)))
    core.do(c.ConsumeInputs(core.at, core.run, (first,)))
    assert core.state_of(first) is InputState.CONSUMED
    assert len(core.image.runtime.contributors) == 0
    core.do(c.CompleteRun(core.at, core.run, consumed=()))
    assert core.state is RuntimeState.IDLE


def test_a_rollback_needs_a_run() -> None:
    """Without a current run nothing is staged."""
    core = Core()
    core.refuse(RunNotCurrent, c.RollbackStaged(core.at, (core.accept(event()),)))
