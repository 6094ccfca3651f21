"""The stage of a story: drivers over one store, every call written down with its answer and all that it changed.

What a story wrote down is compared with the text that is expected of it (``stories.txt``). Whatever is wrong besides,
such as memory that differs from the store, is a line of its own, which no expected text has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, TypeVar, final
from uuid import UUID

from attrs import evolve

from ..runtime import core
from ..runtime.commands import Command
from ..runtime.delta import Delta
from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import Environment, RuntimeSettings
from ..runtime.errors import StoreError
from ..runtime.image import RuntimeImage
from ..runtime.records import InputRecord, RuntimeRecord, stored_form
from ..runtime.store import InputFilter, RuntimeStore
from ..spec.commands import Part
from ..spec.errors import HoldstateError
from .explorer_kinds import explored_settings
from .harness.faulty_store import FaultyStore, Plan, SimulatedCrash
from .story_words import Words

T = TypeVar("T")

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
RUNTIME: Final = "story"
MAX_ATTEMPTS: Final = 2
_MINTED: Final = 2**100
"""The first id that a driver makes."""
_RUNS: Final = 2**64
"""Ids of inputs are below it: their numbers."""


@final
class Stage:
    """One store, the clock, and the lines written so far. Drivers come and go."""

    def __init__(self, store: RuntimeStore) -> None:
        self.store = FaultyStore(store)
        self.lines: list[str] = []
        self.now = START
        self.words = Words(_RUNS)
        self._ids = count(_MINTED)
        self._known: dict[object, str] = {}

    # -- drivers ---------------------------------------------------------------------------------------------------

    def settings(self, **changes: Any) -> RuntimeSettings:
        """Two attempts, batches of two, a backoff of a second, the event log, and every check of debug mode."""
        made = explored_settings(max_attempts=MAX_ATTEMPTS, max_batch=2, backoff=True)
        return evolve(made, **{"max_history": 32, "event_log": True, "debug": True, **changes})

    def environment(self) -> Environment:
        """The clock of the stage, ids in order, and no jitter."""
        return Environment(now=lambda: self.now, new_id=lambda: UUID(int=next(self._ids)), chance=lambda: 0.5)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    async def opened(self, **changes: Any) -> PersistentRuntimeDriver:
        """A new driver, of which nothing is written down."""
        settings, environment = self.settings(**changes), self.environment()
        return await PersistentRuntimeDriver.open(RUNTIME, self.store, settings=settings, environment=environment)

    async def open(self, label: str = "open", **changes: Any) -> PersistentRuntimeDriver:
        """A new driver; those that were there are fenced off, or dead, as the story has it."""
        driver = await self.opened(**changes)
        self.say(f"{label}: {self.words.of(driver.recovery_report)}")
        self.look(driver)
        return driver

    # -- what is written down --------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        self.lines.append(line)

    async def do(self, driver: PersistentRuntimeDriver, label: str, call: Awaitable[T]) -> T | None:
        """Make a call; its answer, or the kind of its error, and what changed are written down."""
        try:
            answer = await call
        except (HoldstateError, SimulatedCrash) as error:
            self.say(f"{label}: {self.words.of(error)}")
            self.look(driver, in_doubt=isinstance(error, StoreError) and error.applied is None)
            return None
        self.say(f"{label}: {self.words.of(answer)}")
        self.look(driver)
        return answer

    def arm(self, plan: Plan) -> None:
        """Have the next calls of the store fail as ``plan`` says."""
        self.store.arm(plan)
        self.say(f"-- the store: {plan.fault.value} at write {plan.write}, reads fail {min(plan.failing_reads, 9)}")

    def look(self, driver: PersistentRuntimeDriver, *, in_doubt: bool = False) -> None:
        """Write down what changed in the store, and what the driver announces."""
        self._signals(driver)
        stored = self.store.inner.load_runtime(RUNTIME)
        if stored is None:
            return
        self._changed("runtime", self.words.runtime(stored.record))
        inputs = self.store.inner.list_inputs(InputFilter(RUNTIME)).records
        for record in sorted(inputs, key=lambda each: each.input_id.int):
            self._changed(record.input_id, self.words.input(record))
        if not in_doubt:
            self._compare(driver, stored.record, stored.inputs)

    def _signals(self, driver: PersistentRuntimeDriver) -> None:
        events = [self.words.event(each) for each in driver.drain_events()]
        asked = [name for name, is_asked in self._asked(driver) if is_asked]
        if events or asked:
            self.say("  > " + ", ".join([*events, *asked]))

    @staticmethod
    def _asked(driver: PersistentRuntimeDriver) -> tuple[tuple[str, bool], ...]:
        return ("WAKE", driver.take_wake_requested()), ("PROCESS", driver.take_process_requested())

    def _changed(self, what: object, line: str) -> None:
        if self._known.get(what) != line:
            self._known[what] = line
            self.say(f"  = {line}")

    def _compare(self, driver: PersistentRuntimeDriver, record: RuntimeRecord, inputs: tuple[InputRecord, ...]) -> None:
        image = driver.image
        if record.epoch != image.runtime.epoch:
            return  # fenced off
        held = tuple(each for each in image.active() if not each.admission.is_ephemeral)
        order = image.runtime.next_order  # ephemeral inputs take order keys that are stored with the next commit
        if stored_form(image.runtime) != evolve(record, next_order=order) or held != inputs:
            self.say("!! memory differs from the store")

    def finish(self, driver: PersistentRuntimeDriver | None = None) -> None:
        """Audit the store and its log. Called at the end of each story."""
        for finding in self.store.verify():
            self.say(f"!! verify: {finding.check}: {finding.problem}")
        logged = [self.words.event(each) for each in self.store.inner.load_events(RUNTIME)]
        self.say(f"log: {len(logged)} events")
        if driver is not None:
            self.say(f"driver: {driver.runtime_state}")


@contextmanager
def watched(lines: list[str]) -> Iterator[None]:
    """While it is entered, a delta that holds what the row of its command does not let it commit adds a line."""
    step = core.step

    def watching(image: RuntimeImage, command: Command, settings: RuntimeSettings) -> Delta:
        delta = step(image, command, settings)
        row = vars(core)["COMMANDS"][command.name]
        excess = _parts_of(delta) - row.commits
        if excess:
            lines.append(f"!! {command.name} commits {', '.join(sorted(excess))}")
        return delta

    core.step = watching
    try:
        yield
    finally:
        core.step = step


def _parts_of(delta: Delta) -> set[Part]:
    """What the commit of ``delta`` holds."""
    if not delta.stored:
        return set()
    changes = [(before, after) for before, after in delta.changes if after and not after.admission.is_ephemeral]
    new = [after for before, after in changes if before is None and after is not None]
    parts = {
        Part.RECORDS: bool(changes),
        Part.BODIES: bool(new) and bool(delta.bodies),
        Part.KEY: any(each.admission.idempotency_key is not None for each in new),
        Part.BLOBS: bool(delta.blobs),
        Part.RECEIPT: bool(delta.receipts),
        Part.SNAPSHOT: delta.snapshot is not None,
        Part.RESULT: bool(delta.results),
    }
    return {Part.RUNTIME, *(part for part, is_there in parts.items() if is_there)}
