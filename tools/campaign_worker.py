"""One life of a campaign's store: check what the last kill left, go on working, and be killed. A process of its own.

It speaks on a pipe, one JSON line at a time: ``{"checked": …}`` with what it found, then ``{"call": operation}`` before
each call and ``{"ack": n, "answer": …}`` after its await returned.
"""

from __future__ import annotations

import asyncio
import os
import sys
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final, final
from uuid import UUID

import msgspec

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import RuntimeSettings
from ..runtime.errors import NotReady, RunInProgress, RunNotCurrent
from ..runtime.ids import InputId, RunId, new_uuid7
from ..runtime.inputs import (
    ContinuationInput,
    ExternalEventInput,
    Input,
    OperationInput,
    PeerInput,
    PeerResponseProgress,
    PromptInput,
    ResponsePhase,
)
from ..runtime.outcomes import (
    Accepted,
    BoundaryApplied,
    Cancelled,
    Deduplicated,
    Ended,
    InFlight,
    Run,
    RunCompleted,
    RunOutput,
)
from ..runtime.records import RunBoundaryReceipt
from ..runtime.settings import Backoff, RetryPolicy
from ..spec.vocabulary import HandlingMode
from ..stores.lmdb_store import LmdbStore
from .campaign_checks import check_store, read_ledger
from .campaign_model import MAX_ATTEMPTS, MAX_BATCH, REFUSED, Operation

RUNTIMES: Final = ("one", "two", "three", "four")
ACCEPTORS: Final = 2
"""Callers that only admit, per runtime; a further one works the queue off and sends the rest."""

SETTINGS: Final = RuntimeSettings(
    retry=RetryPolicy(max_attempts=MAX_ATTEMPTS, backoff=Backoff(initial_seconds=0.0)), max_batch=MAX_BATCH
)
ACK_EARLY: Final = "ack-early"

_KINDS: Final = ("prompt", "event", "steer", "progress", "operation")
_REPEATED: Final = 0.1
_KEYED: Final = 0.6
_SCOPES: Final = 3


def new_input(operation: Operation) -> Input:
    """The input that an accept operation admits; its text is its id."""
    text, key, scope = operation["id"], operation.get("key"), operation.get("scope")
    input_id = InputId(UUID(text))
    match operation["kind"]:
        case "prompt":
            return PromptInput.new(text, idempotency_key=key, id=input_id)
        case "event":
            return ExternalEventInput.new("campaign", {"text": text}, idempotency_key=key, id=input_id)
        case "steer":
            return ContinuationInput.new(text, HandlingMode.STEER, idempotency_key=key, id=input_id)
        case "progress":
            progress = PeerResponseProgress("request", ResponsePhase.IN_PROGRESS)
            return PeerInput.new(text, (), progress, idempotency_key=key, supersession_key=scope, id=input_id)
        case _:
            return OperationInput.new("campaign", text, idempotency_key=key, id=input_id)


@final
class Pipe:
    """Lines to the parent, each written whole. Numbers calls; ``sabotage`` makes it lie, to test who checks."""

    def __init__(self, first: int, sabotage: str) -> None:
        self._next = first
        self._sabotage = sabotage

    def say(self, line: dict[str, Any]) -> None:
        """Write one line; the parent is gone when that fails."""
        os.write(1, msgspec.json.encode(line) + b"\n")

    async def call(self, operation: Operation, awaited: Any, answer_of: Any) -> Any:
        """Announce a call, make it, acknowledge it. Returns what it returned, None where it was refused."""
        number, self._next = self._next, self._next + 1
        self.say({"call": {"n": number, **operation}})
        if self._sabotage == ACK_EARLY:
            self.say({"ack": number, "answer": None})
        try:
            outcome = await awaited
            answer = answer_of(outcome)
        except (NotReady, RunInProgress, RunNotCurrent):
            outcome, answer = None, REFUSED
        if self._sabotage != ACK_EARLY:
            self.say({"ack": number, "answer": answer})
        return outcome


def _opened(driver: PersistentRuntimeDriver) -> str:
    return "opened"


def _done(outcome: object) -> str:
    return "done"


def answer_of_accept(outcome: object) -> str:
    return {Accepted: "accepted", Deduplicated: "deduplicated"}.get(type(outcome), "rejected")


def answer_of_cancel(outcome: object) -> str:
    return {Cancelled: "cancelled", InFlight: "in flight", Ended: "ended"}.get(type(outcome), "unknown")


def answer_of_begin(run: Run | None) -> list[str]:
    return [] if run is None else [str(input_id) for input_id in run.input_ids]


