"""The policy table against one that was written by hand, and the policies that are refused."""

from __future__ import annotations

import re

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.inputs import ExternalEventInput, OperationInput, PromptInput
from holdstate.runtime.outcomes import Accepted
from holdstate.spec.errors import SpecError
from holdstate.spec.policy import DEFAULT_POLICY, Policy, PolicyRow
from holdstate.spec.vocabulary import (
    ApplyMode,
    ConsumePoint,
    HandlingMode,
    InputKind,
    InputState,
    QueueMode,
    WakeMode,
)
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools.policy_matrix import OTHERWISE, decision_parts, policy_decisions, row_parts

COALESCING = {InputKind.EXTERNAL_EVENT, InputKind.PEER_RESPONSE_PROGRESS}


def test_every_decision_is_the_one_written_by_hand() -> None:
    """All 54 combinations of handling mode (or none), kind, and idle or busy."""
    expected = policy_decisions()
    assert len(expected) == 3 * 9 * 2
    for mode, kind, idle, parts in expected:
        decision = DEFAULT_POLICY.resolve(kind, mode, idle=idle)
        assert decision_parts(decision) == parts, (mode, kind, idle)
        assert decision.policy_version == DEFAULT_POLICY.version == 1


def test_the_kind_alone_decides_where_asked_to() -> None:
    """resolve_by_kind is the decision of an input that states no handling mode."""
    for mode, kind, idle, parts in policy_decisions():
        if mode is None:
            assert decision_parts(DEFAULT_POLICY.resolve_by_kind(kind, idle=idle)) == parts


def test_a_kind_without_a_row_gets_the_row_for_any_other() -> None:
    """A policy is total: whatever has no row of its own is queued without a wake."""
    policy = evolve(DEFAULT_POLICY, by_kind={})
    for kind in InputKind:
        for idle in (True, False):
            assert decision_parts(policy.resolve_by_kind(kind, idle=idle)) == row_parts(OTHERWISE.split(), idle=idle)


@pytest.mark.parametrize("idle", [True, False])
@pytest.mark.parametrize("mode", [*HandlingMode, None])
def test_a_silenced_request_keeps_its_decision_except_apply_and_wake(mode: HandlingMode | None, *, idle: bool) -> None:
    """A silent intent starts with a run and wakes nobody; nothing else changes."""
    decision = DEFAULT_POLICY.resolve(InputKind.PEER_REQUEST, mode, idle=idle)
    silenced = decision.silenced()
    assert silenced == evolve(decision, apply=ApplyMode.STAGE_RUN_START, wake=WakeMode.NONE)
    assert (silenced.apply, silenced.wake) == (ApplyMode.STAGE_RUN_START, WakeMode.NONE)


def test_an_ignored_input_ends_when_it_is_admitted() -> None:
    """Of all kinds and modes only an operation without a handling mode never meets a run."""
    ending = {(mode, kind) for mode, kind, idle, _ in policy_decisions() if _ends(mode, kind, idle=idle)}
    assert ending == {(None, InputKind.OPERATION)}


def _ends(mode: HandlingMode | None, kind: InputKind, *, idle: bool) -> bool:
    return DEFAULT_POLICY.resolve(kind, mode, idle=idle).consumes_on_accept


def test_the_decision_carries_the_version_of_its_policy() -> None:
    """The version is stored with the input, so that it can be told later which policy took the decision."""
    policy = evolve(DEFAULT_POLICY, version=7)
    assert policy.resolve(InputKind.PROMPT, None, idle=True).policy_version == 7
    assert policy.resolve(InputKind.PROMPT, HandlingMode.STEER, idle=True).policy_version == 7


# -- policies that are refused -------------------------------------------------------------------------------------

WORK = DEFAULT_POLICY.by_kind[InputKind.PROMPT]
STRANDING = {
    "ignored, yet not consumed on accept": evolve(WORK, apply=ApplyMode.IGNORE),
    "consumed on accept, yet not ignored": evolve(WORK, consume=ConsumePoint.ON_ACCEPT),
}


def _with(place: str, row: PolicyRow) -> Policy:
    """The default policy with ``row`` in one place."""
    if place == "otherwise":
        return evolve(DEFAULT_POLICY, by_kind={}, otherwise=row)
    if place in list(HandlingMode):
        return evolve(DEFAULT_POLICY, by_handling_mode={**DEFAULT_POLICY.by_handling_mode, HandlingMode(place): row})
    return evolve(DEFAULT_POLICY, by_kind={**DEFAULT_POLICY.by_kind, InputKind(place): row})


