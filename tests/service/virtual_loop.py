"""An event loop for tests that tries out orders: its own clock, and the next callback picked by a schedule.

No time passes while anything is ready; with nothing ready, the clock jumps to the next timer. With no timer either,
everybody waits for ever, which is raised as ``Stuck``: a lost wake-up fails its test at once, and is never waited for.

At each step a schedule picks one of the callbacks that are ready; asyncio itself always takes the oldest. ``explore``
runs a scenario under every schedule that leaves asyncio's order at most ``deviations`` times; what follows a deviation
is shaped by it, so its steps are counted anew. ``exhaust`` runs a small one under every schedule there is. ``shuffled``
draws every pick from a seed.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from graphlib import CycleError, TopologicalSorter
from math import inf
from random import Random
from typing import Any, Generic, TypeVar, final
from unittest.mock import patch

from attrs import frozen

from holdstate.runtime import commit_thread, flush, observation

from .loop_states import digest_of

T = TypeVar("T")


class Merged(BaseException):
    """What comes next was seen on another path."""


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
        self.pick = pick
        self._seconds = 0.0
        self.main: asyncio.Task[Any] | None = None
        self.is_explored = False
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
            for cancelled in [handle for handle in ready if handle._cancelled]:
                ready.remove(cancelled)
            if ready:
                break
            self._jump()
        if len(self.widths) >= LONGEST:
            raise Spins
        number = self.pick(len(ready))
        self.widths.append(len(ready))
        handle = ready[number]
        del ready[number]
        handle._run()

    def _ring(self) -> None:
        """Timers that are due are ready, in the order of their times."""
        timers: Any = self._scheduled  # type: ignore[attr-defined]  # a heap
        while timers and (timers[0]._cancelled or timers[0].when() <= self._seconds):
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if not timer._cancelled:
                self._ready.append(timer)  # type: ignore[attr-defined]

    def state(self) -> bytes:
        """What can come of here, whatever came before; see ``loop_states``."""
        timers: Any = self._scheduled  # type: ignore[attr-defined]
        rung = sorted(timer for timer in timers if not timer._cancelled)
        return digest_of(self._ready, [self._seconds, *rung, self.main])  # type: ignore[attr-defined]

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


@final
@frozen
class Explored(Generic[T]):
    """All that can come of a scenario: what each schedule returned that was run to its end, out of so many ``runs``,
    through so many ``states`` in which there was a choice.
    """

    results: list[T]
    runs: int
    states: int


def exhaust(scenario: Callable[[], Coroutine[Any, Any, T]], limit: int = 5_000) -> Explored[T]:
    """What comes of ``scenario`` under every schedule there is; fails where that takes more than ``limit`` runs.

    Depth first over every choice of the next callback. A schedule that comes to a state that was met before is not
    followed further, as all that can follow has been, or will be, seen from there: ``loop_states`` has what makes two
    states equal. One that comes to a state of its own past goes round in circles, which is ``Spins``.
    """
    found: Exhaustion[T] = Exhaustion(scenario, limit)
    return found.all()


@final
class Exhaustion(Generic[T]):
    """The search of ``exhaust``."""

    def __init__(self, scenario: Callable[[], Coroutine[Any, Any, T]], limit: int) -> None:
        self._scenario = scenario
        self._limit = limit
        self._waiting: list[tuple[tuple[int, ...], bytes]] = [((), b"")]
        self._states: dict[bytes, set[bytes]] = {b"": set()}

    def all(self) -> Explored[T]:
        """Every schedule, each up to where it meets another one."""
        results: list[T] = []
        runs = 0
        while self._waiting:
            runs += 1
            assert runs <= self._limit, f"more than {self._limit} runs: take a smaller scenario"
            path = Path(*self._waiting.pop(), self._states)
            loop = VirtualLoop(path.pick)
            path.loop = loop
            with suppress(Merged), _readable():
                results.append(_run_on(loop, self._scenario)[0])
            self._waiting += path.turns
        try:
            TopologicalSorter(self._states).prepare()
        except CycleError as error:
            raise Spins from error
        return Explored(results, runs, len(self._states))


@final
class Path:
    """One schedule of a search: first as given, the last of that at ``state``, then the oldest callback each time."""

    def __init__(self, given: tuple[int, ...], state: bytes, states: dict[bytes, set[bytes]]) -> None:
        self.loop: VirtualLoop | None = None
        self._given = given
        self._states = states
        self._state = state
        self._picked = 0
        self.turns: list[tuple[tuple[int, ...], bytes]] = []

    def pick(self, ready: int) -> int:
        """The number of the callback to run; ``Merged`` where the rest is known."""
        step, self._picked = self._picked, self._picked + 1
        if step < len(self._given):
            return self._given[step]
        if ready > 1 and self.loop is not None and self.loop.is_explored:
            self._meet(step, ready)
        return 0

    def _meet(self, step: int, ready: int) -> None:
        assert self.loop is not None
        state = self.loop.state()
        self._states[self._state].add(state)
        if state in self._states:
            raise Merged
        self._states[state] = set()
        self._state = state
        before = self._given + (0,) * (step - len(self._given))
        self.turns += [((*before, other), state) for other in range(1, ready)]


@contextmanager
def in_any_order() -> Iterator[None]:
    """The part of a scenario that ``exhaust`` explores; outside, the oldest callback runs next."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.is_explored = True
    try:
        yield
    finally:
        loop.is_explored = False


@contextmanager
def _readable() -> Iterator[None]:
    """Without what differs from run to run, and what a digest cannot read: measured times, and telemetry."""
    with (
        patch.object(flush, "perf_counter", lambda: 0.0),
        patch.object(observation, "telemetry_if_set_up", lambda: None),
    ):
        yield


def _oldest(ready: int) -> int:
    return 0


def _following(picks: Mapping[int, int]) -> Callable[[int], int]:
    step = -1

    def pick(ready: int) -> int:
        nonlocal step
        step += 1
        return min(picks.get(step, 0), ready - 1)

    return pick


def _run(scenario: Callable[[], Coroutine[Any, Any, T]], pick: Callable[[int], int]) -> tuple[T, list[int]]:
    return _run_on(VirtualLoop(pick), scenario)


def _run_on(loop: VirtualLoop, scenario: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, list[int]]:
    try:
        asyncio.set_event_loop(loop)
        # A commit on a thread would end when the machine likes.
        with patch.object(commit_thread, "LONG_COMMIT_SECONDS", inf):
            loop.main = loop.create_task(scenario())
            result = loop.run_until_complete(loop.main)
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
    loop.pick = _oldest
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
