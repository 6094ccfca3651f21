"""Damage to rows and pages: told, or harmless, or the end of the process; never another content."""

from __future__ import annotations

import json
from collections import Counter

from click.testing import CliRunner

from holdstate.tools.crash_command import crash
from holdstate.tools.crash_flip import UNCHECKED, FlipCampaign
from holdstate.tools.crash_pool import scratch_folder


def test_every_damaged_row_is_detected_and_named() -> None:
    """A changed row fails its checksum and the auditor names it; a turned bit of a page is never read as data (C38)."""
    with scratch_folder() as folder:
        report = FlipCampaign(folder, 1200, 1).run()
    assert report.findings == []
    rows = [counts for (point, _), counts in report.matrix.items() if point == "row"]
    assert (sum(map(Counter.total, rows)), sum(counts["detected"] for counts in rows)) == (1080, 1080)
    assert report.outcomes["silently wrong"] == 0
    assert {"active", "ended", "events", "receipts", "runtimes", "snapshots"} <= {table for _, table in report.matrix}


def test_damage_that_nobody_checks_is_read() -> None:
    """Control: without a look at the checksums the campaign sees wrong contents."""
    with scratch_folder() as folder:
        report = FlipCampaign(folder, 500, 1, control=UNCHECKED).run()
    points = {point for (point, _), counts in report.matrix.items() if counts["silently wrong"]}
    assert {"row", "page"} <= points
    assert report.code == 1


def test_the_command_refuses_the_control_of_another_kind() -> None:
    """Each kind has its own controls; the exit code of a sound store is 0."""
    done = CliRunner().invoke(crash, ["--kind", "flip", "--control", "ack-early"])
    assert done.exit_code == 2
    assert "flip has unchecked" in done.output
    done = CliRunner().invoke(crash, ["--kind", "flip", "--cases", "50", "--json"], standalone_mode=False)
    assert (done.return_value, json.loads(done.stdout)["cases"]) == (0, 50)
