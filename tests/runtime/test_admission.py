"""Accept: what is refused, what was seen before, what an input replaces, and what it asks for."""

from __future__ import annotations

import pytest
from attrs import evolve

from holdstate.runtime import commands as c
from holdstate.runtime.blocks import ImageBlock
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import NotReady
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import Input, PromptInput
from holdstate.runtime.outcomes import Deduplicated, Rejected
from holdstate.runtime.records import PRIORITY_BIAS
from holdstate.runtime.rejections import RejectionCode
from holdstate.runtime.settings import Limits, Retention, RetryPolicy
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.vocabulary import (
    HandlingMode,
    InputKind,
    InputState,
    Lane,
    OutcomeKind,
    QueueMode,
    RunBoundary,
    RuntimeState,
    WakeMode,
)

from .cores import (
    EPHEMERAL,
    NO_BACKOFF,
    NOON,
    Core,
    event,
    new_id,
    operation,
    prepared,
    progress,
    prompt,
    request,
    steering,
)

WORK = DEFAULT_POLICY.by_kind[InputKind.PROMPT]


def policy_of(queue_mode: QueueMode, kind: InputKind = InputKind.PROMPT) -> RuntimeSettings:
    """Settings under which inputs of ``kind`` get ``queue_mode``."""
    row = evolve(DEFAULT_POLICY.by_kind[kind], queue_mode=queue_mode)
    return evolve(NO_BACKOFF, policy=evolve(DEFAULT_POLICY, by_kind={**DEFAULT_POLICY.by_kind, kind: row}))


SUPERSEDING = policy_of(QueueMode.SUPERSEDE)


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [c.Retire, c.Stop, c.Destroy])
def test_a_runtime_that_is_retired_or_ended_takes_no_input(end: type[c.Command]) -> None:
    """NotReady names the state; nothing is changed (C4)."""
    core = Core()
    core.do(end(core.at))
    assert core.refuse(NotReady, core.accept_command(event())).state == core.state


def test_a_run_that_began_in_retired_lets_nothing_in() -> None:
    """No input is accepted while a retired runtime drains (C33)."""
    core = Core()
    core.accept(event())
    core.do(c.Retire(core.at))
    core.begin()
    assert core.state is RuntimeState.RUNNING
    core.refuse(NotReady, core.accept_command(event()))


@pytest.mark.parametrize("prepare", [None, c.Attach])
def test_an_idle_an_attached_and_a_running_runtime_take_input(prepare: type[c.Command] | None) -> None:
    """Accepting goes on during a run."""
    core = Core()
    if prepare is not None:
        core.do(prepare(core.at))
    core.accept(event())
    core.begin()
    assert core.state_of(core.accept(event())) is InputState.QUEUED


def test_an_overloaded_runtime_rejects() -> None:
    """Active inputs are limited, ephemeral ones too; an ended one makes room."""
    core = Core(evolve(NO_BACKOFF, limits=Limits(max_active_inputs=2)))
    first = core.accept(event())
    core.accept(event(durability=EPHEMERAL))
    before = core.image.runtime
    outcome = core.do(core.accept_command(event()))
    assert isinstance(outcome, Rejected)
    assert outcome.code is RejectionCode.OVERLOADED
    assert (core.image.runtime, core.last.changes, core.last.stored) == (before, (), False)
    core.do(c.CancelInput(core.at, first))
    core.accept(event())


def test_a_reference_to_a_blob_that_is_not_there_is_rejected() -> None:
    """The rejection names the blob and the field."""
    core = Core()
    blob = f"sha256:{'0' * 64}"
    outcome = core.do(core.accept_command(event(), missing_blob=blob))
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.path) == (RejectionCode.BLOB_MISSING, "blocks")
    assert blob in outcome.reason


