"""Arguments that are no such thing: refused by name, alike over every store, and nothing is changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from attrs import evolve

from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.environment import Environment
from holdstate.runtime.errors import InvalidInput, NotReady
from holdstate.runtime.ids import RunId
from holdstate.runtime.outcomes import (
    BoundaryApplied,
    Run,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunOutput,
    RunStarted,
)
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.settings import Backoff, Retention, RetryPolicy
from holdstate.runtime.store import InputFilter
from holdstate.spec.vocabulary import AbandonReason, EventCode, InputState, RuntimeState

from .kit import (
    RUNTIME,
    SETTINGS,
    Home,
    accept,
    begun,
    input_id,
    memory_of,
    opened,
    prompt,
    receipt_of,
    rows_of,
    run_id,
)

TEXT: Any = str(input_id(1))
NOTHING: Any = None


def boundary(run: Run, **parts: Any) -> BoundaryApplied:
    return BoundaryApplied(run.run_id, receipt_of(run, **parts))


def event(made: Callable[[Run], Any]) -> Callable[[Driver, Run], Awaitable[object]]:
    return lambda driver, run: driver.on_run_event(made(run))


def output(**parts: Any) -> RunOutput:
    return RunOutput(**parts)


OUTPUTS: dict[str, Any] = {
    "session_snapshot": [output(session_snapshot="text"), output(session_snapshot=bytearray(b"x"))],
    "result": [output(result="text"), output(result=1)],
    "message_count": [
        output(message_count=-1),
        output(message_count="1"),
        output(message_count=1.5),
        output(message_count=None),
        output(message_count=True),
        output(message_count=2**63),
    ],
    "output": ["text", b"bytes", {}, 0],
}


@pytest.mark.parametrize(("named", "given"), [(name, each) for name, all_ in OUTPUTS.items() for each in all_])
async def test_an_output_that_could_not_be_stored_is_refused(home: Home, named: str, given: Any) -> None:
    """Checkpoint and completion name the part that is wrong; the run goes on with a good one (C19, C20)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    run = await begun(driver)
    rows, memory = rows_of(home.store), memory_of(driver)
    for call in (driver.checkpoint, driver.complete_run):
        with pytest.raises(InvalidInput, match=f"^{named}: must be"):
            await call(run, given)
        assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await driver.complete_run(run, RunOutput(b"snapshot", b"result", 2**63 - 1))
    await opened(home.crash())


