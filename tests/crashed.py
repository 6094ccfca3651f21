"""A real store whose process was killed with SIGKILL inside a run, for tests that look at what is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from holdstate.tools.output import ExitCode

from .tools.support import LineLog, call, start, write_lines

OPTIONS = ("--key-field", "key", "--max-attempts", 3, "--backoff", 0.001)
KEYS = ("fine", "bad", "hangs", "waits")


def kill_in_a_run(folder: Path) -> Path:
    """The path of a store in which ``fine`` is consumed, ``bad`` was given up after three failures, ``hangs`` was
    staged when everything was killed, and ``waits`` is queued behind it.
    """
    lines = write_lines(folder / "lines", [{"key": key} for key in KEYS])
    log, gate = LineLog(folder / "log"), folder / "gate"
    os.mkfifo(gate)
    hangs = f"{log.add('started')}; read -r _ < {gate}"
    handler = (
        f'read -r run; case "$run" in *hangs*) {hangs};; *bad*) echo "no such amount" >&2; exit 3;; esac; echo fine'
    )
    process = start("run", lines, "--store", folder / "store", *OPTIONS, "--exec", handler)
    log.wait(1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return folder / "store"


def finish_it(store: Path) -> None:
    """The same command once more, with a handler that does not hang."""
    handler = "tests.tools.functions:echo"
    result = call("run", store.parent / "lines", "--store", store, *OPTIONS, "--handler", handler)
    assert result.exit_code == ExitCode.FINDING, result.stderr  # one of them was given up
