"""The conformance suite: what was written is what is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import ClassVar, Final

import pytest
from attrs import evolve

from ...runtime.driver import PersistentRuntimeDriver
from ...runtime.errors import EventsPruned, StoreError
from ...runtime.ids import RunId
from ...runtime.inputs import Input
from ...runtime.outcomes import Run, RunOutput
from ...runtime.settings import Retention
from ...runtime.store import InputFilter, RuntimeStore
from ...spec.vocabulary import AbandonReason, InputKind, InputState
from ...stores.memory_store import MemoryStore
from .conformance_base import Capability, ConformanceBase, Home, assert_sound, run
from .workload import (
    PIXELS,
    PIXELS_ID,
    RUNTIME,
    START,
    Scribe,
    content_of,
    event,
    input_id,
    inputs_of,
    opened,
    operation,
    outcome_of,
    progress,
    prompt,
    runtimes_of,
    steer,
    taken,
    whole,
)

Call = tuple[str, int]

HOSTILE_IDS: Final = ("a", "a ", "a/b", "a:b", "A", "B", "../a", "é", "e\u0301", "0", "a" * 255, "\U0001f600")
HOSTILE_TEXTS: Final = ("", "\x00", "\u2028", "\U0001f600", '"}\n{', "a" * 5000)


class RowsConformance(ConformanceBase):
    """Round trips, and the same answers as the store in memory."""

    programs: ClassVar[int] = 12
    calls: ClassVar[int] = 25

    def test_same_calls_give_what_the_memory_store_gives(self, homes: Callable[[], Home]) -> None:
        """Random calls on two runtimes are answered alike, errors included, and leave the same rows (C48)."""
        for number in range(self.programs):
            program = _program(Random(f"{self.seed}/{number}"), self.calls)
            home = homes()
            found = run(_differing(home.store, program))
            assert found is None, f"seed {self.seed}, program {number}: {found}; the calls: {program}"
            assert_sound(home.store)

    def test_every_kind_of_input_is_read_back_as_it_was_given(self, home: Home) -> None:
        """Each kind, with keys, images and hostile texts, comes back equal, from an active and an ended input."""
        keyed = [prompt(n, text or "-", idempotency_key=f"key {n}") for n, text in enumerate(HOSTILE_TEXTS)]
        odd = event(50, {"deep": [{"é\x00": [1.5, -(2**63), 2**64 - 1, None, True]}]}, correlation_id="trace 9")
        pictured = evolve(prompt(53), blocks=(PIXELS,))
        given: list[Input] = [*keyed, odd, steer(51), progress(52, supersession_key="\x00"), pictured]

        async def play() -> None:
            driver = await opened(home.store)
            await taken(driver, *given)
            driver = await opened(home.crash())
            for each in given:
                assert await driver.persisted_input(each.header.id) == each
            assert home.store.get_blob(PIXELS_ID) == b"pixels"
            await taken(driver, operation(54))
            await Scribe().work_off(driver)
            assert await driver.persisted_input(input_id(53)) is None
            assert home.store.get_blob(PIXELS_ID) is None

        run(play())
        assert_sound(home.store)

    def test_what_was_written_is_there_after_reopening(self, home: Home) -> None:
        """Closing and opening changes nothing that can be read."""
        self.needs(Capability.DURABLE, "what is there after reopening")
        run(_lived(home.store))
        before = whole(home.store)
        assert before
        assert whole(home.crash()) == before
        assert_sound(home.store)

    def test_ids_never_share_rows(self, home: Home) -> None:
        """Runtimes whose ids look alike have inputs, keys and sessions of their own (C44)."""

        async def play() -> None:
            for place, runtime_id in enumerate(HOSTILE_IDS):
                driver = await opened(home.store, runtime_id, seed=place)
                await taken(driver, event(place, idempotency_key="key"), event(100))
                await Scribe().work_off(driver)

        run(play())
        assert [each.runtime_id for each in runtimes_of(home.store)] == sorted(HOSTILE_IDS, key=str.encode)
        for place, runtime_id in enumerate(HOSTILE_IDS):
            assert {each.input_id for each in inputs_of(home.store, runtime_id)} == {input_id(place), input_id(100)}
            found = home.store.find_by_key(runtime_id, "key")
            assert found is not None
            assert found.input_id == input_id(place)
        assert_sound(home.store)

    def test_keys_are_found_as_they_were_given(self, home: Home) -> None:
        """Keys that look alike, long ones and those with odd characters name their own input (C6, C7)."""
        keys = [*HOSTILE_IDS, "\x00", "a\x00", "k" * 512, "k" * 511]
        given = [event(n, idempotency_key=key) for n, key in enumerate(keys)]

        async def play() -> None:
            driver = await opened(home.store)
            await taken(driver, *given)
            await Scribe().work_off(driver)

        run(play())
        for each in given:
            key = each.header.idempotency_key
            assert key is not None
            found = home.store.find_by_key(RUNTIME, key)
            assert found is not None
            assert found.input_id == each.header.id
        assert home.store.find_by_key(RUNTIME, "k" * 510) is None
        assert home.store.find_by_key("another", "a") is None

    def test_inputs_are_listed_by_order_and_filter(self, home: Home) -> None:
        """Pages of any size list active and ended inputs by order key; filters leave out the rest."""
        run(_lived(home.store))
        everything = inputs_of(home.store)
        orders = [each.order for each in everything]
        assert orders == sorted(orders)
        for limit in (1, 2, len(everything)):
            assert inputs_of(home.store, limit=limit) == everything
        consumed = frozenset({InputState.CONSUMED})
        page = home.store.list_inputs(InputFilter(RUNTIME, consumed, frozenset({InputKind.PROMPT})))
        wanted = [each for each in everything if each.state in consumed and each.admission.kind is InputKind.PROMPT]
        assert list(page.records) == wanted
        assert page.next_after is None
        assert home.store.list_inputs(InputFilter("another")).records == ()

    def test_blobs_are_kept_while_somebody_needs_them(self, home: Home) -> None:
        """A blob is there once, by its content, until it is swept and no input refers to it (C41)."""
        store = home.store
        first = store.put_blob(b"content")
        assert store.put_blob(b"content") == first
        assert (store.get_blob(first), store.blob_exists(first)) == (b"content", True)
        other = store.put_blob(b"")
        assert (store.get_blob(other), store.blob_exists("sha256:" + "0" * 64)) == (b"", False)
        assert store.verify() == []
        assert (store.sweep_blobs(), store.sweep_blobs()) == (2, 0)
        assert (store.get_blob(first), store.blob_exists(other)) == (None, False)

    def test_event_log_is_dense_and_pruned_from_the_front(self, home: Home) -> None:
        """Offsets have no gaps, pages follow each other, and who asks for what was pruned is told (C45)."""
        run(_lived(home.store))
        events = home.store.load_events(RUNTIME)
        assert [each.offset for each in events] == list(range(len(events)))
        assert home.store.load_events(RUNTIME, 2, 3) == events[3:6]
        assert home.store.load_events(RUNTIME, len(events) - 1) == ()
        pruned = home.store.prune(Retention(keep_events_seconds=0.0), now=events[4].at)
        assert 0 < pruned.events < len(events)
        with pytest.raises(EventsPruned) as caught:
            home.store.load_events(RUNTIME)
        assert caught.value.first_available == pruned.events
        assert home.store.load_events(RUNTIME, pruned.events - 1) == events[pruned.events :]
        assert_sound(home.store)

    def test_retention_removes_ended_inputs_alone(self, home: Home) -> None:
        """What ended goes with its key; what is active stays, and the books are right afterwards (C42)."""
        run(_lived(home.store))
        active = [each for each in inputs_of(home.store) if not each.is_terminal]
        ended = len(inputs_of(home.store)) - len(active)
        pruned = home.store.prune(Retention(keep_ended_seconds=0.0), now=START.replace(year=2030))
        assert pruned.inputs == ended
        assert list(inputs_of(home.store)) == active
        assert home.store.verify() == []

    def test_closed_store_refuses_every_call(self, home: Home) -> None:
        """After ``close`` reading and writing raise StoreError; closing again is fine."""
        run(_lived(home.store))
        store = home.store
        store.close()
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.load_runtime(RUNTIME),
            store.list_runtimes,
            lambda: store.put_blob(b"x"),
            store.verify,
        ]
        for call in calls:
            with pytest.raises(StoreError):
                call()

    def test_absent_things_are_none(self, home: Home) -> None:
        """An empty store answers every read."""
        store = home.store
        assert store.load_runtime(RUNTIME) is None
        assert store.load_input(RUNTIME, input_id(1)) is None
        assert store.find_by_key(RUNTIME, "key") is None
        assert store.load_receipt(RUNTIME, RunId(input_id(1)), 0) is None
        assert store.load_session_snapshot(RUNTIME) is None
        assert store.load_events(RUNTIME) == ()
        assert (store.list_runtimes(), store.verify(), content_of(store)) == ((), [], None)
        stats = store.stats()
        assert (stats.runtimes, stats.active_inputs, stats.ended_inputs, stats.blobs) == (0, 0, 0, 0)


async def _lived(store: RuntimeStore) -> None:
    """A runtime with rows of every kind, some work of it still to do."""
    driver = await opened(store)
    await taken(driver, *(event(n, idempotency_key=f"key {n}") for n in range(5)), prompt(5), operation(6))
    await taken(driver, progress(7, supersession_key="s"), progress(8, supersession_key="s"))
    await Scribe().work_off(driver)
    await taken(driver, evolve(prompt(9), blocks=(PIXELS,)), event(10, idempotency_key="last"), event(11))
    await driver.cancel_input(input_id(11))
    failing = await driver.begin_run()
    assert failing is not None
    await driver.fail_run(failing, "no")


# -- random programs ---------------------------------------------------------------------------------------------------

_CALLS: Final = (
    "accept", "accept", "accept", "again", "key", "replace", "begin", "begin", "checkpoint", "complete", "complete",
    "fail", "cancel", "cancel input", "retire", "recycle", "reset", "abandon", "reopen", "stop", "prune",
)  # fmt: skip
_RARE: Final = frozenset({"reset", "stop", "retire", "abandon", "prune"})


def _program(random: Random, length: int) -> list[Call]:
    found: list[Call] = []
    while len(found) < length:
        word = random.choice(_CALLS)
        if word not in _RARE or random.random() < 0.3:  # noqa: PLR2004 - what ends much is drawn less often
            found.append((word, random.randrange(6)))
    return found


class _Side:
    """One store that a program is played on."""

    def __init__(self, store: RuntimeStore) -> None:
        self.store = store
        self.drivers: dict[str, PersistentRuntimeDriver] = {}
        self.runs: dict[str, Run] = {}

    async def play(self, number: int, word: str, pick: int) -> object:
        """The answer of one call, in a form that can be compared."""
        name = ("one", "two")[number % 2]
        if name not in self.drivers or word == "reopen":
            self.drivers[name] = await opened(self.store, name, seed=f"{name}/{number}")
            self.runs.pop(name, None)
            return self.drivers[name].recovery_report
        answer = await outcome_of(self._call(name, number, word, pick))
        if isinstance(answer, Run):
            self.runs[name] = answer
        return (type(answer), str(answer)) if isinstance(answer, Exception) else answer

    def _call(self, name: str, number: int, word: str, pick: int) -> Awaitable[object]:
        driver, given = self.drivers[name], self.runs.get(name)
        held = RunId(input_id(1000)) if given is None else given.run_id
        accept = driver.accept_input
        output = RunOutput(b"session %d" % number, b"result %d" % number)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "accept": lambda: accept((event, prompt, steer)[pick % 3](number)),
            "again": lambda: accept(event(pick)),
            "key": lambda: accept(event(number, idempotency_key=f"key {pick}")),
            "replace": lambda: accept(progress(number, supersession_key=f"scope {pick % 2}")),
            "begin": driver.begin_run,
            "checkpoint": lambda: driver.checkpoint(held, output),
            "complete": lambda: driver.complete_run(held, output),
            "fail": lambda: driver.fail_run(held, "no", recoverable=pick > 0),
            "cancel": lambda: driver.cancel_run(held),
            "cancel input": lambda: driver.cancel_input(input_id(max(number - pick, 0))),
            "retire": driver.retire,
            "recycle": driver.recycle_preserving_work,
            "reset": driver.reset,
            "abandon": lambda: driver.abandon_pending_inputs(AbandonReason.CANCELLED),
            "stop": driver.stop,
            "prune": self._prune,
        }
        return calls[word]()

    async def _prune(self) -> object:
        return self.store.prune(Retention(keep_ended_seconds=0.005), now=START.replace(second=1))


async def _differing(store: RuntimeStore, program: list[Call]) -> str | None:
    """What the first call that is answered otherwise, or leaves other rows, says; None where all agree."""
    ours, theirs = _Side(MemoryStore()), _Side(store)
    for number, (word, pick) in enumerate(program):
        wanted, found = await ours.play(number, word, pick), await theirs.play(number, word, pick)
        if found != wanted:
            return f"call {number} {word!r} answered {found!r}, the memory store {wanted!r}"
        if whole(theirs.store) != whole(ours.store):
            return f"after call {number} {word!r} the rows are not those of the memory store"
    return None
