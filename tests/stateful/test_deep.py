"""The campaign of the stateful tests: it counts what it does, does the same again, and finds what is planted."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest
from hypothesis import Phase

from holdstate.runtime import batches, commit_thread

from . import deep
from .test_stateful_memory import MemoryMachine


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "EXAMPLES", 4)


def test_the_same_seed_takes_the_same_steps() -> None:
    """Number and kind of all that was done; another seed does other things."""
    taken = []
    for seed in (1, 1, 2):
        found = deep.go_deep(MemoryMachine, 100, seed)
        taken.append((deep.counted(), dict(found)))
        assert deep.counted() >= 100
    assert taken[0] == taken[1] != taken[2]


def test_the_command_tells_what_was_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its last line has steps, lives, store and seed."""
    monkeypatch.setattr(sys, "argv", ["deep", "--steps", "50", "--seed", "3", "--store", "lmdb"])
    assert deep.main() == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{deep.counted()} steps in ")
    assert " lives on lmdb, seed 3: none broken; " in last


def test_a_busy_machine_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits that seem to take long would go to a thread, where the steps of a caller cannot be counted."""
    steps = []
    for long in (0.005, -1.0):
        monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", long)
        deep.go_deep(MemoryMachine, 100, 3)
        steps.append(deep.counted())
    assert steps[0] == steps[1]


def _any_wait(*_: object) -> timedelta:
    return timedelta.max


def test_a_wait_without_bound_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Control: a clock that was set back holds an input for ever, and the model knows better."""
    monkeypatch.setattr(batches, "longest_wait", _any_wait)
    monkeypatch.setattr(sys, "argv", ["deep", "--steps", "20000", "--seed", "1"])
    monkeypatch.setattr(deep, "PHASES", (Phase.generate,))
    assert deep.main() == 1
    assert "steps on memory, seed 1: broken" in capsys.readouterr().out
