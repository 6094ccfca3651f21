"""What the rows of a store say when all of them are looked at once: states, ages, transitions, and when they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final, TypeAlias, final

from attrs import define, field

from ..runtime.records import InputRecord, RuntimeRecord
from ..runtime.store import InputFilter
from ..spec.vocabulary import InputEvent, InputState, RuntimeState
from ..stores.lmdb_reader import LmdbReader
from ..stores.lmdb_store import LmdbStore
from .output import NotFound

PAGE: Final = 1000

Step: TypeAlias = tuple[InputState, InputEvent, InputState]
"""From, event, to."""


@final
@define(eq=False)
class Survey:
    """All inputs of the runtimes that were looked at, in one consistent view.

    ``since`` has the times of the last transitions of the inputs in a state, ``untimed`` counts the inputs that keep
    none. ``dropped`` counts transitions that are no longer kept with their records, ``pruned`` ended inputs that are
    no longer stored; of neither anything is known any more.
    """

    runtimes: list[RuntimeRecord] = field(factory=list)
    states: Counter[InputState] = field(factory=Counter)
    since: dict[InputState, list[datetime]] = field(factory=dict)
    untimed: int = 0
    steps: Counter[Step] = field(factory=Counter)
    dropped: int = 0
    pruned: int = 0
    first: datetime | None = None
    last: datetime | None = None
    admitted: list[datetime] = field(factory=list)
    ended: list[datetime] = field(factory=list)

    @property
    def runtime_states(self) -> Counter[RuntimeState]:
        return Counter(record.state for record in self.runtimes)

    @property
    def seconds(self) -> float:
        """From the first to the last transition that is kept."""
        return 0.0 if self.first is None or self.last is None else (self.last - self.first).total_seconds()

    def add_runtime(self, record: RuntimeRecord, inputs: Iterator[InputRecord]) -> None:
        """Take in a runtime with all of its inputs."""
        ended = 0
        for each in inputs:
            ended += each.is_terminal
            self._add(each)
        self.runtimes.append(record)
        self.pruned += record.counts.ended - ended

    def _add(self, record: InputRecord) -> None:
        self.states[record.state] += 1
        self.admitted.append(record.admission.admitted_at)
        self.dropped += record.history_dropped
        if not record.history:
            self.untimed += 1
            return
        times = [entry.at for entry in record.history]
        self.since.setdefault(record.state, []).append(times[-1])
        if record.is_terminal:
            self.ended.append(times[-1])
        # The clock may have been set back in between.
        first, last = min(times), max(times)
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)
        self.steps.update((before, event, after) for _, before, after, event in record.history)


def survey(store: LmdbStore, runtime: str | None = None) -> Survey:
    """Everything that is stored, or what is stored of one runtime. Raises NotFound, StoreCorruption."""
    found = Survey()
    with store.reading() as reader:
        if runtime is None:
            records = list(runtimes_of(reader))
        else:
            record = reader.load_record(runtime)
            if record is None:
                raise NotFound(f"runtime {runtime!r}", str(store.path))
            records = [record]
        for record in records:
            found.add_runtime(record, inputs_of(reader, record.runtime_id))
    return found


def runtimes_of(reader: LmdbReader) -> Iterator[RuntimeRecord]:
    """All runtimes, by id."""
    after: str | None = None
    while records := reader.list_runtimes(after, PAGE):
        yield from records
        after = records[-1].runtime_id


def inputs_of(reader: LmdbReader, runtime_id: str) -> Iterator[InputRecord]:
    """All inputs of a runtime, by order key."""
    after: int | None = None
    while True:
        page = reader.list_inputs(InputFilter(runtime_id), after, PAGE)
        yield from page.records
        after = page.next_after
        if after is None:
            return
