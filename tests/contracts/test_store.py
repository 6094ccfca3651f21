"""Store: commits that fail or lie, damaged rows, formats, payloads, memory, space, and hostile ids."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import stat
import tracemalloc
from collections.abc import Callable, Sized
from contextlib import nullcontext
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from attrs import evolve
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdstate.runtime import core, turn
from holdstate.runtime.blocks import ImageBlock
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import (
    InvalidInput,
    StoreCorruption,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
)
from holdstate.runtime.ids import RunId
from holdstate.runtime.image import RuntimeImage
from holdstate.runtime.outcomes import Accepted, Deduplicated, Rejected, Run, RunOutput
from holdstate.runtime.settings import Retention
from holdstate.runtime.stepper import Stepper
from holdstate.runtime.store import ResultRef, RuntimeStore
from holdstate.spec.vocabulary import Durability, InputState, OutcomeKind
from holdstate.stores import lmdb_writer
from holdstate.stores.codec import encode_number
from holdstate.stores.codec_envelope import ROW_FORMAT, row_name, seal
from holdstate.stores.lmdb_rows import (
    ACTIVE,
    BLOB_REFS,
    BLOBS,
    BODIES,
    ENDED,
    FORMAT_KEY,
    KEYS,
    META,
    ORDERS,
    RECEIPTS,
    RESULTS,
    RUNTIMES,
    SNAPSHOTS,
    STORE_FORMAT,
    Rows,
    is_body,
)
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore
from holdstate.stores.memory_tables import Tables, Undo

from ..faults import Fault, Plan
from .damage import flipped, overwrite, raw_rows
from .kit import (
    DATA_FILE,
    RUNTIME,
    SETTINGS,
    Home,
    LmdbHome,
    MemoryHome,
    NewHome,
    Seam,
    accept,
    assert_memory_equals_store,
    begun,
    event,
    input_id,
    inputs_of,
    memory_of,
    on_the_thread,
    opened,
    outcome_of,
    progress,
    prompt,
    queue_of,
    rows_of,
    run_id,
    work_off,
    world,
)
from .make_fixture import FIXTURE, facts_of

# -- commits that fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.UNKNOWN, Fault.LANDED])
async def test_nothing_happens_until_an_unknown_commit_was_read_back(home: Home, fault: Fault) -> None:
    """After an unknown commit every call is refused with the first cause, unwritten, until reading works (C35)."""
    seam = Seam(home.store)
    driver = await opened(cast("RuntimeStore", seam))
    await accept(driver, event(1))
    seam.faulty.arm(Plan(fault, write=0, failing_reads=5))
    first = await outcome_of(driver.accept_input(event(2)))
    assert isinstance(first, StoreError)
    assert first.applied is None
    rows = rows_of(home.store)
    calls: list[Callable[[], Any]] = [driver.begin_run, driver.stop, driver.active_input_ids]
    calls.append(lambda: driver.accept_input(event(3)))
    for call in calls:
        again = await outcome_of(call())
        assert isinstance(again, StoreError)
        assert (again.problem, again.applied) == (first.problem, None)
        assert seam.faulty.writes == 1
        assert rows_of(home.store) == rows
    retry = await driver.accept_input(event(2))
    assert isinstance(retry, Deduplicated if fault is Fault.LANDED else Accepted)
    assert_memory_equals_store(driver, home.store)


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNKNOWN, Fault.LANDED])
@pytest.mark.parametrize("failing_reads", [0, 1, 3])
async def test_one_transient_fault_leaves_every_driver_of_the_store_usable(
    home: Home, fault: Fault, failing_reads: int
) -> None:
    """One fault in a group of several runtimes makes none of them unusable (C35)."""
    seam = Seam(home.store)
    store = cast("RuntimeStore", seam)
    drivers = [await opened(store, f"runtime {n}", environment=world(n)) for n in range(3)]
    seam.faulty.arm(Plan(fault, write=0, failing_reads=failing_reads))
    await asyncio.gather(*(each.accept_input(prompt(1)) for each in drivers), return_exceptions=True)
    for _ in range(failing_reads):
        await asyncio.gather(*(each.session_snapshot() for each in drivers), return_exceptions=True)
    for each in drivers:
        assert isinstance(await each.accept_input(prompt(1)), Accepted | Deduplicated)
        assert [run.input_ids for run in await work_off(each)] == [(input_id(1),)]
        assert_memory_equals_store(each, home.store)


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNKNOWN, Fault.LANDED])
@pytest.mark.parametrize("failing_reads", [0, 2])
async def test_run_in_an_executors_hands_is_not_touched_by_a_fault(
    home: Home, fault: Fault, failing_reads: int
) -> None:
    """A failed commit of something else leaves a held run and ephemeral inputs alone; memory equals the store (C36)."""
    seam = Seam(home.store)
    driver = await opened(cast("RuntimeStore", seam))
    await accept(driver, event(1), event(2, durability=Durability.EPHEMERAL))
    run = await begun(driver)
    await accept(driver, event(3, durability=Durability.EPHEMERAL))
    seam.faulty.arm(Plan(fault, write=0, failing_reads=failing_reads))
    outcome = await outcome_of(driver.accept_input(event(4)))
    assert isinstance(outcome, Accepted) is (fault is Fault.LANDED and not failing_reads)
    while isinstance(await outcome_of(driver.session_snapshot()), StoreError):
        assert seam.faulty.writes == 1
    assert (await driver.input_record(input_id(4)) is not None) is (fault is Fault.LANDED)
    await driver.accept_input(event(4))
    assert driver._actor.handed_out == run.run_id
    assert run.input_ids == (input_id(1), input_id(2))
    await driver.complete_run(run)
    assert queue_of(driver) == [input_id(3), input_id(4)]
    await work_off(driver)
    assert_memory_equals_store(driver, home.store)


_words = st.sampled_from(
    ["accept", "again", "key", "begin", "complete", "fail", "cancel input", "retire", "recycle", "read"]
)
_storms = st.lists(st.lists(st.tuples(_words, st.integers(0, 5)), min_size=1, max_size=6), min_size=1, max_size=5)
_plans = st.builds(
    Plan,
    st.sampled_from([Fault.REFUSED, Fault.UNKNOWN, Fault.LANDED]),
    write=st.integers(0, 4),
    failing_reads=st.integers(0, 3),
    failing_writes=st.integers(0, 2),
)


@settings(max_examples=150)
@given(storms=_storms, plan=_plans, thread=st.booleans())
def test_calls_made_together_under_a_fault_are_each_told_the_truth(
    *, storms: list[list[tuple[str, int]]], plan: Plan, thread: bool
) -> None:
    """Many calls at once with a fault among them: what was answered is what is stored, memory equals it (C35, C36)."""

    async def play() -> None:
        home = MemoryHome()
        seam = Seam(home.store)
        store = cast("RuntimeStore", seam)
        driver = await opened(store)
        seam.faulty.arm(plan)
        accepted, tried = set(), set()
        with on_the_thread(store) if thread else nullcontext():
            for storm, calls in enumerate(storms):
                held = driver._actor.handed_out
                tasks = [_storm_call(driver, word, pick, held, storm * 10 + n) for n, (word, pick) in enumerate(calls)]
                for outcome in await asyncio.gather(*(outcome_of(each) for each in tasks)):
                    if isinstance(outcome, Accepted):
                        accepted.add(outcome.input_id)
                names = {"again": 0, "key": 100}
                for place, (word, pick) in enumerate(calls):
                    tried.add(input_id(names[word] + pick if word in names else storm * 10 + place))
            seam.faulty.arm(Plan())
            await driver.active_input_ids()
        stored = {record.input_id for record in inputs_of(home.store)}
        assert accepted <= stored
        assert stored <= tried
        current = driver._actor.image.runtime.current_run_id
        assert current == driver._actor.handed_out
        assert_memory_equals_store(driver, home.store)
        if current is not None:
            await driver.cancel_run(current)
        await work_off(driver)
        assert await driver.active_input_ids() == ()

    asyncio.run(play())


async def _storm_call(driver: PersistentRuntimeDriver, word: str, pick: int, held: RunId | None, number: int) -> object:
    run = run_id(99) if held is None else held
    calls: dict[str, Callable[[], Any]] = {
        "accept": lambda: driver.accept_input((event, prompt, progress)[pick % 3](number, supersession_key="s")),
        "again": lambda: driver.accept_input(event(pick)),
        "key": lambda: driver.accept_input(event(100 + pick, idempotency_key="k")),
        "begin": driver.begin_run,
        "complete": lambda: driver.complete_run(run, RunOutput(b"snapshot", b"result")),
        "fail": lambda: driver.fail_run(run, "no"),
        "cancel input": lambda: driver.cancel_input(input_id(pick)),
        "retire": driver.retire,
        "recycle": driver.recycle_preserving_work,
        "read": driver.active_input_ids,
    }
    return await calls[word]()


async def _settled(call: Any) -> Any:
    """The answer of ``call``; a caller who is never answered fails the test instead of stopping it."""
    task = asyncio.ensure_future(call)
    await asyncio.wait([task], timeout=60)
    assert task.done(), "the caller was never answered"
    return task.exception() or task.result()


def _fails_at(times: int, function: Callable[..., Any]) -> Callable[..., Any]:
    numbers = count()

    def failing(*given_: Any, **named: Any) -> Any:
        if next(numbers) == times:
            raise RuntimeError("injected")
        return function(*given_, **named)

    return failing


_STEPS: dict[str, tuple[Any, str, int]] = {
    "step": (core, "step", 0),
    "second step": (core, "step", 1),
    "delta": (Stepper, "delta", 0),
    "advance": (Stepper, "advance", 1),
    "apply": (RuntimeImage, "apply", 0),
    "second apply": (RuntimeImage, "apply", 1),
    "gather": (turn.Member, "add", 0),
    "writes": (turn, "_write", 0),
    "commit": (turn.Member, "commit", 0),
    "draft": (lmdb_writer, "draft", 0),
    "encode": (lmdb_writer, "encode_input", 1),
    "put rows": (Rows, "put_all", 0),
    "delete": (Rows, "delete", 0),
    "second delete": (Rows, "delete", 1),
    "write draft": (lmdb_writer, "write_draft", 0),
    "decide": (Tables, "decide", 0),
    "rows": (Tables, "_write_input", 1),
    "put": (Undo, "put", 3),
}


@pytest.mark.parametrize("step", _STEPS)
@pytest.mark.parametrize("command", ["accept", "complete", "stop"])
async def test_failing_step_between_deciding_and_committing_leaves_nothing_half_done(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str, command: str
) -> None:
    """Failing any internal step leaves memory and store as before, its caller is told, a retry succeeds (C37)."""
    driver = await opened(home.store)
    await accept(driver, progress(1, supersession_key="s"), event(2), event(3))
    run = await begun(driver) if command == "complete" else None
    acts: dict[str, Callable[[], Any]] = {
        "accept": lambda: driver.accept_input(progress(4, supersession_key="s", idempotency_key="k")),
        "complete": lambda: driver.complete_run(cast("Run", run), RunOutput(b"snapshot", b"result")),
        "stop": driver.stop,
    }
    rows, memory = rows_of(home.store), memory_of(driver)
    owner, name, times = _STEPS[step]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, _fails_at(times, getattr(owner, name)))
        outcome = await _settled(acts[command]())
    if not isinstance(outcome, Exception):
        # This command or this store does not take that step; what was answered is there in full.
        assert_memory_equals_store(driver, home.store)
        return
    assert isinstance(outcome, RuntimeError | StoreError)
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await acts[command]()
    assert_memory_equals_store(driver, home.store)


@pytest.mark.parametrize(("times", "fail"), [(0, [False, True]), (1, [True, True])])
async def test_failing_merge_of_two_calls_leaves_nothing_half_done(
    home: Home, monkeypatch: pytest.MonkeyPatch, times: int, fail: list[bool]
) -> None:
    """What cannot be added up is refused: the call that needed the sum, or the whole group; a retry succeeds (C37)."""
    driver = await opened(home.store)
    await accept(driver, progress(1, supersession_key="s"))
    calls = (progress(2, supersession_key="s", idempotency_key="k"), event(3))
    rows, memory = rows_of(home.store), memory_of(driver)
    with monkeypatch.context() as patch:
        patch.setattr(turn.Merged, "add", _fails_at(times, turn.Merged.add))
        outcomes = await asyncio.gather(*[driver.accept_input(each) for each in calls], return_exceptions=True)
    assert [isinstance(each, RuntimeError | StoreError) for each in outcomes] == fail
    if all(fail):
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    assert_memory_equals_store(driver, home.store)
    retried = [await driver.accept_input(each) for each in calls]
    assert [isinstance(each, Accepted) for each in retried] == fail
    assert set(await driver.active_input_ids()) == {input_id(2), input_id(3)}
    assert_memory_equals_store(driver, home.store)


# -- damaged rows -----------------------------------------------------------------------------------------------------


async def _lived_in(store: RuntimeStore) -> Run:
    """A runtime with rows in every table; returns the run that completed."""
    driver = await opened(store)
    image = ImageBlock("image/png", data=b"pixels")
    await accept(driver, *(prompt(n, idempotency_key=f"key {n}", blocks=(image,)) for n in range(8)))
    run = await begun(driver)
    await driver.complete_run(run, RunOutput(b"snapshot", b"result"))
    await driver.close()
    return run


def _reads(store: LmdbStore, run: Run) -> dict[bytes, Callable[[], Any]]:
    return {
        RUNTIMES: lambda: store.load_runtime(RUNTIME),
        ACTIVE: lambda: store.load_runtime(RUNTIME),
        ENDED: lambda: store.load_input(RUNTIME, input_id(0)),
        ORDERS: lambda: [store.load_input(RUNTIME, input_id(n)) for n in range(8)],
        KEYS: lambda: [store.find_by_key(RUNTIME, f"key {n}") for n in range(8)],
        RECEIPTS: lambda: store.load_receipt(RUNTIME, run.run_id, 0),
        RESULTS: lambda: store.load_result(RUNTIME, ResultRef(run.run_id)),
        SNAPSHOTS: lambda: store.load_session_snapshot(RUNTIME),
        BLOBS: lambda: store.get_blob("sha256:" + sha256(b"pixels").hexdigest()),
    }


@pytest.mark.parametrize("place", [0, 1, 5, -1])
async def test_damaged_row_is_named_and_no_byte_is_touched(lmdb_home: LmdbHome, place: int) -> None:
    """K damaged rows out of n: each is reported by name, strict reads name the row, bytes stay as they are (C38)."""
    store = cast("LmdbStore", lmdb_home.store)
    run = await _lived_in(store)
    for table, read in _reads(store, run).items():
        whole = raw_rows(store, table)
        damaged = whole[: max(1, len(whole) // 3)]
        for key, value in damaged:
            overwrite(store, table, key, flipped(value, place))
        rows = rows_of(store)
        with pytest.raises(StoreCorruption) as caught:
            read()
        assert caught.value.where in {row_name(table, key) for key, _ in damaged}
        found = " ".join(f"{each.where} {each.problem}" for each in store.verify())
        for key, _ in damaged:
            assert row_name(table, key) in found
        if table in {RUNTIMES, ACTIVE}:
            outcome = await outcome_of(opened(store, environment=world(1)))
            assert isinstance(outcome, StoreCorruption)
            assert outcome.where in {row_name(table, key) for key, _ in damaged}
        assert rows_of(store) == rows
        for key, value in damaged:
            overwrite(store, table, key, value)
        assert store.verify() == []


async def test_damaged_body_stops_its_run_before_it_is_handed_out(lmdb_home: LmdbHome) -> None:
    """A run whose payload is damaged is not begun: the error names the row, nothing is staged (C38, C22)."""
    store = cast("LmdbStore", lmdb_home.store)
    await _lived_in(store)
    key, value = next(row for row in raw_rows(store, ACTIVE) if is_body(row[0]))
    overwrite(store, ACTIVE, key, flipped(value, -1))
    driver = await opened(store, environment=world(1))
    rows, memory = rows_of(store), memory_of(driver)
    with pytest.raises(StoreCorruption) as caught:
        await driver.begin_run()
    assert caught.value.where == row_name(ACTIVE, key)
    assert (rows_of(store), memory_of(driver)) == (rows, memory)


async def test_row_that_vanished_is_found(home: Home) -> None:
    """An active row that is missing is corruption at open, although every row that is left is sound (C38)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1), prompt(2))
    if isinstance(home.store, LmdbStore):
        ((key, _), *_) = raw_rows(home.store, ACTIVE)
        home.store._environment.write(lambda rows: rows.delete(ACTIVE, key))
    else:
        cast("MemoryStore", home.store)._tables.rows[RUNTIME].active.popitem(0)
    rows = rows_of(home.store)
    with pytest.raises(StoreCorruption):
        await opened(home.crash(), environment=world(1))
    assert rows_of(home.store) == rows


