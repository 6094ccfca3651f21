"""The driver over the embedded store agrees with the model, whatever is called, whatever fails, wherever it crashes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from holdstate.runtime import commit_thread
from holdstate.runtime.store import RuntimeStore
from holdstate.stores.lmdb_store import LmdbStore

from .campaign import SHARED_MEMORY, scaled
from .machine import DriverMachine


class LmdbMachine(DriverMachine):
    taken: ClassVar[Counter[str]] = Counter()

    def new_store(self) -> RuntimeStore:
        self.folder = TemporaryDirectory(dir=SHARED_MEMORY)
        return LmdbStore.open(Path(self.folder.name) / "store", map_size=16 * 1024 * 1024)

    def drop_store(self) -> None:
        super().drop_store()
        self.folder.cleanup()


def test_the_driver_over_lmdb_agrees_with_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """C48: the same commands over the embedded store, fewer of them."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", 3600.0)  # on the loop, however slow the disk is
    LmdbMachine.taken.clear()
    run_state_machine_as_test(LmdbMachine, settings=scaled(examples=80, steps=40))
    with capsys.disabled():
        print(f"\nlmdb: {dict(sorted(LmdbMachine.taken.items()))}")
    assert LmdbMachine.taken.total() > 500
