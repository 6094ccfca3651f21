"""The core: ``step(image, command, settings) → Delta``. No I/O, no clock, nothing changed on the way to an error.

``step`` interprets the command's row: it checks what the row needs, sends its runtime events, gives each selected input
the first rule that fits, and hands what came of it to the finish of that command, which stamps what no machine holds
(order keys, contributors, receipts, reports). A command module of its own holds the longer ones: admission, runs,
recovery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar, cast

from attrs import evolve

from ..spec.commands import COMMANDS, CommandRow, Selection
from ..spec.vocabulary import CommandName, InputState, OutcomeKind, RunEnding, RuntimeState
from . import admission, recovery, runs
from .commands import AbandonPending, CancelInput, Command
from .delta import Delta
from .environment import RuntimeSettings
from .errors import RunInProgress
from .ids import RunId
from .image import RuntimeImage
from .outcomes import Cancelled, CancelOutcome, DetachReport, Ended, EndReport, InFlight, RetireReport, Unknown
from .stepper import Stepper

C = TypeVar("C", bound=Command)
Handler = Callable[[RuntimeImage, CommandRow, C, RuntimeSettings], Delta]


def step(image: RuntimeImage, command: Command, settings: RuntimeSettings) -> Delta:
    """What ``command`` changes. Raises a ``HoldstateError`` where it is refused; the image is as before in any case."""
    row = COMMANDS[command.name]
    delta = _HANDLERS[command.name](image, row, command, settings)
    if settings.event_log and delta.stored and delta.announcements:
        counts = delta.runtime.counts
        counts = evolve(counts, events=counts.events + len(delta.announcements))
        delta.runtime = evolve(delta.runtime, counts=counts)
    return delta


def _done(image: RuntimeImage, outcome: object) -> Delta:
    return Delta(runtime=image.runtime, outcome=outcome)


def _attach(image: RuntimeImage, row: CommandRow, command: Command, settings: RuntimeSettings) -> Delta:
    stepper = Stepper(image, row, command, settings)
    stepper.send()
    return stepper.delta()


def _detach(image: RuntimeImage, row: CommandRow, command: Command, settings: RuntimeSettings) -> Delta:
    runtime = image.runtime
    state = runtime.pre_run_state if runtime.state is RuntimeState.RUNNING else runtime.state
    if state is not RuntimeState.ATTACHED:  # being retired takes the attachment too
        return _done(image, DetachReport(was_attached=False))
    stepper = Stepper(image, row, command, settings)
    stepper.send()
    delta = stepper.delta()
    delta.outcome = DetachReport(was_attached=True)
    return delta


def _cancel(image: RuntimeImage, row: CommandRow, command: CancelInput, settings: RuntimeSettings) -> Delta:
    record = image.inputs.get(command.input_id)
    if record is None:
        return _done(image, _unavailable(command))
    stepper = Stepper(image, row, command, settings)
    stepper.send({Selection.NAMED: [record]})
    delta = stepper.delta()
    if not delta.changes:  # no rule of the row speaks of an input that a run has taken
        return _done(image, InFlight(command.input_id, cast("RunId", record.last_run_id)))
    delta.outcome = Cancelled(command.input_id)
    return delta


def _unavailable(command: CancelInput) -> CancelOutcome:
    outcome = command.existing.terminal_outcome if command.existing is not None else None
    return Unknown(command.input_id) if outcome is None else Ended(command.input_id, outcome)


def _abandon_pending(image: RuntimeImage, row: CommandRow, command: AbandonPending, settings: RuntimeSettings) -> Delta:
    stepper = Stepper(image, row, command, settings)
    stepper.send()
    delta = stepper.delta()
    delta.outcome = _end_report(stepper)
    return delta


def _retire(image: RuntimeImage, row: CommandRow, command: Command, settings: RuntimeSettings) -> Delta:
    report = RetireReport(inputs_abandoned=0, inputs_pending_drain=len(image.inputs))
    if image.runtime.state in row.done_in:
        return _done(image, report)
    stepper = Stepper(image, row, command, settings)
    stepper.send()
    delta = stepper.delta()
    delta.outcome = report
    return delta


_ENDINGS: Mapping[CommandName, RunEnding | None] = {
    CommandName.RESET: None,
    CommandName.STOP: RunEnding.STOPPED,
    CommandName.DESTROY: RunEnding.DESTROYED,
}


def _end(image: RuntimeImage, row: CommandRow, command: Command, settings: RuntimeSettings) -> Delta:
    """Reset, stop and destroy: one runtime event, then every active input."""
    runtime = image.runtime
    if runtime.state in row.done_in:
        return _done(image, EndReport(inputs_abandoned=0))
    if command.name is CommandName.RESET and runtime.current_run_id is not None:
        raise RunInProgress("reset", runtime.current_run_id)
    stepper = Stepper(image, row, command, settings)
    stepper.send()
    delta = stepper.delta(ending=_ENDINGS[command.name])
    delta.outcome = _end_report(stepper)
    return delta


def _end_report(stepper: Stepper) -> EndReport:
    ended = [after for _, after in stepper.changed.values()]
    return EndReport(
        inputs_abandoned=sum(after.state is InputState.ABANDONED for after in ended),
        inputs_consumed=sum(after.outcome_kind is OutcomeKind.CONSUMED for after in ended),
    )


def _resume(image: RuntimeImage, row: CommandRow, command: Command, settings: RuntimeSettings) -> Delta:
    if image.runtime.state in row.done_in:
        return _done(image, None)
    stepper = Stepper(image, row, command, settings)
    stepper.send()
    return stepper.delta()


def _handlers() -> Mapping[CommandName, Handler[Command]]:
    named: dict[CommandName, object] = {
        CommandName.ACCEPT: admission.accept,
        CommandName.OPEN: recovery.settle,
        CommandName.RECOVER: recovery.settle,
        CommandName.RECYCLE: recovery.settle,
        CommandName.ATTACH: _attach,
        CommandName.DETACH: _detach,
        CommandName.BEGIN_RUN: runs.begin,
        CommandName.STAGE_MORE: runs.stage_more,
        CommandName.BOUNDARY_APPLIED: runs.apply_boundary,
        CommandName.RUN_COMPLETED: runs.complete,
        CommandName.RUN_FAILED: runs.fail,
        CommandName.RUN_CANCELLED: runs.cancel,
        CommandName.ROLLBACK_STAGED: runs.rollback_staged,
        CommandName.CONSUME_INPUTS: runs.consume_inputs,
        CommandName.CANCEL: _cancel,
        CommandName.ABANDON_PENDING: _abandon_pending,
        CommandName.RETIRE: _retire,
        CommandName.RESET: _end,
        CommandName.STOP: _end,
        CommandName.DESTROY: _end,
        CommandName.RESUME: _resume,
    }
    return MappingProxyType({name: cast("Handler[Command]", handler) for name, handler in named.items()})


_HANDLERS = _handlers()
