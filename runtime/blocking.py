"""The service without ``await``: the same names, for scripts, threads, notebooks and web workers.

A thread of its own runs the loop; any other thread may call, also one with a running loop. A call waits for its answer
and raises what the service raised. A caller who is interrupted (Ctrl-C) or out of time leaves the service as it is: the
call is taken back if it had not begun, else it happens.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, suppress
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Self, TypeVar, cast, final

from ..spec.errors import HoldstateError
from ..spec.vocabulary import EventCode, InputState, RuntimeState
from .blocking_executor import BlockingExecutor, BlockingRun, OnThreads
from .checks import check_seconds
from .environment import Environment
from .errors import CallTimedOut, ServiceClosed
from .events import EventEnvelope
from .executor import Executor
from .handles import InputHandle, InputOutcome
from .ids import InputId, RunId
from .inputs import Input
from .loop_thread import LoopThread
from .open_runtime import EndListener
from .outcomes import AcceptOutcome, CancelOutcome, EndReport, RecoveryReport, RetireReport
from .records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from .service import RuntimeService
from .service_settings import ServiceSettings
from .status import ServiceStatus
from .store import RuntimeStore
from .subscriptions import EventGap, Subscription

__all__ = ["BlockingExecutor", "BlockingInputHandle", "BlockingRun", "BlockingRuntimeService", "BlockingSubscription"]

T = TypeVar("T")

EXIT_SECONDS = 10.0
"""How long the end of the program waits for a service that nobody closed."""


@final
class BlockingInputHandle:
    """One submitted input: ``accepted`` is what admission answers, ``outcome()`` how it ends."""

    def __init__(self, handle: InputHandle, loop: LoopThread, call_seconds: float | None) -> None:
        self._handle = handle
        self._loop = loop
        self._call_seconds = call_seconds

    @property
    def input_id(self) -> InputId:
        """Its id; once it is found to be a retry of one that came before under another id, the id of that one."""
        return self._handle.input_id

    @property
    def accepted(self) -> AcceptOutcome:
        """Waits for what admission answers: ``Accepted`` when the input is durable, ``Deduplicated``, or ``Rejected``.
        Raises what kept it from being admitted, and ``CallTimedOut`` after ``call_seconds``, which takes nothing back.
        """

        async def accepted() -> AcceptOutcome:
            return await self._handle.accepted

        return self._loop.call(accepted, self._call_seconds)

    def outcome(self, timeout: float | None = None) -> InputOutcome:
        """How the input ended. Running out of ``timeout`` seconds raises ``WaitTimedOut`` and cancels nothing."""
        return self._loop.call(lambda: self._handle.outcome(timeout))


@final
class BlockingSubscription:
    """The events from now on: an iterator that ends when it or the service is closed. Use it as a context manager."""

    def __init__(self, subscription: Subscription, loop: LoopThread) -> None:
        self._subscription = subscription
        self._loop = loop

    def next(self, timeout: float | None = None) -> EventEnvelope | EventGap | None:
        """The next event, None where there is no more; ``CallTimedOut`` after ``timeout`` seconds."""

        async def take() -> EventEnvelope | EventGap | None:
            try:
                async with asyncio.timeout(timeout):
                    return await anext(self._subscription, None)
            except TimeoutError:
                raise CallTimedOut(timeout or 0.0) from None

        return self._loop.call(take)

    def close(self) -> None:
        """Take no further event. What is in the buffer can still be read."""

        async def close() -> None:
            self._subscription.close()

        with suppress(ServiceClosed):
            self._loop.call(close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> EventEnvelope | EventGap:
        try:
            event = self.next()
        except ServiceClosed:
            event = None
        if event is None:
            raise StopIteration
        return event


@final
class BlockingRuntimeService:
    """A ``RuntimeService`` on a thread of its own, safe to call from many threads at once.

    An executor whose ``apply`` is ``async def`` runs on that thread; any other is a ``BlockingExecutor``, whose runs
    get a thread each. ``call_seconds`` bounds each call but those that wait for an input or an event. Close it, or use
    it as a context manager: at the end of the program an open one calls its runs off, free of charge.

    Every method raises ``ServiceForked`` in a child that inherited it by fork, and ``WouldDeadlock`` on the thread of
    the service itself, where ``service`` is there to be awaited.
    """

    def __init__(
        self,
        store: RuntimeStore,
        executor: Executor | BlockingExecutor | None = None,
        *,
        settings: ServiceSettings | None = None,
        environment: Environment | None = None,
        call_seconds: float | None = None,
    ) -> None:
        if call_seconds is not None:
            check_seconds(call_seconds, "call_seconds")
        self._call_seconds = call_seconds
        self._closing: asyncio.Task[None] | None = None
        self._loop = LoopThread("holdstate-service")
        asynchronous = _asynchronous(executor, self._loop)

        async def start() -> RuntimeService:
            service = RuntimeService(store, asynchronous, settings=settings, environment=environment)
            return await AsyncExitStack().enter_async_context(service)  # `close` is what leaves it

        try:
            self.service = self._loop.call(start)
        except BaseException:
            self._loop.stop()
            raise
        atexit.register(self._close_at_exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, drain_seconds: float | None = None) -> None:
        """Take no further call, let the runs under way finish for ``drain_seconds``, then call them off, free of
        charge.

        Calling it again meanwhile, from a second signal or another thread, calls them off at once. Interrupted, it goes
        on in the background. In a child of a fork it does nothing: the service is its parent's to close.
        """
        if os.getpid() != self._loop.owner_pid:
            return
        with suppress(ServiceClosed):  # somebody else closed it meanwhile
            self._loop.call(lambda: self._close(drain_seconds))
        self._loop.stop()
        atexit.unregister(self._close_at_exit)

    async def _close(self, drain_seconds: float | None) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self.service.close(drain_seconds))
        else:
            await self.service.close()
        await asyncio.shield(self._closing)

    def _close_at_exit(self) -> None:
        if os.getpid() == self._loop.owner_pid:
            with suppress(HoldstateError):  # what is left undone is recovered at the next start, as after a crash
                self._loop.call(lambda: self._close(0.0), EXIT_SECONDS)

    def _call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self._loop.call(make, self._call_seconds)

    # -- inputs ----------------------------------------------------------------------------------------------------

    def ingest(self, runtime_id: str, given: Input) -> AcceptOutcome:
        """Admit an input; durable when this returns ``Accepted``. The runtime is worked off by itself."""
        return self._call(lambda: self.service.ingest(runtime_id, given))

    def submit(self, runtime_id: str, given: Input, *, wait_for_room: bool = False) -> BlockingInputHandle:
        """Queue an input for its commit and return a handle on it. With ``wait_for_room`` it waits where the answer
        would be ``Rejected`` (overloaded).
        """
        handle = self._call(lambda: self.service.submit(runtime_id, given, wait_for_room=wait_for_room))
        return BlockingInputHandle(handle, self._loop, self._call_seconds)

    def wake(self, runtime_id: str) -> None:
        """Work off what is queued in this runtime, also what wakes nobody by itself or what ``may_run`` held back."""
        self._call(lambda: self.service.wake(runtime_id))

    def wait(self, runtime_id: str, input_id: InputId) -> InputOutcome:
        """How an input ended, as its stored record says; waits until it has."""
        return self._loop.call(lambda: self.service.wait(runtime_id, input_id))

    def cancel(self, runtime_id: str, input_id: InputId) -> CancelOutcome:
        """Give a waiting input up."""
        return self._call(lambda: self.service.cancel(runtime_id, input_id))

    # -- lifecycle -------------------------------------------------------------------------------------------------

    def retire(self, runtime_id: str) -> RetireReport:
        """Take no new input for this runtime; what is queued is worked off."""
        return self._call(lambda: self.service.retire(runtime_id))

    def reset(self, runtime_id: str) -> EndReport:
        """Give everything up and start over; refused while a run is current."""
        return self._call(lambda: self.service.reset(runtime_id))

    def recycle(self, runtime_id: str) -> RecoveryReport:
        """Back into service with all work kept."""
        return self._call(lambda: self.service.recycle(runtime_id))

    def recover(self, runtime_id: str) -> RecoveryReport:
        """Load the store again and settle what is unsettled."""
        return self._call(lambda: self.service.recover(runtime_id))

    def stop(self, runtime_id: str) -> EndReport:
        """End the runtime, ahead of its ordinary work."""
        return self._call(lambda: self.service.stop(runtime_id))

    def destroy(self, runtime_id: str) -> EndReport:
        """End the runtime for good, ahead of its ordinary work."""
        return self._call(lambda: self.service.destroy(runtime_id))

    def interrupt(self, runtime_id: str) -> bool:
        """Call the current run off, free of charge; False when there is none."""
        return self._call(lambda: self.service.interrupt(runtime_id))

    # -- events and health -----------------------------------------------------------------------------------------

    def subscribe(
        self, runtime_id: str | None = None, *, codes: Iterable[EventCode] | None = None, buffer: int = 1000
    ) -> BlockingSubscription:
        """Every event from now on, of one runtime or of all, after its commit; ``codes`` picks some."""

        async def subscribe() -> Subscription:
            return self.service.subscribe(runtime_id, codes=codes, buffer=buffer)

        return BlockingSubscription(self._call(subscribe), self._loop)

    def listen(self, listener: EndListener) -> None:
        """Call ``listener(runtime_id, record)`` for every input that ends from now on, on the thread of the service: it
        must return at once, and hand over to a queue what takes longer.
        """

        async def listen() -> None:
            self.service.listen(listener)

        self._call(listen)

    def failure(self) -> Exception:
        """Waits for what ends the service (``ServiceSettings.stop_on_failure``), and returns it."""
        return self._loop.call(self.service.failure)

    def publish_event(self, runtime_id: str, envelope: EventEnvelope) -> None:
        """Hand an event from outside to the runtime and to its subscribers. It is stored nowhere."""
        self._call(lambda: self.service.publish_event(runtime_id, envelope))

    def events(self, runtime_id: str, after: int | None = None, limit: int = 1000) -> tuple[EventEnvelope, ...]:
        """The log of a runtime: at most ``limit`` events after the offset ``after`` (None: from the first)."""
        return self._call(lambda: self.service.events(runtime_id, after, limit))

    def status(self) -> ServiceStatus:
        """How the service is doing."""

        async def status() -> ServiceStatus:
            return self.service.status()

        return self._call(status)

    # -- reads -----------------------------------------------------------------------------------------------------

    def runtime_state(self, runtime_id: str) -> RuntimeState | None:
        """The state as of the last commit; None for a runtime that was never opened."""
        return self._call(lambda: self.service.runtime_state(runtime_id))

    def input_state(self, runtime_id: str, input_id: InputId) -> InputState | None:
        """The state of an input, active or ended; None for an unknown one."""
        return self._call(lambda: self.service.input_state(runtime_id, input_id))

    def input_record(self, runtime_id: str, input_id: InputId) -> InputRecord | None:
        """The whole record of an input, active or ended."""
        return self._call(lambda: self.service.input_record(runtime_id, input_id))

    def find(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key (C7)."""
        return self._call(lambda: self.service.find(runtime_id, key))

    def input_result(self, runtime_id: str, input_id: InputId) -> bytes | None:
        """The result of the run that consumed the input, if it gave one."""
        return self._call(lambda: self.service.input_result(runtime_id, input_id))

    def load_boundary_receipt(self, runtime_id: str, run_id: RunId, sequence: int) -> RunBoundaryReceipt | None:
        """A committed boundary."""
        return self._call(lambda: self.service.load_boundary_receipt(runtime_id, run_id, sequence))

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        """The latest session snapshot that a boundary committed."""
        return self._call(lambda: self.service.load_session_snapshot(runtime_id))

    def list_runtimes(self, *, after: str | None = None, limit: int = 1000) -> tuple[RuntimeRecord, ...]:
        """Every known runtime by id, open or not, at most ``limit`` after ``after``."""
        return self._call(lambda: self.service.list_runtimes(after=after, limit=limit))


def _asynchronous(executor: Executor | BlockingExecutor | None, loop: LoopThread) -> Executor | None:
    if executor is None or iscoroutinefunction(executor.apply):
        return cast("Executor | None", executor)
    return OnThreads(cast("BlockingExecutor", executor), loop)
