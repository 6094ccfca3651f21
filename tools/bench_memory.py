"""The row of the bench about memory: what an active input takes, and what an ended one leaves behind.

Each round is a process of its own (``python -m holdstate.tools.bench_memory PATH HELD BATCH``), which tells what the
kernel says of it, so that the memory is that of one driver over one store. Pages of the mapped file are not in it.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, final

import msgspec
from attrs import frozen

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import RuntimeSettings
from ..stores.lmdb_store import LmdbStore
from .bench_setting import LEAST_ROUNDS, RUNTIME, SIZES, Bench, Line, NothingMeasured, RowLeftOut, need, spread
from .bench_visit import STATUS_FILE

NAME: Final = "memory"
GROUP: Final = 64
SETTLING: Final = 10
"""Batches until what is kept at most of anything is full: events, known rows, free lists."""
WATCHED: Final = 9
_PROGRAM: Final = "holdstate.tools.bench_memory"
_KIB: Final = 1024
_FIELD: Final = "RssAnon"


@final
@frozen
class Held:
    """Bytes by which a process grew for each input that it held, and for each that ended, batch by batch."""

    active: float
    ended: list[float]


def anonymous_bytes(status: Path = STATUS_FILE) -> int | None:
    """The memory of this process that is no file's (``RssAnon``, proc(5)); None where the system does not tell."""
    if not status.exists():
        return None
    for line in status.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == _FIELD:
            return int(value.split()[0]) * _KIB
    return None


async def memory(bench: Bench) -> list[Line]:
    """Bytes for each active input, its payload not taken off, and for each ended one."""
    if anonymous_bytes() is None:
        raise RowLeftOut(NAME, f"this system does not tell what a process takes ({STATUS_FILE}, {_FIELD})")
    held, batch = bench.size.held, bench.size.batch
    found = []
    for _ in range(LEAST_ROUNDS):
        path = bench.new_directory() / "store"
        found.append(await _process(path, held, batch))
        with LmdbStore.open(path) as store:
            need(NAME, store.stats().active_inputs, 2 * held, "active inputs")
            need(NAME, store.stats().ended_inputs, (SETTLING + WATCHED) * batch, "ended inputs")
    active, low, high = spread([each.active for each in found])
    # Of the kernel's pages: what is less than a byte for each is their grain.
    left, least, most = spread([float(round(median(each.ended))) for each in found])
    return [
        Line(
            NAME,
            f"memory by {held} more active inputs",
            "bytes each",
            active,
            None,
            "bytes",
            active,
            low,
            high,
            1.5 * _KIB,
        ),
        Line(NAME, f"memory by {batch} more ended inputs", "bytes each", left, None, "bytes", left, least, most, 0.0),
    ]


async def _process(path: Path, held: int, batch: int) -> Held:
    command = (sys.executable, "-m", _PROGRAM, str(path), str(held), str(batch))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    if process.returncode != 0:
        raise NothingMeasured(NAME, f"the process that holds inputs ended with {process.returncode}; see stderr")
    return msgspec.json.decode(told, type=Held)


async def hold(path: Path, held: int, batch: int) -> Held:
    """End inputs batch by batch; then hold ``held`` active ones, which use up what memory is free, and as many more."""
    bench = Bench(path.parent, SIZES["small"])
    with LmdbStore.open(path) as store:
        driver = await PersistentRuntimeDriver.open(RUNTIME, store, settings=RuntimeSettings(max_batch=GROUP))
        marks = [_now()]
        for _ in range(SETTLING + WATCHED):
            for start in range(0, batch, GROUP):
                await bench.accept_all(driver, min(GROUP, batch - start))
                await driver.complete_run(await driver.begin_run())
            marks.append(_now())
        ended = [(after - before) / batch for before, after in pairwise(marks[SETTLING:])]
        for _ in range(2):
            for start in range(0, held, GROUP):
                await bench.accept_all(driver, min(GROUP, held - start))
            marks.append(_now())
        return Held((marks[-1] - marks[-2]) / held, ended)


def _now() -> int:
    gc.collect()
    found = anonymous_bytes()
    assert found is not None, "whoever started this looked"
    return found


def main(arguments: list[str]) -> None:
    """``PATH HELD BATCH``: where the store is made, how many inputs are held, and how many end in a batch."""
    path, held, batch = arguments
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(hold(Path(path), int(held), int(batch)))))


if __name__ == "__main__":
    main(sys.argv[1:])
