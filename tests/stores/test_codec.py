"""Records to bytes and back: identity, the pinned numbers and bytes, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import msgspec
import pytest
from attrs import evolve, fields
from hypothesis import given
from hypothesis import strategies as st

from holdstate.runtime.errors import StoreCorruption, StoreTooNew
from holdstate.runtime.events import EventEnvelope
from holdstate.runtime.ids import EventId, InputId, RunId
from holdstate.runtime.records import (
    Admission,
    Counts,
    HistoryEntry,
    InputRecord,
    LastRun,
    ResultSource,
    RunBoundaryReceipt,
    RuntimeRecord,
    TerminalOutcome,
)
from holdstate.runtime.store import Pruned
from holdstate.spec import vocabulary as words
from holdstate.spec.policy import PolicyDecision
from holdstate.stores import codec, codec_events, codec_inputs, codec_numbers
from holdstate.stores.codec_envelope import ROW_FORMAT, seal, unseal
from holdstate.stores.codec_events import encode_event

from .builders import START, Books

E = TypeVar("E", bound=StrEnum)

COUNTS = st.integers(0, 2**32)
SEQUENCES = st.integers(0, 2**64 - 1)
TEXTS = st.text(max_size=20)
IDS = st.uuids().map(InputId)
RUNS = st.uuids().map(RunId)
TIMES = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
)


def members(kind: type[E], *without: E) -> st.SearchStrategy[E]:
    return st.sampled_from([member for member in kind if member not in without])


DECISIONS = st.builds(
    PolicyDecision,
    members(words.ApplyMode),
    members(words.WakeMode),
    members(words.QueueMode),
    members(words.ConsumePoint),
    members(words.InterruptPolicy),
    members(words.DrainPolicy),
    members(words.RoutingDisposition),
    st.booleans(),
    st.booleans(),
    COUNTS,
)
ADMISSIONS = st.builds(
    Admission,
    IDS,
    st.integers(-(2**63), 2**63 - 1),
    members(words.InputKind),
    members(words.Durability, words.Durability.EPHEMERAL),
    members(words.Lane),
    members(words.RunBoundary),
    st.booleans(),
    st.booleans(),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.binary(min_size=32, max_size=32),
    DECISIONS,
    TIMES,
    st.lists(TEXTS, max_size=3).map(tuple),
)
HISTORIES = st.lists(
    st.builds(HistoryEntry, TIMES, members(words.InputState), members(words.InputState), members(words.InputEvent)),
    max_size=4,
).map(tuple)
INPUTS = st.builds(
    InputRecord,
    ADMISSIONS,
    members(words.InputState),
    st.none() | RUNS,
    st.none() | SEQUENCES,
    COUNTS,
    COUNTS,
    st.none() | COUNTS,
    COUNTS,
    st.none() | members(words.OutcomeKind),
    st.none() | IDS,
    st.none() | members(words.AbandonReason),
    st.none() | TEXTS,
    st.none() | TIMES,
    st.none() | members(ResultSource),
    HISTORIES,
    COUNTS,
)
STORED_STATES = members(
    words.RuntimeState,
    words.RuntimeState.INITIALIZING,
    words.RuntimeState.ATTACHED,
    words.RuntimeState.RECOVERING,
)
RUNTIMES = st.builds(
    RuntimeRecord,
    TEXTS,
    STORED_STATES,
    st.none() | RUNS,
    st.none() | STORED_STATES,
    st.lists(IDS, max_size=3).map(tuple),
    COUNTS,
    st.booleans(),
    st.none() | st.builds(LastRun, RUNS, members(words.RunEnding)),
    COUNTS,
    COUNTS,
    st.integers(1, 2**62),
    st.builds(Counts, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    st.booleans(),
    st.none() | TIMES,
)
RECEIPTS = st.builds(
    RunBoundaryReceipt,
    RUNS,
    members(words.RunBoundary),
    st.lists(IDS, max_size=3).map(tuple),
    SEQUENCES,
    COUNTS,
    st.none() | TEXTS,
    st.lists(IDS, max_size=2).map(tuple),
)


@given(INPUTS)
def test_an_input_is_read_as_it_was_written(record: InputRecord) -> None:
    """Every field of a storable input survives, microseconds and negative order keys too."""
    value = seal(b"active", b"key", codec_inputs.encode_input(record))
    assert codec_inputs.decode_input(b"active", b"key", value) == record


@given(RUNTIMES)
def test_a_runtime_record_is_read_as_it_was_written(record: RuntimeRecord) -> None:
    """Every field of a storable runtime survives."""
    value = seal(b"runtimes", b"key", codec.encode_runtime(record))
    assert codec.decode_runtime(b"runtimes", b"key", value) == record


@given(RECEIPTS)
def test_a_receipt_is_read_as_it_was_written(receipt: RunBoundaryReceipt) -> None:
    """Sequences up to 2**64 - 1 survive (C21), and which inputs were ephemeral, which equality passes over."""
    value = seal(b"receipts", b"key", codec.encode_receipt(receipt))
    read = codec.decode_receipt(b"receipts", b"key", value)
    assert read == receipt
    assert read.ephemeral_input_ids == receipt.ephemeral_input_ids


@given(IDS, TEXTS, st.integers(-(2**63), 2**64 - 1), st.builds(Pruned, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))
def test_small_rows_are_read_as_they_were_written(input_id: InputId, key: str, number: int, pruned: Pruned) -> None:
    """Entries of the key index, numbers and prune counts survive."""
    assert codec.decode_key(b"t", b"k", seal(b"t", b"k", codec.encode_key(input_id, key))) == (input_id, key)
    assert codec.decode_number(b"t", b"k", seal(b"t", b"k", codec.encode_number(number))) == number
    assert codec.decode_pruned(b"t", b"k", seal(b"t", b"k", codec.encode_pruned(pruned))) == pruned


def test_decoded_inputs_share_their_policy_decision() -> None:
    """A decision is kept once in memory, however many inputs got it (C42)."""
    books = Books()
    one, other = (
        codec_inputs.decode_input(b"t", b"k", seal(b"t", b"k", codec_inputs.encode_input(books.queued(order))))
        for order in (1, 2)
    )
    assert one.admission.decision is other.admission.decision


def test_decisions_without_end_do_not_pile_up() -> None:
    """More different decisions than are remembered are written and read all the same, and memory stays bounded."""
    record = Books().queued(1)
    for version in range(codec_inputs._KEPT_DECISIONS + 10):
        decision = evolve(record.admission.decision, policy_version=version)
        other = evolve(record, admission=evolve(record.admission, decision=decision))
        assert codec_inputs.decode_input(b"t", b"k", seal(b"t", b"k", codec_inputs.encode_input(other))) == other
    assert len(codec_inputs._packed_decisions) <= codec_inputs._KEPT_DECISIONS


# -- what may never change -----------------------------------------------------------------------------------------


def test_numbers_of_enumerations_are_pinned() -> None:
    """A number that was once written keeps its meaning (C40): this list is only ever extended."""
    tables = {
        name: {str(member): number for member, number in table.items()}
        for name, table in vars(codec_numbers).items()
        if isinstance(table, dict) and name.isupper()
    }
    assert tables == {
        "INPUT_STATES": {
            "accepted": 1,
            "queued": 2,
            "staged": 3,
            "applied": 4,
            "applied_pending_consumption": 5,
            "consumed": 6,
            "superseded": 7,
            "coalesced": 8,
            "abandoned": 9,
        },
        "INPUT_EVENTS": {
            "queue": 1,
            "consume_on_accept": 2,
            "stage": 3,
            "rollback": 4,
            "rollback_failed": 5,
            "exhaust": 6,
            "apply": 7,
            "mark_pending": 8,
            "consume": 9,
            "supersede": 10,
            "coalesce": 11,
            "abandon": 12,
            "recover_queue": 13,
            "recover_consume": 14,
        },
        "OUTCOME_KINDS": {"consumed": 1, "superseded": 2, "coalesced": 3, "abandoned": 4},
        "ABANDON_REASONS": {
            "retired": 1,
            "reset": 2,
            "stopped": 3,
            "destroyed": 4,
            "cancelled": 5,
            "attempts_exhausted": 6,
            "failed": 7,
        },
        "RUNTIME_STATES": {"idle": 1, "running": 2, "retired": 3, "stopped": 4, "destroyed": 5},
        "ANNOUNCED_STATES": {
            "idle": 1,
            "running": 2,
            "retired": 3,
            "stopped": 4,
            "destroyed": 5,
            "initializing": 6,
            "attached": 7,
            "recovering": 8,
        },
        "EVENT_CODES": {
            "input.accepted": 1,
            "input.staged": 2,
            "input.rolled_back": 3,
            "input.applied": 4,
            "input.consumed": 5,
            "input.superseded": 6,
            "input.coalesced": 7,
            "input.abandoned": 8,
            "input.recovered": 9,
            "run.started": 10,
            "run.boundary_applied": 11,
            "run.completed": 12,
            "run.failed": 13,
            "run.cancelled": 14,
            "runtime.state_changed": 15,
        },
        "RUN_ENDINGS": {"completed": 1, "failed": 2, "cancelled": 3, "stopped": 4, "destroyed": 5, "recovered": 6},
        "INPUT_KINDS": {
            "prompt": 1,
            "peer_message": 2,
            "peer_request": 3,
            "peer_response_progress": 4,
            "peer_response_terminal": 5,
            "flow_step": 6,
            "external_event": 7,
            "continuation": 8,
            "operation": 9,
        },
        "DURABILITIES": {"durable": 1, "derived": 2},
        "LANES": {"queue": 1, "steer": 2},
        "RUN_BOUNDARIES": {"run_start": 1, "run_checkpoint": 2},
        "RESULT_SOURCES": {"boundary": 1, "completion": 2},
        "APPLY_MODES": {"stage_run_start": 1, "stage_run_boundary": 2, "inject_now": 3, "ignore": 4},
        "WAKE_MODES": {"wake_if_idle": 1, "interrupt_yielding": 2, "none": 3},
        "QUEUE_MODES": {"none": 1, "fifo": 2, "coalesce": 3, "supersede": 4, "priority": 5},
        "CONSUME_POINTS": {
            "on_accept": 1,
            "on_apply": 2,
            "on_run_start": 3,
            "on_run_complete": 4,
            "explicit_ack": 5,
        },
        "INTERRUPT_POLICIES": {"none": 1, "interrupt_yielding": 2},
        "DRAIN_POLICIES": {"queue_next_turn": 1, "steer_batch": 2, "immediate": 3, "ignore": 4},
        "ROUTES": {"queue": 1, "steer": 2, "immediate": 3, "drop": 4},
    }


def test_the_documented_numbers_are_the_real_ones(project_root: Path) -> None:
    """docs/storage-format.md lists every number of every enumeration, and no other."""
    page = (project_root / "docs" / "storage-format.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [a-z ]+ \| (1 .*) \|$", page, re.MULTILINE)
    documented = sorted(", ".join(re.findall(r"\d+ [\w.]+", row)) for row in rows)
    real = sorted(
        ", ".join(f"{number} {member}" for member, number in table.items())
        for name, table in vars(codec_numbers).items()
        if isinstance(table, dict) and name.isupper()
    )
    assert documented == real


def test_bytes_of_a_record_are_pinned() -> None:
    """The stored form of one record of each kind, byte by byte (C40): a new layout needs a new row format."""
    books = Books()
    record = books.queued(7, key="k")
    runtime = RuntimeRecord("r", words.RuntimeState.IDLE, epoch=1, revision=2, created_at=START)
    receipt = RunBoundaryReceipt(RunId(record.input_id), words.RunBoundary.RUN_START, (record.input_id,), 1, 2, "d")
    time = "d7ff" + msgspec.msgpack.encode(START)[2:].hex()
    input_id = "c410" + "00" * 15 + "01"
    fingerprint = record.admission.fingerprint.hex()
    admission = f"{input_id}0701010101c3c3a16bc0c420{fingerprint}9a01010204010101c3c301{time}90"
    assert codec_inputs.encode_input(record).hex() == f"dc001d{admission}02c0c00000c00000c000c0c0009194{time}01020100"
    assert codec.encode_runtime(runtime).hex() == "9ea17201c0009000c2c001020196" + "00" * 6 + "c2" + time
    assert codec.encode_receipt(receipt).hex() == "97" + input_id + "0191" + input_id + "0102a164" + "90"
    outcome = TerminalOutcome(words.OutcomeKind.ABANDONED, None, words.AbandonReason.CANCELLED, "e")
    code, state = words.EventCode.INPUT_ABANDONED, words.RuntimeState.ATTACHED
    event = EventEnvelope(EventId(record.input_id), None, "r", code, START, record.input_id, None, state, outcome, 7)
    assert encode_event(event).hex() == f"98{input_id}0708{time}{input_id}c007" + "9404c005a165"
    assert seal(b"active", b"key", b"payload").hex() == "017a469fe9" + b"payload".hex()


def test_rows_hold_every_field_of_their_records() -> None:
    """A field that is added to a record is added to its row; otherwise a crash would forget it."""

    def names(*classes: type) -> list[str]:
        return [each.name for kind in classes for each in fields(kind)]

    assert list(codec_inputs._InputRow.__struct_fields__) == [
        name for name in names(Admission, InputRecord) if name != "admission"
    ]
    assert list(codec._RuntimeRow.__struct_fields__) == names(RuntimeRecord)
    assert list(codec._ReceiptRow.__struct_fields__) == names(RunBoundaryReceipt)
    in_key_or_volatile = {"runtime_id", "sequence"}
    assert set(codec_events._EventRow.__struct_fields__) == set(names(EventEnvelope)) - in_key_or_volatile


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [words.RuntimeState.INITIALIZING, words.RuntimeState.ATTACHED, words.RuntimeState.RECOVERING]
)
def test_volatile_runtime_states_are_never_written(state: words.RuntimeState) -> None:
    """Attached, initializing and recovering do not survive a crash, so they are not stored."""
    with pytest.raises(ValueError, match="never stored"):
        codec.encode_runtime(RuntimeRecord("r", state))


def test_an_ephemeral_input_and_a_naive_time_are_never_written() -> None:
    """What could not be read back is not written."""
    record = Books().queued(1)
    ephemeral = evolve(record, admission=evolve(record.admission, durability=words.Durability.EPHEMERAL))
    naive = evolve(record, admission=evolve(record.admission, admitted_at=START.replace(tzinfo=None)))
    with pytest.raises(KeyError):
        codec_inputs.encode_input(ephemeral)
    with pytest.raises(AssertionError):
        codec_inputs.encode_input(naive)


VALUE = seal(b"active", b"key", codec_inputs.encode_input(Books().queued(1, key="k")))


def test_a_flipped_bit_anywhere_is_found() -> None:
    """The checksum covers every bit of a value, its own version byte too (C38)."""
    for bit in range(8 * len(VALUE)):
        damaged = bytearray(VALUE)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreCorruption):
            codec_inputs.decode_input(b"active", b"key", bytes(damaged))


def test_a_row_in_the_wrong_place_is_found() -> None:
    """The checksum binds sub-database and key, and the error names both (C38)."""
    for table, key in ((b"ended", b"key"), (b"active", b"kez")):
        with pytest.raises(StoreCorruption) as caught:
            codec_inputs.decode_input(table, key, VALUE)
        assert caught.value.where == f"{table.decode()} row {key.hex()}"


@pytest.mark.parametrize("length", [*range(5), len(VALUE) - 1])
def test_a_row_that_was_cut_off_is_found(length: int) -> None:
    """An empty value, less than an envelope, less than the record."""
    with pytest.raises(StoreCorruption):
        codec_inputs.decode_input(b"active", b"key", VALUE[:length])


def sealed_with(version: int, payload: bytes) -> bytes:
    """A value of another row format, with a good checksum."""
    body = bytes([version]) + crc32(payload, crc32(b"active\0key" + bytes([version]))).to_bytes(4, "big")
    return body + payload


def test_the_envelope_is_as_documented() -> None:
    """Version byte, CRC-32 over name, NUL, key, version and payload, then the payload."""
    assert sealed_with(ROW_FORMAT, b"payload") == seal(b"active", b"key", b"payload")
    assert unseal(b"active", b"key", seal(b"active", b"key", b"payload")) == b"payload"


def test_a_newer_row_is_refused_by_name() -> None:
    """A row format of the future is no corruption (C40); one from before the first is."""
    with pytest.raises(StoreTooNew) as caught:
        unseal(b"active", b"key", sealed_with(ROW_FORMAT + 1, b"?"))
    assert (caught.value.where, caught.value.found, caught.value.known) == ("active row 6b6579", 2, 1)
    with pytest.raises(StoreCorruption):
        unseal(b"active", b"key", sealed_with(0, b"?"))


def changed(place: int, value: object) -> bytes:
    """The state row of an input with another value in one place, and a good checksum."""
    row = msgspec.msgpack.decode(unseal(b"active", b"key", VALUE))
    row[place] = value
    return seal(b"active", b"key", msgspec.msgpack.encode(row))


WRONG = {
    "id of 15 bytes": (0, b"x" * 15),
    "order as text": (1, "1"),
    "unknown kind": (2, 99),
    "no kind": (2, 0),
    "negative state": (14, -1),
    "short fingerprint": (10, b"x"),
    "decision too short": (11, [1, 1, 1]),
    "decision with an unknown number": (11, [1, 1, 9, 1, 1, 1, 1, True, True, 1]),
    "time without zone": (12, "2026-01-01T00:00:00"),
    "negative count": (17, -1),
    "unknown reason": (23, 77),
    "history entry too long": (27, [[START, 1, 2, 1, 1]]),
    "history with an unknown event": (27, [[START, 1, 2, 99]]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_row_of_another_shape_is_refused(name: str) -> None:
    """A good checksum over a wrong record is corruption too, never data."""
    place, value = WRONG[name]
    with pytest.raises(StoreCorruption, match="not such a record"):
        codec_inputs.decode_input(b"active", b"key", changed(place, value))


def test_a_row_with_a_field_more_or_less_is_refused() -> None:
    """The length of a record is checked."""
    row = msgspec.msgpack.decode(unseal(b"active", b"key", VALUE))
    for other in (row[:-1], [*row, 1], {"a": 1}, 7, None):
        with pytest.raises(StoreCorruption):
            codec_inputs.decode_input(b"active", b"key", seal(b"active", b"key", msgspec.msgpack.encode(other)))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_decode_by_accident(data: bytes) -> None:
    """Whatever lies in a row, the answer is StoreCorruption or StoreTooNew, never another error."""
    for value in (data, seal(b"t", b"k", data)):
        for decode in (codec_inputs.decode_input, codec.decode_runtime, codec.decode_receipt, codec.decode_key):
            with pytest.raises((StoreCorruption, StoreTooNew)):
                decode(b"t", b"k", value)
