"""What ``verify`` checks: every named invariant on a store at rest, and that its rows fit together.

It shares no code with what writes a store. A store reads its own rows into ``StoredRuntime`` and ``StoredBlob`` and
hands them to ``audit``, one runtime and one blob at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final
from uuid import UUID

from attrs import Factory, define

from ..runtime.ids import InputId
from ..runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..runtime.store import Finding, Pruned, ResultRef


@final
@define
class StoredRuntime:
    """All rows of one runtime as they were read; nothing is assumed of them.

    ``bodies`` holds the order keys that have one, ``orders`` and ``keys`` are the two indexes, ``blob_refs`` pairs a
    digest with the order key of the input that needs it.
    """

    record: RuntimeRecord
    active: list[InputRecord] = Factory(list)
    ended: list[InputRecord] = Factory(list)
    bodies: set[int] = Factory(set)
    orders: dict[UUID, int] = Factory(dict)
    keys: dict[str, InputId] = Factory(dict)
    receipts: list[RunBoundaryReceipt] = Factory(list)
    results: set[ResultRef] = Factory(set)
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


def audit(runtimes: Iterable[StoredRuntime], blobs: Iterable[StoredBlob]) -> Iterator[Finding]:
    """Everything that is wrong, as it is found."""
    for stored in runtimes:
        counted = stored.record.counts.active
        if counted != len(stored.active):
            where = f"runtime {stored.record.runtime_id!r}"
            yield Finding("counts", where, f"{len(stored.active)} active inputs, counted {counted}")
