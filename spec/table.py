"""The compiled form of a machine: one dict lookup per step, to a function made from the rows of that (state, event).

The function's source is put together from expressions whose names are checked identifiers and whose constants are bound
by name, so that no value is ever read as code. Nothing is checked on the way to a step that succeeds; what went wrong
is worked out afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar, final

from attrs import define

from .errors import SpecError, TransitionRefused
from .expressions import TRUE, Expression, bind, value_text

if TYPE_CHECKING:
    from enum import StrEnum

    from .machine import Field, Machine, Param, Transition

S = TypeVar("S", bound="StrEnum")
E = TypeVar("E", bound="StrEnum")

EMPTY: Mapping[str, object] = MappingProxyType({})


@final
@define
class Step(Generic[S]):
    """What an event does: the next state, the fields that change, the effects, and which row of the table said so."""

    target: S
    sets: dict[str, object]
    emits: tuple[str, ...]
    row: int


@final
class TransitionTable(Generic[S, E]):
    """A machine, ready to run. Get it from ``Machine.compile()``; ``rows[step.row]`` is the row behind a step."""

    __slots__ = ("_rules", "machine", "rows")

    def __init__(self, machine: Machine[S, E], rules: Mapping[tuple[S, E], _Rule[S]]) -> None:
        self.machine = machine
        self.rows = machine.transitions
        self._rules = rules

    def step(
        self,
        state: S,
        event: E,
        fields: Mapping[str, object] = EMPTY,
        params: Mapping[str, object] = EMPTY,
        *,
        check: bool = False,
    ) -> Step[S]:
        """What ``event`` does in ``state``; nothing is changed. With ``check``, types are checked and
        parameters that the event does not declare are refused; without, they are passed over.

        Raises TransitionRefused where no row applies, and SpecError for a state, event, field or parameter that the
        machine does not know or that is missing or, where that is looked at, of the wrong type.
        """
        if check:
            self._check_arguments(state, event, fields, params)
            self._check_declared(event, params)
        cause: Exception | None = None
        try:
            step = self._rules[state, event](fields, params)
        except (KeyError, TypeError, AttributeError) as error:
            step, cause = None, error
        if step is None:
            self._refuse(state, event, fields, params, cause)
        return step

    def initial_fields(self) -> dict[str, object]:
        """The fields of a machine that has not moved yet."""
        return {declared.name: declared.default for declared in self.machine.fields}

    def events(self, state: S) -> tuple[E, ...]:
        """The events that have a row in ``state``, in the order in which the machine declares them."""
        return tuple(event for event in self.machine.events if (state, event) in self._rules)

    def _refuse(
        self,
        state: S,
        event: E,
        fields: Mapping[str, object],
        params: Mapping[str, object],
        cause: Exception | None,
    ) -> NoReturn:
        self._check_names(state, event)
        if (state, event) not in self._rules:
            reason = "terminal state" if state in self.machine.terminal else "no row"
            raise TransitionRefused(self.machine.name, str(state), str(event), reason)
        self._check_arguments(state, event, fields, params)
        rows = [row for row in self.rows if row.event == event and state in row.source]
        guards = "; ".join(row.guard.text() for row in rows)
        values = ", ".join(f"{name} = {value_text(value)}" for name, value in _read(rows, fields, params))
        if cause is not None:
            where = f"machine {self.machine.name!r}, event {event} in state {state}"
            raise SpecError(where, f"no value for {values}; put is_some() before an order or a + 1") from cause
        raise TransitionRefused(self.machine.name, str(state), str(event), f"guard not met: {guards} ({values})")

    def _check_names(self, state: S, event: E) -> None:
        where = f"machine {self.machine.name!r}"
        if state not in set(self.machine.states):
            raise SpecError(where, f"{state!r} is not a state; the states are {', '.join(self.machine.states)}")
        if event not in self.machine.events:
            raise SpecError(where, f"{event!r} is not an event; the events are {', '.join(self.machine.events)}")

    def _check_arguments(self, state: S, event: E, fields: Mapping[str, object], params: Mapping[str, object]) -> None:
        self._check_names(state, event)
        where = f"machine {self.machine.name!r}, event {event}"
        for what, given in (("fields", fields), ("parameters", params)):
            if not isinstance(given, Mapping):
                raise SpecError(where, f"the {what} must be a mapping of names to values, not {given!r}")
        for param in self.machine.events[event]:
            if param.name in params:
                _check_value(where, "parameter", param, params[param.name])
            elif not param.optional:
                raise SpecError(where, f"parameter {param.name!r} is missing")
        read = {name for row in self.rows if row.event == event and state in row.source for name in _fields_of(row)}
        for field in self.machine.fields:
            if field.name in fields:
                _check_value(where, "field", field, fields[field.name])
            elif field.name in read:
                raise SpecError(where, f"field {field.name!r} is missing")

    def _check_declared(self, event: E, params: Mapping[str, object]) -> None:
        declared = [each.name for each in self.machine.events[event]]
        for name in params:
            if name not in declared:
                where = f"machine {self.machine.name!r}, event {event}"
                known = ", ".join(declared) or "none"
                raise SpecError(where, f"parameter {name!r} is not declared; declared are {known}")


_Rule = Callable[[Mapping[str, object], Mapping[str, object]], Step[S] | None]


def compile_machine(machine: Machine[S, E]) -> TransitionTable[S, E]:
    """The table of a machine; ``Machine.compile`` keeps it."""
    numbers: dict[tuple[S, E], list[int]] = {}
    for number, row in enumerate(machine.transitions):
        for state in row.source:
            numbers.setdefault((state, row.event), []).append(number)
    rules = {(state, event): _rule(machine, event, rows) for (state, event), rows in numbers.items()}
    return TransitionTable(machine, rules)


Condition = Callable[[Mapping[str, object], Mapping[str, object]], bool]


def compile_condition(expression: Expression) -> Condition:
    """A condition as one function of fields and parameters; it gives what ``evaluate`` gives, ten times faster."""
    constants: dict[str, object] = {}
    source = f"lambda fields, params: {expression.source(constants)}"
    condition: Condition = eval(source, constants)  # noqa: S307 - as in _rule: checked names, bound constants
    return condition


def _rule(machine: Machine[S, E], event: E, numbers: Iterable[int]) -> _Rule[S]:
    constants: dict[str, object] = {"Step": Step}
    omissible = frozenset(param.name for param in machine.events[event] if param.optional)
    lines = ["def rule(fields, params):"]
    for number in numbers:
        row = machine.transitions[number]
        sets = ", ".join(f"'{name}': {value.source(constants, omissible)}" for name, value in row.sets)
        step = f"Step({bind(constants, row.target)}, {{{sets}}}, {bind(constants, row.emits)}, {number})"
        if row.guard == TRUE:
            lines.append(f"    return {step}")
            break
        lines.append(f"    if {row.guard.source(constants, omissible)}:")
        lines.append(f"        return {step}")
    else:
        lines.append("    return None")
    exec(compile("\n".join(lines), f"<{machine.name}: {event}>", "exec"), constants)  # noqa: S102 - see above
    rule: _Rule[S] = constants["rule"]  # type: ignore[assignment]
    return rule


def _fields_of(row: Transition[S, E]) -> set[str]:
    return {name for value in (row.guard, *(value for _, value in row.sets)) for name in value.names().fields}


def _read(
    rows: Iterable[Transition[S, E]], fields: Mapping[str, object], params: Mapping[str, object]
) -> list[tuple[str, object]]:
    names = [row.guard.names() for row in rows]
    read = {name: fields[name] for each in names for name in sorted(each.fields)}
    given = {name: params.get(name) for each in names for name in sorted(each.params)}
    return [*read.items(), *given.items()]


def _check_value(where: str, kind: str, declared: Field | Param, value: object) -> None:
    if value is None and declared.optional:
        return
    if type(value) is not declared.type:
        wanted = f"{declared.type.__name__}{' or None' if declared.optional else ''}"
        raise SpecError(where, f"{kind} {declared.name!r} must be {wanted}, not {value!r}")
