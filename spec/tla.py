"""Expressions and values as TLA+ text, and the names that a machine gets there.

States, enum members, texts and ids are strings; ints and bools are what they are; ``None`` is a model value, which
equals nothing but itself. ``and`` and ``or`` of TLC look at their operands from the left as ours do, and a comparison
that has no value here (None under an order) is an error there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final, final
from uuid import UUID

from attrs import field as attrs_field
from attrs import frozen

from .expressions import (
    And,
    Comparator,
    Comparison,
    Const,
    Expression,
    FieldRef,
    IsIn,
    IsNone,
    Not,
    Or,
    ParamRef,
    PlusOne,
    value_text,
)

if TYPE_CHECKING:
    from enum import StrEnum
    from typing import Any

    from .machine import Machine

NONE: Final = "None"

_OWN_NAMES: Final = frozenset(
    {"None", "Ids", "Texts", "Ints", "MinInt", "MaxInt", "States", "Terminal", "Final", "Init", "Next", "Spec"}
    | {"TypeOK", "InBounds", "FinalStatesRefuse", "ExitsAreDeclared", "state", "vars", "step", "Anywhere", "Take"}
    | {"StepInit", "StepNext", "Int", "Nat"}
)
_MODULES: Final = frozenset(
    {"Bags", "FiniteSets", "Integers", "Naturals", "Randomization", "RealTime", "Reals", "Sequences", "TLC", "Toolbox"}
)
"""The standard modules of TLC."""
_COMPARE: Final = {Comparator.NE: "#", Comparator.LE: "<=", Comparator.GE: ">="}
_WORD: Final = re.compile(r"[A-Za-z0-9]+")
_KEYWORDS: Final = """
    ASSUME ASSUMPTION AXIOM BOOLEAN BY CASE CHOOSE CONSTANT CONSTANTS CORRECTNESS DEF DEFINE DEFS DOMAIN ELSE
    ENABLED EXCEPT EXTENDS FALSE HAVE HIDE IF IN INSTANCE LAMBDA LEMMA LET LOCAL MODULE NEW OBVIOUS OMITTED ONLY
    OTHER PICK PROOF PROPOSITION PROVE QED RECURSIVE SF STATE STRING SUBSET SUFFICES TAKE TEMPORAL THEN THEOREM
    TRUE UNCHANGED UNION USE VARIABLE VARIABLES WF WITH WITNESS
"""
_RESERVED: Final = frozenset(_KEYWORDS.split())


def tla_value(value: object) -> str:
    """A constant of a table."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int) and not isinstance(value, Enum):
        return str(value)
    return tla_string(value if type(value) is str else str(value) if isinstance(value, UUID) else value_text(value))


def tla_string(text: str) -> str:
    """A string literal. What modules, configurations and TLC spell differently is a code point there: ``%22;``."""
    spelled = (
        each if each.isascii() and each.isprintable() and each not in '"\\%' else f"%{ord(each):x};" for each in text
    )
    return f'"{"".join(spelled)}"'


def tla_set(values: Iterable[object]) -> str:
    """A set of constants, in the order given."""
    return f"{{{', '.join(tla_value(value) for value in values)}}}"


def camel(name: str) -> str:
    """``rollback_failed`` as the name of an action: ``RollbackFailed``."""
    joined = "".join(word[0].upper() + word[1:] for word in _WORD.findall(name))
    return joined if joined[:1].isalpha() else f"Do{joined}"


def tla_expression(expression: Expression, fields: Mapping[str, str], params: Mapping[str, str]) -> str:
    """``expression`` in TLA+; the mappings give each field and parameter as it is written there."""

    def within(child: Expression, binding: int) -> str:
        text = tla_expression(child, fields, params)
        return text if child.binding > binding else f"({text})"

    match expression:
        case FieldRef(name):
            return fields[name]
        case ParamRef(name):
            return params[name]
        case Const(value):
            return tla_value(value)
        case And(operands):
            return " /\\ ".join(within(operand, 2) for operand in operands)
        case Or(operands):
            return " \\/ ".join(within(operand, 2) for operand in operands)
    return _operation(expression, within)


def _operation(expression: Expression, within: Callable[[Expression, int], str]) -> str:
    match expression:
        case PlusOne(operand):
            text = f"{within(operand, 4)} + 1"
        case Comparison(comparator, left, right):
            text = f"{within(left, 4)} {_COMPARE.get(comparator, comparator.value)} {within(right, 4)}"
        case IsNone(operand):
            text = f"{within(operand, 4)} = {NONE}"
        case IsIn(operand, options):
            text = f"{within(operand, 4)} \\in {tla_set(option.value for option in options)}"
        case Not(IsNone(operand)):
            text = f"{within(operand, 4)} # {NONE}"
        case Not(operand):
            text = f"~{within(operand, 8)}"
        case _:
            raise TypeError(f"{type(expression).__name__} has no form in TLA+")
    return text


@final
@frozen
class TlaNames:
    """What the parts of a machine are called in its module: their own names where these are free."""

    module: str
    fields: Mapping[str, str]
    params: Mapping[str, str]
    events: Mapping[StrEnum, str]
    enums: Mapping[type, str] = attrs_field(factory=dict)


def names_of(machine: Machine[Any, Any]) -> TlaNames:
    """Names that are distinct in the module, whatever the machine calls its parts."""
    module = _free("_".join(_WORD.findall(machine.name)), "machine_", {*_OWN_NAMES, *_MODULES})
    taken = {*_OWN_NAMES, module}
    fields = {declared.name: _free(declared.name, "field_", taken) for declared in machine.fields}
    kinds = [declared.type for declared in machine.fields]
    kinds += [declared.type for params in machine.events.values() for declared in params]
    others = dict.fromkeys(kind for kind in kinds if issubclass(kind, Enum) and kind is not machine.states)
    enums = {machine.states: "States", **{kind: _free(camel(kind.__name__), "Set", taken) for kind in others}}
    events = {event: _free(camel(event.value), "Event", taken) for event in machine.events}
    named = dict.fromkeys(declared.name for params in machine.events.values() for declared in params)
    params = {name: _free(name, "given_", taken) for name in named}
    return TlaNames(module, fields, params, events, enums)


def _free(name: str, prefix: str, taken: set[str]) -> str:
    """``name``, or with ``prefix`` as often as it takes to be allowed and new."""
    while name in taken or name in _RESERVED or name.startswith(("WF_", "SF_")) or not re.search("[A-Za-z]", name):
        name = f"{prefix}{name}"
    taken.add(name)
    return name
