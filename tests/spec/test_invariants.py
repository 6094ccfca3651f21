"""Each named invariant holds of a sound image, and reports a planted violation that no other reports."""

from __future__ import annotations

import pytest
from attrs import evolve

from holdstate.runtime.store import Pruned
from holdstate.spec.invariants import INVARIANTS, check_image
from holdstate.spec.relations import RELATIONS
from holdstate.spec.step_properties import STEP_PROPERTIES
from holdstate.spec.views import View
from holdstate.spec.vocabulary import AbandonReason, InputState, OutcomeKind, RuntimeState

from .images import (
    CONSUMED,
    EXHAUSTED,
    FAILED_ONCE,
    FIRST_RECEIPT,
    IDLE,
    LAST,
    MEMORY,
    RUNNING,
    RUNNING_RECORD,
    SECOND_RECEIPT,
    STAGED,
    SUPERSEDED,
    TAKEN_IN,
    an_input,
    input_id,
    restamped,
    run_id,
    with_input,
    with_receipts,
    with_runtime,
    with_stored,
)

_COUNTS = RUNNING_RECORD.counts
_ABANDONED = an_input(
    9, InputState.ABANDONED, outcome_kind=OutcomeKind.ABANDONED, abandon_reason=AbandonReason.CANCELLED
)
_UNENDED = evolve(SUPERSEDED, state=InputState.QUEUED, outcome_kind=None, successor_id=None)

