"""Stories of stores: commits that no driver sends, groups that fail in the middle, several runtimes in one group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from attrs import evolve

from ..runtime.driver import PersistentRuntimeDriver as Driver
from ..runtime.records import InputRecord
from ..runtime.store import Claim, Commit, InputWrite, LoadedRuntime, WriteResult, Written
from ..spec.errors import HoldstateError
from ..spec.vocabulary import InputState
from .explorer_kinds import INPUT_IDS
from .stories_of_runs import OUTPUT, Story, accepted, begun, given
from .story_stage import RUNTIME, Stage

_MISSING_BLOB: Final = "sha256:" + "0" * 64


class Broken(Exception):
    """Raised in the middle of a group."""


async def refused_by_the_store(stage: Stage) -> None:
    """What would break the promises of a store is refused, and changes nothing."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1), ("operation", 2))
    run = await begun(stage, driver)
    receipt = await driver.checkpoint(run, OUTPUT)
    stage.look(driver)
    store = stage.store.inner
    loaded = store.load_runtime(RUNTIME)
    assert loaded is not None, "it was opened"
    record, active = loaded.record, loaded.inputs[0]
    ended = store.load_input(RUNTIME, INPUT_IDS[2])
    assert ended is not None, "it was accepted"
    event = store.load_events(RUNTIME)[-1]
    free = record.next_order + 1  # one is taken by another input below
    fresh = _renamed(active, 3, free, key="fresh")
    grown = evolve(record, revision=record.revision + 1, next_order=free + 1)
    good = Commit(grown, record.epoch, record.revision)
    cases: dict[str, Commit] = {
        "an older revision": evolve(good, base_revision=record.revision - 1),
        "a newer revision": evolve(good, base_revision=record.revision + 1),
        "an older epoch": evolve(good, epoch=record.epoch - 1),
        "a newer epoch": evolve(good, epoch=record.epoch + 1),
        "an unknown runtime": evolve(good, runtime=evolve(grown, runtime_id="unknown")),
        "the id of an ended input": _admitting(good, _renamed(active, 2, free, key="fresh")),
        "a used order key": _admitting(good, _renamed(active, 3, ended.order, key="fresh")),
        "a used idempotency key": _admitting(good, _renamed(active, 3, free, key="used")),
        "a blob that is missing": _admitting(good, _renamed(fresh, 3, free, key="f", blob=_MISSING_BLOB)),
        "an input that is not active": evolve(good, inputs=[InputWrite(fresh, is_new=False)]),
        "a stored receipt": evolve(good, receipts=[receipt]),
        "a stored event": evolve(good, events=[event]),
    }
    await driver.accept_input(given("operation", 4, idempotency_key="used"))
    again = store.load_runtime(RUNTIME)
    assert again is not None, "it was opened"
    by = again.record.revision - record.revision
    for label, commit in cases.items():
        runtime = evolve(commit.runtime, revision=commit.runtime.revision + by, counts=again.record.counts)
        sent = evolve(commit, runtime=runtime, base_revision=commit.base_revision + by)
        stage.say(f"commit with {label}: {_results(stage, store.commit([sent]))}")
        stage.look(driver)
    for label, epoch, revision in (("its epoch", 0, 0), ("two epochs", 2, 0), ("an older revision", 1, -1)):
        claim = Claim(RUNTIME, _settling(epoch, revision))
        stage.say(f"claim with {label}: {_results(stage, store.commit([claim]))}")
        stage.look(driver)
    stage.finish(driver)


def _results(stage: Stage, results: list[WriteResult]) -> str:
    return "; ".join("written" if isinstance(each, Written) else stage.words.of(each) for each in results)


def _renamed(record: InputRecord, number: int, order: int, *, key: str, blob: str | None = None) -> InputRecord:
    blobs = () if blob is None else (blob,)
    admission = evolve(record.admission, input_id=INPUT_IDS[number], order=order, idempotency_key=key, blobs=blobs)
    return InputRecord(admission, InputState.QUEUED)


def _admitting(commit: Commit, record: InputRecord) -> Commit:
    return evolve(commit, inputs=[InputWrite(record, is_new=True, body=b"{}")])


def _settling(epochs: int, revisions: int) -> Callable[[LoadedRuntime | None], Commit]:
    def settle(loaded: LoadedRuntime | None) -> Commit:
        assert loaded is not None, "it was opened"
        record = loaded.record
        raised = evolve(record, epoch=record.epoch + epochs, revision=record.revision + 1)
        return Commit(raised, raised.epoch, record.revision + revisions)

    return settle


def _breaks(_: LoadedRuntime | None) -> Commit:
    raise Broken


async def broken_in_the_middle(stage: Stage) -> None:
    """A group whose second member breaks leaves nothing of the first, and what comes next is written."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1))
    store = stage.store.inner
    for _ in range(2):
        loaded = store.load_runtime(RUNTIME)
        assert loaded is not None, "it was opened"
        record = loaded.record
        commit = Commit(evolve(record, revision=record.revision + 1), record.epoch, record.revision)
        try:
            store.commit([commit, Claim("other", _breaks)])
        except (Broken, HoldstateError):
            stage.say("the group is broken")
        stage.look(driver)
        await stage.do(driver, "retire", driver.retire())
        await stage.do(driver, "recycle", driver.recycle_preserving_work())
    stage.finish(driver)


async def several_runtimes(stage: Stage) -> None:
    """Runtimes that are opened, filled and worked off in one group each stay apart."""
    names = ("one", "two", "three")

    async def opened(name: str) -> Driver:
        return await Driver.open(name, stage.store, settings=stage.settings(), environment=stage.environment())

    async def told(*calls: object) -> None:
        answers = await asyncio.gather(*calls, return_exceptions=True)  # type: ignore[call-overload]
        stage.say("together: " + "; ".join(map(stage.words.of, answers)))
        for name in names:
            loaded = stage.store.inner.load_runtime(name)
            stage.say(f"  {name}: {'nothing' if loaded is None else stage.words.runtime(loaded.record)}")
            for record in () if loaded is None else loaded.inputs:
                stage.say(f"    {stage.words.input(record)}")

    drivers = await asyncio.gather(*map(opened, names))
    await told(*(each.accept_input(given("event", number)) for number, each in enumerate(drivers, 1)))
    await told(*(each.accept_input(given("progress", 4 + number)) for number, each in enumerate(drivers, 1)))
    runs = await asyncio.gather(*(each.begin_run() for each in drivers))
    await told(*(each.complete_run(run, OUTPUT) for each, run in zip(drivers, runs, strict=True) if run is not None))
    for number, each in enumerate(drivers, 1):
        stage.say(f"{each.runtime_id}: {stage.words.of(await each.input_state(INPUT_IDS[4 + number]))}")
        stage.say(f"  {stage.words.of(await each.input_result(INPUT_IDS[4 + number]))}")
    for finding in stage.store.verify():
        stage.say(f"!! verify: {finding.check}: {finding.problem}")


STORIES_OF_STORES: Final[tuple[Story, ...]] = (refused_by_the_store, broken_in_the_middle, several_runtimes)
