"""Hand-made commits with sound books: what a driver would write, without a driver."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any, Final, final
from uuid import UUID

from attrs import evolve

from holdstate.runtime.ids import InputId, RunId
from holdstate.runtime.records import (
    Admission,
    Counts,
    HistoryEntry,
    InputRecord,
    LastRun,
    ResultSource,
    RunBoundaryReceipt,
    RuntimeRecord,
)
from holdstate.runtime.store import Commit, InputWrite, LoadedRuntime, ResultRef, RuntimeStore, Written
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.vocabulary import (
    Durability,
    InputEvent,
    InputKind,
    InputState,
    Lane,
    OutcomeKind,
    RunBoundary,
    RunEnding,
    RuntimeState,
)
from holdstate.stores.lmdb_store import LmdbStore

START: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def blob_id(content: bytes) -> str:
    """The id of a blob with that content."""
    return f"sha256:{sha256(content).hexdigest()}"


def counted(counts: Counts, **more: int) -> Counts:
    """``counts`` with so many more."""
    return evolve(counts, **{name: getattr(counts, name) + number for name, number in more.items()})


@final
class Books:
    """One runtime as its owner sees it. Every method returns the commit of one command; ``write`` makes it so.

    Ids are numbers and times are steps of a second, so two books with the same ``seed`` write the same rows.
    """

    def __init__(self, runtime_id: str = "r", seed: int = 0) -> None:
        self.record = RuntimeRecord(runtime_id)
        self.active: dict[InputId, InputRecord] = {}
        self.ended: dict[InputId, InputRecord] = {}
        self._numbers = count(1 + seed * 1_000_000)
        self.now = START

    # -- what is written -----------------------------------------------------------------------------------------

    def open(self, store: RuntimeStore) -> None:
        """Claim the runtime in ``store``."""
        self.record = store.claim(self.record.runtime_id, self.settle).record

    def settle(self, loaded: LoadedRuntime | None) -> Commit:
        """What an opening commits."""
        record = RuntimeRecord(self.record.runtime_id, created_at=START) if loaded is None else loaded.record
        state = RuntimeState.IDLE if loaded is None else record.state
        raised = evolve(record, state=state, epoch=record.epoch + 1, revision=record.revision + 1)
        return Commit(raised, raised.epoch, record.revision)

    def write(self, store: RuntimeStore, *commits: Commit) -> None:
        """Write commits one after the other; each has to take effect."""
        for commit in commits:
            (result,) = store.commit([commit])
            assert isinstance(result, Written), result
            self.record = commit.runtime
            for write in commit.inputs:
                here = self.ended if write.record.is_terminal else self.active
                self.active.pop(write.record.input_id, None)
                here[write.record.input_id] = write.record

    def commit(self, writes: Sequence[InputWrite] = (), **changes: Any) -> Commit:
        """A commit of the present record with ``changes``."""
        record = evolve(self.record, revision=self.record.revision + 1, **changes)
        return Commit(record, self.record.epoch, self.record.revision, list(writes))

    # -- commands ------------------------------------------------------------------------------------------------

    def accept(
        self, keys: Sequence[str | None] = (None,), *, body: bytes = b"{}", blobs: Sequence[bytes] = ()
    ) -> Commit:
        """Admit one input per key, all with the same body and blobs."""
        self._tick()
        names = tuple(blob_id(content) for content in blobs)
        records = [self.queued(self.record.next_order + place, key=key, blobs=names) for place, key in enumerate(keys)]
        commit = self.commit(
            [InputWrite(record, is_new=True, body=body) for record in records],
            next_order=self.record.next_order + len(records),
            counts=counted(self.record.counts, active=len(records), keys=sum(1 for key in keys if key is not None)),
        )
        commit.blobs = [(blob_id(content), content) for content in blobs]
        return commit

    def queued(self, order: int, *, key: str | None = None, blobs: tuple[str, ...] = ()) -> InputRecord:
        """A new prompt."""
        return InputRecord(
            Admission(
                InputId(self._uuid()),
                order,
                InputKind.PROMPT,
                Durability.DURABLE,
                Lane.QUEUE,
                RunBoundary.RUN_START,
                is_prompt=True,
                wakes=True,
                idempotency_key=key,
                supersession_key=None,
                fingerprint=sha256(str(order).encode()).digest(),
                decision=DEFAULT_POLICY.resolve(InputKind.PROMPT, None, idle=True),
                admitted_at=self.now,
                blobs=blobs,
            ),
            InputState.QUEUED,
            history=(HistoryEntry(self.now, InputState.ACCEPTED, InputState.QUEUED, InputEvent.QUEUE),),
        )

    def stage(self) -> Commit:
        """Begin a run with the first active input."""
        self._tick()
        first = next(iter(self.active.values()))
        run_id = RunId(self._uuid())
        staged = self._moved(
            first, InputEvent.STAGE, InputState.STAGED, last_run_id=run_id, attempt_count=first.attempt_count + 1
        )
        return self.commit(
            [InputWrite(staged, is_new=False)],
            state=RuntimeState.RUNNING,
            current_run_id=run_id,
            pre_run_state=RuntimeState.IDLE,
            contributors=(first.input_id,),
            boundary_count=0,
        )

    def finish(self, *, result: bytes | None = None, snapshot: bytes | None = None, keep_body: bool = False) -> Commit:
        """Boundary and completion of the current run in one commit."""
        self._tick()
        run_id = self.record.current_run_id
        assert run_id is not None
        (staged,) = (self.active[input_id] for input_id in self.record.contributors)
        applied = self._moved(staged, InputEvent.APPLY, InputState.APPLIED)
        pending = self._moved(
            applied, InputEvent.MARK_PENDING, InputState.APPLIED_PENDING_CONSUMPTION, last_boundary_sequence=0
        )
        consumed = self._moved(
            pending,
            InputEvent.CONSUME,
            InputState.CONSUMED,
            outcome_kind=OutcomeKind.CONSUMED,
            result_source=None if result is None else ResultSource.COMPLETION,
        )
        commit = self.commit(
            [InputWrite(consumed, is_new=False, drop_body=not keep_body)],
            state=RuntimeState.IDLE,
            current_run_id=None,
            pre_run_state=None,
            contributors=(),
            boundary_count=0,
            last_run=LastRun(run_id, RunEnding.COMPLETED),
            counts=counted(self.record.counts, active=-1, ended=1, receipts=1, results=int(result is not None)),
            has_snapshot=self.record.has_snapshot or snapshot is not None,
        )
        digest = None if snapshot is None else sha256(snapshot).hexdigest()
        commit.receipts.append(RunBoundaryReceipt(run_id, RunBoundary.RUN_START, (staged.input_id,), 0, 3, digest))
        if result is not None:
            commit.results.append((ResultRef(run_id), result))
        commit.snapshot = snapshot
        return commit

    def supersede(self, key: str | None = None) -> Commit:
        """Admit one input that replaces the first queued one."""
        commit = self.accept([key])
        (new,) = commit.inputs
        old = next(iter(self.active.values()))
        gone = self._moved(
            old,
            InputEvent.SUPERSEDE,
            InputState.SUPERSEDED,
            outcome_kind=OutcomeKind.SUPERSEDED,
            successor_id=new.record.input_id,
        )
        commit.inputs.append(InputWrite(gone, is_new=False, drop_body=True))
        commit.runtime = evolve(commit.runtime, counts=counted(commit.runtime.counts, active=-1, ended=1))
        return commit

    # -- helpers -------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.now += timedelta(seconds=1)

    def _uuid(self) -> UUID:
        return UUID(int=next(self._numbers))

    def _moved(self, record: InputRecord, event: InputEvent, state: InputState, **changes: Any) -> InputRecord:
        entry = HistoryEntry(self.now, record.state, state, event)
        return evolve(record, state=state, history=(*record.history, entry), **changes)


def loaded(store: RuntimeStore, runtime_id: str = "r") -> LoadedRuntime:
    """The runtime, which has to be there."""
    found = store.load_runtime(runtime_id)
    assert found is not None
    return found


def last_txnid(store: LmdbStore) -> int:
    """The id of the last write transaction in the file, by LMDB's own account."""
    env = store._environment._env
    assert env is not None
    return env.info()["last_txnid"]
