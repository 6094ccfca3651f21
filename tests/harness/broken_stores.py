"""Stores with one bug each, and the conformance suite on each of them. ``test_store_controls`` runs this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve

from holdstate.runtime.records import InputRecord
from holdstate.runtime.store import Claim, Commit, InputWrite, RuntimeStore, WriteResult, Written
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools.harness import Capability, InnerFault, RuntimeStoreConformance, failing_at


class Wrapped:
    """``inner``, and what a subclass does otherwise."""

    def __init__(self, inner: RuntimeStore) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        return self.inner.commit(group)

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        return lambda: self.write(group)

    def commit(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        return self.write(group)


class MemberByMember(Wrapped):
    """A group is written one member after the other."""

    def write(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        return [result for member in group for result in self.inner.commit([member])]


class SnapshotAside(Wrapped):
    """Session snapshots are kept beside the store, and written before it."""

    def __init__(self, inner: RuntimeStore) -> None:
        super().__init__(inner)
        self.snapshots: dict[str, bytes] = {}

    def inner_write(self) -> None:
        """Where a fault can be put."""

    def write(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        for member in group:
            if isinstance(member, Commit) and member.snapshot is not None:
                self.inner_write()
                self.snapshots[member.runtime.runtime_id] = member.snapshot
        self.inner_write()
        return self.inner.commit(group)

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        return self.snapshots.get(runtime_id)


class LostFence(Wrapped):
    """A commit is written whoever made it."""

    def write(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        return self.inner.commit([self._unfenced(member) for member in group])

    def _unfenced(self, member: Commit | Claim) -> Commit | Claim:
        stored = None if isinstance(member, Claim) else self.inner.load_runtime(member.runtime.runtime_id)
        if isinstance(member, Claim) or stored is None:
            return member
        record = stored.record
        runtime = evolve(member.runtime, epoch=record.epoch, revision=record.revision + 1)
        return evolve(member, runtime=runtime, epoch=record.epoch, base_revision=record.revision)


class KeysOfEndedLost(Wrapped):
    """The key of an input is forgotten when it ends."""

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        found = self.inner.find_by_key(runtime_id, key)
        return None if found is None or found.is_terminal else found


class ResultsLost(Wrapped):
    """Results are not stored."""

    def write(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        kept = [evolve(member, results=[]) if isinstance(member, Commit) else member for member in group]
        return self.inner.commit(kept)


class WrittenLate(Wrapped):
    """A commit is acknowledged, and written with the next one."""

    def __init__(self, inner: RuntimeStore) -> None:
        super().__init__(inner)
        self.late: list[Commit] = []

    @classmethod
    def open(cls, path: str) -> WrittenLate:
        return cls(LmdbStore.open(path))

    def __getattr__(self, name: str) -> Any:
        self.flush()
        return getattr(self.inner, name)

    def flush(self) -> None:
        late, self.late = self.late, []
        for commit in late:
            self.inner.commit([commit])

    def write(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        self.flush()
        if any(isinstance(member, Claim) for member in group):
            return self.inner.commit(group)
        self.late = [_copy(member) for member in group if isinstance(member, Commit)]
        return [Written(member) for member in group if isinstance(member, Commit)]


def _copy(commit: Commit) -> Commit:
    return evolve(
        commit, inputs=[InputWrite(each.record, each.is_new, each.body, each.drop_body) for each in commit.inputs]
    )


class _OverMemory(RuntimeStoreConformance):
    broken: ClassVar[type[Wrapped]]

    def open_store(self, location: Path) -> Any:
        return self.broken(MemoryStore())


class TestMemberByMember(_OverMemory):
    broken = MemberByMember


class TestSnapshotAside(_OverMemory):
    broken = SnapshotAside
    capabilities = frozenset({Capability.FAIL_INSIDE})

    def fail_inside(self, store: Any, step: int) -> AbstractContextManager[InnerFault]:
        return failing_at(step, store, "inner_write")


class TestLostFence(_OverMemory):
    broken = LostFence


class TestKeysOfEndedLost(_OverMemory):
    broken = KeysOfEndedLost


class TestResultsLost(_OverMemory):
    broken = ResultsLost


class TestWrittenLate(RuntimeStoreConformance):
    capabilities = frozenset({Capability.PROCESSES})
    factory = "tests.harness.broken_stores:WrittenLate.open"
    kills = 12  # the first one finds it, mostly