REPORTS: list[tuple[str, Callable[[Driver, Run], Awaitable[object]]]] = [
    ("event", event(lambda _: "garbage")),
    ("event.run_id", event(lambda _: RunStarted(TEXT))),
    ("event.receipt", event(lambda run: BoundaryApplied(run.run_id, NOTHING))),
    ("event.receipt.run_id", event(lambda run: boundary(run, run_id=TEXT))),
    ("event.receipt.boundary", event(lambda run: boundary(run, boundary="run_start"))),
    ("event.receipt.contributing_input_ids", event(lambda run: boundary(run, contributing_input_ids=5))),
    (r"event.receipt.contributing_input_ids\[0\]", event(lambda run: boundary(run, contributing_input_ids=(TEXT,)))),
    ("event.receipt.sequence", event(lambda run: boundary(run, sequence=False))),
    ("event.receipt.message_count", event(lambda run: boundary(run, message_count=-1))),
    ("event.session_snapshot", event(lambda run: BoundaryApplied(run.run_id, receipt_of(run), TEXT))),
    ("event.result", event(lambda run: BoundaryApplied(run.run_id, receipt_of(run), result=TEXT))),
    ("event.consumed_input_ids", event(lambda run: RunCompleted(run.run_id, NOTHING))),
    (r"event.consumed_input_ids\[0\]", event(lambda run: RunCompleted(run.run_id, (TEXT,)))),
    ("event.result", event(lambda run: RunCompleted(run.run_id, run.input_ids, result=TEXT))),
    ("error", event(lambda run: RunFailed(run.run_id, 5))),  # type: ignore[arg-type]
    ("event.run_id", event(lambda _: RunCancelled(NOTHING))),
    ("error", lambda driver, run: driver.fail_run(run, ValueError("boom"))),  # type: ignore[arg-type]
    ("error", lambda driver, run: driver.fail_run(run, b"x", recoverable=False)),  # type: ignore[arg-type]
    ("recoverable", lambda driver, run: driver.fail_run(run, "x", recoverable="no")),  # type: ignore[arg-type]
    ("run", lambda driver, _: driver.fail_run(NOTHING, "x")),
    ("run", lambda driver, _: driver.cancel_run(NOTHING)),
    ("run", lambda driver, _: driver.checkpoint(NOTHING)),
    ("run", lambda driver, run: driver.complete_run(str(run.run_id))),  # type: ignore[arg-type]
    ("run", lambda driver, _: driver.take_steers(TEXT)),
    ("reason", lambda driver, _: driver.abandon_pending_inputs(NOTHING)),
    ("reason", lambda driver, _: driver.abandon_pending_inputs("bogus")),  # type: ignore[arg-type]
    ("error", lambda driver, _: driver.abandon_pending_inputs(AbandonReason.FAILED, 5)),  # type: ignore[arg-type]
    ("control", lambda driver, _: driver.on_runtime_control("bogus")),  # type: ignore[arg-type]
    ("control", lambda driver, _: driver.on_runtime_control(NOTHING)),
    ("run_id", lambda driver, _: driver.begin_run("abc")),  # type: ignore[arg-type]
    ("run_id", lambda driver, _: driver.start_run(TEXT)),
    ("run_id", lambda driver, _: driver.stage_batch([input_id(2)], TEXT)),
    ("run_id", lambda driver, _: driver.apply_input(input_id(1), TEXT)),
    ("run_id", lambda driver, _: driver.consume_inputs([input_id(1)], TEXT)),
    ("run_id", lambda driver, _: driver.boundary_receipt(TEXT, 0)),
    ("sequence", lambda driver, run: driver.boundary_receipt(run.run_id, -1)),
    ("sequence", lambda driver, run: driver.boundary_receipt(run.run_id, 2**64)),
    ("input_id", lambda driver, run: driver.apply_input(TEXT, run.run_id)),
    ("input_id", lambda driver, _: driver.cancel_input(TEXT)),
    ("input_id", lambda driver, _: driver.input_state(NOTHING)),
    ("input_id", lambda driver, _: driver.persisted_input(TEXT)),
    ("input_id", lambda driver, _: driver.input_result(TEXT)),
    ("input_id", lambda driver, _: driver.dequeue_by_id(TEXT)),
    (r"input_ids\[0\]", lambda driver, run: driver.stage_input(TEXT, run.run_id)),
    (r"input_ids\[0\]", lambda driver, run: driver.consume_inputs([TEXT], run.run_id)),
    (r"input_ids\[0\]", lambda driver, _: driver.rollback_staged([TEXT])),
    (r"input_ids\[0\]", lambda driver, _: driver.has_queued_input_outside([TEXT])),
    ("key", lambda driver, _: driver.find_by_key(NOTHING)),
    ("key", lambda driver, _: driver.find_by_key("\ud800")),
    ("key", lambda driver, _: driver.find_by_key(5)),  # type: ignore[arg-type]
    ("after", lambda driver, _: driver.events(after="1")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("named", "call"), REPORTS)
async def test_a_call_with_an_argument_that_is_none_changes_nothing(
    home: Home, named: str, call: Callable[[Driver, Run], Awaitable[object]]
) -> None:
    """The refusal names the argument; the run and its work stay, and the store can be opened (C17, C20, C30)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1), prompt(2))
    run = await begun(driver)
    rows, memory = rows_of(home.store), memory_of(driver)
    with pytest.raises(InvalidInput, match=f"^{named}: "):
        await call(driver, run)
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)
    await driver.complete_run(run)
    assert home.store.verify() == []
    await opened(home.crash())


async def test_a_start_is_the_one_run_event_that_changes_nothing(home: Home) -> None:
    """Whatever else is reported of a run is done or refused (C20)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    run = await begun(driver)
    rows, memory = rows_of(home.store), memory_of(driver)
    await driver.on_run_event(RunStarted(run.run_id))
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)


