"""What leaves an LMDB store, and when: blobs without a reference, ended inputs past their retention."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from holdstate.runtime.errors import (
    StoreError,
)
from holdstate.runtime.settings import Retention
from holdstate.runtime.store import (
    InputWrite,
    Pruned,
)
from holdstate.spec.vocabulary import InputState
from holdstate.stores.lmdb_store import LmdbStore

from .builders import START, Books, blob_id, last_txnid, loaded

# -- blobs ---------------------------------------------------------------------------------------------------------


def test_a_blob_put_by_hand_stays_until_it_is_swept(store: LmdbStore, books: Books) -> None:
    """Held without a reference, kept by a reference, gone with the last one after the sweep (C41)."""
    name = store.put_blob(b"image")
    assert name == store.put_blob(b"image") == blob_id(b"image")
    books.write(store, books.accept(blobs=[b"image"]))
    books.write(store, books.stage())
    books.write(store, books.finish())
    assert store.get_blob(name) == b"image"
    assert store.verify() == []
    assert store.sweep_blobs() == 1
    assert not store.blob_exists(name)
    assert store.sweep_blobs() == 0


def test_a_swept_blob_that_is_needed_goes_with_its_last_input(store: LmdbStore, books: Books) -> None:
    """A sweep ends the holding; two inputs share the blob, and it goes with the second."""
    name = store.put_blob(b"image")
    books.write(store, books.accept([None, None], blobs=[b"image"]))
    assert store.sweep_blobs() == 0
    for expected in (True, False):
        books.write(store, books.stage())
        books.write(store, books.finish())
        assert store.blob_exists(name) is expected
    assert store.verify() == []


def test_a_payload_that_is_kept_keeps_its_blobs(store: LmdbStore, books: Books) -> None:
    """Where retention keeps payloads, body and blob stay with the ended input."""
    books.write(store, books.accept(blobs=[b"image"]))
    books.write(store, books.stage())
    books.write(store, books.finish(keep_body=True))
    (ended,) = books.ended.values()
    with store.reading() as reader:
        assert reader.load_body("r", ended) == b"{}"
    assert store.sweep_blobs() == 0
    assert store.blob_exists(blob_id(b"image"))
    assert store.verify() == []


def test_no_input_ever_refers_to_a_missing_blob(store: LmdbStore, books: Books) -> None:
    """A commit that refers to a blob which is neither stored nor in it fails alone (C41)."""
    commit = books.accept(blobs=[b"image"])
    commit.blobs = []
    before = loaded(store)
    (result,) = store.commit([commit])
    assert isinstance(result, StoreError)
    assert result.applied is False
    assert blob_id(b"image") in str(result)
    assert loaded(store) == before
    odd = books.accept(blobs=[b"image"])
    odd.inputs = [
        InputWrite(evolve(w.record, admission=evolve(w.record.admission, blobs=("x",))), is_new=True, body=b"{}")
        for w in odd.inputs
    ]
    (result,) = store.commit([odd])
    assert isinstance(result, StoreError)


def test_names_that_are_no_digests_are_no_blobs(store: LmdbStore) -> None:
    """Only ``sha256:`` and 64 lower-case hex digits name a blob."""
    name = store.put_blob(b"x")
    for odd in ("", "x", name.upper(), name[7:], name + "00", name[:-1], "sha256:" + " " * 64, "sha256:é"):
        assert store.get_blob(odd) is None
        assert not store.blob_exists(odd)


def test_many_blobs_are_swept_in_bounded_steps(store: LmdbStore) -> None:
    """More blobs than one step takes are all gone after one call."""
    before = last_txnid(store)
    for number in range(230):
        store.put_blob(b"%d" % number)
    assert last_txnid(store) == before + 230
    assert store.sweep_blobs() == 230
    assert last_txnid(store) == before + 233
    assert store.stats().blobs == 0


# -- retention -----------------------------------------------------------------------------------------------------


def finished(store: LmdbStore, books: Books, times: int) -> None:
    for number in range(times):
        books.write(store, books.accept([f"key {number}"], blobs=[b"%d" % number]))
        books.write(store, books.stage())
        books.write(store, books.finish(result=b"answer", keep_body=True))


def test_retention_of_for_ever_removes_nothing(store: LmdbStore, books: Books) -> None:
    """Without a limit nothing goes, however old."""
    finished(store, books, 2)
    before = last_txnid(store)
    assert store.prune(Retention(), now=START + timedelta(days=9999)) == Pruned()
    assert last_txnid(store) == before


def test_what_is_past_its_retention_goes_with_all_it_needs(store: LmdbStore, books: Books) -> None:
    """Input, body, key entry, receipt, result and blob go; counts still add up; the record is untouched."""
    finished(store, books, 3)
    books.write(store, books.accept(["still here"]))
    record = books.record
    pruned = store.prune(Retention(keep_ended_seconds=0.0), now=books.now + timedelta(seconds=1))
    assert pruned == Pruned(inputs=3, keys=3, receipts=3, results=3)
    assert store.find_by_key("r", "key 0") is None
    assert store.find_by_key("r", "still here") is not None
    assert loaded(store).record == record
    assert store.stats().blobs == 0
    assert store.verify() == []
    assert store.prune(Retention(keep_ended_seconds=0.0), now=books.now + timedelta(seconds=1)) == Pruned()


def test_what_ended_later_stays(store: LmdbStore, books: Books) -> None:
    """An input that ended at the limit or after it stays, with its receipt and result."""
    finished(store, books, 3)
    last = list(books.ended.values())[-1]
    pruned = store.prune(Retention(keep_ended_seconds=10.0), now=last.history[-1].at + timedelta(seconds=10))
    assert pruned == Pruned(inputs=2, keys=2, receipts=2, results=2)
    assert store.find_by_key("r", "key 2") == last
    assert store.verify() == []


def test_a_successor_outlives_the_input_that_names_it(store: LmdbStore, books: Books) -> None:
    """An ended input stays while a later-ended one names it, through a chain (retention is closed under references)."""
    books.write(store, books.accept(["a"]))
    books.write(store, books.supersede("b"))
    books.write(store, books.supersede("c"))
    old, newer = list(books.ended.values())
    # The first of the chain ended long after its successor.
    late = evolve(old, history=(*old.history[:-1], old.history[-1]._replace(at=books.now + timedelta(days=1))))
    key = store._environment.ordinals["r"] + (old.order + 2**63).to_bytes(8, "big")
    rewrite(store, b"ended", key, late)
    limit = Retention(keep_ended_seconds=0.0)
    assert store.prune(limit, now=books.now + timedelta(hours=1)) == Pruned()
    assert store.load_input("r", newer.input_id) == newer
    assert store.prune(limit, now=books.now + timedelta(days=2)) == Pruned(inputs=2, keys=2)
    assert store.verify() == []


def test_a_successor_that_would_go_first_goes_a_prune_later(store: LmdbStore, books: Books) -> None:
    """One with a smaller order key: a crash between two transactions must leave nobody who names what is gone."""
    books.write(store, books.accept(["a"]))
    books.write(store, books.supersede("b"))
    books.write(store, books.supersede("c"))
    first, second = list(books.ended.values())
    for record in (evolve(first, successor_id=None), evolve(second, successor_id=first.input_id)):
        key = store._environment.ordinals["r"] + (record.order + 2**63).to_bytes(8, "big")
        rewrite(store, b"ended", key, record)
    limit, now = Retention(keep_ended_seconds=0.0), books.now + timedelta(days=1)
    assert store.prune(limit, now=now) == Pruned(inputs=1, keys=1)
    assert (store.load_input("r", second.input_id), store.find_by_key("r", "b")) == (None, None)
    assert store.load_input("r", first.input_id) is not None
    assert store.prune(limit, now=now) == Pruned(inputs=1, keys=1)


def test_a_receipt_stays_while_one_of_its_inputs_does(store: LmdbStore, books: Books) -> None:
    """The current run and runs that a stored input speaks of keep their receipts."""
    finished(store, books, 1)
    books.write(store, books.accept(["b"]))
    books.write(store, books.stage())
    run_id = books.record.current_run_id
    assert run_id is not None
    boundary = books.finish()
    staged = next(iter(books.active.values()))
    pending = evolve(staged, state=InputState.APPLIED_PENDING_CONSUMPTION, last_boundary_sequence=0)
    counts = evolve(books.record.counts, receipts=books.record.counts.receipts + 1)
    commit = books.commit([InputWrite(pending, is_new=False)], boundary_count=1, counts=counts)
    commit.receipts = boundary.receipts
    books.write(store, commit)
    pruned = store.prune(Retention(keep_ended_seconds=0.0), now=books.now + timedelta(days=1))
    assert pruned == Pruned(inputs=1, keys=1, receipts=1, results=1)
    assert store.load_receipt("r", run_id, 0) is not None


def test_pruning_goes_in_bounded_transactions(store: LmdbStore, books: Books) -> None:
    """More inputs than one transaction takes: several, none of them without a sync."""
    books.write(store, books.accept([None] * 1100))
    ended = [evolve(r, state=InputState.ABANDONED, history=()) for r in books.active.values()]
    counts = evolve(books.record.counts, active=0, ended=1100)
    books.write(store, books.commit([InputWrite(r, is_new=False, drop_body=True) for r in ended], counts=counts))
    before = last_txnid(store)
    assert store.prune(Retention(keep_ended_seconds=0.0), now=books.now + timedelta(days=1)).inputs == 1100
    assert last_txnid(store) == before + 3
    assert store.stats().ended_inputs == 0


def test_many_runtimes_are_pruned_in_one_transaction(store: LmdbStore) -> None:
    """As many commits as the rows need, however many runtimes they are of; each runtime has its own count."""
    runtimes = [Books(f"r {number}", seed=number) for number in range(60)]
    for each in runtimes:
        each.open(store)
        each.write(store, each.accept([None]))
        each.write(store, each.stage())
        each.write(store, each.finish())
    before, later = last_txnid(store), runtimes[0].now + timedelta(days=1)
    assert store.prune(Retention(keep_ended_seconds=0.0), now=later) == Pruned(inputs=60, receipts=60)
    assert last_txnid(store) == before + 2
    assert store.verify() == []
    assert store.prune(Retention(keep_ended_seconds=0.0), now=later) == Pruned()
    assert last_txnid(store) == before + 2


def rewrite(store: LmdbStore, table: bytes, key: bytes, record: object) -> None:
    """Put another input record where one is, as no command would."""
    from holdstate.runtime.records import InputRecord
    from holdstate.stores.codec_inputs import encode_input

    assert isinstance(record, InputRecord)
    changed = record
    store._environment.write(lambda rows: rows.put(table, key, encode_input(changed)))
