"""The seam that users of a service implement: the executor, and the run that it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, final

from attrs import frozen

from ..spec.errors import HoldstateError
from ..spec.vocabulary import RuntimeControl
from .checks import check_seconds, output_of
from .driver import PersistentRuntimeDriver
from .errors import InvalidInput, StoreError
from .ids import InputId, RunId
from .inputs import Input, TurnMetadata
from .outcomes import Run, RunOutput
from .records import InputRecord, RunBoundaryReceipt
from .turn_metadata import merged_metadata

LONGEST_PROBLEM_BYTES: Final = 4096
"""How much of an executor's problem is stored with its inputs, from its beginning."""

LONGEST_WAIT_SECONDS: Final = 365.0 * 24 * 3600
"""An executor that wants no run for longer than that is asked again after it."""


@final
class PermanentFailure(HoldstateError):
    """Raised by an executor: trying again would not help. The input is abandoned, unless it shared its run (C15)."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


@final
class TransientFailure(HoldstateError):
    """Raised by an executor: the run failed, and is tried again by the retry policy. ``problem`` is stored as it is, up
    to 4096 bytes; of any other exception the type is stored as well.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


@final
class TryLater(HoldstateError):
    """Raised by an executor: not now. The run is called off, free of charge, and its runtime begins no other one for
    ``seconds``, a year at most, which nothing stores: after a restart it begins at once.
    """

    def __init__(self, seconds: float) -> None:
        check_seconds(seconds, "seconds")
        self.seconds = min(seconds, LONGEST_WAIT_SECONDS)
        super().__init__(f"try again in {self.seconds:g} s")


@final
@frozen
class ExecutorFailed:
    """What is stored of an executor that raised, or returned what it must not."""

    problem: str
    is_permanent: bool = False


@final
@frozen
class PutOff:
    """The executor did not want the run for ``seconds``; or it met a failure of our store, ``cause``, and then it is
    tried again as after other failures of the store.
    """

    seconds: float
    cause: StoreError | None = None


Verdict = RunOutput | ExecutorFailed | PutOff | None
"""What came of a run in the hands of an executor; None where it was called off."""


@final
class ExecutorHangs(HoldstateError):
    """An executor did not end within ``seconds`` after it was cancelled. Its run has ended without it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"an executor did not end within {seconds:g} s after it was cancelled; its run goes on without it, so let "
            "CancelledError pass, and bound what blocks"
        )


@final
class CancellationToken:
    """Tells an executor that its run was called off. One that ignores it is left behind; its run is no more."""

    def __init__(self) -> None:
        self.called_off: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was called off."""
        return self.called_off.done()

    @property
    def reason(self) -> str | None:
        """Why the run was called off; None while it was not."""
        return self.called_off.result() if self.called_off.done() else None

    async def wait(self) -> str:
        """Returns the reason once the run is called off."""
        return await asyncio.shield(self.called_off)

    def cancel(self, reason: str) -> None:
        """Call the run off; the first reason stays."""
        if not self.called_off.done():
            self.called_off.set_result(reason)


