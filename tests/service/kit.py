"""What the tests of the service's loop share: a world whose clock is the loop's, executors, and checks at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar, final
from uuid import UUID

from attrs import define, evolve, field

from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.executor import ActiveRun, Executor
from holdstate.runtime.handles import InputHandle
from holdstate.runtime.inputs import (
    ExternalEventInput,
    FlowStepInput,
    Input,
    PeerInput,
    PeerResponseProgress,
    PromptInput,
    ResponsePhase,
    TurnMetadata,
)
from holdstate.runtime.open_runtime import OpenRuntime
from holdstate.runtime.outcomes import RunOutput
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.service_settings import ServiceSettings
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.runtime.store import RuntimeStore
from holdstate.runtime.worker import RuntimeWorker
from holdstate.spec.vocabulary import HandlingMode
from holdstate.stores.memory_store import MemoryStore

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)
RUNTIME = "runtime"
MAX_ATTEMPTS = 3
NO_BACKOFF = Backoff(initial_seconds=0.0)
RULES = RuntimeSettings(debug=True, retry=RetryPolicy(MAX_ATTEMPTS, NO_BACKOFF))
SETTINGS = ServiceSettings(runtime=RULES, hang_seconds=2.0, drain_seconds=10.0)


def waiting_rules(seconds: float) -> RuntimeSettings:
    """Failed inputs wait for so many seconds, always."""
    backoff = Backoff(initial_seconds=seconds, factor=1.0, max_seconds=seconds, jitter=0.0)
    return evolve(RULES, retry=RetryPolicy(MAX_ATTEMPTS, backoff))


def environment(seed: int = 0) -> Environment:
    """The clock is the loop's, so that a timer and what it waits for agree; ids and chance are from a seed."""
    random = Random(f"service {seed}")
    return Environment(
        now=lambda: START + timedelta(seconds=asyncio.get_running_loop().time()),
        new_id=lambda: UUID(int=random.getrandbits(128), version=4),
        chance=random.random,
    )


# -- inputs ----------------------------------------------------------------------------------------------------------


def prompt(text: str, **header: Any) -> PromptInput:
    return PromptInput.new(text, **header)


def steer(text: str, **header: Any) -> PromptInput:
    """A prompt for the steer lane."""
    return PromptInput.new(text, (), TurnMetadata(handling_mode=HandlingMode.STEER), **header)


def event(text: str, **header: Any) -> ExternalEventInput:
    """An external event; many of them share a batch."""
    return ExternalEventInput.new(text, {}, **header)


def progress(text: str, **header: Any) -> PeerInput:
    """News of a request; it wakes nobody, and with a supersession key it takes earlier news in."""
    return PeerInput.new(text, (), PeerResponseProgress("request", ResponsePhase.IN_PROGRESS), **header)


def flow_step(text: str, **header: Any) -> FlowStepInput:
    """A step of a flow."""
    return FlowStepInput.new("step", text, **header)


def said(given: Input) -> str:
    """The word that an input of these tests carries."""
    for name in ("text", "event_type", "body", "instructions", "reason"):
        if hasattr(given, name):
            return str(getattr(given, name))
    return "?"


# -- executors -------------------------------------------------------------------------------------------------------


@final
@define
class Scripted:
    """Does what the word of a run's first input says, or else answers with the words of all inputs.

    ``entered`` has the words of every run that was entered, in order; ``most`` is how many were under way at once.
    """

    does: dict[str, Callable[[ActiveRun], Awaitable[Any]]] = field(factory=dict)
    entered: list[tuple[str, ...]] = field(factory=list)
    runs: list[ActiveRun] = field(factory=list)
    under_way: Counter[str] = field(factory=Counter)
    most: int = 0

    async def apply(self, run: ActiveRun) -> RunOutput | bytes | None:
        self.entered.append(tuple(said(given) for given in run.inputs))
        self.runs.append(run)
        self.under_way[run.runtime_id] += 1
        self.most = max(self.most, self.under_way.total())
        try:
            does = self.does.get(said(run.inputs[0]))
            if does is not None:
                return await does(run)  # type: ignore[no-any-return]  # some scripts answer nonsense
            return " ".join(said(given) for given in run.inputs).encode()
        finally:
            self.under_way[run.runtime_id] -= 1


@final
class Gate:
    """A script that waits until it is let go. ``began``: somebody is there; ``cancelled``: and was called off."""

    def __init__(self, answer: bytes | None = b"gated") -> None:
        self.began = asyncio.Event()
        self.opened = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.answer = answer

    async def __call__(self, run: ActiveRun) -> bytes | None:
        self.began.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self.answer

    @property
    def was_cancelled(self) -> bool:
        return self.cancelled.is_set()


async def takes(seconds: float) -> None:
    """Work that takes a while on the clock of the loop."""
    await asyncio.sleep(seconds)


# -- services --------------------------------------------------------------------------------------------------------


def service_over(
    store: RuntimeStore,
    executor: Executor | None,
    settings: ServiceSettings = SETTINGS,
    *,
    seed: int = 0,
) -> RuntimeService:
    return RuntimeService(store, executor, settings=settings, environment=environment(seed))


@asynccontextmanager
async def serving(
    executor: Executor | None, settings: ServiceSettings = SETTINGS, store: RuntimeStore | None = None, *, seed: int = 0
) -> AsyncIterator[RuntimeService]:
    """A service whose store is whole afterwards, and in which nobody is left waiting."""
    store = MemoryStore() if store is None else store
    service = service_over(store, executor, settings, seed=seed)
    async with service:
        yield service
        opened = list(service._pool)
    assert not any(len(entry.waiters) for entry in opened), "a waiter was left behind"
    assert store.verify() == []


async def brought_up(service: RuntimeService, runtime_id: str = RUNTIME) -> OpenRuntime:
    """The runtime, opened, with nothing done to it."""
    async with service._pool.use(runtime_id) as entry:
        return entry


def opened(service: RuntimeService, runtime_id: str = RUNTIME) -> OpenRuntime:
    entry = service._pool.get(runtime_id)
    assert entry is not None
    return entry


def worker_of(service: RuntimeService, runtime_id: str = RUNTIME) -> RuntimeWorker:
    worker = opened(service, runtime_id).worker
    assert worker is not None
    return worker


async def submitted(service: RuntimeService, *given: Input, runtime_id: str = RUNTIME) -> list[InputHandle]:
    """Handles on inputs that arrive in one turn of the loop, in order."""
    return await asyncio.gather(*(service.submit(runtime_id, each) for each in given))


async def at_rest(worker: RuntimeWorker) -> None:
    """Wait until the worker has nothing more to do, and no backoff to wait for."""
    while worker.task is not None:
        await asyncio.wait({worker.task})
    assert not worker.is_busy


class StopsHere(BaseException):
    """The process dies: the loop is left as it is, and only the store goes on."""
