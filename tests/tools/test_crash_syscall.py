"""A kill and an error at system calls of the real store: what was acknowledged is there, and it goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner

from holdstate.tools.crash_command import crash
from holdstate.tools.crash_pool import scratch_folder
from holdstate.tools.crash_report import CrashReport
from holdstate.tools.crash_syscall import ERRORS, PASSING, SHORT, SyscallCampaign


@pytest.fixture(autouse=True)
def _strace(require_tool: Callable[[str], str]) -> None:
    require_tool("strace")


def campaign(cases: int, control: str = "", *, lasting: bool = False) -> CrashReport:
    with scratch_folder() as folder:
        return SyscallCampaign(folder, cases, 1, lasting=lasting, control=control).run()


def test_a_kill_or_an_error_at_a_system_call_loses_nothing() -> None:
    """After SIGKILL or an error at drawn calls, the store holds what it acknowledged (C1, C35)."""
    report = campaign(12)
    assert (report.findings, report.cases) == ([], 12)
    assert int(report.facts["system calls"]) > 200
    assert {"kill", "EIO"} <= {point.partition(" ")[0] for point, _ in report.matrix} <= {"kill", *ERRORS}


def test_an_error_that_lasts_loses_nothing() -> None:
    """The worker ends as a service would that cannot open its store; a process without the error takes over (C35)."""
    report = campaign(10, lasting=True)
    assert (report.findings, report.cases) == ([], 10)
    assert {point.rpartition(" and ")[2] for point, _ in report.matrix} == {"on"}
    assert not [point for point, _ in report.matrix if point.startswith(("kill", "EINTR"))]


def test_an_early_acknowledgement_is_caught_by_an_error_that_lasts() -> None:
    """Control: what such a worker claimed is not there."""
    report = campaign(8, "ack-early", lasting=True)
    assert report.bad > 0


def test_one_error_may_be_asked_for() -> None:
    """Then there are as many cases fewer; without any, the kills alone. Only a write can be short."""
    counts = {}
    for errors in ((), ("EINTR",), (SHORT,), ERRORS):
        with scratch_folder() as folder:
            report = SyscallCampaign(folder, 1, 1, errors=errors).run()
        counts[errors] = int(report.facts["kills and errors there are"]) - int(report.facts["system calls"])
    assert counts[()] == 0
    assert 0 < counts[SHORT,] < counts["EINTR",]
    assert counts[ERRORS] == 4 * counts["EINTR",] + counts[SHORT,]


def test_an_early_acknowledgement_is_caught_by_a_kill() -> None:
    """Control: a worker that acknowledges before it calls is found out."""
    report = campaign(8, "ack-early")
    assert report.outcomes["lost"] > 0
    assert "the store holds" in " ".join(report.findings)


@pytest.mark.parametrize("error", [each for each in ERRORS if each != PASSING])
def test_an_error_is_met_and_not_only_asked_for(error: str) -> None:
    """The worker hears of it: an injection that does nothing would be a campaign of nothing."""
    with scratch_folder() as folder:
        report = SyscallCampaign(folder, 3, 1, errors=(error,), lasting=True).run()
    assert (report.findings, report.cases) == ([], 3)
    assert int(report.facts["errors that the worker met"]) > 0


def test_only_errors_of_system_calls_can_be_told_to_last() -> None:
    """``--lasting`` is for ``--kind syscall``."""
    refused = CliRunner().invoke(crash, ["--kind", "flip", "--lasting"])
    assert refused.exit_code == 2
    assert "it is for --kind syscall" in refused.output
