"""The bench: every row does what it times, and says so in a form that is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import asdict, evolve
from click.testing import CliRunner

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.tools import bench_command
from holdstate.tools.bench_command import bench
from holdstate.tools.bench_rows import ROWS
from holdstate.tools.bench_setting import SIZES, Bench, Line, NothingMeasured, Raw, Size, last_transaction, need, spread

TINY = Size(calls=2, turns=1, lives=2, earlier=20, active=20, steps=3, rounds=2)


@pytest.mark.parametrize("name", ROWS)
async def test_every_row_measures_what_it_names(tmp_path: Path, name: str) -> None:
    """A row gives lines of its name with times above zero; it counts its own work in the store."""
    lines = await ROWS[name](Bench(tmp_path, TINY))
    assert {line.name for line in lines} == {name}
    assert all(line.ours > 0 and 0 < line.low <= line.ratio <= line.high for line in lines)


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"core", "syncs", "open", "accept-after"}))
async def test_a_row_whose_accepts_do_nothing_fails(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with accepts that return without storing anything a row is an error, and never a number."""

    async def nothing(driver: object, given: object) -> None:
        return None

    async def no_run(driver: object, *given: object) -> None:
        return None

    monkeypatch.setattr(PersistentRuntimeDriver, "accept_input", nothing)
    monkeypatch.setattr(PersistentRuntimeDriver, "begin_run", no_run)
    monkeypatch.setattr(PersistentRuntimeDriver, "complete_run", no_run)
    with pytest.raises(NothingMeasured) as caught:
        await ROWS[name](Bench(tmp_path, TINY))
    assert caught.value.row == name


async def test_raw_puts_are_counted(tmp_path: Path) -> None:
    """The yardstick is checked like everything else."""
    with Raw(tmp_path) as raw:
        await raw.put(3)
        raw.check("raw")
        raw._puts += 1
        with pytest.raises(NothingMeasured, match="3 raw puts, not 4"):
            raw.check("raw")


async def test_the_last_transaction_is_read_off_the_file(tmp_path: Path) -> None:
    """The number in the file is the one that LMDB itself tells."""
    with LmdbStore.open(tmp_path / "store") as store:
        driver = await PersistentRuntimeDriver.open("one", store)
        setting = Bench(tmp_path, TINY)
        for _ in range(3):
            env = store._environment._env
            assert env is not None
            assert last_transaction(store) == env.info()["last_txnid"]
            await setting.accept(driver, 1)


def test_the_command_prints_one_document() -> None:
    """``--json`` has the size, the versions and every line with whether its aim is met."""
    result = CliRunner().invoke(
        bench, ["--size", "small", "--row", "syncs", "--row", "core", "--json"], standalone_mode=False
    )
    document = json.loads(result.stdout)
    assert result.return_value == 0
    assert document["size"] == "small"
    assert [(line["name"], line["ratio"], line["met"]) for line in document["rows"][:3]] == [
        ("syncs", 1.0, True),
        ("syncs", 1.0, True),
        ("syncs", 3.0, True),
    ]


def test_the_command_prints_a_table() -> None:
    """Without ``--json`` a line of the table has name, ratio and aim."""
    result = CliRunner().invoke(bench, ["--size", "small", "--row", "syncs", "--rounds", "1"], standalone_mode=False)
    assert "syncs of accept to consumed" in result.stdout
    assert "≤ 3" in result.stdout


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--check"], 1)])
def test_a_missed_aim_counts_with_check_alone(options: list[str], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is 0 whatever was measured, except with ``--check``."""

    async def slow(setting: Bench) -> list[Line]:
        return [Line("syncs", "planted", "times raw", ratio=2.0, aim=1.0)]

    monkeypatch.setattr(bench_command, "ROWS", {"syncs": slow})
    result = CliRunner().invoke(bench, ["--row", "syncs", *options], standalone_mode=False)
    assert result.return_value == code
    assert " no " in result.stdout


def test_an_aim_is_a_bound_from_its_side() -> None:
    """At most, or at least; and nothing without an aim."""
    line = Line("row", "what", "times raw", ratio=4.0)
    assert line.met is None
    assert evolve(line, aim=4.0).met is True
    assert evolve(line, aim=3.9).met is False
    assert evolve(line, aim=4.1, more_is_better=True).met is False


def test_median_and_spread() -> None:
    """The middle of the ratios with the least and the greatest."""
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)


def test_a_count_that_is_off_is_an_error() -> None:
    """Numbers of work that was not done are refused with both counts."""
    need("row", 2, 2, "inputs")
    with pytest.raises(NothingMeasured, match="bench row row: 1 inputs, not 2"):
        need("row", 1, 2, "inputs")


def test_sizes_are_ordered() -> None:
    """Small is less of everything."""
    small, full = SIZES["small"], SIZES["full"]
    assert all(amount < asdict(full)[name] for name, amount in asdict(small).items())
