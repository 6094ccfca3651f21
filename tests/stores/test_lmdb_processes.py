"""The LMDB store and processes: kills, several writers, forks, limits of the operating system."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdstate.runtime.errors import StoreReadOnly
from holdstate.stores import lmdb_files
from holdstate.stores.lmdb_store import LmdbStore

from ..needs import do_without
from .builders import Books, loaded
from .lmdb_programs import check_full

KILLS = 15
SECONDS = 60


@pytest.fixture
def program(project_root: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts one of ``lmdb_programs``; whatever still runs at the end of the test is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(name: str, path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.lmdb_programs", name, str(path)],
            cwd=project_root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rest_of_lines(process: subprocess.Popen[str]) -> list[str]:
    """The whole lines that it said and nobody read yet; waits for its end. (``communicate`` passes over what ``line``
    read ahead.)
    """
    assert process.stdout is not None
    return process.stdout.read().split("\n")[:-1]


def answer(process: subprocess.Popen[str], word: str = "go\n") -> str:
    """What it says in the end, after a word to go on."""
    said, _ = process.communicate(word, timeout=SECONDS)
    assert process.returncode == 0
    return said.strip()


# -- kills ---------------------------------------------------------------------------------------------------------


def test_a_killed_writer_leaves_every_acknowledged_commit_and_no_part_of_another(
    tmp_path: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    """SIGKILL at any time: each commit said to be done is there, at most one more, and each is whole (C1, C19)."""
    draw = random.Random(2026)
    for _ in range(KILLS):
        process = program("work", tmp_path / "store")
        name = line(process)
        acknowledged = 1
        for _ in range(draw.randrange(40)):
            acknowledged = int(line(process))
        process.kill()
        acknowledged = max([acknowledged, *map(int, rest_of_lines(process))])
        with LmdbStore.open(tmp_path / "store") as store:
            assert loaded(store, name).record.revision in {acknowledged, acknowledged + 1}
            assert store.verify() == []


def test_a_killed_reader_keeps_no_pages(tmp_path: Path, program: Callable[..., subprocess.Popen[str]]) -> None:
    """Its place in the reader table is given back at the next open; that of a living one stays."""
    with LmdbStore.open(tmp_path / "store") as store:
        Books().open(store)
    killed, living = (program("hold", tmp_path / "store") for _ in range(2))
    assert [line(killed), line(living)] == ["ready", "ready"]
    killed.kill()
    killed.communicate(timeout=SECONDS)
    with LmdbStore.open(tmp_path / "store") as store:
        env = store._environment._env
        assert env is not None
        readers = env.readers().split()
        assert str(living.pid) in readers
        assert str(killed.pid) not in readers


# -- several processes ---------------------------------------------------------------------------------------------


def test_a_map_that_another_process_enlarged_is_followed(
    tmp_path: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    """Reads and writes adopt the larger map, and grow it further, without an error (C43)."""
    with LmdbStore.open(tmp_path / "store", map_size=64 * 1024) as store:
        books = Books()
        books.open(store)
        assert answer(program("grow", tmp_path / "store")) == "done"
        assert len(loaded(store, "grower").inputs) == 5
        books.write(store, books.accept(["k"], body=bytes(8 * 1024 * 1024)))
        assert store.verify() == []
        assert store.generation == 0


def test_a_writer_follows_a_larger_map_too(tmp_path: Path, program: Callable[..., subprocess.Popen[str]]) -> None:
    """The first thing after the other's growth may be a commit."""
    with LmdbStore.open(tmp_path / "store", map_size=64 * 1024) as store:
        books = Books()
        books.open(store)
        assert answer(program("grow", tmp_path / "store")) == "done"
        books.write(store, books.accept(["k"]))
        assert store.stats().active_inputs == 6


