"""The policy table: what becomes of an admitted input.

A stated handling mode decides first, otherwise the kind does. Each row gives one decision for an idle runtime (idle or
attached) and one for a busy one; they differ in the wake and interrupt columns only. A user may supply another
``Policy``; one that would strand an input is refused when it is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import final

from attrs import evolve, field, frozen

from .errors import SpecError
from .vocabulary import (
    ApplyMode,
    ConsumePoint,
    DrainPolicy,
    HandlingMode,
    InputKind,
    InterruptPolicy,
    QueueMode,
    RoutingDisposition,
    WakeMode,
)


@final
@frozen
class PolicyDecision:
    """What one input gets. Stored with the input, together with the version of the policy that took it."""

    apply: ApplyMode
    wake: WakeMode
    queue_mode: QueueMode
    consume: ConsumePoint
    interrupt: InterruptPolicy
    drain: DrainPolicy
    route: RoutingDisposition
    record_transcript: bool
    emit_operator_content: bool
    policy_version: int

    @property
    def consumes_on_accept(self) -> bool:
        """The input ends when it is admitted; no run ever sees it."""
        return self.apply is ApplyMode.IGNORE

    def silenced(self) -> PolicyDecision:
        """The same decision for a peer request whose intent is silent: it starts with a run and wakes nobody."""
        return evolve(self, apply=ApplyMode.STAGE_RUN_START, wake=WakeMode.NONE)


@final
@frozen
class PolicyRow:
    """One row of the table; ``*_busy`` columns hold what differs while a run is going on."""

    apply: ApplyMode
    wake: WakeMode
    wake_busy: WakeMode
    queue_mode: QueueMode
    consume: ConsumePoint
    interrupt: InterruptPolicy
    interrupt_busy: InterruptPolicy
    drain: DrainPolicy
    route: RoutingDisposition
    transcript: bool

    def decide(self, *, idle: bool, transcript: bool, version: int) -> PolicyDecision:
        """The decision for one input, by what its runtime is doing."""
        return PolicyDecision(
            apply=self.apply,
            wake=self.wake if idle else self.wake_busy,
            queue_mode=self.queue_mode,
            consume=self.consume,
            interrupt=self.interrupt if idle else self.interrupt_busy,
            drain=self.drain,
            route=self.route,
            record_transcript=transcript,
            emit_operator_content=transcript,
            policy_version=version,
        )


def _check_row(where: str, row: PolicyRow) -> None:
    ignored, on_accept = row.apply is ApplyMode.IGNORE, row.consume is ConsumePoint.ON_ACCEPT
    if ignored != on_accept:
        problem = "ignored, yet not consumed on accept" if ignored else "consumed on accept, yet not ignored"
        raise SpecError(
            where, f"an input would be stranded ({problem}); use apply=ignore with consume=on_accept, or neither"
        )


MAY_COALESCE = frozenset({InputKind.EXTERNAL_EVENT, InputKind.PEER_RESPONSE_PROGRESS})
"""The kinds whose inputs may be taken in by a newer one of the same scope. Of any other kind each one counts."""


def _check_coalescing(where: str, row: PolicyRow, kinds: Iterable[InputKind]) -> None:
    """``kinds`` are those that may get ``row``."""
    if row.queue_mode is QueueMode.COALESCE:
        others = ", ".join(kind for kind in kinds if kind not in MAY_COALESCE)
        if others:
            raise SpecError(
                where, f"only {' and '.join(sorted(MAY_COALESCE))} may coalesce, not {others}; use supersede"
            )


_ModeKey = tuple[HandlingMode, InputKind]


@final
@frozen
class Policy:
    """Rows by kind and by stated handling mode. Total: a kind without a row of its own gets ``otherwise``.

    Raises ``SpecError`` when a row would strand an input (ignored, yet not consumed on accept, or the other way round), and
    when a kind other than external_event and peer_response_progress would get queue mode coalesce. Any input may state a
    handling mode, so those rows never coalesce.
    """

    name: str
    version: int
    by_handling_mode: Mapping[HandlingMode, PolicyRow]
    by_kind: Mapping[InputKind, PolicyRow]
    otherwise: PolicyRow
    silent_transcript: frozenset[InputKind] = frozenset({InputKind.CONTINUATION})
    _by_mode: Mapping[tuple[_ModeKey, bool], PolicyDecision] = field(init=False, repr=False, eq=False)
    _by_kind: Mapping[tuple[InputKind, bool], PolicyDecision] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        for mode in HandlingMode:
            if mode not in self.by_handling_mode:
                raise SpecError(f"policy {self.name}", f"handling mode {mode.value!r} has no row; add one")
        rest = tuple(kind for kind in InputKind if kind not in self.by_kind)
        rows: list[tuple[str, PolicyRow, tuple[InputKind, ...]]] = [
            *((repr(mode.value), row, tuple(InputKind)) for mode, row in self.by_handling_mode.items()),
            *((repr(kind.value), row, (kind,)) for kind, row in self.by_kind.items()),
            ("otherwise", self.otherwise, rest),
        ]
        for place, row, kinds in rows:
            _check_row(f"policy {self.name}, row {place}", row)
            _check_coalescing(f"policy {self.name}, row {place}", row, kinds)
        by_mode = {
            ((mode, kind), idle): row.decide(
                idle=idle, transcript=row.transcript and kind not in self.silent_transcript, version=self.version
            )
            for mode, row in self.by_handling_mode.items()
            for kind in InputKind
            for idle in (True, False)
        }
        by_kind = {
            (kind, idle): row.decide(idle=idle, transcript=row.transcript, version=self.version)
            for kind in InputKind
            for row in (self.by_kind.get(kind, self.otherwise),)
            for idle in (True, False)
        }
        object.__setattr__(self, "_by_mode", by_mode)
        object.__setattr__(self, "_by_kind", by_kind)

    def resolve(self, kind: InputKind, handling_mode: HandlingMode | None, *, idle: bool) -> PolicyDecision:
        """The decision for an input that states ``handling_mode`` (or none), in an idle or a busy runtime."""
        if handling_mode is None:
            return self._by_kind[kind, idle]
        return self._by_mode[(handling_mode, kind), idle]

    def resolve_by_kind(self, kind: InputKind, *, idle: bool) -> PolicyDecision:
        """The decision of the kind alone, whatever handling mode the input states."""
        return self._by_kind[kind, idle]


_A, _W, _Q, _P = ApplyMode, WakeMode, QueueMode, ConsumePoint
_I, _D, _R, _K = InterruptPolicy, DrainPolicy, RoutingDisposition, InputKind

# fmt: off
#                  apply                  wake, idle / busy                            queue mode    consume              interrupt, idle / busy                       drain               route      transcript
_QUEUE    = PolicyRow(_A.STAGE_RUN_START,    _W.WAKE_IF_IDLE, _W.NONE,               _Q.FIFO,     _P.ON_RUN_COMPLETE, _I.NONE,               _I.NONE,               _D.QUEUE_NEXT_TURN, _R.QUEUE, True)
_STEER    = PolicyRow(_A.STAGE_RUN_BOUNDARY, _W.WAKE_IF_IDLE, _W.INTERRUPT_YIELDING, _Q.FIFO,     _P.ON_RUN_COMPLETE, _I.INTERRUPT_YIELDING, _I.INTERRUPT_YIELDING, _D.STEER_BATCH,     _R.STEER, True)
_WORK     = _QUEUE
_PEER     = PolicyRow(_A.STAGE_RUN_START,    _W.WAKE_IF_IDLE, _W.INTERRUPT_YIELDING, _Q.FIFO,     _P.ON_RUN_COMPLETE, _I.NONE,               _I.INTERRUPT_YIELDING, _D.QUEUE_NEXT_TURN, _R.QUEUE, True)
_PROGRESS = PolicyRow(_A.STAGE_RUN_BOUNDARY, _W.NONE,         _W.NONE,               _Q.COALESCE, _P.ON_RUN_COMPLETE, _I.NONE,               _I.NONE,               _D.STEER_BATCH,     _R.STEER, True)
_CONTINUE = PolicyRow(_A.STAGE_RUN_BOUNDARY, _W.WAKE_IF_IDLE, _W.INTERRUPT_YIELDING, _Q.FIFO,     _P.ON_RUN_COMPLETE, _I.INTERRUPT_YIELDING, _I.INTERRUPT_YIELDING, _D.STEER_BATCH,     _R.STEER, False)
_OPERATE  = PolicyRow(_A.IGNORE,             _W.NONE,         _W.NONE,               _Q.PRIORITY, _P.ON_ACCEPT,       _I.NONE,               _I.NONE,               _D.IGNORE,          _R.DROP,  False)
_OTHER    = PolicyRow(_A.STAGE_RUN_START,    _W.NONE,         _W.NONE,               _Q.FIFO,     _P.ON_RUN_COMPLETE, _I.NONE,               _I.NONE,               _D.QUEUE_NEXT_TURN, _R.QUEUE, True)
# fmt: on

DEFAULT_POLICY = Policy(
    name="default",
    version=1,
    by_handling_mode={HandlingMode.QUEUE: _QUEUE, HandlingMode.STEER: _STEER},
    by_kind={
        _K.PROMPT: _WORK,
        _K.PEER_RESPONSE_TERMINAL: _WORK,
        _K.FLOW_STEP: _WORK,
        _K.EXTERNAL_EVENT: _WORK,
        _K.PEER_MESSAGE: _PEER,
        _K.PEER_REQUEST: _PEER,
        _K.PEER_RESPONSE_PROGRESS: _PROGRESS,
        _K.CONTINUATION: _CONTINUE,
        _K.OPERATION: _OPERATE,
    },
    otherwise=_OTHER,
)