@final
class Lane:
    """The callers of one runtime and what they remember of it."""

    def __init__(self, name: str, driver: PersistentRuntimeDriver, pipe: Pipe, chance: Random) -> None:
        self._name = name
        self._driver = driver
        self._call = pipe.call
        self._chance = chance
        self._sent: list[Operation] = []

    async def admit(self) -> None:
        """Admit inputs of all kinds for ever, some of them twice."""
        while True:
            operation = self._next_accept()
            self._sent.append(operation)
            await self._call(operation, self._driver.accept_input(new_input(operation)), answer_of_accept)

    def _next_accept(self) -> Operation:
        chance = self._chance
        if self._sent and chance.random() < _REPEATED:
            return chance.choice(self._sent)
        input_id = str(new_uuid7())
        operation: Operation = {"op": "accept", "rt": self._name, "id": input_id, "kind": chance.choice(_KINDS)}
        if chance.random() < _KEYED:
            operation["key"] = f"key of {input_id}"
        if operation["kind"] == "progress":
            operation["scope"] = f"scope {chance.randrange(_SCOPES)}"
        return operation

    async def work(self) -> None:
        """Begin and end runs for ever, and now and then do what an operator does."""
        while True:
            await self._operate()
            run_id = str(new_uuid7())
            operation = {"op": "begin", "rt": self._name, "run": run_id}
            run = await self._call(operation, self._driver.begin_run(RunId(UUID(run_id))), answer_of_begin)
            if run is None:
                await asyncio.sleep(0)
            else:
                await self._end(run, run_id)

    async def _operate(self) -> None:
        draw = self._chance.random()
        driver, name = self._driver, self._name
        if draw < 0.04 and self._sent:  # noqa: PLR2004 - shares of the mix
            input_id = self._chance.choice(self._sent)["id"]
            operation = {"op": "cancel", "rt": name, "id": input_id}
            await self._call(operation, driver.cancel_input(InputId(UUID(input_id))), answer_of_cancel)
        elif draw < 0.07:  # noqa: PLR2004
            await self._call({"op": "retire", "rt": name}, driver.retire(), _done)
            await self._call({"op": "recycle", "rt": name}, driver.recycle_preserving_work(), _done)
        elif draw < 0.08:  # noqa: PLR2004
            await self._call({"op": "reset", "rt": name}, driver.reset(), _done)

    async def _end(self, run: Run, run_id: str) -> None:
        draw, driver = self._chance.random(), self._driver
        ending: Operation = {"rt": self._name, "run": run_id}
        snapshot, result = f"snapshot of {run_id}", f"result of {run_id}"
        completion = {"op": "complete", "snapshot": snapshot, "result": result, **ending}
        if draw < 0.55:  # noqa: PLR2004 - shares of the mix
            output = RunOutput(session_snapshot=snapshot.encode(), result=result.encode())
            await self._call(completion, driver.complete_run(run, output), _done)
        elif draw < 0.75:  # noqa: PLR2004
            await self._call({"op": "boundary", "snapshot": snapshot, **ending}, self._boundary(run, snapshot), _done)
            event = RunCompleted(run.run_id, run.input_ids, result.encode())
            await self._call(completion, driver.on_run_event(event), _done)
        elif draw < 0.9:  # noqa: PLR2004
            recoverable = self._chance.random() < 0.7  # noqa: PLR2004
            operation = {"op": "fail", "recoverable": recoverable, **ending}
            await self._call(operation, driver.fail_run(run, "campaign", recoverable=recoverable), _done)
        else:
            await self._call({"op": "call_off", **ending}, driver.cancel_run(run), _done)

    async def _boundary(self, run: Run, snapshot: str) -> None:
        content = snapshot.encode()
        receipt = RunBoundaryReceipt(
            run_id=run.run_id,
            boundary=run.records[0].admission.boundary,
            contributing_input_ids=run.input_ids,
            conversation_digest=sha256(content).hexdigest(),
        )
        await self._driver.on_run_event(BoundaryApplied(run.run_id, receipt, content))


async def live(store: LmdbStore, pipe: Pipe, chance: Random) -> None:
    """Open every runtime, then call from all sides until the end."""
    lanes = []
    for name in RUNTIMES:
        opening = PersistentRuntimeDriver.open(name, store, settings=SETTINGS)
        driver = await pipe.call({"op": "open", "rt": name}, opening, _opened)
        lanes.append(Lane(name, driver, pipe, Random(chance.random())))
    async with asyncio.TaskGroup() as tasks:
        for lane in lanes:
            for _ in range(ACCEPTORS):
                tasks.create_task(lane.admit())
        for lane in lanes:
            tasks.create_task(lane.work())


def main(arguments: list[str]) -> None:
    """``PATH LEDGER SEED SABOTAGE``: wait for a line on stdin, check, work until killed (or stop after the check)."""
    path, ledger, seed, sabotage = arguments
    pipe = Pipe(0, "")
    wanted = sys.stdin.readline().strip()
    if not wanted:
        return
    history = read_ledger(Path(ledger))
    with LmdbStore.open(path) as store:
        verdict = check_store(store, history)
        pipe.say({"checked": verdict})
        if wanted == "work" and not verdict["findings"]:
            asyncio.run(live(store, Pipe(verdict["landed"], sabotage), Random(seed)))
