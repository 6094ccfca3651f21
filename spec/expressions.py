"""First-order expressions over the fields of a machine and the parameters of an event, as data.

An expression is a frozen tree: it can be compared, hashed, run (``evaluate``), read (``text``), compiled (``source``)
and exported. The set of nodes is closed::

    field("total")   param("amount")   const(5)   TRUE
    x.eq(y)  x.ne(y)  x.lt(y)  x.le(y)  x.gt(y)  x.ge(y)    x.is_none()  x.is_some()  x.is_in(a, b)    x.plus_one()
    a & b    a | b    ~a

Raw values (int, str, bool, None, enum members, UUID) are wrapped in ``Const`` wherever an expression is expected. Only
integers are ordered; ``eq`` compares values of one type, or with None.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, StrEnum
from typing import ClassVar, NoReturn, final
from uuid import UUID

import attrs
from attrs import frozen

from .errors import HoldstateError

Value = int | str | bool | Enum | UUID | None
"""What a constant, a field or a parameter can be."""

_Fields = Mapping[str, object]


@final
class ExpressionError(HoldstateError, TypeError):
    """An expression is put together wrongly: ``expression`` is what was written, ``problem`` what to write instead."""

    def __init__(self, expression: str, problem: str) -> None:
        self.expression = expression
        self.problem = problem
        super().__init__(f"{expression}: {problem}")


@final
class Comparator(StrEnum):
    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="

    @property
    def is_order(self) -> bool:
        return self not in (Comparator.EQ, Comparator.NE)


_COMPARE: dict[Comparator, Callable[[object, object], bool]] = {
    each: getattr(operator, each.name.lower()) for each in Comparator
}


@final
@frozen
class Names:
    """The fields and the parameters that an expression reads."""

    fields: frozenset[str]
    params: frozenset[str]


@frozen
class Expression(ABC):
    """One node. Build it with ``field``, ``param``, ``const`` and the methods below; ``and``, ``or``, ``==`` do not."""

    binding: ClassVar[int] = 9
    """How strongly the outermost operator holds its operands together; 9 never needs parentheses."""

    def eq(self, other: Expression | Value) -> Expression:
        return Comparison(Comparator.EQ, self, const(other))

    def ne(self, other: Expression | Value) -> Expression:
        return Comparison(Comparator.NE, self, const(other))

    def lt(self, other: Expression | Value) -> Expression:
        return Comparison(Comparator.LT, self, const(other))

    def le(self, other: Expression | Value) -> Expression:
        return Comparison(Comparator.LE, self, const(other))

    def gt(self, other: Expression | Value) -> Expression:
        return Comparison(Comparator.GT, self, const(other))

    def ge(self, other: Expression | Value) -> Expression:
        return Comparison(Comparator.GE, self, const(other))

    def is_none(self) -> Expression:
        return IsNone(self)

    def is_some(self) -> Expression:
        return Not(IsNone(self))

    def is_in(self, *options: Value) -> Expression:
        """Equal to one of the constants ``options`` (at least one)."""
        if not options:
            raise ExpressionError(f"{self.text()} in {{}}", "give at least one value to is_in")
        if isinstance(options[0], list | tuple | set | frozenset):
            raise ExpressionError(repr(options[0]), "give is_in the values one by one: is_in(1, 2), or is_in(*values)")
        return IsIn(self, tuple(Const(option) for option in options))

    def plus_one(self) -> Expression:
        return PlusOne(self)

    def __and__(self, other: Expression | Value) -> Expression:
        return And((*_flat(And, self), *_flat(And, const(other))))

    def __or__(self, other: Expression | Value) -> Expression:
        return Or((*_flat(Or, self), *_flat(Or, const(other))))

    def __invert__(self) -> Expression:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise ExpressionError(self.text(), "an expression has no truth value here; use & | ~, not and, or, not, if")

    @property
    def children(self) -> tuple[Expression, ...]:
        """The operands, from the left."""
        values = (getattr(self, part.name) for part in attrs.fields(type(self)))
        parts = (part for value in values for part in (value if isinstance(value, tuple) else (value,)))
        return tuple(part for part in parts if isinstance(part, Expression))

    def walk(self) -> Iterator[Expression]:
        """This node and every node below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def names(self) -> Names:
        """The fields and parameters that it reads."""
        nodes = tuple(self.walk())
        return Names(
            fields=frozenset(node.name for node in nodes if isinstance(node, FieldRef)),
            params=frozenset(node.name for node in nodes if isinstance(node, ParamRef)),
        )

    @abstractmethod
    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        """The value. Raises KeyError for a name that is not there, TypeError where None meets an order or ``+ 1``."""

    @abstractmethod
    def text(self) -> str:
        """As a person reads it: ``failure_count + 1 < max_attempts``."""

    @abstractmethod
    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        """Python source over ``fields`` and ``params``; constants are put into ``constants`` under names of their own.

        Parameters in ``omissible`` read as None where they were left out.
        """


def _flat(kind: type[And | Or], expression: Expression) -> tuple[Expression, ...]:
    return expression.children if isinstance(expression, kind) else (expression,)


def _within(expression: Expression, binding: int) -> str:
    text = expression.text()
    return text if expression.binding > binding else f"({text})"


def _type_and_value(value: Value) -> tuple[type, Value]:
    return type(value), value


