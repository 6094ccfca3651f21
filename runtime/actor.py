"""One runtime in the hands of one driver: its image, what is volatile, and what happens when a commit is in doubt."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from attrs import define

from ..spec.errors import HoldstateError
from ..spec.invariants import check_image
from ..spec.views import View
from ..spec.vocabulary import InputState
from .commands import CancelRun, Recover, RollbackStaged
from .delta import Delta
from .environment import Environment, RuntimeSettings
from .errors import DriverClosed, Fenced, InvariantViolated, StoreError
from .events import EventBuffer
from .ids import InputId, RunId
from .image import RuntimeImage
from .records import IN_FLIGHT_STATES, InputRecord, RuntimeRecord, attached_as, stored_form
from .store import LoadedRuntime
from .turn import Turn

_MOVED = frozenset({InputState.QUEUED, InputState.STAGED})


def _moves(delta: Delta) -> bool:
    """Whether it stages an input or puts one back."""
    return any(before is not None and after is not None and after.state in _MOVED for before, after in delta.changes)


@final
@define
class Doubt:
    """A commit whose result could not be read back: the first cause, and the deltas that are applied if it landed."""

    cause: StoreError
    deltas: list[Delta]
    revision: int
    opened_run: RunId | None


@final
class Actor:
    """State of one open runtime. Only the group committer lets calls in, one at a time."""

    def __init__(
        self,
        runtime_id: str,
        image: RuntimeImage,
        settings: RuntimeSettings,
        environment: Environment,
        generation: int,
    ) -> None:
        self.runtime_id = runtime_id
        self.image = image
        self.settings = settings
        self.environment = environment
        self.generation = generation
        self.committed: RuntimeRecord = image.runtime
        self.events = EventBuffer(settings.max_events)
        self.wake = False
        self.process = False
        self.silent_intents: frozenset[str] = frozenset()
        self.cursor: tuple[int, int] | None = None
        self.opened_run: RunId | None = None
        self.handed_out: RunId | None = None
        self.untold: list[InputRecord] = []
        """Staged for a caller who may not have heard of it; the next call takes back what is (C10, C34)."""
        self.doubt: Doubt | None = None
        self.stranded = False
        """After a reload: an ephemeral input is in flight in a run that the store does not know."""
        self.finished: HoldstateError | None = None
        self.listener: Callable[[list[Delta]], None] | None = None

    def stored_runtime(self) -> RuntimeRecord:
        return stored_form(self.image.runtime)

    def check_open(self) -> None:
        """Raise what finished this driver, if anything did."""
        if self.finished is not None:
            raise self.finished.with_traceback(None)

    def close(self) -> None:
        if self.finished is None:
            self.finished = DriverClosed(self.runtime_id)

    def check_invariants(self) -> None:
        """Debug mode: every invariant that can be told from memory."""
        findings = check_image(
            View(self.image.runtime, self.image.active(), set_aside=self.image.set_aside), at_rest=False
        )
        if findings:
            raise InvariantViolated(self.runtime_id, findings)

    # -- after a commit --------------------------------------------------------------------------------------------

    def publish(self, deltas: list[Delta]) -> None:
        """The commit landed: events and signals go out, and reads see it (C18)."""
        for delta in deltas:
            self.events.extend(delta.events or delta.announcements)
            self.wake = self.wake or delta.wake
            self.process = self.process or delta.process
            if self.cursor is not None and _moves(delta):
                self.cursor = None
        self.stranded = False
        self.committed = self.image.runtime
        if self.committed.current_run_id != self.handed_out:
            self.handed_out = None
        if self.listener is not None:
            self.listener(deltas)

    def hand_out(self, run_id: RunId) -> None:
        """The caller gets this run, unless a later command of the same group ended it."""
        if self.committed.current_run_id == run_id:
            self.handed_out = run_id

    def disown(self, run_id: RunId) -> None:
        """Nobody holds this run after all: the next call, whichever it is, takes it back first (C10, C35)."""
        if self.handed_out == run_id:
            self.handed_out = None

    def fence(self, error: Fenced) -> None:
        self.finished = error
        self.handed_out = None

    # -- in doubt --------------------------------------------------------------------------------------------------

    def needs_care(self, generation: int) -> bool:
        """Whether anything has to be settled before the next call is let in; see ``take_care``."""
        run_id = self.image.runtime.current_run_id
        is_orphan = run_id is not None and run_id != self.handed_out and run_id == self.committed.current_run_id
        is_in_doubt = self.doubt is not None or generation != self.generation
        return is_orphan or self.stranded or is_in_doubt or bool(self.untold)

    def knows_active(self, input_id: InputId, generation: int) -> bool:
        """Whether memory alone tells that an input is active whose admission was answered."""
        return self.finished is None and not self.needs_care(generation) and input_id in self.image.inputs

    def take_care(self, turn: Turn, generation: int) -> None:
        """Settle a commit in doubt, compare notes with a store that was reopened, take back a run that nobody holds, or
        what was staged into one for nobody.

        Raises the first cause while the store cannot be read (C35).
        """
        if self.doubt is not None or generation != self.generation:
            self._compare(turn, generation)
        run_id = self.image.runtime.current_run_id
        if self.stranded:
            turn.step(Recover(turn.at))
        elif run_id is not None and run_id != self.handed_out:
            turn.step(CancelRun(turn.at, run_id))
        else:
            # They are forgotten once they are seen to be back: this commit may fail.
            self.untold = [record for record in self.untold if self.image.inputs.get(record.input_id) == record]
            if self.untold:
                turn.step(RollbackStaged(turn.at, tuple(record.input_id for record in self.untold)))

    def _compare(self, turn: Turn, generation: int) -> None:
        try:
            stored = turn.reader.load_record(self.runtime_id)
        except StoreError as error:
            cause = error if self.doubt is None else self.doubt.cause
            raise cause.known_to_be(applied=None) from error
        self.check_epoch(stored)
        doubt = self.doubt
        if doubt is not None and stored is not None and stored.revision == doubt.revision:
            for delta in doubt.deltas:
                self.image.apply(delta)
            if self.opened_run != doubt.opened_run:
                self.opened_run = None  # it was begun or forgotten, or opened for a caller who was told nothing
            self.publish(doubt.deltas)
            turn.member.base_revision = self.image.runtime.revision
            turn.member.opened_run = self.opened_run
        elif stored is None or stored.revision != self.image.runtime.revision:
            self.reload(turn)
        self.doubt = None
        self.generation = generation

    def check_epoch(self, stored: RuntimeRecord | None) -> None:
        """Raise ``Fenced`` when the stored record belongs to a newer opener."""
        if stored is not None and stored.epoch > self.image.runtime.epoch:
            error = Fenced(self.runtime_id, self.image.runtime.epoch, stored.epoch)
            self.fence(error)
            raise error

    def reload(self, turn: Turn) -> LoadedRuntime:
        """Take memory from the store again, without claiming; ephemeral inputs and a run in an executor's hands
        survive.
        """
        loaded = turn.reader.load_runtime(self.runtime_id)
        if loaded is None:
            raise StoreError(f"runtime {self.runtime_id!r} is no longer in the store; open it anew")
        self.check_epoch(loaded.record)
        self.image = self._with_volatile(loaded)
        self.committed = self.image.runtime
        turn.member.base_revision = self.image.runtime.revision
        self.cursor = None
        if self.image.runtime.current_run_id != self.handed_out:
            self.handed_out = None
        in_flight = any(each.state in IN_FLIGHT_STATES for each in self.image.ephemeral())
        self.stranded = in_flight and self.image.runtime.current_run_id is None
        return loaded

    def _with_volatile(self, loaded: LoadedRuntime) -> RuntimeImage:
        inputs = (*loaded.inputs, *self.image.ephemeral())
        record = attached_as(self.image.runtime, loaded.record)
        image = RuntimeImage(record, inputs, set_aside=len(loaded.set_aside))
        image.bodies.update(self.image.bodies)
        return image
