"""The work of ``holdstate run`` over a store in memory: room in runtimes, unreadable files, failures of the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import StoreError
from holdstate.runtime.inputs import OperationInput, PromptInput
from holdstate.runtime.outcomes import Run, RunOutput
from holdstate.runtime.settings import Backoff, Limits, RetryPolicy
from holdstate.runtime.store import InputFilter
from holdstate.runtime.wire import input_to_wire
from holdstate.spec.vocabulary import InputState
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools import line_reader
from holdstate.tools.handlers import ERROR_BYTES, Done, Failed, FunctionHandler, Handler, Verdict
from holdstate.tools.line_reader import LineReader, Source, sources_of
from holdstate.tools.run_job import Job, JobOptions
from holdstate.tools.run_report import Report
from holdstate.tools.run_source import BadLine, FieldPath, LineRules
from tests.faults import FaultyStore, Plan

from . import functions
from .support import answers, write_lines


def options_for(sources: Sequence[Source], settings: RuntimeSettings, read_ahead: int = 1000) -> JobOptions:
    """Options with these sources and rules."""
    return JobOptions(
        sources=tuple(sources),
        rules=LineRules("main", FieldPath(("r",)), None, FieldPath(("event",)), settings.limits),
        settings=settings,
        read_ahead=read_ahead,
        timeout=None,
        retry_delay=0.01,
        grace=1.0,
    )


def echo() -> Handler:
    """Answers with the payloads or the input."""
    return FunctionHandler(functions.text, max_result_bytes=1000)


async def test_lines_wait_until_their_runtime_has_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What others left in the runtime is worked off first when it is full; nothing is refused as too much."""
    settings = RuntimeSettings(limits=Limits(max_active_inputs=3))
    store = MemoryStore()
    async with await PersistentRuntimeDriver.open("main", store, settings=settings) as driver:
        for number in range(3):
            await driver.accept_input(PromptInput.new(f"left {number}"))
    path = write_lines(tmp_path / "lines", [*range(5), {"r": "other"}])
    report = Report()
    assert await Job(store, echo(), options_for(sources_of([str(path)], None), settings), report).work()
    told = [(each["line"], each["runtime"]) for each in answers(capsys.readouterr().out)]
    assert told[:3] == [(None, "main")] * 3
    assert [line for line, runtime in told[3:] if runtime == "main"] == [1, 2, 3, 4, 5]
    assert (6, "other") in told
    assert (report.tally.accepted, report.tally.consumed) == (6, 9)


async def test_a_line_is_answered_once_when_its_input_ends_in_the_commit_that_admits_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same operation twice, both in one group: one answer each, and the work ends (C46)."""
    operation = input_to_wire(OperationInput.new("op", "done"))
    path = write_lines(tmp_path / "lines", [operation, operation])
    report = Report()
    async with asyncio.timeout(60):
        assert await Job(
            MemoryStore(), echo(), options_for(sources_of([str(path)], None), RuntimeSettings()), report
        ).work()
    told = [(each["line"], each["deduplicated"]) for each in answers(capsys.readouterr().out)]
    assert told == [(1, False), (2, True)]
    assert (report.tally.accepted, report.tally.deduplicated, report.tally.consumed) == (1, 1, 1)


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_line_is_answered_once_when_an_input_of_its_id_ends_before_it_is_settled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, is_refused: bool
) -> None:
    """An earlier command left the input, and it is worked off while the lines after it wait for room. Where the line
    turns out to be none, the input is told without a line.
    """
    settings = RuntimeSettings(limits=Limits(max_active_inputs=3))
    store = MemoryStore()
    left = PromptInput.new("left")
    async with await PersistentRuntimeDriver.open("main", store, settings=settings) as driver:
        await driver.accept_input(left)
        await driver.accept_input(PromptInput.new("behind it"))
    again = evolve(left, text="x" * 2000) if is_refused else left
    path = write_lines(tmp_path / "lines", [input_to_wire(again), *(input_to_wire(PromptInput.new(x)) for x in "ab")])
    options = options_for(sources_of([str(path)], None), settings)
    if is_refused:
        narrow = Limits(max_active_inputs=3, max_payload_bytes=1024)
        options = evolve(options, settings=evolve(settings, limits=narrow))
    report = Report()
    async with asyncio.timeout(60):
        job = Job(store, echo(), options, report).work()
        if is_refused:
            with pytest.raises(BadLine):
                await job
        else:
            assert await job
    told = [(each["line"], each["deduplicated"]) for each in answers(capsys.readouterr().out)]
    first = (None, False) if is_refused else (1, True)
    assert sorted(told, key=repr) == sorted([(None, False), first, (2, False), (3, False)], key=repr)
    assert report.tally.consumed == 4


async def test_a_file_that_cannot_be_read_ends_the_work(tmp_path: Path) -> None:
    """The OSError is told as it is; a file before it is not lost."""
    path = write_lines(tmp_path / "lines", [1])
    sources = sources_of([str(path), str(tmp_path)], None)
    store = MemoryStore()
    with pytest.raises(IsADirectoryError):
        await Job(store, echo(), options_for(sources, RuntimeSettings()), Report()).work()
    assert store.verify() == []


async def test_a_failure_of_the_store_ends_the_work_with_its_cause(tmp_path: Path) -> None:
    """Whichever of the tasks meets it, the run in hand is called off and the store's own error comes out."""
    path = write_lines(tmp_path / "lines", [1])
    for number in range(4):
        store = FaultyStore(MemoryStore(), Plan(write=number))
        with pytest.raises(StoreError) as failed:
            await Job(store, echo(), options_for(sources_of([str(path)], None), RuntimeSettings()), Report()).work()
        assert (failed.value.applied, store.struck) == (False, 1)


