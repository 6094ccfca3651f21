"""Admission: what an accept promises, and what a refused one leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from threading import Event
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate.runtime.blocks import ImageBlock
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import NotReady, StoreCorruption, StoreError
from holdstate.runtime.flush import committer_of
from holdstate.runtime.inputs import Input
from holdstate.runtime.outcomes import Accepted, Deduplicated, Rejected, Run, RunOutput
from holdstate.runtime.rejections import RejectionCode
from holdstate.runtime.settings import Limits
from holdstate.runtime.store import RuntimeStore
from holdstate.spec.vocabulary import Durability, InputState, OutcomeKind
from holdstate.stores.lmdb_rows import ACTIVE, KEYS, ORDERS
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore

from ..faults import Fault, Plan
from .damage import flipped, overwrite, raw_rows
from .kit import (
    PRIORITY,
    RUNTIME,
    SETTINGS,
    SUPERSEDING,
    Home,
    LmdbHome,
    MemoryHome,
    NewHome,
    Seam,
    accept,
    assert_failure_is_typed,
    assert_memory_equals_store,
    begun,
    derived,
    event,
    input_id,
    inputs_of,
    memory_of,
    message,
    on_the_thread,
    opened,
    operation,
    outcome_of,
    progress,
    prompt,
    queue_of,
    rows_of,
    steer,
    trials,
    work_off,
    world,
)

Make = Callable[..., Input]


@pytest.mark.parametrize("make", [prompt, steer, event, message])
async def test_accepted_input_keeps_its_lane_and_place_wherever_the_process_dies(
    store_factory: NewHome, make: Make
) -> None:
    """After Accepted, crash and recovery: exactly that input, same lane, same place (C1)."""

    async def before(driver: PersistentRuntimeDriver) -> None:
        await accept(driver, event(1), steer(2), message(3))

    async for trial in trials(
        store_factory, lambda driver: driver.accept_input(make(9)), before=before, settings=PRIORITY
    ):
        assert_failure_is_typed(trial)
        known = await trial.driver.input_record(input_id(9)) is not None
        queue = queue_of(trial.driver)
        assert known is (input_id(9) in queue)
        others = [each for each in queue if each != input_id(9)]
        assert others == [input_id(2), input_id(3), input_id(1)]
        if isinstance(trial.outcome, Accepted):
            again = await opened(trial.home.crash(), settings=PRIORITY)
            assert queue_of(again) == queue
            assert (await again.input_record(input_id(9))) == trial.outcome.record
            assert await again.persisted_input(input_id(9)) == make(9)
        assert trial.home.store.verify() == []


@pytest.mark.parametrize(
    ("make", "rules", "kind"),
    [(progress, SETTINGS, OutcomeKind.COALESCED), (prompt, SUPERSEDING, OutcomeKind.SUPERSEDED)],
)
async def test_replacing_accept_is_all_or_nothing_wherever_the_process_dies(
    store_factory: NewHome, make: Make, rules: Any, kind: OutcomeKind
) -> None:
    """Crash anywhere in a replacing accept: old live and new absent, or old ended naming the new, live one (C2)."""

    async def before(driver: PersistentRuntimeDriver) -> None:
        await accept(driver, make(1, supersession_key="s"), make(2, supersession_key="other"))

    async for trial in trials(
        store_factory, lambda driver: driver.accept_input(make(3, supersession_key="s")), before=before, settings=rules
    ):
        assert_failure_is_typed(trial)
        old = await trial.driver.input_record(input_id(1))
        new = await trial.driver.input_record(input_id(3))
        assert old is not None
        if new is None:
            assert trial.failed
            assert old.state is InputState.QUEUED
        else:
            assert new.state is InputState.QUEUED
            assert (old.outcome_kind, old.successor_id) == (kind, input_id(3))
        assert await trial.driver.input_state(input_id(2)) is InputState.QUEUED
        assert_memory_equals_store(trial.driver, trial.store)


@pytest.mark.parametrize(("make", "rules"), [(progress, SETTINGS), (prompt, SUPERSEDING)])
async def test_chain_of_replacements_leaves_one_live_input(home: Home, make: Make, rules: Any) -> None:
    """A chain of k supersessions leaves exactly one live input, and each ended one names its successor (C2)."""
    driver = await opened(home.store, settings=rules)
    await asyncio.gather(*(driver.accept_input(make(n, supersession_key="s")) for n in range(5)))
    for number in range(5, 8):
        await accept(driver, make(number, supersession_key="s"))
    driver = await opened(home.crash(), settings=rules)
    assert await driver.active_input_ids() == (input_id(7),)
    successors = [record.successor_id for record in inputs_of(home.store)]
    assert successors == [*(input_id(n) for n in range(1, 8)), None]


async def test_cost_of_an_accept_does_not_grow_with_history(home: Home) -> None:
    """The 10th and the 2,000th accept make one commit and write as many rows and bytes, but for integers (C3)."""
    rules = evolve(SETTINGS, debug=False)
    driver = await opened(home.store, settings=rules)

    async def cost(number: int) -> tuple[int, int, int]:
        before = home.store.stats()
        await accept(driver, prompt(number, "text", idempotency_key=f"key {number:04}"))
        after = home.store.stats()
        return (
            after.commits - before.commits,
            after.rows_written - before.rows_written,
            after.bytes_written - before.bytes_written,
        )

    await accept(driver, *(prompt(n) for n in range(9)))
    commits, rows, size = await cost(10)
    await asyncio.gather(*(driver.accept_input(prompt(n)) for n in range(11, 2000)))
    later_commits, later_rows, later_size = await cost(2000)
    assert (commits, later_commits) == (1, 1)
    assert rows == later_rows
    assert abs(later_size - size) <= 16


_MISSING_IMAGE = ImageBlock("image/png", blob="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (derived(9), RejectionCode.DERIVED_FORBIDDEN),
        (prompt(9, durability=Durability.EPHEMERAL, idempotency_key="k"), RejectionCode.KEY_NEEDS_DURABLE),
        (prompt(9, "long" * 1000), RejectionCode.TOO_LARGE),
        (prompt(9, idempotency_key=""), RejectionCode.INVALID_KEY),
        (prompt(9, blocks=(_MISSING_IMAGE,)), RejectionCode.BLOB_MISSING),
        (progress(9, supersession_key="s"), RejectionCode.OVERLOADED),
    ],
)
async def test_rejected_accept_changes_nothing(home: Home, refused: Input, code: RejectionCode) -> None:
    """A refused accept leaves memory, lanes, index, events, signals and store exactly as before (C4)."""
    limits = Limits(max_active_inputs=2 if code is RejectionCode.OVERLOADED else 10, max_payload_bytes=2000)
    driver = await opened(home.store, settings=evolve(SETTINGS, limits=limits))
    await accept(driver, prompt(1), progress(2, supersession_key="s"))
    memory, rows = memory_of(driver), rows_of(home.store)
    outcome = await driver.accept_input(refused)
    assert isinstance(outcome, Rejected)
    assert outcome.code is code
    assert (memory_of(driver), rows_of(home.store)) == (memory, rows)


@pytest.mark.parametrize("end", ["retire", "stop", "destroy"])
async def test_accept_that_comes_too_late_changes_nothing(home: Home, end: str) -> None:
    """A runtime that takes no input says so, and nothing is changed (C4)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    await getattr(driver, end)()
    memory, rows = memory_of(driver), rows_of(home.store)
    with pytest.raises(NotReady):
        await driver.accept_input(prompt(2))
    assert (memory_of(driver), rows_of(home.store)) == (memory, rows)


