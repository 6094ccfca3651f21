"""What the explorer says happens is what happens: random walks through the model, made with real drivers.

The model drives actors without an event loop and repeats some lines of the group committer. Here the same calls go
through the public driver, its committer and a memory store with faults, and everything stored and remembered is
compared after each move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from holdstate.runtime import calls
from holdstate.runtime.actor import Actor
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import Environment
from holdstate.runtime.errors import Fenced, StoreError
from holdstate.runtime.flush import committer_of
from holdstate.spec.errors import HoldstateError
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools.explorer import Move
from holdstate.tools.explorer_calls import Call
from holdstate.tools.explorer_kinds import NOW, RUN_IDS, RUNTIME
from holdstate.tools.explorer_outcomes import WholeBounds
from holdstate.tools.explorer_parts import Parted
from holdstate.tools.explorer_whole import Whole

from ..faults import Fault, FaultyStore, Plan

pytestmark = pytest.mark.usefixtures("untraced")

OLDER = "older driver: "
PLANS = {
    "refused by the disk": Plan(Fault.REFUSED, write=0),
    "result unknown, it landed": Plan(Fault.LANDED, write=0),
    "result unknown, it did not land": Plan(Fault.UNKNOWN, write=0),
    "store unreadable, it landed": Plan(Fault.LANDED, write=0, failing_reads=1),
    "store unreadable, it did not land": Plan(Fault.UNKNOWN, write=0, failing_reads=1),
}
NEVER = Plan()
GENERATIONS: Counter[int] = Counter()
BOUNDS = WholeBounds(inputs=3, openers=2, runs=6, boundaries=2, empty_receipts=1, symmetry=False)
WALKS, STEPS = 150, 20
ENDINGS = frozenset({"stop", "destroy", "crash", "reset", "abandon_pending"})
NAMES = (
    *("open", "attach", "detach", "accept", "begin_run", "take_steers", "checkpoint", "boundary"),
    *("complete_run", "completion", "fail_run", "cancel_run", "rollback_staged", "consume_inputs", "cancel"),
    *("abandon_pending", "retire", "reset", "stop", "destroy", "recycle", "recover", "resume", "crash"),
)
"""What the walks have to do at least once each: every command."""


class Process:
    """One driver with its own way to the store. An unknown result makes that way be opened anew."""

    def __init__(self, inner: MemoryStore) -> None:
        self.store = FaultyStore(inner)
        self.driver: PersistentRuntimeDriver | None = None
        GENERATIONS[id(self.store)] = 0

    @property
    def actor(self) -> Actor:
        assert self.driver is not None
        return self.driver._actor


class Walk:
    """One walk through ``model``, and the real thing that goes along."""

    def __init__(self, model: Whole) -> None:
        self.model = model
        self.inner = MemoryStore()
        self.processes: list[Process] = []
        (self.state,) = model.initial()
        self.environment = Environment(now=lambda: NOW, new_id=lambda: RUN_IDS[self.at.runs], chance=lambda: 0.5)

    @property
    def at(self) -> Parted:
        return self.model._states.unpack(self.state)

    def call(self, label: str, position: int) -> Call:
        """The call behind a label on the driver at ``position``."""
        outcomes = self.model._outcomes
        memory = outcomes.cared_for(self.at.drivers[position], self.at.runs)
        found = outcomes.of(self.at.disk, memory, self.at.runs, may_begin=self.model._may_begin(self.at))
        return next(outcome.decided.call for outcome, _ in found if outcome.decided.call.label == label)

    def can_be_made(self, move: Move[int]) -> bool:
        """All but callers that are gone, and a recover that has to wait for a commit of its own first."""
        return "caller is gone" not in move.action and not ("recover" in move.action and self.has_orphan())

    def has_orphan(self) -> bool:
        rows = [self.model._memories.rows[memory] for memory in self.at.drivers]
        return any(row is not None and row.runtime.run != row.held for row in rows)

    async def make(self, move: Move[int]) -> None:
        """Make ``move`` with the real thing."""
        action, position = move.action.removeprefix(OLDER), 0
        if move.action.startswith(OLDER):
            position = next(
                n for n, each in enumerate(self.at.drivers) if not self.model._memories.facts[each].is_current
            )
        label, _, fate = action.partition(": ")
        if label == "open":
            settings = self.model._outcomes._codec.settings
            process = Process(self.inner)
            process.driver = await PersistentRuntimeDriver.open(
                RUNTIME, process.store, settings=settings, environment=self.environment
            )
            self.processes[:0] = [process] if not fate else []
        elif label == "crash":
            del self.processes[position]
        elif label == "any call":
            process = self.processes.pop(position)
            assert process.driver is not None
            with pytest.raises(Fenced):
                await process.driver.attach()
        elif fate != "crash before its commit":
            await self.ask(self.call(label, position), position, fate)
        else:
            del self.processes[position]
        self.state = move.target

    async def ask(self, call: Call, position: int, fate: str) -> None:
        process = self.processes[position]
        store, actor = process.store, process.actor
        plan = PLANS.get(fate, NEVER)
        store.arm(plan)
        try:
            await committer_of(store).submit(actor, call.decide, alone=call.alone)
        except HoldstateError as error:
            if isinstance(error, StoreError) and fate not in PLANS:
                raise
        assert (store.struck == 1) is (fate in PLANS), "the fault struck"
        if plan.fault is not Fault.REFUSED:
            GENERATIONS[id(store)] += 1
        if fate == "crash after its commit" or actor.finished is not None:
            del self.processes[position]

    def compare(self) -> None:
        """The store and each driver hold what the model says."""
        codec, parted = self.model._outcomes._codec, self.at
        stored = codec.disk(self.inner._tables) if self.inner.load_record(RUNTIME) is not None else None
        assert stored == self.model._disks.rows[parted.disk]
        assert len(self.processes) == len(parted.drivers)
        for process, number in zip(self.processes, parted.drivers, strict=True):
            wanted, actor = self.model._memories.rows[number], process.actor
            assert wanted is not None
            behind = actor.generation != process.store.generation and actor.doubt is None
            there = codec.memory(actor, stale=wanted.stale)._replace(behind=behind)
            assert there == wanted._replace(doubt=None)
            assert (actor.doubt is None) is (wanted.doubt is None)
        assert self.inner.verify() == []


def _drawn(random: Random, moves: Sequence[Move[int]], state: int) -> Move[int]:
    """Any move, or rather one that goes on: walks that end early, or stay where they are, show little."""
    useful = [move for move in moves if move.target != state and _name(move) not in ENDINGS]
    plain = [move for move in useful if ": " not in move.action]
    drawn = random.choices((plain, useful, moves), (70, 25, 5))[0] or moves
    name = random.choice(sorted({_name(move) for move in drawn}))
    return random.choice([move for move in drawn if _name(move) == name])


def _name(move: Move[int]) -> str:
    return move.action.removeprefix(OLDER).partition(": ")[0].split(" ")[0]


async def test_random_walks_are_what_real_drivers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every move of every walk the store and the memories are those of the model; every fate occurs."""
    monkeypatch.setattr(FaultyStore, "generation", property(lambda store: GENERATIONS[id(store)]))
    monkeypatch.setattr(calls, "_is_unknown", lambda *_: False)  # every input is looked for, as in a group of several
    model = Whole(BOUNDS)
    made: Counter[str] = Counter()
    for seed in range(WALKS):
        random, walk = Random(seed), Walk(model)
        actions = []
        for _ in range(STEPS):
            moves = [move for move in model.moves(walk.state) if walk.can_be_made(move)]
            move = _drawn(random, moves, walk.state)
            actions.append(move.action)
            await walk.make(move)
            try:
                walk.compare()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {actions}") from error
            made[move.action.removeprefix(OLDER).partition(": ")[2]] += 1
            made[_name(move)] += 1
    fates = {*PLANS, "crash before its commit", "crash after its commit", "fenced", "refused by the store"}
    assert made.keys() >= {*fates, *NAMES}, {*fates, *NAMES} - made.keys()