# -- seen before ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, c.Retire, c.Stop])
def test_an_input_that_was_seen_is_told_what_became_of_it(end: type[c.Command] | None) -> None:
    """Also when the runtime takes no input any more; nothing is stored (C8, C9)."""
    core = Core()
    given = event(idempotency_key="key")
    first = core.accept(given)
    if end is not None:
        core.do(end(core.at))
    existing = core.record(first)
    again = event(idempotency_key="key")
    for retried, same in ((given, True), (evolve(again, payload={"other": True}), False)):
        before = core.image.runtime
        outcome = core.do(core.accept_command(retried, existing=existing))
        expected = Deduplicated(retried.header.id, first, existing.state, existing.terminal_outcome, same)
        assert outcome == expected
        assert (core.image.runtime, core.last.changes, core.last.stored) == (before, (), False)


# -- admitted ------------------------------------------------------------------------------------------------------


def test_what_decides_later_is_stamped_at_admission() -> None:
    """Lane, boundary, prompt or not, order key, keys, decision and time are in the record."""
    core = Core()
    first, second = prompt(idempotency_key="key", supersession_key="topic"), steering()
    one, two = core.record(core.accept(first)).admission, core.record(core.accept(second)).admission
    assert (one.order, one.lane, one.boundary, one.is_prompt) == (1, Lane.QUEUE, RunBoundary.RUN_START, True)
    assert (one.idempotency_key, one.supersession_key, one.admitted_at) == ("key", "topic", NOON)
    assert (one.fingerprint, one.decision.policy_version) == (prepared(first).fingerprint, 1)
    assert (two.order, two.lane, two.boundary, two.is_prompt) == (2, Lane.STEER, RunBoundary.RUN_CHECKPOINT, False)
    assert core.image.runtime.next_order == 3
    assert core.image.runtime.counts.keys == 1


def test_priority_is_a_class_of_its_own_first_in_first_out() -> None:
    """It goes ahead of the rest of its lane, in the order of admission."""
    core = Core(policy_of(QueueMode.PRIORITY))
    ids = [core.accept(given) for given in (event(), prompt(), event(), prompt())]
    assert core.lane(Lane.QUEUE) == [ids[1], ids[3], ids[0], ids[2]]
    assert core.record(ids[1]).admission.order == 2 + PRIORITY_BIAS


def test_an_ephemeral_input_is_kept_in_memory_only() -> None:
    """It takes an order key and changes nothing that is stored; its body goes when it ends."""
    core = Core()
    stored = core.image.runtime
    given = event(durability=EPHEMERAL)
    first = core.accept(given)
    assert not core.last.stored
    assert core.image.runtime == evolve(stored, next_order=2)
    assert core.image.bodies == {first: prepared(given).body}
    assert core.image.ephemeral() == [core.record(first)]
    core.begin()
    core.complete()
    assert core.image.bodies == {}
    assert core.image.runtime.counts == evolve(stored.counts, receipts=1)


def test_an_input_that_ends_at_once_leaves_no_body_unless_asked_to() -> None:
    """An operation is on record when it is admitted; retention may keep what it said (C41)."""
    core = Core()
    core.accept(operation())
    assert core.last.bodies == {}
    assert core.image.runtime.counts.ended == 1
    keeping = Core(evolve(NO_BACKOFF, retention=Retention(keep_payloads=True)))
    first = keeping.accept(operation())
    assert set(keeping.last.bodies) == {first}


def test_images_of_an_admitted_input_are_in_its_delta() -> None:
    """Inline data goes to content-addressed blobs in the same commit."""
    core = Core()
    given = PromptInput.new("look", (ImageBlock("image/png", data=b"picture"),), id=new_id(), timestamp=NOON)
    first = core.accept(given)
    ((blob_id, content),) = core.last.blobs
    assert (content, core.record(first).admission.blobs) == (b"picture", (blob_id,))


# -- signals -------------------------------------------------------------------------------------------------------


def _signals(core: Core, given: Input, **fields: frozenset[str]) -> tuple[bool, bool]:
    core.accept(given, **fields)
    return core.last.wake, core.last.process


