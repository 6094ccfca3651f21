"""What each driver method does in its turn: check what it was given, look up, build the command, step.

Plain functions of a ``Turn``.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import cast

from ..spec.vocabulary import AbandonReason, Durability, InputState, Lane, RunBoundary, RunEnding, RuntimeEvent
from . import commands as c
from .admitting import Prepared, inlined
from .checks import check_instance, check_run_event, check_sequence, error_text, member_of
from .errors import ContributorsRefused, NotReady, RunIdReused, RunIncomplete, RunInProgress, RunNotCurrent
from .headers import InputHeader
from .ids import InputId, RunId, check_uuid
from .inputs import Input
from .outcomes import (
    Accepted,
    BoundaryApplied,
    Run,
    RunCancelled,
    RunCompleted,
    RunEvent,
    RunFailed,
    RunOutput,
    Steers,
)
from .records import InputRecord, RunBoundaryReceipt
from .stepper import RUNTIMES, runtime_fields
from .store import ResultRef
from .turn import Turn


def accept(turn: Turn, prepared: Prepared) -> object:
    """Admit an input, or say that it is known. One that can only be new by what memory knows is not looked for."""
    header = prepared.input.header
    if turn.presumes_new and header.durability is not Durability.EPHEMERAL and _is_unknown(turn, header):
        with suppress(NotReady):
            outcome = _admit(turn, prepared, None)
            if type(outcome) is Accepted:
                return outcome
    existing = turn.find_input(header.id)
    if existing is None and header.idempotency_key is not None:
        existing = turn.find_by_key(header.idempotency_key)
    return _admit(turn, prepared, existing)


def _is_unknown(turn: Turn, header: InputHeader) -> bool:
    """Whether nobody in memory has this id or key. What was set aside is in no memory, and no write meets it."""
    image = turn.actor.image
    return not image.set_aside and header.id not in image.inputs and header.idempotency_key not in image.keys


def _admit(turn: Turn, prepared: Prepared, existing: InputRecord | None) -> object:
    missing = None
    if prepared.blob_ids and existing is None:
        inline = dict(prepared.blobs)
        references = (blob_id for blob_id in prepared.blob_ids if blob_id not in inline)
        missing = next((blob_id for blob_id in references if not turn.blob_exists(blob_id)), None)
        if prepared.input.header.durability is Durability.EPHEMERAL and missing is None:
            prepared = inlined(prepared, lambda blob_id: inline[blob_id] if blob_id in inline else turn.blob(blob_id))
    return turn.step(
        c.Accept(
            turn.at,
            prepared.input,
            prepared.body,
            prepared.fingerprint,
            prepared.blobs,
            prepared.blob_ids,
            existing,
            missing,
            turn.actor.silent_intents,
        )
    )


# -- runs ----------------------------------------------------------------------------------------------------------


def begin_run(turn: Turn, given: RunId | None) -> Run | None:
    """Stage the next batch into a run. The run is in the caller's hands from the commit on."""
    if given is not None:
        check_uuid(given, "run_id")
    actor = turn.actor
    if actor.opened_run is not None:
        raise RunInProgress("begin_run", actor.opened_run)
    run_id = RunId(actor.environment.new_id()) if given is None else given
    used = given is not None and turn.has_receipt(given)
    records = turn.step(c.BeginRun(turn.at, run_id, None, used))
    if records is None:
        return None
    return _hand_out(turn, run_id, records)


def begun(future: Future[object]) -> Run | None:
    """The run that ``begin_run`` answered with, if it did."""
    if not future.done() or future.cancelled() or future.exception() is not None:
        return None
    return cast("Run | None", future.result())


def stage_batch(turn: Turn, input_ids: tuple[InputId, ...], run_id: RunId) -> None:
    """Begin the opened run with ``input_ids``; into a run that is current already, stage more."""
    check_uuid(run_id, "run_id")
    actor = turn.actor
    if actor.image.runtime.current_run_id == run_id:
        turn.step(c.StageMore(turn.at, run_id, input_ids))
        return
    if actor.opened_run != run_id:
        raise RunNotCurrent("stage_batch", run_id, actor.image.runtime.current_run_id or actor.opened_run)
    turn.step(c.BeginRun(turn.at, run_id, input_ids))
    actor.opened_run = None
    turn.after_commit.append(lambda: actor.hand_out(run_id))


