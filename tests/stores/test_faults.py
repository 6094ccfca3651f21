"""The injected faults do what their names say, at the call that was named, once."""

from __future__ import annotations

import pytest

from holdstate.runtime.errors import StoreError
from holdstate.runtime.settings import Retention
from holdstate.runtime.store import InputFilter, ResultRef, RuntimeStore, Written
from holdstate.stores.memory_store import MemoryStore

from ..faults import READ_FAULTS, Fault, FaultyStore, Plan, SimulatedCrash, read_faults, write_faults
from ..spec.images import NOON, input_id, run_id
from .commits import A, following, opened, opening


@pytest.mark.parametrize(
    ("fault", "applied", "landed"),
    [(Fault.REFUSED, False, False), (Fault.UNKNOWN, None, False), (Fault.LANDED, None, True)],
)
def test_a_failing_write_lands_or_does_not(fault: Fault, applied: bool | None, landed: bool) -> None:  # noqa: FBT001
    """It strikes where the prepared group is written, and says what its name says."""
    inner = opened()
    store = FaultyStore(inner, Plan(fault, write=0))
    commit = following(inner, has_snapshot=False)
    write = store.prepare([commit])
    assert store.writes == 0
    with pytest.raises(StoreError) as failed:
        write()
    assert failed.value.applied is applied
    assert (inner.load_record(A) == commit.runtime) is landed
    assert (store.writes, store.struck) == (1, 1)


@pytest.mark.parametrize(("fault", "landed"), [(Fault.DIES_BEFORE, False), (Fault.DIES_AFTER, True)])
def test_a_crash_comes_before_or_after_the_write(fault: Fault, landed: bool) -> None:  # noqa: FBT001
    """What is stored is then what a new process finds."""
    inner = MemoryStore()
    store = FaultyStore(inner, Plan(fault, write=0))
    with pytest.raises(SimulatedCrash):
        store.claim(A, opening)
    assert (inner.load_record(A) is not None) is landed


def test_the_read_back_fails_as_often_as_it_was_told_to() -> None:
    """And so do the writes after it; then everything works again."""
    inner = opened()
    store = FaultyStore(inner, Plan(Fault.UNKNOWN, write=1, failing_reads=2, failing_writes=1))
    first = following(inner)
    assert store.commit([first]) == [Written(first)]
    commit = following(inner)
    with pytest.raises(StoreError, match="unknown"):
        store.commit([commit])
    with pytest.raises(StoreError, match="reading still fails"), store.reading():
        pytest.fail("no view is given")
    with pytest.raises(StoreError, match="reading still fails"):
        store.load_runtime(A)
    with pytest.raises(StoreError, match="writing still fails"):
        store.commit([commit])
    with store.reading() as reader:
        assert reader.load_record(A) == first.runtime
    assert store.commit([commit]) == [Written(commit)]


def test_without_a_plan_calls_are_passed_on_and_counted() -> None:
    """A first run counts, a later one is armed with a plan."""
    inner = opened()
    store = FaultyStore(inner)
    seam: RuntimeStore = store
    blob = seam.put_blob(b"x")
    assert seam.sweep_blobs() == 1
    seam.prune(Retention(keep_ended_seconds=0), now=NOON)
    seam.commit([following(inner)])
    assert store.writes == 4
    assert seam.load_runtime(A) == inner.load_runtime(A)
    assert seam.load_input(A, input_id(1)) is seam.find_by_key(A, "k") is None
    assert (seam.load_receipt(A, run_id(1), 0), seam.load_result(A, ResultRef(run_id(1)))) == (None, None)
    assert seam.load_session_snapshot(A) is seam.get_blob(blob) is None
    assert not seam.blob_exists(blob)
    assert seam.list_runtimes() == inner.list_runtimes()
    assert seam.list_inputs(InputFilter(A)).records == ()
    assert store.reads == 10
    assert (seam.verify(), seam.stats(), seam.generation) == ([], inner.stats(), 0)
    store.arm(Plan(read=0))
    with pytest.raises(StoreError, match="refused"):
        seam.list_runtimes()
    store.arm(Plan(Fault.DIES_BEFORE, read=0))
    with pytest.raises(SimulatedCrash):
        seam.list_runtimes()
    seam.close()


def test_every_call_gets_every_fault() -> None:
    """The plans of a loop over n calls; each strikes one of them."""
    assert {(plan.write, plan.fault) for plan in write_faults(2)} == {(n, fault) for n in (0, 1) for fault in Fault}
    assert [(plan.read, plan.fault) for plan in read_faults(2)] == [(n, fault) for n in (0, 1) for fault in READ_FAULTS]
