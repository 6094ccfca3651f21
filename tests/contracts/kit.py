"""What the contract tests share: homes of stores, a world without clocks, inputs, and faults at every store call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar, cast, final
from uuid import UUID

from attrs import define, evolve

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.errors import StoreError
from holdstate.runtime.flush import committer_of
from holdstate.runtime.ids import InputId, RunId
from holdstate.runtime.inputs import (
    ExternalEventInput,
    ExternalSource,
    OperationInput,
    PeerInput,
    PeerResponseProgress,
    PromptInput,
    ResponsePhase,
    TurnMetadata,
)
from holdstate.runtime.outcomes import Accepted, Run
from holdstate.runtime.records import InputRecord, RunBoundaryReceipt, stored_form
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.runtime.store import InputFilter, RuntimeStore
from holdstate.spec.errors import HoldstateError
from holdstate.spec.policy import DEFAULT_POLICY, Policy
from holdstate.spec.vocabulary import HandlingMode, InputKind, QueueMode, RunBoundary
from holdstate.stores.lmdb_rows import TABLES
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan, SimulatedCrash, write_faults

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)
RUNTIME = "runtime"
DATA_FILE = "data.mdb"
NO_BACKOFF = Backoff(initial_seconds=0.0)
MAX_ATTEMPTS = 3
SETTINGS = RuntimeSettings(debug=True, retry=RetryPolicy(max_attempts=MAX_ATTEMPTS, backoff=NO_BACKOFF))


def policy_with(kind: InputKind, queue_mode: QueueMode) -> Policy:
    """The default policy with another queue mode for one kind."""
    row = evolve(DEFAULT_POLICY.by_kind[kind], queue_mode=queue_mode)
    return Policy(
        name="test",
        version=2,
        by_handling_mode=DEFAULT_POLICY.by_handling_mode,
        by_kind={**DEFAULT_POLICY.by_kind, kind: row},
        otherwise=DEFAULT_POLICY.otherwise,
    )


SUPERSEDING = evolve(SETTINGS, policy=policy_with(InputKind.PROMPT, QueueMode.SUPERSEDE))
PRIORITY = evolve(SETTINGS, policy=policy_with(InputKind.PEER_MESSAGE, QueueMode.PRIORITY))

# -- time, ids and chance ---------------------------------------------------------------------------------------------


def world(seed: int = 0) -> Environment:
    """A clock that counts milliseconds, ids and chance from a seed; ids come in no order."""
    ticks = iter(range(1, 10**9))
    random = Random(f"world {seed}")
    return Environment(
        now=lambda: START + timedelta(milliseconds=next(ticks)),
        new_id=lambda: UUID(int=random.getrandbits(128), version=4),
        chance=random.random,
    )


def input_id(number: int) -> InputId:
    """The id of the ``number``-th input of a test; ids come in no order."""
    return InputId(UUID(int=Random(f"input {number}").getrandbits(128), version=4))


def run_id(number: int) -> RunId:
    return RunId(UUID(int=Random(f"run {number}").getrandbits(128), version=4))


# -- inputs -----------------------------------------------------------------------------------------------------------


def prompt(number: int, text: str | None = None, **header: Any) -> PromptInput:
    """A prompt; it is always alone in its batch."""
    return PromptInput.new(text or f"prompt {number}", id=input_id(number), timestamp=START, **header)


def steer(number: int, **header: Any) -> PromptInput:
    """A prompt for the steer lane."""
    metadata = TurnMetadata(handling_mode=HandlingMode.STEER)
    return PromptInput.new(f"steer {number}", (), metadata, id=input_id(number), timestamp=START, **header)


def event(number: int, **header: Any) -> ExternalEventInput:
    """An external event; many of them share a batch."""
    return ExternalEventInput.new("happened", {"n": number}, id=input_id(number), timestamp=START, **header)


def message(number: int, **header: Any) -> PeerInput:
    return PeerInput.new(f"message {number}", id=input_id(number), timestamp=START, **header)


def progress(number: int, **header: Any) -> PeerInput:
    """News of a request; with a supersession key it replaces earlier news."""
    convention = PeerResponseProgress("request", ResponsePhase.IN_PROGRESS)
    return PeerInput.new(f"progress {number}", (), convention, id=input_id(number), timestamp=START, **header)


def operation(number: int, **header: Any) -> OperationInput:
    """Consumed when it is accepted."""
    return OperationInput.new("operation", {"n": number}, id=input_id(number), timestamp=START, **header)


def derived(number: int) -> ExternalEventInput:
    """An external event from an outside source that claims to be derived, which is refused."""
    from holdstate.spec.vocabulary import Durability

    return event(number, durability=Durability.DERIVED, source=ExternalSource("outside"))


# -- homes of stores --------------------------------------------------------------------------------------------------


class Home(Protocol):
    """A place where a store outlives its process."""

    @property
    def store(self) -> RuntimeStore: ...

    def crash(self) -> RuntimeStore:
        """The process ends; what is on the disk is opened anew."""
        ...

    def close(self) -> None: ...


@final
class MemoryHome:
    """A memory store that is kept across crashes."""

    def __init__(self) -> None:
        self.store: RuntimeStore = MemoryStore()

    def crash(self) -> RuntimeStore:
        tables = cast("MemoryStore", self.store)._tables
        store = MemoryStore()
        store._tables = tables
        self.store = store
        return store

    def close(self) -> None:
        self.store.close()


@final
class LmdbHome:
    """An LMDB store in a directory."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.options = options
        self.store: RuntimeStore = LmdbStore.open(path, **options)

    def crash(self) -> RuntimeStore:
        self.store.close()
        self.store = LmdbStore.open(self.path, **self.options)
        return self.store

    def close(self) -> None:
        self.store.close()


