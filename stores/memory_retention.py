"""Retention of a memory store: which ended inputs go, and what goes with them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import takewhile
from uuid import UUID

from ..runtime.records import InputRecord, RuntimeRecord
from ..runtime.settings import Retention
from ..runtime.store import Pruned
from .memory_tables import RuntimeRows, Tables, Undo


def prune_runtime(tables: Tables, runtime_id: str, retention: Retention, now: datetime, undo: Undo) -> Pruned:
    """Remove what is past its retention from one runtime; the runtime record stays as it is."""
    pruned = Pruned()
    if retention.keep_ended_seconds is not None:
        pruned = _prune_inputs(tables, runtime_id, now - timedelta(seconds=retention.keep_ended_seconds), undo)
    if retention.keep_events_seconds is not None:
        events = _prune_events(tables.rows[runtime_id], now - timedelta(seconds=retention.keep_events_seconds), undo)
        pruned = pruned.plus(Pruned(events=events))
    if pruned != Pruned():
        undo.put(tables.pruned, runtime_id, tables.pruned.get(runtime_id, Pruned()).plus(pruned))
    return pruned


def _prune_events(rows: RuntimeRows, before: datetime, undo: Undo) -> int:
    """Drop the front of the log, up to the first event that is not older."""
    doomed = [offset for offset, _ in takewhile(lambda row: row[1].at < before, rows.events.items())]
    for offset in doomed:
        undo.drop(rows.events, offset)
    return len(doomed)


def _prune_inputs(tables: Tables, runtime_id: str, before: datetime, undo: Undo) -> Pruned:
    rows = tables.rows[runtime_id]
    doomed = _doomed_inputs(rows, before)
    keys = 0
    for record in doomed:
        tables.drop_body(runtime_id, record, undo)
        undo.drop(rows.ended, record.order)
        undo.drop(rows.orders, record.input_id)
        if record.admission.idempotency_key is not None:
            undo.drop(rows.keys, record.admission.idempotency_key)
            keys += 1
    receipts, results = _prune_runs(rows, tables.records[runtime_id], undo)
    return Pruned(len(doomed), keys, receipts, results)


def _doomed_inputs(rows: RuntimeRows, before: datetime) -> list[InputRecord]:
    """Ended inputs whose last change is older, without those that a row that stays names as its successor."""
    doomed = {record.input_id: record for record in rows.ended.values() if _ended_at(record) < before}
    staying = [*rows.active.values(), *(record for record in rows.ended.values() if record.input_id not in doomed)]
    while staying:
        successor = staying.pop().successor_id
        if successor in doomed:
            staying.append(doomed.pop(successor))
    return list(doomed.values())


def _ended_at(record: InputRecord) -> datetime:
    return record.history[-1].at if record.history else record.admission.admitted_at


def _prune_runs(rows: RuntimeRows, runtime: RuntimeRecord, undo: Undo) -> tuple[int, int]:
    """Drop receipts and results of whole runs that no input speaks of any more; their sequences stay dense."""
    needed: set[UUID | None] = {runtime.current_run_id}
    needed.update(record.last_run_id for table in (rows.active, rows.ended) for record in table.values())
    needed.update(
        receipt.run_id
        for receipt in rows.receipts.values()
        if any(input_id in rows.orders for input_id in receipt.stored_input_ids)
    )
    receipts = [key for key in rows.receipts if key[0] not in needed]
    results = [ref for ref in rows.results if ref.run_id not in needed]
    for key in receipts:
        undo.drop(rows.receipts, key)
    for ref in results:
        undo.drop(rows.results, ref)
    return len(receipts), len(results)
