"""A trace as text, for failure messages and terminals: a line for each step, and below it what changed."""

from __future__ import annotations

from collections.abc import Iterator

from .trace import Trace
from .trace_itf import Plain

CRASH_LINE = "~ ~ ~ crash ~ ~ ~"


def trace_text(trace: Trace) -> str:
    """All steps; the last line says what is broken."""
    return "\n".join(_lines(trace))


def _lines(trace: Trace) -> Iterator[str]:
    yield trace.title
    width = len(str(len(trace.steps) - 1))
    for number, step in enumerate(trace.steps):
        if step.is_crash:
            yield f"  {'':>{width}}  {CRASH_LINE}"
        note = f"   ({step.note})" if step.note else ""
        yield f"  {number:>{width}}  {step.text()}{note}"
        changed = trace.changes(number)
        for pane, variables in step.panes.items():
            if number == 0:
                shown = [f"{name} = {_value(value)}" for name, value in variables.items()]
            else:
                before = trace.steps[number - 1].panes.get(pane, {})
                shown = [
                    f"{name}: {_value(before.get(name))} → {_value(value)}"
                    for name, value in variables.items()
                    if (pane, name) in changed
                ]
            if shown:
                yield f"  {'':>{width}}     {pane}: {', '.join(shown)}"
    if trace.loop is not None:
        yield f"  and on from step {trace.loop} for ever"
    if trace.broken:
        yield f"broken: {trace.broken}"


def _value(value: Plain) -> str:
    return "none" if value is None else str(value)
