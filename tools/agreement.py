"""Whether a machine does what the matrices written by hand say: target, fields and refusals of every cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, final

from attrs import frozen

from ..spec.errors import SpecError, TransitionRefused
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.vocabulary import AbandonReason, OutcomeKind, RuntimeState
from .matrices import INPUT_MATRIX, OTHER_RUN, RUN, RUNTIME_MATRIX, SUCCESSOR, Cell, Matrix

_FAILURES, _ATTEMPTS, _SEQUENCE = 1, 4, 7
_CAPS = {"below": _FAILURES + 2, "at": _FAILURES + 1, "above": _FAILURES}


def input_fields(cell: Cell) -> dict[str, object]:
    """The fields of an input in this situation."""
    last_run = {"same": RUN, "other": OTHER_RUN, "none": None}[cell.facts["last_run"]]
    return {
        **INPUT_LIFECYCLE.compile().initial_fields(),
        "last_run_id": last_run,
        "last_boundary_sequence": _SEQUENCE - 1,
        "attempt_count": _ATTEMPTS,
        "failure_count": _FAILURES,
    }


def input_params(cell: Cell) -> dict[str, object]:
    """What the event of this cell brings along."""
    cap, lists = _CAPS[cell.facts["cap"]], cell.facts["receipt"] == "lists"
    params: dict[str, dict[str, object]] = {
        "stage": {"run_id": RUN},
        "apply": {"run_id": RUN},
        "rollback_failed": {"max_attempts": cap, "error": "boom"},
        "exhaust": {"max_attempts": cap, "error": "boom"},
        "mark_pending": {"sequence": _SEQUENCE},
        "supersede": {"by": SUCCESSOR},
        "coalesce": {"into": SUCCESSOR},
        "abandon": {"reason": AbandonReason.CANCELLED, "error": "because"},
        "recover_queue": {"receipt_lists": lists},
        "recover_consume": {"receipt_lists": lists},
    }
    return params.get(cell.event, {})


def input_sets(cell: Cell) -> dict[str, object]:
    """Which fields the event of this cell changes, and to what."""
    if cell.event == "recover_queue":
        failed = {} if cell.state == "accepted" else {"failure_count": _FAILURES + 1}
        return {"last_boundary_sequence": None, **failed}
    consumed = {"terminal_outcome": OutcomeKind.CONSUMED}
    abandoned: dict[str, object] = {"terminal_outcome": OutcomeKind.ABANDONED}
    exhausted = {"abandon_reason": AbandonReason.ATTEMPTS_EXHAUSTED, "error": "boom"}
    changes: dict[str, dict[str, object]] = {
        "consume_on_accept": {**consumed},
        "stage": {"last_run_id": RUN, "attempt_count": _ATTEMPTS + 1},
        "rollback_failed": {"failure_count": _FAILURES + 1, "error": "boom"},
        "exhaust": {"failure_count": _FAILURES + 1, **abandoned, **exhausted},
        "mark_pending": {"last_boundary_sequence": _SEQUENCE},
        "consume": {**consumed},
        "supersede": {"terminal_outcome": OutcomeKind.SUPERSEDED, "successor_id": SUCCESSOR},
        "coalesce": {"terminal_outcome": OutcomeKind.COALESCED, "successor_id": SUCCESSOR},
        "abandon": {**abandoned, "abandon_reason": AbandonReason.CANCELLED, "error": "because"},
        "recover_consume": {**consumed},
    }
    return changes.get(cell.event, {})


_CLEARED = {"current_run_id": None, "pre_run_state": None}


def runtime_fields(cell: Cell) -> dict[str, object]:
    """The fields of a runtime in this situation."""
    pre = cell.facts["pre"]
    return {
        "current_run_id": {"this": RUN, "other": OTHER_RUN, "none": None}[cell.facts["current"]],
        "pre_run_state": None if pre == "none" else RuntimeState(pre),
    }


def runtime_params(cell: Cell) -> dict[str, object]:
    """What the event of this cell brings along."""
    if cell.event in ("begin_run", "run_completed", "run_failed", "run_cancelled"):
        return {"run_id": RUN}
    return {"handed_out": cell.facts["held"] == "yes"} if cell.event == "recover" else {}


def runtime_fields_after(cell: Cell) -> dict[str, object]:
    """Both fields after the event of this cell."""
    before = runtime_fields(cell)
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
    return {**before, **changes.get(cell.event, _CLEARED if cell.event in clearing else {})}


def _input_after(cell: Cell) -> dict[str, object]:
    return {**input_fields(cell), **input_sets(cell)}


@final
@frozen
class _Agreement:
    """What a machine is held against: the matrix, and fields and parameters of each of its cells."""

    matrix: Matrix
    before: Callable[[Cell], dict[str, object]]
    params: Callable[[Cell], dict[str, object]]
    after: Callable[[Cell], dict[str, object]]


_AGREEMENTS: Final = {
    "input_lifecycle": _Agreement(INPUT_MATRIX, input_fields, input_params, _input_after),
    "runtime_state": _Agreement(RUNTIME_MATRIX, runtime_fields, runtime_params, runtime_fields_after),
}


_Facts = dict[str, object]


@cache
def _cases(name: str) -> tuple[tuple[Cell, _Facts, _Facts, _Facts | None], ...]:
    """Every cell with the fields before it, the parameters, and the fields after it (None: refused)."""
    agreement = _AGREEMENTS[name]
    return tuple(
        (
            cell,
            agreement.before(cell),
            agreement.params(cell),
            None if cell.target is None else agreement.after(cell),
        )
        for cell in agreement.matrix.cells()
    )


def disagreements(machine: Machine[Any, Any]) -> Iterator[str]:
    """Every cell in which one of the two shipped machines, or a changed one, differs from its matrix."""
    table = machine.compile()
    events = {str(event): event for event in machine.events}
    for cell, before, params, after in _cases(machine.name):
        target: str | None = None
        found: _Facts | SpecError | TypeError | None = None
        try:
            step = table.step(machine.states(cell.state), events[cell.event], before, params)
        except TransitionRefused:
            found = None
        except (SpecError, TypeError) as error:
            found = error
        else:
            target, found = str(step.target), {**before, **step.sets}
        if (target, found) != (cell.target, after):
            yield f"{cell.event} in {cell.state}: {target}, not {cell.target}"
