"""Mutants of what the two stores check and write: a check is dropped, a row is not put or not deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from attrs import evolve

from ..runtime.store import Commit
from ..stores import lmdb_rows as tables
from ..stores import lmdb_writer
from ..stores.codec import encode_number
from ..stores.lmdb_writer import Draft, GroupWriter
from ..stores.memory_tables import RuntimeRows, Tables, Undo
from .mutants_commit import Change, constantly, nothing
from .mutation import Mutant, Part, replaced


def store_mutants() -> Iterator[Mutant]:
    """All of them, by name."""
    for name, changes in {**_MEMORY, **_LMDB}.items():
        yield Mutant(Part.CODE, name, patch=partial(replaced, *changes))


# -- memory ------------------------------------------------------------------------------------------------------------


def _fence_with(**changes: str) -> tuple[Change]:
    """The fence sees some of what a commit builds on as it is stored."""

    def fence(given: Tables, commit: Commit) -> Commit:
        stored = given.records.get(commit.runtime.runtime_id)
        if stored is not None:
            _fence(given, evolve(commit, **{name: getattr(stored, of) for name, of in changes.items()}))
        return commit

    return ((Tables, "_fence", fence),)


def _claim_unchecked(given: Tables, claim: Any) -> Commit:
    made: Commit = claim.settle(given.load(claim.runtime_id))
    return made


def _written(change: Callable[[Commit], Commit]) -> tuple[Change]:
    def write(given: Tables, commit: Commit, undo: Undo) -> None:
        _write(given, change(commit), undo)

    return ((Tables, "write", write),)


def _without_put(*names: str) -> tuple[Change]:
    """Rows of some kinds are not put."""

    def write_input(given: Tables, runtime_id: str, rows: RuntimeRows, write: Any, undo: Undo) -> None:
        kept = {name: dict(getattr(rows, name)) for name in names}
        _write_input(given, runtime_id, rows, write, undo)
        for name, before in kept.items():
            found = getattr(rows, name)
            for key in [key for key in found if key not in before]:
                del found[key]

    return ((Tables, "_write_input", write_input),)


def _active_stays(given: Tables, runtime_id: str, rows: RuntimeRows, write: Any, undo: Undo) -> None:
    active = dict(rows.active)
    _write_input(given, runtime_id, rows, write, undo)
    rows.active.update({order: record for order, record in active.items() if order not in rows.active})


def _old_state_stays(given: Tables, runtime_id: str, rows: RuntimeRows, write: Any, undo: Undo) -> None:
    order, old = write.record.order, rows.active.get(write.record.order)
    _write_input(given, runtime_id, rows, write, undo)
    if old is not None and order in rows.active:
        rows.active[order] = old


_fence, _write, _write_input = Tables._fence, Tables.write, Tables._write_input  # noqa: SLF001

_MEMORY: Final[dict[str, tuple[Change, ...]]] = {
    "memory: no fence": ((Tables, "_fence", lambda _, commit: commit),),
    "memory: the epoch is not compared": _fence_with(epoch="epoch"),
    "memory: the revision is not compared": _fence_with(base_revision="revision"),
    "memory: claims are not checked": ((Tables, "_settle", _claim_unchecked),),
    "memory: rows are not checked": ((Tables, "_check_rows", nothing),),
    "memory: receipts and events are not checked": ((Tables, "_check_additions", staticmethod(nothing)),),
    "memory: what was written is not rolled back": ((Undo, "roll_back", nothing),),
    "memory: inputs are not put": _written(lambda commit: evolve(commit, inputs=[])),
    "memory: receipts are not put": _written(lambda commit: evolve(commit, receipts=[])),
    "memory: results are not put": _written(lambda commit: evolve(commit, results=[])),
    "memory: events are not put": _written(lambda commit: evolve(commit, events=[])),
    "memory: blobs are not put": _written(lambda commit: evolve(commit, blobs=[])),
    "memory: the snapshot is not put": _written(lambda commit: evolve(commit, snapshot=None)),
    "memory: ids are not put": _without_put("orders"),
    "memory: keys are not put": _without_put("keys"),
    "memory: payloads are not put": _without_put("bodies"),
    "memory: ended inputs are not put": _without_put("ended"),
    "memory: active inputs are not put": _without_put("active"),
    "memory: the new state of an input is not put": ((Tables, "_write_input", _old_state_stays),),
    "memory: an ended input stays active": ((Tables, "_write_input", _active_stays),),
    "memory: payloads are not dropped": ((Tables, "drop_body", nothing),),
    "memory: blobs are not dropped": ((Tables, "drop_unreferenced", constantly(0)),),
}

# -- LMDB --------------------------------------------------------------------------------------------------------------


def _drafted(change: Callable[[Draft], object]) -> tuple[Change]:
    def draft(prefix: bytes, commit: Commit) -> Draft:
        made = _draft(prefix, commit)
        change(made)
        return made

    return ((lmdb_writer, "draft", draft),)


def _no_puts_of(table: bytes) -> tuple[Change]:
    def change(made: Draft) -> None:
        made.puts[:] = [row for row in made.puts if row[0] != table]

    return _drafted(change)


def _no_deletes_of(table: bytes) -> tuple[Change]:
    def change(made: Draft) -> None:
        made.deletes[:] = [row for row in made.deletes if row[0] != table]

    return _drafted(change)


def _writer_fence(**changes: str) -> tuple[Change]:
    def fence(writer: GroupWriter, commit: Commit, prefix: bytes | None) -> int:
        stored = None if prefix is None else writer._stored_fence(prefix, commit.runtime.runtime_id)  # noqa: SLF001
        if stored is None:
            return 0
        return _lmdb_fence(
            writer, evolve(commit, **{name: getattr(stored, of) for name, of in changes.items()}), prefix
        )

    return ((GroupWriter, "_fence", fence),)


def _known_for_good(writer: GroupWriter, prefix: bytes, runtime_id: str) -> object:
    known = writer._written.get(prefix)  # noqa: SLF001
    return _stored_fence(writer, prefix, runtime_id) if known is None else known[1]


def _claim_taken(writer: GroupWriter, claim: Any) -> tuple[Commit, int]:
    loaded = writer._reader().load_runtime(claim.runtime_id)  # noqa: SLF001
    return claim.settle(loaded), 0 if loaded is None else loaded.record.next_order


def _merged_without(name: str) -> tuple[Change]:
    def merged(drafts: Any) -> Draft:
        made = _merged(drafts)
        if len(drafts) > 1:
            getattr(made, name).clear()
        return made

    return ((lmdb_writer, "merged", merged),)


def _same_ordinal(writer: GroupWriter, runtime_id: str) -> None:
    prefix = writer._next_prefix()  # noqa: SLF001
    number = int.from_bytes(prefix, "big")
    writer._rows.put(tables.NAMES, runtime_id.encode(), encode_number(number))  # noqa: SLF001
    writer.created[runtime_id] = prefix


def _in_one_wave(writer: GroupWriter, group: Any) -> object:
    return [result for prepared in group[-1:] for result in _lmdb_write(writer, [prepared])] * len(group)


_draft, _merged = lmdb_writer.draft, lmdb_writer.merged
_lmdb_fence, _stored_fence, _lmdb_write = GroupWriter._fence, GroupWriter._stored_fence, GroupWriter.write  # noqa: SLF001

_LMDB: Final[dict[str, tuple[Change, ...]]] = {
    "lmdb: no fence": _writer_fence(epoch="epoch", base_revision="revision"),
    "lmdb: the epoch is not compared": _writer_fence(epoch="epoch"),
    "lmdb: the revision is not compared": _writer_fence(base_revision="revision"),
    "lmdb: the fence knows only what this process wrote": ((GroupWriter, "_stored_fence", _known_for_good),),
    "lmdb: claims are not checked": ((GroupWriter, "_settle", _claim_taken),),
    "lmdb: rows are not checked": ((GroupWriter, "_check_rows", nothing),),
    "lmdb: active inputs are not expected": _drafted(lambda made: made.expected.clear()),
    "lmdb: new rows may be there": _drafted(lambda made: made.unexpected.clear()),
    "lmdb: blobs need not be there": _drafted(lambda made: made.needed_blobs.clear()),
    "lmdb: order keys are not checked": ((lmdb_writer, "_check_orders", nothing),),
    "lmdb: a new runtime is not named": ((GroupWriter, "_create", nothing),),
    "lmdb: two runtimes get one ordinal": ((GroupWriter, "_create", _same_ordinal),),
    "lmdb: only the last member of a group is written": ((GroupWriter, "write", _in_one_wave),),
    "lmdb: a merged group deletes nothing": _merged_without("deletes"),
    "lmdb: a merged group puts nothing": _merged_without("puts"),
    "lmdb: the runtime record is not put": _no_puts_of(tables.RUNTIMES),
    "lmdb: active inputs are not put": _no_puts_of(tables.ACTIVE),
    "lmdb: ended inputs are not put": _no_puts_of(tables.ENDED),
    "lmdb: ids are not put": _no_puts_of(tables.ORDERS),
    "lmdb: keys are not put": _no_puts_of(tables.KEYS),
    "lmdb: receipts are not put": _no_puts_of(tables.RECEIPTS),
    "lmdb: results are not put": _no_puts_of(tables.RESULTS),
    "lmdb: the snapshot is not put": _no_puts_of(tables.SNAPSHOTS),
    "lmdb: events are not put": _no_puts_of(tables.EVENTS),
    "lmdb: payloads of what ends at once are not put": _no_puts_of(tables.BODIES),
    "lmdb: references to blobs are not put": _no_puts_of(tables.BLOB_REFS),
    "lmdb: blobs are not put": _drafted(lambda made: made.blobs.clear()),
    "lmdb: payloads that are kept are not moved": _drafted(lambda made: made.kept_bodies.clear()),
    "lmdb: nothing is deleted of active inputs": _no_deletes_of(tables.ACTIVE),
    "lmdb: references to blobs are not deleted": _no_deletes_of(tables.BLOB_REFS),
    "lmdb: blobs are not deleted": _drafted(lambda made: made.released_blobs.clear()),
}
