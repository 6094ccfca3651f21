"""What every row of the bench stands on: sizes, the raw yardstick, interleaved rounds, and what a row says."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sized
from contextlib import nullcontext
from cProfile import Profile
from enum import StrEnum
from itertools import count
from pathlib import Path
from statistics import median
from struct import Struct
from time import perf_counter
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, final

import lmdb
from attrs import Factory, define, evolve, field, frozen

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.inputs import ExternalEventInput, Input, PromptInput
from ..runtime.outcomes import Accepted, RunOutput
from ..spec.errors import HoldstateError
from ..stores.lmdb_store import LmdbStore
from ..stores.memory_store import MemoryStore

RAW_VALUE: Final = bytes(range(250)) + bytes(50)
"""300 bytes: the value of the raw put."""

RUNTIME: Final = "bench"
TEXT: Final = "x" * 200
CALLERS: Final = 64
MICROSECONDS: Final = 1e6
DATA_FILE: Final = "data.mdb"
DEFAULT_TMPFS: Final = Path("/dev/shm")  # noqa: S108 - the one that Linux has
LEAST_ROUNDS: Final = 3
"""However long one round takes, where a time is given."""

GIB: Final = 1024**3
_META_TXNID: Final = 144
"""Where the number of the last transaction is in each of the two meta pages (LMDB 0.9, ``struct MDB_meta``)."""
_META_PAGE_SIZE: Final = 40
"""Where the page size is there: in the first four bytes of the record of the free list."""
_LARGEST_PAGE: Final = 32768
_NUMBER: Final = Struct("=Q")
_PAD: Final = Struct("=I")


@final
class NothingMeasured(HoldstateError):
    """A row of the bench did not do the work that it timed."""

    def __init__(self, row: str, problem: str) -> None:
        self.row = row
        self.problem = problem
        super().__init__(f"bench row {row}: {problem}; its numbers would mean nothing")


@final
class RowLeftOut(HoldstateError):
    """A row of the bench cannot be measured here."""

    def __init__(self, row: str, why: str) -> None:
        self.row = row
        self.why = why
        super().__init__(f"bench row {row} is left out: {why}")


@final
class StoreKind(StrEnum):
    """Which store the rows work on. What is beside ours stays LMDB."""

    LMDB = "lmdb"
    MEMORY = "memory"


@final
@frozen
class Size:
    """How much a row does in a round: ``calls`` by one caller, ``turns`` by each of 64, ``lives`` from accept to
    consumed, ``steps`` of the core; and before: ``earlier`` inputs that ended, ``active`` inputs that are opened,
    ``waiting`` ones beside those that ended, ``known`` runtimes that lie still, ``held`` inputs in the memory of a
    process, and ``batch`` ones that end there at once.
    """

    calls: int
    turns: int
    lives: int
    earlier: int
    active: int
    waiting: int
    known: int
    held: int
    batch: int
    steps: int
    rounds: int


_FULL: Final = Size(
    calls=150,
    turns=10,
    lives=60,
    earlier=100_000,
    active=10_000,
    waiting=100,
    known=100_000,
    held=10_000,
    batch=1_024,
    steps=5_000,
    rounds=7,
)
SIZES: Final = MappingProxyType(
    {
        "small": Size(
            calls=20,
            turns=2,
            lives=10,
            earlier=1_000,
            active=500,
            waiting=20,
            known=1_000,
            held=1_000,
            batch=128,
            steps=200,
            rounds=3,
        ),
        "full": _FULL,
        "large": evolve(_FULL, earlier=1_000_000, active=100_000, held=50_000),
    }
)


@final
@frozen
class Line:
    """One line of the result. ``reads`` says what ``ratio`` counts; ``low`` and ``high`` are its least and greatest of
    all rounds. ``aim`` has to be met, ``goal`` comes next; at most, or at least where ``more_is_better``.

    ``is_exact`` where every run on every machine has to say the same; ``is_timed`` where ``ratio`` is itself a time or
    a rate, which no other run may be held against.
    """

    name: str
    what: str
    reads: str
    ours: float = 0.0
    raw: float | None = None
    unit: str = "µs"
    ratio: float = 0.0
    low: float = 0.0
    high: float = 0.0
    aim: float | None = None
    goal: float | None = None
    more_is_better: bool = False
    is_exact: bool = False
    is_timed: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other line of a run, the same in each run of a size."""
        return self.name, self.what, self.reads

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without one."""
        if self.aim is None:
            return None
        return self.ratio >= self.aim if self.more_is_better else self.ratio <= self.aim


@final
@define
class Bench:
    """Where a row makes its stores, how much it does, and what looks on, which makes it slower.

    With ``seconds`` the rounds of a row are repeated until that time is used, three at least.
    """

    directory: Path
    size: Size
    profile: Profile | None = None
    store: StoreKind = StoreKind.LMDB
    seconds: float | None = None
    tmpfs: Path = DEFAULT_TMPFS
    past: Path | None = None
    """Where the store with its ``earlier`` inputs is, once a row has made it."""
    _numbers: Any = Factory(count)
    _keys: Any = field(factory=count)
    _stock: deque[Input] = field(factory=deque)

    def new_directory(self) -> Path:
        """A directory that nothing else uses."""
        path = self.directory / f"bench{next(self._numbers)}"
        path.mkdir()
        return path

    def new_store(self) -> LmdbStore | MemoryStore:
        """An empty one, open."""
        return MemoryStore() if self.store is StoreKind.MEMORY else LmdbStore.open(self.new_directory() / "store")

    @property
    def least_rounds(self) -> int:
        """Those that are counted however long they take."""
        return self.size.rounds if self.seconds is None else LEAST_ROUNDS

    def rounds(self) -> Iterator[int]:
        """The numbers of the rounds; the first one is 0, and is not counted."""
        yield 0
        started = perf_counter()
        for number in count(1):
            if number > self.least_rounds and perf_counter() - started >= (self.seconds or 0.0):
                return
            yield number

    def stock_up(self, calls: int) -> None:
        """Make the prompts of a round before the clock runs: the caller has its input, as the raw put has its value."""
        self._stock.clear()
        self._stock.extend([self._made() for _ in range(calls)])

    def new_prompt(self) -> Input:
        """A prompt of 200 characters with an idempotency key, from the stock while there is any."""
        return self._stock.popleft() if self._stock else self._made()

    def _made(self) -> Input:
        return PromptInput.new(TEXT, idempotency_key=f"bench {next(self._keys)}")

    def new_event(self) -> Input:
        """An event of 200 characters with an idempotency key; many go into one run."""
        return ExternalEventInput.new("bench", TEXT, idempotency_key=f"bench {next(self._keys)}")

    async def accept(self, driver: PersistentRuntimeDriver, calls: int) -> None:
        """``calls`` accepts, one after the other."""
        for _ in range(calls):
            await driver.accept_input(self.new_prompt())

    async def live(self, driver: PersistentRuntimeDriver, lives: int) -> None:
        """``lives`` prompts from accept to consumed with a result, one after the other: three commits each."""
        for _ in range(lives):
            await driver.accept_input(self.new_prompt())
            run = await driver.begin_run()
            await driver.complete_run(run, RunOutput(result=b"result"))

    async def accept_together(self, drivers: Iterable[PersistentRuntimeDriver], turns: int) -> None:
        """One caller per entry of ``drivers``, each with ``turns`` accepts, all at once."""
        await asyncio.gather(*(self.accept(driver, turns) for driver in drivers))

    async def accept_all(self, driver: PersistentRuntimeDriver, inputs: int) -> None:
        """``inputs`` events admitted together."""
        outcomes = await asyncio.gather(*(driver.accept_input(self.new_event()) for _ in range(inputs)))
        assert all(type(outcome) is Accepted for outcome in outcomes)


@final
class Raw:
    """The yardstick: py-lmdb with the flags of the store, one put of 300 bytes, one commit."""

    def __init__(self, directory: Path) -> None:
        self._env = lmdb.open(str(directory), map_size=GIB, lib_version=0)
        self._puts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._env.close()

    async def put(self, times: int) -> None:
        """``times`` commits of one put each."""
        for _ in range(times):
            self._puts += 1
            with self._env.begin(write=True) as txn:
                txn.put(self._puts.to_bytes(8, "big"), RAW_VALUE)

    def check(self, row: str) -> None:
        """NothingMeasured unless every put is there."""
        need(row, self._env.stat()["entries"], self._puts, "raw puts")


def need(row: str, found: int, wanted: int, what: str) -> None:
    """NothingMeasured unless ``found`` is ``wanted``."""
    if found != wanted:
        raise NothingMeasured(row, f"{found} {what}, not {wanted}")


async def interleaved(
    bench: Bench,
    *works: Callable[[], Awaitable[None]],
    stock: int = 0,
    before: Callable[[], None] | None = None,
) -> list[list[float]]:
    """Seconds of each of ``works`` in each round, one after the other in every round. A first round is not counted.

    There are ``stock`` prompts at the start of each, and ``before`` was called. The last of ``works`` is ours: that one
    is what ``bench.profile`` sees.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for number in bench.rounds():
        bench.stock_up(stock)
        if before is not None:
            before()
        for work, taken in zip(works, seconds, strict=True):
            look = bench.profile if work is works[-1] else None
            started = perf_counter()
            with look or nullcontext():
                await work()
            if number:
                taken.append(perf_counter() - started)
    return seconds


