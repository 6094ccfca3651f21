"""Faults under the LMDB store: commits of unknown result, full maps, creations that fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import lmdb
import pytest
from attrs import evolve

from holdstate.runtime.errors import (
    StoreError,
    StoreFull,
    StoreLost,
    StoreReadOnly,
)
from holdstate.runtime.store import Written
from holdstate.stores import lmdb_environment, lmdb_errors, lmdb_rows
from holdstate.stores.lmdb_store import LmdbStore

from .builders import Books, loaded

KIB = 1024
MIB = 1024 * KIB


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

    def get(self, key: bytes, default: object, db: Any) -> bytes:
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
    monkeypatch.setattr(store._environment, "_begin", lambda _: None)
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


@pytest.mark.parametrize("size", [1000, 5000])
def test_a_map_that_is_full_to_its_last_page_can_be_emptied(tmp_path: Path, size: int) -> None:
    """Work goes on and ends, and a sweep makes room, when no page is left for admissions (C43)."""
    with LmdbStore.open(tmp_path / "store", map_size=MIB, max_map_size=MIB) as store:
        books = Books()
        books.open(store)
        books.write(store, books.accept(["first"]))
        with pytest.raises(StoreFull):
            fill_up(store, books, size)
        with pytest.raises(StoreFull):
            fill_up(store, books, 100)
        books.write(store, books.stage())
        books.write(store, books.finish(result=bytes(10_000)))
        assert store.sweep_blobs() > 50
        environment = store._environment._env
        assert environment is not None
        assert environment.info()["map_size"] < 2 * MIB  # the reserve is for what makes room, and is given back
        for number in range(20):
            books.write(store, books.accept([str(number)], body=bytes(1000)))
        assert store.verify() == []
        assert store.generation == 0


def fill_up(store: LmdbStore, books: Books, size: int) -> None:
    for number in range(MIB):
        store.put_blob(b"%d" % number * size)
        if number % 8 == 0:
            books.write(store, books.accept())


def test_a_larger_map_waits_for_readers(tmp_path: Path) -> None:
    """While one thread reads, growth on another waits, and a third one's reading begins after it."""
    with LmdbStore.open(tmp_path / "store", map_size=64 * KIB) as store:
        books = Books()
        books.open(store)
        gate = store._environment._gate
        writer = Thread(target=lambda: books.write(store, books.accept(["k"], body=bytes(MIB))))
        late: list[object] = []
        reader = Thread(target=lambda: late.append(loaded(store)))
        with store.reading() as view:
            writer.start()
            while not gate._is_changing:
                Event().wait(0.001)
            reader.start()
            assert view.load_record("r") == books.record
            assert view.find_by_key("r", "k") is None
        writer.join(60)
        reader.join(60)
        assert store.find_by_key("r", "k") is not None
        assert len(late) == 1


def test_a_transaction_that_cannot_begin_says_why(store: LmdbStore, books: Books) -> None:
    """A full reader table is an error of that call alone."""

    class Crowded:
        def begin(self, *, write: bool) -> Any:
            raise lmdb_error(lmdb.ReadersFullError, "mdb_txn_begin", -30790)

    environment = store._environment
    real = environment._env
    environment._env = Crowded()  # type: ignore[assignment]
    with pytest.raises(StoreError, match="could not begin"):
        store.stats()
    environment._env = real
    books.write(store, books.accept())
    assert store.generation == 0


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
        with LmdbStore.open(tmp_path / "store") as first:
            Books().open(first)
        return real(path, target)

    monkeypatch.setattr(Path, "rename", late)
    with LmdbStore.open(tmp_path / "store") as store:
        assert loaded(store).record.epoch == 1
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


def test_remains_of_a_creation_that_crashed_are_in_nobodys_way(tmp_path: Path) -> None:
    """A crash in a creation leaves a hidden directory beside the path, and no store in it."""
    (tmp_path / ".holdstate-old").mkdir()
    (tmp_path / ".holdstate-old" / "data.mdb").write_bytes(b"")
    with LmdbStore.open(tmp_path / "store") as store:
        Books().open(store)
        assert evolve(loaded(store).record) == loaded(store).record
