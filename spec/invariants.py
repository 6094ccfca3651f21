"""The named invariants: what holds of every runtime, after every command and on every store at rest.

Each is a function from an image to the sentences that say what is wrong. ``LIVE`` ones are decided from a runtime and
its active inputs, so debug mode checks them after every command; ``REST`` ones need all that is stored. A LIVE one
looks at the stored rows too where it can see them. None of them uses a machine or a command table: tables can only be
checked against something that is not themselves. ``relations`` has the invariants that speak of more than one image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import TypeVar, final
from uuid import UUID

from attrs import frozen

from .views import ENDED, IN_FLIGHT, LANES, Image, InputView, ReceiptView, Stored, all_inputs, ended_inputs, queued_in
from .vocabulary import AbandonReason, Durability, InputState, OutcomeKind, RuntimeState

PRIORITY_SHIFT = 2**62
"""Order keys of the priority class are negative: the counter minus this."""

T = TypeVar("T", bound=Hashable)
Problems = Iterator[str]


@final
class Scope(Enum):
    """What has to be visible: a runtime in memory, or everything that a store at rest holds of it."""

    LIVE = "live"
    REST = "rest"


@final
@frozen
class Invariant:
    """One named invariant. ``check`` yields a sentence for each way in which an image breaks it."""

    name: str
    doc: str
    scope: Scope
    check: Callable[[Image], Problems]


def _repeated(found: Sequence[T]) -> Iterator[tuple[T, int]]:
    """What is there more than once, and how often. A set is made first: almost always there is nothing to count."""
    if len(set(found)) < len(found):
        yield from ((each, times) for each, times in Counter(found).items() if times > 1)


# -- the runtime and its run -------------------------------------------------------------------------------------------


def _terminal(image: Image) -> Problems:
    if image.runtime.state in {RuntimeState.STOPPED, RuntimeState.DESTROYED}:
        for each in image.active:
            yield f"the runtime is {image.runtime.state}, yet input {each.input_id} is {each.state}"


def _running(image: Image) -> Problems:
    runtime = image.runtime
    if runtime.current_run_id is None and runtime.state is RuntimeState.RUNNING:
        yield "the runtime is running and has no current run"
    if runtime.current_run_id is not None and runtime.state not in {RuntimeState.RUNNING, RuntimeState.RETIRED}:
        yield f"the runtime is {runtime.state}, yet run {runtime.current_run_id} is current"


def _in_flight(image: Image) -> Problems:
    runtime = image.runtime
    if runtime.current_run_id is None and runtime.contributors:
        yield f"no run is current, yet {len(runtime.contributors)} contributors are listed"
    for input_id, times in _repeated(runtime.contributors):
        yield f"contributor {input_id} is listed {times} times"
    listed = set(runtime.contributors)
    states = {each.input_id: each.state for each in all_inputs(image)}
    for each in image.active:
        if each.state not in IN_FLIGHT:
            continue
        if each.input_id not in listed:
            yield f"input {each.input_id} is {each.state} and no contributor of the current run"
        elif each.last_run_id != runtime.current_run_id:
            yield f"contributor {each.input_id} was last staged by run {each.last_run_id}"
    for input_id in runtime.contributors:
        state = states.get(input_id)
        # A store does not hold the ephemeral contributors that it lists; memory does.
        if state not in IN_FLIGHT and (state is not None or image.stored is None):
            yield f"contributor {input_id} is {'missing' if state is None else state}"


def _resumable(image: Image) -> Problems:
    runtime = image.runtime
    if runtime.state in {RuntimeState.ATTACHED, RuntimeState.RECOVERING, RuntimeState.INITIALIZING}:
        yield f"the runtime is stored as {runtime.state}"
    if (runtime.pre_run_state is None) is not (runtime.current_run_id is None):
        yield f"the current run is {runtime.current_run_id}, the state before it {runtime.pre_run_state}"
    if runtime.pre_run_state not in {None, RuntimeState.IDLE, RuntimeState.RETIRED}:
        yield f"the state before the run is stored as {runtime.pre_run_state}"


# -- one input ---------------------------------------------------------------------------------------------------------


def _ordered(image: Image) -> Problems:
    for lane in LANES:
        for order, times in _repeated([each.order for each in queued_in(image, lane)]):
            yield f"{times} queued inputs of the {lane} lane have order key {order}"


def _accepted(image: Image) -> Problems:
    for each in image.active:
        if each.state is InputState.ACCEPTED and (each.last_run_id, each.last_boundary_sequence) != (None, None):
            yield f"input {each.input_id} is accepted, yet knows run {each.last_run_id}"


def _boundary(image: Image) -> Problems:
    applied = {InputState.APPLIED_PENDING_CONSUMPTION, InputState.CONSUMED}
    for each in all_inputs(image):
        if each.last_boundary_sequence is not None and each.state not in applied:
            yield f"input {each.input_id} is {each.state}, yet has boundary {each.last_boundary_sequence}"


def _outcome(image: Image) -> Problems:
    for each in image.active:
        if each.state in ENDED:
            yield f"input {each.input_id} is {each.state} and kept among the active ones"
    for each in ended_inputs(image):
        if each.state not in ENDED:
            yield f"input {each.input_id} is {each.state} and kept among the ended ones"
    for each in all_inputs(image):
        expected = OutcomeKind(each.state.value) if each.state in ENDED else None
        if each.outcome_kind is not expected:
            yield f"input {each.input_id} is {each.state}, its outcome is {each.outcome_kind}"
        if (each.abandon_reason is None) is (each.outcome_kind is OutcomeKind.ABANDONED):
            yield f"input {each.input_id} has the outcome {each.outcome_kind} and the reason {each.abandon_reason}"
        if (each.successor_id is None) is (each.outcome_kind in {OutcomeKind.SUPERSEDED, OutcomeKind.COALESCED}):
            yield f"input {each.input_id} has the outcome {each.outcome_kind} and the successor {each.successor_id}"


def _attempts(image: Image) -> Problems:
    for each in all_inputs(image):
        count, cap = each.failure_count, each.failure_cap
        if cap is None:
            if count:
                yield f"input {each.input_id} failed {count} times and no cap is known"
        elif each.abandon_reason is AbandonReason.ATTEMPTS_EXHAUSTED:
            # A cap that was lowered below the count takes effect at the next failure, so the count may be past it.
            if count < cap:
                yield f"input {each.input_id} was given up after {count} failures, its cap is {cap}"
        elif count > cap or (count == cap and each.state not in ENDED):
            yield f"input {each.input_id} is {each.state} after {count} failures, its cap is {cap}"


# -- receipts ----------------------------------------------------------------------------------------------------------


def _stored(image: Image) -> Stored:
    assert image.stored is not None, "this invariant needs all that is stored"
    return image.stored


def _lists(image: Image) -> dict[UUID, list[ReceiptView]]:
    lists: dict[UUID, list[ReceiptView]] = {}
    for receipt in _stored(image).receipts:
        for input_id in receipt.stored_input_ids:
            lists.setdefault(input_id, []).append(receipt)
    return lists


def _consumed_by_a_run(image: Image) -> Iterator[InputView]:
    for each in all_inputs(image):
        if each.state is InputState.CONSUMED and not each.admission.decision.consumes_on_accept:
            yield each


def _receipted(image: Image) -> Problems:
    lists = _lists(image)
    for each in _consumed_by_a_run(image):
        if each.input_id not in lists:
            yield f"input {each.input_id} was consumed by run {each.last_run_id}, and no stored receipt lists it"


def _exactly(image: Image) -> Problems:
    lists = _lists(image)
    for each in _consumed_by_a_run(image):
        found = [(receipt.run_id, receipt.sequence) for receipt in lists.get(each.input_id, ())]
        if found and (each.last_run_id, each.last_boundary_sequence) not in found:
            named = f"boundary {each.last_boundary_sequence} of run {each.last_run_id}"
            yield f"input {each.input_id} was consumed with {named}, which does not list it"
    for each in all_inputs(image):
        touched = (each.last_run_id, each.last_boundary_sequence, each.attempt_count) != (None, None, 0)
        if each.admission.decision.consumes_on_accept and touched:
            yield f"input {each.input_id} is consumed on accept, yet knows run {each.last_run_id}"


def _accounted(image: Image) -> Problems:
    states = {each.input_id: each.state for each in all_inputs(image)}
    accounted = {None, InputState.APPLIED_PENDING_CONSUMPTION, InputState.CONSUMED}
    for input_id, receipts in _lists(image).items():
        if states.get(input_id) not in accounted:
            yield f"input {input_id} is {states[input_id]}, yet a receipt of run {receipts[0].run_id} lists it"


def _listing(image: Image) -> Problems:
    stored = {each.input_id for each in all_inputs(image)}
    for input_id, receipts in _lists(image).items():
        if len(receipts) > 1 and input_id in stored:
            yield f"input {input_id} is listed by {len(receipts)} receipts"
    sequences: dict[UUID, list[int]] = {}
    for receipt in _stored(image).receipts:
        sequences.setdefault(receipt.run_id, []).append(receipt.sequence)
    for run_id, found in sequences.items():
        if sorted(found) != list(range(len(found))):
            yield f"the receipts of run {run_id} have the sequences {sorted(found)}"
    current = image.runtime.current_run_id
    if current is not None and len(sequences.get(current, ())) != image.runtime.boundary_count:
        yield f"run {current} has {len(sequences.get(current, ()))} receipts, counted {image.runtime.boundary_count}"


# -- keys, successors, counts ------------------------------------------------------------------------------------------


def _one_key(image: Image) -> Problems:
    keys = (each.admission.idempotency_key for each in all_inputs(image))
    for key, times in _repeated([key for key in keys if key is not None]):
        yield f"{times} inputs have the idempotency key {key!r}"


def _index(image: Image) -> Problems:
    keys = _stored(image).keys
    of_input = {each.input_id: each.admission.idempotency_key for each in all_inputs(image)}
    for key, input_id in keys.items():
        if of_input.get(input_id) != key:
            yield f"the index has {key!r} for input {input_id}, which does not have that key"
    for input_id, stored_key in of_input.items():
        if stored_key is not None and stored_key not in keys:
            yield f"the key {stored_key!r} of input {input_id} is not in the index"


def _successor(image: Image) -> Problems:
    stored = {each.input_id for each in all_inputs(image)}
    for each in all_inputs(image):
        if each.successor_id is not None and each.successor_id not in stored:
            yield f"input {each.input_id} names its successor {each.successor_id}, which is not stored"


def _counts(image: Image) -> Problems:
    runtime, counts = image.runtime, image.runtime.counts
    durable = image.set_aside + sum(each.admission.durability is not Durability.EPHEMERAL for each in image.active)
    rows = [("active inputs", durable, counts.active)]
    if image.stored is not None:
        stored, pruned = image.stored, image.stored.pruned
        rows += [
            ("ended inputs", len(stored.ended) + pruned.inputs, counts.ended),
            ("keys", len(stored.keys) + pruned.keys, counts.keys),
            ("receipts", len(stored.receipts) + pruned.receipts, counts.receipts),
            ("results", stored.results + pruned.results, counts.results),
            ("events", len(stored.events) + pruned.events, counts.events),
        ]
    for what, found, counted in rows:
        if found != counted:
            yield f"{found} {what}, counted {counted}"
    for each in all_inputs(image):
        if each.order + (PRIORITY_SHIFT if each.order < 0 else 0) >= runtime.next_order:
            yield f"input {each.input_id} has order key {each.order}, the next one is {runtime.next_order}"


def _log(image: Image) -> Problems:
    stored = _stored(image)
    first = stored.pruned.events
    for found, offset in zip(sorted(stored.events), range(first, first + len(stored.events)), strict=True):
        if found != offset:
            yield f"the log has an event with offset {found} where {offset} has to be"
            return


_L, _R = Scope.LIVE, Scope.REST
# fmt: off
_ROWS = (
    # name                                  scope check     what holds
    ("terminal_runtime_has_no_active_inputs",  _L, _terminal,   "A stopped or destroyed runtime has no active input."),
    ("running_has_a_current_run",              _L, _running,    "Running has a run; a run needs running or retired."),
    ("in_flight_belongs_to_current_run",       _L, _in_flight,  "Inputs in flight are the current run's contributors."),
    ("queue_order_is_total",                   _L, _ordered,    "Queued inputs of a lane have distinct order keys."),
    ("accepted_is_untouched",                  _L, _accepted,   "An accepted input knows no run and no boundary."),
    ("boundary_needs_application",             _L, _boundary,   "Only a pending or consumed input has a boundary."),
    ("outcome_matches_state",                  _L, _outcome,    "An outcome where the input ended, of that kind."),
    ("attempts_are_bounded",                   _L, _attempts,   "Active inputs failed less often than their cap."),
    ("one_input_per_key",                      _L, _one_key,    "An idempotency key has one input."),
    ("counts_equal_rows",                      _L, _counts,     "The runtime record counts its rows right."),
    ("consumed_has_a_receipt",                 _R, _receipted,  "What a run consumed is listed by a stored receipt."),
    ("consumed_exactly",                       _R, _exactly,    "The receipt it names does; else it knows no run."),
    ("receipt_is_accounted_for",               _R, _accounted,  "What a receipt lists is pending or consumed."),
    ("one_boundary_per_input",                 _R, _listing,    "One receipt lists an input; sequences have no gaps."),
    ("successor_exists",                       _R, _successor,  "A successor is stored."),
    ("stored_state_is_resumable",              _R, _resumable,  "The stored state is one that an open can resume."),
    ("index_equals_rows",                      _R, _index,      "The key index holds the keys of the stored inputs."),
    ("log_has_no_gap",                         _R, _log,        "Offsets of events go on from what was pruned."),
)
# fmt: on

INVARIANTS: Mapping[str, Invariant] = MappingProxyType(
    {name: Invariant(name, doc, scope, check) for name, scope, check, doc in _ROWS}
)
_ALL = tuple(INVARIANTS.values())
_LIVE = tuple(each for each in _ALL if each.scope is Scope.LIVE)


def check_image(image: Image, *, at_rest: bool) -> tuple[str, ...]:
    """Everything that is wrong with ``image``, as ``name: problem``. ``at_rest``: it shows all that is stored."""
    invariants = _ALL if at_rest else _LIVE
    return tuple(f"{each.name}: {problem}" for each in invariants for problem in each.check(image))
