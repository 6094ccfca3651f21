"""What ``holdstate store`` shows of records, as plain JSON values and as cells."""

from __future__ import annotations

from collections import Counter
from typing import cast
from uuid import UUID

from ..runtime.inputs import JSON
from ..runtime.records import InputRecord, RuntimeRecord
from ..runtime.store import Finding, InputFilter, Reader, ResultRef, RuntimeStore
from ..runtime.validation import strict_json
from ..runtime.wire import to_wire
from .run_report import outcome_view, result_text

PAGE = 1000


def statistics(store: RuntimeStore) -> dict[str, JSON]:
    """Counts, sizes, and how many runtimes and inputs are in which state."""
    stats = store.stats()
    runtimes: Counter[str] = Counter()
    inputs: Counter[str] = Counter()
    after: str | None = None
    while records := store.list_runtimes(after=after, limit=PAGE):
        for record in records:
            runtimes[str(record.state)] += 1
            inputs.update(_input_states(store, record.runtime_id))
        after = records[-1].runtime_id
    return {
        "size_bytes": stats.size_bytes,
        "runtimes": stats.runtimes,
        "active_inputs": stats.active_inputs,
        "ended_inputs": stats.ended_inputs,
        "blobs": stats.blobs,
        "runtime_states": cast("JSON", dict(sorted(runtimes.items()))),
        "input_states": cast("JSON", dict(sorted(inputs.items()))),
    }


def _input_states(store: RuntimeStore, runtime_id: str) -> Counter[str]:
    states: Counter[str] = Counter()
    after: int | None = None
    while True:
        page = store.list_inputs(InputFilter(runtime_id), after=after, limit=PAGE)
        states.update(str(record.state) for record in page.records)
        after = page.next_after
        if after is None:
            return states


def runtime_view(record: RuntimeRecord) -> dict[str, JSON]:
    """A runtime record."""
    return cast("dict[str, JSON]", to_wire(record))


def runtime_row(record: RuntimeRecord) -> tuple[object, ...]:
    """The cells of a runtime in a listing."""
    counts = record.counts
    return (
        record.runtime_id,
        record.state,
        counts.active,
        counts.ended,
        record.epoch,
        record.revision,
        to_wire(record.created_at),
    )


def input_row(record: InputRecord) -> tuple[object, ...]:
    """The cells of an input in a listing."""
    return (
        record.order,
        record.input_id,
        record.admission.kind,
        record.state,
        record.abandon_reason or record.outcome_kind,
        record.attempt_count,
        record.failure_count,
        record.admission.idempotency_key,
    )


def input_view(record: InputRecord, reader: Reader | None = None, runtime_id: str = "") -> dict[str, JSON]:
    """An input record; with a ``reader`` its history, receipt, payload and result too."""
    admission = record.admission
    view: dict[str, JSON] = {
        "input_id": str(record.input_id),
        "key": admission.idempotency_key,
        "kind": str(admission.kind),
        "order": record.order,
        "lane": str(admission.lane),
        "durability": str(admission.durability),
        "supersession_key": admission.supersession_key,
        "admitted_at": to_wire(admission.admitted_at),
        "state": str(record.state),
        "outcome": outcome_view(record),
        "attempts": record.attempt_count,
        "failures": record.failure_count,
        "recoveries": record.recovery_count,
        "error": record.error,
        "not_before": to_wire(record.not_before),
        "last_run_id": to_wire(record.last_run_id),
        "last_boundary_sequence": record.last_boundary_sequence,
    }
    return view if reader is None else {**view, **_stored_with(record, reader, runtime_id)}


def _stored_with(record: InputRecord, reader: Reader, runtime_id: str) -> dict[str, JSON]:
    body = reader.load_body(runtime_id, record)
    ref = ResultRef.of(record)
    result, is_base64 = result_text(None if ref is None else reader.load_result(runtime_id, ref))
    history: list[JSON] = [
        {"at": to_wire(at), "from": str(before), "to": str(after), "event": str(event)}
        for at, before, after, event in record.history
    ]
    return {
        "decision": to_wire(record.admission.decision),
        "history": history,
        "history_dropped": record.history_dropped,
        "receipt": _receipt(record, reader, runtime_id),
        "input": None if body is None else strict_json(body),
        "result": result,
        "result_is_base64": is_base64,
    }


def _receipt(record: InputRecord, reader: Reader, runtime_id: str) -> JSON:
    run_id: UUID | None = record.last_run_id
    if run_id is None or record.last_boundary_sequence is None:
        return None
    return to_wire(reader.load_receipt(runtime_id, run_id, record.last_boundary_sequence))


def finding_view(finding: Finding) -> dict[str, JSON]:
    """One finding of the auditor."""
    return {"check": finding.check, "where": finding.where, "problem": finding.problem}
