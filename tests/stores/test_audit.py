"""The auditor: silent on sound stores, and each of its checks finds what was planted for it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from hashlib import sha256
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime.records import ResultSource
from holdstate.runtime.store import Finding, Pruned, ResultRef
from holdstate.spec.vocabulary import Durability
from holdstate.stores.audit import StoredBlob, StoredRuntime, audit
from holdstate.stores.memory_store import MemoryStore

from ..spec.images import (
    CONSUMED,
    EXHAUSTED,
    FAILED_ONCE,
    FIRST_RECEIPT,
    LAST,
    PENDING,
    QUEUED,
    RUNNING_RECORD,
    SECOND_RECEIPT,
    STAGED,
    SUPERSEDED,
    TAKEN_IN,
    input_id,
    restamped,
    run_id,
)
from .builders import Books

CONTENT = b"an image"
BLOB = f"sha256:{sha256(CONTENT).hexdigest()}"
OTHER = f"sha256:{sha256(b'other').hexdigest()}"


def sound() -> StoredRuntime:
    """A runtime in the middle of a run; input 9 refers to a blob, input 1 has kept its payload."""
    active = [QUEUED, STAGED, PENDING, FAILED_ONCE, restamped(LAST, blobs=(BLOB,))]
    ended = [evolve(CONSUMED, result_source=ResultSource.BOUNDARY), SUPERSEDED, TAKEN_IN, EXHAUSTED]
    return StoredRuntime(
        record=RUNNING_RECORD,
        active=active,
        ended=ended,
        bodies={each.order for each in active} | {1},
        orders={each.input_id: each.order for each in (*active, *ended)},
        keys={"k1": input_id(1), "k3": input_id(3)},
        receipts=[FIRST_RECEIPT, SECOND_RECEIPT],
        results={ResultRef(run_id(1), 0)},
        blob_refs={(BLOB, 9)},
        pruned=Pruned(inputs=2, keys=1, receipts=3, results=4, events=1),
        events=[3, 1, 2],
    )


def blobs() -> list[StoredBlob]:
    return [StoredBlob(BLOB, CONTENT), StoredBlob(OTHER, b"other", is_held=True)]


def checks(stored: StoredRuntime, kept: list[StoredBlob] | None = None) -> list[str]:
    return [finding.check for finding in audit([stored], blobs() if kept is None else kept)]


def test_a_sound_store_has_no_findings() -> None:
    """Kept payloads and held blobs are no findings."""
    assert checks(sound()) == []


def test_named_invariants_are_checked_by_their_names() -> None:
    """A finding says which, where and what."""
    stored = sound()
    stored.record = evolve(stored.record, next_order=9)
    assert list(audit([stored], blobs())) == [
        Finding("counts_equal_rows", "runtime 'runtime'", f"input {input_id(9)} has order key 9, the next one is 9")
    ]


def _same_id(stored: StoredRuntime) -> None:
    stored.ended[1] = evolve(SUPERSEDED, admission=evolve(SUPERSEDED.admission, input_id=input_id(7)))
    del stored.orders[input_id(2)]
    stored.ended.reverse()
    stored.orders[input_id(7)] = 2


def _same_order(stored: StoredRuntime) -> None:
    stored.ended[1] = restamped(SUPERSEDED, order=7)
    stored.orders[input_id(2)] = 7


def _ephemeral(stored: StoredRuntime) -> None:
    stored.ended[1] = restamped(SUPERSEDED, durability=Durability.EPHEMERAL)


def _other_results(stored: StoredRuntime) -> None:
    stored.ended[0] = CONSUMED
    stored.results = {ResultRef(run_id(5))}


ROWS: dict[str, list[Callable[[StoredRuntime], object]]] = {
    "rows_are_distinct": [_same_id, _same_order],
    "orders_equal_rows": [
        lambda stored: stored.orders.pop(input_id(2)),
        lambda stored: stored.orders.update({input_id(77): 4}),
        lambda stored: stored.orders.update({input_id(2): 4}),
    ],
    "ephemeral_inputs_are_not_stored": [_ephemeral],
    "bodies_belong_to_inputs": [lambda stored: stored.bodies.add(77)],
    "active_inputs_have_bodies": [lambda stored: stored.bodies.discard(3)],
    "results_are_stored": [
        lambda stored: stored.ended.__setitem__(0, evolve(CONSUMED, result_source=ResultSource.COMPLETION))
    ],
    "results_belong_to_runs": [_other_results],
    "snapshot_matches_record": [
        lambda stored: setattr(stored, "has_snapshot", True),
        lambda stored: setattr(stored, "record", evolve(stored.record, has_snapshot=True)),
    ],
    "blob_refs_equal_bodies": [
        lambda stored: stored.blob_refs.add((OTHER, 9)),
        lambda stored: stored.blob_refs.add((BLOB, 3)),
        lambda stored: stored.blob_refs.symmetric_difference_update({(BLOB, 9), (BLOB, 8)}),
    ],
}


@pytest.mark.parametrize(("check", "plant"), [(check, plant) for check, plants in ROWS.items() for plant in plants])
def test_a_planted_damage_of_rows_is_found_by_its_check_alone(
    check: str, plant: Callable[[StoredRuntime], object]
) -> None:
    """Rows that are gone, doubled, or belong to nothing."""
    stored = sound()
    plant(stored)
    assert set(checks(stored)) == {check}


@pytest.mark.parametrize(
    ("check", "kept"),
    [
        ("blob_is_stored", []),
        ("blob_matches_digest", [StoredBlob(BLOB, b"changed")]),
        ("blob_is_referenced", [StoredBlob(BLOB, CONTENT), StoredBlob(OTHER, b"other")]),
    ],
)
def test_a_planted_damage_of_blobs_is_found_by_its_check_alone(check: str, kept: list[StoredBlob]) -> None:
    """A blob that is missing, changed, or needed by nobody."""
    assert checks(sound(), kept) == [check]


def test_a_blob_of_several_runtimes_is_no_stray() -> None:
    """A missing one is reported once, by the first runtime that needs it."""
    runtimes = [sound(), sound()]
    assert list(audit(runtimes, blobs())) == []
    (finding,) = audit(runtimes, [])
    assert (finding.check, finding.where) == ("blob_is_stored", "runtime 'runtime'")


def test_the_memory_store_shows_the_auditor_all_its_rows() -> None:
    """Damage to any of its tables is found by ``verify``."""
    store, books = MemoryStore(), Books("r")
    books.open(store)
    books.write(store, books.accept(["k1", "k2", None], blobs=[CONTENT]))
    books.write(store, books.stage())
    books.write(store, books.finish(result=b"result", snapshot=b"snapshot", keep_body=True))
    books.write(store, books.supersede())
    assert store.verify() == []
    tables, rows = store._tables, store._tables.rows["r"]
    damaged: list[MutableMapping[Any, Any]] = [
        rows.active,
        rows.ended,
        rows.bodies,
        rows.orders,
        rows.keys,
        rows.receipts,
        rows.results,
        tables.snapshots,
        tables.blobs,
        tables.refs,
    ]
    for table in damaged:
        key = next(iter(table))
        taken = table.pop(key)
        assert store.verify() != []
        table[key] = taken
    assert store.verify() == []