@pytest.mark.parametrize("word", ["stop", "resume"])
async def test_a_control_may_be_told_by_its_word(home: Home, word: Any) -> None:
    """The word of a control is the control: stop stops (C48)."""
    driver = await opened(home.store)
    await driver.on_runtime_control(word)
    assert driver.runtime_state is (RuntimeState.STOPPED if word == "stop" else RuntimeState.IDLE)


@pytest.mark.parametrize("how", ["fail", "abandon"])
async def test_an_error_text_that_is_no_unicode_is_kept_escaped(home: Home, how: str) -> None:
    """Names of files have lone surrogates; to fail a run must not fail for them (C17, C48)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    if how == "fail":
        await driver.fail_run(await begun(driver), "no file \udcff", recoverable=False)
    else:
        await driver.abandon_pending_inputs("failed", "no file \udcff")  # type: ignore[arg-type]
    record = home.crash().load_input(RUNTIME, input_id(1))
    assert record is not None
    assert (record.state, record.error) == (InputState.ABANDONED, r"no file \udcff")


async def test_inputs_may_be_given_up_without_words(home: Home) -> None:
    """The reason is enough (C48)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    await driver.abandon_pending_inputs(AbandonReason.FAILED)
    record = home.store.load_input(RUNTIME, input_id(1))
    assert record is not None
    assert (record.abandon_reason, record.error) == (AbandonReason.FAILED, None)


# -- what the store is asked ----------------------------------------------------------------------------------------

READS: dict[str, Callable[[Any, Any], object]] = {
    "load_runtime": lambda store, name: store.load_runtime(name),
    "load_input": lambda store, name: store.load_input(name, input_id(1)),
    "find_by_key": lambda store, name: store.find_by_key(name, "k"),
    "load_receipt": lambda store, name: store.load_receipt(name, run_id(1), 0),
    "load_session_snapshot": lambda store, name: store.load_session_snapshot(name),
    "load_events": lambda store, name: store.load_events(name),
    "list_inputs": lambda store, name: store.list_inputs(InputFilter(name)),
}


@pytest.mark.parametrize("name", ["", None, 5, [], "\ud800", "a\nb", "a" * 256])
@pytest.mark.parametrize("read", READS)
async def test_a_read_of_a_runtime_that_cannot_be_is_refused(home: Home, read: str, name: Any) -> None:
    """In the words of an open, whatever is in the store (C44)."""
    await opened(home.store)
    with pytest.raises(InvalidInput, match=r"^runtime_id: "):
        READS[read](home.store, name)


QUESTIONS: list[tuple[str, Callable[[Any, str], object]]] = [
    ("input_id", lambda store, name: store.load_input(name, TEXT)),
    ("input_id", lambda store, name: store.load_input(name, NOTHING)),
    ("key", lambda store, name: store.find_by_key(name, NOTHING)),
    ("key", lambda store, name: store.find_by_key(name, b"k")),
    ("key", lambda store, name: store.find_by_key(name, "\ud800")),
    ("run_id", lambda store, name: store.load_receipt(name, TEXT, 0)),
    ("sequence", lambda store, name: store.load_receipt(name, run_id(1), -1)),
    ("sequence", lambda store, name: store.load_receipt(name, run_id(1), 2**64)),
    ("after", lambda store, name: store.list_inputs(InputFilter(name), after="1")),
    ("after", lambda store, name: store.load_events(name, after="1")),
    ("after", lambda store, _: store.list_runtimes(after=5)),
    ("after", lambda store, _: store.list_runtimes(after="\ud800")),
]


