"""``holdstate store history``: the life of one input, as its record, its receipt and the event log tell it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdstate import (
    Backoff,
    LmdbStore,
    PersistentRuntimeDriver,
    PromptInput,
    Retention,
    RetryPolicy,
    RunOutput,
    RuntimeSettings,
)
from holdstate.runtime.environment import Environment
from holdstate.runtime.events import EventEnvelope
from holdstate.spec.vocabulary import AbandonReason
from holdstate.tools.input_history import InputHistory, history_of

from .support import call

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(recovered: Path) -> Path:
    """A store whose process was killed inside a run, after another one went on."""
    return recovered


def document(store: Path, *words: object) -> Any:
    """The history as JSON."""
    result = call("store", "history", store, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def kinds(view: Any) -> list[list[str]]:
    """What each moment is about."""
    return [[fact["kind"] for fact in moment["facts"]] for moment in view["moments"]]


def test_a_run_that_was_killed_is_told_where_it_was_found(store: Path) -> None:
    """Admitted, begun, lost, begun again, committed and ended; the run that was lost counts as failed (C14)."""
    view = document(store, "--key", "hangs")
    assert kinds(view) == [["admitted"], ["run"], ["crash"], ["run"], ["commit", "end"]]
    events = [moment["events"] for moment in view["moments"]]
    assert events == [["queue"], ["stage"], ["recover_queue"], ["stage"], ["apply", "mark_pending", "consume"]]
    texts = [fact["text"] for moment in view["moments"] for fact in moment["facts"]]
    assert texts[1] == "attempt 1 begins"
    assert texts[2].startswith("attempt 1 was lost without a boundary and counts as failed")
    assert texts[3] == f"attempt 2 begins, run {view['last_run_id']}"
    assert texts[4] == "boundary 0 is committed; its receipt lists 1 input"
    assert texts[5] == "consumed"
    assert (view["crashes"], view["attempts"], view["failures"], view["recoveries"]) == (1, 2, 1, 1)
    assert view["receipt"]["contributing_input_ids"] == [view["input_id"]]


def test_failures_are_told_with_the_last_error(store: Path) -> None:
    """Only the last error is kept, and it is told where it belongs."""
    view = document(store, "--key", "bad")
    assert kinds(view) == [["admitted"], *[["run"], ["failure"]] * 2, ["run"], ["failure", "end"]]
    texts = [fact["text"] for moment in view["moments"] for fact in moment["facts"]]
    failures = [each for each in texts if "fails" in each]
    assert failures == ["attempt 1 fails", "attempt 2 fails", "attempt 3 fails: exit 3: no such amount"]
    assert texts[-1] == "abandoned, attempts_exhausted"


def test_an_input_is_found_by_id_and_by_key(store: Path) -> None:
    """In the runtime that is named, or in all of them."""
    view = document(store, "--key", "fine")
    for words in ((view["input_id"],), (view["input_id"], "--runtime", "main"), ("--key", "fine", "--runtime", "main")):
        assert document(store, *words) == view
    assert view["runtime"] == "main"
    assert kinds(view) == [["admitted"], ["run"], ["commit", "end"]]


def test_the_terminal_tells_each_moment_in_a_row(store: Path) -> None:
    """What stands out is marked; what the log has is said on stderr."""
    result = call("store", "history", store, "--key", "hangs")
    assert (result.exit_code, result.stderr) == (0, "The runtime keeps no event log.\n")
    first, *rows = [line for line in result.stdout.splitlines() if line.strip()]
    assert first.startswith("input ")
    assert first.endswith(" of runtime main. It ended: consumed.")
    crash = [line for line in rows if "✗" in line]
    assert len(crash) == 1
    assert "staged → queued" in crash[0]
    assert "staged → applied → applied_pending_consumption → consumed" in result.stdout


def test_the_page_is_written_where_it_is_wanted(store: Path, tmp_path: Path) -> None:
    """To a file or to stdout, the same but for when it was read."""
    path = tmp_path / "pages" / "history.html"
    assert call("store", "history", store, "--key", "hangs", "--html", path).stderr == f"wrote {path}\n"
    assert call("store", "history", store, "--key", "hangs", "--html", "-").stdout.startswith("<!DOCTYPE html>")
    assert "attempt 1 was lost" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "name one input: give its id, or its --key"),
        (("01890000-0000-7000-8000-000000000001", "--key", "k"), "name one input"),
        (("--key", "fine", "--json", "--html", "x.html"), "give one of --json and --html"),
        (("x",), "'x' is not a valid UUID"),
        (("--key", "fine", "--runtime", "nobody"), "runtime 'nobody' is not in the store"),
        (("--key", "nothing"), "key 'nothing', looked for among active and ended inputs of runtime 'main'"),
        (("01890000-0000-7000-8000-000000000001",), "active and ended inputs of runtime 'main', is not in the store"),
    ],
)
def test_what_is_not_there_is_told_with_where_it_was_looked_for(
    store: Path, words: tuple[str, ...], problem: str
) -> None:
    """Exit code 2, nothing on stdout."""
    result = call("store", "history", store, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr


def test_a_key_that_several_runtimes_have_needs_one_of_them(tmp_path: Path) -> None:
    """They are named; with one of them, it is found."""

    async def fill(store: LmdbStore) -> None:
        for name in "abcdefg":
            driver = await PersistentRuntimeDriver.open(name, store)
            await driver.accept_input(PromptInput.new(name, idempotency_key="k" if name in "ab" else None))

    with LmdbStore.open(tmp_path / "store") as opened:
        asyncio.run(fill(opened))
    result = call("store", "history", tmp_path / "store", "--key", "k")
    assert result.exit_code == 2
    assert "several runtimes have such an input: a, b; choose one with --runtime" in result.stderr
    assert document(tmp_path / "store", "--key", "k", "--runtime", "b")["runtime"] == "b"
    missing = call("store", "history", tmp_path / "store", "--key", "z").stderr
    assert "inputs of runtime 'a', 'b', 'c', 'd', 'e' and 2 more, is not in" in missing


# -- what a driver leaves ------------------------------------------------------------------------------------------

Play = Callable[[PersistentRuntimeDriver], Awaitable[PromptInput]]


class Clock:
    """A second later at each look."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def lived(folder: Path, play: Play, *, then: Callable[[LmdbStore], object] = id, **given: Any) -> InputHistory:
    """The history of the input that ``play`` returns."""

    async def run(store: LmdbStore) -> PromptInput:
        settings = RuntimeSettings(**given)
        environment = Environment(now=Clock())
        driver = await PersistentRuntimeDriver.open("chat", store, settings=settings, environment=environment)
        return await play(driver)

    with LmdbStore.open(folder / "store") as store:
        prompt = asyncio.run(run(store))
        then(store)
        with store.reading() as reader:
            runtime, record = reader.load_record("chat"), reader.load_input("chat", prompt.header.id)
            assert runtime is not None
            assert record is not None
            return history_of(reader, runtime, record)


