"""What a runtime announces after a commit, and the bounded buffer that holds it until somebody asks."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import NamedTuple, final

from attrs import frozen

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
    """One event of one runtime. ``sequence`` is dense per driver: a gap shows what a full buffer dropped (C45)."""

    event_id: EventId
    sequence: int
    runtime_id: str
    code: EventCode
    at: datetime
    input_id: InputId | None = None
    run_id: RunId | None = None
    state: RuntimeState | None = None
    outcome: TerminalOutcome | None = None


@final
class EventBuffer:
    """The undelivered announcements of one runtime, oldest dropped when ``limit`` is reached."""

    def __init__(self, limit: int) -> None:
        self._pending: deque[tuple[int, Announcement]] = deque(maxlen=limit)
        self._next = 0

    def extend(self, announcements: list[Announcement]) -> None:
        for announcement in announcements:
            self._pending.append((self._next, announcement))
            self._next += 1

    def drain(self) -> list[tuple[int, Announcement]]:
        """Everything undelivered, oldest first, each with its sequence number."""
        drained = list(self._pending)
        self._pending.clear()
        return drained