@pytest.mark.parametrize("name", [RUNTIME, "unknown"])
@pytest.mark.parametrize(("named", "ask"), QUESTIONS)
async def test_a_question_that_no_row_could_answer_is_refused(
    home: Home, named: str, ask: Callable[[Any, str], object], name: str
) -> None:
    """Of a runtime that is stored, and of one that is not (C48)."""
    await opened(home.store)
    with pytest.raises(InvalidInput, match=f"^{named}: "):
        ask(home.store, name)


async def test_a_view_refuses_the_same(home: Home) -> None:
    """What a driver asks in its turn is looked at as well (C48)."""
    await opened(home.store)
    with home.store.reading() as reader, pytest.raises(InvalidInput, match=r"^run_id: "):
        reader.has_receipt(RUNTIME, TEXT)


async def test_what_can_be_asked_and_is_not_there_is_none(home: Home) -> None:
    """Receipts are counted up to 2**64 - 1; no input has a key that is empty or too long (C48)."""
    driver = await opened(home.store)
    assert await driver.boundary_receipt(run_id(1), 2**64 - 1) is None
    assert [await driver.find_by_key(key) for key in ("", "k" * 5000)] == [None, None]


async def test_a_listing_goes_on_after_any_number(home: Home) -> None:
    """Behind the highest place there is nothing, behind the lowest everything (C48)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    wanted = InputFilter(RUNTIME)
    pages = [home.store.list_inputs(wanted, after=after) for after in (2**63 - 1, 2**70, -(2**63), -(2**70))]
    assert [len(page.records) for page in pages] == [0, 0, 1, 1]


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_service_refuses_what_its_driver_and_its_store_refuse(home: Home, *, is_open: bool) -> None:
    """Whether the runtime is open or read without (C29)."""
    async with RuntimeService(home.store) as service:
        if is_open:
            await service.ingest(RUNTIME, prompt(1))
        for call in (service.wait, service.cancel, service.input_state, service.input_record, service.input_result):
            for wrong in (TEXT, NOTHING):
                with pytest.raises(InvalidInput, match=r"^input_id: must be a UUID"):
                    await call(RUNTIME, wrong)
        for key in (None, 5, b"k", "\ud800"):
            with pytest.raises(InvalidInput, match=r"^key: "):
                await service.find(RUNTIME, key)  # type: ignore[arg-type]
        for name in ("", None, "\ud800"):
            for read in (service.runtime_state, service.load_session_snapshot):
                with pytest.raises(InvalidInput, match=r"^runtime_id: "):
                    await read(name)  # type: ignore[arg-type]


# -- what they are made of ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["path", None, RuntimeService])
async def test_what_is_no_store_is_refused_when_it_is_given(store: Any) -> None:
    """The words say how to open one (C17)."""
    with pytest.raises(InvalidInput, match=r"^store: must be an open store, .*LmdbStore\.open"):
        await Driver.open(RUNTIME, store)
    with pytest.raises(InvalidInput, match=r"^store: must be an open store"):
        RuntimeService(store)


@pytest.mark.parametrize("wrong", [{}, 0, RetryPolicy()])
async def test_what_is_no_settings_is_refused_and_nothing_is_opened(home: Home, wrong: Any) -> None:
    """Also where it is false, so that nobody gets defaults unasked (C17)."""
    rows = rows_of(home.store)
    with pytest.raises(InvalidInput, match=r"^settings: must be a RuntimeSettings"):
        await Driver.open(RUNTIME, home.store, settings=wrong)
    with pytest.raises(InvalidInput, match=r"^environment: must be a Environment"):
        await Driver.open(RUNTIME, home.store, environment=wrong)
    with pytest.raises(InvalidInput, match=r"^settings: must be a ServiceSettings"):
        RuntimeService(home.store, settings=wrong)
    assert rows_of(home.store) == rows


# -- what is said of an end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "advice"), [("stop", False), ("destroy", False), ("retire", True)])
async def test_advice_to_one_whose_input_is_not_taken_can_be_followed(home: Home, end: str, *, advice: bool) -> None:
    """Reset and recycle are named where they help; from an end nothing leads back (C28)."""
    driver = await opened(home.store)
    await getattr(driver, end)()
    with pytest.raises(NotReady, match="use another") as refused:
        await driver.accept_input(prompt(1))
    assert ("reset or recycle" in str(refused.value)) is advice
    if advice:
        await driver.reset()
        await accept(driver, prompt(1))


# -- time -----------------------------------------------------------------------------------------------------------

BACK_AT_THREE = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
"""In Berlin it is half past two, for the second time that night."""
ZONES = [UTC, timezone(timedelta(hours=-5)), ZoneInfo("Europe/Berlin")]


@pytest.mark.parametrize("zone", ZONES, ids=str)
async def test_a_backoff_lasts_as_long_whatever_the_zone_of_the_clock(home: Home, zone: Any) -> None:
    """Due times are reckoned in UTC, so that summer time neither stretches nor shortens them (C13)."""
    settings = evolve(SETTINGS, retry=RetryPolicy(backoff=Backoff(jitter=0.0)))
    environment = Environment(now=lambda: BACK_AT_THREE.astimezone(zone))
    driver = await opened(home.store, settings=settings, environment=environment)
    await accept(driver, prompt(1))
    await driver.fail_run(await begun(driver), "x")
    due = BACK_AT_THREE + timedelta(seconds=1)
    assert await driver.next_due() == due
    again = await opened(home.crash(), settings=settings, environment=environment)
    assert await again.next_due() == due
    assert await again.begin_run() is None


BEFORE_ALL = datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))
"""It has no time in UTC."""


@pytest.mark.parametrize("time", [datetime(2026, 1, 1), BEFORE_ALL, "now", None])  # noqa: DTZ001 - refused
async def test_a_clock_without_a_zone_is_refused_and_nothing_is_written(home: Home, time: Any) -> None:
    """By the open, and by each call of a driver whose clock lost its zone (C17)."""
    times = [time]
    environment = Environment(now=lambda: times[-1])
    rows = rows_of(home.store)
    with pytest.raises(InvalidInput, match=r"^Environment\.now: "):
        await opened(home.store, environment=environment)
    assert rows_of(home.store) == rows
    times.append(BACK_AT_THREE)
    driver = await opened(home.store, environment=environment)
    times.append(time)
    rows, memory = rows_of(home.store), memory_of(driver)
    with pytest.raises(InvalidInput, match=r"^Environment\.now: "):
        await driver.accept_input(prompt(1))
    assert (rows_of(home.store), memory_of(driver)) == (rows, memory)


async def test_pruning_needs_a_retention_and_a_time_with_a_zone(home: Home) -> None:
    """Also where there is nothing to prune; any zone will do (C48)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    await driver.cancel_input(input_id(1))
    rows, rule = rows_of(home.store), Retention(keep_ended_seconds=0.0)
    with pytest.raises(InvalidInput, match=r"^now: has no time zone"):
        home.store.prune(rule, now=datetime(2026, 1, 1))  # noqa: DTZ001 - the one that is refused
    with pytest.raises(InvalidInput, match=r"^retention: must be a Retention"):
        home.store.prune(3600, now=BACK_AT_THREE)  # type: ignore[arg-type]
    assert rows_of(home.store) == rows
    assert home.store.prune(rule, now=BACK_AT_THREE.astimezone(ZONES[1])).inputs == 1


class Derived(UUID):
    """Some libraries have a class of their own."""


async def test_an_id_of_a_class_derived_from_uuid_is_one(home: Home) -> None:
    """It is compared as the UUID that it is (C48)."""
    driver = await opened(home.store)
    await accept(driver, prompt(1))
    record = await driver.input_record(Derived(TEXT))  # type: ignore[arg-type]
    assert record is not None
    run = await driver.begin_run(RunId(Derived(str(run_id(1)))))
    assert run is not None
    assert EventCode.RUN_STARTED in {each.code for each in driver.drain_events()}
