"""The bench: every row does what it times, and says so in a form that is kept."""

from __future__ import annotations

import asyncio
import json
from cProfile import Profile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve
from click.testing import CliRunner

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.executor import ActiveRun, PermanentFailure
from holdstate.runtime.handles import Completed, InputHandle
from holdstate.runtime.inputs import Input
from holdstate.runtime.outcomes import AcceptOutcome
from holdstate.runtime.service import RuntimeService
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.tools import bench_command, bench_past, bench_service, bench_tmpfs
from holdstate.tools.bench_command import bench
from holdstate.tools.bench_profile import shares
from holdstate.tools.bench_rows import ROWS
from holdstate.tools.bench_service import Still
from holdstate.tools.bench_setting import (
    SIZES,
    Bench,
    Line,
    NothingMeasured,
    Raw,
    Size,
    interleaved,
    last_transaction,
    need,
    spread,
)
from holdstate.tools.bench_visit import Visit, peak_bytes, visit

TINY = Size(calls=2, turns=1, lives=2, earlier=20, active=20, waiting=3, known=5, held=256, batch=16, steps=3, rounds=2)


@pytest.mark.parametrize("name", ROWS)
async def test_every_row_measures_what_it_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row gives lines of its name with times above zero; it counts its own work in the store."""
    monkeypatch.setattr(bench_tmpfs, "no_tmpfs", lambda _: "")  # whatever this machine has
    lines = await ROWS[name](Bench(tmp_path, TINY, tmpfs=tmp_path))
    assert {line.name for line in lines} == {name}
    measured = [line for line in lines if line.aim != 0.0]  # that of memory which is left behind is nothing
    assert measured
    assert all(line.ours > 0 and 0 < line.low <= line.ratio <= line.high for line in measured)


@pytest.mark.parametrize(
    "name",
    sorted(
        set(ROWS)
        - {"core", "syncs", "open", "open-after", "accept-after", "service", "idle-service", "memory", "software"}
    ),
)
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


@pytest.mark.parametrize("name", ["open", "open-after", "accept-after"])
async def test_a_row_about_a_past_that_was_not_made_fails(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a store that holds nothing is not taken for one that holds much."""

    async def nothing(setting: Bench, driver: object, inputs: int) -> None:
        return None

    monkeypatch.setattr(Bench, "accept_all", nothing)
    with pytest.raises(NothingMeasured, match=rf"bench row {name}: 0 (ended inputs|raw rows), not (20|40)"):
        await ROWS[name](Bench(tmp_path, TINY))


async def test_a_store_that_is_not_the_one_that_was_made_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: what is opened is counted, too, not only what was prepared."""

    async def another(setting: Bench, row: str) -> Path:
        return setting.new_directory() / "store"

    monkeypatch.setattr(bench_past, "_past", another)
    with pytest.raises(NothingMeasured, match="bench row open-after: 0 ended inputs, not 20"):
        await ROWS["open-after"](Bench(tmp_path, TINY))


async def test_the_store_with_a_past_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rows that need it work on copies of one store, so neither sees what the other did."""
    made = []
    original = bench_past._work_off

    async def counted(*given: Any) -> None:
        made.append(given)
        await original(*given)

    monkeypatch.setattr(bench_past, "_work_off", counted)
    setting = Bench(tmp_path, TINY)
    for name in ("accept-after", "open-after"):
        await ROWS[name](setting)
    assert len(made) == 1


