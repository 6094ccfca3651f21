"""Handles: who waits for an input, and what they are told when it ends (C18, C46)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, final

from attrs import frozen

from ..spec.errors import HoldstateError
from ..spec.vocabulary import AbandonReason, OutcomeKind
from .errors import WaitTimedOut
from .ids import InputId
from .outcomes import Accepted, AcceptOutcome
from .records import InputRecord


@final
@frozen
class Completed:
    """A run consumed the input. ``result`` is None where it gave none, or where the input was consumed on accept."""

    input_id: InputId
    result: bytes | None = None


@final
@frozen
class Abandoned:
    """The input was given up."""

    input_id: InputId
    reason: AbandonReason
    error: str | None = None


@final
@frozen
class Superseded:
    """A newer input took its place."""

    input_id: InputId
    by: InputId


@final
@frozen
class WaitFailed:
    """Waiting ended before the input did. Nothing is claimed about the input; ask again with its id or key."""

    input_id: InputId
    cause: HoldstateError


InputOutcome = Completed | Abandoned | Superseded | WaitFailed


Ending = InputRecord | HoldstateError
"""What a waiter hears: the record of an input that has ended, or why it will hear nothing here."""


@final
class Waiters:
    """The futures of one open runtime by input. Each is resolved exactly once, after the commit (C18)."""

    def __init__(self) -> None:
        self._waiting: dict[InputId, dict[asyncio.Future[Ending], None]] = {}
        self._waits_for: dict[asyncio.Future[Ending], InputId] = {}
        self._cause: HoldstateError | None = None

    def __len__(self) -> int:
        return len(self._waits_for)

    def future(self, input_id: InputId) -> asyncio.Future[Ending]:
        """A future that gets the record of the input when it has ended; of one that is coalesced, the record of the
        one that took it in, when that has ended.
        """
        future: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        if self._cause is None:
            self._add(future, input_id)
        else:
            future.set_result(self._cause)
        return future

    def _add(self, future: asyncio.Future[Ending], input_id: InputId) -> None:
        self._waiting.setdefault(input_id, {})[future] = None
        self._waits_for[future] = input_id

    def forget(self, future: asyncio.Future[Ending]) -> None:
        """Its waiter is gone."""
        input_id = self._waits_for.pop(future, None)
        if input_id is not None:
            waiting = self._waiting[input_id]
            del waiting[future]
            if not waiting:
                del self._waiting[input_id]

    def ended(self, records: Iterable[InputRecord]) -> None:
        """Tell everybody who waits for one of ``records``, which come in the order in which they ended."""
        for record in records:
            for future in self._waiting.pop(record.input_id, ()):
                if record.outcome_kind is OutcomeKind.COALESCED and record.successor_id is not None:
                    self._add(future, record.successor_id)
                else:
                    self._resolve(future, record)

    def fail(self, cause: HoldstateError) -> None:
        """Nothing more will be heard of this runtime here: who waits hears ``cause``, and whoever comes later."""
        self._cause = cause
        self._waiting.clear()
        for future in tuple(self._waits_for):
            self._resolve(future, cause)

    def _resolve(self, future: asyncio.Future[Ending], ending: Ending) -> None:
        del self._waits_for[future]
        if not future.done():  # its waiter was cancelled and has not come to forget it yet
            future.set_result(ending)


@final
class InputHandle:
    """One submitted input: ``accepted`` is what admission answered, ``outcome()`` how it ended."""

    def __init__(
        self,
        input_id: InputId,
        accepted: AcceptOutcome,
        wait: Callable[[InputId], Coroutine[Any, Any, InputOutcome]],
    ) -> None:
        self.input_id = input_id
        self.accepted = accepted
        self._wait = wait

    async def outcome(self, timeout: float | None = None) -> InputOutcome:  # noqa: ASYNC109 - it bounds waiting, not work
        """How the input ended. Running out of ``timeout`` seconds raises ``WaitTimedOut`` and cancels nothing.

        A coalesced input is followed to the end of the one that took it in. Cancelling the caller cancels nothing
        either.
        """
        if isinstance(self.accepted, Accepted) and self.accepted.record.is_terminal:
            return Completed(self.input_id)  # consumed on accept; an ephemeral one is forgotten by now
        try:
            async with asyncio.timeout(timeout):
                return await self._wait(self.input_id)
        except TimeoutError:
            raise WaitTimedOut(self.input_id, timeout or 0.0) from None


def outcome_of(record: InputRecord, result: bytes | None) -> InputOutcome | InputId:
    """What waiters of an ended input are told; the id of its successor where it was coalesced."""
    if record.outcome_kind is OutcomeKind.CONSUMED:
        return Completed(record.input_id, result)
    if record.outcome_kind is OutcomeKind.ABANDONED and record.abandon_reason is not None:
        return Abandoned(record.input_id, record.abandon_reason, record.error)
    successor = record.successor_id
    assert successor is not None, record
    return successor if record.outcome_kind is OutcomeKind.COALESCED else Superseded(record.input_id, successor)
