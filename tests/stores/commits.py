"""Commits for a memory store that end inputs in every way, with their books kept right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

from attrs import evolve

from holdstate.runtime.records import HistoryEntry, InputRecord, RuntimeRecord
from holdstate.runtime.store import Commit, InputFilter, InputWrite, LoadedRuntime, ResultRef, Written
from holdstate.spec.vocabulary import AbandonReason, InputEvent, InputState, OutcomeKind, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from ..spec.images import NOON, an_input, input_id, run_id

CONTENT = b"an image"
BLOB = f"sha256:{sha256(CONTENT).hexdigest()}"
A = "runtime a"


def opening(loaded: LoadedRuntime | None) -> Commit:
    """What an open commits that has nothing to settle."""
    if loaded is None:
        return Commit(RuntimeRecord(A, RuntimeState.IDLE, epoch=1, revision=1), epoch=1, base_revision=0)
    record = loaded.record
    raised = evolve(record, epoch=record.epoch + 1, revision=record.revision + 1)
    return Commit(raised, epoch=raised.epoch, base_revision=record.revision)


def opening_as(runtime_id: str) -> Callable[[LoadedRuntime | None], Commit]:
    def settle(loaded: LoadedRuntime | None) -> Commit:
        commit = opening(loaded)
        commit.runtime = evolve(commit.runtime, runtime_id=runtime_id)
        return commit

    return settle


def opened(*runtime_ids: str) -> MemoryStore:
    store = MemoryStore()
    for runtime_id in runtime_ids or (A,):
        store.claim(runtime_id, opening_as(runtime_id))
    return store


def following(store: MemoryStore, *writes: InputWrite, runtime_id: str = A, **runtime: Any) -> Commit:
    """The next commit of a runtime, with its counts and the next order key kept right for ``writes``."""
    record = store.load_record(runtime_id)
    assert record is not None
    counts = record.counts
    for write in writes:
        key = write.is_new and write.record.admission.idempotency_key is not None
        counts = evolve(
            counts,
            active=counts.active + write.is_new - write.record.is_terminal,
            ended=counts.ended + write.record.is_terminal,
            keys=counts.keys + key,
        )
    new = [write.record.order + 1 for write in writes if write.is_new]
    after = evolve(record, revision=record.revision + 1, counts=counts, next_order=max([record.next_order, *new]))
    return Commit(evolve(after, **runtime), record.epoch, record.revision, list(writes))


def admitted(number: int, **stamp: Any) -> InputWrite:
    return InputWrite(an_input(number, stamp=stamp), is_new=True, body=b"body %d" % number)


def ended(record: InputRecord, *, at: int = 0, **fields: Any) -> InputRecord:
    """``record`` as cancelled ``at`` seconds after noon."""
    entry = HistoryEntry(NOON + timedelta(seconds=at), InputState.QUEUED, InputState.ABANDONED, InputEvent.ABANDON)
    given: dict[str, Any] = {
        "state": InputState.ABANDONED,
        "outcome_kind": OutcomeKind.ABANDONED,
        "abandon_reason": AbandonReason.CANCELLED,
        "history": (entry,),
        **fields,
    }
    return evolve(record, **given)


def ending(store: MemoryStore, number: int, *, drop_body: bool = True, **fields: Any) -> InputWrite:
    record = store.load_input(A, input_id(number))
    assert record is not None
    return InputWrite(ended(record, **fields), is_new=False, drop_body=drop_body)


def put(store: MemoryStore, commit: Commit) -> None:
    assert store.commit([commit]) == [Written(commit)]


def content_of(store: MemoryStore) -> list[object]:
    """Everything that can be read of runtime a and of the one blob."""
    numbers = range(1, 10)
    return [
        store.list_runtimes(),
        store.list_inputs(InputFilter(A)),
        [store.load_body(A, an_input(number)) for number in numbers],
        [store.find_by_key(A, f"k{number}") for number in numbers],
        [store.load_receipt(A, run_id(number), 0) for number in numbers],
        [store.load_result(A, ResultRef(run_id(number))) for number in numbers],
        store.load_session_snapshot(A),
        store.get_blob(BLOB),
        store.verify(),
    ]


def with_blob(commit: Commit) -> Commit:
    """``commit``, which brings the blob along."""
    commit.blobs.append((BLOB, CONTENT))
    return commit
