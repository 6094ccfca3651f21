"""How much a service has taken on, what it refuses beyond that, and when another attempt is worth it.

What was admitted here is counted to the byte, from its commit to that of its end. What the store held before, or holds
in runtimes that are not open, is counted as the store tells it: its inputs exactly, their bytes by the average.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import final

from attrs import frozen

from .delta import Delta
from .ids import InputId
from .outcomes import Rejected
from .rejections import RejectionCode
from .store import StoreStats

SHORTEST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
SMOOTHING = 0.2
"""The weight of the newest reading in the average time between two ends."""


@final
class Pace:
    """How fast inputs end lately, and how many callers were refused since there was room last."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last_end: datetime | None = None
        self._seconds_per_end: float | None = None
        self._refused = 0

    def ended(self, count: int) -> None:
        """``count`` inputs ended by now: as many of those who were refused may come back."""
        at = self._now()
        if self._last_end is not None:
            seconds = max((at - self._last_end).total_seconds(), 0.0) / count
            average = self._seconds_per_end
            self._seconds_per_end = seconds if average is None else average + SMOOTHING * (seconds - average)
        self._last_end = at
        self._refused = max(self._refused - count, 0)

    def admitted(self) -> None:
        """There was room."""
        self._refused = 0

    def refused(self) -> float:
        """When to come back: the n-th who is refused since there was room waits for n ends at their recent pace, from
        1 to 60 seconds; for 1 second where no pace is known yet.
        """
        self._refused += 1
        wait = self._refused * (self._seconds_per_end or 0.0)
        return min(max(wait, SHORTEST_RETRY_SECONDS), LONGEST_RETRY_SECONDS)


@final
class RoomQueue:
    """Who waits for room, first come first served, and how many inputs were let in and are not settled yet."""

    def __init__(self) -> None:
        self.unsettled = 0
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._changed = asyncio.Event()

    @property
    def is_waited_for(self) -> bool:
        return self._waiting > 0

    def enter(self) -> None:
        """An input that was let in is on its way, until ``settled``."""
        self.unsettled += 1

    def settled(self) -> None:
        """From here on an input counts for itself, or not at all."""
        self.unsettled -= 1
        self.has_room()

    def has_room(self) -> None:
        """There may be room: whoever is first looks again."""
        self._changed.set()

    async def until(self, is_let_in: Callable[[], bool], look_again_seconds: float | None = None) -> None:
        """Wait until it is one's turn and ``is_let_in`` says yes. It is asked after each ``has_room``, and every
        ``look_again_seconds``.
        """
        async with self._turn:
            while not is_let_in():
                self._waiting += 1
                self._changed.clear()
                try:
                    async with asyncio.timeout(look_again_seconds):
                        await self._changed.wait()
                except TimeoutError:
                    continue
                finally:
                    self._waiting -= 1


@final
@frozen
class Held:
    """An active input that was admitted here."""

    size_bytes: int
    is_durable: bool


