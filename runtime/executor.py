"""The seam that users of a service implement: the executor, and the run that it is given."""

from __future__ import annotations

import asyncio
from typing import Protocol, final

from ..spec.errors import HoldstateError
from ..spec.vocabulary import RuntimeControl
from .driver import PersistentRuntimeDriver
from .ids import InputId, RunId
from .inputs import Input, TurnMetadata
from .outcomes import Run, RunOutput
from .records import InputRecord, RunBoundaryReceipt
from .turn_metadata import merged_metadata


@final
class PermanentFailure(HoldstateError):
    """Raised by an executor: trying again would not help. The input is abandoned, unless it shared its run (C15)."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


@final
class CancellationToken:
    """Tells an executor that its run was called off. One that ignores it is left behind; its run is no more."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason: str | None = None

    @property
    def is_cancelled(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> str:
        """Returns the reason once the run is called off."""
        await self._event.wait()
        return self.reason or ""

    def cancel(self, reason: str) -> None:
        """Call the run off; the first reason stays."""
        if self.reason is None:
            self.reason = reason
            self._event.set()


@final
class ActiveRun:
    """A run in the hands of an executor. Its inputs are staged durably; nothing that it made counts before a boundary.

    ``checkpoint`` commits what was done so far, ``take_steers`` takes what arrived for this run. Both raise
    ``RunNotCurrent`` once the run was ended by somebody else.
    """

    def __init__(self, run: Run, driver: PersistentRuntimeDriver, session_snapshot: bytes | None) -> None:
        self._run = run
        self._driver = driver
        self.inputs: tuple[Input, ...] = run.inputs
        self.records: tuple[InputRecord, ...] = run.records
        self.session_snapshot = session_snapshot
        self.token = CancellationToken()

    @property
    def run_id(self) -> RunId:
        return self._run.run_id

    @property
    def runtime_id(self) -> str:
        return self._run.runtime_id

    @property
    def attempt(self) -> int:
        """The number of times that the first input was staged, this one included."""
        return self._run.attempt

    @property
    def input_ids(self) -> tuple[InputId, ...]:
        return tuple(record.input_id for record in self.records)

    @property
    def turn_metadata(self) -> TurnMetadata:
        """What the inputs so far ask for, taken together: later scalars win, lists add up."""
        return merged_metadata(self.inputs)

    async def checkpoint(
        self, session_snapshot: bytes | None = None, *, result: bytes | None = None, message_count: int = 0
    ) -> RunBoundaryReceipt:
        """Commit a boundary over everything staged so far: after a crash the run is not repeated from before it."""
        output = RunOutput(session_snapshot, result, message_count)
        receipt = await self._driver.checkpoint(self._run, output)
        if session_snapshot is not None:
            self.session_snapshot = session_snapshot
        return receipt

    async def take_steers(self) -> tuple[Input, ...]:
        """Stage what waits in the steer lane into this run, durably, and return it; the rest starts the next run."""
        taken = await self._driver.take_steers(self._run)
        self.inputs += taken.inputs
        self.records += taken.records
        return taken.inputs


class Executor(Protocol):
    """Does the work of a run. ``control`` is optional: stop, or resume, told before the service acts on it."""

    async def apply(self, run: ActiveRun) -> RunOutput | bytes | None:
        """Work the run off. An exception is a failure that is tried again; ``PermanentFailure`` is not."""
        ...


class ControllableExecutor(Executor, Protocol):
    """An executor that wants to be told of control commands for its runtimes."""

    async def control(self, runtime_id: str, control: RuntimeControl) -> None:
        """Told out of turn, ahead of ordinary work. What it raises is logged and changes nothing."""
        ...
