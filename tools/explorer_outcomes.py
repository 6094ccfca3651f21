"""What comes of calls on drivers, and of their commits: worked out once for all states that share what it looks at.

What a call decides depends on one driver's memory and, seldom, on a stored row; what its commit makes of a store
depends on what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple, cast, final

from attrs import frozen

from ..runtime.environment import RuntimeSettings
from ..spec.errors import HoldstateError
from .explorer_calls import Call, calls_of, input_calls, receipt_calls
from .explorer_codec import Codec
from .explorer_driver import Decided, DriverSteps, KnownReader, Looked
from .explorer_kinds import KINDS
from .explorer_parts import NOTHING, Parts, disk_facts, memory_facts
from .explorer_rows import Disk, InputRow, Memory, ReceiptRow
from .explorer_store import StoreSteps


@final
@frozen(kw_only=True)
class WholeBounds:
    """What is explored. ``runs`` and ``crashes`` None: any number; names that nothing speaks of are used again, so that
    there are finitely many states all the same.

    ``inputs`` is how many a state speaks of at most, ``openers`` how many drivers there are at once, ``boundaries``
    after how many a run takes no further checkpoint, ``empty_receipts`` how many receipts list nothing.
    """

    inputs: int = 1
    kinds: tuple[str, ...] = tuple(KINDS)
    openers: int = 1
    runs: int | None = None
    crashes: int | None = None
    boundaries: int = 1
    empty_receipts: int = 0
    faults: bool = True
    symmetry: bool = True
    max_attempts: int = 2
    max_batch: int = 2
    backoff: bool = False


DEFAULTS: Final = WholeBounds()


@final
@frozen
class Fate:
    """What can become of a commit. ``memory`` names what the driver has then (of ``Decided``), None: it is gone.
    ``answered``: its caller was told that it is done.
    """

    label: str
    lands: bool
    memory: str | None
    answered: bool = False
    is_crash: bool = False
    is_fault: bool = False


FATES: Final = (
    Fate("", lands=True, memory="after", answered=True),
    Fate("its caller is gone", lands=True, memory="alone"),
    Fate("crash before its commit", lands=False, memory=None, is_crash=True),
    Fate("crash after its commit", lands=True, memory=None, is_crash=True),
    Fate("refused by the disk", lands=False, memory="undone", is_fault=True),
    Fate("result unknown, it landed", lands=True, memory="after_reopening", answered=True, is_fault=True),
    Fate("result unknown, it did not land", lands=False, memory="undone_reopening", is_fault=True),
    Fate("store unreadable, it landed", lands=True, memory="doubt_landed", is_fault=True),
    Fate("store unreadable, it did not land", lands=False, memory="doubt_lost", is_fault=True),
)


@final
class Ending(NamedTuple):
    """One fate of one call, and what the driver has then."""

    label: str
    lands: bool
    memory: int
    acknowledged: int | None
    is_crash: bool
    helps: bool


@final
@frozen(eq=False)
class Outcome:
    """What a call came to, with all that can become of its commit."""

    decided: Decided
    endings: tuple[Ending, ...]


@final
class Landing(NamedTuple):
    """What a commit makes of one stored state. ``disk`` None: it is refused."""

    disk: int | None
    is_fenced: bool
    problems: tuple[str, ...]


@final
class Outcomes:
    """The outcomes of calls, by the numbers of the parts that they depend on."""

    def __init__(self, bounds: WholeBounds, settings: RuntimeSettings, fates: Sequence[Fate]) -> None:
        self._b = bounds
        self._fates = fates
        self._codec = Codec(settings)
        self._drivers = DriverSteps(self._codec)
        self._store = StoreSteps(self._codec)
        ephemeral = frozenset(kind for kind in KINDS if self._codec.is_ephemeral(kind))
        self.disks: Parts[Disk] = Parts(lambda disk: disk_facts(disk, self._store.audit(disk)))
        self.memories: Parts[Memory] = Parts(lambda memory: memory_facts(memory, ephemeral))
        self._blind: dict[tuple[int, int, bool], tuple[tuple[Outcome, ...], tuple[Call, ...]]] = {}
        self._knowingly: dict[tuple[object, ...], tuple[Outcome, ...]] = {}
        self._landings: dict[tuple[int, int, int, bool], list[Landing]] = {}
        self._care: dict[tuple[int, int], int] = {}
        self._opened: dict[int, tuple[int, int, tuple[str, ...]]] = {}

    def opened(self, disk: int) -> tuple[int, int, tuple[str, ...]]:
        """What is stored and what the driver has once somebody opened the runtime, and what is wrong with that."""
        found = self._opened.get(disk)
        if found is None:
            found = self._opened[disk] = self._open(disk)
        return found

    def _open(self, disk: int) -> tuple[int, int, tuple[str, ...]]:
        stored = self.disks.rows[disk]
        try:
            commit, decided = self._drivers.open(self._store.tables(stored))
        except HoldstateError as error:
            return disk, NOTHING, (f"stored_state_is_resumable: nobody can open the runtime: {error}",)
        landed = self._store.land(stored, commit, decided.image, is_decided=True)
        return self.disks.number(landed.disk), self.memories.number(decided.after), decided.problems + landed.problems

    def cared_for(self, memory: int, fresh: int) -> int:
        """What a driver has when it is called, once it knows what became of a commit in doubt; see ``DriverSteps``."""
        found = self._care.get((memory, fresh))
        if found is None:
            row = self.memories.rows[memory]
            assert row is not None
            cared = self._drivers.cared_for(row, KnownReader(self._codec, row, fresh))
            found = self._care[memory, fresh] = self.memories.number(cared)
        return found

    def of(self, disk: int, memory: int, fresh: int, *, may_begin: bool) -> Iterable[tuple[Outcome, Landing]]:
        """What comes of every call on a driver with ``memory`` over the store ``disk``, and of its commit there."""
        outcomes = self._outcomes(disk, memory, fresh, may_begin=may_begin)
        landings = self._landings.get((disk, memory, fresh, may_begin))
        if landings is None:
            landings = [self._land(disk, outcome.decided) for outcome in outcomes]
            self._landings[disk, memory, fresh, may_begin] = landings
        return zip(outcomes, landings, strict=True)

    def _land(self, disk: int, decided: Decided) -> Landing:
        if decided.commit is None:
            return Landing(disk, is_fenced=False, problems=())
        landed = self._store.land(self.disks.rows[disk], decided.commit, decided.image)
        if landed.disk is None:
            return Landing(None, landed.fenced, landed.problems)
        return Landing(self.disks.number(landed.disk), is_fenced=False, problems=landed.problems)

    def _outcomes(self, disk: int, memory: int, fresh: int, *, may_begin: bool) -> list[Outcome]:
        """What comes of every call on a driver with ``memory`` over the store ``disk``."""
        stored, row = self.disks.rows[disk], self.memories.rows[memory]
        assert stored is not None
        assert row is not None
        key = (memory, fresh, may_begin)
        if key not in self._blind:
            calls = calls_of(row, self._codec, self._b, fresh, may_begin=may_begin)
            self._blind[key] = self._decide(calls, row, KnownReader(self._codec, row, fresh))
        outcomes, looking = self._blind[key]
        found = list(outcomes)
        if looking:
            active = (self.disks.facts[disk].agreement, stored.runtime.next_input, stored.receipts)
            known = (*key, disk if row.stale or row.doubt is not None else active)
            found += self._knowing(known, lambda: looking, row, stored)
        for ended in stored.inputs:
            if ended.outcome is not None:
                calls_about = partial(input_calls, ended, row, self._codec)
                if row.stale:  # what is new to it may be stored
                    found += self._knowing((memory, fresh, ended, disk), calls_about, row, stored)
                else:
                    found += self._knowing((memory, fresh, ended), calls_about, row, ended)
        for each in stored.receipts:
            found += self._knowing((memory, fresh, each), partial(receipt_calls, each, self._codec), row, each)
        return found

    def _knowing(
        self,
        key: tuple[object, ...],
        calls: Callable[[], Iterable[Call]],
        memory: Memory,
        known: Disk | InputRow | ReceiptRow,
    ) -> tuple[Outcome, ...]:
        """What comes of ``calls`` where ``known`` is stored: a row of it, or all."""
        found = self._knowingly.get(key)
        if found is None:
            fresh, codec = cast("int", key[1]), self._codec
            reader = KnownReader(
                codec,
                memory,
                fresh,
                record=codec.record(known) if isinstance(known, InputRow) else None,
                receipt=codec.receipt(known) if isinstance(known, ReceiptRow) else None,
                tables=self._store.tables(known) if isinstance(known, Disk) else None,
            )
            found, looking = self._decide(calls(), memory, reader)
            assert not looking, f"{looking[0].label} looks at more than it should"
            self._knowingly[key] = found
        return found

    def _decide(
        self, calls: Iterable[Call], memory: Memory, reader: KnownReader
    ) -> tuple[tuple[Outcome, ...], tuple[Call, ...]]:
        """The outcomes of those calls that ``reader`` has all the answers for, and the other calls."""
        outcomes, looking = [], []
        for call in calls:
            try:
                decided = self._drivers.decide(call, memory, reader)
            except Looked:
                looking.append(call)
            else:
                outcomes.append(Outcome(decided, self._endings(decided)))
        return tuple(outcomes), tuple(looking)

    def _endings(self, decided: Decided) -> tuple[Ending, ...]:
        """What can become of ``decided``. Without a commit there is one way, but for a caller who is gone."""
        number, label, helps = self.memories.number, decided.call.label, decided.call.helps
        if decided.commit is None:
            return (
                Ending(label, lands=True, memory=number(decided.after), acknowledged=None, is_crash=False, helps=helps),
            )
        found = []
        for fate in self._fates:
            memory = None if fate.memory is None else decided.left(fate.memory)
            if memory is not None or fate.memory is None:
                name = f"{label}: {fate.label}" if fate.label else label
                acknowledged = decided.acknowledged if fate.answered else None
                easy = helps and not fate.label
                found.append(Ending(name, fate.lands, number(memory), acknowledged, fate.is_crash, easy))
        return tuple(found)
