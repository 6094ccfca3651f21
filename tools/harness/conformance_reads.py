"""The conformance suite: every read answers as the store in memory does, and so does retention, row for row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Event, Thread
from typing import Final
from uuid import UUID

from attrs import evolve

from ...runtime.ids import RunId
from ...runtime.outcomes import RunOutput
from ...runtime.records import InputRecord
from ...runtime.settings import Backoff, Retention, RetryPolicy
from ...runtime.store import InputFilter, LoadedRuntime, Reader, ResultRef, RuntimeStore
from ...spec.errors import HoldstateError
from ...spec.policy import DEFAULT_POLICY
from ...spec.vocabulary import InputKind, InputState, QueueMode
from ...stores.memory_store import MemoryStore
from .conformance_base import Capability, ConformanceBase, Home, assert_sound, run
from .hand_commits import touched
from .workload import (
    PIXELS_ID,
    SETTINGS,
    START,
    event,
    input_id,
    inputs_of,
    message,
    opened,
    operation,
    pictured,
    progress,
    prompt,
    runtimes_of,
    taken,
)

URGENT_ROW: Final = evolve(DEFAULT_POLICY.by_kind[InputKind.PEER_MESSAGE], queue_mode=QueueMode.PRIORITY)
KEEPING: Final = evolve(
    SETTINGS,
    policy=evolve(DEFAULT_POLICY, by_kind={**DEFAULT_POLICY.by_kind, InputKind.PEER_MESSAGE: URGENT_ROW}),
    retention=Retention(keep_payloads=True),
    retry=RetryPolicy(max_attempts=3, backoff=Backoff(initial_seconds=60.0)),
)
"""Messages of peers go before all others, payloads stay, and what failed waits a minute."""
RUNTIMES: Final = {"one": KEEPING, "two": SETTINGS}
NOBODY: Final = input_id(404)
LARGE: Final = 1_000_000
_LOOKS: Final = 200

Answers = dict[str, object]


class ReadsConformance(ConformanceBase):
    """Reads by every verb, views, preparing, and retention, held against the store in memory."""

    def test_every_read_answers_as_the_memory_store_does(self, home: Home) -> None:
        """Whatever is asked of it, of what is there and of what is not, in a view and without; also after reopening."""
        memory = MemoryStore()
        for store in (memory, home.store):
            run(_history(store))
        wanted = answers_of(memory)
        _assert_alike(answers_of(home.store), wanted)
        _assert_alike(answers_of(home.crash()), wanted)
        assert_sound(home.store)

    def test_retention_removes_what_the_memory_store_removes(self, home: Home) -> None:
        """At every time at which something ended, and right after it: the same counts, the same rows left, nothing that
        a row which stays still names (C42).
        """
        memory = MemoryStore()
        for store in (memory, home.store):
            run(_history(store))
        ids, runs = _known(memory)
        names = [record.runtime_id for record in runtimes_of(memory)]
        moments = sorted({entry.at for name in names for each in inputs_of(memory, name) for entry in each.history})
        for retention in (Retention(keep_ended_seconds=0.0), Retention(keep_events_seconds=0.0)):
            for now in moments[::3]:
                wanted, found = memory.prune(retention, now=now), home.store.prune(retention, now=now)
                assert found == wanted, f"{retention}, {now}: {found} was removed, not {wanted}"
                _assert_alike(answers_of(home.store, ids, runs), answers_of(memory, ids, runs))
                assert home.store.verify() == []

    def test_retention_leaves_what_the_current_run_committed(self, home: Home) -> None:
        """Its receipts and results stay, though its inputs were consumed and are gone; the run ends as ever (C42)."""

        async def play() -> None:
            driver = await opened(home.store)
            await taken(driver, event(1))
            held = await driver.begin_run()
            assert held is not None
            receipts = [await driver.checkpoint(held, RunOutput(b"[]", b"first"))]
            await driver.consume_inputs([input_id(1)], held.run_id)
            receipts.append(await driver.checkpoint(held, RunOutput(b"[]", b"second")))
            pruned = home.store.prune(Retention(keep_ended_seconds=0.0), now=START.replace(year=2030))
            assert (pruned.inputs, pruned.receipts, pruned.results) == (1, 0, 0)
            for receipt in receipts:
                assert home.store.load_receipt(driver.runtime_id, held.run_id, receipt.sequence) == receipt
                assert home.store.load_result(driver.runtime_id, ResultRef(held.run_id, receipt.sequence)) is not None
            await driver.complete_run(held)

        run(play())
        assert home.store.verify() == []

    def test_loaded_runtime_has_its_active_inputs_and_the_receipts_that_recovery_needs(self, home: Home) -> None:
        """In any order: each active input as it was written, each receipt of a run that one in flight was staged by."""

        async def play() -> None:
            driver = await opened(home.store)
            await taken(driver, *(event(number) for number in range(6)))
            ended = await driver.begin_run()
            assert ended is not None
            await driver.complete_run(ended, RunOutput(b"[]"))
            held = await driver.begin_run()
            assert held is not None
            receipts = [await driver.checkpoint(held, RunOutput(b"[]")) for _ in range(2)]
            loaded = home.store.load_runtime(driver.runtime_id)
            assert loaded is not None
            active = [each for each in inputs_of(home.store) if not each.is_terminal]
            assert sorted(loaded.inputs, key=lambda each: each.order) == active
            found = [each for each in loaded.receipts if each.run_id == held.run_id]
            assert sorted(found, key=lambda each: each.sequence) == receipts

        run(play())

    def test_preparing_writes_nothing(self, home: Home) -> None:
        """``prepare`` encodes; what it returns writes."""
        run(_history(home.store))
        before = answers_of(home.store)
        member = touched(home.store, "one")
        write = home.store.prepare([member])
        _assert_alike(answers_of(home.store), before)
        assert [type(each).__name__ for each in write()] == ["Written"]
        loaded = home.store.load_runtime("one")
        assert loaded is not None
        assert loaded.record == member.runtime

    def test_view_stays_as_it_was_while_another_thread_writes(self, home: Home) -> None:
        """All that one view tells is of one moment, however long it is open (C19)."""
        self.needs(Capability.THREADS, "a view during a write of another thread")
        run(_history(home.store))
        done = Event()

        def write() -> None:
            try:
                run(_more(home.store))
            finally:
                done.set()

        writer = Thread(target=write)
        with home.store.reading() as view:
            before = _seen_in(view)
            writer.start()
            for _ in range(_LOOKS):
                assert _seen_in(view) == before, "a view changed while it was open"
                if done.is_set():
                    assert _seen_in(view) == before, "a view changed while it was open"
                    break
        writer.join()
        with home.store.reading() as view:
            assert _seen_in(view) != before
        assert_sound(home.store)


async def _history(store: RuntimeStore) -> None:
    """Two runtimes with the same ids and keys, and rows of every kind: inputs of every state that is stored, of both
    order classes, replaced, waiting; empty and large contents; runs with several boundaries; shared blobs.
    """
    for name, settings in RUNTIMES.items():
        driver = await opened(store, name, seed=name, settings=settings)
        await taken(driver, *(event(number, idempotency_key=f"key {number}") for number in range(5)), operation(5))
        await taken(driver, message(6), message(7), *(progress(number, supersession_key="s") for number in (8, 9, 10)))
        for number in range(2):
            held = await driver.begin_run()
            assert held is not None
            await driver.checkpoint(held, RunOutput(b"" if number else b"[]", b"", 1))
            await driver.checkpoint(held, RunOutput(None, b"second %d" % number, 2))
            await driver.complete_run(held, RunOutput(None, b"completion", 3))
        await taken(driver, event(11, idempotency_key="last"), event(12, "x" * LARGE), pictured(13), prompt(14))
        await taken(driver, *(progress(number, supersession_key="late") for number in (15, 16)))
        await driver.cancel_input(input_id(14))
        held = await driver.begin_run()
        assert held is not None
        await driver.fail_run(held, "no")
        if name == "two":
            await driver.begin_run()
    empty = await opened(store, "three", seed="three")
    empty.release()
    driver = await opened(store, "back", seed="back")
    await taken(driver, *(event(number) for number in range(20, 30)))
    await taken(driver, *(progress(number, supersession_key="s") for number in (30, 31)))
    driver = await opened(store, "back", seed="earlier")
    await driver.cancel_input(input_id(31))  # the clock starts anew: it ended before the one that it replaced


async def _more(store: RuntimeStore) -> None:
    """More of the same, for a view to miss."""
    driver = await opened(store, "one", seed="more", settings=KEEPING)
    await taken(driver, event(30, idempotency_key="key 30"), message(31))
    await driver.retire()


def answers_of(store: RuntimeStore, ids: Iterable[UUID] = (), runs: Iterable[RunId] = ()) -> Answers:
    """What the store answers to every read, by a name of the call; of these inputs and runs too."""
    known_ids, known_runs = _known(store)
    asked_ids = sorted({*known_ids, *ids, NOBODY})
    asked_runs = sorted({*known_runs, *runs, RunId(NOBODY)})
    names = [record.runtime_id for record in runtimes_of(store)]
    found: Answers = {"runtimes": list(store.list_runtimes())}
    for after in (None, *names, "nobody"):
        found |= {
            f"runtimes after {after}, {limit}": store.list_runtimes(after=after, limit=limit) for limit in (0, 1, 2)
        }
    for name in (*names, "nobody"):
        found |= {f"{name}: {what}": answer for what, answer in _listed(store, name)}
        found |= {f"{name}: {what}": answer for what, answer in _read(store, name, asked_ids, asked_runs)}
        with store.reading() as view:
            found |= {f"view, {name}: {what}": answer for what, answer in _read(view, name, asked_ids, asked_runs)}
            found |= {f"view, {name}: {what}": answer for what, answer in _viewed(view, name, asked_ids, asked_runs)}
    stats = store.stats()
    found["stats"] = (stats.runtimes, stats.active_inputs, stats.ended_inputs, stats.blobs)
    return found


def _known(store: RuntimeStore) -> tuple[set[UUID], set[RunId]]:
    """All ids of inputs and of runs that the store speaks of."""
    inputs = [each for record in runtimes_of(store) for each in inputs_of(store, record.runtime_id)]
    runs = {each.last_run_id for each in inputs if each.last_run_id is not None}
    return {each.input_id for each in inputs}, runs


def _listed(store: RuntimeStore, name: str) -> Iterator[tuple[str, object]]:
    for limit in (0, 1, 3, 1000):
        for after in (None, -(2**62), 0, 3, 10_000):
            wanted = InputFilter(name)
            yield f"inputs after {after}, {limit}", store.list_inputs(wanted, after=after, limit=limit)
            ended = InputFilter(name, frozenset({InputState.CONSUMED, InputState.QUEUED}))
            yield f"some inputs after {after}, {limit}", store.list_inputs(ended, after=after, limit=limit)
    kinds = frozenset({InputKind.PEER_MESSAGE, InputKind.PROMPT})
    yield "inputs by kind", store.list_inputs(InputFilter(name, None, kinds))


def _read(view: RuntimeStore | Reader, name: str, ids: list[UUID], runs: list[RunId]) -> Iterator[tuple[str, object]]:
    """What a store and a view have in common."""
    yield "runtime", _plain(view.load_runtime(name))
    for each in ids:
        yield f"input {each}", view.load_input(name, each)
    for key in ("", "last", *(f"key {number}" for number in range(6))):
        yield f"key {key!r}", view.find_by_key(name, key)
    for run_id in runs:
        for sequence in range(4):
            yield f"receipt {run_id} {sequence}", view.load_receipt(name, run_id, sequence)
        for place in (None, 0, 1, 2, 3):
            yield f"result {run_id} {place}", view.load_result(name, ResultRef(run_id, place))
    yield "snapshot", view.load_session_snapshot(name)
    for after, limit in ((None, 1000), (None, 0), (-1, 1), (2, 3), (5, 1000), (10_000, 5)):
        yield f"events after {after}, {limit}", _events(view, name, after, limit)
    for digest in (PIXELS_ID, "sha256:" + "0" * 64):
        yield f"blob {digest}", (view.get_blob(digest), view.blob_exists(digest))


def _viewed(view: Reader, name: str, ids: list[UUID], runs: list[RunId]) -> Iterator[tuple[str, object]]:
    """What a view alone answers."""
    yield "record", view.load_record(name)
    for each in ids:
        yield f"ended input {each}", view.load_ended(name, each)
        record = view.load_input(name, each)
        if record is not None:
            yield f"body of {each}", view.load_body(name, record)
    for key in ("last", *(f"key {number}" for number in range(6))):
        yield f"key {key!r} of an ended input", view.find_ended_by_key(name, key)
    for run_id in runs:
        yield f"any receipt of {run_id}", view.has_receipt(name, run_id)


def _plain(loaded: LoadedRuntime | None) -> object:
    """A loaded runtime, in an order of ours: none is promised. More receipts than are needed do no harm."""
    if loaded is None:
        return None
    in_flight = {each.last_run_id for each in loaded.inputs if each.state is not InputState.QUEUED}
    receipts = {(each.run_id, each.sequence): each for each in loaded.receipts if each.run_id in in_flight}
    return loaded.record, sorted(loaded.inputs, key=_order), sorted(receipts.items())


def _order(record: InputRecord) -> int:
    return record.order


def _events(view: RuntimeStore | Reader, name: str, after: int | None, limit: int) -> object:
    try:
        return view.load_events(name, after, limit)
    except HoldstateError as error:
        return type(error), str(error)


def _seen_in(view: Reader) -> object:
    keys = [view.find_by_key("one", key) for key in ("key 1", "key 30", "last")]
    return _plain(view.load_runtime("one")), view.load_record("one"), view.load_session_snapshot("one"), keys


def _assert_alike(found: Answers, wanted: Answers) -> None:
    for what, answer in wanted.items():
        assert found.get(what) == answer, f"{what}: {_cut(found.get(what))}, the memory store says {_cut(answer)}"
    assert found.keys() == wanted.keys()


def _cut(answer: object) -> str:
    told = repr(answer)
    return told if len(told) < LARGE // 1000 else f"{told[: LARGE // 1000]}…"