@pytest.mark.parametrize("problem", STRANDING)
@pytest.mark.parametrize("place", ["prompt", "operation", "steer", "otherwise"])
def test_a_policy_that_would_strand_an_input_is_refused(place: str, problem: str) -> None:
    """Ignored without consumed on accept, or the other way round, is an error that names the row."""
    with pytest.raises(SpecError, match=problem) as caught:
        _with(place, STRANDING[problem])
    assert place in caught.value.where


def test_a_policy_without_a_row_for_a_handling_mode_is_refused() -> None:
    """Both handling modes need a row."""
    with pytest.raises(SpecError, match="'steer' has no row"):
        evolve(DEFAULT_POLICY, by_handling_mode={HandlingMode.QUEUE: WORK})


COALESCE = evolve(WORK, queue_mode=QueueMode.COALESCE)


@pytest.mark.parametrize("kind", sorted(set(InputKind) - COALESCING))
def test_a_policy_that_coalesces_another_kind_is_refused(kind: InputKind) -> None:
    """Only external events and progress of a peer may coalesce; other inputs would lose what they say."""
    with pytest.raises(SpecError, match=f"coalesce.*{kind}"):
        _with(kind, COALESCE)
    assert _with(kind, evolve(WORK, queue_mode=QueueMode.SUPERSEDE)).by_kind[kind].queue_mode is QueueMode.SUPERSEDE


@pytest.mark.parametrize("mode", HandlingMode)
def test_a_policy_that_coalesces_by_handling_mode_is_refused(mode: HandlingMode) -> None:
    """A handling mode may be stated by a prompt, and a prompt never coalesces."""
    with pytest.raises(SpecError, match=re.escape("prompt")) as caught:
        _with(mode, COALESCE)
    assert mode in caught.value.where


def test_a_policy_that_coalesces_any_other_kind_is_refused_where_such_a_kind_is_left() -> None:
    """The row for any other kind may coalesce only where it is met by kinds that may."""
    with pytest.raises(SpecError, match="row otherwise"):
        _with("otherwise", COALESCE)
    rest = {kind: WORK for kind in InputKind if kind not in COALESCING}
    policy = evolve(DEFAULT_POLICY, by_kind=rest, otherwise=COALESCE)
    assert policy.resolve_by_kind(InputKind.EXTERNAL_EVENT, idle=True).queue_mode is QueueMode.COALESCE


@pytest.mark.parametrize("kind", sorted(COALESCING))
def test_the_two_kinds_that_may_coalesce_may(kind: InputKind) -> None:
    """External events and progress of a peer are built with coalesce."""
    assert _with(kind, COALESCE).resolve_by_kind(kind, idle=True).queue_mode is QueueMode.COALESCE


# -- a policy of one's own -----------------------------------------------------------------------------------------

IGNORE = evolve(DEFAULT_POLICY.by_kind[InputKind.OPERATION], queue_mode=QueueMode.NONE)
OWN = Policy(
    name="own",
    version=12,
    by_handling_mode={
        HandlingMode.QUEUE: IGNORE,
        HandlingMode.STEER: DEFAULT_POLICY.by_handling_mode[HandlingMode.STEER],
    },
    by_kind={
        InputKind.PROMPT: evolve(WORK, queue_mode=QueueMode.SUPERSEDE, wake=WakeMode.NONE),
        InputKind.OPERATION: evolve(WORK, queue_mode=QueueMode.PRIORITY),
    },
    otherwise=IGNORE,
)


async def test_a_policy_of_ones_own_decides_in_the_driver() -> None:
    """Its decisions are stored with its version, and they are what happens: superseded, ahead of the rest, ignored."""
    store = MemoryStore()
    driver = await PersistentRuntimeDriver.open("r", store, settings=RuntimeSettings(policy=OWN, debug=True))
    first = await driver.accept_input(PromptInput.new("one", supersession_key="topic"))
    second = await driver.accept_input(PromptInput.new("two", supersession_key="topic"))
    ahead = await driver.accept_input(OperationInput.new("op", None))
    ignored = await driver.accept_input(ExternalEventInput.new("event", {}))
    outcomes = [outcome for outcome in (first, second, ahead, ignored) if isinstance(outcome, Accepted)]
    for outcome in outcomes:
        assert outcome.policy.policy_version == 12
        stored = store.load_input("r", outcome.input_id)
        assert stored is not None
        assert stored.admission.decision == outcome.policy
    assert [await driver.input_state(outcome.input_id) for outcome in outcomes] == [
        InputState.SUPERSEDED,
        InputState.QUEUED,
        InputState.QUEUED,
        InputState.CONSUMED,
    ]
    assert driver.take_wake_requested(), "the operation wakes, as this policy says"
    run = await driver.begin_run()
    assert run is not None
    assert run.input_ids == (outcomes[2].input_id,)
    assert store.verify() == []
