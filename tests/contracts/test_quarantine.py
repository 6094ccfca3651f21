"""``on_corrupt="quarantine"``: rows that cannot be read are set aside and named, and everything else works (C38)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from shutil import copytree

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import InvalidInput, StoreCorruption, StoreTooNew
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.outcomes import BoundaryApplied, Run
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.service_settings import ServiceSettings
from holdstate.runtime.settings import Retention
from holdstate.runtime.store import InputFilter, Pruned
from holdstate.spec.vocabulary import InputState, OnCorrupt
from holdstate.stores import lmdb_reader, lmdb_retention
from holdstate.stores.codec_envelope import ROW_FORMAT, row_name, seal
from holdstate.stores.lmdb_rows import ACTIVE, ENDED, NAMES, PRUNED, RECEIPTS, RUNTIMES, is_body
from holdstate.stores.lmdb_store import LmdbStore

from .damage import flipped, overwrite, raw_rows
from .kit import (
    SETTINGS,
    START,
    accept,
    begun,
    event,
    input_id,
    inputs_of,
    opened,
    outcome_of,
    prompt,
    receipt_of,
    rows_of,
    work_off,
    world,
)

Rows = list[tuple[bytes, bytes]]
INPUTS = 6


class Counting:
    """An executor that is done at once; ``are_all_entered`` once it had so many runs."""

    def __init__(self, wanted: int) -> None:
        self.left = wanted
        self.are_all_entered = asyncio.Event()

    async def apply(self, run: ActiveRun) -> None:
        self.left -= 1
        if self.left == 0:
            self.are_all_entered.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


async def fill(path: Path, *runtimes: str) -> None:
    """``INPUTS`` queued prompts in each runtime."""
    with LmdbStore.open(path) as store:
        for runtime_id in runtimes:
            driver = await opened(store, runtime_id)
            await accept(driver, *(prompt(n, idempotency_key=f"key {n}") for n in range(INPUTS)))


def damage(path: Path, table: bytes, is_chosen: Callable[[int, bytes], bool]) -> dict[str, bytes]:
    """Turn a bit in the chosen rows, by place among those of the table and by key. Returns names and bytes as left."""
    with LmdbStore.open(path) as store:
        chosen = [row for place, row in enumerate(raw_rows(store, table)) if is_chosen(place, row[0])]
        damaged = {key: flipped(value, -1) for key, value in chosen}
        for key, value in damaged.items():
            overwrite(store, table, key, value)
    return {row_name(table, key): value for key, value in damaged.items()}


def stored_bytes(store: LmdbStore, table: bytes, names: dict[str, bytes]) -> dict[str, bytes]:
    rows = {row_name(table, key): value for key, value in raw_rows(store, table)}
    return {name: rows[name] for name in names}


@asynccontextmanager
async def in_quarantine(path: Path, runtime_id: str) -> AsyncIterator[tuple[LmdbStore, PersistentRuntimeDriver]]:
    with LmdbStore.open(path, on_corrupt="quarantine") as store:
        yield store, await opened(store, runtime_id, environment=world(1))


@pytest.mark.parametrize("part", ["state", "body"])
@pytest.mark.parametrize("seed", range(4))
async def test_all_but_the_damaged_inputs_of_a_runtime_are_worked_off(path: Path, part: str, seed: int) -> None:
    """K damaged inputs out of n: n - k are consumed, k are named and keep their bytes; strict names a row (C38)."""
    await fill(path, "one", "two")
    hit = Random(seed).sample(range(INPUTS), 1 + seed % 3)
    names = damage(path, ACTIVE, lambda place, key: place // 2 in hit and is_body(key) is (part == "body"))
    assert len(names) == len(hit)
    if part == "state":
        with LmdbStore.open(path) as store:
            before = rows_of(store)
            outcome = await outcome_of(opened(store, "one"))
            assert isinstance(outcome, StoreCorruption)
            assert outcome.where in names
            assert (rows_of(store), store.quarantined) == (before, ())
    async with in_quarantine(path, "one") as (store, driver):
        assert set(driver.recovery_report.set_aside) == set(names)
        assert [each.where for each in store.quarantined] == sorted(names)
        runs = await work_off(driver)
        assert [run.input_ids for run in runs] == [(input_id(n),) for n in range(INPUTS) if n not in hit]
        await accept(driver, prompt(INPUTS))
        assert len(await work_off(driver)) == 1
        assert len(await work_off(await opened(store, "two"))) == INPUTS
        assert stored_bytes(store, ACTIVE, names) == names
        assert set(names) <= {finding.where for finding in store.verify()}
    async with in_quarantine(path, "one") as (store, driver):
        assert set(driver.recovery_report.set_aside) == set(names)
        assert driver.image.runtime.counts.active == len(hit)
        await driver.stop()
        assert stored_bytes(store, ACTIVE, names) == names
    async with in_quarantine(path, "one") as (_, driver):
        assert driver.runtime_state.value == "stopped"


async def test_a_check_that_lets_damage_through_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with rows taken unseen, nothing is set aside and a damaged row is an input (C38)."""
    await fill(path, "one")
    damage(path, ACTIVE, lambda place, _: place == 1)
    monkeypatch.setattr(lmdb_reader, "unseal", lambda *row: row[2])
    async with in_quarantine(path, "one") as (store, driver):
        assert (driver.recovery_report.set_aside, store.quarantined) == ((), ())
        assert len(await driver.active_input_ids()) == INPUTS


