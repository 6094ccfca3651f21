"""Reads a whole LMDB store for the auditor. A row that cannot be read becomes a finding that names it, not an error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final, TypeVar, final
from uuid import UUID

from ..runtime.errors import StoreError
from ..runtime.ids import InputId, RunId
from ..runtime.records import InputRecord, RunBoundaryReceipt
from ..runtime.store import Finding, Pruned, ResultRef
from .audit import StoredBlob, StoredRuntime, audit
from .codec import decode_key, decode_number, decode_pruned, decode_receipt, decode_runtime
from .codec_envelope import row_name, unseal
from .codec_events import decode_event
from .codec_inputs import decode_input
from .lmdb_rows import (
    ACTIVE,
    BLOB_REFS,
    BLOBS,
    BODIES,
    DIGEST_BYTES,
    ENDED,
    EVENTS,
    KEYS,
    META,
    NAMES,
    NOBODY,
    ORDERS,
    PRUNED,
    RECEIPTS,
    RESULTS,
    RUNTIMES,
    SNAPSHOTS,
    Rows,
    blob_name,
    event_key,
    idempotency_key,
    input_key,
    is_body,
    order_key,
    order_of,
    ordinal_prefix,
    receipt_key,
    result_key,
    state_key,
)

T = TypeVar("T")

_ACTIVE_INDEXED: Final = "an active input has this place too"

_OF_RUNTIMES: Final = (RUNTIMES, ACTIVE, ENDED, BODIES, ORDERS, KEYS, RECEIPTS, RESULTS, SNAPSHOTS, PRUNED, EVENTS)


def verify_store(rows: Rows) -> Iterator[Finding]:
    """Everything that is wrong with the store that one transaction sees."""
    reading = _StoreReading(rows)
    yield from audit(reading.runtimes(), reading.blobs())
    reading.find_strays()
    yield from reading.findings


@final
class _StoreReading:
    """The rows of a store, decoded; ``findings`` gathers what could not be."""

    def __init__(self, rows: Rows) -> None:
        self.findings: list[Finding] = []
        self._rows = rows
        self._prefixes: set[bytes] = set()
        self._held: set[bytes] = set()
        self._refs: dict[bytes, set[tuple[str, int]]] = defaultdict(set)
        for key, value in rows.scan(META, b""):
            self._decoded(META, key, value, decode_number)
        for key, value in rows.scan(BLOB_REFS, b""):
            self._decoded(BLOB_REFS, key, value, unseal)
            digest, reference = key[:DIGEST_BYTES], key[DIGEST_BYTES:]
            if reference == NOBODY:
                self._held.add(digest)
            else:
                self._refs[reference[:8]].add((blob_name(digest), order_of(key)))

    def _found(self, check: str, table: bytes, key: bytes, problem: str) -> None:
        self.findings.append(Finding(check, row_name(table, key), problem))

    def _decoded(self, table: bytes, key: bytes, value: bytes, decode: Callable[[bytes, bytes, bytes], T]) -> T | None:
        try:
            return decode(table, key, value)
        except StoreError as error:
            self._found("row_is_readable", table, key, str(error))
            return None

    def _all(
        self, table: bytes, prefix: bytes, decode: Callable[[bytes, bytes, bytes], T]
    ) -> Iterator[tuple[bytes, T]]:
        for key, value in self._rows.scan(table, prefix):
            found = self._decoded(table, key, value, decode)
            if found is not None:
                yield key, found

    def _placed(self, table: bytes, key: bytes, wanted: bytes) -> None:
        if key != wanted:
            self._found("row_is_in_its_place", table, key, f"its content belongs to key {wanted.hex()}")

    # -- runtimes ------------------------------------------------------------------------------------------------

    def runtimes(self) -> Iterator[StoredRuntime]:
        """Every runtime whose name and record can be read."""
        for name, ordinal in self._all(NAMES, b"", decode_number):
            prefix = ordinal_prefix(ordinal)
            self._prefixes.add(prefix)
            value = self._rows.get(RUNTIMES, prefix)
            if value is None:
                self._found("runtime_has_a_record", NAMES, name, f"there is no record at ordinal {ordinal}")
                continue
            record = self._decoded(RUNTIMES, prefix, value, decode_runtime)
            if record is None:
                continue
            if record.runtime_id.encode() != name:
                self._found("runtime_has_a_record", NAMES, name, f"it points to the record of {record.runtime_id!r}")
            stored = StoredRuntime(record)
            self._fill(stored, prefix)
            yield stored

    def _fill(self, stored: StoredRuntime, prefix: bytes) -> None:
        active, ended = self._rows.states(prefix), self._rows.scan(ENDED, prefix)
        stored.active = self._inputs(ACTIVE, active, lambda order: state_key(order_key(prefix, order)))
        stored.ended = self._inputs(ENDED, ended, lambda order: order_key(prefix, order))
        stored.bodies = self._bodies(ACTIVE, prefix, stored.ended) | self._bodies(BODIES, prefix, stored.active)
        stored.orders = {_run_of(key, prefix): order for key, order in self._all(ORDERS, prefix, decode_number)}
        stored.keys = self._keys(prefix)
        self._index_active(stored, prefix)
        stored.receipts = self._receipts(prefix)
        stored.results = {ref for key, _ in self._all(RESULTS, prefix, unseal) for ref in self._refs_of(prefix, key)}
        stored.events = self._events(prefix)
        stored.has_snapshot = any(True for _ in self._all(SNAPSHOTS, prefix, unseal))
        stored.blob_refs = self._refs[prefix]
        stored.pruned = next((pruned for _, pruned in self._all(PRUNED, prefix, decode_pruned)), Pruned())

    def _inputs(
        self, table: bytes, rows: Iterator[tuple[bytes, bytes]], key_of: Callable[[int], bytes]
    ) -> list[InputRecord]:
        found = []
        for key, value in rows:
            record = self._decoded(table, key, value, decode_input)
            if record is not None:
                self._placed(table, key, key_of(record.order))
                found.append(record)
        return found

    def _bodies(self, table: bytes, prefix: bytes, others: list[InputRecord]) -> set[int]:
        """Order keys that have a body in ``table``, where the bodies of ``others`` are not looked for."""
        elsewhere = {record.order for record in others}
        found = set()
        for key, value in self._rows.scan(table, prefix):
            if table == ACTIVE and not is_body(key):
                continue
            order = order_of(key[:-1])
            if order in elsewhere:
                self._found("row_is_in_its_place", table, key, "its input is an ended one here, an active one there")
            if self._decoded(table, key, value, unseal) is not None:
                found.add(order)
        return found

    def _keys(self, prefix: bytes) -> dict[str, InputId]:
        found = {}
        for key, (input_id, text) in self._all(KEYS, prefix, decode_key):
            self._placed(KEYS, key, idempotency_key(prefix, text))
            found[text] = input_id
        return found

    def _index_active(self, stored: StoredRuntime, prefix: bytes) -> None:
        """Take the active inputs into the indexes, which in the store hold the ended ones alone."""
        for record in stored.active:
            admission = record.admission
            if admission.input_id in stored.orders:
                self._found("index_holds_ended_inputs", ORDERS, input_key(prefix, admission.input_id), _ACTIVE_INDEXED)
            stored.orders.setdefault(admission.input_id, admission.order)
            key = admission.idempotency_key
            if key is None:
                continue
            if key in stored.keys:
                self._found("index_holds_ended_inputs", KEYS, idempotency_key(prefix, key), _ACTIVE_INDEXED)
            stored.keys.setdefault(key, admission.input_id)

    def _receipts(self, prefix: bytes) -> list[RunBoundaryReceipt]:
        found = []
        for key, receipt in self._all(RECEIPTS, prefix, decode_receipt):
            self._placed(RECEIPTS, key, receipt_key(prefix, receipt.run_id, receipt.sequence))
            found.append(receipt)
        return found

    def _events(self, prefix: bytes) -> list[int]:
        found = []
        for key, event in self._all(EVENTS, prefix, decode_event):
            self._placed(EVENTS, key, event_key(prefix, event.offset))
            found.append(event.offset)
        return found

    def _refs_of(self, prefix: bytes, key: bytes) -> Iterator[ResultRef]:
        rest = key[len(prefix) + 16 :]
        sequence = int.from_bytes(rest[1:], "big") if len(rest) > 1 else None
        ref = ResultRef(RunId(_run_of(key, prefix)), sequence)
        self._placed(RESULTS, key, result_key(prefix, ref))
        yield ref

    def find_strays(self) -> None:
        """Rows of runtimes that no name points to; call it after ``runtimes`` was gone through."""
        for table in _OF_RUNTIMES:
            strays = {key[:8] for key in self._rows.keys_from(table, b"", None)} - self._prefixes
            for prefix in sorted(strays):
                self._found("row_belongs_to_a_runtime", table, prefix, "no name points to rows that start so")
        for prefix in sorted(set(self._refs) - self._prefixes):
            self._found("row_belongs_to_a_runtime", BLOB_REFS, prefix, "no name points to a runtime that has blobs")

    # -- blobs ---------------------------------------------------------------------------------------------------

    def blobs(self) -> Iterator[StoredBlob]:
        """Every blob that can be read."""
        for digest, content in self._all(BLOBS, b"", unseal):
            yield StoredBlob(blob_name(digest), content, digest in self._held)


def _run_of(key: bytes, prefix: bytes) -> UUID:
    return UUID(bytes=key[len(prefix) : len(prefix) + 16])
