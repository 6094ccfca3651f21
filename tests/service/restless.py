"""An executor that does what each input tells it to, and looks, at every step, at what it may rely on."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, final

from holdstate.runtime.errors import DriverClosed, Fenced, RunNotCurrent, StoreError
from holdstate.runtime.executor import ActiveRun, PermanentFailure, TransientFailure, TryLater
from holdstate.runtime.outcomes import RunOutput
from holdstate.runtime.records import InputRecord
from holdstate.spec.vocabulary import InputState, RuntimeControl

from .kit import said, takes

if TYPE_CHECKING:
    from .promises import Promises

CHARGED: Final = frozenset({"raise", "transient", "never", "nonsense", "exit"})
"""Endings that count as a failure of the inputs (C14)."""

ENDINGS: Final = ("ok", "empty", *sorted(CHARGED), "hang", "deaf", "later")
ON_THE_WAY: Final = ("steer", "checkpoint", "wait")

WAIT_SECONDS: Final = 0.5
LATER_SECONDS: Final = 0.5
RUN_TIMEOUT: Final = 5.0
HANG_SECONDS: Final = 1.0
DEAF_SECONDS: Final = 20.0


@final
class Restless:
    """The executor of one service. An input's words are its script: first what happens on the way, last how the run
    ends. A script whose first word is a number is for so many attempts; afterwards the run ends well.
    """

    def __init__(self, promises: Promises) -> None:
        self.is_alive = True
        """False once its process is thought dead: what it sees then is nobody's business."""
        self.is_calm = False
        self.done: Counter[str] = Counter()
        self.under_way: dict[str, list[ActiveRun]] = {}
        self._promises = promises

    async def control(self, runtime_id: str, control: RuntimeControl) -> None:
        self._promises.told.append((runtime_id, control))

    async def apply(self, run: ActiveRun) -> Any:
        if self.is_alive:
            self._enter(run)
        others = self.under_way.setdefault(run.runtime_id, [])
        others.append(run)
        try:
            return await self._work(run, self._script(run))
        except asyncio.CancelledError:
            if self.is_alive:
                self._promises.called_off(run)
            raise
        finally:
            others.remove(run)

    def _script(self, run: ActiveRun) -> list[str]:
        often, *words = said(run.inputs[0]).split()
        return ["ok"] if self.is_calm or run.attempt > int(often) else words

    def _enter(self, run: ActiveRun) -> None:
        """The staging is durable (C22), and no other run of this runtime goes on that was not called off."""
        self.done["entered"] += 1
        loaded = self._promises.store.load_runtime(run.runtime_id)
        promise = self._promises.demand
        promise(loaded is not None and loaded.record.current_run_id == run.run_id, f"C22: {run.run_id} is not stored")
        staged = {} if loaded is None else {each.input_id: each for each in loaded.inputs}
        for record in run.records:
            promise(staged.get(record.input_id) == record, f"C22: {record.input_id} is not stored as staged")
            promise(record.state is InputState.STAGED, f"C22: {record.input_id} is {record.state}")
        for given in run.inputs:
            wanted = self._promises.given.get((run.runtime_id, given.header.id))
            promise(wanted is None or wanted == given, f"C1: {given.header.id} is not what was submitted")
        for other in self.under_way.get(run.runtime_id, ()):
            promise(other.token.is_cancelled, f"{run.run_id} overlaps {other.run_id}, which was not called off")

    async def _work(self, run: ActiveRun, words: list[str]) -> Any:
        for word in words[:-1]:
            self.done[word] += 1
            await self._on_the_way(run, word)
        self.done[words[-1]] += 1
        if words[-1] in CHARGED or words[-1] == "hang":
            self._promises.charge(run.records)
        return await self._end(run, words[-1])

    async def _on_the_way(self, run: ActiveRun, word: str) -> None:
        if word == "wait":
            await takes(WAIT_SECONDS)
        elif word == "steer":
            before = len(run.inputs)
            taken = await run.take_steers()
            if self.is_alive:
                self._staged(run, run.records[before:])
            self.done["steered"] += bool(taken)
        else:
            await self._checkpoint(run)

    async def _checkpoint(self, run: ActiveRun) -> None:
        content = f"{run.run_id} {len(run.inputs)}".encode()
        receipt = await run.checkpoint(content, result=content)
        if self.is_alive:
            stored = self._promises.store.load_receipt(run.runtime_id, run.run_id, receipt.sequence)
            self._promises.demand(stored == receipt, f"C19: receipt {receipt.sequence} of {run.run_id} is not stored")
            self._promises.boundary(run, receipt)

    def _staged(self, run: ActiveRun, records: tuple[InputRecord, ...]) -> None:
        for record in records:
            stored = self._promises.store.load_input(run.runtime_id, record.input_id)
            self._promises.demand(stored == record, f"C22: the steer {record.input_id} is not stored as staged")

    async def _end(self, run: ActiveRun, word: str) -> Any:
        match word:
            case "raise":
                raise ValueError("no")
            case "transient":
                raise TransientFailure("not this time")
            case "never":
                self._promises.hopeless.update((run.runtime_id, each) for each in run.input_ids)
                raise PermanentFailure("never")
            case "later":
                raise TryLater(LATER_SECONDS)
            case "exit":
                raise SystemExit(1)
            case "nonsense":
                return "nonsense"
            case "hang":
                return await takes(1e6)
            case "deaf":
                return await self._ignore_everybody(run)
            case "empty":
                return None
            case _:
                return RunOutput(session_snapshot=str(run.run_id).encode(), result=f"done by {run.run_id}".encode())

    async def _ignore_everybody(self, run: ActiveRun) -> None:
        """It goes on after it was called off; its late words are refused, whatever runs by then (C26)."""
        self._promises.charge(run.records)  # by its timeout, if nothing comes before
        until = asyncio.get_running_loop().time() + DEAF_SECONDS
        while (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                await takes(left)
            except asyncio.CancelledError:
                self.done["ignored its cancellation"] += 1
        for call in (run.checkpoint, run.take_steers):
            try:
                await call()
            except (RunNotCurrent, DriverClosed, Fenced, StoreError):
                continue
            if self.is_alive:
                self._promises.demand(False, f"C26: {run.run_id} was called off, and its {call.__name__} was taken")
