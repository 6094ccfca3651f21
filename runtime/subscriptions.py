"""Live events of a service: published after the commit, to whoever subscribed, each with a bounded buffer of its own.

A subscriber who is slow loses the oldest events of its own buffer and is told how many; nobody waits for it (C45).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, final

from attrs import frozen

from ..spec.vocabulary import EventCode
from .errors import InvalidInput
from .events import EventEnvelope


@final
@frozen
class EventGap:
    """``missed`` events were dropped here because the subscriber did not take them in time."""

    missed: int


@final
class Subscription:
    """The events of one runtime, or of all, from now on: an async iterator that ends when it or the service is closed.

    Use it as an async context manager, or ``close`` it: until then its buffer is filled, whether or not it is read.
    """

    def __init__(self, codes: frozenset[EventCode] | None, buffer: int, forget: Callable[[Subscription], None]) -> None:
        self._codes = codes
        self._pending: deque[EventEnvelope] = deque(maxlen=buffer)
        self._missed = 0
        self._forget = forget
        self._is_closed = False
        self._changed = asyncio.Event()

    def deliver(self, events: Iterable[EventEnvelope]) -> None:
        """Keep what is wanted of ``events``; the oldest give way."""
        for event in events:
            if self._codes is None or event.code in self._codes:
                self._missed += len(self._pending) == self._pending.maxlen
                self._pending.append(event)
        self._changed.set()

    def close(self) -> None:
        """Take no further event. What is in the buffer can still be read."""
        self._forget(self)
        self._is_closed = True
        self._changed.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventEnvelope | EventGap:
        while not self._pending:
            if self._is_closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        if self._missed:
            gap, self._missed = EventGap(self._missed), 0
            return gap
        return self._pending.popleft()


@final
class EventHub:
    """The subscriptions of a service, by runtime; under None those to all runtimes."""

    def __init__(self) -> None:
        self._subscriptions: dict[str | None, dict[Subscription, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._subscriptions.values()))

    def subscribe(self, runtime_id: str | None, codes: Iterable[EventCode] | None, buffer: int) -> Subscription:
        """A new subscription; InvalidInput for a buffer below 1 or a code that is none."""
        if buffer < 1:
            raise InvalidInput("buffer", f"must hold at least 1 event; it is {buffer}")
        wanted = None if codes is None else frozenset(codes)
        unknown = frozenset() if wanted is None else wanted.difference(EventCode)
        if unknown:
            raise InvalidInput("codes", f"must be EventCode members; {min(map(repr, unknown))} is none")

        def forget(subscription: Subscription) -> None:
            group = self._subscriptions.get(runtime_id, {})
            group.pop(subscription, None)
            if not group:
                self._subscriptions.pop(runtime_id, None)

        subscription = Subscription(wanted, buffer, forget)
        self._subscriptions.setdefault(runtime_id, {})[subscription] = None
        return subscription

    def is_heard(self, runtime_id: str) -> bool:
        """Whether anybody subscribed to that runtime."""
        return runtime_id in self._subscriptions or None in self._subscriptions

    def publish(self, runtime_id: str, events: Iterable[EventEnvelope]) -> None:
        """Deliver ``events`` of one runtime; returns at once."""
        heard = tuple(events)
        for key in (runtime_id, None):
            for subscription in self._subscriptions.get(key, ()):
                subscription.deliver(heard)

    def close(self) -> None:
        """End every subscription."""
        for group in tuple(self._subscriptions.values()):
            for subscription in tuple(group):
                subscription.close()
