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

_OF_WORKERS: Final = "holdstate_coverage"
_WORKERS: Final = pytest.StashKey[list[bytes | None]]()
"""What each worker of pytest-xdist told."""

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


def _played() -> tuple[dict[str, Any], ...]:
    """What this process has taken of each machine."""
    coverage = sys.modules.get(f"{_HARNESS}.coverage")
    return () if coverage is None else tuple(each.as_dict() for each in coverage.collected())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the process that started it."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None and session.config.getoption("holdstate_coverage") is not None:
        import msgspec

        output[_OF_WORKERS] = msgspec.json.encode(_played())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker of pytest-xdist ended. One that crashed told nothing."""
    told = getattr(node, "workeroutput", {}).get(_OF_WORKERS)
    node.config.stash.setdefault(_WORKERS, []).append(told)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tells what was covered, where it was asked for."""
    wanted = config.getoption("holdstate_coverage")
    if wanted is None:
        return
    terminalreporter.section("holdstate coverage")
    found, silent = _played(), 0
    if _WORKERS in config.stash:
        import msgspec

        from .coverage import merged

        told = [each for each in config.stash[_WORKERS] if each is not None]
        silent = len(config.stash[_WORKERS]) - len(told)
        found = merged(document for each in told for document in msgspec.json.decode(each))
    if found:
        from .coverage import lines_of

        for each in found:
            for line in lines_of(each):
                terminalreporter.line(line)
    else:
        terminalreporter.line("no machine was played by the harness")
    if silent:
        terminalreporter.line(f"{silent} workers ended without a word: what they played is not counted")
    if wanted != _TO_TERMINAL:
        import msgspec

        document = {"format": "holdstate-coverage", "version": 1, "machines": found}
        Path(wanted).write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        terminalreporter.line(f"written to {wanted}")
