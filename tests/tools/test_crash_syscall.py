"""A kill and an error at system calls of the real store: what was acknowledged is there, and it goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdstate.tools.crash_pool import scratch_folder
from holdstate.tools.crash_report import CrashReport
from holdstate.tools.crash_syscall import SyscallCampaign


@pytest.fixture(autouse=True)
def _strace(require_tool: Callable[[str], str]) -> None:
    require_tool("strace")


def campaign(cases: int, control: str = "") -> CrashReport:
    with scratch_folder() as folder:
        return SyscallCampaign(folder, cases, 1, control=control).run()


def test_a_kill_or_an_error_at_a_system_call_loses_nothing() -> None:
    """After SIGKILL, EIO or ENOSPC at drawn calls, the store holds what it acknowledged (C1, C35)."""
    report = campaign(12)
    assert (report.findings, report.cases) == ([], 12)
    assert int(report.facts["system calls"]) > 200
    assert {point.partition(" ")[0] for point, _ in report.matrix} == {"kill", "EIO", "ENOSPC"}


def test_an_early_acknowledgement_is_caught_by_a_kill() -> None:
    """Control: a worker that acknowledges before it calls is found out."""
    report = campaign(8, "ack-early")
    assert report.outcomes["lost"] > 0
    assert "the store holds" in " ".join(report.findings)
