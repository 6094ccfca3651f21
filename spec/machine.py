"""Machines as tables: states, fields, events with typed parameters, and transition rows.

A ``Machine`` is checked when it is built: what it names exists and types fit, else ``SpecError`` says which row to
mend. ``compile()`` makes the table that is run; ``lint()`` finds what is well formed and still wrong; ``matrix()``
shows every (state, event) pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from enum import Enum, StrEnum
from functools import cached_property
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final
from uuid import UUID

import attrs
from attrs import frozen

from .errors import SpecError
from .expression_types import type_of
from .expressions import TRUE, Expression, ExpressionError, Value, const, is_name
from .lint import Finding, lint_machine
from .table import TransitionTable, compile_machine
from .vocabulary import RowGroup

if TYPE_CHECKING:
    from statemachine import StateChart

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

_TYPES = (int, str, bool, UUID)


@final
@frozen
class Field:
    """One piece of memory of a machine. ``type`` is int, str, bool, UUID or an enum; an optional one may be None."""

    name: str
    type: type
    default: Value = None
    optional: bool = attrs.field(default=False, kw_only=True)


@final
@frozen
class Param:
    """What an event brings along. An optional one may be None, and may be left out, which is the same."""

    name: str
    type: type
    optional: bool = attrs.field(default=False, kw_only=True)


# What cannot be converted stays as it was given: the machine, which knows the place, refuses it.


def _tuple(values: Iterable[T]) -> tuple[T, ...]:
    given: Any = values
    if isinstance(given, Iterable) and not isinstance(given, str):
        given = tuple(given)
    found: tuple[T, ...] = given
    return found


def _set(values: Iterable[T]) -> frozenset[T]:
    given: Any = _tuple(values)
    with suppress(TypeError):
        given = frozenset(given) if isinstance(given, tuple) else given
    found: frozenset[T] = given
    return found


def _one_or_more(values: Any) -> tuple[Any, ...]:
    given: Any = _tuple(values)
    return given if isinstance(given, tuple) else (given,)


def _states(source: S | Iterable[S]) -> tuple[S, ...]:
    return _one_or_more(source)


def _assignments(sets: Mapping[str, Expression | Value]) -> tuple[tuple[str, Expression], ...]:
    # Pairs too: ``attrs.evolve`` gives back what was made here.
    given: Any = sets
    return tuple(_assignment(pair) for pair in _one_or_more(given.items() if isinstance(given, Mapping) else given))


def _assignment(pair: Any) -> Any:
    try:
        name, value = pair
        return name, const(value)
    except (TypeError, ValueError):
        return pair


def _strings(emits: str | Iterable[str]) -> tuple[str, ...]:
    return _one_or_more(emits)


@final
@frozen
class Transition(Generic[S, E]):
    """One row: ``event`` takes each state of ``source`` to ``target`` where ``guard`` holds.

    ``sets`` maps a field to its new value, worked out from the fields before the step; ``emits`` names the effects.
    ``group`` says what the row is there for, to whoever draws it; nothing that runs looks at it.
    """

    event: E
    source: tuple[S, ...] = attrs.field(converter=_states)
    target: S
    guard: Expression = attrs.field(default=TRUE, kw_only=True)
    sets: tuple[tuple[str, Expression], ...] = attrs.field(factory=dict, converter=_assignments, kw_only=True)
    emits: tuple[str, ...] = attrs.field(default=(), converter=_strings, kw_only=True)
    doc: str = attrs.field(default="", kw_only=True)
    group: RowGroup = attrs.field(default=RowGroup.STEP, kw_only=True)


def _fields(fields: Iterable[Field]) -> tuple[Field, ...]:
    return _tuple(fields)


def _terminal(terminal: Iterable[S]) -> frozenset[S]:
    return _set(terminal)


def _exits(exits: Iterable[tuple[S, E]]) -> frozenset[tuple[S, E]]:
    return _set(exits)


def _rows(transitions: Iterable[Transition[S, E]]) -> tuple[Transition[S, E], ...]:
    return _tuple(transitions)


def _params(events: Mapping[E, Iterable[Param]]) -> Mapping[E, tuple[Param, ...]]:
    given: Any = events
    if isinstance(given, Mapping):
        given = MappingProxyType({event: _tuple(params) for event, params in given.items()})
    declared: Mapping[E, tuple[Param, ...]] = given
    return declared


def _effects(effects: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if effects is None else _tuple(effects)


@final
@frozen(kw_only=True, eq=False)
class Machine(Generic[S, E]):
    """A machine as data. Raises SpecError, naming the place and what to mend, where the parts do not fit together.

    ``terminal_exits`` are the (state, event) pairs that may leave a terminal state. ``effects``, when given, is the
    vocabulary of what rows may emit: an enum class, or the members that this machine is to use.
    """

    name: str
    states: type[S]
    initial: S
    terminal: frozenset[S] = attrs.field(default=frozenset(), converter=_terminal)
    terminal_exits: frozenset[tuple[S, E]] = attrs.field(default=frozenset(), converter=_exits)
    fields: tuple[Field, ...] = attrs.field(default=(), converter=_fields)
    events: Mapping[E, tuple[Param, ...]] = attrs.field(converter=_params)
    transitions: tuple[Transition[S, E], ...] = attrs.field(converter=_rows)
    effects: tuple[str, ...] | None = attrs.field(default=None, converter=_effects)
    doc: str = ""

    def __attrs_post_init__(self) -> None:
        _check_parts(self)
        _check_events(self)
        _check_vocabulary(self)
        _check_fields(self)
        for number, row in enumerate(self.transitions):
            _check_row(self, number, row)

    @cached_property
    def _table(self) -> TransitionTable[S, E]:
        return compile_machine(self)

    def compile(self) -> TransitionTable[S, E]:
        """The table that is run. Built once."""
        return self._table

    def lint(self) -> tuple[Finding, ...]:
        """What is well formed and still wrong; empty for a good machine."""
        return lint_machine(self)

    def matrix(self) -> dict[tuple[S, E], tuple[Transition[S, E], ...]]:
        """The rows of every (state, event) pair, in order; an empty tuple means that the event is refused there."""
        return {
            (state, event): tuple(row for row in self.transitions if row.event == event and state in row.source)
            for state in self.states
            for event in self.events
        }

    def statechart(self) -> type[StateChart[Any]]:
        """A python-statemachine ``StateChart`` class with the same states, events and guards. Made once.

        ``cls()`` starts in the initial state, ``cls(start_value=state, fields={…})`` in another one. An event is sent
        with its parameters by name (``sm.send("stage", run_id=…)``) and returns the effects of its row; ``sm.current``
        is the state as a member of the machine's enumeration, ``sm.fields`` its memory. What the table refuses raises
        the library's ``TransitionNotAllowed``. Raises SpecError where a name cannot be an attribute of such a class,
        and for a parameter whose name ``send`` keeps for itself (``state``, ``source``, …).
        """
        return self._statechart

    @cached_property
    def _statechart(self) -> type[StateChart[Any]]:
        from .statechart import statechart_of

        return statechart_of(self)

    @staticmethod
    def from_statechart(chart: type[StateChart[Any]]) -> Machine[StrEnum, StrEnum]:
        """The machine of a flat python-statemachine class: its states, events and transitions in their order.

        A condition or validator becomes a boolean parameter of the event, named like the method; ``"a and not b"`` is
        taken apart, ``unless`` is negated. Actions are left out. Raises SpecError for compound and parallel states,
        history, transitions without an event, and conditions without a name, and for what is no such class.
        """
        from .statechart_import import machine_of

        return machine_of(chart)

    def place(self, number: int) -> str:
        """How errors and findings name row ``number``, counted from 0: ``transitions[2] (cart --pay--> paid)``."""
        row = self.transitions[number]
        return f"transitions[{number}] ({', '.join(row.source)} --{row.event}--> {row.target})"


def _check_parts(machine: Machine[S, E]) -> None:
    where = f"machine {machine.name!r}"
    _check_text(where, "the name", machine.name)
    _check_doc(where, machine.doc)
    if not isinstance(machine.events, Mapping):
        raise SpecError(where, f"events must map each event to its parameters, not be {machine.events!r}")
    for part in ("fields", "transitions", "effects", "terminal", "terminal_exits"):
        given = getattr(machine, part)
        wanted = frozenset if part.startswith("terminal") else tuple
        if not isinstance(given, wanted) and (part, given) != ("effects", None):
            raise SpecError(where, f"{part} must be given as a list of them, not as {given!r}")
    for effect in machine.effects or ():
        _check_text(where, "an effect", effect)


def _check_text(where: str, what: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise SpecError(where, f"{what} is {value!r}; give a text that is not empty")


def _check_doc(where: str, doc: object) -> None:
    if not isinstance(doc, str):
        raise SpecError(where, f"the doc is {doc!r}, not a text")


def _check_vocabulary(machine: Machine[S, E]) -> None:
    where = f"machine {machine.name!r}"
    if not is_class(machine.states, StrEnum):
        raise SpecError(where, f"states must be a StrEnum class, not {machine.states!r}")
    for pair in machine.terminal_exits:
        if not _is_pair(pair):
            raise SpecError(where, f"terminal_exits has {pair!r}; give pairs of a state and an event")
    for state in (machine.initial, *machine.terminal, *(state for state, _ in machine.terminal_exits)):
        if not isinstance(state, machine.states):
            raise SpecError(where, f"{state!r} is not a member of {machine.states.__name__}")
    if machine.initial in machine.terminal:
        raise SpecError(where, f"the initial state {machine.initial} is terminal; start where something can happen")
    for state, event in sorted(machine.terminal_exits, key=repr):
        if state not in machine.terminal:
            raise SpecError(where, f"terminal_exits names {state}, which is not terminal; leave that pair out")
        if not _is_event(machine, event):
            raise SpecError(where, f"terminal_exits names {event!r}, which is not an event of the machine")


def _is_event(machine: Machine[S, E], event: object) -> bool:
    """Whether it is one of them itself: a text or another enum's member that is equal is none."""
    return any(event is each for each in machine.events)


