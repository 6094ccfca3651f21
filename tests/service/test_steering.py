"""Steering: what arrives during a run can join it, durably, and a run with several boundaries recovers by the last."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate.runtime.errors import InvalidInput, RunNotCurrent, StoreError
from holdstate.runtime.executor import ActiveRun, PermanentFailure
from holdstate.runtime.handles import Abandoned, Completed
from holdstate.runtime.ids import InputId
from holdstate.runtime.outcomes import RunOutput
from holdstate.runtime.records import InputRecord, RunBoundaryReceipt
from holdstate.runtime.settings import RetryPolicy
from holdstate.runtime.store import InputFilter
from holdstate.spec.vocabulary import AbandonReason, InputState
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, FaultyStore, Plan
from .kit import (
    NO_BACKOFF,
    RULES,
    RUNTIME,
    SETTINGS,
    Gate,
    Scripted,
    opened,
    prompt,
    said,
    service_over,
    serving,
    steer,
    takes,
)
from .virtual_loop import run


def test_a_steer_joins_the_run_and_is_answered_by_it() -> None:
    """Staged durably before the executor sees it, consumed by the next boundary, merged into the run (C19, C21)."""

    async def scenario() -> None:
        began, go = asyncio.Event(), asyncio.Event()
        seen: list[Any] = []

        async def steered(run: ActiveRun) -> RunOutput:
            began.set()
            await go.wait()
            taken = await run.take_steers()
            seen.extend(said(each) for each in taken)
            seen.extend([record.state for record in run.records[1:]])
            seen.append(await service.input_state(RUNTIME, late.input_id))
            assert run.input_ids == (first.input_id, late.input_id)
            assert await run.take_steers() == ()
            return RunOutput(result=b"both")

        executor = Scripted({"a": steered})
        async with serving(executor) as service:
            first = await service.submit(RUNTIME, prompt("a"))
            await began.wait()
            late = await service.submit(RUNTIME, steer("s"))
            go.set()
            outcomes = [await first.outcome(), await late.outcome()]
            assert [outcome.result for outcome in outcomes if isinstance(outcome, Completed)] == [b"both"] * 2
            assert seen == ["s", InputState.STAGED, InputState.STAGED]
            receipt = await service.load_boundary_receipt(RUNTIME, executor.runs[0].run_id, 0)
            assert receipt is not None
            assert receipt.contributing_input_ids == (first.input_id, late.input_id)

    run(scenario)


def test_what_is_not_taken_starts_the_next_run_in_order() -> None:
    """Steers come before the queue, and keep their order; the run did not look, so it has none of them."""

    async def scenario() -> list[tuple[str, ...]]:
        gate = Gate()
        executor = Scripted({"a": gate})
        async with serving(executor) as service:
            handles = [await service.submit(RUNTIME, prompt("a"))]
            await gate.began.wait()
            handles += [await service.submit(RUNTIME, each) for each in (prompt("q"), steer("s1"), steer("s2"))]
            gate.opened.set()
            for handle in handles:
                assert isinstance(await handle.outcome(), Completed)
        return executor.entered

    assert run(scenario) == [("a",), ("s1", "s2"), ("q",)]


def test_checkpoints_have_dense_sequences_and_keep_the_latest_snapshot() -> None:
    """Three boundaries of one run, each consuming what was staged since the one before (C21)."""

    async def scenario() -> None:
        async def works(run: ActiveRun) -> RunOutput:
            assert run.records[0].state is InputState.STAGED
            first = await run.checkpoint(b"one", result=b"r1", message_count=1)
            assert run.session_snapshot == b"one"
            late.append(await service.submit(RUNTIME, steer("s")))
            await run.take_steers()
            second = await run.checkpoint()
            assert run.session_snapshot == b"one"
            assert (first.sequence, second.sequence) == (0, 1)
            assert second.contributing_input_ids == (late[0].input_id,)
            assert await service.load_session_snapshot(RUNTIME) == b"one"
            return RunOutput(session_snapshot=b"three")

        late: list[Any] = []
        executor = Scripted({"a": works})
        async with serving(executor) as service:
            outcome = await (await service.submit(RUNTIME, prompt("a"))).outcome()
            assert isinstance(outcome, Completed)
            assert isinstance(await late[0].outcome(), Completed)
            assert await service.load_session_snapshot(RUNTIME) == b"three"
            await (await service.submit(RUNTIME, prompt("b"))).outcome()
            assert executor.runs[-1].session_snapshot == b"three"

    run(scenario)


@pytest.mark.parametrize("nonsense", [{"session_snapshot": "text"}, {"result": 7}, {"message_count": -1}])
def test_a_checkpoint_of_nonsense_is_refused_and_changes_nothing(nonsense: dict[str, Any]) -> None:
    """The executor hears what is wrong, and may go on."""

    async def scenario() -> Any:
        async def works(run: ActiveRun) -> bytes:
            before = opened(service).driver.image.runtime
            with pytest.raises(InvalidInput, match=next(iter(nonsense))):
                await run.checkpoint(**nonsense)
            assert opened(service).driver.image.runtime == before
            return b"fine"

        async with serving(Scripted({"a": works})) as service:
            return await (await service.submit(RUNTIME, prompt("a"))).outcome()

    assert run(scenario).result == b"fine"


def test_after_a_boundary_a_failure_costs_its_inputs_nothing() -> None:
    """What a boundary lists is consumed; what was taken after it is tried again, alone (C23)."""

    async def scenario() -> tuple[list[Any], list[tuple[str, ...]]]:
        async def breaks(run: ActiveRun) -> None:
            await run.checkpoint(result=b"kept")
            handles.append(await service.submit(RUNTIME, steer("s")))
            await run.take_steers()
            raise PermanentFailure("later")

        handles: list[Any] = []
        executor = Scripted({"a": breaks})
        async with serving(executor) as service:
            handles.append(await service.submit(RUNTIME, prompt("a")))
            outcomes = [await handles[0].outcome()]
            outcomes.append(await handles[1].outcome())
        return outcomes, executor.entered

    (first, second), entered = run(scenario)
    assert (first.result, second.result) == (b"kept", b"s")
    assert entered == [("a",), ("s",)]


def test_where_one_failure_is_the_end_nobody_joins() -> None:
    """With a cap of one, and beside an input that failed before, a steer waits for its own run (C15)."""

    async def scenario(attempts: int) -> tuple[list[int], list[tuple[str, ...]]]:
        counts: list[int] = []

        async def works(run: ActiveRun) -> None:
            if run.attempt == attempts:
                handles.append(await service.submit(RUNTIME, steer("s")))
                counts.append(len(await run.take_steers()))
                return
            raise ValueError

        handles: list[Any] = []
        executor = Scripted({"a": works})
        rules = evolve(RULES, retry=RetryPolicy(attempts, NO_BACKOFF))
        async with serving(executor, evolve(SETTINGS, runtime=rules)) as service:
            handles.append(await service.submit(RUNTIME, prompt("a")))
            assert isinstance(await handles[0].outcome(), Completed)
            assert isinstance(await handles[1].outcome(), Completed)
        return counts, executor.entered

    assert run(lambda: scenario(1)) == ([0], [("a",), ("s",)])
    assert run(lambda: scenario(2)) == ([0], [("a",), ("a",), ("s",)])


def test_a_called_off_run_takes_nothing_more() -> None:
    """After a stop, a boundary and a steer of the old run are errors that change nothing (C26, C33)."""

    async def scenario() -> tuple[list[type[BaseException]], Any]:
        errors: list[type[BaseException]] = []
        began, ended = asyncio.Event(), asyncio.Event()

        async def works(run: ActiveRun) -> None:
            began.set()
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                assert run.token.is_cancelled
                assert await run.token.wait() == "stopped"
                for late in (run.checkpoint, run.take_steers):
                    try:
                        await late()
                    except RunNotCurrent as error:
                        errors.append(type(error))
                ended.set()
                raise

        async with serving(Scripted({"a": works})) as service:
            handle = await service.submit(RUNTIME, prompt("a"))
            await began.wait()
            await service.stop(RUNTIME)
            await ended.wait()
            return errors, await handle.outcome()

    errors, outcome = run(scenario)
    assert errors == [RunNotCurrent] * 2
    assert isinstance(outcome, Abandoned)
    assert outcome.reason is AbandonReason.STOPPED


DEAD = 10**9
"""More calls than anybody makes."""


def all_records(store: MemoryStore) -> tuple[InputRecord, ...]:
    return store.list_inputs(InputFilter(RUNTIME)).records


def receipts_of(store: MemoryStore) -> list[RunBoundaryReceipt]:
    runs = {record.last_run_id for record in all_records(store)} - {None}
    found = (store.load_receipt(RUNTIME, run_id, number) for run_id in runs if run_id for number in range(5))
    return [receipt for receipt in found if receipt is not None]


# -- crashes -----------------------------------------------------------------------------------------------------------


class Boundaries:
    """A run that takes a steer and commits a boundary, so many times; a steer arrives before each."""

    def __init__(self, boundaries: int) -> None:
        self.boundaries = boundaries
        self.service: Any = None
        self.words: dict[InputId, str] = {}

    async def apply(self, run: ActiveRun) -> RunOutput:
        for number in range(self.boundaries):
            if number and said(run.inputs[0]) == "first":
                await self.service.ingest(RUNTIME, steer(f"steer {number}", idempotency_key=f"steer {number}"))
                await run.take_steers()
            self.words.update({given.header.id: said(given) for given in run.inputs})
            await run.checkpoint(f"snapshot {said(run.inputs[-1])}".encode(), result=said(run.inputs[-1]).encode())
            if said(run.inputs[0]) != "first":
                break
        return RunOutput()


@pytest.mark.parametrize("boundaries", [1, 2, 3])
@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER])
def test_a_crash_at_any_store_call_recovers_by_the_last_boundary(boundaries: int, fault: Fault) -> None:
    """Consumed exactly when a boundary lists it, tried again when not, in order, and each once (C19, C23)."""

    async def crashed_at(number: int) -> bool:
        inner = MemoryStore()
        store = FaultyStore(inner, Plan(fault, write=number, failing_reads=DEAD, failing_writes=DEAD))
        executor, given = Boundaries(boundaries), prompt("first", idempotency_key="first")
        executor.service = crashed = service_over(store, executor)
        caller = asyncio.create_task(crashed.ingest(RUNTIME, given))
        while not store.struck and asyncio.get_running_loop().time() < 1.0:
            await takes(0.01)
        await crashed.close(0.0)
        await asyncio.gather(caller, return_exceptions=True)
        before = {record.input_id: record for record in all_records(inner) if record.is_terminal}
        again = Boundaries(boundaries)
        async with serving(again, store=inner, seed=1) as service:
            again.service = service
            outcome = await (await service.submit(RUNTIME, given)).outcome(60.0)
            assert isinstance(outcome, Completed)
            for record in all_records(inner):
                assert isinstance(await service.wait(RUNTIME, record.input_id), Completed)
        records = all_records(inner)
        for record in records:
            assert before.get(record.input_id, record) == record
            assert sum(record.input_id in each.contributing_input_ids for each in receipts_of(inner)) == 1
            assert record.failure_count <= 1
        words = [again.words.get(record.input_id) or executor.words[record.input_id] for record in records]
        assert words == ["first", *(f"steer {n}" for n in range(1, len(records)))]
        return store.struck > 0

    number = 0
    while run(lambda number=number: crashed_at(number)):  # type: ignore[misc]
        number += 1
    # claim, accept, begin, a boundary each, two more for each steer, the end
    assert number == 3 + boundaries + 2 * (boundaries - 1) + 1


# -- any script --------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["steer", "queue", "take", "checkpoint"]), max_size=8), st.sampled_from(["ok", "fail"]))
def test_whatever_a_run_does_every_input_ends_once_and_in_order(  # noqa: C901 - one branch a step
    script: list[str], how: str
) -> None:
    """Arrivals, takes and boundaries in any order, and a run that ends well, or badly the first time (C11, C13)."""

    async def scenario() -> None:
        handles: list[Any] = []
        began = iter((True,))

        async def works(run: ActiveRun) -> None:
            if not next(began, False):
                return
            for number, step in enumerate(script):
                if step == "take":
                    await run.take_steers()
                elif step == "checkpoint":
                    await run.checkpoint()
                else:
                    given = steer(f"{number}") if step == "steer" else prompt(f"{number}")
                    handles.append(await service.submit(RUNTIME, given))
            if how == "fail":
                raise ValueError

        executor = Scripted({"a": works})
        async with serving(executor) as service:
            handles.append(await service.submit(RUNTIME, prompt("a")))
            while handles:
                assert isinstance(await handles.pop(0).outcome(60.0), Completed)
            receipts = await asyncio.gather(
                *(service.load_boundary_receipt(RUNTIME, run.run_id, n) for run in executor.runs for n in range(10))
            )
            listed = [each for receipt in receipts if receipt for each in receipt.contributing_input_ids]
            assert len(listed) == len(set(listed))
            for lane in ("steer", "queue"):
                numbers = [str(number) for number, step in enumerate(script) if step == lane]
                consumed = [said_of[each] for each in listed if said_of.get(each) in numbers]
                assert consumed == numbers

    said_of: dict[Any, str] = {}
    original = Scripted.apply

    async def noting(self: Scripted, run: ActiveRun) -> Any:
        try:
            return await original(self, run)
        finally:
            said_of.update({given.header.id: said(given) for given in run.inputs})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scripted, "apply", noting)
        run(scenario)


def test_a_store_that_fails_during_a_checkpoint_is_told_to_the_executor() -> None:
    """It may try again; the boundary is committed once."""

    async def scenario() -> Any:
        async def works(run: ActiveRun) -> bytes:
            await takes(1.0)
            store.arm(Plan(Fault.LANDED, write=0, failing_reads=1))
            with pytest.raises(StoreError) as told:
                await run.checkpoint(b"one")
            return str(told.value.applied).encode()

        store = FaultyStore(MemoryStore())
        async with serving(Scripted({"a": works}), store=store) as service:
            return await (await service.submit(RUNTIME, prompt("a"))).outcome()

    assert run(scenario).result == b"None"
