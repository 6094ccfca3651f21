"""What a commit makes of the store: the real tables of the memory store, thawed once per stored state and put back
after each try.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, final

from attrs import frozen

from ..runtime.errors import Fenced
from ..runtime.store import Commit, Pruned
from ..spec.errors import HoldstateError
from ..spec.relations import memory_equals_store
from ..spec.views import Stored, View
from ..spec.vocabulary import Durability
from ..stores.audit import StoredRuntime, audit
from ..stores.memory_tables import Tables, Undo
from .explorer_codec import Codec
from .explorer_kinds import RUNTIME
from .explorer_rows import Disk

_KEPT: Final = 4096


@final
@frozen
class Landed:
    """What the store holds after a commit. ``disk`` None: it was refused, and ``fenced`` says whether for good."""

    disk: Disk | None
    fenced: bool = False
    problems: tuple[str, ...] = ()


@final
class StoreSteps:
    """Writes commits into stored states."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._thawed: OrderedDict[Disk | None, Tables] = OrderedDict()

    def tables(self, disk: Disk | None) -> Tables:
        """A store that holds ``disk``: whoever writes into it puts it back."""
        tables = self._thawed.get(disk)
        if tables is None:
            tables = self._thawed[disk] = self._codec.tables(disk)
            if len(self._thawed) > _KEPT:
                self._thawed.popitem(last=False)
        return tables

    def land(self, disk: Disk | None, commit: Commit, memory: View, *, is_decided: bool = False) -> Landed:
        """``commit`` reaches a store that holds ``disk``; ``memory`` is what its driver has then. ``is_decided``: the
        store has agreed already.
        """
        tables = self.tables(disk)
        if not is_decided:
            try:
                tables.decide(commit)
            except Fenced:
                return Landed(None, fenced=True)
            except HoldstateError as error:
                return Landed(None, problems=(f"memory_equals_store: the store refused what memory allows: {error}",))
        undo = Undo()
        try:
            tables.write(commit, undo)
            after = self._codec.disk(tables)
            problems = (*_kept(disk, after), *_belongs(tables), *_agrees(tables, memory))
        finally:
            undo.roll_back()
        return Landed(after, problems=problems)

    def audit(self, disk: Disk | None) -> tuple[str, ...]:
        """What ``verify`` finds in a store that holds ``disk``."""
        if disk is None:
            return ()
        tables = self.tables(disk)
        rows = tables.rows[RUNTIME]
        stored = StoredRuntime(
            record=tables.records[RUNTIME],
            active=list(rows.active.values()),
            ended=list(rows.ended.values()),
            bodies=set(rows.bodies),
            orders=dict(rows.orders),
            keys=dict(rows.keys),
            receipts=list(rows.receipts.values()),
            results=set(rows.results),
            pruned=tables.pruned[RUNTIME],
        )
        return tuple(f"{finding.check}: {finding.problem}" for finding in audit((stored,), ()))


def _kept(before: Disk | None, after: Disk) -> Iterable[str]:
    """An input that is stored stays stored, and one that ended stays as it is."""
    if before is None:
        return
    now = {row.number: row for row in after.inputs}
    for row in before.inputs:
        if row.number not in now:
            yield f"acked_is_durable: input {row.number} was stored and is gone"
        elif row.outcome is not None and now[row.number] != row:
            yield f"terminal_inputs_are_frozen: input {row.number} had ended as {row} and is {now[row.number]}"


def _belongs(tables: Tables) -> Iterable[str]:
    """The counters and the indexes, which the frozen form leaves out."""
    rows, counts = tables.rows[RUNTIME], tables.records[RUNTIME].counts
    pruned = tables.pruned.get(RUNTIME, Pruned())
    there = (
        len(rows.ended) + pruned.inputs,
        len(rows.keys) + pruned.keys,
        len(rows.receipts) + pruned.receipts,
        len(rows.results) + pruned.results,
    )
    if counts.active != len(rows.active) or there != (counts.ended, counts.keys, counts.receipts, counts.results):
        yield f"counts_equal_rows: {len(rows.active)} active and {there} rows, counted {counts}"
    records = (*rows.active.values(), *rows.ended.values())
    if rows.orders != {record.input_id: record.order for record in records}:
        yield f"orders_equal_rows: the index has {rows.orders}"
    keys = ((record.admission.idempotency_key, record.input_id) for record in records)
    if rows.keys != {key: input_id for key, input_id in keys if key is not None}:
        yield f"index_equals_rows: the index has {rows.keys}"
    if rows.bodies.keys() != rows.active.keys():
        yield f"active_inputs_have_bodies: there are bodies for {list(rows.bodies)}, inputs at {list(rows.active)}"


def _agrees(tables: Tables, memory: View) -> Iterable[str]:
    """memory_equals_store; the very same records need no comparing."""
    rows = tables.rows[RUNTIME]
    durable = [each for each in memory.active if each.admission.durability is not Durability.EPHEMERAL]
    stored = list(rows.active.values())
    if len(durable) != len(stored) or any(one is not other for one, other in zip(durable, stored, strict=True)):
        there = View(tables.records[RUNTIME], stored, Stored(list(rows.ended.values()), (), {}, 0, Pruned()))
        for problem in memory_equals_store(memory, there):
            yield f"memory_equals_store: {problem}"
