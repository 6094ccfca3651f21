"""A shell command as handler: one process group per run, which never outlives the run or us."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any, Final, final

import msgspec

from ..runtime.outcomes import Run
from ..runtime.wire import to_wire
from .handlers import ERROR_BYTES, Failed, Later, Verdict, bounded, short_error

SHELL: Final = "/bin/sh"
EXIT_TRY_LATER: Final = 75
"""``EX_TEMPFAIL`` of sysexits.h."""

TERM_SECONDS: Final = 2.0
"""How long a cancelled command has between SIGTERM and SIGKILL."""

DRAIN_SECONDS: Final = 2.0
"""How long the output is read after the command ended, if something that left its process group holds it open."""

KILL_SECONDS: Final = 5.0
"""How long a process group may take to be gone after SIGKILL."""

# Its stdin ends when we end, whatever ended us: then it kills the groups that are still there. A death signal
# (PR_SET_PDEATHSIG) would reach the shell only, not what the shell started, and only on Linux.
_GUARD: Final = """
groups=
while read -r sign group; do
  rest=
  for known in $groups; do [ "$known" = "$group" ] || rest="$rest $known"; done
  groups=$rest
  [ "$sign" = + ] && groups="$groups $group"
done
for group in $groups; do kill -s KILL -- "-$group"; done
"""


def run_document(run: Run) -> bytes:
    """What a command reads on stdin: the run with its inputs in wire form, as one JSON object and a newline."""
    document = {
        "run_id": str(run.run_id),
        "runtime": run.runtime_id,
        "attempt": run.attempt,
        "inputs": [to_wire(each) for each in run.inputs],
    }
    return msgspec.json.encode(document) + b"\n"


@final
class Guard:
    """A shell in a session of its own that kills the watched process groups when this process is gone."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [SHELL, "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def watch(self, group: int) -> None:
        """From now on ``group`` dies with us."""
        self._tell(f"+ {group}\n")

    def release(self, group: int) -> None:
        """``group`` has ended."""
        self._tell(f"- {group}\n")

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(line.encode())

    def close(self) -> None:
        """Groups that were not released are killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


@final
class ExecHandler:
    """Runs a command through ``/bin/sh -c`` for each run. Its stdout is the result, its stderr goes to ours.

    Exit code 0 is done, 75 try again later, anything else (death by a signal, too much output) a failure.
    """

    def __init__(self, command: str, *, max_result_bytes: int) -> None:
        self._command = command
        self._max_result_bytes = max_result_bytes
        self._guard = Guard()
        self._hurried = asyncio.Event()

    async def handle(self, run: Run) -> Verdict:
        """Run the command to its end; when cancelled, end its whole process group first."""
        starting = asyncio.ensure_future(self._start())
        called_off: asyncio.CancelledError | None = None
        try:
            await asyncio.wait({starting})
        except asyncio.CancelledError as error:
            # A start that is cancelled half-way never ends: asyncio would wait for pipes that were not connected.
            called_off = error
            await asyncio.wait({starting})
        transport, process = starting.result()
        group = transport.get_pid()
        try:
            self._guard.watch(group)
            if called_off is not None:
                raise called_off
            process.feed(run_document(run))
            await asyncio.shield(process.exited)
        except asyncio.CancelledError:
            await self._end(group, process)
            raise
        finally:
            # What the command left running in its group would keep its output open.
            _signal(group, signal.SIGKILL)
            await asyncio.wait({process.exited})
            self._guard.release(group)
            await asyncio.wait({process.closed}, timeout=DRAIN_SECONDS)
            transport.close()
        return self._verdict(process, transport.get_returncode())

    async def _start(self) -> tuple[asyncio.SubprocessTransport, _Process]:
        return await asyncio.get_running_loop().subprocess_exec(
            lambda: _Process(self._max_result_bytes), SHELL, "-c", self._command, start_new_session=True
        )

    async def _end(self, group: int, process: _Process) -> None:
        if self._hurried.is_set():
            return
        _signal(group, signal.SIGTERM)
        hurried = asyncio.ensure_future(self._hurried.wait())
        either: set[asyncio.Future[Any]] = {process.exited, hurried}
        await asyncio.wait(either, timeout=TERM_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()

    def _verdict(self, process: _Process, code: int | None) -> Verdict:
        if process.is_over:
            return Failed(f"stdout is longer than {self._max_result_bytes} bytes (--max-result-bytes)")
        if code == 0:
            return bounded(bytes(process.stdout), self._max_result_bytes)
        if code == EXIT_TRY_LATER:
            return Later()
        ended = f"killed by {_name(-code)}" if code is not None and code < 0 else f"exit {code}"
        return Failed(short_error(f"{ended}: {process.error}" if process.error else ended))

    @property
    def end_seconds(self) -> float:
        """All that ``handle`` waits for after a cancellation, and time for a busy machine to kill a process group."""
        return TERM_SECONDS + DRAIN_SECONDS + KILL_SECONDS

    def hurry(self) -> None:
        """Leave out SIGTERM and its delay."""
        self._hurried.set()

    def close(self) -> None:
        """End the guard."""
        self._guard.close()


@final
class _Process(asyncio.SubprocessProtocol):
    """What is known of one command: its output up to a limit, the tail of its errors, and when it ended."""

    def __init__(self, max_result_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        self._max_result_bytes = max_result_bytes
        self._transport: asyncio.SubprocessTransport | None = None
        self._error_tail = b""
        self.stdout = bytearray()
        self.is_over = False
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    @property
    def error(self) -> str:
        return self._error_tail.decode(errors="replace").strip()

    def feed(self, document: bytes) -> None:
        stdin = self._transport and self._transport.get_pipe_transport(0)
        if isinstance(stdin, asyncio.WriteTransport):
            stdin.write(document)
            stdin.write_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._take_result(data)
        else:
            sys.stderr.write(data.decode(errors="replace"))
            sys.stderr.flush()
            self._error_tail = (self._error_tail + data)[-ERROR_BYTES:]

    def _take_result(self, data: bytes) -> None:
        if self.is_over:
            return
        self.stdout += data
        if len(self.stdout) > self._max_result_bytes and self._transport is not None:
            self.is_over = True
            self.stdout.clear()
            _signal(self._transport.get_pid(), signal.SIGKILL)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended, or only zombies are left of it (macOS)
        os.killpg(group, number)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
