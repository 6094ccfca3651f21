"""Faults between a driver and its store: the n-th call fails before or after it took effect, or the process dies there.

``FaultyStore`` stands before any store. Its calls are counted, so a test runs once without a plan to count them, and
then once for each call and each fault. What a fault means:

``REFUSED``     StoreError(applied=False), and nothing happened
``UNKNOWN``     StoreError(applied=None), and nothing happened
``LANDED``      StoreError(applied=None), though the call took effect
``DIES_BEFORE`` SimulatedCrash before the call, ``DIES_AFTER`` after it took effect
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum, unique
from types import MappingProxyType
from typing import Final, TypeVar, final
from uuid import UUID

from attrs import define, field, frozen

from ...runtime.errors import StoreError
from ...runtime.events import EventEnvelope
from ...runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from ...runtime.settings import Retention
from ...runtime.store import (
    Claim,
    Commit,
    Finding,
    InputFilter,
    InputPage,
    LoadedRuntime,
    Pruned,
    Reader,
    ResultRef,
    RuntimeStore,
    StoreStats,
    WriteResult,
)

T = TypeVar("T")


@final
class SimulatedCrash(Exception):
    """The process ends here: whoever drives a store through this has to drop its drivers and open anew."""


@final
@unique
class Fault(Enum):
    """What becomes of a call; the module's docstring says what each means."""

    REFUSED = "refused"
    UNKNOWN = "unknown"
    LANDED = "landed"
    DIES_BEFORE = "dies before"
    DIES_AFTER = "dies after"


READ_FAULTS: Final = (Fault.REFUSED, Fault.DIES_BEFORE)
"""What can happen to a reading call."""


@final
@frozen
class Plan:
    """Which call fails, how, and what goes on failing.

    ``write`` and ``read`` count writing and reading calls from 0. After the fault struck, the next ``failing_reads``
    reading calls fail too (the read-back), and the next ``failing_writes`` writing ones are refused.
    """

    fault: Fault = Fault.REFUSED
    write: int | None = None
    read: int | None = None
    failing_reads: int = 0
    failing_writes: int = 0


@final
@define
class FaultyStore:
    """``inner`` with the faults of ``plan``. ``writes`` and ``reads`` count the calls, ``struck`` the faults."""

    inner: RuntimeStore
    plan: Plan = field(factory=Plan)
    writes: int = 0
    reads: int = 0
    struck: int = 0
    _failing_reads: int = 0
    _failing_writes: int = 0

    def arm(self, plan: Plan) -> None:
        """Start over with another plan: all counters are 0 again."""
        self.plan, self.writes, self.reads, self.struck = plan, 0, 0, 0
        self._failing_reads = self._failing_writes = 0

    # -- where faults strike ------------------------------------------------------------------------------------------

    def _write(self, call: Callable[[], T]) -> T:
        number, self.writes = self.writes, self.writes + 1
        if self._failing_writes:
            self._failing_writes -= 1
            raise StoreError("injected: writing still fails", applied=False)
        if number != self.plan.write:
            return call()
        return self._strike(call)

    def _read(self, call: Callable[[], T]) -> T:
        number, self.reads = self.reads, self.reads + 1
        if self._failing_reads:
            self._failing_reads -= 1
            raise StoreError("injected: reading still fails", applied=False)
        if number == self.plan.read:
            assert self.plan.fault in READ_FAULTS, "a reading call is refused, or the process dies before it"
            return self._strike(call)
        return call()

    def _strike(self, call: Callable[[], T]) -> T:
        fault = self.plan.fault
        self.struck += 1
        self._failing_reads, self._failing_writes = self.plan.failing_reads, self.plan.failing_writes
        if fault is Fault.DIES_BEFORE:
            raise SimulatedCrash
        if fault in {Fault.LANDED, Fault.DIES_AFTER}:
            call()
        if fault is Fault.DIES_AFTER:
            raise SimulatedCrash
        raise StoreError(f"injected: {fault.value}", applied=_APPLIED[fault])

    # -- the store ----------------------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        return self.inner.generation

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        with self._read(self.inner.reading) as reader:
            yield reader

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        write = self.inner.prepare(group)
        return lambda: self._write(write)

    def commit(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        return self.prepare(group)()

    def claim(self, runtime_id: str, settle: Callable[[LoadedRuntime | None], Commit]) -> LoadedRuntime:
        return self._write(lambda: self.inner.claim(runtime_id, settle))

    def put_blob(self, content: bytes) -> str:
        return self._write(lambda: self.inner.put_blob(content))

    def sweep_blobs(self) -> int:
        return self._write(self.inner.sweep_blobs)

    def prune(self, retention: Retention, *, now: datetime) -> Pruned:
        return self._write(lambda: self.inner.prune(retention, now=now))

    def close(self) -> None:
        self.inner.close()

    def load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        return self._read(lambda: self.inner.load_runtime(runtime_id))

    def load_input(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        return self._read(lambda: self.inner.load_input(runtime_id, input_id))

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        return self._read(lambda: self.inner.find_by_key(runtime_id, key))

    def load_receipt(self, runtime_id: str, run_id: UUID, sequence: int) -> RunBoundaryReceipt | None:
        return self._read(lambda: self.inner.load_receipt(runtime_id, run_id, sequence))

    def load_result(self, runtime_id: str, ref: ResultRef) -> bytes | None:
        return self._read(lambda: self.inner.load_result(runtime_id, ref))

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        return self._read(lambda: self.inner.load_session_snapshot(runtime_id))

    def load_events(self, runtime_id: str, after: int | None = None, limit: int = 1000) -> tuple[EventEnvelope, ...]:
        return self._read(lambda: self.inner.load_events(runtime_id, after, limit))

    def list_runtimes(self, *, after: str | None = None, limit: int = 1000) -> tuple[RuntimeRecord, ...]:
        return self._read(lambda: self.inner.list_runtimes(after=after, limit=limit))

    def list_inputs(self, wanted: InputFilter, *, after: int | None = None, limit: int = 1000) -> InputPage:
        return self._read(lambda: self.inner.list_inputs(wanted, after=after, limit=limit))

    def get_blob(self, blob_id: str) -> bytes | None:
        return self._read(lambda: self.inner.get_blob(blob_id))

    def blob_exists(self, blob_id: str) -> bool:
        return self._read(lambda: self.inner.blob_exists(blob_id))

    def verify(self) -> list[Finding]:
        """Not counted, like ``stats``: what tests look with."""
        return self.inner.verify()

    def stats(self) -> StoreStats:
        return self.inner.stats()


DEATHS: Final = (Fault.DIES_BEFORE, Fault.DIES_AFTER)
_FOR_EVER: Final = 10**9


def dying(fault: Fault, write: int) -> Plan:
    """The process dies at a writing call: whatever is called afterwards fails, so that nobody reads back."""
    return Plan(fault, write=write, failing_reads=_FOR_EVER, failing_writes=_FOR_EVER)


_APPLIED = MappingProxyType({Fault.REFUSED: False, Fault.UNKNOWN: None, Fault.LANDED: None})


def write_faults(writes: int) -> Iterator[Plan]:
    """Every fault at each of ``writes`` writing calls; of unknown ones also with a read-back that fails twice."""
    for number in range(writes):
        for fault in Fault:
            yield Plan(fault, write=number)
            if fault in {Fault.UNKNOWN, Fault.LANDED}:
                yield Plan(fault, write=number, failing_reads=2)


def read_faults(reads: int) -> Iterator[Plan]:
    """Every fault at each of ``reads`` reading calls."""
    for number in range(reads):
        for fault in READ_FAULTS:
            yield Plan(fault, read=number)
