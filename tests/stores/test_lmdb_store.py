"""The LMDB store at work: its files, what it writes and reads, how it is opened. Real LMDB in a temporary directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import UUID

import lmdb
import pytest
from attrs import evolve

from holdstate.runtime.errors import (
    InvalidInput,
    StoreClosed,
    StoreError,
    StoreInUse,
    StoreReadOnly,
)
from holdstate.runtime.records import PRIORITY_BIAS, RuntimeRecord
from holdstate.runtime.store import (
    Commit,
    InputFilter,
    InputWrite,
    LoadedRuntime,
    ResultRef,
    RuntimeStore,
)
from holdstate.spec.vocabulary import InputKind, InputState
from holdstate.stores import lmdb_files
from holdstate.stores.lmdb_files import refuse_network
from holdstate.stores.lmdb_store import LmdbStore

from .builders import Books, blob_id, last_txnid, loaded

# -- files ---------------------------------------------------------------------------------------------------------


def test_a_new_store_is_private_to_its_owner(tmp_path: Path) -> None:
    """The directory is 0700, the files 0600, whatever the umask; nothing else is left beside them."""
    old = os.umask(0)
    try:
        LmdbStore.open(tmp_path / "store").close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "store").iterdir()} == {
        "data.mdb": 0o600,
        "lock.mdb": 0o600,
    }
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


def test_a_store_is_made_in_an_empty_directory_and_opened_through_a_link(tmp_path: Path) -> None:
    """An empty directory becomes the store; a link to it is the same store."""
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to("store")
    with LmdbStore.open(str(tmp_path / "link")) as store:
        Books().open(store)
        assert store.path == tmp_path / "store"
    with LmdbStore.open(tmp_path / "store") as store:
        assert loaded(store).record.epoch == 1


def test_a_directory_with_other_files_is_not_taken(tmp_path: Path) -> None:
    """Nothing is created among files that are not a store, nor in place of a file."""
    (tmp_path / "notes.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(StoreError, match=r"notes\.txt|other files"):
            LmdbStore.open(path)
    with pytest.raises(StoreError, match="cannot open"):
        LmdbStore.open(tmp_path / "nowhere" / "store")
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    """Everything survives a close, the epoch too."""
    books = Books()
    with LmdbStore.open(tmp_path / "store") as store:
        books.open(store)
        books.write(store, books.accept(["a", None]))
        before = loaded(store)
    with LmdbStore.open(tmp_path / "store") as store:
        assert loaded(store) == before
        assert store.verify() == []


async def test_the_store_is_an_async_context_manager(tmp_path: Path) -> None:
    """``async with LmdbStore.open(...)`` closes it at the end."""
    async with LmdbStore.open(tmp_path / "store") as store:
        assert store.list_runtimes() == ()
    with pytest.raises(StoreClosed):
        store.list_runtimes()


def test_a_closed_store_refuses_everything(store: LmdbStore, books: Books) -> None:
    """StoreClosed, not a crash inside LMDB; closing again is fine."""
    write = store.prepare([books.accept()])
    store.close()
    store.close()
    for call in (store.stats, store.verify, store.sweep_blobs, write, lambda: store.put_blob(b"")):
        with pytest.raises(StoreClosed):
            call()


def test_the_store_is_a_runtime_store(store: LmdbStore) -> None:
    """It has every call of the protocol; mypy compares the signatures here."""
    checked: RuntimeStore = store
    assert checked.generation == 0


# -- one runtime ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [-1, 0, 2**70, "1G", 1.5, True])
@pytest.mark.parametrize("named", ["map_size", "max_map_size"])
def test_a_size_that_no_map_has_is_refused_and_nothing_is_made(tmp_path: Path, named: str, size: Any) -> None:
    """The words say which sizes there are."""
    path = tmp_path / "store"
    with pytest.raises(InvalidInput, match=f"^{named}: must be a whole number of bytes, from 1 to "):
        LmdbStore.open(path, **{named: size})
    assert not path.exists()


def test_the_constructor_says_how_a_store_is_opened(tmp_path: Path) -> None:
    """A path is not an environment."""
    with pytest.raises(InvalidInput, match=r"open a store with LmdbStore\.open\(path\)"):
        LmdbStore(str(tmp_path))  # type: ignore[arg-type]


def test_an_open_creates_the_runtime_and_each_one_raises_its_epoch(store: LmdbStore) -> None:
    """A claim of a new runtime settles None, the next one what was stored."""
    assert store.load_runtime("r") is None
    books = Books()
    books.open(store)
    books.open(store)
    assert (books.record.epoch, books.record.revision) == (2, 2)
    assert loaded(store) == LoadedRuntime(books.record)


def test_an_admitted_input_is_found_in_every_way(store: LmdbStore, books: Books) -> None:
    """By id, by key, in the runtime, in the list, with its body."""
    books.write(store, books.accept(["key"], body=b"[1]"))
    (record,) = books.active.values()
    assert store.load_input("r", record.input_id) == record
    assert store.find_by_key("r", "key") == record
    assert loaded(store).inputs == (record,)
    assert store.list_inputs(InputFilter("r")).records == (record,)
    with store.reading() as reader:
        assert reader.load_body("r", record) == b"[1]"
        assert reader.load_record("r") == books.record


def test_an_active_input_is_told_from_those_that_mention_it(store: LmdbStore, books: Books) -> None:
    """Without an index too: a key within another one's, an id within another one's key."""
    books.write(store, books.accept(["key and more", "key"]))
    first, second = books.active.values()
    assert store.find_by_key("r", "key") == second
    assert store.find_by_key("r", "key and") is None
    assert store.load_input("r", first.input_id) == first
    assert store.load_input("r", second.input_id) == second


def test_what_is_not_there_is_none(store: LmdbStore, books: Books) -> None:
    """Unknown runtimes, inputs, keys, runs and blobs are answered with None, not with an error."""
    nobody = UUID(int=99)
    for runtime_id in ("r", "other"):
        with store.reading() as reader:
            assert reader.load_input(runtime_id, nobody) is None
            assert reader.find_by_key(runtime_id, "key") is None
            assert reader.load_ended(runtime_id, nobody) is None
            assert reader.find_ended_by_key(runtime_id, "key") is None
            assert reader.load_body(runtime_id, books.queued(1)) is None
            assert reader.load_receipt(runtime_id, nobody, 0) is None
            assert not reader.has_receipt(runtime_id, nobody)
            assert reader.load_result(runtime_id, ResultRef(books.queued(1).last_run_id or nobody)) is None  # type: ignore[arg-type]
            assert reader.load_session_snapshot(runtime_id) is None
            assert reader.get_blob("sha256:" + "0" * 64) is None
    assert store.load_runtime("other") is None
    assert store.list_inputs(InputFilter("other")).records == ()


def test_a_run_moves_its_input_to_the_ended_ones(store: LmdbStore, books: Books) -> None:
    """Receipt, result, snapshot and records come with one commit; the payload goes with it (C19, C41)."""
    books.write(store, books.accept(["key"], body=b"[1]", blobs=[b"image"]))
    books.write(store, books.stage())
    (staged,) = books.active.values()
    commit = books.finish(result=b"answer", snapshot=b"session")
    before = last_txnid(store)
    books.write(store, commit)
    assert last_txnid(store) == before + 1
    (consumed,) = books.ended.values()
    (receipt,) = commit.receipts
    assert loaded(store).inputs == ()
    assert store.find_by_key("r", "key") == store.load_input("r", consumed.input_id) == consumed
    assert store.load_receipt("r", receipt.run_id, 0) == receipt
    ref = ResultRef.of(consumed)
    assert ref is not None
    assert store.load_result("r", ref) == b"answer"
    assert store.load_session_snapshot("r") == b"session"
    assert not store.blob_exists(blob_id(b"image"))
    with store.reading() as reader:
        assert reader.has_receipt("r", receipt.run_id)
        assert reader.load_ended("r", consumed.input_id) == reader.find_ended_by_key("r", "key") == consumed
        assert reader.load_body("r", staged) is reader.load_body("r", consumed) is None
    assert store.verify() == []
    stats = store.stats()
    assert (stats.runtimes, stats.active_inputs, stats.ended_inputs, stats.blobs) == (1, 0, 1, 0)


def test_a_claim_gets_the_receipts_of_runs_in_flight(store: LmdbStore, books: Books) -> None:
    """What recovery decides by is loaded with the runtime, and no receipt of a run that is over."""
    books.write(store, books.accept([None, None]))
    books.write(store, books.stage())
    books.write(store, books.finish())
    books.write(store, books.stage())
    commit = books.finish()
    ended, books.record = commit.inputs[0].record, books.record
    pending = evolve(ended, state=InputState.APPLIED_PENDING_CONSUMPTION, outcome_kind=None)
    runtime = evolve(books.record, revision=books.record.revision + 1, boundary_count=1)
    boundary = Commit(runtime, books.record.epoch, books.record.revision, [InputWrite(pending, is_new=False)])
    boundary.receipts = commit.receipts
    books.write(store, boundary)
    assert loaded(store).receipts == tuple(commit.receipts)


def test_order_keys_decide_the_order_also_across_priority(store: LmdbStore, books: Books) -> None:
    """Negative order keys come first, active and ended inputs are merged, pages go on where they stopped (C13)."""
    records = [books.queued(order) for order in (PRIORITY_BIAS + 4, PRIORITY_BIAS + 5, 1, 2, 3)]
    commit = books.commit(
        [InputWrite(record, is_new=True, body=b"{}") for record in reversed(records)],
        next_order=6,
        counts=evolve(books.record.counts, active=5),
    )
    books.write(store, commit)
    assert loaded(store).inputs == tuple(records)
    books.active = {record.input_id: record for record in records}
    books.write(store, books.stage())
    books.write(store, books.finish())
    orders = [record.order for record in records]
    found: list[int] = []
    after = None
    while True:
        page = store.list_inputs(InputFilter("r"), after=after, limit=2)
        found += [record.order for record in page.records]
        after = page.next_after
        if after is None:
            break
    assert found == orders
    queued = store.list_inputs(InputFilter("r", states=frozenset({InputState.QUEUED})), limit=4)
    assert ([record.order for record in queued.records], queued.next_after) == (orders[1:], None)
    assert store.list_inputs(InputFilter("r", kinds=frozenset({InputKind.OPERATION}))).records == ()


def test_ids_that_look_like_keys_or_paths_stay_apart(store: LmdbStore) -> None:
    """Ids of full length, with common prefixes, slashes and dots never meet (C44)."""
    names = ["r", "r\u00e9", "rr", "../r", "a" * 255, "a" * 254 + "b", "r/../x"]
    for place, name in enumerate(names):
        books = Books(name, seed=place)
        books.open(store)
        books.write(store, books.accept(["same key"]))
        assert loaded(store, name).inputs == tuple(books.active.values())
    listed = [record.runtime_id for record in store.list_runtimes()]
    assert listed == sorted(names, key=str.encode)
    first = store.list_runtimes(limit=3)
    rest = store.list_runtimes(after=first[-1].runtime_id)
    assert [record.runtime_id for record in (*first, *rest)] == listed
    assert store.verify() == []


# -- reading and threads -------------------------------------------------------------------------------------------


def test_a_view_does_not_see_what_is_committed_later(store: LmdbStore, books: Books) -> None:
    """A reader keeps its state while another thread commits."""
    ready, go = Event(), Event()
    seen: list[object] = []

    def read() -> None:
        with store.reading() as reader:
            ready.set()
            go.wait(10)
            seen.append(reader.load_runtime("r"))
            seen.append(reader.load_runtime("new"))

    thread = Thread(target=read)
    thread.start()
    assert ready.wait(10)
    before = loaded(store)
    books.write(store, books.accept())
    Books("new", seed=1).open(store)
    go.set()
    thread.join(10)
    assert seen == [before, None]
    assert loaded(store) != before


def test_a_transaction_within_a_transaction_is_refused(store: LmdbStore, books: Books) -> None:
    """LMDB would deadlock or show two states; the store says so instead and stays usable."""
    with store.reading() as reader:
        for call in (lambda: store.commit([books.accept()]), store.stats, store.close):
            with pytest.raises(RuntimeError, match="inside a transaction"):
                call()
        assert reader.load_record("r") == books.record
    books.write(store, books.accept())


def test_threads_may_write_at_once(store: LmdbStore) -> None:
    """Writers of several threads take turns; nothing is lost."""
    many = [Books(f"r{place}", seed=place) for place in range(4)]

    def work(books: Books) -> None:
        books.open(store)
        for number in range(20):
            books.write(store, books.accept([str(number)]))

    threads = [Thread(target=work, args=(books,)) for books in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert store.stats().active_inputs == 80
    assert store.verify() == []


# -- opening -------------------------------------------------------------------------------------------------------


def test_a_second_open_in_one_process_is_refused(store: LmdbStore) -> None:
    """LMDB allows one environment per file and process; the first one stays usable."""
    for read_only in (False, True):
        with pytest.raises(StoreInUse):
            LmdbStore.open(store.path, read_only=read_only)
    Books().open(store)
    store.close()
    LmdbStore.open(store.path).close()


def test_read_only_never_changes_the_data(tmp_path: Path) -> None:
    """Opening and every read leave the file byte for byte as it was, times too; writing is refused (C39)."""
    books = Books()
    with LmdbStore.open(tmp_path / "store") as store:
        books.open(store)
        books.write(store, books.accept(["k"]))
    data = tmp_path / "store" / "data.mdb"
    before = (data.read_bytes(), data.stat().st_mtime_ns)
    with LmdbStore.open(tmp_path / "store", read_only=True) as store:
        assert loaded(store).record == books.record
        assert store.find_by_key("r", "k") is not None
        assert store.verify() == []
        assert store.stats().active_inputs == 1
        for call in (
            lambda: store.commit([books.accept()]),
            lambda: store.put_blob(b""),
            store.sweep_blobs,
            lambda: store.claim("r", books.settle),
        ):
            with pytest.raises(StoreReadOnly):
                call()
    assert (data.read_bytes(), data.stat().st_mtime_ns) == before


def test_opening_syncs_the_folder_and_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier process may have died between its rename and the sync of it; who only reads syncs nothing."""
    path = tmp_path / "store"
    LmdbStore.open(path).close()
    synced: list[Path] = []
    monkeypatch.setattr(lmdb_files, "sync", synced.append)
    LmdbStore.open(path, read_only=True).close()
    assert synced == []
    LmdbStore.open(path).close()
    assert synced == [path, tmp_path]


