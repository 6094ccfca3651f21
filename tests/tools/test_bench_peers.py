"""Other libraries beside the bench: equally durable, counted, and left out by name where they cannot be had.

No network: SQLite by hand always runs; the libraries do where their environment is there already.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdstate.tools import bench_peer_env, bench_peer_rows
from holdstate.tools.bench_command import bench
from holdstate.tools.bench_peer_env import PINS, default_directory, interpreters, last_line
from holdstate.tools.bench_peer_rows import Interpreter, PeerFailed, PeerLine, PeerProcess, measure_peers
from holdstate.tools.bench_peers import PEERS
from holdstate.tools.bench_setting import Bench, NothingMeasured, Size

from ..needs import do_without

TINY = Size(calls=4, turns=1, lives=3, earlier=20, active=20, waiting=3, known=5, held=16, batch=16, steps=3, rounds=2)
PROGRAM = bench_peer_rows._PROGRAM


def _ask(name: str, work: str, directory: Path, *orders: str, python: str = sys.executable) -> list[object]:
    done = subprocess.run(
        [python, str(PROGRAM), name, work, str(directory)],
        input="".join(f"{order}\n" for order in orders),
        check=True,
        capture_output=True,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _installed(name: str) -> str | None:
    """The interpreter of the environment that an earlier ``--peers`` made, if this library is in it."""
    python, package = default_directory() / "bin" / "python", PEERS[name].package
    if package is None:
        return sys.executable
    known = python.exists() and bench_peer_env._run([str(python), "-c", bench_peer_env._VERSION, package])[0]
    return str(python) if known == PINS[package] else None


@pytest.mark.parametrize("work", ["accept", "lifecycle"])
@pytest.mark.parametrize("name", PEERS)
def test_a_library_does_the_work_and_keeps_it_durably(tmp_path: Path, name: str, work: str) -> None:
    """So many works are in its database, seen by another connection; each commit was synced."""
    python = _installed(name)
    if python is None:
        do_without(f"{name} is not installed in {default_directory()}; holdstate bench --peers does that")
    version, first, second, found = _ask(name, work, tmp_path, "do 3", "do 2", "check", python=python)
    assert isinstance(version, dict)
    assert isinstance(first, float)
    assert isinstance(second, float)
    assert found == {"accepted": 5, "ended": 0 if work == "accept" else 5, "journal": "wal", "synchronous": 2}


def test_libraries_are_made_durable_after_they_set_what_they_like(tmp_path: Path) -> None:
    """Control: a connection that is weakened later is what is told."""
    program = """
import runpy, sqlite3, sys
peers = runpy.run_path(sys.argv[1])
watched = peers["Watched"]()
one, other = (sqlite3.connect(f"{sys.argv[2]}/{each}") for each in ("a", "b"))
other.execute("PRAGMA synchronous=NORMAL")
print(watched.weakest())
watched.make_durable()
print(watched.weakest())
one.execute("PRAGMA journal_mode=DELETE")
print(watched.weakest())
"""
    command = [sys.executable, "-c", program, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["('wal', 1)", "('wal', 2)", "('delete', 2)"]


async def test_libraries_are_measured_beside_raw_and_ours(tmp_path: Path) -> None:
    """Round by round, with the ratio to both, and the syncs that the kernel saw."""
    lines, missing = await measure_peers(Bench(tmp_path, TINY), {"sqlite": Path(sys.executable)})
    assert missing == []
    assert [(line.work, line.who) for line in lines] == [
        (work, who) for work in ("accept", "lifecycle") for who in ("raw LMDB", "holdstate", "sqlite")
    ]
    by = {(line.work, line.who): line for line in lines}
    assert by["accept", "raw LMDB"].ratio == by["accept", "holdstate"].of_ours == 1.0
    assert (by["accept", "holdstate"].syncs, by["lifecycle", "holdstate"].syncs) == (1.0, 3.0)
    assert all(line.microseconds > 0 and 0 < line.low <= line.ratio <= line.high for line in lines)
    assert {line.durability.split(":")[0] for line in lines} == {"equal"}
    if shutil.which("strace"):
        assert (by["accept", "sqlite"].syncs, by["lifecycle", "sqlite"].syncs) in ((1.0, 3.0), (None, None))


async def test_syncs_that_nobody_can_count_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without strace there is no number, and none is made up."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    by = Interpreter("sqlite", Path(sys.executable))
    assert await bench_peer_rows._syncs(Bench(tmp_path, TINY), by, "accept") is None
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
    assert await bench_peer_rows._syncs(Bench(tmp_path, TINY), by, "accept") is None


async def test_a_library_that_does_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a time for work that is not in the database is refused."""

    async def nothing(process: PeerProcess, times: int) -> float:
        return 0.1

    monkeypatch.setattr(PeerProcess, "do", nothing)
    with pytest.raises(NothingMeasured, match="bench row peers: 0 works of sqlite accepted, not 12"):
        await measure_peers(Bench(tmp_path, TINY), {"sqlite": Path(sys.executable)})