async def test_a_service_that_works_nothing_off_fails_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: handles that claim an end of inputs that nobody consumed are no lifecycles."""
    original = RuntimeService.submit

    async def no_work(service: RuntimeService, runtime_id: str, given: Input) -> InputHandle:
        service._pool._executor = None
        handle = await original(service, runtime_id, given)

        async def claim(answer: AcceptOutcome) -> Completed:
            return Completed(handle.input_id)

        return InputHandle(handle.input_id, handle._answer, claim)

    monkeypatch.setattr(RuntimeService, "submit", no_work)
    with pytest.raises(NothingMeasured, match="bench row service: 0 consumed inputs, not 192"):
        await ROWS["service"](Bench(tmp_path, TINY))


async def test_an_input_that_is_abandoned_fails_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: an executor that cannot do its work ends inputs, too, yet consumes none."""

    async def fails(executor: object, run: ActiveRun) -> None:
        raise PermanentFailure("planted")

    monkeypatch.setattr(bench_service.NoWork, "apply", fails)
    with pytest.raises(NothingMeasured, match="an input ended as Abandoned"):
        await ROWS["service"](Bench(tmp_path, TINY))


async def test_a_visit_that_does_nothing_fails_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: numbers of a process that used no runtime and worked nothing off are refused."""

    async def nothing(still: Still) -> Visit:
        return Visit(0.1, 0.1, 1)

    monkeypatch.setattr(bench_service, "_visit", nothing)
    with pytest.raises(NothingMeasured, match="bench row idle-service: 0 consumed inputs of known"):
        await ROWS["idle-service"](Bench(tmp_path, TINY))


async def test_a_visit_that_fails_fails_the_row(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A process that ends with an error is reported with its exit code; what it says goes to stderr."""
    (tmp_path / "store").write_text("no store")
    with pytest.raises(NothingMeasured, match="the visiting process ended with 1"):
        await bench_service._visit(Still(tmp_path / "store", 2))
    assert "Error" in capfd.readouterr().err


async def test_a_visit_tells_times_in_order_and_its_memory(tmp_path: Path) -> None:
    """The run of the used runtime and that of the work left behind are timed from the same start."""
    still = Still(tmp_path / "store", 3)
    await bench_service._make_known(still)
    await bench_service._leave_work(Bench(tmp_path, TINY), still)
    seen = await visit(still.path, still.used, still.last)
    assert 0 < seen.first_run <= seen.last_found
    assert seen.grown_bytes >= 0


def test_the_peak_of_a_process_is_read_where_the_system_tells_it(tmp_path: Path) -> None:
    """From the kernel's account of this program alone, else from that of the process, in bytes both."""
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    1234 kB\nVmRSS:\t      12 kB\n")
    assert peak_bytes(status) == 1234 * 1024
    assert peak_bytes(tmp_path / "none") > 1024 * 1024


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


def test_a_profile_tells_where_our_time_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, by part; the raw puts beside it are not looked at."""
    options = ["--size", "small", "--row", "accept", "--rounds", "1", "--profile"]
    # However small a part is: a busy disk or processor makes one call hide the others.
    monkeypatch.setattr(bench_command, "shares", partial(shares, least=0.0))
    result = CliRunner().invoke(bench, [*options, "--json"], standalone_mode=False)
    parts = {each["part"]: each for each in json.loads(result.stdout)["accept"]}
    assert sum(each["time"] for each in parts.values()) == pytest.approx(1.0)
    assert {
        "holdstate/runtime/flush.py",
        "holdstate/runtime/admission.py",
        "in C: method 'commit' of 'Transaction' objects",
    } <= set(parts)
    assert "bench_setting.py" not in " ".join(part for part, each in parts.items() if each["time"] > 0.2)
    table = CliRunner().invoke(bench, options, standalone_mode=False)
    assert "holdstate/runtime/flush.py" in table.stdout


def test_a_profile_sees_the_last_work_alone(tmp_path: Path) -> None:
    """The yardstick in front of it would hide it."""
    setting = Bench(tmp_path, SIZES["small"], Profile())

    async def raw() -> None:
        sorted([3, 2, 1])

    async def ours() -> None:
        sum([3, 2, 1])

    asyncio.run(interleaved(setting, raw, ours))
    assert setting.profile is not None
    parts = {part: calls for part, _, calls in shares(setting.profile, least=0.0)}
    assert "in C: built-in method builtins.sum" in parts
    assert "in C: built-in method builtins.sorted" not in parts


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
