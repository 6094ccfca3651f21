"""Child processes that tests kill: each recovers, reports what it found, then works and acknowledges until it dies.

A message before a call tells what is about to be done, a message after it that it is done.
"""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.inputs import Input
from holdstate.runtime.outcomes import Run, RunOutput
from holdstate.runtime.store import ResultRef, RuntimeStore
from holdstate.stores.lmdb_store import LmdbStore

from .kit import (
    MAX_ATTEMPTS,
    RUNTIME,
    SETTINGS,
    SUPERSEDING,
    accept,
    begun,
    event,
    input_id,
    inputs_of,
    opened,
    prompt,
    steer,
    world,
)

LIFE = 10_000
"""How often a life may call its workload; the numbers of a life start at a multiple of it."""

Send = Callable[..., None]
Workload = Callable[[PersistentRuntimeDriver, Send, int], Awaitable[None]]


@frozen
class Row:
    """One stored input as a child found it, with what only the store knows of it."""

    id: str
    order: int
    lane: str
    state: str
    reason: str | None
    successor: str | None
    last_run: str | None
    attempts: int
    failures: int
    result: bytes | None
    has_body: bool


@frozen
class Found:
    """What a fresh process finds after it recovered."""

    problems: tuple[str, ...]
    rows: tuple[Row, ...]
    queue: tuple[str, ...]
    snapshot: bytes | None
    receipts: int
    epoch: int
    run_is_open: bool


async def _found(driver: PersistentRuntimeDriver, store: RuntimeStore) -> Found:
    rows = []
    receipts = 0
    for record in inputs_of(store):
        ref = ResultRef.of(record)
        if record.last_run_id is not None:
            receipts += store.load_receipt(RUNTIME, record.last_run_id, 0) is not None
        rows.append(
            Row(
                str(record.input_id),
                record.order,
                record.admission.lane,
                record.state,
                record.abandon_reason,
                None if record.successor_id is None else str(record.successor_id),
                None if record.last_run_id is None else str(record.last_run_id),
                record.attempt_count,
                record.failure_count,
                None if ref is None else store.load_result(RUNTIME, ref),
                await driver.persisted_input(record.input_id) is not None,
            )
        )
    image = driver._actor.image
    return Found(
        tuple(f"{each.where}: {each.problem}" for each in store.verify()),
        tuple(rows),
        tuple(str(record.input_id) for record in image.queued()),
        store.load_session_snapshot(RUNTIME),
        receipts,
        image.runtime.epoch,
        image.runtime.current_run_id is not None,
    )


# -- workloads: each is called again and again with a rising number ---------------------------------------------------


async def _admit(driver: PersistentRuntimeDriver, send: Send, number: int) -> None:
    """C1: three inputs, one of them steering, some of them together."""
    made: list[Input] = [
        event(3 * number),
        steer(3 * number + 1),
        prompt(3 * number + 2, idempotency_key=f"key {number}"),
    ]
    ids = [str(each.header.id) for each in made]
    send("calling", ids[0])
    await accept(driver, made[0])
    send("accepted", ids[0])
    send("calling", *ids[1:])
    await asyncio.gather(*(driver.accept_input(each) for each in made[1:]))
    send("accepted", *ids[1:])


async def _replace(driver: PersistentRuntimeDriver, send: Send, number: int) -> None:
    """C2: each prompt supersedes the one before."""
    send("calling", str(input_id(number)))
    await accept(driver, prompt(number, supersession_key="s"))
    send("accepted", str(input_id(number)))


async def _crash(driver: PersistentRuntimeDriver, send: Send, number: int) -> None:
    """C14: begin a run again and again; some are called off, which costs nothing. Every other life dies in a run."""
    if not driver._actor.image.inputs:
        await accept(driver, *(event(100 * number + n) for n in range(3)))
    for lap in range(4):
        send("beginning")
        run = await begun(driver)
        send("begun", str(run.run_id), *(str(each) for each in run.input_ids))
        if lap == 2 and (number // LIFE) % 2:
            send("holding")
            await asyncio.Event().wait()
        if lap == 3:
            await driver.complete_run(run)
        else:
            send("cancelling")
            await driver.cancel_run(run)
            send("cancelled")


async def _finish(driver: PersistentRuntimeDriver, send: Send, number: int) -> None:
    """C19: accept, run, and complete with a snapshot and a result."""
    await accept(driver, prompt(number))
    while (run := await driver.begin_run()) is not None:
        await _complete(driver, send, run)


async def _complete(driver: PersistentRuntimeDriver, send: Send, run: Run) -> None:
    name = str(run.input_ids[0])
    send("calling", name)
    await driver.complete_run(run, RunOutput(name.encode(), name.encode()))
    send("completed", name)


async def _stage(driver: PersistentRuntimeDriver, send: Send, number: int) -> None:
    """C22: what an executor is entered with; it ends at once."""
    await accept(driver, prompt(number))
    while True:
        send("beginning")
        run = await driver.begin_run()
        if run is None:
            return
        send("entered", str(run.run_id), str(run.input_ids[0]))
        await driver.complete_run(run)
        send("left", str(run.run_id))


WORKLOADS: dict[str, Workload] = {
    "C1": _admit,
    "C2": _replace,
    "C14": _crash,
    "C19": _finish,
    "C22": _stage,
}


def work(path: Path, name: str, life: int, connection: Connection) -> None:
    """One life: open, report, work until killed. ``life`` rises, so that no id is used by two lives."""

    def send(word: str, *facts: Any) -> None:
        connection.send((word, *facts))

    async def live() -> None:
        rules = evolve(SUPERSEDING if name == "C2" else SETTINGS, debug=False)
        with LmdbStore.open(path) as store:
            driver = await opened(store, settings=rules, environment=world(life))
            send("found", await _found(driver, store))
            for number in range(LIFE):
                await WORKLOADS[name](driver, send, LIFE * life + number)

    asyncio.run(live())


MANY = 50


def fill(path: Path, connection: Connection) -> None:
    """One life on a disk without room: the size of files is limited to what the store has, then the limit is lifted."""

    async def live() -> tuple[object, ...]:
        with LmdbStore.open(path) as store:
            driver = await opened(store)
            await accept(driver, prompt(1))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (store.stats().size_bytes, hard))
            accepted, failure = 1, None
            while failure is None and accepted < MANY:
                try:
                    # Some still fit, for the file reaches beyond what is used.
                    await accept(driver, prompt(accepted + 1, "x" * 500_000))
                    accepted += 1
                except Exception as error:  # noqa: BLE001 - the parent judges it
                    failure = error
            queued = len(await driver.active_input_ids()) - accepted
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            await accept(driver, prompt(accepted + 1, "x" * 500_000))
            problems = [str(each) for each in store.verify()]
            applied = getattr(failure, "applied", "none")
            return type(failure).__mro__[-4].__name__, type(failure).__name__, applied, queued, problems

    connection.send(asyncio.run(live()))


assert MAX_ATTEMPTS > 1, "a crash must not end an input at once"