async def test_failed_accept_changes_nothing(store_factory: NewHome) -> None:
    """An accept whose commit did not land leaves everything as before, and the same call then succeeds (C4, C36)."""
    given_ = progress(3, supersession_key="s", idempotency_key="k")

    async def before(driver: PersistentRuntimeDriver) -> None:
        await accept(driver, progress(1, supersession_key="s"), prompt(2))

    home = store_factory()
    reference = await opened(home.store)
    await before(reference)
    memory, rows = memory_of(reference), rows_of(home.store)
    async for trial in trials(store_factory, lambda driver: driver.accept_input(given_), before=before):
        if isinstance(trial.outcome, StoreError) and trial.outcome.applied is False and trial.plan is not None:
            assert memory_of(trial.driver) == memory, trial.plan
            if isinstance(trial.store, MemoryStore):
                assert rows_of(trial.store) == rows
            assert isinstance(await trial.driver.accept_input(given_), Accepted)
            assert_memory_equals_store(trial.driver, trial.store)


# -- keys -------------------------------------------------------------------------------------------------------------


async def test_same_key_twice_with_any_fault_between_makes_one_input(store_factory: NewHome) -> None:
    """Two accepts under one key, with a fault at every store call: one input, one consumption (C5)."""

    async def both(driver: PersistentRuntimeDriver) -> tuple[Any, Any]:
        first, second = await asyncio.gather(
            driver.accept_input(prompt(1, "same", idempotency_key="k")),
            driver.accept_input(prompt(2, "same", idempotency_key="k")),
            return_exceptions=True,
        )
        for outcome in (first, second):
            if isinstance(outcome, BaseException):
                raise outcome
        return first, second

    async for trial in trials(store_factory, both):
        third = await trial.driver.accept_input(prompt(3, "same", idempotency_key="k"))
        found = await trial.driver.find_by_key("k")
        assert found is not None
        if not trial.failed:
            assert isinstance(trial.outcome[0], Accepted)
            assert isinstance(trial.outcome[1], Deduplicated)
            assert isinstance(third, Deduplicated)
        runs = await work_off(trial.driver)
        assert [run.input_ids for run in runs] == [(found.input_id,)]
        assert len(inputs_of(trial.store)) == 1
        assert trial.store.verify() == []


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["accept", "crash", "begin", "complete", "fail"]), max_size=12))
def test_one_key_is_consumed_once_whatever_happens_between(script: list[str]) -> None:
    """Accepts under one key with runs and crashes between: one input, at most one consumption (C5)."""

    async def play() -> None:
        home = MemoryHome()
        driver = await opened(home.store)
        accepted = 0
        for number, word in enumerate([*script, "accept"]):
            runtime = driver._actor.image.runtime
            if word == "accept":
                outcome = await driver.accept_input(prompt(number, "same", idempotency_key="k"))
                accepted += isinstance(outcome, Accepted)
            elif word == "crash":
                driver = await opened(home.crash(), environment=world(number))
            elif word == "begin" and runtime.current_run_id is None:
                await driver.begin_run()
            elif word == "complete" and runtime.current_run_id is not None:
                await driver.complete_run(runtime.current_run_id)
            elif word == "fail" and runtime.current_run_id is not None:
                await driver.fail_run(runtime.current_run_id, "no")
        assert accepted == 1
        (record,) = inputs_of(home.store)
        assert sum(entry.to_state is InputState.CONSUMED for entry in record.history) <= 1
        assert home.store.verify() == []

    asyncio.run(play())


