"""The scale run: it counts every input in the end, and says what is missing, twice, or out of order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import Fenced, UnknownInput
from holdstate.runtime.executor import ActiveRun, PermanentFailure
from holdstate.runtime.handles import Completed, WaitFailed
from holdstate.runtime.ids import InputId, new_uuid7
from holdstate.runtime.outcomes import RunOutput
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.tools import scale_command, scale_run, scale_worker
from holdstate.tools.scale_checks import Broken, Promise, broken_promises
from holdstate.tools.scale_ledger import Ledger
from holdstate.tools.scale_plan import IMAGE_EVERY, Plan, count_in, folded
from holdstate.tools.scale_run import Pruning, Recovery, Report, Sample, ScaleWorkerFailed, scale
from holdstate.tools.scale_svg import curves_svg, nice_step, table_rows
from holdstate.tools.scale_worker import LEDGER, STORE, Folding, LifeFailed, _is_pruned, resident_bytes, work

from .support import call

TINY = Plan(inputs=25, runtimes=4, callers=3, visit=2, sample_every=5)


async def _worked(directory: Path, plan: Plan = TINY) -> list[tuple[str, dict[str, Any]]]:
    """What the working side tells, in this process."""
    heard: list[tuple[str, dict[str, Any]]] = []
    await work(plan, directory, lambda what, told: heard.append((what, told)))
    return heard


def _unheard(sample: Sample, number: int) -> None:
    """Nobody listens."""


def _found(directory: Path, plan: Plan = TINY) -> list[Broken]:
    with LmdbStore.open(directory / STORE, read_only=True) as store:
        return list(broken_promises(store, plan))


def _broken(directory: Path, plan: Plan = TINY) -> set[Promise]:
    return {each.promise for each in _found(directory, plan)}


# -- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtimes", [1, 2, 7, 100])
def test_every_runtime_is_visited_once_in_a_round(runtimes: int) -> None:
    """In an order that jumps about, the same for the same seed."""
    plan = Plan(inputs=1_000, runtimes=runtimes)
    assert sorted(plan.order()) == list(range(runtimes))
    assert list(plan.order()) == list(plan.order())
    assert runtimes < 7 or list(plan.order()) != list(range(runtimes))


def test_inputs_are_spread_evenly() -> None:
    """None is left over, and the rounds bring them all."""
    counts = [TINY.inputs_of(runtime) for runtime in range(TINY.runtimes)]
    assert counts == [7, 6, 6, 6]
    assert TINY.rounds * TINY.visit >= max(counts)


def test_an_input_is_made_again_from_the_seed() -> None:
    """With the same key and content; of another seed it is another one. Some have an image."""
    first, again, other = (plan.new_input(0, 0) for plan in (TINY, TINY, evolve(TINY, seed=2)))
    assert (first.header.idempotency_key, first.blocks) == (again.header.idempotency_key, again.blocks)
    assert first.header.idempotency_key != other.header.idempotency_key
    assert [bool(TINY.new_input(1, number).blocks) for number in (0, IMAGE_EVERY - 1)] == [False, True]


def test_a_snapshot_tells_count_and_order() -> None:
    """Of the inputs that were folded into it."""
    forth, back = folded(folded(None, "a"), "b"), folded(folded(None, "b"), "a")
    assert (count_in(forth), count_in(back)) == (2, 2)
    assert forth != back


def test_the_ledger_outlives_who_wrote_it(tmp_path: Path) -> None:
    """Numbers of each runtime, acknowledged and ended, apart from each other."""
    with Ledger(tmp_path / "ledger", 3) as ledger:
        ledger.acknowledged[2], ledger.ended[0] = 7, 2**32 - 1
    with Ledger(tmp_path / "ledger", 3) as ledger:
        assert (list(ledger.acknowledged), list(ledger.ended)) == ([0, 0, 7], [2**32 - 1, 0, 0])


# -- the whole -------------------------------------------------------------------------------------------------------


def test_a_run_is_killed_goes_on_and_is_counted(tmp_path: Path) -> None:
    """With retention at work: samples rise to the last input, the times of the recovery too, and nothing is broken."""
    plan = Plan(inputs=120, runtimes=6, callers=4, visit=3, sample_every=10, retention=0.0, prune_every=20)
    report = scale(tmp_path, plan, 0.5, _unheard)
    assert report.broken == []
    lives = [sample.lives for sample in report.samples]
    assert (lives, lives[-1]) == (sorted(lives), 120)
    found = report.recovery
    assert found is not None
    assert 60 <= found.lives < 120
    assert 0 < found.started <= found.opened <= found.first
    assert (found.recovered is None) == (found.left == 0)
    assert sum(pruning.inputs for pruning in report.prunings) > 0
    assert report.samples[-1].ended < 120
    assert msgspec.json.decode(msgspec.json.encode(report.as_dict()))["plan"]["inputs"] == 120


async def test_work_goes_on_where_a_process_before_stopped(tmp_path: Path) -> None:
    """What was left waiting in the store is worked off, and not brought a second time."""
    with Ledger(tmp_path / LEDGER, TINY.runtimes) as ledger, LmdbStore.open(tmp_path / STORE) as store:
        for runtime in range(TINY.runtimes):
            async with await PersistentRuntimeDriver.open(TINY.name(runtime), store) as driver:
                for number in range(2):
                    await driver.accept_input(TINY.new_input(runtime, number))
            ledger.acknowledged[runtime] = 2
    heard = await _worked(tmp_path)
    assert [told for what, told in heard if what == "opened"] == [{"left": 8}]
    assert [what for what, _ in heard][-1] == "done"
    assert {"first", "recovered"} <= {what for what, _ in heard}
    assert _broken(tmp_path) == set()


# -- controls --------------------------------------------------------------------------------------------------------


async def test_an_acknowledged_input_that_is_gone_is_told(tmp_path: Path) -> None:
    """By who goes on, from the ledger; nothing is brought in its place."""
    with Ledger(tmp_path / LEDGER, TINY.runtimes) as ledger:
        ledger.acknowledged[3] = 1
    heard = await _worked(tmp_path)
    assert ("broken", {"where": TINY.name(3), "problem": "1 inputs were acknowledged, 0 are stored"}) in heard
    assert "done" not in dict(heard)


async def test_accepts_that_store_nothing_are_counted_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: callers who are told that all ended well, while nothing was done."""

    async def nothing(self: object, service: object, runtime: int, number: int) -> None:
        self._note_ended(runtime, number + 1)  # type: ignore[attr-defined]

    monkeypatch.setattr(scale_worker.Work, "_live", nothing)
    assert (await _worked(tmp_path))[-1][0] == "done"
    assert _broken(tmp_path) == {Promise.LOST}


