"""A kill and an error at system calls of the real store: what was acknowledged is there, and it goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdstate.tools.crash_pool import scratch_folder
from holdstate.tools.crash_report import CrashReport
from holdstate.tools.crash_syscall import ERRORS, SyscallCampaign


@pytest.fixture(autouse=True)
def _strace(require_tool: Callable[[str], str]) -> None:
    require_tool("strace")


def campaign(cases: int, control: str = "") -> CrashReport:
    with scratch_folder() as folder:
        return SyscallCampaign(folder, cases, 1, control=control).run()


def test_a_kill_or_an_error_at_a_system_call_loses_nothing() -> None:
    """After SIGKILL or an error at drawn calls, the store holds what it acknowledged (C1, C35)."""
    report = campaign(12)
    assert (report.findings, report.cases) == ([], 12)
    assert int(report.facts["system calls"]) > 200
    assert {"kill", "EIO"} <= {point.partition(" ")[0] for point, _ in report.matrix} <= {"kill", *ERRORS}


def test_one_error_may_be_asked_for() -> None:
    """Then there are as many cases fewer; without any, the kills alone."""
    counts = []
    for errors in ((), ("EINTR",), ERRORS):
        with scratch_folder() as folder:
            report = SyscallCampaign(folder, 1, 1, errors=errors).run()
        counts.append(int(report.facts["kills and errors there are"]))
        assert counts[0] == int(report.facts["system calls"])
    assert counts[2] - counts[0] == 4 * (counts[1] - counts[0]) > 0


def test_an_early_acknowledgement_is_caught_by_a_kill() -> None:
    """Control: a worker that acknowledges before it calls is found out."""
    report = campaign(8, "ack-early")
    assert report.outcomes["lost"] > 0
    assert "the store holds" in " ".join(report.findings)
