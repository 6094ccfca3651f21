"""The life of one input as a row of moments: what its record, its receipt and the event log tell of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Final, final

from attrs import frozen

from ..runtime.errors import EventsPruned
from ..runtime.events import EventEnvelope, offset_of
from ..runtime.ids import RunId
from ..runtime.records import HistoryEntry, InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..spec.vocabulary import EventCode, InputEvent, InputState
from ..stores.lmdb_reader import LmdbReader
from .quantities import counted

_PAGE: Final = 1000
_IN_HAND: Final = frozenset({InputState.STAGED, InputState.APPLIED, InputState.APPLIED_PENDING_CONSUMPTION})


@final
class FactKind(StrEnum):
    """What a fact is about; what weighs most comes first."""

    CRASH = "crash"
    FAILURE = "failure"
    END = "end"
    GAP = "gap"
    RECOVERY = "recovery"
    COMMIT = "commit"
    RUN = "run"
    BACK = "back"
    ADMITTED = "admitted"
    LOGGED = "logged"


@final
@frozen
class Fact:
    """One thing that happened, in a sentence."""

    kind: FactKind
    text: str


@final
@frozen
class Moment:
    """What happened at one time, which is what one command did. ``at`` is None where transitions are missing.
    ``logged`` are the events of the log that say so.
    """

    at: datetime | None
    facts: tuple[Fact, ...]
    steps: tuple[HistoryEntry, ...] = ()
    logged: tuple[EventEnvelope, ...] = ()

    @property
    def kind(self) -> FactKind:
        """Of what weighs most in it."""
        kinds = {fact.kind for fact in self.facts}
        return next(kind for kind in FactKind if kind in kinds)


@final
@frozen
class EventLog:
    """What of the event log of the runtime there is: offsets from ``first`` to before ``end``."""

    first: int
    end: int
    about: tuple[EventEnvelope, ...] = ()

    @property
    def text(self) -> str:
        """In a sentence."""
        if not self.end:
            return "The runtime keeps no event log."
        pruned = f", those before {self.first} were pruned" if self.first else ""
        return f"{counted(len(self.about), 'event')} of the log are about it (offsets up to {self.end - 1}{pruned})."


@final
@frozen
class InputHistory:
    """One input, and its moments from the first to the last. ``ahead`` counts the inputs before it in its lane, None
    where it is not queued.
    """

    runtime: RuntimeRecord
    record: InputRecord
    moments: tuple[Moment, ...]
    receipt: RunBoundaryReceipt | None
    log: EventLog
    ahead: int | None

    @property
    def crashes(self) -> int:
        """How many runs with it are known to have been lost."""
        return sum(fact.kind is FactKind.CRASH for moment in self.moments for fact in moment.facts)

    @property
    def now(self) -> str:
        """How it stands, in a sentence."""
        record = self.record
        if record.is_terminal:
            return f"It ended: {_ending(record)}."
        if self.ahead is None:
            return f"It is {record.state}, in run {record.last_run_id}."
        held = "" if record.not_before is None else f", and not before {record.not_before:%Y-%m-%d %H:%M:%S} UTC"
        place = f"with {counted(self.ahead, 'input')} ahead of it" if self.ahead else "at the front"
        return f"It waits in the {record.admission.lane} lane {place}{held}."


def history_of(reader: LmdbReader, runtime: RuntimeRecord, record: InputRecord) -> InputHistory:
    """What one consistent view of a store tells of an input."""
    receipt = None
    if record.last_run_id is not None and record.last_boundary_sequence is not None:
        receipt = reader.load_receipt(runtime.runtime_id, record.last_run_id, record.last_boundary_sequence)
    log = _log(reader, runtime, record)
    ahead = None
    if record.state is InputState.QUEUED:
        loaded = reader.load_runtime(runtime.runtime_id)
        lane = () if loaded is None else loaded.inputs
        ahead = sum(
            each.state is InputState.QUEUED
            and each.admission.lane is record.admission.lane
            and each.order < record.order
            for each in lane
        )
    return InputHistory(runtime, record, tuple(_moments(record, receipt, log.about)), receipt, log, ahead)


def _log(reader: LmdbReader, runtime: RuntimeRecord, record: InputRecord) -> EventLog:
    """The events about an input and about the runs that took it."""
    first, after = 0, None
    found: list[EventEnvelope] = []
    runs: set[RunId] = set()
    waiting: list[EventEnvelope] = []
    while True:
        try:
            events = reader.load_events(runtime.runtime_id, after, _PAGE)
        except EventsPruned as error:
            first, after = error.first_available, error.first_available - 1
            continue
        if not events:
            return EventLog(first, runtime.counts.events, tuple(found))
        for event in events:
            if event.input_id == record.input_id:
                # That a run began is announced right before what it takes.
                found += [each for each in waiting if each.run_id == event.run_id and each.at == event.at]
                waiting = []
                found.append(event)
                if event.run_id is not None:
                    runs.add(event.run_id)
            elif event.input_id is None and event.code is not EventCode.RUNTIME_STATE_CHANGED:
                if event.run_id in runs:
                    found.append(event)
                else:
                    waiting = [event]
        after = offset_of(events[-1])


def _moments(
    record: InputRecord, receipt: RunBoundaryReceipt | None, logged: Sequence[EventEnvelope]
) -> Iterator[Moment]:
    by_time: dict[datetime, tuple[EventEnvelope, ...]] = {}
    for event in logged:
        by_time[event.at] = (*by_time.get(event.at, ()), event)
    times = {entry.at for entry in record.history}
    if record.history_dropped or not record.history:
        admitted = record.admission.admitted_at
        yield Moment(admitted, (_admitted(record),), (), by_time.pop(admitted, ()) if admitted not in times else ())
        if record.history_dropped:
            told = f"{counted(record.history_dropped, 'transition')} no longer kept with the record"
            yield Moment(None, (Fact(FactKind.GAP, told),))
        for at, events in by_time.items():
            if at not in times:
                yield Moment(at, tuple(_from_log(event) for event in events), (), events)
    attempt = record.attempt_count - sum(entry.reason is InputEvent.STAGE for entry in record.history)
    teller = _Teller(record, receipt, attempt)
    for at, group in groupby(record.history, key=lambda entry: entry.at):
        steps = tuple(group)
        facts = tuple(fact for step in steps for fact in teller.facts(step))
        yield Moment(at, facts, steps, by_time.get(at, ()))


def _from_log(event: EventEnvelope) -> Fact:
    run = "" if event.run_id is None else f" in run {event.run_id}"
    return Fact(FactKind.LOGGED, f"{event.code}{run}, by the event log alone")


def _admitted(record: InputRecord) -> Fact:
    admission = record.admission
    key = "" if admission.idempotency_key is None else f" under the key {admission.idempotency_key!r}"
    kind = f"{admission.kind} admitted to the {admission.lane} lane as number {admission.order}{key}"
    return Fact(FactKind.ADMITTED, kind)


def _ending(record: InputRecord, *, with_error: bool = True) -> str:
    """How it ended, in words."""
    words = str(record.outcome_kind)
    if record.successor_id is not None:
        words += f", {record.successor_id} takes its place"
    if record.abandon_reason is not None:
        words += f", {record.abandon_reason}"
    return f"{words} ({record.error})" if with_error and record.error and record.abandon_reason else words


@final
class _Teller:
    """Counts attempts while transitions are told in their order; ``attempt`` is the last one before them."""

    def __init__(self, record: InputRecord, receipt: RunBoundaryReceipt | None, attempt: int) -> None:
        self.record = record
        self.receipt = receipt
        self.attempt = attempt

    def facts(self, step: HistoryEntry) -> Iterator[Fact]:
        """What a transition says; none where another one of the same command says it."""
        record, event = self.record, step.reason
        is_last = step is record.history[-1]
        if event is InputEvent.STAGE:
            self.attempt += 1
            run = f", run {record.last_run_id}" if self.attempt == record.attempt_count else ""
            yield Fact(FactKind.RUN, f"attempt {self.attempt} begins{run}")
        elif event in (InputEvent.QUEUE, InputEvent.CONSUME_ON_ACCEPT):
            yield _admitted(record)
        elif event is InputEvent.ROLLBACK:
            yield Fact(FactKind.BACK, f"attempt {self.attempt} is taken back, free of charge")
        elif event in (InputEvent.ROLLBACK_FAILED, InputEvent.EXHAUST):
            error = f": {record.error}" if record.error and self.attempt == record.attempt_count else ""
            yield Fact(FactKind.FAILURE, f"attempt {self.attempt} fails{error}")
        elif event is InputEvent.MARK_PENDING:
            yield Fact(FactKind.COMMIT, self._boundary())
        elif event is InputEvent.RECOVER_QUEUE:
            yield self._lost(step.from_state)
        elif event is InputEvent.RECOVER_CONSUME:
            yield Fact(FactKind.RECOVERY, "recovered: its boundary is stored, so it is not run again")
        if step.to_state is record.state and is_last and record.is_terminal:
            # A failure that ends it has told its error.
            yield Fact(FactKind.END, _ending(record, with_error=event is not InputEvent.EXHAUST))

    def _boundary(self) -> str:
        receipt = self.receipt
        if receipt is None or self.attempt < self.record.attempt_count:
            return "a boundary is committed"
        listed = counted(len(receipt.contributing_input_ids), "input")
        return f"boundary {receipt.sequence} is committed; its receipt lists {listed}"

    def _lost(self, state: InputState) -> Fact:
        if state not in _IN_HAND:
            return Fact(FactKind.RECOVERY, "recovered: it was admitted and never queued")
        told = f"attempt {self.attempt} was lost without a boundary and counts as failed; recovered to its place"
        return Fact(FactKind.CRASH, told)