def start_run(turn: Turn, run_id: RunId) -> None:
    """Open a run in memory; its first staging is what begins it."""
    check_uuid(run_id, "run_id")
    actor = turn.actor
    runtime = actor.image.runtime
    current = runtime.current_run_id or actor.opened_run
    if current is not None:
        raise RunInProgress("start_run", current)
    RUNTIMES.step(runtime.state, RuntimeEvent.BEGIN_RUN, runtime_fields(runtime), {"run_id": run_id})
    last = runtime.last_run
    if turn.has_receipt(run_id) or (last is not None and last.run_id == run_id):
        raise RunIdReused(run_id)
    actor.opened_run = run_id


def _hand_out(turn: Turn, run_id: RunId, records: object) -> Run:
    actor = turn.actor
    staged: tuple[InputRecord, ...] = tuple(records)  # type: ignore[arg-type]  # the outcome of begin_run
    inputs = tuple(given for given in map(turn.input, staged) if given is not None)
    turn.after_commit.append(lambda: actor.hand_out(run_id))
    turn.when_abandoned = partial(cancel_run, run_id=run_id)
    return Run(
        run_id=run_id,
        runtime_id=actor.runtime_id,
        input_ids=tuple(record.input_id for record in staged),
        inputs=inputs,
        records=staged,
        attempt=staged[0].attempt_count,
    )


def boundary(turn: Turn, event: BoundaryApplied) -> object:
    receipt = event.receipt
    if receipt.run_id != event.run_id:
        raise ContributorsRefused("boundary_applied", event.run_id, f"the receipt is of run {receipt.run_id}")
    stored = turn.receipt(receipt.run_id, receipt.sequence)
    return turn.step(c.ApplyBoundary(turn.at, receipt, event.session_snapshot, event.result, stored))


def minted_boundary(turn: Turn, run_id: RunId, output: RunOutput, *, with_result: bool = False) -> RunBoundaryReceipt:
    """A boundary over whatever is staged, with a receipt made here. The result goes with it, or with the completion."""
    staged = turn.actor.image.staged()
    snapshot = output.session_snapshot
    receipt = RunBoundaryReceipt(
        run_id=run_id,
        boundary=staged[0].admission.boundary if staged else RunBoundary.RUN_START,
        contributing_input_ids=tuple(record.input_id for record in staged),
        sequence=turn.actor.image.runtime.boundary_count,
        message_count=output.message_count,
        conversation_digest=None if snapshot is None else sha256(snapshot).hexdigest(),
    )
    result = output.result if with_result else None
    return cast("RunBoundaryReceipt", turn.step(c.ApplyBoundary(turn.at, receipt, snapshot, result)))


def take_steers(turn: Turn, run_id: RunId, staged: list[InputRecord]) -> Steers:
    """Stage what may be staged of the steer lane into the current run, and note it in ``staged``."""
    staged[:] = cast("tuple[InputRecord, ...]", turn.step(c.StageMore(turn.at, run_id)))
    inputs = tuple(given for given in map(turn.input, staged) if given is not None)
    return Steers(inputs, tuple(staged))


def complete_run(turn: Turn, run_id: RunId, output: RunOutput) -> RunId:
    """Boundary and completion in one commit; a boundary only where something is left to list or to keep (C19)."""
    runtime = turn.actor.image.runtime
    if runtime.current_run_id == run_id:
        pending = bool(turn.actor.image.staged()) or runtime.boundary_count == 0
        if pending or output.session_snapshot is not None:
            minted_boundary(turn, run_id, output)
    turn.step(c.CompleteRun(turn.at, run_id, output.result))
    return run_id


def complete_current(turn: Turn) -> RunId:
    """Completion of the current run alone."""
    actor = turn.actor
    run_id = actor.image.runtime.current_run_id
    if run_id is None and actor.opened_run is not None:
        raise RunIncomplete(actor.opened_run, 0, 0)
    if run_id is None:
        last = actor.image.runtime.last_run
        if last is not None and last.ending is RunEnding.COMPLETED:
            return last.run_id
        raise RunNotCurrent("run_completed", None, None)
    turn.step(c.CompleteRun(turn.at, run_id))
    return run_id


def fail_run(turn: Turn, event: RunFailed) -> None:
    error = error_text(event.error)
    check_instance(event.recoverable, bool, "recoverable")
    if _forgotten(turn, event.run_id):
        return
    jitter = turn.actor.environment.chance()
    turn.step(c.FailRun(turn.at, event.run_id, error, event.recoverable, jitter))


def cancel_run(turn: Turn, run_id: RunId) -> None:
    if not _forgotten(turn, run_id):
        turn.step(c.CancelRun(turn.at, run_id))


def _forgotten(turn: Turn, run_id: RunId) -> bool:
    """Whether ``run_id`` was opened in memory only, and is now forgotten."""
    if turn.actor.opened_run != run_id:
        return False
    turn.actor.opened_run = None
    return True


