"""Which inputs the next run takes."""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from holdstate.runtime import commands as c
from holdstate.runtime.batches import next_batch, next_due
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import Input
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.spec.vocabulary import InputState, Lane, RunBoundary

from .cores import NO_BACKOFF, Core, a_record, event, progress, prompt, run_id, steering

HELD = RuntimeSettings(retry=RetryPolicy(backoff=Backoff(initial_seconds=10.0, max_seconds=60.0, jitter=0.0)))


def batch(core: Core) -> list[InputId]:
    """What a run would take now."""
    return [record.input_id for record in next_batch(core.image, core.settings, core.at)]


def filled(*inputs: Input, settings: RuntimeSettings = NO_BACKOFF) -> tuple[Core, list[InputId]]:
    core = Core(settings)
    return core, [core.accept(given) for given in inputs]


def test_a_prompt_runs_alone() -> None:
    """Whatever waits behind it."""
    core, ids = filled(prompt(), event(), prompt())
    assert batch(core) == ids[:1]


def test_a_batch_ends_before_the_next_prompt() -> None:
    """The leading inputs run together up to it."""
    core, ids = filled(event(), event(), prompt(), event())
    assert batch(core) == ids[:2]


def test_the_steer_lane_goes_first() -> None:
    """Its inputs run together before anything of the queue lane, prompts too."""
    core, ids = filled(prompt(), steering(), event(), steering(), progress())
    assert batch(core) == [ids[1], ids[3], ids[4]]


def test_a_steering_batch_shares_one_boundary() -> None:
    """It ends where another boundary begins."""
    steer = {"lane": Lane.STEER, "boundary": RunBoundary.RUN_CHECKPOINT}
    records = [
        a_record(InputState.QUEUED, 1, stamp=steer),
        a_record(InputState.QUEUED, 2, stamp=steer),
        a_record(InputState.QUEUED, 3, stamp={**steer, "boundary": RunBoundary.RUN_START}),
    ]
    core = Core(runtime=Core().image.runtime, inputs=records, sound=False)
    assert batch(core) == [record.input_id for record in records[:2]]


def test_a_batch_has_at_most_max_batch_inputs() -> None:
    """In both lanes, and when more is staged into a run."""
    settings = evolve(NO_BACKOFF, max_batch=2)
    core, ids = filled(event(), event(), event(), settings=settings)
    assert batch(core) == ids[:2]
    core.begin()
    more = [core.accept(steering()) for _ in range(3)]
    assert batch(core) == more[:2]
    assert len(core.do(c.StageMore(core.at, core.run))) == 2


def test_an_input_that_failed_runs_alone() -> None:
    """It is a batch of its own, whatever waits behind it (C15)."""
    core, (first, second) = filled(event(), event())
    core.begin()
    core.fail()
    third = core.accept(event())
    for expected in ([first], [second], [third]):
        assert batch(core) == expected
        core.begin()
        core.complete()


def test_a_batch_ends_before_an_input_that_failed() -> None:
    """One that is behind others that did not fail does not join them."""
    fresh, failed = a_record(InputState.QUEUED, 1), a_record(InputState.QUEUED, 2, failure_count=1)
    core = Core(runtime=Core().image.runtime, inputs=[fresh, failed], sound=False)
    assert batch(core) == [fresh.input_id]


def test_where_one_failure_is_the_end_every_batch_is_of_one() -> None:
    """With max_attempts = 1 a shared run could end innocent inputs."""
    core, ids = filled(event(), event(), settings=RuntimeSettings(retry=RetryPolicy(max_attempts=1)))
    assert batch(core) == ids[:1]


def test_what_failed_joins_no_run_and_nothing_joins_its_own() -> None:
    """A run takes none that failed before, and nothing at all while one that failed before may fail again (C15)."""
    core, (bad,) = filled(steering())
    core.begin()
    core.fail()
    core.begin()
    innocent = core.accept(steering())
    assert core.do(c.StageMore(core.at, core.run)) == ()
    core.boundary()
    (staged,) = core.do(c.StageMore(core.at, core.run))
    assert (staged.input_id, core.state_of(bad)) == (innocent, InputState.APPLIED_PENDING_CONSUMPTION)
    core.fail()
    core.do(c.BeginRun(core.at, run_id(50)))
    core.do(c.RollbackStaged(core.at, (innocent,)))
    assert core.do(c.StageMore(core.at, core.run)) == ()


def test_where_one_failure_is_the_end_nothing_joins_a_staged_input() -> None:
    """With max_attempts = 1 a run takes one more at a time, and only after the boundary of the one before (C15)."""
    core, _ = filled(event(), settings=RuntimeSettings(retry=RetryPolicy(max_attempts=1)))
    core.begin()
    more = [core.accept(steering()) for _ in range(2)]
    for each in more:
        assert core.do(c.StageMore(core.at, core.run)) == ()
        core.boundary()
        assert [record.input_id for record in core.do(c.StageMore(core.at, core.run))] == [each]


def test_a_backoff_holds_its_own_lane_only() -> None:
    """While the head of a lane waits, that lane waits, and the other goes on."""
    core, (held, behind) = filled(steering(), steering(), settings=evolve(HELD, max_batch=1))
    core.begin()
    core.fail()
    assert batch(core) == []
    assert next_due(core.image) == core.record(held).not_before == core.at + timedelta(seconds=10)
    other = core.accept(event())
    assert batch(core) == [other]
    core.pass_time(9.999)
    assert batch(core) == [other]
    core.pass_time(0.001)
    assert batch(core) == [held]
    assert core.state_of(behind) is InputState.QUEUED


def test_a_clock_that_was_set_back_holds_nothing_for_long() -> None:
    """A wait longer than the longest backoff is none: the clock was set back in between."""
    core, (held,) = filled(event(), settings=HELD)
    core.begin()
    core.fail()
    core.pass_time(-50.0)
    assert batch(core) == [], "60 seconds to wait, as long as the longest backoff"
    core.pass_time(-0.001)
    assert batch(core) == [held]


def test_nothing_is_due_where_nothing_waits() -> None:
    """Neither an empty runtime nor queued inputs without a backoff wait for a time."""
    core, _ = filled()
    assert next_due(core.image) is None
    core.accept(event())
    assert next_due(core.image) is None


def test_batches_are_composed_the_same_after_a_crash() -> None:
    """An image made of the same records in any order takes the same batch (C13)."""
    core, ids = filled(event(), event(), prompt(), steering())
    again = Core(runtime=core.image.runtime, inputs=reversed(core.image.active()), sound=False)
    assert batch(again) == batch(core) == ids[3:]
