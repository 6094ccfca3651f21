"""What the explorer found, as a trace: the store and the drivers of the whole side by side, another model as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .explorer import TraceStep, Violation
from .trace import Panes, Step, Trace, plain

START: Final = "start"
STORE_PANE: Final = "store"
_CRASH: Final = re.compile(r"\bcrash\b")
_BY_NUMBER: Final = "inputs"


def explorer_trace(name: str, violation: Violation) -> Trace:
    """The way to ``violation`` of the model ``name``."""
    steps = tuple(_step(each) for each in violation.trace)
    return Trace(f"{name}: what the explorer found", "holdstate spec check", steps, "\n".join(violation.problems))


def _step(step: TraceStep) -> Step:
    return Step(step.action or START, panes_of(step.state), is_crash=_CRASH.search(step.action) is not None)


def panes_of(state: Mapping[str, Any]) -> Panes:
    """A state of a model as its panes: the store and each driver of the whole, another one as it is."""
    if set(state) != {STORE_PANE, "drivers"}:
        return {"state": {name: plain(value) for name, value in state.items()}}
    panes: dict[str, dict[str, Any]] = {STORE_PANE: _variables(state[STORE_PANE])}
    older = 0
    for driver in state["drivers"]:
        is_older = driver.get("stale", False)
        older += is_older
        name = "driver" if not is_older else "older driver" if older == 1 else f"older driver {older}"
        panes[name] = _variables(driver)
    return panes


def _variables(part: Mapping[str, Any] | None) -> dict[str, Any]:
    """Inputs by their number, so that those of the store and of a driver are side by side."""
    found = {} if part is None else {name: _by_number(name, value) for name, value in part.items()}
    return {name: plain(value) for name, value in found.items()}


def _by_number(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _by_number(inner, each) for inner, each in value.items()}
    if name == _BY_NUMBER and all(isinstance(each, dict) for each in value):
        return {
            str(each["number"]): {inner: part for inner, part in each.items() if inner != "number"} for each in value
        }
    return value
