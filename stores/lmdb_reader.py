"""Records from the rows of one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from heapq import merge
from itertools import islice
from types import TracebackType
from typing import Final, TypeVar, final
from uuid import UUID

import lmdb

from ..runtime.checks import check_after, check_sequence
from ..runtime.collector import paused_collector
from ..runtime.errors import EventsPruned, StoreCorruption
from ..runtime.events import EventEnvelope
from ..runtime.ids import check_runtime_id, check_text, check_uuid
from ..runtime.records import IN_FLIGHT_STATES, InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..runtime.store import InputFilter, InputPage, LoadedRuntime, Pruned, ResultRef
from .codec import (
    Fence,
    decode_fence,
    decode_key,
    decode_number,
    decode_pruned,
    decode_receipt,
    decode_runtime,
)
from .codec_envelope import row_name, unseal
from .codec_events import decode_event
from .codec_inputs import decode_input
from .lmdb_environment import StoreEnvironment
from .lmdb_quarantine import Quarantine
from .lmdb_rows import (
    ACTIVE,
    BLOBS,
    BODIES,
    ENDED,
    EVENTS,
    KEYS,
    NAMES,
    ORDERS,
    PRUNED,
    RECEIPTS,
    RESULTS,
    RUNTIMES,
    SNAPSHOTS,
    Rows,
    behind_order,
    blob_key,
    body_key,
    event_key,
    idempotency_key,
    input_key,
    order_key,
    ordinal_prefix,
    receipt_key,
    result_key,
    run_prefix,
)

T = TypeVar("T")
R = TypeVar("R", RuntimeRecord, Fence)

_MANY: Final = 1000
"""Records that are loaded with the garbage collector paused."""


@final
class LmdbReader:
    """The ``Reader`` of one transaction. ``ordinals`` are key prefixes of runtimes that are known to be committed."""

    def __init__(self, rows: Rows, ordinals: dict[str, bytes], quarantine: Quarantine | None = None) -> None:
        self._rows = rows
        self._ordinals = ordinals
        self._quarantine = quarantine

    def prefix(self, runtime_id: str) -> bytes | None:
        """What the keys of a runtime start with; None when it is not stored."""
        prefix = self._ordinals.get(runtime_id) if type(runtime_id) is str else None
        if prefix is not None:
            return prefix
        ordinal = self._rows.read(NAMES, check_runtime_id(runtime_id).encode(), decode_number)
        return None if ordinal is None else ordinal_prefix(ordinal)

    def load_record(self, runtime_id: str) -> RuntimeRecord | None:
        """The runtime record alone."""
        prefix = self.prefix(runtime_id)
        return None if prefix is None else self.record_at(prefix, runtime_id)

    def record_at(self, prefix: bytes, runtime_id: str) -> RuntimeRecord | None:
        """The runtime record under a prefix; None when this view is older than the runtime."""
        return self._runtime_row(prefix, runtime_id, decode_runtime)

    def fence_at(self, prefix: bytes, runtime_id: str) -> Fence | None:
        """What a commit is checked against, of the runtime record under a prefix."""
        return self._runtime_row(prefix, runtime_id, decode_fence)

    def _runtime_row(self, prefix: bytes, runtime_id: str, decode: Callable[[bytes, bytes, bytes], R]) -> R | None:
        row = self._rows.read(RUNTIMES, prefix, decode)
        if row is None and self._rows.get(NAMES, runtime_id.encode()) is not None:
            raise StoreCorruption(row_name(RUNTIMES, prefix), f"the record of runtime {runtime_id!r} is missing")
        if row is not None and row.runtime_id != runtime_id:
            problem = f"it is the record of {row.runtime_id!r}, the name says {runtime_id!r}"
            raise StoreCorruption(row_name(RUNTIMES, prefix), problem)
        return row

    def load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        """The runtime as stored, without claiming it; StoreCorruption when active inputs are missing."""
        try:
            return self._load_runtime(runtime_id)
        except StoreCorruption as error:
            if self._quarantine is not None:
                self._quarantine.take(error)
            raise

    def _load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        prefix = self.prefix(runtime_id)
        record = None if prefix is None else self.record_at(prefix, runtime_id)
        if prefix is None or record is None:
            return None
        with paused_collector() if record.counts.active > _MANY else nullcontext():
            inputs, set_aside = self._active(prefix)
            if len(inputs) + len(set_aside) != record.counts.active:
                found = len(inputs) + len(set_aside)
                problem = f"{found} active inputs are stored, its record counts {record.counts.active}"
                raise StoreCorruption(f"runtime {runtime_id!r}", problem)
            _check_distinct(runtime_id, inputs)
            receipts: list[RunBoundaryReceipt] = []
            runs = {item.last_run_id for item in inputs if item.state in IN_FLIGHT_STATES}
            for run_id in sorted(run for run in runs if run is not None):
                try:
                    rows = self._rows.scan(RECEIPTS, run_prefix(prefix, run_id))
                    receipts += [decode_receipt(RECEIPTS, *row) for row in rows]
                except StoreCorruption as error:
                    if self._quarantine is None:
                        raise
                    # Whether the inputs of that run were consumed cannot be told, so they are not worked off again.
                    lost = [item for item in inputs if item.last_run_id == run_id and item.state in IN_FLIGHT_STATES]
                    set_aside += [self._quarantine.set_aside(prefix, item, error) for item in lost]
                    orders = {item.order for item in lost}
                    inputs = [item for item in inputs if item.order not in orders]
        return LoadedRuntime(record, tuple(inputs), tuple(receipts), tuple(set_aside))

    def _active(self, prefix: bytes) -> tuple[list[InputRecord], list[str]]:
        """The active inputs, and for each that is set aside the row that cannot be read: its own one or its body."""
        quarantine = self._quarantine
        if quarantine is None:
            return [decode_input(ACTIVE, *row) for row in self._rows.states(prefix)], []
        inputs: list[InputRecord] = []
        set_aside: list[str] = []
        for key, value in self._rows.states(prefix):
            try:
                record = decode_input(ACTIVE, key, value)
            except StoreCorruption as error:
                set_aside.append(quarantine.take(error))
                continue
            try:
                self._check_body(body_key(key[:-1]))
            except StoreCorruption as error:
                set_aside.append(quarantine.set_aside(prefix, record, error))
            else:
                inputs.append(record)
        return inputs, set_aside

    def _check_body(self, key: bytes) -> None:
        if self._rows.read(ACTIVE, key, unseal) is None:
            raise StoreCorruption(row_name(ACTIVE, key), "the body of an active input is missing")

    def load_input(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        """The record of an input, active or ended. Active ones have no index: all of the runtime are looked through."""
        ended = self.load_ended(runtime_id, input_id)
        if ended is not None:
            return ended
        return self._find_active(runtime_id, input_id.bytes, lambda record: record.input_id == input_id)

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key, found as by ``load_input``."""
        ended = self.find_ended_by_key(runtime_id, key)
        if ended is not None:
            return ended
        return self._find_active(runtime_id, key.encode(), lambda record: record.admission.idempotency_key == key)

    def _find_active(
        self, runtime_id: str, part: bytes, is_wanted: Callable[[InputRecord], bool]
    ) -> InputRecord | None:
        prefix = self.prefix(runtime_id)
        rows = () if prefix is None else self._rows.states(prefix)
        # Every row has to be sound, for a damaged one might be it; only those that have ``part`` in them are decoded.
        records = (decode_input(ACTIVE, *row) for row in rows if part in unseal(ACTIVE, *row))
        return next(filter(is_wanted, records), None)

    def load_ended(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        """The record of an ended input."""
        check_uuid(input_id, "input_id")
        prefix = self.prefix(runtime_id)
        return None if prefix is None else self._ended(prefix, input_id)

    def _ended(self, prefix: bytes, input_id: UUID) -> InputRecord | None:
        if self._quarantine is not None:
            self._quarantine.check(prefix, input_id)
        key = input_key(prefix, input_id)
        order = self._rows.read(ORDERS, key, decode_number)
        if order is None:
            return None
        record = self._rows.read(ENDED, order_key(prefix, order), decode_input)
        if record is None or record.input_id != input_id:
            raise StoreCorruption(row_name(ORDERS, key), f"input {input_id} is not where it points, at order {order}")
        return record

    def find_ended_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the ended input that was admitted under an idempotency key."""
        check_text(key, "key")
        prefix = self.prefix(runtime_id)
        if prefix is None:
            return None
        if self._quarantine is not None:
            self._quarantine.check(prefix, key)
        place = idempotency_key(prefix, key)
        found = self._rows.read(KEYS, place, decode_key)
        if found is None:
            return None
        input_id, stored_key = found
        if stored_key != key:
            raise StoreCorruption(row_name(KEYS, place), f"it is the entry of key {stored_key!r}, not of {key!r}")
        record = self._ended(prefix, input_id)
        if record is None:
            raise StoreCorruption(row_name(KEYS, place), f"key {key!r} names input {input_id}, which is missing")
        return record

    def load_body(self, runtime_id: str, record: InputRecord) -> bytes | None:
        """The input as admitted; None when it is unknown or its payload was dropped."""
        prefix = self.prefix(runtime_id)
        if prefix is None:
            return None
        key = body_key(order_key(prefix, record.order))
        kept = self._rows.read(BODIES, key, unseal) if record.is_terminal else None
        # It may have ended since this view was taken, so that its body is still to be moved.
        return self._rows.read(ACTIVE, key, unseal) if kept is None else kept

    def load_receipt(self, runtime_id: str, run_id: UUID, sequence: int) -> RunBoundaryReceipt | None:
        """One receipt, by its run and its sequence."""
        check_uuid(run_id, "run_id")
        check_sequence(sequence, "sequence")
        return self._read(runtime_id, RECEIPTS, lambda prefix: receipt_key(prefix, run_id, sequence), decode_receipt)

    def has_receipt(self, runtime_id: str, run_id: UUID) -> bool:
        """Whether any boundary of that run is committed."""
        check_uuid(run_id, "run_id")
        prefix = self.prefix(runtime_id)
        return prefix is not None and self._rows.has_prefix(RECEIPTS, run_prefix(prefix, run_id))

    def load_result(self, runtime_id: str, ref: ResultRef) -> bytes | None:
        """The result of a boundary or of a completion."""
        return self._read(runtime_id, RESULTS, lambda prefix: result_key(prefix, ref), unseal)

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        """The latest session snapshot."""
        return self._read(runtime_id, SNAPSHOTS, lambda prefix: prefix, unseal)

    def load_events(self, runtime_id: str, after: int | None, limit: int) -> tuple[EventEnvelope, ...]:
        """Some of the log of a runtime, which has no gap."""
        check_after(after)
        prefix = self.prefix(runtime_id)
        record = None if prefix is None else self.record_at(prefix, runtime_id)
        first = 0 if after is None else max(after + 1, 0)
        if prefix is None or record is None or first >= record.counts.events or limit < 1:
            return ()
        dropped = (self._rows.read(PRUNED, prefix, decode_pruned) or Pruned()).events
        if first < dropped:
            raise EventsPruned(runtime_id, dropped)
        wanted = range(first, min(first + limit, record.counts.events))
        rows = islice(self._rows.scan(EVENTS, prefix, event_key(prefix, first)), len(wanted))
        found = [decode_event(EVENTS, *row) for row in rows]
        missing = next((offset for offset, event in zip(wanted, found, strict=False) if event.offset != offset), None)
        if missing is None and len(found) < len(wanted):
            missing = wanted[len(found)]
        if missing is not None:
            raise StoreCorruption(f"runtime {runtime_id!r}", f"event {missing} of its log is missing")
        return tuple([event.envelope(runtime_id) for event in found])

    def _read(
        self,
        runtime_id: str,
        table: bytes,
        key: Callable[[bytes], bytes],
        decode: Callable[[bytes, bytes, bytes], T],
    ) -> T | None:
        prefix = self.prefix(runtime_id)
        return None if prefix is None else self._rows.read(table, key(prefix), decode)

    def get_blob(self, blob_id: str) -> bytes | None:
        """The content of a blob."""
        key = blob_key(blob_id)
        return None if key is None else self._rows.read(BLOBS, key, unseal)

    def blob_exists(self, blob_id: str) -> bool:
        """Whether a blob is stored."""
        key = blob_key(blob_id)
        return key is not None and self._rows.get(BLOBS, key) is not None

    def list_runtimes(self, after: str | None, limit: int) -> tuple[RuntimeRecord, ...]:
        """Runtimes by id in the order of their UTF-8 bytes."""
        start = None if after is None else check_text(after, "after").encode() + b"\0"
        found: list[RuntimeRecord] = []
        for name, value in self._rows.scan(NAMES, b"", start):
            if len(found) >= limit:
                break
            try:
                found.append(self._named(name, value))
            except StoreCorruption as error:
                if self._quarantine is None:
                    raise
                self._quarantine.take(error)
        return tuple(found)

    def _named(self, name: bytes, value: bytes) -> RuntimeRecord:
        prefix = ordinal_prefix(decode_number(NAMES, name, value))
        record = self._rows.read(RUNTIMES, prefix, decode_runtime)
        if record is None or record.runtime_id.encode() != name:
            raise StoreCorruption(row_name(NAMES, name), f"it points to {prefix.hex()}, where another record is")
        return record

    def list_inputs(self, wanted: InputFilter, after: int | None, limit: int) -> InputPage:
        """Inputs of one runtime by order key, ended and active."""
        check_after(after)
        prefix = self.prefix(wanted.runtime_id)
        found: list[InputRecord] = []
        if prefix is None:
            return InputPage((), None)
        start = None if after is None else behind_order(prefix, after)
        active = ((*row, ACTIVE) for row in self._rows.states(prefix, start))
        ended = ((*row, ENDED) for row in self._rows.scan(ENDED, prefix, start))
        for key, value, table in merge(active, ended):
            try:
                record = decode_input(table, key, value)
            except StoreCorruption as error:
                if self._quarantine is None:
                    raise
                self._quarantine.take(error)
                continue
            if wanted.states is not None and record.state not in wanted.states:
                continue
            if wanted.kinds is not None and record.admission.kind not in wanted.kinds:
                continue
            if len(found) >= limit:
                return InputPage(tuple(found), found[-1].order if found else after)
            found.append(record)
        return InputPage(tuple(found), None)


def _check_distinct(runtime_id: str, inputs: Sequence[InputRecord]) -> None:
    """No index of active inputs says that two have the same id or key; who loads them relies on it."""
    keys = [item.admission.idempotency_key for item in inputs if item.admission.idempotency_key is not None]
    for what, names in (("id", [item.admission.input_id for item in inputs]), ("idempotency key", keys)):
        if len(set(names)) < len(names):
            raise StoreCorruption(f"runtime {runtime_id!r}", f"two active inputs have the same {what}")


@final
class ReadTransaction:
    """One read transaction of a store and its reader, as a context manager; a class, since it is on the hot path."""

    __slots__ = ("_environment", "_rows")

    def __init__(self, environment: StoreEnvironment) -> None:
        self._environment = environment

    def __enter__(self) -> LmdbReader:
        self._rows = self._environment.enter(write=False)
        environment = self._environment
        return LmdbReader(self._rows, environment.ordinals, environment.quarantine)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._environment.leave(self._rows)
        if isinstance(error, lmdb.Error):
            raise self._environment.error(error, "a read failed", applied=False) from error