def test_a_file_that_was_lengthened_ahead_is_the_same_to_another_process(
    tmp_path: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    """Its view stays as it was while the file grows under it, the next one has all, and it may lengthen it too."""
    with LmdbStore.open(tmp_path / "store") as store:
        books = Books()
        books.open(store)
        books.write(store, books.accept())
        before = store.stats().size_bytes
        watcher = program("watch", tmp_path / "store")
        assert line(watcher) == "ready"
        for _ in range(100):
            books.write(store, books.accept(body=bytes(30_000)))
        assert store.stats().size_bytes > before
        assert answer(watcher) == "101"
        assert answer(program("grow", tmp_path / "store")) == "done"
        store.put_blob(b"after the other one")
        assert len(loaded(store, "grower").inputs) == 5
        assert store.verify() == []


def test_of_two_processes_the_newer_holds_the_runtime(
    tmp_path: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    """The older one's commit is refused in the write transaction itself, in both directions (C32)."""
    with LmdbStore.open(tmp_path / "store") as store:
        mine = Books()
        mine.open(store)
        assert answer(program("claim", tmp_path / "store")) == "done"
        before = loaded(store)
        (result,) = store.commit([mine.accept(["mine"])])
        assert type(result).__name__ == "Fenced"
        assert loaded(store) == before
        older = program("stale", tmp_path / "store")
        assert line(older) == "ready"
        newer = Books(seed=5)
        newer.open(store)
        assert answer(older) == "fenced"
        newer.write(store, newer.accept(["newer"]))
        assert store.find_by_key("r", "stale") is None


def test_processes_that_create_at_once_share_one_store(
    tmp_path: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    """All of them open the same store; none is lost, no remains are left."""
    processes = [program("create", tmp_path / "store") for _ in range(4)]
    for process in processes:
        assert line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [answer(process, "") for process in processes] == ["done"] * 4
    with LmdbStore.open(tmp_path / "store") as store:
        assert store.stats().runtimes == 4
        assert store.verify() == []
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


def test_a_fork_is_refused_until_it_opens_the_store_itself(
    tmp_path: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    """Every call in the child is StoreForked; after closing it opens the store anew, and the parent is unharmed."""
    assert answer(program("fork", tmp_path / "store")) == "done"


# -- limits of the operating system --------------------------------------------------------------------------------


def test_a_file_that_may_not_grow_is_a_full_store(
    tmp_path: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    """Beyond RLIMIT_FSIZE: StoreFull, nothing applied, usable at once and after the limit is lifted (C43)."""
    assert answer(program("file_limit", tmp_path / "store")) == "done"


@contextmanager
def mounted(mount: str, umount: str, place: Path, size: str) -> Iterator[None]:
    """A file system of that size; skipped, or failed, where this process may not mount."""
    place.mkdir()
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=False)
    if done.returncode:
        do_without("this test mounts a tmpfs, which needs root")
    try:
        yield
    finally:
        subprocess.run([umount, str(place)], check=True)


@pytest.mark.parametrize("spare", [lmdb_files.SPARE_BYTES, 0])
@pytest.mark.parametrize("size", ["300k", "500k", "516k", "600k", "900k"])
def test_a_full_disk_is_a_full_store(
    tmp_path: Path, require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, *, size: str, spare: int
) -> None:
    """StoreFull, nothing applied, reads and small writes go on, and all of it works again with room (C43).

    The same where the file was lengthened ahead until the disk was full.
    """
    monkeypatch.setattr(lmdb_files, "SPARE_BYTES", spare)
    mount, umount = require_tool("mount"), require_tool("umount")
    with (
        mounted(mount, umount, tmp_path / "disk", size),
        LmdbStore.open(tmp_path / "disk" / "store") as store,
    ):
        books = Books()
        books.open(store)
        check_full(store, books)
        subprocess.run([mount, "-o", "remount,size=8m", str(tmp_path / "disk")], check=True)
        books.write(store, books.accept(["big"], body=bytes(1024 * 1024)))
        assert store.verify() == []


def test_a_read_only_file_system_is_said_to_be_one(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Opening for writing is StoreReadOnly, reading works, and a file system that turns read-only stops the writes."""
    mount, umount = require_tool("mount"), require_tool("umount")
    disk = tmp_path / "disk"
    with mounted(mount, umount, disk, "4m"):
        books = Books()
        with LmdbStore.open(disk / "store") as store:
            books.open(store)
            books.write(store, books.accept(["k"]))
        subprocess.run([mount, "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StoreReadOnly):
            LmdbStore.open(disk / "store")
        with pytest.raises(StoreReadOnly):
            LmdbStore.open(disk / "new")
        with LmdbStore.open(disk / "store", read_only=True) as store:
            assert store.find_by_key("r", "k") is not None


def test_who_may_only_read_opens_read_only(tmp_path: Path, program: Callable[..., subprocess.Popen[str]]) -> None:
    """Another user without write permission reads the store and changes nothing."""
    path = tmp_path / "store"
    books = Books()
    with LmdbStore.open(path) as store:
        books.open(store)
        books.write(store, books.accept(["k"]))
    places = [path, *(each for each in path.parents if each.stat().st_uid == os.geteuid() and each != Path("/"))]
    modes = [(place, place.stat().st_mode) for place in (*places, path / "data.mdb", path / "lock.mdb")]
    try:
        for place, mode in modes:
            place.chmod(0o444 if place.is_file() else (mode | 0o555) if place != path else 0o555)
        assert answer(program("unprivileged", path)) == "done"
    finally:
        for place, mode in modes:
            place.chmod(mode)