@final
class Load:
    """The active inputs of a service and their bytes: payloads, and images that were new with them.

    ``reserve`` before an admission, ``release`` after it, and ``committed`` with what was written: so the limits hold
    exactly, however many callers come at once.
    """

    def __init__(self, max_active: int, max_bytes: int, now: Callable[[], datetime]) -> None:
        self._max_active = max_active
        self._max_bytes = max_bytes
        self._pace = Pace(now)
        self._held: dict[str, dict[InputId, Held]] = {}
        self._reserved: dict[tuple[str, InputId], int] = {}
        self._durable = 0
        self._ephemeral = 0
        self._bytes = 0
        self._reserved_bytes = 0
        self._others = 0
        self._other_bytes = 0.0
        self.queue = RoomQueue()

    @property
    def active(self) -> int:
        """Inputs that are admitted and have not ended."""
        return self._durable + self._ephemeral + self._others

    @property
    def queued_bytes(self) -> int:
        """What they take."""
        return self._bytes + round(self._other_bytes)

    @property
    def is_full(self) -> bool:
        """Whether the next input is refused, however small it is."""
        is_full = self.active + len(self._reserved) >= self._max_active
        return is_full or self.queued_bytes + self._reserved_bytes >= self._max_bytes

    def adjust(self, stats: StoreStats, *, keeps_payloads: bool) -> None:
        """Take over what the store tells of the inputs that are not known here."""
        bodies = stats.active_inputs + (stats.ended_inputs if keeps_payloads else 0)
        self._others = max(stats.active_inputs - self._durable, 0)
        self._other_bytes = stats.body_bytes / bodies * self._others if bodies else 0.0
        self.queue.has_room()

    # -- admission -------------------------------------------------------------------------------------------------

    def reserve(self, runtime_id: str, input_id: InputId, size_bytes: int) -> bool:
        """Whether there is room for one more input; if so, it is kept for this one until ``release``."""
        if self.is_full or self.queued_bytes + self._reserved_bytes + size_bytes > self._max_bytes:
            return False
        self._pace.admitted()
        self.release(runtime_id, input_id)  # two callers bring the same input: it is admitted once
        self._reserved[runtime_id, input_id] = size_bytes
        self._reserved_bytes += size_bytes
        return True

    def release(self, runtime_id: str, input_id: InputId) -> None:
        """The admission is over, whatever came of it."""
        self._reserved_bytes -= self._reserved.pop((runtime_id, input_id), 0)
        self.queue.has_room()

    def could_take(self, size_bytes: int) -> bool:
        """Whether an input of that size has room when nothing else is there."""
        return size_bytes <= self._max_bytes

    def refusal(self, input_id: InputId) -> Rejected:
        """What a caller hears for whose input there is no room."""
        reason = (
            f"the service holds {self.active} inputs of {self.queued_bytes} bytes; it takes up to {self._max_active} "
            f"inputs and {self._max_bytes} bytes (ServiceSettings.max_active_total, max_queued_bytes); try again later"
        )
        return Rejected(input_id, RejectionCode.OVERLOADED, reason, retry_after_seconds=self.retry_after())

    def retry_after(self) -> float:
        """The hint for one more caller who is refused; see ``Pace.refused``."""
        return self._pace.refused()

    # -- what was committed ----------------------------------------------------------------------------------------

    def committed(self, runtime_id: str, deltas: Iterable[Delta]) -> None:
        """Count what a commit admitted and ended."""
        ended = 0
        for delta in deltas:
            for before, after in delta.changes:
                is_active = after is not None and not after.is_terminal
                if before is None and after is not None:
                    self.release(runtime_id, after.input_id)
                    if is_active:
                        self._add(runtime_id, after.input_id, delta, is_durable=not after.admission.is_ephemeral)
                elif before is not None and not before.is_terminal and not is_active:
                    self._end(runtime_id, before.input_id)
                    ended += 1
        if ended:
            self._pace.ended(ended)
            self.queue.has_room()

    def _add(self, runtime_id: str, input_id: InputId, delta: Delta, *, is_durable: bool) -> None:
        size_bytes = len(delta.bodies.get(input_id, b"")) + sum(len(content) for _, content in delta.blobs)
        self._held.setdefault(runtime_id, {})[input_id] = Held(size_bytes, is_durable)
        self._count(1, size_bytes, is_durable=is_durable)

    def _end(self, runtime_id: str, input_id: InputId) -> None:
        held = self._held.get(runtime_id, {}).pop(input_id, None)
        if held is None:
            self.ended_unseen(1)
        else:
            self._count(-1, -held.size_bytes, is_durable=held.is_durable)

    def _count(self, inputs: int, size_bytes: int, *, is_durable: bool) -> None:
        self._bytes += size_bytes
        if is_durable:
            self._durable += inputs
        else:
            self._ephemeral += inputs

    def ended_unseen(self, count: int) -> None:
        """That many of the inputs ended that were not admitted here."""
        left = max(self._others - count, 0)
        self._other_bytes = self._other_bytes * left / self._others if self._others else 0.0
        self._others = left

    def closed(self, runtime_id: str) -> None:
        """A runtime is no longer open here: its durable inputs are the store's to tell of, the others are gone."""
        for held in self._held.pop(runtime_id, {}).values():
            self._count(-1, -held.size_bytes, is_durable=held.is_durable)
            if held.is_durable:
                self._others += 1
                self._other_bytes += held.size_bytes
