"""Groups of commits and claims on real LMDB: one transaction, fencing, and members that fail alone."""

from __future__ import annotations

from uuid import UUID

import pytest
from attrs import evolve

from holdstate.runtime.errors import (
    DriverClosed,
    Fenced,
    StoreCorruption,
    StoreError,
)
from holdstate.runtime.ids import RunId
from holdstate.runtime.store import (
    Claim,
    Commit,
    InputWrite,
    LoadedRuntime,
    ResultRef,
    Written,
)
from holdstate.stores.lmdb_store import LmdbStore

from .builders import Books, last_txnid, loaded

# -- groups and fencing --------------------------------------------------------------------------------------------


def test_a_group_is_one_synced_transaction(store: LmdbStore) -> None:
    """Claims and commits of many runtimes cost one transaction (C3: counted by LMDB itself)."""
    many = [Books(f"r{place}", seed=place) for place in range(20)]
    before = last_txnid(store)
    results = store.commit([Claim(books.record.runtime_id, books.settle) for books in many])
    assert last_txnid(store) == before + 1
    for books, result in zip(many, results, strict=True):
        assert isinstance(result, Written)
        books.record = result.commit.runtime
    assert all(isinstance(each, Written) for each in store.commit([books.accept(["k"]) for books in many]))
    assert last_txnid(store) == before + 2
    assert store.stats().commits == 2
    assert store.verify() == []


