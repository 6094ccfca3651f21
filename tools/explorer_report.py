"""What ``holdstate spec check`` says: the counts. The way to what is wrong is in ``explorer_trace``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .explorer import Report, Violation, memory_mib
from .explorer_trace import START


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
        "core_seconds": round(report.core_seconds, 3),
        "states_per_core_second": _rate(report.states, report.core_seconds),
        "transitions_per_core_second": _rate(report.transitions, report.core_seconds),
        "limit": report.limit,
        "violation": None if violation is None else _violation(violation),
    }


def _violation(violation: Violation) -> dict[str, Any]:
    steps = [{"action": step.action or START, "state": step.state} for step in violation.trace]
    return {"problems": list(violation.problems), "trace": steps}


def told(name: str, report: Report) -> Iterator[str]:
    """The report in lines, for people."""
    rate = _rate(report.transitions, report.core_seconds)
    yield f"{name}: {report.verdict}"
    yield (
        f"{report.states} states, {report.transitions} transitions, depth {report.depth}; "
        f"{report.seconds:.1f} s, {rate} transitions/s of one core, {memory_mib():.0f} MiB"
    )
    if report.limit is not None:
        yield f"undecided: stopped at {report.limit}; {report.waiting} states were found and not looked into"


def progress_line(report: Report) -> str:
    """How far an exploration is."""
    return (
        f"{report.states} states, {report.waiting} waiting, depth {report.depth}, "
        f"{_rate(report.states, report.seconds)} states/s, {memory_mib():.0f} MiB"
    )


def _rate(count: int, seconds: float) -> int:
    return round(count / seconds) if seconds else 0
