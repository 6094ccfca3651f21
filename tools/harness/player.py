"""A machine and a system played side by side: each move is made on both, and what they show is held together.

Whatever chooses the moves (Hypothesis, a list of paths, a replay file) plays through this, so a failure is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeAlias, cast, final

from attrs import define, field, frozen

from ...spec.errors import HoldstateError, TransitionRefused
from ...spec.table import Step as TableStep
from ..trace import Panes, Step, Trace, plain
from .adapters import NewAdapter, System, fields_of, panes_of
from .coverage import Coverage, Edge, coverage_of
from .moves import CRASH, AnyMachine, Move, foretold, shown

MACHINE_PANE: Final = "machine"
SYSTEM_PANE: Final = "system"
INITIAL: Final = "initial state"
_STATE: Final = "state"


@final
@frozen
class Moment:
    """What an invariant looks at: the system after a step, and what the machine says of it."""

    adapter: Any
    state: StrEnum
    fields: Mapping[str, object]
    """The fields of the machine."""
    shown: Mapping[str, object]
    """The fields that the system shows; empty where its adapter tells of none."""


Invariant: TypeAlias = Callable[[Moment], object]
"""Holds unless it returns False or a text, or raises. It may be async."""


@final
class Broken(HoldstateError, AssertionError):
    """The system and the machine do not agree, or an invariant does not hold.

    ``rule`` is which, in a few words; ``problem`` is what was seen; ``trace`` is how it came to that.
    """

    def __init__(self, rule: str, problem: str, trace: Trace, moves: Sequence[Move]) -> None:
        self.rule = rule
        self.problem = problem
        self.trace = trace
        self.moves = tuple(moves)
        super().__init__(f"step {len(trace.steps) - 1}: {rule}: {problem}")


@final
@define(eq=False)
class Player:
    """One example. ``start`` it, make moves, ``close`` it. A move raises Broken where something does not hold."""

    machine: AnyMachine
    new_adapter: NewAdapter
    invariants: Sequence[Invariant] = ()
    state: StrEnum = field(init=False)
    fields: dict[str, object] = field(init=False)
    moves: list[Move] = field(init=False, factory=list)
    _system: System = field(init=False)
    _steps: list[Step] = field(init=False, factory=list)
    _before: Edge | None = field(init=False, default=None)
    _coverage: Coverage = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._coverage = coverage_of(self.machine)
        self.state = self.machine.initial
        self.fields = self.machine.compile().initial_fields()
        self._system = System(self.new_adapter)

    # -- moves --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring the system up; it has to show the initial state."""
        try:
            self._system.call("start")
        except Exception as error:
            raise self._broken(INITIAL, {}, "start raised", repr(error)) from error
        self._coverage.started()
        self._compare(INITIAL, {}, "")

    def can_crash(self) -> bool:
        """Whether the adapter can crash and restart the system."""
        return self._system.can("crash") and self._system.can("restart")

    def play(self, move: Move) -> None:
        """``fire`` or ``crash``."""
        self.moves.append(move)
        if move.event is None:
            self._crash()
        else:
            self._fire(move.event, move)

    def _fire(self, event: StrEnum, move: Move) -> None:
        expected = foretold(self.machine, self.state, self.fields, move, check=True)
        seen = self._seen()
        refusal: Exception | None = None
        try:
            self._system.call("fire", event, dict(move.params))
        except self._system.refusals as error:
            refusal = error
        except Exception as error:
            problem = f"{move.text()} raised {error!r}; if it means refused, name it in the adapter's refusals"
            raise self._broken(event, move.params, "fire raised", problem) from error
        if isinstance(expected, TransitionRefused):
            self._refused(event, move, expected, refusal, seen)
        elif refusal is not None:
            problem = (
                f"{move.text()} leads to {expected.target} by {self.machine.place(expected.row)}, the system says: "
            )
            raise self._broken(event, move.params, "the system refused an event of the table", f"{problem}{refusal}")
        else:
            self._took(event, move, expected)

    def _refused(
        self,
        event: StrEnum,
        move: Move,
        expected: TransitionRefused,
        refusal: Exception | None,
        seen: tuple[object, dict[str, object]],
    ) -> None:
        self._coverage.refused[str(self.state), str(event)] += 1
        if refusal is None:
            problem = f"{move.text()} is refused in {self.state} ({expected.reason}), the system took it"
            raise self._broken(event, move.params, "the system took a refused event", problem)
        after = self._seen()
        if after != seen:
            problem = f"{move.text()} was refused, yet {_difference(seen, after)}"
            raise self._broken(event, move.params, "a refused event changed the system", problem)
        self._compare(event, move.params, f"refused: {expected.reason}")

    def _took(self, event: StrEnum, move: Move, step: TableStep[Any]) -> None:
        self._before = self._coverage.took(step.row, self.state, event, step.target, self._before)
        self.state = step.target
        self.fields.update(step.sets)
        self._compare(event, move.params, "")

    def _crash(self) -> None:
        self._coverage.crashes += 1
        self._before = None
        try:
            self._system.call("crash")
            self._system.call("restart")
        except Exception as error:
            raise self._broken(CRASH, {}, "restart raised", repr(error)) from error
        if self._system.can("after_crash"):
            state, fields = cast("Any", self._system.call("after_crash", self.state, dict(self.fields)))
            self.state = self.machine.states(state)
            self.fields = {**self.fields, **fields}
        self._compare(CRASH, {}, "and restarted")

    def close(self) -> None:
        """Stop the system."""
        self._system.close()

    # -- looking ------------------------------------------------------------------------------------------------------

    def _seen(self) -> tuple[object, dict[str, object]]:
        """What the system shows."""
        return self._system.call(_STATE), fields_of(self._system, self.fields)

    def _compare(self, action: str, params: Mapping[str, object], note: str) -> None:
        state, fields = self._seen()
        self._record(action, params, note, (state, fields), panes_of(self._system))
        wrong = {name: value for name, value in fields.items() if plain(value) != plain(self.fields[name])}
        restarted = " after a crash" if action == CRASH else ""
        if str(plain(state)) != self.state.value:
            problem = f"the machine is in {self.state}, the system in {plain(state)}"
            raise self._fail(f"the states differ{restarted}", problem)
        if wrong:
            apart = (f"{name} is {shown(self.fields[name])}, the system has {shown(wrong[name])}" for name in wrong)
            raise self._fail(f"the fields differ{restarted}", "; ".join(apart))
        self._check_invariants(fields)

    def _check_invariants(self, fields: Mapping[str, object]) -> None:
        moment = Moment(self._system.adapter, self.state, dict(self.fields), fields)
        for invariant in self.invariants:
            name = getattr(invariant, "__name__", repr(invariant))
            try:
                verdict = self._system.settle(invariant(moment))
            except AssertionError as error:
                raise self._fail(f"invariant {name}", str(error) or "its assertion failed") from error
            except Exception as error:
                raise self._fail(f"invariant {name}", f"it raised {error!r}") from error
            if verdict is False or isinstance(verdict, str):
                raise self._fail(f"invariant {name}", verdict or "it does not hold")

    def _record(
        self,
        action: str,
        params: Mapping[str, object],
        note: str,
        seen: tuple[object, Mapping[str, object]],
        more: Mapping[str, Mapping[str, object]],
    ) -> None:
        state, fields = seen
        expected = {_STATE: self.state, **self.fields}
        panes: dict[str, Mapping[str, object]] = {MACHINE_PANE: expected, SYSTEM_PANE: {_STATE: state, **fields}}
        panes |= {name: variables for name, variables in more.items() if name not in panes}
        self._steps.append(
            Step(str(action), cast("Panes", plain(panes)), cast("Any", plain(params)), note, action == CRASH)
        )

    # -- failures -----------------------------------------------------------------------------------------------------

    def trace(self, broken: str = "") -> Trace:
        """How it came to this."""
        return Trace(
            f"{self.machine.name}: {type(self._system.adapter).__name__}", "harness", tuple(self._steps), broken
        )

    def _broken(self, action: str, params: Mapping[str, object], rule: str, problem: str) -> Broken:
        """The step that went wrong is recorded as far as the system can still be looked at."""
        try:
            seen, more = self._seen(), panes_of(self._system)
        except Exception as error:  # noqa: BLE001 - a system that is broken may answer with anything
            seen, more = (f"not to be seen: {error!r}", {}), {}
        self._record(action, params, rule, seen, more)
        return self._fail(rule, problem)

    def _fail(self, rule: str, problem: str) -> Broken:
        return Broken(rule, problem, self.trace(f"{rule}: {problem}"), self.moves)


def _difference(before: tuple[object, dict[str, object]], after: tuple[object, dict[str, object]]) -> str:
    told = [] if before[0] == after[0] else [f"its state went from {plain(before[0])} to {plain(after[0])}"]
    for name in sorted({*before[1], *after[1]}):
        one, other = before[1].get(name), after[1].get(name)
        if one != other:
            told.append(f"{name} went from {shown(one)} to {shown(other)}")
    return ", ".join(told)
