"""Executors that block: each run on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from contextvars import copy_context
from typing import Protocol, TypeVar, final

from ..spec.vocabulary import RuntimeControl
from .executor import ActiveRun
from .ids import InputId, RunId
from .inputs import Input, TurnMetadata
from .loop_thread import LoopThread
from .outcomes import RunOutput
from .records import InputRecord, RunBoundaryReceipt

T = TypeVar("T")


@final
class BlockingRun:
    """An ``ActiveRun`` without ``await``, for the thread of its executor."""

    def __init__(self, run: ActiveRun, loop: LoopThread) -> None:
        self._run = run
        self._loop = loop

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
    def inputs(self) -> tuple[Input, ...]:
        """What the run works off, steers included that were taken so far."""
        return self._run.inputs

    @property
    def records(self) -> tuple[InputRecord, ...]:
        """The records of ``inputs``, in their order."""
        return self._run.records

    @property
    def input_ids(self) -> tuple[InputId, ...]:
        """The ids of ``inputs``, in their order."""
        return self._run.input_ids

    @property
    def turn_metadata(self) -> TurnMetadata:
        """What the inputs so far ask for, taken together: later scalars win, lists add up."""
        return self._run.turn_metadata

    @property
    def session_snapshot(self) -> bytes | None:
        """The latest session snapshot."""
        return self._run.session_snapshot

    @property
    def is_called_off(self) -> bool:
        """Whether to stop: a thread cannot be stopped from outside, and what it makes from now on counts nothing."""
        return self._run.token.is_cancelled

    def checkpoint(
        self, session_snapshot: bytes | None = None, *, result: bytes | None = None, message_count: int = 0
    ) -> RunBoundaryReceipt:
        """Commit a boundary over everything staged so far: after a crash the run is not repeated from before it."""
        return self._loop.call(
            lambda: self._run.checkpoint(session_snapshot, result=result, message_count=message_count)
        )

    def take_steers(self) -> tuple[Input, ...]:
        """Stage what waits in the steer lane into this run, durably, and return it; the rest starts the next run."""
        return self._loop.call(self._run.take_steers)


class BlockingExecutor(Protocol):
    """Does the work of a run on a thread of its own; several runs at once, up to ``ServiceSettings.max_runs``.

    ``control`` is optional: ``control(runtime_id, control)`` is told of stop before the service acts on it.
    """

    def apply(self, run: BlockingRun) -> RunOutput | bytes | None:
        """Work the run off. An exception is a failure that is tried again; ``PermanentFailure`` is not."""
        ...


@final
class OnThreads:
    """A blocking executor as an asynchronous one. The threads are daemons: one that hangs does not hold up the exit."""

    def __init__(self, executor: BlockingExecutor, loop: LoopThread) -> None:
        self._executor = executor
        self._loop = loop

    async def apply(self, run: ActiveRun) -> RunOutput | bytes | None:
        """The work of the executor, in the context of the run."""
        return await _on_a_thread(lambda: self._executor.apply(BlockingRun(run, self._loop)), f"run-{run.run_id}")

    async def control(self, runtime_id: str, control: RuntimeControl) -> None:
        """Told to an executor that wants to know."""
        told = getattr(self._executor, "control", None)
        if told is not None:
            await _on_a_thread(lambda: told(runtime_id, control), f"control-{runtime_id}")


async def _on_a_thread(work: Callable[[], T], name: str) -> T:
    """What ``work`` returns. Nobody can stop the thread: once cancelled, this waits for it all the same; cancelled
    again, it leaves the thread behind.
    """
    future: ThreadFuture[T] = ThreadFuture()

    def settle() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the thread ends here, and what it raised goes to the run
            future.set_exception(_as_failure(error))

    threading.Thread(target=copy_context().run, args=(settle,), name=f"holdstate-{name}", daemon=True).start()
    ended = asyncio.wrap_future(future)
    ended.add_done_callback(lambda done: done.exception())  # nobody may be there to take it
    try:
        await asyncio.wait({ended})
    except asyncio.CancelledError:
        await asyncio.wait({ended})
        raise
    return ended.result()


def _as_failure(error: BaseException) -> Exception:
    """``error`` as something that a loop takes as a failure of one run, and not as its own end."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"the executor raised {type(error).__name__}: {error}")
