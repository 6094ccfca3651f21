"""What leaves an LMDB store: ended inputs and events past their retention, what only they refer to, unneeded blobs.

Plans are made on a snapshot and carried out in bounded transactions. That is safe because what a plan names is frozen:
an ended input never changes, and a run that is over never becomes current again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import takewhile
from typing import Final, TypeVar
from uuid import UUID

from ..runtime.errors import StoreCorruption
from ..runtime.records import InputRecord
from ..runtime.settings import Retention
from ..runtime.store import Pruned
from .codec import decode_number, decode_pruned, decode_receipt, decode_runtime, encode_pruned
from .codec_envelope import row_name
from .codec_events import decode_event
from .codec_inputs import decode_input
from .lmdb_environment import StoreEnvironment, always
from .lmdb_rows import (
    ACTIVE,
    BLOB_REFS,
    BLOBS,
    BODIES,
    ENDED,
    EVENTS,
    KEYS,
    NAMES,
    NOBODY,
    ORDERS,
    PRUNED,
    RECEIPTS,
    RESULTS,
    RUNTIMES,
    Rows,
    idempotency_key,
    input_key,
    order_key,
    ordinal_prefix,
    run_prefix,
)
from .lmdb_writer import Draft, release_body, write_draft

T = TypeVar("T")

_INPUTS_AT_ONCE: Final = 500
_RUNS_AT_ONCE: Final = 100
_EVENTS_AT_ONCE: Final = 1000
_BLOBS_AT_ONCE: Final = 100


def sweep_step(rows: Rows, after: bytes) -> tuple[int, bytes | None]:
    """Go through some blobs: none is held any more, and those without a reference go.

    Returns how many went, and where to go on, None at the end.
    """
    digests = rows.keys_from(BLOBS, after, _BLOBS_AT_ONCE)
    swept = 0
    for digest in digests:
        rows.delete(BLOB_REFS, digest + NOBODY)
        if not rows.has_prefix(BLOB_REFS, digest):
            swept += rows.delete(BLOBS, digest)
    return swept, digests[-1] + b"\0" if len(digests) == _BLOBS_AT_ONCE else None


def prune_store(environment: StoreEnvironment, retention: Retention, now: datetime) -> Pruned:
    """Prune every runtime; returns how many rows went in all."""
    with environment.reading() as rows:
        names = list(rows.scan(NAMES, b""))
    total = Pruned()
    for row in names:
        try:
            prefix = ordinal_prefix(decode_number(NAMES, *row))
            if retention.keep_ended_seconds is not None:
                before = now - timedelta(seconds=retention.keep_ended_seconds)
                total = total.plus(_prune_inputs(environment, prefix, before))
            if retention.keep_events_seconds is not None:
                before = now - timedelta(seconds=retention.keep_events_seconds)
                total = total.plus(_prune_events(environment, prefix, before))
        except StoreCorruption as error:
            # What still refers to what cannot be told: nothing more of this runtime goes.
            if environment.quarantine is None:
                raise
            environment.quarantine.take(error)
    return total


def _prune_inputs(environment: StoreEnvironment, prefix: bytes, before: datetime) -> Pruned:
    total = Pruned()
    with environment.reading() as rows:
        orders = _doomed_inputs(rows, prefix, before)
    for some in _chunks(orders, _INPUTS_AT_ONCE):
        total = total.plus(environment.write(partial(_remove_inputs, prefix=prefix, orders=some), releases=always))
    with environment.reading() as rows:
        runs = _doomed_runs(rows, prefix)
    for some_runs in _chunks(runs, _RUNS_AT_ONCE):
        total = total.plus(environment.write(partial(_remove_runs, prefix=prefix, runs=some_runs), releases=always))
    return total


def _prune_events(environment: StoreEnvironment, prefix: bytes, before: datetime) -> Pruned:
    total = Pruned()
    with environment.reading() as rows:
        doomed = _doomed_events(rows, prefix, before)
    for some in _chunks(doomed, _EVENTS_AT_ONCE):
        total = total.plus(environment.write(partial(_remove_events, prefix=prefix, keys=some), releases=always))
    return total


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _ended_at(record: InputRecord) -> datetime:
    return record.history[-1].at if record.history else record.admission.admitted_at


def _records(rows: Rows, table: bytes, prefix: bytes) -> Iterator[InputRecord]:
    for row in rows.states(prefix) if table == ACTIVE else rows.scan(table, prefix):
        yield decode_input(table, *row)


def _doomed_inputs(rows: Rows, prefix: bytes, before: datetime) -> list[int]:
    """Order keys of ended inputs whose last change is older, without those that a row that stays names as successor.

    Where a successor has the smaller order key it stays for this time: it would go in an earlier transaction than the
    input that names it, and a crash between them would leave that one naming nothing.
    """
    doomed: list[tuple[int, UUID]] = []
    edges: dict[UUID, UUID] = {}
    staying: list[UUID | None] = [record.successor_id for record in _records(rows, ACTIVE, prefix)]
    for record in _records(rows, ENDED, prefix):
        if _ended_at(record) >= before:
            staying.append(record.successor_id)
            continue
        doomed.append((record.order, record.input_id))
        if record.successor_id is None:
            continue
        edges[record.input_id] = record.successor_id
        order = rows.read(ORDERS, input_key(prefix, record.successor_id), decode_number)
        if order is not None and order < record.order:
            staying.append(record.successor_id)
    kept: set[UUID] = set()
    while staying:
        successor = staying.pop()
        if successor is not None and successor not in kept:
            kept.add(successor)
            staying.append(edges.get(successor))
    return [order for order, input_id in doomed if input_id not in kept]


def _remove_inputs(rows: Rows, prefix: bytes, orders: Iterable[int]) -> Pruned:
    going = Draft()
    inputs = keys = 0
    for order in orders:
        place = order_key(prefix, order)
        record = rows.read(ENDED, place, decode_input)
        if record is None:
            continue
        inputs += 1
        going.deletes += [(ENDED, place), (ORDERS, input_key(prefix, record.input_id))]
        release_body(going, BODIES, place, record)
        if record.admission.idempotency_key is not None:
            keys += 1
            going.deletes.append((KEYS, idempotency_key(prefix, record.admission.idempotency_key)))
    write_draft(rows, going)
    return _count(rows, prefix, Pruned(inputs=inputs, keys=keys))


def _doomed_runs(rows: Rows, prefix: bytes) -> list[UUID]:
    """Runs whose receipts and results no stored input needs. A run goes as a whole: its sequences stay dense."""
    runtime = rows.read(RUNTIMES, prefix, decode_runtime)
    if runtime is None:
        raise StoreCorruption(row_name(RUNTIMES, prefix), "the record of this runtime is missing")
    needed: set[UUID | None] = {runtime.current_run_id}
    for table in (ACTIVE, ENDED):
        needed.update(record.last_run_id for record in _records(rows, table, prefix))
    found: set[UUID] = set()
    for row in rows.scan(RECEIPTS, prefix):
        receipt = decode_receipt(RECEIPTS, *row)
        found.add(receipt.run_id)
        if receipt.run_id not in needed and any(
            rows.get(ORDERS, input_key(prefix, input_id)) is not None for input_id in receipt.stored_input_ids
        ):
            needed.add(receipt.run_id)
    start = len(prefix)
    found.update(UUID(bytes=key[start : start + 16]) for key, _ in rows.scan(RESULTS, prefix))
    return sorted(found - needed)


def _remove_runs(rows: Rows, prefix: bytes, runs: Iterable[UUID]) -> Pruned:
    counts = []
    for table in (RECEIPTS, RESULTS):
        keys = [key for run_id in runs for key, _ in rows.scan(table, run_prefix(prefix, run_id))]
        counts.append(sum([rows.delete(table, key) for key in keys]))
    return _count(rows, prefix, Pruned(receipts=counts[0], results=counts[1]))


def _doomed_events(rows: Rows, prefix: bytes, before: datetime) -> list[bytes]:
    """Keys of the front of the log, up to the first event that is not older. What goes first is in front of the rest,
    so a crash in between leaves a log without a gap.
    """
    older = takewhile(lambda row: decode_event(EVENTS, *row).announcement.at < before, rows.scan(EVENTS, prefix))
    return [key for key, _ in older]


def _remove_events(rows: Rows, prefix: bytes, keys: Iterable[bytes]) -> Pruned:
    return _count(rows, prefix, Pruned(events=sum([rows.delete(EVENTS, key) for key in keys])))


def _count(rows: Rows, prefix: bytes, pruned: Pruned) -> Pruned:
    """Add to the count that is kept of what was removed, in the same transaction."""
    if pruned != Pruned():
        so_far = rows.read(PRUNED, prefix, decode_pruned) or Pruned()
        rows.put(PRUNED, prefix, encode_pruned(so_far.plus(pruned)))
    return pruned
