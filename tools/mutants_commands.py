"""Mutants of the command table: every row, runtime event, group, rule, input event and condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from attrs import evolve

from ..spec.commands import COMMANDS, CommandRow, InputGroup, Rule, Send
from ..spec.expressions import TRUE, Const, const
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.vocabulary import AbandonReason, CommandName, EventCode, InputEvent, InputState, RuntimeEvent, RuntimeState
from .mutation import Mutant, Part, Tables

T = TypeVar("T")
Change = tuple[str, T]


def command_mutants() -> Iterator[Mutant]:
    """All mutants of the command table, row by row."""
    for name, row in COMMANDS.items():
        yield Mutant(Part.COMMANDS, f"{name}: dropped", partial(_without, name))
        for change, changed in _row_changes(row):
            yield Mutant(Part.COMMANDS, f"{name}: {change}", partial(_with, changed))


def _without(name: CommandName) -> Tables:
    return Tables(commands={key: row for key, row in COMMANDS.items() if key is not name})


def _with(row: CommandRow) -> Tables:
    return Tables(commands={**COMMANDS, row.name: row})


def _row_changes(row: CommandRow) -> Iterator[Change[CommandRow]]:
    if row.needs != TRUE:
        yield "needs nothing", evolve(row, needs=TRUE)
        yield "needs the opposite", evolve(row, needs=~row.needs)
    for state in row.done_in:
        yield f"not done in {state}", evolve(row, done_in=tuple(each for each in row.done_in if each is not state))
    for state in RuntimeState:
        if row.done_in and state not in row.done_in:
            yield f"done in {state} too", evolve(row, done_in=(*row.done_in, state))
    for change, sends in _changes(row.sends, _other_runtime_events):
        yield f"runtime events: {change}", evolve(row, sends=sends)
    for change, groups in _changes(row.inputs, _group_changes):
        yield change, evolve(row, inputs=groups)
    yield from _commit_changes(row)


def _commit_changes(row: CommandRow) -> Iterator[Change[CommandRow]]:
    for part in sorted(row.commits):
        yield f"may not commit {part}", evolve(row, commits=row.commits - {part})
    if row.commits:
        yield "commits nothing", evolve(row, commits=frozenset())
    for code in row.announces:
        yield f"does not announce {code}", evolve(row, announces=tuple(x for x in row.announces if x is not code))
    if not row.announces:
        yield "announces run.completed", evolve(row, announces=(EventCode.RUN_COMPLETED,))


def _changes(parts: Sequence[T], of_one: Any) -> Iterator[Change[tuple[T, ...]]]:
    """Each part dropped and changed, and each pair of neighbours swapped."""
    for number, part in enumerate(parts):
        before, after = tuple(parts[:number]), tuple(parts[number + 1 :])
        name = _told(part, number)
        yield f"{name} dropped", (*before, *after)
        for change, changed in of_one(part):
            yield f"{name} {change}", (*before, changed, *after)
        if after and _may_meet(part, after[0]):
            yield f"{name} after the one that follows", (*before, after[0], part, *after[1:])


def _may_meet(part: object, other: object) -> bool:
    """Whether it may matter which comes first: of two rules for different states it does not."""
    return not (isinstance(part, Rule) and isinstance(other, Rule)) or bool(set(part.states) & set(other.states))


def _told(part: object, number: int) -> str:
    if isinstance(part, InputGroup):
        return f"[{part.select.name.lower()}]"
    if isinstance(part, Rule):
        return f"rule {number} ({', '.join(send.event for send in part.sends)})"
    return str(part.event) if isinstance(part, Send) else str(part)


def _other_runtime_events(event: RuntimeEvent) -> Iterator[Change[RuntimeEvent]]:
    events = list(RuntimeEvent)
    for step in (1, 5):
        other = events[(events.index(event) + step) % len(events)]
        yield f"is {other}", other


def _group_changes(group: InputGroup) -> Iterator[Change[InputGroup]]:
    for change, rules in _changes(group.rules, _rule_changes):
        yield change, evolve(group, rules=rules)


def _rule_changes(rule: Rule) -> Iterator[Change[Rule]]:
    for state in rule.states:
        yield f"not of {state}", evolve(rule, states=tuple(each for each in rule.states if each is not state))
    if rule.when != TRUE:
        yield "always", evolve(rule, when=TRUE)
        yield "when the opposite holds", evolve(rule, when=~rule.when)
    for change, sends in _changes(rule.sends, partial(_send_changes, rule.states)):
        yield f"sends: {change}", evolve(rule, sends=sends)
    for change, then in _changes(rule.then, _rule_changes):
        yield f"then {change}", evolve(rule, then=then)


def _send_changes(states: tuple[InputState, ...], send: Send) -> Iterator[Change[Send]]:
    taken = {row.event for row in INPUT_LIFECYCLE.transitions if set(row.source) & set(states)}
    for event in InputEvent:
        if event is not send.event and event in taken:
            yield f"is {event}", evolve(send, event=event)
    for name, value in send.given.items():
        yield f"without {name}", evolve(send, given={key: each for key, each in send.given.items() if key != name})
        for other in AbandonReason:
            if isinstance(value, Const) and isinstance(value.value, AbandonReason) and value.value is not other:
                yield f"with {name} {other}", evolve(send, given={**send.given, name: const(other)})
