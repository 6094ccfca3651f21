"""One call on one driver, without an event loop: what it decides, what it would commit, and what the driver has in
memory then, whatever becomes of that commit.

``Actor``, ``Turn``, ``Member``, the calls, the core and the image are the real ones. What is repeated here is the part
of the group committer that lets one call in and settles its commit, for groups of one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Self, cast, final
from uuid import UUID

from attrs import define

from ..runtime import core
from ..runtime.actor import Actor
from ..runtime.commands import Command, Open
from ..runtime.errors import Fenced
from ..runtime.events import EventEnvelope
from ..runtime.ids import InputId, RunId
from ..runtime.image import RuntimeImage
from ..runtime.outcomes import Accepted
from ..runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..runtime.store import Claim, Commit, LoadedRuntime, ResultRef
from ..runtime.turn import Member, Turn
from ..spec.errors import HoldstateError, TransitionRefused
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.invariants import check_image
from ..spec.relations import handed_out_run_is_current
from ..spec.step_properties import check_step
from ..spec.views import LANES, View
from ..spec.vocabulary import CommandName, InputState, RuntimeState
from ..stores.memory_tables import Tables
from .explorer_calls import Call
from .explorer_codec import GENERATION, Codec
from .explorer_kinds import INPUT_NUMBERS, NOW, RUN_NUMBERS, RUNTIME, key_of
from .explorer_rows import NAMES, Doubt, Memory

_LIVE = frozenset(RuntimeState) - {RuntimeState.STOPPED, RuntimeState.DESTROYED}
_STAGES = frozenset({CommandName.BEGIN_RUN, CommandName.STAGE_MORE})


@final
class Looked(Exception):
    """What is asked for depends on the store."""


@final
class KnownReader:
    """Answers what any store answers a driver with this memory; raises ``Looked`` where stores differ.

    ``fresh_run``, the next input and what comes after them are in no store. ``record`` and ``receipt`` are known to be
    stored; with ``tables`` everything is known.
    """

    def __init__(
        self,
        codec: Codec,
        memory: Memory,
        fresh_run: int,
        *,
        record: InputRecord | None = None,
        receipt: RunBoundaryReceipt | None = None,
        tables: Tables | None = None,
    ) -> None:
        self.fresh_run = fresh_run
        self._codec = codec
        self._memory = memory
        self._record = record
        self._receipt = receipt
        self._tables = tables

    @property
    def reader(self) -> Self:
        """It is a view of its own."""
        return self

    def _all(self) -> Tables:
        if self._tables is None:
            raise Looked
        return self._tables

    def load_record(self, runtime_id: str) -> RuntimeRecord | None:
        # Only its epoch and revision are looked at; how they compare with the driver's is part of its memory.
        return self._codec.runtime(self._memory.runtime, 0)

    def load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        return self._all().load(runtime_id)

    def load_input(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        if self._record is not None and self._record.input_id == input_id:
            return self._record
        if self._is_new(INPUT_NUMBERS[InputId(input_id)]):
            return None
        return self._all().rows[runtime_id].find(input_id)

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        if self._record is not None and self._record.admission.idempotency_key == key:
            return self._record
        if any(key == key_of(number) and self._is_new(number) for number in range(NAMES)):
            return None
        rows = self._all().rows[runtime_id]
        return rows.find(rows.keys[key]) if key in rows.keys else None

    def load_ended(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        return _if_ended(self.load_input(runtime_id, input_id))

    def find_ended_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        return _if_ended(self.find_by_key(runtime_id, key))

    def _is_new(self, number: int) -> bool:
        """Whether no store has the input: one that is fenced off does not know what came after it."""
        return number >= self._memory.following and not self._memory.stale

    def load_body(self, runtime_id: str, record: InputRecord) -> bytes | None:
        number = INPUT_NUMBERS[record.input_id]
        doubt = self._memory.doubt
        rows = (*self._memory.inputs, *(() if doubt is None else doubt.inputs))
        kind = next(row.kind for row in rows if row.number == number)
        return self._codec.prepared(kind, number).body

    def load_receipt(self, runtime_id: str, run_id: UUID, sequence: int) -> RunBoundaryReceipt | None:
        known = self._receipt
        if known is not None and (known.run_id, known.sequence) == (run_id, sequence):
            return known
        found: RunBoundaryReceipt | None = self._all().rows[runtime_id].receipts.get((run_id, sequence))
        return found

    def has_receipt(self, runtime_id: str, run_id: UUID) -> bool:
        if self._receipt is not None and self._receipt.run_id == run_id:
            return True
        if RUN_NUMBERS[RunId(run_id)] >= self.fresh_run:
            return False
        return bool(self._all().rows[runtime_id].receipts_of(run_id))

    def load_result(self, runtime_id: str, ref: ResultRef) -> bytes | None:
        return self._all().rows[runtime_id].results.get(ref)

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        return self._all().snapshots.get(runtime_id)

    def load_events(self, runtime_id: str, after: int | None, limit: int) -> tuple[EventEnvelope, ...]:
        return self._all().events(runtime_id, after, limit)

    def get_blob(self, blob_id: str) -> bytes | None:
        return self._all().blobs.get(blob_id)

    def blob_exists(self, blob_id: str) -> bool:
        return blob_id in self._all().blobs


@final
class WatchedTurn:
    """A turn whose steps are judged: the properties of the step, and the invariants of what memory is after it."""

    def __init__(self, turn: Turn, problems: list[str]) -> None:
        self.actor = turn.actor
        self.member = turn.member
        self.problems = problems
        self._turn = turn
        self.when_abandoned: Callable[[Turn], object] | None = None
        self.taken_back = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turn, name)

    def take_back(self) -> None:
        self.taken_back = bool(self._turn.applied)
        self._turn.take_back()

    def step(self, command: Command) -> object:
        before = _view(self.actor.image)
        try:
            outcome = self._turn.step(command)
        except TransitionRefused as refused:
            self.problems += _misfits(command, before, refused)
            raise
        after = _view(self.actor.image)
        self.problems += check_image(after, at_rest=False)
        if outcome or command.name not in _STAGES:  # with nothing to stage there was no step
            self.problems += check_step(before, command.name, after)
        return outcome


def _misfits(command: Command, before: View, refused: TransitionRefused) -> Iterator[str]:
    """Refusals that say that tables do not fit each other, whatever was asked."""
    if refused.machine == INPUT_LIFECYCLE.name:  # an input in another state is selected by no rule
        yield f"tables_fit: {command.name}: {refused}"
    elif command.name is CommandName.DESTROY or (command.name is CommandName.STOP and before.runtime.state in _LIVE):
        yield f"command_ends_in_its_state: {command.name}: {refused}"


@final
@define
class Decided:
    """What a call came to. ``commit`` None: nothing is written. What the driver has then: ``after`` where the commit
    lands (None: it is finished), ``alone`` where it lands and the caller is gone, ``undone`` where it does not land.
    ``image`` shows what is in memory where it lands; ``refusal`` says why the call was refused, empty where it was not.
    """

    call: Call
    after: Memory | None
    image: View
    undone: Memory | None = None
    alone: Memory | None = None
    commit: Commit | None = None
    acknowledged: int | None = None
    problems: tuple[str, ...] = ()
    refusal: str = ""

    def left(self, name: str) -> Memory | None:
        """What the driver has then, by the name of what became of the commit."""
        after, undone = self.after, self.undone
        assert after is not None
        assert undone is not None
        match name:
            case "after":
                return after
            case "alone":
                return self.alone
            case "undone":
                return undone
            case "after_reopening":
                return after._replace(behind=True)
            case "undone_reopening":
                return undone._replace(behind=True)
            case _:
                return undone._replace(doubt=Doubt(after.runtime, after.inputs, name == "doubt_landed"))


def _if_ended(record: InputRecord | None) -> InputRecord | None:
    return record if record is not None and record.is_terminal else None


@final
class DriverSteps:
    """Lets calls in on drivers that are thawed for them."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._kept: tuple[Memory, int, Actor] | None = None
        self._image: tuple[Memory, RuntimeImage] | None = None

    def cared_for(self, memory: Memory, reader: KnownReader) -> Memory | None:
        """What a driver has once care was taken that needs no commit; None: it learns that it is fenced off.

        Where care changes anything, the driver is as it was: it is taken with the next call, in the same commit.
        """
        actor = self.codec.actor(memory, reader.fresh_run)
        if not actor.needs_care(GENERATION):
            return memory
        turn = Turn(actor, Member(actor), reader)
        try:
            actor.take_care(turn, GENERATION)
        except Fenced:
            return None
        return memory if turn.applied else self._freeze(actor, memory, [])

    def decide(self, call: Call, memory: Memory, reader: KnownReader) -> Decided:
        """One call in a group of its own. Raises ``Looked`` where ``reader`` does."""
        actor = self._thaw(memory, reader.fresh_run)
        image, runtime, member, problems = actor.image, actor.image.runtime, Member(actor), list[str]()
        turn = WatchedTurn(Turn(actor, member, reader), problems)
        careful, cared, outcome, refusal = actor.needs_care(GENERATION), False, cast("object", None), ""
        try:
            if careful:
                actor.take_care(cast("Turn", turn), GENERATION)
                member.add(turn.applied)
                cared = bool(member.deltas)
                turn = WatchedTurn(Turn(actor, member, reader), problems)
            member.merge()
            if not (cared and call.alone):
                outcome = call.decide(cast("Turn", turn))
                member.add(turn.applied)
        except Looked:
            raise
        except HoldstateError as error:
            turn.take_back()
            turn.when_abandoned = None
            outcome, refusal = error, str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no refusal
            turn.take_back()
            problems.append(f"no_surprise: {type(error).__name__}: {error}")
        if actor.finished is not None:
            return Decided(call, None, _NO_VIEW, problems=tuple(problems), refusal=refusal)
        if not (careful or member.deltas or turn.taken_back) and actor.image is image:
            self._kept = (memory, reader.fresh_run, actor)  # nothing was touched
            return Decided(call, memory, _NO_VIEW, problems=tuple(problems), refusal=refusal)
        decided = self._settled(call, memory, turn, outcome)
        decided.refusal = refusal
        if not careful and actor.image is image:
            for _, inverse in reversed(member.deltas):
                image.apply(inverse)
            self._image = (memory, image) if image.runtime is runtime else None
        return decided

    def _thaw(self, memory: Memory, fresh_run: int) -> Actor:
        """A driver with ``memory``: the one of the call before, where that touched nothing; else with the image of the
        one before, in which everything was taken back.
        """
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] is memory and kept[1] == fresh_run:
            return kept[2]
        image, self._image = self._image, None
        return self.codec.actor(memory, fresh_run, image[1] if image is not None and image[0] is memory else None)

    def _settled(self, call: Call, memory: Memory, turn: WatchedTurn, outcome: object) -> Decided:
        """What is left of a call that touched anything, for each thing that can become of its commit."""
        actor, member, problems = turn.actor, turn.member, turn.problems
        commit = member.commit() if member.is_stored else None
        acknowledged = call.accepts if isinstance(outcome, Accepted) else None
        decided = Decided(call, None, _NO_VIEW, commit=commit, acknowledged=acknowledged)
        if commit is not None:
            member.undo()
            decided.undone = self._freeze(actor, memory, problems)
            if memory.doubt is None:
                problems += _changed(memory, decided.undone)
            for delta, _ in member.deltas:
                actor.image.apply(delta)
        elif isinstance(outcome, Exception) and not member.deltas:
            problems += _changed(memory, self._freeze(actor, memory, problems))
        actor.publish([delta for delta, _ in member.deltas])
        if turn.when_abandoned is not None:
            decided.alone = self._freeze(actor, memory, problems)
        for effect in turn.after_commit:
            effect()
        decided.after = self._freeze(actor, memory, problems)
        decided.image = _view(actor.image)
        decided.problems = tuple(problems)
        return decided

    def _freeze(self, actor: Actor, memory: Memory, problems: list[str]) -> Memory:
        """What ``actor`` has. What is derived from it there, and left out here, is compared with it first."""
        image = actor.image
        problems += _inconsistencies(image)
        view = View(image.runtime, ())
        problems += [f"handed_out_run_is_current: {each}" for each in handed_out_run_is_current(actor.handed_out, view)]
        return self.codec.memory(actor, stale=memory.stale)

    # -- opening ---------------------------------------------------------------------------------------------------

    def open(self, tables: Tables) -> tuple[Commit, Decided]:
        """Claim the runtime of ``tables`` and recover it. Nothing is written yet, but the store has agreed."""
        found: list[Decided] = []

        def settle(loaded: LoadedRuntime | None) -> Commit:
            found[:] = [self._recovered(loaded)]
            commit = found[0].commit
            assert commit is not None
            return commit

        commit = tables.decide(Claim(RUNTIME, settle))
        return commit, found[0]

    def _recovered(self, loaded: LoadedRuntime | None) -> Decided:
        if loaded is None:
            loaded = LoadedRuntime(RuntimeRecord(RUNTIME, created_at=NOW))
        image = RuntimeImage(loaded.record, loaded.inputs)
        before, problems = _view(image), list[str]()
        environment = self.codec.environment(0)
        actor = Actor(RUNTIME, image, self.codec.settings, environment, GENERATION)
        member = Member(actor)
        delta = core.step(image, Open(NOW, loaded.receipts), self.codec.settings)
        member.add([(delta, image.apply(delta))])
        after = _view(image)
        problems += (*check_image(after, at_rest=False), *check_step(before, CommandName.OPEN, after))
        commit = member.commit()
        actor.publish([delta])
        memory = self.codec.memory(actor, stale=False)
        return Decided(Call("open", _nothing), memory, after, commit=commit, problems=tuple(problems))