def rounds_of(taken: Sized) -> int:
    """How many rounds were run for what was ``taken`` in them, with the first one, which is not counted."""
    return len(taken) + 1


def spread(ratios: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    return median(ratios), min(ratios), max(ratios)


def per_call(seconds: list[float], calls: int) -> float:
    """The median in microseconds of one of ``calls``."""
    return median(seconds) / calls * MICROSECONDS


def slower(line: Line, ours: list[float], theirs: list[float], calls: int, puts: int) -> Line:
    """``line`` with what was measured: ``calls`` of ours in a round against ``puts`` raw ones."""
    pairs = zip(ours, theirs, strict=True)
    ratio, low, high = spread([(own / calls) / (other / puts) for own, other in pairs])
    ours_us, raw_us = per_call(ours, calls), per_call(theirs, puts)
    return evolve(line, ours=ours_us, raw=raw_us, ratio=ratio, low=low, high=high)


def last_transaction(store: LmdbStore) -> int:
    """The number of the last commit, read off the two meta pages of the file; the store is not asked."""
    with (store.path / DATA_FILE).open("rb") as data:
        pages = data.read(_LARGEST_PAGE * 2)
    (page_size,) = _PAD.unpack_from(pages, _META_PAGE_SIZE)
    numbers: list[int] = [_NUMBER.unpack_from(pages, start + _META_TXNID)[0] for start in (0, page_size)]
    return max(numbers)
