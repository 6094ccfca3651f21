"""Images made by hand, of the records that the runtime keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from attrs import evolve

from holdstate.runtime.ids import InputId, RunId
from holdstate.runtime.records import PRIORITY_BIAS, Admission, Counts, InputRecord, RunBoundaryReceipt, RuntimeRecord
from holdstate.runtime.store import Pruned
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.views import InputView, ReceiptView, Stored, View
from holdstate.spec.vocabulary import (
    AbandonReason,
    Durability,
    InputKind,
    InputState,
    Lane,
    OutcomeKind,
    RunBoundary,
    RuntimeState,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def input_id(number: int) -> InputId:
    return InputId(UUID(int=number))


def run_id(number: int) -> RunId:
    return RunId(UUID(int=1000 + number))


def an_input(
    number: int, state: InputState = InputState.QUEUED, *, stamp: dict[str, Any] | None = None, **fields: Any
) -> InputRecord:
    """Input ``number`` with that order key: a durable event in the queue lane unless ``stamp`` says otherwise."""
    stamps = {
        "input_id": input_id(number),
        "order": number,
        "kind": InputKind.EXTERNAL_EVENT,
        "durability": Durability.DURABLE,
        "lane": Lane.QUEUE,
        "boundary": RunBoundary.RUN_START,
        "is_prompt": False,
        "wakes": True,
        "idempotency_key": None,
        "supersession_key": None,
        "fingerprint": bytes(32),
        "decision": DEFAULT_POLICY.resolve_by_kind(InputKind.EXTERNAL_EVENT, idle=True),
        "admitted_at": NOON,
    }
    return InputRecord(Admission(**{**stamps, **(stamp or {})}), state, **fields)


def restamped(record: InputRecord, **stamp: Any) -> InputRecord:
    return evolve(record, admission=evolve(record.admission, **stamp))


STEER = {"lane": Lane.STEER, "boundary": RunBoundary.RUN_CHECKPOINT}
ON_ACCEPT = {
    "kind": InputKind.OPERATION,
    "order": 6 + PRIORITY_BIAS,
    "decision": DEFAULT_POLICY.resolve_by_kind(InputKind.OPERATION, idle=True),
}

CONSUMED = an_input(
    1,
    InputState.CONSUMED,
    stamp={"idempotency_key": "k1"},
    last_run_id=run_id(1),
    last_boundary_sequence=0,
    attempt_count=1,
    outcome_kind=OutcomeKind.CONSUMED,
)
SUPERSEDED = an_input(2, InputState.SUPERSEDED, outcome_kind=OutcomeKind.SUPERSEDED, successor_id=input_id(3))
QUEUED = an_input(3, stamp={"idempotency_key": "k3"})
STAGED = an_input(4, InputState.STAGED, last_run_id=run_id(2), attempt_count=1)
PENDING = an_input(
    5, InputState.APPLIED_PENDING_CONSUMPTION, last_run_id=run_id(2), last_boundary_sequence=0, attempt_count=1
)
TAKEN_IN = an_input(6, InputState.CONSUMED, stamp=ON_ACCEPT, outcome_kind=OutcomeKind.CONSUMED)
EXHAUSTED = an_input(
    7,
    InputState.ABANDONED,
    last_run_id=run_id(1),
    attempt_count=5,
    failure_count=5,
    failure_cap=5,
    outcome_kind=OutcomeKind.ABANDONED,
    abandon_reason=AbandonReason.ATTEMPTS_EXHAUSTED,
)
FAILED_ONCE = an_input(8, stamp=STEER, last_run_id=run_id(1), attempt_count=1, failure_count=1, failure_cap=5)
LAST = an_input(9)
EPHEMERAL = an_input(10, InputState.STAGED, stamp={"durability": Durability.EPHEMERAL}, last_run_id=run_id(2))

FIRST_RECEIPT = RunBoundaryReceipt(run_id(1), RunBoundary.RUN_START, (input_id(1),))
SECOND_RECEIPT = RunBoundaryReceipt(run_id(2), RunBoundary.RUN_START, (input_id(5), input_id(99)))

STORED = Stored(
    ended=(CONSUMED, SUPERSEDED, TAKEN_IN, EXHAUSTED),
    receipts=(FIRST_RECEIPT, SECOND_RECEIPT),
    keys={"k1": input_id(1), "k3": input_id(3)},
    results=1,
    pruned=Pruned(inputs=2, keys=1, receipts=3, results=4, events=1),
    events=(1, 2, 3),
)
RUNNING_RECORD = RuntimeRecord(
    "runtime",
    RuntimeState.RUNNING,
    current_run_id=run_id(2),
    pre_run_state=RuntimeState.IDLE,
    contributors=(input_id(5), input_id(4), input_id(10)),
    boundary_count=1,
    epoch=3,
    revision=20,
    next_order=11,
    counts=Counts(active=5, ended=6, keys=3, receipts=5, results=5, events=4),
)
RUNNING = View(
    RUNNING_RECORD,
    (QUEUED, STAGED, PENDING, FAILED_ONCE, LAST),
    STORED,
)
"""A store at rest in the middle of a run, with an input in every state that is stored; one contributor is ephemeral."""

IDLE = View(
    RuntimeRecord("runtime", RuntimeState.IDLE, epoch=1, revision=2, next_order=10, counts=Counts(active=2)),
    (an_input(3), LAST),
    Stored((), (), {}, 0, Pruned()),
)
"""A store at rest with two queued inputs and nothing else."""

MEMORY = View(
    evolve(RUNNING_RECORD, pre_run_state=RuntimeState.ATTACHED, next_order=11),
    (*RUNNING.active, EPHEMERAL),
)
"""The same runtime as ``RUNNING``, in the memory of its driver."""


def with_runtime(image: View, **fields: Any) -> View:
    """``image`` with other fields in its runtime record."""
    assert isinstance(image.runtime, RuntimeRecord)
    return evolve(image, runtime=evolve(image.runtime, **fields))


def with_input(image: View, *records: InputView) -> View:
    """``image`` with other versions of some of its inputs, each where it is kept."""
    new = {record.input_id: record for record in records}
    stored = image.stored
    if stored is not None:
        stored = evolve(stored, ended=tuple(new.get(each.input_id, each) for each in stored.ended))
    return View(image.runtime, tuple(new.get(each.input_id, each) for each in image.active), stored)


def with_stored(image: View, **fields: Any) -> View:
    """``image`` with other rows."""
    assert image.stored is not None
    return evolve(image, stored=evolve(image.stored, **fields))


def with_receipts(image: View, *receipts: ReceiptView) -> View:
    return with_stored(image, receipts=receipts)
