"""A clock that is set, forward or back, at any moment: nothing is lost, repeated, out of order or late for ever."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime import batches, worker
from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Completed
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.settings import Backoff
from holdstate.stores.memory_store import MemoryStore

from .kit import MAX_ATTEMPTS, RUNTIME, SETTINGS, Scripted, environment, prompt, said, waiting_rules
from .virtual_loop import run

WAIT = 100.0
RULES = waiting_rules(WAIT)
JUMPS = [timedelta(days=-3653), timedelta(hours=-1), timedelta(seconds=-1), timedelta(seconds=1), timedelta(days=3653)]
READINGS = 40
"""More than a life of three inputs, one of which fails twice, takes: behind the last the clock jumps no more."""


class JumpingClock:
    """The loop's time; from the ``at``-th reading on it is wrong by ``jump``."""

    def __init__(self, at: int, jump: timedelta) -> None:
        self.readings = 0
        self._at = at
        self._jump = jump
        self._right = environment()

    def now(self) -> datetime:
        self.readings += 1
        return self._right.now() + (self._jump if self.readings > self._at else timedelta())

    def environment(self) -> Environment:
        return evolve(self._right, now=self.now)


def life(at: int, jump: timedelta) -> tuple[list[str], float, int]:
    """Three inputs, the first of which fails until its last try: the runs, how long it took, readings of the clock."""
    clock = JumpingClock(at, jump)

    async def scenario() -> tuple[list[str], float, int]:
        entered: list[str] = []

        async def apply(active: ActiveRun) -> bytes:
            words = [said(given) for given in active.inputs]
            entered.extend(words)
            if words == ["a"] and entered.count("a") < MAX_ATTEMPTS:
                raise ValueError("not yet")
            return b"done"

        executor = Scripted(dict.fromkeys("abc", apply))
        store = MemoryStore()
        settings = evolve(SETTINGS, runtime=RULES)
        service = RuntimeService(store, executor, settings=settings, environment=clock.environment())
        async with service:
            handles = [await service.submit(RUNTIME, prompt(word, idempotency_key=word)) for word in "abc"]
            async with asyncio.timeout(10 * WAIT):
                outcomes = [await handle.outcome() for handle in handles]
            assert [type(outcome) for outcome in outcomes] == [Completed] * 3
        assert store.verify() == []
        return entered, asyncio.get_running_loop().time(), clock.readings

    return run(scenario)


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_clock_that_jumps_at_any_reading_changes_no_order_and_no_count(jump: timedelta) -> None:
    """Order is by sequence; no try is left out or made twice, and no wait is longer than the longest backoff (C13)."""
    read = READINGS
    at = 0
    while at <= read:
        entered, seconds, read = life(at, jump)
        assert entered == ["a"] * MAX_ATTEMPTS + ["b", "c"], at
        assert seconds <= 2 * 2 * WAIT + 1.0, at
        at += 1
    assert at > 10


def _unbounded(settings: RuntimeSettings) -> timedelta:
    return timedelta.max


@pytest.mark.parametrize("module", [batches, worker])
def test_a_wait_without_bound_is_noticed(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Control: where a wait may be as long as a clock that was set back makes it, some reading brings that out."""
    monkeypatch.setattr(module, "longest_wait", _unbounded)
    with pytest.raises((AssertionError, TimeoutError)):
        test_a_clock_that_jumps_at_any_reading_changes_no_order_and_no_count(JUMPS[0])


def test_the_longest_wait_is_that_of_the_backoff() -> None:
    """With its spread, and with none where nothing waits."""
    assert batches.longest_wait(RULES) == timedelta(seconds=WAIT)
    spread = evolve(RULES, retry=evolve(RULES.retry, backoff=Backoff(max_seconds=10.0, jitter=0.5)))
    assert batches.longest_wait(spread) == timedelta(seconds=15)
