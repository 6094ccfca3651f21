"""What type an expression has, given the types of the names in it, and which expressions have none."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from .expressions import Comparison, Const, Expression, ExpressionError, FieldRef, IsIn, IsNone, ParamRef, PlusOne

_Types = Mapping[str, type]


def type_of(expression: Expression, fields: _Types, params: _Types) -> type:
    """The type of the value. Raises ExpressionError for a name that is not declared and for types that do not fit.

    Only ints are ordered and have a ``plus_one``; only values of one type, or None, are equal; only conditions join.
    """
    match expression:
        case FieldRef(name):
            return _declared(name, fields, "field of the machine")
        case ParamRef(name):
            return _declared(name, params, "parameter of the event")
        case Const(value):
            return type(value)
    operands = [type_of(child, fields, params) for child in expression.children]
    problem = _problem(expression, operands)
    if problem:
        raise ExpressionError(expression.text(), problem)
    return int if isinstance(expression, PlusOne) else bool


def _problem(expression: Expression, operands: list[type]) -> str:
    """Why the operator does not take operands of these types; empty where it does."""
    kinds = set(operands)
    match expression:
        case IsNone():
            return ""
        case PlusOne():
            return "" if kinds == {int} else "only an int has a plus_one"
        case Comparison(comparator) if comparator.is_order:
            return "" if kinds == {int} else f"only ints are ordered, not {_listed(operands)}"
        case Comparison() | IsIn():
            same = len(kinds - {NoneType}) <= 1
            return "" if same else f"values of different types are never equal: {_listed(operands)}"
        case _:
            return "" if kinds == {bool} else "only conditions are joined by & | ~"


def _declared(name: str, types: _Types, what: str) -> type:
    if name not in types:
        raise ExpressionError(name, f"no such {what}; declared are {', '.join(types) or 'none'}")
    return types[name]


def _listed(types: list[type]) -> str:
    return " and ".join(dict.fromkeys(each.__name__ for each in types))
