"""How a service is doing, told from what is in memory and from the store's counters as they were read last (C47)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, final

from attrs import frozen

from ..spec.vocabulary import InputState, RuntimeState
from .batches import next_due
from .delta import Delta
from .ids import RunId
from .image import RuntimeImage
from .records import FIRST_ORDER
from .store import RuntimeStore, StoreStats

if TYPE_CHECKING:
    from .backpressure import Load
    from .open_runtime import OpenRuntime

STATS_SECONDS = 1.0
"""How old the store's counters may be before they are read again."""

PROBLEM_SECONDS = 60.0
"""A problem that was not heard of for so long is over."""

LATE_SECONDS = 5.0
"""How long after the end of its backoff work may lie before it is overdue."""

MOST_PROBLEMS = 1000


@final
class ServiceState(StrEnum):
    """``unknown``: the store's counters cannot be read, so that nothing can be claimed."""

    OK = "ok"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"


@final
@frozen
class Overdue:
    """Work that should have gone on: a run that takes long (``run_id``), or a backoff that ended ``since``."""

    runtime_id: str
    since: datetime
    run_id: RunId | None = None


@final
@frozen
class ServiceStatus:
    """A service at one moment. Counts by state and ages are those of the open runtimes; a runtime that is not open has
    no work under way. ``cause`` is the first of the problems that last, ``since`` when it began.

    ``active_inputs`` and ``queued_bytes`` are what backpressure goes by, closed runtimes included. ``parked`` runtimes
    wait for a backoff, or because their executor said ``TryLater``. ``store`` was read ``store_age_seconds`` ago.
    """

    state: ServiceState
    cause: str | None
    since: datetime | None
    at: datetime
    open_runtimes: int
    runtimes: Mapping[RuntimeState, int]
    inputs: Mapping[InputState, int]
    oldest_queued_seconds: float | None
    runs_under_way: int
    parked: int
    overdue: tuple[Overdue, ...]
    active_inputs: int
    queued_bytes: int
    is_full: bool
    subscribers: int
    store: StoreStats | None
    store_age_seconds: float | None


@final
class Tally:
    """The active inputs of one open runtime by state, and since when its run is under way, as of the last commit."""

    def __init__(self, image: RuntimeImage) -> None:
        self.inputs: Counter[InputState] = Counter(record.state for record in image.inputs.values())
        self.run_id = image.runtime.current_run_id
        self.run_since: datetime | None = None

    def committed(self, deltas: Iterable[Delta], at: datetime) -> None:
        """Count what a commit changed."""
        for delta in deltas:
            for before, after in delta.changes:
                if before is not None and not before.is_terminal:
                    self.inputs[before.state] -= 1
                if after is not None and not after.is_terminal:
                    self.inputs[after.state] += 1
            if delta.runtime.current_run_id != self.run_id:
                self.run_id = delta.runtime.current_run_id
                self.run_since = None if self.run_id is None else at


@final
@frozen
class Problem:
    """Something that went wrong: what, when first and when last, and whether it was the store that failed."""

    sentence: str
    first_at: datetime
    last_at: datetime
    is_of_store: bool


@final
class Problems:
    """What went wrong lately.

    A failure of the store is over when that runtime commits again. Whatever else it is, a problem is over when nothing
    was heard of it for ``PROBLEM_SECONDS``.
    """

    def __init__(self) -> None:
        self._by_place: dict[str, dict[str, Problem]] = {}

    def note(self, runtime_id: str, what: str, cause: BaseException, at: datetime, *, is_of_store: bool) -> None:
        """Keep a problem; one that is known goes on."""
        if len(self._by_place) >= MOST_PROBLEMS and runtime_id not in self._by_place:
            return
        place = self._by_place.setdefault(runtime_id, {})
        known = place.get(what)
        first_at = at if known is None or _is_over(known, at) else known.first_at
        place[what] = Problem(f"runtime {runtime_id!r}: {what}: {cause}", first_at, at, is_of_store)

    def committed(self, runtime_id: str) -> None:
        """The store took something of that runtime."""
        if runtime_id in self._by_place:
            self._keep(runtime_id, lambda problem: not problem.is_of_store)

    def first(self, at: datetime) -> Problem | None:
        """The problem that lasts the longest; None when none does."""
        for runtime_id in tuple(self._by_place):
            self._keep(runtime_id, lambda problem: not _is_over(problem, at))
        problems = (problem for place in self._by_place.values() for problem in place.values())
        return min(problems, key=lambda problem: problem.first_at, default=None)

    def _keep(self, runtime_id: str, is_kept: Callable[[Problem], bool]) -> None:
        kept = {what: problem for what, problem in self._by_place.pop(runtime_id).items() if is_kept(problem)}
        if kept:
            self._by_place[runtime_id] = kept


def _is_over(problem: Problem, at: datetime) -> bool:
    return at - problem.last_at > timedelta(seconds=PROBLEM_SECONDS)