def _keys_in(store: RuntimeStore, driver: PersistentRuntimeDriver) -> int:
    """Keys that are indexed: on LMDB those of ended inputs in the store, those of active ones in the driver."""
    rows = cast("Any", rows_of(store))
    memory = driver._actor.image.keys
    assert memory.keys() == {
        each.admission.idempotency_key for each in driver._actor.image.active() if each.admission.idempotency_key
    }
    return len(rows[KEYS]) + len(memory) if isinstance(store, LmdbStore) else len(rows[1][RUNTIME][4])


async def test_key_index_equals_the_stored_rows_after_every_commit(home: Home) -> None:
    """After every commit the index holds exactly the keys of the stored inputs (C6)."""
    driver = await opened(home.store)
    runs = []

    async def check() -> None:
        keys = {record.admission.idempotency_key: record for record in inputs_of(home.store)}
        keys.pop(None, None)
        assert _keys_in(home.store, driver) == len(keys)
        for key, record in keys.items():
            assert key is not None
            assert home.store.find_by_key(RUNTIME, key) == await driver.find_by_key(key) == record
        assert home.store.verify() == []

    for number in range(12):
        make = (prompt, progress, operation, event)[number % 4]
        key = None if number % 3 == 0 else f"k{number % 5}"
        await driver.accept_input(make(number, idempotency_key=key, supersession_key="s"))
        await check()
        run = await driver.begin_run()
        await check()
        if run is not None and number % 2:
            await driver.complete_run(run)
            runs.append(run)
        elif run is not None:
            await driver.fail_run(run, "no")
        await check()
    await driver.reset()
    await check()
    await driver.stop()
    await check()
    assert runs


