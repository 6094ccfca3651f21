"""What is well formed in a machine and still wrong.

Guards are decided by trying values. Each name gets a small domain, made from its type and the constants in question:
all members for bools and enums; the constants and one fresh value per name for ids and texts, which are only compared
for equality; for ints a window around each constant, wide enough for every order of the names, ``+ 1`` included; None
for what is optional. So the answer is exact, unless there are more than ``limit`` cases: then a finding says
``undecided``. Each (state, event) is looked at by itself: what is known of the fields in a state does not enter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum, StrEnum
from itertools import combinations, count, islice, product
from math import prod
from typing import TYPE_CHECKING, TypeVar, final
from uuid import UUID

from attrs import frozen

from .expressions import Const, Expression, FieldRef, ParamRef, PlusOne, Value, value_text

if TYPE_CHECKING:
    from .machine import Field, Machine, Param, Transition

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

CASE_LIMIT = 50_000
"""Cases tried per (state, event) before lint gives up: about a second."""


@final
class FindingCode(StrEnum):
    """What is wrong with a machine."""

    UNREACHABLE_STATE = "unreachable_state"
    TRAPPED_STATE = "trapped_state"
    OVERLAPPING_GUARDS = "overlapping_guards"
    DEAD_ROW = "dead_row"
    UNDEFINED_VALUE = "undefined_value"
    UNDECLARED_EXIT = "undeclared_exit"
    UNUSED_EXIT = "unused_exit"
    UNUSED_FIELD = "unused_field"
    UNUSED_PARAM = "unused_param"
    UNUSED_EVENT = "unused_event"
    UNUSED_EFFECT = "unused_effect"
    UNDECIDED = "undecided"


@final
@frozen
class Finding:
    """``place`` is where to look in ``machine``; ``message`` says what is wrong."""

    code: FindingCode
    machine: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.machine}: {self.place}: {self.message} [{self.code}]"


_Finding = tuple[FindingCode, str, str]


@final
@frozen
class _Case:
    """One assignment of values to names."""

    fields: dict[str, Value]
    params: dict[str, Value]

    def __str__(self) -> str:
        named = (*self.fields.items(), *self.params.items())
        return ", ".join(f"{name} = {value_text(value)}" for name, value in named) or "always"


def lint_machine(machine: Machine[S, E], limit: int = CASE_LIMIT) -> tuple[Finding, ...]:
    """The findings of a machine; ``Machine.lint`` calls this with the default limit."""
    dead: set[int] = set()
    parts = (
        *_row_findings(machine, limit, dead),
        *_reachability(machine, dead),
        *_cell_findings(machine, limit, dead),
        *_exit_findings(machine),
        *_unused(machine),
    )
    return tuple(Finding(code, machine.name, place, message) for code, place, message in parts)


def _row_findings(machine: Machine[S, E], limit: int, dead: set[int]) -> Iterator[_Finding]:
    """Guards that never hold (noted in ``dead``), and values that None spoils."""
    for number, row in enumerate(machine.transitions):
        place = machine.place(number)
        cases = _cases(machine, row.event, (row.guard,), limit)
        if cases is None:
            yield FindingCode.UNDECIDED, place, f"more than {limit} cases for {row.guard.text()}; split the row"
            continue
        outcomes = [(case, _value(row.guard, case)) for case in cases]
        if not any(holds for _, holds in outcomes):
            dead.add(number)
            yield FindingCode.DEAD_ROW, place, f"the guard {row.guard.text()} never holds"
        undefined = next((case for case, holds in outcomes if holds is None), None)
        if undefined is not None:
            yield FindingCode.UNDEFINED_VALUE, place, f"the guard {row.guard.text()} has no value when {undefined}"
        for name, value in row.sets:
            yield from _assignment(machine, number, name, value, limit)


def _assignment(machine: Machine[S, E], number: int, name: str, value: Expression, limit: int) -> Iterator[_Finding]:
    row, place = machine.transitions[number], machine.place(number)
    required = any(each.name == name and not each.optional for each in machine.fields)
    cases = _cases(machine, row.event, (row.guard, value), limit)
    if cases is None:
        yield FindingCode.UNDECIDED, place, f"more than {limit} cases for {name} = {value.text()}; split the row"
        return
    for case in cases:
        if _value(row.guard, case) and _value(value, case) is None and (required or _is_undefined(value, case)):
            yield FindingCode.UNDEFINED_VALUE, place, f"{name} = {value.text()} has no value when {case}"
            return


def _reachability(machine: Machine[S, E], dead: set[int]) -> Iterator[_Finding]:
    """States that no rows lead to or out of, guards aside. Rows that start only in such states are dead."""
    rows = [row for number, row in enumerate(machine.transitions) if number not in dead]
    edges = {(state, row.target) for row in rows for state in row.source}
    reached = _closure({machine.initial}, edges)
    for state in machine.states:
        if state not in reached:
            yield FindingCode.UNREACHABLE_STATE, f"state {state}", f"no rows lead here from {machine.initial}"
    for number, row in enumerate(machine.transitions):
        if number not in dead and reached.isdisjoint(row.source):
            dead.add(number)
            yield FindingCode.DEAD_ROW, machine.place(number), "none of its source states can be reached"
    if machine.terminal:
        ending = _closure(set(machine.terminal), {(target, state) for state, target in edges})
        for state in machine.states:
            if state not in ending:
                yield FindingCode.TRAPPED_STATE, f"state {state}", "no rows lead from here to a terminal state"


def _cell_findings(machine: Machine[S, E], limit: int, dead: set[int]) -> Iterator[_Finding]:
    """Rows of one (state, event) that hold at once, and rows that an earlier one always precedes."""
    for state, event in product(machine.states, machine.events):
        rows = {
            number: row
            for number, row in enumerate(machine.transitions)
            if row.event == event and state in row.source and number not in dead
        }
        if len(rows) <= 1:
            continue
        cases = _cases(machine, event, [row.guard for row in rows.values()], limit)
        if cases is None:
            message = f"more than {limit} cases for {len(rows)} guards; compare fewer names"
            yield FindingCode.UNDECIDED, f"{state} --{event}", message
            continue
        overlaps: dict[tuple[int, ...], _Case] = {}
        first: set[int] = set()
        for case in cases:
            holding = [number for number, row in rows.items() if _value(row.guard, case)]
            first.update(holding[:1])
            for pair in combinations(holding, 2):
                overlaps.setdefault(pair, case)
        for (one, other), case in overlaps.items():
            message = f"transitions[{one}] and transitions[{other}] both hold, for instance: {case}"
            yield FindingCode.OVERLAPPING_GUARDS, f"{state} --{event}", message
        for number in rows.keys() - first:
            yield FindingCode.DEAD_ROW, machine.place(number), f"in {state} an earlier row holds whenever it does"


def _exit_findings(machine: Machine[S, E]) -> Iterator[_Finding]:
    for (state, event), rows in machine.matrix().items():
        if state in machine.terminal and rows and (state, event) not in machine.terminal_exits:
            message = f"terminal, yet {event} leaves it; declare the pair in terminal_exits"
            yield FindingCode.UNDECLARED_EXIT, f"state {state}", message
        if (state, event) in machine.terminal_exits and not rows:
            yield FindingCode.UNUSED_EXIT, f"state {state}", f"terminal_exits declares {event}, which has no row here"


def _unused(machine: Machine[S, E]) -> Iterator[_Finding]:
    rows = machine.transitions
    read = [(row.event, names) for row in rows for names in (each.names() for each in _expressions(row))]
    fields = {name for _, names in read for name in names.fields} | {name for row in rows for name, _ in row.sets}
    for declared in machine.fields:
        if declared.name not in fields:
            yield FindingCode.UNUSED_FIELD, f"field {declared.name}", "no row reads or sets it"
    for event, params in machine.events.items():
        if all(row.event != event for row in rows):
            yield FindingCode.UNUSED_EVENT, f"event {event}", "it has no row"
            continue
        used = {name for taken, names in read if taken == event for name in names.params}
        for param in params:
            if param.name not in used:
                yield FindingCode.UNUSED_PARAM, f"event {event}", f"no row reads its parameter {param.name}"
    emitted = {effect for row in rows for effect in row.emits}
    for effect in machine.effects or ():
        if effect not in emitted:
            yield FindingCode.UNUSED_EFFECT, f"effect {effect}", "no row emits it"


# -- small helpers, and the domains --------------------------------------------------------------------------------


def _expressions(row: Transition[S, E]) -> tuple[Expression, ...]:
    return (row.guard, *(value for _, value in row.sets))


def _closure(start: set[S], edges: Iterable[tuple[S, S]]) -> set[S]:
    reached, grown = set(start), True
    while grown:
        more = {target for source, target in edges if source in reached} - reached
        reached |= more
        grown = bool(more)
    return reached


def _value(expression: Expression, case: _Case) -> object:
    """The value, or None where it is undefined."""
    return None if _is_undefined(expression, case) else expression.evaluate(case.fields, case.params)


def _is_undefined(expression: Expression, case: _Case) -> bool:
    try:
        expression.evaluate(case.fields, case.params)
    except TypeError:
        return True
    return False


def _cases(machine: Machine[S, E], event: E, expressions: Iterable[Expression], limit: int) -> list[_Case] | None:
    """Every assignment that the expressions can tell apart, or None when there are more than ``limit``."""
    nodes = [node for expression in expressions for node in expression.walk()]
    fields = [each for each in machine.fields if FieldRef(each.name) in nodes]
    params = [each for each in machine.events[event] if ParamRef(each.name) in nodes]
    names: list[Field | Param] = [*fields, *params]
    constants = [node.value for node in nodes if isinstance(node, Const)]
    reach = 1 + max((len(tuple(node.walk())) - 1 for node in nodes if isinstance(node, PlusOne)), default=0)
    domains: list[list[Value]] = []
    for each in names:
        fresh = sum(other.type is each.type for other in names)
        values = _domain(each.type, [value for value in constants if type(value) is each.type], fresh, reach)
        domains.append([*values, None] if each.optional else values)
    if prod(len(domain) for domain in domains) > limit:
        return None
    return [
        _Case(
            {each.name: value for each, value in zip(fields, values, strict=False)},
            {each.name: value for each, value in zip(params, values[len(fields) :], strict=True)},
        )
        for values in product(*domains)
    ]


def _domain(kind: type, constants: list[Value], fresh: int, reach: int) -> list[Value]:
    if kind is bool:
        return [False, True]
    if issubclass(kind, Enum):
        return list(kind)
    if kind is int:
        around = {value for value in constants if isinstance(value, int)} or {0}
        radius = fresh * reach
        return [*sorted({value + step for value in around for step in range(-radius, radius + 1)})]
    numbered: Iterator[Value] = (UUID(int=number) if kind is UUID else f"text {number}" for number in count(1))
    new = (value for value in numbered if value not in constants)
    return [*dict.fromkeys(constants), *islice(new, fresh)]
