"""The driver over the memory store agrees with the model, whatever is called, whatever fails, wherever it crashes."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import pytest

from holdstate.runtime import commit_thread
from holdstate.runtime.store import RuntimeStore
from holdstate.stores.memory_store import MemoryStore

from .campaign import run_until_tried, scaled
from .machine import EFFECTIVE, DriverMachine


class MemoryMachine(DriverMachine):
    taken: ClassVar[Counter[str]] = Counter()

    def new_store(self) -> RuntimeStore:
        return MemoryStore()


def test_the_driver_over_memory_agrees_with_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """C1-C37 as far as one process can see them; every command, fault and crash was met with effect."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", 3600.0)  # on the loop, however busy the machine is
    run_until_tried(MemoryMachine, EFFECTIVE, scaled(examples=250, steps=50))
    with capsys.disabled():
        print(f"\nmemory: {dict(sorted(MemoryMachine.taken.items()))}")