async def test_key_finds_ended_dropped_and_earlier_inputs(home: Home) -> None:
    """Lookup by key works for ended, payload-dropped and pre-restart inputs (C7)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1, idempotency_key="consumed"))
    await work_off(driver)
    await accept(driver, prompt(2, idempotency_key="cancelled"), prompt(3, idempotency_key="waiting"))
    await driver.cancel_input(input_id(2))
    driver = await opened(home.crash())
    for number, key, state in (
        (1, "consumed", InputState.CONSUMED),
        (2, "cancelled", InputState.ABANDONED),
        (3, "waiting", InputState.QUEUED),
    ):
        found = await driver.find_by_key(key)
        assert found is not None
        assert (found.input_id, found.state) == (input_id(number), state)
        outcome = await driver.accept_input(prompt(10 + number, idempotency_key=key))
        assert isinstance(outcome, Deduplicated)
        assert outcome.existing_id == input_id(number)
    assert await driver.persisted_input(input_id(1)) is None
    assert await driver.find_by_key("never") is None


async def test_unreadable_index_entry_is_an_error_and_not_a_miss(home: Home) -> None:
    """An entry of the key index that cannot be read raises StoreCorruption; nothing is admitted under it (C7)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1, idempotency_key="k"))
    await work_off(driver)
    if isinstance(home.store, LmdbStore):
        environment = home.store._environment
        with environment.reading() as rows:
            ((key, value),) = rows.scan(KEYS, b"")

        def damage(rows: Any) -> None:
            rows.txn.put(key, value[:-1] + b"?", db=rows._databases[KEYS])
            rows.changes += 1

        environment.write(damage)
    else:
        tables = cast("MemoryStore", home.store)._tables
        tables.rows[RUNTIME].keys["k"] = input_id(77)
    before = rows_of(home.store)
    for lookup in (driver.find_by_key("k"), driver.accept_input(prompt(2, idempotency_key="k"))):
        with pytest.raises(StoreCorruption):
            await lookup
    assert rows_of(home.store) == before


@pytest.mark.parametrize("end", ["cancel", "supersede", "complete"])
@pytest.mark.parametrize("turns", [0, 1])
async def test_input_that_ends_in_the_same_group_stays_known(home: Home, end: str, turns: int) -> None:
    """Id and key of a stored input dedup also while the commit that ends it is under way: no second one (C5, C9)."""
    driver = await opened(home.store)
    await accept(driver, progress(1, idempotency_key="k", supersession_key="s"))
    run = await begun(driver) if end == "complete" else None
    ends: dict[str, Callable[[], Any]] = {
        "cancel": lambda: driver.cancel_input(input_id(1)),
        "supersede": lambda: driver.accept_input(progress(2, supersession_key="s")),
        "complete": lambda: driver.complete_run(cast("Run", run)),
    }

    async def later(call: Any) -> Any:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await call

    outcomes = await asyncio.gather(
        ends[end](),
        *(later(driver.accept_input(each)) for each in (prompt(3, idempotency_key="k"), prompt(1))),
        later(driver.find_by_key("k")),
    )
    for outcome in outcomes[1:3]:
        assert isinstance(outcome, Deduplicated)
        assert outcome.existing_id == input_id(1)
        assert outcome.terminal_outcome is not None
    assert outcomes[3] == await driver.find_by_key("k") == home.store.find_by_key(RUNTIME, "k")
    assert home.store.verify() == []