NewHome = Callable[[], Home]


async def opened(
    store: RuntimeStore,
    runtime_id: str = RUNTIME,
    *,
    settings: RuntimeSettings = SETTINGS,
    environment: Environment | None = None,
) -> PersistentRuntimeDriver:
    return await PersistentRuntimeDriver.open(runtime_id, store, settings=settings, environment=environment or world())


# -- looking ----------------------------------------------------------------------------------------------------------


def rows_of(store: RuntimeStore) -> object:
    """Every stored row, to compare before and after."""
    if isinstance(store, LmdbStore):
        with store._environment.reading() as rows:
            return {table: list(rows.scan(table, b"")) for table in TABLES}
    tables = cast("MemoryStore", store)._tables
    return (
        dict(tables.records),
        {
            name: [
                dict(each) for each in (r.active, r.ended, r.bodies, r.orders, r.keys, r.receipts, r.results, r.events)
            ]
            for name, r in tables.rows.items()
        },
        *(dict(each) for each in (tables.snapshots, tables.pruned, tables.blobs, tables.held)),
        {digest: dict(users) for digest, users in tables.refs.items()},
    )


def memory_of(driver: PersistentRuntimeDriver) -> object:
    """Everything that a driver holds in memory, to compare before and after."""
    actor = driver._actor
    image = actor.image
    return (
        image.runtime,
        dict(image.inputs),
        {lane: list(each.items()) for lane, each in image.lanes.items()},
        {scope: sorted(ids) for scope, ids in image.scopes.items()},
        dict(image.bodies),
        (actor.wake, actor.process, actor.opened_run, actor.handed_out, actor.silent_intents),
        list(actor.events._pending),
        actor.committed,
    )


def assert_memory_equals_store(driver: PersistentRuntimeDriver, store: RuntimeStore) -> None:
    """A fresh load equals what is in memory, and the store is sound."""
    loaded = store.load_runtime(driver.runtime_id)
    assert loaded is not None
    image = driver._actor.image
    memory = stored_form(image.runtime)
    if image.bodies:
        memory = evolve(memory, next_order=loaded.record.next_order)
    assert memory == loaded.record
    durable = {key: each for key, each in image.inputs.items() if not each.admission.is_ephemeral}
    assert durable == {each.input_id: each for each in loaded.inputs}
    assert store.verify() == []


def inputs_of(store: RuntimeStore, runtime_id: str = RUNTIME) -> list[InputRecord]:
    """All stored inputs by order key."""
    return list(store.list_inputs(InputFilter(runtime_id), limit=10**6).records)


def queue_of(driver: PersistentRuntimeDriver) -> list[InputId]:
    """The queued inputs in the order in which they will be worked off."""
    return [record.input_id for record in driver._actor.image.queued()]


