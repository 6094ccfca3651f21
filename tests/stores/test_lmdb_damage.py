"""Damaged rows and files under the LMDB store: found, named, and everything else usable."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import lmdb
import pytest

from holdstate.runtime.errors import (
    StoreCorruption,
    StoreError,
    StoreLost,
    StoreTooNew,
)
from holdstate.runtime.ids import InputId
from holdstate.runtime.records import InputRecord
from holdstate.runtime.store import ResultRef
from holdstate.stores import lmdb_rows
from holdstate.stores.codec import encode_key, encode_number
from holdstate.stores.codec_envelope import ENVELOPE_BYTES, seal
from holdstate.stores.lmdb_files import check_data_file
from holdstate.stores.lmdb_store import LmdbStore

from ..contracts.damage import raw_rows
from .builders import Books, blob_id, loaded

KIB = 1024
MIB = 1024 * KIB


def filled(path: Path) -> Books:
    """A closed store with a row of every kind in it: an ended input with its payload, an active one with a blob, a held
    blob.
    """
    books = Books()
    with LmdbStore.open(path) as store:
        books.open(store)
        books.write(store, books.accept(["ended"]))
        books.write(store, books.stage())
        books.write(store, books.finish(result=b"answer", snapshot=b"session", keep_body=True))
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


# -- damaged rows --------------------------------------------------------------------------------------------------


def body_of(store: LmdbStore, inputs: dict[InputId, InputRecord]) -> bytes | None:
    (record,) = inputs.values()
    with store.reading() as reader:
        return reader.load_body("r", record)


def run_of(books: Books) -> Any:
    assert books.record.last_run is not None
    return books.record.last_run.run_id


READS: dict[bytes, Callable[[LmdbStore, Books], object]] = {
    lmdb_rows.NAMES: lambda store, _: store.load_runtime("r"),
    lmdb_rows.RUNTIMES: lambda store, _: store.load_runtime("r"),
    lmdb_rows.ACTIVE: lambda store, _: store.load_runtime("r"),
    lmdb_rows.ENDED: lambda store, _: store.find_by_key("r", "ended"),
    lmdb_rows.BODIES: lambda store, books: body_of(store, books.ended),
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


def state_prefix() -> bytes:
    """The key of the state row of the active input of runtime ``r``: its second one."""
    return lmdb_rows.state_key(lmdb_rows.order_key(prefix_of(lmdb_rows.ACTIVE), 2))


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


@pytest.mark.parametrize("known", [False, True])
def test_an_active_input_is_not_missed_because_its_row_is_damaged(tmp_path: Path, *, known: bool) -> None:
    """Who looks for an input without an index is told of the damage, be it in the row that was meant or not (C7)."""
    books = filled(tmp_path / "store")
    (active,) = books.active.values()
    (key,) = change(tmp_path / "store", lmdb_rows.ACTIVE, flipped, state_prefix())
    with LmdbStore.open(tmp_path / "store") as store:
        calls: list[Callable[[], object]] = [
            partial(store.load_input, "r", active.input_id if known else InputId(UUID(int=99))),
            partial(store.find_by_key, "r", "active" if known else "unknown"),
        ]
        for call in calls:
            with pytest.raises(StoreCorruption) as caught:
                call()
            assert caught.value.where == f"active row {key.hex()}"
        assert store.load_input("r", next(iter(books.ended))) is not None


def test_a_damaged_payload_hinders_nothing_but_its_reading(tmp_path: Path) -> None:
    """The runtime loads without it, and the input ends; the damaged bytes are kept as they are, and named (C38)."""
    books = filled(tmp_path / "store")
    key = lmdb_rows.body_key(lmdb_rows.order_key(prefix_of(lmdb_rows.ACTIVE), 2))
    assert change(tmp_path / "store", lmdb_rows.ACTIVE, flipped, key) == [key]
    with LmdbStore.open(tmp_path / "store") as store:
        assert len(loaded(store).inputs) == 1
        with pytest.raises(StoreCorruption) as caught:
            body_of(store, books.active)
        assert caught.value.where == f"active row {key.hex()}"
        before = dict(raw_rows(store, lmdb_rows.ACTIVE))
        books.write(store, books.stage())
        books.write(store, books.finish(keep_body=True))
        assert dict(raw_rows(store, lmdb_rows.BODIES))[key] == before[key]
        assert f"bodies row {key.hex()}" in {finding.where for finding in store.verify()}


@pytest.mark.parametrize("source", [lmdb_rows.ACTIVE, lmdb_rows.BODIES], ids=bytes.decode)
def test_a_payload_in_the_wrong_table_is_a_finding(tmp_path: Path, source: bytes) -> None:
    """Bodies of active inputs stand beside them, those of ended ones apart."""
    filled(tmp_path / "store")
    target = {lmdb_rows.ACTIVE: lmdb_rows.BODIES, lmdb_rows.BODIES: lmdb_rows.ACTIVE}[source]
    with LmdbStore.open(tmp_path / "store") as store:
        (key, *_) = (key for key, _ in raw_rows(store, source) if lmdb_rows.is_body(key))
        store._environment.write(lambda rows: rows.move(key, source, target))
        assert [(finding.check, finding.where) for finding in store.verify()] == [
            ("row_is_in_its_place", f"{target.decode()} row {key.hex()}")
        ]


def kept(seen: list[bytes], value: bytes) -> bytes:
    seen.append(value)
    return value


def test_a_claim_of_a_damaged_runtime_changes_nothing(tmp_path: Path) -> None:
    """The claim fails alone and leaves the damaged bytes as they are (C38)."""
    filled(tmp_path / "store")
    prefix = state_prefix()
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


def test_an_entry_of_another_key_is_never_taken_for_the_one_that_was_asked(tmp_path: Path) -> None:
    """A sealed entry that names an input which is there, and another key than the one it is found by (C7)."""
    books = filled(tmp_path / "store")
    (ended, *_) = books.ended
    seal_all(tmp_path / "store", lmdb_rows.KEYS, encode_key(ended, "another"))
    with LmdbStore.open(tmp_path / "store") as store:
        with pytest.raises(StoreCorruption, match="it is the entry of key 'another'"):
            store.find_by_key("r", "ended")
        assert store.verify() != []


def test_indexes_that_point_elsewhere_are_found(tmp_path: Path) -> None:
    """Sealed rows with wrong content: a name, an order, a key entry. Never another input's record (C7)."""
    books = filled(tmp_path / "store")
    with LmdbStore.open(tmp_path / "store") as store:
        books.open(store)
        books.write(store, books.stage())
        books.write(store, books.finish())
        books.write(store, books.accept(["waiting"]))
    first, second = books.ended
    wrong = [
        (lmdb_rows.NAMES, encode_number(2)),
        (lmdb_rows.ORDERS, encode_number(77)),  # nothing
        (lmdb_rows.ORDERS, encode_number(3)),  # an active input
        (lmdb_rows.ORDERS, encode_number(1)),  # the first one
        (lmdb_rows.KEYS, b"\x92\xc4\x10" + bytes(16) + b"\xa5ended"),
    ]
    for place, (table, payload) in enumerate(wrong):
        copy = tmp_path / str(place)
        shutil.copytree(tmp_path / "store", copy)
        seal_all(copy, table, payload)
        with LmdbStore.open(copy) as store:
            calls: list[Callable[[], object]] = [partial(store.find_by_key, "r", "active")]
            if table == lmdb_rows.NAMES:
                calls = [partial(store.load_runtime, "r"), store.list_runtimes]
            elif payload != encode_number(1):
                calls.append(partial(store.find_by_key, "r", "ended"))
            if table == lmdb_rows.ORDERS:
                wanted = [second] if payload == encode_number(1) else [first, second]
                calls += [partial(store.load_input, "r", each) for each in wanted]
            for call in calls:
                with pytest.raises(StoreCorruption):
                    call()
            assert store.verify() != []


