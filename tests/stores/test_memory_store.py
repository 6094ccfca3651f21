"""The memory store: commits and claims, all or nothing, blobs, retention, reading."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime.errors import Fenced, StoreClosed, StoreCorruption, StoreError
from holdstate.runtime.records import (
    Counts,
    RunBoundaryReceipt,
    RuntimeRecord,
)
from holdstate.runtime.store import (
    Claim,
    Commit,
    InputFilter,
    InputWrite,
    LoadedRuntime,
    Reader,
    ResultRef,
    RuntimeStore,
    Written,
)
from holdstate.spec.vocabulary import (
    InputKind,
    InputState,
    RunBoundary,
    RuntimeState,
)
from holdstate.stores.memory_store import MemoryStore

from ..spec.images import an_input, input_id, run_id
from .commits import BLOB, CONTENT, A, admitted, content_of, ended, ending, following, opened, opening, put, with_blob


def test_it_is_a_store_and_a_reader() -> None:
    """Type checkers hold it against both protocols."""
    store: RuntimeStore = MemoryStore()
    reader: Reader = MemoryStore()
    assert store.generation == 0
    assert reader.load_runtime(A) is None


# -- opening -----------------------------------------------------------------------------------------------------------


def test_a_claim_makes_a_runtime_and_raises_its_epoch() -> None:
    """The first open finds nothing; each one after it finds what is stored."""
    store = MemoryStore()
    assert store.claim(A, opening).record.epoch == 1
    assert store.claim(A, opening).record == RuntimeRecord(A, RuntimeState.IDLE, epoch=2, revision=2)
    assert store.load_runtime(A) == LoadedRuntime(evolve(opening(None).runtime, epoch=2, revision=2))


def test_a_claim_that_cannot_be_settled_fails_alone() -> None:
    """The others of its group are written; nothing of it is."""

    def refuse(loaded: LoadedRuntime | None) -> Commit:
        raise StoreCorruption("runtime 'b'", "two heads")

    store = MemoryStore()
    corrupt, written = store.commit([Claim("b", refuse), Claim(A, opening)])
    assert isinstance(corrupt, StoreCorruption)
    assert isinstance(written, Written)
    assert [record.runtime_id for record in store.list_runtimes()] == [A]
    with pytest.raises(StoreCorruption, match="two heads"):
        store.claim("b", refuse)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"runtime": RuntimeRecord("b", epoch=2, revision=2)}, "raise its epoch"),
        ({"runtime": RuntimeRecord(A, epoch=1, revision=2)}, "raise its epoch"),
        ({"runtime": RuntimeRecord(A, epoch=3, revision=2)}, "raise its epoch"),
        ({"base_revision": 0}, "builds on revision 0"),
    ],
)
def test_a_claim_has_to_build_on_what_it_was_shown(change: dict[str, Any], problem: str) -> None:
    """Another runtime, an epoch that is not the next, another revision: refused, and nothing changed."""
    store = opened()
    before = content_of(store)
    with pytest.raises(StoreError, match=problem) as refused:
        store.claim(A, lambda loaded: evolve(opening(loaded), **change))
    assert refused.value.applied is False
    assert content_of(store) == before


def test_a_commit_of_an_older_epoch_is_fenced_alone() -> None:
    """The newer opener's commit in the same group is written (C32)."""
    store = opened(A, "b")
    stale = following(store, admitted(1))
    store.claim(A, opening)
    fresh = following(store, runtime_id="b")
    results = store.commit([stale, fresh])
    assert isinstance(results[0], Fenced)
    assert (results[0].epoch, results[0].stored_epoch) == (1, 2)
    assert results[1] == Written(fresh)
    assert store.load_input(A, input_id(1)) is None


def test_a_claim_fences_a_commit_later_in_its_group() -> None:
    """Members of one group build on each other, in their order."""
    store = opened()
    results = store.commit([Claim(A, opening), following(store)])
    assert isinstance(results[0], Written)
    assert isinstance(results[1], Fenced)


# -- commits -----------------------------------------------------------------------------------------------------------


