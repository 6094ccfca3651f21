"""``holdstate run`` as a process: killed, parked, fenced, fed by a pipe, told not now."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from holdstate.runtime.store import InputFilter
from holdstate.spec.vocabulary import InputState
from holdstate.stores.lmdb_store import LmdbStore

from .support import LineLog, answers, call, command, finish, start, wait_for_ends, write_lines

PARKED = 130


class Scene:
    """A file of lines, a store, and a handler that logs each start and waits for a gate before it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = write_lines(folder / "lines", [{"n": number} for number in range(4)])
        self.store = folder / "store"
        self.log = LineLog(folder / "log")
        self.gate = folder / "gate"
        # The number of the line, the process ids of the handler and of a child; then it waits until the gate is there.
        wait = f"while [ ! -e {self.gate} ]; do read -r _ < {folder}/never; done"
        os.mkfifo(folder / "never")
        body = 'number=$(sed -E "s/.*\\"n\\":([0-9]+).*/\\1/"); sleep 1000 & '
        self.handler = f"{body} {self.log.add('$number $$ $!')}; {wait}; echo done $number"

    def words(self, *options: object) -> list[object]:
        """The command under test."""
        return ["run", self.lines, "--store", self.store, "--max-attempts", 3, *options, "--exec", self.handler]

    def started(self, count: int) -> tuple[int, list[int]]:
        """Waits for the ``count``-th execution; the number that it got, and its processes."""
        number, *pids = map(int, self.log.wait(count)[count - 1].split())
        return number, pids

    def open_gate(self) -> None:
        """Lets every execution end, those that wait already too."""
        self.gate.touch()
        # Opening for writing wakes those that wait in open(); there may be none.
        try:
            os.close(os.open(self.folder / "never", os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            assert error.errno == 6, error  # noqa: PT017 - ENXIO: nobody reads

    def executions(self) -> list[int]:
        """The numbers of the lines that were executed, in order."""
        return [int(line.split()[0]) for line in self.log.lines()]

    def records(self) -> list[tuple[InputState, int, int]]:
        """State, attempts and failures of each stored input, after an audit."""
        with LmdbStore.open(self.store, read_only=True) as opened:
            assert opened.verify() == []
            found = opened.list_inputs(InputFilter("main")).records
        return [(each.state, each.attempt_count, each.failure_count) for each in found]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_kill_in_the_middle_loses_nothing_and_doubles_nothing(scene: Scene) -> None:
    """SIGKILL takes the handler and its children along; the next command goes on in order (C1, C13, C14)."""
    process = start(*scene.words())
    number, pids = scene.started(1)
    assert number == 0
    process.kill()
    assert finish(process)[:2] == (-signal.SIGKILL, [])
    wait_for_ends(pids)
    scene.open_gate()
    code, told, stderr = finish(start(*scene.words()))
    assert code == 0
    assert [(each["line"], each["result"], each["attempts"], each["deduplicated"]) for each in told] == [
        (1, "done 0\n", 2, True),
        (2, "done 1\n", 1, True),
        (3, "done 2\n", 1, True),
        (4, "done 3\n", 1, True),
    ]
    assert scene.executions() == [0, 0, 1, 2, 3]
    assert "accepted 0, deduplicated 4, runs 4, consumed 4" in stderr
    assert [state for state, *_ in scene.records()] == [InputState.CONSUMED] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_current_run_finish(scene: Scene, number: signal.Signals) -> None:
    """Within --grace; no other run is begun, and the exit is 130."""
    process = start(*scene.words("--grace", 3600))
    scene.started(1)
    process.send_signal(number)
    scene.open_gate()
    code, told, stderr = finish(process)
    assert (code, [each["line"] for each in told]) == (PARKED, [1])
    assert "accepted 4" in stderr
    assert scene.records() == [(InputState.CONSUMED, 1, 0)] + [(InputState.QUEUED, 0, 0)] * 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_does_not_finish_in_time_is_rolled_back_free_of_charge(scene: Scene, number: signal.Signals) -> None:
    """Its processes are gone, no failure is charged, and the next command does all of it (C14)."""
    process = start(*scene.words("--grace", 0))
    _, pids = scene.started(1)
    process.send_signal(number)
    code, told, _ = finish(process)
    assert (code, told) == (PARKED, [])
    wait_for_ends(pids)
    assert scene.records() == [(InputState.QUEUED, 1, 0)] + [(InputState.QUEUED, 0, 0)] * 3
    scene.open_gate()
    code, told, _ = finish(start(*scene.words()))
    assert (code, [each["line"] for each in told]) == (0, [1, 2, 3, 4])


def test_a_second_signal_aborts_at_once(scene: Scene) -> None:
    """Whatever --grace says; still nothing is charged."""
    process = start(*scene.words("--grace", 3600))
    _, pids = scene.started(1)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"stopping; ")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == PARKED
    wait_for_ends(pids)
    assert scene.records()[0] == (InputState.QUEUED, 1, 0)


def test_a_second_process_fences_the_first(scene: Scene) -> None:
    """The first exits 1 and says why; the second does the work, each line once (C32)."""
    first = start(*scene.words())
    scene.started(1)
    second = start(*scene.words())
    scene.started(2)
    scene.open_gate()
    code, told, stderr = finish(first)
    assert (code, told) == (1, [])
    assert "error: runtime 'main' was opened by somebody else" in stderr
    code, told, _ = finish(second)
    assert (code, [each["line"] for each in told]) == (0, [1, 2, 3, 4])
    assert [state for state, *_ in scene.records()] == [InputState.CONSUMED] * 4


def test_a_pipe_is_worked_off_while_it_is_still_open(tmp_path: Path) -> None:
    """A line is done before the next one is written, and a signal ends the wait for more."""
    words = ["run", "--store", tmp_path / "store", "--job", "pipe", "--exec", "cat >/dev/null; echo ok"]
    process = start(*words, stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for number in (1, 2):
        process.stdin.write(b'{"n": 1}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["line"] == number
    process.send_signal(signal.SIGTERM)
    process.wait()
    assert process.returncode == PARKED
    process.communicate()


def test_a_reader_that_goes_away_ends_the_command(tmp_path: Path) -> None:
    """Nothing is lost: what was not told is told by the next command."""
    (tmp_path / "mine.py").write_text("def work(run):\n    return 'x' * 5000\n", encoding="utf-8")
    lines = write_lines(tmp_path / "lines", range(50))
    words = ["run", lines, "--store", tmp_path / "store", "--handler", "mine:work"]
    shell = f"set -o pipefail; {shlex.join(command(*words))} | head -n 1"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"error: stdout was closed by its reader" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    code, told, _ = finish(start(*words, cwd=tmp_path))
    assert (code, [each["line"] for each in told]) == (0, list(range(1, 51)))


def test_a_function_of_the_working_directory_is_found(tmp_path: Path) -> None:
    """As with python -m."""
    (tmp_path / "mine.py").write_text(
        "async def work(run):\n    return {'runtime': run.runtime_id}\n", encoding="utf-8"
    )
    lines = write_lines(tmp_path / "lines", [1])
    code, told, _ = finish(start("run", lines, "--store", "s", "--handler", "mine:work", cwd=tmp_path))
    assert (code, told[0]["result"]) == (0, '{"runtime":"main"}')


def test_a_function_that_hangs_in_its_thread_keeps_nobody_from_ending(tmp_path: Path) -> None:
    """It is out of time, its run fails, and the program ends."""
    code = "import threading\ndef work(run):\n    threading.Event().wait()\n"
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    lines = write_lines(tmp_path / "lines", [1])
    words = ["run", lines, "--store", "s", "--handler", "mine:work", "--timeout", 0.05, "--max-attempts", 1]
    code_, told, stderr = finish(start(*words, cwd=tmp_path))
    assert (code_, told[0]["outcome"]["error"]) == (1, "timed out after 0.05 s")
    assert "Traceback" not in stderr


IGNORING = {
    "CancelledError": "    while True:\n        try:\n            await asyncio.Event().wait()\n"
    "        except asyncio.CancelledError:\n            pass\n",
    "everything": "    while True:\n        try:\n            await asyncio.Event().wait()\n"
    "        except BaseException:\n            pass\n",
    "in a thread": "    await asyncio.to_thread(threading.Event().wait)\n",
}


@pytest.mark.parametrize("name", IGNORING)
def test_an_async_function_that_does_not_end_keeps_nobody_from_ending(tmp_path: Path, name: str) -> None:
    """It is left behind, its failure is told and counted, and the program ends without a word about its task."""
    code = (
        "import asyncio\nimport threading\nfrom holdstate.tools import handlers\n"
        f"handlers.CLEAN_UP_SECONDS = 0.05\nasync def work(run):\n{IGNORING[name]}"
    )
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    lines = write_lines(tmp_path / "lines", [1])
    words = ["run", lines, "--store", "s", "--handler", "mine:work", "--timeout", 0.05, "--max-attempts", 1]
    code_, told, stderr = finish(start(*words, cwd=tmp_path))
    assert (code_, told[0]["outcome"]["error"]) == (1, "timed out after 0.05 s")
    assert f"{lines}:1 in main: attempt 1 failed: timed out after 0.05 s" in stderr
    assert stderr.splitlines()[-1].startswith("accepted 1, deduplicated 0, runs 1, consumed 0, abandoned 1, failed att")
    assert "failed attempts 1" in stderr


def test_a_run_that_is_out_of_time_fails_and_its_processes_are_ended(scene: Scene) -> None:
    """And counts as an attempt."""
    options = ("--timeout", 0.3, "--backoff", 0)
    code, told, stderr = finish(start(*scene.words(*options)))
    assert (code, {each["state"] for each in told}) == (1, {"abandoned"})
    assert "attempt 3 failed: timed out after 0.3 s" in stderr
    pids = [int(pid) for line in scene.log.lines() for pid in line.split()[1:]]
    wait_for_ends(pids)


def test_exit_code_75_puts_a_run_off_free_of_charge(tmp_path: Path) -> None:
    """It comes again after --retry-delay, other runtimes go on meanwhile, nothing is charged."""
    lines = write_lines(tmp_path / "lines", [{"r": "busy"}, {"r": "free"}])
    busy = f'grep -q \'"runtime":"busy"\' && [ ! -e {tmp_path}/ready ] && exit 75'
    handler = f"{busy}; touch {tmp_path}/ready; echo ok"
    options = ("--runtime-field", "r", "--retry-delay", 0.05, "--max-attempts", 1)
    result = call("run", lines, "--store", tmp_path / "store", *options, "--exec", handler)
    told = [(each["runtime"], each["attempts"], each["result"]) for each in answers(result)]
    assert (result.exit_code, told) == (0, [("free", 1, "ok\n"), ("busy", 2, "ok\n")])
    assert "put off 1" in result.stderr


def test_a_backoff_is_waited_for_and_other_runtimes_go_on(tmp_path: Path) -> None:
    """The line that failed keeps its place in its runtime (C13)."""
    lines = write_lines(tmp_path / "lines", [{"r": "a"}, {"r": "a"}, {"r": "b"}])
    handler = f'grep -q \'"runtime":"a"\' && mkdir {tmp_path}/failed 2>/dev/null && exit 1; echo ok'
    options = ("--runtime-field", "r", "--backoff", 0.05)
    result = call("run", lines, "--store", tmp_path / "store", *options, "--exec", handler)
    assert [(each["line"], each["attempts"]) for each in answers(result)] == [(3, 1), (1, 2), (2, 1)]


def test_an_image_reaches_the_handler_whole(tmp_path: Path) -> None:
    """It is stored once as a blob, and put back in for the run."""
    block = {"type": "image", "media_type": "image/png", "data": "aGVsbG8="}
    lines = write_lines(tmp_path / "lines", [{"input_type": "prompt", "text": "see", "blocks": [block]}])
    result = call("run", lines, "--store", tmp_path / "store", "--exec", "cat")
    assert json.loads(answers(result)[0]["result"])["inputs"][0]["blocks"][0]["data"] == block["data"]
