"""One life of a store on a machine that fails it: steps of the crash worker, a fault that lasts, and what then follows.

The faults are in ``crash_host_faults``. Every call that was refused is left out of the history; the store has to be as
the model says of all others, whatever was acknowledged included.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final, final

import msgspec

from ..runtime.errors import Fenced, StoreCorruption, StoreError
from ..runtime.ids import InputId
from ..spec.errors import HoldstateError
from ..stores.lmdb_store import LmdbStore
from .campaign_checks import History
from .campaign_model import Operation
from .crash_worker import RUNTIMES, Script

CALM: Final = {"accept": 34, "begin": 20, "end": 24, "cancel": 3, "retire": 2, "reset": 1, "reopen": 4, "blob": 5}
_PARENT_DEATH_SIGNAL: Final = 1
DISTURBED: Final = {"accept": 30, "begin": 20, "end": 30, "cancel": 5, "reset": 1, "blob": 5, "sweep": 3, "prune": 3}
"""What is done under a fault: each of them is one commit."""


@final
class Case(Script):
    """A store at ``path`` and what is known of it. ``options`` are those of ``LmdbStore.open``."""

    def __init__(self, path: Path, seed: str, options: dict[str, Any], *, first: int = 0) -> None:
        self.options = options
        self.findings: list[str] = []
        self.refused: Counter[str] = Counter()
        """Calls that the fault refused, by step."""
        self.acknowledged = 0
        self.lines: list[dict[str, Any]] = []
        self.tolerated: frozenset[str] = frozenset()
        """Rows that are damaged: StoreCorruption of any other is a finding."""
        self.others: tuple[Other, ...] = ()
        """Processes beside this one."""
        super().__init__(path, seed, "", self.lines.append)
        self._calls = first

    def wrong(self, problem: str) -> None:
        """Note a promise that was broken."""
        self.findings.append(problem)

    # -- work --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open both runtimes."""
        await self._open("")

    async def work(self, steps: int, mix: dict[str, int] = CALM, *, met: tuple[type[HoldstateError], ...] = ()) -> None:
        """So many drawn steps. Errors of the types ``met`` are what the fault is for; any other is a finding."""
        for _ in range(steps):
            name, op = self._chance.choice(RUNTIMES), self._chance.choices([*mix], [*mix.values()])[0]
            if name in self._runs and op in {"begin", "retire", "reset"}:
                op = "end"
            elif name not in self._runs and op == "end":
                op = "begin"
            await self.do(op, name, met)

    async def do(self, op: str, name: str, met: tuple[type[HoldstateError], ...] = ()) -> bool:
        """One step; False when it was refused."""
        doing: Callable[[str], Awaitable[None]] = getattr(self, f"_{op}")
        try:
            await doing(name)
        except (StoreError, Fenced) as error:
            self.refused[op] += 1
            damaged = isinstance(error, StoreCorruption) and error.where not in self.tolerated
            if not isinstance(error, met) or damaged:
                self.wrong(f"{op} was refused with {type(error).__name__}: {error}")
            if isinstance(error, StoreError) and error.applied is None and op in {"sweep", "blob"}:
                # The store does not read back, a driver does: so what is held is not known.
                self._blobs.clear()
            error.__traceback__ = None
            return False
        return True

    async def fill_up(self, met: tuple[type[HoldstateError], ...], steps: int = 400) -> None:
        """Large inputs until one is refused."""
        sizes, self._sizes = self._sizes, (60_000,)
        try:
            for _ in range(steps):
                if not await self.do("accept", self._chance.choice(RUNTIMES), met):
                    return
            self.wrong(f"nothing was refused in {steps} steps")
        finally:
            self._sizes = sizes

    async def _call(self, operation: Operation, awaited: Awaitable[Any], answer_of: Callable[[Any], object]) -> Any:
        number = self._calls
        try:
            outcome = await super()._call(operation, awaited, answer_of)
        except (StoreError, Fenced) as error:
            if isinstance(error, StoreError) and error.applied is not False:
                self.wrong(f"{operation['op']}: nobody told whether it was applied: {error}")
            self.lines.append({"refused": number})
            if operation.get("blob") and operation in self._sent[operation["rt"]]:
                # What it refers to may be swept before it would be sent again.
                self._sent[operation["rt"]].remove(operation)
            raise
        self.acknowledged += 1
        return outcome

    def refuse(self, kind: type[HoldstateError], call: Callable[[], Any], what: str) -> None:
        """``call`` has to raise ``kind``."""
        try:
            taken = call()
        except HoldstateError as error:
            self.refused[what] += 1
            if type(error) is not kind:
                self.wrong(f"{what} was refused with {type(error).__name__}, not {kind.__name__}: {error}")
            error.__traceback__ = None
        else:
            self.wrong(f"{what} was not refused with {kind.__name__}")
            if isinstance(taken, LmdbStore):
                taken.close()

    # -- the store ---------------------------------------------------------------------------------------------------

    @property
    def store(self) -> LmdbStore:
        """The store that is open."""
        return self._store

    @property
    def path(self) -> Path:
        """Where the store is."""
        return self._path

    @property
    def data(self) -> Path:
        """The file."""
        return self._path / "data.mdb"

    @property
    def chance(self) -> Random:
        """What draws the steps."""
        return self._chance

    @property
    def calls(self) -> int:
        """The number of the next call."""
        return self._calls

    @property
    def blobs(self) -> list[str]:
        """What was put and is held."""
        return self._blobs

    def _open_store(self) -> LmdbStore:
        return LmdbStore.open(self._path, **self.options)

    def leave(self) -> None:
        """As a process does that ends: the store is closed, runs stay as they are."""
        for driver in self._drivers.values():
            driver.release()
        gc.collect()
        self._store.close()

    async def enter(self) -> None:
        """Open the store that was left."""
        self._store = self._open_store()
        await self._open("")

    async def take_back(self) -> None:
        """Open the runtimes anew, in the store that is open."""
        for driver in self._drivers.values():
            driver.release()
        await self._open("")

    def join(self, lines: list[dict[str, Any]], calls: int) -> None:
        """What another process did meanwhile."""
        self.lines += lines
        self._calls = calls

    def active_of(self, name: str) -> list[InputId]:
        """What is stored and has not ended."""
        loaded = self._store.load_runtime(name)
        return [] if loaded is None else [record.input_id for record in loaded.inputs]

    async def work_off(self) -> None:
        """Run after run until there is nothing to begin."""
        for name, driver in self._drivers.items():
            if name in self._runs:
                await driver.cancel_run(self._run_ids[name])
            while (run := await driver.begin_run()) is not None:
                await driver.complete_run(run)

    def history(self) -> History:
        """All calls but those that were refused, numbered anew, with their answers."""
        refused = {line["refused"] for line in self.lines if "refused" in line}
        given = [line["call"] for line in self.lines if "call" in line and line["call"]["n"] not in refused]
        places = {call["n"]: place for place, call in enumerate(given)}
        answers = {places[line["ack"]]: line["answer"] for line in self.lines if "ack" in line}
        return History([{**call, "n": place} for place, call in enumerate(given)], answers)