def _check_fields(machine: Machine[S, E]) -> None:
    for declared in machine.fields:
        if not isinstance(declared, Field):
            raise SpecError(f"machine {machine.name!r}, fields", f"{declared!r} is not a Field")
        where = f"machine {machine.name!r}, field {declared.name!r}"
        _check_declaration(where, declared)
        if declared.default is None and not declared.optional:
            raise SpecError(where, "give it a default, or declare it optional=True")
        if declared.default is not None and type(declared.default) is not declared.type:
            raise SpecError(where, f"the default {declared.default!r} is not of type {declared.type.__name__}")
    _check_once(f"machine {machine.name!r}, fields", machine.fields)


def _check_events(machine: Machine[S, E]) -> None:
    where = f"machine {machine.name!r}, events"
    classes = {type(event) for event in machine.events}
    if len(classes) != 1 or not all(issubclass(cls, StrEnum) for cls in classes):
        raise SpecError(where, "the keys must be the members of one StrEnum class")
    missing = [event.value for event in classes.pop() if event not in machine.events]
    if missing:
        raise SpecError(where, f"{', '.join(missing)} is not declared; give it its parameters, () for none")
    for event, params in machine.events.items():
        if not _are_all(params, Param):
            where = f"machine {machine.name!r}, event {event}"
            raise SpecError(where, f"its parameters must be a list of Param, () for none, not {params!r}")
        for declared in params:
            _check_declaration(f"machine {machine.name!r}, event {event}, parameter {declared.name!r}", declared)
        _check_once(f"machine {machine.name!r}, event {event}", params)