@pytest.mark.parametrize("table", [lmdb_rows.ORDERS, lmdb_rows.KEYS], ids=bytes.decode)
def test_an_active_input_in_an_index_is_a_finding(tmp_path: Path, table: bytes) -> None:
    """The indexes hold ended inputs alone, so whoever is told of an active one by them is told of damage (C6)."""
    books = filled(tmp_path / "store")
    (active,) = books.active.values()
    prefix = prefix_of(table)
    key, payload = {
        lmdb_rows.ORDERS: (lmdb_rows.input_key(prefix, active.input_id), encode_number(active.order)),
        lmdb_rows.KEYS: (lmdb_rows.idempotency_key(prefix, "active"), encode_key(active.input_id, "active")),
    }[table]
    with LmdbStore.open(tmp_path / "store") as store:
        assert store.verify() == []
        store._environment.write(lambda rows: rows.put(table, key, payload))
        assert [(finding.check, finding.where) for finding in store.verify()] == [
            ("index_holds_ended_inputs", f"{table.decode()} row {key.hex()}")
        ]
        with pytest.raises(StoreCorruption):
            store.load_input("r", active.input_id) if table == lmdb_rows.ORDERS else store.find_by_key("r", "active")


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
        moved = lmdb_rows.state_key(lmdb_rows.order_key(prefix, 99))
        from holdstate.stores.codec_inputs import encode_input

        store._environment.write(lambda rows: rows.put(lmdb_rows.ACTIVE, moved, encode_input(active)))
        odd = prefix + bytes(16) + b"\x02"
        store._environment.write(lambda rows: rows.put(lmdb_rows.RESULTS, odd, b"?"))
        wrong = {f.where for f in store.verify() if f.check == "row_is_in_its_place"}
        assert wrong == {f"active row {moved.hex()}", f"results row {odd.hex()}"}


