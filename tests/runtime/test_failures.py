"""Runs that fail or are called off: what is counted, what waits, what ends, and what goes back to its place."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdstate.runtime import commands as c
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.spec.vocabulary import AbandonReason, InputState, Lane

from .cores import Core, event, progress, running

QUEUED = InputState.QUEUED
ONCE = RuntimeSettings(retry=RetryPolicy(max_attempts=1))


def test_a_failure_is_counted_and_keeps_the_place() -> None:
    """After a recoverable failure an input is where it was, with one failure more and the cap it met (C13, C14)."""
    core = running(2)
    core.accept(event())
    first, second = core.image.runtime.contributors
    core.fail()
    assert core.lane(Lane.QUEUE)[:2] == [first, second]
    for each in (first, second):
        record = core.record(each)
        assert (record.failure_count, record.failure_cap, record.error) == (1, 5, "boom")
        assert record.not_before is None


def test_a_failure_for_good_ends_an_input_only_when_it_was_alone() -> None:
    """In a shared run it counts as recoverable, even after the others have left (C15)."""
    core = running(2)
    first, second = core.image.runtime.contributors
    core.do(c.RollbackStaged(core.at, (second,)))
    core.fail(recoverable=False)
    assert (core.state_of(first), core.record(first).failure_count) == (QUEUED, 1)
    core.begin()
    core.fail(recoverable=False)
    record = core.record(first)
    assert (record.abandon_reason, record.error) == (AbandonReason.FAILED, "boom")
    assert core.state_of(second) is QUEUED


def test_the_last_failure_allowed_exhausts() -> None:
    """An input runs as often as the cap says, is then abandoned, and says with which error."""
    core = Core(RuntimeSettings(retry=RetryPolicy(max_attempts=3, backoff=Backoff(initial_seconds=0.0))))
    first = core.accept(event())
    for _ in range(3):
        assert core.begin() == (first,)
        core.fail()
    record = core.record(first)
    assert (record.abandon_reason, record.failure_count, record.failure_cap) == (AbandonReason.ATTEMPTS_EXHAUSTED, 3, 3)
    assert record.error == "boom"
    assert core.begin() == ()


def test_a_lowered_cap_takes_effect_at_the_next_failure() -> None:
    """An input that has failed more often than the new cap allows waits for its next failure, then ends."""
    core = running()
    (first,) = core.image.runtime.contributors
    core.fail()
    core.begin()
    core.fail()
    core.settings = ONCE
    assert core.state_of(first) is QUEUED
    core.begin()
    core.fail()
    record = core.record(first)
    assert (record.state, record.failure_count, record.failure_cap) == (InputState.ABANDONED, 3, 1)


def test_a_cancelled_run_costs_nothing() -> None:
    """No failure is counted and no backoff is set, however often (C14)."""
    core = running(settings=RuntimeSettings())
    (first,) = core.image.runtime.contributors
    for attempt in range(1, 4):
        core.do(c.CancelRun(core.at, core.run))
        record = core.record(first)
        assert (record.attempt_count, record.failure_count, record.not_before) == (attempt, 0, None)
        core.begin()


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 5.0), (0.5, 10.0), (0.75, 12.5)])
def test_the_backoff_is_spread_by_the_given_draw(jitter: float, seconds: float) -> None:
    """not_before is the time of the failure plus the backoff, spread by a draw that is an argument of the core."""
    settings = RuntimeSettings(retry=RetryPolicy(backoff=Backoff(initial_seconds=10.0, jitter=0.5)))
    core = running(settings=settings)
    (first,) = core.image.runtime.contributors
    core.fail(jitter=jitter)
    assert core.record(first).not_before == core.at + timedelta(seconds=seconds)


def test_the_backoff_grows_with_each_failure() -> None:
    """Twice as long after each failure, until the longest."""
    settings = RuntimeSettings(
        retry=RetryPolicy(backoff=Backoff(initial_seconds=10.0, factor=2.0, max_seconds=25.0, jitter=0.0))
    )
    core = running(settings=settings)
    (first,) = core.image.runtime.contributors
    for seconds in (10.0, 20.0, 25.0):
        core.fail()
        assert core.record(first).not_before == core.at + timedelta(seconds=seconds)
        core.pass_time(seconds)
        core.begin()
        assert core.record(first).not_before is None


def test_a_run_that_gives_its_inputs_back_raises_a_wake() -> None:
    """There is work again after a failed or a cancelled run, whoever asked for it first (C16)."""
    for given in (event(), progress()):
        core = Core()
        core.accept(given)
        core.begin()
        core.fail()
        assert core.last.wake
        core.begin()
        core.do(c.CancelRun(core.at, core.run))
        assert core.last.wake


def test_a_run_that_gives_nothing_back_raises_no_wake() -> None:
    """A failure that ends the input, or that comes after the boundary, leaves no work behind."""
    core = running()
    core.fail(recoverable=False)
    assert not core.last.wake
    core.accept(event())
    core.begin()
    core.boundary()
    core.do(c.CancelRun(core.at, core.run))
    assert not core.last.wake
