"""The checks themselves: what may be skipped on one machine fails on another, and the commands are what they say."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest


def test_a_missing_tool_skips_here_and_fails_where_all_are_required(
    require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice names the program in both cases."""
    monkeypatch.delenv("HOLDSTATE_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-program is not installed"):
        require_tool("no-such-program")
    monkeypatch.setenv("HOLDSTATE_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match=r"no-such-program is not installed"):
        require_tool("no-such-program")


def test_a_present_tool_is_given_by_its_path(require_tool: Callable[[str], str]) -> None:
    """The path is that of an executable file."""
    assert os.access(require_tool("sh"), os.X_OK)


def test_every_make_target_is_explained(project_root: Path) -> None:
    """``make help`` lists each target that can be named."""
    makefile = (project_root / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)) == set(phony.split())


def test_ci_can_be_started(project_root: Path) -> None:
    """.ci/run is executable."""
    assert os.access(project_root / ".ci" / "run", os.X_OK)
