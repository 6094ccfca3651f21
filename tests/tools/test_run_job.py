"""The work of ``holdstate run`` over a store in memory: room in runtimes, unreadable files, failures of the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import StoreError
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.settings import Limits
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools import line_reader
from holdstate.tools.handlers import FunctionHandler, Handler
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
