"""The command table: well formed, total, and every row and rule of it taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

import pytest

from holdstate.runtime import admission, core
from holdstate.runtime import commands as c
from holdstate.runtime.records import InputRecord
from holdstate.runtime.stepper import Stepper
from holdstate.spec.commands import COMMANDS, CommandRow, Part, Rule, Selection
from holdstate.spec.expressions import TRUE
from holdstate.spec.input_lifecycle import INPUT_LIFECYCLE
from holdstate.spec.machine import Machine
from holdstate.spec.runtime_state import RUNTIME_STATE
from holdstate.spec.table import Step, TransitionTable
from holdstate.spec.vocabulary import CommandName, InputState

from ..runtime.scenarios import SCENARIOS

# What the core knows when it steps a command, besides the fields of the record that a rule looks at.
FACTS: Mapping[CommandName, set[str]] = {
    CommandName.ACCEPT: {"consumes_on_accept", "coalesces", "by", "into"},
    CommandName.OPEN: {"handed_out", "consumes_on_accept", "receipt_lists", "max_attempts"},
    CommandName.RECOVER: {"handed_out", "consumes_on_accept", "receipt_lists", "max_attempts"},
    CommandName.RECYCLE: {"handed_out", "consumes_on_accept", "receipt_lists", "max_attempts"},
    CommandName.BEGIN_RUN: {"run_id"},
    CommandName.STAGE_MORE: {"run_id"},
    CommandName.BOUNDARY_APPLIED: {"run_id", "sequence"},
    CommandName.RUN_COMPLETED: {"run_id"},
    CommandName.RUN_FAILED: {"run_id", "error", "recoverable", "alone", "max_attempts"},
    CommandName.RUN_CANCELLED: {"run_id"},
    CommandName.CONSUME_INPUTS: {"run_id"},
    CommandName.ABANDON_PENDING: {"reason", "error"},
}
RUNTIME_FIELDS = {"state", *(field.name for field in RUNTIME_STATE.fields)}
INPUT_FIELDS = {field.name for field in INPUT_LIFECYCLE.fields}

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

RuleKey = tuple[CommandName, Selection, tuple[int, ...]]


def walk(row: CommandRow) -> Iterator[tuple[RuleKey, Rule]]:
    """Every rule of a row, with the rules that are tried on its result."""

    def below(rules: tuple[Rule, ...], path: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Rule]]:
        for number, rule in enumerate(rules):
            yield (*path, number), rule
            yield from below(rule.then, (*path, number))

    for group in row.inputs:
        for path, rule in below(group.rules, ()):
            yield (row.name, group.select, path), rule


ALL_RULES = {key: rule for row in COMMANDS.values() for key, rule in walk(row)}


# -- well formed ---------------------------------------------------------------------------------------------------


def test_every_command_has_a_row() -> None:
    """The table is total over the names of commands, and each row says which it is."""
    assert set(COMMANDS) == set(CommandName)
    assert all(row.name is name and row.doc for name, row in COMMANDS.items())


@pytest.mark.parametrize("name", CommandName)
def test_a_row_speaks_of_what_its_events_declare(name: CommandName) -> None:
    """Each event gets every parameter it declares, from the row or from the command, and nothing that it does not."""
    row, facts = COMMANDS[name], FACTS.get(name, set())
    assert row.needs.names().fields <= RUNTIME_FIELDS
    assert row.needs.names().params <= facts
    for event in row.sends:
        assert {param.name for param in RUNTIME_STATE.events[event]} <= facts
    for _, rule in walk(row):
        assert rule.when.names().fields <= INPUT_FIELDS
        assert rule.when.names().params <= facts
        for send in rule.sends:
            declared = INPUT_LIFECYCLE.events[send.event]
            assert set(send.given) <= {param.name for param in declared}
            assert all(value.names().params <= facts for value in send.given.values())
            needed = {param.name for param in declared if not param.optional}
            assert needed <= facts | set(send.given), (name, send.event)


def test_a_rule_sends_only_what_machine_1_takes() -> None:
    """From each state of a rule there is a row for its first event, and for each later one from where that led."""
    matrix = INPUT_LIFECYCLE.matrix()
    for key, rule in ALL_RULES.items():
        for state in rule.states:
            states = {state}
            for send in rule.sends:
                rows = [row for each in states for row in matrix[each, send.event]]
                assert rows, (key, state, send.event)
                states = {row.target for row in rows}
            for then in rule.then:
                assert states <= set(then.states) | INPUT_LIFECYCLE.terminal, (key, state)


def test_rules_of_a_group_leave_nothing_to_chance() -> None:
    """Of the rules for one state, every one but the last has a condition, so that none is out of reach."""
    for row in COMMANDS.values():
        for group in row.inputs:
            for state in InputState:
                rules = [rule for rule in group.rules if state in rule.states]
                assert all(rule.when != TRUE for rule in rules[:-1]), (row.name, group.select, state)


def test_a_volatile_command_commits_nothing() -> None:
    """Attach and detach are kept in memory only; every other command writes the runtime record with what it changes."""
    volatile = {name for name, row in COMMANDS.items() if not row.commits}
    assert volatile == {CommandName.ATTACH, CommandName.DETACH}
    assert all(Part.RUNTIME in row.commits for row in COMMANDS.values() if row.commits)


def sources(machine: Machine[S, E]) -> set[tuple[str, int, str]]:
    """Machine, row and source state of every row."""
    rows = enumerate(machine.transitions)
    return {(machine.name, number, str(state)) for number, row in rows for state in row.source}


# -- taken ---------------------------------------------------------------------------------------------------------


class Taken:
    """What was taken of the tables while it was watching."""

    def __init__(self) -> None:
        self.rules: dict[RuleKey, int] = {}
        self.rows: dict[tuple[str, int, str], int] = {}
        self.facts: dict[CommandName, set[str]] = {}

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Counts the rows and rules that are taken from now on."""
        keys = {(key[0], id(rule)): key for key, rule in ALL_RULES.items()}
        step, send_rules = TransitionTable.step, Stepper.send_rules

        def counted_step(table: TransitionTable[Any, Any], state: Any, *args: Any, **kwargs: Any) -> Step[Any]:
            taken = step(table, state, *args, **kwargs)
            key = (table.machine.name, taken.row, str(state))
            self.rows[key] = self.rows.get(key, 0) + 1
            return taken

        def counted_rules(stepper: Stepper, record: InputRecord, rules: tuple[Rule, ...], facts: Any) -> None:
            fields = {"failure_count": record.failure_count}
            fitting = (r for r in rules if record.state in r.states and r.when.evaluate(fields, facts))
            rule = next(fitting, None)
            if rule is not None:
                key = keys[stepper.row.name, id(rule)]
                self.rules[key] = self.rules.get(key, 0) + 1
                self.facts.setdefault(stepper.row.name, set()).update(facts)
            send_rules(stepper, record, rules, facts)

        monkeypatch.setattr(TransitionTable, "step", counted_step)
        monkeypatch.setattr(Stepper, "send_rules", counted_rules)
        monkeypatch.setattr(admission, "_courses", {})  # what is known of new inputs is asked again


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    """Each scenario of the core holds, on its own."""
    SCENARIOS[scenario]()


