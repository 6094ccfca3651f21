"""A counterexample of TLC as a trace: the whole with its store and drivers side by side, any other module as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from .tlc import Counterexample, read_counterexample
from .trace import Panes, Step, Trace, TraceError, plain

State: TypeAlias = Mapping[str, Any]

_COUNTED: Final = ("acked", "runs", "crashes", "faults", "misfit")
_WHOLE: Final = frozenset({"store", "memory", *_COUNTED})
"""The variables of ``whole.tla``."""

_IS_TLC: Final = re.compile(r"^(?:TLC2 Version |(?:State )?1: <Initial predicate>)", re.MULTILINE)
_NAMED: Final = re.compile(r"(?:Invariant|[Pp]roperty) (\w+) is violated")
_NOTHING: Final[tuple[object, ...]] = (None, {}, [])
_RECORDS: Final = {"rt": "runtime", "in": "inputs"}


def is_tlc_output(text: str) -> bool:
    """It is something that TLC printed."""
    return _IS_TLC.search(text) is not None


def trace_of_output(text: str) -> Trace:
    """The counterexample in what TLC printed. Raises TraceError where there is none, or one that cannot be read."""
    try:
        found = read_counterexample(text)
    except ValueError as error:
        raise TraceError("TLC", f"a state cannot be read: {error}") from error
    if not found.steps:
        raise TraceError("TLC", "it found no counterexample")
    return tlc_trace("", found)


def tlc_trace(title: str, found: Counterexample) -> Trace:
    """What TLC found, under ``title``. There is at least one step in ``found``."""
    steps, before = [], None
    for action, state in found.steps:
        steps.append(_whole_step(action, before, state) if set(state) == _WHOLE else Step(action, _state(state)))
        before = state
    name = _NAMED.search(found.problem)
    broken = f"{name[1]}: TLC says: {found.problem}" if name else found.problem
    return Trace(title, "TLC", tuple(steps), broken, found.loop)


def _state(state: State) -> Panes:
    return {"state": {name: plain(_thawed(value)) for name, value in state.items()}}


# -- the whole ---------------------------------------------------------------------------------------------------------


def _whole_step(action: str, before: State | None, now: State) -> Step:
    panes: dict[str, dict[str, Any]] = {"store": _part(now["store"])}
    for driver, memory in now["memory"].items():
        if memory is not None:
            panes["driver" if len(now["memory"]) == 1 else f"driver {driver}"] = _part(memory)
    panes["model"] = {name: plain(_thawed(now[name])) for name in _COUNTED}
    is_crash, note = (False, "") if before is None else _fate(action, before, now)
    return Step(action, panes, {}, note, is_crash)


def _fate(action: str, before: State, now: State) -> tuple[bool, str]:
    """Whether a process died in the step, and what else became of its commit."""
    landed = before["store"] != now["store"]
    for driver, memory in before["memory"].items():
        after = now["memory"][driver]
        if memory is not None and after is None:
            is_fenced = memory["epoch"] < before["store"]["epoch"] and action != "Crash"
            return not is_fenced, "fenced off" if is_fenced else "its commit landed" if landed else ""
        if memory is not None and (_is_unknown(after) and not _is_unknown(memory)):
            return False, f"nobody knows whether its commit landed; {'it did' if landed else 'it did not'}"
    claimed = now["store"]["epoch"] > before["store"]["epoch"]
    return (True, "its commit landed") if claimed and now["memory"] == before["memory"] else (False, "")


def _is_unknown(memory: State) -> bool:
    return memory["doubt"] is not None or memory["behind"]


def _part(part: State) -> dict[str, Any]:
    """A store or an image as a pane: what is there, inputs by number, receipts in order."""
    found = {}
    for name, value in part.items():
        rows: Any = dict(enumerate(value, 1)) if name == "in" and isinstance(value, tuple) else value
        shown = _part(rows) if name == "doubt" and rows is not None else _present(rows)
        if shown not in _NOTHING:
            found[_RECORDS.get(name, name)] = shown
    return found


def _present(value: Any) -> Any:
    """``value`` without what is not there."""
    value = _thawed(value)
    if isinstance(value, Mapping):
        inner = {str(name): _present(each) for name, each in value.items()}
        return {name: each for name, each in inner.items() if each not in _NOTHING}
    return plain(value)


def _thawed(value: Any) -> Any:
    """``value`` with records in place of the sorted pairs that they are inside a set."""
    if isinstance(value, Mapping):
        return {name: _thawed(each) for name, each in value.items()}
    if isinstance(value, frozenset):
        return [_thawed(_record(each)) for each in sorted(value, key=repr)]
    return tuple(_thawed(each) for each in value) if isinstance(value, tuple) else value


def _record(value: Any) -> Any:
    return dict(value) if isinstance(value, tuple) and value and _are_pairs(value) else value


def _are_pairs(value: Iterable[Any]) -> bool:
    return all(isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str) for each in value)  # noqa: PLR2004
