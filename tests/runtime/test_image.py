"""The image: lanes, scopes, and what is applied and taken back."""

from __future__ import annotations

from attrs import evolve

from holdstate.runtime import core
from holdstate.runtime.commands import Stop
from holdstate.runtime.delta import Delta
from holdstate.runtime.image import RuntimeImage
from holdstate.runtime.records import InputRecord, RuntimeRecord, attached_as, stored_form
from holdstate.spec.vocabulary import Durability, InputKind, InputState, Lane, RuntimeState

from .cores import NO_BACKOFF, Core, a_record, event, snapshot

QUEUED, STAGED = InputState.QUEUED, InputState.STAGED
STEER = {"lane": Lane.STEER}
SCOPED = {"supersession_key": "topic"}
SCOPE = (InputKind.EXTERNAL_EVENT, "topic")


def image(*records: InputRecord) -> RuntimeImage:
    return RuntimeImage(RuntimeRecord("r"), records)


def test_a_lane_holds_the_queued_inputs_by_order_key() -> None:
    """Whatever order they were loaded in; inputs in another state are in none (C11)."""
    records = [a_record(QUEUED, 3), a_record(QUEUED, 1, stamp=STEER), a_record(QUEUED, 2), a_record(STAGED, 4)]
    made = image(*records)
    assert [record.order for record in made.lane(Lane.QUEUE)] == [2, 3]
    assert [record.order for record in made.queued()] == [1, 2, 3]
    assert [record.order for record in made.active()] == [1, 2, 3, 4]
    assert [record.order for record in made.outside_run()] == [1, 2, 3]


def test_an_ended_input_is_not_in_memory() -> None:
    """Memory is proportional to active inputs (C42)."""
    ended = a_record(InputState.CONSUMED, 1)
    made = image(ended)
    assert made.inputs == {}
    empty = snapshot(made)
    inverse = made.apply(Delta(made.runtime, changes=[(None, ended)]))
    assert snapshot(made) == empty
    made.apply(inverse)
    assert snapshot(made) == empty


def test_a_scope_holds_what_is_queued_under_one_kind_and_key() -> None:
    """By order key; an empty scope is forgotten."""
    late, early = a_record(QUEUED, 5, stamp=SCOPED), a_record(QUEUED, 2, stamp=SCOPED)
    made = image(late, early, a_record(STAGED, 3, stamp=SCOPED), a_record(QUEUED, 4))
    assert made.in_scope(*SCOPE) == [early, late]
    assert made.in_scope(InputKind.PROMPT, "topic") == []
    for record in (late, early):
        made.apply(Delta(made.runtime, changes=[(record, evolve(record, state=InputState.SUPERSEDED))]))
    assert made.scopes == {}


def test_contributors_are_in_staging_order_and_active() -> None:
    """One that was consumed while the run goes on is not among them."""
    first, second = a_record(STAGED, 1), a_record(InputState.APPLIED_PENDING_CONSUMPTION, 2)
    gone = a_record(InputState.CONSUMED, 3)
    ids = (second.input_id, gone.input_id, first.input_id)
    made = RuntimeImage(RuntimeRecord("r", contributors=ids), (first, second, gone))
    assert made.contributors() == [second, first]
    assert made.staged() == [first]


def test_a_change_without_a_change_of_state_keeps_the_place() -> None:
    """A stamp on a queued input leaves lanes and scopes alone, and is taken back."""
    record = a_record(QUEUED, 1, stamp=SCOPED)
    made = image(record)
    before = snapshot(made)
    stamped = evolve(record, recovery_count=1)
    inverse = made.apply(Delta(made.runtime, changes=[(record, stamped)]))
    assert list(made.lane(Lane.QUEUE)) == [stamped]
    made.apply(inverse)
    assert snapshot(made) == before


def test_the_body_of_an_ephemeral_input_comes_and_goes_with_it() -> None:
    """The image keeps no other bodies, and an inverse brings one back."""
    story = Core()
    durable = story.accept(event())
    ephemeral = story.accept(event(durability=Durability.EPHEMERAL))
    assert set(story.image.bodies) == {ephemeral}
    assert durable not in story.image.bodies
    before = snapshot(story.image)
    delta = core.step(story.image, Stop(story.at), NO_BACKOFF)
    inverse = story.image.apply(delta)
    assert story.image.bodies == {}
    story.image.apply(inverse)
    assert snapshot(story.image) == before


def test_being_attached_is_stored_as_idle() -> None:
    """In the state and in where a run returns to; reading it back restores the volatile part."""
    idle, attached = RuntimeState.IDLE, RuntimeState.ATTACHED
    plain = RuntimeRecord("r", idle)
    assert stored_form(plain) is plain
    assert stored_form(RuntimeRecord("r", attached)) == plain
    memory = RuntimeRecord("r", RuntimeState.RUNNING, pre_run_state=attached, next_order=5)
    stored = stored_form(memory)
    assert stored.pre_run_state is idle
    assert attached_as(memory, evolve(stored, next_order=3)) == memory
    assert attached_as(RuntimeRecord("r", attached), plain).state is attached
    assert attached_as(plain, RuntimeRecord("r", RuntimeState.RETIRED)).state is RuntimeState.RETIRED
