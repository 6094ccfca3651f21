"""Stores that a test can hold up or watch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import final

from attrs import define, field

from holdstate.runtime.store import Claim, Commit, Reader, RuntimeStore, WriteResult
from holdstate.stores.memory_store import MemoryStore


@final
@define(eq=False)
class GatedStore:
    """A memory store whose writing function waits for ``gate``, tells ``entered``, and runs ``before`` first.

    ``groups`` has the number of members of each group that was written, ``after`` runs when the rows are in the store.
    """

    inner: MemoryStore = field(factory=MemoryStore)
    gate: Event = field(factory=Event)
    entered: Event = field(factory=Event)
    groups: list[int] = field(factory=list)
    generation: int = 0
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    reading_fails: Exception | None = None

    def __attrs_post_init__(self) -> None:
        self.gate.set()

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        write = self.inner.prepare(group)

        def gated() -> list[WriteResult]:
            self.entered.set()
            assert self.gate.wait(30)
            self.before()
            results = write()
            self.groups.append(len(group))
            self.after()
            return results

        return gated

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        if self.reading_fails is not None:
            raise self.reading_fails
        with self.inner.reading() as reader:
            yield reader

    def as_store(self) -> RuntimeStore:
        return self  # type: ignore[return-value]  # what a driver asks of a store, and no more
