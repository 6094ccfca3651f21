"""What leaves an LMDB store: ended inputs and events past their retention, what only they refer to, unneeded blobs.

Plans are made on a snapshot and carried out in bounded transactions. That is safe because what a plan names is frozen:
an ended input never changes, and a run that is over never becomes current again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Final, TypeVar, final
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
    """Prune every runtime, many of them in one transaction; returns how many rows went in all."""
    pruning = _Pruning(environment)
    if retention.keep_ended_seconds is not None:
        before = now - timedelta(seconds=retention.keep_ended_seconds)
        pruning.remove(partial(_doomed_inputs, before=before), _remove_inputs, _INPUTS_AT_ONCE)
        pruning.remove(_doomed_runs, _remove_runs, _RUNS_AT_ONCE)
    if retention.keep_events_seconds is not None:
        before = now - timedelta(seconds=retention.keep_events_seconds)
        pruning.remove(partial(_doomed_events, before=before), _remove_events, _EVENTS_AT_ONCE)
    return pruning.total


@final
class _Pruning:
    """The runtimes of a store, as long as all can be read that is looked at in them: where something cannot, nothing
    more goes, for what still refers to it cannot be told. Without a quarantine that is raised.
    """

    def __init__(self, environment: StoreEnvironment) -> None:
        self.total = Pruned()
        self._environment = environment
        self._prefixes: dict[bytes, None] = {}
        with environment.reading() as rows:
            for row in rows.scan(NAMES, b""):
                try:
                    self._prefixes[ordinal_prefix(decode_number(NAMES, *row))] = None
                except StoreCorruption as error:
                    self._set_aside(error)

    def remove(
        self, plan: Callable[[Rows, bytes], Sequence[T]], carry_out: Callable[[Rows, bytes, list[T]], Pruned], most: int
    ) -> None:
        """What ``plan`` finds in each runtime goes, at most ``most`` of it in one transaction."""
        doomed: list[tuple[bytes, T]] = []
        for prefix in tuple(self._prefixes):
            try:
                with self._environment.reading() as rows:
                    doomed += [(prefix, each) for each in plan(rows, prefix)]
            except StoreCorruption as error:
                self._leave(prefix, error)
            whole = len(doomed) - len(doomed) % most
            for start in range(0, whole, most):
                self._write(doomed[start : start + most], carry_out)
            del doomed[:whole]
        self._write(doomed, carry_out)

    def _write(self, doomed: Sequence[tuple[bytes, T]], carry_out: Callable[[Rows, bytes, list[T]], Pruned]) -> None:
        parts = {
            prefix: [each for _, each in some]
            for prefix, some in groupby(doomed, itemgetter(0))
            if prefix in self._prefixes
        }

        def work(rows: Rows, prefixes: Iterable[bytes]) -> Pruned:
            pruned = Pruned()
            for prefix in prefixes:
                pruned = pruned.plus(carry_out(rows, prefix, parts[prefix]))
            return pruned

        if not parts:
            return
        try:
            self.total = self.total.plus(self._environment.write(partial(work, prefixes=parts), releases=always))
        except StoreCorruption as error:
            if len(parts) == 1 or self._environment.quarantine is None:
                self._leave(next(iter(parts)), error)
                return
            for prefix, some in parts.items():  # so that what cannot be read keeps nobody else
                self._write([(prefix, each) for each in some], carry_out)

    def _leave(self, prefix: bytes, error: StoreCorruption) -> None:
        del self._prefixes[prefix]
        self._set_aside(error)

    def _set_aside(self, error: StoreCorruption) -> None:
        if self._environment.quarantine is None:
            raise error
        self._environment.quarantine.take(error)


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


def _remove_inputs(rows: Rows, prefix: bytes, orders: list[int]) -> Pruned:
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


def _remove_runs(rows: Rows, prefix: bytes, runs: list[UUID]) -> Pruned:
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


def _remove_events(rows: Rows, prefix: bytes, keys: list[bytes]) -> Pruned:
    return _count(rows, prefix, Pruned(events=sum([rows.delete(EVENTS, key) for key in keys])))


def _count(rows: Rows, prefix: bytes, pruned: Pruned) -> Pruned:
    """Add to the count that is kept of what was removed, in the same transaction."""
    if pruned != Pruned():
        so_far = rows.read(PRUNED, prefix, decode_pruned) or Pruned()
        rows.put(PRUNED, prefix, encode_pruned(so_far.plus(pruned)))
    return pruned
