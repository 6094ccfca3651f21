"""Machine 2, the state of a runtime, against a matrix that was written by hand."""

from __future__ import annotations

import pytest

from holdstate.spec.errors import TransitionRefused
from holdstate.spec.runtime_state import RUNTIME_STATE
from holdstate.spec.vocabulary import RuntimeEvent, RuntimeState

from .matrices import OTHER_RUN, RUN, RUNTIME_MATRIX, Cell

TABLE = RUNTIME_STATE.compile()
CELLS = tuple(RUNTIME_MATRIX.cells())
CLEARED = {"current_run_id": None, "pre_run_state": None}


def fields_of(cell: Cell) -> dict[str, object]:
    """The fields of a runtime in this situation."""
    pre = cell.facts["pre"]
    return {
        "current_run_id": {"this": RUN, "other": OTHER_RUN, "none": None}[cell.facts["current"]],
        "pre_run_state": None if pre == "none" else RuntimeState(pre),
    }


def params_of(cell: Cell) -> dict[str, object]:
    """What the event of this cell brings along."""
    if cell.event in ("begin_run", "run_completed", "run_failed", "run_cancelled"):
        return {"run_id": RUN}
    return {"handed_out": cell.facts["held"] == "yes"} if cell.event == "recover" else {}


def fields_after(cell: Cell) -> dict[str, object]:
    """Both fields after the event of this cell."""
    before = fields_of(cell)
    began_retired = cell.facts["pre"] == "retired"
    back = {"running": "retired" if began_retired else "idle", "retired": "retired"}.get(cell.state, "idle")
    changes: dict[str, dict[str, object]] = {
        "begin_run": {"current_run_id": RUN, "pre_run_state": RuntimeState(cell.state)},
        "recover": {"pre_run_state": RuntimeState(back)},
        "reset": {"pre_run_state": None},
        "attach": {"pre_run_state": RuntimeState.ATTACHED} if cell.state == "running" else {},
        "detach": {"pre_run_state": RuntimeState.IDLE} if cell.state == "running" else {},
    }
    clearing = ("run_completed", "run_failed", "run_cancelled", "stop", "destroy", "recovered", "recycled", "resume")
    return {**before, **changes.get(cell.event, CLEARED if cell.event in clearing else {})}


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
        before = fields_of(cell)
        given = dict(before)
        if cell.target is None:
            with pytest.raises(TransitionRefused) as caught:
                TABLE.step(RuntimeState(cell.state), event, given, params_of(cell), check=True)
            assert (caught.value.state, caught.value.event) == (cell.state, cell.event)
        else:
            step = TABLE.step(RuntimeState(cell.state), event, given, params_of(cell), check=True)
            assert (step.target, {**before, **step.sets}) == (cell.target, fields_after(cell)), cell
        assert given == before, "a step changes nothing"


def test_every_row_of_the_table_is_taken() -> None:
    """Each row is met by some cell of the matrix, rows that no command can reach included (C49)."""
    taken = {
        TABLE.step(RuntimeState(cell.state), RuntimeEvent(cell.event), fields_of(cell), params_of(cell)).row
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
    assert TABLE.initial_fields() == CLEARED


def test_lint_finds_nothing() -> None:
    """The shipped machine has no unreachable state, no overlapping guards and no unused parts."""
    assert RUNTIME_STATE.lint() == ()