@final
class StoreGauge:
    """The counters of a store as read last. After the first time they are read on a thread, so that nobody waits."""

    def __init__(
        self, store: RuntimeStore, now: Callable[[], datetime], on_reading: Callable[[StoreStats], None]
    ) -> None:
        self._store = store
        self._now = now
        self._on_reading = on_reading
        self._asked_at: datetime | None = None
        self._under_way: asyncio.Future[StoreStats] | None = None
        self.stats: StoreStats | None = None
        self.read_at: datetime | None = None
        self.failure: tuple[str, datetime] | None = None

    def read_now(self) -> None:
        """Read on this thread; for the start, when nobody writes yet."""
        self._asked_at = self._now()
        try:
            self._take(self._store.stats())
        except Exception as error:  # noqa: BLE001 - whatever it is, the store cannot be read
            self._fail(error)

    def refresh(self) -> None:
        """Have the counters read again if they are too old; returns at once."""
        at = self._now()
        is_fresh = self._asked_at is not None and abs((at - self._asked_at).total_seconds()) < STATS_SECONDS
        if is_fresh or self._under_way is not None:
            return
        self._asked_at = at
        self._under_way = asyncio.get_running_loop().run_in_executor(None, self._store.stats)
        self._under_way.add_done_callback(self._arrived)

    async def settle(self) -> None:
        """Wait for a reading that is under way."""
        if self._under_way is not None:
            await asyncio.wait([self._under_way])

    def _arrived(self, reading: asyncio.Future[StoreStats]) -> None:
        self._under_way = None
        error = None if reading.cancelled() else reading.exception()
        if error is not None:
            self._fail(error)
        elif not reading.cancelled():
            self._take(reading.result())

    def _take(self, stats: StoreStats) -> None:
        self.stats, self.read_at, self.failure = stats, self._now(), None
        self._on_reading(stats)

    def _fail(self, error: BaseException) -> None:
        since = self._now() if self.failure is None else self.failure[1]
        self.failure = (f"the store cannot be read: {type(error).__name__}: {error}", since)


@final
@frozen
class Sources:
    """What a status is made of."""

    entries: tuple[OpenRuntime, ...]
    problems: Problems
    gauge: StoreGauge
    load: Load
    subscribers: int
    overdue_seconds: float


def status_of(sources: Sources, at: datetime) -> ServiceStatus:
    """The status at ``at``; takes time proportional to the open runtimes."""
    entries, gauge, load = sources.entries, sources.gauge, sources.load
    inputs: Counter[InputState] = Counter()
    for entry in entries:
        inputs.update(entry.tally.inputs)
    waiting = {entry.driver.runtime_id: due for entry in entries if (due := _waits_until(entry, at)) is not None}
    overdue = _overdue(entries, waiting, at, sources.overdue_seconds)
    state, cause, since = _judge(sources, overdue, at)
    oldest = min(
        (oldest for entry in entries if (oldest := _oldest_queued(entry.driver.image)) is not None), default=None
    )
    return ServiceStatus(
        state=state,
        cause=cause,
        since=since,
        at=at,
        open_runtimes=len(entries),
        runtimes=dict(Counter(entry.driver.runtime_state for entry in entries)),
        inputs={state: count for state, count in inputs.items() if count},
        oldest_queued_seconds=None if oldest is None else _seconds(oldest, at),
        runs_under_way=sum(entry.tally.run_id is not None for entry in entries),
        parked=sum(due > at for due in waiting.values()),
        overdue=overdue,
        active_inputs=load.active,
        queued_bytes=load.queued_bytes,
        is_full=load.is_full,
        subscribers=sources.subscribers,
        store=gauge.stats,
        store_age_seconds=None if gauge.read_at is None else _seconds(gauge.read_at, at),
    )


def _judge(
    sources: Sources, overdue: tuple[Overdue, ...], at: datetime
) -> tuple[ServiceState, str | None, datetime | None]:
    """Unknown before degraded, problems before overdue work; of several the first."""
    if sources.gauge.failure is not None:
        return ServiceState.UNKNOWN, *sources.gauge.failure
    problem = sources.problems.first(at)
    if problem is not None:
        return ServiceState.DEGRADED, problem.sentence, problem.first_at
    if overdue:
        first = overdue[0]
        what = (
            "has work that should have been tried again" if first.run_id is None else f"is busy with run {first.run_id}"
        )
        return ServiceState.DEGRADED, f"runtime {first.runtime_id!r} {what} since {first.since}", first.since
    return ServiceState.OK, None, None


def _overdue(
    entries: Iterable[OpenRuntime], waiting: Mapping[str, datetime], at: datetime, run_seconds: float
) -> tuple[Overdue, ...]:
    found = [
        Overdue(runtime_id, due) for runtime_id, due in waiting.items() if at - due > timedelta(seconds=LATE_SECONDS)
    ]
    for entry in entries:
        tally = entry.tally
        if tally.run_since is not None and at - tally.run_since > timedelta(seconds=run_seconds):
            found.append(Overdue(entry.driver.runtime_id, tally.run_since, tally.run_id))
    return tuple(sorted(found, key=lambda each: each.since))


def _waits_until(entry: OpenRuntime, at: datetime) -> datetime | None:
    """When the work of a runtime goes on that waits for a backoff, or was put off by its executor; None while it runs,
    or where nobody would work.
    """
    if entry.worker is None or entry.tally.run_id is not None or entry.driver.image.runtime.is_terminal:
        return None
    held = entry.worker.held_seconds
    return at + timedelta(seconds=held) if held > 0 else next_due(entry.driver.image)


def _oldest_queued(image: RuntimeImage) -> datetime | None:
    """When the input was admitted that is queued the longest: the first of each lane, with and without priority."""
    found = []
    for lane in image.lanes.values():
        for least in (None, FIRST_ORDER):
            order = next(lane.irange(minimum=least), None)
            if order is not None:
                found.append(image.inputs[lane[order]].admission.admitted_at)
    return min(found, default=None)


def _seconds(since: datetime, at: datetime) -> float:
    return max((at - since).total_seconds(), 0.0)