@final
class ActiveRun:
    """A run in the hands of an executor. Its inputs are staged durably; nothing that it made counts before a boundary.

    ``checkpoint`` commits what was done so far, ``take_steers`` takes what arrived for this run. Both raise
    ``RunNotCurrent`` once the run was ended by somebody else, ``Fenced`` or ``DriverClosed`` once the runtime is in
    other hands, and ``StoreError`` where the store failed. An executor that lets that error through is charged nothing:
    its run is called off, and tried again when the store works.
    """

    def __init__(self, run: Run, driver: PersistentRuntimeDriver, session_snapshot: bytes | None) -> None:
        self._run = run
        self._driver = driver
        self.inputs: tuple[Input, ...] = run.inputs
        self.records: tuple[InputRecord, ...] = run.records
        self.session_snapshot = session_snapshot
        self.token = CancellationToken()
        self._store_failures: list[StoreError] = []

    @property
    def run_id(self) -> RunId:
        return self._run.run_id

    @property
    def runtime_id(self) -> str:
        return self._run.runtime_id

    @property
    def attempt(self) -> int:
        """The number of times that the first input was staged, this one included."""
        return self._run.attempt

    @property
    def input_ids(self) -> tuple[InputId, ...]:
        """The ids of ``inputs``, in their order."""
        return tuple(record.input_id for record in self.records)

    @property
    def turn_metadata(self) -> TurnMetadata:
        """What the inputs so far ask for, taken together: later scalars win, lists add up."""
        return merged_metadata(self.inputs)

    async def checkpoint(
        self, session_snapshot: bytes | None = None, *, result: bytes | None = None, message_count: int = 0
    ) -> RunBoundaryReceipt:
        """Commit a boundary over everything staged so far: after a crash the run is not repeated from before it."""
        with self._noting_failures():
            output = RunOutput(session_snapshot, result, message_count)
            receipt = await self._driver.checkpoint(self._run, output)
        if session_snapshot is not None:
            self.session_snapshot = session_snapshot
        return receipt

    async def take_steers(self) -> tuple[Input, ...]:
        """Stage what waits in the steer lane into this run, durably, and return it; the rest starts the next run."""
        with self._noting_failures():
            taken = await self._driver.take_steers(self._run)
        self.inputs += taken.inputs
        self.records += taken.records
        return taken.inputs

    @contextmanager
    def _noting_failures(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._store_failures.append(error)
            raise

    def met(self, error: BaseException) -> bool:
        """Whether ``error`` is a failure of the store that this run was told of."""
        return any(error is failure for failure in self._store_failures)


class Executor(Protocol):
    """Does the work of a run. ``control`` is optional: stop, or resume, told before the service acts on it."""

    async def apply(self, run: ActiveRun) -> RunOutput | bytes | None:
        """Work the run off. Whatever it raises is a failure of this run, ``SystemExit`` and ``KeyboardInterrupt``
        included, and is tried again; ``PermanentFailure`` is not, and ``TryLater`` is no failure. A group of one of
        these counts as that. It must not block: while it does, no other runtime goes on.
        """
        ...


class ControllableExecutor(Executor, Protocol):
    """An executor that wants to be told of control commands for its runtimes."""

    async def control(self, runtime_id: str, control: RuntimeControl) -> None:
        """Told out of turn, ahead of ordinary work. What it raises is logged and changes nothing."""
        ...


async def executed(executor: Executor, run: ActiveRun) -> Verdict:
    """What the executor made of the run; None where the run was called off before the executor was entered. Nothing
    that it raises gets past here: neither the loop, nor the other runtimes, nor the process end for it.
    """
    if run.token.is_cancelled:
        return None
    try:
        return _output_of(await executor.apply(run))
    except BaseException as error:  # noqa: BLE001 - user code
        return _put_off(run, error) or _failure_of(error)


async def tell(
    executor: object, runtime_id: str, control: RuntimeControl, patience_seconds: float
) -> BaseException | None:
    """Tell an executor that wants to know, and wait for it no longer than ``patience_seconds``; returns what went
    wrong.
    """
    told = getattr(executor, "control", None)
    if told is None:
        return None
    task = asyncio.create_task(_caught(lambda: told(runtime_id, control)))
    try:
        await asyncio.wait({task}, timeout=patience_seconds)
    finally:
        task.cancel()
    return task.result() if task.done() else ExecutorHangs(patience_seconds)


async def _caught(call: Callable[[], Awaitable[object]]) -> BaseException | None:
    try:
        await call()
    except BaseException as error:  # noqa: BLE001 - user code
        return error
    return None


def _output_of(returned: object) -> RunOutput | ExecutorFailed:
    if isinstance(returned, bytes):
        return RunOutput(result=returned)
    if returned is not None and not isinstance(returned, RunOutput):
        return ExecutorFailed(f"the executor returned {type(returned).__name__}; return a RunOutput, bytes or None")
    try:
        return output_of(returned)
    except InvalidInput as error:
        return ExecutorFailed(f"the executor returned what cannot be stored: {error}")


def _put_off(run: ActiveRun, error: BaseException) -> PutOff | None:
    """Where nothing but a wish for later, or a failure of our own store, ended the run."""
    causes = list(_leaves(error))
    waits = [cause.seconds for cause in causes if isinstance(cause, TryLater)]
    failures = [cause for cause in causes if isinstance(cause, StoreError) and run.met(cause)]
    if len(waits) + len(failures) < len(causes):
        return None
    return PutOff(max(waits, default=0.0), failures[0] if failures else None)


def _failure_of(error: BaseException) -> ExecutorFailed:
    """``error`` in words that can be stored, whatever is in them."""
    try:
        if isinstance(error, PermanentFailure | TransientFailure):
            said = str(error.problem)
        else:
            said = f"{type(error).__name__}: {error}"
        problem = said[:LONGEST_PROBLEM_BYTES].encode("utf-8", "backslashreplace")[:LONGEST_PROBLEM_BYTES]
        words = problem.decode(errors="ignore")
    except Exception:  # noqa: BLE001 - an error that cannot even be shown
        words = type(error).__name__
    return ExecutorFailed(words, all(isinstance(cause, PermanentFailure) for cause in _leaves(error)))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors that a task group bundled, or the one that there is."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
