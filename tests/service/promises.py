"""What a service promised its callers over all its lives, held against the one store that outlives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, final
from uuid import UUID

from attrs import evolve

from holdstate.runtime.errors import DriverClosed, Fenced, NotReady, ServiceClosed, StoreError
from holdstate.runtime.events import EventEnvelope
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import InputOutcome, WaitFailed, outcome_of
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import Input
from holdstate.runtime.records import InputRecord, RunBoundaryReceipt
from holdstate.runtime.store import InputFilter, ResultRef
from holdstate.spec.vocabulary import AbandonReason, EventCode, InputState, RuntimeControl
from holdstate.stores.memory_store import MemoryStore

from .kit import MAX_ATTEMPTS

ENDS_OF_INPUTS: Final = {
    EventCode.INPUT_CONSUMED: InputState.CONSUMED,
    EventCode.INPUT_SUPERSEDED: InputState.SUPERSEDED,
    EventCode.INPUT_COALESCED: InputState.COALESCED,
    EventCode.INPUT_ABANDONED: InputState.ABANDONED,
}
ENDS_OF_RUNS: Final = frozenset({EventCode.RUN_COMPLETED, EventCode.RUN_FAILED, EventCode.RUN_CANCELLED})
IN_FLIGHT: Final = frozenset({InputState.STAGED, InputState.APPLIED, InputState.APPLIED_PENDING_CONSUMPTION})
NOT_TOLD: Final = (ServiceClosed, DriverClosed, Fenced, StoreError)
"""Why waiting may fail: the service ended, or its store did not answer."""

Place = tuple[str, InputId]
"""An input: its runtime and its id."""


@final
class Promises:
    """``broken`` says what did not hold; it is filled inside of callbacks whose errors a service would swallow."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.broken: list[str] = []
        self.given: dict[Place, Input] = {}
        """What was acknowledged, as it was submitted."""
        self.told: list[tuple[str, RuntimeControl]] = []
        self.heard: Counter[Place] = Counter()
        self.hopeless: set[Place] = set()
        self.cancelled: set[Place] = set()
        self.ended_by: dict[AbandonReason | None, Counter[str]] = {
            reason: Counter()
            for reason in (AbandonReason.RETIRED, AbandonReason.RESET, AbandonReason.STOPPED, AbandonReason.DESTROYED)
        }
        """How often the command that gives such a reason was called on a runtime, and not refused."""
        self.interrupted: set[UUID] = set()
        self.calls_off: dict[str, set[str]] = {}
        """Why the runs of a runtime may have been called off."""
        self.charges: Counter[UUID] = Counter()
        self.sequences: dict[UUID, int] = {}
        self.offsets: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        self.published: list[EventEnvelope] = []
        self.waited: Counter[str] = Counter()

    def demand(self, holds: bool, what: str) -> None:  # noqa: FBT001 - it is the claim itself
        """Note ``what`` unless it holds."""
        if not holds:
            self.broken.append(what)

    # -- runs ------------------------------------------------------------------------------------------------------

    def charge(self, records: Iterable[InputRecord]) -> None:
        """These inputs may count a failure more (C14)."""
        self.charges.update(record.input_id for record in records)

    def charge_in_flight(self) -> None:
        """A process is gone: what the store shows in flight counts as failed."""
        for record in self.records():
            self.charges[record.input_id] += record.state in IN_FLIGHT

    def boundary(self, run: ActiveRun, receipt: RunBoundaryReceipt) -> None:
        """Sequences of a run are dense (C21), and a boundary lists what was staged and in no boundary before (C20)."""
        wanted = self.sequences.get(run.run_id, -1) + 1
        self.sequences[run.run_id] = receipt.sequence
        self.demand(receipt.sequence == wanted, f"C21: boundary {receipt.sequence} of {run.run_id}, not {wanted}")
        listed = set(receipt.contributing_input_ids)
        self.demand(listed <= set(run.input_ids), f"C20: {listed} were not all in {run.run_id}")

    def called_off(self, run: ActiveRun) -> None:
        """An executor was cancelled, and the reason that it can read is true (C26)."""
        reason = run.token.reason
        self.demand(reason is not None, f"C26: {run.run_id} was cancelled without a reason")
        if reason == "interrupted":
            self.demand(run.run_id in self.interrupted, f"C26: {run.run_id} was interrupted by nobody")
        elif reason != "timeout":
            allowed = self.calls_off.get(run.runtime_id, set())
            self.demand(reason in allowed, f"C26: {run.run_id} was called off: {reason!r}; allowed: {allowed}")

    # -- what callers are told ---------------------------------------------------------------------------------------

    def ended(self, runtime_id: str, record: InputRecord) -> None:
        """A listener hears of an end: it is stored by then (C18), and it is told once (C46)."""
        stored = self.store.load_input(runtime_id, record.input_id)
        self.demand(stored == record and record.is_terminal, f"C18: the end of {record.input_id} is not stored")
        self.heard[runtime_id, record.input_id] += 1
        self.demand(self.heard[runtime_id, record.input_id] == 1, f"C46: the end of {record.input_id} was told again")

    def outcome(self, runtime_id: str, input_id: InputId, outcome: InputOutcome) -> None:
        """What a waiter was told is what is stored, followed to where a coalesced input went (C46)."""
        self.waited[type(outcome).__name__] += 1
        if isinstance(outcome, WaitFailed):
            was_refused = isinstance(outcome.cause, NotReady) and (runtime_id, input_id) not in self.given
            is_true = was_refused or isinstance(outcome.cause, NOT_TOLD)
            self.demand(is_true, f"C46: waiting for {input_id} failed: {outcome.cause!r}")
            return
        found: InputOutcome | UUID = input_id
        while isinstance(found, UUID):
            record = self.store.load_input(runtime_id, found)
            if record is None or not record.is_terminal:
                self.broken.append(f"C18: {outcome} was told, and {found} has not ended")
                return
            self.waited["followed"] += found != input_id
            ref = ResultRef.of(record)
            found = outcome_of(record, None if ref is None else self.store.load_result(runtime_id, ref))
        self.demand(found == outcome, f"C46: {outcome} was told, stored is {found}")

    def delivered(self, events: Iterable[EventEnvelope]) -> None:
        """Events come after their commit (C18), in order, without a gap, with the outcome that is stored (C45)."""
        for event in events:
            self.published.append(event)
            self._in_order(event)
            if event.offset is not None:
                self._is_logged(event)
            if event.code in ENDS_OF_INPUTS and event.input_id is not None:
                self._says_how_it_ended(event)

    def _in_order(self, event: EventEnvelope) -> None:
        runtime_id = event.runtime_id
        wanted = {0, self.numbers.get(runtime_id, -1) + 1}
        self.demand(event.sequence in wanted, f"C45: {runtime_id} says {event.sequence}, not one of {wanted}")
        if event.sequence == 0:
            self.offsets.pop(runtime_id, None)  # another driver: of what was between, nobody was told
        if event.sequence is not None:
            self.numbers[runtime_id] = event.sequence
        if event.offset is not None:
            due = self.offsets.get(runtime_id, event.offset - 1) + 1
            self.demand(event.offset == due, f"C45: {runtime_id} publishes {event.offset}, not {due}")
            self.offsets[runtime_id] = event.offset

    def _is_logged(self, event: EventEnvelope) -> None:
        assert event.offset is not None
        logged = self.store.load_events(event.runtime_id, event.offset - 1 if event.offset else None, 1)
        told = (evolve(event, sequence=None),)
        self.demand(logged == told, f"C18: {event.runtime_id} publishes {told}, logged is {logged}")

    def _says_how_it_ended(self, event: EventEnvelope) -> None:
        assert event.input_id is not None
        record = self.store.load_input(event.runtime_id, event.input_id)
        if record is None or record.terminal_outcome is None:
            self.broken.append(f"C18: {event.code} of {event.input_id} was published, and it has not ended")
            return
        agrees = event.outcome == record.terminal_outcome and record.state is ENDS_OF_INPUTS[event.code]
        self.demand(agrees, f"C45: {event.code} says {event.outcome}, stored is {record.terminal_outcome}")

    # -- what is stored ----------------------------------------------------------------------------------------------

    def records(self) -> list[InputRecord]:
        """Every input of every runtime."""
        names = [runtime.runtime_id for runtime in self.store.list_runtimes()]
        return [record for name in names for record in self.store.list_inputs(InputFilter(name)).records]

    def check_stored(self) -> None:
        """What the store says at any time: it is whole, reasons are true, and nobody is charged for another's fault."""
        for finding in self.store.verify():
            self.broken.append(f"verify: {finding}")
        for runtime in self.store.list_runtimes():
            name = runtime.runtime_id
            keys: Counter[str] = Counter()
            for record in self.store.list_inputs(InputFilter(name)).records:
                self._check_record(name, record)
                keys[record.admission.idempotency_key or str(record.input_id)] += 1
            self.demand(not keys or max(keys.values()) == 1, f"C5: {name} has a key twice")
        for name, input_id in self.given:
            self.demand(
                self.store.load_input(name, input_id) is not None, f"C1: {input_id} was acknowledged and is gone"
            )

    def _check_record(self, name: str, record: InputRecord) -> None:
        input_id = record.input_id
        charged, allowed = record.failure_count, min(self.charges[input_id], MAX_ATTEMPTS)
        self.demand(charged <= allowed, f"C14: {input_id} is charged {charged} failures of {allowed}")
        reason = record.abandon_reason
        if reason is None:
            return
        match reason:
            case AbandonReason.CANCELLED:
                is_true = (name, input_id) in self.cancelled
            case AbandonReason.FAILED:
                is_true = (name, input_id) in self.hopeless
            case AbandonReason.ATTEMPTS_EXHAUSTED:
                is_true = record.failure_count >= MAX_ATTEMPTS
            case _:
                is_true = self.ended_by[reason][name] > 0
        self.demand(is_true, f"C25: {input_id} of {name} was abandoned: {reason}, which is not true")

    def check_log(self) -> None:
        """In the log each run begins once and ends at most once (C26), and each input ends at most once."""
        for runtime in self.store.list_runtimes():
            events = self.store.load_events(runtime.runtime_id, None, 100_000)
            begun = Counter(event.run_id for event in events if event.code is EventCode.RUN_STARTED)
            over = Counter(event.run_id for event in events if event.code in ENDS_OF_RUNS)
            ends = Counter(event.input_id for event in events if event.code in ENDS_OF_INPUTS)
            for what, counts in (("begins", begun), ("ends", over), ("ends", ends)):
                for each, often in counts.items():
                    self.demand(often == 1, f"C26: {each} {what} {often} times")
            self.demand(over.keys() <= begun.keys(), f"C26: a run of {runtime.runtime_id} ends that never began")

    def check_end(self, names: Iterable[str]) -> None:
        """All is calm: what was acknowledged has ended, and what was consumed was by exactly one boundary."""
        for name, input_id in self.given:
            record = self.store.load_input(name, input_id)
            self.demand(record is not None and record.is_terminal, f"C1: {input_id} of {name} has not ended")
        for name in names:
            records = self.store.list_inputs(InputFilter(name)).records
            runs = {record.last_run_id for record in records} - {None}
            receipts = [self.store.load_receipt(name, run, number) for run in runs if run for number in range(20)]
            listed = Counter(each for receipt in receipts if receipt for each in receipt.contributing_input_ids)
            consumed = Counter(record.input_id for record in records if record.state is InputState.CONSUMED)
            self.demand(listed == consumed, f"C23: {name} consumed {consumed}, its boundaries list {listed}")


async def waiting(
    promises: Promises, runtime_id: str, input_id: Callable[[], InputId], outcome: Awaitable[InputOutcome]
) -> None:
    """Somebody who waits for ``outcome``, and is told once; ``input_id`` is known by then."""
    told = await outcome
    promises.outcome(runtime_id, input_id(), told)