# -- read-only, durability, formats -----------------------------------------------------------------------------------


async def test_reading_never_changes_the_file(lmdb_home: LmdbHome) -> None:
    """Opening read-only and reading change no byte of the file; writing is a typed error (C39, C43)."""
    run = await _lived_in(lmdb_home.store)
    lmdb_home.close()
    file = lmdb_home.path / DATA_FILE
    before, status = file.read_bytes(), file.stat()
    with LmdbStore.open(lmdb_home.path, read_only=True) as store:
        for read in _reads(store, run).values():
            assert read() is not None
        assert store.verify() == []
        assert store.stats().active_inputs == 7
        assert len(inputs_of(store)) == 8
        for name in (RUNTIME, "another"):
            with pytest.raises(StoreReadOnly) as caught:
                await opened(store, name)
            assert caught.value.applied is False
        with pytest.raises(StoreReadOnly):
            store.put_blob(b"more")
    assert file.read_bytes() == before
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (status.st_mtime_ns, status.st_size)


async def test_durability_settings_are_read_back(lmdb_home: LmdbHome) -> None:
    """The environment says that commits are synced, data and meta page, and that the map is not written to (C39)."""
    environment = cast("LmdbStore", lmdb_home.store)._environment._env
    assert environment is not None
    flags = environment.flags()
    assert (flags["sync"], flags["metasync"], flags["writemap"], flags["map_async"]) == (True, True, False, False)
    assert stat.S_IMODE((lmdb_home.path / DATA_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(lmdb_home.path.stat().st_mode) == 0o700


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A copy of the stored fixture of the released format."""
    path = tmp_path / "released"
    path.mkdir(mode=0o700)
    shutil.copyfile(FIXTURE / DATA_FILE, path / DATA_FILE)
    return path


async def test_stored_fixture_of_the_released_format_recovers_as_recorded(released: Path) -> None:
    """A store of format 1 opens, is sound, and recovers to what was recorded when it was made (C40)."""
    expected = json.loads((FIXTURE / "expected.json").read_text())
    with LmdbStore.open(released) as store:
        assert store.verify() == []
        assert await facts_of(store) == expected
        assert store.verify() == []


@pytest.mark.parametrize("version", [0, STORE_FORMAT + 1, 2**40])
async def test_unknown_store_format_is_refused_untouched(released: Path, version: int) -> None:
    """A store of a newer or an impossible format is refused with a typed error, no byte changed (C40)."""
    with LmdbStore.open(released) as store:
        overwrite(store, META, FORMAT_KEY, seal(META, FORMAT_KEY, encode_number(version)))
    before = (released / DATA_FILE).read_bytes()
    with pytest.raises(StoreTooNew if version else StoreCorruption) as caught:
        LmdbStore.open(released)
    if isinstance(caught.value, StoreTooNew):
        assert (caught.value.found, caught.value.known) == (version, STORE_FORMAT)
    assert (released / DATA_FILE).read_bytes() == before


@pytest.mark.parametrize("table", [RUNTIMES, ACTIVE, ENDED, KEYS, RECEIPTS])
async def test_row_of_a_newer_format_is_refused_untouched(
    lmdb_home: LmdbHome, monkeypatch: pytest.MonkeyPatch, table: bytes
) -> None:
    """A row that a newer version wrote is refused by name and stays as it is (C40, C30)."""
    store = cast("LmdbStore", lmdb_home.store)
    run = await _lived_in(store)
    key, value = raw_rows(store, table)[0]
    with monkeypatch.context() as patch:
        patch.setattr("holdstate.stores.codec_envelope._VERSION_BYTE", bytes([ROW_FORMAT + 1]))
        patch.setattr("holdstate.stores.codec_envelope.ROW_FORMAT", ROW_FORMAT + 1)
        newer = seal(table, key, value[5:] + b"something new")
    overwrite(store, table, key, newer)
    rows = rows_of(store)
    with pytest.raises(StoreTooNew) as caught:
        _reads(store, run)[table]()
    assert (caught.value.where, caught.value.found) == (row_name(table, key), ROW_FORMAT + 1)
    if table in {RUNTIMES, ACTIVE}:
        assert isinstance(await outcome_of(opened(store, environment=world(1))), StoreTooNew)
    assert rows_of(store) == rows


# -- payloads and blobs -----------------------------------------------------------------------------------------------

PIXELS = ImageBlock("image/png", data=b"pixels")
BLOB = "sha256:" + sha256(b"pixels").hexdigest()


def _payloads(store: RuntimeStore) -> int:
    rows = cast("Any", rows_of(store))
    if isinstance(store, LmdbStore):
        bodies = sum(is_body(key) for table in (ACTIVE, BODIES) for key, _ in rows[table])
        return bodies + len(rows[BLOBS]) + len(rows[BLOB_REFS])
    return len(rows[1][RUNTIME][2]) + len(rows[4]) + sum(len(users) for users in rows[6].values())


@pytest.mark.parametrize("how", ["consumed", "cancelled", "failed", "reset", "stopped", "destroyed", "replaced"])
async def test_ended_input_keeps_no_payload_and_no_blob_in_the_same_commit(home: Home, how: str) -> None:
    """With its end an input's payload and blobs go, in the same commit; its identity stays (C41, C42)."""
    driver = await opened(home.store)
    given_ = progress(1, supersession_key="s", idempotency_key="k")
    await accept(driver, evolve(given_, blocks=(PIXELS,)))
    assert home.store.blob_exists(BLOB)
    assert await driver.persisted_input(input_id(1)) == evolve(given_, blocks=(PIXELS,))
    run = await begun(driver) if how in {"consumed", "failed"} else None
    commits = home.store.stats().commits
    ends: dict[str, Callable[[], Any]] = {
        "consumed": lambda: driver.complete_run(run),
        "failed": lambda: driver.fail_run(cast("Run", run), "no", recoverable=False),
        "cancelled": lambda: driver.cancel_input(input_id(1)),
        "reset": driver.reset,
        "stopped": driver.stop,
        "destroyed": driver.destroy,
        "replaced": lambda: driver.accept_input(progress(2, supersession_key="s")),
    }
    await ends[how]()
    assert home.store.stats().commits == commits + 1
    assert _payloads(home.store) == (1 if how == "replaced" else 0)
    assert not home.store.blob_exists(BLOB)
    assert await driver.persisted_input(input_id(1)) is None
    found = await driver.find_by_key("k")
    assert found is not None
    assert found.is_terminal
    assert home.store.verify() == []


async def test_retention_may_keep_payloads(home: Home) -> None:
    """With ``keep_payloads`` an ended input keeps its payload and its blob, across a restart too (C41)."""
    rules = evolve(SETTINGS, retention=Retention(keep_payloads=True))
    driver = await opened(home.store, settings=rules)
    await accept(driver, prompt(1, blocks=(PIXELS,)))
    await work_off(driver)
    driver = await opened(home.crash(), settings=rules, environment=world(1))
    assert await driver.persisted_input(input_id(1)) == prompt(1, blocks=(PIXELS,))
    assert home.store.sweep_blobs() == 0
    assert home.store.verify() == []


async def test_kept_payload_is_read_while_its_input_ends(home: Home) -> None:
    """In the group that ends an input, its payload is found where the store still has it (C41)."""
    driver = await opened(home.store, settings=evolve(SETTINGS, retention=Retention(keep_payloads=True)))
    await accept(driver, prompt(1, blocks=(PIXELS,)))
    _, found = await asyncio.gather(driver.cancel_input(input_id(1)), driver.persisted_input(input_id(1)))
    assert found == prompt(1, blocks=(PIXELS,)) == await driver.persisted_input(input_id(1))


async def test_live_row_never_refers_to_a_missing_blob(home: Home) -> None:
    """A shared blob lives as long as the last input that needs it; sweeping never takes a needed one (C41)."""
    driver = await opened(home.store)
    blob = home.store.put_blob(b"pixels")
    reference = ImageBlock("image/png", blob=blob)
    await accept(driver, prompt(1, blocks=(reference,)), prompt(2, blocks=(PIXELS,)))
    other = await opened(home.store, "other", environment=world(1))
    await accept(other, prompt(1, blocks=(reference,)))
    assert home.store.sweep_blobs() == 0
    await driver.destroy()
    assert home.store.sweep_blobs() == 0
    assert home.store.get_blob(blob) == b"pixels"
    assert await other.persisted_input(input_id(1)) == prompt(1, blocks=(PIXELS,))
    await other.cancel_input(input_id(1))
    assert not home.store.blob_exists(blob)
    outcome = await other.accept_input(prompt(3, blocks=(reference,)))
    assert isinstance(outcome, Rejected)
    assert home.store.verify() == []


# -- memory -----------------------------------------------------------------------------------------------------------


async def test_ended_inputs_leave_memory_and_stay_queryable(home: Home) -> None:
    """After many inputs have ended the image is empty, and each is found by id, key and outcome (C42)."""
    driver = await opened(home.store)
    for number in range(30):
        make = (prompt, event, progress)[number % 3]
        await accept(driver, make(number, idempotency_key=f"key {number}", supersession_key="s"))
        if number % 5 == 0:
            await driver.cancel_input(input_id(number))
        run = await driver.begin_run()
        if run is not None:
            await driver.complete_run(run, RunOutput(result=b"%d" % number))
    image = driver._actor.image
    held: list[Sized] = [image.inputs, image.bodies, image.scopes, *image.lanes.values(), image.runtime.contributors]
    assert [len(each) for each in held] == [0] * len(held)
    for number in range(30):
        record = await driver.input_record(input_id(number))
        assert record is not None
        assert record == await driver.find_by_key(f"key {number}")
        consumed = number % 5 != 0
        assert record.outcome_kind is (OutcomeKind.CONSUMED if consumed else OutcomeKind.ABANDONED)
        assert await driver.input_result(input_id(number)) == (b"%d" % number if consumed else None)


@pytest.mark.usefixtures("untraced")  # what coverage notes of lines that are met for the first time counts too
async def test_memory_does_not_grow_with_ended_inputs(lmdb_home: LmdbHome) -> None:
    """A hundred and fifty more ended inputs take no more memory than a constant (C42)."""
    rules = evolve(SETTINGS, debug=False, max_events=10)
    driver = await opened(lmdb_home.store, settings=rules)

    async def live(first: int, last: int) -> None:
        for number in range(first, last):
            await accept(driver, prompt(number, "x" * 500, idempotency_key=f"key {number}"))
            await driver.complete_run(await begun(driver))

    await live(0, 60)
    tracemalloc.start()
    try:
        await live(60, 90)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await live(90, 240)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{after - before} bytes more")
    assert after - before < 150 * 60


# -- space ------------------------------------------------------------------------------------------------------------


async def test_full_map_is_a_typed_error_and_leaves_room_to_go_on(tmp_path: Path) -> None:
    """Map full: StoreFull, nothing applied; small work goes on, and with more room the same accept succeeds (C43)."""
    home = LmdbHome(tmp_path / "store", map_size=512 * 1024, max_map_size=512 * 1024)
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    large = prompt(2, "x" * 700_000)
    rows, memory = rows_of(home.store), memory_of(driver)
    with pytest.raises(StoreFull) as caught:
        await driver.accept_input(large)
    assert caught.value.applied is False
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await accept(driver, prompt(3))
    assert len(await work_off(driver)) == 2
    home.options["max_map_size"] = 16 * 1024 * 1024
    driver = await opened(home.crash(), environment=world(1))
    await accept(driver, large)
    assert_memory_equals_store(driver, home.store)
    home.close()


async def test_map_that_may_grow_is_never_full(tmp_path: Path) -> None:
    """A map below its cap grows by itself, also in the middle of a group (C43)."""
    home = LmdbHome(tmp_path / "store", map_size=128 * 1024)
    driver = await opened(home.store)
    outcomes = await asyncio.gather(*(driver.accept_input(prompt(n, "x" * 50_000)) for n in range(20)))
    assert all(isinstance(each, Accepted) for each in outcomes)
    assert_memory_equals_store(driver, home.store)
    home.close()


# -- hostile ids ------------------------------------------------------------------------------------------------------

_PATHS = [
    "../../etc/passwd",
    "/",
    ".",
    "..",
    "a/b",
    "a\\b",
    "data.mdb",
    "lock.mdb",
    "~",
    "con",
    "%00",
    "a" * 255,
    "é" * 127,
]
_NO_UTF_8: tuple[Literal["Cs", "Cc"], ...] = ("Cs",)
_NO_TEXT: tuple[Literal["Cs", "Cc"], ...] = ("Cs", "Cc")
_runtime_ids = st.sampled_from(_PATHS) | st.text(st.characters(exclude_categories=_NO_TEXT), min_size=1, max_size=60)
_keys = st.sampled_from(["\0", "\0\0", "a\0", "a\0b", "a", "k" * 511, "k" * 512, "\0" * 512]) | st.text(
    st.characters(exclude_categories=_NO_UTF_8), min_size=1, max_size=60
)


@st.composite
def _pairs(draw: st.DrawFn, values: st.SearchStrategy[str], longest: int) -> tuple[str, str]:
    first = draw(values)
    second = draw(
        values | st.sampled_from([first + first[-1], first[:-1] or "x", first.swapcase(), first + " ", " " + first])
    )
    assume(first != second)
    assume(all(1 <= len(each.encode()) <= longest for each in (first, second)))
    return first, second


@settings(max_examples=25)
@given(_pairs(_runtime_ids, 255), _pairs(_keys, 512))
def test_hostile_runtime_ids_and_keys_never_share_rows(
    tmp_path_factory: pytest.TempPathFactory, names: tuple[str, str], keys: tuple[str, str]
) -> None:
    """Path-like, prefix-colliding and longest ids and keys stay apart, and never reach the file system (C44)."""
    path = tmp_path_factory.mktemp("hostile")

    async def play(home: Home) -> None:
        drivers = [await opened(home.store, name, environment=world(n)) for n, name in enumerate(names)]
        for driver in drivers:
            for number, key in enumerate(keys):
                await accept(driver, prompt(number, f"{driver.runtime_id} {number}", idempotency_key=key))
        assert {each.runtime_id for each in home.store.list_runtimes()} == set(names)
        await drivers[0].complete_run(await begun(drivers[0]), RunOutput(b"snapshot", b"result"))
        await drivers[0].destroy()
        for number, key in enumerate(keys):
            found = await drivers[1].find_by_key(key)
            assert found is not None
            assert (found.input_id, found.state) == (input_id(number), InputState.QUEUED)
            expected = prompt(number, f"{names[1]} {number}", idempotency_key=key)
            assert await drivers[1].persisted_input(input_id(number)) == expected
        assert await drivers[1].session_snapshot() is None
        assert len(await work_off(drivers[1])) == 2
        assert home.store.verify() == []
        home.close()

    asyncio.run(play(MemoryHome()))
    asyncio.run(play(LmdbHome(path / "store")))
    assert [each.name for each in path.iterdir()] == ["store"]
    assert {each.name for each in (path / "store").iterdir()} == {"data.mdb", "lock.mdb"}
    shutil.rmtree(path)


@pytest.mark.parametrize("name", ["", "a" * 256, "é" * 128, "a\0b", "a\nb", "\x7f", "\ud800", 7, None])
async def test_impossible_runtime_id_is_refused_and_makes_nothing(home: Home, name: Any) -> None:
    """An id that is empty, too long, or not plain text is refused, and no row is made for it (C44)."""
    rows = rows_of(home.store)
    with pytest.raises(InvalidInput):
        await PersistentRuntimeDriver.open(name, home.store)
    assert rows_of(home.store) == rows


async def test_neighbours_of_one_store_do_not_see_each_other(store_factory: NewHome) -> None:
    """The same input ids and keys in two runtimes are two inputs (C44)."""
    home = store_factory()
    drivers = [await opened(home.store, name, environment=world(n)) for n, name in enumerate(("a", "aa"))]
    for driver in drivers:
        await accept(driver, prompt(1, idempotency_key="k"))
    await drivers[0].cancel_input(input_id(1))
    assert await drivers[1].input_state(input_id(1)) is InputState.QUEUED
    assert (await drivers[1].find_by_key("k")) == (await drivers[1].input_record(input_id(1)))
