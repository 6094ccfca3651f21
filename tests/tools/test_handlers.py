"""Handlers: what a function may return and raise, and how a command is run and ended."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from holdstate.runtime.ids import RunId, new_uuid7
from holdstate.runtime.inputs import ExternalEventInput
from holdstate.runtime.outcomes import Run, RunOutput
from holdstate.tools import exec_handler
from holdstate.tools.exec_handler import ExecHandler
from holdstate.tools.handlers import ERROR_BYTES, Done, Failed, FunctionHandler, Later, load_function, short_error

from . import functions
from .support import DEADLINE_SECONDS, read_line, wait_for_ends

MAX_RESULT_BYTES = 1000
MakeExec = Callable[[str], ExecHandler]


def new_run(payload: Any = None) -> Run:
    """A run of one external event."""
    value = ExternalEventInput.new("event", payload, idempotency_key="key")
    return Run(RunId(new_uuid7()), "runtime", (value.header.id,), (value,), (), attempt=3)


def function_handler(name: str) -> FunctionHandler:
    """The handler of a function of ``functions``."""
    return FunctionHandler(load_function(f"tests.tools.functions:{name}"), max_result_bytes=MAX_RESULT_BYTES)


@pytest_asyncio.fixture
async def make_exec() -> AsyncIterator[MakeExec]:
    """Makes handlers of commands and closes them."""
    made = []

    def make(command: str) -> ExecHandler:
        made.append(ExecHandler(command, max_result_bytes=MAX_RESULT_BYTES))
        return made[-1]

    yield make
    for handler in made:
        handler.close()


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def waiting_command(folder: Path, *, before: str = "") -> str:
    """A command that starts a child, tells both process ids on a named pipe, and waits for ever."""
    os.mkfifo(folder / "pids")
    return f"{before} sleep 1000 & echo $! $$ > {folder}/pids; wait"


def pids_in(folder: Path) -> list[int]:
    """The process ids that a command wrote."""
    return [int(word) for word in (folder / "pids").read_text(encoding="utf-8").split()]


async def started(folder: Path) -> list[int]:
    """Waits until ``waiting_command`` runs."""
    return [int(word) for word in (await asyncio.to_thread(read_line, folder / "pids")).split()]


# -- functions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("echo", b'[{"n":1}]'),
        ("echo_async", b'[{"n":1}]'),
        ("echo_object", b"called"),
        ("nothing", None),
        ("text", b"external_event"),
        ("binary", b"\xff\x00"),
    ],
)
async def test_what_a_function_returns_is_the_result(name: str, result: bytes | None) -> None:
    """Bytes as they are, text as UTF-8, None as no result, other values as JSON."""
    assert await function_handler(name).handle(new_run({"n": 1})) == Done(RunOutput(result=result))


async def test_a_function_may_return_the_whole_output() -> None:
    """With a session snapshot and a message count."""
    output = RunOutput(session_snapshot=b"snapshot", result=b"result", message_count=2)
    assert await function_handler("output").handle(new_run()) == Done(output)


@pytest.mark.parametrize(
    ("name", "error", "recoverable"),
    [
        ("broken", "ValueError: no such\nluck (functions.py:", True),
        ("exits", "SystemExit: 7", True),
        ("stops_iteration", "RuntimeError: StopIteration", True),
        ("flaky", "no\nluck", True),
        ("hopeless", "never", False),
        ("speechless", "no reason given", False),
        ("cancels_itself", "the handler cancelled itself", True),
        ("no_json", "what the handler returned cannot be kept as a result", True),
    ],
)
async def test_what_a_function_raises_fails_the_run(name: str, error: str, recoverable: bool) -> None:  # noqa: FBT001
    """With its type, its words and its place; only PermanentFailure is final."""
    verdict = await function_handler(name).handle(new_run())
    assert isinstance(verdict, Failed)
    assert (verdict.error[: len(error)], verdict.recoverable) == (error, recoverable)


async def test_a_function_can_put_a_run_off() -> None:
    """With TryAgainLater, or with TryLater for a time of its own."""
    functions.seen.clear()
    assert await function_handler("second_time").handle(new_run()) == Later()
    functions.seen.clear()
    assert await function_handler("an_hour").handle(new_run()) == Later(3600.0)


async def test_a_cancelled_function_is_cancelled() -> None:
    """An async one gets the cancellation, and it is passed on."""
    task = asyncio.create_task(function_handler("hangs").handle(new_run()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_result_that_is_too_large_fails_the_run() -> None:
    """Told with both sizes; a whole output is judged too."""
    for value in ("x" * 1001, RunOutput(result=b"x" * 1001)):
        handler = FunctionHandler(partial(_constant, value), max_result_bytes=1000)
        told = "the result has 1001 bytes; 1000 are allowed (--max-result-bytes)"
        assert await handler.handle(new_run()) == Failed(told)


def _constant(value: object, run: Run) -> object:
    return value


def test_an_error_is_kept_short_and_well_formed() -> None:
    """The end of it, whatever it holds."""
    assert short_error("\ud800 a") == "? a"
    assert len(short_error("ä" * ERROR_BYTES + "x").encode()) <= ERROR_BYTES


# -- commands ------------------------------------------------------------------------------------------------------


async def test_a_command_reads_the_run_and_answers(make_exec: MakeExec) -> None:
    """The run is one JSON object with the inputs in wire form; what it prints is the result."""
    run = new_run({"n": 1})
    verdict = await make_exec("cat").handle(run)
    assert isinstance(verdict, Done)
    document = json.loads(verdict.output.result or b"")
    assert (document["run_id"], document["runtime"], document["attempt"]) == (str(run.run_id), "runtime", 3)
    (given,) = document["inputs"]
    assert UUID(given["header"]["id"]) == run.input_ids[0]
    assert (given["header"]["idempotency_key"], given["input_type"], given["payload"]) == (
        "key",
        "external_event",
        {"n": 1},
    )


@pytest.mark.parametrize(
    ("command", "verdict"),
    [
        ("exit 0", Done(RunOutput(result=b""))),
        ("exit 75", Later()),
        ("exit 1", Failed("exit 1")),
        ("echo no luck >&2; exit 3", Failed("exit 3: no luck")),
        ("kill -KILL $$", Failed("killed by SIGKILL")),
        ("no-such-program 2>/dev/null", Failed("exit 127")),
        ("yes", Failed("stdout is longer than 1000 bytes (--max-result-bytes)")),
        ("exec <&-; exit 0", Done(RunOutput(result=b""))),
    ],
)
async def test_the_exit_code_is_the_verdict(make_exec: MakeExec, command: str, verdict: object) -> None:
    """0 done, 75 later, all else a failure with the end of stderr."""
    assert await make_exec(command).handle(new_run("x" * 200_000)) == verdict


async def test_the_stderr_of_a_command_is_passed_on(make_exec: MakeExec, capsys: pytest.CaptureFixture[str]) -> None:
    """To ours, never to stdout."""
    await make_exec("echo told >&2; echo result").handle(new_run())
    assert capsys.readouterr() == ("", "told\n")


async def test_a_cancelled_command_is_ended_with_all_it_started(make_exec: MakeExec, tmp_path: Path) -> None:
    """SIGTERM first, for the whole process group."""
    task = asyncio.create_task(make_exec(waiting_command(tmp_path)).handle(new_run()))
    pids = await started(tmp_path)
    assert all(map(is_alive, pids))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait_for_ends(pids)


@pytest.mark.parametrize("steps", range(1, 9))
async def test_a_command_that_is_cancelled_while_it_starts_is_ended(make_exec: MakeExec, steps: int) -> None:
    """After whichever step of its start the cancellation comes, the handler ends and leaves nothing behind."""
    task = asyncio.create_task(make_exec("sleep 1000").handle(new_run()))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=DEADLINE_SECONDS)
    assert done == {task}
    assert task.cancelled()


async def test_a_command_that_ignores_sigterm_is_killed(
    make_exec: MakeExec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a delay, or at once when it is hurried."""
    monkeypatch.setattr(exec_handler, "TERM_SECONDS", 3600.0)
    handler = make_exec(waiting_command(tmp_path, before="trap '' TERM;"))
    task = asyncio.create_task(handler.handle(new_run()))
    pids = await started(tmp_path)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    handler.hurry()
    with pytest.raises(asyncio.CancelledError):
        await task
    wait_for_ends(pids)
    task = asyncio.create_task(handler.handle(new_run()))
    await started(tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_command_leaves_behind_is_killed_when_it_ends(make_exec: MakeExec, tmp_path: Path) -> None:
    """It would hold the result open."""
    command = f"sleep 1000 & echo $! > {tmp_path}/pids; echo done"
    assert await make_exec(command).handle(new_run()) == Done(RunOutput(result=b"done\n"))
    pids = pids_in(tmp_path)
    wait_for_ends(pids)


async def test_what_left_the_process_group_is_not_waited_for_long(
    make_exec: MakeExec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is out of reach, and may hold stdout open for ever."""
    monkeypatch.setattr(exec_handler, "DRAIN_SECONDS", 0.01)
    command = f"setsid sleep 1000 & echo $! > {tmp_path}/pids; echo done"
    try:
        assert await make_exec(command).handle(new_run()) == Done(RunOutput(result=b"done\n"))
    finally:
        for pid in pids_in(tmp_path):
            os.kill(pid, 9)


async def test_the_guard_kills_what_was_not_released(make_exec: MakeExec, tmp_path: Path) -> None:
    """Its stdin ends with this process, however that ends."""
    handler = make_exec(waiting_command(tmp_path))
    task = asyncio.create_task(handler.handle(new_run()))
    pids = await started(tmp_path)
    guard = exec_handler.Guard()
    guard.watch(pids[0])
    guard.release(pids[0])
    guard.watch(pids[1])
    guard.close()
    assert await task == Failed("killed by SIGKILL")
    wait_for_ends(pids)