def test_signals_follow_the_decision() -> None:
    """wake: the policy says wake_if_idle and the runtime is idle; process: the steer lane, and the policy urges."""
    core = Core()
    assert _signals(core, event()) == (True, False)
    assert _signals(core, steering()) == (True, True)
    assert _signals(core, progress()) == (False, False)
    assert _signals(core, operation()) == (False, False)
    core.begin()
    assert _signals(core, event()) == (False, False)
    assert _signals(core, steering()) == (False, True)
    assert _signals(core, event(HandlingMode.STEER)) == (False, True)
    assert _signals(core, request()) == (False, False)


def test_a_policy_that_interrupts_without_a_wake_asks_for_the_steer_lane() -> None:
    """Either of the two urges."""
    row = evolve(DEFAULT_POLICY.by_handling_mode[HandlingMode.STEER], wake=WakeMode.NONE)
    modes = {**DEFAULT_POLICY.by_handling_mode, HandlingMode.STEER: row}
    core = Core(evolve(NO_BACKOFF, policy=evolve(DEFAULT_POLICY, by_handling_mode=modes)))
    assert _signals(core, steering()) == (False, True)


def test_only_an_idle_runtime_is_woken() -> None:
    """A policy that wakes if idle in any case raises no wake while a run is going on."""
    row = evolve(DEFAULT_POLICY.by_handling_mode[HandlingMode.QUEUE], wake_busy=WakeMode.WAKE_IF_IDLE)
    modes = {**DEFAULT_POLICY.by_handling_mode, HandlingMode.QUEUE: row}
    core = Core(evolve(NO_BACKOFF, policy=evolve(DEFAULT_POLICY, by_handling_mode=modes)))
    assert _signals(core, event()) == (True, False)
    core.begin()
    assert _signals(core, event()) == (False, False)


def test_a_silent_request_wakes_nobody() -> None:
    """Its decision is silenced, and so is the wake after a crash; other intents and kinds are as ever."""
    core = Core()
    silent = frozenset({"status"})
    assert _signals(core, request("status"), silent_intents=silent) == (False, False)
    assert _signals(core, request("work"), silent_intents=silent) == (True, False)
    assert _signals(core, progress(), silent_intents=silent) == (False, False)
    assert _signals(core, event(), silent_intents=silent) == (True, False)
    stamps = [record.admission.wakes for record in core.image.active()]
    assert stamps == [False, True, False, True]


def test_an_input_that_came_during_a_run_may_wake_an_idle_runtime_later() -> None:
    """The stamp is that of the decision for idle, whatever the runtime was doing."""
    core = Core()
    core.accept(event())
    core.begin()
    later = core.record(core.accept(event())).admission
    assert (later.decision.wake, later.wakes) == (WakeMode.NONE, True)


# -- replaced ------------------------------------------------------------------------------------------------------


def _replaced(core: Core, given: Input) -> tuple[InputId, tuple[InputId, ...]]:
    outcome = core.do(core.accept_command(given))
    return outcome.input_id, outcome.replaced


def test_a_newer_input_of_the_scope_replaces_the_queued_ones() -> None:
    """Kind and key make the scope; what has no key, another key, another kind, or is in a run stays (C2)."""
    core = Core(SUPERSEDING)
    running = core.accept(prompt(supersession_key="topic"))
    core.begin()
    others = [
        core.accept(prompt()),
        core.accept(prompt(supersession_key="other")),
        core.accept(event(supersession_key="topic")),
    ]
    old = core.accept(prompt(supersession_key="topic"))
    new, replaced = _replaced(core, prompt(supersession_key="topic"))
    assert replaced == (old,)
    outcome = core.record(old).terminal_outcome
    assert outcome is not None
    assert (outcome.kind, outcome.successor_id) == (OutcomeKind.SUPERSEDED, new)
    assert core.state_of(running) is InputState.STAGED
    assert core.lane(Lane.QUEUE) == [*others, new]
    counts = core.image.runtime.counts
    assert (counts.active, counts.ended) == (5, 1)


