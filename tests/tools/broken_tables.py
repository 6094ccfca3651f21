"""Tables that are broken in one place, and who has to notice by which property.

Each one is given to TLC and to the explorer: controls for both, which share nothing but the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final

from attrs import evolve, frozen

from holdstate.spec import COMMANDS, INPUT_LIFECYCLE, RUNTIME_STATE, TRUE, CommandRow, Machine, Transition
from holdstate.spec.commands import InputGroup, Rule
from holdstate.spec.vocabulary import CommandName, InputEvent, InputState, OutcomeKind, RuntimeEvent, RuntimeState
from holdstate.tools.explorer_outcomes import WholeBounds
from holdstate.tools.tla_tables import ModelTables
from holdstate.tools.tla_whole import CONFIGURATIONS, WholeConfiguration

Row = Transition[Any, Any]

_C, _I, _R, _S, _V = CommandName, InputState, RuntimeState, InputEvent, RuntimeEvent

EVENT: Final = WholeBounds(kinds=("event",), runs=2, crashes=1, faults=False)
REPLACING: Final = evolve(EVENT, kinds=("replacing",), inputs=2, runs=1, crashes=0)
ENDLESS: Final = WholeBounds(kinds=("event",), faults=False)
FAIR: Final = evolve(
    CONFIGURATIONS["whole_liveness"],
    bounds=evolve(CONFIGURATIONS["whole_liveness"].bounds, inputs=1, runs=2, crashes=0),
)
"""One input, as many runs as it can take."""


class Sort(StrEnum):
    """What was done to a table or to the protocol."""

    DROPPED_ROW = "a row is gone"
    TARGET = "a row leads elsewhere"
    LOST_SET = "an assignment is gone"
    SWAPPED_SETS = "two assignments are swapped"
    NO_GUARD = "a guard is gone"
    NEGATED_GUARD = "a guard is negated"
    LOST_RULE = "a rule of a command is gone"
    FENCE = "the fence is not checked"
    ACK = "the answer comes before the commit"
    APPLY = "memory moves on before the commit"
    RECOVERY = "recovery is skipped, or looks away"
    STORE = "the store writes something else"


@frozen
class Broken:
    """``tables`` with one thing wrong. ``tlc`` and ``explorer`` are the properties that have to fail there."""

    sort: Sort
    broken: str
    tables: ModelTables
    tlc: str
    explorer: str
    bounds: WholeBounds = EVENT
    is_fair: bool = False

    @property
    def configuration(self) -> WholeConfiguration:
        """What TLC explores, with fairness where liveness is what fails."""
        return FAIR if self.is_fair else WholeConfiguration(about=self.broken, bounds=self.bounds)

    @property
    def explored(self) -> WholeBounds:
        """What the explorer explores: any number of runs, where liveness is what fails."""
        return ENDLESS if self.is_fair else self.bounds


def _rows(machine: Machine[Any, Any], change: Callable[[Row], Iterable[Row]]) -> Machine[Any, Any]:
    return evolve(machine, transitions=tuple(row for each in machine.transitions for row in change(each)))


def _change(row: Row, **changes: Any) -> Iterable[Row]:
    return (evolve(row, **{"sets": dict(row.sets), **changes}),)


def _inputs(event: InputEvent, change: Callable[[Row], Iterable[Row]]) -> ModelTables:
    return ModelTables(inputs=_rows(INPUT_LIFECYCLE, lambda row: change(row) if row.event == event else (row,)))


def _runtimes(event: RuntimeEvent, change: Callable[[Row], Iterable[Row]]) -> ModelTables:
    return ModelTables(runtimes=_rows(RUNTIME_STATE, lambda row: change(row) if row.event == event else (row,)))


def _command(name: CommandName, change: Callable[[CommandRow], CommandRow]) -> ModelTables:
    return ModelTables(commands={**COMMANDS, name: change(COMMANDS[name])})


def _rules(change: Callable[[tuple[Rule, ...]], Iterable[Rule]], group: int = 0) -> Callable[[CommandRow], CommandRow]:
    def changed(row: CommandRow) -> CommandRow:
        groups = list(row.inputs)
        groups[group] = InputGroup(groups[group].select, tuple(change(groups[group].rules)))
        return evolve(row, inputs=tuple(groups))

    return changed


def _without_rule(number: int) -> Callable[[CommandRow], CommandRow]:
    return _rules(lambda rules: rules[:number] + rules[number + 1 :])


def _negated_rule(number: int) -> Callable[[CommandRow], CommandRow]:
    return _rules(
        lambda rules: (evolve(rule, when=~rule.when) if place == number else rule for place, rule in enumerate(rules))
    )


def _without_then(row: CommandRow) -> CommandRow:
    return _rules(lambda rules: (Rule(rule.states, rule.sends, rule.when) for rule in rules))(row)


def _unset(name: str) -> Callable[[Row], Iterable[Row]]:
    return lambda row: _change(row, sets={key: value for key, value in row.sets if key != name})


def _swapped_outcomes(row: Row) -> Iterable[Row]:
    outcomes = {_S.SUPERSEDE: OutcomeKind.COALESCED, _S.COALESCE: OutcomeKind.SUPERSEDED}
    sets = dict(row.sets)
    return _change(row, sets={**sets, "terminal_outcome": outcomes[row.event]}) if row.event in outcomes else (row,)


def _swapped_attachment(row: Row) -> Iterable[Row]:
    returns = {_V.ATTACH: _R.IDLE, _V.DETACH: _R.ATTACHED}
    return _change(row, sets={"pre_run_state": returns[row.event]}) if row.event in returns and row.sets else (row,)


def _to(target: Any) -> Callable[[Row], Iterable[Row]]:
    return lambda row: _change(row, target=target)


def _unguarded(row: Row) -> Iterable[Row]:
    return _change(row, guard=TRUE)


def _negated(row: Row) -> Iterable[Row]:
    return _change(row, guard=~row.guard)


_settles_blindly = evolve(
    _inputs(_S.RECOVER_QUEUE, _unguarded), commands={**COMMANDS, _C.OPEN: _without_rule(2)(COMMANDS[_C.OPEN])}
)

BROKEN: Final = (
    Broken(
        Sort.DROPPED_ROW,
        "no row abandons a queued input",
        _inputs(_S.ABANDON, lambda row: _change(row, source=(_I.STAGED,))),
        "tables_fit",
        "tables_fit",
    ),
    Broken(
        Sort.DROPPED_ROW,
        "no row recovers what was staged",
        _inputs(_S.RECOVER_QUEUE, lambda row: () if _I.STAGED in row.source else (row,)),
        "tables_fit",
        "stored_state_is_resumable",
    ),
    Broken(
        Sort.DROPPED_ROW,
        "destroy has no row for idle",
        _runtimes(_V.DESTROY, lambda row: _change(row, source=(_R.STOPPED,))),
        "command_ends_in_its_state",
        "command_ends_in_its_state",
    ),
    Broken(
        Sort.TARGET,
        "rollback leads to consumed",
        _inputs(_S.ROLLBACK, _to(_I.CONSUMED)),
        "outcome_matches_state",
        "outcome_matches_state",
    ),
    Broken(
        Sort.TARGET,
        "an exhausted input goes on",
        _inputs(_S.EXHAUST, _to(_I.QUEUED)),
        "outcome_matches_state",
        "outcome_matches_state",
    ),
    Broken(
        Sort.TARGET,
        "a run ends in idle wherever it began",
        _runtimes(_V.RUN_COMPLETED, _to(_R.IDLE)),
        "retired_is_sticky",
        "run_end_returns_where_it_began",
    ),
    Broken(
        Sort.TARGET,
        "retire leads to idle",
        _runtimes(_V.RETIRE, _to(_R.IDLE)),
        "command_ends_in_its_state",
        "command_ends_in_its_state",
    ),
    Broken(
        Sort.TARGET,
        "a retired runtime recovers to idle",
        _runtimes(_V.RECOVERED, _to(_R.IDLE)),
        "retired_is_sticky",
        "retired_is_sticky",
    ),
    Broken(
        Sort.LOST_SET,
        "mark_pending forgets the boundary",
        _inputs(_S.MARK_PENDING, _unset("last_boundary_sequence")),
        "consumed_exactly",
        "consumed_exactly",
    ),
    Broken(
        Sort.LOST_SET,
        "stage forgets the run",
        _inputs(_S.STAGE, _unset("last_run_id")),
        "in_flight_belongs_to_current_run",
        "in_flight_belongs_to_current_run",
    ),
    Broken(
        Sort.LOST_SET,
        "supersede names no successor",
        _inputs(_S.SUPERSEDE, _unset("successor_id")),
        "outcome_matches_state",
        "outcome_matches_state",
        REPLACING,
    ),
    Broken(
        Sort.LOST_SET,
        "a failure is not counted",
        _inputs(_S.ROLLBACK_FAILED, _unset("failure_count")),
        "Temporal properties",
        "progress",
        is_fair=True,
    ),
    Broken(
        Sort.LOST_SET,
        "a run stays current after its end",
        _runtimes(_V.RUN_FAILED, _unset("current_run_id")),
        "running_has_a_current_run",
        "running_has_a_current_run",
    ),
    Broken(
        Sort.LOST_SET,
        "begin_run forgets where it began",
        _runtimes(_V.BEGIN_RUN, _unset("pre_run_state")),
        "stored_state_is_resumable",
        "stored_state_is_resumable",
    ),
    Broken(
        Sort.SWAPPED_SETS,
        "supersede and coalesce swap their outcomes",
        ModelTables(inputs=_rows(INPUT_LIFECYCLE, _swapped_outcomes)),
        "outcome_matches_state",
        "outcome_matches_state",
        REPLACING,
    ),
    Broken(
        Sort.SWAPPED_SETS,
        "attach and detach swap what a run returns to",
        ModelTables(runtimes=_rows(RUNTIME_STATE, _swapped_attachment)),
        "command_ends_in_its_state",
        "command_ends_in_its_state",
    ),
    Broken(
        Sort.NO_GUARD,
        "accept needs nothing",
        _command(_C.ACCEPT, lambda row: evolve(row, needs=TRUE)),
        "terminal_runtime_has_no_active_inputs",
        "terminal_runtime_has_no_active_inputs",
    ),
    Broken(
        Sort.NO_GUARD,
        "the cap is not looked at",
        evolve(
            _inputs(_S.ROLLBACK_FAILED, _unguarded),
            commands={**COMMANDS, _C.RUN_FAILED: _without_rule(2)(COMMANDS[_C.RUN_FAILED])},
        ),
        "attempts_are_bounded",
        "attempts_are_bounded",
    ),
    Broken(
        Sort.NO_GUARD,
        "an open runs a committed boundary again",
        _settles_blindly,
        "receipt_is_accounted_for",
        "receipt_is_accounted_for",
    ),
    Broken(
        Sort.NEGATED_GUARD,
        "an input fails at the cap alone",
        _inputs(_S.ROLLBACK_FAILED, _negated),
        "tables_fit",
        "tables_fit",
    ),
    Broken(
        Sort.NEGATED_GUARD,
        "an input is applied by other runs alone",
        _inputs(_S.APPLY, _negated),
        "tables_fit",
        "tables_fit",
    ),
    Broken(
        Sort.NEGATED_GUARD,
        "a run begins where one is current",
        _runtimes(_V.BEGIN_RUN, _negated),
        "Temporal properties",
        "progress",
        is_fair=True,
    ),
    Broken(
        Sort.NEGATED_GUARD,
        "accept consumes what is to be run",
        _command(_C.ACCEPT, _negated_rule(0)),
        "consumed_has_a_receipt",
        "consumed_has_a_receipt",
    ),
    Broken(
        Sort.LOST_RULE,
        "an open forgets the cap",
        _command(_C.OPEN, _without_then),
        "attempts_are_bounded",
        "attempts_are_bounded",
    ),
    Broken(
        Sort.LOST_RULE,
        "stop leaves inputs behind",
        _command(_C.STOP, _without_rule(1)),
        "command_ends_in_its_state",
        "command_ends_in_its_state",
    ),
    Broken(
        Sort.LOST_RULE,
        "reset leaves inputs behind",
        _command(_C.RESET, _rules(lambda _: ())),
        "command_ends_in_its_state",
        "command_ends_in_its_state",
    ),
    Broken(
        Sort.LOST_RULE,
        "a completed run consumes nothing",
        _command(_C.RUN_COMPLETED, _without_rule(0)),
        "in_flight_belongs_to_current_run",
        "in_flight_belongs_to_current_run",
    ),
    Broken(
        Sort.LOST_RULE,
        "a failed run keeps what is staged",
        _command(_C.RUN_FAILED, _without_rule(3)),
        "in_flight_belongs_to_current_run",
        "in_flight_belongs_to_current_run",
    ),
    Broken(
        Sort.LOST_RULE,
        "a replacing input ends nothing",
        _command(_C.ACCEPT, _rules(lambda _: (), group=1)),
        "command_ends_in_its_state",
        "command_ends_in_its_state",
        REPLACING,
    ),
    Broken(
        Sort.RECOVERY,
        "an open settles no input",
        _command(_C.OPEN, _rules(lambda _: ())),
        "in_flight_belongs_to_current_run",
        "in_flight_belongs_to_current_run",
    ),
)
