"""Power cuts on the real store: nothing acknowledged is lost, and every planted fault is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdstate.tools.crash_command import crash
from holdstate.tools.crash_pool import scratch_folder
from holdstate.tools.crash_power import PowerCampaign
from holdstate.tools.crash_report import CrashReport


@pytest.fixture(autouse=True)
def _strace(require_tool: Callable[[str], str]) -> None:
    require_tool("strace")


def campaign(states: int, steps: int, control: str = "") -> CrashReport:
    with scratch_folder() as folder:
        return PowerCampaign(folder, states, 1, steps=steps, control=control).run()


def test_nothing_acknowledged_is_lost_in_a_power_cut() -> None:
    """Every state of the disk, from the creation on, opens, holds a prefix of the commits, and recovers (C1)."""
    report = campaign(5000, 60)
    assert report.findings == []
    assert int(report.facts["distinct states"]) >= 5000
    assert int(report.facts["recovered and worked on"]) > 150
    commands = {command for _, command in report.matrix}
    assert {"create", "open", "accept", "begin", "end", "reopen"} <= commands
    assert {"pages not synced", "meta not synced", "name not synced", "answered"} <= {
        point for point, _ in report.matrix
    }


def test_an_early_acknowledgement_is_caught() -> None:
    """Control: a worker that says it is done before it begins loses what it acknowledged."""
    report = campaign(150, 6, "ack-early")
    assert report.outcomes["lost"] > 10
    assert "acknowledged commits (seed 1, run 0, point " in report.findings[0]


def test_each_single_flush_is_missed_when_it_is_dropped() -> None:
    """Control: a disk that forgets one flush of one commit is found out, whichever flush it is."""
    report = campaign(300, 5, "drop-flush")
    assert int(report.facts["flushes dropped, one by one"]) > 8
    assert report.facts["not noticed"] == 0


def test_a_disk_without_flushes_is_caught() -> None:
    """Control: where no flush does anything, stores are lost, torn and refused."""
    report = campaign(100, 4, "drop-all-flushes")
    assert min(report.outcomes["lost"], report.outcomes["refused"]) > 0


def test_the_command_shows_the_matrix_and_writes_it(tmp_path: Path) -> None:
    """``holdstate test run crash``: a document, a table, a page; nothing is left behind."""
    page, words = tmp_path / "matrix.html", ["--states", "20", "--steps", "3"]
    with scratch_folder() as folder:
        options = [*words, "--path", str(folder), "--matrix", "--html", str(page)]
        shown = CliRunner().invoke(crash, options, standalone_mode=False)
        assert list(folder.iterdir()) == []
    assert shown.return_value == 0, shown.exception
    assert "pages not synced" in shown.stdout
    assert "pages not synced" in page.read_text()
    told = CliRunner().invoke(crash, [*words, "--json", "--control", "ack-early"], standalone_mode=False)
    assert told.return_value == 1
    assert json.loads(told.stdout)["control"] == "ack-early"
