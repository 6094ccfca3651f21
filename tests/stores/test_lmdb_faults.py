"""Faults under the LMDB store: damaged files and rows, full maps and disks, commits of unknown result."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import pytest
from attrs import evolve

from holdstate.runtime.errors import (
    StoreCorruption,
    StoreError,
    StoreFull,
    StoreLost,
    StoreReadOnly,
    StoreTooNew,
)
from holdstate.runtime.store import InputFilter, ResultRef, Written
from holdstate.stores import lmdb_environment, lmdb_errors, lmdb_rows
from holdstate.stores.codec import encode_number
from holdstate.stores.codec_envelope import ENVELOPE_BYTES, seal
from holdstate.stores.lmdb_files import check_data_file
from holdstate.stores.lmdb_store import LmdbStore

from .builders import Books, blob_id, loaded

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with LmdbStore.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def books(store: LmdbStore) -> Books:
    """A runtime that is open in ``store``."""
    opened = Books()
    opened.open(store)
    return opened


def filled(path: Path) -> Books:
    """A closed store with a row of every kind in it: an ended input, an active one with a blob, a held blob."""
    books = Books()
    with LmdbStore.open(path) as store:
        books.open(store)
        books.write(store, books.accept(["ended"]))
        books.write(store, books.stage())
        books.write(store, books.finish(result=b"answer", snapshot=b"session"))
        books.write(store, books.accept(["active"], blobs=[b"image"]))
        other = Books("other", seed=1)
        other.open(store)
        other.write(store, other.accept(["sound"]))
        store.put_blob(b"held")
    return books


def change(path: Path, table: bytes, edit: Callable[[bytes, bytes], bytes | None], prefix: bytes = b"") -> list[bytes]:
    """Edit the rows of one table past the store: another value, or None to remove the row. Returns the keys."""
    keys = []
    with lmdb.open(str(path), max_dbs=20, lib_version=0, map_size=64 * MIB) as env:
        database = env.open_db(table, create=False)
        with env.begin(write=True, db=database) as txn:
            for key, value in list(txn.cursor()):
                if not key.startswith(prefix):
                    continue
                new = edit(key, value)
                keys.append(key)
                if new is None:
                    txn.delete(key)
                else:
                    txn.put(key, new)
    return keys


def lmdb_error(kind: type[lmdb.Error], text: str, code: int) -> lmdb.Error:
    """An error as py-lmdb raises it."""
    error = kind(text)
    vars(error)["code"] = code
    return error


# -- a commit whose result is unknown ------------------------------------------------------------------------------


def failing_commit(monkeypatch: pytest.MonkeyPatch, *, lands: bool, error: Exception | None = None) -> None:
    """Let the next commit call fail, before or after it took effect; the later ones are real."""
    real = lmdb_environment.commit_transaction

    def fail(txn: Any) -> None:
        monkeypatch.setattr(lmdb_environment, "commit_transaction", real)
        if lands:
            real(txn)
        raise error or lmdb_error(lmdb.Error, "mdb_txn_commit: Input/output error", errno.EIO)

    monkeypatch.setattr(lmdb_environment, "commit_transaction", fail)


@pytest.mark.parametrize("lands", [False, True])
def test_a_failed_commit_call_is_unknown_until_it_is_read_back(
    store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch, *, lands: bool
) -> None:
    """``applied`` is None; the next call stands on a reopened file, where the revision tells (C35, C36)."""
    commit = books.accept(["k"])
    failing_commit(monkeypatch, lands=lands)
    with pytest.raises(StoreError) as caught:
        store.commit([commit])
    assert caught.value.applied is None
    assert store.generation == 0
    assert loaded(store).record.revision == books.record.revision + lands
    assert store.generation == 1
    assert (store.find_by_key("r", "k") is not None) is lands
    if not lands:
        books.write(store, commit)
    assert store.verify() == []


def test_a_runtime_whose_creation_is_unknown_is_not_remembered(
    store: LmdbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its creation did not land, the ordinal goes to another runtime, and rows are not mixed up."""
    lost, other = Books("lost"), Books("other", seed=1)
    failing_commit(monkeypatch, lands=False)
    with pytest.raises(StoreError):
        lost.open(store)
    other.open(store)
    other.write(store, other.accept(["k"]))
    lost.open(store)
    lost.write(store, lost.accept(["k"]))
    assert loaded(store, "lost").inputs == tuple(lost.active.values())
    assert loaded(store, "other").inputs == tuple(other.active.values())
    assert store.verify() == []


