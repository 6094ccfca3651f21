"""Many runtimes over one store: opened on demand, worked off by one executor, closed when they are idle.

Commands on one runtime serialise, on two they do not wait for each other (C29). A runtime stays open while somebody
waits for it, while it runs or waits for a backoff; of the others the least recently used are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar, final
from uuid import UUID
from weakref import finalize

from attrs import evolve

from ..spec.errors import HoldstateError
from ..spec.vocabulary import EventCode, InputState, RuntimeControl, RuntimeState
from .admission import deduplicated
from .admitting import Prepared, prepare_input
from .driver import PersistentRuntimeDriver
from .environment import Environment
from .errors import EventLogOff, InputRejected, InvalidInput, UnknownInput
from .events import EventEnvelope
from .executor import Executor, tell
from .handles import Ending, InputHandle, InputOutcome, WaitFailed, outcome_of
from .ids import InputId, RunId, check_runtime_id
from .inputs import Input
from .observation import Observation
from .outcomes import AcceptOutcome, CancelOutcome, Deduplicated, EndReport, RecoveryReport, Rejected, RetireReport
from .pool import RuntimePool
from .records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from .rejections import RejectionCode
from .service_settings import ServiceSettings
from .status import ServiceStatus, Sources, status_of
from .store import ResultRef, RuntimeStore
from .subscriptions import Subscription

T = TypeVar("T")


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
        self._store = store
        self._executor = executor
        self._settings = settings or ServiceSettings()
        environment = environment or Environment()
        self._now = environment.now
        self._observed = Observation(store, self._settings, environment.now)
        self._pool = RuntimePool(store, executor, self._settings, environment, self._observed)

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
        outcome = await self._admit(runtime_id, given)
        if isinstance(outcome, Rejected) and self._observed.telemetry is not None:
            self._observed.telemetry.refused(outcome)
        return outcome

    async def submit(self, runtime_id: str, given: Input) -> InputHandle:
        """Admit an input and keep a handle on it: what admission answered, and how the input ends.

        A caller who comes back with the same id or key gets a handle on the input that was admitted first, also after a
        crash. Raises ``InputRejected`` where there is nothing to wait for.
        """
        accepted = await self.ingest(runtime_id, given)
        if isinstance(accepted, Rejected):
            raise InputRejected(accepted)
        input_id = accepted.existing_id if isinstance(accepted, Deduplicated) else accepted.input_id
        entry = self._pool.get(runtime_id)
        if entry is None or input_id not in entry.driver.image.bodies:
            return InputHandle(input_id, accepted, lambda waited: self.wait(runtime_id, waited))
        watched = entry.waiters.future(input_id)  # an ephemeral input is forgotten when it ends: listen from here on
        handle = InputHandle(input_id, accepted, lambda waited: self._wait(runtime_id, waited, watched))
        finalize(handle, entry.waiters.forget, watched)
        return handle

    async def _admit(self, runtime_id: str, given: Input) -> AcceptOutcome:
        self._pool.check_open()
        check_runtime_id(runtime_id)
        if self._observed.telemetry is not None:
            given = self._observed.telemetry.stamped(given)
        prepared = prepare_input(given, self._settings.runtime.limits)
        if isinstance(prepared, Rejected):
            return prepared
        input_id, load = prepared.input.header.id, self._observed.load
        size_bytes = len(prepared.body) + sum(len(content) for _, content in prepared.blobs)
        if not load.reserve(runtime_id, input_id, size_bytes):
            return await self._turn_away(runtime_id, prepared)
        try:
            async with self._pool.use(runtime_id) as entry:
                outcome = await entry.driver.accept_prepared(prepared)
        finally:
            load.release(runtime_id, input_id)
        if isinstance(outcome, Rejected) and outcome.code is RejectionCode.OVERLOADED:
            return evolve(outcome, retry_after_seconds=load.retry_after())
        return outcome

    async def _turn_away(self, runtime_id: str, prepared: Prepared) -> AcceptOutcome:
        """There is no room. Nothing is opened; who comes again still hears what became of the first try (C8)."""
        self._observed.gauge.refresh()
        header = prepared.input.header
        existing = await self.input_record(runtime_id, header.id)
        if existing is None and header.idempotency_key is not None:
            existing = await self.find(runtime_id, header.idempotency_key)
        if existing is not None:
            return deduplicated(header.id, prepared.fingerprint, existing)
        return self._observed.load.refusal(header.id)

    async def wait(self, runtime_id: str, input_id: InputId) -> InputOutcome:
        """How an input ended, as its stored record says; waits until it has. ``WaitFailed`` claims nothing (C46)."""
        return await self._wait(runtime_id, input_id, None)

    async def _wait(self, runtime_id: str, input_id: InputId, watched: asyncio.Future[Ending] | None) -> InputOutcome:
        waited = input_id
        try:
            while True:
                ending = await (self._ended(runtime_id, waited) if watched is None else asyncio.shield(watched))
                if not isinstance(ending, InputRecord):
                    return WaitFailed(input_id, ending)
                ref = ResultRef.of(ending)
                outcome = outcome_of(ending, None if ref is None else self._store.load_result(runtime_id, ref))
                if not isinstance(outcome, UUID):
                    return outcome
                waited = InputId(outcome)
        except HoldstateError as error:
            return WaitFailed(input_id, error)

    async def _ended(self, runtime_id: str, input_id: InputId) -> Ending:
        async with self._pool.use(runtime_id) as entry:
            future = entry.waiters.future(input_id)  # before the look: an end between the two is not missed
            try:
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
        return await self._end(runtime_id, RuntimeControl.STOP, "stopped", PersistentRuntimeDriver.stop)

    async def destroy(self, runtime_id: str) -> EndReport:
        """End the runtime for good, ahead of its ordinary work."""
        return await self._end(runtime_id, RuntimeControl.STOP, "destroyed", PersistentRuntimeDriver.destroy)

    async def interrupt(self, runtime_id: str) -> bool:
        """Call the current run off, free of charge; False when there is none."""
        async with self._pool.use(runtime_id) as entry:
            return entry.worker is not None and entry.worker.interrupt("interrupted")

    async def _end(
        self,
        runtime_id: str,
        control: RuntimeControl,
        reason: str,
        end: Callable[[PersistentRuntimeDriver], Awaitable[EndReport]],
    ) -> EndReport:
        async with self._pool.use(runtime_id) as entry:
            await self._tell(runtime_id, control)
            report = await end(entry.driver)
            if entry.worker is not None:
                entry.worker.interrupt(reason)
            return report

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
        return await self._read(
            runtime_id,
            lambda driver: driver.input_record(input_id),
            lambda store: store.load_input(runtime_id, input_id),
        )

    async def find(self, runtime_id: str, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key (C7)."""
        return await self._read(
            runtime_id,
            lambda driver: driver.find_by_key(key),
            lambda store: store.find_by_key(runtime_id, key),
        )

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

    async def _read(
        self,
        runtime_id: str,
        ask_driver: Callable[[PersistentRuntimeDriver], Awaitable[T]],
        ask_store: Callable[[RuntimeStore], T],
    ) -> T:
        """From the open runtime, which knows ephemeral inputs too, else from the store, without opening it."""
        if runtime_id not in self._pool:
            return ask_store(self._store)
        async with self._pool.use(runtime_id) as entry:
            return await ask_driver(entry.driver)
