"""What the tests of the command line share: starting it, here and as a process, and waiting for what it does."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final
from weakref import finalize

from click.testing import CliRunner, Result

from holdstate.tools.cli import cli

DEADLINE_SECONDS = 60.0


def write_lines(path: Path, values: Iterable[Any]) -> Path:
    """A file of JSON Lines."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def call(*words: object, stdin: str | bytes | None = None, env: dict[str, str] | None = None) -> Result:
    """The program in this process. Only SystemExit may come out of it."""
    result = CliRunner().invoke(cli, [str(word) for word in words], input=stdin, env=env, prog_name="holdstate")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def answers(result: Result | str | bytes) -> list[dict[str, Any]]:
    """The JSON lines of stdout."""
    text = result.stdout if isinstance(result, Result) else result
    return [json.loads(line) for line in text.splitlines()]


def command(*words: object) -> list[str]:
    """The program as a command."""
    return [sys.executable, "-m", "holdstate", *map(str, words)]


def start(*words: object, **options: Any) -> subprocess.Popen[bytes]:
    """The program as a process in a session of its own."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*words), start_new_session=True, **{**streams, **options})


def finish(process: subprocess.Popen[bytes]) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, answers, and stderr of a started program."""
    stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, answers(stdout), stderr.decode()


def wait_for_ends(pids: Iterable[int]) -> None:
    """Until none of these processes is there, or a zombie at most; fails after a minute."""
    for pid in pids:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([process], [], [], DEADLINE_SECONDS)[0], f"process {pid} does not end"
        finally:
            os.close(process)


def read_line(pipe: Path) -> str:
    """The next line of a named pipe, whose writer may still be to come; fails after a minute."""
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert select.select([reader], [], [], DEADLINE_SECONDS)[0], f"nobody writes to {pipe}"
        return os.read(reader, select.PIPE_BUF).decode()
    finally:
        os.close(reader)


@final
class LineLog:
    """A file to which commands add lines, and a named pipe on which they say that they did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bell = path.with_name(f"{path.name}.bell")
        os.mkfifo(self._bell)
        # Also open for writing, so that no command waits for a reader, and none is the last writer.
        self._reader = os.open(self._bell, os.O_RDWR | os.O_NONBLOCK)
        finalize(self, os.close, self._reader)

    def add(self, words: str) -> str:
        """A shell command that adds a line."""
        return f"echo {words} >> {self.path}; echo >> {self._bell}"

    def lines(self) -> list[str]:
        """What is there."""
        return self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []

    def wait(self, count: int) -> list[str]:
        """Until there are ``count`` lines, which are returned; fails where a minute passes without another one."""
        while len(self.lines()) < count:
            heard, _, _ = select.select([self._reader], [], [], DEADLINE_SECONDS)
            assert heard, f"{self.path} has no {count} lines: {self.lines()}"
            os.read(self._reader, select.PIPE_BUF)
        return self.lines()
