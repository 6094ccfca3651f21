"""What ``holdstate spec check`` says: the counts, and the trace to what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .explorer import Report, TraceStep, Violation, memory_mib

_START: Final = "start"


def as_document(name: str, bounds: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The report as plain JSON."""
    violation = report.violation
    return {
        "model": name,
        "verdict": report.verdict.value,
        "bounds": dict(bounds),
        "states": report.states,
        "transitions": report.transitions,
        "depth": report.depth,
        "waiting": report.waiting,
        "seconds": round(report.seconds, 3),
        "states_per_second": _rate(report.states, report.seconds),
        "transitions_per_second": _rate(report.transitions, report.seconds),
        "limit": report.limit,
        "violation": None if violation is None else _violation(violation),
    }


def _violation(violation: Violation) -> dict[str, Any]:
    steps = [{"action": step.action or _START, "state": step.state} for step in violation.trace]
    return {"problems": list(violation.problems), "trace": steps}


def told(name: str, report: Report) -> Iterator[str]:
    """The report in lines, for people."""
    rate = _rate(report.transitions, report.seconds)
    yield f"{name}: {report.verdict}"
    yield (
        f"{report.states} states, {report.transitions} transitions, depth {report.depth}; "
        f"{report.seconds:.1f} s, {rate} transitions/s, {memory_mib():.0f} MiB"
    )
    if report.limit is not None:
        yield f"undecided: stopped at {report.limit}; {report.waiting} states were found and not looked into"
    if report.violation is not None:
        yield from trace_lines(report.violation)


def progress_line(report: Report) -> str:
    """How far an exploration is."""
    return (
        f"{report.states} states, {report.waiting} waiting, depth {report.depth}, "
        f"{_rate(report.states, report.seconds)} states/s, {memory_mib():.0f} MiB"
    )


def trace_lines(violation: Violation) -> Iterator[str]:
    """The trace, each step with what it changes."""
    yield from violation.problems
    yield ""
    before: dict[str, str] = {}
    for number, step in enumerate(violation.trace):
        yield f"{number:3}. {step.action or _START}"
        now = _flat(step)
        for place in dict.fromkeys((*before, *now)):
            if before.get(place) != now.get(place):
                was, is_now = before.get(place), now.get(place)
                arrow = f"{was} -> " if was is not None else ""
                yield f"       {place}: {arrow}{'gone' if is_now is None else is_now}"
        before = now


def _flat(step: TraceStep) -> dict[str, str]:
    return dict(_leaves("", step.state))


def _leaves(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value with its place; an input is called by its number."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{place}.{name}" if place else name, inner)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for position, inner in enumerate(value, 1):
            name = inner.get("number", position) if isinstance(inner, dict) else position
            yield from _leaves(f"{place}[{name}]", inner)
    elif value is not None:
        yield place, str(value)


def _rate(count: int, seconds: float) -> int:
    return round(count / seconds) if seconds else 0