async def test_an_executor_that_does_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the inputs end, and no run has seen them."""

    async def nothing(self: object, run: ActiveRun) -> None:
        return None

    monkeypatch.setattr(Folding, "apply", nothing)
    await _worked(tmp_path)
    assert _broken(tmp_path) == {Promise.LOST}


async def test_an_executor_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: an input that was given up is no life."""

    async def fails(self: object, run: ActiveRun) -> None:
        raise PermanentFailure("planted")

    monkeypatch.setattr(Folding, "apply", fails)
    heard = await _worked(tmp_path)
    assert "ended as Abandoned" in dict(heard)["broken"]["problem"]


async def test_runs_that_see_an_input_twice_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: one input counts for two."""
    original = Folding.apply

    async def twice(self: Folding, run: ActiveRun) -> RunOutput:
        output = await original(self, run)
        return RunOutput(session_snapshot=folded(output.session_snapshot, "again"))

    monkeypatch.setattr(Folding, "apply", twice)
    await _worked(tmp_path)
    assert _broken(tmp_path) == {Promise.TWICE}


async def test_inputs_of_another_seed_are_not_those_that_were_wanted(tmp_path: Path) -> None:
    """Control: as many, but others; the snapshots say so, and the rows."""
    await _worked(tmp_path, evolve(TINY, seed=2))
    assert _broken(tmp_path) == {Promise.ORDER}
    of_one = [each.problem for each in _found(tmp_path) if each.where == TINY.name(0)]
    assert of_one == [
        "its runs saw 7 inputs, but others or in another order",
        "the 7 inputs that are stored are not the last of 7",
    ]


async def test_inputs_too_many_are_found(tmp_path: Path) -> None:
    """Control: one more than was brought, and a runtime that nobody wanted."""
    await _worked(tmp_path, evolve(TINY, inputs=31, runtimes=5))
    assert _broken(tmp_path, TINY) == {Promise.SOUND}
    fewer = evolve(TINY, inputs=30, runtimes=5)
    assert _broken(tmp_path, fewer) == {Promise.TWICE, Promise.ORDER}
    assert [each.problem for each in _found(tmp_path, fewer) if each.promise is Promise.TWICE] == [
        "7 inputs have ended, 6 were brought",
        "7 boundaries for 6 inputs of a run each",
        "its runs saw 7 inputs, 6 were brought",
    ]


async def test_a_runtime_that_is_not_there_is_lost(tmp_path: Path) -> None:
    """Control: fewer runtimes than were wanted."""
    await _worked(tmp_path)
    assert _broken(tmp_path, evolve(TINY, inputs=31, runtimes=5)) == {Promise.LOST}


async def test_inputs_that_wait_are_lost(tmp_path: Path) -> None:
    """Control: a run that was left before its end."""
    await _worked(tmp_path)
    with LmdbStore.open(tmp_path / STORE) as store:
        async with await PersistentRuntimeDriver.open(TINY.name(0), store) as driver:
            await driver.accept_input(TINY.new_input(0, 7))
    assert Promise.LOST in _broken(tmp_path, evolve(TINY, inputs=26))


async def test_an_input_that_is_refused_is_told(tmp_path: Path) -> None:
    """A runtime that somebody stopped takes nothing."""
    with LmdbStore.open(tmp_path / STORE) as store:
        async with await PersistentRuntimeDriver.open(TINY.name(0), store) as driver:
            await driver.stop()
    heard = await _worked(tmp_path)
    assert "input 0 was refused" in dict(heard)["broken"]["problem"]


def test_an_input_that_retention_removed_meanwhile_has_ended() -> None:
    """Waiting for it fails, and that is no problem; any other failure is."""
    some = InputId(new_uuid7())
    assert _is_pruned(WaitFailed(some, UnknownInput("r", some)))
    assert not _is_pruned(WaitFailed(some, Fenced("r", 1, 2)))
    assert not _is_pruned(Completed(some))


def test_a_worker_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its exit code; no result is made up."""
    monkeypatch.setattr(scale_run, "_WORKER", "holdstate.tools.no_such_module")
    with pytest.raises(ScaleWorkerFailed, match="exit code 1 after 0 lives"):
        scale(tmp_path, TINY, 0.5, _unheard)