@final
@frozen
class FieldRef(Expression):
    name: str

    def __attrs_post_init__(self) -> None:
        _check_name(self.name)

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return fields[self.name]

    def text(self) -> str:
        return self.name

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        return f"fields['{self.name}']"


@final
@frozen
class ParamRef(Expression):
    name: str

    def __attrs_post_init__(self) -> None:
        _check_name(self.name)

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return params[self.name]

    def text(self) -> str:
        return self.name

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        return f"params.get('{self.name}')" if self.name in omissible else f"params['{self.name}']"


@final
@frozen
class Const(Expression):
    """A value written into the table. ``Const(1)`` and ``Const(True)`` are different."""

    value: Value = attrs.field(eq=_type_and_value)

    def __attrs_post_init__(self) -> None:
        value: object = self.value
        if not (value is None or isinstance(value, int | str | Enum | UUID)):
            raise ExpressionError(repr(value), "a constant must be an int, str, bool, None, enum member or UUID")

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return self.value

    def text(self) -> str:
        return value_text(self.value)

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        return bind(constants, self.value)


@final
@frozen
class PlusOne(Expression):
    binding: ClassVar[int] = 5
    operand: Expression

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return operator.add(self.operand.evaluate(fields, params), 1)

    def text(self) -> str:
        return f"{_within(self.operand, 4)} + 1"

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        return f"({self.operand.source(constants, omissible)} + 1)"


@final
@frozen
class Comparison(Expression):
    binding: ClassVar[int] = 4
    comparator: Comparator
    left: Expression
    right: Expression

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return _COMPARE[self.comparator](self.left.evaluate(fields, params), self.right.evaluate(fields, params))

    def text(self) -> str:
        return f"{_within(self.left, 4)} {self.comparator} {_within(self.right, 4)}"

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        left, right = self.left.source(constants, omissible), self.right.source(constants, omissible)
        return f"({left} {'==' if self.comparator is Comparator.EQ else self.comparator} {right})"


@final
@frozen
class IsNone(Expression):
    binding: ClassVar[int] = 4
    operand: Expression

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return self.operand.evaluate(fields, params) is None

    def text(self) -> str:
        return f"{_within(self.operand, 4)} is none"

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        return f"({self.operand.source(constants, omissible)} is None)"


@final
@frozen
class IsIn(Expression):
    binding: ClassVar[int] = 4
    operand: Expression
    options: tuple[Const, ...]

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return self.operand.evaluate(fields, params) in tuple(option.value for option in self.options)

    def text(self) -> str:
        return f"{_within(self.operand, 4)} in {{{', '.join(option.text() for option in self.options)}}}"

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        options = bind(constants, tuple(option.value for option in self.options))
        return f"({self.operand.source(constants, omissible)} in {options})"


@final
@frozen
class Not(Expression):
    binding: ClassVar[int] = 4
    operand: Expression

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return not self.operand.evaluate(fields, params)

    def text(self) -> str:
        if isinstance(self.operand, IsNone):
            return f"{_within(self.operand.operand, 4)} is not none"
        return f"not {_within(self.operand, 4)}"

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        return f"(not {self.operand.source(constants, omissible)})"


@final
@frozen
class And(Expression):
    """All of ``operands``, from the left; those after the first that is false are not looked at."""

    binding: ClassVar[int] = 2
    operands: tuple[Expression, ...]

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return all(operand.evaluate(fields, params) for operand in self.operands)

    def text(self) -> str:
        return " and ".join(_within(operand, 2) for operand in self.operands)

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        return f"({' and '.join(operand.source(constants, omissible) for operand in self.operands)})"


@final
@frozen
class Or(Expression):
    """One of ``operands``, from the left; those after the first that is true are not looked at."""

    binding: ClassVar[int] = 1
    operands: tuple[Expression, ...]

    def evaluate(self, fields: _Fields, params: _Fields) -> object:
        return any(operand.evaluate(fields, params) for operand in self.operands)

    def text(self) -> str:
        return " or ".join(_within(operand, 1) for operand in self.operands)

    def source(self, constants: dict[str, object], omissible: frozenset[str] = frozenset()) -> str:
        return f"({' or '.join(operand.source(constants, omissible) for operand in self.operands)})"


def field(name: str) -> Expression:
    """The value of a field of the machine before the step."""
    return FieldRef(name)


def param(name: str) -> Expression:
    """The value of a parameter of the event."""
    return ParamRef(name)


def const(value: Expression | Value) -> Expression:
    """A constant; an expression is returned as it is."""
    return value if isinstance(value, Expression) else Const(value)


TRUE = Const(True)
"""The guard that always holds."""


def value_text(value: object) -> str:
    """A value as tables, refusals and findings show it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    return repr(value) if isinstance(value, str) else str(value)


def is_name(value: object) -> bool:
    """Whether ``value`` can name a field or a parameter: an ASCII identifier."""
    return isinstance(value, str) and value.isidentifier() and value.isascii()


def _check_name(name: str) -> None:
    if not is_name(name):
        raise ExpressionError(repr(name), "a name must be an ASCII identifier")


def bind(constants: dict[str, object], value: object) -> str:
    """Put ``value`` into ``constants`` under a new name and return the name: generated source never holds a repr."""
    name = f"c{len(constants)}"
    constants[name] = value
    return name
