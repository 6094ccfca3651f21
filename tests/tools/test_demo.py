"""The demonstration: it kills for real, counts right, and fails when a promise is broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from attrs import evolve

from holdstate.tools.demo import Figures

from .support import DEADLINE_SECONDS, write_lines

DEMO = [sys.executable, "-m", "holdstate.tools.demo", "--seed", "1"]
SOUND = Figures(
    lines=3,
    killed=1,
    accepted=3,
    executions=4,
    consumed=3,
    executed_again=1,
    answered_once=3,
    lost=0,
    consumed_twice=0,
    out_of_order=0,
    findings=0,
)


def test_the_demonstration_holds_its_promises(tmp_path: Path) -> None:
    """Killed twice inside a run; every line is consumed once."""
    repositories = ["a/a", "b/b", "a/a", None, "b/b", "a/a"]
    values = [{"event": "ping", "payload": {"repository": name and {"full_name": name}}} for name in repositories]
    path = write_lines(tmp_path / "lines", values)
    words = [*DEMO, "--input", str(path), "--kills", "2", "--seconds", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every promise held" in done.stderr
    table = {
        line.rpartition("  ")[0].strip(): line.split()[-1] for line in done.stdout.splitlines() if "  " in line.strip()
    }
    assert table["lines in the file"] == table["inputs consumed"] == "6"


def test_any_broken_promise_is_seen() -> None:
    """One number off is enough."""
    assert SOUND.promises_held
    for name in ("lost", "consumed_twice", "out_of_order", "findings"):
        assert not evolve(SOUND, **{name: 1}).promises_held
    for name in ("accepted", "consumed", "answered_once"):
        assert not evolve(SOUND, **{name: 2}).promises_held


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """In one line."""
    words = [*DEMO, "--input", str(tmp_path / "none")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
