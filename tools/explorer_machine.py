"""One machine as a model: its states with all the values that its fields can take.

Parameters take every value that could matter. Of ids and texts that are those that the fields hold, the constants of
the machine, and new ones; new ones are named in order, so that values that differ in name alone are the same. Enums
and bools take each member; integers those from 0 to ``integers``, and the constants of the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from itertools import count, islice, product
from typing import Any, Final, final
from uuid import UUID

from ..spec.errors import SpecError, TransitionRefused
from ..spec.expressions import Const, Value, value_text
from ..spec.machine import Field, Machine, Param
from ..spec.table import Step
from .explorer import Move, Progress

DEFAULT_INTEGERS: Final = 3
DEFAULT_IDS: Final = 2

Values = tuple[Value, ...]
State = tuple[StrEnum, Values]


@final
class MachineModel:
    """The model of ``machine``. A state in which an integer is past ``integers`` and every constant is checked, and
    nothing is tried in it. Without ``symmetry`` ids and texts are ``ids`` fixed ones and the constants.
    """

    progress = Progress.CAN_SETTLE

    def __init__(
        self,
        machine: Machine[Any, Any],
        *,
        integers: int = DEFAULT_INTEGERS,
        ids: int = DEFAULT_IDS,
        symmetry: bool = True,
    ) -> None:
        self.machine = machine
        self.name = machine.name
        self._table = machine.compile()
        self._integers = integers
        self._ids = ids
        self._symmetry = symmetry
        nodes = [
            node
            for row in machine.transitions
            for part in (row.guard, *(value for _, value in row.sets))
            for node in part.walk()
        ]
        self._constants: tuple[Value, ...] = tuple(
            dict.fromkeys(node.value for node in nodes if isinstance(node, Const))
        )
        self._most = max([integers, *(value for value in self._constants if type(value) is int)])

    @property
    def bounds(self) -> Mapping[str, Any]:
        names = {} if self._symmetry else {"ids": self._ids}
        return {"integers": self._integers, "symmetry": self._symmetry, **names}

    def initial(self) -> Sequence[State]:
        """The initial state with the defaults of the fields."""
        return ((self.machine.initial, tuple(declared.default for declared in self.machine.fields)),)

    def moves(self, state: State) -> Sequence[Move[State]]:
        """Every event with all the parameters that it may bring, where it is not refused."""
        at, values = state
        fields = {declared.name: value for declared, value in zip(self.machine.fields, values, strict=True)}
        if any(type(value) is int and value > self._most for value in values):
            return ()
        found = []
        for event, params in self.machine.events.items():
            for given in product(*(self._domain(param, params, values) for param in params)):
                move = self._move(at, event, fields, dict(zip((param.name for param in params), given, strict=True)))
                if move is not None:
                    found.append(move)
        return found

    def _move(
        self, at: StrEnum, event: StrEnum, fields: dict[str, Value], given: dict[str, Value]
    ) -> Move[State] | None:
        told = ", ".join(f"{name} = {_text(value)}" for name, value in given.items())
        action = f"{event}({told})"
        try:
            step: Step[Any] = self._table.step(at, event, fields, given, check=True)
        except TransitionRefused:
            problems = self._differs(at, event, fields, given, None)
            return Move(action, self._state(at, fields), problems=problems) if problems else None
        except SpecError as error:
            return Move(action, self._state(at, fields), problems=(f"guards_have_values: {error}",))
        problems = self._differs(at, event, fields, given, step)
        if at in self.machine.terminal and (at, event) not in self.machine.terminal_exits:
            problems = (*problems, f"terminal_means_terminal: {event} leaves {at}")
        return Move(action, self._state(step.target, {**fields, **step.sets}), helps=True, problems=problems)

    def _differs(
        self, at: StrEnum, event: StrEnum, fields: dict[str, Value], given: dict[str, Value], step: Step[Any] | None
    ) -> tuple[str, ...]:
        """The rows read one by one: exactly the one that the table took holds."""
        rows = enumerate(self.machine.transitions)
        try:
            holding = [
                number
                for number, row in rows
                if row.event == event and at in row.source and row.guard.evaluate(fields, given)
            ]
        except TypeError as error:
            return (f"guards_have_values: {error}",)
        if holding == ([] if step is None else [step.row]):
            return ()
        if len(holding) > 1:
            places = " and ".join(self.machine.place(number) for number in holding)
            return (f"one_row_holds: {places} both do",)
        return (f"table_equals_rows: the table took {step and step.row}, the rows say {holding}",)

    def _state(self, at: StrEnum, fields: Mapping[str, object]) -> State:
        values: Any = tuple(fields[declared.name] for declared in self.machine.fields)
        return at, self._named_in_order(values) if self._symmetry else values

    def _named_in_order(self, values: Values) -> Values:
        """``values`` with new ids and texts named in the order in which they come."""
        new: dict[Value, Value] = {}
        made = {UUID: _new_ids(self._constants), str: _new_texts(self._constants)}
        for value in values:
            if type(value) in made and value not in self._constants and value not in new:
                new[value] = next(made[type(value)])
        return tuple(new.get(value, value) if type(value) in made else value for value in values)

    def _domain(self, param: Param, params: tuple[Param, ...], values: Values) -> list[Value]:
        kind = param.type
        constants = [value for value in self._constants if type(value) is kind]
        found: list[Value]
        if kind is bool:
            found = [False, True]
        elif issubclass(kind, Enum):
            found = list(kind)
        elif kind is int:
            found = sorted({*range(self._integers + 1), *(value for value in constants if isinstance(value, int))})
        else:
            held = [value for value in values if type(value) is kind] if self._symmetry else []
            new = sum(other.type is kind for other in params) if self._symmetry else self._ids
            made = _new_ids(self._constants) if kind is UUID else _new_texts(self._constants)
            fresh = islice((value for value in made if value not in held), new)
            found = list(dict.fromkeys((*constants, *held, *fresh)))
        return [*found, None] if param.optional else found

    def problems(self, state: State) -> Sequence[str]:
        """Fields hold what they were declared to hold."""
        _, values = state
        return [
            f"fields_have_their_types: {declared.name} is {value!r}"
            for declared, value in zip(self.machine.fields, values, strict=True)
            if not (type(value) is declared.type or (value is None and declared.optional))
        ]

    def is_settled(self, state: State) -> bool:
        """A terminal state; any state, where the machine has none."""
        at, values = state
        is_outside = any(type(value) is int and value > self._most for value in values)
        return at in self.machine.terminal or is_outside or not self.machine.terminal

    def show(self, state: State) -> dict[str, Any]:
        """The state and its fields, those without a value too."""
        at, values = state
        fields = zip(self.machine.fields, values, strict=True)
        return {
            "state": str(at),
            **{each.name: _text(value) if isinstance(value, UUID) else value for each, value in fields},
        }

    def dump(self, states: Sequence[State]) -> Any:
        """States by name, values of fields as text where JSON has no such type."""
        return [
            [str(at), [str(value) if isinstance(value, (UUID, Enum)) else value for value in values]]
            for at, values in states
        ]

    def load(self, dumped: Any) -> list[State]:
        """What ``dump`` gave."""
        return [
            (
                self.machine.states(at),
                tuple(_from_json(each, value) for each, value in zip(self.machine.fields, values, strict=True)),
            )
            for at, values in dumped
        ]


def _from_json(declared: Field, value: Any) -> Value:
    made: Value = value if value is None else declared.type(value)
    return made


def _new_ids(constants: Iterable[Value]) -> Iterator[Value]:
    known = set(constants)
    return (each for each in (UUID(int=number) for number in count(1)) if each not in known)


def _new_texts(constants: Iterable[Value]) -> Iterator[Value]:
    known = set(constants)
    return (each for each in (f"text {number}" for number in count(1)) if each not in known)


def _text(value: Value) -> str:
    return f"id {value.int}" if isinstance(value, UUID) else value_text(value)
