"""Machine 2, the state of a runtime, against a matrix that was written by hand."""

from __future__ import annotations

import pytest

from holdstate.spec.errors import TransitionRefused
from holdstate.spec.runtime_state import RUNTIME_STATE
from holdstate.spec.vocabulary import RuntimeEvent, RuntimeState
from holdstate.tools.agreement import runtime_fields, runtime_fields_after, runtime_params
from holdstate.tools.matrices import RUNTIME_MATRIX

TABLE = RUNTIME_STATE.compile()
CELLS = tuple(RUNTIME_MATRIX.cells())


def test_the_matrix_decides_every_state_and_event() -> None:
    """8 states × 16 events are decided by hand, each for all 24 combinations of what guards can look at."""
    decided = {(cell.state, cell.event, cell.situation) for cell in CELLS}
    pairs = {(state, event) for state, event, _ in decided}
    assert pairs == {(state.value, event.value) for state in RuntimeState for event in RuntimeEvent}
    assert (len(pairs), len(decided), len(CELLS)) == (8 * 16, 8 * 16 * 24, 8 * 16 * 24)
    taken = {(cell.state, cell.event) for cell in CELLS if cell.target is not None}
    print(f"runtime state: {len(pairs)} cells, {len(taken)} taken, {len(pairs) - len(taken)} refused")
    assert len(taken) == 45


@pytest.mark.parametrize("event", RuntimeEvent)
def test_the_table_agrees_with_the_matrix(event: RuntimeEvent) -> None:
    """Target and fields of every cell are those that were written by hand, and the rest is refused."""
    for cell in CELLS:
        if cell.event != event:
            continue
        before = runtime_fields(cell)
        given = dict(before)
        if cell.target is None:
            with pytest.raises(TransitionRefused) as caught:
                TABLE.step(RuntimeState(cell.state), event, given, runtime_params(cell), check=True)
            assert (caught.value.state, caught.value.event) == (cell.state, cell.event)
        else:
            step = TABLE.step(RuntimeState(cell.state), event, given, runtime_params(cell), check=True)
            assert (step.target, {**before, **step.sets}) == (cell.target, runtime_fields_after(cell)), cell
        assert given == before, "a step changes nothing"


def test_every_row_of_the_table_is_taken() -> None:
    """Each row is met by some cell of the matrix, rows that no command can reach included (C49)."""
    taken = {
        TABLE.step(RuntimeState(cell.state), RuntimeEvent(cell.event), runtime_fields(cell), runtime_params(cell)).row
        for cell in CELLS
        if cell.target is not None
    }
    assert taken == set(range(len(TABLE.rows)))


def test_destroyed_refuses_every_event_and_stopped_allows_destroy_only() -> None:
    """Terminal means terminal, except that a stopped runtime can still be destroyed."""
    assert RUNTIME_STATE.terminal == {RuntimeState.STOPPED, RuntimeState.DESTROYED}
    assert TABLE.events(RuntimeState.DESTROYED) == ()
    assert TABLE.events(RuntimeState.STOPPED) == (RuntimeEvent.DESTROY,)
    for state in RUNTIME_STATE.terminal:
        for event in set(RuntimeEvent) - set(TABLE.events(state)):
            with pytest.raises(TransitionRefused, match="terminal state"):
                TABLE.step(state, event)


def test_a_new_runtime_is_initializing_without_a_run() -> None:
    """A runtime is created in initializing; no run is current and none is to be returned from."""
    assert RUNTIME_STATE.initial is RuntimeState.INITIALIZING
    assert TABLE.initial_fields() == {"current_run_id": None, "pre_run_state": None}


def test_lint_finds_nothing() -> None:
    """The shipped machine has no unreachable state, no overlapping guards and no unused parts."""
    assert RUNTIME_STATE.lint() == ()