def test_an_accept_writes_the_same_rows_however_many_there_are(store: LmdbStore, books: Books) -> None:
    """Three rows, whatever came before: the runtime, the state, the body. Bytes do not depend on history (C3)."""
    costs = []
    for number in range(100):
        before = store.stats()
        books.write(store, books.accept([f"key {number:04}"]))
        after = store.stats()
        costs.append((after.rows_written - before.rows_written, (after.bytes_written - before.bytes_written) // 10))
    assert {rows for rows, _ in costs} == {3}
    assert max(size for _, size in costs) - min(size for _, size in costs) <= 1


def test_a_fenced_member_fails_alone(store: LmdbStore, books: Books) -> None:
    """The older epoch is refused and changes nothing; the rest of its group is written (C32)."""
    other = Books("other", seed=1)
    other.open(store)
    stale = books.accept(["stale"])
    Books().open(store)
    before = loaded(store)
    good = other.accept(["good"])
    fenced, written = store.commit([stale, good])
    assert isinstance(fenced, Fenced)
    assert (fenced.epoch, fenced.stored_epoch) == (1, 2)
    assert isinstance(written, Written)
    assert loaded(store) == before
    assert store.find_by_key("r", "stale") is None
    assert store.find_by_key("other", "good") is not None


@pytest.mark.parametrize("known", [True, False])
def test_a_member_that_cannot_be_encoded_fails_alone(store: LmdbStore, books: Books, *, known: bool) -> None:
    """It is told why, whether it is encoded before the transaction or inside; the rest of its group is written."""
    other = Books("other", seed=1)
    other.open(store)
    bad, good = books.accept(["bad"]), other.accept(["good"])
    bad.results = [(ResultRef(RunId(UUID(int=1)), 0), "text")]  # type: ignore[list-item]
    if not known:
        store._environment.ordinals.clear()
    before = loaded(store)
    refused, written = store.commit([bad, good])
    assert isinstance(refused, StoreError)
    assert refused.applied is False
    assert "commit of runtime 'r' refused: it cannot be encoded, TypeError: " in str(refused)
    assert isinstance(written, Written)
    assert loaded(store) == before
    assert store.find_by_key("other", "good") is not None
    assert store.verify() == []


def test_a_group_of_refused_members_writes_nothing(store: LmdbStore, books: Books) -> None:
    """No transaction is committed for nothing."""
    stale = books.accept()
    Books().open(store)
    before, stats = last_txnid(store), store.stats()
    (result,) = store.commit([stale])
    assert isinstance(result, Fenced)
    assert last_txnid(store) == before
    assert store.stats() == stats


def test_a_commit_on_another_revision_or_of_no_runtime_is_refused(store: LmdbStore, books: Books) -> None:
    """The same epoch with another revision, a later epoch, a missing runtime: StoreError that names both (C32)."""
    good = books.accept()
    revision = evolve(good.runtime, revision=7)
    commits = [
        Commit(revision, 1, 6, good.inputs),
        Commit(good.runtime, 5, 1, good.inputs),
        Commit(evolve(good.runtime, runtime_id="missing"), 1, 1, good.inputs),
    ]
    before = loaded(store)
    results = store.commit(commits)
    assert [type(result) for result in results] == [StoreError] * 3
    assert [str(result).split(": ", 1)[1] for result in results] == [
        "it builds on epoch 1 and revision 6, stored are 1 and 1 (nothing was applied)",
        "it builds on epoch 5 and revision 1, stored are 1 and 1 (nothing was applied)",
        "the runtime is not stored; open it first (nothing was applied)",
    ]
    assert loaded(store) == before
    assert store.stats().runtimes == 1


def test_two_members_of_one_runtime_see_each_other(store: LmdbStore, books: Books) -> None:
    """A claim that follows a commit in a group loads what that one wrote, and fences what follows it."""
    commit = books.accept(["k"])
    seen: list[LoadedRuntime | None] = []

    def settle(found: LoadedRuntime | None) -> Commit:
        seen.append(found)
        return books.settle(found)

    late = Commit(commit.runtime, 1, 2)
    results = store.commit([commit, Claim("r", settle), late])
    assert [type(result) for result in results] == [Written, Written, Fenced]
    assert seen[0] is not None
    assert seen[0].inputs == (commit.inputs[0].record,)
    assert loaded(store).record.epoch == 2


def test_a_claim_that_cannot_be_settled_fails_alone(store: LmdbStore) -> None:
    """What ``settle`` raises on purpose is that member's result; nothing of it is written."""

    def refuse(found: LoadedRuntime | None) -> Commit:
        raise DriverClosed("bad")

    good = Books("good")
    results = store.commit([Claim("bad", refuse), Claim("good", good.settle)])
    assert [type(result) for result in results] == [DriverClosed, Written]
    assert [record.runtime_id for record in store.list_runtimes()] == ["good"]
    with pytest.raises(DriverClosed):
        store.claim("bad", refuse)


@pytest.mark.parametrize("wrong", [{"epoch": 3}, {"epoch": 1}, {"runtime_id": "x"}])
def test_a_claim_has_to_raise_the_epoch_by_one(store: LmdbStore, books: Books, wrong: dict[str, object]) -> None:
    """Fencing rests on it, so a claim that does otherwise is refused."""

    def settle(found: LoadedRuntime | None) -> Commit:
        commit = books.settle(found)
        return Commit(evolve(commit.runtime, **wrong), commit.epoch, commit.base_revision)  # type: ignore[arg-type]

    before = loaded(store)
    with pytest.raises(StoreError, match="raise its epoch"):
        store.claim("r", settle)
    assert loaded(store) == before


def test_an_unexpected_error_in_a_claim_leaves_nothing_of_the_group(store: LmdbStore, books: Books) -> None:
    """A bug in ``settle`` aborts the transaction; the store goes on (C37)."""

    def crash(found: LoadedRuntime | None) -> Commit:
        raise ZeroDivisionError

    before = loaded(store)
    with pytest.raises(ZeroDivisionError):
        store.commit([books.accept(), Claim("x", crash)])
    assert loaded(store) == before
    books.write(store, books.accept())


def test_rows_that_must_be_new_are_never_overwritten(store: LmdbStore, books: Books) -> None:
    """The id or the idempotency key of an ended input, and any order key, twice is refused and changes nothing."""
    books.write(store, books.accept(["key"]))
    books.write(store, books.stage())
    books.write(store, books.finish())
    books.write(store, books.accept())
    (ended,) = books.ended.values()
    (active,) = books.active.values()
    new = books.queued(9)
    twins = [
        evolve(new, admission=evolve(new.admission, input_id=ended.input_id)),
        evolve(new, admission=evolve(new.admission, order=ended.order)),
        evolve(new, admission=evolve(new.admission, order=active.order)),
        evolve(new, admission=evolve(new.admission, idempotency_key="key")),
    ]
    before = loaded(store)
    for twin in twins:
        (result,) = store.commit([books.commit([InputWrite(twin, is_new=True, body=b"{}")])])
        assert isinstance(result, StoreError)
        assert "stored already" in str(result)
    (result,) = store.commit([books.commit([InputWrite(new, is_new=False)])])
    assert isinstance(result, StoreError)
    assert "not an active one" in str(result)
    assert loaded(store) == before
    assert store.verify() == []


def test_an_active_input_twice_is_what_the_auditor_finds(store: LmdbStore, books: Books) -> None:
    """Active inputs have no index: their ids and keys are told apart by the driver, from memory, and by ``verify``."""
    books.write(store, books.accept(["key"]))
    (record,) = books.active.values()
    new = books.queued(2, key="key")
    twin = evolve(new, admission=evolve(new.admission, input_id=record.input_id))
    counts = evolve(books.record.counts, active=2, keys=2)
    books.write(store, books.commit([InputWrite(twin, is_new=True, body=b"{}")], next_order=3, counts=counts))
    found = {finding.check: finding.problem for finding in store.verify()}
    assert f"2 rows are of input {record.input_id}" in found["rows_are_distinct"]
    assert "one_input_per_key" in found


@pytest.mark.parametrize("twice", ["id", "idempotency key"])
def test_a_runtime_with_an_active_input_twice_is_not_opened(store: LmdbStore, books: Books, twice: str) -> None:
    """Who loads it keeps one entry for each id and each key, and would lose one of the two (C30, C38)."""
    books.write(store, books.accept(["key"]))
    (record,) = books.active.values()
    twin = books.queued(2, key="key" if twice == "idempotency key" else None)
    if twice == "id":
        twin = evolve(twin, admission=evolve(twin.admission, input_id=record.input_id))
    counts = evolve(books.record.counts, active=2, keys=2)
    books.write(store, books.commit([InputWrite(twin, is_new=True, body=b"{}")], next_order=3, counts=counts))
    before = store.stats()
    with pytest.raises(StoreCorruption, match=f"two active inputs have the same {twice}"):
        store.claim("r", books.settle)
    assert store.stats() == before


def test_a_receipt_is_never_overwritten(store: LmdbStore, books: Books) -> None:
    """A second receipt under the same run and sequence is refused (C20)."""
    books.write(store, books.accept())
    books.write(store, books.stage())
    commit = books.finish()
    books.write(store, commit)
    again = books.commit()
    again.receipts = [evolve(commit.receipts[0], message_count=77)]
    (result,) = store.commit([again])
    assert isinstance(result, StoreError)
    assert store.load_receipt("r", commit.receipts[0].run_id, 0) == commit.receipts[0]