# -- reading -------------------------------------------------------------------------------------------------------


async def read_all(reader: LineReader) -> list[tuple[int, int, bytes, bool]]:
    """Every line: its numbers, its bytes, and whether it is too long."""
    found = []
    while lines := await reader.next_lines():
        found += [(each.number, each.job_number, each.text, each.is_too_long) for each in lines]
    return found


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
async def test_lines_do_not_depend_on_how_they_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Ends are LF or CRLF, the last one may lack; empty lines count; numbers go on only within a named job."""
    monkeypatch.setattr(line_reader, "CHUNK_BYTES", chunk)
    (tmp_path / "a").write_bytes(b"one\r\n\ntwo\n")
    (tmp_path / "b").write_bytes(b"three")
    (tmp_path / "c").write_bytes(b"")
    names = [str(tmp_path / name) for name in ("a", "c", "b")]
    texts = [(1, 1, b"one", False), (2, 2, b"", False), (3, 3, b"two", False)]
    assert await read_all(LineReader(sources_of(names, "job"))) == [*texts, (1, 4, b"three", False)]
    assert await read_all(LineReader(sources_of(names, None))) == [*texts, (1, 1, b"three", False)]


async def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is bad; its rest is not even read."""
    monkeypatch.setattr(line_reader, "CHUNK_BYTES", 10)
    monkeypatch.setattr(line_reader, "MAX_LINE_BYTES", 20)
    path = tmp_path / "lines"
    path.write_bytes(b"1\n" + b"x" * 100 + b"\n2\n")
    sources = sources_of([str(path)], None)
    assert await read_all(LineReader(sources)) == [(1, 1, b"1", False), (2, 2, b"", True)]
    with pytest.raises(BadLine, match=r":2: is longer than"):
        await Job(MemoryStore(), echo(), options_for(sources, RuntimeSettings()), Report()).work()


async def test_a_reader_that_nobody_waits_for_keeps_quiet(tmp_path: Path) -> None:
    """Its answer to a cancelled call is dropped."""
    reader = LineReader(sources_of([str(write_lines(tmp_path / "lines", [1]))], None))
    task: asyncio.Task[Any] = asyncio.create_task(reader.next_lines())
    await asyncio.sleep(0)
    task.cancel()
    assert await reader.next_lines() == []


def test_an_answer_is_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A result that is no UTF-8 comes in base64, and says so."""
    path = write_lines(tmp_path / "lines", [1])
    handler = FunctionHandler(functions.binary, max_result_bytes=10)
    job = Job(MemoryStore(), handler, options_for(sources_of([str(path)], None), RuntimeSettings()), Report())
    assert asyncio.run(job.work())
    told = json.loads(capsys.readouterr().out)
    assert (told["result"], told["result_is_base64"]) == ("/wA=", True)


# -- what a job owes ---------------------------------------------------------------------------------------------------


class Handling:
    """A handler that does what the test says."""

    end_seconds = 0.01

    def __init__(self, does: Callable[[Run], Awaitable[Verdict]]) -> None:
        self.does = does
        self.runs: list[Run] = []

    async def handle(self, run: Run) -> Verdict:
        self.runs.append(run)
        return await self.does(run)

    def hurry(self) -> None: ...

    def close(self) -> None: ...


async def done(_: Run) -> Verdict:
    return Done(RunOutput(result=b"done"))


async def queued_in(store: MemoryStore, runtime_id: str, *texts: str, retire: bool = False) -> None:
    """What somebody else left there."""
    async with await PersistentRuntimeDriver.open(runtime_id, store) as driver:
        for text in texts:
            await driver.accept_input(PromptInput.new(text))
        if retire:
            await driver.retire()


async def test_work_that_the_job_does_not_owe_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other runtimes are not even opened; one that takes no input begins no run; what is behind our line waits."""
    store = MemoryStore()
    await queued_in(store, "other", "left")
    await queued_in(store, "retired", "left", retire=True)
    handler = Handling(done)
    path = write_lines(tmp_path / "lines", [{"r": "mine"}, {"r": "retired"}])
    with pytest.raises(BadLine, match=r":2: runtime 'retired' is retired"):
        await Job(store, handler, options_for(sources_of([str(path)], None), RuntimeSettings()), Report()).work()
    assert [run.runtime_id for run in handler.runs] == ["mine"]
    assert [each["line"] for each in answers(capsys.readouterr().out)] == [1]
    counts = {record.runtime_id: (record.counts.active, record.epoch) for record in store.list_runtimes()}
    assert counts == {"mine": (0, 1), "other": (1, 1), "retired": (1, 2)}