def test_a_prepared_commit_survives_a_reopening(
    store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were encoded before the file was reopened are written to the right runtime after it."""
    write = store.prepare([books.accept(["k"])])
    failing_commit(monkeypatch, lands=False)
    with pytest.raises(StoreError):
        store.put_blob(b"x")
    (result,) = write()
    assert isinstance(result, Written)
    assert store.generation == 1
    assert store.verify() == []


def test_any_other_error_from_a_commit_call_reopens_too(
    store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt inside the commit call goes on as it is, and leaves the result to be read back."""
    failing_commit(monkeypatch, lands=True, error=RuntimeError("interrupted"))
    with pytest.raises(RuntimeError, match="interrupted"):
        store.commit([books.accept(["k"])])
    assert store.find_by_key("r", "k") is not None
    assert store.generation == 1


def test_a_reopening_that_fails_is_tried_again(store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the file is away every call says so; when it is back the store works on (C35)."""
    failing_commit(monkeypatch, lands=True)
    with pytest.raises(StoreError):
        store.commit([books.accept(["k"])])
    data = store.path / "data.mdb"
    data.rename(store.path / "away")
    for call in (store.stats, store.stats, lambda: store.put_blob(b"x"), lambda: store.commit([books.accept()])):
        with pytest.raises(StoreLost) as caught:
            call()
        assert caught.value.applied is False
    (store.path / "away").rename(data)
    assert store.find_by_key("r", "k") is not None
    assert store.generation == 1
    store.close()


def test_a_store_can_be_closed_while_it_is_in_doubt(
    store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing asks nothing of the file."""
    failing_commit(monkeypatch, lands=False)
    with pytest.raises(StoreError):
        store.commit([books.accept()])
    (store.path / "data.mdb").rename(store.path / "away")
    with pytest.raises(StoreLost):
        store.stats()
    store.close()


class Panicking:
    """An environment that answers as LMDB does after a fatal error, until it is closed."""

    def __init__(self, env: lmdb.Environment, *, late: bool) -> None:
        self._env = env
        self._late = late

    def begin(self, *, write: bool = False) -> Any:
        if self._late:
            return Panicked(self._env.begin(write=write))
        raise lmdb_error(lmdb.PanicError, "mdb_txn_begin", -30795)

    def close(self) -> None:
        self._env.close()


class Panicked:
    """A transaction in which every read panics."""

    def __init__(self, txn: Any) -> None:
        self._txn = txn

    def get(self, key: bytes, db: Any) -> bytes:
        raise lmdb_error(lmdb.PanicError, "mdb_get", -30795)

    def abort(self) -> None:
        self._txn.abort()


def test_an_environment_that_panics_is_reopened(store: LmdbStore, books: Books) -> None:
    """A panic at the beginning of a transaction costs nobody anything; within one it costs that call."""
    environment = store._environment
    assert environment._env is not None
    environment._env = Panicking(environment._env, late=False)  # type: ignore[assignment]
    books.write(store, books.accept(["k"]))
    assert store.generation == 1
    for call in (lambda: store.find_by_key("r", "k"), lambda: store.commit([books.accept()]), environment_read(store)):
        assert environment._env is not None
        environment._env = Panicking(environment._env, late=True)  # type: ignore[assignment]
        with pytest.raises(StoreError, match="mdb_get"):
            call()
        assert store.find_by_key("r", "k") is not None
    assert store.generation == 4


def environment_read(store: LmdbStore) -> Callable[[], object]:
    def read() -> None:
        with store._environment.reading() as rows:
            rows.get(lmdb_rows.META, b"format")

    return read


def test_a_reopening_without_end_is_given_up(store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that panics at every try raises instead of trying for ever."""
    monkeypatch.setattr(store._environment, "_begin", lambda **_: None)
    with pytest.raises(StoreError, match="changes faster"):
        store.stats()


# -- full ----------------------------------------------------------------------------------------------------------


def test_a_full_map_grows_and_nobody_notices(tmp_path: Path) -> None:
    """From 64 KiB, by doubling, also when one value needs several doublings (C43)."""
    with LmdbStore.open(tmp_path / "store", map_size=64 * KIB) as store:
        books = Books()
        books.open(store)
        for number in range(100):
            books.write(store, books.accept([str(number)], body=b"x" * 2000))
        name = store.put_blob(b"y" * (4 * MIB))
        assert store.stats().commits == 102
        assert store.stats().active_inputs == 100
        assert store.get_blob(name) == b"y" * (4 * MIB)
        assert store.generation == 0
        assert store.verify() == []


def test_a_map_that_is_full_at_the_commit_grows_too(
    store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MDB_MAP_FULL from the commit call is no unknown result: the transaction is gone, and is done again."""
    failing_commit(monkeypatch, lands=False, error=lmdb_error(lmdb.MapFullError, "mdb_txn_commit", -30792))
    books.write(store, books.accept(["k"]))
    assert (store.generation, store.stats().commits) == (0, 2)


def test_a_map_at_its_cap_is_full_and_usable_again_with_room(tmp_path: Path) -> None:
    """StoreFull, nothing applied, reads go on; after a sweep writes do too (C43)."""
    with LmdbStore.open(tmp_path / "store", map_size=MIB, max_map_size=MIB) as store:
        books = Books()
        books.open(store)
        for number in range(40):
            store.put_blob(b"%02d" % number * 10_000)
        before = loaded(store)
        commit = books.accept(["big"], body=b"x" * (MIB // 4))
        for call in (lambda: store.commit([commit]), lambda: store.put_blob(b"z" * MIB)):
            with pytest.raises(StoreFull) as caught:
                call()
            assert caught.value.applied is False
        assert loaded(store) == before
        assert store.sweep_blobs() == 40
        books.write(store, commit)
        assert store.verify() == []


def test_a_map_that_cannot_be_enlarged_is_full(store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without address space for twice the map nothing is applied, and the store goes on after reopening."""

    class Crowded:
        def __init__(self, env: lmdb.Environment) -> None:
            self._env = env

        def __getattr__(self, name: str) -> Any:
            return getattr(self._env, name)

        def set_mapsize(self, size: int) -> None:
            raise lmdb_error(lmdb.Error, "mdb_env_set_mapsize: Cannot allocate memory", errno.ENOMEM)

    environment = store._environment
    assert environment._env is not None
    environment._env = Crowded(environment._env)  # type: ignore[assignment]
    failing_commit(monkeypatch, lands=False, error=lmdb_error(lmdb.MapFullError, "mdb_txn_commit", -30792))
    with pytest.raises(StoreFull, match="cannot grow"):
        store.commit([books.accept()])
    books.write(store, books.accept())
    assert store.generation == 1


def test_the_room_of_a_full_disk_is_told_from_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB reports a write that was cut short as EIO: with no space left that is a full disk."""

    class Disk:
        f_frsize = 4096

        def __init__(self, free: int) -> None:
            self.f_bavail = free

    failed = lmdb_error(lmdb.Error, "mdb_txn_commit: Input/output error", errno.EIO)
    for free, kind in ((10, StoreFull), (10_000, StoreError)):
        monkeypatch.setattr(os, "statvfs", lambda _, free=free: Disk(free))
        assert type(lmdb_errors.error_of_lmdb(failed, tmp_path, "it", applied=None)) is kind
    monkeypatch.undo()
    assert type(lmdb_errors.error_of_lmdb(failed, tmp_path / "gone", "it", applied=None)) is StoreError
    for code, kind in ((errno.ENOSPC, StoreFull), (errno.EROFS, StoreReadOnly), (errno.EACCES, StoreReadOnly)):
        error = lmdb_errors.error_of_lmdb(lmdb_error(lmdb.Error, "it", code), tmp_path, "it", applied=False)
        assert (type(error), error.applied) == (kind, False)


# -- damaged rows --------------------------------------------------------------------------------------------------


def body_of(store: LmdbStore, books: Books) -> bytes | None:
    (active,) = books.active.values()
    with store.reading() as reader:
        return reader.load_body("r", active.input_id)


def run_of(books: Books) -> Any:
    assert books.record.last_run is not None
    return books.record.last_run.run_id


READS: dict[bytes, Callable[[LmdbStore, Books], object]] = {
    lmdb_rows.NAMES: lambda store, _: store.load_runtime("r"),
    lmdb_rows.RUNTIMES: lambda store, _: store.load_runtime("r"),
    lmdb_rows.ACTIVE: lambda store, _: store.load_runtime("r"),
    lmdb_rows.ENDED: lambda store, _: store.find_by_key("r", "ended"),
    lmdb_rows.BODIES: body_of,
    lmdb_rows.ORDERS: lambda store, _: store.find_by_key("r", "ended"),
    lmdb_rows.KEYS: lambda store, _: store.find_by_key("r", "ended"),
    lmdb_rows.RECEIPTS: lambda store, books: store.load_receipt("r", run_of(books), 0),
    lmdb_rows.RESULTS: lambda store, books: store.load_result("r", ResultRef(run_of(books))),
    lmdb_rows.SNAPSHOTS: lambda store, _: store.load_session_snapshot("r"),
    lmdb_rows.BLOBS: lambda store, _: store.get_blob(blob_id(b"image")),
}


def prefix_of(table: bytes) -> bytes:
    """The rows of runtime ``r``, which came first; blobs and names have no runtime in front."""
    if table == lmdb_rows.NAMES:
        return b"r"
    if table == lmdb_rows.BLOBS:
        return bytes.fromhex(blob_id(b"image")[7:])
    return lmdb_rows.ordinal_prefix(lmdb_rows.FIRST_ORDINAL)


def flipped(key: bytes, value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


@pytest.mark.parametrize("table", READS, ids=bytes.decode)
def test_a_damaged_row_of_any_kind_is_named_and_the_rest_is_usable(tmp_path: Path, table: bytes) -> None:
    """One flipped bit: StoreCorruption with table and key, a finding with the same name, other runtimes work (C38)."""
    books = filled(tmp_path / "store")
    keys = change(tmp_path / "store", table, flipped, prefix_of(table))
    where = {f"{table.decode()} row {key.hex()}" for key in keys}
    with LmdbStore.open(tmp_path / "store") as store:
        with pytest.raises(StoreCorruption) as caught:
            READS[table](store, books)
        assert caught.value.where in where
        assert where <= {finding.where for finding in store.verify()}
        assert store.find_by_key("other", "sound") is not None
        other = Books("other", seed=2)
        other.open(store)
        other.write(store, other.accept())


@pytest.mark.parametrize("table", [lmdb_rows.PRUNED, lmdb_rows.BLOB_REFS, lmdb_rows.META], ids=bytes.decode)
def test_damage_that_only_the_auditor_reads_is_found(tmp_path: Path, table: bytes) -> None:
    """Rows that no ordinary call reads are checked by ``verify``."""
    from holdstate.runtime.settings import Retention

    books = filled(tmp_path / "store")
    with LmdbStore.open(tmp_path / "store") as store:
        store.prune(Retention(keep_ended_seconds=0.0), now=books.now.replace(year=2100))
        assert store.verify() == []
    change(tmp_path / "store", table, lambda key, value: value if key == b"format" else flipped(key, value))
    with LmdbStore.open(tmp_path / "store") as store:
        assert "row_is_readable" in {finding.check for finding in store.verify()}


def kept(seen: list[bytes], value: bytes) -> bytes:
    seen.append(value)
    return value


def test_a_claim_of_a_damaged_runtime_changes_nothing(tmp_path: Path) -> None:
    """The claim fails alone and leaves the damaged bytes as they are (C38)."""
    filled(tmp_path / "store")
    prefix = prefix_of(lmdb_rows.ACTIVE)
    change(tmp_path / "store", lmdb_rows.ACTIVE, flipped, prefix)
    seen: list[bytes] = []
    with LmdbStore.open(tmp_path / "store") as store, pytest.raises(StoreCorruption):
        Books().open(store)
    change(tmp_path / "store", lmdb_rows.ACTIVE, lambda _, value: kept(seen, value), prefix)
    change(tmp_path / "store", lmdb_rows.ACTIVE, flipped, prefix)
    with LmdbStore.open(tmp_path / "store") as store:
        assert len(loaded(store).inputs) == 1
        assert len(seen) == 1


@pytest.mark.parametrize("table", [lmdb_rows.RUNTIMES, lmdb_rows.ACTIVE, lmdb_rows.ENDED, lmdb_rows.ORDERS])
def test_a_row_that_vanished_is_found(tmp_path: Path, table: bytes) -> None:
    """Counts and indexes find what no checksum can: a row that is not there (C6, C7)."""
    books = filled(tmp_path / "store")
    change(tmp_path / "store", table, lambda *_: None, prefix_of(table))
    calls: list[Callable[[LmdbStore], object]] = {
        lmdb_rows.RUNTIMES: [lambda store: store.load_runtime("r"), LmdbStore.list_runtimes],
        lmdb_rows.ACTIVE: [lambda store: store.load_runtime("r"), Books().open],
        lmdb_rows.ENDED: [
            lambda store: store.find_by_key("r", "ended"),
            lambda store: store.load_input("r", next(iter(books.ended))),
        ],
        lmdb_rows.ORDERS: [lambda store: store.find_by_key("r", "ended")],
    }[table]
    with LmdbStore.open(tmp_path / "store") as store:
        for call in calls:
            with pytest.raises(StoreCorruption):
                call(store)
        assert store.verify() != []
        assert store.find_by_key("other", "sound") is not None


def test_rows_that_were_swapped_are_found(tmp_path: Path) -> None:
    """A sound row under another key of its table fails its checksum: the key is part of it."""
    filled(tmp_path / "store")
    rows: dict[bytes, bytes] = {}
    change(tmp_path / "store", lmdb_rows.RUNTIMES, rows.setdefault)
    (one, first), (other, second) = rows.items()
    change(tmp_path / "store", lmdb_rows.RUNTIMES, lambda key, _: {one: second, other: first}[key])
    with LmdbStore.open(tmp_path / "store") as store, pytest.raises(StoreCorruption):
        store.load_runtime("r")


def test_indexes_that_point_elsewhere_are_found(tmp_path: Path) -> None:
    """Sealed rows with wrong content: a name, an order, a key entry. Never another input's record (C7)."""
    filled(tmp_path / "store")
    wrong = {
        lmdb_rows.NAMES: encode_number(2),
        lmdb_rows.ORDERS: encode_number(77),
        lmdb_rows.KEYS: b"\x92\xc4\x10" + bytes(16) + b"\xa5ended",
    }
    for table, payload in wrong.items():
        copy = tmp_path / table.decode()
        shutil.copytree(tmp_path / "store", copy)
        seal_all(copy, table, payload)
        with LmdbStore.open(copy) as store:
            calls: list[Callable[[], object]] = [
                partial(store.find_by_key, "r", "ended"),
                partial(store.find_by_key, "r", "active"),
            ]
            if table == lmdb_rows.NAMES:
                calls = [partial(store.load_runtime, "r"), store.list_runtimes]
            for call in calls:
                with pytest.raises(StoreCorruption):
                    call()
            assert store.verify() != []


def seal_all(path: Path, table: bytes, payload: bytes) -> None:
    """Give all rows of runtime ``r`` in one table the same well-sealed content."""
    change(path, table, lambda key, _: seal(table, key, payload), prefix_of(table))


def test_rows_without_a_runtime_are_findings(tmp_path: Path) -> None:
    """A name that vanished leaves rows that nothing reaches; the auditor names them."""
    filled(tmp_path / "store")
    change(tmp_path / "store", lmdb_rows.NAMES, lambda *_: None, b"r")
    with LmdbStore.open(tmp_path / "store") as store:
        found = {finding.where.split()[0] for finding in store.verify() if finding.check == "row_belongs_to_a_runtime"}
    assert found == {
        "active", "blob_refs", "bodies", "ended", "keys", "orders", "receipts", "results", "runtimes", "snapshots",
    }  # fmt: skip


def test_rows_in_the_wrong_place_are_findings(tmp_path: Path) -> None:
    """A row that is sealed for its key but belongs to another one is named by the auditor."""
    books = filled(tmp_path / "store")
    with LmdbStore.open(tmp_path / "store") as store:
        (active,) = books.active.values()
        prefix = store._environment.ordinals.get("r") or prefix_of(b"")
        moved = lmdb_rows.order_key(prefix, 99)
        from holdstate.stores.codec import encode_input

        store._environment.write(lambda rows: rows.put(lmdb_rows.ACTIVE, moved, encode_input(active)))
        odd = prefix + bytes(16) + b"\x02"
        store._environment.write(lambda rows: rows.put(lmdb_rows.RESULTS, odd, b"?"))
        wrong = {f.where for f in store.verify() if f.check == "row_is_in_its_place"}
        assert wrong == {f"active row {moved.hex()}", f"results row {odd.hex()}"}


# -- damaged files -------------------------------------------------------------------------------------------------


def test_a_file_that_was_cut_off_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    """Any length that lacks a page in use is StoreCorruption, not a SIGBUS when that page is touched.

    A file that lacks free pages alone is sound: the store then is whole.
    """
    filled(tmp_path / "store")
    data = tmp_path / "store" / "data.mdb"
    whole = data.read_bytes()
    refused = 0
    for length in [0, 1, 100, 151, 4097, *range(4096, len(whole), 4096), len(whole) - 1]:
        data.write_bytes(whole[:length])
        try:
            with LmdbStore.open(tmp_path / "store") as store:
                assert store.verify() == []
                assert store.stats().active_inputs == 2
        except StoreCorruption as error:
            assert "cut off" in error.problem  # noqa: PT017 - not every length is refused
            assert data.read_bytes() == whole[:length]
            refused += 1
    assert refused > len(whole) // 4096 // 2


def test_a_sound_file_may_end_before_its_last_page(tmp_path: Path) -> None:
    """LMDB never writes pages that were taken and freed in one transaction: such a file is short, and sound."""
    path = tmp_path / "raw"
    with lmdb.open(str(path), map_size=16 * MIB, max_dbs=1, lib_version=0) as env:
        database = env.open_db(b"t")
        for turn in range(20):
            with env.begin(write=True, db=database) as txn:
                for number in range(200):
                    txn.put(b"%d" % number, bytes(300 + turn * number % 6000))
                for number in range(200):
                    txn.delete(b"%d" % number)
        assert (path / "data.mdb").stat().st_size < (env.info()["last_pgno"] + 1) * 4096
    check_data_file(path / "data.mdb")


@pytest.mark.parametrize(
    ("offset", "patch", "error", "match"),
    [
        (16, b"\0\0\0\0", StoreCorruption, "not an LMDB file"),
        (20, b"\x03\0\0\0", StoreTooNew, "has format 3, this version reads up to 1"),
        (40, b"\xff\x0f\0\0", StoreCorruption, "page size"),
        (40, b"\0\0\0\0", StoreCorruption, "page size"),
        (4096 + 16, b"\0\0\0\0", StoreCorruption, "not an LMDB file"),
    ],
)
def test_a_file_that_is_not_ours_is_refused(
    tmp_path: Path, offset: int, patch: bytes, error: type[StoreError], match: str
) -> None:
    """Other content, another engine, nonsense in a meta page: refused by name, and left as it is."""
    filled(tmp_path / "store")
    data = tmp_path / "store" / "data.mdb"
    content = bytearray(data.read_bytes())
    content[offset : offset + len(patch)] = patch
    data.write_bytes(content)
    with pytest.raises(error, match=match):
        LmdbStore.open(tmp_path / "store")
    assert data.read_bytes() == content


def test_an_lmdb_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """An environment without our sub-databases is no holdstate store, and gets none."""
    with lmdb.open(str(tmp_path / "foreign"), max_dbs=3, lib_version=0) as env:
        env.open_db(b"theirs")
    for read_only in (False, True):
        with pytest.raises(StoreCorruption, match="not a holdstate store"):
            LmdbStore.open(tmp_path / "foreign", read_only=read_only)
    with lmdb.open(str(tmp_path / "foreign"), max_dbs=3, lib_version=0) as env:
        assert env.dbs() == [b"theirs"]


@pytest.mark.parametrize(
    ("payload", "error"),
    [(encode_number(2), StoreTooNew), (encode_number(0), StoreCorruption), (None, StoreCorruption)],
)
def test_a_store_of_a_newer_format_is_left_untouched(
    tmp_path: Path, payload: bytes | None, error: type[StoreError]
) -> None:
    """A newer format is refused by its number (C40), a missing one is corruption; the data stays as it is."""
    filled(tmp_path / "store")
    data = tmp_path / "store" / "data.mdb"
    change(
        tmp_path / "store",
        lmdb_rows.META,
        lambda key, _: None if payload is None else seal(lmdb_rows.META, key, payload),
        b"format",
    )
    before = data.read_bytes()
    with pytest.raises(error):
        LmdbStore.open(tmp_path / "store")
    assert data.read_bytes() == before


def test_a_row_of_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    """A newer row in a store of a known format: StoreTooNew for it, the rest works (C40)."""
    from zlib import crc32

    filled(tmp_path / "store")

    def newer(key: bytes, value: bytes) -> bytes:
        payload = value[ENVELOPE_BYTES:]
        return b"\x09" + crc32(payload, crc32(lmdb_rows.ACTIVE + b"\0" + key + b"\x09")).to_bytes(4, "big") + payload

    (key,) = change(tmp_path / "store", lmdb_rows.ACTIVE, newer, prefix_of(lmdb_rows.ACTIVE))
    with LmdbStore.open(tmp_path / "store") as store:
        with pytest.raises(StoreTooNew) as caught:
            store.load_runtime("r")
        assert (caught.value.where, caught.value.found) == (f"active row {key.hex()}", 9)
        assert store.find_by_key("r", "ended") is not None


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_removed_takes_no_more_commits(store: LmdbStore, books: Books, *, replaced: bool) -> None:
    """LMDB would go on committing into a file that nobody can find any more."""
    data = store.path / "data.mdb"
    data.rename(store.path / "away")
    if replaced:
        shutil.copy(store.path / "away", data)
    for call in (lambda: store.commit([books.accept()]), lambda: store.put_blob(b"x"), store.stats):
        with pytest.raises(StoreLost):
            call()
    (store.path / "away").rename(data)
    books.write(store, books.accept())


def test_a_data_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """An error of the operating system names the file."""
    filled(tmp_path / "store")
    (tmp_path / "store" / "data.mdb").unlink()
    (tmp_path / "store" / "data.mdb").mkdir()
    with pytest.raises(StoreError, match=r"data\.mdb"):
        LmdbStore.open(tmp_path / "store")


# -- creation ------------------------------------------------------------------------------------------------------


STEPS = ["lmdb.open", "os.fsync", "Path.rename"]


@pytest.mark.parametrize("step", STEPS)
def test_a_creation_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """At each step of it: a typed error, no store, no remains; the next try works (C37)."""
    if step == "lmdb.open":
        monkeypatch.setattr(
            lmdb, "open", fail_with(lmdb_error(lmdb.DiskError, "No space left on device", errno.ENOSPC))
        )
    elif step == "os.fsync":
        monkeypatch.setattr(os, "fsync", fail_with(OSError(errno.ENOSPC, "No space left on device")))
    else:
        monkeypatch.setattr(Path, "rename", fail_with(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(StoreFull):
        LmdbStore.open(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    LmdbStore.open(tmp_path / "store").close()


def fail_with(error: Exception) -> Callable[..., Any]:
    def fail(*args: object, **options: object) -> Any:
        raise error

    return fail


def test_who_creates_second_takes_the_first_ones_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes create at once: the later rename fails, and that one opens what the other made."""
    real = Path.rename

    def late(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", real)
        filled(tmp_path / "store")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", late)
    with LmdbStore.open(tmp_path / "store") as store:
        assert store.list_inputs(InputFilter("r")).records != ()
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


def test_remains_of_a_creation_that_crashed_are_in_nobodys_way(tmp_path: Path) -> None:
    """A crash in a creation leaves a hidden directory beside the path, and no store in it."""
    (tmp_path / ".holdstate-old").mkdir()
    (tmp_path / ".holdstate-old" / "data.mdb").write_bytes(b"")
    with LmdbStore.open(tmp_path / "store") as store:
        Books().open(store)
        assert evolve(loaded(store).record) == loaded(store).record
