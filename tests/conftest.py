"""Fixtures for all tests, and the Hypothesis profiles.

``HOLDSTATE_REQUIRE_ALL=1``           a test whose tool is not installed fails instead of being skipped
``HOLDSTATE_HYPOTHESIS_PROFILE=…``    ``ci`` (the default: the same examples every time), ``explore`` (new ones, many),
                                     or ``as_found`` (those of ci; what fails is not made smaller)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from holdstate.tools.tlc import TlcMissing, TlcReport, find_jar, find_java, run_tlc

from .crashed import finish_it, kill_in_a_run
from .needs import do_without

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True, max_examples=2_000)
settings.register_profile("as_found", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))
settings.load_profile(os.environ.get("HOLDSTATE_HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Returns a function that gives the path of a program; without the program it skips the test, or fails it."""

    def path_of(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            do_without(f"{program} is not installed, and this test runs it")
        return path

    return path_of


@pytest.fixture
def untraced() -> Iterator[None]:
    """For tests that repeat the same code a million times: coverage, which the other tests show, would treble that."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder of pyproject.toml."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose process was killed inside a run. To be looked at only."""
    return kill_in_a_run(tmp_path_factory.mktemp("crashed"))


@pytest.fixture(scope="session")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, after another process went on. To be looked at only."""
    store = kill_in_a_run(tmp_path_factory.mktemp("recovered"))
    finish_it(store)
    return store


@pytest.fixture(scope="session")
def site(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation site, built as ``make docs`` builds it; without Sphinx the test is skipped, or fails."""
    if find_spec("sphinx") is None:
        do_without("sphinx is not installed, and this test builds the documentation with it")
    folder = tmp_path_factory.mktemp("site")
    built = build_site(project_root, project_root / "docs", folder)
    assert (built.returncode, built.stderr) == (0, "")
    return folder


def build_site(root: Path, pages: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Sphinx with the settings of the site, over ``pages``; every warning is told, and makes it fail."""
    strict = ("--quiet", "--fail-on-warning", "--keep-going")
    command = (sys.executable, "-m", "sphinx", *strict, "-c", root / "docs" / "site", pages, folder)
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="session")
def tlc() -> Callable[..., TlcReport]:
    """TLC as a function; without TLC it skips the test, or fails it."""
    try:
        find_jar()
        find_java()
    except TlcMissing as missing:
        do_without(str(missing))
    return run_tlc
