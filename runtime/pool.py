"""The open runtimes of a service: opened on demand, once for all who ask, and closed again when nothing needs them.

A runtime is needed while a call is on it or somebody waits, while its worker is busy or waits for a backoff, and while
it holds ephemeral inputs, which nobody else has. The others are idle; beyond ``max_open`` runtimes the ones that have
been idle for longest are closed, in constant time each.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, TypeVar, final

from ..spec.errors import HoldstateError, TransitionRefused
from ..spec.vocabulary import RuntimeState
from .delta import Delta
from .driver import PersistentRuntimeDriver
from .environment import Environment
from .errors import DriverClosed, ServiceClosed, StoreCorruption, StoreError, StoreTooNew, WrongLoop
from .executor import Executor, ExecutorHangs
from .handles import Waiters
from .ids import InputId
from .observation import Observation
from .open_runtime import EndListener, OpenRuntime
from .records import InputRecord, RuntimeRecord
from .service_settings import ServiceSettings
from .store import RuntimeStore
from .worker import FINISHED, STORE_RETRY_SECONDS, RuntimeWorker

T = TypeVar("T")

PAGE = 1000
"""How many runtimes are listed at once when the backlog is looked for."""


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
        self._open: dict[str, OpenRuntime] = {}
        self._idle: OrderedDict[str, OpenRuntime] = OrderedDict()
        self._pins: dict[str, int] = {}
        self._opening: dict[str, asyncio.Task[OpenRuntime]] = {}
        self._turns = asyncio.Semaphore(settings.max_runs)
        self._room = asyncio.Event()
        self._resuming: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = copy_context()
        self._listeners: list[EndListener] = []
        self.failure: Exception | None = None
        """What ended the service, with ``stop_on_failure``."""
        self.has_failed = asyncio.Event()

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
        if self._closing is not None:
            raise ServiceClosed from self.failure

    def listen(self, listener: EndListener) -> None:
        """Call ``listener`` for every input that ends, after its commit."""
        self._listeners.append(listener)

    # -- one runtime -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def use(self, runtime_id: str) -> AsyncIterator[OpenRuntime]:
        """The runtime of that id, open for the block. A driver that turns out to be finished is let go."""
        self.check_open()
        self._pin(runtime_id)  # before it is open, so that nobody closes it between the two
        entry = None
        try:
            entry = self._open.get(runtime_id) or await self._opened(runtime_id)
            yield entry
        except asyncio.CancelledError:
            if entry is not None:  # its call may be on its way to the store: stay open until that has landed
                self._pin(runtime_id)
                entry.driver.when_settled(lambda: self._unpin(runtime_id))
            raise
        except HoldstateError as error:
            told = self._heard(runtime_id, entry, error)
            if told is not error:
                raise told from error
            raise
        finally:
            self._unpin(runtime_id)

    def hold(self, entry: OpenRuntime, call: asyncio.Future[object], settle: Callable[[object], None]) -> None:
        """Keep the runtime open until ``call`` on its driver is answered; ``settle`` gets the answer, or the error that
        a caller would be told.
        """
        runtime_id = entry.driver.runtime_id
        self._pin(runtime_id)

        def answered(done: asyncio.Future[object]) -> None:
            error = done.exception()
            told = self._heard(runtime_id, entry, error) if isinstance(error, HoldstateError) else error
            settle(done.result() if told is None else told)
            self._unpin(runtime_id)

        call.add_done_callback(answered)

    def _heard(self, runtime_id: str, entry: OpenRuntime | None, error: HoldstateError) -> HoldstateError:
        """Draw the conclusions; returns what the caller is told."""
        if isinstance(error, StoreError):
            self.note(runtime_id, "the store failed", error)
        if entry is not None and isinstance(error, FINISHED):
            self._let_go(entry, error)
        if self._closing is not None and isinstance(error, DriverClosed):
            return ServiceClosed()
        if isinstance(error, (StoreError, *FINISHED)):
            self._failed(error)
        return error

    def _failed(self, error: Exception) -> None:
        """With ``stop_on_failure`` the first failure ends the service: runs are called off, free of charge."""
        if not self._settings.stop_on_failure or self.failure is not None:
            return
        self.failure = error
        self.has_failed.set()
        if self._closing is None:
            self._closing = self._spawn(self._close(0.0))
        else:
            self._abort()

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task in the context in which the service was made, and not in that of whoever happens to need it first."""
        self._loop = asyncio.get_running_loop()
        return self._loop.create_task(work, context=self._context.copy())

    def note(self, runtime_id: str, what: str, error: BaseException) -> None:
        """Log a problem and keep it for the status."""
        self._observed.note(runtime_id, what, error)

    async def _read(
        self,
        runtime_id: str,
        ask_driver: Callable[[PersistentRuntimeDriver], Awaitable[T]],
        ask_store: Callable[[RuntimeStore], T],
    ) -> T:
        """From the open runtime, which knows ephemeral inputs too, else from the store, without opening it."""
        if runtime_id not in self._open:
            return ask_store(self._store)
        async with self.use(runtime_id) as entry:
            return await ask_driver(entry.driver)

    async def input_record(self, runtime_id: str, input_id: InputId) -> InputRecord | None:
        """The record of an input; nothing is opened for it."""
        return await self._read(
            runtime_id,
            lambda driver: driver.input_record(input_id),
            lambda store: store.load_input(runtime_id, input_id),
        )

    async def find(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input under an idempotency key; nothing is opened for it."""
        return await self._read(
            runtime_id,
            lambda driver: driver.find_by_key(key),
            lambda store: store.find_by_key(runtime_id, key),
        )

    async def _opened(self, runtime_id: str) -> OpenRuntime:
        task = self._opening.get(runtime_id)
        if task is None or task.done():  # what it opened is closed again: nobody was there when it ended
            task = self._opening[runtime_id] = self._spawn(self._do_open(runtime_id))
            task.add_done_callback(lambda done: self._opening_ended(runtime_id, done))
        return await asyncio.shield(task)  # a caller who leaves does not stop it for the others

    def _opening_ended(self, runtime_id: str, task: asyncio.Task[OpenRuntime]) -> None:
        if self._opening.get(runtime_id) is task:
            del self._opening[runtime_id]
        task.cancelled() or task.exception()  # those who still wait are told; if all have left, nobody need be

    async def _do_open(self, runtime_id: str) -> OpenRuntime:
        driver = await PersistentRuntimeDriver.open(
            runtime_id, self._store, settings=self._settings.runtime, environment=self._environment
        )
        for row in driver.recovery_report.set_aside:
            self.note(runtime_id, "an input was set aside", StoreCorruption(row, "it cannot be read"))
        entry = OpenRuntime(driver, Waiters(), None, self._observed.opened(driver))
        driver.listen(lambda deltas: self._committed(entry, deltas))
        if self._executor is not None:
            entry.worker = self._worker(entry, self._executor)
            await self.attach(driver)
        self._open[runtime_id] = entry
        entry.kick()
        self._settle(runtime_id)
        return entry

    def _committed(self, entry: OpenRuntime, deltas: list[Delta]) -> None:
        """Count, announce, tell those who wait, and wake; in this order, so that who waits finds it all done."""
        self._observed.committed(entry.driver, entry.tally, deltas)
        changes = (after for delta in deltas for _, after in delta.changes)
        ended = [after for after in changes if after is not None and after.is_terminal]
        entry.waiters.ended(ended)
        if ended:
            entry.queue.has_room()
        for record in ended:
            self._tell(entry.driver.runtime_id, record)
        if entry.worker is not None:
            entry.worker.committed()
        entry.kick()

    def _tell(self, runtime_id: str, record: InputRecord) -> None:
        for listener in self._listeners:
            try:
                listener(runtime_id, record)
            except BaseException as error:  # noqa: BLE001 - user code; callers wait for their answers
                self.note(runtime_id, "a listener failed", error)

    def _worker(self, entry: OpenRuntime, executor: Executor) -> RuntimeWorker:
        runtime_id = entry.driver.runtime_id

        def heard(what: str, error: Exception) -> None:
            self.note(runtime_id, what, error)
            if isinstance(error, FINISHED):
                self._let_go(entry, error)
            if not isinstance(error, ExecutorHangs):
                self._failed(error)

        def may_run() -> bool:
            wanted = self._settings.may_run
            return wanted is None or entry.queue.is_waited_for or wanted(runtime_id)

        return RuntimeWorker(
            entry.driver,
            executor,
            self._turns,
            settings=self._settings,
            context=self._context,
            now=self._environment.now,
            may_run=may_run,
            on_problem=heard,
            on_idle=lambda: self._settle(runtime_id),
        )

    async def attach(self, driver: PersistentRuntimeDriver) -> None:
        """There is an executor for an idle runtime. Opening, reset, recover and recycle lose that."""
        if self._executor is None or driver.runtime_state is not RuntimeState.IDLE:
            return
        try:
            await driver.attach()
        except TransitionRefused:
            return  # something else was decided about it meanwhile

    def _let_go(self, entry: OpenRuntime, cause: HoldstateError) -> None:
        runtime_id = entry.driver.runtime_id
        if self._open.get(runtime_id) is entry:
            del self._open[runtime_id]
            self._idle.pop(runtime_id, None)
            self._observed.closed(runtime_id)
        entry.waiters.fail(cause)
        entry.queue.has_room()  # who waits for it goes on, and hears the cause
        if entry.worker is not None:
            entry.worker.abort("the runtime was taken over")

    # -- what is kept open -----------------------------------------------------------------------------------------

    def _pin(self, runtime_id: str) -> None:
        self._pins[runtime_id] = self._pins.get(runtime_id, 0) + 1
        self._idle.pop(runtime_id, None)

    def _unpin(self, runtime_id: str) -> None:
        self._pins[runtime_id] -= 1
        if not self._pins[runtime_id]:
            del self._pins[runtime_id]
        self._settle(runtime_id)

    def _settle(self, runtime_id: str) -> None:
        """A runtime may be idle now. Close those that have been for longest, beyond ``max_open`` of all."""
        entry = self._open.get(runtime_id)
        if entry is not None and runtime_id not in self._pins and not entry.is_busy:
            self._idle[runtime_id] = entry
            self._idle.move_to_end(runtime_id)
        while len(self._open) > self._settings.max_open and self._idle:
            oldest, entry = self._idle.popitem(last=False)
            if not entry.is_busy:  # a late commit may have woken it; then it comes back when its worker is idle
                del self._open[oldest]
                entry.driver.release()
                self._observed.closed(oldest)
        if len(self._open) - len(self._idle) < self._settings.max_open:
            self._room.set()

    # -- the backlog -----------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Open every runtime in which work is left, by and by, as there is room among ``max_open``."""
        if self._executor is not None and self._resuming is None and self._closing is None:
            self._resuming = self._spawn(self._resume())

    async def _resume(self) -> None:
        last: str | None = None
        failures = 0
        while True:
            try:
                page = self._store.list_runtimes(after=last, limit=PAGE)
                for record in page:
                    await self._resume_one(record)
                    last = record.runtime_id
                failures = 0
            except StoreError as error:
                self.note(last or "", "the backlog cannot be read", error)
                self._failed(error)
                await asyncio.sleep(STORE_RETRY_SECONDS[min(failures, len(STORE_RETRY_SECONDS) - 1)])
                failures += 1
                continue
            if len(page) < PAGE:
                return
            await asyncio.sleep(0)

    async def _resume_one(self, record: RuntimeRecord) -> None:
        if record.counts.active == 0 or record.runtime_id in self._open:
            return
        while len(self._open) - len(self._idle) >= self._settings.max_open:
            self._room.clear()
            await self._room.wait()
        try:
            async with self.use(record.runtime_id):
                return
        except (StoreCorruption, StoreTooNew):
            return  # noted already; nothing that is tried again would help, and the others go on

    # -- the end ---------------------------------------------------------------------------------------------------

    async def close(self, patience: float) -> None:
        """Let the runs under way finish for ``patience`` seconds, then call them off. A second call calls them off at
        once. Every call returns when all is closed; cancelling it does not stop the closing.
        """
        if self._loop is not None and self._loop is not asyncio.get_running_loop() and not self._loop.is_closed():
            raise WrongLoop
        if self._closing is None:
            self._closing = self._spawn(self._close(patience))
        else:
            self._abort()
        await asyncio.shield(self._closing)

    async def _close(self, patience: float) -> None:
        beginning: list[asyncio.Task[Any]] = [*self._opening.values()]
        if self._resuming is not None:
            self._resuming.cancel()
            beginning.append(self._resuming)
        if beginning:
            await asyncio.wait(beginning)
        for entry in self:
            entry.queue.has_room()  # there is none, but who waits for it hears that the service is closing
        for worker in self._workers():
            worker.pause()
        busy = [worker.task for worker in self._workers() if worker.task is not None]
        if busy:
            _, running = await asyncio.wait(busy, timeout=patience)
            if running:
                self._abort()
                await asyncio.wait(running)
        for entry in self:
            entry.waiters.fail(ServiceClosed())
        await asyncio.gather(*(entry.driver.close() for entry in self), return_exceptions=True)
        for runtime_id, entry in self._open.items():
            entry.driver.release()  # also where the store did not answer
            self._observed.closed(runtime_id)
        self._open.clear()
        self._idle.clear()
        self._observed.hub.close()
        await self._observed.gauge.settle()

    def _abort(self) -> None:
        for worker in self._workers():
            worker.abort("the service is closing")

    def _workers(self) -> list[RuntimeWorker]:
        return [entry.worker for entry in self if entry.worker is not None]
