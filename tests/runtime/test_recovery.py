"""Recovery: every storable image becomes one that can go on, once and for all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from holdstate.runtime import commands as c
from holdstate.runtime.errors import RunInProgress, StoreCorruption
from holdstate.runtime.outcomes import RecoveryDetail, RecoveryReport
from holdstate.runtime.records import PRIORITY_BIAS, Counts, InputRecord, LastRun, RuntimeRecord, stored_form
from holdstate.spec.errors import TransitionRefused
from holdstate.spec.vocabulary import Durability, InputState, Lane, RunEnding, RuntimeState

from .cores import EPHEMERAL, NO_BACKOFF, NOON, Core, a_record, event, progress, run_id
from .scenarios import RUN, by_hand, receipt_of, torn

ACCEPTED, QUEUED, STAGED = InputState.ACCEPTED, InputState.QUEUED, InputState.STAGED
APPLIED, PENDING = InputState.APPLIED, InputState.APPLIED_PENDING_CONSUMPTION
CONSUMED, ABANDONED = InputState.CONSUMED, InputState.ABANDONED
REFUSED = {RuntimeState.RECOVERING, RuntimeState.STOPPED, RuntimeState.DESTROYED}


def crashed(core: Core, inputs: Sequence[InputRecord] | None = None) -> Core:
    """A core over what the store holds of another: no ephemeral inputs, nothing volatile."""
    stored = [record for record in core.image.active() if not record.admission.is_ephemeral]
    again = Core(core.settings, runtime=stored_form(core.image.runtime), inputs=stored if inputs is None else inputs)
    again.receipts, again.ended = dict(core.receipts), dict(core.ended)
    return again


def reopen(core: Core) -> RecoveryReport:
    report: RecoveryReport = core.do(c.Open(core.at, core.stored_receipts()))
    return report


def test_a_new_runtime_becomes_idle_in_its_first_epoch() -> None:
    """The first open initializes it, and its commit makes it exist."""
    core = Core()
    runtime = core.image.runtime
    assert (runtime.state, runtime.epoch, runtime.revision) == (RuntimeState.IDLE, 1, 1)
    assert core.last.outcome == RecoveryReport()
    assert core.last.stored


def test_what_a_crash_left_staged_is_queued_again_and_counted() -> None:
    """It keeps its place, has one failure more, no backoff, and its run is over (C13, C14)."""
    core = Core()
    ids = [core.accept(event()) for _ in range(3)]
    core.do(c.BeginRun(core.at, run_id(1), tuple(ids[:2])))
    after = crashed(core)
    report = reopen(after)
    assert after.lane(Lane.QUEUE) == ids
    assert [after.record(each).failure_count for each in ids] == [1, 1, 0]
    assert [after.record(each).recovery_count for each in ids] == [1, 1, 0]
    assert after.record(ids[0]).not_before is None
    assert report == RecoveryReport(3, 2, 0, 0, tuple(RecoveryDetail(each, STAGED, QUEUED) for each in ids[:2]))
    runtime = after.image.runtime
    assert (runtime.state, runtime.last_run) == (RuntimeState.IDLE, LastRun(run_id(1), RunEnding.RECOVERED))
    assert (runtime.contributors, runtime.boundary_count, runtime.epoch) == ((), 0, 2)


def test_a_committed_boundary_is_never_run_again() -> None:
    """What a stored receipt lists is consumed, and its result is kept (C23)."""
    core = Core()
    first = core.accept(event())
    core.begin()
    core.boundary(result=b"answer")
    more = core.accept(event())
    after = crashed(core)
    report = reopen(after)
    assert (after.state_of(first), after.state_of(more)) == (CONSUMED, QUEUED)
    assert after.record(first).result_source == "boundary"
    assert (report.consumed, report.requeued) == (1, 0)


def test_a_pending_input_without_its_receipt_runs_again() -> None:
    """Only a stored receipt of its last run consumes it; one of another run does not."""
    record = a_record(PENDING, 1, last_run_id=RUN, last_boundary_sequence=0, attempt_count=1)
    core = by_hand(RuntimeState.IDLE, record)
    other = evolve(receipt_of(record), run_id=run_id(5))
    core.do(c.Open(core.at, (other,)))
    again = core.record(record.input_id)
    assert (again.state, again.last_boundary_sequence, again.failure_count) == (QUEUED, None, 1)


@pytest.mark.parametrize("order", [1, -1], ids=["as given", "reversed"])
def test_every_boundary_of_a_run_counts(order: int) -> None:
    """A run with two boundaries consumes what each of them lists, whatever order the receipts come in (C23)."""
    records = [
        a_record(PENDING, number + 1, last_run_id=RUN, last_boundary_sequence=number, attempt_count=1)
        for number in range(2)
    ]
    receipts = [evolve(receipt_of(each), sequence=number) for number, each in enumerate(records)]
    core = by_hand(RuntimeState.IDLE, *records)
    report: RecoveryReport = core.do(c.Open(core.at, tuple(receipts[::order])))
    assert [core.state_of(each.input_id) for each in records] == [CONSUMED, CONSUMED]
    assert (report.consumed, report.requeued) == (2, 0)


@pytest.mark.parametrize("order", ["as given", "reversed"])
def test_recovery_does_not_depend_on_the_order_of_rows(order: str) -> None:
    """The same report and the same image, whatever order the rows come in (C23)."""
    records = torn()
    rows = records if order == "as given" else tuple(reversed(records))
    core = by_hand(RuntimeState.IDLE, *rows)
    report: RecoveryReport = core.do(c.Open(core.at, (receipt_of(records[5], records[7]),)))
    assert [detail.input_id for detail in report.details] == [each.input_id for each in records if each.state != QUEUED]
    assert core.lane(Lane.QUEUE) == [records[place].input_id for place in (0, 2, 3, 4, 6)]


_storable = st.sampled_from([ACCEPTED, QUEUED, STAGED, APPLIED, PENDING])


@given(
    st.lists(st.tuples(_storable, st.booleans(), st.integers(0, 6)), max_size=8),
    st.sampled_from(
        [
            RuntimeState.INITIALIZING,
            RuntimeState.IDLE,
            RuntimeState.RUNNING,
            RuntimeState.ATTACHED,
            RuntimeState.RETIRED,
        ]
    ),
    st.sampled_from([None, RuntimeState.IDLE, RuntimeState.RETIRED]),
)
def test_recovery_is_total_and_idempotent(
    rows: list[tuple[InputState, bool, int]], state: RuntimeState, pre: RuntimeState | None
) -> None:
    """From any torn image an open reaches idle or retired with queued inputs only; a second changes none (C30, C31)."""
    records = [
        a_record(each, number, last_run_id=None if each in (ACCEPTED, QUEUED) else RUN, failure_count=failures)
        for number, (each, _, failures) in enumerate(rows, start=1)
    ]
    pairs = zip(records, rows, strict=True)
    receipt = receipt_of(*(each for each, (kind, listed, _) in pairs if listed and kind in (APPLIED, PENDING)))
    current = RUN if pre is not None else None
    core = by_hand(state, *records, pre_run_state=pre, current_run_id=current)
    core.do(c.Open(core.at, (receipt,)))
    assert core.state in (RuntimeState.IDLE, RuntimeState.RETIRED)
    assert {record.state for record in core.image.active()} <= {QUEUED}
    assert all(
        record.failure_count < 5 or rows[record.order - 1][0] in (ACCEPTED, QUEUED) for record in core.image.active()
    )
    once, epoch = core.image.active(), core.image.runtime.epoch
    core.do(c.Open(core.at, (receipt,)))
    assert (core.image.active(), core.image.runtime.epoch) == (once, epoch + 1)
    core.do(c.Recover(core.at, (receipt,)))
    assert (core.image.active(), core.last.stored) == (once, False)


def test_recovering_what_is_settled_commits_nothing() -> None:
    """Not even where an executor is forgotten by it: being attached is volatile (C31)."""
    core = Core()
    core.accept(event())
    core.do(c.Attach(core.at))
    before = core.image.runtime
    for make in (c.Recover, c.Recycle):
        core.do(make(core.at))
        assert not core.last.stored
        assert core.image.runtime == evolve(before, state=RuntimeState.IDLE)


def test_a_recycle_out_of_retired_is_committed() -> None:
    """Back into service with all work kept."""
    core = Core()
    first = core.accept(event())
    core.do(c.Retire(core.at))
    core.do(c.Recycle(core.at))
    assert (core.state, core.state_of(first), core.last.stored) == (RuntimeState.IDLE, QUEUED, True)


def test_a_run_in_the_hands_of_an_executor_is_not_recovered() -> None:
    """Recover and recycle are refused while it is in flight."""
    core = Core()
    core.accept(event())
    core.begin()
    assert core.refuse(RunInProgress, c.Recover(core.at, handed_out=True)).run_id == core.run
    core.refuse(RunInProgress, c.Recycle(core.at, handed_out=True))
    core.refuse(TransitionRefused, c.Recycle(core.at))
    core.do(c.Recover(core.at))
    assert core.image.runtime.current_run_id is None


def test_ephemeral_inputs_of_a_lost_run_are_queued_again() -> None:
    """A recovery without a crash keeps them; only memory changes for them."""
    core = Core()
    first = core.accept(event(durability=EPHEMERAL))
    core.begin()
    core.do(c.Recover(core.at))
    assert core.state_of(first) is QUEUED
    assert core.last.stored, "the runtime record is written: its run is over"
    record = a_record(STAGED, 1, stamp={"durability": EPHEMERAL}, last_run_id=RUN)
    for durability, stored in ((EPHEMERAL, False), (Durability.DURABLE, True)):
        alone = by_hand(RuntimeState.IDLE, evolve(record, admission=evolve(record.admission, durability=durability)))
        alone.do(c.Recover(alone.at))
        assert (alone.state_of(record.input_id), alone.last.stored) == (QUEUED, stored)


@pytest.mark.parametrize(("given_input", "wakes"), [(event, True), (progress, False)])
def test_an_open_wakes_for_inputs_that_may_wake(given_input: type[object], *, wakes: bool) -> None:
    """Whoever may wake an idle runtime does so after a crash, the others do not (C16)."""
    core = Core()
    core.accept(given_input())  # type: ignore[arg-type]  # both make inputs
    after = crashed(core)
    reopen(after)
    assert after.last.wake is wakes


# -- terminal runtimes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [c.Stop, c.Destroy])
def test_a_terminal_runtime_is_sent_nothing(end: type[c.Command]) -> None:
    """Opening it claims it and reports nothing; recovering it changes nothing; recycling it is refused."""
    core = Core()
    core.accept(event())
    core.do(end(core.at))
    state, epoch = core.state, core.image.runtime.epoch
    assert reopen(core) == RecoveryReport()
    assert (core.state, core.image.runtime.epoch, core.last.stored) == (state, epoch + 1, True)
    assert core.do(c.Recover(core.at)) == RecoveryReport()
    assert not core.last.stored
    core.refuse(TransitionRefused, c.Recycle(core.at))


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [c.Open, c.Recover])
@pytest.mark.parametrize("state", [RuntimeState.STOPPED, RuntimeState.DESTROYED])
def test_a_terminal_runtime_with_active_inputs_or_a_run_is_corrupt(
    make: type[c.Open | c.Recover], state: RuntimeState
) -> None:
    """Nothing is written (C38)."""
    core = by_hand(state, a_record(QUEUED, 1))
    assert "1 of its inputs are active" in str(core.refuse(StoreCorruption, make(core.at)))
    core = by_hand(state, current_run_id=RUN)
    assert "is current" in str(core.refuse(StoreCorruption, make(core.at)))


def test_an_ephemeral_input_does_not_make_a_store_corrupt() -> None:
    """Memory may still hold one that the store never had."""
    record = a_record(QUEUED, 1, stamp={"durability": Durability.EPHEMERAL})
    core = by_hand(RuntimeState.STOPPED, record)
    assert core.do(c.Recover(core.at)) == RecoveryReport()


def test_contributors_without_a_run_are_let_go() -> None:
    """Whoever stored them: after an opening no input is named by a run that there is not (C23)."""
    record = a_record(STAGED, 1, last_run_id=RUN, attempt_count=1)
    core = by_hand(RuntimeState.IDLE, record, contributors=(record.input_id,))
    reopen(core)
    assert core.image.runtime.contributors == ()
    assert core.state_of(record.input_id) is QUEUED


def test_recovering_is_never_stored() -> None:
    """A record that says so is corrupt; a recover or a resume leaves it."""
    core = by_hand(RuntimeState.RECOVERING)
    assert "recovering" in str(core.refuse(StoreCorruption, c.Open(core.at)))


@pytest.mark.parametrize("state", [ACCEPTED, STAGED, QUEUED])
def test_an_input_that_a_committed_boundary_lists_cannot_be_before_it(state: InputState) -> None:
    """Running it again would consume it twice, so that it is corrupt, and nothing is written."""
    record = a_record(state, 1, last_run_id=RUN)
    core = by_hand(RuntimeState.IDLE, record)
    error = core.refuse(StoreCorruption, c.Open(core.at, (receipt_of(record),)))
    assert str(record.input_id) in error.where


@pytest.mark.parametrize("order", [7, 7 + PRIORITY_BIAS])
def test_an_order_key_ahead_of_the_counter_is_corrupt(order: int) -> None:
    """It would be given out twice, in the priority class too."""
    runtime = RuntimeRecord("r", RuntimeState.IDLE, created_at=NOON, next_order=7, counts=Counts(active=1))
    core = Core(NO_BACKOFF, runtime=runtime, inputs=[a_record(QUEUED, order)], sound=False)
    assert "order key 7" in str(core.refuse(StoreCorruption, c.Open(core.at)))
    core.image.runtime = evolve(runtime, next_order=8)
    core.do(c.Open(core.at))
