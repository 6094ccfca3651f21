"""One visit to a store with known runtimes: open a service over it, use one runtime, wait for the work that was left in
another, and tell the times and the memory on stdout. A process of its own, started by ``bench_service``.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import Final, final

import msgspec
from attrs import field, frozen

from ..runtime.executor import ActiveRun
from ..runtime.handles import Completed
from ..runtime.inputs import PromptInput
from ..runtime.service import RuntimeService
from ..stores.lmdb_store import LmdbStore

PATIENCE_SECONDS: Final = 120.0
STATUS_FILE: Final = Path("/proc/self/status")
_KIB: Final = 1024


@final
@frozen
class Visit:
    """Seconds from before the store was opened until the run of the used runtime was done, and until the executor had
    the work that was left behind; and the bytes by which the process had grown at its largest.
    """

    first_run: float
    last_found: float
    grown_bytes: int


@final
@frozen
class Noting:
    """An executor that is done at once and says so for one runtime."""

    runtime_id: str
    seen: asyncio.Event = field(factory=asyncio.Event)

    async def apply(self, run: ActiveRun) -> None:
        """Nothing to do, and no result."""
        if run.runtime_id == self.runtime_id:
            self.seen.set()


def peak_bytes(status: Path = STATUS_FILE) -> int:
    """The most memory that this process has had resident.

    Linux tells it for the program alone (``VmHWM``, proc(5)); getrusage(2) includes what its parent had before exec.
    """
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(fields["VmHWM"].split()[0]) * _KIB
    unit = 1 if sys.platform == "darwin" else _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


async def visit(path: Path, used: str, left: str) -> Visit:
    """Raises TimeoutError where the work is not done within two minutes."""
    before = peak_bytes()
    started = perf_counter()
    executor = Noting(left)
    with LmdbStore.open(path) as store:
        async with asyncio.timeout(PATIENCE_SECONDS), RuntimeService(store, executor) as service:
            handle = await service.submit(used, PromptInput.new("visit"))
            outcome = await handle.outcome()
            first_run = perf_counter() - started
            assert isinstance(outcome, Completed), outcome
            await executor.seen.wait()
            last_found = perf_counter() - started
    return Visit(first_run, last_found, peak_bytes() - before)


def main(arguments: list[str]) -> None:
    """``PATH USED LEFT``: the store, the runtime to use, and the one in which work was left."""
    path, used, left = arguments
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(visit(Path(path), used, left))))


if __name__ == "__main__":
    main(sys.argv[1:])
