"""The whole as a model: one runtime, its store, and the drivers that hold it, of which one at most is not fenced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, final

from attrs import asdict

from .explorer import Move, Progress
from .explorer_kinds import explored_settings
from .explorer_outcomes import DEFAULTS, FATES, Fate, Landing, Outcome, Outcomes, WholeBounds
from .explorer_parts import NOTHING, Parted, States
from .explorer_rows import Disk, Memory, as_json, disk_from, memory_from

OLDER: Final = "older driver: "
"""How the moves of a driver that is fenced off begin."""


@final
class Whole:
    """The model. ``fates`` are what can become of a commit; a test plants others."""

    name = "whole"
    progress = Progress.MUST_SETTLE

    def __init__(self, bounds: WholeBounds = DEFAULTS, fates: Sequence[Fate] = FATES) -> None:
        self._b = bounds
        settings = explored_settings(
            max_attempts=bounds.max_attempts, max_batch=bounds.max_batch, backoff=bounds.backoff
        )
        possible = tuple(fate for fate in fates if bounds.faults or not fate.is_fault)
        self._outcomes = Outcomes(bounds, settings, possible)
        self._disks, self._memories = self._outcomes.disks, self._outcomes.memories
        self._states = States(self._disks, self._memories, symmetry=bounds.symmetry)
        self._counts_runs = bounds.runs is not None or not bounds.symmetry

    @property
    def bounds(self) -> Mapping[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self._b).items()}

    def initial(self) -> Sequence[int]:
        """Nothing is stored and nobody has opened anything."""
        return (self._states.pack(NOTHING, (), 0, 0),)

    def problems(self, state: int) -> Sequence[str]:
        """What ``verify`` finds in the store, and what the memory of the driver that holds the runtime differs in."""
        disk, drivers, _, _ = self._states.unpack(state)
        found = self._disks.facts[disk].problems
        for memory in drivers:
            agreement = self._memories.facts[memory].agreement
            if agreement is not None and agreement != self._disks.facts[disk].agreement:
                found = (*found, "memory_equals_store: the driver that holds the runtime has something else in memory")
        return found

    def is_settled(self, state: int) -> bool:
        """No durable input is active; or a bound keeps the rest from being worked off."""
        parted = self._states.unpack(state)
        return self._disks.facts[parted.disk].is_settled or not self._may_begin(parted)

    def show(self, state: int) -> dict[str, Any]:
        """What is stored, and what each driver has."""
        parted = self._states.unpack(state)
        drivers = [as_json(self._memories.rows[memory]) for memory in parted.drivers]
        return {"store": as_json(self._disks.rows[parted.disk]), "drivers": drivers}

    def parted(self, state: int) -> Parted:
        """The parts of ``state``, by number."""
        return self._states.unpack(state)

    def disk(self, number: int) -> Disk | None:
        """What is stored."""
        return self._disks.rows[number]

    def memory(self, number: int) -> Memory:
        """What the driver has."""
        row = self._memories.rows[number]
        assert row is not None, "a driver that is gone is no part of a state"
        return row

    # -- moves -----------------------------------------------------------------------------------------------------

    def moves(self, state: int) -> Sequence[Move[int]]:
        """Open, every call with every fate of its commit, crash, and time."""
        parted = self._states.unpack(state)
        found: list[Move[int]] = []
        if len(parted.drivers) < self._b.openers:
            found += self._open(parted)
        for memory in parted.drivers:
            found += self._calls(parted, memory)
        pack = self._states.pack
        later = [self._memories.on_time(memory) for memory in parted.drivers]
        target = pack(self._disks.on_time(parted.disk), later, parted.runs, parted.crashes)
        if target != state:
            found.append(Move("time passes", target, helps=True))
        return found

    def refusals(self, state: int) -> Iterator[tuple[str, str]]:
        """The moves of ``state`` that are refused calls, and why."""
        parted = self._states.unpack(state)
        fresh, may_begin = self._fresh_run(parted), self._may_begin(parted)
        for memory in parted.drivers:
            cared, older = self._outcomes.cared_for(memory, fresh), self._older(memory)
            for outcome, _ in self._outcomes.of(parted.disk, cared, fresh, may_begin=may_begin) if cared else ():
                if outcome.decided.refusal:
                    yield older + outcome.decided.call.label, outcome.decided.refusal

    def _older(self, memory: int) -> str:
        return "" if self._memories.facts[memory].is_current else OLDER

    def _may_begin(self, parted: Parted) -> bool:
        return self._b.runs is None or parted.runs < self._b.runs

    def _open(self, parted: Parted) -> Iterator[Move[int]]:
        """A newer driver claims the runtime, and those that are there are fenced off."""
        disk, memory, problems = self._outcomes.opened(parted.disk)
        older = [self._fenced_off(each) for each in parted.drivers]
        is_first = not any(self._memories.facts[each].is_current for each in parted.drivers)
        pack = self._states.pack
        yield Move("open", pack(disk, (memory, *older), parted.runs, parted.crashes), is_first, problems)
        if self._may_crash(parted):
            yield Move("open: crash after its commit", pack(disk, older, parted.runs, self._crashes(parted)))

    def _fenced_off(self, memory: int) -> int:
        row = self._memories.rows[memory]
        assert row is not None
        doubt = None if row.doubt is None else row.doubt._replace(landed=False)
        return self._memories.number(row._replace(stale=True, doubt=doubt))

    def _may_crash(self, parted: Parted) -> bool:
        return self._b.crashes is None or parted.crashes < self._b.crashes

    def _crashes(self, parted: Parted) -> int:
        return 0 if self._b.crashes is None else parted.crashes + 1

    def _calls(self, parted: Parted, memory: int) -> list[Move[int]]:
        """Everything that the driver with ``memory`` can be asked, and its crash."""
        disk, drivers, runs, crashes = parted
        position = drivers.index(memory)
        others = drivers[:position] + drivers[position + 1 :]
        older = self._older(memory)
        pack, fresh, may_begin = self._states.pack, self._fresh_run(parted), self._may_begin(parted)
        cared = self._outcomes.cared_for(memory, fresh)
        found: list[Move[int]] = []
        if cared:
            packed: dict[tuple[int, int, int, bool], int] = {}
            for outcome, landing in self._outcomes.of(disk, cared, fresh, may_begin=may_begin):
                self._follow(parted, outcome, landing, others=others, older=older, packed=packed, found=found)
        else:
            found.append(Move(f"{older}any call: fenced", pack(disk, others, runs, crashes)))
        if self._may_crash(parted):
            found.append(Move(f"{older}crash", pack(disk, others, runs, self._crashes(parted))))
        return found

    def _follow(
        self,
        parted: Parted,
        outcome: Outcome,
        landing: Landing,
        *,
        others: tuple[int, ...],
        older: str,
        packed: dict[tuple[int, int, int, bool], int],
        found: list[Move[int]],
    ) -> None:
        """Every ending of ``outcome``, each as a move. ``packed`` are the states that were made already."""
        decided, pack = outcome.decided, self._states.pack
        problems = decided.problems + landing.problems
        runs = parted.runs + (self._counts_runs and decided.call.begins and decided.commit is not None)
        if landing.disk is None:
            target = pack(parted.disk, others if landing.is_fenced else parted.drivers, runs, parted.crashes)
            found.append(Move(f"{older}{decided.call.label}: refused by the store", target, problems=problems))
            return
        if self._disks.facts[landing.disk].empty_receipts > self._b.empty_receipts:
            return
        if older and decided.commit is not None:
            problems += ("older_openers_change_nothing: the store took a commit of a driver that is fenced off",)
        may_crash, crashed = self._may_crash(parted), self._crashes(parted)
        for label, lands, after, acknowledged, is_crash, helps in outcome.endings:
            if is_crash and not may_crash:
                continue
            disk = landing.disk if lands else parted.disk
            key = (disk, after, runs, is_crash)
            target = packed.get(key, -1)
            if target < 0:
                drivers = (after, *others) if after else others
                target = packed[key] = pack(disk, drivers, runs, crashed if is_crash else parted.crashes)
            wrong = problems if acknowledged is None else problems + self._unacknowledged(disk, acknowledged)
            found.append(Move(older + label if older else label, target, helps and not older, wrong))

    def _fresh_run(self, parted: Parted) -> int:
        """The number of the next run: with symmetry the first that nothing speaks of."""
        if not self._b.symmetry:
            return parted.runs
        runs = self._disks.facts[parted.disk].runs
        for memory in parted.drivers:
            runs |= self._memories.facts[memory].runs
        return runs.bit_length()

    def _unacknowledged(self, disk: int, number: int) -> tuple[str, ...]:
        row = self._disks.rows[disk]
        if row is not None and any(each.number == number for each in row.inputs):
            return ()
        return (f"acked_is_durable: input {number} was acknowledged and is not stored",)

    # -- keeping ---------------------------------------------------------------------------------------------------

    def dump(self, states: Sequence[int]) -> Any:
        """The states, and the parts that they are made of."""
        # With several drivers a state is a number of more bits than a document may have.
        width = max((each.bit_length() + 7) // 8 for each in (1, *states))
        packed = b"".join(each.to_bytes(width, "big") for each in states)
        return {"disks": self._disks.rows[1:], "memories": self._memories.rows[1:], "width": width, "states": packed}

    def load(self, dumped: Any) -> list[int]:
        """What ``dump`` gave."""
        for row in dumped["disks"]:
            self._disks.number(disk_from(row))
        for row in dumped["memories"]:
            self._memories.number(memory_from(row))
        width, packed = dumped["width"], dumped["states"]
        return [int.from_bytes(packed[at : at + width], "big") for at in range(0, len(packed), width)]
