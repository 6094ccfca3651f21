"""Events with parameters: which values are worth trying, and what the table says of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from functools import lru_cache
from itertools import islice, product
from typing import Any, Final, TypeAlias, TypeVar, cast, final
from uuid import UUID

from attrs import frozen

from ...spec.errors import SpecError, TransitionRefused
from ...spec.expressions import Const, PlusOne, Value
from ...spec.machine import Machine, Param
from ...spec.table import Step
from ..trace_itf import Plain
from .misuse import check_parameters

AnyMachine: TypeAlias = Machine[Any, Any]
Fields: TypeAlias = Mapping[str, object]
Values: TypeAlias = Mapping[str, Sequence[Value]]
"""Which values to try, by ``event.param`` or by ``param``."""
T = TypeVar("T")

UUIDS: Final = (UUID(int=1), UUID(int=2))
TEXTS: Final = ("a", "b", "")
NUMBERS: Final = (1, 0)

MOST_COMBINATIONS: Final = 1000
CRASH: Final = "crash"


@final
@frozen
class Move:
    """One event to fire, with its parameters; ``event`` None stands for a crash and a restart."""

    event: StrEnum | None
    params: Mapping[str, Value] = {}

    def text(self) -> str:
        """As a call: ``pay(amount=5)``."""
        if self.event is None:
            return CRASH
        given = ", ".join(f"{name}={shown(value)}" for name, value in self.params.items())
        return f"{self.event}({given})"


def shown(value: object) -> str:
    """A value as messages show it."""
    return str(value) if isinstance(value, Enum | UUID) else repr(value)


@lru_cache(maxsize=64)
def constants_of(machine: AnyMachine) -> tuple[Value, ...]:
    """Every constant that a row compares with or assigns, each once."""
    found = (
        node.value
        for row in machine.transitions
        for expression in (row.guard, *(value for _, value in row.sets))
        for node in expression.walk()
        if isinstance(node, Const)
    )
    return tuple(_once(found))


def chosen(values: Mapping[str, T] | None, event: StrEnum, param: Param) -> T | None:
    """What was given for a parameter, by ``event.param`` or by ``param``."""
    given = values or {}
    return given.get(f"{event}.{param.name}", given.get(param.name))


def check_values(machine: AnyMachine, values: Values | None) -> None:
    """Raises SpecError for a name that is no parameter, HarnessMisused for anything but lists of values."""
    check_parameters(machine, values or {}, Sequence, "a list of values to try; name at least one")


def worth_trying(machine: AnyMachine, param: Param, fields: Fields) -> tuple[Value, ...]:
    """A few values for ``param``: those of fields, constants and counted-on fields of its type, their neighbours, and
    plain ones.
    """
    values: list[Value] = [] if not issubclass(param.type, Enum) else list(param.type)
    if param.type is bool:
        values = [True, False]
    elif not values:
        told = (*fields.values(), *constants_of(machine), *_counted_on(machine, fields))
        known = [value for value in told if type(value) is param.type]
        if param.type is int:
            values = [near for value in known for near in (cast("int", value), cast("int", value) + 1)]
            values += [cast("int", value) - 1 for value in known] + list(NUMBERS)
        else:
            values = [*cast("list[Value]", known), *(UUIDS if param.type is UUID else TEXTS)]
    if param.optional:
        values.append(None)
    return tuple(_once(values))


@lru_cache(maxsize=64)
def _counters(machine: AnyMachine) -> tuple[PlusOne, ...]:
    """Every ``plus_one`` of fields alone in a guard: what it comes to is what a parameter is compared with."""
    guards = (row.guard for row in machine.transitions)
    found = (node for guard in guards for node in guard.walk() if isinstance(node, PlusOne))
    return tuple(dict.fromkeys(node for node in found if not node.names().params))


def _counted_on(machine: AnyMachine, fields: Fields) -> Iterator[object]:
    """What those come to now; None where a field is."""
    for counter in _counters(machine):
        if all(fields[name] is not None for name in counter.names().fields):
            yield counter.evaluate(fields, {})


def _once(values: Iterable[Value]) -> Iterator[Value]:
    seen = set()
    for value in values:
        if (type(value), value) not in seen:
            seen.add((type(value), value))
            yield value


def moves(machine: AnyMachine, fields: Fields, event: StrEnum, values: Values | None = None) -> Iterator[Move]:
    """``event`` with the combinations of the given values, else those worth trying, at most ``MOST_COMBINATIONS``."""
    params = machine.events[event]
    choices = (chosen(values, event, param) or worth_trying(machine, param, fields) for param in params)
    combinations = product(*choices)
    for combination in islice(combinations, MOST_COMBINATIONS):
        yield Move(event, {param.name: value for param, value in zip(params, combination, strict=True)})


def foretold(
    machine: AnyMachine, state: StrEnum, fields: Fields, move: Move, *, check: bool = False
) -> Step[Any] | TransitionRefused:
    """What the table says of ``move``: a step, or the refusal. With ``check`` a wrong type is a SpecError."""
    try:
        return machine.compile().step(state, move.event, fields, move.params, check=check)
    except TransitionRefused as refused:
        return refused


@final
@frozen
class Choices:
    """The moves with values worth trying at one place: those that take a row, by row, and those that only a guard
    refuses, by event, where there are any that one other parameter would let pass those alone. In groups, so that a row
    whose event has many parameters is not drawn more often.
    """

    taken: tuple[tuple[Move, ...], ...] = ()
    missed: tuple[tuple[Move, ...], ...] = ()

    @staticmethod
    @lru_cache(maxsize=256)
    def at(machine: AnyMachine, state: StrEnum, values: tuple[tuple[str, object], ...]) -> Choices:
        """What there is in a state with fields of such values."""
        fields = dict(values)
        taken: dict[int, list[Move]] = {}
        missed: dict[StrEnum, list[Move]] = {}
        for event in machine.compile().events(state):
            for move in moves(machine, fields, event):
                step = foretold(machine, state, fields, move)
                if isinstance(step, TransitionRefused):
                    missed.setdefault(event, []).append(move)
                else:
                    taken.setdefault(step.row, []).append(move)
        passing = [move for group in taken.values() for move in group]
        near = ([move for move in group if _is_near(move, passing)] or group for group in missed.values())
        return Choices(tuple(map(tuple, taken.values())), tuple(map(tuple, near)))


def _is_near(move: Move, others: Sequence[Move]) -> bool:
    """Whether one of ``others`` is the same event with one other parameter."""
    return any(
        other.event == move.event and sum(other.params[name] != value for name, value in move.params.items()) == 1
        for other in others
    )


def params_to_json(machine: AnyMachine, move: Move) -> dict[str, Plain]:
    """The parameters as a replay file keeps them: enum members by name, UUIDs as text."""
    return {name: _to_json(value) for name, value in move.params.items()}


def params_from_json(machine: AnyMachine, event: str, params: Mapping[str, object]) -> Move:
    """The move that was written. Raises SpecError where it does not fit the machine any more."""
    where = f"machine {machine.name!r}, event {event!r}"
    member = next((each for each in machine.events if each == event), None)
    if member is None:
        raise SpecError(where, f"there is no such event; the events are {', '.join(machine.events)}")
    declared = {param.name: param for param in machine.events[member]}
    for name in params:
        if name not in declared:
            raise SpecError(where, f"there is no parameter {name!r}; it has {', '.join(declared) or 'none'}")
    try:
        return Move(member, {name: _from_json(declared[name], value) for name, value in params.items()})
    except (TypeError, ValueError) as error:
        raise SpecError(where, f"the parameters {dict(params)!r} do not fit: {error}") from error


def _to_json(value: Value) -> Plain:
    if isinstance(value, Enum):
        return value.name
    return str(value) if isinstance(value, UUID) else value


def _from_json(param: Param, value: object) -> Value:
    if value is None:
        return None
    if issubclass(param.type, Enum):
        members = param.type.__members__
        if value not in members:
            raise ValueError(f"{param.name} must be one of {', '.join(members)}, not {value!r}")
        return cast("Value", members[cast("str", value)])
    made = UUID(cast("str", value)) if param.type is UUID else value
    if type(made) is not param.type:
        raise TypeError(f"{param.name} must be {param.type.__name__}, not {made!r}")
    return cast("Value", made)
