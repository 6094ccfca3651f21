"""The driver: one open runtime, and everything that can be asked of it. Each method is a row of the command table or a
read.

A method returns when what it did is in the store. Every method raises ``Fenced`` once a newer opener holds the runtime,
``DriverClosed`` after ``close``, ``WrongLoop`` from another event loop, and ``StoreError`` when the store failed
(``applied`` says what is known of the commit). Cancelling a caller never tears a command in half: it happens or it does
not, and a retry is safe (C10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, cast

from ..spec.vocabulary import AbandonReason, InputState, RuntimeControl, RuntimeState
from . import calls
from . import commands as c
from .actor import Actor
from .admitting import Prepared, prepare_input
from .batches import next_due
from .checks import member_of, output_of, run_id_of
from .delta import Delta
from .environment import Environment, RuntimeSettings
from .errors import StoreError
from .events import EventEnvelope, delivered
from .flush import GroupCommitter, committer_of
from .ids import InputId, RunId, check_text, check_uuid, check_uuids
from .image import RuntimeImage
from .inputs import Input
from .opening import open_runtime
from .outcomes import (
    AcceptOutcome,
    CancelOutcome,
    DetachReport,
    EndReport,
    RecoveryReport,
    Rejected,
    RetireReport,
    Run,
    RunEvent,
    RunFailed,
    RunOutput,
    Steers,
)
from .records import InputRecord, RunBoundaryReceipt
from .store import RuntimeStore
from .turn import Turn

T = TypeVar("T")


class PersistentRuntimeDriver:
    """One runtime over one store, claimed by ``open`` and held until ``close`` or until somebody else opens it."""

    def __init__(self, actor: Actor, committer: GroupCommitter, recovery_report: RecoveryReport) -> None:
        self._actor = actor
        self._committer = committer
        self.recovery_report = recovery_report

    @classmethod
    async def open(
        cls,
        runtime_id: str,
        store: RuntimeStore,
        *,
        settings: RuntimeSettings | None = None,
        environment: Environment | None = None,
    ) -> Self:
        """Claim the runtime (creating it where it is new), recover it, and be ready.

        Raises ``InvalidInput`` for an argument that is none, ``StoreCorruption`` where its rows cannot be trusted;
        nothing is written then.
        """
        committer = committer_of(store)
        actor, report = await open_runtime(runtime_id, store, settings, environment)
        return cls(actor, committer, report)

    async def close(self) -> None:
        """Finish what was called before, then refuse every call. The store keeps everything; a run in hand is left as a
        crash would leave it, so end or cancel it first.
        """
        try:
            if self._actor.finished is None:
                await self._committer.submit(self._actor, calls.nothing)
        finally:
            self.release()

    def release(self) -> None:
        """Refuse every further call, without waiting for those that are queued."""
        self._actor.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._actor.close()

    async def _call(self, decide: Callable[[Turn], T], *, alone: bool = False) -> T:
        self._actor.check_open()
        return cast("T", await self._committer.call(self._actor, decide, alone=alone))

    async def _command(self, make: Callable[[datetime], c.Command]) -> object:
        return await self._call(lambda turn: turn.step(make(turn.at)))

    # -- inputs ----------------------------------------------------------------------------------------------------

    async def accept_input(self, given: Input) -> AcceptOutcome:
        """Admit an input. A durable one is in the store when this returns ``Accepted`` (C1); a retry with the same id
        or key is ``Deduplicated``; what cannot be admitted is ``Rejected``. Raises ``NotReady`` where the runtime takes
        no input.
        """
        actor = self._actor
        actor.check_open()
        prepared = prepare_input(given, actor.settings.limits)
        if type(prepared) is Rejected:
            return prepared
        return await self._committer.call(actor, partial(calls.accept, prepared=prepared))  # type: ignore[return-value]  # what accept answers

    async def accept_prepared(self, prepared: Prepared) -> AcceptOutcome:
        """``accept_input`` of what ``prepare_input`` made of an input, under the same limits."""
        return cast("AcceptOutcome", await self._call(partial(calls.accept, prepared=prepared)))

    def accept_soon(self, prepared: Prepared) -> asyncio.Future[object]:
        """``accept_prepared`` queued now; the future gets its answer. Calls are decided in the order of queueing."""
        self._actor.check_open()
        return self._committer.submit(self._actor, partial(calls.accept, prepared=prepared))

    async def cancel_input(self, input_id: InputId) -> CancelOutcome:
        """Give a waiting input up: ``Cancelled``, or why not (``InFlight``, ``Ended``, ``Unknown``)."""
        return cast("CancelOutcome", await self._call(partial(calls.cancel_input, input_id=input_id)))

    async def abandon_pending_inputs(self, reason: AbandonReason, error: str | None = None) -> EndReport:
        """Give up every active input that is not in the current run. ``error`` is kept as by ``fail_run``."""
        return cast("EndReport", await self._call(partial(calls.abandon_pending, reason=reason, error=error)))

    # -- runs ------------------------------------------------------------------------------------------------------

    async def begin_run(self, run_id: RunId | None = None) -> Run | None:
        """Stage the next batch durably and hand it out (C22); None when there is nothing to do now.

        Raises ``RunInProgress`` while a run is current, ``RunIdReused`` for an id that was used before.
        """
        self._actor.check_open()
        future = self._committer.call(self._actor, partial(calls.begin_run, given=run_id))
        try:
            return cast("Run | None", await future)
        except asyncio.CancelledError:
            if (run := calls.begun(future)) is not None:  # its caller is gone: it is rolled back, free of charge
                self._actor.disown(run.run_id)
                self._committer.submit_quietly(self._actor, calls.nothing)
            raise

    async def complete_run(self, run: Run | RunId | None = None, output: RunOutput | None = None) -> RunId:
        """Boundary and completion in one commit (C19). Without a run: the completion of the current run alone, which
        must have a boundary and nothing staged (``RunIncomplete``). Repeating it is answered as done.
        """
        if run is None:
            return await self._call(calls.complete_current)
        return await self._call(partial(calls.complete_run, run_id=run_id_of(run), output=output_of(output)))

    async def checkpoint(self, run: Run | RunId, output: RunOutput | None = None) -> RunBoundaryReceipt:
        """Commit a boundary over everything staged; the run goes on. Returns the receipt that was made for it."""
        call = partial(calls.minted_boundary, run_id=run_id_of(run), output=output_of(output), with_result=True)
        return await self._call(call)

    async def take_steers(self, run: Run | RunId) -> Steers:
        """Stage the front of the steer lane into the current run, durably; what cannot join it stays queued (C15).

        What was staged for a caller who is cancelled, or told of a ``StoreError``, leaves the run again: take it anew.
        """
        staged: list[InputRecord] = []
        try:
            return await self._call(partial(calls.take_steers, run_id=run_id_of(run), staged=staged))
        except (asyncio.CancelledError, StoreError) as error:
            self._actor.untold += staged
            if isinstance(error, asyncio.CancelledError):
                self._committer.submit_quietly(self._actor, calls.nothing)
            raise

    async def fail_run(self, run: Run | RunId, error: str, *, recoverable: bool = True) -> None:
        """End the run badly: its inputs are tried again by the retry policy, or given up; then ``error`` is kept with
        them, lone surrogates in it escaped.
        """
        await self._call(partial(calls.fail_run, event=RunFailed(run_id_of(run), error, recoverable)))

    async def cancel_run(self, run: Run | RunId) -> None:
        """Call the run off; its inputs go back to their places, free of charge (C14)."""
        await self._call(partial(calls.cancel_run, run_id=run_id_of(run)))

    async def on_run_event(self, event: RunEvent) -> None:
        """What an executor reports of a run, one commit each. ``RunStarted`` alone changes nothing."""
        await self._call(partial(calls.run_event, event=event))

    async def start_run(self, run_id: RunId) -> None:
        """Open a run in memory; the first ``stage_batch`` begins it durably (C24)."""
        await self._call(partial(calls.start_run, run_id=run_id))

    async def stage_batch(self, input_ids: Iterable[InputId], run_id: RunId) -> None:
        """Begin the opened run with a prefix of the next batch, or stage a prefix of the steer lane into the current
        run.
        """
        ids = check_uuids(input_ids, "input_ids")
        await self._call(partial(calls.stage_batch, input_ids=ids, run_id=run_id))

    async def stage_input(self, input_id: InputId, run_id: RunId) -> None:
        """``stage_batch`` of one."""
        await self.stage_batch((input_id,), run_id)

    async def apply_input(self, input_id: InputId, run_id: RunId) -> None:
        """A boundary for the only staged contributor, with a receipt made here."""
        await self._call(partial(calls.apply_input, input_id=input_id, run_id=run_id))

    async def consume_inputs(self, input_ids: Iterable[InputId], run_id: RunId) -> None:
        """Named pending contributors are consumed while the run goes on."""
        ids = check_uuids(input_ids, "input_ids")
        await self._command(lambda at: c.ConsumeInputs(at, check_uuid(run_id, "run_id"), ids))

    async def rollback_staged(self, input_ids: Iterable[InputId]) -> None:
        """Named staged contributors go back to their places and leave the run."""
        ids = check_uuids(input_ids, "input_ids")
        await self._command(lambda at: c.RollbackStaged(at, ids))

    # -- lifecycle -------------------------------------------------------------------------------------------------

    async def attach(self) -> None:
        """An executor is there; volatile. Raises ``TransitionRefused`` where the runtime cannot have one."""
        await self._command(c.Attach)

    async def detach(self) -> DetachReport:
        """The executor is gone; volatile."""
        return cast("DetachReport", await self._command(c.Detach))

    async def retire(self) -> RetireReport:
        """Take no new input; what is queued may still be worked off."""
        return cast("RetireReport", await self._command(c.Retire))

    async def reset(self) -> EndReport:
        """Give everything up and start over. Raises ``RunInProgress`` while a run is current (C28)."""
        return cast("EndReport", await self._ending(c.Reset))

    async def stop(self) -> EndReport:
        """End the runtime; it can still be read and destroyed."""
        return cast("EndReport", await self._ending(c.Stop))

    async def destroy(self) -> EndReport:
        """End the runtime for good."""
        return cast("EndReport", await self._ending(c.Destroy))

    async def recycle_preserving_work(self) -> RecoveryReport:
        """Back into service with all work kept, out of retired too."""
        return cast("RecoveryReport", await self._ending(c.Recycle))

    async def recover(self) -> RecoveryReport:
        """Load the store again and settle what is unsettled, without claiming. Raises ``RunInProgress`` while a run
        that was handed out is in flight.
        """
        return cast("RecoveryReport", await self._call(calls.recover, alone=True))

    async def on_runtime_control(self, control: RuntimeControl) -> None:
        """Stop or resume; resume outside recovering is answered as done."""
        if member_of(RuntimeControl, control, "control") is RuntimeControl.STOP:
            await self.stop()
        else:
            await self._command(c.Resume)

    async def on_runtime_event(self, envelope: EventEnvelope) -> None:
        """Taken and ignored here; a subclass may listen."""

    async def _ending(self, make: Callable[[datetime], c.Command]) -> object:
        return await self._call(partial(calls.ending, make=make))

    # -- reads -----------------------------------------------------------------------------------------------------

    @property
    def runtime_id(self) -> str:
        return self._actor.runtime_id

    @property
    def runtime_state(self) -> RuntimeState:
        """The state as of the last commit; never waits."""
        return self._actor.committed.state

    @property
    def is_idle(self) -> bool:
        return self.runtime_state is RuntimeState.IDLE

    @property
    def is_idle_or_attached(self) -> bool:
        return self.runtime_state in (RuntimeState.IDLE, RuntimeState.ATTACHED)

    async def input_state(self, input_id: InputId) -> InputState | None:
        """The state of an input, active or ended; None for an unknown one."""
        record = await self.input_record(input_id)
        return None if record is None else record.state

    async def input_record(self, input_id: InputId) -> InputRecord | None:
        """The whole record of an input, active or ended."""
        return await self._call(partial(calls.input_record, input_id=input_id))

    async def find_by_key(self, key: str) -> InputRecord | None:
        """The record of the input that was admitted under an idempotency key (C7)."""
        return await self._call(lambda turn: turn.find_by_key(check_text(key, "key")))

    async def active_input_ids(self) -> tuple[InputId, ...]:
        """Every active input by order key."""
        return await self._call(lambda turn: tuple(record.input_id for record in turn.actor.image.active()))

    async def persisted_input(self, input_id: InputId) -> Input | None:
        """The input as admitted; None when it is unknown or ephemeral, or ended and its payload was dropped (C41)."""
        return await self._call(partial(calls.persisted_input, input_id=input_id))

    async def input_result(self, input_id: InputId) -> bytes | None:
        """The result of the run that consumed the input, if that run gave one."""
        return await self._call(partial(calls.input_result, input_id=input_id))

    async def boundary_receipt(self, run_id: RunId, sequence: int) -> RunBoundaryReceipt | None:
        """The receipt of one boundary; None when there is none."""
        return await self._call(partial(calls.boundary_receipt, run_id=run_id, sequence=sequence))

    async def session_snapshot(self) -> bytes | None:
        """The latest session snapshot that a boundary committed."""
        return await self._call(lambda turn: turn.session_snapshot())

    async def has_queued_input_outside(self, input_ids: Iterable[InputId]) -> bool:
        """Whether anything is queued besides ``input_ids``."""
        known = frozenset(check_uuids(input_ids, "input_ids"))
        return await self._call(lambda turn: any(record.input_id not in known for record in turn.actor.image.queued()))

    async def dequeue_next(self) -> tuple[InputId, Input] | None:
        """A peek: the next queued input after a volatile cursor, which staging, rollback and recovery reset."""
        return await self._call(calls.dequeue_next)

    async def dequeue_by_id(self, input_id: InputId) -> tuple[InputId, Input] | None:
        """A peek at one queued input."""
        return await self._call(partial(calls.dequeue_by_id, input_id=input_id))

    async def next_due(self) -> datetime | None:
        """When the first lane that waits for a backoff may go on."""
        return await self._call(lambda turn: next_due(turn.actor.image))

    @property
    def image(self) -> RuntimeImage:
        """The runtime in memory, with what is being committed now; to be read and not to be written."""
        return self._actor.image

    def knows_active(self, input_id: InputId) -> bool:
        """Whether memory alone tells that an admitted input is active; where it does not, a call finds out."""
        return self._actor.knows_active(input_id, self._committer.store.generation)

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once every call that was made so far has happened, or was refused."""

        def settled(done: asyncio.Future[object]) -> None:
            done.exception()
            callback()

        self._committer.submit(self._actor, calls.nothing).add_done_callback(settled)

    def listen(self, listener: Callable[[list[Delta]], None]) -> None:
        """Call ``listener`` after every commit with what it changed. It must return at once and not raise."""
        self._actor.listener = listener

    async def events(self, after: int | None = None, limit: int = 1000) -> tuple[EventEnvelope, ...]:
        """The log of the runtime by offset, at most ``limit`` events after the offset ``after`` (None: from 0).

        It needs no claim, so a closed or fenced driver answers too. Raises ``EventsPruned`` where retention removed
        some of those. Without ``RuntimeSettings.event_log`` nothing is added to the log.
        """
        return self._committer.store.load_events(self.runtime_id, after, limit)

    # -- volatile --------------------------------------------------------------------------------------------------

    def set_silent_comms_intents(self, intents: Iterable[str]) -> None:
        """Peer requests of these intents wake nobody and start with a run; to be set again after each open."""
        self._actor.silent_intents = frozenset(intents)

    def drain_events(self) -> list[EventEnvelope]:
        """Take the undelivered events; a gap in ``sequence`` shows what a full buffer dropped (C45)."""
        new_id, runtime_id = self._actor.environment.new_id, self._actor.runtime_id
        return [delivered(event, number, runtime_id, new_id) for number, event in self._actor.events.drain()]

    def discard_events(self) -> None:
        """Forget the undelivered events; ``sequence`` goes on behind them."""
        self._actor.events.drain()

    def take_wake_requested(self) -> bool:
        """Whether an idle runtime was asked to wake since the last call."""
        taken, self._actor.wake = self._actor.wake, False
        return taken

    def take_process_requested(self) -> bool:
        """Whether the steer lane asked to be worked off since the last call."""
        taken, self._actor.process = self._actor.process, False
        return taken
