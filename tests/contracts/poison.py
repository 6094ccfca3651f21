"""A service in a process of its own that dies of one of its inputs: ``python -m tests.contracts.poison HOW PATH``."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.service_settings import ServiceSettings
from holdstate.runtime.store import InputFilter
from holdstate.stores.lmdb_store import LmdbStore

from ..planted_bugs import plant_what_is_asked
from .kit import RUNTIME, SETTINGS

POISON: Final = "poison"
DEATHS: Final[dict[str, Callable[[], None]]] = {
    "abort": os.abort,
    "segmentation fault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
}


class Fragile:
    """Dies of the poison; all else is done at once."""

    def __init__(self, how: str) -> None:
        self._die = DEATHS[how]

    async def apply(self, run: ActiveRun) -> None:
        if any(getattr(given, "text", "") == POISON for given in run.inputs):
            print("poisoned", flush=True)
            self._die()


async def serve(how: str, path: Path) -> None:
    """Work off what is there, and end."""
    with LmdbStore.open(path) as store:
        async with RuntimeService(store, Fragile(how), settings=ServiceSettings(runtime=SETTINGS)):
            while any(not each.is_terminal for each in store.list_inputs(InputFilter(RUNTIME)).records):  # noqa: ASYNC110
                await asyncio.sleep(0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    plant_what_is_asked()
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2])))
