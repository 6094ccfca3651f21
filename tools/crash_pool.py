"""Processes that check what a crash left, one job each at a time, replaced when a damaged file killed one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from attrs import define

from .crash_checker import read_message, write_message
from .crash_disk import Image

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - what is looked at once and thrown away belongs there

Job = dict[str, Any]
Answer = dict[str, Any]
Receiver = Callable[[Answer], None]

DIED: Final = "the process died: "
TOO_LONG: Final = "it took too long"
_CHECKER: Final = "holdstate.tools.crash_checker"


@final
@define
class _Checker:
    process: subprocess.Popen[bytes]
    base: bytes | None = None
    waiting: Receiver | None = None


@final
class Pool:
    """``count`` processes that run ``module`` with ``folder`` as scratch. A context manager."""

    def __init__(self, folder: Path, count: int, module: str = _CHECKER) -> None:
        self._folder = folder
        self._module = module
        self._checkers = [self._start() for _ in range(count)]
        self._next = 0

    def _start(self) -> _Checker:
        command = [sys.executable, "-m", self._module, str(self._folder)]
        return _Checker(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        )

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for checker in self._checkers:
            checker.process.kill()
            checker.process.communicate()

    def submit(self, job: Job, receiver: Receiver, image: Image | None = None, *, content: bytes = b"") -> None:
        """Give a job to the next process; what it was doing is received first. ``content`` is sent once to each."""
        place, self._next = self._next, (self._next + 1) % len(self._checkers)
        self._receive(place)
        checker = self._checkers[place]
        if image is not None:
            base = None if image.base is checker.base else image.base
            kept, length = image.kept, image.length
            job = {**job, "base": base, "kept": kept, "length": length, "fill": image.fill, "written": image.written}
            checker.base = image.base
        elif content:
            job = {**job, "content": None if content is checker.base else content}
            checker.base = content
        stdin = checker.process.stdin
        assert stdin is not None
        checker.waiting = receiver
        write_message(stdin, job)  # type: ignore[arg-type]

    def drain(self) -> None:
        """Receive all answers that are still to come."""
        for place in range(len(self._checkers)):
            self._receive(place)

    def _receive(self, place: int) -> None:
        checker = self._checkers[place]
        receiver = checker.waiting
        if receiver is None:
            return
        checker.waiting = None
        stdout = checker.process.stdout
        assert stdout is not None
        answer = read_message(stdout)  # type: ignore[arg-type]
        if answer is None:
            checker.process.communicate()
            self._checkers[place] = self._start()
            answer = {"problem": _ending(checker.process.returncode), "findings": []}
        receiver(answer)


def _ending(code: int) -> str:
    if code == -signal.SIGALRM:
        return TOO_LONG
    return DIED + (signal.Signals(-code).name if code < 0 else f"exit code {code}")


@contextmanager
def scratch_folder(path: Path | None = None) -> Iterator[Path]:
    """A new directory under ``path``, by default in the memory of the machine where it has one. It is removed."""
    parent = path or (_MEMORY if _MEMORY.is_dir() else None)
    folder = Path(tempfile.mkdtemp(prefix="holdstate-crash-", dir=parent)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
