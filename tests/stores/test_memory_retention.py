"""The memory store: what goes, and with what: bodies, blobs, ended inputs, receipts, results."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attrs import evolve

from holdstate.runtime.records import Counts, ResultSource, RunBoundaryReceipt
from holdstate.runtime.settings import Retention
from holdstate.runtime.store import InputWrite, Pruned, ResultRef
from holdstate.spec.vocabulary import InputState, OutcomeKind, RunBoundary, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from ..spec.images import NOON, an_input, input_id, run_id
from .commits import BLOB, CONTENT, A, admitted, ending, following, opened, put, with_blob

# -- blobs -------------------------------------------------------------------------------------------------------------


def test_a_blob_goes_with_the_last_body_that_needs_it() -> None:
    """In the same commit (C41); a second input finds the blob there, a third one brings it again."""
    store = opened()
    put(store, with_blob(following(store, admitted(1, blobs=(BLOB,)))))
    put(store, following(store, admitted(2, blobs=(BLOB,))))
    put(store, with_blob(following(store, admitted(3, blobs=(BLOB,)))))
    put(store, following(store, ending(store, 1), ending(store, 3)))
    assert store.get_blob(BLOB) == CONTENT
    put(store, following(store, ending(store, 2)))
    assert not store.blob_exists(BLOB)
    assert store.verify() == []


def test_a_blob_that_was_put_stays_until_it_is_swept() -> None:
    """Putting it twice is one blob; a sweep leaves what an input needs, and ends the hold."""
    store = opened()
    assert store.put_blob(CONTENT) == store.put_blob(CONTENT) == BLOB
    put(store, following(store, admitted(1, blobs=(BLOB,))))
    put(store, following(store, ending(store, 1)))
    assert store.blob_exists(BLOB)
    assert store.verify() == []
    put(store, following(store, admitted(2, blobs=(BLOB,))))
    assert store.sweep_blobs() == 0
    put(store, following(store, ending(store, 2)))
    assert not store.blob_exists(BLOB)
    store.put_blob(CONTENT)
    assert store.sweep_blobs() == 1
    assert not store.blob_exists(BLOB)


# -- retention ---------------------------------------------------------------------------------------------------------


def _prune(store: MemoryStore, seconds: float, now: int) -> Pruned:
    return store.prune(Retention(keep_ended_seconds=seconds), now=NOON + timedelta(seconds=now))


def test_only_what_ended_long_enough_ago_is_pruned() -> None:
    """The row, its key, its body and its blob; the runtime record stays, and the counts still add up."""
    store = opened()
    put(store, with_blob(following(store, admitted(1, idempotency_key="k1", blobs=(BLOB,)), admitted(2), admitted(3))))
    put(store, following(store, ending(store, 1, drop_body=False, at=0), ending(store, 2, at=5)))
    record = store.load_record(A)
    assert store.prune(Retention(), now=NOON + timedelta(days=999)) == Pruned()
    assert _prune(store, 10, now=10) == Pruned()
    assert _prune(store, 10, now=12) == Pruned(inputs=1, keys=1)
    assert store.load_input(A, input_id(1)) is None
    assert store.find_by_key(A, "k1") is None
    assert store.load_body(A, an_input(1)) is None
    assert not store.blob_exists(BLOB)
    assert store.load_record(A) == record
    assert store.verify() == []
    assert _prune(store, 10, now=99) == Pruned(inputs=1)
    assert store.verify() == []


def test_an_ended_input_without_history_counts_from_its_admission() -> None:
    """A history may be bounded to nothing."""
    store = opened()
    put(store, following(store, admitted(1)))
    put(store, following(store, ending(store, 1, history=())))
    assert _prune(store, 10, now=11) == Pruned(inputs=1)


def test_a_successor_outlives_who_names_it() -> None:
    """Along a whole chain: 1 was replaced by 2, 2 by 3; only when 1 may go they all may."""
    store = opened()
    put(store, following(store, *(admitted(number) for number in (1, 2, 3))))

    def replaced(number: int, at: int) -> InputWrite:
        return ending(
            store,
            number,
            at=at,
            state=InputState.SUPERSEDED,
            outcome_kind=OutcomeKind.SUPERSEDED,
            abandon_reason=None,
            successor_id=input_id(number + 1),
        )

    put(store, following(store, replaced(1, at=20), replaced(2, at=0), ending(store, 3, at=0)))
    assert _prune(store, 10, now=15) == Pruned()
    assert _prune(store, 10, now=31) == Pruned(inputs=3)
    assert store.verify() == []


def test_receipts_and_results_go_with_the_last_input_of_their_run() -> None:
    """Not while an input that they list or that names the run is stored, and not while the run is current."""
    store = opened()
    put(store, following(store, admitted(1), admitted(2)))
    fields: dict[str, Any] = {
        "state": InputState.CONSUMED,
        "outcome_kind": OutcomeKind.CONSUMED,
        "abandon_reason": None,
        "last_run_id": run_id(1),
        "last_boundary_sequence": 0,
        "attempt_count": 1,
        "result_source": ResultSource.BOUNDARY,
    }
    commit = following(store, ending(store, 1, at=0, **fields), ending(store, 2, at=5, **fields))
    commit.receipts.append(RunBoundaryReceipt(run_id(1), RunBoundary.RUN_START, (input_id(1), input_id(2))))
    commit.results.append((ResultRef(run_id(1), 0), b"result"))
    commit.runtime = evolve(commit.runtime, counts=evolve(commit.runtime.counts, receipts=1, results=1))
    put(store, commit)
    assert store.verify() == []
    assert _prune(store, 10, now=12) == Pruned(inputs=1)
    assert store.has_receipt(A, run_id(1))
    assert _prune(store, 10, now=99) == Pruned(inputs=1, receipts=1, results=1)
    assert not store.has_receipt(A, run_id(1))
    assert store.load_result(A, ResultRef(run_id(1), 0)) is None
    assert store.verify() == []


def test_the_receipts_of_the_current_run_stay() -> None:
    """Even when they list nothing that is stored."""
    store = opened()
    commit = following(
        store,
        state=RuntimeState.RUNNING,
        current_run_id=run_id(1),
        pre_run_state=RuntimeState.IDLE,
        boundary_count=1,
        counts=Counts(receipts=1),
    )
    commit.receipts.append(RunBoundaryReceipt(run_id(1), RunBoundary.RUN_START, (input_id(99),)))
    put(store, commit)
    assert _prune(store, 0, now=99) == Pruned()
    assert store.verify() == []
