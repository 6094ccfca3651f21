"""The pytest plugin: where failures are written, and what the harness has covered, told at the end.

It is loaded into every run of pytest where holdstate is installed, so it imports nothing of the harness before that is
used.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

_TO_TERMINAL: Final = "-"
_HARNESS: Final = "holdstate.tools.harness"
_SUITES: Final = (
    "conformance_base",
    "conformance_commits",
    "conformance_concurrency",
    "conformance_processes",
    "conformance_reads",
    "conformance_refusals",
    "conformance_resume",
    "conformance_rows",
    "store_conformance",
)

_REWRITTEN: Final = [f"{_HARNESS}.{name}" for name in _SUITES]

pytest.register_assert_rewrite(*(name for name in _REWRITTEN if name not in sys.modules))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two options."""
    group = parser.getgroup("holdstate")
    group.addoption(
        "--holdstate-coverage",
        nargs="?",
        const=_TO_TERMINAL,
        metavar="FILE.json",
        help="tell which transitions and pairs of the played machines were taken; with a file, as JSON too",
    )
    group.addoption(
        "--holdstate-failures",
        metavar="DIR",
        help="where the harness writes failures (default: $HOLDSTATE_FAILURES, else .holdstate-failures)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Checks the options."""
    wanted = config.getoption("holdstate_coverage")
    if wanted not in (None, _TO_TERMINAL) and not str(wanted).endswith(".json"):
        raise pytest.UsageError(
            f"--holdstate-coverage={wanted}: give a file that ends in .json, or put the option last to name no file"
        )
    folder = config.getoption("holdstate_failures")
    if folder is not None:
        from .machine_tests import FAILURES_VARIABLE

        os.environ[FAILURES_VARIABLE] = str(Path(folder).resolve())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tells what was covered, where it was asked for."""
    wanted = config.getoption("holdstate_coverage")
    if wanted is None:
        return
    coverage = sys.modules.get(f"{_HARNESS}.coverage")
    found = () if coverage is None else coverage.collected()
    terminalreporter.section("holdstate coverage")
    for each in found:
        for line in each.lines():
            terminalreporter.line(line)
    if not found:
        terminalreporter.line("no machine was played by the harness")
    if wanted != _TO_TERMINAL:
        import msgspec

        document = {"format": "holdstate-coverage", "version": 1, "machines": [each.as_dict() for each in found]}
        Path(wanted).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        terminalreporter.line(f"written to {wanted}")