def test_a_commit_is_read_back_whole() -> None:
    """Records, body, key, receipt, result, snapshot and blob, from one commit."""
    store = opened()
    commit = following(store, admitted(1, idempotency_key="k1", blobs=(BLOB,)), has_snapshot=True)
    commit.runtime = evolve(commit.runtime, counts=evolve(commit.runtime.counts, receipts=1, results=1))
    receipt = RunBoundaryReceipt(run_id(1), RunBoundary.RUN_START, ())
    commit.receipts.append(receipt)
    commit.results.append((ResultRef(run_id(1)), b"result"))
    commit.blobs.append((BLOB, CONTENT))
    commit.snapshot = b"snapshot"
    put(store, commit)
    record = commit.inputs[0].record
    with store.reading() as reader:
        assert reader.load_record(A) == commit.runtime
        assert reader.load_runtime(A) == LoadedRuntime(commit.runtime, (record,))
        assert reader.load_input(A, input_id(1)) == reader.find_by_key(A, "k1") == record
        assert reader.load_ended(A, input_id(1)) is reader.find_ended_by_key(A, "k1") is None
        assert reader.load_body(A, record) == b"body 1"
        assert reader.load_receipt(A, run_id(1), 0) == receipt
        assert reader.has_receipt(A, run_id(1))
        assert reader.load_result(A, ResultRef(run_id(1))) == b"result"
        assert reader.load_session_snapshot(A) == b"snapshot"
        assert reader.get_blob(BLOB) == CONTENT
        assert reader.blob_exists(BLOB)
    assert store.verify() == []


def test_what_is_unknown_is_none() -> None:
    """An unknown runtime, input, key, run or blob is no error."""
    store = opened()
    for runtime_id in (A, "unknown"):
        assert store.load_input(runtime_id, input_id(1)) is None
        assert store.load_body(runtime_id, an_input(1)) is None
        assert store.find_by_key(runtime_id, "k") is None
        assert store.load_receipt(runtime_id, run_id(1), 0) is None
        assert not store.has_receipt(runtime_id, run_id(1))
        assert store.load_result(runtime_id, ResultRef(run_id(1), 0)) is None
        assert store.load_session_snapshot(runtime_id) is None
    assert store.load_record("unknown") is None
    assert store.get_blob(BLOB) is None
    assert not store.blob_exists(BLOB)


def test_receipts_of_runs_in_flight_are_loaded_with_the_runtime() -> None:
    """Those of other runs are not; they come by run and sequence."""
    store = opened()
    staged: dict[str, Any] = {"state": InputState.STAGED, "last_run_id": run_id(2), "attempt_count": 1}
    commit = following(store, admitted(1), InputWrite(an_input(2, **staged), is_new=True, body=b""))
    receipts = [RunBoundaryReceipt(run_id(run), RunBoundary.RUN_START, (), n) for run, n in ((2, 1), (1, 0), (2, 0))]
    commit.receipts += receipts
    put(store, commit)
    loaded = store.load_runtime(A)
    assert loaded is not None
    assert loaded.receipts == (receipts[2], receipts[0])


def _refused_commits(store: MemoryStore) -> list[tuple[str, Commit]]:
    good = following(store, admitted(5))
    receipt = RunBoundaryReceipt(run_id(1), RunBoundary.RUN_START, ())
    unknown = InputWrite(an_input(7), is_new=False)
    other = InputWrite(evolve(an_input(7), admission=evolve(an_input(7).admission, order=1)), is_new=False)
    done = InputWrite(ended(an_input(2)), is_new=False)
    same_order = admitted(6)
    same_order = evolve(same_order, record=an_input(6, stamp={"order": 2}))
    return [
        ("not stored", evolve(good, runtime=evolve(good.runtime, runtime_id="b"))),
        ("builds on epoch", evolve(good, epoch=2)),
        ("builds on epoch", evolve(good, base_revision=1)),
        ("not an active one", evolve(good, inputs=[admitted(5), unknown])),
        ("not an active one", evolve(good, inputs=[other])),
        ("not an active one", evolve(good, inputs=[done])),
        ("stored already", evolve(good, inputs=[admitted(1)])),
        ("stored already", evolve(good, inputs=[same_order])),
        ("idempotency key", evolve(good, inputs=[admitted(5, idempotency_key="k1")])),
        ("which is not stored", evolve(good, inputs=[admitted(5, blobs=(BLOB,))])),
        ("stored already", evolve(good, receipts=[receipt])),
    ]