_NO_VIEW: Final = View(RuntimeRecord(RUNTIME), ())


def _nothing(turn: Turn) -> object:
    return None


def _view(image: RuntimeImage) -> View:
    return View(image.runtime, image.active())


def _inconsistencies(image: RuntimeImage) -> Iterator[str]:
    """The lanes and the scopes are the queued inputs, and the bodies are those of the ephemeral ones."""
    active = image.active()
    queued = [each for each in active if each.state is InputState.QUEUED]
    there = [(lane, order, input_id) for lane in LANES for order, input_id in image.lanes[lane].items()]
    if there != [(lane, each.order, each.input_id) for lane in LANES for each in queued if each.admission.lane is lane]:
        yield f"memory_is_consistent: the lanes hold {there}, queued are {queued}"
    scoped = {(scope, input_id) for scope, members in image.scopes.items() for input_id in members}
    keyed = [(each.admission.kind, each.admission.supersession_key, each.input_id) for each in queued]
    if scoped != {((kind, key), input_id) for kind, key, input_id in keyed if key is not None}:
        yield f"memory_is_consistent: the scopes hold {scoped}, queued are {keyed}"
    if image.bodies.keys() != {each.input_id for each in active if each.admission.is_ephemeral}:
        yield f"memory_is_consistent: bodies are kept of {list(image.bodies)}"


def _changed(before: Memory, after: Memory) -> tuple[str, ...]:
    """A refused call, and a commit that did not land, leave memory as it was (C4, C35); care was taken of the rest."""
    same = before._replace(behind=False, stranded=False) == after._replace(behind=False, stranded=False)
    return () if same else (f"refusal_changes_nothing: memory was {before} and is {after}",)
