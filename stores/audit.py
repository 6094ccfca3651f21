"""What ``verify`` checks: every named invariant on a store at rest, and that its rows fit together.

It shares no code with what writes a store. A store reads its own rows into ``StoredRuntime`` and ``StoredBlob`` and
hands them to ``audit``, one runtime and one blob at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import final
from uuid import UUID

from attrs import Factory, define

from ..runtime.ids import InputId
from ..runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..runtime.store import Finding, Pruned, ResultRef
from ..spec.invariants import INVARIANTS
from ..spec.views import Stored, View


@final
@define
class StoredRuntime:
    """All rows of one runtime as they were read; nothing is assumed of them.

    ``bodies`` holds the order keys that have one, ``orders`` and ``keys`` are the two indexes, ``events`` the offsets
    of the log; ``blob_refs`` pairs a digest with the order key of the input that needs it.
    """

    record: RuntimeRecord
    active: list[InputRecord] = Factory(list)
    ended: list[InputRecord] = Factory(list)
    bodies: set[int] = Factory(set)
    orders: dict[UUID, int] = Factory(dict)
    keys: dict[str, InputId] = Factory(dict)
    receipts: list[RunBoundaryReceipt] = Factory(list)
    results: set[ResultRef] = Factory(set)
    events: list[int] = Factory(list)
    has_snapshot: bool = False
    blob_refs: set[tuple[str, int]] = Factory(set)
    pruned: Pruned = Factory(Pruned)


@final
@define
class StoredBlob:
    """One blob as it was read. ``is_held``: it was put by itself and stays until it is swept."""

    blob_id: str
    content: bytes
    is_held: bool = False


Problems = Iterator[tuple[str, str]]
"""Check and problem."""


def audit(runtimes: Iterable[StoredRuntime], blobs: Iterable[StoredBlob]) -> Iterator[Finding]:
    """Everything that is wrong, as it is found."""
    users: dict[str, str] = {}
    for stored in runtimes:
        where = f"runtime {stored.record.runtime_id!r}"
        for digest, _ in stored.blob_refs:
            users.setdefault(digest, where)
        for check, problem in (*_invariants(stored), *_indexes(stored), *_belongings(stored), *_blob_refs(stored)):
            yield Finding(check, where, problem)
    for blob in blobs:
        where = f"blob {blob.blob_id}"
        user = users.pop(blob.blob_id, None)
        if user is None and not blob.is_held:
            yield Finding("blob_is_referenced", where, "no input refers to it and nobody holds it")
        if blob.blob_id != f"sha256:{sha256(blob.content).hexdigest()}":
            yield Finding("blob_matches_digest", where, f"its {len(blob.content)} bytes have another digest")
    for digest, user in users.items():
        yield Finding("blob_is_stored", user, f"it refers to the blob {digest}, which is not stored")


def _invariants(stored: StoredRuntime) -> Problems:
    rest = Stored(stored.ended, stored.receipts, stored.keys, len(stored.results), stored.pruned, stored.events)
    image = View(stored.record, stored.active, rest)
    for invariant in INVARIANTS.values():
        for problem in invariant.check(image):
            yield invariant.name, problem


def _indexes(stored: StoredRuntime) -> Problems:
    inputs = [*stored.active, *stored.ended]
    for input_id, times in Counter(each.input_id for each in inputs).items():
        if times > 1:
            yield "rows_are_distinct", f"{times} rows are of input {input_id}"
    for order, times in Counter(each.order for each in inputs).items():
        if times > 1:
            yield "rows_are_distinct", f"{times} rows have the order key {order}"
    orders = {each.input_id: each.order for each in inputs}
    for input_id in dict.fromkeys(map(InputId, [*stored.orders, *orders])):
        indexed, found = stored.orders.get(input_id), orders.get(input_id)
        if indexed != found:
            yield "orders_equal_rows", f"input {input_id} has order key {found}, the index has {indexed}"
    for each in inputs:
        if each.admission.is_ephemeral:
            yield "ephemeral_inputs_are_not_stored", f"input {each.input_id} is ephemeral"


def _belongings(stored: StoredRuntime) -> Problems:
    record, inputs = stored.record, [*stored.active, *stored.ended]
    for order in sorted(stored.bodies - {each.order for each in inputs}):
        yield "bodies_belong_to_inputs", f"there is a body with order key {order} and no input"
    for each in stored.active:
        if each.order not in stored.bodies:
            yield "active_inputs_have_bodies", f"the body of input {each.input_id}, which is {each.state}, is missing"
    for each in inputs:
        answer = ResultRef.of(each)
        if answer is not None and answer not in stored.results:
            yield "results_are_stored", f"the result that answers input {each.input_id} is missing"
    runs = {receipt.run_id for receipt in stored.receipts}
    for ref in stored.results:
        if ref.run_id not in runs:
            yield "results_belong_to_runs", f"there is a result of run {ref.run_id} and no receipt"
    if record.has_snapshot is not stored.has_snapshot:
        yield "snapshot_matches_record", f"a snapshot is stored: {stored.has_snapshot}, recorded: {record.has_snapshot}"


def _blob_refs(stored: StoredRuntime) -> Problems:
    needed = {
        (digest, each.order)
        for each in (*stored.active, *stored.ended)
        if each.order in stored.bodies
        for digest in each.admission.blobs
    }
    for digest, order in sorted(needed - stored.blob_refs):
        yield "blob_refs_equal_bodies", f"the body with order key {order} needs the blob {digest}; no reference says so"
    for digest, order in sorted(stored.blob_refs - needed):
        yield "blob_refs_equal_bodies", f"order key {order} refers to the blob {digest}; no body of it needs that"
