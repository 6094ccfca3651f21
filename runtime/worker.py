"""The loop of one runtime: takes batches while there is work, hands them to the executor, and commits how each run
ended.

It is a task only while there is something to do. ``kick`` is a plain call: it either finds the task, which will look
once more before it ends, or starts one; between "nothing to do" and "asleep" there is no await, so no wake-up is lost
(C16).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Context
from datetime import datetime
from functools import partial
from typing import Any, Final, final

from ..spec.errors import TransitionRefused
from ..spec.vocabulary import RuntimeState
from .batches import longest_wait
from .driver import PersistentRuntimeDriver
from .errors import DriverClosed, Fenced, RunNotCurrent, StoreClosed, StoreError, StoreForked, StoreLost
from .executor import ActiveRun, Executor, ExecutorFailed, ExecutorHangs, PutOff, Verdict, executed
from .service_settings import ServiceSettings

STORE_RETRY_SECONDS: Final = (0.05, 0.2, 1.0, 5.0)
"""How long to wait before the store is tried again after it failed; the last one repeats."""

WAKE_DELAY_SECONDS: Final = 0.001
"""A timer that rings late finds the work due; one that rings a microsecond early would have to be set again."""

FINISHED: Final = (Fenced, DriverClosed, StoreClosed, StoreForked, StoreLost)
"""What a driver never comes back from: it has to be opened anew, or its store has."""

TIMEOUT: Final = "timeout"
"""Why a run was called off that took longer than ``ServiceSettings.run_timeout``."""

End = Callable[[], Awaitable[object]]


@final
class RuntimeWorker:
    """Works one runtime off with one executor.

    ``turns`` bounds how many runs the service has under way at once, first come first served, a run each, so that no
    runtime starves. ``may_run`` is asked before each run; where it says no, the work waits for the next ``kick``.
    ``on_problem`` hears of what is tried again, and of what ends the worker; ``on_idle`` of each time it has nothing
    more to do for now. Its tasks run in copies of ``context``, whoever kicked it.

    An executor that ignores its cancellation for ``hang_seconds`` is left behind: its run ends without it, its later
    boundaries are refused (``RunNotCurrent``), its turn is given back, and the runtime goes on. So a run and its next
    attempt may overlap in an executor that does that; ``left_behind`` counts them.
    """

    def __init__(
        self,
        driver: PersistentRuntimeDriver,
        executor: Executor,
        turns: AbstractAsyncContextManager[object],
        *,
        settings: ServiceSettings,
        context: Context,
        now: Callable[[], datetime],
        may_run: Callable[[], bool],
        on_problem: Callable[[str, Exception], None],
        on_idle: Callable[[], None],
    ) -> None:
        self.driver = driver
        self.active: ActiveRun | None = None
        """The run that the executor has in hand now."""
        self.task: asyncio.Task[None] | None = None
        self._executor = executor
        self._turns = turns
        self._settings = settings
        self._context = context
        self._now = now
        self._may_run = may_run
        self._on_problem = on_problem
        self._on_idle = on_idle
        self._look_again = False
        self._is_paused = False
        self._gave_up = asyncio.Event()
        self._is_beginning = False
        self._is_called_off = False
        self._failures = 0
        self._store_failures = 0
        self._timer: asyncio.TimerHandle | None = None
        self._held_until: float | None = None
        self._left_behind: set[asyncio.Task[Verdict]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether the task lives or a backoff is being waited for."""
        return self.task is not None or self._timer is not None

    @property
    def left_behind(self) -> int:
        """How many executors still work on runs that were taken from them."""
        return len(self._left_behind)

    @property
    def held_seconds(self) -> float:
        """For how long it begins no run, because its executor asked for that (``TryLater``)."""
        if self._held_until is None:
            return 0.0
        return max(self._held_until - asyncio.get_running_loop().time(), 0.0)

    def kick(self) -> None:
        """There may be something to do."""
        if self._is_paused:
            return
        self._look_again = True
        self._stop_timer()
        if self.task is None:
            task = asyncio.get_running_loop().create_task(self._work(), context=self._context.copy())
            self.task = None if task.done() else task  # an eager one may have found nothing to do

    def interrupt(self, reason: str) -> bool:
        """Call the current run off, free of charge; False where there is none, or its executor has ended already."""
        if self.active is not None:
            self.active.token.cancel(reason)
            return True
        self._is_called_off = self._is_beginning and self.driver.runtime_state is RuntimeState.RUNNING
        return self._is_called_off

    def committed(self) -> None:
        """Call the run in hand off where a commit ended it that was not the worker's own: stop, destroy."""
        if self.active is not None and not self._is_current(self.active):
            self.active.token.cancel(self.driver.runtime_state)

    def _is_current(self, active: ActiveRun) -> bool:
        return self.driver.image.runtime.current_run_id == active.run_id

    def pause(self) -> None:
        """Begin no further run, ever; the one under way goes on."""
        self._is_paused = True
        self._stop_timer()

    def abort(self, reason: str) -> None:
        """``pause``, call the current run off, and wait no longer for a store that fails: a run whose end cannot be
        stored is left as a crash would leave it.
        """
        self.pause()
        self._gave_up.set()
        self.interrupt(reason)

    # -- the task --------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while self._look_again and not self._is_paused:
                self._look_again = False
                await self._look()
        finally:
            self.task = None
        self._on_idle()

    async def _look(self) -> None:
        """One turn: a run, or a note of when to look again."""
        held = self.held_seconds
        if held > 0:
            self._sleep(held)
            return
        try:
            async with self._turns:
                if self._is_paused or not self._may_run():
                    return
                if await self._run_once():
                    self._look_again = True
            due = None if self._look_again else await self.driver.next_due()
        except Exception as error:  # noqa: BLE001 - whatever it is, the runtime's work must not stop for it
            self._failed(error)
        else:
            self._failures = 0
            if due is not None:
                # The clock may have been set back since the lane was looked at.
                wait = min(due - self._now(), longest_wait(self._settings.runtime))
                self._sleep(max(wait.total_seconds(), 0.0) + WAKE_DELAY_SECONDS)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, FINISHED):
            self.pause()
            self._on_problem("the runtime cannot go on here", error)
            return
        self._on_problem("the work of the runtime is held up", error)
        self._sleep(_retry_seconds(self._failures))
        self._failures += 1

    def _sleep(self, seconds: float) -> None:
        if not self._look_again and not self._is_paused:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.kick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- one run ---------------------------------------------------------------------------------------------------

    async def _run_once(self) -> bool:
        """One run from begin to end; False when there was nothing to begin."""
        self._is_beginning, self._is_called_off = True, False
        try:
            active = await self._begin()
        finally:
            self._is_beginning = False
        if active is None:
            return False
        if self._is_called_off or self._gave_up.is_set() or not self._is_current(active):
            await self._commit(partial(self.driver.cancel_run, active.run_id))
            return True
        verdict = await self._apply(active)
        await self._commit(self._end_of(active, verdict))
        self._hold(verdict)
        return True

    def _hold(self, verdict: Verdict) -> None:
        """Begin no run for a while, where the executor asked for that or met a failure of the store."""
        cause = verdict.cause if isinstance(verdict, PutOff) else None
        self._store_failures = 0 if cause is None else self._store_failures + 1
        if cause is not None:
            self._on_problem("a run was called off", cause)
        if isinstance(verdict, PutOff):
            seconds = verdict.seconds if cause is None else _retry_seconds(self._store_failures - 1)
            self._held_until = asyncio.get_running_loop().time() + seconds

    async def _begin(self) -> ActiveRun | None:
        try:
            run = await self.driver.begin_run()
        except TransitionRefused:
            return None  # it was stopped or destroyed
        if run is None:
            return None
        try:
            has_snapshot = self.driver.image.runtime.has_snapshot
            snapshot = await self.driver.session_snapshot() if has_snapshot else None
        except StoreError:
            await self._commit(partial(self.driver.cancel_run, run.run_id))
            raise
        return ActiveRun(run, self.driver, snapshot)

    async def _apply(self, active: ActiveRun) -> Verdict:
        """Let the executor work; returns what came of it."""
        task = asyncio.create_task(executed(self._executor, active))
        self.active = active
        try:
            waited: set[asyncio.Future[Any]] = {task, active.token.called_off}
            timeout = self._settings.run_timeout
            await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return ExecutorFailed("CancelledError") if task.cancelled() else task.result()
            if active.token.is_cancelled:
                await self._leave(task)
                return None
            active.token.cancel(TIMEOUT)
            await self._leave(task)
            return ExecutorFailed(f"timed out after {timeout:g} s")
        finally:
            self.active = None

    async def _leave(self, task: asyncio.Task[Verdict]) -> None:
        """Cancel the executor and give it a moment; one that does not end is left behind."""
        task.cancel()
        _, hanging = await asyncio.wait({task}, timeout=self._settings.hang_seconds)
        if hanging:
            self._left_behind.add(task)
            task.add_done_callback(self._left_behind.discard)
            self._on_problem("an executor was left behind", ExecutorHangs(self._settings.hang_seconds))

    def _end_of(self, active: ActiveRun, verdict: Verdict) -> End:
        """How the run is to end in the store."""
        match verdict:
            case None | PutOff():
                return partial(self.driver.cancel_run, active.run_id)
            case ExecutorFailed(problem=problem, is_permanent=is_permanent):
                return partial(self.driver.fail_run, active.run_id, problem, recoverable=not is_permanent)
            case output:
                return partial(self.driver.complete_run, active.run_id, output)

    async def _commit(self, end: End) -> None:
        """Commit the end of a run, again and again while the store fails: the work is done and must not be repeated."""
        failures = 0
        while True:
            try:
                await end()
                return
            except RunNotCurrent:
                return  # somebody else ended it: stop, destroy
            except StoreError as error:
                if self._gave_up.is_set() or isinstance(error, FINISHED):
                    raise
                self._on_problem("the end of a run could not be stored yet", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_retry_seconds(failures)):
                    await self._gave_up.wait()
            failures += 1


def _retry_seconds(failures: int) -> float:
    """How long to wait after so many failures before the last one."""
    return STORE_RETRY_SECONDS[min(failures, len(STORE_RETRY_SECONDS) - 1)]
