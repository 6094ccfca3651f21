"""Rows of the event log: what one event says, without the runtime, which the key names."""

from __future__ import annotations

from typing import Final, NamedTuple, final
from uuid import UUID

from msgspec import Struct as Row

from ..runtime.events import Announcement, EventEnvelope, offset_of
from ..runtime.ids import EventId, InputId, RunId
from ..runtime.records import TerminalOutcome
from . import codec_numbers as numbers
from .codec_parts import Count, Time, decoding, encode, named, named_or_none, numbered_or_none

_CODE_OF: Final = named(numbers.EVENT_CODES)
_STATE_OF: Final = named_or_none(numbers.ANNOUNCED_STATES)
_OUTCOME_OF: Final = named(numbers.OUTCOME_KINDS)
_REASON_OF: Final = named_or_none(numbers.ABANDON_REASONS)
_STATES: Final = numbered_or_none(numbers.ANNOUNCED_STATES)
_REASONS: Final = numbered_or_none(numbers.ABANDON_REASONS)

_OutcomeRow = tuple[int, UUID | None, int, str | None]


class _EventRow(Row, array_like=True, forbid_unknown_fields=True, gc=False):
    event_id: UUID
    offset: Count
    code: int
    at: Time
    input_id: UUID | None
    run_id: UUID | None
    state: int
    outcome: _OutcomeRow | None


@final
class LoggedEvent(NamedTuple):
    """An event as its row has it."""

    event_id: EventId
    offset: int
    announcement: Announcement

    def envelope(self, runtime_id: str) -> EventEnvelope:
        """The event as an event of that runtime."""
        return EventEnvelope(self.event_id, None, runtime_id, *self.announcement, self.offset)


def encode_event(event: EventEnvelope) -> bytes:
    """An event that has an offset."""
    outcome = event.outcome
    return encode(
        (
            event.event_id,
            offset_of(event),
            numbers.EVENT_CODES[event.code],
            event.at,
            event.input_id,
            event.run_id,
            _STATES[event.state],
            None if outcome is None else _pack_outcome(outcome),
        )
    )


def _pack_outcome(outcome: TerminalOutcome) -> _OutcomeRow:
    return numbers.OUTCOME_KINDS[outcome.kind], outcome.successor_id, _REASONS[outcome.reason], outcome.error


def _unpack_outcome(row: _OutcomeRow) -> TerminalOutcome:
    kind, successor, reason, error = row
    return TerminalOutcome(
        _OUTCOME_OF[kind], None if successor is None else InputId(successor), _REASON_OF[reason], error
    )


def _build_event(row: _EventRow) -> LoggedEvent:
    announcement = Announcement(
        _CODE_OF[row.code],
        row.at,
        None if row.input_id is None else InputId(row.input_id),
        None if row.run_id is None else RunId(row.run_id),
        _STATE_OF[row.state],
        None if row.outcome is None else _unpack_outcome(row.outcome),
    )
    return LoggedEvent(EventId(row.event_id), row.offset, announcement)


decode_event: Final = decoding(_EventRow, _build_event)
