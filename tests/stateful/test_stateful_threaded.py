"""The same with every commit on the thread, as when commits take long."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from holdstate.runtime import commit_thread
from holdstate.runtime.store import RuntimeStore
from holdstate.stores.memory_store import MemoryStore

from .campaign import scaled
from .machine import DriverMachine


class ThreadedMachine(DriverMachine):
    taken: ClassVar[Counter[str]] = Counter()
    vanishing = False

    def new_store(self) -> RuntimeStore:
        return MemoryStore()


def test_a_driver_whose_commits_run_on_a_thread_agrees_with_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """C10, C18: what is answered, and when, does not depend on where the commit runs."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", -1.0)
    ThreadedMachine.taken.clear()
    run_state_machine_as_test(ThreadedMachine, settings=scaled(examples=40, steps=30))
    with capsys.disabled():
        print(f"\nthreaded: {dict(sorted(ThreadedMachine.taken.items()))}")
    assert ThreadedMachine.taken.total() > 500