def test_what_a_worker_finds_ends_the_run(tmp_path: Path) -> None:
    """A process that misses an acknowledged input is not started again, and the store is counted."""
    with Ledger(tmp_path / LEDGER, TINY.runtimes) as ledger:
        ledger.acknowledged[3] = 1
    report = scale(tmp_path, TINY, 0.0, _unheard)
    assert report.broken[0] == Broken(Promise.LOST, TINY.name(3), "1 inputs were acknowledged, 0 are stored")
    assert report.recovery is None


# -- what it shows ---------------------------------------------------------------------------------------------------


def _report(*, kills: bool = True) -> Report:
    plan = Plan(inputs=1_000_000, runtimes=10_000, retention=60.0)
    samples = [
        Sample(
            lives,
            lives / 2000,
            4_000_000 + lives,
            3_000_000 + lives,
            50_000_000,
            lives,
            64,
            lives,
            lives,
            1,
            500.0,
            900.0,
        )
        for lives in range(20_000, 1_000_001, 20_000)
    ]
    if not kills:
        return Report(plan, samples)
    return Report(
        plan, samples, [Pruning(100_000, 150_000, 2.0, 9, 9, 1, 20)], Recovery(500_000, 64, 0.5, 0.6, 0.9, 1.0)
    )


@pytest.mark.parametrize("kills", [True, False])
def test_curves_are_one_file_that_needs_nothing_else(kills: bool) -> None:  # noqa: FBT001
    """Well-formed, with a title; every point lies inside; kill and prunings are marked where there were any."""
    drawn = curves_svg(_report(kills=kills))
    root = ET.fromstring(drawn)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    curves = [each for each in root.iter() if each.get("class", "").startswith("curve")]
    assert len(curves) == 7
    for curve in curves:
        points = [tuple(map(float, point.split())) for point in curve.attrib["d"][1:].split("L")]
        assert len(points) == 50
        assert all(0 < x < width and 0 < y < height for x, y in points)
    assert "prefers-color-scheme: dark" in drawn
    assert ("killed" in "".join(root.itertext()).split("}")[-1]) is kills
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_no_sample_is_no_picture() -> None:
    """An empty report has nothing to draw."""
    with pytest.raises(ValueError, match="no sample"):
        curves_svg(Report(TINY))


