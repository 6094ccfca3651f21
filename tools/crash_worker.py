"""The program that the crash campaigns record, kill and disturb: a drawn list of steps on one LMDB store.

It is a process of its own. The same arguments give the same calls with the same ids and times. Each line on stdout is
one JSON value, written whole: ``{"step": n, "op": …}`` before a step, ``{"call": …}`` and ``{"ack": …}`` around each
call of the driver, ``{"done": n}`` when all that the step did was acknowledged, ``{"failed": n, …}`` when it raised.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Final, final
from uuid import UUID

import msgspec
from attrs import evolve

from ..runtime import commit_thread
from ..runtime.blocks import ImageBlock
from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import Environment
from ..runtime.errors import StoreError
from ..runtime.ids import InputId, RunId
from ..runtime.inputs import Input, PromptInput
from ..runtime.outcomes import BoundaryApplied, RunCompleted, RunOutput
from ..runtime.records import RunBoundaryReceipt
from ..runtime.settings import Retention
from ..stores.lmdb_store import LmdbStore
from .campaign_model import Operation
from .campaign_worker import ACK_EARLY, SETTINGS, answer_of_accept, answer_of_begin, answer_of_cancel, new_input

RUNTIMES: Final = ("one", "two")
ANY: Final = "any"
LAST: Final = "prune_inputs"
"""Removes all ended inputs, of which the model of the campaign knows nothing: so it comes last."""
STORE_FAILED: Final = 4
"""Exit code: the store cannot be used any more."""
CRASH_SETTINGS: Final = evolve(SETTINGS, event_log=True)
_MIX: Final = {
    "accept": 34,
    "begin": 20,
    "end": 24,
    "cancel": 3,
    "retire": 2,
    "reset": 1,
    "reopen": 5,
    "blob": 5,
    "sweep": 3,
    "prune": 3,
}
_KINDS: Final = ("prompt", "prompt", "event", "steer", "progress", "operation")
_SIZES: Final = (0, 0, 300, 1500, 9000, 20000)
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@final
class Source:
    """Time, ids and chance of one process, the same for the same seed."""

    def __init__(self, seed: str, start: datetime = _EPOCH) -> None:
        self.chance = Random(seed)
        self._start = start
        self._ticks = 0

    def now(self) -> datetime:
        """A millisecond later each time."""
        self._ticks += 1
        return self._start + timedelta(milliseconds=self._ticks)

    def new_id(self) -> UUID:
        """A UUID of version 7, in rising order."""
        self._ticks += 1
        stamp = (int(self._start.timestamp() * 1000) + self._ticks) << 80
        return UUID(int=stamp | 7 << 76 | 2 << 62 | self.chance.getrandbits(62))

    def dated(self, given: Input) -> Input:
        """``given`` with a time of this source."""
        return evolve(given, header=evolve(given.header, timestamp=self.now()))

    def environment(self) -> Environment:
        """This source, for a driver."""
        return Environment(now=self.now, new_id=self.new_id, chance=self.chance.random)


def say(line: dict[str, Any]) -> None:
    """One line on stdout, in one system call."""
    os.write(1, msgspec.json.encode(line) + b"\n")


class Script:
    """Steps on the store at ``path``, drawn from ``seed``. ``told`` is given each line."""

    def __init__(self, path: Path, seed: str, sabotage: str, told: Callable[[dict[str, Any]], None] = say) -> None:
        self._path = path
        self._say = told
        self._sizes: tuple[int, ...] = _SIZES
        self._source = Source(seed)
        self._chance = Random(f"{seed}/steps")
        self._sabotage = sabotage
        self._store = self._open_store()
        self._drivers: dict[str, PersistentRuntimeDriver] = {}
        self._runs: dict[str, tuple[InputId, ...]] = {}
        self._run_ids: dict[str, RunId] = {}
        self._applied: set[RunId] = set()
        self._sent: dict[str, list[Operation]] = {name: [] for name in RUNTIMES}
        self._blobs: list[str] = []
        self._calls = 0

    def _open_store(self) -> LmdbStore:
        return LmdbStore.open(self._path)

    async def run(self, wishes: list[str]) -> None:
        """A step for each wish, ``any`` one or the one that is named, where it can be done; before them the runtimes
        are opened.
        """
        await self._step(0, "open", "")
        for number, wish in enumerate(wishes, 1):
            name = self._chance.choice(RUNTIMES) if wish == ANY else RUNTIMES[0]
            wanted = self._chance.choices([*_MIX], [*_MIX.values()])[0] if wish == ANY else wish
            if name in self._runs and wanted in {"begin", "retire", "reset"}:
                wanted = "end"
            elif name not in self._runs and wanted == "end":
                wanted = "begin"
            await self._step(number, wanted, name)
        for driver in self._drivers.values():
            await driver.close()
        self._store.close()

    async def _step(self, number: int, op: str, name: str) -> None:
        self._say({"step": number, "op": op, "rt": name})
        if self._sabotage == ACK_EARLY:
            self._say({"done": number})
        doing: Callable[[str], Awaitable[None]] = getattr(self, f"_{op}")
        try:
            await doing(name)
        except StoreError as error:
            # What it did is unknown or nothing; a new opening reads it back.
            self._say({"failed": number, "applied": error.applied, "error": type(error).__name__})
            error.__traceback__ = None
            await self._reopen_until_done()
            return
        if self._sabotage != ACK_EARLY:
            self._say({"done": number})

    async def _reopen_until_done(self) -> None:
        """Open anew; a fault that lasts ends the program, as it would end a service."""
        gc.collect()
        await self._reopen("")
        self._say({"reopened": self._store.generation})

    async def _call(self, operation: Operation, awaited: Awaitable[Any], answer_of: Callable[[Any], object]) -> Any:
        number, self._calls = self._calls, self._calls + 1
        self._say({"call": {"n": number, **operation}})
        if self._sabotage == ACK_EARLY:
            self._say({"ack": number, "answer": None})
        outcome = await awaited
        if self._sabotage != ACK_EARLY:
            self._say({"ack": number, "answer": answer_of(outcome)})
        return outcome

    # -- steps ---------------------------------------------------------------------------------------------------

    async def _open(self, _: str) -> None:
        for name in RUNTIMES:
            opening = PersistentRuntimeDriver.open(
                name, self._store, settings=CRASH_SETTINGS, environment=self._source.environment()
            )
            self._drivers[name] = await self._call({"op": "open", "rt": name}, opening, lambda _: "opened")
        self._runs.clear()

    async def _reopen(self, _: str) -> None:
        """As after a kill: what runs is left as it is, and recovered by the next opening."""
        for driver in self._drivers.values():
            driver.release()
        self._store.close()
        self._store = self._open_store()
        await self._open("")

    async def _accept(self, name: str) -> None:
        """Up to four at once, which are one transaction or two."""
        given = [self._new_accept(name) for _ in range(self._chance.randint(1, 4))]
        accept = self._drivers[name].accept_input
        calls = [
            self._call(operation, accept(self._source.dated(self._input(operation))), answer_of_accept)
            for operation in given
        ]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def _new_accept(self, name: str) -> Operation:
        chance, sent = self._chance, self._sent[name]
        if sent and chance.random() < 0.1:  # noqa: PLR2004 - shares of the mix
            return chance.choice(sent)
        input_id = str(self._source.new_id())
        operation: Operation = {"op": "accept", "rt": name, "id": input_id, "kind": chance.choice(_KINDS)}
        if chance.random() < 0.6:  # noqa: PLR2004
            operation["key"] = f"key of {input_id}"
        if operation["kind"] == "progress":
            operation["scope"] = f"scope {chance.randrange(2)}"
        if operation["kind"] == "prompt":
            operation["padding"] = chance.choice(self._sizes)
            operation["blob"] = self._blobs[-1] if self._blobs and chance.random() < 0.3 else None  # noqa: PLR2004
        sent.append(operation)
        return operation

    def _input(self, operation: Operation) -> Input:
        if operation["kind"] != "prompt":
            return new_input(operation)
        text = f"{operation['id']} {'x' * operation['padding']}"
        blob = operation["blob"]
        blocks = () if blob is None else (ImageBlock(media_type="image/png", blob=blob),)
        return PromptInput.new(text, blocks, idempotency_key=operation.get("key"), id=InputId(UUID(operation["id"])))

    async def _begin(self, name: str) -> None:
        run_id = RunId(self._source.new_id())
        operation = {"op": "begin", "rt": name, "run": str(run_id)}
        run = await self._call(operation, self._drivers[name].begin_run(run_id), answer_of_begin)
        if run is not None:
            self._runs[name], self._run_ids[name] = run.input_ids, run_id

    async def _end(self, name: str) -> None:
        driver, run_id, draw = self._drivers[name], self._run_ids[name], self._chance.random()
        ending: Operation = {"rt": name, "run": str(run_id)}
        snapshot = f"snapshot of {run_id} {'s' * self._chance.choice(self._sizes)}"
        completion = {"op": "complete", "snapshot": snapshot, "result": f"result of {run_id}", **ending}
        if draw < 0.7 and run_id in self._applied:  # noqa: PLR2004 - shares of the mix
            event = RunCompleted(run_id, self._runs[name], completion["result"].encode())
            await self._call(completion, driver.on_run_event(event), _done)
        elif draw < 0.4:  # noqa: PLR2004
            output = RunOutput(session_snapshot=snapshot.encode(), result=completion["result"].encode())
            await self._call(completion, driver.complete_run(run_id, output), _done)
        elif draw < 0.7:  # noqa: PLR2004
            applied = BoundaryApplied(run_id, await self._receipt(name, snapshot.encode()), snapshot.encode())
            await self._call({"op": "boundary", "snapshot": snapshot, **ending}, driver.on_run_event(applied), _done)
            # The run goes on, and may be cut by a reopening before a later step ends it.
            self._applied.add(run_id)
            return
        elif draw < 0.9:  # noqa: PLR2004
            recoverable = self._chance.random() < 0.7  # noqa: PLR2004
            failing = driver.fail_run(run_id, "campaign", recoverable=recoverable)
            await self._call({"op": "fail", "recoverable": recoverable, **ending}, failing, _done)
        else:
            await self._call({"op": "call_off", **ending}, driver.cancel_run(run_id), _done)
        del self._runs[name]

    async def _receipt(self, name: str, snapshot: bytes) -> RunBoundaryReceipt:
        record = await self._drivers[name].input_record(self._runs[name][0])
        assert record is not None, "an input of a run has a record"
        return RunBoundaryReceipt(
            run_id=self._run_ids[name],
            boundary=record.admission.boundary,
            contributing_input_ids=self._runs[name],
            conversation_digest=sha256(snapshot).hexdigest(),
        )

    async def _cancel(self, name: str) -> None:
        if self._sent[name]:
            input_id = self._chance.choice(self._sent[name])["id"]
            canceling = self._drivers[name].cancel_input(InputId(UUID(input_id)))
            await self._call({"op": "cancel", "rt": name, "id": input_id}, canceling, answer_of_cancel)

    async def _retire(self, name: str) -> None:
        driver = self._drivers[name]
        await self._call({"op": "retire", "rt": name}, driver.retire(), _done)
        await self._call({"op": "recycle", "rt": name}, driver.recycle_preserving_work(), _done)

    async def _reset(self, name: str) -> None:
        await self._call({"op": "reset", "rt": name}, self._drivers[name].reset(), _done)

    async def _blob(self, _: str) -> None:
        content = self._chance.randbytes(self._chance.choice((100, 5000, 30000)))
        self._blobs.append(self._store.put_blob(content))
        self._say({"kept": self._blobs[-1]})

    async def _sweep(self, _: str) -> None:
        self._store.sweep_blobs()
        self._blobs.clear()

    async def _prune(self, _: str) -> None:
        self._store.prune(Retention(keep_events_seconds=0.01), now=self._source.now())

    async def _prune_inputs(self, _: str) -> None:
        self._store.prune(Retention(keep_ended_seconds=0.0, keep_events_seconds=0.0), now=self._source.now())


def _done(_: object) -> str:
    return "done"


def main(arguments: list[str]) -> None:
    """``PATH SEED STEPS SABOTAGE``. STEPS is how many to draw before the last one, or the names of all."""
    path, seed, steps, sabotage = arguments
    wishes = [*[ANY] * (int(steps) - 1), LAST] if steps.isdecimal() else steps.split(",")
    # However slow the disk is: on one thread each run makes the same system calls in the same order.
    commit_thread.LONG_COMMIT_SECONDS = inf

    async def work() -> None:
        await Script(Path(path), seed, sabotage).run(wishes)

    try:
        asyncio.run(work())
    except StoreError as error:
        sys.exit(_ended_by(error))


def _ended_by(error: StoreError) -> int:
    """As a service that cannot go on: it says why."""
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    return STORE_FAILED


if __name__ == "__main__":
    main(sys.argv[1:])
