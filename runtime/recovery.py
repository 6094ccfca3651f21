"""Recovery: what open, recover and recycle do with the inputs that a crash left in the middle.

Every input is classified from durable identity alone, its state and the stored receipts of its last run (C23), before
any is changed; each change is a row of machine 1. Doing it twice gives the same (C31).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve

from ..spec.commands import CommandRow
from ..spec.vocabulary import InputState, RunEnding, RuntimeEvent, RuntimeState
from .commands import Open, Settle
from .delta import Delta
from .environment import RuntimeSettings
from .errors import RunInProgress, StoreCorruption
from .ids import InputId, RunId
from .image import RuntimeImage
from .outcomes import RecoveryDetail, RecoveryReport
from .records import PRIORITY_BIAS, InputRecord, RunBoundaryReceipt, stored_form
from .stepper import SELECTED, Facts, Stepper

_BEFORE_BOUNDARY = frozenset({InputState.ACCEPTED, InputState.QUEUED, InputState.STAGED})


def settle(image: RuntimeImage, row: CommandRow, command: Settle, settings: RuntimeSettings) -> Delta:
    """Open, recover or recycle. A terminal runtime is sent nothing; one with active inputs is corrupt."""
    runtime = image.runtime
    if runtime.state in row.done_in:
        return _untouched(image, command)
    if runtime.current_run_id is not None and command.handed_out:
        raise RunInProgress(command.name, runtime.current_run_id)
    if type(command) is Open and runtime.state is RuntimeState.RECOVERING:
        raise StoreCorruption(
            f"runtime {runtime.runtime_id!r}", "it is stored as recovering, a state that is never stored"
        )
    stepper = Stepper(image, row, command, settings)
    for event in row.sends:
        if event is not RuntimeEvent.INITIALIZE or stepper.state is RuntimeState.INITIALIZING:
            stepper.send_runtime(event)
    report = _settle_inputs(stepper, command.receipts)
    delta = stepper.delta(ending=RunEnding.RECOVERED, contributors=() if runtime.contributors else None)
    delta.outcome = report
    delta.wake = any(record.admission.wakes for record in _queued_after(image, stepper))
    return _claimed(image, delta) if type(command) is Open else _without_idle_commit(image, delta)


def _untouched(image: RuntimeImage, command: Settle) -> Delta:
    runtime = image.runtime
    where = f"runtime {runtime.runtime_id!r}"
    active = sum(not record.admission.is_ephemeral for record in image.inputs.values())
    if active:
        raise StoreCorruption(where, f"it is {runtime.state}, yet {active} of its inputs are active")
    if runtime.current_run_id is not None:
        raise StoreCorruption(where, f"it is {runtime.state}, yet run {runtime.current_run_id} is current")
    delta = Delta(runtime=runtime, outcome=RecoveryReport())
    return _claimed(image, delta) if type(command) is Open else delta


def _claimed(image: RuntimeImage, delta: Delta) -> Delta:
    """Opening always commits: it raises the epoch."""
    before = image.runtime
    delta.runtime = evolve(delta.runtime, epoch=before.epoch + 1, revision=before.revision + 1)
    delta.stored = True
    return delta


def _without_idle_commit(image: RuntimeImage, delta: Delta) -> Delta:
    """Recovering what is settled already changes nothing in the store (C31)."""
    same = evolve(delta.runtime, revision=image.runtime.revision)
    changed = any(after is not None and not after.admission.is_ephemeral for _, after in delta.changes)
    if not changed and stored_form(same) == stored_form(image.runtime):
        delta.runtime, delta.stored = same, False
    return delta


def _settle_inputs(stepper: Stepper, receipts: Iterable[RunBoundaryReceipt]) -> RecoveryReport:
    (group,) = stepper.row.inputs
    active = SELECTED[group.select](stepper.image)
    listed: dict[RunId, set[InputId]] = {}
    for receipt in receipts:
        listed.setdefault(receipt.run_id, set()).update(receipt.stored_input_ids)
    classified = [(record, _identity(record, listed)) for record in active]
    _check_orders(stepper.image, active)
    for record, facts in classified:
        stepper.send_group(group, (record,), facts)
    return _report(stepper, active)


def _identity(record: InputRecord, listed: Mapping[RunId, set[InputId]]) -> Facts:
    run_id = record.last_run_id
    receipt_lists = run_id is not None and record.input_id in listed.get(run_id, ())
    if receipt_lists and record.state in _BEFORE_BOUNDARY:
        # Running it again would consume it twice (receipt_is_accounted_for).
        problem = f"it is {record.state}, yet a committed boundary of run {run_id} lists it"
        raise StoreCorruption(f"input {record.input_id}", problem)
    return {
        "consumes_on_accept": record.admission.decision.consumes_on_accept,
        "receipt_lists": receipt_lists,
    }


def _check_orders(image: RuntimeImage, active: Sequence[InputRecord]) -> None:
    """An order key that is given out twice would make every later accept fail."""
    following = image.runtime.next_order
    for record in active:
        given = record.order if record.order > 0 else record.order - PRIORITY_BIAS
        if given >= following:
            problem = f"input {record.input_id} has order key {given}, yet {following} is to be given out next"
            raise StoreCorruption(f"runtime {image.runtime.runtime_id!r}", problem)


def _report(stepper: Stepper, active: Sequence[InputRecord]) -> RecoveryReport:
    details = []
    for before in active:
        after = stepper.after(before)
        if after is not before:
            stepper.amend(evolve(after, recovery_count=after.recovery_count + 1))
            details.append(RecoveryDetail(after.input_id, before.state, after.state))
    ends = [detail.to_state for detail in details]
    return RecoveryReport(
        recovered=len(active),
        requeued=ends.count(InputState.QUEUED),
        consumed=ends.count(InputState.CONSUMED),
        abandoned=ends.count(InputState.ABANDONED),
        details=tuple(details),
    )


def _queued_after(image: RuntimeImage, stepper: Stepper) -> Iterable[InputRecord]:
    return (after for record in image.inputs.values() if (after := stepper.after(record)).state is InputState.QUEUED)
