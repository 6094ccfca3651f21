"""Earlier runs of the bench: what is kept of one, what is held against another, and what is worse."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from holdstate.tools import bench_command, bench_history
from holdstate.tools.bench_command import bench
from holdstate.tools.bench_history import (
    Entry,
    HistoryDamaged,
    Measured,
    _processor,
    append,
    compared,
    entry_of,
    read,
)
from holdstate.tools.bench_output import Outcome
from holdstate.tools.bench_setting import SIZES, Bench, Line

SLOW = Line("accept", "accept, one caller", "times raw", 676, 417, "µs", ratio=1.5, low=1.4, high=1.6)
FAST = Line("accept-64", "accept, 64 callers", "times the raw rate", ratio=5.0, low=5.0, high=5.0, more_is_better=True)
EXACT = Line("syncs", "syncs of a lone accept", "syncs each", ratio=1.0, low=1.0, high=1.0, is_exact=True)
TIME = Line("open", "open with 500 active inputs", "ms", ratio=12.0, low=11.0, high=13.0, is_timed=True)
LINES = [SLOW, FAST, EXACT, TIME]


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return entry_of(Outcome("small", Bench(tmp_path, SIZES["small"]), list(LINES)))


def test_a_run_is_kept_without_its_times(entry: Entry) -> None:
    """Ratios alone, with when, where and of what they are; nothing that is a time or a rate."""
    assert [row.key for row in entry.rows] == [SLOW.key, FAST.key, EXACT.key]
    assert entry.rows[0] == Measured(*SLOW.key, 1.5, 1.4, 1.6)
    assert (entry.size, entry.store) == ("small", "lmdb")
    assert "676" not in json.dumps([row.ratio for row in entry.rows])


def test_a_file_has_a_line_for_each_run(tmp_path: Path, entry: Entry) -> None:
    """What is appended is read again; a file that is not there has none."""
    path = tmp_path / "kept" / "runs.jsonl"
    assert read(path) == []
    later = evolve(entry, date="2030-01-01T00:00:00+00:00")
    append(path, entry)
    append(path, later)
    assert read(path) == [entry, later]
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (b"{}\n", "it is no run of holdstate bench"),
        (b"not JSON\n", "it is no run of holdstate bench"),
        (b"\xff\xfe\n", "it is no run of holdstate bench"),
        (b"\n", "it is no run of holdstate bench"),
        (b'{"kind":"another program"}\n', "it is no run of holdstate bench"),
        (b'{"kind":"holdstate bench","format":1', "it does not end"),
    ],
)
def test_a_line_that_is_no_run_is_named(tmp_path: Path, entry: Entry, second: bytes, problem: str) -> None:
    """By file and number, whether it is read or written to; nothing is appended to it."""
    path = tmp_path / "runs.jsonl"
    append(path, entry)
    with path.open("ab") as file:
        file.write(second)
    before = path.read_bytes()
    for call in (lambda: read(path), lambda: append(path, entry)):
        with pytest.raises(HistoryDamaged, match=problem) as caught:
            call()
        assert (caught.value.path, caught.value.number) == (path, 2)
    assert path.read_bytes() == before


def test_a_later_format_is_refused(tmp_path: Path, entry: Entry) -> None:
    """Its ratios may mean something else."""
    path = tmp_path / "runs.jsonl"
    append(path, evolve(entry, format=2))
    with pytest.raises(HistoryDamaged, match="line 1: it has format 2, this version reads 1"):
        read(path)


@pytest.mark.parametrize(
    "other",
    [{"machine": "another"}, {"python": "2.7.18"}, {"size": "full"}, {"store": "memory"}],
)
def test_what_ran_elsewhere_is_not_compared(entry: Entry, other: dict[str, Any]) -> None:
    """Machine, minor version of Python, size and store have to be the same; the day and the commit need not."""
    assert compared(entry, LINES, [evolve(entry, **other)]) == {}
    alike = evolve(entry, date="2020-01-01T00:00:00+00:00", commit="0", version="0.0.1", python=f"{entry.python}+")
    assert set(compared(entry, LINES, [alike])) == {SLOW.key, FAST.key, EXACT.key}


def _with(entry: Entry, *lines: Line) -> Entry:
    return evolve(entry, rows=tuple(map(Measured.of, lines)))


def test_the_last_and_the_best_run_stand_beside_a_ratio(entry: Entry) -> None:
    """The best is the least, or the most where more is better, of all that are comparable."""
    earlier = [_with(entry, evolve(SLOW, ratio=each), evolve(FAST, ratio=each)) for each in (1.9, 1.2, 1.7)]
    found = compared(entry, LINES, earlier)
    assert (found[SLOW.key].last, found[SLOW.key].best) == (1.7, 1.2)
    assert (found[FAST.key].last, found[FAST.key].best) == (1.7, 1.9)


@pytest.mark.parametrize(
    ("line", "last", "is_worse"),
    [
        # 5 % of 1.4 and a quarter of both spreads, each 0.2: 0.17.
        (SLOW, evolve(SLOW, ratio=1.4, low=1.3, high=1.5), False),
        (SLOW, evolve(SLOW, ratio=1.32, low=1.2, high=1.4), True),
        # Without a spread, 5 % alone.
        (SLOW, evolve(SLOW, ratio=1.4, low=1.4, high=1.4), False),
        (evolve(SLOW, low=1.5, high=1.5), evolve(SLOW, ratio=1.42, low=1.42, high=1.42), True),
        (SLOW, evolve(SLOW, ratio=9.0), False),
        (FAST, evolve(FAST, ratio=5.2), False),
        (FAST, evolve(FAST, ratio=5.3), True),
        (FAST, evolve(FAST, ratio=1.0), False),
        # What is exact has no slack.
        (evolve(EXACT, ratio=1.01), EXACT, True),
        (EXACT, EXACT, False),
    ],
)
def test_worse_is_what_both_spreads_do_not_explain(entry: Entry, line: Line, last: Line, is_worse: bool) -> None:  # noqa: FBT001 - a table
    """A part of the ratio and half of the average spread are granted, in the direction that is worse."""
    assert compared(entry, [line], [_with(entry, last)])[line.key].is_worse is is_worse


def _run(monkeypatch: pytest.MonkeyPatch, ratio: float, *options: object) -> Result:
    async def row(setting: Bench) -> list[Line]:
        return [evolve(SLOW, ratio=ratio, low=ratio, high=ratio)]

    monkeypatch.setattr(bench_command, "ROWS", {"accept": row})
    return CliRunner().invoke(bench, ["--size", "small", *map(str, options)], standalone_mode=False)


def test_the_command_keeps_runs_and_holds_the_next_one_against_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file for both: the first run finds nothing, a worse one is a finding with ``--check`` alone."""
    path = tmp_path / "runs.jsonl"
    both = ("--save", path, "--compare", path)
    first = _run(monkeypatch, 1.5, *both, "--check")
    assert first.return_value == 0
    assert "nothing to compare with" in first.stderr
    worse = _run(monkeypatch, 1.8, *both)
    assert worse.return_value == 0
    assert "worse" in worse.stdout
    better = _run(monkeypatch, 1.2, *both, "--check", "--markdown")
    assert better.return_value == 0
    assert "| 1.80 | 1.50 | no worse |" in better.stdout
    checked = _run(monkeypatch, 1.8, *both, "--check", "--json")
    assert checked.return_value == 1
    assert "accept, one caller: 1.80 is worse than 1.20, the last" in checked.stderr
    (row,) = json.loads(checked.stdout)["rows"]
    assert (row["last"], row["best"], row["worse"]) == (1.2, 1.2, True)
    assert len(read(path)) == 4


def test_a_damaged_file_stops_the_command_before_it_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is to be read or to be written."""
    path = tmp_path / "runs.jsonl"
    path.write_text("{}\n")
    for option in ("--save", "--compare"):
        result = _run(monkeypatch, 1.0, option, path)
        assert isinstance(result.exception, HistoryDamaged)
        assert "accept …" not in result.stderr


def test_a_commit_is_that_of_the_source_tree_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package installed below somebody else's repository does not take that one's commit for its own."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    module = tmp_path / "bench_history.py"
    module.write_text("")
    monkeypatch.setattr(bench_history, "__file__", str(module))
    assert bench_history._commit() is None
    subprocess.run([*git, "add", module.name], check=True)
    commit = bench_history._commit()
    assert commit is not None
    assert commit.endswith("-dirty")
    monkeypatch.setenv("PATH", "")
    assert bench_history._commit() is None


def test_the_processor_is_told_where_the_system_tells(tmp_path: Path) -> None:
    """By its model; something is said in any case."""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Processor 9000\n")
    assert _processor(tmp_path / "cpuinfo") == "A Processor 9000"
    assert _processor(tmp_path / "none")