def test_a_mode_that_does_not_replace_replaces_nothing() -> None:
    """A supersession key alone does nothing."""
    core = Core()
    first, second = core.accept(event(supersession_key="topic")), core.accept(event(supersession_key="topic"))
    assert core.lane(Lane.QUEUE) == [first, second]


def test_a_replacing_input_without_a_key_replaces_nothing() -> None:
    """Progress without a key is kept piece by piece."""
    core = Core()
    assert [_replaced(core, progress())[1] for _ in range(2)] == [(), ()]


def test_an_ephemeral_input_replaces_only_ephemeral_ones() -> None:
    """A durable one replaces both: what is stored never hangs on what is not."""
    core = Core()
    durable = core.accept(progress(supersession_key="topic"))
    first, replaced = _replaced(core, progress(supersession_key="topic", durability=EPHEMERAL))
    assert replaced == ()
    second, replaced = _replaced(core, progress(supersession_key="topic", durability=EPHEMERAL))
    assert replaced == (first,)
    assert not core.last.stored
    assert core.image.bodies.keys() == {second}
    third, replaced = _replaced(core, progress(supersession_key="topic"))
    assert replaced == (durable, second)
    assert core.lane(Lane.STEER) == [third]
    assert core.image.bodies == {}


def test_a_chain_of_replacements_leaves_one() -> None:
    """Each of the others names the one that followed it (C2)."""
    core = Core()
    ids = [core.accept(progress(supersession_key="topic")) for _ in range(5)]
    assert list(core.image.inputs) == ids[-1:]
    assert [core.record(old).successor_id for old in ids[:-1]] == ids[1:]


def test_a_new_input_that_ends_at_once_still_replaces() -> None:
    """Supersede by an input that has nothing to run: both are ended in one commit."""
    ignoring = evolve(DEFAULT_POLICY.by_kind[InputKind.OPERATION], queue_mode=QueueMode.SUPERSEDE)
    by_kind = {**DEFAULT_POLICY.by_kind, InputKind.OPERATION: ignoring}
    core = Core(evolve(NO_BACKOFF, policy=evolve(DEFAULT_POLICY, by_kind=by_kind)))
    waiting_policy = evolve(WORK, queue_mode=QueueMode.SUPERSEDE)
    waiting = evolve(DEFAULT_POLICY, by_kind={**by_kind, InputKind.OPERATION: waiting_policy})
    done, core.settings = core.settings, evolve(core.settings, policy=waiting)
    old = core.accept(operation(supersession_key="topic"))
    core.settings = done
    new, replaced = _replaced(core, operation(supersession_key="topic"))
    assert (replaced, core.state_of(new), core.state_of(old)) == (
        (old,),
        InputState.CONSUMED,
        InputState.SUPERSEDED,
    )


def test_the_history_is_bounded_and_says_what_it_dropped() -> None:
    """The oldest transitions go first, and their number is kept."""
    settings = RuntimeSettings(retry=RetryPolicy(max_attempts=9), max_history=3)
    core = Core(settings)
    first = core.accept(event())
    core.begin()
    core.do(c.CancelRun(core.at, core.run))
    record = core.record(first)
    assert [entry.reason for entry in record.history] == ["queue", "stage", "rollback"]
    assert record.history_dropped == 0
    core.begin()
    core.complete()
    record = core.record(first)
    assert [entry.reason for entry in record.history] == ["apply", "mark_pending", "consume"]
    assert [(entry.from_state, entry.to_state, entry.at) for entry in record.history[2:]] == [
        (InputState.APPLIED_PENDING_CONSUMPTION, InputState.CONSUMED, NOON)
    ]
    assert record.history_dropped == 4


def test_a_lowered_bound_shortens_the_history_at_the_next_transition() -> None:
    """Several entries go at once then."""
    core = Core()
    first = core.accept(event())
    core.begin()
    core.do(c.CancelRun(core.at, core.run))
    core.settings = evolve(core.settings, max_history=1)
    core.do(c.CancelInput(core.at, first))
    record = core.record(first)
    assert ([entry.reason for entry in record.history], record.history_dropped) == (["abandon"], 3)
