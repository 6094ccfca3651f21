"""The named invariants over more than one image."""

from __future__ import annotations

import pytest
from attrs import evolve

from holdstate.spec import relations
from holdstate.spec.relations import (
    RELATIONS,
    Occurrence,
    Sort,
    acked_is_durable,
    handed_out_run_is_current,
    memory_equals_store,
    nothing_before_its_commit,
)
from holdstate.spec.views import View
from holdstate.spec.vocabulary import RuntimeState

from .images import IDLE, LAST, MEMORY, QUEUED, RUNNING, input_id, run_id, with_input, with_runtime


def test_every_relation_is_a_function_of_that_name() -> None:
    """The names are those of the semantics; the functions are found by them."""
    assert all(callable(getattr(relations, name)) for name in RELATIONS)


def test_what_was_acknowledged_is_stored() -> None:
    """Active and ended inputs count; one that is nowhere does not."""
    assert list(acked_is_durable(RUNNING, [input_id(1), input_id(3)])) == []
    assert list(acked_is_durable(RUNNING, [input_id(3), input_id(77)])) == [
        f"input {input_id(77)} was acknowledged and is not stored"
    ]


def test_memory_differs_from_the_store_by_the_volatile_part_alone() -> None:
    """Attached, ephemeral inputs and their order keys live in memory; the contributors are the same."""
    assert list(memory_equals_store(MEMORY, RUNNING)) == []
    assert list(memory_equals_store(with_runtime(IDLE, state=RuntimeState.ATTACHED), IDLE, saw_ephemeral=False)) == []


@pytest.mark.parametrize(
    ("memory", "names"),
    [
        (with_runtime(MEMORY, state=RuntimeState.RETIRED), ["state"]),
        (with_runtime(MEMORY, pre_run_state=RuntimeState.RETIRED), ["pre_run_state"]),
        (with_runtime(MEMORY, has_snapshot=True), ["has_snapshot"]),
        (with_runtime(MEMORY, contributors=(input_id(4),)), ["contributors"]),
        (with_runtime(MEMORY, revision=21), ["revision"]),
        (with_runtime(MEMORY, next_order=10), ["next_order"]),
        (with_input(MEMORY, evolve(QUEUED, error="other")), [f"input {input_id(3)}"]),
        (View(MEMORY.runtime, MEMORY.active[1:]), [f"input {input_id(3)}"]),
        (View(MEMORY.runtime, (*MEMORY.active, evolve(LAST, admission=evolve(LAST.admission, input_id=input_id(8))))),
         [f"input {input_id(8)}"]),
    ],
)  # fmt: skip
def test_every_other_difference_is_reported(memory: View, names: list[str]) -> None:
    """Each field of the record and each input is compared."""
    problems = list(memory_equals_store(memory, RUNNING))
    assert [problem.partition(" is ")[0] for problem in problems] == names


def test_order_keys_are_ahead_only_because_of_ephemeral_inputs() -> None:
    """Where there never were any, the counters agree."""
    ahead = with_runtime(IDLE, next_order=12)
    assert list(memory_equals_store(ahead, IDLE)) == []
    assert list(memory_equals_store(ahead, IDLE, saw_ephemeral=False)) == ["next_order is +2 from what is stored"]


def test_a_run_that_is_handed_out_is_the_current_one() -> None:
    """Nothing is asked while none is handed out."""
    assert list(handed_out_run_is_current(None, RUNNING)) == []
    assert list(handed_out_run_is_current(run_id(2), RUNNING)) == []
    assert list(handed_out_run_is_current(run_id(2), IDLE)) == [f"run {run_id(2)} is handed out, current is None"]


def test_nothing_is_published_before_its_commit() -> None:
    """A later commit covers what came before it; an earlier one does not cover what comes after it (C18)."""
    first = Occurrence(Sort.COMMITTED, 3)
    assert list(nothing_before_its_commit([first, Occurrence(Sort.PUBLISHED, 2), Occurrence(Sort.PUBLISHED, 3)])) == []
    early = [Occurrence(Sort.PUBLISHED, 4, "wake"), Occurrence(Sort.PUBLISHED, 5), Occurrence(Sort.COMMITTED, 5)]
    assert list(nothing_before_its_commit([first, *early])) == [
        "wake of revision 4 was published, committed is 3",
        "something of revision 5 was published, committed is 3",
    ]
