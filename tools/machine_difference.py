"""What is different between two machines, and whether records that were stored under the first one still fit.

A record is a state and the value of every field. A change is breaking where a record may not be read any more, where it
would come to life again or be ended by the change, or where nothing leads to an end any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, TypeVar, final

import msgspec
from attrs import frozen

from .machine_document import EnumPart, FieldPart, MachineDocument, RowPart, StatePart

P = TypeVar("P", StatePart, FieldPart, EnumPart)


@final
class ChangeKind(StrEnum):
    """What happened to a part."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@final
@frozen
class Change:
    """One difference. ``breaks`` says why stored records do not fit any more; empty where they do."""

    kind: ChangeKind
    part: str
    place: str
    detail: str = ""
    breaks: str = ""

    def row(self) -> tuple[str, ...]:
        return (self.kind.value, self.part, self.place, self.detail, self.breaks)


COLUMNS: Final = ("change", "part", "place", "detail", "breaks stored records")


def differences(before: MachineDocument, after: MachineDocument) -> tuple[Change, ...]:
    """Every difference, parts of records first. Rows are compared in their order; numbers count from 1."""
    return (
        *_plain(before, after),
        *_named("state", before.states, after.states, _state_change, "records in it cannot be read"),
        *_ends(before, after),
        *_named("field", before.fields, after.fields, _field_change, "its stored values are lost"),
        *_enums(before, after),
        *_events(before, after),
        *_rows(before.transitions, after.transitions),
    )


def _plain(before: MachineDocument, after: MachineDocument) -> Iterator[Change]:
    for part in ("name", "doc", "initial", "effects", "terminal_exits"):
        one, other = getattr(before, part), getattr(after, part)
        if one != other:
            yield Change(ChangeKind.CHANGED, part, "", f"{_shown(one)} → {_shown(other)}")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _named(
    part: str, before: Sequence[P], after: Sequence[P], compare: Callable[[P, P], Change | None], lost: str
) -> Iterator[Change]:
    """Parts that have a name: added, removed, changed."""
    old, new = {each.name: each for each in before}, {each.name: each for each in after}
    for name, value in old.items():
        if name not in new:
            yield Change(ChangeKind.REMOVED, part, name, breaks=lost)
        elif value != new[name] and (change := compare(value, new[name])) is not None:
            yield change
    for name in new:
        if name not in old:
            yield Change(ChangeKind.ADDED, part, name)


def _state_change(before: StatePart, after: StatePart) -> Change:
    if after.terminal:
        return Change(ChangeKind.CHANGED, "state", after.name, "now terminal", "records in it end by the change")
    return Change(ChangeKind.CHANGED, "state", after.name, "no longer terminal", "ended records live again")


def _field_change(before: FieldPart, after: FieldPart) -> Change:
    told, breaks = [], ""
    if before.type != after.type:
        told.append(f"type {before.type} → {after.type}")
        breaks = "its stored values have another type"
    if before.optional != after.optional:
        told.append("now optional" if after.optional else "no longer optional")
        breaks = breaks or ("" if after.optional else "a stored None cannot be read")
    if before.default != after.default:
        told.append("another default")
    return Change(ChangeKind.CHANGED, "field", after.name, ", ".join(told), breaks)


def _enums(before: MachineDocument, after: MachineDocument) -> Iterator[Change]:
    """Enumerations; only those of fields are in records."""
    stored = {each.type for each in before.fields}
    old, new = {each.name: each for each in before.enums}, {each.name: each for each in after.enums}
    for name in old.keys() & new.keys():
        members, others = old[name].members, new[name].members
        for member in (each for each in members if each not in others):
            breaks = "stored values of it cannot be read" if name in stored else ""
            yield Change(ChangeKind.REMOVED, "member", f"{name}.{member}", breaks=breaks)
        for member in (each for each in others if each not in members):
            yield Change(ChangeKind.ADDED, "member", f"{name}.{member}")


