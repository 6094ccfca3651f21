"""The two stores of holdstate pass the conformance suite that is shipped, with everything that they can."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from holdstate.runtime.store import RuntimeStore
from holdstate.stores import memory_tables
from holdstate.stores.lmdb_rows import Rows
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools.harness import Capability, InnerFault, RuntimeStoreConformance, failing_at

MEMORY_DISK = Path("/dev/shm")


class TestMemoryStore(RuntimeStoreConformance):
    """It lives as long as its process, so it is not durable."""

    capabilities = frozenset({Capability.THREADS, Capability.FAIL_INSIDE})

    def open_store(self, location: Path) -> RuntimeStore:
        return MemoryStore()

    def fail_inside(self, store: RuntimeStore, step: int) -> AbstractContextManager[InnerFault]:
        return failing_at(step, memory_tables.Undo, "put")


class TestLmdbStore(RuntimeStoreConformance):
    """Everything, on a disk in memory where there is one: syncs are not what is looked at here."""

    capabilities = frozenset(Capability)
    factory = "holdstate.stores.lmdb_store:LmdbStore.open"
    programs = 6
    kills = 4

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> Iterator[None]:
        self.made = Path(tempfile.mkdtemp(dir=MEMORY_DISK)) if MEMORY_DISK.is_dir() else tmp_path
        yield
        if self.made != tmp_path:
            shutil.rmtree(self.made)

    def place(self, tmp_path: Path) -> Path:
        return self.made

    def fail_inside(self, store: RuntimeStore, step: int) -> AbstractContextManager[InnerFault]:
        return failing_at(step, Rows, "put_all")
