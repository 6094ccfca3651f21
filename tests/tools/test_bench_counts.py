"""The rows of the bench that count: what is written, what is kept in memory, what is put by hand, and the tmpfs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import msgspec
import pytest

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.store import StoreStats
from holdstate.stores import lmdb_files
from holdstate.stores.lmdb_rows import ACTIVE, RUNTIMES
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.tools import bench_by_hand, bench_memory, bench_tmpfs, bench_written
from holdstate.tools.bench_by_hand import Hand, by_hand
from holdstate.tools.bench_file import Change, applied, change, rows_in, written_by_process
from holdstate.tools.bench_memory import Held, anonymous_bytes, memory
from holdstate.tools.bench_setting import DATA_FILE, RUNTIME, Bench, NothingMeasured, RowLeftOut, Size
from holdstate.tools.bench_tmpfs import no_tmpfs, software
from holdstate.tools.bench_written import written

TINY = Size(calls=3, turns=1, lives=2, earlier=20, active=20, waiting=3, known=5, held=128, batch=16, steps=3, rounds=2)
ONE, OTHER, THIRD = (b"table", b"1"), (b"table", b"2"), (b"table", b"3")


def test_a_change_is_what_was_put_and_what_is_gone() -> None:
    """New rows and other values are puts; a row that stays as it was is nothing; the one is made of the other."""
    before, after = {ONE: b"a", OTHER: b"b", THIRD: b"c"}, {ONE: b"a", OTHER: b"bb", (b"new", b"4"): b""}
    found = change(before, after)
    assert set(found.puts) == {(OTHER, b"bb"), ((b"new", b"4"), b"")}
    assert found.deletes == (THIRD,)
    assert (found.rows, found.row_bytes) == (3, 4)
    assert applied(before, [found]) == after


async def test_rows_are_read_beside_the_open_store(tmp_path: Path) -> None:
    """All tables, from a copy of the file, whose rows are those that the store counts."""
    with LmdbStore.open(tmp_path / "store") as store:
        driver = await PersistentRuntimeDriver.open(RUNTIME, store)
        await Bench(tmp_path, TINY).accept(driver, 3)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        tables = [table for table, _ in rows_in(store.path, scratch)]
        assert (tables.count(ACTIVE), tables.count(RUNTIMES)) == (6, 1)


def test_what_this_process_writes_is_told_where_the_system_tells(tmp_path: Path) -> None:
    """By the byte; None without such an account."""
    before = written_by_process()
    (tmp_path / "file").write_bytes(bytes(12_345))
    after = written_by_process()
    if before is not None and after is not None:
        assert after - before == 12_345
    assert written_by_process(tmp_path / "none") is None
    (tmp_path / "io").write_text("rchar: 5\nwchar: 77\n")
    assert written_by_process(tmp_path / "io") == 77


async def test_what_is_written_is_exact(tmp_path: Path) -> None:
    """Three rows for a lone accept, two for each of a group and one for all of them, thirteen for a life."""
    lines = {line.what: line for line in await written(Bench(tmp_path, TINY))}
    rows = {what: line for what, line in lines.items() if what.startswith("rows")}
    assert {what: (line.low, line.ratio, line.high) for what, line in rows.items()} == {
        "rows put and deleted by a lone accept": (3, 3, 3),
        "rows put and deleted by one of 64 gathered accepts": (129 / 64, 129 / 64, 129 / 64),
        "rows put and deleted by accept to consumed": (13, 13, 13),
    }
    assert all(line.is_exact for line in rows.values())
    if written_by_process() is not None:
        lone, gathered = (
            lines[f"written to the file by {what}"] for what in ("a lone accept", "one of 64 gathered accepts")
        )
        assert 3 * 4096 < lone.ratio < 10 * 4096
        assert gathered.ratio < lone.ratio / 10


async def test_zeros_ahead_of_need_are_no_cost_of_a_commit(tmp_path: Path) -> None:
    """A megabyte by which the file grows while a commit is counted is taken off."""
    setting = Bench(tmp_path, TINY)
    with LmdbStore.open(tmp_path / "store") as store:
        driver = await PersistentRuntimeDriver.open(RUNTIME, store)

        async def accept_and_lengthen() -> None:
            await setting.accept(driver, 1)
            data = (store.path / DATA_FILE).stat()
            lmdb_files.append_zeros(str(store.path / DATA_FILE), (data.st_dev, data.st_ino), data.st_size + 1024 * 1024)

        counter = bench_written.Counter(store, setting.new_directory())
        await counter.step(accept_and_lengthen)
    (cost,) = counter.costs
    assert cost.file_bytes is None or 3 * 4096 < cost.file_bytes < 20 * 4096


async def test_what_is_written_without_an_account_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and their bytes are counted anywhere; nothing is guessed about the file."""
    monkeypatch.setattr(bench_written, "written_by_process", lambda: None)
    lines = await written(Bench(tmp_path, TINY))
    assert {line.unit for line in lines} == {"rows", "bytes"}
    assert not [line for line in lines if "to the file" in line.what]