async def fail_often(driver: PersistentRuntimeDriver) -> PromptInput:
    """Two runs fail and a third one ends."""
    prompt = PromptInput.new("hello")
    await driver.accept_input(prompt)
    for number in range(3):
        run = await driver.begin_run()
        assert run is not None
        if number < 2:
            await driver.fail_run(run, "no")
        else:
            await driver.complete_run(run, RunOutput())
    return prompt


def told(history: InputHistory) -> list[str]:
    """Every fact."""
    return [fact.text for moment in history.moments for fact in moment.facts]


def test_dropped_transitions_are_a_gap_that_is_seen(tmp_path: Path) -> None:
    """Between the admission, which is stamped, and what is kept; attempts keep their numbers."""
    history = lived(tmp_path, fail_often, max_history=5, **no_backoff())
    assert history.record.history_dropped == 4
    texts = told(history)
    assert texts[0].startswith("prompt admitted to the queue lane as number 1")
    assert texts[1:3] == ["4 transitions no longer kept with the record", "attempt 2 fails"]
    assert texts[3].startswith("attempt 3 begins, run ")
    assert texts[4:] == ["boundary 0 is committed; its receipt lists 1 input", "consumed"]
    assert [moment.at is None for moment in history.moments] == [False, True, False, False, False]


def no_backoff() -> dict[str, Any]:
    """Settings without a wait after a failure."""
    return {"retry": RetryPolicy(backoff=Backoff(initial_seconds=0.0))}