PLANTED: list[tuple[str, str, View]] = [
    ("terminal_runtime_has_no_active_inputs", "stopped", with_runtime(IDLE, state=RuntimeState.STOPPED)),
    ("terminal_runtime_has_no_active_inputs", "destroyed", with_runtime(IDLE, state=RuntimeState.DESTROYED)),
    ("running_has_a_current_run", "no run", with_runtime(IDLE, state=RuntimeState.RUNNING)),
    ("running_has_a_current_run", "a run in idle", with_runtime(RUNNING, state=RuntimeState.IDLE)),
    ("in_flight_belongs_to_current_run", "unlisted", with_runtime(RUNNING, contributors=(input_id(5),))),
    (
        "in_flight_belongs_to_current_run",
        "another run",
        with_input(RUNNING, evolve(STAGED, last_run_id=run_id(1))),
    ),
    (
        "in_flight_belongs_to_current_run",
        "twice",
        with_runtime(RUNNING, contributors=(input_id(5), input_id(4), input_id(4))),
    ),
    (
        "in_flight_belongs_to_current_run",
        "queued",
        with_runtime(RUNNING, contributors=(input_id(5), input_id(4), input_id(3))),
    ),
    (
        "in_flight_belongs_to_current_run",
        "ended",
        with_runtime(RUNNING, contributors=(input_id(5), input_id(4), input_id(1))),
    ),
    ("in_flight_belongs_to_current_run", "without a run", with_runtime(IDLE, contributors=(input_id(99),))),
    ("queue_order_is_total", "same order key", with_input(RUNNING, restamped(LAST, order=3))),
    (
        "accepted_is_untouched",
        "knows a run",
        with_input(RUNNING, evolve(LAST, state=InputState.ACCEPTED, last_run_id=run_id(1))),
    ),
    ("boundary_needs_application", "queued", with_input(RUNNING, evolve(LAST, last_boundary_sequence=0))),
    ("outcome_matches_state", "ended among active", with_input(RUNNING, _ABANDONED)),
    ("outcome_matches_state", "active among ended", with_input(RUNNING, _UNENDED)),
    (
        "outcome_matches_state",
        "another kind",
        with_input(RUNNING, evolve(SUPERSEDED, outcome_kind=OutcomeKind.COALESCED)),
    ),
    ("outcome_matches_state", "too early", with_input(RUNNING, evolve(LAST, outcome_kind=OutcomeKind.CONSUMED))),
    ("outcome_matches_state", "no reason", with_input(RUNNING, evolve(EXHAUSTED, abandon_reason=None))),
    ("outcome_matches_state", "no successor", with_input(RUNNING, evolve(SUPERSEDED, successor_id=None))),
    ("attempts_are_bounded", "at the cap", with_input(RUNNING, evolve(FAILED_ONCE, failure_count=5))),
    ("attempts_are_bounded", "past the cap", with_input(RUNNING, evolve(CONSUMED, failure_count=6, failure_cap=5))),
    ("attempts_are_bounded", "no cap", with_input(RUNNING, evolve(FAILED_ONCE, failure_cap=None))),
    ("attempts_are_bounded", "given up early", with_input(RUNNING, evolve(EXHAUSTED, failure_count=4))),
    ("one_input_per_key", "two inputs", with_input(RUNNING, restamped(LAST, idempotency_key="k3"))),
    ("counts_equal_rows", "active", with_runtime(RUNNING, counts=evolve(_COUNTS, active=6))),
    ("counts_equal_rows", "ended", with_runtime(RUNNING, counts=evolve(_COUNTS, ended=4))),
    ("counts_equal_rows", "events", with_stored(RUNNING, events=(1, 2))),
    ("log_has_no_gap", "a gap", with_stored(RUNNING, events=(1, 3, 4))),
    ("log_has_no_gap", "pruned are back", with_stored(RUNNING, events=(0, 2, 3))),
    ("log_has_no_gap", "twice", with_stored(RUNNING, events=(1, 2, 2))),
    (
        "counts_equal_rows",
        "pruned",
        with_stored(RUNNING, pruned=Pruned(inputs=2, keys=1, receipts=3, results=5, events=1)),
    ),
    ("counts_equal_rows", "next order", with_runtime(RUNNING, next_order=9)),
    ("counts_equal_rows", "next order, priority class", with_input(IDLE, restamped(LAST, order=10 - 2**62))),
    (
        "consumed_has_a_receipt",
        "listed nowhere",
        with_receipts(RUNNING, evolve(FIRST_RECEIPT, contributing_input_ids=()), SECOND_RECEIPT),
    ),
    ("consumed_exactly", "another boundary", with_input(RUNNING, evolve(CONSUMED, last_boundary_sequence=1))),
    ("consumed_exactly", "on accept by a run", with_input(RUNNING, evolve(TAKEN_IN, attempt_count=1))),
    (
        "receipt_is_accounted_for",
        "queued again",
        with_receipts(
            RUNNING, evolve(FIRST_RECEIPT, contributing_input_ids=(input_id(1), input_id(3))), SECOND_RECEIPT
        ),
    ),
    (
        "one_boundary_per_input",
        "listed twice",
        with_receipts(
            RUNNING, evolve(FIRST_RECEIPT, contributing_input_ids=(input_id(1), input_id(5))), SECOND_RECEIPT
        ),
    ),
    (
        "one_boundary_per_input",
        "a gap",
        with_input(
            with_receipts(RUNNING, evolve(FIRST_RECEIPT, sequence=1), SECOND_RECEIPT),
            evolve(CONSUMED, last_boundary_sequence=1),
        ),
    ),
    ("one_boundary_per_input", "boundary count", with_runtime(RUNNING, boundary_count=2)),
    ("successor_exists", "unknown", with_input(RUNNING, evolve(SUPERSEDED, successor_id=input_id(77)))),
    ("stored_state_is_resumable", "attached", with_runtime(IDLE, state=RuntimeState.ATTACHED)),
    ("stored_state_is_resumable", "nowhere to return to", with_runtime(RUNNING, pre_run_state=None)),
    ("stored_state_is_resumable", "to attached", with_runtime(RUNNING, pre_run_state=RuntimeState.ATTACHED)),
    (
        "index_equals_rows",
        "another key",
        with_stored(RUNNING, keys={"k1": input_id(1), "other": input_id(3)}),
    ),
    ("index_equals_rows", "another input", with_stored(RUNNING, keys={"k1": input_id(1), "k3": input_id(9)})),
]


@pytest.mark.parametrize("image", [RUNNING, IDLE], ids=["running", "idle"])
def test_a_sound_store_at_rest_breaks_no_invariant(image: View) -> None:
    """Everything that is stored in the middle of a run is allowed, ephemeral contributors and pruned rows included."""
    assert check_image(image, at_rest=True) == ()