async def test_the_stores_own_account_has_to_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a store that tells of fewer rows than are in the file is an error."""
    original = LmdbStore.stats
    told = iter(range(10_000))

    def one_too_many(store: LmdbStore) -> StoreStats:
        found = original(store)
        object.__setattr__(found, "rows_written", found.rows_written + next(told))
        return found

    monkeypatch.setattr(LmdbStore, "stats", one_too_many)
    with pytest.raises(NothingMeasured, match="bench row written: 3 rows in the file that were put, not 4"):
        await written(Bench(tmp_path, TINY))


async def test_by_hand_puts_the_same_rows(tmp_path: Path) -> None:
    """Two rounds by hand leave the rows of two runtimes, byte by byte those of ours but for the ordinal."""
    setting = Bench(tmp_path, TINY)
    work = bench_by_hand.Work("an accept", 3, bench_by_hand._accept, setting.accept, lambda stats: stats.active_inputs)
    changes = await bench_by_hand._recorded(setting, work)
    assert [len(each.puts) for each in changes] == [3, 3, 3]
    place = setting.new_directory()
    with Hand(place, changes) as hand:
        for _ in range(2):
            hand.make_ready()
            await hand.put()
        hand.check(6)
        rows = rows_in(place, setting.new_directory())
        mine = applied({}, changes)
        for ordinal in (1, 2):
            prefix = ordinal.to_bytes(8, "big")
            found = {(table, key[8:]): value for (table, key), value in rows.items() if key.startswith(prefix)}
            assert found == {(table, key[8:]): value for (table, key), value in mine.items()}
        hand._rounds += 1
        with pytest.raises(NothingMeasured, match="rows put by hand"):
            hand.check(9)


async def test_hands_that_put_nothing_fail_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a floor that did no work is no floor."""

    async def nothing(hand: Hand) -> None:
        return None

    monkeypatch.setattr(Hand, "put", nothing)
    with pytest.raises(NothingMeasured, match="bench row by-hand: 0 rows put by hand"):
        await by_hand(Bench(tmp_path, TINY))


async def test_a_change_without_rows_is_not_put_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: commits in which ours put nothing are not taken as what is to be done."""
    monkeypatch.setattr(bench_by_hand, "change", lambda *_: Change((), ()))
    with pytest.raises(NothingMeasured, match="0 commits of ours that put rows, not 3"):
        await by_hand(Bench(tmp_path, TINY))


@pytest.mark.skipif(anonymous_bytes() is None, reason="this system does not tell what a process takes")
async def test_what_a_process_holds_is_there(tmp_path: Path) -> None:
    """An active input takes some memory and less than four KiB; what is told of ended ones is one figure a batch."""
    found = await bench_memory._process(tmp_path / "store", 1_000, 16)
    assert 100 < found.active < 4096
    assert len(found.ended) == bench_memory.WATCHED


LEAK = """
import os, sys
from holdstate.tools import bench_memory
from holdstate.tools.bench_setting import Bench

