"""The life of one input as plain JSON, and in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from ..runtime.events import EventEnvelope
from ..runtime.inputs import JSON
from ..runtime.store import Reader
from ..runtime.wire import to_wire
from .input_history import FactKind, InputHistory, Moment
from .quantities import duration_text
from .store_views import input_view

COLUMNS = ("at", "after", "what happened", "transitions", "log")
CRASHED = "✗ "


def history_view(history: InputHistory, reader: Reader) -> dict[str, JSON]:
    """All of it: what ``store show`` tells of an input, with its moments."""
    runtime = history.runtime
    return {
        "runtime": runtime.runtime_id,
        **input_view(history.record, reader, runtime.runtime_id),
        "ahead": history.ahead,
        "crashes": history.crashes,
        "event_log": {"first": history.log.first, "end": history.log.end},
        "moments": [_moment(each) for each in history.moments],
    }


def _moment(moment: Moment) -> JSON:
    return {
        "at": to_wire(moment.at),
        "facts": [{"kind": str(fact.kind), "text": fact.text} for fact in moment.facts],
        "events": [str(step.reason) for step in moment.steps],
        "logged": [_logged(event) for event in moment.logged],
    }


def _logged(event: EventEnvelope) -> JSON:
    return {"offset": event.offset, "code": str(event.code), "run_id": to_wire(event.run_id)}


def history_rows(history: InputHistory) -> Iterator[tuple[str, ...]]:
    """A row of a table for each moment."""
    for moment, after in zip(history.moments, waits(history), strict=True):
        facts = [f"{CRASHED if fact.kind is FactKind.CRASH else ''}{fact.text}" for fact in moment.facts]
        log = ", ".join(f"#{event.offset}" for event in moment.logged)
        yield clock(moment.at), after, "\n".join(facts), way(moment), log


def waits(history: InputHistory) -> list[str]:
    """How long after the moment before each moment is, as far as it can be told."""
    pairs = pairwise([None, *(moment.at for moment in history.moments)])
    return [
        "" if before is None or at is None else f"+{duration_text((at - before).total_seconds())}"
        for before, at in pairs
    ]


def clock(at: datetime | None) -> str:
    """A time to the millisecond, or that there is none."""
    return "…" if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"


def way(moment: Moment) -> str:
    """The states that it went through."""
    if not moment.steps:
        return ""
    return " → ".join([str(moment.steps[0].from_state), *(str(step.to_state) for step in moment.steps)])