# -- damaged files -------------------------------------------------------------------------------------------------


def test_a_file_that_was_cut_off_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    """Any length that lacks a page in use is StoreCorruption, not a SIGBUS when that page is touched.

    A file that lacks free pages alone, or zeros behind the last page, is sound: the store then is whole.
    """
    filled(tmp_path / "store")
    data = tmp_path / "store" / "data.mdb"
    whole = data.read_bytes()
    used = used_bytes(tmp_path / "store")
    assert used < len(whole)
    assert not any(whole[used:])
    refused = 0
    for length in [0, 1, 100, 151, 4097, *range(4096, used, 4096), used - 1]:
        data.write_bytes(whole[:length])
        try:
            with LmdbStore.open(tmp_path / "store") as store:
                assert store.verify() == []
                assert store.stats().active_inputs == 2
        except StoreCorruption as error:
            assert "cut off" in error.problem  # noqa: PT017 - not every length is refused
            assert data.read_bytes() == whole[:length]
            refused += 1
    assert refused > used // 4096 // 2
    for length in (used, used + 1, used + 40_960, len(whole) - 1):
        data.write_bytes(whole[:length])
        with LmdbStore.open(tmp_path / "store") as store:
            assert store.verify() == []
            assert store.stats().active_inputs == 2
            store.put_blob(b"it goes on")


def test_a_file_that_ends_within_a_large_value_is_refused(tmp_path: Path) -> None:
    """Of a value of several pages any may be the first that is missing, and the file is not mapped (C38)."""
    filled(tmp_path / "store")
    with LmdbStore.open(tmp_path / "store") as store:
        books = Books("large", seed=2)
        books.open(store)
        books.write(store, books.accept(body=b"\xab" * 60_000))
    data = tmp_path / "store" / "data.mdb"
    whole = data.read_bytes()
    first, end = whole.index(b"\xab" * 64), whole.rindex(b"\xab" * 64) + 64
    for length in range(first, end, 1000):
        data.write_bytes(whole[:length])
        with pytest.raises(StoreCorruption, match="cut off"):
            check_data_file(data)
    data.write_bytes(whole[: -(-end // 4096) * 4096])
    with LmdbStore.open(tmp_path / "store") as store:
        assert store.verify() == []


def used_bytes(path: Path) -> int:
    """How much of the file holds pages; behind that are zeros."""
    with lmdb.open(str(path), max_dbs=20, lib_version=0, readonly=True) as env:
        return (env.info()["last_pgno"] + 1) * env.stat()["psize"]


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

    (key,) = change(tmp_path / "store", lmdb_rows.ACTIVE, newer, state_prefix())
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
    before = loaded(store)
    for call in (lambda: store.commit([books.accept()]), lambda: store.put_blob(b"x"), store.stats):
        with pytest.raises(StoreLost):
            call()
    assert loaded(store) == before
    (store.path / "away").rename(data)
    books.write(store, books.accept())


def test_a_data_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """An error of the operating system names the file."""
    filled(tmp_path / "store")
    (tmp_path / "store" / "data.mdb").unlink()
    (tmp_path / "store" / "data.mdb").mkdir()
    with pytest.raises(StoreError, match=r"data\.mdb"):
        LmdbStore.open(tmp_path / "store")
