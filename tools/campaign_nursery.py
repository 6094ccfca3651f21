"""Where the children of a campaign come from: a process that has loaded what they need forks one for each life.

So a life costs its work, and not the start of an interpreter. No store is ever open in the nursery itself.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import traceback
from typing import Final, final

import msgspec

from .campaign_worker import main as live

_LONGEST: Final = 65536
_STDIN: Final = 0
_STDOUT: Final = 1


@final
class Nursery:
    """Forks workers of the campaign. A context manager; what is still alive at its end is not waited for."""

    def __init__(self) -> None:
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            command = [sys.executable, "-m", __name__, str(there.fileno())]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[there.fileno()])

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self._process.wait()

    def bear(self, arguments: list[str]) -> tuple[int, int, int]:
        """A new worker: its process id, and the descriptors of its stdin and its stdout."""
        its_stdin, stdin = os.pipe()
        stdout, its_stdout = os.pipe()
        try:
            socket.send_fds(self._here, [msgspec.json.encode(arguments)], [its_stdin, its_stdout])
        finally:
            os.close(its_stdin)
            os.close(its_stdout)
        return self._answer(), stdin, stdout

    def wait(self, pid: int) -> int:
        """The exit code of a worker, negative where a signal ended it. Until then its process id is not used again."""
        self._here.send(msgspec.json.encode(pid))
        return self._answer()

    def _answer(self) -> int:
        answer: int = msgspec.json.decode(self._here.recv(_LONGEST))
        return answer


def main(arguments: list[str]) -> None:
    """``DESCRIPTOR``: fork and wait as the other end of that socket asks, until it is closed."""
    with socket.socket(fileno=int(arguments[0])) as parent:
        while True:
            message, descriptors, _, _ = socket.recv_fds(parent, _LONGEST, 2)
            if not message:
                return
            asked = msgspec.json.decode(message)
            parent.send(msgspec.json.encode(_waited(asked) if isinstance(asked, int) else _born(asked, descriptors)))


def _waited(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _born(arguments: list[str], descriptors: list[int]) -> int:
    pid = os.fork()
    if pid == 0:
        _live(arguments, descriptors)
    for each in descriptors:
        os.close(each)
    return pid


def _live(arguments: list[str], descriptors: list[int]) -> None:
    """Work on these descriptors in place of stdin and stdout, and never return."""
    code = 1
    try:
        for wanted, given in zip((_STDIN, _STDOUT), descriptors, strict=True):
            os.dup2(given, wanted)
            os.close(given)
        live(arguments)
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child goes no way but this one
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