async def test_what_came_behind_our_last_line_is_not_begun(tmp_path: Path) -> None:
    """It is somebody else's; its runtime owes us nothing any more."""
    store = MemoryStore()

    async def behind(run: Run) -> Verdict:
        entry = job._service._pool.get("main")
        assert entry is not None
        await entry.driver.accept_input(PromptInput.new("theirs"))
        return await done(run)

    handler = Handling(behind)
    path = write_lines(tmp_path / "lines", [1])
    job = Job(store, handler, options_for(sources_of([str(path)], None), RuntimeSettings()), Report())
    assert await job.work()
    assert len(handler.runs) == 1
    assert store.list_runtimes()[0].counts.active == 1


async def test_a_line_that_was_done_before_makes_no_runtime_run(tmp_path: Path) -> None:
    """What somebody else left behind it stays where it is."""
    store = MemoryStore()
    path = write_lines(tmp_path / "lines", [1])
    options = options_for(sources_of([str(path)], None), RuntimeSettings())
    assert await Job(store, Handling(done), options, Report()).work()
    await queued_in(store, "main", "theirs")
    again = Handling(done)
    path.write_text(path.read_text(encoding="utf-8") + '{"r": "slow"}\n', encoding="utf-8")
    assert await Job(store, again, options, Report()).work()
    assert [run.runtime_id for run in again.runs] == ["slow"]


async def test_a_line_whose_input_is_active_already_waits_for_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it wakes anybody or not, and however late it is seen to have ended."""
    store = MemoryStore()
    path = write_lines(tmp_path / "lines", [{"input_type": "prompt", "text": "x", "header": {"idempotency_key": "k"}}])
    async with await PersistentRuntimeDriver.open("main", store) as driver:
        await driver.accept_input(PromptInput.new("x", idempotency_key="k"))
    report = Report()
    job = Job(store, Handling(done), options_for(sources_of([str(path)], None), RuntimeSettings()), report)
    assert await job.work()
    (told,) = answers(capsys.readouterr().out)
    assert (told["line"], told["deduplicated"], told["result"]) == (1, True, "done")
    assert (report.tally.consumed, report.tally.deduplicated) == (1, 1)


async def test_a_handler_that_cannot_be_started_ends_the_work_and_charges_nobody(tmp_path: Path) -> None:
    """The OSError is told as it is; the runs of others are called off (C14)."""
    store = MemoryStore()

    async def breaks(run: Run) -> Verdict:
        if run.runtime_id == "a":
            raise BlockingIOError(11, "no more processes")
        await asyncio.Event().wait()
        raise AssertionError

    path = write_lines(tmp_path / "lines", [{"r": "b"}, {"r": "a"}])
    options = evolve(options_for(sources_of([str(path)], None), RuntimeSettings()), concurrency=2)
    with pytest.raises(BlockingIOError, match="no more processes"):
        await Job(store, Handling(breaks), options, Report()).work()
    for name in "ab":
        (record,) = store.list_inputs(InputFilter(name)).records
        assert (record.state, record.failure_count) == (InputState.QUEUED, 0)


async def test_a_handler_that_ignores_its_cancellation_is_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run is out of time and fails without it; the lines behind it are done."""
    store, stubborn = MemoryStore(), asyncio.Event()

    async def ignores(run: Run) -> Verdict:
        while len(handler.runs) == 1 and not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                continue
        return await done(run)

    handler = Handling(ignores)
    path = write_lines(tmp_path / "lines", [1, 2])
    settings = RuntimeSettings(retry=RetryPolicy(1), max_batch=1)
    options = evolve(options_for(sources_of([str(path)], None), settings), timeout=0.01)
    report = Report()
    assert await Job(store, handler, options, report).work()
    stubborn.set()
    told = [(each["line"], each["state"], each["outcome"]["error"]) for each in answers(capsys.readouterr().out)]
    assert told == [(1, "abandoned", "timed out after 0.01 s"), (2, "consumed", None)]
    assert (report.tally.runs, report.tally.abandoned) == (2, 1)


async def test_the_words_of_a_failure_are_kept_as_the_handler_gave_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the 4096 bytes that a handler may say, without anything in front."""
    words = "ä" * 2000 + "\n" + "z" * 95
    assert len(words.encode()) == ERROR_BYTES

    async def fails(_: Run) -> Verdict:
        return Failed(words, recoverable=len(handler.runs) == 1)

    handler = Handling(fails)
    path = write_lines(tmp_path / "lines", [1])
    options = options_for(sources_of([str(path)], None), RuntimeSettings(retry=RetryPolicy(5, Backoff(0.0))))
    assert await Job(MemoryStore(), handler, options, Report()).work()
    (told,) = answers(capsys.readouterr().out)
    assert (told["outcome"]["error"], told["outcome"]["reason"], len(handler.runs)) == (words, "failed", 2)
