"""The core: every command on its own, what it refuses, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.runtime import commands as c
from holdstate.runtime.errors import RunInProgress
from holdstate.runtime.outcomes import Cancelled, DetachReport, Ended, EndReport, InFlight, RetireReport, Unknown
from holdstate.runtime.records import LastRun
from holdstate.runtime.stepper import RUNTIMES
from holdstate.spec.errors import HoldstateError, TransitionRefused
from holdstate.spec.vocabulary import AbandonReason, EventCode, InputState, OutcomeKind, RunEnding, RuntimeState

from .cores import (
    EPHEMERAL,
    Core,
    event,
    new_id,
    operation,
    progress,
    prompt,
    request,
    run_id,
    snapshot,
    steering,
)

QUEUED, STAGED = InputState.QUEUED, InputState.STAGED


def codes(core: Core) -> list[EventCode]:
    """What the last command announces."""
    return [announcement.code for announcement in core.last.announcements]


# -- attach, detach --------------------------------------------------------------------------------------------------


def test_being_attached_is_volatile() -> None:
    """Attach and detach change memory only; each is announced."""
    core = Core()
    revision = core.image.runtime.revision
    core.do(c.Attach(core.at))
    assert (core.state, core.last.stored, codes(core)) == (
        RuntimeState.ATTACHED,
        False,
        [EventCode.RUNTIME_STATE_CHANGED],
    )
    core.refuse(TransitionRefused, c.Attach(core.at))
    assert core.do(c.Detach(core.at)) == DetachReport(was_attached=True)
    assert core.do(c.Detach(core.at)) == DetachReport(was_attached=False)
    assert core.image.runtime.revision == revision


def test_being_retired_takes_the_attachment_too() -> None:
    """Detach in retired finds nothing attached, also while the run goes on that began attached."""
    core = Core()
    core.accept(event())
    core.do(c.Attach(core.at))
    core.begin()
    core.do(c.Retire(core.at))
    assert core.do(c.Detach(core.at)) == DetachReport(was_attached=False)
    core.do(c.CancelRun(core.at, core.run))
    assert core.do(c.Detach(core.at)) == DetachReport(was_attached=False)


# -- cancel, abandon ---------------------------------------------------------------------------------------------------


def test_cancel_says_what_became_of_the_input() -> None:
    """Cancelled, in flight with its run, ended with its outcome, or unknown; only the first changes anything."""
    core = Core()
    first, second = core.accept(event()), core.accept(event())
    assert core.do(c.CancelInput(core.at, second)) == Cancelled(second)
    outcome = core.record(second).terminal_outcome
    assert outcome is not None
    assert (outcome.kind, outcome.reason) == (OutcomeKind.ABANDONED, AbandonReason.CANCELLED)
    core.begin()
    for pending in (False, True):
        if pending:
            core.boundary()
        before = core.image.runtime
        assert core.do(c.CancelInput(core.at, first)) == InFlight(first, core.run)
        assert core.do(c.CancelInput(core.at, second, core.record(second))) == Ended(second, outcome)
        stranger = new_id()
        assert core.do(c.CancelInput(core.at, stranger)) == Unknown(stranger)
        assert (core.image.runtime, core.last.stored, core.last.changes) == (before, False, ())


def test_abandoning_what_is_pending_leaves_the_current_run_alone() -> None:
    """Everything else is given up with the given reason and error."""
    core = Core()
    core.accept(event())
    core.begin()
    rest = [core.accept(event()), core.accept(steering()), core.accept(event(durability=EPHEMERAL))]
    assert core.do(c.AbandonPending(core.at, AbandonReason.RETIRED, "moved")) == EndReport(inputs_abandoned=3)
    assert {(core.record(each).abandon_reason, core.record(each).error) for each in rest} == {
        (AbandonReason.RETIRED, "moved")
    }
    assert [record.state for record in core.image.active()] == [STAGED]
    assert core.do(c.AbandonPending(core.at, AbandonReason.RETIRED)) == EndReport(inputs_abandoned=0)
    assert not core.last.stored


# -- retire, reset, stop, destroy --------------------------------------------------------------------------------------


def test_retire_keeps_the_work_and_is_done_twice() -> None:
    """The report counts what may still be worked off; repeating it changes nothing (C27)."""
    core = Core()
    core.accept(event())
    report = RetireReport(inputs_abandoned=0, inputs_pending_drain=1)
    assert core.do(c.Retire(core.at)) == report
    assert core.last.stored
    before = core.image.runtime
    assert core.do(c.Retire(core.at)) == report
    assert (core.image.runtime, core.last.stored) == (before, False)


def test_reset_is_refused_while_a_run_is_current() -> None:
    """In running and in retired; nothing is changed anywhere (C28, C33)."""
    core = Core()
    core.accept(event())
    core.begin()
    assert core.refuse(RunInProgress, c.Reset(core.at)).run_id == core.run
    core.do(c.Retire(core.at))
    core.refuse(RunInProgress, c.Reset(core.at))
    core.do(c.CancelRun(core.at, core.run))
    assert core.do(c.Reset(core.at)) == EndReport(inputs_abandoned=1)
    assert core.state is RuntimeState.IDLE
    core.accept(event())
    assert core.begin() != ()


@pytest.mark.parametrize(
    ("make", "state", "ending"),
    [
        (c.Stop, RuntimeState.STOPPED, RunEnding.STOPPED),
        (c.Destroy, RuntimeState.DESTROYED, RunEnding.DESTROYED),
    ],
)
def test_an_end_settles_every_input(make: type[c.Command], state: RuntimeState, ending: RunEnding) -> None:
    """What a boundary lists is consumed, the rest is abandoned, the run is over; repeating it is done (C25, C27)."""
    core = Core()
    listed = core.accept(event())
    core.begin()
    core.boundary()
    staged = core.accept(steering())
    core.do(c.StageMore(core.at, core.run))
    waiting = core.accept(event())
    assert core.do(make(core.at)) == EndReport(inputs_abandoned=2, inputs_consumed=1)
    assert core.state_of(listed) is InputState.CONSUMED
    assert {core.record(each).abandon_reason for each in (staged, waiting)} == {AbandonReason(state.value)}
    assert core.image.runtime.last_run == LastRun(run_id(1), ending)
    assert (core.state, core.image.inputs) == (state, {})
    before = core.image.runtime
    assert core.do(make(core.at)) == EndReport(inputs_abandoned=0)
    assert (core.image.runtime, core.last.stored) == (before, False)


def test_an_end_without_a_run_leaves_the_last_run_as_it_was() -> None:
    """Only a run that is current ends with the runtime."""
    core = Core()
    core.do(c.Stop(core.at))
    assert core.image.runtime.last_run is None
    core.do(c.Destroy(core.at))
    core.refuse(TransitionRefused, c.Stop(core.at))


def test_resume_is_done_everywhere_but_in_recovering() -> None:
    """There is nothing to leave."""
    core = Core()
    before = core.image.runtime
    assert core.do(c.Resume(core.at)) is None
    assert (core.image.runtime, core.last.stored) == (before, False)


# -- what is announced -------------------------------------------------------------------------------------------------


def test_a_command_announces_what_its_rows_say() -> None:
    """In the order in which it happens, with the run, the state and the outcome."""
    core = Core()
    first = core.accept(event())
    assert codes(core) == [EventCode.INPUT_ACCEPTED]
    core.begin()
    assert codes(core) == [EventCode.RUN_STARTED, EventCode.RUNTIME_STATE_CHANGED, EventCode.INPUT_STAGED]
    core.boundary()
    assert codes(core) == [EventCode.INPUT_APPLIED, EventCode.RUN_BOUNDARY_APPLIED]
    core.do(c.CompleteRun(core.at, core.run))
    assert codes(core) == [EventCode.RUN_COMPLETED, EventCode.RUNTIME_STATE_CHANGED, EventCode.INPUT_CONSUMED]
    started, _, consumed = core.last.announcements
    assert (started.run_id, started.state, started.at) == (run_id(1), RuntimeState.IDLE, core.at)
    assert (consumed.input_id, consumed.run_id) == (first, run_id(1))
    assert consumed.outcome == core.record(first).terminal_outcome
    core.accept(operation())
    assert codes(core) == [EventCode.INPUT_ACCEPTED, EventCode.INPUT_CONSUMED]


def test_a_command_that_is_refused_by_the_machine_says_so() -> None:
    """The error names machine, state and event."""
    core = Core()
    core.do(c.Stop(core.at))
    error = core.refuse(TransitionRefused, c.Attach(core.at))
    assert (error.machine, error.state, error.event) == (RUNTIMES.machine.name, "stopped", "attach")


# -- any sequence of commands ------------------------------------------------------------------------------------------

_inputs: list[Callable[[], Any]] = [
    event,
    prompt,
    steering,
    operation,
    request,
    lambda: progress(supersession_key="topic"),
    lambda: progress(supersession_key="topic", durability=EPHEMERAL),
    lambda: event(durability=EPHEMERAL),
]
_simple = [c.Attach, c.Detach, c.Retire, c.Reset, c.Stop, c.Destroy, c.Recycle, c.Recover, c.Resume]


def _command(core: Core, kind: int, choice: int) -> c.Command:
    """One of the commands, on what is there; many are refused."""
    runtime = core.image.runtime
    run = runtime.current_run_id or run_id(1000 + choice)
    active = [record.input_id for record in core.image.active()] or [new_id()]
    some = active[choice % len(active)]
    made: list[Callable[[], c.Command]] = [
        lambda: core.accept_command(_inputs[choice % len(_inputs)]()),
        lambda: core.accept_command(_inputs[choice % len(_inputs)]()),
        lambda: c.BeginRun(core.at, run_id(2000 + core.runs)),
        lambda: c.StageMore(core.at, run),
        lambda: c.ApplyBoundary(core.at, core.receipt()) if runtime.current_run_id else c.Detach(core.at),
        lambda: c.CompleteRun(core.at, run, b"result"),
        lambda: c.FailRun(core.at, run, "boom", recoverable=choice % 2 == 0),
        lambda: c.CancelRun(core.at, run),
        lambda: c.RollbackStaged(core.at, (some,)),
        lambda: c.ConsumeInputs(core.at, run, (some,)),
        lambda: c.CancelInput(core.at, some),
        lambda: c.AbandonPending(core.at, AbandonReason.CANCELLED),
        lambda: c.Open(core.at, core.stored_receipts()),
        lambda: _simple[choice % len(_simple)](core.at),
    ]
    return made[kind % len(made)]()


@given(st.lists(st.tuples(st.integers(0, 13), st.integers(0, 71)), max_size=30))
def test_a_step_changes_nothing_and_its_delta_can_be_taken_back(steps: list[tuple[int, int]]) -> None:
    """No step touches the image, refused or not; the inverse of each delta restores it exactly, and so do all inverses
    in turn from the end back to the start (C4, C27).
    """
    core = Core()
    first = snapshot(core.image)
    inverses = []
    for kind, choice in steps:
        command = _command(core, kind, choice)
        core.runs += 1
        before = snapshot(core.image)
        try:
            core.do(command)
        except HoldstateError:
            assert snapshot(core.image) == before
            continue
        inverses.append(core.inverse)
    for inverse in reversed(inverses):
        core.image.apply(inverse)
    assert snapshot(core.image) == first