async def test_known_input_is_found_in_memory_while_it_is_active(lmdb_home: LmdbHome) -> None:
    """An active input is told by id and by key without a look at any row of an input (C5)."""
    driver = await opened(lmdb_home.store)
    await accept(driver, prompt(1, idempotency_key="k"))
    store = cast("LmdbStore", lmdb_home.store)
    for table in (KEYS, ORDERS):
        assert raw_rows(store, table) == []
    overwritten = raw_rows(store, ACTIVE)
    for key, value in overwritten:
        overwrite(store, ACTIVE, key, flipped(value, -1))
    for again in (prompt(1), prompt(2, idempotency_key="k")):
        outcome = await driver.accept_input(again)
        assert isinstance(outcome, Deduplicated)
        assert outcome.existing_id == input_id(1)


async def test_dedup_tells_state_outcome_and_whether_the_content_was_the_same(home: Home) -> None:
    """A dedup outcome carries the existing input's state, its outcome, and whether the content was the same (C8)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1, "one", idempotency_key="k"))
    same = await driver.accept_input(prompt(2, "one", idempotency_key="k"))
    other = await driver.accept_input(prompt(3, "two", idempotency_key="k"))
    assert isinstance(same, Deduplicated)
    assert isinstance(other, Deduplicated)
    assert (same.existing_state, same.terminal_outcome, same.same_payload) == (InputState.QUEUED, None, True)
    assert (other.input_id, other.existing_id, other.same_payload) == (input_id(3), input_id(1), False)
    run = await begun(driver)
    await driver.complete_run(run, RunOutput(result=b"answer"))
    driver = await opened(home.crash())
    ended = await driver.accept_input(prompt(4, "one", idempotency_key="k"))
    assert isinstance(ended, Deduplicated)
    assert ended.existing_state is InputState.CONSUMED
    assert ended.terminal_outcome is not None
    assert ended.terminal_outcome.kind is OutcomeKind.CONSUMED
    assert ended.same_payload
    assert await driver.input_result(ended.existing_id) == b"answer"


@pytest.mark.parametrize("end", [None, "retire", "stop", "destroy"])
@pytest.mark.parametrize("work", [False, True])
async def test_known_id_or_key_never_changes_a_row(home: Home, *, end: str | None, work: bool) -> None:
    """An existing id or key given again dedups, whatever state the runtime is in, and never changes a row (C9)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1, "one", idempotency_key="k"))
    if work:
        await work_off(driver)
    if end is not None:
        await getattr(driver, end)()
    rows, memory = rows_of(home.store), memory_of(driver)
    for retry in (prompt(1, "else"), prompt(1, idempotency_key="new"), prompt(2, "one", idempotency_key="k")):
        outcome = await driver.accept_input(retry)
        assert isinstance(outcome, Deduplicated)
        assert outcome.existing_id == input_id(1)
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)


# -- cancelled callers ------------------------------------------------------------------------------------------------


