"""Programs that tests run as processes of their own: ``python -m tests.stores.lmdb_programs NAME PATH``."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from holdstate.runtime.errors import Fenced, StoreForked, StoreFull, StoreReadOnly
from holdstate.runtime.store import Written
from holdstate.stores.lmdb_store import LmdbStore

from ..planted_bugs import plant_what_is_asked
from .builders import Books, loaded

KIB = 1024


def say(what: object) -> None:
    print(what, flush=True)


def work(path: Path) -> None:
    """Run after run on a new runtime, for ever; says its name, then each revision once it is committed."""
    with LmdbStore.open(path, map_size=256 * KIB) as store:
        place = store.stats().runtimes
        books = Books(f"worker {place}", seed=place)
        books.open(store)
        say(books.record.runtime_id)
        number = 0
        while True:
            number += 1
            for commit in (
                lambda key=f"key {number}": books.accept([key], body=bytes(3000), blobs=[key.encode()]),
                books.stage,
                lambda: books.finish(result=b"answer", snapshot=bytes(9000)),
            ):
                books.write(store, commit())
                say(books.record.revision)


def grow(path: Path) -> None:
    """Make the file larger than the map of the one who opened it before."""
    with LmdbStore.open(path, map_size=64 * KIB) as store:
        books = Books("grower", seed=7)
        books.open(store)
        for number in range(5):
            books.write(store, books.accept([str(number)], body=bytes(512 * KIB)))
    say("done")


def claim(path: Path) -> None:
    """Open runtime ``r``, commit once."""
    with LmdbStore.open(path) as store:
        books = Books(seed=3)
        books.open(store)
        books.write(store, books.accept(["theirs"]))
    say("done")


def create(path: Path) -> None:
    """Wait for the word, then open the store and a runtime of this process."""
    say("ready")
    sys.stdin.readline()
    with LmdbStore.open(path) as store:
        Books(f"process {os.getpid()}").open(store)
    say("done")


def hold(path: Path) -> None:
    """Stay inside a read transaction until killed."""
    with LmdbStore.open(path) as store, store.reading() as reader:
        assert reader.load_record("r") is not None
        say("ready")
        sys.stdin.readline()


def watch(path: Path) -> None:
    """Look at runtime ``r`` in one view before and after the word, then in a new one; says how many inputs it has."""
    with LmdbStore.open(path, read_only=True) as store:
        with store.reading() as reader:
            before = reader.load_runtime("r")
            say("ready")
            sys.stdin.readline()
            assert reader.load_runtime("r") == before
        assert store.verify() == []
        say(len(loaded(store).inputs))


def fork(path: Path) -> None:
    """The child is refused until it closes what it inherited and opens the store anew; the parent goes on."""
    with LmdbStore.open(path) as store:
        books = Books()
        books.open(store)
        write = store.prepare([books.accept(["k"])])
        child = os.fork()
        if child == 0:
            os._exit(0 if refused_after_fork(store, write) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        (result,) = write()
        assert isinstance(result, Written)
        assert loaded(store, "child").record.epoch == 1
        assert store.verify() == []
    say("done")


def refused_after_fork(store: LmdbStore, write: Callable[[], object]) -> bool:
    for call in (write, store.stats, store.verify, store.sweep_blobs, lambda: store.load_runtime("r")):
        try:
            call()
        except StoreForked:
            continue
        return False
    store.close()
    with LmdbStore.open(store.path) as own:
        Books("child", seed=1).open(own)
    return True


def file_limit(path: Path) -> None:
    """The file may not grow any more: typed error, whole state, and on it goes once there is room (C43)."""
    with LmdbStore.open(path) as store:
        books = Books()
        books.open(store)
        books.write(store, books.accept(["first"]))
        size = store.stats().size_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 128 * KIB, resource.RLIM_INFINITY))
        check_full(store, books, 4096 * KIB)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        books.write(store, books.accept(["big"], body=bytes(4096 * KIB)))
        assert store.verify() == []
    say("done")


def check_full(store: LmdbStore, books: Books, size: int = 1024 * KIB) -> None:
    """A commit that does not fit is refused as StoreFull, leaves all as it was, and small ones go on."""
    before = loaded(store)
    for _ in range(3):
        try:
            store.commit([books.accept(["big"], body=bytes(size))])
        except StoreFull as error:
            assert error.applied is not True, error  # noqa: PT017 - the same check runs in a program of its own
        else:
            raise AssertionError("the disk was not full")
        assert loaded(store) == before
        assert store.find_by_key("r", "big") is None
    books.write(store, books.accept(["small"]))


def unprivileged(path: Path) -> None:
    """Who may read the store but not write there opens it read-only, and only so."""
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        LmdbStore.open(path)
    except StoreReadOnly:
        pass
    else:
        raise AssertionError("opened for writing")
    with LmdbStore.open(path, read_only=True) as store:
        assert store.find_by_key("r", "k") is not None
    say("done")


def stale(path: Path) -> None:
    """Hold runtime ``r``, wait for the word, then commit as its holder."""
    with LmdbStore.open(path) as store:
        books = Books()
        books.open(store)
        say("ready")
        sys.stdin.readline()
        (result,) = store.commit([books.accept(["stale"])])
        say("fenced" if isinstance(result, Fenced) else repr(result))


ALL = (work, grow, claim, create, hold, watch, fork, file_limit, unprivileged, stale)
PROGRAMS = {each.__name__: each for each in ALL}

if __name__ == "__main__":
    plant_what_is_asked()
    PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