def test_the_event_log_tells_what_histories_dropped(tmp_path: Path) -> None:
    """Each moment with the offsets of its events; run ids of earlier attempts, too."""
    history = lived(tmp_path, fail_often, max_history=5, event_log=True, **no_backoff())
    codes = [[str(event.code) for event in moment.logged] for moment in history.moments]
    assert codes[0] == ["input.accepted"]
    assert codes[1] == []  # the gap
    assert (
        codes[2:6]
        == [
            ["run.started", "input.staged"],
            ["run.failed", "input.rolled_back"],
        ]
        * 2
    )
    assert "run.completed" in codes[-1]
    offsets = [event.offset for moment in history.moments for event in moment.logged]
    assert offsets == sorted(offsets, key=lambda each: each or 0)
    assert len(set(offsets)) == len(offsets) == len(history.log.about)
    assert len({event.run_id for event in history.log.about} - {None}) == 3
    assert "by the event log alone" in told(history)[2]


def test_no_event_of_another_input_is_told(tmp_path: Path) -> None:
    """Of a log that two inputs and their runs share, and of one that was pruned at the front."""

    async def two(driver: PersistentRuntimeDriver) -> PromptInput:
        await fail_often(driver)
        return await fail_often(driver)

    def prune(store: LmdbStore) -> None:
        store.prune(Retention(keep_events_seconds=0), now=START + timedelta(seconds=20))

    history = lived(tmp_path, two, event_log=True, **no_backoff())
    mine = history.log.about
    assert all(event.input_id in (None, history.record.input_id) for event in mine)
    runs = {event.run_id for event in mine if event.input_id is not None}
    assert {event.run_id for event in mine} == runs
    assert history.log.first == 0
    assert "of the log are about it (offsets up to " in history.log.text
    (tmp_path / "pruned").mkdir()
    pruned = lived(tmp_path / "pruned", two, then=prune, event_log=True, **no_backoff())
    assert pruned.log.first > 0
    assert f"those before {pruned.log.first} were pruned" in pruned.log.text
    assert all(_offset(event) >= pruned.log.first for event in pruned.log.about)
    assert len(pruned.moments) == len(history.moments)


def _offset(event: EventEnvelope) -> int:
    assert event.offset is not None
    return event.offset


def test_a_waiting_input_says_where_it_waits(tmp_path: Path) -> None:
    """How many are ahead of it, and until when a failure holds it back."""

    async def wait(driver: PersistentRuntimeDriver) -> PromptInput:
        await driver.accept_input(PromptInput.new("first"))
        second = PromptInput.new("second")
        await driver.accept_input(second)
        return second

    assert lived(tmp_path, wait).now == "It waits in the queue lane with 1 input ahead of it."

    async def fail(driver: PersistentRuntimeDriver) -> PromptInput:
        prompt = PromptInput.new("first")
        await driver.accept_input(prompt)
        run = await driver.begin_run()
        assert run is not None
        await driver.fail_run(run, "no")
        return prompt

    (tmp_path / "other").mkdir()
    failed = lived(tmp_path / "other", fail)
    assert failed.now.startswith("It waits in the queue lane at the front, and not before 2026-03-01 12:0")
    assert told(failed)[-1] == "attempt 1 fails: no"


def test_other_ends_are_told_with_their_reasons(tmp_path: Path) -> None:
    """Given up by somebody; taken back free of charge; replaced by another input."""

    async def give_up(driver: PersistentRuntimeDriver) -> PromptInput:
        prompt = PromptInput.new("first")
        await driver.accept_input(prompt)
        run = await driver.begin_run()
        assert run is not None
        await driver.cancel_run(run)
        await driver.abandon_pending_inputs(AbandonReason.RESET)
        return prompt

    history = lived(tmp_path, give_up)
    assert told(history)[-2:] == ["attempt 1 is taken back, free of charge", "abandoned, reset"]
    assert history.now == "It ended: abandoned, reset."


def test_an_input_without_a_history_is_told_by_its_admission(tmp_path: Path) -> None:
    """As little as that is; no moment is made up."""
    history = lived(tmp_path, fail_often, max_history=1, **no_backoff())
    assert [moment.kind for moment in history.moments] == ["admitted", "gap", "end"]
