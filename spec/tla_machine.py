"""A machine as a TLA+ module and its configuration: one action per event, one disjunct per row.

What a table leaves open is bounded by constants: which ids and texts there are, and which ints parameters may have.
Fields that count up are followed as far as ``MaxInt``: TLC checks the states beyond it, and neither counts nor expands
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, StrEnum
from textwrap import wrap
from typing import Final, TypeVar, final
from uuid import UUID

from attrs import frozen

from .expressions import TRUE, Const, Expression, PlusOne, Value
from .lint import FindingCode
from .machine import Field, Machine, Param, Transition
from .tla import TlaNames, names_of, tla_expression, tla_set, tla_value

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

WIDTH: Final = 100
_UNSURE: Final = frozenset({FindingCode.OVERLAPPING_GUARDS, FindingCode.UNDECIDED})


@final
@frozen(kw_only=True)
class TlaBounds:
    """The domains of what a table leaves open: ``ids`` and ``texts`` are how many, besides those that rows name."""

    ids: int = 2
    texts: int = 1
    lowest: int = 0
    highest: int = 2


@final
@frozen
class TlaModule:
    """One module and its configuration, as the text of ``name.tla`` and ``name.cfg``."""

    name: str
    module: str
    config: str

    def files(self) -> dict[str, str]:
        """Both by the name of their file."""
        return {f"{self.name}.tla": self.module, f"{self.name}.cfg": self.config}


def domain_of(declared: Field | Param, machine: Machine[S, E], bounds: TlaBounds) -> tuple[object, ...]:
    """The values that stand for all values of a field or a parameter. Ids that no row names are texts."""
    values: tuple[object, ...]
    if declared.type is UUID:
        values = (*(f"id{number + 1}" for number in range(bounds.ids)), *_constants(machine, UUID))
    elif declared.type is str:
        values = (*(f"text{number + 1}" for number in range(bounds.texts)), *_constants(machine, str))
    elif declared.type is bool:
        values = (False, True)
    elif declared.type is int:
        values = tuple(range(bounds.lowest, bounds.highest + 1))
    else:
        values = _members(declared.type)
    return (*values, None) if declared.optional else values


def machine_module(machine: Machine[S, E], bounds: TlaBounds | None = None) -> TlaModule:
    """The module of a machine: its rows as actions, what has to hold of any machine, and the bounds."""
    bounds = TlaBounds() if bounds is None else bounds
    names = names_of(machine)
    text = "\n".join(
        (
            _title(names.module),
            *_comment(machine),
            "EXTENDS Integers",
            "",
            *_constants_of(machine),
            "",
            *_sets(machine, names),
            "",
            *_variables(machine, names),
            "",
            *_init(machine, names),
            "",
            *(line for event in machine.events for line in (*_event(machine, names, event), "")),
            *_next(machine, names),
            "",
            "Spec == Init /\\ [][Next]_vars",
            "",
            *_checks(machine, names),
            "=" * WIDTH,
            "",
        )
    )
    return TlaModule(names.module, text, _config(machine, bounds))


def steps_module(machine: Machine[S, E], bounds: TlaBounds | None = None) -> TlaModule:
    """A module on top of that of the machine: every single step from anywhere, with the event and its parameters.

    ``Anywhere`` is every state with every value of the fields that rows read; ``step`` is empty there, and a step from
    there leaves the event and its parameters in it. So the graph of this module is the function of the compiled table.
    """
    bounds = TlaBounds() if bounds is None else bounds
    names = names_of(machine)
    read = read_fields(machine)
    anywhere = ["    /\\ state \\in States"]
    for each in machine.fields:
        name = names.fields[each.name]
        value = f"\\in {_domain(each, machine, names)}" if each in read else f"= {tla_value(each.default)}"
        anywhere.append(f"    /\\ {name} {value}")
    steps = []
    for event, params in machine.events.items():
        given = [names.params[param.name] for param in params]
        label = ", ".join((tla_value(event), *given))
        also = f"step' = <<{label}>>"
        steps.append(f"    \\/ {_quantified(machine, names, event, also)}")
    text = "\n".join(
        (
            _title(f"{names.module}_steps"),
            "(* Every single step of the machine, from anywhere. Generated from its table. *)",
            f"EXTENDS {names.module}",
            "",
            "VARIABLE step",
            "",
            "Anywhere ==",
            *anywhere,
            "",
            "Take ==",
            *steps,
            "",
            "StepInit == Anywhere /\\ step = <<>>",
            "StepNext == step = <<>> /\\ Take",
            "=" * WIDTH,
            "",
        )
    )
    config = "\n".join(("INIT StepInit", "NEXT StepNext", *_constant_values(machine, bounds), ""))
    return TlaModule(f"{names.module}_steps", text, config)


def read_fields(machine: Machine[S, E]) -> tuple[Field, ...]:
    """The fields that some guard or assignment reads."""
    read = {name for row in machine.transitions for each in _expressions(row) for name in each.names().fields}
    return tuple(each for each in machine.fields if each.name in read)


def counting_fields(machine: Machine[S, E]) -> tuple[Field, ...]:
    """The fields that a row sets to one more than something, so that only a bound keeps them finite."""
    grown = {
        name
        for row in machine.transitions
        for name, value in row.sets
        if any(isinstance(node, PlusOne) for node in value.walk())
    }
    return tuple(each for each in machine.fields if each.name in grown)


# -- the parts of a module -----------------------------------------------------------------------------------------


def _title(name: str) -> str:
    return f" MODULE {name} ".center(WIDTH, "-")


def _comment(machine: Machine[S, E]) -> Iterator[str]:
    lines = [
        *wrap(machine.doc or f"The machine {machine.name}.", WIDTH - 3),
        "",
        "Generated from the table of the machine; edit that, not this.",
    ]
    lines += ["One action for each event, one disjunct for each row."]
    yield f"(* {lines[0]}"
    yield from (f"   {line}".rstrip() for line in lines[1:])
    yield "*)"


def _constants_of(machine: Machine[S, E]) -> Iterator[str]:
    used = _types(machine)
    lines = ["None,   \\* no value"]
    if UUID in used:
        lines.append("Ids,    \\* the ids that fields and parameters may have")
    if str in used:
        lines.append("Texts,  \\* the texts that they may have")
    lines += ["MinInt, \\* the least int of a parameter", "MaxInt  \\* the greatest, and how far counting is followed"]
    if int not in used:
        lines = [*lines[:-2]]
        lines[-1] = lines[-1].replace(",", " ", 1)
    yield "CONSTANTS"
    yield from (f"    {line}" for line in lines)


def _sets(machine: Machine[S, E], names: TlaNames) -> Iterator[str]:
    final = [state for state in machine.states if _is_final(machine, state)]
    yield from _wrapped("States == ", tla_set(machine.states))
    yield f"Terminal == {tla_set(state for state in machine.states if state in machine.terminal)}"
    yield f"Final == {tla_set(final)} \\* terminal, and no exit is declared"
    for kind, name in names.enums.items():
        if kind is not machine.states:
            yield from _wrapped(f"{name} == ", tla_set(_members(kind)))
    if int in _types(machine):
        yield "Ints == MinInt..MaxInt"


def _variables(machine: Machine[S, E], names: TlaNames) -> Iterator[str]:
    variables = _all_variables(machine, names)
    yield from _wrapped("VARIABLES ", ", ".join(variables))
    yield from _wrapped("vars == ", f"<<{', '.join(variables)}>>")


def _init(machine: Machine[S, E], names: TlaNames) -> Iterator[str]:
    yield "TypeOK =="
    yield "    /\\ state \\in States"
    for each in machine.fields:
        domain = _domain(each, machine, names).replace("Ints", "Int")
        yield f"    /\\ {names.fields[each.name]} \\in {domain}"
    yield ""
    yield "Init =="
    yield f"    /\\ state = {tla_value(machine.initial)}"
    for each in machine.fields:
        yield f"    /\\ {names.fields[each.name]} = {tla_value(each.default)}"


def _event(machine: Machine[S, E], names: TlaNames, event: E) -> Iterator[str]:
    rows = [row for row in machine.transitions if row.event == event]
    params = ", ".join(names.params[param.name] for param in machine.events[event])
    yield f"{names.events[event]}{f'({params})' if params else ''} =="
    if not rows:
        yield "    FALSE \\* it has no row"
    unsure = _is_unsure(machine, event)
    for number, row in enumerate(rows):
        earlier = [each for each in rows[:number] if set(each.source) & set(row.source)] if unsure else []
        yield from _row(machine, names, row, earlier, is_only=len(rows) == 1)


def _row(
    machine: Machine[S, E], names: TlaNames, row: Transition[S, E], earlier: list[Transition[S, E]], *, is_only: bool
) -> Iterator[str]:
    said = [part for part in (row.doc, f"emits {', '.join(row.emits)}" if row.emits else "") if part]
    comment = f"\\* {'; '.join(said)}" if said else ""
    indent = "    " if is_only else "       "
    if comment:
        yield f"{indent}{comment}" if is_only else f"    \\/ {comment}"
    bullet = "    \\/ " if not (is_only or comment) else indent
    yield f"{bullet}/\\ {_is_source(row)}"
    if row.guard != TRUE:
        yield f"{indent}/\\ {_text(row.guard, names, conjunct=True)}"
    for other in earlier:
        yield f"{indent}/\\ ~({_is_source(other)} /\\ {_text(other.guard, names, conjunct=True)}) \\* an earlier row"
    sets = dict(row.sets)
    yield f"{indent}/\\ state' = {tla_value(row.target)}"
    for each in machine.fields:
        if each.name in sets:
            yield f"{indent}/\\ {names.fields[each.name]}' = {_text(sets[each.name], names)}"
    kept = [names.fields[each.name] for each in machine.fields if each.name not in sets]
    if kept:
        yield from _wrapped(f"{indent}/\\ UNCHANGED ", f"<<{', '.join(kept)}>>")


def _next(machine: Machine[S, E], names: TlaNames) -> Iterator[str]:
    yield "Next =="
    for event in machine.events:
        yield f"    \\/ {_quantified(machine, names, event)}"


def _checks(machine: Machine[S, E], names: TlaNames) -> Iterator[str]:
    if machine.terminal:
        yield "\\* A terminal state has no successor, but for the exits that are declared."
        yield "FinalStatesRefuse == state \\in Final => ~ENABLED Next"
    for state in sorted({state for state, _ in machine.terminal_exits}):
        exits = [event for event in machine.events if (state, event) in machine.terminal_exits]
        actions = " \\/ ".join(f"({_quantified(machine, names, event)})" for event in exits)
        yield f"ExitsAreDeclared_{state} == [][state = {tla_value(state)} => {actions}]_vars"
    counting = counting_fields(machine)
    if counting:
        yield ""
        yield "\\* How far counting is followed."
        yield "InBounds =="
        for counted in counting:
            name = names.fields[counted.name]
            unset = f"{name} = None \\/ " if counted.optional else ""
            yield f"    /\\ {unset}{name} <= MaxInt"


def _config(machine: Machine[S, E], bounds: TlaBounds) -> str:
    lines = ["SPECIFICATION Spec", "INVARIANT TypeOK"]
    if machine.terminal:
        lines.append("INVARIANT FinalStatesRefuse")
    lines += [f"PROPERTY ExitsAreDeclared_{state}" for state in sorted({state for state, _ in machine.terminal_exits})]
    if counting_fields(machine):
        lines.append("CONSTRAINT InBounds")
    return "\n".join((*lines, *_constant_values(machine, bounds), ""))


def _constant_values(machine: Machine[S, E], bounds: TlaBounds) -> Iterator[str]:
    used = _types(machine)
    yield "CONSTANTS"
    yield "    None = None"
    if UUID in used:
        yield f"    Ids = {tla_set(domain_of(Param('any', UUID), machine, bounds))}"
    if str in used:
        yield f"    Texts = {tla_set(domain_of(Param('any', str), machine, bounds))}"
    if int in used:
        yield f"    MinInt = {bounds.lowest}"
        yield f"    MaxInt = {bounds.highest}"


# -- small helpers -------------------------------------------------------------------------------------------------


def _text(expression: Expression, names: TlaNames, *, conjunct: bool = False) -> str:
    text = tla_expression(expression, names.fields, names.params)
    return f"({text})" if conjunct and expression.binding == 1 else text


def _is_source(row: Transition[S, E]) -> str:
    if len(row.source) == 1:
        return f"state = {tla_value(row.source[0])}"
    return f"state \\in {tla_set(row.source)}"


def _is_final(machine: Machine[S, E], state: S) -> bool:
    return state in machine.terminal and all(state != left for left, _ in machine.terminal_exits)


def _is_unsure(machine: Machine[S, E], event: E) -> bool:
    """Whether two rows of ``event`` may hold at once: then the first one counts, which TLA+ has to be told."""
    return any(
        finding.code in _UNSURE and (finding.place.endswith(f" --{event}") or f"--{event}-->" in finding.place)
        for finding in machine.lint()
    )


def _quantified(machine: Machine[S, E], names: TlaNames, event: E, also: str = "") -> str:
    """The action of ``event`` with any parameters, and what else holds of it."""
    params, also = machine.events[event], f" /\\ {also}" if also else ""
    if not params:
        return f"{names.events[event]}{also}"
    domains = ", ".join(f"{names.params[param.name]} \\in {_domain(param, machine, names)}" for param in params)
    given = ", ".join(names.params[param.name] for param in params)
    return f"\\E {domains} : {names.events[event]}({given}){also}"


def _domain(declared: Field | Param, machine: Machine[S, E], names: TlaNames) -> str:
    plain = {UUID: "Ids", str: "Texts", bool: "BOOLEAN", int: "Ints"}
    name = plain.get(declared.type) or names.enums[declared.type]
    return f"{name} \\cup {{None}}" if declared.optional else name


def _types(machine: Machine[S, E]) -> set[type]:
    declared: tuple[Field | Param, ...] = (
        *machine.fields,
        *(each for given in machine.events.values() for each in given),
    )
    return {each.type for each in declared}


def _all_variables(machine: Machine[S, E], names: TlaNames) -> list[str]:
    return ["state", *(names.fields[each.name] for each in machine.fields)]


def _expressions(row: Transition[S, E]) -> tuple[Expression, ...]:
    return (row.guard, *(value for _, value in row.sets))


def _members(kind: type) -> tuple[object, ...]:
    assert issubclass(kind, Enum), "fields and parameters have no other types"
    return tuple(kind)


def _constants(machine: Machine[S, E], kind: type) -> Iterator[Value]:
    """The constants of one type that the table speaks of, each once."""
    nodes = (node for row in machine.transitions for each in _expressions(row) for node in each.walk())
    values: list[Value] = [node.value for node in nodes if isinstance(node, Const)]
    values += [each.default for each in machine.fields]
    yield from dict.fromkeys(value for value in values if type(value) is kind)


def _wrapped(head: str, text: str) -> Iterator[str]:
    """``head`` and ``text``, broken at commas so that what goes on stands under what began."""
    first, *rest = wrap(text, WIDTH - len(head), break_long_words=False, break_on_hyphens=False) or [""]
    yield f"{head}{first}"
    yield from (f"{' ' * len(head)}{line}" for line in rest)