kept, original = [], Bench.accept_all

async def keeps(setting, driver, inputs):
    kept.extend(os.urandom(500) for _ in range(inputs))
    await original(setting, driver, inputs)

Bench.accept_all = keeps
bench_memory.main([sys.argv[1], "1", "64"])
"""


@pytest.mark.skipif(anonymous_bytes() is None, reason="this system does not tell what a process takes")
def test_memory_that_grows_with_what_ended_is_seen(tmp_path: Path) -> None:
    """Control: with 500 bytes kept of each input that ended, every batch says so."""
    command = [sys.executable, "-c", LEAK, str(tmp_path / "store")]
    done = subprocess.run(command, check=True, capture_output=True)
    found = msgspec.json.decode(done.stdout, type=Held)
    assert median(found.ended) >= 400


async def test_a_process_that_holds_nothing_fails_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: numbers of a process that held no input are refused."""

    async def nothing(path: Path, held: int, batch: int) -> Held:
        return Held(1.0, [0.0])

    monkeypatch.setattr(bench_memory, "anonymous_bytes", lambda: 1)
    monkeypatch.setattr(bench_memory, "_process", nothing)
    with pytest.raises(NothingMeasured, match="bench row memory: 0 active inputs, not 256"):
        await memory(Bench(tmp_path, TINY))


async def test_memory_is_left_out_where_nobody_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other figure stands in for it."""
    assert anonymous_bytes(tmp_path / "none") is None
    (tmp_path / "status").write_text("Name:\tpython\nRssAnon:\t    12 kB\n")
    assert anonymous_bytes(tmp_path / "status") == 12 * 1024
    (tmp_path / "status").write_text("Name:\tpython\n")
    assert anonymous_bytes(tmp_path / "status") is None
    monkeypatch.setattr(bench_memory, "anonymous_bytes", lambda: None)
    with pytest.raises(RowLeftOut, match="bench row memory is left out"):
        await memory(Bench(tmp_path, TINY))


async def test_a_process_that_fails_fails_the_row(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is reported with its exit code; what it says goes to stderr."""
    (tmp_path / "store").write_text("no store")
    with pytest.raises(NothingMeasured, match="the process that holds inputs ended with 1"):
        await bench_memory._process(tmp_path / "store", 1, 1)
    assert "Error" in capfd.readouterr().err


async def test_software_is_left_out_without_a_tmpfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk is never taken for one: the row says what is there, and what to do."""
    monkeypatch.setattr(lmdb_files, "_file_system", lambda *_: "ext4")
    with pytest.raises(RowLeftOut, match=r"is on ext4, not on a tmpfs; name one with --tmpfs DIR"):
        await software(Bench(tmp_path, TINY, tmpfs=tmp_path))
    assert no_tmpfs(tmp_path / "none").endswith("is no directory")
    monkeypatch.setattr(lmdb_files, "_file_system", lambda *_: None)
    assert no_tmpfs(tmp_path).startswith("this system does not tell")
    monkeypatch.setattr(lmdb_files, "_file_system", lambda *_: "tmpfs")
    assert not no_tmpfs(tmp_path)


async def test_software_that_does_nothing_fails_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: nothing done is not what software costs, and nothing is left on the tmpfs."""

    async def nothing(setting: Bench, driver: object, calls: int) -> None:
        return None

    monkeypatch.setattr(bench_tmpfs, "no_tmpfs", lambda _: "")
    monkeypatch.setattr(Bench, "accept", nothing)
    with pytest.raises(NothingMeasured, match="bench row software: 0 inputs, not 9"):
        await software(Bench(tmp_path, TINY, tmpfs=tmp_path))
    assert not [*tmp_path.glob("*")]  # noqa: ASYNC240 - a test may wait