async def _until(reached: Callable[[], bool]) -> None:
    """Let the loop go on until another thread, or a callback that no future tells of, has come that far."""
    while not reached():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def _cancel_after(call: Any, steps: int) -> Any:
    """Let the loop take ``steps`` steps, then cancel the caller (never, if negative); what it answers or raises."""
    task = asyncio.ensure_future(call)
    if steps < 0:
        return await task
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("command", ["accept", "begin", "complete", "retire"])
async def test_caller_cancelled_at_any_await_leaves_a_whole_command_or_none(
    store_factory: NewHome, *, thread: bool, command: str
) -> None:
    """Cancelling the caller at any await: the command happened or it did not, and a retry is safe (C10)."""
    answered = False
    for steps in (-1, *range(8)):
        home = store_factory()
        driver = await opened(home.store)
        await accept(driver, prompt(1))
        run = await begun(driver) if command == "complete" else None
        calls: dict[str, Callable[[], Any]] = {
            "accept": partial(driver.accept_input, prompt(2, idempotency_key="k")),
            "begin": driver.begin_run,
            "complete": partial(driver.complete_run, run, RunOutput(b"snapshot", b"result")),
            "retire": driver.retire,
        }
        if thread:
            with on_the_thread(home.store):
                outcome = await _cancel_after(calls[command](), steps)
                await driver.active_input_ids()
        else:
            outcome = await _cancel_after(calls[command](), steps)
        await driver.active_input_ids()
        cancelled = isinstance(outcome, asyncio.CancelledError)
        assert cancelled or not isinstance(outcome, BaseException), outcome
        answered = answered or not cancelled
        if cancelled and command == "begin":
            await driver.active_input_ids()
            assert driver._actor.image.runtime.current_run_id is None
            assert await driver.begin_run() is not None
        elif cancelled:
            await calls[command]()
        assert_memory_equals_store(driver, home.store)
        assert len(inputs_of(home.store)) == (2 if command == "accept" else 1)
        if command == "complete":
            assert await driver.session_snapshot() == b"snapshot"
            assert await driver.input_state(input_id(1)) is InputState.CONSUMED
    assert answered


@pytest.mark.parametrize("command", ["accept", "begin"])
async def test_write_on_the_thread_is_never_orphaned(home: Home, command: str) -> None:
    """A caller cancelled while the thread writes: the write ends, memory follows, a run nobody got goes back (C10)."""
    gate, entered = Event(), Event()
    seam = Seam(home.store)
    prepare = home.store.prepare

    def gated(group: Any) -> Callable[[], Any]:
        write = prepare(group)

        def wait_and_write() -> Any:
            entered.set()
            assert gate.wait(30)
            return write()

        return wait_and_write

    gate.set()
    seam.__dict__["prepare"] = gated
    store = cast("RuntimeStore", seam)
    driver = await opened(store)
    await accept(driver, prompt(1))
    gate.clear()
    entered.clear()
    with on_the_thread(store):
        call: Any = driver.accept_input(prompt(2)) if command == "accept" else driver.begin_run()
        task = asyncio.ensure_future(call)
        await _until(entered.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert committer_of(store)._in_flight is not None
        gate.set()
        active = await driver.active_input_ids()
    await driver.active_input_ids()
    assert len(active) == (2 if command == "accept" else 1)
    assert driver._actor.image.runtime.current_run_id is None
    assert_memory_equals_store(driver, home.store)
    assert await driver.begin_run() is not None


async def test_caller_that_is_gone_cannot_leave_a_run_behind_when_giving_it_back_fails(home: Home) -> None:
    """A run begun for a caller who is gone goes back, also when the first attempt to give it back fails (C10, C35)."""
    seam = Seam(home.store)
    driver = await opened(cast("RuntimeStore", seam))
    await accept(driver, prompt(1))
    seam.faulty.arm(Plan(Fault.REFUSED, write=1))
    task = asyncio.ensure_future(driver.begin_run())
    await _until(lambda: seam.faulty.writes > 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await outcome_of(driver.active_input_ids())
    await outcome_of(driver.active_input_ids())
    seam.faulty.arm(Plan())
    assert await driver.begin_run() is not None
    assert_memory_equals_store(driver, home.store)


async def test_blob_of_an_inline_image_lands_with_its_input(store_factory: NewHome) -> None:
    """An accept that does not land leaves no blob behind, one that lands has its blob (C4, C41)."""
    image = ImageBlock("image/png", data=b"pixels")
    blob = "sha256:" + sha256(b"pixels").hexdigest()
    async for trial in trials(store_factory, lambda driver: driver.accept_input(prompt(1, blocks=(image,)))):
        known = await trial.driver.input_record(input_id(1)) is not None
        assert trial.store.blob_exists(blob) is known
        assert trial.store.verify() == []
