"""One runtime in memory: its record, its active inputs, and the queued ones of each lane in order.

``apply`` is the only thing that changes an image. It takes time proportional to the change and returns the inverse, so
that a commit that did not land is taken back without a copy of anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, final

from sortedcontainers import SortedDict

from ..spec.views import LANES
from ..spec.vocabulary import Durability, InputKind, InputState, Lane
from .delta import Delta
from .ids import InputId
from .records import IN_FLIGHT_STATES, TERMINAL_INPUT_STATES, InputRecord, RuntimeRecord

Scope = tuple[InputKind, str]

# Bound here: looking a member up on its enum costs ten times as much (CPython 3.11).
_QUEUED: Final = InputState.QUEUED
_EPHEMERAL: Final = Durability.EPHEMERAL


@final
class RuntimeImage:
    """Reads are public, and nothing but ``apply`` writes. ``bodies`` holds the encoded inputs that no store has:
    ephemeral ones.
    """

    __slots__ = ("bodies", "inputs", "keys", "lanes", "runtime", "scopes", "set_aside")

    def __init__(self, runtime: RuntimeRecord, inputs: Iterable[InputRecord] = (), *, set_aside: int = 0) -> None:
        self.runtime = runtime
        self.set_aside = set_aside
        """So many more active inputs are stored and counted, with rows that cannot be read."""
        self.inputs: dict[InputId, InputRecord] = {}
        self.lanes: dict[Lane, SortedDict[int, InputId]] = {lane: SortedDict() for lane in LANES}
        self.scopes: dict[Scope, dict[InputId, None]] = {}
        self.bodies: dict[InputId, bytes] = {}
        self.keys: dict[str, InputId] = {}
        """Active inputs by idempotency key."""
        for record in inputs:
            self._insert(record)

    def lane(self, lane: Lane) -> Iterator[InputRecord]:
        """The queued inputs of ``lane``, first in order first."""
        inputs = self.inputs
        return (inputs[input_id] for input_id in self.lanes[lane].values())

    def queued(self) -> Iterator[InputRecord]:
        """Every queued input in the order in which the lanes are worked off: steer, then queue."""
        return chain(self.lane(Lane.STEER), self.lane(Lane.QUEUE))

    def active(self) -> list[InputRecord]:
        """Every active input by order key, whatever order they were loaded in (C13)."""
        return sorted(self.inputs.values(), key=lambda record: record.admission.order)

    def contributors(self) -> list[InputRecord]:
        """The contributors of the current run that are still active, in staging order."""
        found = map(self.inputs.get, self.runtime.contributors)
        return [record for record in found if record is not None]

    def staged(self) -> list[InputRecord]:
        return [record for record in self.contributors() if record.state is InputState.STAGED]

    def outside_run(self) -> list[InputRecord]:
        """Every active input that is not in the current run, by order key."""
        return [record for record in self.active() if record.state not in IN_FLIGHT_STATES]

    def in_scope(self, kind: InputKind, supersession_key: str) -> list[InputRecord]:
        """The queued inputs of one supersession scope, by order key."""
        found = [self.inputs[input_id] for input_id in self.scopes.get((kind, supersession_key), ())]
        return sorted(found, key=lambda record: record.admission.order)

    def ephemeral(self) -> list[InputRecord]:
        return [self.inputs[input_id] for input_id in self.bodies]

    def apply(self, delta: Delta) -> Delta:
        """Make ``delta`` so; returns the delta that takes it back."""
        changes, given_back = delta.changes, {}
        for before, after in changes:
            if before is None:
                assert after is not None, "a change is of something"
                self._insert(after)
            elif after is not None and before.state is after.state:
                self.inputs[after.input_id] = after
            else:
                self._remove(before)
                if after is not None:
                    self._insert(after)
                if self.bodies and before.input_id not in self.inputs:
                    body = self.bodies.pop(before.input_id, None)
                    if body is not None:
                        given_back[before.input_id] = body
        for input_id, body in delta.bodies.items():
            record = self.inputs.get(input_id)
            if record is not None and record.admission.durability is _EPHEMERAL:
                self.bodies[input_id] = body
        inverse = Delta(self.runtime, [(after, before) for before, after in changes[::-1]], given_back)
        self.runtime = delta.runtime
        return inverse

    def _insert(self, record: InputRecord) -> None:
        if record.state in TERMINAL_INPUT_STATES:
            return
        admission = record.admission
        self.inputs[admission.input_id] = record
        if admission.idempotency_key is not None:
            self.keys[admission.idempotency_key] = admission.input_id
        if record.state is _QUEUED:
            self.lanes[admission.lane][admission.order] = admission.input_id
            if admission.supersession_key is not None:
                scope = self.scopes.setdefault((admission.kind, admission.supersession_key), {})
                scope[admission.input_id] = None

    def _remove(self, record: InputRecord) -> None:
        if record.state in TERMINAL_INPUT_STATES:
            return
        admission = record.admission
        del self.inputs[admission.input_id]
        if admission.idempotency_key is not None:
            del self.keys[admission.idempotency_key]
        if record.state is _QUEUED:
            del self.lanes[admission.lane][admission.order]
            if admission.supersession_key is not None:
                scope = self.scopes[admission.kind, admission.supersession_key]
                del scope[admission.input_id]
                if not scope:
                    del self.scopes[admission.kind, admission.supersession_key]