def _ends(before: MachineDocument, after: MachineDocument) -> Iterator[Change]:
    """States from which rows led to an end, and do not any more."""
    kept = {each.name for each in after.states}
    for state in sorted((_ending(before) & kept) - _ending(after)):
        yield Change(
            ChangeKind.CHANGED, "state", state, "no rows lead from it to a terminal state", "records in it never end"
        )


def _ending(document: MachineDocument) -> set[str]:
    found = {each.name for each in document.states if each.terminal}
    while more := {
        source for row in document.transitions if row.target in found for source in row.source if source not in found
    }:
        found |= more
    return found


def _events(before: MachineDocument, after: MachineDocument) -> Iterator[Change]:
    """Events and their parameters, which no record holds."""
    old, new = {each.name: each for each in before.events}, {each.name: each for each in after.events}
    for name in (*old, *(name for name in new if name not in old)):
        if name not in new:
            yield Change(ChangeKind.REMOVED, "event", name)
        elif name not in old:
            yield Change(ChangeKind.ADDED, "event", name)
        elif old[name] != new[name]:
            yield Change(ChangeKind.CHANGED, "event", name, "other parameters")


def _rows(before: Sequence[RowPart], after: Sequence[RowPart]) -> Iterator[Change]:
    """Rows that are the same but for guard, sources, what they set and emit are one row that changed."""
    pairs = _pairs(before, after)
    taken = dict(pairs)
    for number, row in enumerate(before):
        if number not in taken:
            yield Change(ChangeKind.REMOVED, "row", _place(row, number))
        elif row != after[taken[number]]:
            yield Change(ChangeKind.CHANGED, "row", _place(row, number), _row_change(row, after[taken[number]]))
    for number, row in enumerate(after):
        if number not in taken.values():
            yield Change(ChangeKind.ADDED, "row", _place(row, number), _words(row))
    for event in dict.fromkeys(row.event for row in before):
        order = [other for number, other in sorted(taken.items()) if before[number].event == event]
        if order != sorted(order):
            yield Change(ChangeKind.CHANGED, "row", event, "its rows are tried in another order")


def _pairs(before: Sequence[RowPart], after: Sequence[RowPart]) -> list[tuple[int, int]]:
    """Rows of both sides that belong together, the most alike first."""
    likeness: tuple[Callable[[RowPart], object], ...] = (
        lambda row: row,
        lambda row: (row.event, row.source, row.target),
        lambda row: (row.event, row.target, row.text),
        lambda row: (row.event, row.target),
    )
    left, right = dict(enumerate(before)), dict(enumerate(after))
    found = []
    for key in likeness:
        for number, row in list(left.items()):
            match = next((other for other, each in right.items() if key(each) == key(row)), None)
            if match is not None:
                del left[number], right[match]
                found.append((number, match))
    return found


def _place(row: RowPart, number: int) -> str:
    return f"{number + 1}: {', '.join(row.source)} --{row.event}--> {row.target}"


def _words(row: RowPart) -> str:
    return "" if row.text == "true" else f"[{row.text}]"


def _row_change(before: RowPart, after: RowPart) -> str:
    told = [
        (name, _shown(one), _shown(other))
        for name, one, other in (
            ("from", ", ".join(before.source), ", ".join(after.source)),
            ("guard", before.text, after.text),
            ("sets", _sets(before), _sets(after)),
            ("emits", ", ".join(before.emits), ", ".join(after.emits)),
            ("doc", before.doc, after.doc),
            ("group", before.group.value, after.group.value),
        )
        if one != other
    ]
    return "; ".join(f"{name}: {one or 'none'} → {other or 'none'}" for name, one, other in told) or "another constant"


def _sets(row: RowPart) -> str:
    return ", ".join(f"{each.field} = {each.text}" for each in row.sets)


def is_breaking(changes: Iterable[Change]) -> bool:
    """Whether a stored record may not fit any more."""
    return any(change.breaks for change in changes)