async def test_a_runtime_whose_own_record_is_damaged_is_set_aside_whole(path: Path) -> None:
    """It is refused by name and untouched, listings pass over it, and the others work (C38)."""
    await fill(path, "one", "two", "three")
    names = damage(path, RUNTIMES, lambda place, _: place == 1)
    with LmdbStore.open(path) as store, pytest.raises(StoreCorruption):
        store.list_runtimes()
    with LmdbStore.open(path, on_corrupt="quarantine") as store:
        assert [record.runtime_id for record in store.list_runtimes()] == ["one", "three"]
        before = rows_of(store)
        outcome = await outcome_of(opened(store, "two"))
        assert isinstance(outcome, StoreCorruption)
        assert [outcome.where] == [*names] == [finding.where for finding in store.quarantined]
        assert rows_of(store) == before
        for runtime_id in ("one", "three"):
            assert len(await work_off(await opened(store, runtime_id))) == INPUTS


async def test_a_service_works_the_others_off(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is left in sound runtimes is resumed, past one that cannot be listed; what is set aside is logged (C38)."""
    await fill(path, "one", "two", "three")
    damage(path, NAMES, lambda place, _: place == 0)
    damage(path, ACTIVE, lambda place, _: place == 2 * INPUTS)
    with LmdbStore.open(path, on_corrupt=OnCorrupt.QUARANTINE) as store:
        sound = {record.runtime_id for record in store.list_runtimes()}
        assert len(sound) == 2

        settings = ServiceSettings(runtime=SETTINGS)
        executor = Counting(2 * INPUTS - 1)
        async with RuntimeService(store, executor, settings=settings, environment=world(2)):
            await executor.are_all_entered.wait()
        consumed = [each.state for name in sound for each in inputs_of(store, name)]
        assert consumed == [InputState.CONSUMED] * len(consumed)
        assert len(consumed) == 2 * INPUTS - 1
    assert "an input was set aside" in caplog.messages


async def test_inputs_of_a_run_whose_receipt_is_damaged_are_neither_repeated_nor_forgotten(path: Path) -> None:
    """Whether they were consumed cannot be told: they stay as they are, and the run before them does no harm (C23)."""
    with LmdbStore.open(path) as store:
        driver = await opened(store)
        await accept(driver, *(event(n) for n in range(2)), prompt(2))
        run = await begun(driver)
        await driver.on_run_event(BoundaryApplied(run.run_id, receipt_of(run), None))
    names = damage(path, RECEIPTS, lambda *_: True)
    with LmdbStore.open(path) as store:
        assert isinstance(await outcome_of(opened(store)), StoreCorruption)
    async with in_quarantine(path, "runtime") as (store, driver):
        assert driver.recovery_report.set_aside == tuple(names) * 2
        assert [each.input_ids for each in await work_off(driver)] == [(input_id(2),)]
        states = {record.input_id: record.state for record in inputs_of(store)}
        assert states[input_id(0)] is states[input_id(1)] is InputState.APPLIED_PENDING_CONSUMPTION
        for again in (event(0), event(1)):  # it may have been worked off
            assert isinstance(await outcome_of(driver.accept_input(again)), StoreCorruption)
        assert stored_bytes(store, RECEIPTS, names) == names


async def test_an_input_that_was_set_aside_is_known_by_its_id_and_its_key(path: Path) -> None:
    """As long as its own row can be read, sending it again is an error that names what is damaged, no miss (C5, C7)."""
    await fill(path, "one")
    (where,) = damage(path, ACTIVE, lambda place, key: place == 1 and is_body(key))
    async with in_quarantine(path, "one") as (store, driver):
        before = rows_of(store)
        for call in (
            driver.accept_input(prompt(0)),
            driver.accept_input(prompt(INPUTS, idempotency_key="key 0")),
            driver.cancel_input(input_id(0)),
            driver.input_record(input_id(0)),
            driver.find_by_key("key 0"),
        ):
            outcome = await outcome_of(call)
            assert isinstance(outcome, StoreCorruption)
            assert outcome.where == where
        assert rows_of(store) == before
        await accept(driver, prompt(INPUTS, idempotency_key="key of its own"))
    async with in_quarantine(path, "two") as (_, driver):
        await accept(driver, prompt(0, idempotency_key="key 0"))
    with LmdbStore.open(path) as store:
        driver = await opened(store, "one", environment=world(2))
        assert len(await driver.active_input_ids()) == INPUTS + 1


async def test_a_body_that_is_missing_is_told(path: Path) -> None:
    """It is set aside like one that cannot be read, under its own name (C38)."""
    await fill(path, "one")
    with LmdbStore.open(path) as store:
        key = next(key for key, _ in raw_rows(store, ACTIVE) if is_body(key))
        store._environment.write(lambda rows: rows.delete(ACTIVE, key))
    async with in_quarantine(path, "one") as (store, driver):
        assert driver.recovery_report.set_aside == (row_name(ACTIVE, key),)
        assert "the body of an active input is missing" in store.quarantined[0].problem


async def test_a_row_that_vanished_is_no_quarantine(path: Path) -> None:
    """What is not there cannot be named: the runtime is refused, as ever (C38)."""
    await fill(path, "one")
    with LmdbStore.open(path) as store:
        key = next(key for key, _ in raw_rows(store, ACTIVE) if not is_body(key))
        store._environment.write(lambda rows: rows.delete(ACTIVE, key))
    with LmdbStore.open(path, on_corrupt="quarantine") as store:
        assert isinstance(await outcome_of(opened(store, "one")), StoreCorruption)
        assert store.quarantined[0].where == "runtime 'one'"


async def test_a_newer_row_is_refused_and_not_set_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not damaged: only a newer version may say what it means (C30, C40)."""
    await fill(path, "one")
    with LmdbStore.open(path) as store:
        key, value = next(row for row in raw_rows(store, ACTIVE) if not is_body(row[0]))
        with monkeypatch.context() as patch:
            patch.setattr("holdstate.stores.codec_envelope._VERSION_BYTE", bytes([ROW_FORMAT + 1]))
            patch.setattr("holdstate.stores.codec_envelope.ROW_FORMAT", ROW_FORMAT + 1)
            overwrite(store, ACTIVE, key, seal(ACTIVE, key, value[5:]))
    with LmdbStore.open(path, on_corrupt="quarantine") as store:
        before = rows_of(store)
        assert isinstance(await outcome_of(opened(store, "one")), StoreTooNew)
        assert (rows_of(store), store.quarantined) == (before, ())


async def test_listing_and_pruning_go_on_without_damaged_rows(path: Path) -> None:
    """Listings pass over them; of a runtime that has one no more is pruned, of the others as ever (C38)."""
    for runtime_id in ("one", "two"):
        with LmdbStore.open(path) as store:
            driver = await opened(store, runtime_id)
            await accept(driver, *(prompt(n) for n in range(3)))
            await work_off(driver)
    names = damage(path, ENDED, lambda place, _: place == 1)
    everything = Retention(keep_ended_seconds=0.0)
    later = evolve(world(), now=lambda: START.replace(year=2100)).now()
    with LmdbStore.open(path) as store:
        with pytest.raises(StoreCorruption):
            store.list_inputs(InputFilter("one"))
        with pytest.raises(StoreCorruption):
            store.prune(everything, now=later)
    with LmdbStore.open(path, on_corrupt="quarantine") as store:
        assert [record.input_id for record in inputs_of(store, "one")] == [input_id(0), input_id(2)]
        assert store.prune(everything, now=later).inputs == 3
        assert (len(inputs_of(store, "one")), len(inputs_of(store, "two"))) == (2, 0)
        assert [finding.where for finding in store.quarantined] == [*names]


@pytest.mark.parametrize("at_once", [1, 500])
async def test_a_row_that_pruning_cannot_count_keeps_its_own_runtime_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Runtimes go together in one transaction; where that meets damage, each goes by itself, and of the damaged one
    nothing that a later transaction would take (C38).
    """
    monkeypatch.setattr(lmdb_retention, "_INPUTS_AT_ONCE", at_once)
    old, new = START.replace(year=2100), START.replace(year=2101)
    everything = Retention(keep_ended_seconds=0.0)
    for turn in range(2):
        for runtime_id in ("one", "two", "three"):
            with LmdbStore.open(path) as store:
                driver = await opened(store, runtime_id)
                await accept(driver, *(prompt(3 * turn + n) for n in range(3)))
                await work_off(driver)
        if turn == 0:
            with LmdbStore.open(path) as store:
                assert store.prune(everything, now=old).inputs == 9
    (name,) = damage(path, PRUNED, lambda place, _: place == 1)
    strict = copytree(path, path.with_name("strict"))
    with LmdbStore.open(strict) as store:
        with pytest.raises(StoreCorruption):
            store.prune(everything, now=new)
        assert len(inputs_of(store, "two")) == 3
    with LmdbStore.open(path, on_corrupt="quarantine") as store:
        pruned = store.prune(everything, now=new)
        assert pruned.inputs == 6
        assert [len(inputs_of(store, each)) for each in ("one", "two", "three")] == [0, 3, 0]
        assert [finding.where for finding in store.quarantined] == [name]
        assert store.prune(everything, now=new) == Pruned()


async def test_a_reload_sets_aside_what_was_damaged_meanwhile(path: Path) -> None:
    """After a commit of unknown result memory is read again: what cannot be read by then is left out (C35, C38)."""
    await fill(path, "one")
    async with in_quarantine(path, "one") as (store, driver):
        key, value = next(row for row in raw_rows(store, ACTIVE) if not is_body(row[0]))
        overwrite(store, ACTIVE, key, flipped(value, -1))
        actor = driver._actor
        actor.image.runtime = evolve(actor.image.runtime, revision=actor.image.runtime.revision - 1)
        store._environment._is_suspect = True
        store.list_runtimes()  # the file is opened anew, under another generation
        runs: list[Run] = await work_off(driver)
        assert [run.input_ids for run in runs] == [(input_id(n),) for n in range(1, INPUTS)]
        assert driver.image.set_aside == 1


def test_there_are_two_ways_to_meet_damage(path: Path) -> None:
    """A word that is neither is refused before anything is made (C38)."""
    with pytest.raises(InvalidInput, match="on_corrupt: must be one of 'strict', 'quarantine'; it is 'repair'"):
        LmdbStore.open(path, on_corrupt="repair")
    assert not path.exists()
