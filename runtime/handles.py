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
from .outcomes import AcceptOutcome
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


@final
class Waiters:
    """The futures of one open runtime by input. Each is resolved exactly once, after the commit."""

    def __init__(self) -> None:
        self._waiting: dict[InputId, list[asyncio.Future[InputRecord | HoldstateError]]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def future(self, input_id: InputId) -> asyncio.Future[InputRecord | HoldstateError]:
        """A future that gets the record of the input when it has ended."""
        future: asyncio.Future[InputRecord | HoldstateError] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(input_id, []).append(future)
        return future

    def forget(self, input_id: InputId, future: asyncio.Future[InputRecord | HoldstateError]) -> None:
        """Its waiter is gone."""
        waiting = self._waiting.get(input_id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(input_id, None)

    def ended(self, records: Iterable[InputRecord]) -> None:
        """Tell everybody who waits for one of ``records``."""
        if not self._waiting:
            return
        for record in records:
            for future in self._waiting.pop(record.input_id, ()):
                if not future.done():
                    future.set_result(record)

    def fail(self, cause: HoldstateError) -> None:
        """Nothing more will be heard of this runtime here."""
        waiting, self._waiting = self._waiting, {}
        for futures in waiting.values():
            for future in futures:
                if not future.done():
                    future.set_result(cause)


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
        try:
            return await asyncio.wait_for(self._wait(self.input_id), timeout)
        except TimeoutError:
            raise WaitTimedOut(self.input_id, timeout or 0.0) from None


def outcome_of(record: InputRecord, result: bytes | None) -> InputOutcome | InputId:
    """What waiters of an ended input are told; the id of its successor where it was coalesced."""
    if record.outcome_kind is OutcomeKind.CONSUMED:
        return Completed(record.input_id, result)
    if record.outcome_kind is OutcomeKind.ABANDONED and record.abandon_reason is not None:
        return Abandoned(record.input_id, record.abandon_reason, record.error)
    successor = record.successor_id
    if successor is None:
        raise AssertionError(f"input {record.input_id} is {record.state} without a successor")
    return successor if record.outcome_kind is OutcomeKind.COALESCED else Superseded(record.input_id, successor)
