"""The inputs that the exploration of the whole sends: one for each class of policy decision that the core tells apart.

The policy is the shipped one with two rows changed, so that every queue mode is met: peer requests supersede, and flow
steps have priority.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID

from attrs import evolve

from ..runtime.conventions import PeerRequest, PeerResponseProgress, ResponsePhase
from ..runtime.environment import RuntimeSettings
from ..runtime.ids import InputId, RunId
from ..runtime.inputs import (
    ExternalEventInput,
    FlowStepInput,
    Input,
    OperationInput,
    PeerInput,
    PromptInput,
    TurnMetadata,
)
from ..runtime.settings import Backoff, RetryPolicy
from ..spec.policy import DEFAULT_POLICY, Policy
from ..spec.vocabulary import Durability, HandlingMode, InputKind, QueueMode
from .explorer_rows import NAMES

RUNTIME: Final = "explored"
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
LATER: Final = NOW + timedelta(seconds=1)
SCOPE: Final = "scope"
RESULT: Final = b"result"

INPUT_IDS: Final = tuple(InputId(UUID(int=number)) for number in range(NAMES))
RUN_IDS: Final = tuple(RunId(UUID(int=2**64 + number)) for number in range(NAMES))
INPUT_NUMBERS: Final = {each: number for number, each in enumerate(INPUT_IDS)}
RUN_NUMBERS: Final = {each: number for number, each in enumerate(RUN_IDS)}


def explored_policy() -> Policy:
    """The shipped policy, with peer requests that supersede and flow steps that have priority."""
    modes = {InputKind.PEER_REQUEST: QueueMode.SUPERSEDE, InputKind.FLOW_STEP: QueueMode.PRIORITY}
    rows = {kind: evolve(DEFAULT_POLICY.by_kind[kind], queue_mode=mode) for kind, mode in modes.items()}
    return evolve(DEFAULT_POLICY, name="explored", by_kind={**DEFAULT_POLICY.by_kind, **rows})


def explored_settings(*, max_attempts: int, max_batch: int, backoff: bool) -> RuntimeSettings:
    """The rules of the explored runtime: with ``backoff``, an input that failed waits until time passes."""
    retry = RetryPolicy(max_attempts, Backoff(initial_seconds=1.0 if backoff else 0.0, jitter=0.0))
    return RuntimeSettings(policy=explored_policy(), retry=retry, max_batch=max_batch, max_history=1)


def key_of(number: int) -> str:
    """The idempotency key of the ``number``-th input, where its kind has one."""
    return f"key {number}"


def _prompt(number: int) -> Input:
    return PromptInput.new("prompt", id=INPUT_IDS[number], timestamp=NOW)


def _keyed(number: int) -> Input:
    return ExternalEventInput.new("event", {}, id=INPUT_IDS[number], timestamp=NOW, idempotency_key=key_of(number))


def _steer(number: int) -> Input:
    metadata = TurnMetadata(handling_mode=HandlingMode.STEER)
    return PromptInput.new("steer", (), metadata, id=INPUT_IDS[number], timestamp=NOW)


def _progress(number: int) -> Input:
    convention = PeerResponseProgress("request", ResponsePhase.IN_PROGRESS)
    return PeerInput.new("progress", (), convention, id=INPUT_IDS[number], timestamp=NOW, supersession_key=SCOPE)


def _replacing(number: int) -> Input:
    convention = PeerRequest("request", "intent")
    return PeerInput.new("replacing", (), convention, id=INPUT_IDS[number], timestamp=NOW, supersession_key=SCOPE)


def _urgent(number: int) -> Input:
    return FlowStepInput.new("step", "urgent", id=INPUT_IDS[number], timestamp=NOW)


def _operation(number: int) -> Input:
    return OperationInput.new("operation", {}, id=INPUT_IDS[number], timestamp=NOW)


def _fleeting(number: int) -> Input:
    ephemeral = Durability.EPHEMERAL
    return ExternalEventInput.new("fleeting", {}, id=INPUT_IDS[number], timestamp=NOW, durability=ephemeral)


KINDS: Final[Mapping[str, Callable[[int], Input]]] = MappingProxyType(
    {
        "prompt": _prompt,  # queue lane, alone in its batch
        "event": _keyed,  # queue lane, shares a batch, has an idempotency key
        "steer": _steer,  # steer lane, may join a current run
        "progress": _progress,  # steer lane, coalesces
        "replacing": _replacing,  # queue lane, supersedes
        "urgent": _urgent,  # queue lane, ahead of the rest
        "operation": _operation,  # consumed when it is accepted
        "fleeting": _fleeting,  # queue lane, ephemeral
    }
)
"""What makes the input of each kind, given its number."""
