"""Accept: dedup, state, limits, policy, the input's row, and the one it replaces, in that order (semantics: accept,
step by step).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, final

from ..spec.commands import CommandRow, Rule, Selection
from ..spec.policy import PolicyDecision
from ..spec.table import TransitionTable
from ..spec.vocabulary import (
    ApplyMode,
    Durability,
    EventCode,
    InputEvent,
    InputKind,
    InputState,
    InterruptPolicy,
    Lane,
    QueueMode,
    RoutingDisposition,
    RunBoundary,
    RuntimeState,
    WakeMode,
)
from . import stepper as engine
from .commands import Accept
from .delta import Delta
from .environment import RuntimeSettings
from .errors import NotReady
from .events import Announcement
from .ids import InputId
from .image import RuntimeImage
from .inputs import PeerInput, PeerRequest
from .outcomes import Deduplicated, Rejected, build_accepted
from .records import (
    PRIORITY_BIAS,
    TERMINAL_INPUT_STATES,
    Admission,
    HistoryEntry,
    InputRecord,
    TerminalOutcome,
    build_admission,
    build_counts,
    build_input_record,
    build_runtime_record,
)
from .rejections import RejectionCode
from .stepper import Stepper, runtime_fields

NO_FACTS: Mapping[str, object] = MappingProxyType({})

_REPLACING = frozenset({QueueMode.COALESCE, QueueMode.SUPERSEDE})
# Bound here: looking a member up on its enum costs ten times as much (CPython 3.11).
_RUNNING: Final = RuntimeState.RUNNING
_QUEUED: Final = InputState.QUEUED
_EPHEMERAL: Final = Durability.EPHEMERAL
_IDLE_WAKE: Final = WakeMode.WAKE_IF_IDLE
_NO_WAKE: Final = WakeMode.NONE
_STEERED: Final = RoutingDisposition.STEER
_FIRST_CLASS: Final = QueueMode.PRIORITY
_STEER, _QUEUE = Lane.STEER, Lane.QUEUE
_CHECKPOINT, _START = RunBoundary.RUN_CHECKPOINT, RunBoundary.RUN_START
_PROMPT: Final = InputKind.PROMPT
_IGNORED: Final = ApplyMode.IGNORE


def accept(image: RuntimeImage, row: CommandRow, command: Accept, settings: RuntimeSettings) -> Delta:
    """Admit one input, or say why not; a refusal changes nothing (C4)."""
    runtime = image.runtime
    if command.existing is not None:
        return Delta(
            runtime=runtime, outcome=deduplicated(command.input.header.id, command.fingerprint, command.existing)
        )
    if not row.allows(runtime_fields(runtime), NO_FACTS):
        raise NotReady(runtime.runtime_id, runtime.state)
    if command.missing_blob is not None or len(image.inputs) >= settings.limits.max_active_inputs:
        return Delta(runtime=runtime, outcome=_refusal(command, settings))
    idle = runtime.state is not _RUNNING
    decision, wakes = _decide(command, settings, idle=idle)
    admission = _admission(image, command, decision, wakes=wakes)
    old = [] if admission.supersession_key is None else _replaced(image, admission, admission.supersession_key)
    course = None if old else _known_course(row, decision, settings)
    if course is not None:
        delta, record = _on_course(image, command, admission, course)
    else:
        stepper = Stepper(image, row, command, settings)
        delta, record = _stepped(stepper, admission, old)
        if not old:
            _keep_course(row, settings, delta, record)
    if record.state is _QUEUED:
        delta.bodies = {admission.input_id: command.body}
        delta.blobs = command.blobs
        delta.wake = idle and decision.wake is _IDLE_WAKE
        delta.process = admission.lane is _STEER and _urges(decision)
    elif settings.retention.keep_payloads:
        delta.bodies = {admission.input_id: command.body}
        delta.blobs = command.blobs
    delta.outcome = build_accepted(admission.input_id, decision, record, tuple([each.input_id for each in old]))
    return delta


def deduplicated(input_id: InputId, fingerprint: bytes, existing: InputRecord) -> Deduplicated:
    """What the second one hears who brings an input under an id or a key that was used (C8)."""
    return Deduplicated(
        input_id=input_id,
        existing_id=existing.input_id,
        existing_state=existing.state,
        terminal_outcome=existing.terminal_outcome,
        same_payload=existing.admission.fingerprint == fingerprint,
    )


def _refusal(command: Accept, settings: RuntimeSettings) -> Rejected:
    input_id = command.input.header.id
    if command.missing_blob is not None:
        reason = f"blob {command.missing_blob} is not in the store; put it first, or send the image inline"
        return Rejected(input_id, RejectionCode.BLOB_MISSING, reason, "blocks")
    limit = settings.limits.max_active_inputs
    reason = f"{limit} inputs are active, as many as may be; work some off and try again"
    return Rejected(input_id, RejectionCode.OVERLOADED, reason)


def _decide(command: Accept, settings: RuntimeSettings, *, idle: bool) -> tuple[PolicyDecision, bool]:
    """The decision, and whether the input may ever wake an idle runtime."""
    kind, mode = command.input.kind, command.input.stated_handling_mode
    policy = settings.policy
    decision = policy.resolve(kind, mode, idle=idle)
    if command.silent_intents and _is_silent(command):
        return decision.silenced(), False
    when_idle = decision if idle else policy.resolve(kind, mode, idle=True)
    return decision, when_idle.wake is not _NO_WAKE


def _is_silent(command: Accept) -> bool:
    given = command.input
    if type(given) is not PeerInput:
        return False
    return type(given.convention) is PeerRequest and given.convention.intent in command.silent_intents


def _admission(image: RuntimeImage, command: Accept, decision: PolicyDecision, *, wakes: bool) -> Admission:
    given = command.input
    header = given.header
    kind = given.kind
    steer = decision.route is _STEERED
    order = image.runtime.next_order
    return build_admission(
        header.id,
        order + PRIORITY_BIAS if decision.queue_mode is _FIRST_CLASS else order,
        kind,
        header.durability,
        _STEER if steer else _QUEUE,
        _CHECKPOINT if steer else _START,
        kind is _PROMPT,
        wakes,
        header.idempotency_key,
        header.supersession_key,
        command.fingerprint,
        decision,
        command.at,
        command.blob_ids,
    )


def _stepped(stepper: Stepper, admission: Admission, old: list[InputRecord]) -> tuple[Delta, InputRecord]:
    """The input and those that it replaces, sent through the tables."""
    stepper.facts["consumes_on_accept"] = admission.decision.consumes_on_accept
    stepper.facts["coalesces"] = admission.decision.queue_mode is QueueMode.COALESCE
    stepper.facts["by"] = stepper.facts["into"] = admission.input_id
    record = build_input_record(admission)
    stepper.send({Selection.NEW: (record,), Selection.REPLACED: old})
    admitted = stepper.admit(record)
    return stepper.delta(next_order=stepper.image.runtime.next_order + 1), admitted


def _replaced(image: RuntimeImage, admission: Admission, key: str) -> list[InputRecord]:
    if admission.decision.queue_mode not in _REPLACING:
        return []
    scope = image.in_scope(admission.kind, key)
    return [old for old in scope if old.admission.is_ephemeral or not admission.is_ephemeral]


def _urges(decision: PolicyDecision) -> bool:
    return decision.wake is not _NO_WAKE or decision.interrupt is not InterruptPolicy.NONE


# -- the course of an input that replaces none ---------------------------------------------------------------------


@final
class Course(NamedTuple):
    """What the tables made of a new input that replaced none; they make the same of the next one like it."""

    row: CommandRow
    table: TransitionTable[InputState, InputEvent]
    record: InputRecord
    moves: tuple[tuple[InputState, InputState, InputEvent], ...]
    codes: tuple[EventCode, ...]
    outcome: TerminalOutcome | None
    is_terminal: bool


_courses: dict[tuple[int, bool, int], Course] = {}
_KEPT_COURSES: Final = 64


def _known_course(row: CommandRow, decision: PolicyDecision, settings: RuntimeSettings) -> Course | None:
    course = _courses.get((id(row), decision.apply is _IGNORED, settings.max_history))
    return course if course is not None and course.table is engine.INPUTS and course.row is row else None


def _keep_course(row: CommandRow, settings: RuntimeSettings, delta: Delta, record: InputRecord) -> None:
    """Keep what became of ``record``, where the tables looked at nothing that the next new input may have otherwise."""
    table = engine.INPUTS
    if not _is_same_for_all(row, table):
        return
    if len(_courses) >= _KEPT_COURSES:
        _courses.clear()
    codes = tuple(each.code for each in delta.announcements)
    is_terminal = record.state in TERMINAL_INPUT_STATES
    key = id(row), record.admission.decision.apply is _IGNORED, settings.max_history
    moves = tuple(entry[1:] for entry in record.history)
    _courses[key] = Course(row, table, record, moves, codes, record.terminal_outcome, is_terminal)


def _is_same_for_all(row: CommandRow, table: TransitionTable[InputState, InputEvent]) -> bool:
    """Whether ``row`` does the same with all inputs that it admits, but for what ``consumes_on_accept`` decides."""
    rules = [rule for group in row.inputs if group.select is Selection.NEW for rule in group.rules]
    events = {send.event for rule in rules for send in rule.sends}
    values = [
        value
        for move in table.rows
        if move.event in events
        for value in (move.guard, *(value for _, value in move.sets))
    ]
    plain = all(_is_plain(rule) for rule in rules) and not any(
        value.names().fields or value.names().params for value in values
    )
    return plain and bool(row.commits) and not (row.sends or row.announces)


def _is_plain(rule: Rule) -> bool:
    names = rule.when.names()
    given = any(send.given for send in rule.sends)
    return not (names.fields or names.params - {"consumes_on_accept"} or rule.then or given)


def _on_course(image: RuntimeImage, command: Accept, admission: Admission, course: Course) -> tuple[Delta, InputRecord]:
    """What ``_stepped`` gives for an input that takes ``course``, without asking the tables again."""
    at, first = command.at, course.record
    record = build_input_record(
        admission,
        first.state,
        first.last_run_id,
        first.last_boundary_sequence,
        first.attempt_count,
        first.failure_count,
        first.failure_cap,
        first.recovery_count,
        first.outcome_kind,
        first.successor_id,
        first.abandon_reason,
        first.error,
        first.not_before,
        first.result_source,
        tuple([HistoryEntry(at, old, new, why) for old, new, why in course.moves]),
        first.history_dropped,
    )
    before = image.runtime
    stored = admission.durability is not _EPHEMERAL
    counts = before.counts
    if stored:
        counts = build_counts(
            counts.active + (not course.is_terminal),
            counts.ended + course.is_terminal,
            counts.keys + (admission.idempotency_key is not None),
            counts.receipts,
            counts.results,
            counts.events,
        )
    runtime = build_runtime_record(
        before.runtime_id,
        before.state,
        before.current_run_id,
        before.pre_run_state,
        before.contributors,
        before.boundary_count,
        before.shared_run,
        before.last_run,
        before.epoch,
        before.revision + stored,
        before.next_order + 1,
        counts,
        before.has_snapshot,
        before.created_at,
    )
    input_id = admission.input_id
    said = [Announcement(code, at, input_id, None, None, course.outcome) for code in course.codes]
    return Delta(runtime=runtime, changes=[(None, record)], announcements=said, stored=stored), record
