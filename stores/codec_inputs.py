"""State rows of inputs: what was decided when an input was admitted, and what machine 1 says of it since."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta
from msgspec import Struct as Row

from ..runtime.ids import InputId, RunId
from ..runtime.records import HistoryEntry, InputRecord, build_admission, build_input_record
from ..spec.policy import PolicyDecision
from . import codec_numbers as numbers
from .codec_parts import Count, Time, decoding, encode, named, named_or_none, numbered_or_none

_STATE_OF: Final = named(numbers.INPUT_STATES)
_EVENT_OF: Final = named(numbers.INPUT_EVENTS)
_KIND_OF: Final = named(numbers.INPUT_KINDS)
_DURABILITY_OF: Final = named(numbers.DURABILITIES)
_LANE_OF: Final = named(numbers.LANES)
_BOUNDARY_OF: Final = named(numbers.RUN_BOUNDARIES)
_OUTCOME_OF: Final = named_or_none(numbers.OUTCOME_KINDS)
_REASON_OF: Final = named_or_none(numbers.ABANDON_REASONS)
_SOURCE_OF: Final = named_or_none(numbers.RESULT_SOURCES)
_OUTCOMES: Final = numbered_or_none(numbers.OUTCOME_KINDS)
_REASONS: Final = numbered_or_none(numbers.ABANDON_REASONS)
_SOURCES: Final = numbered_or_none(numbers.RESULT_SOURCES)

_STATES: Final = numbers.INPUT_STATES
_EVENTS: Final = numbers.INPUT_EVENTS
_KINDS: Final = numbers.INPUT_KINDS
_DURABILITIES: Final = numbers.DURABILITIES
_LANES: Final = numbers.LANES
_BOUNDARIES: Final = numbers.RUN_BOUNDARIES

_DECISION_NUMBERS: Final[tuple[Mapping[Any, int], ...]] = (
    numbers.APPLY_MODES,
    numbers.WAKE_MODES,
    numbers.QUEUE_MODES,
    numbers.CONSUME_POINTS,
    numbers.INTERRUPT_POLICIES,
    numbers.DRAIN_POLICIES,
    numbers.ROUTES,
)
_DECISION_OF: Final = tuple(named(table) for table in _DECISION_NUMBERS)

_DecisionRow = tuple[int, int, int, int, int, int, int, bool, bool, int]
_HistoryRow = tuple[Time, int, int, int]

# -- policy decisions: few and shared by many inputs ---------------------------------------------------------------

_KEPT_DECISIONS: Final = 1024
_packed_decisions: dict[int, tuple[PolicyDecision, _DecisionRow]] = {}


def _pack_decision(decision: PolicyDecision) -> _DecisionRow:
    # By identity: hashing ten fields costs more than packing them. The entry keeps the decision, hence its id, alive.
    kept = _packed_decisions.get(id(decision))
    if kept is not None:
        return kept[1]
    row = (
        numbers.APPLY_MODES[decision.apply],
        numbers.WAKE_MODES[decision.wake],
        numbers.QUEUE_MODES[decision.queue_mode],
        numbers.CONSUME_POINTS[decision.consume],
        numbers.INTERRUPT_POLICIES[decision.interrupt],
        numbers.DRAIN_POLICIES[decision.drain],
        numbers.ROUTES[decision.route],
        decision.record_transcript,
        decision.emit_operator_content,
        decision.policy_version,
    )
    if len(_packed_decisions) >= _KEPT_DECISIONS:
        _packed_decisions.clear()
    _packed_decisions[id(decision)] = (decision, row)
    return row


@lru_cache(maxsize=_KEPT_DECISIONS)
def _unpack_decision(row: _DecisionRow) -> PolicyDecision:
    parts: list[Any] = [names[number] for names, number in zip(_DECISION_OF, row, strict=False)]
    return PolicyDecision(*parts, *row[len(parts) :])


# -- state rows of inputs ------------------------------------------------------------------------------------------


class _InputRow(Row, array_like=True, forbid_unknown_fields=True, gc=False):
    input_id: UUID
    order: int
    kind: int
    durability: int
    lane: int
    boundary: int
    is_prompt: bool
    wakes: bool
    idempotency_key: str | None
    supersession_key: str | None
    fingerprint: Annotated[bytes, Meta(min_length=32, max_length=32)]
    decision: _DecisionRow
    admitted_at: Time
    blobs: tuple[str, ...]
    state: int
    last_run_id: UUID | None
    last_boundary_sequence: Count | None
    attempt_count: Count
    failure_count: Count
    failure_cap: Count | None
    recovery_count: Count
    outcome_kind: int
    successor_id: UUID | None
    abandon_reason: int
    error: str | None
    not_before: Time | None
    result_source: int
    history: tuple[_HistoryRow, ...]
    history_dropped: Count


def encode_input(record: InputRecord) -> bytes:
    """The state row of an input. An ephemeral one, a naive time or a short fingerprint is a bug of the caller."""
    given = record.admission
    assert len(given.fingerprint) == 32 and given.admitted_at.tzinfo is not None, given  # noqa: PLR2004, PT018 - hot path
    states, events = _STATES, _EVENTS
    return encode(
        (
            given.input_id,
            given.order,
            _KINDS[given.kind],
            _DURABILITIES[given.durability],
            _LANES[given.lane],
            _BOUNDARIES[given.boundary],
            given.is_prompt,
            given.wakes,
            given.idempotency_key,
            given.supersession_key,
            given.fingerprint,
            _pack_decision(given.decision),
            given.admitted_at,
            given.blobs,
            states[record.state],
            record.last_run_id,
            record.last_boundary_sequence,
            record.attempt_count,
            record.failure_count,
            record.failure_cap,
            record.recovery_count,
            _OUTCOMES[record.outcome_kind],
            record.successor_id,
            _REASONS[record.abandon_reason],
            record.error,
            record.not_before,
            _SOURCES[record.result_source],
            [(at, states[old], states[new], events[why]) for at, old, new, why in record.history],
            record.history_dropped,
        )
    )


def _build_input(row: _InputRow) -> InputRecord:
    admission = build_admission(
        InputId(row.input_id),
        row.order,
        _KIND_OF[row.kind],
        _DURABILITY_OF[row.durability],
        _LANE_OF[row.lane],
        _BOUNDARY_OF[row.boundary],
        row.is_prompt,
        row.wakes,
        row.idempotency_key,
        row.supersession_key,
        row.fingerprint,
        _unpack_decision(row.decision),
        row.admitted_at,
        row.blobs,
    )
    states, events = _STATE_OF, _EVENT_OF
    return build_input_record(
        admission,
        states[row.state],
        None if row.last_run_id is None else RunId(row.last_run_id),
        row.last_boundary_sequence,
        row.attempt_count,
        row.failure_count,
        row.failure_cap,
        row.recovery_count,
        _OUTCOME_OF[row.outcome_kind],
        None if row.successor_id is None else InputId(row.successor_id),
        _REASON_OF[row.abandon_reason],
        row.error,
        row.not_before,
        _SOURCE_OF[row.result_source],
        tuple([HistoryEntry(at, states[old], states[new], events[why]) for at, old, new, why in row.history]),
        row.history_dropped,
    )


decode_input: Final = decoding(_InputRow, _build_input)