def test_every_rule_and_row_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """All scenarios together take every rule of every command, and every machine row from every source state (C49)."""
    taken = Taken()
    taken.watch(monkeypatch)
    for scenario in SCENARIOS.values():
        scenario()
    rows = sources(INPUT_LIFECYCLE) | sources(RUNTIME_STATE)
    print(f"rules taken: {len(taken.rules)} of {len(ALL_RULES)}; machine rows: {len(taken.rows)} of {len(rows)}")
    assert set(taken.rules) == set(ALL_RULES)
    assert set(taken.rows) == rows
    for name, facts in taken.facts.items():
        assert FACTS.get(name, set()) <= facts, name


def test_every_command_is_stepped_by_a_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands without inputs of their own are taken too."""
    stepped: set[CommandName] = set()
    real: Callable[..., Any] = core.step

    def counted(image: Any, command: c.Command, settings: Any) -> Any:
        delta = real(image, command, settings)
        stepped.add(command.name)
        return delta

    monkeypatch.setattr(core, "step", counted)
    for scenario in SCENARIOS.values():
        scenario()
    print(f"commands stepped: {len(stepped)} of {len(CommandName)}")
    assert stepped == set(CommandName)


def test_the_table_cannot_be_written_to() -> None:
    """COMMANDS is read-only."""
    assert isinstance(COMMANDS, MappingProxyType)
