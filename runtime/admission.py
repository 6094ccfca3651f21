"""Accept: dedup, state, limits, policy, the input's row, and the one it replaces, in that order (semantics: accept,
step by step).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..spec.commands import CommandRow, Selection
from ..spec.policy import PolicyDecision
from ..spec.vocabulary import (
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
from .commands import Accept
from .delta import Delta
from .environment import RuntimeSettings
from .errors import NotReady
from .ids import InputId
from .image import RuntimeImage
from .inputs import PeerInput, PeerRequest
from .outcomes import Accepted, Deduplicated, Rejected
from .records import PRIORITY_BIAS, Admission, InputRecord, build_admission, build_input_record
from .rejections import RejectionCode
from .stepper import Stepper, runtime_fields

NO_FACTS: Mapping[str, object] = MappingProxyType({})

_REPLACING = frozenset({QueueMode.COALESCE, QueueMode.SUPERSEDE})


def accept(image: RuntimeImage, row: CommandRow, command: Accept, settings: RuntimeSettings) -> Delta:
    """Admit one input, or say why not; a refusal changes nothing (C4)."""
    runtime = image.runtime
    if command.existing is not None:
        return Delta(
            runtime=runtime, outcome=deduplicated(command.input.header.id, command.fingerprint, command.existing)
        )
    if not row.allows(runtime_fields(runtime), NO_FACTS):
        raise NotReady(runtime.runtime_id, runtime.state)
    refusal = _refusal(image, command, settings)
    if refusal is not None:
        return Delta(runtime=runtime, outcome=refusal)
    idle = runtime.state is not RuntimeState.RUNNING
    decision, wakes = _decide(command, settings, idle=idle)
    record = build_input_record(_admission(image, command, decision, wakes=wakes))
    return _admit(image, row, command, settings, record)


def deduplicated(input_id: InputId, fingerprint: bytes, existing: InputRecord) -> Deduplicated:
    """What the second one hears who brings an input under an id or a key that was used (C8)."""
    return Deduplicated(
        input_id=input_id,
        existing_id=existing.input_id,
        existing_state=existing.state,
        terminal_outcome=existing.terminal_outcome,
        same_payload=existing.admission.fingerprint == fingerprint,
    )


def _refusal(image: RuntimeImage, command: Accept, settings: RuntimeSettings) -> Rejected | None:
    input_id = command.input.header.id
    if command.missing_blob is not None:
        reason = f"blob {command.missing_blob} is not in the store; put it first, or send the image inline"
        return Rejected(input_id, RejectionCode.BLOB_MISSING, reason, "blocks")
    limit = settings.limits.max_active_inputs
    if len(image.inputs) >= limit:
        reason = f"{limit} inputs are active, as many as may be; work some off and try again"
        return Rejected(input_id, RejectionCode.OVERLOADED, reason)
    return None


def _decide(command: Accept, settings: RuntimeSettings, *, idle: bool) -> tuple[PolicyDecision, bool]:
    """The decision, and whether the input may ever wake an idle runtime."""
    kind, mode = command.input.kind, command.input.stated_handling_mode
    policy = settings.policy
    decision = policy.resolve(kind, mode, idle=idle)
    if _is_silent(command):
        return decision.silenced(), False
    return decision, policy.resolve(kind, mode, idle=True).wake is not WakeMode.NONE


def _is_silent(command: Accept) -> bool:
    given = command.input
    if not command.silent_intents or type(given) is not PeerInput:
        return False
    return type(given.convention) is PeerRequest and given.convention.intent in command.silent_intents


def _admission(image: RuntimeImage, command: Accept, decision: PolicyDecision, *, wakes: bool) -> Admission:
    given = command.input
    header = given.header
    steer = decision.route is RoutingDisposition.STEER
    order = image.runtime.next_order
    return build_admission(
        header.id,
        order + PRIORITY_BIAS if decision.queue_mode is QueueMode.PRIORITY else order,
        given.kind,
        header.durability,
        Lane.STEER if steer else Lane.QUEUE,
        RunBoundary.RUN_CHECKPOINT if steer else RunBoundary.RUN_START,
        given.kind is InputKind.PROMPT,
        wakes,
        header.idempotency_key,
        header.supersession_key,
        command.fingerprint,
        decision,
        command.at,
        command.blob_ids,
    )


def _admit(
    image: RuntimeImage, row: CommandRow, command: Accept, settings: RuntimeSettings, record: InputRecord
) -> Delta:
    admission = record.admission
    decision = admission.decision
    stepper = Stepper(image, row, command, settings)
    stepper.facts["consumes_on_accept"] = decision.consumes_on_accept
    stepper.facts["coalesces"] = decision.queue_mode is QueueMode.COALESCE
    input_id = admission.input_id
    stepper.facts["by"] = stepper.facts["into"] = input_id
    old = _replaced(image, admission)
    stepper.send({Selection.NEW: (record,), Selection.REPLACED: old})
    admitted = stepper.admit(record)
    delta = stepper.delta(next_order=image.runtime.next_order + 1)
    queued = admitted.state is InputState.QUEUED
    if queued or settings.retention.keep_payloads:
        delta.bodies[input_id] = command.body
        delta.blobs = command.blobs
    idle = image.runtime.state is not RuntimeState.RUNNING
    delta.wake = queued and idle and decision.wake is WakeMode.WAKE_IF_IDLE
    delta.process = queued and admission.lane is Lane.STEER and _urges(decision)
    delta.outcome = Accepted(input_id, decision, admitted, tuple([each.input_id for each in old]))
    return delta


def _replaced(image: RuntimeImage, admission: Admission) -> list[InputRecord]:
    if admission.supersession_key is None or admission.decision.queue_mode not in _REPLACING:
        return []
    scope = image.in_scope(admission.kind, admission.supersession_key)
    return [old for old in scope if old.admission.is_ephemeral or not admission.is_ephemeral]


def _urges(decision: PolicyDecision) -> bool:
    return decision.wake is not WakeMode.NONE or decision.interrupt is not InterruptPolicy.NONE