def test_read_only_needs_a_store(tmp_path: Path) -> None:
    """Nothing is created, and the error says what is missing."""
    with pytest.raises(StoreError, match="there is no store at"):
        LmdbStore.open(tmp_path / "store", read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "weaker", [{"sync": False}, {"metasync": False}, {"writemap": True}, {"writemap": True, "map_async": True}], ids=str
)
def test_durability_is_read_back_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weaker: dict[str, bool]
) -> None:
    """An environment that syncs less than LMDB does by default, or maps the file for writing, is refused (C39)."""
    LmdbStore.open(tmp_path / "store").close()
    opened = lmdb.open
    monkeypatch.setattr(lmdb, "open", lambda path, **options: opened(path, **{**options, **weaker}))
    with pytest.raises(StoreError, match="without synced commits"):
        LmdbStore.open(tmp_path / "store")
    monkeypatch.undo()
    LmdbStore.open(tmp_path / "store").close()


def test_an_environment_variable_does_not_decide_the_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New stores are in the format of LMDB 0.9 whatever py-lmdb's default is."""
    monkeypatch.setenv("LMDB_DEFAULT_LIB_VERSION", "1")
    LmdbStore.open(tmp_path / "store").close()
    assert (tmp_path / "store" / "data.mdb").read_bytes()[16:24].hex() == "dec0efbe01000000"


