"""The row of the bench with the store in memory files, where a sync costs nothing: what the software alone takes."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve

from ..runtime.driver import PersistentRuntimeDriver
from ..stores import lmdb_files as files
from ..stores.lmdb_store import LmdbStore
from .bench_setting import (
    MICROSECONDS,
    RUNTIME,
    Bench,
    Line,
    Raw,
    RowLeftOut,
    interleaved,
    need,
    rounds_of,
    slower,
    spread,
)

NAME: Final = "software"
_KINDS: Final = frozenset({"tmpfs", "ramfs"})


def no_tmpfs(place: Path) -> str:
    """Why ``place`` is no file system in memory that can be written to; empty where it is one."""
    if not place.is_dir():
        return f"{place} is no directory"
    kind = files._file_system(place.resolve(), files._MOUNTS)  # noqa: SLF001 - who asks before a store is opened
    if kind is None:
        return f"this system does not tell whether {place} is a tmpfs"
    return "" if kind in _KINDS else f"{place} is on {kind}, not on a tmpfs"


async def software(bench: Bench) -> list[Line]:
    """An accept and a life on a tmpfs: in microseconds, and against raw puts there."""
    why = no_tmpfs(bench.tmpfs)
    if why:
        raise RowLeftOut(NAME, f"{why}; name one with --tmpfs DIR")
    calls, lives = bench.size.calls, bench.size.lives
    with (
        tempfile.TemporaryDirectory(prefix="holdstate-bench-", dir=bench.tmpfs) as name,
        LmdbStore.open(Path(name) / "accepts") as accepts,
        LmdbStore.open(Path(name) / "lives") as lived,
        _raw(Path(name) / "raw") as raw,
    ):
        one, other = [await PersistentRuntimeDriver.open(RUNTIME, store) for store in (accepts, lived)]
        put = partial(raw.put, calls)
        beside_accepts, accept = await interleaved(bench, put, partial(bench.accept, one, calls), stock=calls)
        beside_lives, life = await interleaved(bench, put, partial(bench.live, other, lives), stock=lives)
        raw.check(NAME)
        need(NAME, accepts.stats().active_inputs, rounds_of(accept) * calls, "inputs")
        need(NAME, lived.stats().ended_inputs, rounds_of(life) * lives, "consumed inputs")
    lines = [
        slower(Line(NAME, "accept, store on a tmpfs", "times raw", aim=50.0), accept, beside_accepts, calls, calls),
        slower(
            Line(NAME, "accept to consumed, store on a tmpfs", "times raw", aim=160.0), life, beside_lives, lives, calls
        ),
    ]
    taken = [(accept, calls), (life, lives)]
    return [each for line, (ours, times) in zip(lines, taken, strict=True) for each in _both(line, ours, times)]


def _raw(directory: Path) -> Raw:
    directory.mkdir()
    return Raw(directory)


def _both(line: Line, ours: list[float], times: int) -> list[Line]:
    """``line`` in microseconds, which its aim is of, and as a ratio."""
    each, low, high = spread([own / times * MICROSECONDS for own in ours])
    return [evolve(line, reads="µs", ratio=each, low=low, high=high, is_timed=True), evolve(line, aim=None)]
