"""Whole lives of a runtime with a fault at each store call in turn, then the same call again: nothing doubled or lost.

The life is played once without a fault. It is then played with each fault at each writing call; what a call of the life
answers and leaves has to be the same in the end, however often it had to be made, or after the runtime was opened anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.errors import RunIdReused, RunInProgress, RunNotCurrent, StoreError
from holdstate.runtime.outcomes import BoundaryApplied, Deduplicated, RunOutput
from holdstate.runtime.records import RunBoundaryReceipt
from holdstate.runtime.store import RuntimeStore
from holdstate.spec.vocabulary import RunBoundary
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore
from tests.faults import Fault, FaultyStore, Plan, read_faults, write_faults

from .campaign import SHARED_MEMORY
from .harness import Clock, Loop, real_input, settings_of, stored_view
from .model import Given, Rules

FOREVER: Final = 10**9
Call = Callable[[Driver], Awaitable[Any]]


def _id(number: int) -> UUID:
    return UUID(int=number, version=4)


def _accept(number: int, kind: str = "prompt", **more: Any) -> Call:
    return lambda driver: driver.accept_input(real_input(Given(_id(number), kind, **more)))


def _begin(number: int) -> Call:
    return lambda driver: driver.begin_run(_id(number))  # type: ignore[arg-type]


def _complete(number: int) -> Call:
    return lambda driver: driver.complete_run(_id(number), RunOutput(b"snapshot", b"result"))  # type: ignore[arg-type]


def _boundary(run: int, inputs: list[int]) -> Call:
    ids = tuple(map(_id, inputs))
    receipt = RunBoundaryReceipt(_id(run), RunBoundary.RUN_START, ids)  # type: ignore[arg-type]
    return lambda driver: driver.on_run_event(BoundaryApplied(_id(run), receipt, None, b"first"))  # type: ignore[arg-type]


def _fail(number: int, *, recoverable: bool) -> Call:
    return lambda driver: driver.fail_run(_id(number), "broken", recoverable=recoverable)  # type: ignore[arg-type]


LIVES: Final[dict[str, tuple[Call, ...]]] = {
    "accept with a key": (_accept(1, key="k"), _accept(2, key="k"), lambda d: d.find_by_key("k")),
    "accept that supersedes": (
        _accept(1, "flow_step", source="flow", scope="s"),
        _accept(2, "flow_step", source="flow", scope="s"),
    ),
    "run to its end": (_accept(1, key="k"), _begin(91), _complete(91), lambda d: d.input_result(_id(1))),  # type: ignore[arg-type]
    "boundary, then completion": (
        _accept(1, "peer_message", source="peer"),
        _accept(2, "peer_message", source="peer"),
        _begin(91),
        _boundary(91, [1, 2]),
        lambda d: d.complete_run(),
    ),
    "failures": (
        _accept(1),
        _begin(91),
        _fail(91, recoverable=True),
        _accept(2, "continuation", mode="steer", source="system"),
        _begin(92),
        _fail(92, recoverable=False),
    ),
    "cancelled run": (_accept(1), _begin(91), lambda d: d.cancel_run(_id(91)), lambda d: d.cancel_input(_id(1))),  # type: ignore[arg-type]
    "retire, then drain": (
        _accept(1),
        lambda d: d.retire(),
        _begin(91),
        _complete(91),
        lambda d: d.recycle_preserving_work(),
    ),
    "reset": (_accept(1), lambda d: d.reset(), _accept(2)),
    "stop, then destroy": (_accept(1), _accept(2), _begin(91), lambda d: d.stop(), lambda d: d.destroy()),
    "destroy at a boundary": (_accept(1), _begin(91), _boundary(91, [1]), lambda d: d.destroy()),
    "recover": (_accept(1), lambda d: d.recover(), _begin(91), lambda d: d.cancel_run(_id(91)), lambda d: d.recover()),  # type: ignore[arg-type]
}


@contextmanager
def _memory() -> Iterator[RuntimeStore]:
    yield MemoryStore()


@contextmanager
def _lmdb() -> Iterator[RuntimeStore]:
    with (
        TemporaryDirectory(dir=SHARED_MEMORY) as folder,
        LmdbStore.open(Path(folder) / "store", map_size=4 * 1024 * 1024) as store,
    ):
        yield store


STORES: Final = {"memory": _memory, "lmdb": _lmdb}


class Player:
    """Plays a life over a faulty store, makes a call that failed again, and opens anew after a crash."""

    def __init__(self, inner: RuntimeStore, loop: Loop, plan: Plan) -> None:
        self.inner, self.loop, self.clock = inner, loop, Clock()
        self.store = FaultyStore(inner, plan)
        self.driver = self.open()

    def open(self) -> Driver:
        for _ in range(8):
            try:
                return self.loop.one(
                    lambda: Driver.open(
                        "r", self.store, settings=settings_of(Rules()), environment=self.clock.environment()
                    )
                )
            except StoreError:
                self.revive()
        raise AssertionError("the runtime cannot be opened any more")

    def revive(self) -> None:
        """After a crash the store is as good as new."""
        if self.store._failing_reads > 100:
            self.store.arm(Plan())

    def play(self, life: tuple[Call, ...]) -> None:
        for call in life:
            self.clock.seconds += 100.0
            self.until_done(call)
            if self.driver._actor.doubt is None:
                assert not self.inner.verify()

    def until_done(self, call: Call) -> None:
        """Make ``call`` until it is answered. A crash takes the driver; what a retry may answer then is known."""
        causes: set[str] = set()
        for _ in range(8):
            before = self.look()
            try:
                self.loop.one(lambda: call(self.driver))
                break
            except StoreError as error:
                if self.store._failing_reads > 100:
                    self.store.arm(Plan())
                    self.driver = self.open()
                elif error.applied is False:
                    assert self.look() == before, "it failed, and something was changed"
                else:
                    causes.add(error.problem)
            except (RunIdReused, RunInProgress, RunNotCurrent):
                # The first try landed and its run was taken back, or the crash ended it: nobody holds it.
                break
        else:
            raise AssertionError("one fault made the runtime unusable for good (C35)")
        assert len(causes) <= 1, "the first cause is kept (C35)"

    def look(self) -> Any:
        view = stored_view(self.inner, "r")
        assert view.stored is not None
        return view.runtime, view.active, view.stored.ended


def _plans(inner: RuntimeStore, loop: Loop, life: tuple[Call, ...]) -> list[Plan]:
    """Every fault at every store call of ``life``, which is played once to count them."""
    player = Player(inner, loop, Plan())
    player.play(life)
    plans = [*write_faults(player.store.writes), *read_faults(player.store.reads)]
    return [
        evolve(plan, failing_reads=FOREVER, failing_writes=FOREVER)
        if plan.fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}
        else plan
        for plan in plans
    ]


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("name", LIVES)
def test_a_fault_at_any_store_call_leaves_the_state_before_or_after_and_a_usable_runtime(name: str, kind: str) -> None:
    """C19, C27, C34, C35, C36, C37: each call has its effect once, whatever failed and however often it was made."""
    loop, life = Loop(), LIVES[name]
    with STORES[kind]() as inner:
        plans = _plans(inner, loop, life)
    struck = 0
    for plan in plans:
        with STORES[kind]() as inner:
            player = Player(inner, loop, plan)
            player.play(life)
            struck += player.store.struck
            assert not inner.verify(), plan
            _assert_nothing_doubled(player, life)
            _assert_usable(player)
    assert struck >= len(plans) // 3
    loop.close()


def _assert_nothing_doubled(player: Player, life: tuple[Call, ...]) -> None:
    """Each accepted input is there once, and accepting it again says what became of it."""
    _, active, ended = player.look()
    ids = [record.input_id for record in (*active, *ended)]
    assert len(ids) == len(set(ids))
    for record in ended:
        assert record.attempt_count <= 2


def _assert_usable(player: Player) -> None:
    """Once the fault is over, reads work; the runtime takes and finishes work, or says that it never will."""
    player.store.arm(Plan())
    state = player.driver.runtime_state.value
    if state in {"stopped", "destroyed"}:
        return
    run_id = player.driver._actor.image.runtime.current_run_id
    if run_id is not None:
        player.loop.one(lambda: player.driver.cancel_run(run_id))
    if state == "retired":
        player.loop.one(player.driver.recycle_preserving_work)
    player.loop.one(lambda: player.driver.accept_input(real_input(Given(_id(7), "prompt"))))
    player.clock.seconds += 1000.0
    while True:
        run = player.loop.one(player.driver.begin_run)
        if run is None:
            break
        player.loop.one(lambda run=run: player.driver.complete_run(run))  # type: ignore[misc]
    again = player.loop.one(lambda: player.driver.accept_input(real_input(Given(_id(7), "prompt"))))
    assert isinstance(again, Deduplicated)
    assert again.existing_state.value == "consumed"
    assert not player.inner.verify()
