"""The event log in the stores: rows to bytes and back, what is refused, what retention drops, and damage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final, cast
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from holdstate.runtime.errors import EventsPruned, StoreCorruption, StoreError
from holdstate.runtime.events import EventEnvelope
from holdstate.runtime.ids import EventId, InputId, RunId
from holdstate.runtime.records import Counts, TerminalOutcome
from holdstate.runtime.settings import Retention
from holdstate.runtime.store import Commit, Pruned, RuntimeStore
from holdstate.spec import vocabulary as words
from holdstate.stores import lmdb_retention
from holdstate.stores.codec_envelope import seal
from holdstate.stores.codec_events import decode_event, encode_event
from holdstate.stores.lmdb_rows import EVENTS, event_key
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore

from ..contracts.damage import overwrite, raw_rows
from ..contracts.kit import rows_of
from .builders import START, Books
from .test_codec import IDS, RUNS, SEQUENCES, TEXTS, TIMES, members

FOR_EVER: Final = Retention()


def _event(offset: int, seconds: float | None = None) -> EventEnvelope:
    at = START + timedelta(seconds=offset if seconds is None else seconds)
    code = words.EventCode.INPUT_ACCEPTED
    return EventEnvelope(
        EventId(UUID(int=1000 + offset)), None, "r", code, at, InputId(UUID(int=offset)), offset=offset
    )


def _logged(books: Books, *seconds: float) -> Commit:
    """A commit that writes one event per time."""
    first = books.record.counts.events
    commit = books.commit(counts=evolve(books.record.counts, events=first + len(seconds)))
    events = [_event(first + place, at) for place, at in enumerate(seconds)]
    commit.events = [evolve(each, runtime_id=books.record.runtime_id) for each in events]
    return commit


@pytest.fixture(params=["memory", "lmdb"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RuntimeStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with LmdbStore.open(tmp_path / "any") as opened:
        yield opened


@pytest.fixture
def ledger(any_store: RuntimeStore) -> Books:
    """A runtime that is open in ``any_store``."""
    opened = Books()
    opened.open(any_store)
    return opened


# -- rows ----------------------------------------------------------------------------------------------------------

OUTCOMES: Final = st.builds(
    TerminalOutcome,
    members(words.OutcomeKind),
    st.none() | IDS,
    st.none() | members(words.AbandonReason),
    st.none() | TEXTS,
)
EVENT_IDS: Final = st.uuids().map(EventId)


@given(
    st.builds(
        EventEnvelope,
        EVENT_IDS,
        st.none(),
        TEXTS,
        members(words.EventCode),
        TIMES,
        st.none() | IDS,
        st.none() | RUNS,
        st.none() | members(words.RuntimeState),
        st.none() | OUTCOMES,
        SEQUENCES,
    )
)
def test_an_event_is_read_as_it_was_written(event: EventEnvelope) -> None:
    """Every code, state and outcome, at any offset; the runtime comes from the key."""
    row = seal(EVENTS, b"key", encode_event(event))
    assert decode_event(EVENTS, b"key", row).envelope(event.runtime_id) == event


@given(SEQUENCES, SEQUENCES)
def test_keys_of_events_sort_as_their_offsets_do(first: int, second: int) -> None:
    """Offsets of 8 bytes, big-endian."""
    assert (event_key(b"12345678", first) < event_key(b"12345678", second)) is (first < second)


def test_an_event_without_an_offset_is_never_written() -> None:
    """It is a bug of the caller."""
    with pytest.raises(AssertionError):
        encode_event(evolve(_event(1), offset=None))


# -- commits -------------------------------------------------------------------------------------------------------


def test_an_offset_is_given_once(any_store: RuntimeStore, ledger: Books) -> None:
    """A commit that would write over an event is refused as a whole."""
    ledger.write(any_store, _logged(ledger, 0, 1))
    again = ledger.accept()
    again.events = [_event(1)]
    before = rows_of(any_store)
    (refused,) = any_store.commit([again])
    assert isinstance(refused, StoreError)
    assert refused.applied is False
    assert "event 1 is stored already" in str(refused)
    assert rows_of(any_store) == before


def test_logs_of_runtimes_are_apart(any_store: RuntimeStore, ledger: Books) -> None:
    """Each has its own offsets, and no page runs over into the next runtime."""
    other = Books("s", seed=1)
    other.open(any_store)
    ledger.write(any_store, _logged(ledger, 0, 1))
    other.write(any_store, _logged(other, 7))
    assert [each.offset for each in any_store.load_events("r", None, 9)] == [0, 1]
    (event,) = any_store.load_events("s", None, 9)
    assert (event.runtime_id, event.offset) == ("s", 0)
    assert any_store.load_events("s", 0, 9) == ()


# -- retention -----------------------------------------------------------------------------------------------------


def _prune(store: RuntimeStore, keep: float, now: float) -> Pruned:
    return store.prune(Retention(keep_events_seconds=keep), now=START + timedelta(seconds=now))


def test_the_front_of_the_log_goes(any_store: RuntimeStore, ledger: Books) -> None:
    """What is older than the limit, no event at the limit; offsets go on; a reader of what is gone is told."""
    ledger.write(any_store, _logged(ledger, 0, 1, 2, 3))
    assert any_store.prune(FOR_EVER, now=START + timedelta(days=999)) == Pruned()
    assert _prune(any_store, 10, now=10) == Pruned()
    assert _prune(any_store, 10, now=12) == Pruned(events=2)
    assert _prune(any_store, 10, now=12) == Pruned()
    for after in (None, -1, 0):
        with pytest.raises(EventsPruned, match="before offset 2") as gap:
            any_store.load_events("r", after, 1)
        assert gap.value.first_available == 2
    assert [each.offset for each in any_store.load_events("r", 1, 9)] == [2, 3]
    assert any_store.verify() == []
    assert _prune(any_store, 0, now=99) == Pruned(events=2)
    assert any_store.load_events("r", 3) == ()
    ledger.write(any_store, _logged(ledger, 100))
    assert [each.offset for each in any_store.load_events("r", 3)] == [4]
    with pytest.raises(EventsPruned) as gap:
        any_store.load_events("r")
    assert gap.value.first_available == 4
    assert any_store.verify() == []


def test_an_old_event_behind_a_young_one_stays(any_store: RuntimeStore, ledger: Books) -> None:
    """Only a front goes, also where a clock was set back."""
    ledger.write(any_store, _logged(ledger, 0, 50, 1))
    assert _prune(any_store, 0, now=10) == Pruned(events=1)
    assert [each.offset for each in any_store.load_events("r", 0)] == [1, 2]
    assert any_store.verify() == []


def test_events_and_inputs_go_by_limits_of_their_own(any_store: RuntimeStore, ledger: Books) -> None:
    """One call prunes both, and each alone leaves the other."""
    ledger.write(any_store, ledger.accept(["key"]))
    ledger.write(any_store, ledger.stage())
    ledger.write(any_store, ledger.finish())
    ledger.write(any_store, _logged(ledger, 0))
    later = ledger.now + timedelta(days=1)
    assert any_store.prune(Retention(keep_ended_seconds=10**7, keep_events_seconds=10.0), now=later) == Pruned(events=1)
    ledger.write(any_store, _logged(ledger, 1))
    both = Retention(keep_ended_seconds=1.0, keep_events_seconds=1.0)
    assert any_store.prune(both, now=later) == Pruned(inputs=1, keys=1, receipts=1, events=1)
    assert any_store.verify() == []


def test_a_crash_in_the_middle_of_pruning_leaves_no_gap(
    store: LmdbStore, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction drops the front of what is left, and counts it."""
    monkeypatch.setattr(lmdb_retention, "_EVENTS_AT_ONCE", 3)
    books.write(store, _logged(books, *range(8)))
    removed = lmdb_retention._remove_events
    calls = iter([True, False])

    def failing(*given: object, **named: object) -> Pruned:
        if not next(calls):
            raise StoreError("injected", applied=False)
        return removed(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(lmdb_retention, "_remove_events", failing)
    with pytest.raises(StoreError):
        _prune(store, 0, now=99)
    monkeypatch.undo()
    assert [each.offset for each in store.load_events("r", 2)] == [3, 4, 5, 6, 7]
    assert store.verify() == []
    assert _prune(store, 0, now=99) == Pruned(events=5)
    assert store.verify() == []


# -- damage --------------------------------------------------------------------------------------------------------


def _lose(store: RuntimeStore, offset: int) -> None:
    if isinstance(store, LmdbStore):
        key = event_key(store._environment.ordinals["r"], offset)
        store._environment.write(lambda rows: rows.delete(EVENTS, key))
    else:
        del cast("MemoryStore", store)._tables.rows["r"].events[offset]


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_missing_event_is_found_by_readers_and_by_verify(any_store: RuntimeStore, ledger: Books, lost: int) -> None:
    """At the front, in the middle and at the end: no reader goes on without knowing."""
    ledger.write(any_store, _logged(ledger, 0, 1, 2, 3))
    _lose(any_store, lost)
    with pytest.raises(StoreCorruption, match=f"event {lost} of its log is missing"):
        any_store.load_events("r")
    checks = {finding.check for finding in any_store.verify()}
    assert checks == ({"counts_equal_rows"} if lost == 3 else {"counts_equal_rows", "log_has_no_gap"})
    assert len(any_store.load_events("r", lost, 9)) == 3 - lost


def test_a_damaged_event_is_named(store: LmdbStore, books: Books) -> None:
    """By the reader and by verify; what stands before it can be read."""
    books.write(store, _logged(books, 0, 1))
    _, (key, value) = raw_rows(store, EVENTS)
    overwrite(store, EVENTS, key, value[:-1] + bytes([value[-1] ^ 1]))
    assert len(store.load_events("r", None, 1)) == 1
    with pytest.raises(StoreCorruption, match=key.hex()):
        store.load_events("r")
    assert {finding.check for finding in store.verify()} >= {"row_is_readable"}


def test_an_event_in_a_wrong_place_is_found(store: LmdbStore, books: Books) -> None:
    """A sound row whose content belongs to another offset, and a row of no runtime."""
    books.write(store, _logged(books, 0, 1))
    _, (key, _) = raw_rows(store, EVENTS)
    overwrite(store, EVENTS, key, seal(EVENTS, key, encode_event(_event(5))))
    with pytest.raises(StoreCorruption, match="event 1 of its log is missing"):
        store.load_events("r")
    stray = event_key(bytes(7) + b"\7", 0)
    overwrite(store, EVENTS, stray, seal(EVENTS, stray, encode_event(_event(0))))
    checks = {finding.check for finding in store.verify()}
    assert checks == {"row_is_in_its_place", "log_has_no_gap", "row_belongs_to_a_runtime"}


def test_numbers_that_were_never_given_are_refused(store: LmdbStore, books: Books) -> None:
    """An unknown code, state, outcome or reason is damage, not a guess."""
    books.write(store, _logged(books, 0))
    ((key, _),) = raw_rows(store, EVENTS)
    outcome = TerminalOutcome(words.OutcomeKind.ABANDONED, None, words.AbandonReason.FAILED)
    whole = evolve(_event(0), input_id=None, run_id=RunId(UUID(int=3)), state=words.RuntimeState.IDLE, outcome=outcome)
    good = encode_event(whole)
    assert store.load_events("r") == (_event(0),)
    code, state, kind, reason = 20, len(good) - 6, len(good) - 4, len(good) - 2
    for place in (code, state, kind, reason):
        bad = good[:place] + b"\x63" + good[place + 1 :]
        overwrite(store, EVENTS, key, seal(EVENTS, key, bad))
        with pytest.raises(StoreCorruption, match="unknown number 99"):
            store.load_events("r")


def test_counts_of_events_survive(any_store: RuntimeStore, ledger: Books) -> None:
    """In the runtime record, from which the next offset is told."""
    ledger.write(any_store, _logged(ledger, 0, 1))
    stored = any_store.load_runtime("r")
    assert stored is not None
    assert stored.record.counts == Counts(events=2)
