"""What the store must hold after a list of calls: a second, smaller account of the semantics, for the kill campaign.

It shares nothing with the core but the words: no command table, no machine. The calls of a campaign are one list, in
the order in which they were made; a store that survived a kill equals this model after some prefix of that list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, final

from attrs import Factory, define, field

from ..spec.vocabulary import AbandonReason, InputState, OutcomeKind, RuntimeState

MAX_ATTEMPTS: Final = 3
MAX_BATCH: Final = 4
PRIORITY_SHIFT: Final = 2**62

Operation: TypeAlias = dict[str, Any]
"""One call: ``n`` (its number), ``op``, ``rt`` (the runtime) and its arguments, all plain JSON."""

REFUSED: Final = "refused"


@final
@define
class ModelInput:
    """One input, as the model has it. ``boundary`` is the sequence of the receipt that lists it."""

    input_id: str
    order: int
    kind: str
    key: str | None
    scope: str | None
    state: InputState = InputState.QUEUED
    attempts: int = 0
    failures: int = 0
    run_id: str | None = None
    boundary: int | None = None
    outcome: OutcomeKind | None = None
    reason: AbandonReason | None = None
    successor: str | None = None

    @property
    def lane(self) -> int:
        """0 for the steer lane, which is worked off first, 1 for the queue lane."""
        return 0 if self.kind in {"steer", "progress"} else 1

    def end(self, state: InputState, outcome: OutcomeKind, reason: AbandonReason | None = None) -> None:
        """The input ends."""
        self.state, self.outcome, self.reason = state, outcome, reason

    def abandon(self, reason: AbandonReason) -> None:
        """The input is given up."""
        self.end(InputState.ABANDONED, OutcomeKind.ABANDONED, reason)

    def facts(self) -> tuple[object, ...]:
        """What is compared with the stored record."""
        return (
            self.state,
            self.order,
            self.attempts,
            self.failures,
            self.run_id,
            self.boundary,
            self.outcome,
            self.reason,
            self.successor,
        )


@final
@define
class ModelRuntime:
    """One runtime, as the model has it."""

    state: RuntimeState = RuntimeState.IDLE
    before_run: RuntimeState | None = None
    run_id: str | None = None
    contributors: list[str] = Factory(list)
    epoch: int = 0
    next_order: int = 1
    snapshot: str | None = None
    inputs: dict[str, ModelInput] = Factory(dict)
    active: dict[str, ModelInput] = Factory(dict)
    keys: set[str] = Factory(set)
    receipts: dict[str, list[str]] = Factory(dict)
    results: dict[str, str] = Factory(dict)

    def facts(self) -> tuple[object, ...]:
        """What is compared with the stored record."""
        return (
            self.state,
            self.before_run,
            self.run_id,
            tuple(self.contributors),
            self.epoch,
            self.next_order,
            self.snapshot,
            len(self.active),
            len(self.inputs),
            len(self.receipts),
        )

    def batch(self) -> list[ModelInput]:
        """What a run begun now takes: a prefix of the first lane that has anything, prompts and failed ones alone."""
        for lane in (0, 1):
            taken: list[ModelInput] = []
            queued = [each for each in self.active.values() if each.state is InputState.QUEUED and each.lane == lane]
            for each in sorted(queued, key=lambda item: item.order)[:MAX_BATCH]:
                alone = each.failures > 0 or each.kind == "prompt"
                if taken and alone:
                    break
                taken.append(each)
                if alone:
                    break
            if taken:
                return taken
        return []

    def end_run(self) -> None:
        """The runtime goes back to where its run began, unless it was retired meanwhile."""
        if self.state is RuntimeState.RUNNING and self.before_run is not None:
            self.state = self.before_run
        self.run_id, self.before_run, self.contributors = None, None, []

    def settle(self) -> None:
        """What opening and recycling do with what they find."""
        for each in list(self.active.values()):
            if each.state is InputState.APPLIED_PENDING_CONSUMPTION:
                self.close(each, InputState.CONSUMED, OutcomeKind.CONSUMED)
            elif each.state is InputState.STAGED:
                self.fail(each)

    def fail(self, each: ModelInput) -> None:
        """One more failure: the input is queued again where it was, or given up at the cap."""
        each.failures += 1
        each.state = InputState.QUEUED
        if each.failures >= MAX_ATTEMPTS:
            self.abandon(each, AbandonReason.ATTEMPTS_EXHAUSTED)

    def close(self, each: ModelInput, state: InputState, outcome: OutcomeKind) -> None:
        """An input ends and is active no more."""
        each.end(state, outcome)
        del self.active[each.input_id]

    def abandon(self, each: ModelInput, reason: AbandonReason) -> None:
        """An input is given up and is active no more."""
        each.abandon(reason)
        del self.active[each.input_id]


@final
@define
class Model:
    """All runtimes of a campaign. ``apply`` returns what the call must have answered."""

    runtimes: dict[str, ModelRuntime] = Factory(dict)
    touched: set[str] = field(factory=set)
    """Runtimes that were changed since somebody cleared this set."""

    def apply(self, operation: Operation) -> object:
        """Do one operation; the answer is plain JSON, ``REFUSED`` where the call raises."""
        name = operation["rt"]
        self.touched.add(name)
        runtime = self.runtimes.get(name)
        if runtime is None:
            runtime = self.runtimes[name] = ModelRuntime()
        return _CALLS[operation["op"]](runtime, operation)


# -- the calls ---------------------------------------------------------------------------------------------------------


def _open(runtime: ModelRuntime, operation: Operation) -> object:
    retired = RuntimeState.RETIRED in {runtime.state, runtime.before_run}
    runtime.settle()
    runtime.end_run()
    runtime.state = RuntimeState.RETIRED if retired else RuntimeState.IDLE
    runtime.epoch += 1
    return "opened"


def _accept(runtime: ModelRuntime, operation: Operation) -> object:
    input_id, key, scope = operation["id"], operation.get("key"), operation.get("scope")
    if input_id in runtime.inputs or (key is not None and key in runtime.keys):
        return "deduplicated"
    began_retired = runtime.before_run is RuntimeState.RETIRED
    if runtime.state is RuntimeState.RETIRED or began_retired:
        return REFUSED
    order = runtime.next_order
    runtime.next_order += 1
    new = ModelInput(input_id, order, operation["kind"], key, scope)
    runtime.inputs[input_id] = new
    if key is not None:
        runtime.keys.add(key)
    if new.kind == "operation":
        new.order = order - PRIORITY_SHIFT
        new.end(InputState.CONSUMED, OutcomeKind.CONSUMED)
        return "accepted"
    if scope is not None:
        for old in list(runtime.active.values()):
            if old.scope == scope and old.state is InputState.QUEUED:
                runtime.close(old, InputState.COALESCED, OutcomeKind.COALESCED)
                old.successor = input_id
    runtime.active[input_id] = new
    return "accepted"


def _begin(runtime: ModelRuntime, operation: Operation) -> object:
    if runtime.run_id is not None:
        return REFUSED
    batch = runtime.batch()
    if not batch:
        return []
    for each in batch:
        each.state, each.run_id = InputState.STAGED, operation["run"]
        each.attempts += 1
    runtime.before_run, runtime.state = runtime.state, RuntimeState.RUNNING
    runtime.run_id = operation["run"]
    runtime.contributors = [each.input_id for each in batch]
    return list(runtime.contributors)


def _boundary(runtime: ModelRuntime, operation: Operation) -> object:
    if runtime.run_id != operation["run"]:
        return REFUSED
    for input_id in runtime.contributors:
        each = runtime.inputs[input_id]
        each.state, each.boundary = InputState.APPLIED_PENDING_CONSUMPTION, 0
    runtime.receipts[operation["run"]] = list(runtime.contributors)
    runtime.snapshot = operation["snapshot"]
    return "done"


def _complete(runtime: ModelRuntime, operation: Operation) -> object:
    run_id = operation["run"]
    if runtime.run_id != run_id:
        return REFUSED
    if run_id not in runtime.receipts:
        _boundary(runtime, operation)
    for input_id in runtime.contributors:
        runtime.close(runtime.inputs[input_id], InputState.CONSUMED, OutcomeKind.CONSUMED)
    runtime.results[run_id] = operation["result"]
    runtime.end_run()
    return "done"


def _fail(runtime: ModelRuntime, operation: Operation) -> object:
    if runtime.run_id != operation["run"]:
        return REFUSED
    alone = len(runtime.contributors) == 1
    for input_id in runtime.contributors:
        each = runtime.inputs[input_id]
        if each.state is InputState.APPLIED_PENDING_CONSUMPTION:
            runtime.close(each, InputState.CONSUMED, OutcomeKind.CONSUMED)
        elif alone and not operation["recoverable"]:
            runtime.abandon(each, AbandonReason.FAILED)
        else:
            runtime.fail(each)
    runtime.end_run()
    return "done"


def _call_off(runtime: ModelRuntime, operation: Operation) -> object:
    if runtime.run_id != operation["run"]:
        return REFUSED
    for input_id in runtime.contributors:
        each = runtime.inputs[input_id]
        if each.state is InputState.STAGED:
            each.state = InputState.QUEUED
        else:
            runtime.close(each, InputState.CONSUMED, OutcomeKind.CONSUMED)
    runtime.end_run()
    return "done"


def _cancel(runtime: ModelRuntime, operation: Operation) -> object:
    each = runtime.inputs.get(operation["id"])
    if each is None:
        return "unknown"
    if each.outcome is not None:
        return "ended"
    if each.state is not InputState.QUEUED:
        return "in flight"
    runtime.abandon(each, AbandonReason.CANCELLED)
    return "cancelled"


def _retire(runtime: ModelRuntime, operation: Operation) -> object:
    runtime.state = RuntimeState.RETIRED
    return "done"


def _recycle(runtime: ModelRuntime, operation: Operation) -> object:
    if runtime.run_id is not None:
        return REFUSED
    runtime.settle()
    runtime.state = RuntimeState.IDLE
    return "done"


def _reset(runtime: ModelRuntime, operation: Operation) -> object:
    if runtime.run_id is not None:
        return REFUSED
    for each in list(runtime.active.values()):
        runtime.abandon(each, AbandonReason.RESET)
    runtime.state = RuntimeState.IDLE
    return "done"


_CALLS: Final[dict[str, Callable[[ModelRuntime, Operation], object]]] = {
    "open": _open,
    "accept": _accept,
    "begin": _begin,
    "boundary": _boundary,
    "complete": _complete,
    "fail": _fail,
    "call_off": _call_off,
    "cancel": _cancel,
    "retire": _retire,
    "recycle": _recycle,
    "reset": _reset,
}
