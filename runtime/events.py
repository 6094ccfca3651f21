"""What a runtime announces after a commit, and the bounded buffer that holds it until somebody asks.

With ``RuntimeSettings(event_log=True)`` a command's events are written with its commit, each under an offset: an event
is in the log exactly if its commit landed. What a command announces that commits nothing (attach, detach, and whatever
concerns ephemeral inputs alone) is in no log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple, final
from uuid import UUID

from attrs import evolve, frozen

from ..spec.vocabulary import EventCode, RuntimeState
from .ids import EventId, InputId, RunId
from .records import TerminalOutcome


@final
class Announcement(NamedTuple):
    """An event before its commit: what the core says happened."""

    code: EventCode
    at: datetime
    input_id: InputId | None = None
    run_id: RunId | None = None
    state: RuntimeState | None = None
    outcome: TerminalOutcome | None = None


@final
@frozen
class EventEnvelope:
    """One event of one runtime.

    ``sequence`` is dense per driver: a gap shows what a full buffer dropped (C45); None where the event was read from
    the log. ``offset`` is its place in the log of the runtime, dense from 0; None where the event is in no log.
    """

    event_id: EventId
    sequence: int | None
    runtime_id: str
    code: EventCode
    at: datetime
    input_id: InputId | None = None
    run_id: RunId | None = None
    state: RuntimeState | None = None
    outcome: TerminalOutcome | None = None
    offset: int | None = None


def logged(
    announcements: Iterable[Announcement], first: int, runtime_id: str, new_id: Callable[[], UUID]
) -> list[EventEnvelope]:
    """``announcements`` as the log keeps them, from the offset ``first`` on."""
    return [
        EventEnvelope(EventId(new_id()), None, runtime_id, *announcement, offset)
        for offset, announcement in enumerate(announcements, first)
    ]


def offset_of(event: EventEnvelope) -> int:
    """The place of an event that is in the log."""
    assert event.offset is not None, event
    return event.offset


def delivered(
    event: Announcement | EventEnvelope, sequence: int, runtime_id: str, new_id: Callable[[], UUID]
) -> EventEnvelope:
    """``event`` as it is handed out; one that is in no log gets its id only here."""
    if isinstance(event, EventEnvelope):
        return evolve(event, sequence=sequence)
    return EventEnvelope(EventId(new_id()), sequence, runtime_id, *event)


@final
class EventBuffer:
    """The undelivered events of one runtime, oldest dropped when ``limit`` is reached."""

    def __init__(self, limit: int) -> None:
        self._pending: deque[tuple[int, Announcement | EventEnvelope]] = deque(maxlen=limit)
        self._next = 0

    def extend(self, events: Iterable[Announcement | EventEnvelope]) -> None:
        for event in events:
            self._pending.append((self._next, event))
            self._next += 1

    def drain(self) -> list[tuple[int, Announcement | EventEnvelope]]:
        """Everything undelivered, oldest first, each with its sequence number."""
        drained = list(self._pending)
        self._pending.clear()
        return drained
