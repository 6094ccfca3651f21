"""Between the plain rows of the exploration and the real things: records, images, actors, the tables of a store.

What the rows leave out gets one value: the epoch and the revision of the store are constants, and the counters say that
there were ``BASE`` rows of each sort, of which retention removed those that are not there.
"""

from __future__ import annotations

from typing import Final, cast, final

from ..runtime import core
from ..runtime.actor import Actor
from ..runtime.actor import Doubt as ActorDoubt
from ..runtime.admitting import Prepared, prepare_input
from ..runtime.commands import Accept
from ..runtime.delta import Delta
from ..runtime.environment import Environment, RuntimeSettings
from ..runtime.errors import StoreError
from ..runtime.ids import InputId, RunId
from ..runtime.image import RuntimeImage
from ..runtime.outcomes import Accepted
from ..runtime.records import (
    PRIORITY_BIAS,
    Admission,
    Counts,
    InputRecord,
    LastRun,
    ResultSource,
    RunBoundaryReceipt,
    RuntimeRecord,
)
from ..runtime.store import Pruned, ResultRef
from ..spec.vocabulary import AbandonReason, Durability, InputState, OutcomeKind, RunBoundary, RunEnding, RuntimeState
from ..stores.memory_tables import RuntimeRows, Tables
from .explorer_kinds import INPUT_IDS, INPUT_NUMBERS, KINDS, LATER, NOW, RESULT, RUN_IDS, RUN_NUMBERS, RUNTIME, key_of
from .explorer_rows import Disk, InputRow, Memory, ReceiptRow, RuntimeRow

BASE: Final = 1000
EPOCH: Final = 10
REVISION: Final = 1000
GENERATION: Final = 1


