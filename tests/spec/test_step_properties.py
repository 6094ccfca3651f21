"""Each property of a step holds of sound steps, and reports a planted violation that no other reports."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime.ids import RunId
from holdstate.runtime.records import InputRecord
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.step_properties import STEP_PROPERTIES, check_step
from holdstate.spec.views import View
from holdstate.spec.vocabulary import (
    CommandName,
    Durability,
    InputKind,
    InputState,
    RunBoundary,
    RuntimeState,
)

from .images import (
    CONSUMED,
    FAILED_ONCE,
    IDLE,
    LAST,
    MEMORY,
    PENDING,
    QUEUED,
    RUNNING,
    STAGED,
    STEER,
    an_input,
    input_id,
    restamped,
    run_id,
    with_input,
    with_runtime,
    with_stored,
)

C, S = CommandName, RuntimeState


def queue(*records: InputRecord, **runtime: Any) -> View:
    """An idle runtime in memory with those inputs."""
    return with_runtime(View(IDLE.runtime, records), **runtime)


def staging(before: View, *numbers: int) -> View:
    """What ``before`` becomes when those inputs are staged into a run, in that order."""
    run = before.runtime.current_run_id or run_id(7)
    chosen = {input_id(number) for number in numbers}
    active = tuple(
        evolve(each, state=InputState.STAGED, last_run_id=RunId(run), attempt_count=each.attempt_count + 1)
        if isinstance(each, InputRecord) and each.input_id in chosen
        else each
        for each in before.active
    )
    return with_runtime(
        View(before.runtime, active),
        state=S.RUNNING,
        current_run_id=run,
        pre_run_state=before.runtime.pre_run_state or before.runtime.state,
        contributors=(*before.runtime.contributors, *(input_id(number) for number in numbers)),
    )


def steer(number: int, **stamp: Any) -> InputRecord:
    return an_input(number, stamp={**STEER, **stamp})


def prompt(number: int) -> InputRecord:
    return an_input(number, stamp={"kind": InputKind.PROMPT, "is_prompt": True})


def progress(number: int, durability: Durability = Durability.DURABLE) -> InputRecord:
    """An input that replaces those of its scope."""
    kind = InputKind.PEER_RESPONSE_PROGRESS
    decision = DEFAULT_POLICY.resolve_by_kind(kind, idle=True)
    return steer(number, kind=kind, supersession_key="s", decision=decision, durability=durability)


def failed(record: InputRecord) -> InputRecord:
    return evolve(record, failure_count=1, failure_cap=5)


EMPTY = queue()
TWO = queue(an_input(3), LAST)
STEERED = queue(an_input(3), steer(4), steer(5))
IN_RUN = with_runtime(
    View(RUNNING.runtime, (evolve(STAGED, attempt_count=1), steer(6), steer(7), LAST)), contributors=(input_id(4),)
)
ENDED_RUN: dict[str, Any] = {"current_run_id": None, "pre_run_state": None, "contributors": (), "boundary_count": 0}
SETTLED = with_runtime(View(RUNNING.runtime, (QUEUED, LAST)), state=S.IDLE, **ENDED_RUN)
RETIRED = queue(LAST, state=S.RETIRED)
RETIRED_IN_RUN = with_runtime(IN_RUN, state=S.RETIRED, pre_run_state=S.ATTACHED)
EPHEMERAL, DURABLE = Durability.EPHEMERAL, Durability.DURABLE

SOUND: list[tuple[str, View, CommandName, View]] = [
    ("accept", TWO, C.ACCEPT, queue(an_input(3), LAST, an_input(10))),
    ("replace", queue(progress(3)), C.ACCEPT, queue(progress(5))),
    ("replace with an ephemeral one", queue(progress(3)), C.ACCEPT, queue(progress(3), progress(5, EPHEMERAL))),
    ("replace nothing", TWO, C.ACCEPT, queue(an_input(3), LAST, restamped(an_input(10), supersession_key="s"))),
    ("open", IN_RUN, C.OPEN, with_runtime(SETTLED, epoch=4)),
    ("open, terminal", queue(state=S.STOPPED), C.OPEN, queue(state=S.STOPPED, epoch=2)),
    ("attach", TWO, C.ATTACH, with_runtime(TWO, state=S.ATTACHED)),
    ("attach during a run", IN_RUN, C.ATTACH, with_runtime(IN_RUN, pre_run_state=S.ATTACHED)),
    ("attach, as stored", IDLE, C.ATTACH, IDLE),
    ("detach in retired", RETIRED, C.DETACH, RETIRED),
    ("detach, retired while attached", RETIRED_IN_RUN, C.DETACH, RETIRED_IN_RUN),
    ("detach", with_runtime(TWO, state=S.ATTACHED), C.DETACH, TWO),
    ("begin", TWO, C.BEGIN_RUN, staging(TWO, 3)),
    ("begin, longest", TWO, C.BEGIN_RUN, staging(TWO, 3, 9)),
    ("begin, steer lane first", STEERED, C.BEGIN_RUN, staging(STEERED, 4, 5)),
    ("begin in retired", RETIRED, C.BEGIN_RUN, staging(RETIRED, 9)),
    ("stage more", IN_RUN, C.STAGE_MORE, staging(IN_RUN, 6)),
    ("stage nothing more", IN_RUN, C.STAGE_MORE, IN_RUN),
    (
        "boundary",
        IN_RUN,
        C.BOUNDARY_APPLIED,
        with_runtime(with_input(IN_RUN, evolve(PENDING, admission=STAGED.admission)), boundary_count=2),
    ),
    ("boundary, again", IN_RUN, C.BOUNDARY_APPLIED, IN_RUN),
    ("complete", IN_RUN, C.RUN_COMPLETED, with_runtime(View(SETTLED.runtime, (steer(6), steer(7), LAST)))),
    ("fail, again", IN_RUN, C.RUN_FAILED, IN_RUN),
    ("cancel the run", MEMORY, C.RUN_CANCELLED, with_runtime(SETTLED, state=S.ATTACHED)),
    (
        "cancel the run, retired meanwhile",
        with_runtime(IN_RUN, state=S.RETIRED),
        C.RUN_CANCELLED,
        with_runtime(SETTLED, state=S.RETIRED),
    ),
    ("roll back", IN_RUN, C.ROLLBACK_STAGED, with_runtime(IN_RUN, contributors=())),
    ("consume", IN_RUN, C.CONSUME_INPUTS, IN_RUN),
    ("cancel", TWO, C.CANCEL, queue(LAST)),
    ("abandon", IN_RUN, C.ABANDON_PENDING, View(IN_RUN.runtime, (STAGED,))),
    ("retire", TWO, C.RETIRE, with_runtime(TWO, state=S.RETIRED)),
    ("reset", TWO, C.RESET, EMPTY),
    ("reset in retired", RETIRED, C.RESET, EMPTY),
    ("stop", IN_RUN, C.STOP, queue(state=S.STOPPED, epoch=3, revision=21)),
    ("destroy", queue(state=S.STOPPED), C.DESTROY, queue(state=S.DESTROYED)),
    ("recycle", RETIRED, C.RECYCLE, queue(LAST)),
    ("recover", IN_RUN, C.RECOVER, SETTLED),
    ("resume", TWO, C.RESUME, TWO),
]

PLANTED: list[tuple[str, str, View, CommandName, View]] = [
    (
        "terminal_inputs_are_frozen",
        "changed",
        RUNNING,
        C.RETIRE,
        with_runtime(with_input(RUNNING, evolve(CONSUMED, error="late")), state=S.RETIRED),
    ),
    ("terminal_inputs_are_frozen", "gone", RUNNING, C.CANCEL, with_stored(RUNNING, ended=())),
    ("order_is_kept", "swapped", TWO, C.CANCEL, with_input(TWO, restamped(LAST, order=1))),
    ("attempts_never_fall", "attempts", IN_RUN, C.CANCEL, with_input(IN_RUN, evolve(STAGED, attempt_count=0))),
    (
        "attempts_never_fall",
        "failures",
        queue(FAILED_ONCE),
        C.CANCEL,
        queue(evolve(FAILED_ONCE, failure_count=0)),
    ),
    (
        "attempts_never_fall",
        "recoveries",
        queue(evolve(LAST, recovery_count=2)),
        C.CANCEL,
        queue(evolve(LAST, recovery_count=1)),
    ),
    ("batch_is_a_prefix", "not the front", TWO, C.BEGIN_RUN, staging(TWO, 9)),
    ("batch_is_a_prefix", "nothing", TWO, C.BEGIN_RUN, staging(TWO)),
    ("batch_is_a_prefix", "two lanes", STEERED, C.BEGIN_RUN, staging(STEERED, 4, 5, 3)),
    ("batch_is_a_prefix", "queue lane first", STEERED, C.BEGIN_RUN, staging(STEERED, 3)),
    ("batch_is_a_prefix", "out of order", TWO, C.BEGIN_RUN, staging(TWO, 9, 3)),
    (
        "batch_is_a_prefix",
        "two boundaries",
        queue(steer(4), steer(5, boundary=RunBoundary.RUN_START)),
        C.BEGIN_RUN,
        staging(queue(steer(4), steer(5, boundary=RunBoundary.RUN_START)), 4, 5),
    ),
    (
        "batch_is_a_prefix",
        "a prompt with others",
        queue(prompt(3), LAST),
        C.BEGIN_RUN,
        staging(queue(prompt(3), LAST), 3, 9),
    ),
    (
        "batch_is_a_prefix",
        "a failed one with others",
        queue(an_input(3), failed(LAST)),
        C.BEGIN_RUN,
        staging(queue(an_input(3), failed(LAST)), 3, 9),
    ),
    (
        "batch_is_a_prefix",
        "joins from the queue lane",
        with_runtime(View(IN_RUN.runtime, (STAGED, LAST))),
        C.STAGE_MORE,
        staging(with_runtime(View(IN_RUN.runtime, (STAGED, LAST))), 9),
    ),
    (
        "batch_is_a_prefix",
        "joins after a failure",
        View(IN_RUN.runtime, (STAGED, failed(steer(6)))),
        C.STAGE_MORE,
        staging(View(IN_RUN.runtime, (STAGED, failed(steer(6)))), 6),
    ),
    (
        "batch_is_a_prefix",
        "staged by another command",
        IN_RUN,
        C.CONSUME_INPUTS,
        staging(IN_RUN, 6),
    ),
    ("epoch_never_falls", "fell", TWO, C.CANCEL, with_runtime(TWO, epoch=0)),
    ("epoch_never_falls", "rose without an open", TWO, C.CANCEL, with_runtime(TWO, epoch=2)),
    ("epoch_never_falls", "stayed at an open", TWO, C.OPEN, TWO),
    ("epoch_never_falls", "revision fell", TWO, C.CANCEL, with_runtime(TWO, revision=1)),
    ("retired_is_sticky", "resumed", RETIRED, C.RESUME, queue(LAST)),
    ("retired_is_sticky", "recovered", RETIRED, C.RECOVER, queue(LAST)),
    (
        "run_end_returns_where_it_began",
        "attached",
        IN_RUN,
        C.RUN_COMPLETED,
        with_runtime(SETTLED, state=S.ATTACHED),
    ),
    ("command_ends_in_its_state", "another state", TWO, C.ACCEPT, with_runtime(TWO, state=S.RETIRED)),
    ("command_ends_in_its_state", "not its state", TWO, C.RETIRE, TWO),
    ("command_ends_in_its_state", "not attached", TWO, C.ATTACH, TWO),
    ("command_ends_in_its_state", "still attached", MEMORY, C.DETACH, MEMORY),
    ("command_ends_in_its_state", "no run", TWO, C.STAGE_MORE, TWO),
    ("command_ends_in_its_state", "a run", IN_RUN, C.RESET, with_runtime(IN_RUN, state=S.IDLE)),
    ("command_ends_in_its_state", "work left by reset", TWO, C.RESET, TWO),
    ("command_ends_in_its_state", "back from the end", queue(state=S.STOPPED), C.RECOVER, EMPTY),
    ("command_ends_in_its_state", "ended by recover", EMPTY, C.RECOVER, queue(state=S.DESTROYED)),
    (
        "command_ends_in_its_state",
        "unsettled",
        TWO,
        C.RECOVER,
        queue(evolve(an_input(3), state=InputState.ACCEPTED), evolve(PENDING)),
    ),
    ("command_ends_in_its_state", "work outside the run", IN_RUN, C.ABANDON_PENDING, IN_RUN),
    (
        "command_ends_in_its_state",
        "staged after a boundary",
        IN_RUN,
        C.BOUNDARY_APPLIED,
        with_runtime(IN_RUN, boundary_count=2),
    ),
    ("command_ends_in_its_state", "two of a scope", queue(progress(3)), C.ACCEPT, queue(progress(3), progress(5))),
    (
        "command_ends_in_its_state",
        "two ephemeral of a scope",
        queue(progress(3, EPHEMERAL)),
        C.ACCEPT,
        queue(progress(3, EPHEMERAL), progress(5, EPHEMERAL)),
    ),
]


@pytest.mark.parametrize(("before", "command", "after"), [row[1:] for row in SOUND], ids=[row[0] for row in SOUND])
def test_a_sound_step_breaks_no_property(before: View, command: CommandName, after: View) -> None:
    """Every command has at least one step that is as it should be."""
    assert check_step(before, command, after) == ()


def test_every_command_has_a_sound_step() -> None:
    """No command is left out."""
    assert {command for _, _, command, _ in SOUND} == set(CommandName)


@pytest.mark.parametrize(
    ("name", "before", "command", "after"),
    [(row[0], *row[2:]) for row in PLANTED],
    ids=[f"{row[0]}-{row[1]}" for row in PLANTED],
)
def test_a_planted_violation_is_reported_by_its_property_alone(
    name: str, before: View, command: CommandName, after: View
) -> None:
    """No property is shadowed by another, so each of them is needed."""
    assert {problem.partition(":")[0] for problem in check_step(before, command, after)} == {name}


def test_every_property_has_a_planted_violation() -> None:
    """A check that nothing can break checks nothing."""
    assert {row[0] for row in PLANTED} == set(STEP_PROPERTIES)


def test_a_waiting_steer_lane_does_not_hold_up_the_queue_lane() -> None:
    """The queue lane may go first while the head of the steer lane waits for its next try."""
    waiting = queue(an_input(3), evolve(steer(4), not_before=LAST.admission.admitted_at))
    assert check_step(waiting, C.BEGIN_RUN, staging(waiting, 3)) == ()
