"""The tables as one TLA+ module of plain operators. The hand-written model of the whole, ``whole.tla``, stands on it.

Each machine becomes one operator per event, from a record to a record or to ``Refused``; each row of the command table
what it needs, what it sends to the runtime, and what each selected input gets; the policy a record per kind of input.
The kinds are those that the explorer sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar, final

from attrs import field, frozen

from ..spec.commands import COMMANDS, CommandRow, InputGroup, Rule
from ..spec.expressions import TRUE, Expression
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.policy import Policy
from ..spec.runtime_state import RUNTIME_STATE
from ..spec.tla import camel, tla_expression, tla_set, tla_value
from ..spec.vocabulary import CommandName, Durability, InputKind, QueueMode, RoutingDisposition
from .explorer_kinds import KINDS, explored_policy

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

WIDTH: Final = 120
MODULE: Final = "tables"

_INPUT_STAMPS: Final = {"kind": "None", "key": "None"}
_RUNTIME_STAMPS: Final = {"contributors": "<<>>", "boundary_count": "0", "shared_run": "FALSE", "next_order": "1"}


@final
@frozen(kw_only=True, eq=False)
class ModelTables:
    """The tables that a model is made of. Give others to see what the checks notice."""

    inputs: Machine[Any, Any] = INPUT_LIFECYCLE
    runtimes: Machine[Any, Any] = RUNTIME_STATE
    commands: Mapping[CommandName, CommandRow] = COMMANDS
    policy: Policy = field(factory=explored_policy)


def tables_module(tables: ModelTables | None = None) -> str:
    """The text of ``tables.tla``."""
    tables = ModelTables() if tables is None else tables
    facts = _facts(tables)
    return "\n".join(
        (
            f" MODULE {MODULE} ".center(WIDTH, "-"),
            "(* The tables of holdstate as operators: the machines of spec/input_lifecycle.py and",
            "   spec/runtime_state.py, the command table of spec/commands.py, and the policy of spec/policy.py.",
            "   Generated from them; edit those, not this.",
            "",
            "   r, rt   the record of an input, of a runtime        p   the facts of the command (see NoFacts)",
            "   X(r, p) what the event X makes of the record; Refused where the machine has no row for it",
            "*)",
            "EXTENDS Integers",
            "",
            "CONSTANTS",
            "    None,   \\* no value",
            "    Refused \\* what a machine answers where it has no row",
            "",
            "NoFacts ==",
            *_record(dict.fromkeys(facts, "None")),
            "",
            *_banner("The policy: what is stamped on an input of each kind when it is admitted"),
            *_kinds(tables),
            "",
            *_machine(tables.inputs, "Input", _INPUT_STAMPS),
            *_machine(tables.runtimes, "Runtime", _RUNTIME_STAMPS),
            *_banner("The command table"),
            *(line for row in tables.commands.values() for line in _command(row)),
            "=" * WIDTH,
            "",
        )
    )


def _banner(text: str) -> Iterator[str]:
    yield "-" * WIDTH
    yield f"\\* {text}."
    yield ""


def _record(values: Mapping[str, str]) -> Iterator[str]:
    pairs = [f"{name} |-> {value}" for name, value in values.items()]
    line = "    ["
    for number, pair in enumerate(pairs):
        end = "]" if number == len(pairs) - 1 else ", "
        if len(line) + len(pair) + 1 > WIDTH:
            yield line.rstrip()
            line = "     "
        line += pair + end
    yield line


def _facts(tables: ModelTables) -> tuple[str, ...]:
    """Every parameter of the machines and every fact of the command table."""
    named = [
        param.name
        for machine in (tables.inputs, tables.runtimes)
        for params in machine.events.values()
        for param in params
    ]
    for row in tables.commands.values():
        conditions = [row.needs, *(rule.when for group in row.inputs for rule in _all_rules(group.rules))]
        named += [name for each in conditions for name in sorted(each.names().params)]
    return tuple(dict.fromkeys(named))


def _all_rules(rules: Sequence[Rule]) -> Iterator[Rule]:
    for rule in rules:
        yield rule
        yield from _all_rules(rule.then)


def _kinds(tables: ModelTables) -> Iterator[str]:
    yield f"AllKinds == {tla_set(KINDS)}"
    yield ""
    yield "Kind(name) =="
    for number, (name, make) in enumerate(KINDS.items()):
        given = make(1)
        decision = tables.policy.resolve(given.kind, given.stated_handling_mode, idle=True)
        has_scope = given.header.supersession_key is not None
        stamped = {
            "lane": "steer" if decision.route is RoutingDisposition.STEER else "queue",
            "is_prompt": given.kind is InputKind.PROMPT,
            "is_first": decision.queue_mode is QueueMode.PRIORITY,
            "replaces": has_scope and decision.queue_mode in {QueueMode.COALESCE, QueueMode.SUPERSEDE},
            "coalesces": decision.queue_mode is QueueMode.COALESCE,
            "consumes_on_accept": decision.consumes_on_accept,
            "has_key": given.header.idempotency_key is not None,
            "is_ephemeral": given.header.durability is Durability.EPHEMERAL,
        }
        yield f"    {'CASE' if number == 0 else '  []'} name = {tla_value(name)} ->"
        yield from (f"        {line}" for line in _record({key: tla_value(value) for key, value in stamped.items()}))


# -- machines ------------------------------------------------------------------------------------------------------


def _machine(machine: Machine[S, E], prefix: str, stamps: Mapping[str, str]) -> Iterator[str]:
    yield from _banner(f"The machine {machine.name}: {machine.doc.rstrip('.')}")
    initial = {"state": tla_value(machine.initial)}
    initial |= {each.name: tla_value(each.default) for each in machine.fields}
    yield f"{prefix}Initial == \\* with what the record holds besides the fields of the machine: {', '.join(stamps)}"
    yield from _record({**initial, **stamps})
    yield f"{prefix}Terminal == {tla_set(state for state in machine.states if state in machine.terminal)}"
    yield ""
    for event in machine.events:
        yield f"{prefix}{camel(event)}(r, p) =="
        yield "    IF r = Refused THEN Refused"
        for row in machine.transitions:
            if row.event != event:
                continue
            condition = _is_in("r.state", row.source)
            if row.guard != TRUE:
                condition = f"{condition} /\\ {_text(row.guard, 'r', inside_and=True)}"
            sets = {"state": tla_value(row.target)}
            sets |= {name: _text(value, "r") for name, value in row.sets}
            yield f"    ELSE IF {condition} THEN \\* {row.doc or row.target}"
            yield f"        [r EXCEPT {', '.join(f'!.{name} = {value}' for name, value in sets.items())}]"
        yield "    ELSE Refused"
        yield ""


def _text(expression: Expression, record: str, *, inside_and: bool = False) -> str:
    names = expression.names()
    fields = {name: f"{record}.{name}" for name in names.fields}
    text = tla_expression(expression, fields, {name: f"p.{name}" for name in names.params})
    return f"({text})" if inside_and and expression.binding == 1 else text


def _is_in(what: str, states: Sequence[StrEnum]) -> str:
    return f"{what} = {tla_value(states[0])}" if len(states) == 1 else f"{what} \\in {tla_set(states)}"


# -- commands ------------------------------------------------------------------------------------------------------


def _command(row: CommandRow) -> Iterator[str]:
    name = camel(row.name)
    yield f"\\* {row.name}: {row.doc}"
    yield f"{name}Needs(rt, p) == {_text(row.needs, 'rt')}"
    yield f"{name}DoneIn == {tla_set(row.done_in)}"
    yield f"{name}Commits == {tla_value(bool(row.commits))}"
    sent = "rt"
    for event in row.sends:
        sent = f"Runtime{camel(event)}({sent}, p)"
    yield f"{name}Runtime(rt, p) == {sent}"
    for group in row.inputs:
        yield from _group(name, group)
    yield ""


def _group(name: str, group: InputGroup) -> Iterator[str]:
    yield f"{name}{camel(group.select.name.lower())}(r, p) == \\* for {group.select.value}"
    yield from _rules(group.rules, "r", 1)


def _rules(rules: Sequence[Rule], record: str, depth: int) -> Iterator[str]:
    indent = "    " * depth
    for number, rule in enumerate(rules):
        condition = _is_in(f"{record}.state", rule.states)
        if rule.when != TRUE:
            condition = f"{condition} /\\ {_text(rule.when, record, inside_and=True)}"
        yield f"{indent}{'ELSE ' if number else ''}IF {condition} THEN"
        sent = record
        for send in rule.sends:
            given = ", ".join(f"!.{key} = {_text(value, 'p')}" for key, value in send.given.items())
            sent = f"Input{camel(send.event)}({sent}, {f'[p EXCEPT {given}]' if given else 'p'})"
        if rule.then:
            after = f"after{depth}"
            yield f"{indent}    LET {after} == {sent} IN"
            yield f"{indent}    IF {after} = Refused THEN Refused ELSE"
            yield from _rules(rule.then, after, depth + 1)
        else:
            yield f"{indent}    {sent}"
    yield f"{indent}{'ELSE ' if rules else ''}{record}"