@final
class Codec:
    """Thaws rows and freezes what became of them. Records are made once per row, so that those that nobody changed are
    known by identity.
    """

    def __init__(self, settings: RuntimeSettings) -> None:
        self.settings = settings
        self._prepared: dict[tuple[str, int], Prepared] = {}
        self._admissions: dict[tuple[str, int], Admission] = {}
        self._records: dict[InputRow, InputRecord] = {}
        self._rows: dict[int, tuple[InputRecord, InputRow]] = {}
        self._kinds = {self.prepared(kind, 1).fingerprint: kind for kind in KINDS}

    # -- inputs ----------------------------------------------------------------------------------------------------

    def prepared(self, kind: str, number: int) -> Prepared:
        """The ``number``-th input, if it is of ``kind``, validated and encoded."""
        found = self._prepared.get((kind, number))
        if found is None:
            prepared = prepare_input(KINDS[kind](number), self.settings.limits)
            assert isinstance(prepared, Prepared), prepared
            found = self._prepared[kind, number] = prepared
        return found

    def is_ephemeral(self, kind: str) -> bool:
        """Whether no store ever has inputs of ``kind``."""
        return self.prepared(kind, 1).input.header.durability is Durability.EPHEMERAL

    def _admission(self, kind: str, number: int) -> Admission:
        """As the core stamps it in an idle runtime. What a busy one stamps differs in whom it wakes, and nothing that
        is explored looks at that.
        """
        found = self._admissions.get((kind, number))
        if found is None:
            given = self.prepared(kind, number)
            image = RuntimeImage(RuntimeRecord(RUNTIME, RuntimeState.IDLE, next_order=number))
            delta = core.step(image, Accept(NOW, given.input, given.body, given.fingerprint), self.settings)
            found = self._admissions[kind, number] = cast("Accepted", delta.outcome).record.admission
        return found

    def body(self, input_id: InputId, kind: str) -> bytes:
        """The input as it was admitted."""
        return self.prepared(kind, INPUT_NUMBERS[input_id]).body

    def record(self, row: InputRow) -> InputRecord:
        """The record of ``row``; always the same one."""
        found = self._records.get(row)
        if found is None:
            found = self._records[row] = self._thaw(row)
            self._rows[id(found)] = (found, row)
        return found

    def _thaw(self, row: InputRow) -> InputRecord:
        return InputRecord(
            self._admission(row.kind, row.number),
            InputState(row.state),
            None if row.run is None else RUN_IDS[row.run],
            row.sequence,
            0 if row.run is None else 1,
            row.failures,
            row.cap,
            0,
            None if row.outcome is None else OutcomeKind(row.outcome),
            None if row.successor is None else INPUT_IDS[row.successor],
            None if row.reason is None else AbandonReason(row.reason),
            None,
            LATER if row.waits else None,
            None if row.source is None else ResultSource(row.source),
        )

    def row(self, record: InputRecord) -> InputRow:
        """``record`` without what nothing looks at."""
        found = self._rows.get(id(record))
        if found is None:
            found = self._rows[id(record)] = (record, self._freeze(record))
        return found[1]

    def _freeze(self, record: InputRecord) -> InputRow:
        admission = record.admission
        number = admission.order if admission.order > 0 else admission.order - PRIORITY_BIAS
        assert INPUT_IDS[number] == admission.input_id, "an input is named after its place"
        return InputRow(
            number,
            self._kinds[admission.fingerprint],
            record.state._value_,
            None if record.last_run_id is None else RUN_NUMBERS[record.last_run_id],
            record.last_boundary_sequence,
            record.failure_count,
            record.failure_cap,
            None if record.outcome_kind is None else record.outcome_kind._value_,
            None if record.successor_id is None else INPUT_NUMBERS[record.successor_id],
            None if record.abandon_reason is None else record.abandon_reason._value_,
            None if record.result_source is None else record.result_source._value_,
            record.not_before is not None and record.not_before > NOW,
        )

    # -- runtimes --------------------------------------------------------------------------------------------------

    def runtime(self, row: RuntimeRow, active: int, epoch: int = EPOCH, revision: int = REVISION) -> RuntimeRecord:
        """The runtime record of ``row``, with ``active`` durable inputs."""
        last = None
        if row.last_run is not None and row.ending is not None:
            last = LastRun(RUN_IDS[row.last_run], RunEnding(row.ending))
        return RuntimeRecord(
            RUNTIME,
            RuntimeState(row.state),
            None if row.run is None else RUN_IDS[row.run],
            None if row.returns_to is None else RuntimeState(row.returns_to),
            tuple([INPUT_IDS[each] for each in row.contributors]),
            row.boundaries,
            row.shared,
            last,
            epoch,
            revision,
            row.next_input,
            Counts(active, BASE, BASE, BASE, BASE),
            False,
            NOW,
        )

    @staticmethod
    def runtime_row(record: RuntimeRecord) -> RuntimeRow:
        """``record`` without what nothing looks at."""
        last = record.last_run
        return RuntimeRow(
            record.state._value_,
            None if record.current_run_id is None else RUN_NUMBERS[record.current_run_id],
            None if record.pre_run_state is None else record.pre_run_state._value_,
            tuple([INPUT_NUMBERS[each] for each in record.contributors]),
            record.boundary_count,
            record.shared_run,
            None if last is None else RUN_NUMBERS[last.run_id],
            None if last is None else last.ending._value_,
            record.next_order,
        )

    # -- memory ----------------------------------------------------------------------------------------------------

    @staticmethod
    def environment(fresh_run: int) -> Environment:
        """Time stands still, and the next id is that of the run ``fresh_run``."""
        return Environment(now=lambda: NOW, new_id=lambda: RUN_IDS[fresh_run], chance=lambda: 0.5)

    def image(self, runtime: RuntimeRow, rows: tuple[InputRow, ...], epoch: int, revision: int) -> RuntimeImage:
        records = [self.record(row) for row in rows]
        fleeting = [record for record in records if record.admission.is_ephemeral]
        active = len(records) - len(fleeting)
        image = RuntimeImage(self.runtime(runtime, active, epoch, revision), records)
        for record in fleeting:
            image.bodies[record.input_id] = self.body(record.input_id, self.row(record).kind)
        return image

    def actor(self, memory: Memory, fresh_run: int, image: RuntimeImage | None = None) -> Actor:
        """The driver's actor with ``memory``; the next run gets the number ``fresh_run``. ``image`` is that of an actor
        with this memory and without a doubt, if there is one.
        """
        doubt = memory.doubt
        epoch, revision = EPOCH, REVISION
        if memory.stale:
            epoch, revision = EPOCH - 1, REVISION - 10
        elif doubt is not None and doubt.landed:
            revision -= 1
        if image is None:
            image = self.image(memory.runtime, memory.inputs, epoch, revision)
        generation = GENERATION - 1 if memory.behind else GENERATION
        actor = Actor(RUNTIME, image, self.settings, self.environment(fresh_run), generation)
        actor.handed_out = None if memory.held is None else RUN_IDS[memory.held]
        actor.stranded = memory.stranded
        if doubt is not None:
            cause = StoreError("the commit could not be read back", applied=None)
            delta = self._delta(image, self.image(doubt.runtime, doubt.inputs, epoch, revision + 1))
            actor.doubt = ActorDoubt(cause, [delta], revision + 1, None)
        return actor

    @staticmethod
    def _delta(before: RuntimeImage, after: RuntimeImage) -> Delta:
        """What leads from one image to the other, as one delta."""
        names = list(dict.fromkeys((*before.inputs, *after.inputs)))
        pairs = [(before.inputs.get(name), after.inputs.get(name)) for name in names]
        bodies = {name: body for name, body in after.bodies.items() if name not in before.bodies}
        changes = [(old, new) for old, new in pairs if old is not new]
        return Delta(runtime=after.runtime, changes=changes, bodies=bodies, stored=True)

    def memory(self, actor: Actor, *, stale: bool) -> Memory:
        """What ``actor`` has in memory, but for a doubt."""
        rows = [self.row(record) for record in actor.image.inputs.values()]
        rows.sort(key=_number)
        held = None if actor.handed_out is None else RUN_NUMBERS[actor.handed_out]
        runtime = self.runtime_row(actor.image.runtime)
        return Memory(runtime, tuple(rows), held, stale, actor.generation != GENERATION, actor.stranded)

    # -- the store -------------------------------------------------------------------------------------------------

    def tables(self, disk: Disk | None) -> Tables:
        """A store that holds ``disk``."""
        tables = Tables()
        if disk is None:
            return tables
        rows = RuntimeRows()
        for row in disk.inputs:
            record = self.record(row)
            order = record.order
            rows.orders[record.input_id] = order
            if record.is_terminal:
                rows.ended[order] = record
            else:
                rows.active[order] = record
                rows.bodies[order] = self.body(record.input_id, row.kind)
            if record.admission.idempotency_key is not None:
                rows.keys[key_of(row.number)] = record.input_id
        for receipt in disk.receipts:
            rows.receipts[RUN_IDS[receipt.run], receipt.sequence] = self.receipt(receipt)
        for run, sequence in disk.results:
            rows.results[ResultRef(RUN_IDS[run], None if sequence < 0 else sequence)] = RESULT
        tables.records[RUNTIME] = self.runtime(disk.runtime, len(rows.active))
        tables.rows[RUNTIME] = rows
        found = (rows.ended, rows.keys, rows.receipts, rows.results)
        tables.pruned[RUNTIME] = Pruned(*(BASE - len(each) for each in found))
        return tables

    def disk(self, tables: Tables) -> Disk:
        """What ``tables`` holds."""
        rows = tables.rows[RUNTIME]
        inputs = [self.row(record) for record in (*rows.active.values(), *rows.ended.values())]
        inputs.sort(key=_number)
        results = [(RUN_NUMBERS[ref.run_id], -1 if ref.sequence is None else ref.sequence) for ref in rows.results]
        return Disk(
            self.runtime_row(tables.records[RUNTIME]),
            tuple(inputs),
            tuple(self.receipt_row(each) for each in rows.receipts.values()),
            tuple(sorted(results)),
        )

    @staticmethod
    def receipt(row: ReceiptRow) -> RunBoundaryReceipt:
        """The receipt of ``row``."""
        return RunBoundaryReceipt(
            run_id=RunId(RUN_IDS[row.run]),
            boundary=RunBoundary(row.boundary),
            contributing_input_ids=tuple(INPUT_IDS[each] for each in row.inputs),
            sequence=row.sequence,
            ephemeral_input_ids=tuple(INPUT_IDS[each] for each in row.ephemeral),
        )

    @staticmethod
    def receipt_row(receipt: RunBoundaryReceipt) -> ReceiptRow:
        """``receipt`` as a row."""
        return ReceiptRow(
            RUN_NUMBERS[receipt.run_id],
            receipt.sequence,
            receipt.boundary._value_,
            tuple(INPUT_NUMBERS[each] for each in receipt.contributing_input_ids),
            tuple(INPUT_NUMBERS[each] for each in receipt.ephemeral_input_ids),
        )


def _number(row: InputRow) -> int:
    return row.number
