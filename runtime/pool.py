"""The open runtimes of a service: opened on demand, once for all who ask, and closed again when nothing needs them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import final

from attrs import define

from ..spec.errors import HoldstateError
from ..spec.vocabulary import RuntimeState
from .delta import Delta
from .driver import PersistentRuntimeDriver
from .environment import Environment
from .errors import DriverClosed, Fenced, ServiceClosed, StoreError
from .executor import Executor
from .handles import Waiters
from .observation import Observation
from .service_settings import ServiceSettings
from .status import Tally
from .store import RuntimeStore
from .worker import RuntimeWorker


@define(eq=False)
class OpenRuntime:
    """One runtime of the service: its driver, who waits, its worker, and how many calls hold it open now."""

    driver: PersistentRuntimeDriver
    waiters: Waiters
    worker: RuntimeWorker | None
    tally: Tally
    pins: int = 0

    @property
    def is_needed(self) -> bool:
        """Whether somebody waits, something runs, or a backoff is being waited for."""
        return self.pins > 0 or bool(self.waiters) or (self.worker is not None and self.worker.is_busy)


@final
class RuntimePool:
    """Drivers by runtime id. Two tasks that use the same runtime get the same driver (C29)."""

    def __init__(
        self,
        store: RuntimeStore,
        executor: Executor | None,
        settings: ServiceSettings,
        environment: Environment,
        observed: Observation,
    ) -> None:
        self._store = store
        self._executor = observed.traced(executor)
        self._observed = observed
        self._settings = settings
        self._environment = environment
        self._open: OrderedDict[str, OpenRuntime] = OrderedDict()
        self._opening: dict[str, asyncio.Task[OpenRuntime]] = {}
        self._turns = asyncio.Semaphore(settings.max_runs)
        self.is_closing = False

    def __contains__(self, runtime_id: str) -> bool:
        return runtime_id in self._open

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OpenRuntime]:
        return iter(tuple(self._open.values()))

    def get(self, runtime_id: str) -> OpenRuntime | None:
        """The runtime if it is open now; it is not held open by that."""
        return self._open.get(runtime_id)

    def check_open(self) -> None:
        """Raise ``ServiceClosed`` once ``close`` has begun."""
        if self.is_closing:
            raise ServiceClosed

    @asynccontextmanager
    async def use(self, runtime_id: str) -> AsyncIterator[OpenRuntime]:
        """The runtime of that id, open for the block. A driver that turns out to be fenced is let go."""
        self.check_open()
        entry = self._open.get(runtime_id)
        if entry is None:
            entry = await self._opened(runtime_id)
        entry.pins += 1
        if runtime_id in self._open:
            self._open.move_to_end(runtime_id)
        try:
            yield entry
        except (Fenced, DriverClosed) as error:
            self._let_go(runtime_id, entry, error)
            raise
        except StoreError as error:
            self._observed.note(runtime_id, "the store failed", error)
            raise
        finally:
            entry.pins -= 1
            kick(entry)
            self._evict()

    async def _opened(self, runtime_id: str) -> OpenRuntime:
        task = self._opening.get(runtime_id)
        if task is None:
            task = self._opening[runtime_id] = asyncio.create_task(self._do_open(runtime_id))
            task.add_done_callback(lambda done: self._opening_ended(runtime_id, done))
        return await asyncio.shield(task)  # a caller who leaves does not stop it for the others

    def _opening_ended(self, runtime_id: str, task: asyncio.Task[OpenRuntime]) -> None:
        del self._opening[runtime_id]
        if not task.cancelled():
            task.exception()

    async def _do_open(self, runtime_id: str) -> OpenRuntime:
        driver = await PersistentRuntimeDriver.open(
            runtime_id, self._store, settings=self._settings.runtime, environment=self._environment
        )
        entry = OpenRuntime(driver, Waiters(), None, self._observed.opened(driver))
        driver.listen(lambda deltas: self._committed(entry, deltas))
        if self._executor is not None:
            entry.worker = self._worker(driver, self._executor)
            await self.attach(driver)
        self._open[runtime_id] = entry
        return entry

    def _committed(self, entry: OpenRuntime, deltas: list[Delta]) -> None:
        """Count, announce, and tell those who wait; in this order, so that who waits finds it all done."""
        self._observed.committed(entry.driver, entry.tally, deltas)
        changes = (after for delta in deltas for _, after in delta.changes)
        entry.waiters.ended(after for after in changes if after is not None and after.is_terminal)

    def _worker(self, driver: PersistentRuntimeDriver, executor: Executor) -> RuntimeWorker:
        return RuntimeWorker(
            driver,
            executor,
            self._turns,
            run_timeout_seconds=self._settings.run_timeout,
            hang_seconds=self._settings.hang_seconds,
            now=self._environment.now,
            on_problem=lambda what, error: self.note(driver.runtime_id, what, error),
        )

    async def attach(self, driver: PersistentRuntimeDriver) -> None:
        """There is an executor for an idle runtime. Opening, reset, recover and recycle lose that."""
        if self._executor is not None and driver.runtime_state is RuntimeState.IDLE:
            await driver.attach()

    def note(self, runtime_id: str, what: str, error: BaseException) -> None:
        """Log a problem and keep it for the status; a driver that is finished is let go."""
        self._observed.note(runtime_id, what, error)
        entry = self._open.get(runtime_id)
        if entry is not None and isinstance(error, Fenced | DriverClosed):
            self._let_go(runtime_id, entry, error)

    def _let_go(self, runtime_id: str, entry: OpenRuntime, cause: HoldstateError) -> None:
        if self._open.get(runtime_id) is entry:
            del self._open[runtime_id]
            self._observed.closed(runtime_id)
        entry.waiters.fail(cause)
        if entry.worker is not None:
            entry.worker.interrupt("the runtime was taken over")

    def _evict(self) -> None:
        """Close the least recently used runtimes that nothing needs, beyond ``max_open`` of all."""
        excess = len(self._open) - self._settings.max_open
        if excess > 0:
            idle = [runtime_id for runtime_id, entry in self._open.items() if not entry.is_needed]
            for runtime_id in idle[:excess]:
                self._open.pop(runtime_id).driver.release()
                self._observed.closed(runtime_id)

    # -- the end ---------------------------------------------------------------------------------------------------

    async def close(self, patience: float) -> None:
        """Let the runs under way finish, then call them off. A second call calls them off at once."""
        if self.is_closing:
            self._interrupt_all()
            return
        self.is_closing = True
        if self._opening:
            await asyncio.wait(self._opening.values())
        pauses = [asyncio.create_task(entry.worker.pause()) for entry in self if entry.worker is not None]
        if pauses:
            _, running = await asyncio.wait(pauses, timeout=patience)
            if running:
                self._interrupt_all()
                await asyncio.wait(running)
        for entry in self:
            entry.waiters.fail(ServiceClosed())
            await entry.driver.close()
        self._open.clear()

    def _interrupt_all(self) -> None:
        for entry in self:
            if entry.worker is not None:
                entry.worker.interrupt("the service is closing")


def kick(entry: OpenRuntime) -> None:
    """Start the worker of a runtime that asked for it."""
    wake, process = entry.driver.take_wake_requested(), entry.driver.take_process_requested()
    if entry.worker is not None and (wake or process):
        entry.worker.kick()