@final
class Other:
    """A process beside: forked before this one opens the store, so that it may open it too. ``answer`` is its work."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        here, self._to = os.pipe()
        self._from, there = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            os.close(self._to)
            os.close(self._from)
            _serve(here, there, answer)
        os.close(here)
        os.close(there)
        self._answers = os.fdopen(self._from, "rb")

    def ask(self, question: Any) -> Any:
        """Its answer; None when it is gone."""
        self.tell(question)
        return self.hear()

    def tell(self, question: Any) -> None:
        """Ask without waiting."""
        os.write(self._to, msgspec.json.encode(question) + b"\n")

    def hear(self) -> Any:
        """The next answer; None when it is gone."""
        line = self._answers.readline()
        return msgspec.json.decode(line) if line else None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def end(self) -> None:
        """Kill it, stopped or not, and wait for its end."""
        self.signal(signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._to)
        self._answers.close()


def _serve(questions: int, answers: int, answer: Callable[[Any], Any]) -> None:
    """Answer until nobody asks any more. Of the process that forked this one nothing else is used."""
    code = 1
    try:
        with os.fdopen(questions, "rb") as lines:
            for line in lines:
                os.write(answers, msgspec.json.encode(answer(msgspec.json.decode(line))) + b"\n")
        code = 0
    finally:
        os._exit(code)