def test_sound_memory_breaks_no_invariant() -> None:
    """Memory may be attached and hold ephemeral inputs; what ended is not there, and is not missed."""
    assert check_image(MEMORY, at_rest=False) == ()


@pytest.mark.parametrize(
    "image",
    [
        with_runtime(RUNNING, state=RuntimeState.RETIRED),
        with_runtime(RUNNING, state=RuntimeState.RETIRED, pre_run_state=RuntimeState.RETIRED),
        with_input(RUNNING, evolve(EXHAUSTED, failure_cap=2)),
        with_input(RUNNING, evolve(CONSUMED, failure_count=5, failure_cap=5)),
        with_receipts(
            RUNNING,
            evolve(FIRST_RECEIPT, contributing_input_ids=(input_id(1), input_id(99))),
            SECOND_RECEIPT,
        ),
    ],
    ids=["retired meanwhile", "began in retired", "lowered cap", "consumed at the cap", "ephemeral listed twice"],
)
def test_what_is_unusual_and_sound_is_not_reported(image: View) -> None:
    """A run goes on after retire; a lowered cap counts at the next failure; nothing is said of unstored inputs."""
    assert check_image(image, at_rest=True) == ()


@pytest.mark.parametrize(("name", "how", "image"), PLANTED, ids=[f"{name}-{how}" for name, how, _ in PLANTED])
def test_a_planted_violation_is_reported_by_its_invariant_alone(name: str, how: str, image: View) -> None:
    """No invariant is shadowed by another, so each of them is needed."""
    assert {problem.partition(":")[0] for problem in check_image(image, at_rest=True)} == {name}


def test_every_invariant_has_a_planted_violation() -> None:
    """A check that nothing can break checks nothing."""
    assert {name for name, _, _ in PLANTED} == set(INVARIANTS)


def test_memory_has_to_hold_its_contributors() -> None:
    """A contributor that is missing is an ephemeral one in a store, and a lost one in memory."""
    lost = with_runtime(MEMORY, contributors=(*MEMORY.runtime.contributors, input_id(99)))
    assert check_image(lost, at_rest=False) == (
        f"in_flight_belongs_to_current_run: contributor {input_id(99)} is missing",
    )


@pytest.mark.parametrize("name", ["consumed_has_a_receipt", "one_boundary_per_input", "index_equals_rows"])
def test_an_invariant_at_rest_cannot_be_asked_of_memory(name: str) -> None:
    """It does not pass silently where it cannot see what it speaks of."""
    with pytest.raises(AssertionError, match="needs all that is stored"):
        list(INVARIANTS[name].check(MEMORY))


def test_a_rest_image_may_be_checked_for_the_live_part_alone() -> None:
    """``at_rest=False`` leaves the others out."""
    image = with_runtime(IDLE, state=RuntimeState.ATTACHED)
    assert check_image(image, at_rest=False) == ()


def test_the_names_are_those_of_the_semantics() -> None:
    """Every named invariant is there, once: over one image, over a step, or over several images."""
    named = [*INVARIANTS, *STEP_PROPERTIES, *RELATIONS]
    assert len(named) == len(set(named))
    assert set(named) == {
        "terminal_runtime_has_no_active_inputs",
        "running_has_a_current_run",
        "in_flight_belongs_to_current_run",
        "queue_order_is_total",
        "accepted_is_untouched",
        "boundary_needs_application",
        "terminal_inputs_are_frozen",
        "consumed_has_a_receipt",
        "receipt_is_accounted_for",
        "one_boundary_per_input",
        "outcome_matches_state",
        "consumed_exactly",
        "acked_is_durable",
        "one_input_per_key",
        "successor_exists",
        "memory_equals_store",
        "stored_state_is_resumable",
        "attempts_are_bounded",
        "index_equals_rows",
        "counts_equal_rows",
        "log_has_no_gap",
        "order_is_kept",
        "attempts_never_fall",
        "batch_is_a_prefix",
        "epoch_never_falls",
        "retired_is_sticky",
        "run_end_returns_where_it_began",
        "command_ends_in_its_state",
        "handed_out_run_is_current",
        "nothing_before_its_commit",
    }
