"""What the explorations of the whole by the explorer and by TLC are compared over: ``Projection`` of ``whole.tla``.

A projected state is a tuple: what is stored, how many drivers there are with each memory, runs, and crashes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..spec.vocabulary import RuntimeState
from .explorer_rows import Disk, Doubt, InputRow, Memory, ReceiptRow, RuntimeRow
from .explorer_whole import Whole
from .tla_values import frozen_value

Projected = tuple[Any, ...]

_LEFT_OUT: Final = frozenset({"attempt_count", "error", "key"})


# -- of the explorer ---------------------------------------------------------------------------------------------------


def explored(whole: Whole, states: Iterable[int]) -> frozenset[Projected]:
    """The projections of ``states`` of ``whole``, by numbers in place of their parts: equal numbers are equal parts."""
    return _Numbered(whole).project(states)


def explored_in_full(whole: Whole, states: Iterable[int]) -> frozenset[Projected]:
    """The projections of ``states`` of ``whole``."""
    numbered = _Numbered(whole)
    found = numbered.project(states)
    disks, memories = list(numbered.disks), list(numbered.memories)
    return frozenset(
        (disks[disk], frozenset((memories[memory], count) for memory, count in drivers), runs, crashes)
        for disk, drivers, runs, crashes in found
    )


class _Numbered:
    """Parts that are projected once each."""

    def __init__(self, whole: Whole) -> None:
        self.whole = whole
        self.disks: dict[Any, int] = {}
        self.memories: dict[Any, int] = {}
        self._of_disks: dict[int, int] = {}
        self._of_memories: dict[int, int] = {}

    def project(self, states: Iterable[int]) -> frozenset[Projected]:
        found = set()
        for state in states:
            disk, drivers, runs, crashes = self.whole.parted(state)
            counted = Counter(map(self._memory, drivers))
            found.add((self._disk(disk), frozenset(counted.items()), runs, crashes))
        return frozenset(found)

    def _disk(self, number: int) -> int:
        found = self._of_disks.get(number)
        if found is None:
            view = disk_view(self.whole.disk(number))
            found = self._of_disks[number] = self.disks.setdefault(view, len(self.disks))
        return found

    def _memory(self, number: int) -> int:
        found = self._of_memories.get(number)
        if found is None:
            view = memory_view(self.whole.memory(number))
            found = self._of_memories[number] = self.memories.setdefault(view, len(self.memories))
        return found


def disk_view(disk: Disk | None) -> Any:
    """What is stored, as ``StoreView`` of ``whole.tla`` has it."""
    if disk is None:
        return None
    receipts = frozenset(frozen_value(_receipt(each)) for each in disk.receipts)
    return frozen_value({"rt": _runtime(disk.runtime), "in": _inputs(disk.inputs), "receipts": receipts})


def memory_view(memory: Memory) -> Any:
    """What a driver has, as ``DriverView`` has it."""
    parts = {
        "rt": _runtime(memory.runtime),
        "in": _inputs(memory.inputs),
        "held": memory.held,
        "fenced": memory.stale,
        "behind": memory.behind,
        "doubt": None if memory.doubt is None else _doubt(memory.doubt),
    }
    assert not memory.stranded, "within one opening every revision is known"
    return frozen_value(parts)


def _doubt(doubt: Doubt) -> dict[str, Any]:
    return {"rt": _runtime(doubt.runtime), "in": _inputs(doubt.inputs), "landed": doubt.landed}


def _runtime(row: RuntimeRow) -> dict[str, Any]:
    return {
        "state": row.state,
        "current_run_id": row.run,
        "pre_run_state": row.returns_to,
        "contributors": row.contributors,
        "boundary_count": row.boundaries,
        "shared_run": row.shared,
        "next_order": row.next_input,
    }


def _inputs(rows: Iterable[InputRow]) -> dict[int, Any]:
    return {
        row.number: {
            "kind": row.kind,
            "state": row.state,
            "last_run_id": row.run,
            "last_boundary_sequence": row.sequence,
            "failure_count": row.failures,
            "terminal_outcome": row.outcome,
            "successor_id": row.successor,
            "abandon_reason": row.reason,
        }
        for row in rows
    }


def _receipt(row: ReceiptRow) -> dict[str, Any]:
    stored = tuple(number for number in row.inputs if number not in row.ephemeral)
    return {"run_id": row.run, "sequence": row.sequence, "inputs": stored, "ephemeral": row.ephemeral}


# -- of TLC ------------------------------------------------------------------------------------------------------------


def model_checked(states: Iterable[Mapping[str, Any]]) -> frozenset[Projected]:
    """The projections of states of ``whole.tla``, as TLC prints them."""
    return frozenset(map(_projected, states))


def _projected(state: Mapping[str, Any]) -> Projected:
    store = state["store"]
    stored = None
    if store["rt"]["state"] != RuntimeState.INITIALIZING:
        stored = frozen_value({"rt": store["rt"], "in": _rows(store["in"]), "receipts": store["receipts"]})
    open_ones = [each for each in state["memory"].values() if each is not None]
    drivers = Counter(frozen_value(_driver(each, store)) for each in open_ones)
    return stored, frozenset(drivers.items()), state["runs"], state["crashes"]


def _driver(memory: Mapping[str, Any], store: Mapping[str, Any]) -> dict[str, Any]:
    doubt, fenced = memory["doubt"], memory["epoch"] < store["epoch"]
    if doubt is not None:
        landed = not fenced and store["revision"] == doubt["revision"]
        doubt = {"rt": doubt["rt"], "in": _rows(doubt["in"]), "landed": landed}
    parts = {name: memory[name] for name in ("rt", "held", "behind")}
    return {**parts, "in": _rows(memory["in"]), "fenced": fenced, "doubt": doubt}


def _rows(function: Any) -> dict[int, Any]:
    """A function over numbers as a dict, also where TLC prints it as a tuple."""
    numbered = dict(enumerate(function, 1)) if isinstance(function, tuple) else function
    return {
        number: {name: value for name, value in row.items() if name not in _LEFT_OUT}
        for number, row in numbered.items()
    }
