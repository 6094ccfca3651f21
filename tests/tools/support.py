"""What the tests of the command line share: starting it, here and as a process, and waiting for files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

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


def wait_for(what: Callable[[], bool]) -> None:
    """Until ``what`` holds; fails after a minute."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not what():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.002)


def wait_for_lines(path: Path, count: int) -> list[str]:
    """Until the file at ``path`` has ``count`` whole lines, which are returned."""
    wait_for(lambda: path.exists() and path.read_text(encoding="utf-8").count("\n") >= count)
    return path.read_text(encoding="utf-8").splitlines()
