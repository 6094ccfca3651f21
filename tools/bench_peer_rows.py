"""Other libraries beside ours and beside raw LMDB, round by round, each in a process of its own.

A library says by itself how long its works took, so the pipe is not in it. What it stored is counted by a query of
ours afterwards, and how durable its connections were is read back from them.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Self, final

import msgspec
from attrs import field, frozen

from ..runtime.driver import PersistentRuntimeDriver
from ..spec.errors import HoldstateError
from ..stores.lmdb_store import LmdbStore
from .bench_peer_env import last_line
from .bench_setting import (
    RUNTIME,
    Bench,
    Raw,
    RowLeftOut,
    last_transaction,
    need,
    per_call,
    rounds_of,
    spread,
)
from .output import note

NAME: Final = "peers"
OURS: Final = "holdstate"
EQUAL: Final = "equal"
"""What the durability of a line begins with where each commit is synced as ours is."""
WORKS: Final = ("accept", "lifecycle")
PATIENCE_SECONDS: Final = 300.0
COUNTED: Final = 20
"""Works of which the syncs are counted."""
FULL: Final = 2
"""``PRAGMA synchronous=FULL``."""
_SYNCS: Final = "trace=fsync,fdatasync,msync,sync_file_range"
_PROGRAM: Final = Path(__file__).with_name("bench_peers.py")


@final
@frozen
class PeerLine:
    """One library at one work. ``ratio`` is times a raw put; ``of_ours`` is times what ours took in the same rounds;
    ``syncs`` of one work are None where nobody counted.
    """

    work: str
    who: str
    version: str
    microseconds: float
    ratio: float
    low: float
    high: float
    of_ours: float
    syncs: float | None
    durability: str


@final
class PeerFailed(HoldstateError):
    """The process of a library ended before it had answered."""

    def __init__(self, who: str, problem: str) -> None:
        self.who = who
        self.problem = problem
        super().__init__(f"{who} did not answer: {problem}")


@final
@frozen
class Interpreter:
    """How a library is run: by which Python, and with what in front of it."""

    name: str
    python: Path
    before: tuple[str, ...] = ()

    def command(self, work: str, directory: Path) -> tuple[str, ...]:
        return (*self.before, str(self.python), str(_PROGRAM), self.name, work, str(directory))


@final
class PeerProcess:
    """One library at one work. Entering it waits until its store is made."""

    def __init__(self, by: Interpreter, work: str, directory: Path) -> None:
        self.name = by.name
        self.version = ""
        self._command = by.command(work, directory)
        self._words = directory / "stderr"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._words.open("wb") as words:
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, stderr=words)
        try:
            self.version = (await self._answer())["version"]
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        process, (orders, _) = self._process, self._pipes()
        assert process is not None, "it was started"
        orders.close()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _pipes(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        process = self._process
        assert process is not None, "it was started"
        assert process.stdin is not None, "it has pipes"
        assert process.stdout is not None, "it has pipes"
        return process.stdin, process.stdout

    async def do(self, times: int) -> float:
        """The seconds that so many works took."""
        return float(await self._ask(f"do {times}"))

    async def check(self) -> dict[str, Any]:
        """What its database holds, and how durable its weakest connection is."""
        found: dict[str, Any] = await self._ask("check")
        return found

    async def _ask(self, order: str) -> Any:
        self._pipes()[0].write(f"{order}\n".encode())
        return await self._answer()

    async def _answer(self) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = await self._pipes()[1].readline()
        except TimeoutError as error:
            raise PeerFailed(self.name, f"nothing came for {PATIENCE_SECONDS:.0f} s") from error
        if not line:
            words = self._words.read_text(encoding="utf-8", errors="replace")
            raise PeerFailed(self.name, last_line(words) or "it ended without a word")
        return msgspec.json.decode(line)


@final
@frozen
class Taken:
    """Seconds by round, of one who does ``times`` works in each."""

    work: str
    who: str
    version: str
    times: int
    seconds: list[float] = field(factory=list)


async def measure_peers(bench: Bench, pythons: Mapping[str, Path]) -> tuple[list[PeerLine], list[RowLeftOut]]:
    """Accepts, and lives from accept to end, by each library that can be started; and those that cannot."""
    lines, missing = [], {}
    for work in WORKS:
        async with AsyncExitStack() as stack:
            processes = []
            for name, python in pythons.items():
                if name in missing:
                    continue
                process = PeerProcess(Interpreter(name, python), work, bench.new_directory())
                try:
                    processes.append(await stack.enter_async_context(process))
                except PeerFailed as error:
                    note(f"{name}: left out, for {error.problem}")
                    missing[name] = RowLeftOut(name, error.problem)
            lines += await _work(bench, work, processes, pythons)
    return lines, list(missing.values())


async def _work(bench: Bench, work: str, processes: list[PeerProcess], pythons: Mapping[str, Path]) -> list[PeerLine]:
    from .. import __version__

    puts = bench.size.calls
    times = puts if work == "accept" else bench.size.lives
    with LmdbStore.open(bench.new_directory() / "store") as store, Raw(bench.new_directory()) as raw:
        driver = await PersistentRuntimeDriver.open(RUNTIME, store)
        does = bench.accept if work == "accept" else bench.live
        beside, ours = (
            Taken(work, "raw LMDB", "", puts),
            Taken(work, OURS, __version__, times),
        )
        theirs = [Taken(work, process.name, process.version, times) for process in processes]
        before = last_transaction(store)
        for number in bench.rounds():
            bench.stock_up(times)
            taken = [await _timed(lambda: raw.put(puts)), await _timed(lambda: does(driver, times))]
            taken += [await process.do(times) for process in processes]
            if number:
                for who, seconds in zip((beside, ours, *theirs), taken, strict=True):
                    who.seconds.append(seconds)
        rounds = rounds_of(ours.seconds)
        raw.check(NAME)
        stats = store.stats()
        need(NAME, stats.active_inputs + stats.ended_inputs, rounds * times, "inputs")
        syncs = (last_transaction(store) - before) / (rounds * times)
    synced = f"{EQUAL}: each commit synced"
    lines = [_line(each, beside, ours, count, synced) for each, count in ((beside, 1.0), (ours, syncs))]
    for process, each in zip(processes, theirs, strict=True):
        durability = await _checked(process, work, rounds * times)
        count = await _syncs(bench, Interpreter(process.name, pythons[process.name]), work)
        lines.append(_line(each, beside, ours, count, durability))
    return lines


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    started = perf_counter()
    await work()
    return perf_counter() - started


async def _checked(process: PeerProcess, work: str, times: int) -> str:
    """How durable a library was, once it is sure that it did the work."""
    told = await process.check()
    for what in ("accepted",) if work == "accept" else ("accepted", "ended"):
        need(NAME, told[what], times, f"works of {process.name} {what}")
    journal, synchronous = told["journal"], told["synchronous"]
    if journal == "wal" and synchronous >= FULL:
        return f"{EQUAL}: WAL, synchronous=FULL"
    return f"weaker: journal {journal}, synchronous={synchronous}"


async def _syncs(bench: Bench, by: Interpreter, work: str) -> float | None:
    """Syncs of one work, by the kernel: those of some works less those of none. None where nobody may look."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    counts = []
    for times in (0, COUNTED):
        directory = bench.new_directory()
        trace = directory / "trace"
        traced = Interpreter(by.name, by.python, (strace, "-f", "-qq", "-e", _SYNCS, "-o", str(trace)))
        try:
            async with PeerProcess(traced, work, directory) as process:
                await process.do(times)
        except PeerFailed as error:
            note(f"{by.name}: its syncs are not counted, for {error.problem}")
            return None
        counts.append(sum("sync" in line and "resumed" not in line for line in trace.read_text().splitlines()))
    return (counts[1] - counts[0]) / COUNTED


def _line(who: Taken, beside: Taken, ours: Taken, syncs: float | None, durability: str) -> PeerLine:
    def against(other: Taken) -> tuple[float, float, float]:
        pairs = zip(who.seconds, other.seconds, strict=True)
        return spread([(own / who.times) / (their / other.times) for own, their in pairs])

    ratio, low, high = against(beside)
    us = per_call(who.seconds, who.times)
    return PeerLine(who.work, who.who, who.version, us, ratio, low, high, against(ours)[0], syncs, durability)
