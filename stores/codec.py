"""The only place, with ``codec_inputs`` and ``codec_events``, where records become bytes, and bytes records again.

A record is a msgpack array without maps or unions inside: enumerations are the numbers of ``codec_numbers``, UUIDs 16
bytes, times msgpack timestamps. A place in an array keeps its meaning within a row format.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from msgspec import Struct as Row

from ..runtime.ids import InputId, RunId
from ..runtime.records import LastRun, RunBoundaryReceipt, RuntimeRecord, build_counts, build_runtime_record
from ..runtime.store import Pruned
from . import codec_numbers as numbers
from .codec_parts import Count, Time, decoding, encode, named, named_or_none, numbered_or_none

_BOUNDARY_OF: Final = named(numbers.RUN_BOUNDARIES)
_ENDING_OF: Final = named(numbers.RUN_ENDINGS)
_RUNTIME_STATE_OF: Final = named(numbers.RUNTIME_STATES)
_PRE_RUN_STATE_OF: Final = named_or_none(numbers.RUNTIME_STATES)
_PRE_RUN_STATES: Final = numbered_or_none(numbers.RUNTIME_STATES)

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
    return encode(
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
    return encode(
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
    return encode((input_id, key))


decode_key: Final = decoding(tuple[UUID, str], lambda row: (InputId(row[0]), row[1]))


def encode_pruned(pruned: Pruned) -> bytes:
    """What retention removed from a runtime so far."""
    return encode((pruned.inputs, pruned.keys, pruned.receipts, pruned.results, pruned.events))


decode_pruned: Final = decoding(tuple[Count, Count, Count, Count, Count], lambda row: Pruned(*row))


def encode_number(number: int) -> bytes:
    """A whole number: an ordinal, an order key, a format version."""
    return encode(number)


decode_number: Final = decoding(int, lambda number: number)
