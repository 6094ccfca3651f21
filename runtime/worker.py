"""The loop of one runtime: takes batches while there is work, hands them to the executor, and commits how each run
ended.

It is a task only while there is something to do. ``kick`` is a plain call: it either finds the task, which will look
once more before it ends, or starts one; between "nothing to do" and "asleep" there is no await, so no wake-up is lost
(C16).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import final

from ..spec.errors import TransitionRefused
from .driver import PersistentRuntimeDriver
from .errors import DriverClosed, Fenced, RunInProgress, RunNotCurrent, StoreError
from .executor import ActiveRun, Executor, PermanentFailure
from .outcomes import RunOutput

_log = logging.getLogger("holdstate.service")

STORE_RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)
"""How long to wait before the end of a run is committed again after the store failed; the last one repeats."""


@final
class RuntimeWorker:
    """Works one runtime off with one executor. ``turns`` bounds how many runs the service has under way at once."""

    def __init__(
        self,
        driver: PersistentRuntimeDriver,
        executor: Executor,
        turns: AbstractAsyncContextManager[object],
        *,
        run_timeout_seconds: float | None,
        hang_seconds: float,
        now: Callable[[], datetime],
        on_problem: Callable[[str, BaseException], None],
    ) -> None:
        self.driver = driver
        self._executor = executor
        self._turns = turns
        self._run_timeout = run_timeout_seconds
        self._hang_seconds = hang_seconds
        self._now = now
        self._on_problem = on_problem
        self._task: asyncio.Task[None] | None = None
        self._look_again = False
        self._is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self.active: ActiveRun | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the task lives or a backoff is being waited for."""
        return self._task is not None or self._timer is not None

    def kick(self) -> None:
        """There may be something to do."""
        if self._is_paused:
            return
        self._look_again = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def pause(self) -> None:
        """Begin no further run, and wait for the one under way."""
        self._is_paused = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await asyncio.wait([self._task])

    def interrupt(self, reason: str) -> None:
        """Call the current run off, if there is one."""
        if self.active is not None:
            self.active.token.cancel(reason)

    # -- the task --------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while self._look_again and not self._is_paused:
                self._look_again = False
                async with self._turns:
                    if await self._run_once():
                        self._look_again = True
                        continue
                due = await self.driver.next_due()
                if due is not None and not self._look_again:
                    self._sleep_until(due)
        except (Fenced, DriverClosed) as error:
            self._on_problem("the runtime is held by somebody else", error)
        except StoreError as error:
            self._on_problem("the store failed", error)
            self._sleep(STORE_RETRY_SECONDS[-1])
        finally:
            self._task = None
            if self._look_again and not self._is_paused:
                self.kick()

    def _sleep_until(self, due: datetime) -> None:
        self._sleep(max((due - self._now()).total_seconds(), 0.001))

    def _sleep(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.kick()

    async def _run_once(self) -> bool:
        """One run from begin to end; False when there was nothing to begin."""
        try:
            run = await self.driver.begin_run()
        except (RunInProgress, TransitionRefused):
            return False
        if run is None:
            return False
        snapshot = await self.driver.session_snapshot()
        self.active = ActiveRun(run, self.driver, snapshot)
        try:
            end = await self._apply(self.active)
            await self._commit(end)
        finally:
            self.active = None
        return True

    async def _apply(self, active: ActiveRun) -> Callable[[], Awaitable[object]]:
        """Let the executor work; returns what is to be committed."""
        run_id, driver = active.run_id, self.driver
        task = asyncio.ensure_future(self._executor.apply(active))
        called_off = asyncio.ensure_future(active.token.wait())
        try:
            await asyncio.wait({task, called_off}, timeout=self._run_timeout, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return self._end_of(active, task)
            if called_off.done():
                await self._leave(task)
                return lambda: driver.cancel_run(run_id)
            active.token.cancel("timeout")
            await self._leave(task)
            problem = f"the run took longer than {self._run_timeout} s"
            return lambda: driver.fail_run(run_id, problem)
        finally:
            called_off.cancel()

    async def _leave(self, task: asyncio.Future[RunOutput | bytes | None]) -> None:
        """Cancel the executor and give it a moment; one that does not end is left behind."""
        task.cancel()
        _, hanging = await asyncio.wait({task}, timeout=self._hang_seconds)
        if hanging:
            self._on_problem("an executor ignores its cancellation", RuntimeError(repr(task)))
        elif not task.cancelled():
            task.exception()

    def _end_of(self, active: ActiveRun, task: asyncio.Future[RunOutput | bytes | None]) -> Callable[[], Awaitable[object]]:
        run_id, driver = active.run_id, self.driver
        error = task.exception()
        if isinstance(error, PermanentFailure):
            problem = error.problem
            return lambda: driver.fail_run(run_id, problem, recoverable=False)
        if error is not None:
            problem = f"{type(error).__name__}: {error}"
            return lambda: driver.fail_run(run_id, problem)
        output = _output_of(task.result())
        if output is None:
            problem = f"the executor returned {type(task.result()).__name__}; return a RunOutput, bytes or None"
            return lambda: driver.fail_run(run_id, problem)
        return lambda: driver.complete_run(run_id, output)

    async def _commit(self, end: Callable[[], Awaitable[object]]) -> None:
        """Commit the end of a run, again and again while the store fails: the work is done and must not be repeated."""
        attempt = 0
        while True:
            try:
                await end()
                return
            except RunNotCurrent:
                return  # somebody else ended it: stop, destroy
            except StoreError as error:
                self._on_problem("the end of a run could not be stored yet", error)
                await asyncio.sleep(STORE_RETRY_SECONDS[min(attempt, len(STORE_RETRY_SECONDS) - 1)])
                attempt += 1


def _output_of(returned: object) -> RunOutput | None:
    if returned is None:
        return RunOutput()
    if isinstance(returned, bytes):
        return RunOutput(result=returned)
    return returned if isinstance(returned, RunOutput) else None
