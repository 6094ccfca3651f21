"""What a worker asked of the operating system, in order: writes, syncs, names of files, and what it said meanwhile.

``record`` runs a worker under strace; ``read_trace`` turns its output into events. A write counts from its return, a
line on stdout from its beginning: no later than anybody could have read it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import msgspec
from attrs import field, frozen

from ..spec.errors import HoldstateError

WRITING_CALLS: Final = (
    "pwrite64",
    "write",
    "pwritev",
    "pwritev2",
    "writev",
    "fdatasync",
    "fsync",
    "ftruncate",
    "rename",
)
"""What changes a file or brings it to the disk; where a worker is killed and disturbed."""
CREATION: Final = "create"
"""What is done before the first step."""
_CALLS: Final = (*WRITING_CALLS, "openat", "close", "lseek", "mkdir", "unlink", "fallocate", "msync", "rmdir")
_LONGEST: Final = 512 * 1024
"""Bytes of one buffer that are recorded; what is longer has to be zeros."""
_TIMEOUT_SECONDS: Final = 600

_LINE: Final = re.compile(r"^(\d+) +(.*)$")
_CALL: Final = re.compile(r"^(\w+)\((.*)\) += (-?\d+)(?: .*)?$", re.DOTALL)
_RESUMED: Final = re.compile(r"^<\.\.\. \w+ resumed>(.*)$", re.DOTALL)
_UNFINISHED: Final = " <unfinished ...>"
_BUFFER: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


@final
class TraceFailed(HoldstateError):
    """A worker could not be recorded, or did what the model of the disk does not know. ``problem`` says what."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the crash campaign cannot go on: {problem}")


@final
class Act(Enum):
    """What an event did."""

    WRITE = auto()
    SYNC = auto()
    CREATE = auto()
    UNLINK = auto()
    MKDIR = auto()
    RENAME = auto()
    SAY = auto()


@final
@frozen
class Event:
    """One event. ``file`` is a path as it was named then, of a rename the old one.

    ``data`` of a write lacks zeros at its end up to ``size``; ``is_synced`` where its descriptor syncs each write.
    """

    act: Act
    file: str = ""
    offset: int = 0
    data: bytes = b""
    size: int = 0
    is_synced: bool = False
    target: str = ""
    said: dict[str, Any] = field(factory=dict)


_Descriptor: TypeAlias = tuple[str, bool]


def writing_calls(path: Path) -> list[tuple[str, int, str]]:
    """Each call that writes: its name, how many of that name came before and with it, and the step it belongs to."""
    found: list[tuple[str, int, str]] = []
    counts: Counter[str] = Counter()
    step = CREATION
    with path.open(encoding="ascii") as lines:
        for line in lines:
            matched = _LINE.match(line.rstrip("\n"))
            call = matched[2].partition("(")[0] if matched else ""
            if call in WRITING_CALLS:
                counts[call] += 1
                found.append((call, counts[call], step))
            said = _BUFFER.search(line) if call == "write" and "(1, " in line else None
            if said is not None:
                step = msgspec.json.decode(_bytes(said[1])).get("op", step)
    return found