def _check_declaration(where: str, declared: Field | Param) -> None:
    if not is_name(declared.name):
        raise SpecError(where, "a name must be an ASCII identifier")
    if declared.type not in _TYPES and not is_class(declared.type, Enum):
        raise SpecError(where, f"the type must be int, str, bool, UUID or an enum class, not {declared.type!r}")


def _is_pair(value: object) -> bool:
    match value:
        case (str(), _):
            return True
    return False


def _are_all(values: object, kind: type) -> bool:
    return isinstance(values, tuple) and all(isinstance(each, kind) for each in values)


def is_class(value: object, base: type) -> bool:
    """Whether ``value`` is a class, and ``base`` or one made from it."""
    return isinstance(value, type) and issubclass(value, base)


def _check_once(where: str, declared: Iterable[Field | Param]) -> None:
    names = [each.name for each in declared]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(where, f"{name!r} is declared twice")


def _check_row(machine: Machine[S, E], number: int, row: Transition[S, E]) -> None:
    where = f"machine {machine.name!r}, transitions[{number}]"
    if not isinstance(row, Transition):
        raise SpecError(where, f"{row!r} is not a Transition")
    if not _is_event(machine, row.event):
        raise SpecError(where, f"{row.event!r} is not an event of the machine")
    for state in (*row.source, row.target):
        if not isinstance(state, machine.states):
            raise SpecError(where, f"{state!r} is not a member of {machine.states.__name__}")
    where = f"machine {machine.name!r}, {machine.place(number)}"
    if not row.source or len(set(row.source)) < len(row.source):
        raise SpecError(where, "name each source state once, and at least one")
    if not isinstance(row.group, RowGroup):
        raise SpecError(where, f"the group is {row.group!r}, not one of {', '.join(map(str, RowGroup))}; use RowGroup")
    _check_doc(where, row.doc)
    for effect in row.emits:
        _check_text(where, "an effect that it emits", effect)
        if machine.effects is not None and effect not in machine.effects:
            raise SpecError(where, f"{effect!r} is not in the effects of the machine")
    _check_expressions(machine, where, row)


def _check_expressions(machine: Machine[S, E], where: str, row: Transition[S, E]) -> None:
    if not isinstance(row.guard, Expression):
        raise SpecError(where, f"the guard is {row.guard!r}, not an expression; write x.eq(y), not x == y")
    fields = {declared.name: declared.type for declared in machine.fields}
    params = {declared.name: declared.type for declared in machine.events[row.event]}
    optional = {declared.name for declared in machine.fields if declared.optional}
    try:
        if type_of(row.guard, fields, params) is not bool:
            raise SpecError(where, f"the guard {row.guard.text()} is not a condition")
        for number, pair in enumerate(row.sets):
            if not _is_pair(pair):
                raise SpecError(where, f"sets has {pair!r}; map each field to its new value")
            name, value = pair
            if name not in fields:
                raise SpecError(where, f"sets {name!r}, which is not a field of the machine")
            if any(name == other for other, _ in row.sets[:number]):
                raise SpecError(where, f"sets {name!r} twice")
            given = type_of(const(value), fields, params)
            if given is not fields[name] and not (given is NoneType and name in optional):
                raise SpecError(where, f"sets {name!r} ({fields[name].__name__}) to {value.text()} ({given.__name__})")
    except ExpressionError as error:
        raise SpecError(where, str(error)) from error
