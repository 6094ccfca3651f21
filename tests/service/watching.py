"""What the tests of load, events, status and telemetry share: a clock set by hand, and an executor that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Self

from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.executor import ActiveRun, Executor
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.service_settings import ServiceSettings
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.runtime.store import RuntimeStore
from holdstate.stores.memory_store import MemoryStore

START = datetime(2025, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Gated:
    """Says when a run began, and works it off when it is let go: ``fail`` fails it, other texts are its result."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[ActiveRun] = asyncio.Queue()
        self.gate = asyncio.Event()

    async def apply(self, run: ActiveRun) -> bytes:
        self.began.put_nowait(run)
        await self.gate.wait()
        text = getattr(run.inputs[0], "text", "")
        if text == "fail":
            raise ValueError("secret")
        return str(text).encode()


class Watched:
    """A service over a memory store with a clock of its own. Without an executor nothing is worked off."""

    def __init__(
        self,
        executor: Executor | None = None,
        *,
        store: RuntimeStore | None = None,
        runtime: RuntimeSettings | None = None,
        change: Callable[[ServiceSettings], ServiceSettings] = lambda settings: settings,
    ) -> None:
        self.clock = Clock()
        self.store = MemoryStore() if store is None else store
        retry = RetryPolicy(2, Backoff(initial_seconds=300.0, jitter=0.0))
        self.settings = change(ServiceSettings(runtime=runtime or RuntimeSettings(retry=retry)))
        self.service = RuntimeService(
            self.store, executor, settings=self.settings, environment=Environment(now=self.clock)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.service.close(0.0)