async def test_weaker_durability_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own column, with what was read back."""

    async def weak(process: PeerProcess) -> dict[str, object]:
        return {"accepted": 3, "ended": 0, "journal": "wal", "synchronous": 1}

    monkeypatch.setattr(PeerProcess, "check", weak)
    async with PeerProcess(Interpreter("sqlite", Path(sys.executable)), "accept", tmp_path) as process:
        assert await bench_peer_rows._checked(process, "accept", 3) == "weaker: journal wal, synchronous=1"


async def test_a_library_that_cannot_be_imported_is_left_out(tmp_path: Path) -> None:
    """By name and with the last word of its process; the others are measured."""
    pythons = {"litequeue": Path(sys.executable), "sqlite": Path(sys.executable)}
    lines, missing = await measure_peers(Bench(tmp_path, TINY), pythons)
    assert [(each.row, each.why) for each in missing] == [
        ("litequeue", "ModuleNotFoundError: No module named 'litequeue'")
    ]
    assert {line.who for line in lines} == {"raw LMDB", "holdstate", "sqlite"}


async def test_a_library_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the patience is over; no process stays."""
    hangs = tmp_path / "hangs.py"
    hangs.write_text("import time\nwhile True: time.sleep(60)\n")
    monkeypatch.setattr(bench_peer_rows, "_PROGRAM", hangs)
    monkeypatch.setattr(bench_peer_rows, "PATIENCE_SECONDS", 0.2)
    process = PeerProcess(Interpreter("sqlite", Path(sys.executable)), "accept", tmp_path)
    with pytest.raises(PeerFailed, match="sqlite did not answer: nothing came"):
        await process.__aenter__()
    assert process._process is not None
    assert process._process.returncode is not None


def _fake_environment(directory: Path, script: str) -> None:
    python = directory / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)


def test_what_cannot_be_installed_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With pip's own word for it, on stderr too; SQLite needs no environment."""
    _fake_environment(tmp_path, 'echo "ERROR: No matching distribution found" >&2; echo "a hint" >&2; exit 1')
    found, missing = interpreters(["sqlite", "litequeue", "dbos"], tmp_path)
    assert found == {"sqlite": Path(sys.executable)}
    assert [(each.row, each.why) for each in missing] == [
        ("litequeue", "ERROR: No matching distribution found"),
        ("dbos", "ERROR: No matching distribution found"),
    ]
    assert "litequeue: left out, for ERROR: No matching distribution found" in capsys.readouterr().err


def test_what_is_installed_in_its_version_is_taken_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is installed twice; another version is replaced by the pinned one."""
    _fake_environment(tmp_path / "a", f'[ "$1" = -c ] && echo {PINS["litequeue"]} || exit 1')
    found, missing = interpreters(["litequeue"], tmp_path / "a")
    assert (found, missing) == ({"litequeue": tmp_path / "a" / "bin" / "python"}, [])
    assert not capsys.readouterr().err
    _fake_environment(tmp_path / "b", f'echo "$@" >> {tmp_path}/calls; [ "$1" = -c ] && echo 0.0.1 || exit 0')
    assert interpreters(["litequeue"], tmp_path / "b")[1] == []
    assert f"litequeue=={PINS['litequeue']}" in (tmp_path / "calls").read_text()


def test_an_environment_that_cannot_be_made_leaves_its_libraries_out(tmp_path: Path) -> None:
    """A directory that is a file, for one."""
    (tmp_path / "file").write_text("")
    found, missing = interpreters(["litequeue"], tmp_path / "file")
    assert found == {}
    assert missing[0].why


def test_the_environment_is_kept_in_the_cache_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each version of Python."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert default_directory() == tmp_path / "holdstate" / f"bench-peers-{version}"


def test_every_package_is_pinned() -> None:
    """A run of next year is of the same libraries."""
    assert {peer.package for peer in PEERS.values()} - {None} == set(PINS)


def test_the_last_word_is_the_error() -> None:
    """Of pip the error, not the hint that follows; nothing of nothing."""
    assert last_line("ERROR: this\n\n[notice] that\n") == "ERROR: this"
    assert last_line("Traceback\n  File\nValueError: x\n\n") == "ValueError: x"
    assert last_line(" \n") == ""


def test_the_command_shows_other_libraries(tmp_path: Path) -> None:
    """A table, and a document; named alone, no other row is run."""
    options = ["--size", "small", "--rounds", "1", "--peer", "sqlite", "--peers-env", str(tmp_path / "none")]
    document = json.loads(CliRunner().invoke(bench, [*options, "--json"], standalone_mode=False).stdout)
    assert document["rows"] == []
    assert [PeerLine(**each).who for each in document["peers"]] == ["raw LMDB", "holdstate", "sqlite"] * 2
    shown = CliRunner().invoke(bench, options, standalone_mode=False)
    assert "equal: WAL, synchronous=FULL" in shown.stdout
    assert not (tmp_path / "none").exists()
