"""Lines of files and of stdin, read in a thread of their own: a pipe that has nothing to say holds nobody up."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Protocol, final

from attrs import frozen

STDIN: Final = "-"
CHUNK_BYTES: Final = 256 * 1024
MAX_LINE_BYTES: Final = 256 * 1024 * 1024


@final
@frozen
class Source:
    """A file, or stdin (``-``): its name as the user gave it, and the job whose lines it holds.

    ``counts_on``: its lines are numbered on from the source before it, because both belong to one named job.
    """

    name: str
    job: str
    counts_on: bool = False


@final
@frozen
class RawLine:
    """One line without its end. ``number`` counts in its source, ``job_number`` in its job; both from 1."""

    source: Source
    number: int
    job_number: int
    text: bytes
    is_too_long: bool = False


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


def sources_of(names: Sequence[str], job: str | None) -> tuple[Source, ...]:
    """The sources of a command. Without a job of one name for all of them, each file's resolved path is its job."""
    if job is not None:
        return tuple(Source(name, job, counts_on=index > 0) for index, name in enumerate(names))
    return tuple(Source(name, name if name == STDIN else str(Path(name).resolve())) for name in names)


@final
class LineReader:
    """Hands out what there is to read, a chunk at a time and never ahead of the last one that was asked for."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._wanted: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[list[RawLine]]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def next_lines(self) -> list[RawLine]:
        """The next lines, at least one; an empty list at the end. OSError where a file cannot be read."""
        if self._thread is None:
            # A daemon: it may be blocked in read() when the command ends.
            self._thread = threading.Thread(target=self._serve, name="holdstate-lines", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[RawLine]] = loop.create_future()
        self._wanted.put((loop, future))
        return await future

    def _serve(self) -> None:
        chunks = _read_all(self._sources)
        while True:
            loop, future = self._wanted.get()
            lines: list[RawLine] = []
            problem: OSError | None = None
            try:
                lines = next(chunks, [])
            except OSError as error:
                problem = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_answer, future, lines, problem)


def _answer(future: asyncio.Future[list[RawLine]], lines: list[RawLine], problem: OSError | None) -> None:
    if future.done():
        return
    if problem is None:
        future.set_result(lines)
    else:
        future.set_exception(problem)


def _read_all(sources: Sequence[Source]) -> Iterator[list[RawLine]]:
    counted = 0
    for source in sources:
        before = counted if source.counts_on else 0
        counted = before
        for lines in _read(source, before):
            counted = lines[-1].job_number
            yield lines


def _read(source: Source, before: int) -> Iterator[list[RawLine]]:
    number = 0
    for texts in _split(source):
        lines = []
        for text in texts:
            number += 1
            too_long = len(text) > MAX_LINE_BYTES
            lines.append(RawLine(source, number, before + number, b"" if too_long else text, too_long))
        yield lines


def _split(source: Source) -> Iterator[list[bytes]]:
    """Whole lines as they come in. One that is too long is given as far as it was read, and is the last."""
    if source.name == STDIN:
        yield from _split_stream(_stdin())
    else:
        with Path(source.name).open("rb", buffering=0) as file:
            yield from _split_stream(file)


def _split_stream(stream: _Readable) -> Iterator[list[bytes]]:
    pieces: list[bytes] = []
    size = 0
    while chunk := stream.read(CHUNK_BYTES):
        head, end, tail = chunk.rpartition(b"\n")
        if end:
            yield [_without_return(line) for line in b"".join([*pieces, head]).split(b"\n")]
            pieces, size = [tail], len(tail)
        else:
            pieces.append(chunk)
            size += len(chunk)
            if size > MAX_LINE_BYTES:
                break
    rest = b"".join(pieces)
    if rest:
        yield [_without_return(rest)]


def _without_return(line: bytes) -> bytes:
    return line.removesuffix(b"\r")


def _stdin() -> _Readable:
    # Not sys.stdin.buffer where there is a descriptor: a blocked read holds its lock, without which Python cannot end.
    try:
        return io.FileIO(sys.stdin.fileno(), closefd=False)
    except io.UnsupportedOperation:
        return sys.stdin.buffer
