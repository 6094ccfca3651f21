"""Records that no driver stores, made by hand: an active input in every state."""

from __future__ import annotations

from typing import Any

from ..runtime.ids import RunId
from ..runtime.records import Admission, InputRecord, RunBoundaryReceipt
from ..spec.policy import DEFAULT_POLICY
from ..spec.vocabulary import Durability, InputKind, InputState, Lane, RunBoundary
from .explorer_kinds import INPUT_IDS, NOW


def a_record(
    state: InputState,
    number: int,
    run_id: RunId | None = None,
    kind: InputKind = InputKind.EXTERNAL_EVENT,
    **given: Any,
) -> InputRecord:
    """The ``number``-th input in ``state``; with ``run_id`` it was staged once."""
    decision = DEFAULT_POLICY.resolve_by_kind(kind, idle=True)
    admission = Admission(
        input_id=INPUT_IDS[number],
        order=number,
        kind=kind,
        durability=Durability.DURABLE,
        lane=Lane.QUEUE,
        boundary=RunBoundary.RUN_START,
        is_prompt=False,
        wakes=True,
        idempotency_key=None,
        supersession_key=None,
        fingerprint=bytes(32),
        decision=decision,
        admitted_at=NOW,
    )
    staged = 0 if run_id is None else 1
    return InputRecord(admission, state, last_run_id=run_id, attempt_count=staged, **given)


def by_hand(run_id: RunId) -> tuple[tuple[InputRecord, ...], RunBoundaryReceipt]:
    """An active input in every state, and a receipt of their run that lists one applied and one pending input."""
    states = InputState
    records = (
        a_record(states.ACCEPTED, 1),
        a_record(states.ACCEPTED, 2, kind=InputKind.OPERATION),
        a_record(states.QUEUED, 3),
        a_record(states.STAGED, 4, run_id),
        a_record(states.APPLIED, 5, run_id),
        a_record(states.APPLIED, 6, run_id),
        a_record(states.APPLIED_PENDING_CONSUMPTION, 7, run_id, last_boundary_sequence=0),
        a_record(states.APPLIED_PENDING_CONSUMPTION, 8, run_id, last_boundary_sequence=0),
        a_record(states.QUEUED, 9, run_id, failure_count=2, failure_cap=2),
    )
    listed = (records[5].input_id, records[7].input_id)
    return records, RunBoundaryReceipt(run_id, RunBoundary.RUN_START, listed)