MOUNTS = r"""
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:30 / /net/home rw shared:1 - nfs4 server:/home rw
31 22 0:31 / /a\040b rw - fuse.sshfs host: rw
32 22 0:32 / /twice rw - cifs //x rw
33 22 0:33 / /twice rw - tmpfs tmpfs rw
34 22 0:34 / /p9 rw - 9p share rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/x", None),
        ("/net/home/x", "nfs4"),
        ("/net/homes", None),
        ("/a b/x", "fuse.sshfs"),
        ("/twice/x", None),
        ("/p9", "9p"),
    ],
)
def test_network_file_systems_are_refused(tmp_path: Path, path: str, kind: str | None) -> None:
    """By the innermost mount, the later one of two on the same point; without a list of mounts nothing is refused."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.strip())
    if kind is None:
        refuse_network(Path(path), mounts)
    else:
        with pytest.raises(StoreError, match=f"is on {kind}"):
            refuse_network(Path(path), mounts)
    refuse_network(Path(path), tmp_path / "missing")


def test_the_network_check_can_be_waived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``allow_network`` opens what is refused otherwise; a refusal creates nothing."""
    from holdstate.stores import lmdb_files

    monkeypatch.setattr(lmdb_files, "_file_system", lambda *_: "nfs")
    with pytest.raises(StoreError, match="allow_network"):
        LmdbStore.open(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []
    LmdbStore.open(tmp_path / "store", allow_network=True).close()


def test_runtime_records_are_remembered_within_bounds(store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """More runtimes than ordinals are remembered: each one is still found (C42)."""
    from holdstate.stores import lmdb_store

    monkeypatch.setattr(lmdb_store, "_KEPT_ORDINALS", 3)
    many = [Books(f"r{place}", seed=place) for place in range(8)]
    for books in many:
        books.open(store)
    for books in many:
        books.write(store, books.accept(["k"]))
        assert loaded(store, books.record.runtime_id).inputs == tuple(books.active.values())
    assert len(store._environment.ordinals) <= 3
    assert isinstance(store.list_runtimes()[0], RuntimeRecord)
