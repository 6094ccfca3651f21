"""Commits and claims made by hand, for what no driver would send to a store."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from ...runtime.records import RuntimeRecord
from ...runtime.store import Commit, LoadedRuntime, RuntimeStore
from ...spec.vocabulary import RuntimeState
from .workload import START, Scribe, event, opened, prompt, taken


async def two_runtimes(store: RuntimeStore) -> None:
    """``one`` and ``two``, each with two inputs that ended and one that is queued."""
    for name in ("one", "two"):
        driver = await opened(store, name, seed=name)
        await taken(driver, event(1), prompt(2))
        await Scribe().work_off(driver)
        await taken(driver, event(3))


def touched(store: RuntimeStore, name: str, *, late: int = 0, runtime_id: str | None = None) -> Commit:
    """A commit that changes the runtime record alone; ``late`` makes it build on that many revisions ago."""
    loaded = store.load_runtime(name)
    assert loaded is not None
    base = loaded.record.revision - late
    runtime = evolve(loaded.record, revision=base + 1, state=RuntimeState.RETIRED, runtime_id=runtime_id or name)
    return Commit(runtime, loaded.record.epoch, base)


def opening(name: str) -> Callable[[LoadedRuntime | None], Commit]:
    """What a claim commits that raises the epoch and nothing else."""

    def settle(loaded: LoadedRuntime | None) -> Commit:
        record = RuntimeRecord(name, RuntimeState.IDLE, created_at=START) if loaded is None else loaded.record
        raised = evolve(record, epoch=record.epoch + 1, revision=record.revision + 1)
        return Commit(raised, raised.epoch, record.revision)

    return settle
