"""``holdstate run``: lines go into a ``RuntimeService``, and each is answered when its input ends.

The service opens the runtimes and works them off. What a job adds: it reads no further ahead than it may, lets only
those runtimes run that owe it an answer, and tells what ended in the order in which it ended.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar, final

from attrs import frozen

from ..runtime.environment import RuntimeSettings
from ..runtime.errors import NotReady, ServiceClosed
from ..runtime.events import EventEnvelope
from ..runtime.executor import ActiveRun
from ..runtime.handles import InputHandle
from ..runtime.ids import InputId, RunId
from ..runtime.outcomes import Accepted, Deduplicated
from ..runtime.records import InputRecord
from ..runtime.service import RuntimeService
from ..runtime.service_settings import ServiceSettings
from ..runtime.store import ResultRef, RuntimeStore
from ..runtime.subscriptions import Subscription
from ..spec.vocabulary import EventCode
from .handlers import Handler
from .line_reader import LineReader, Source
from .run_executor import HandlerExecutor
from .run_report import Report, Waiter
from .run_source import BadLine, Line, LineRules, read_lines

T = TypeVar("T")

MAX_OPEN: Final = 256
"""Runtimes that owe nothing are kept open up to this number: opening one costs a commit."""

_ENDS_OF_RUNS: Final = (EventCode.RUN_COMPLETED, EventCode.RUN_FAILED, EventCode.RUN_CANCELLED)


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
@frozen
class Answer:
    """An input that ended, and the lines that hear of it. ``was_known``: it had ended before they came."""

    runtime_id: str
    record: InputRecord
    waiters: list[Waiter]
    was_known: bool


@final
@frozen
class Attempt:
    """A run that the handler was given: which lines it is about, in words, its first input, and which try it is."""

    place: str
    input_id: InputId
    number: int


@final
class Job:
    """One ``holdstate run``."""

    def __init__(self, store: RuntimeStore, handler: Handler, options: JobOptions, report: Report) -> None:
        self._store = store
        self._handler = handler
        self._options = options
        self._report = report
        self._reader = LineReader(options.sources)
        self._window = min(options.read_ahead, options.settings.limits.max_active_inputs)
        self._waiting: dict[tuple[str, InputId], list[Waiter]] = {}
        self._untold: dict[tuple[str, InputId], InputRecord] = {}
        """Inputs that ended before it was certain which of the lines that name them they belong to."""
        self._admitted: Counter[str] = Counter()
        self._owed = 0
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._attempts: dict[RunId, Attempt] = {}
        self._progressed = asyncio.Event()
        self._broken: asyncio.Queue[OSError] = asyncio.Queue()
        self._bad: BadLine | None = None
        self._stop = asyncio.Event()
        self._closings: list[asyncio.Task[None]] = []
        executor = HandlerExecutor(
            handler, report, self._begun, self._broken.put_nowait, retry_delay=options.retry_delay
        )
        self._service = RuntimeService(store, executor, settings=self._service_settings())
        self._service.listen(self._ended)

    def _service_settings(self) -> ServiceSettings:
        """Nobody else's work is touched, and a failure is told and not waited out."""
        return ServiceSettings(
            runtime=self._options.settings,
            max_open=MAX_OPEN,
            max_runs=self._options.concurrency,
            run_timeout=self._options.timeout,
            hang_seconds=self._handler.end_seconds,
            drain_seconds=self._options.grace,
            resume_backlog=False,
            max_active_total=sys.maxsize,  # other jobs' inputs count there; ours are bounded by read_ahead
            max_queued_bytes=sys.maxsize,
            may_run=lambda runtime_id: self._admitted[runtime_id] > 0,
            stop_on_failure=True,
        )

    async def work(self) -> bool:
        """Answer every line. False when a signal parked the work before that.

        Raises BadLine (after the lines before it are answered), Fenced, StoreError, OSError.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        try:
            async with self._service:
                try:
                    await self._answer_every_line()
                finally:
                    self._close(0.0)
                    await asyncio.wait(self._closings)
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        if self._bad is not None and self._owed == 0:
            raise self._bad
        return not self._stop.is_set()

    async def _answer_every_line(self) -> None:
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(self._until_failure()), group.create_task(self._until_broken())]
            answering = group.create_task(self._answer_all())
            # Bounded by the runs under way, since each is taken out as soon as the loop goes on.
            group.create_task(self._tell_failures(self._service.subscribe(codes=_ENDS_OF_RUNS, buffer=sys.maxsize)))
            await self._feed()
            while self._owed and not self._stop.is_set():
                await self._progress()
            if not self._closings:
                self._close(self._options.grace)
            await asyncio.wait(self._closings[:1])
            self._answers.put_nowait(None)
            await answering
            for task in watching:
                task.cancel()

    async def _until_failure(self) -> None:
        raise await self._service.failure()

    async def _until_broken(self) -> None:
        raise await self._broken.get()

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._handler.hurry()
            self._close(0.0)
        else:
            self._report.stopping(self._options.grace)
            if not self._closings:
                self._close(self._options.grace)
        self._stop.set()
        self._progressed.set()

    def _close(self, seconds: float) -> None:
        """The first time runs have so many seconds to end, the second time none."""
        self._closings.append(asyncio.get_running_loop().create_task(self._service.close(seconds)))

    # -- feeding ---------------------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        while not self._is_bad() and (raws := await self._unless_stopped(self._reader.next_lines())):
            lines, bad = read_lines(raws, self._options.rules)
            await self._admit_all(lines)
            self._found_bad(bad)

    def _is_bad(self) -> bool:
        return self._bad is not None

    def _found_bad(self, bad: BadLine | None) -> None:
        """The first bad line is the one that is told."""
        self._bad = self._bad or bad

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The outcome of ``work``; None when it was called off by a signal."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            stopped.cancel()

    async def _admit_all(self, lines: Sequence[Line]) -> None:
        rest = list(lines)
        while rest and not self._is_bad() and not self._stop.is_set():
            # Refilled when half empty: so that lines are accepted in groups, one commit each.
            if self._owed <= self._window // 2:
                count = self._window - self._owed
                taken, rest = rest[:count], rest[count:]
                await self._admit(taken)
            else:
                await self._progress()

    async def _progress(self) -> None:
        self._progressed.clear()
        if not self._stop.is_set():  # a signal that came meanwhile is not waited for again
            await self._progressed.wait()

    async def _admit(self, lines: Sequence[Line]) -> None:
        """Submit lines, each runtime's in order, and hear what became of them."""
        self._owed += len(lines)
        self._report.lines_taken(len(lines))
        waiters = [Waiter(line) for line in lines]
        by_runtime: dict[str, list[Waiter]] = {}
        for waiter in waiters:
            by_runtime.setdefault(waiter.line.runtime_id, []).append(waiter)
        handles: dict[Waiter, InputHandle] = {}
        async with asyncio.TaskGroup() as group:
            for each in by_runtime.values():
                group.create_task(self._submit(each, handles))
        try:
            for waiter in waiters:
                if waiter in handles:
                    await self._settle(waiter, handles[waiter])
            # Only now is it known which runtimes have work: one that takes nothing may not begin a run either.
            for runtime_id in by_runtime:
                if self._admitted[runtime_id]:
                    await self._service.wake(runtime_id)
        except ServiceClosed:
            return  # by a signal; where it was a failure, that one is told

    async def _submit(self, waiters: Iterable[Waiter], handles: dict[Waiter, InputHandle]) -> None:
        for waiter in waiters:
            line = waiter.line
            try:
                handle = await self._service.submit(line.runtime_id, line.input, wait_for_room=True)
            except ServiceClosed:
                return
            handles[waiter] = handle
            self._wait_for(line.input.header.id, waiter)  # before its commit: it may end in the same one

    async def _settle(self, waiter: Waiter, handle: InputHandle) -> None:
        line = waiter.line
        try:
            outcome = await handle.accepted
        except NotReady as refusal:
            self._drop(line.input.header.id, waiter)
            self._owed -= 1
            self._found_bad(BadLine(line.source, line.number, str(refusal)))
            return
        if isinstance(outcome, Accepted):
            self._report.tally.accepted += 1
            if not self._tell_untold(waiter, outcome.input_id):
                self._confirm(waiter)
            return
        if isinstance(outcome, Deduplicated):
            await self._found(waiter, outcome)
            return
        self._drop(line.input.header.id, waiter)
        self._owed -= 1
        problem = outcome.reason.removeprefix(f"{outcome.path}: ")
        self._found_bad(BadLine(line.source, line.number, problem, path=outcome.path))

    async def _found(self, waiter: Waiter, outcome: Deduplicated) -> None:
        self._report.tally.deduplicated += 1
        self._report.tally.differing += not outcome.same_payload
        waiter.deduplicated = True
        if self._tell_untold(waiter, outcome.existing_id):
            return
        self._drop(waiter.line.input.header.id, waiter)
        runtime_id = waiter.line.runtime_id
        self._wait_for(outcome.existing_id, waiter)  # before the look, so that no end is missed between the two
        self._confirm(waiter)
        record = await self._service.input_record(runtime_id, outcome.existing_id)
        if record is not None and record.is_terminal and self._drop(outcome.existing_id, waiter):
            self._admitted[runtime_id] -= 1
            self._answers.put_nowait(Answer(runtime_id, record, [waiter], was_known=True))

    # -- who waits -------------------------------------------------------------------------------------------------

    def _wait_for(self, input_id: InputId, waiter: Waiter) -> None:
        self._waiting.setdefault((waiter.line.runtime_id, input_id), []).append(waiter)

    def _confirm(self, waiter: Waiter) -> None:
        waiter.is_admitted = True
        self._admitted[waiter.line.runtime_id] += 1

    def _drop(self, input_id: InputId, waiter: Waiter) -> bool:
        """Wait no more; False where its answer is on its way already."""
        place = (waiter.line.runtime_id, input_id)
        waiters = self._waiting.get(place, [])
        if waiter not in waiters:
            return False
        waiters.remove(waiter)
        if not waiters:
            del self._waiting[place]
            untold = self._untold.pop(place, None)
            if untold is not None:
                self._answers.put_nowait(Answer(place[0], untold, [], was_known=False))
        return True

    def _tell_untold(self, waiter: Waiter, input_id: InputId) -> bool:
        """Answer a line that turns out to be about an input that has ended and was not told yet; False where there is
        none.
        """
        runtime_id = waiter.line.runtime_id
        record = self._untold.pop((runtime_id, input_id), None)
        if record is None:
            return False
        self._drop(waiter.line.input.header.id, waiter)
        self._answers.put_nowait(Answer(runtime_id, record, [waiter], was_known=False))
        return True

    def _ended(self, runtime_id: str, record: InputRecord) -> None:
        """Told by the service after the commit, of inputs without a line too. Lines whose admission is not settled yet
        hear of it then: it may be another input that they are about.
        """
        place = (runtime_id, record.input_id)
        waiters = self._waiting.pop(place, [])
        certain = [waiter for waiter in waiters if waiter.is_admitted]
        if len(certain) < len(waiters):
            self._waiting[place] = [waiter for waiter in waiters if not waiter.is_admitted]
            if not certain:
                self._untold[place] = record
                return
        self._admitted[runtime_id] -= len(certain)
        self._answers.put_nowait(Answer(runtime_id, record, certain, was_known=False))

    async def _answer_all(self) -> None:
        while (answer := await self._answers.get()) is not None:
            ref = ResultRef.of(answer.record)
            result = None if ref is None else self._store.load_result(answer.runtime_id, ref)
            tell = self._report.ended_before if answer.was_known else self._report.ended
            tell(answer.runtime_id, answer.record, result, answer.waiters)
            self._owed -= len(answer.waiters)
            self._progressed.set()

    # -- what fails ------------------------------------------------------------------------------------------------

    def _begun(self, run: ActiveRun) -> None:
        waiters = [waiter for each in run.input_ids for waiter in self._waiting.get((run.runtime_id, each), ())]
        first = f"{waiters[0].line.source}:{waiters[0].line.number}" if waiters else f"input {run.input_ids[0]}"
        place = first if len(run.input_ids) == 1 else f"{first} and {len(run.input_ids) - 1} more"
        self._attempts[run.run_id] = Attempt(place, run.input_ids[0], run.attempt)

    async def _tell_failures(self, ends: Subscription) -> None:
        """Until the service is closed. What a run failed of, the store knows, whoever found it out."""
        async for event in ends:
            assert isinstance(event, EventEnvelope), "its buffer has no end"
            attempt = None if event.run_id is None else self._attempts.pop(event.run_id, None)
            if attempt is not None and event.code is EventCode.RUN_FAILED:
                record = self._store.load_input(event.runtime_id, attempt.input_id)
                error = None if record is None else record.error
                self._report.failed(event.runtime_id, attempt.place, attempt.number, error or "no reason given")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first cause in a group: tasks that it cancelled have none of their own."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
