"""States of the whole as plain values: what is stored, what a driver has in memory, without what nothing looks at.

Inputs and runs are numbers here, in the order in which they came; the number of an input is also its place in its lane.
Left out, since no table, rule or function decides anything by it: histories, timestamps, the texts of errors, how often
an input was staged and recovered, and how many rows there ever were. Of epochs and revisions only how they compare is
kept (``stale``, ``landed``), of a backoff only whether it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, final

NAMES: Final = 64
"""A state speaks of fewer inputs, and of fewer runs."""

Renaming = Mapping[int, int]


@final
class InputRow(NamedTuple):
    """One input. ``waits``: its backoff is not over."""

    number: int
    kind: str
    state: str
    run: int | None
    sequence: int | None
    failures: int
    cap: int | None
    outcome: str | None
    successor: int | None
    reason: str | None
    source: str | None
    waits: bool

    def renamed(self, inputs: Renaming, runs: Renaming) -> InputRow:
        return self._replace(
            number=inputs[self.number],
            run=None if self.run is None else runs[self.run],
            successor=None if self.successor is None else inputs[self.successor],
        )


@final
class RuntimeRow(NamedTuple):
    """The runtime record. ``next_input`` is the number that the next input gets."""

    state: str
    run: int | None
    returns_to: str | None
    contributors: tuple[int, ...]
    boundaries: int
    shared: bool
    last_run: int | None
    ending: str | None
    next_input: int

    def renamed(self, inputs: Renaming, runs: Renaming) -> RuntimeRow:
        return self._replace(
            run=None if self.run is None else runs[self.run],
            contributors=tuple(inputs[each] for each in self.contributors),
            last_run=None if self.last_run is None else runs[self.last_run],
            next_input=inputs[self.next_input],
        )


@final
class ReceiptRow(NamedTuple):
    """One boundary receipt."""

    run: int
    sequence: int
    boundary: str
    inputs: tuple[int, ...]
    ephemeral: tuple[int, ...]

    def renamed(self, inputs: Renaming, runs: Renaming) -> ReceiptRow:
        return self._replace(
            run=runs[self.run],
            inputs=tuple(inputs[each] for each in self.inputs),
            ephemeral=tuple(inputs[each] for each in self.ephemeral),
        )


@final
class Disk(NamedTuple):
    """All that is stored of the runtime: inputs by number, receipts by run and sequence, results by run and sequence
    (-1: of the completion).
    """

    runtime: RuntimeRow
    inputs: tuple[InputRow, ...]
    receipts: tuple[ReceiptRow, ...] = ()
    results: tuple[tuple[int, int], ...] = ()

    def renamed(self, inputs: Renaming, runs: Renaming) -> Disk:
        return Disk(
            self.runtime.renamed(inputs, runs),
            _sorted(each.renamed(inputs, runs) for each in self.inputs),
            tuple(sorted(each.renamed(inputs, runs) for each in self.receipts)),
            tuple(sorted((runs[run], sequence) for run, sequence in self.results)),
        )

    def names(self) -> tuple[int, int]:
        """The inputs and the runs that are spoken of, as bits."""
        inputs, runs = _names(self.runtime, self.inputs)
        for receipt in self.receipts:
            inputs |= _bits((*receipt.inputs, *receipt.ephemeral))
            runs |= 1 << receipt.run
        return inputs, runs | _bits(run for run, _ in self.results)

    def on_time(self) -> Disk:
        """The same when every backoff is over."""
        return self._replace(inputs=_on_time(self.inputs))


@final
class Doubt(NamedTuple):
    """A commit that could not be read back: what memory becomes if it landed, and whether it did."""

    runtime: RuntimeRow
    inputs: tuple[InputRow, ...]
    landed: bool


@final
class Memory(NamedTuple):
    """What one driver has: active inputs by number, the run that an executor holds. ``stale``: somebody opened the
    runtime since; ``behind``: the store was reopened since it was last compared; ``stranded``: an ephemeral input is in
    flight in a run that the store does not know.
    """

    runtime: RuntimeRow
    inputs: tuple[InputRow, ...]
    held: int | None = None
    stale: bool = False
    behind: bool = False
    stranded: bool = False
    doubt: Doubt | None = None

    def renamed(self, inputs: Renaming, runs: Renaming) -> Memory:
        doubt = self.doubt
        if doubt is not None:
            rows = _sorted(each.renamed(inputs, runs) for each in doubt.inputs)
            doubt = Doubt(doubt.runtime.renamed(inputs, runs), rows, doubt.landed)
        return self._replace(
            runtime=self.runtime.renamed(inputs, runs),
            inputs=_sorted(each.renamed(inputs, runs) for each in self.inputs),
            held=None if self.held is None else runs[self.held],
            doubt=doubt,
        )

    @property
    def following(self) -> int:
        """The number that the next input gets, once any doubt is settled."""
        doubt = self.doubt
        return doubt.runtime.next_input if doubt is not None and doubt.landed else self.runtime.next_input

    def names(self) -> tuple[int, int]:
        """The inputs and the runs that are spoken of, as bits."""
        inputs, runs = _names(self.runtime, self.inputs)
        if self.doubt is not None:
            more = _names(self.doubt.runtime, self.doubt.inputs)
            inputs, runs = inputs | more[0], runs | more[1]
        return inputs, runs | (0 if self.held is None else 1 << self.held)

    def on_time(self) -> Memory:
        """The same when every backoff is over."""
        doubt = self.doubt
        if doubt is not None:
            doubt = doubt._replace(inputs=_on_time(doubt.inputs))
        return self._replace(inputs=_on_time(self.inputs), doubt=doubt)


def renaming(used: int, first: int) -> dict[int, int]:
    """Closes the gaps between the names whose bits are set: the order stays, the least one becomes ``first``. A name
    that is not used gets that of the next one that is.
    """
    renamed, following = {}, first
    for name in range(first, NAMES):
        renamed[name] = following
        following += used >> name & 1
    return renamed


def disk_from(row: Any) -> Disk:
    """A ``Disk`` that was read as plain JSON."""
    runtime, inputs, receipts, results = row
    return Disk(
        RuntimeRow(*_frozen(runtime)),
        tuple(InputRow(*each) for each in inputs),
        tuple(ReceiptRow(*_frozen(each)) for each in receipts),
        tuple((run, sequence) for run, sequence in results),
    )


def memory_from(row: Any) -> Memory:
    """A ``Memory`` that was read as plain JSON."""
    runtime, inputs, held, stale, behind, stranded, doubt = row
    if doubt is not None:
        doubt = Doubt(RuntimeRow(*_frozen(doubt[0])), tuple(InputRow(*each) for each in doubt[1]), doubt[2])
    rows = tuple(InputRow(*each) for each in inputs)
    return Memory(RuntimeRow(*_frozen(runtime)), rows, held, stale, behind, stranded, doubt)


def _frozen(row: Any) -> Any:
    """A row with tuples for the lists in it."""
    return [tuple(value) if isinstance(value, list) else value for value in row]


def as_json(row: Any) -> Any:
    """A row as plain JSON, for people: only what is there."""
    if isinstance(row, tuple) and hasattr(row, "_asdict"):
        fields: dict[str, Any] = row._asdict()
        return {
            name: as_json(value)
            for name, value in fields.items()
            if value is not None and value is not False and value != ()
        }
    if isinstance(row, tuple):
        return [as_json(each) for each in row]
    return row


def _sorted(rows: Iterable[InputRow]) -> tuple[InputRow, ...]:
    return tuple(sorted(rows, key=lambda row: row.number))


def _bits(names: Iterable[int]) -> int:
    bits = 0
    for name in names:
        bits |= 1 << name
    return bits


def _names(runtime: RuntimeRow, rows: tuple[InputRow, ...]) -> tuple[int, int]:
    inputs = _bits(row.number for row in rows) | _bits(row.successor for row in rows if row.successor is not None)
    runs = _bits(row.run for row in rows if row.run is not None)
    runs |= _bits(run for run in (runtime.run, runtime.last_run) if run is not None)
    return inputs | _bits(runtime.contributors), runs


def _on_time(rows: tuple[InputRow, ...]) -> tuple[InputRow, ...]:
    if not any(row.waits for row in rows):
        return rows
    return tuple(row._replace(waits=False) if row.waits else row for row in rows)
