"""Handles: who waits for an input, and what they are told when it ends (C18, C46)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any, final

from attrs import frozen

from ..spec.errors import HoldstateError
from ..spec.vocabulary import AbandonReason, OutcomeKind
from .errors import InputRejected, WaitTimedOut
from .ids import InputId
from .outcomes import Accepted, AcceptOutcome, Deduplicated, Rejected
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


Admitted = AcceptOutcome | BaseException
"""What became of an admission, as a value."""


@final
class Acceptance(Awaitable[AcceptOutcome]):
    """``await`` it for what admission answered, once that is durable; as often as you like, from several tasks.

    Raises what kept the input from being admitted: ``NotReady``, ``StoreError``, ``Fenced``. Leaving takes nothing
    back.
    """

    def __init__(self, answer: asyncio.Future[Admitted]) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, None, AcceptOutcome]:
        answer = self._answer.result() if self._answer.done() else (yield from asyncio.shield(self._answer).__await__())
        if isinstance(answer, BaseException):
            raise answer.with_traceback(None)
        return answer


@final
class InputHandle:
    """One submitted input: ``await handle.accepted`` for what admission answers, ``await handle.outcome()`` for how it
    ends.
    """

    def __init__(
        self,
        input_id: InputId,
        answer: asyncio.Future[Admitted],
        wait: Callable[[AcceptOutcome], Coroutine[Any, Any, InputOutcome]],
    ) -> None:
        self._submitted_id = input_id
        self._answer = answer
        self._wait = wait

    @property
    def input_id(self) -> InputId:
        """Its id; once it is found to be a retry of one that came before under another id, the id of that one."""
        answer = self._answer.result() if self._answer.done() else None
        return answer.existing_id if isinstance(answer, Deduplicated) else self._submitted_id

    @property
    def accepted(self) -> Acceptance:
        """What admission answers: ``Accepted`` when the input is durable, ``Deduplicated``, or ``Rejected``."""
        return Acceptance(self._answer)

    async def outcome(self, timeout: float | None = None) -> InputOutcome:  # noqa: ASYNC109 - it bounds waiting, not work
        """How the input ended. Running out of ``timeout`` seconds raises ``WaitTimedOut`` and cancels nothing.

        A coalesced input is followed to the end of the one that took it in. Cancelling the caller cancels nothing
        either. Raises ``InputRejected`` where the input was refused; ``WaitFailed`` where its admission failed.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._outcome()
        except TimeoutError:
            raise WaitTimedOut(self.input_id, timeout or 0.0) from None

    async def _outcome(self) -> InputOutcome:
        try:
            answer = await self.accepted
        except HoldstateError as error:
            return WaitFailed(self.input_id, error)
        if isinstance(answer, Rejected):
            raise InputRejected(answer)
        if isinstance(answer, Accepted) and answer.record.is_terminal:
            return Completed(self.input_id)  # consumed on accept; an ephemeral one is forgotten by now
        return await self._wait(answer)


def outcome_of(record: InputRecord, result: bytes | None) -> InputOutcome | InputId:
    """What waiters of an ended input are told; the id of its successor where it was coalesced."""
    if record.outcome_kind is OutcomeKind.CONSUMED:
        return Completed(record.input_id, result)
    if record.outcome_kind is OutcomeKind.ABANDONED and record.abandon_reason is not None:
        return Abandoned(record.input_id, record.abandon_reason, record.error)
    successor = record.successor_id
    assert successor is not None, record
    return successor if record.outcome_kind is OutcomeKind.COALESCED else Superseded(record.input_id, successor)
