"""States of the whole as numbers: each part (what is stored, the memory of a driver) has one, and so has each state.

What a state does not speak of any more leaves no trace: the names of inputs and runs are closed up, so that states that
differ in names alone are one state.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, Self, TypeVar, final

from attrs import define, field, frozen

from ..spec.vocabulary import RuntimeState
from .explorer_rows import Disk, Memory, Renaming, RuntimeRow, renaming

NOTHING: Final = 0
"""The number of the store that is empty, and of the driver that is not there."""

_PART_BITS: Final = 28
_COUNT_BITS: Final = 8
_PART: Final = (1 << _PART_BITS) - 1
_COUNT: Final = (1 << _COUNT_BITS) - 1
_ATTACHED, _IDLE = RuntimeState.ATTACHED.value, RuntimeState.IDLE.value
_OVER: Final = frozenset({RuntimeState.STOPPED.value, RuntimeState.DESTROYED.value})


class Part(Hashable, Protocol):
    """What a state consists of."""

    def names(self) -> tuple[int, int]: ...

    def renamed(self, inputs: Renaming, runs: Renaming) -> Self: ...

    def on_time(self) -> Self: ...


P = TypeVar("P", bound=Part)


@final
@frozen
class Facts:
    """What is asked of a part again and again. ``agreement`` is equal for a store and a memory that agree, and None for
    a memory that need not.
    """

    inputs: int = 0
    runs: int = 0
    following: int = 1
    waits: bool = False
    is_current: bool = False
    is_settled: bool = True
    empty_receipts: int = 0
    agreement: object = None
    problems: tuple[str, ...] = ()


@final
@define(eq=False)
class Parts(Generic[P]):
    """The parts of one sort by number."""

    facts_of: Callable[[P], Facts]
    rows: list[P | None] = field(factory=lambda: [None])
    facts: list[Facts] = field(factory=lambda: [Facts()])
    names: list[tuple[int, int, int]] = field(factory=lambda: [(0, 0, 1)])
    """Of each part: the inputs and the runs that it speaks of, as bits, and the number of the next input."""
    _numbers: dict[P, int] = field(factory=dict)
    _renamed: dict[tuple[int, int, int], int] = field(factory=dict)
    _on_time: dict[int, int] = field(factory=dict)

    def number(self, part: P | None) -> int:
        """The number of ``part``, which is worked out once."""
        if part is None:
            return NOTHING
        found = self._numbers.get(part)
        if found is None:
            found = self._numbers[part] = len(self.rows)
            self.rows.append(part)
            facts = self.facts_of(part)
            self.facts.append(facts)
            self.names.append((facts.inputs, facts.runs, facts.following))
        return found

    def renamed(self, number: int, inputs: int, runs: int) -> int:
        """The part with the gaps closed between those names whose bits are set."""
        part = self.rows[number]
        if part is None:
            return number
        found = self._renamed.get((number, inputs, runs))
        if found is None:
            found = self.number(part.renamed(renaming(inputs, 1), renaming(runs, 0)))
            self._renamed[number, inputs, runs] = found
        return found

    def on_time(self, number: int) -> int:
        """The part when every backoff is over."""
        part = self.rows[number]
        if part is None or not self.facts[number].waits:
            return number
        found = self._on_time.get(number)
        if found is None:
            found = self._on_time[number] = self.number(part.on_time())
        return found


@final
class Parted(NamedTuple):
    """A state in its parts: the driver that is not fenced off comes first. The counters are those that are bounded."""

    disk: int
    drivers: tuple[int, ...]
    runs: int
    crashes: int


@final
class States:
    """Makes states of parts, and takes them apart."""

    def __init__(self, disks: Parts[Disk], memories: Parts[Memory], *, symmetry: bool) -> None:
        self._disks = disks
        self._memories = memories
        self._symmetry = symmetry

    def pack(self, disk: int, drivers: Sequence[int], runs: int, crashes: int) -> int:
        """The state as a number."""
        if self._symmetry:
            disk, drivers = self._closed_up(disk, drivers)
        if len(drivers) > 1:
            drivers = sorted(drivers, key=self._rank)
        state = 0
        for memory in reversed(drivers):
            state = state << _PART_BITS | memory
        return ((state << _PART_BITS | disk) << _COUNT_BITS | crashes) << _COUNT_BITS | runs

    def _rank(self, memory: int) -> int:
        return memory if self._memories.facts[memory].is_current else memory + _PART

    @staticmethod
    def unpack(state: int) -> Parted:
        """The parts of ``state``."""
        runs, crashes = state & _COUNT, state >> _COUNT_BITS & _COUNT
        state >>= 2 * _COUNT_BITS
        disk, state = state & _PART, state >> _PART_BITS
        drivers = []
        while state:
            drivers.append(state & _PART)
            state >>= _PART_BITS
        return Parted(disk, tuple(drivers), runs, crashes)

    def _closed_up(self, disk: int, drivers: Sequence[int]) -> tuple[int, Sequence[int]]:
        inputs, runs, following = self._disks.names[disk]
        for memory in drivers:
            more_inputs, more_runs, later = self._memories.names[memory]
            inputs |= more_inputs
            runs |= more_runs
            following = max(following, later)
        # Bits without a gap, plus one, are a power of two; inputs are numbered from 1.
        if not runs & (runs + 1) and not inputs & (inputs + 2) and following == max(inputs.bit_length(), 1):
            return disk, drivers
        closed = [self._memories.renamed(memory, inputs, runs) for memory in drivers]
        return self._disks.renamed(disk, inputs, runs), closed


def disk_facts(disk: Disk, problems: tuple[str, ...]) -> Facts:
    """The facts of what is stored, in which ``problems`` were found."""
    inputs, runs = disk.names()
    active = tuple(row for row in disk.inputs if row.outcome is None)
    return Facts(
        inputs,
        runs,
        disk.runtime.next_input,
        any(row.waits for row in active),
        is_settled=not active or disk.runtime.state in _OVER,
        empty_receipts=sum(not receipt.inputs for receipt in disk.receipts),
        agreement=(_stored(disk.runtime), active),
        problems=problems,
    )


def memory_facts(memory: Memory, ephemeral: frozenset[str]) -> Facts:
    """The facts of one driver's memory; ``ephemeral`` are the kinds that are never stored."""
    inputs, runs = memory.names()
    rows = (*memory.inputs, *(() if memory.doubt is None else memory.doubt.inputs))
    agreement = None
    if not memory.stale and memory.doubt is None:
        agreement = (_stored(memory.runtime), tuple(row for row in memory.inputs if row.kind not in ephemeral))
    following = memory.runtime.next_input if memory.doubt is None else memory.doubt.runtime.next_input
    waits = any(row.waits for row in rows)
    return Facts(inputs, runs, following, waits, not memory.stale, agreement=agreement)


def _stored(row: RuntimeRow) -> RuntimeRow:
    """A runtime as it is stored, but for the next number, which ephemeral inputs may have raised."""
    state = _IDLE if row.state == _ATTACHED else row.state
    returns_to = _IDLE if row.returns_to == _ATTACHED else row.returns_to
    return row._replace(state=state, returns_to=returns_to, next_input=0)
