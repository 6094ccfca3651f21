"""A process of the conformance suite: it opens a store by its factory, works, says what was acknowledged, is killed.

    python -m holdstate.tools.harness.conformance_worker FACTORY LOCATION work|resume|hold

It writes one line for each fact: ``opened``, ``accepted ID``, ``completed RUN``, ``fenced``, ``done``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Final, cast
from uuid import UUID

from ...runtime.driver import PersistentRuntimeDriver
from ...runtime.errors import Fenced
from ...runtime.ids import InputId, new_uuid7
from ...runtime.inputs import ExternalEventInput
from ...runtime.outcomes import Accepted
from ...runtime.store import RuntimeStore
from .references import resolve
from .workload import RUNTIME, SETTINGS, Scribe

OPENED: Final = "opened"
ACCEPTED: Final = "accepted"
COMPLETED: Final = "completed"
FENCED: Final = "fenced"
DONE: Final = "done"


def say(word: str, fact: UUID | None = None) -> None:
    """One line, written whole."""
    os.write(1, f"{word} {fact}\n".encode() if fact is not None else f"{word}\n".encode())


async def _accept(driver: PersistentRuntimeDriver) -> None:
    given = ExternalEventInput.new("happened", {}, id=InputId(new_uuid7()))
    if isinstance(await driver.accept_input(given), Accepted):
        say(ACCEPTED, given.header.id)


async def _run_one(driver: PersistentRuntimeDriver, scribe: Scribe) -> bool:
    run = await driver.begin_run()
    if run is None:
        return False
    await driver.complete_run(run, await scribe.output(driver, run))
    say(COMPLETED, run.run_id)
    return True


async def _work(driver: PersistentRuntimeDriver) -> None:
    """For ever: inputs come, some at once, and are worked off."""
    scribe = Scribe()
    while True:
        await asyncio.gather(*(_accept(driver) for _ in range(3)))
        await _run_one(driver, scribe)
        await _accept(driver)
        await _run_one(driver, scribe)


async def _resume(driver: PersistentRuntimeDriver) -> None:
    """Until nothing is left."""
    scribe = Scribe()
    while await _run_one(driver, scribe):
        continue


async def _hold(driver: PersistentRuntimeDriver) -> None:
    """Until the parent says a word; then go on."""
    await asyncio.to_thread(sys.stdin.readline)
    await _accept(driver)


async def _main(factory: str, location: str, what: str) -> None:
    store = cast("Callable[[str], RuntimeStore]", resolve(factory))(location)
    try:
        driver = await PersistentRuntimeDriver.open(RUNTIME, store, settings=SETTINGS)
        say(OPENED)
        await {"work": _work, "resume": _resume, "hold": _hold}[what](driver)
        say(DONE)
    except Fenced:
        say(FENCED)
    finally:
        store.close()


if __name__ == "__main__":
    sys.path[:0] = os.environ.get("HOLDSTATE_SUITE_PATH", "").split(os.pathsep)
    asyncio.run(_main(*sys.argv[1:4]))
