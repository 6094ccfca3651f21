"""The only place where records become bytes, and bytes records again.

A record is a msgpack array without maps or unions inside: enumerations are the numbers of ``codec_numbers``, UUIDs 16
bytes, times msgpack timestamps. A place in an array keeps its meaning within a row format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple, TypeVar
from uuid import UUID

from msgspec import Meta, MsgspecError, msgpack
from msgspec import Struct as Row

from ..runtime.errors import StoreCorruption
from ..runtime.ids import InputId, RunId
from ..runtime.records import (
    HistoryEntry,
    InputRecord,
    LastRun,
    RunBoundaryReceipt,
    RuntimeRecord,
    build_admission,
    build_counts,
    build_input_record,
    build_runtime_record,
)
from ..runtime.store import Pruned
from ..spec.policy import PolicyDecision
from . import codec_numbers as numbers
from .codec_envelope import row_name, unseal

T = TypeVar("T")
W = TypeVar("W")
E = TypeVar("E", bound=StrEnum)

# -- what rows are made of -----------------------------------------------------------------------------------------


def named(table: Mapping[E, int]) -> dict[int, E]:
    return {number: member for member, number in table.items()}


def named_or_none(table: Mapping[E, int]) -> dict[int, E | None]:
    return {0: None, **named(table)}


def numbered_or_none(table: Mapping[E, int]) -> dict[E | None, int]:
    return {None: 0, **dict(table.items())}


_STATE_OF: Final = named(numbers.INPUT_STATES)
_EVENT_OF: Final = named(numbers.INPUT_EVENTS)
_KIND_OF: Final = named(numbers.INPUT_KINDS)
_DURABILITY_OF: Final = named(numbers.DURABILITIES)
_LANE_OF: Final = named(numbers.LANES)
_BOUNDARY_OF: Final = named(numbers.RUN_BOUNDARIES)
_OUTCOME_OF: Final = named_or_none(numbers.OUTCOME_KINDS)
_REASON_OF: Final = named_or_none(numbers.ABANDON_REASONS)
_SOURCE_OF: Final = named_or_none(numbers.RESULT_SOURCES)
_ENDING_OF: Final = named(numbers.RUN_ENDINGS)
_RUNTIME_STATE_OF: Final = named(numbers.RUNTIME_STATES)
_PRE_RUN_STATE_OF: Final = named_or_none(numbers.RUNTIME_STATES)

_OUTCOMES: Final = numbered_or_none(numbers.OUTCOME_KINDS)
_REASONS: Final = numbered_or_none(numbers.ABANDON_REASONS)
_SOURCES: Final = numbered_or_none(numbers.RESULT_SOURCES)
_PRE_RUN_STATES: Final = numbered_or_none(numbers.RUNTIME_STATES)

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

Count = Annotated[int, Meta(ge=0)]
Time = Annotated[datetime, Meta(tz=True)]
_DecisionRow = tuple[int, int, int, int, int, int, int, bool, bool, int]
_HistoryRow = tuple[Time, int, int, int]

_encode = msgpack.Encoder(uuid_format="bytes").encode


def decoding(row: type[W], build: Callable[[W], T]) -> Callable[[bytes, bytes, bytes], T]:
    """The function that turns a stored value into a record; what is not exactly such a record is StoreCorruption."""
    decode = msgpack.Decoder(row).decode

    def decode_value(table: bytes, key: bytes, value: bytes) -> T:
        payload = unseal(table, key, value)
        try:
            return build(decode(payload))
        except (MsgspecError, KeyError, UnicodeDecodeError) as error:
            problem = f"unknown number {error}" if isinstance(error, KeyError) else str(error)
            raise StoreCorruption(row_name(table, key), f"it is not such a record: {problem}") from error

    return decode_value


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
    states, events = numbers.INPUT_STATES, numbers.INPUT_EVENTS
    return _encode(
        (
            given.input_id,
            given.order,
            numbers.INPUT_KINDS[given.kind],
            numbers.DURABILITIES[given.durability],
            numbers.LANES[given.lane],
            numbers.RUN_BOUNDARIES[given.boundary],
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

# -- runtime records -----------------------------------------------------------------------------------------------


class _RuntimeRow(Row, array_like=True, forbid_unknown_fields=True, gc=False):
    runtime_id: str
    state: int
    current_run_id: UUID | None
    pre_run_state: int
    contributors: tuple[UUID, ...]
    boundary_count: Count
    shared_run: bool
    last_run: tuple[UUID, int] | None
    epoch: Count
    revision: Count
    next_order: int
    counts: tuple[Count, Count, Count, Count, Count, Count]
    has_snapshot: bool
    created_at: Time | None


def encode_runtime(record: RuntimeRecord) -> bytes:
    """The record of a runtime. ValueError when its state is one that is never stored."""
    last, counts = record.last_run, record.counts
    try:
        state, pre_run_state = numbers.RUNTIME_STATES[record.state], _PRE_RUN_STATES[record.pre_run_state]
    except KeyError as error:
        raise ValueError(f"runtime {record.runtime_id!r}: state {error.args[0].value!r} is never stored") from error
    return _encode(
        (
            record.runtime_id,
            state,
            record.current_run_id,
            pre_run_state,
            record.contributors,
            record.boundary_count,
            record.shared_run,
            None if last is None else (last.run_id, numbers.RUN_ENDINGS[last.ending]),
            record.epoch,
            record.revision,
            record.next_order,
            (counts.active, counts.ended, counts.keys, counts.receipts, counts.results, counts.events),
            record.has_snapshot,
            record.created_at,
        )
    )


def _build_runtime(row: _RuntimeRow) -> RuntimeRecord:
    last = row.last_run
    return build_runtime_record(
        row.runtime_id,
        _RUNTIME_STATE_OF[row.state],
        None if row.current_run_id is None else RunId(row.current_run_id),
        _PRE_RUN_STATE_OF[row.pre_run_state],
        tuple(map(InputId, row.contributors)),
        row.boundary_count,
        row.shared_run,
        None if last is None else LastRun(RunId(last[0]), _ENDING_OF[last[1]]),
        row.epoch,
        row.revision,
        row.next_order,
        build_counts(*row.counts),
        row.has_snapshot,
        row.created_at,
    )


decode_runtime: Final = decoding(_RuntimeRow, _build_runtime)


class Fence(NamedTuple):
    """What every commit of a runtime is checked against, without the rest of its record."""

    runtime_id: str
    epoch: int
    revision: int
    next_order: int


decode_fence: Final = decoding(_RuntimeRow, lambda row: Fence(row.runtime_id, row.epoch, row.revision, row.next_order))

# -- receipts, and the small rows ----------------------------------------------------------------------------------


class _ReceiptRow(Row, array_like=True, forbid_unknown_fields=True, gc=False):
    run_id: UUID
    boundary: int
    contributing_input_ids: tuple[UUID, ...]
    sequence: Count
    message_count: Count
    conversation_digest: str | None
    ephemeral_input_ids: tuple[UUID, ...]


def encode_receipt(receipt: RunBoundaryReceipt) -> bytes:
    """A boundary receipt."""
    return _encode(
        (
            receipt.run_id,
            numbers.RUN_BOUNDARIES[receipt.boundary],
            receipt.contributing_input_ids,
            receipt.sequence,
            receipt.message_count,
            receipt.conversation_digest,
            receipt.ephemeral_input_ids,
        )
    )


def _build_receipt(row: _ReceiptRow) -> RunBoundaryReceipt:
    return RunBoundaryReceipt(
        RunId(row.run_id),
        _BOUNDARY_OF[row.boundary],
        tuple(map(InputId, row.contributing_input_ids)),
        row.sequence,
        row.message_count,
        row.conversation_digest,
        tuple(map(InputId, row.ephemeral_input_ids)),
    )


decode_receipt: Final = decoding(_ReceiptRow, _build_receipt)


def encode_key(input_id: InputId, key: str) -> bytes:
    """The entry of the key index: the input, and the key itself, as only its hash is looked up."""
    return _encode((input_id, key))


decode_key: Final = decoding(tuple[UUID, str], lambda row: (InputId(row[0]), row[1]))


def encode_pruned(pruned: Pruned) -> bytes:
    """What retention removed from a runtime so far."""
    return _encode((pruned.inputs, pruned.keys, pruned.receipts, pruned.results, pruned.events))


decode_pruned: Final = decoding(tuple[Count, Count, Count, Count, Count], lambda row: Pruned(*row))


def encode_number(number: int) -> bytes:
    """A whole number: an ordinal, an order key, a format version."""
    return _encode(number)


decode_number: Final = decoding(int, lambda number: number)
