"""Recorded runs of the reference implementation give the same answers here, on every store (C48)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdstate.runtime.store import RuntimeStore
from holdstate.spec.vocabulary import InputKind
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore

from .recordings import load_traces
from .replay import Difference, Replay

TRACES = load_traces()
COMMANDS = {
    "accept",
    "attach",
    "detach",
    "start_batch",
    "boundary",
    "run_completed",
    "run_failed",
    "run_cancelled",
    "retire",
    "reset",
    "stop",
    "destroy",
    "crash",
}
COMPARED = 563
"""Steps before the splits, of 665."""

SPLITS = {Difference.RETRY_ALONE: 15, Difference.NOTHING_INTO_RETIRED: 8, Difference.PROMPT_ALONE: 1}


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RuntimeStore]:
    """An empty store of each kind."""
    opened: RuntimeStore = MemoryStore() if request.param == "memory" else LmdbStore.open(tmp_path / "traces.lmdb")
    yield opened
    opened.close()


def test_the_traces_hold_every_command_and_kind() -> None:
    """The recordings speak of every command that they can, and of every kind of input."""
    commands = [command for trace in TRACES for command, _ in trace]
    assert {command["op"] for command in commands} == COMMANDS
    kinds = {command["kind"] for command in commands if command["op"] == "accept"}
    assert kinds == {kind.value for kind in InputKind}


async def test_every_answer_is_the_recorded_one(store: RuntimeStore) -> None:
    """Every step agrees, except for the named differences, up to where one of them splits its trace."""
    splits: Counter[Difference] = Counter()
    used: set[Difference] = set()
    compared = 0
    for number, trace in enumerate(TRACES):
        replayed = await Replay(store, f"trace {number}").run(trace)
        compared += replayed.compared
        used.update(replayed.used)
        if replayed.split is not None:
            splits[replayed.split] += 1
    print(f"{compared} of {sum(map(len, TRACES))} steps compared, {sum(splits.values())} traces split")
    assert splits == SPLITS
    assert used | set(splits) == set(Difference), "a difference that no trace shows is not known to exist"
    assert compared == COMPARED
    assert store.verify() == []
