"""What holds from before a command to after it, whatever the tables say.

An image in memory forgets what ended; with images of a store at rest these properties see the ended inputs too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import final

from attrs import frozen

from .views import IN_FLIGHT, LANES, Image, InputView, all_inputs, ended_inputs, queued_in
from .vocabulary import CommandName, Durability, InputState, Lane, QueueMode, RuntimeState

Problems = Iterator[str]

_C, _S = CommandName, RuntimeState
_TERMINAL = frozenset({_S.STOPPED, _S.DESTROYED})
_RUN_ENDS = frozenset({_C.RUN_COMPLETED, _C.RUN_FAILED, _C.RUN_CANCELLED})
_LEAVES_RETIRED = frozenset({_C.RESET, _C.RECYCLE, _C.STOP, _C.DESTROY})
_REPLACING = frozenset({QueueMode.COALESCE, QueueMode.SUPERSEDE})


@final
@frozen
class StepProperty:
    """One named property of a step. ``check`` yields a sentence for each way in which the step breaks it."""

    name: str
    doc: str
    check: Callable[[Image, CommandName, Image], Problems]


def _frozen(before: Image, command: CommandName, after: Image) -> Problems:
    if after.stored is None:
        return
    now = {each.input_id: each for each in all_inputs(after)}
    for each in ended_inputs(before):
        if now.get(each.input_id) != each:
            yield f"input {each.input_id} had ended and is {'changed' if each.input_id in now else 'gone'}"


def _order_kept(before: Image, command: CommandName, after: Image) -> Problems:
    for lane in LANES:
        was, now = ([each.input_id for each in queued_in(image, lane)] for image in (before, after))
        both = set(was) & set(now)
        if [each for each in was if each in both] != [each for each in now if each in both]:
            yield f"the inputs of the {lane} lane changed places"


def _attempts_kept(before: Image, command: CommandName, after: Image) -> Problems:
    now = {each.input_id: each for each in all_inputs(after)}
    for each in all_inputs(before):
        later = now.get(each.input_id, each)
        for what in ("attempt_count", "failure_count", "recovery_count"):
            if getattr(later, what) < getattr(each, what):
                yield f"{what} of input {each.input_id} fell from {getattr(each, what)} to {getattr(later, what)}"


def _newly_staged(before: Image, after: Image) -> list[InputView]:
    was = {each.input_id for each in before.active if each.state is InputState.STAGED}
    found = [each for each in after.active if each.state is InputState.STAGED and each.input_id not in was]
    return sorted(found, key=lambda each: each.order)


def _prefix(before: Image, command: CommandName, after: Image) -> Problems:
    staged = _newly_staged(before, after)
    if command not in {_C.BEGIN_RUN, _C.STAGE_MORE}:
        if staged:
            yield f"{len(staged)} inputs were staged"
        return
    ids = [each.input_id for each in staged]
    lanes = {each.admission.lane for each in staged}
    if len(lanes) > 1 or len({each.admission.boundary for each in staged}) > 1:
        yield "the batch has inputs of two lanes or two boundaries"
        return
    for lane in lanes:
        first = [each.input_id for each in queued_in(before, lane)[: len(ids)]]
        if first != ids:
            yield f"the batch is not the front of the {lane} lane"
    if list(after.runtime.contributors) != [*before.runtime.contributors, *ids]:
        yield "the contributors are not what was staged, in order"
    yield from _batch_rules(before, command, staged)


def _batch_rules(before: Image, command: CommandName, staged: list[InputView]) -> Problems:
    failed = any(each.failure_count for each in staged)
    if command is _C.BEGIN_RUN:
        if not staged:
            yield "a run began with an empty batch"
        if failed and len(staged) > 1:
            yield "an input that failed before is not alone in its batch"
        if len(staged) > 1 and any(each.admission.is_prompt and each.admission.lane is Lane.QUEUE for each in staged):
            yield "a prompt is not alone in its batch"
        ahead = queued_in(before, Lane.STEER)
        if ahead and ahead[0].not_before is None and any(each.admission.lane is Lane.QUEUE for each in staged):
            yield "the queue lane was taken while the steer lane had work"
    elif failed or any(each.admission.lane is Lane.QUEUE for each in staged):
        yield "what joins a run comes from the steer lane and has not failed"


def _epoch_kept(before: Image, command: CommandName, after: Image) -> Problems:
    raised = after.runtime.epoch - before.runtime.epoch
    if raised != (1 if command is _C.OPEN else 0):
        yield f"the epoch went from {before.runtime.epoch} to {after.runtime.epoch}"
    if after.runtime.revision < before.runtime.revision:
        yield f"the revision fell from {before.runtime.revision} to {after.runtime.revision}"


def _is_retired(image: Image) -> bool:
    runtime = image.runtime
    return runtime.state is _S.RETIRED or (runtime.state is _S.RUNNING and runtime.pre_run_state is _S.RETIRED)


def _sticky(before: Image, command: CommandName, after: Image) -> Problems:
    if _is_retired(before) and not _is_retired(after) and command not in _LEAVES_RETIRED:
        yield f"the runtime was retired and is {after.runtime.state}"


def _returns(before: Image, command: CommandName, after: Image) -> Problems:
    was, now = before.runtime, after.runtime
    if command not in _RUN_ENDS or was.current_run_id is None or now.current_run_id is not None:
        return
    expected = was.pre_run_state if was.state is _S.RUNNING else was.state
    if now.state is not expected:
        yield f"the run began in {expected} and ended in {now.state}"


# -- what each command leaves --------------------------------------------------------------------------------------


def _nothing_active(before: Image, after: Image) -> Problems:
    if after.active:
        yield f"{len(after.active)} inputs are active"


def _settled(before: Image, after: Image) -> Problems:
    for each in after.active:
        if each.state in IN_FLIGHT or each.state is InputState.ACCEPTED:
            yield f"input {each.input_id} is {each.state}"


def _no_work_outside(before: Image, after: Image) -> Problems:
    outside = [each.input_id for each in after.active if each.input_id not in after.runtime.contributors]
    if outside:
        yield f"{len(outside)} inputs outside the run are active"


def _is_attached(image: Image) -> bool:
    # What a run began in says so only while it is what the run returns to: being retired takes the attachment too.
    runtime = image.runtime
    return _S.ATTACHED is (runtime.pre_run_state if runtime.state is _S.RUNNING else runtime.state)


def _attached(before: Image, after: Image) -> Problems:
    # Being attached is volatile: a store has idle in its place.
    if after.stored is None and not _is_attached(after):
        yield "nobody is attached"


def _detached(before: Image, after: Image) -> Problems:
    if _is_attached(after):
        yield "somebody is attached"


def _boundary_left_none_staged(before: Image, after: Image) -> Problems:
    if after.runtime.boundary_count != before.runtime.boundary_count:
        staged = sum(each.state is InputState.STAGED for each in after.active)
        if staged:
            yield f"{staged} inputs are staged after the boundary"


def _one_per_scope(before: Image, after: Image) -> Problems:
    known = {each.input_id for each in before.active}
    for new in after.active:
        admission = new.admission
        if new.input_id in known or admission.supersession_key is None:
            continue
        if admission.decision.queue_mode in _REPLACING:
            others = sum(_is_replaced(each, new) for each in after.active)
            if others:
                yield f"input {new.input_id} left {others} others of its scope queued"


def _is_replaced(other: InputView, new: InputView) -> bool:
    """Whether a replacing ``new`` has to end ``other``: queued, same scope, not durable if ``new`` is ephemeral."""
    one, two = other.admission, new.admission
    return (
        other.input_id != new.input_id
        and other.state is InputState.QUEUED
        and (one.kind, one.supersession_key) == (two.kind, two.supersession_key)
        and (two.durability is not Durability.EPHEMERAL or one.durability is Durability.EPHEMERAL)
    )


@final
@frozen
class _Leaves:
    """The states that a command may end in (None: the one it began in), whether a run is current then, and the rest."""

    states: frozenset[RuntimeState] | None = None
    run: bool | None = None
    rest: Callable[[Image, Image], Problems] | None = None


def _in(*states: RuntimeState) -> frozenset[RuntimeState]:
    return frozenset(states)


_RESUMED = _in(_S.IDLE, _S.RETIRED, *_TERMINAL)
_SETTLED = frozenset(_S) - {_S.INITIALIZING, _S.RECOVERING}
# fmt: off
_LEAVES: Mapping[CommandName, _Leaves] = MappingProxyType({
    _C.ACCEPT:           _Leaves(rest=_one_per_scope),
    _C.OPEN:             _Leaves(_RESUMED, run=False, rest=_settled),
    _C.ATTACH:           _Leaves(_in(_S.IDLE, _S.ATTACHED, _S.RUNNING), rest=_attached),
    _C.DETACH:           _Leaves(frozenset(_S) - {_S.ATTACHED}, rest=_detached),
    _C.BEGIN_RUN:        _Leaves(_in(_S.RUNNING), run=True),
    _C.STAGE_MORE:       _Leaves(run=True),
    _C.BOUNDARY_APPLIED: _Leaves(rest=_boundary_left_none_staged),
    _C.RUN_COMPLETED:    _Leaves(_SETTLED),
    _C.RUN_FAILED:       _Leaves(_SETTLED),
    _C.RUN_CANCELLED:    _Leaves(_SETTLED),
    _C.ROLLBACK_STAGED:  _Leaves(run=True),
    _C.CONSUME_INPUTS:   _Leaves(run=True),
    _C.CANCEL:           _Leaves(),
    _C.ABANDON_PENDING:  _Leaves(rest=_no_work_outside),
    _C.RETIRE:           _Leaves(_in(_S.RETIRED)),
    _C.RESET:            _Leaves(_in(_S.IDLE), run=False, rest=_nothing_active),
    _C.STOP:             _Leaves(_in(_S.STOPPED), run=False, rest=_nothing_active),
    _C.DESTROY:          _Leaves(_in(_S.DESTROYED), run=False, rest=_nothing_active),
    _C.RECYCLE:          _Leaves(_in(_S.IDLE), run=False, rest=_settled),
    _C.RECOVER:          _Leaves(_RESUMED, run=False, rest=_settled),
    _C.RESUME:           _Leaves(frozenset(_S) - {_S.RECOVERING}),
})
# fmt: on


def _ends(before: Image, command: CommandName, after: Image) -> Problems:
    leaves, was, now = _LEAVES[command], before.runtime, after.runtime
    if leaves.states is None and now.state is not was.state:
        yield f"the runtime was {was.state} and is {now.state}"
    if leaves.states is not None and now.state not in leaves.states:
        yield f"the runtime is {now.state}"
    if was.state in _TERMINAL and now.state is not was.state and command is not _C.DESTROY:
        yield f"the runtime was {was.state} for good and is {now.state}"
    if now.state in _TERMINAL and was.state not in _TERMINAL and command not in {_C.STOP, _C.DESTROY}:
        yield f"the runtime became {now.state}"
    if leaves.run is not None and (now.current_run_id is not None) is not leaves.run:
        yield f"the current run is {now.current_run_id}"
    if leaves.rest is not None:
        yield from leaves.rest(before, after)


_ALL = (
    StepProperty("terminal_inputs_are_frozen", "An ended input never changes and never goes.", _frozen),
    StepProperty("order_is_kept", "Queued inputs of a lane never change places (C13).", _order_kept),
    StepProperty("attempts_never_fall", "Attempts, failures, recoveries only rise (C14).", _attempts_kept),
    StepProperty("batch_is_a_prefix", "Only begin_run and stage_more stage: the front of a lane (C12).", _prefix),
    StepProperty("epoch_never_falls", "Only an open raises the epoch; the revision never falls.", _epoch_kept),
    StepProperty("retired_is_sticky", "Only reset, recycle, stop and destroy leave retired (C33).", _sticky),
    StepProperty("run_end_returns_where_it_began", "A run ends in the state that it began in, or retired.", _returns),
    StepProperty("command_ends_in_its_state", "A command ends in the state it names, leaves what it names.", _ends),
)

STEP_PROPERTIES: Mapping[str, StepProperty] = MappingProxyType({each.name: each for each in _ALL})


def check_step(before: Image, command: CommandName, after: Image) -> tuple[str, ...]:
    """Everything that is wrong with a step that was taken, as ``name: command: problem``."""
    return tuple(
        f"{each.name}: {command}: {problem}"
        for each in STEP_PROPERTIES.values()
        for problem in each.check(before, command, after)
    )