@pytest.mark.parametrize(("most", "step"), [(0, 1), (3, 1), (10, 5), (900, 500), (0.5, 0.2), (7_000_000, 2_500_000)])
def test_grid_lines_are_at_round_numbers(most: float, step: float) -> None:
    """Two to four of them, so that the labels stay apart."""
    assert nice_step(most) == pytest.approx(step)


def test_a_table_has_few_lines_and_the_last_sample() -> None:
    """Of however many samples there are."""
    rows = table_rows(_report().samples)
    assert (len(rows), rows[-1][0]) == (10, "1,000,000")


def test_memory_is_read_where_the_system_tells_it(tmp_path: Path) -> None:
    """From the kernel's account, that of mapped files apart; else the most that there ever was."""
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nRssAnon:\t    1234 kB\nRssFile:\t      12 kB\n")
    assert resident_bytes(status) == (1234 * 1024, 12 * 1024)
    own, mapped = resident_bytes(tmp_path / "none")
    assert (own > 1024 * 1024, mapped) == (True, 0)


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_shows_curves_and_counts(tmp_path: Path) -> None:
    """A table on stdout, the curves in a file, exit code 0; nothing is left behind."""
    made, picture = tmp_path / "made", tmp_path / "curves.svg"
    made.mkdir()
    result = call("scale", "--inputs", 60, "--runtimes", 5, "--path", made, "--retention", 0, "--svg", picture)
    assert result.exit_code == 0, result.stderr
    assert "60 inputs through 5 runtimes" in result.stdout
    assert "killed after" in result.stdout
    assert "every promise held" in result.stderr
    assert ET.fromstring(picture.read_text(encoding="utf-8")).tag.endswith("svg")
    assert list(made.iterdir()) == []


def test_the_command_prints_one_document() -> None:
    """With every sample, the plan, the recovery and what was broken."""
    result = call("scale", "--inputs", 40, "--runtimes", 4, "--kill-at", 0, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["broken"], document["recovery"]) == (0, [], None)
    assert document["samples"][-1]["lives"] == 40


def test_a_broken_promise_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1; every one is named, and the store is kept."""

    def finds(directory: Path, plan: Plan, kill_at: float, tell: Callable[[Sample, int], None]) -> Report:
        return Report(plan, broken=[Broken(Promise.TWICE, "scale 000000001", "2 inputs have ended, 1 were brought")])

    monkeypatch.setattr(scale_command, "scale", finds)
    result = call("scale", "--path", tmp_path)
    assert result.exit_code == 1
    assert "consumed twice: scale 000000001: 2 inputs have ended, 1 were brought" in result.stderr
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--inputs", 2, "--runtimes", 3),
        ("--json", "--svg", "-"),
        ("--kill-at", 1),
        ("--kill-at", "nan"),
        ("--retention", "inf"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(words: tuple[object, ...]) -> None:
    """Exit code 2, before anything is done."""
    assert call("scale", *words).exit_code == 2


def test_the_worker_is_a_program(tmp_path: Path) -> None:
    """It tells one JSON line for each thing that happened, the last one when all is done."""
    command = [sys.executable, "-m", "holdstate.tools.scale_worker", str(tmp_path), msgspec.json.encode(TINY).decode()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    heard = [json.loads(line)["what"] for line in done.stdout.splitlines()]
    assert (heard[0], heard[1], heard[-1]) == ("started", "opened", "done")


def test_a_failed_life_names_its_runtime() -> None:
    """And what was wrong."""
    assert str(LifeFailed("scale 1", "gone")) == "runtime 'scale 1': gone"
