"""Runs: begin, stage more, boundaries, and the ways to end. A row of the command table each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256

from attrs import evolve

from ..spec.commands import CommandRow, Selection
from ..spec.vocabulary import InputState, RunEnding
from .batches import next_batch, steer_prefix
from .commands import (
    ApplyBoundary,
    BeginRun,
    CancelRun,
    CompleteRun,
    ConsumeInputs,
    FailRun,
    RollbackStaged,
    Stage,
    StageMore,
)
from .delta import Delta
from .environment import RuntimeSettings
from .errors import (
    BatchRefused,
    ContributorsRefused,
    ReceiptConflict,
    RunIdReused,
    RunIncomplete,
    RunInProgress,
)
from .ids import RunId
from .image import RuntimeImage
from .records import InputRecord, LastRun, ResultSource
from .stepper import Stepper, check_needs
from .store import ResultRef


def begin(image: RuntimeImage, row: CommandRow, command: BeginRun, settings: RuntimeSettings) -> Delta:
    """Stage the next batch, or a named prefix of it, into a new run. With nothing to stage the outcome is None."""
    runtime = image.runtime
    if runtime.current_run_id == command.run_id or _was_used(image, command):
        raise RunIdReused(command.run_id)
    if runtime.current_run_id is not None:
        raise RunInProgress(command.name, runtime.current_run_id)
    batch = _take(next_batch(image, settings, command.at), command)
    stepper = Stepper(image, row, command, settings)
    stepper.send({Selection.BATCH: batch})
    if not batch:
        return Delta(runtime=runtime, outcome=None)
    ids = tuple(record.input_id for record in batch)
    delta = stepper.delta(contributors=ids, boundary_count=0, shared_run=len(ids) > 1)
    delta.outcome = tuple(stepper.after(record) for record in batch)
    return delta


def _was_used(image: RuntimeImage, command: BeginRun) -> bool:
    last = image.runtime.last_run
    return command.run_id_used or (last is not None and last.run_id == command.run_id)


def stage_more(image: RuntimeImage, row: CommandRow, command: StageMore, settings: RuntimeSettings) -> Delta:
    """Stage a prefix of the steer lane into the current run."""
    check_needs(image, row, command, command.run_id)
    batch = _take(steer_prefix(image, settings), command)
    if not batch:
        return Delta(runtime=image.runtime, outcome=())
    stepper = Stepper(image, row, command, settings)
    stepper.send({Selection.BATCH: batch})
    ids = (*image.runtime.contributors, *(record.input_id for record in batch))
    delta = stepper.delta(contributors=ids, shared_run=image.runtime.shared_run or len(ids) > 1)
    delta.outcome = tuple(stepper.after(record) for record in batch)
    return delta


def _take(available: Sequence[InputRecord], command: Stage) -> Sequence[InputRecord]:
    """The named prefix of ``available``, or all of it where none is named (C12)."""
    if command.batch is None:
        return available
    if not command.batch:
        raise BatchRefused("an empty batch was named")
    prefix = available[: len(command.batch)]
    if tuple(record.input_id for record in prefix) != command.batch:
        named = ", ".join(str(input_id) for input_id in command.batch)
        raise BatchRefused(f"{named} is not at the front of what may be staged now")
    return prefix


def apply_boundary(image: RuntimeImage, row: CommandRow, command: ApplyBoundary, settings: RuntimeSettings) -> Delta:
    """Commit a boundary. A receipt that is stored already is answered as done when it is equal (C20)."""
    receipt = command.receipt
    if command.stored is not None:
        if command.stored != receipt:
            raise ReceiptConflict(receipt.run_id, receipt.sequence)
        return Delta(runtime=image.runtime, outcome=receipt)
    check_needs(image, row, command, receipt.run_id)
    staged = image.staged()
    problem = _receipt_problem(image, command, staged)
    if problem is not None:
        raise ContributorsRefused(command.name, receipt.run_id, problem)
    stepper = Stepper(image, row, command, settings)
    if command.result is not None:
        stepper.result_source = ResultSource.BOUNDARY
    stepper.send()
    delta = stepper.delta(
        boundary_count=image.runtime.boundary_count + 1,
        receipts=1,
        results=0 if command.result is None else 1,
        has_snapshot=True if command.snapshot is not None else None,
    )
    ephemeral = tuple(record.input_id for record in staged if record.admission.is_ephemeral)
    if receipt.ephemeral_input_ids != ephemeral:
        receipt = evolve(receipt, ephemeral_input_ids=ephemeral)
    delta.receipts = (receipt,)
    if command.result is not None:
        delta.results = ((ResultRef(receipt.run_id, receipt.sequence), command.result),)
    delta.snapshot = command.snapshot
    delta.outcome = receipt
    return delta


def _receipt_problem(image: RuntimeImage, command: ApplyBoundary, staged: list[InputRecord]) -> str | None:
    receipt = command.receipt
    if receipt.sequence != image.runtime.boundary_count:
        return f"the next receipt has sequence {image.runtime.boundary_count}, not {receipt.sequence}"
    if receipt.contributing_input_ids != tuple(record.input_id for record in staged):
        return "the receipt must list exactly the staged contributors, in staging order"
    if staged and receipt.boundary is not staged[0].admission.boundary:
        return f"the boundary of the staged contributors is {staged[0].admission.boundary}, not {receipt.boundary}"
    digest = None if command.snapshot is None else sha256(command.snapshot).hexdigest()
    if receipt.conversation_digest != digest:
        return "conversation_digest must be the SHA-256 of the session snapshot, and none without one"
    return None


def complete(image: RuntimeImage, row: CommandRow, command: CompleteRun, settings: RuntimeSettings) -> Delta:
    """End the current run well; refused while a contributor is staged or no boundary is committed."""
    if _is_repeated(image, command.run_id, RunEnding.COMPLETED):
        return Delta(runtime=image.runtime, outcome=command.run_id)
    check_needs(image, row, command, command.run_id)
    runtime = image.runtime
    contributors = image.contributors()
    staged = sum(record.state is InputState.STAGED for record in contributors)
    if staged or runtime.boundary_count == 0:
        raise RunIncomplete(command.run_id, staged, runtime.boundary_count)
    if command.consumed is not None and sorted(command.consumed) != sorted(record.input_id for record in contributors):
        raise ContributorsRefused(command.name, command.run_id, "the consumed inputs must be exactly its contributors")
    stepper = Stepper(image, row, command, settings)
    if command.result is not None:
        stepper.result_source = ResultSource.COMPLETION
    stepper.send()
    delta = stepper.delta(ending=RunEnding.COMPLETED, results=0 if command.result is None else 1)
    if command.result is not None:
        delta.results = ((ResultRef(command.run_id), command.result),)
    delta.outcome = command.run_id
    return delta


def fail(image: RuntimeImage, row: CommandRow, command: FailRun, settings: RuntimeSettings) -> Delta:
    """End the current run badly: what a boundary lists is consumed, the rest is tried again, later, or given up."""
    if _is_repeated(image, command.run_id, RunEnding.FAILED):
        return Delta(runtime=image.runtime, outcome=command.run_id)
    check_needs(image, row, command, command.run_id)
    stepper = Stepper(image, row, command, settings)
    stepper.facts["alone"] = not image.runtime.shared_run
    stepper.send()
    backoff = settings.retry.backoff
    for _, after in list(stepper.changed.values()):
        wait = backoff.delay(after.failure_count, command.jitter)
        if after.state is InputState.QUEUED and wait > 0.0:
            stepper.amend(evolve(after, not_before=command.at + timedelta(seconds=wait)))
    delta = stepper.delta(ending=RunEnding.FAILED)
    delta.wake = _gave_back(stepper)
    delta.outcome = command.run_id
    return delta


def cancel(image: RuntimeImage, row: CommandRow, command: CancelRun, settings: RuntimeSettings) -> Delta:
    """Call the current run off, free of charge (C14)."""
    if _is_repeated(image, command.run_id, RunEnding.CANCELLED):
        return Delta(runtime=image.runtime, outcome=command.run_id)
    check_needs(image, row, command, command.run_id)
    stepper = Stepper(image, row, command, settings)
    stepper.send()
    delta = stepper.delta(ending=RunEnding.CANCELLED)
    delta.wake = _gave_back(stepper)
    delta.outcome = command.run_id
    return delta


def rollback_staged(image: RuntimeImage, row: CommandRow, command: RollbackStaged, settings: RuntimeSettings) -> Delta:
    """Named staged contributors go back to their places and leave the run."""
    check_needs(image, row, command, None)
    return _leave(image, row, command, settings, InputState.STAGED)


def consume_inputs(image: RuntimeImage, row: CommandRow, command: ConsumeInputs, settings: RuntimeSettings) -> Delta:
    """Named pending contributors are consumed while the run goes on."""
    check_needs(image, row, command, command.run_id)
    return _leave(image, row, command, settings, InputState.APPLIED_PENDING_CONSUMPTION)


def _leave(
    image: RuntimeImage,
    row: CommandRow,
    command: RollbackStaged | ConsumeInputs,
    settings: RuntimeSettings,
    state: InputState,
) -> Delta:
    runtime, named = image.runtime, command.input_ids
    known = {record.input_id: record for record in image.contributors() if record.state is state}
    if not named or len(set(named)) != len(named) or any(input_id not in known for input_id in named):
        problem = f"name distinct contributors that are {state}, at least one"
        raise ContributorsRefused(command.name, runtime.current_run_id, problem)
    stepper = Stepper(image, row, command, settings)
    stepper.send({Selection.NAMED: [known[input_id] for input_id in named]})
    left = set(named)
    delta = stepper.delta(contributors=tuple(each for each in runtime.contributors if each not in left))
    delta.outcome = named
    return delta


def _gave_back(stepper: Stepper) -> bool:
    """Whether the run leaves inputs to another one: the runtime wakes for them, whatever their policy (C16)."""
    return any(after.state is InputState.QUEUED for _, after in stepper.changed.values())


def _is_repeated(image: RuntimeImage, run_id: RunId, ending: RunEnding) -> bool:
    return image.runtime.last_run == LastRun(run_id, ending)
