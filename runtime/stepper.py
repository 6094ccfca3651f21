"""The engine under the core: sends events through the two compiled machines and gathers what they change.

Nothing here decides anything: a row of the command table says what is sent, machine rows say what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, cast, final

from ..spec.commands import CommandRow, InputGroup, Rule, Selection
from ..spec.expressions import TRUE
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.runtime_state import RUNTIME_STATE
from ..spec.vocabulary import (
    Durability,
    EventCode,
    InputEvent,
    RunEnding,
    RuntimeEvent,
    RuntimeState,
)
from .commands import Command
from .delta import Delta
from .environment import RuntimeSettings
from .errors import RunNotCurrent
from .events import Announcement
from .ids import InputId, RunId
from .image import RuntimeImage
from .records import (
    TERMINAL_INPUT_STATES,
    Counts,
    HistoryEntry,
    InputRecord,
    LastRun,
    ResultSource,
    RuntimeRecord,
    build_counts,
    build_input_record,
    build_runtime_record,
)

INPUTS = INPUT_LIFECYCLE.compile()
RUNTIMES = RUNTIME_STATE.compile()

Facts = dict[str, object]


NONE_NAMED: Mapping[Selection, Sequence[InputRecord]] = MappingProxyType({})

SELECTED: Mapping[Selection, Callable[[RuntimeImage], Sequence[InputRecord]]] = MappingProxyType(
    {
        Selection.STAGED: RuntimeImage.staged,
        Selection.CONTRIBUTORS: RuntimeImage.contributors,
        Selection.OUTSIDE_RUN: RuntimeImage.outside_run,
        Selection.ACTIVE: RuntimeImage.active,
    }
)
"""The selections that the image answers; the others are named by the command."""


def check_needs(image: RuntimeImage, row: CommandRow, command: Command, run_id: RunId | None) -> None:
    """Raise ``RunNotCurrent`` where what the row needs of the current run does not hold."""
    if not row.allows(runtime_fields(image.runtime), command.facts()):
        raise RunNotCurrent(command.name, run_id, image.runtime.current_run_id)


def input_fields(record: InputRecord) -> Facts:
    """The fields of machine 1, as its rows name them."""
    return {
        "last_run_id": record.last_run_id,
        "last_boundary_sequence": record.last_boundary_sequence,
        "attempt_count": record.attempt_count,
        "failure_count": record.failure_count,
    }


def runtime_fields(record: RuntimeRecord) -> Facts:
    """The fields of machine 2, with the state for conditions of the command table."""
    return {
        "state": record.state,
        "current_run_id": record.current_run_id,
        "pre_run_state": record.pre_run_state,
    }


@final
class Stepper:
    """One command on its way to a delta. The image is read, never written."""

    __slots__ = (
        "announcements",
        "at",
        "changed",
        "facts",
        "image",
        "key_added",
        "result_source",
        "row",
        "runtime_sets",
        "settings",
        "state",
    )

    def __init__(self, image: RuntimeImage, row: CommandRow, command: Command, settings: RuntimeSettings) -> None:
        self.image = image
        self.row = row
        self.settings = settings
        self.at: datetime = command.at
        self.facts: Facts = command.facts()
        self.facts["max_attempts"] = settings.retry.max_attempts
        self.state: RuntimeState = image.runtime.state
        self.runtime_sets: Facts = {}
        # By order key: an id takes ten times as long to hash.
        self.changed: dict[int, tuple[InputRecord | None, InputRecord]] = {}
        self.announcements: list[Announcement] = []
        self.key_added = False
        self.result_source: ResultSource | None = None
        """Where the command gives a result: what it answers the inputs with that it changes."""

    def send(self, named: Mapping[Selection, Sequence[InputRecord]] = NONE_NAMED) -> None:
        """Everything the row says: its runtime events, then its groups of inputs. ``named`` are those the command
        names.
        """
        for event in self.row.sends:
            self.send_runtime(event)
        for group in self.row.inputs:
            records = named.get(group.select)
            self.send_group(group, SELECTED[group.select](self.image) if records is None else records)

    # -- machine 2 -------------------------------------------------------------------------------------------------

    def send_runtime(self, event: RuntimeEvent) -> None:
        """Send one event to the runtime; TransitionRefused where machine 2 has no row for it."""
        fields = runtime_fields(self.image.runtime)
        fields.update(self.runtime_sets)
        step = RUNTIMES.step(self.state, event, fields, self.facts)
        self.state = step.target
        self.runtime_sets.update(step.sets)
        run_id = cast("RunId | None", self.facts.get("run_id"))
        for code in step.emits:
            self.announcements.append(Announcement(cast("EventCode", code), self.at, run_id=run_id, state=step.target))

    # -- machine 1 -------------------------------------------------------------------------------------------------

    def send_group(self, group: InputGroup, records: Sequence[InputRecord], extra: Facts | None = None) -> None:
        """Give each of ``records`` what the first fitting rule of ``group`` says."""
        facts = self.facts if extra is None else {**self.facts, **extra}
        for record in records:
            self.send_rules(record, group.rules, facts)

    def send_rules(self, record: InputRecord, rules: tuple[Rule, ...], facts: Facts) -> None:
        for rule in rules:
            if record.state in rule.states and (rule.when is TRUE or rule.holds(input_fields(record), facts)):
                after = record
                for send in rule.sends:
                    given = {name: value.evaluate({}, facts) for name, value in send.given.items()}
                    after = self.advance(after, send.event, {**facts, **given} if given else facts)
                self._put(record, after)
                if rule.then:
                    self.send_rules(after, rule.then, facts)
                return

    def advance(self, record: InputRecord, event: InputEvent, params: Facts) -> InputRecord:
        """``record`` after ``event``; TransitionRefused where machine 1 has no row for it."""
        step = INPUTS.step(record.state, event, input_fields(record), params)
        state = step.target
        history = (*record.history, HistoryEntry(self.at, record.state, state, event))
        dropped = len(history) - self.settings.max_history
        # Anything: the table declares what each of its fields is, and a cast per field is a call on the hot path.
        sets: dict[str, Any] = step.sets
        get = sets.get
        failures: int = get("failure_count", record.failure_count)
        after = build_input_record(
            record.admission,
            state,
            get("last_run_id", record.last_run_id),
            get("last_boundary_sequence", record.last_boundary_sequence),
            get("attempt_count", record.attempt_count),
            failures,
            record.failure_cap if failures == record.failure_count else self.settings.retry.max_attempts,
            record.recovery_count,
            get("terminal_outcome", record.outcome_kind),
            get("successor_id", record.successor_id),
            get("abandon_reason", record.abandon_reason),
            get("error", record.error),
            None,
            self.result_source or record.result_source,
            history if dropped <= 0 else history[dropped:],
            record.history_dropped + dropped if dropped > 0 else record.history_dropped,
        )
        if step.emits:
            outcome = after.terminal_outcome if state in TERMINAL_INPUT_STATES else None
            input_id, run_id = record.admission.input_id, after.last_run_id
            for code in step.emits:
                self.announcements.append(
                    Announcement(cast("EventCode", code), self.at, input_id, run_id, None, outcome)
                )
        return after

    def _put(self, before: InputRecord, after: InputRecord) -> None:
        order = after.admission.order
        first = self.changed.get(order)
        self.changed[order] = (before if first is None else first[0], after)

    def admit(self, record: InputRecord) -> InputRecord:
        """Count ``record``, which is in ``changed`` as if it had existed before, as new; returns what became of it."""
        admission = record.admission
        _, admitted = self.changed[admission.order]
        self.changed[admission.order] = (None, admitted)
        self.key_added = admission.idempotency_key is not None
        return admitted

    def amend(self, record: InputRecord) -> None:
        """Replace the new version of an input that this command changed, for a stamp that no machine field holds."""
        order = record.admission.order
        self.changed[order] = (self.changed[order][0], record)

    def after(self, record: InputRecord) -> InputRecord:
        """The newest version of ``record`` within this command."""
        changed = self.changed.get(record.admission.order)
        return record if changed is None else changed[1]

    # -- the result ------------------------------------------------------------------------------------------------

    def delta(
        self,
        *,
        contributors: tuple[InputId, ...] | None = None,
        boundary_count: int | None = None,
        shared_run: bool | None = None,
        ending: RunEnding | None = None,
        next_order: int | None = None,
        receipts: int = 0,
        results: int = 0,
        has_snapshot: bool | None = None,
    ) -> Delta:
        """The delta of all that was sent; the arguments are the parts of the runtime record that no machine field
        holds.
        """
        for code in self.row.announces:
            run_id = cast("RunId | None", self.facts.get("run_id"))
            self.announcements.append(Announcement(code, self.at, None, run_id, self.state))
        before = self.image.runtime
        stored = bool(self.row.commits) and (
            bool(self.runtime_sets)
            or self.state is not before.state
            or receipts > 0
            or contributors is not None
            or self._changes_a_stored_input()
        )
        current = cast("RunId | None", self.runtime_sets.get("current_run_id", before.current_run_id))
        ended = before.current_run_id is not None and current is None
        if ended:
            contributors, boundary_count, shared_run = (), 0, False
        last_run = before.last_run
        if ended and ending is not None and before.current_run_id is not None:
            last_run = LastRun(before.current_run_id, ending)
        runtime = build_runtime_record(
            before.runtime_id,
            self.state,
            current,
            cast("RuntimeState | None", self.runtime_sets.get("pre_run_state", before.pre_run_state)),
            before.contributors if contributors is None else contributors,
            before.boundary_count if boundary_count is None else boundary_count,
            before.shared_run if shared_run is None else shared_run,
            last_run,
            before.epoch,
            before.revision + 1 if stored else before.revision,
            before.next_order if next_order is None else next_order,
            self._counts(before.counts, receipts, results) if stored else before.counts,
            before.has_snapshot if has_snapshot is None else has_snapshot,
            before.created_at,
        )
        return Delta(
            runtime=runtime,
            changes=list(self.changed.values()),
            announcements=self.announcements,
            stored=stored,
        )

    def _changes_a_stored_input(self) -> bool:
        for _, after in self.changed.values():  # noqa: SIM110 - a generator costs more than the loop
            if after.admission.durability is not Durability.EPHEMERAL:
                return True
        return False

    def _counts(self, before: Counts, receipts: int, results: int) -> Counts:
        active, ended = before.active, before.ended
        for old, new in self.changed.values():
            if new.admission.durability is Durability.EPHEMERAL:
                continue
            if old is None:
                active += 1
            if new.state in TERMINAL_INPUT_STATES:
                active -= 1
                ended += 1
        keys = before.keys + (1 if self.key_added else 0)
        return build_counts(active, ended, keys, before.receipts + receipts, before.results + results, before.events)
