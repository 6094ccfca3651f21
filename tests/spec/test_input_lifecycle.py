"""Machine 1, the life of an input, against a matrix that was written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdstate.spec.errors import TransitionRefused
from holdstate.spec.input_lifecycle import INPUT_LIFECYCLE
from holdstate.spec.vocabulary import InputEvent, InputState
from holdstate.tools.agreement import input_fields, input_params, input_sets
from holdstate.tools.matrices import INPUT_MATRIX, Cell

TABLE = INPUT_LIFECYCLE.compile()
CELLS = tuple(INPUT_MATRIX.cells())
TERMINAL = {InputState.CONSUMED, InputState.SUPERSEDED, InputState.COALESCED, InputState.ABANDONED}


@contextmanager
def refused(cell: Cell) -> Iterator[None]:
    """Inside, the event of ``cell`` is refused with an error that names the state and the event."""
    with pytest.raises(TransitionRefused) as caught:
        yield
    assert (caught.value.state, caught.value.event) == (cell.state, cell.event)


def test_the_matrix_decides_every_state_and_event() -> None:
    """9 states × 14 events are decided by hand, each for all 18 combinations of what guards can look at."""
    decided = {(cell.state, cell.event, cell.situation) for cell in CELLS}
    pairs = {(state, event) for state, event, _ in decided}
    assert pairs == {(state.value, event.value) for state in InputState for event in InputEvent}
    assert (len(pairs), len(decided), len(CELLS)) == (9 * 14, 9 * 14 * 18, 9 * 14 * 18)
    taken = {(cell.state, cell.event) for cell in CELLS if cell.target is not None}
    print(f"input lifecycle: {len(pairs)} cells, {len(taken)} taken, {len(pairs) - len(taken)} refused")
    assert len(taken) == 21


@pytest.mark.parametrize("event", InputEvent)
def test_the_table_agrees_with_the_matrix(event: InputEvent) -> None:
    """Target and assignments of every cell are those that were written by hand, and the rest is refused."""
    for cell in CELLS:
        if cell.event != event:
            continue
        before = input_fields(cell)
        given = dict(before)
        if cell.target is None:
            with refused(cell):
                TABLE.step(InputState(cell.state), event, given, input_params(cell), check=True)
        else:
            step = TABLE.step(InputState(cell.state), event, given, input_params(cell), check=True)
            assert (step.target, step.sets) == (cell.target, input_sets(cell)), cell
        assert given == before, "a step changes nothing"


def test_every_row_of_the_table_is_taken() -> None:
    """Each row is met by some cell of the matrix, rows that no command can reach included (C49)."""
    taken = {
        TABLE.step(InputState(cell.state), InputEvent(cell.event), input_fields(cell), input_params(cell)).row
        for cell in CELLS
        if cell.target is not None
    }
    assert taken == set(range(len(TABLE.rows)))


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_terminal_state_refuses_every_event(state: InputState) -> None:
    """A terminal input never changes again, and the refusal says why."""
    assert INPUT_LIFECYCLE.terminal == TERMINAL
    assert TABLE.events(state) == ()
    for event in InputEvent:
        with pytest.raises(TransitionRefused, match="terminal state"):
            TABLE.step(state, event)


def test_a_new_input_is_accepted_and_untouched() -> None:
    """An input starts in accepted, without a run, an attempt, a failure or an outcome."""
    fields = TABLE.initial_fields()
    assert INPUT_LIFECYCLE.initial is InputState.ACCEPTED
    assert (fields.pop("attempt_count"), fields.pop("failure_count")) == (0, 0)
    assert set(fields.values()) == {None}


def test_an_error_is_optional() -> None:
    """A failure, an exhaustion and an abandonment may come without an error text."""
    for event in (InputEvent.ROLLBACK_FAILED, InputEvent.EXHAUST, InputEvent.ABANDON):
        (error,) = (param for param in INPUT_LIFECYCLE.events[event] if param.name == "error")
        assert error.optional


def test_lint_finds_nothing() -> None:
    """The shipped machine has no unreachable state, no overlapping guards and no unused parts."""
    assert INPUT_LIFECYCLE.lint() == ()
