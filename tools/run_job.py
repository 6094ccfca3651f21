"""``holdstate run``: one task feeds lines into the store, workers work runtimes off, until all lines are answered.

A runtime with work is in the ready queue, or waits for a timer (a backoff, a run that was put off), or one worker has
it. The worker gives it one run and puts it back, so that runtimes take turns and no two runs of one are under way.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, final

from attrs import frozen

from ..runtime.environment import RuntimeSettings
from ..runtime.errors import NotReady
from ..runtime.ids import InputId
from ..runtime.outcomes import Accepted, AcceptOutcome, Deduplicated, Rejected, Run
from ..runtime.store import RuntimeStore
from ..spec.errors import HoldstateError
from .handlers import Done, Failed, Handler, Later, Verdict
from .line_reader import LineReader, Source
from .run_report import Report
from .run_runtimes import OpenRuntime, Runtimes, Waiter
from .run_source import BadLine, Line, LineRules, read_lines

T = TypeVar("T")

LONGEST_SLEEP_SECONDS: Final = 60.0
"""A backoff is looked at again after this time, in case the clock was set meanwhile."""


@final
@frozen
class JobOptions:
    """How lines are worked off. ``timeout`` (None: no limit), ``retry_delay`` and ``grace`` are in seconds;
    ``concurrency`` is how many runs may be under way at once.
    """

    sources: tuple[Source, ...]
    rules: LineRules
    settings: RuntimeSettings
    read_ahead: int
    timeout: float | None
    retry_delay: float
    grace: float
    concurrency: int = 1


@final
class Job:
    """One ``holdstate run``."""

    def __init__(self, store: RuntimeStore, handler: Handler, options: JobOptions, report: Report) -> None:
        self._handler = handler
        self._options = options
        self._report = report
        self._reader = LineReader(options.sources)
        self._runtimes = Runtimes(store, options.settings)
        self._ready: asyncio.Queue[OpenRuntime | None] = asyncio.Queue()
        self._window = min(options.read_ahead, options.settings.limits.max_active_inputs)
        self._owed = 0
        self._progressed = asyncio.Event()
        self._is_fed = False
        self._bad: BadLine | None = None
        self._stop = asyncio.Event()
        self._abort = asyncio.Event()

    async def work(self) -> bool:
        """Answer every line. False when a signal parked the work before that.

        Raises BadLine (after the lines before it are answered), Fenced, StoreError, OSError.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed())
                for _ in range(self._options.concurrency):
                    group.create_task(self._work())
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        if self._bad is not None and self._owed == 0:
            raise self._bad
        return not self._stop.is_set()

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._abort.set()
            self._handler.hurry()
        else:
            self._report.stopping(self._options.grace)
        self._stop.set()
        self._progressed.set()
        self._ready.put_nowait(None)

    # -- feeding ---------------------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        while not self._is_bad() and (raws := await self._unless_stopped(self._reader.next_lines())):
            lines, bad = read_lines(raws, self._options.rules)
            await self._admit_all(lines)
            self._found_bad(bad)
        self._is_fed = True
        self._end_if_answered()

    def _is_bad(self) -> bool:
        return self._bad is not None

    def _found_bad(self, bad: BadLine | None) -> None:
        """The first bad line is the one that is told."""
        self._bad = self._bad or bad

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The outcome of ``work``; None when it was called off by a signal."""
        task = asyncio.create_task(work)
        await _first_of(task, self._stop)
        if task.done():
            return task.result()
        task.cancel()
        return None

    async def _admit_all(self, lines: Sequence[Line]) -> None:
        rest = list(lines)
        while rest and not self._is_bad() and not self._stop.is_set():
            taken: list[tuple[OpenRuntime, Line]] = []
            # Refilled when half empty: so that lines are accepted in groups, one commit each.
            if self._owed <= self._window // 2:
                taken = await self._fitting(rest[: self._window - self._owed])
                rest = rest[len(taken) :]
            if taken:
                await self._admit(taken)
            else:
                await self._progress()

    async def _progress(self) -> None:
        self._progressed.clear()
        if not self._stop.is_set():  # a signal that came while runtimes were opened is not waited for again
            await self._progressed.wait()

    async def _fitting(self, lines: Sequence[Line]) -> list[tuple[OpenRuntime, Line]]:
        """The leading lines for which their runtimes have room. One without room is worked off until it has."""
        names = dict.fromkeys(line.runtime_id for line in lines)
        opened = dict(zip(names, await asyncio.gather(*map(self._runtimes.get, names)), strict=True))
        most = self._options.settings.limits.max_active_inputs
        taken: list[tuple[OpenRuntime, Line]] = []
        for line in lines:
            runtime = opened[line.runtime_id]
            runtime.needs_room = runtime.active >= most
            if runtime.needs_room:
                self._schedule(runtime)
                break
            runtime.active += 1
            taken.append((runtime, line))
        return taken

    async def _admit(self, taken: Sequence[tuple[OpenRuntime, Line]]) -> None:
        # Entered before they are accepted: a worker may end an input before its acceptance is looked at here.
        for runtime, line in taken:
            runtime.waiting.setdefault(line.input.header.id, []).append(Waiter(line, deduplicated=False))
        self._owed += len(taken)
        self._report.lines_taken(len(taken))
        calls = (runtime.driver.accept_input(line.input) for runtime, line in taken)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        for (runtime, line), outcome in zip(taken, outcomes, strict=True):
            await self._admitted(runtime, line, outcome)
        # Only now is it known which runtimes have work: one that takes nothing may not begin a run either.
        for runtime, _ in taken:
            self._schedule(runtime)
        self._end_if_answered()
        await self._runtimes.trim()

    async def _admitted(self, runtime: OpenRuntime, line: Line, outcome: AcceptOutcome | BaseException) -> None:
        if isinstance(outcome, Accepted):
            self._report.tally.accepted += 1
            ended = [outcome.input_id] if outcome.record.is_terminal else []
            await self._answer_ended(runtime, [*outcome.replaced, *ended])
            return
        runtime.active -= 1
        _take_out(runtime, line)
        if isinstance(outcome, Deduplicated):
            await self._found(runtime, line, outcome)
            return
        self._owed -= 1
        if isinstance(outcome, Rejected):
            problem = outcome.reason.removeprefix(f"{outcome.path}: ")
            self._found_bad(BadLine(line.source, line.number, problem, path=outcome.path))
        elif isinstance(outcome, NotReady):
            self._found_bad(BadLine(line.source, line.number, str(outcome)))
        else:
            raise outcome

    async def _found(self, runtime: OpenRuntime, line: Line, outcome: Deduplicated) -> None:
        self._report.tally.deduplicated += 1
        self._report.tally.differing += not outcome.same_payload
        record = await runtime.driver.input_record(outcome.existing_id)
        if record is None or not record.is_terminal:
            runtime.waiting.setdefault(outcome.existing_id, []).append(Waiter(line, deduplicated=True))
            return
        result = await runtime.driver.input_result(record.input_id)
        self._report.ended_before(runtime.driver.runtime_id, record, result, line)
        self._owed -= 1

    # -- working ---------------------------------------------------------------------------------------------------

    def _schedule(self, runtime: OpenRuntime, delay: float = 0.0) -> None:
        if runtime.is_scheduled or not runtime.has_work:
            return
        runtime.is_scheduled = True
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._ready.put_nowait, runtime)
        else:
            self._ready.put_nowait(runtime)

    def _end_if_answered(self) -> None:
        if self._is_fed and self._owed == 0:
            self._ready.put_nowait(None)

    async def _work(self) -> None:
        while (runtime := await self._ready.get()) is not None and not self._stop.is_set():
            delay = await self._run_once(runtime)
            runtime.is_scheduled = False
            self._schedule(runtime, delay)
            self._progressed.set()
        self._ready.put_nowait(None)  # the end is for the other workers too

    async def _run_once(self, runtime: OpenRuntime) -> float:
        """Give a runtime one run; returns the seconds after which it can get the next."""
        driver = runtime.driver
        run = await driver.begin_run()
        if run is None:
            runtime.active = max(len(await driver.active_input_ids()), len(runtime.waiting))
            due = await driver.next_due()
            wait = 0.0 if due is None else (due - datetime.now(UTC)).total_seconds()
            return min(max(wait, 0.001), LONGEST_SLEEP_SECONDS)
        self._report.tally.runs += 1
        try:
            verdict = await self._execute(run)
        except BaseException:
            with suppress(HoldstateError):  # what ended us is told, and the next open rolls the run back
                await driver.cancel_run(run)
            raise
        return await self._settle(runtime, run, verdict)

    async def _settle(self, runtime: OpenRuntime, run: Run, verdict: Verdict | None) -> float:
        driver = runtime.driver
        if verdict is None or isinstance(verdict, Later):
            self._report.tally.put_off += verdict is not None
            await driver.cancel_run(run)
            return self._options.retry_delay
        if isinstance(verdict, Done):
            await driver.complete_run(run, verdict.output)
        else:
            self._report.failed(driver.runtime_id, _place(runtime, run), run.attempt, verdict.error)
            await driver.fail_run(run, verdict.error, recoverable=verdict.recoverable)
        await self._answer_ended(runtime, run.input_ids)
        self._end_if_answered()
        return 0.0

    async def _execute(self, run: Run) -> Verdict | None:
        """The handler's verdict; None when a signal called the run off."""
        if self._stop.is_set():
            return None
        task = asyncio.create_task(self._handle_in_time(run))
        try:
            await _first_of(task, self._stop)
            await _first_of(task, self._abort, seconds=self._options.grace)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    async def _handle_in_time(self, run: Run) -> Verdict:
        try:
            async with asyncio.timeout(self._options.timeout):
                return await self._handler.handle(run)
        except TimeoutError:
            return Failed(f"timed out after {self._options.timeout:g} s (--timeout)")

    async def _answer_ended(self, runtime: OpenRuntime, input_ids: Sequence[InputId]) -> None:
        for input_id in input_ids:
            record = await runtime.driver.input_record(input_id)
            if record is None or not record.is_terminal:
                continue
            result = await runtime.driver.input_result(input_id)
            waiters = runtime.waiting.pop(input_id, [])
            runtime.active -= 1
            self._owed -= len(waiters)
            self._report.ended(runtime.driver.runtime_id, record, result, waiters)


def _take_out(runtime: OpenRuntime, line: Line) -> None:
    waiters = runtime.waiting.pop(line.input.header.id, [])
    rest = [waiter for waiter in waiters if waiter.line is not line]
    if rest:
        runtime.waiting[line.input.header.id] = rest


def _place(runtime: OpenRuntime, run: Run) -> str:
    waiters = [waiter for input_id in run.input_ids for waiter in runtime.waiting.get(input_id, ())]
    first = f"{waiters[0].line.source}:{waiters[0].line.number}" if waiters else f"input {run.input_ids[0]}"
    return first if len(run.input_ids) == 1 else f"{first} and {len(run.input_ids) - 1} more"


async def _first_of(task: asyncio.Task[Any], signalled: asyncio.Event, *, seconds: float | None = None) -> None:
    """Wait until ``task`` is done or the signal came, at most ``seconds``."""
    waiter = asyncio.create_task(signalled.wait())
    try:
        if not task.done():
            await asyncio.wait({task, waiter}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first cause in a group: tasks that it cancelled have none of their own."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