def run_event(turn: Turn, event: RunEvent) -> None:
    check_run_event(event)
    match event:
        case BoundaryApplied():
            boundary(turn, event)
        case RunCompleted():
            turn.step(c.CompleteRun(turn.at, event.run_id, event.result, event.consumed_input_ids))
        case RunFailed():
            fail_run(turn, event)
        case RunCancelled():
            cancel_run(turn, event.run_id)
        case _:
            return  # a start is told by begin_run itself


def apply_input(turn: Turn, input_id: InputId, run_id: RunId) -> None:
    """A boundary for one contributor, which must be the only staged one: a boundary lists all that is staged."""
    check_uuid(input_id, "input_id")
    check_uuid(run_id, "run_id")
    staged = [record.input_id for record in turn.actor.image.staged()]
    if turn.actor.image.runtime.current_run_id == run_id and staged != [input_id]:
        raise ContributorsRefused("apply_input", run_id, f"input {input_id} is not its only staged contributor")
    if turn.actor.image.runtime.current_run_id != run_id:
        raise RunNotCurrent("apply_input", run_id, turn.actor.image.runtime.current_run_id)
    minted_boundary(turn, run_id, RunOutput())


# -- lifecycle -----------------------------------------------------------------------------------------------------


def recover(turn: Turn) -> object:
    """Settle what the store holds, as an open would, without claiming."""
    actor = turn.actor
    current = actor.image.runtime.current_run_id
    if current is not None and current == actor.handed_out:
        raise RunInProgress("recover", current)
    loaded = actor.reload(turn)
    outcome = turn.step(c.Recover(turn.at, loaded.receipts, actor.handed_out is not None))
    actor.opened_run = None
    return outcome


def cancel_input(turn: Turn, input_id: InputId) -> object:
    check_uuid(input_id, "input_id")
    existing = None if input_id in turn.actor.image.inputs else turn.find_input(input_id)
    return turn.step(c.CancelInput(turn.at, input_id, existing))


def abandon_pending(turn: Turn, reason: AbandonReason, error: str | None) -> object:
    return turn.step(c.AbandonPending(turn.at, member_of(AbandonReason, reason, "reason"), error_text(error)))


def ending(turn: Turn, make: Callable[[datetime], c.Command]) -> object:
    """A command after which no run is open in memory any more."""
    outcome = turn.step(make(turn.at))
    turn.actor.opened_run = None
    return outcome


def nothing(turn: Turn) -> None:
    """Nothing, after what was called before."""


# -- reads ---------------------------------------------------------------------------------------------------------


def dequeue_next(turn: Turn) -> tuple[InputId, Input] | None:
    """The next queued input after the cursor, in the order in which the lanes are worked off. It stays queued."""
    actor = turn.actor
    cursor = actor.cursor
    for rank, lane in enumerate((Lane.STEER, Lane.QUEUE)):
        if cursor is not None and rank < cursor[0]:
            continue
        after = cursor[1] if cursor is not None and rank == cursor[0] else None
        order = next(actor.image.lanes[lane].irange(minimum=after, inclusive=(False, True)), None)
        if order is not None:
            actor.cursor = (rank, order)
            return _peek(turn, actor.image.lanes[lane][order])
    return None


def dequeue_by_id(turn: Turn, input_id: InputId) -> tuple[InputId, Input] | None:
    check_uuid(input_id, "input_id")
    record = turn.actor.image.inputs.get(input_id)
    if record is None or record.state is not InputState.QUEUED:
        return None
    return _peek(turn, input_id)


def _peek(turn: Turn, input_id: InputId) -> tuple[InputId, Input]:
    given = turn.input(turn.actor.image.inputs[input_id])
    assert given is not None, "only an ended input may be without its payload"
    return input_id, given


def input_record(turn: Turn, input_id: InputId) -> InputRecord | None:
    return turn.find_input(check_uuid(input_id, "input_id"))


def persisted_input(turn: Turn, input_id: InputId) -> Input | None:
    record = input_record(turn, input_id)
    return None if record is None or record.admission.is_ephemeral else turn.input(record)


def input_result(turn: Turn, input_id: InputId) -> bytes | None:
    record = input_record(turn, input_id)
    ref = None if record is None else ResultRef.of(record)
    return None if ref is None else turn.result(ref)


def boundary_receipt(turn: Turn, run_id: RunId, sequence: int) -> RunBoundaryReceipt | None:
    check_sequence(sequence, "sequence")
    return turn.receipt(check_uuid(run_id, "run_id"), sequence)