async def accept(driver: PersistentRuntimeDriver, *given: Any) -> list[InputId]:
    """Accept each input and demand that it was taken."""
    ids = []
    for each in given:
        outcome = await driver.accept_input(each)
        assert isinstance(outcome, Accepted), outcome
        ids.append(outcome.input_id)
    return ids


async def begun(driver: PersistentRuntimeDriver) -> Run:
    run = await driver.begin_run()
    assert run is not None
    return run


async def work_off(driver: PersistentRuntimeDriver, limit: int = 1000) -> list[Run]:
    """Complete runs until there is nothing left to do."""
    runs: list[Run] = []
    while (run := await driver.begin_run()) is not None:
        await driver.complete_run(run)
        runs.append(run)
        assert len(runs) < limit, "work is never done"
    return runs


def receipt_of(run: Run, *, sequence: int = 0, **parts: Any) -> RunBoundaryReceipt:
    """The receipt that fits a run of the queue lane."""
    made = RunBoundaryReceipt(run.run_id, RunBoundary.RUN_START, run.input_ids, sequence)
    return evolve(made, **parts)


async def outcome_of(call: Awaitable[T]) -> T | HoldstateError:
    """What the call answers or raises."""
    try:
        return await call
    except HoldstateError as error:
        return error


@contextmanager
def on_the_thread(store: RuntimeStore) -> Iterator[None]:
    """Commits of ``store`` run on the committing thread."""
    committer = committer_of(store)
    committer._thread.average_seconds = 10.0**9
    try:
        yield
    finally:
        committer._thread.average_seconds = 0.0


# -- faults at every store call ---------------------------------------------------------------------------------------


@final
class Seam:
    """A store seen through faults. When the process has died, every further call fails."""

    def __init__(self, inner: RuntimeStore) -> None:
        self.faulty = FaultyStore(inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.faulty, name)


@define
class Trial:
    """One act under one fault: what it answered, and the driver to go on with, opened anew after a crash."""

    plan: Plan | None
    home: Home
    store: RuntimeStore
    driver: PersistentRuntimeDriver
    outcome: Any
    first_pass: bool = False

    @property
    def crashed(self) -> bool:
        return self.plan is not None and self.plan.fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}

    @property
    def failed(self) -> bool:
        return isinstance(self.outcome, Exception)


_DEAD = 10**9


def _plans(writes: int, reads: int) -> Iterator[Plan]:
    for plan in write_faults(writes):
        dies = plan.fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}
        yield evolve(plan, failing_reads=_DEAD, failing_writes=_DEAD) if dies else plan
    for number in range(reads):
        yield Plan(Fault.REFUSED, read=number)


async def trials(
    new_home: NewHome,
    act: Callable[[PersistentRuntimeDriver], Awaitable[Any]],
    *,
    before: Callable[[PersistentRuntimeDriver], Awaitable[Any]] | None = None,
    settings: RuntimeSettings = SETTINGS,
) -> AsyncIterator[Trial]:
    """``act`` without a fault, then with every fault at every store call that it made.

    A trial that crashed goes on with a fresh driver over the reopened store, any other with the same driver.
    """
    plans: list[Plan | None] = [None]
    for plan in plans:
        home = new_home()
        seam = Seam(home.store)
        driver = await opened(cast("RuntimeStore", seam), settings=settings)
        if before is not None:
            await before(driver)
        seam.faulty.arm(plan or Plan())
        outcome: Any
        try:
            outcome = await act(driver)
        except (HoldstateError, SimulatedCrash) as error:
            outcome = error
        trial = Trial(plan, home, home.store, driver, outcome, first_pass=plan is None)
        if plan is None:
            plans += _plans(seam.faulty.writes, seam.faulty.reads)
        else:
            assert seam.faulty.struck == 1, f"{plan} never struck"
        seam.faulty.arm(Plan())
        if trial.crashed:
            assert trial.failed, "a process that died answered"
            trial.store = home.crash()
            trial.driver = await opened(trial.store, settings=settings, environment=world(1))
        yield trial
        home.close()


def assert_failure_is_typed(trial: Trial) -> None:
    """Without a crash a store that fails is told as StoreError, and one that landed is answered as done (C36)."""
    if trial.plan is None or (trial.plan.fault is Fault.LANDED and not trial.plan.failing_reads):
        assert not trial.failed, (trial.plan, trial.outcome)
    elif not trial.crashed:
        assert isinstance(trial.outcome, StoreError), (trial.plan, trial.outcome)
