"""A machine that fails a store: nothing acknowledged is lost, errors say what it is, and on it goes."""

from __future__ import annotations

import json
import os
from typing import Final

import pytest
from click.testing import CliRunner

from holdstate.tools.crash_command import crash
from holdstate.tools.crash_host import CARELESS, HostCampaign
from holdstate.tools.crash_host_faults import HOST_FAULTS
from holdstate.tools.crash_pool import scratch_folder
from holdstate.tools.crash_report import CrashReport
from holdstate.tools.output import ExitCode

LIVES: Final = 10
FAULTS: Final = [
    name
    for name, fault in HOST_FAULTS.items()
    if not fault.mounts or os.geteuid() == 0 or os.environ.get("HOLDSTATE_REQUIRE_ALL")
]
TOLD: Final = {
    "file limit": "refused with StoreError",
    "disk full": "refused with StoreError",
    "map full": "is full at its cap of 65536 bytes",
    "read-only": "not StoreReadOnly",
    "cut off": "SIGBUS",
    "newer store": "StoreTooNew",
    "newer row": "not refused with StoreTooNew",
    "damaged rows": "damaged rows, ",
    "newer owner": "refused with StoreError: commit of runtime",
    "fork": "the child was not refused",
    "killed reader": "the place of a dead reader is kept",
}
"""What is said where nobody cares for the fault."""


def campaign(cases: int, *faults: str, control: str = "", seed: int = 1) -> CrashReport:
    with scratch_folder() as folder:
        return HostCampaign(folder, cases, seed, faults=faults, control=control).run()


def test_a_machine_that_fails_costs_nothing_that_was_acknowledged() -> None:
    """What a fault refuses is refused by its type, and afterwards the store is as the model says (C1, C43)."""
    report = campaign(LIVES * len(FAULTS), *FAULTS)
    assert report.findings == []
    assert report.outcomes == {"ok": LIVES * len(FAULTS)}
    assert {fault for fault, _ in report.matrix} == set(FAULTS)
    assert int(report.facts["calls acknowledged"]) > 20 * LIVES * len(FAULTS)
    assert int(report.facts["calls refused for the fault"]) > LIVES * len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_nobody_cares_for_is_found(fault: str) -> None:
    """Control: with the one step left out that is there for this fault, its cases break, and say why."""
    report = campaign(LIVES, fault, control=CARELESS)
    assert report.bad > 0
    assert any(TOLD[fault] in finding for finding in report.findings), report.findings


def test_the_same_seed_does_the_same() -> None:
    """What was acknowledged and refused is a matter of the seed; another one does other things."""
    first, again, other = (campaign(4, "map full", "newer owner", seed=seed) for seed in (1, 1, 2))
    assert first.as_dict() == again.as_dict()
    assert first.facts != other.facts


def test_what_could_not_be_tried_is_undecided() -> None:
    """A fault that takes root, or that met no call, is never counted as fine."""
    with scratch_folder() as folder:
        trial = HostCampaign(folder, 1, 1)
        trial._judge_of("disk full", "1/0")({"problem": "", "findings": [], "untried": "only root may mount"})
        trial._judge_of("fork", "1/1")({"problem": "", "findings": [], "refused": {}})
    assert trial.report.outcomes == {"undecided": 2}
    assert trial.report.code is ExitCode.UNDECIDED


def test_the_command_takes_a_fault() -> None:
    """``--kind host --fault NAME``; other kinds have none."""
    words = ["--kind", "host", "--fault", "cut off", "--cases", "2", "--seed", "7"]
    shown = CliRunner().invoke(crash, [*words, "--matrix"], standalone_mode=False)
    assert shown.return_value == 0, shown.exception
    assert "cut off" in shown.stdout
    told = CliRunner().invoke(crash, [*words, "--json"], standalone_mode=False)
    assert json.loads(told.stdout)["matrix"] == [{"point": "cut off", "command": "open", "ok": 2}]
    refused = CliRunner().invoke(crash, ["--kind", "power", "--fault", "fork"])
    assert refused.exit_code == 2
    assert "it is for --kind host" in refused.output
