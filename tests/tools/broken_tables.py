"""Tables that are broken in one place, and the property that has to notice: controls for TLC's checks of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve, frozen

from holdstate.spec import COMMANDS, INPUT_LIFECYCLE, RUNTIME_STATE, TRUE, CommandRow, Machine, Transition
from holdstate.spec.commands import InputGroup, Rule
from holdstate.spec.vocabulary import CommandName, InputEvent, InputState, RuntimeEvent, RuntimeState
from holdstate.tools.tla_tables import ModelTables
from holdstate.tools.tla_whole import CONFIGURATIONS, WholeConfiguration

Row = Transition[Any, Any]

_REPLACING = WholeConfiguration(about="Two inputs of one scope.", kinds=("replacing",), inputs=2)

_C, _I, _R, _S, _V = CommandName, InputState, RuntimeState, InputEvent, RuntimeEvent


@frozen
class Broken:
    """``tables`` without what is ``broken``; ``noticed_by`` are the properties of which one has to fail."""

    broken: str
    tables: ModelTables
    noticed_by: tuple[str, ...]
    bounds: WholeConfiguration = CONFIGURATIONS["whole_kinds"]


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


def _without_rule(number: int) -> Callable[[CommandRow], CommandRow]:
    def change(row: CommandRow) -> CommandRow:
        (group,) = row.inputs
        rules = tuple(rule for place, rule in enumerate(group.rules) if place != number)
        return evolve(row, inputs=(InputGroup(group.select, rules),))

    return change


def _without_then(row: CommandRow) -> CommandRow:
    (group,) = row.inputs
    rules = tuple(Rule(rule.states, rule.sends, rule.when) for rule in group.rules)
    return evolve(row, inputs=(InputGroup(group.select, rules),))


def _unset(name: str) -> Callable[[Row], Iterable[Row]]:
    return lambda row: _change(row, sets={key: value for key, value in row.sets if key != name})


def _to(target: Any) -> Callable[[Row], Iterable[Row]]:
    return lambda row: _change(row, target=target)


def _unguarded(row: Row) -> Iterable[Row]:
    return _change(row, guard=TRUE)


_settles_blindly = evolve(
    _inputs(_S.RECOVER_QUEUE, _unguarded), commands={**COMMANDS, _C.OPEN: _without_rule(2)(COMMANDS[_C.OPEN])}
)

BROKEN = (
    Broken(
        "no row abandons a queued input",
        _inputs(_S.ABANDON, lambda row: _change(row, source=(_I.STAGED,))),
        ("tables_fit",),
    ),
    Broken("rollback leads to consumed", _inputs(_S.ROLLBACK, _to(_I.CONSUMED)), ("outcome_matches_state",)),
    Broken(
        "mark_pending forgets the boundary",
        _inputs(_S.MARK_PENDING, _unset("last_boundary_sequence")),
        ("consumed_exactly",),
    ),
    Broken("stage forgets the run", _inputs(_S.STAGE, _unset("last_run_id")), ("in_flight_belongs_to_current_run",)),
    Broken(
        "supersede names no successor",
        _inputs(_S.SUPERSEDE, _unset("successor_id")),
        ("outcome_matches_state",),
        _REPLACING,
    ),
    Broken(
        "an exhausted input goes on",
        _inputs(_S.EXHAUST, _to(_I.QUEUED)),
        ("outcome_matches_state", "attempts_are_bounded"),
    ),
    Broken(
        "a failure is not counted",
        _inputs(_S.ROLLBACK_FAILED, _unset("failure_count")),
        ("Temporal properties",),
        CONFIGURATIONS["whole_liveness"],
    ),
    Broken("an open runs a committed boundary again", _settles_blindly, ("receipt_is_accounted_for",)),
    Broken("an open forgets the cap", _command(_C.OPEN, _without_then), ("attempts_are_bounded",)),
    Broken(
        "accept needs nothing",
        _command(_C.ACCEPT, lambda row: evolve(row, needs=TRUE)),
        ("terminal_runtime_has_no_active_inputs",),
    ),
    Broken("stop leaves inputs behind", _command(_C.STOP, _without_rule(1)), ("command_ends_in_its_state",)),
    Broken(
        "reset leaves inputs behind",
        _command(_C.RESET, lambda row: evolve(row, inputs=(InputGroup(row.inputs[0].select, ()),))),
        ("command_ends_in_its_state",),
    ),
    Broken(
        "a completed run consumes nothing",
        _command(_C.RUN_COMPLETED, _without_rule(0)),
        ("in_flight_belongs_to_current_run",),
    ),
    Broken(
        "a failed run keeps what is staged",
        _command(_C.RUN_FAILED, _without_rule(3)),
        ("in_flight_belongs_to_current_run",),
    ),
    Broken(
        "a run ends in idle wherever it began",
        _runtimes(_V.RUN_COMPLETED, _to(_R.IDLE)),
        ("retired_is_sticky", "run_end_returns_where_it_began"),
    ),
    Broken(
        "a run stays current after its end",
        _runtimes(_V.RUN_FAILED, _unset("current_run_id")),
        ("running_has_a_current_run",),
    ),
    Broken(
        "begin_run forgets where it began",
        _runtimes(_V.BEGIN_RUN, _unset("pre_run_state")),
        ("stored_state_is_resumable",),
    ),
    Broken("retire leads to idle", _runtimes(_V.RETIRE, _to(_R.IDLE)), ("command_ends_in_its_state",)),
    Broken(
        "destroy has no row for idle",
        _runtimes(_V.DESTROY, lambda row: _change(row, source=(_R.STOPPED,))),
        ("command_ends_in_its_state",),
    ),
    Broken(
        "a retired runtime recovers to idle",
        _runtimes(_V.RECOVERED, _to(_R.IDLE)),
        ("retired_is_sticky", "run_end_returns_where_it_began"),
    ),
)

_FENCING = CONFIGURATIONS["whole_fencing"]


@frozen
class Planted:
    """A bug in the hand-written part: ``text`` is replaced by ``by``, and one of ``noticed_by`` has to fail."""

    broken: str
    text: str
    by: str
    noticed_by: tuple[str, ...]
    bounds: WholeConfiguration = CONFIGURATIONS["whole_kinds"]


PLANTED = (
    Planted("a fenced driver commits", "IF holder # d\n", "IF FALSE\n", ("memory_equals_store",), _FENCING),
    Planted(
        "an answer goes out before its commit",
        'IF fate = "done" THEN acked',
        "IF TRUE THEN acked",
        ("acked_is_durable",),
    ),
    Planted(
        "memory moves on though the commit is lost",
        "With(IF landed THEN",
        "With(IF TRUE THEN",
        ("memory_equals_store",),
        _FENCING,
    ),
    Planted(
        "recovery does not look at receipts",
        "receipt.run_id = r.last_run_id /\\ n \\in Range(receipt.inputs)",
        "FALSE",
        ("receipt_is_accounted_for",),
    ),
    Planted(
        "ephemeral inputs are stored",
        "IsDurable(r) == ~Stamp(r).is_ephemeral",
        "IsDurable(r) == TRUE",
        ("consumed_has_a_receipt",),
    ),
)
