"""Many runtimes over one store: opened on demand, worked off by one executor, closed when they are idle.

Commands on one runtime serialise, on two they do not wait for each other (C29). A runtime stays open while somebody
waits for it, while it runs or waits for a backoff; of the others the least recently used are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, final
from uuid import UUID
from weakref import finalize

from ..spec.errors import HoldstateError
from ..spec.vocabulary import EventCode, InputState, RuntimeControl, RuntimeState
from .checks import check_store
from .driver import PersistentRuntimeDriver
from .environment import Environment
from .errors import EventLogOff, InvalidInput, UnknownInput
from .events import EventEnvelope
from .executor import Executor, tell
from .handles import Ending, InputHandle, InputOutcome, Waiters, WaitFailed, outcome_of
from .ids import InputId, RunId, check_uuid
from .inputs import Input
from .observation import Observation
from .open_runtime import EndListener
from .outcomes import Accepted, AcceptOutcome, CancelOutcome, Deduplicated, EndReport, RecoveryReport, RetireReport
from .pool import RuntimePool
from .records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from .service_intake import Intake
from .service_settings import ServiceSettings
from .settings import given_or_default
from .status import ServiceStatus, Sources, status_of
from .store import ResultRef, RuntimeStore
from .subscriptions import Subscription


@final
class RuntimeService:
    """The runtimes of one store, worked off by one executor; without an executor they are only fed and read.

    Use it as an async context manager. Every method raises ``ServiceClosed`` once ``close`` has begun, and otherwise
    what the driver's method of that name raises.
    """

    def __init__(
        self,
        store: RuntimeStore,
        executor: Executor | None = None,
        *,
        settings: ServiceSettings | None = None,
        environment: Environment | None = None,
    ) -> None:
        self._store = check_store(store)
        self._executor = executor
        self._settings = given_or_default(settings, ServiceSettings, "settings")
        environment = given_or_default(environment, Environment, "environment")
        self._now = environment.now
        self._observed = Observation(store, self._settings, environment.now)
        self._pool = RuntimePool(store, executor, self._settings, environment, self._observed)
        self._intake = Intake(self._pool, self._observed, self._settings)

    async def __aenter__(self) -> Self:
        """Go on with the work that a service before this one left (``ServiceSettings.resume_backlog``)."""
        if self._settings.resume_backlog:
            self._pool.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, drain_seconds: float | None = None) -> None:
        """Take no further call, let the runs under way finish for ``drain_seconds``, then call them off, free of
        charge.

        What is queued stays in the store. Calling it again, from a second signal, calls the runs off at once.
        """
        await self._pool.close(self._settings.drain_seconds if drain_seconds is None else drain_seconds)
        self._observed.hub.close()
        await self._observed.gauge.settle()

    # -- inputs ----------------------------------------------------------------------------------------------------

    async def ingest(self, runtime_id: str, given: Input) -> AcceptOutcome:
        """Admit an input; durable when this returns ``Accepted``. The runtime is worked off by itself.

        Where the service has taken on too much, the answer is ``Rejected`` (overloaded) with a retry hint; a retry of
        what was admitted before is ``Deduplicated`` even then.
        """
        return await self._intake.ingest(runtime_id, given)

    async def submit(self, runtime_id: str, given: Input, *, wait_for_room: bool = False) -> InputHandle:
        """Queue an input for its commit and return a handle on it: what admission answers, and how the input ends.

        Inputs that one task submits to a runtime are admitted in that order, many in one commit. With ``wait_for_room``
        it waits where the answer would be ``Rejected`` (overloaded), first come first served. A caller who comes back
        with the same id or key gets a handle on the input that was admitted first, also after a crash. Raises
        ``InputRejected`` for what is no input at all, and where the runtime cannot be opened what ``open`` raises.
        """
        submission = await self._intake.submit(runtime_id, given, wait_for_room=wait_for_room)

        def wait(answer: AcceptOutcome) -> Coroutine[Any, Any, InputOutcome]:
            return self._wait_for(runtime_id, answer, submission.ending)

        handle = InputHandle(given.header.id, submission.answer, wait)
        if submission.entry is not None and submission.ending is not None:
            loop = asyncio.get_running_loop()
            finalize(handle, _forget_soon, loop, submission.entry.waiters, submission.ending)
        return handle

    async def wake(self, runtime_id: str) -> None:
        """Work off what is queued in this runtime, also what wakes nobody by itself or what ``may_run`` held back."""
        async with self._pool.use(runtime_id) as entry:
            entry.wake()

    async def _wait_for(
        self, runtime_id: str, answer: AcceptOutcome, ending: asyncio.Future[Ending] | None
    ) -> InputOutcome:
        """How an input ends that was admitted, now or before."""
        if isinstance(answer, Accepted):
            return await self._wait(runtime_id, answer.input_id, ending, is_admitted=True)
        assert isinstance(answer, Deduplicated), answer
        was_active = answer.terminal_outcome is None  # when its admission was answered, so that its end was heard of
        return await self._wait(runtime_id, answer.existing_id, ending if was_active else None, is_admitted=True)

    async def wait(self, runtime_id: str, input_id: InputId) -> InputOutcome:
        """How an input ended, as its stored record says; waits until it has. ``WaitFailed`` claims nothing (C46)."""
        return await self._wait(runtime_id, check_uuid(input_id, "input_id"), None, is_admitted=False)

    async def _wait(
        self, runtime_id: str, input_id: InputId, watched: asyncio.Future[Ending] | None, *, is_admitted: bool
    ) -> InputOutcome:
        waited = input_id
        try:
            while True:
                if watched is None:
                    ending = await self._ended(runtime_id, waited, is_admitted=is_admitted)
                else:
                    ending = await asyncio.shield(watched)
                if not isinstance(ending, InputRecord):
                    return WaitFailed(input_id, ending)
                ref = ResultRef.of(ending)
                outcome = outcome_of(ending, None if ref is None else self._store.load_result(runtime_id, ref))
                if not isinstance(outcome, UUID):
                    return outcome
                waited = InputId(outcome)
        except HoldstateError as error:
            return WaitFailed(input_id, error)

    async def _ended(self, runtime_id: str, input_id: InputId, *, is_admitted: bool) -> Ending:
        async with self._pool.use(runtime_id) as entry:
            future = entry.waiters.future(input_id)  # before the look: an end between the two is not missed
            try:
                if is_admitted and entry.driver.knows_active(input_id):
                    return await future
                record = await entry.driver.input_record(input_id)
                if record is None:
                    return UnknownInput(runtime_id, input_id)
                return record if record.is_terminal else await future
            finally:
                entry.waiters.forget(future)

    async def cancel(self, runtime_id: str, input_id: InputId) -> CancelOutcome:
        """Give a waiting input up."""
        async with self._pool.use(runtime_id) as entry:
            return await entry.driver.cancel_input(input_id)

    # -- lifecycle -------------------------------------------------------------------------------------------------

    async def retire(self, runtime_id: str) -> RetireReport:
        """Take no new input for this runtime; what is queued is worked off."""
        async with self._pool.use(runtime_id) as entry:
            return await entry.driver.retire()

    async def reset(self, runtime_id: str) -> EndReport:
        """Give everything up and start over; refused while a run is current."""
        async with self._pool.use(runtime_id) as entry:
            report = await entry.driver.reset()
            await self._pool.attach(entry.driver)
            return report

    async def recycle(self, runtime_id: str) -> RecoveryReport:
        """Back into service with all work kept."""
        async with self._pool.use(runtime_id) as entry:
            report = await entry.driver.recycle_preserving_work()
            await self._pool.attach(entry.driver)
            return report

    async def recover(self, runtime_id: str) -> RecoveryReport:
        """Load the store again and settle what is unsettled."""
        async with self._pool.use(runtime_id) as entry:
            report = await entry.driver.recover()
            await self._pool.attach(entry.driver)
            return report

    async def stop(self, runtime_id: str) -> EndReport:
        """End the runtime, ahead of its ordinary work: the current run is called off and its inputs are abandoned."""
        return await self._end(runtime_id, PersistentRuntimeDriver.stop)

    async def destroy(self, runtime_id: str) -> EndReport:
        """End the runtime for good, ahead of its ordinary work."""
        return await self._end(runtime_id, PersistentRuntimeDriver.destroy)

    async def interrupt(self, runtime_id: str) -> bool:
        """Call the current run off, free of charge; False when there is none."""
        async with self._pool.use(runtime_id) as entry:
            return entry.worker is not None and entry.worker.interrupt("interrupted")

    async def _end(self, runtime_id: str, end: Callable[[PersistentRuntimeDriver], Awaitable[EndReport]]) -> EndReport:
        """Its commit calls the current run off, with the new state of the runtime for a reason."""
        async with self._pool.use(runtime_id) as entry:
            await self._tell(runtime_id, RuntimeControl.STOP)
            return await end(entry.driver)

    async def _tell(self, runtime_id: str, control: RuntimeControl) -> None:
        """Tell an executor that wants to know; what goes wrong there changes nothing."""
        error = await tell(self._executor, runtime_id, control, self._settings.hang_seconds)
        if error is not None:
            self._pool.note(runtime_id, "the executor's control failed", error)

    # -- events and health -----------------------------------------------------------------------------------------

    def subscribe(
        self, runtime_id: str | None = None, *, codes: Iterable[EventCode] | None = None, buffer: int = 1000
    ) -> Subscription:
        """Every event from now on, of one runtime or of all, after its commit; ``codes`` picks some.

        A subscriber who falls behind by more than ``buffer`` events gets an ``EventGap`` in place of the oldest.
        """
        self._pool.check_open()
        return self._observed.hub.subscribe(runtime_id, codes, buffer)

    def listen(self, listener: EndListener) -> None:
        """Call ``listener(runtime_id, record)`` for every input that ends from now on, after its commit, in order, and
        without loss. It must return at once; what it raises is logged.
        """
        self._pool.listen(listener)

    async def failure(self) -> Exception:
        """Waits for what ends the service (``ServiceSettings.stop_on_failure``), and returns it."""
        await self._pool.has_failed.wait()
        assert self._pool.failure is not None
        return self._pool.failure

    async def publish_event(self, runtime_id: str, envelope: EventEnvelope) -> None:
        """Hand an event from outside to the runtime and to its subscribers. It is stored nowhere."""
        if envelope.runtime_id != runtime_id:
            raise InvalidInput("envelope.runtime_id", f"is {envelope.runtime_id!r}; the runtime is {runtime_id!r}")
        async with self._pool.use(runtime_id) as entry:
            await entry.driver.on_runtime_event(envelope)
        self._observed.hub.publish(runtime_id, (envelope,))

    async def events(self, runtime_id: str, after: int | None = None, limit: int = 1000) -> tuple[EventEnvelope, ...]:
        """The log of a runtime: at most ``limit`` events after the offset ``after`` (None: from the first).

        Raises ``EventLogOff`` without ``RuntimeSettings.event_log``, ``EventsPruned`` where retention removed some.
        """
        if not self._settings.runtime.event_log:
            raise EventLogOff(runtime_id)
        return self._store.load_events(runtime_id, after, limit)

    def status(self) -> ServiceStatus:
        """How the service is doing; waits for nothing, neither for a runtime nor for the store (C47).

        Degraded while a problem lasts: a store that failed until that runtime commits again, overdue work until it goes
        on, anything else until a minute after it was heard of last.
        """
        observed = self._observed
        observed.gauge.refresh()
        sources = Sources(
            tuple(self._pool),
            observed.problems,
            observed.gauge,
            observed.load,
            len(observed.hub),
            self._settings.overdue_seconds,
        )
        return status_of(sources, self._now())

    # -- reads -----------------------------------------------------------------------------------------------------

    async def runtime_state(self, runtime_id: str) -> RuntimeState | None:
        """The state as of the last commit; None for a runtime that was never opened. Nothing is opened for it."""
        entry = self._pool.get(runtime_id)
        if entry is not None:
            return entry.driver.runtime_state
        loaded = self._store.load_runtime(runtime_id)
        return None if loaded is None else loaded.record.state

    async def input_state(self, runtime_id: str, input_id: InputId) -> InputState | None:
        """The state of an input, active or ended; None for an unknown one."""
        record = await self.input_record(runtime_id, input_id)
        return None if record is None else record.state

    async def input_record(self, runtime_id: str, input_id: InputId) -> InputRecord | None:
        """The whole record of an input, active or ended."""
        return await self._pool.input_record(runtime_id, input_id)

    async def find(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key (C7)."""
        return await self._pool.find(runtime_id, key)

    async def input_result(self, runtime_id: str, input_id: InputId) -> bytes | None:
        """The result of the run that consumed the input, if it gave one."""
        record = await self.input_record(runtime_id, input_id)
        ref = None if record is None else ResultRef.of(record)
        return None if ref is None else self._store.load_result(runtime_id, ref)

    async def load_boundary_receipt(self, runtime_id: str, run_id: RunId, sequence: int) -> RunBoundaryReceipt | None:
        """A committed boundary."""
        return self._store.load_receipt(runtime_id, run_id, sequence)

    async def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        """The latest session snapshot that a boundary committed."""
        return self._store.load_session_snapshot(runtime_id)

    async def list_runtimes(self, *, after: str | None = None, limit: int = 1000) -> tuple[RuntimeRecord, ...]:
        """Every known runtime by id, open or not, at most ``limit`` after ``after``."""
        return self._store.list_runtimes(after=after, limit=limit)


def _forget_soon(loop: asyncio.AbstractEventLoop, waiters: Waiters, ending: asyncio.Future[Ending]) -> None:
    """A handle may be dropped on any thread, and by the garbage collector in the middle of telling who waits."""
    with suppress(RuntimeError):  # the loop is closed, and all is gone with it
        loop.call_soon_threadsafe(waiters.forget, ending)