def record(worker: str, arguments: Sequence[str], output: Path) -> None:
    """Run the module ``worker`` under strace. Raises TraceFailed when either fails."""
    command = [
        "strace", "-f", "-qq", "-xx", "-s", str(_LONGEST), "-e", f"trace={','.join(_CALLS)}", "-e", "signal=none",
        "-o", str(output), sys.executable, "-m", worker, *arguments,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except FileNotFoundError as error:
        raise TraceFailed("strace is not installed") from error
    if done.returncode:
        raise TraceFailed(f"the worker ended with exit code {done.returncode}: {done.stderr.strip()[-500:]}")


def read_trace(path: Path, folder: Path) -> Iterator[Event]:
    """The events that concern files under ``folder`` or were said on stdout."""
    reader = _Reader(f"{folder}/")
    with path.open(encoding="ascii") as lines:
        for line in lines:
            matched = _LINE.match(line.rstrip("\n"))
            if matched is not None:
                yield from reader.line(matched[1], matched[2])


@final
class _Reader:
    """Descriptors and their places; calls of several threads are put together again."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._open: dict[int, _Descriptor] = {}
        self._places: dict[int, int] = {}
        self._begun: dict[str, str] = {}

    def line(self, thread: str, text: str) -> Iterator[Event]:
        """One line of strace's output."""
        if text.endswith(_UNFINISHED):
            begun = self._begun[thread] = text.removesuffix(_UNFINISHED)
            if begun.startswith("write(1, "):
                yield from self._said(begun)
            return
        was_said = False
        resumed = _RESUMED.match(text)
        if resumed is not None:
            begun = self._begun.pop(thread)
            was_said = begun.startswith("write(1, ")
            text = begun + resumed[1]
        matched = _CALL.match(text)
        if matched is None or int(matched[3]) < 0:
            return
        if text.startswith("write(1, "):
            if not was_said:
                yield from self._said(text)
            return
        yield from self._call(matched[1], matched[2], int(matched[3]))

    @staticmethod
    def _said(text: str) -> Iterator[Event]:
        matched = _BUFFER.search(text)
        if matched is not None:
            yield Event(Act.SAY, said=msgspec.json.decode(_bytes(matched[1])))

    def _call(self, call: str, arguments: str, returned: int) -> Iterator[Event]:
        if call in {"openat", "mkdir", "unlink", "rename", "rmdir"}:
            yield from self._named(call, arguments, returned)
            return
        number, _, rest = arguments.partition(",")
        descriptor = int(number)
        if call == "close":
            self._open.pop(descriptor, None)
            return
        path, is_synced = self._open.get(descriptor, ("", False))
        if not path.startswith(self._folder) and f"{path}/" != self._folder:
            return
        if call == "lseek":
            self._places[descriptor] = returned
        elif call in {"fsync", "fdatasync"}:
            yield Event(Act.SYNC, path)
        elif path.endswith("/lock.mdb"):
            return  # it holds nothing: whoever comes first makes it anew
        elif "write" in call:
            yield self._write(call, descriptor, rest, returned, Event(Act.WRITE, path, is_synced=is_synced))
        else:
            raise TraceFailed(f"{call} of {path} is not in the model of the disk")

    def _named(self, call: str, arguments: str, returned: int) -> Iterator[Event]:
        paths = [_bytes(each[1]).decode(errors="surrogateescape") for each in _BUFFER.finditer(arguments)]
        if call == "openat":
            self._open[returned] = (paths[0], "O_DSYNC" in arguments or "O_SYNC" in arguments)
            self._places[returned] = 0
            if "O_CREAT" in arguments and paths[0].startswith(self._folder):
                yield Event(Act.CREATE, paths[0])
        elif paths[0].startswith(self._folder):
            match call:
                case "mkdir":
                    yield Event(Act.MKDIR, paths[0])
                case "unlink":
                    yield Event(Act.UNLINK, paths[0])
                case "rename":
                    yield Event(Act.RENAME, paths[0], target=paths[1])
                case _:
                    raise TraceFailed(f"{call} of {paths[0]} is not in the model of the disk")

    def _write(self, call: str, descriptor: int, rest: str, size: int, event: Event) -> Event:
        buffers = list(_BUFFER.finditer(rest))
        data = b"".join(_bytes(each[1]) for each in buffers)
        if any(each[2] for each in buffers):
            if any(data):
                raise TraceFailed(f"a {call} of {size} bytes is too long to be recorded")
        elif len(data) != size:
            raise TraceFailed(f"a {call} wrote {size} of {len(data)} bytes")
        if call == "pwrite64":
            offset = int(rest.rsplit(",", 1)[1])
        elif call in {"pwritev", "pwritev2"}:
            offset = int(rest.rsplit("]", 1)[1].split(",")[2])
        else:
            offset = self._places[descriptor]
            self._places[descriptor] += size
        return Event(Act.WRITE, event.file, offset, data.rstrip(b"\0"), size, event.is_synced)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
