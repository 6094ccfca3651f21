"""An event loop for tests that tries out orders: its own clock, and the next callback picked by a schedule.

No time passes while anything is ready; with nothing ready, the clock jumps to the next timer. With no timer either,
everybody waits for ever, which is raised as ``Stuck``: a lost wake-up fails its test at once, and is never waited for.

At each step a schedule picks one of the callbacks that are ready; asyncio itself always takes the oldest. ``explore``
runs a scenario under every schedule that leaves asyncio's order at most ``deviations`` times; what follows a deviation
is shaped by it, so its steps are counted anew. ``shuffled`` draws every pick from a seed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from math import inf
from random import Random
from typing import Any, TypeVar, final
from unittest.mock import patch

from holdstate.runtime import flush

T = TypeVar("T")

LONGEST = 1_000_000
"""Steps after which a scenario is taken to spin."""


@final
class Stuck(AssertionError):
    """Nothing is ready and no timer is set, yet the scenario has not ended."""


@final
class Spins(AssertionError):
    """The scenario does not come to an end."""


@final
class VirtualLoop(asyncio.SelectorEventLoop):
    """``pick(ready)`` says which of so many ready callbacks runs next; ``widths`` has what it was asked, in order."""

    def __init__(self, pick: Callable[[int], int]) -> None:
        super().__init__()
        self._pick = pick
        self._seconds = 0.0
        self.widths: list[int] = []
        self.troubles: list[str] = []
        self.set_exception_handler(lambda _, context: self.troubles.append(repr(context)))

    def time(self) -> float:
        return self._seconds

    def _run_once(self) -> None:
        """One callback, in place of asyncio's round of all that are ready."""
        ready: Any = self._ready  # type: ignore[attr-defined]  # what asyncio's own loops work off
        while True:
            self._ring()
            while ready and ready[0]._cancelled:
                ready.popleft()
            if ready:
                break
            self._jump()
        if len(self.widths) >= LONGEST:
            raise Spins
        number = self._pick(len(ready))
        self.widths.append(len(ready))
        handle = ready[number]
        del ready[number]
        if not handle._cancelled:
            handle._run()

    def _ring(self) -> None:
        """Timers that are due are ready, in the order of their times."""
        timers: Any = self._scheduled  # type: ignore[attr-defined]  # a heap
        while timers and (timers[0]._cancelled or timers[0].when() <= self._seconds):
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if not timer._cancelled:
                self._ready.append(timer)  # type: ignore[attr-defined]

    def _jump(self) -> None:
        timers: Any = self._scheduled  # type: ignore[attr-defined]
        if not timers:
            raise Stuck("nothing is ready and no timer is set: somebody waits for ever")
        self._seconds = timers[0].when()


def run(scenario: Callable[[], Coroutine[Any, Any, T]], pick: Callable[[int], int] = lambda _: 0) -> T:
    """What ``scenario`` returns. A callback that raises, or a task that nobody heard of, fails it."""
    return _run(scenario, pick)[0]


def shuffled(scenario: Callable[[], Coroutine[Any, Any, T]], seeds: int) -> Iterator[T]:
    """What ``scenario`` returns under the schedules of so many seeds."""
    for seed in range(seeds):
        yield run(scenario, Random(f"schedule {seed}").randrange)


def explore(scenario: Callable[[], Coroutine[Any, Any, T]], deviations: int) -> Iterator[T]:
    """What ``scenario`` returns under every schedule with at most so many picks that asyncio would not make."""
    waiting: list[dict[int, int]] = [{}]
    while waiting:
        picks = waiting.pop()
        result, widths = _run(scenario, _following(picks))
        yield result
        if len(picks) < deviations:
            first = max(picks, default=-1) + 1
            waiting += [
                {**picks, step: other} for step in range(first, len(widths)) for other in range(1, widths[step])
            ]


def _following(picks: Mapping[int, int]) -> Callable[[int], int]:
    step = -1

    def pick(ready: int) -> int:
        nonlocal step
        step += 1
        return min(picks.get(step, 0), ready - 1)

    return pick


def _run(scenario: Callable[[], Coroutine[Any, Any, T]], pick: Callable[[int], int]) -> tuple[T, list[int]]:
    loop = VirtualLoop(pick)
    # A commit on a thread would end when the machine likes.
    with patch.object(flush, "LONG_COMMIT_SECONDS", inf):
        return _run_on(loop, scenario)


def _run_on(loop: VirtualLoop, scenario: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, list[int]]:
    try:
        asyncio.set_event_loop(loop)
        result = loop.run_until_complete(scenario())
        widths = list(loop.widths)
    finally:
        with suppress(Stuck):  # once is enough to be told of it
            _end(loop)
        asyncio.set_event_loop(None)
        loop.close()
    assert not loop.troubles, loop.troubles
    return result, widths


def _end(loop: VirtualLoop) -> None:
    """What is left of the scenario is cancelled, as ``asyncio.run`` does."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