@pytest.mark.parametrize("case", range(11))
def test_a_commit_that_does_not_fit_is_refused_alone(case: int) -> None:
    """Nothing of it is written, the rest of its group is."""
    store = opened(A, "c")
    put(store, following(store, admitted(1, idempotency_key="k1"), admitted(2)))
    last = following(store, ending(store, 2))
    last.receipts.append(RunBoundaryReceipt(run_id(1), RunBoundary.RUN_START, ()))
    last.runtime = evolve(last.runtime, counts=evolve(last.runtime.counts, receipts=1))
    put(store, last)
    problem, commit = _refused_commits(store)[case]
    before = content_of(store)
    refused, written = store.commit([commit, following(store, runtime_id="c")])
    assert isinstance(refused, StoreError)
    assert refused.applied is False
    assert problem in str(refused)
    assert isinstance(written, Written)
    assert content_of(store)[1:] == before[1:]
    assert store.load_record(A) == last.runtime


class _Broken(Exception):
    """What no code expects."""


class _BrokenList(list[Any]):
    """A list that breaks when it is read a second time: after the checks, in the middle of the writing."""

    reads = 0

    def __iter__(self) -> Any:
        self.reads += 1
        if self.reads > 1:
            raise _Broken
        return super().__iter__()


def test_a_failure_in_the_middle_leaves_nothing_of_the_group() -> None:
    """Rows that were replaced, added and removed are back, also those of earlier members (C37)."""
    store = opened(A, "b")
    put(store, with_blob(following(store, admitted(1, blobs=(BLOB,)), admitted(2))))
    before, stats = content_of(store), store.stats()
    commit = following(store, ending(store, 1), InputWrite(evolve(an_input(2), error="x"), is_new=False), admitted(3))
    commit.snapshot = b"snapshot"
    broken = following(store, runtime_id="b")
    broken.receipts = _BrokenList()
    with pytest.raises(_Broken):
        store.commit([commit, broken])
    assert content_of(store) == before
    assert store.stats() == stats
    put(store, commit)


def test_prepare_writes_nothing_by_itself() -> None:
    """Its function does, once: the second time it does not fit."""
    store = opened()
    commit = following(store, admitted(1))
    write = store.prepare([commit])
    assert store.load_input(A, input_id(1)) is None
    assert write() == [Written(commit)]
    assert isinstance(write()[0], StoreError)


def test_an_ended_input_stays_known_and_loses_its_body() -> None:
    """By id and by key; retention may keep the body (C7, C41)."""
    store = opened()
    put(store, following(store, admitted(1, idempotency_key="k1"), admitted(2)))
    put(store, following(store, ending(store, 1), ending(store, 2, drop_body=False)))
    loaded = store.load_runtime(A)
    assert loaded is not None
    assert loaded.inputs == ()
    found = store.find_by_key(A, "k1")
    assert found is not None
    assert found.state is InputState.ABANDONED
    assert store.find_ended_by_key(A, "k1") == store.load_ended(A, input_id(1)) == found
    assert [store.load_body(A, an_input(number)) for number in (1, 2)] == [None, b"body 2"]
    assert store.verify() == []


def test_an_input_that_ends_when_it_is_admitted_keeps_no_body() -> None:
    """Its row goes to the ended ones at once, and a blob that it brought is not kept."""
    store = opened()
    commit = following(store, InputWrite(ended(an_input(1, stamp={"blobs": (BLOB,)})), True, b"body", drop_body=True))
    commit.blobs.append((BLOB, CONTENT))
    commit.runtime = evolve(commit.runtime, counts=Counts(ended=1))
    put(store, commit)
    assert store.load_body(A, commit.inputs[0].record) is None
    assert not store.blob_exists(BLOB)
    assert store.verify() == []


def test_a_missing_active_row_is_corruption() -> None:
    """The counter in the record finds a row that vanished; the claim fails and writes nothing (C38)."""
    store = opened()
    put(store, following(store, admitted(1)))
    del store._tables.rows[A].active[1]
    with pytest.raises(StoreCorruption, match="0 active inputs are stored"):
        store.load_runtime(A)
    with pytest.raises(StoreCorruption):
        store.claim(A, opening)
    with pytest.raises(StoreCorruption, match="not where its index points"):
        store.load_input(A, input_id(1))


def test_a_key_that_leads_nowhere_is_corruption() -> None:
    """It is never taken for a key that is new (C7)."""
    store = opened()
    put(store, following(store, admitted(1, idempotency_key="k1")))
    del store._tables.rows[A].orders[input_id(1)]
    with pytest.raises(StoreCorruption, match="k1"):
        store.find_by_key(A, "k1")


# -- listing -----------------------------------------------------------------------------------------------------------


def test_runtimes_are_listed_by_the_bytes_of_their_ids() -> None:
    """In pages, each after the last id of the one before."""
    names = sorted(["b", "a", "ä", "\ufffd", "😀", "a b", "a0"], key=str.encode)
    store = opened(*names[::-1])
    assert [record.runtime_id for record in store.list_runtimes()] == names
    assert [record.runtime_id for record in store.list_runtimes(after=names[1], limit=2)] == names[2:4]
    assert store.list_runtimes(limit=0) == ()


def test_inputs_are_listed_by_order_key_ended_and_active() -> None:
    """In pages, by state and by kind; the priority class is ahead of the rest."""
    store = opened()
    put(store, following(store, *(admitted(number) for number in (1, 2, 3)), admitted(4, kind=InputKind.CONTINUATION)))
    put(store, following(store, admitted(5, order=5 - 2**62)))
    put(store, following(store, ending(store, 2)))

    def ids(wanted: InputFilter, **page: Any) -> tuple[list[int], int | None]:
        found = store.list_inputs(wanted, **page)
        return [record.input_id.int for record in found.records], found.next_after

    assert ids(InputFilter(A)) == ([5, 1, 2, 3, 4], None)
    assert ids(InputFilter(A), limit=2) == ([5, 1], 1)
    assert ids(InputFilter(A), after=1, limit=3) == ([2, 3, 4], None)
    assert ids(InputFilter(A), limit=0) == ([], None)
    assert ids(InputFilter(A, states=frozenset({InputState.QUEUED})), after=1) == ([3, 4], None)
    assert ids(InputFilter(A, kinds=frozenset({InputKind.CONTINUATION}))) == ([4], None)
    assert ids(InputFilter("unknown")) == ([], None)


# -- counters, closing -------------------------------------------------------------------------------------------------


def test_what_a_commit_writes_depends_on_what_it_changes() -> None:
    """Counted in rows and bytes, not in time: the hundredth accept writes what the first one does (C3)."""
    store = opened()
    grown = []
    for number in range(1, 101):
        before = store.stats()
        put(store, following(store, InputWrite(an_input(number), True, b"four")))
        after = store.stats()
        grown.append((after.commits - before.commits, after.rows_written - before.rows_written,
                      after.bytes_written - before.bytes_written))  # fmt: skip
    assert set(grown) == {(1, 4, 4)}
    stats = store.stats()
    assert (stats.runtimes, stats.active_inputs, stats.ended_inputs, stats.blobs) == (1, 100, 0, 0)
    assert (stats.size_bytes, stats.generation) == (400, 0)


def test_a_group_that_writes_nothing_is_no_commit() -> None:
    """Every member was refused."""
    store = opened()
    before = store.stats()
    store.commit([evolve(following(store), base_revision=9)])
    assert store.stats() == before


async def test_a_closed_store_refuses_every_call() -> None:
    """Leaving the block closes it, plain or async; closing twice is fine."""
    with opened() as store:
        assert store.load_record(A) is not None
    async with opened() as other:
        assert other.load_record(A) is not None
    store.close()
    for closed in (store, other):
        for call in (closed.verify, closed.stats, closed.sweep_blobs, closed.list_runtimes, closed.prepare([])):
            with pytest.raises(StoreClosed):
                call()
