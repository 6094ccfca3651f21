"""A machine as JSON, by these classes alone: they write it, read it, check it and give its JSON Schema.

They are msgspec's, which reads unions by a tag and says at which place of the document something is wrong.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any, Final, Literal, final
from uuid import UUID

import msgspec
from msgspec import Struct

from ..spec.expressions import (
    And,
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
    Value,
)
from ..spec.machine import Field, Machine, Param, Transition
from ..spec.vocabulary import RowGroup

VERSION: Final = 1


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the document: nothing in it is unknown."""


class _Node(_Part, tag_field="op", frozen=True, forbid_unknown_fields=True):
    """A node of an expression, told by ``op``."""


PlainValue = int | str | bool | None


@final
class FieldNode(_Node, tag="field", frozen=True, forbid_unknown_fields=True):
    name: str


@final
class ParamNode(_Node, tag="param", frozen=True, forbid_unknown_fields=True):
    name: str


@final
class PlainNode(_Node, tag="const", frozen=True, forbid_unknown_fields=True):
    value: PlainValue


@final
class MemberNode(_Node, tag="member", frozen=True, forbid_unknown_fields=True):
    enum: str
    member: str


@final
class IdNode(_Node, tag="uuid", frozen=True, forbid_unknown_fields=True):
    value: UUID


@final
class PlusOneNode(_Node, tag="plus_one", frozen=True, forbid_unknown_fields=True):
    of: ExpressionNode


@final
class CompareNode(_Node, tag="compare", frozen=True, forbid_unknown_fields=True):
    by: Literal["=", "!=", "<", "<=", ">", ">="]
    left: ExpressionNode
    right: ExpressionNode


@final
class IsNoneNode(_Node, tag="is_none", frozen=True, forbid_unknown_fields=True):
    of: ExpressionNode


@final
class IsInNode(_Node, tag="is_in", frozen=True, forbid_unknown_fields=True):
    of: ExpressionNode
    options: tuple[ExpressionNode, ...]


@final
class NotNode(_Node, tag="not", frozen=True, forbid_unknown_fields=True):
    of: ExpressionNode


@final
class AndNode(_Node, tag="and", frozen=True, forbid_unknown_fields=True):
    of: tuple[ExpressionNode, ...]


@final
class OrNode(_Node, tag="or", frozen=True, forbid_unknown_fields=True):
    of: tuple[ExpressionNode, ...]


ExpressionNode = (
    FieldNode
    | ParamNode
    | PlainNode
    | MemberNode
    | IdNode
    | PlusOneNode
    | CompareNode
    | IsNoneNode
    | IsInNode
    | NotNode
    | AndNode
    | OrNode
)


@final
class StatePart(_Part, frozen=True, forbid_unknown_fields=True):
    name: str
    terminal: bool


@final
class FieldPart(_Part, frozen=True, forbid_unknown_fields=True):
    """``type`` is int, str, bool, UUID or a name in ``enums``."""

    name: str
    type: str
    optional: bool
    default: ExpressionNode


@final
class ParamPart(_Part, frozen=True, forbid_unknown_fields=True):
    name: str
    type: str
    optional: bool


@final
class EventPart(_Part, frozen=True, forbid_unknown_fields=True):
    name: str
    params: tuple[ParamPart, ...]


@final
class SetPart(_Part, frozen=True, forbid_unknown_fields=True):
    field: str
    value: ExpressionNode
    text: str


@final
class RowPart(_Part, frozen=True, forbid_unknown_fields=True):
    """A row. ``text`` is what ``guard`` says to a person; ``group`` is left out in documents of before it was there."""

    event: str
    source: tuple[str, ...]
    target: str
    guard: ExpressionNode
    text: str
    sets: tuple[SetPart, ...]
    emits: tuple[str, ...]
    doc: str
    group: RowGroup = RowGroup.STEP


@final
class ExitPart(_Part, frozen=True, forbid_unknown_fields=True):
    state: str
    event: str


@final
class EnumPart(_Part, frozen=True, forbid_unknown_fields=True):
    name: str
    members: tuple[str, ...]


@final
class MachineDocument(_Part, frozen=True, forbid_unknown_fields=True):
    """A machine as ``holdstate spec export --format json`` writes it."""

    version: Literal[1]
    name: str
    doc: str
    initial: str
    states: tuple[StatePart, ...]
    terminal_exits: tuple[ExitPart, ...]
    enums: tuple[EnumPart, ...]
    fields: tuple[FieldPart, ...]
    events: tuple[EventPart, ...]
    effects: tuple[str, ...] | None
    transitions: tuple[RowPart, ...]


def document_of(machine: Machine[Any, Any]) -> MachineDocument:
    """The machine as a document."""
    return MachineDocument(
        version=VERSION,
        name=machine.name,
        doc=machine.doc,
        initial=str(machine.initial),
        states=tuple(StatePart(str(state), state in machine.terminal) for state in machine.states),
        terminal_exits=tuple(ExitPart(str(state), str(event)) for state, event in sorted(machine.terminal_exits)),
        enums=_enums(machine),
        fields=tuple(_field(each) for each in machine.fields),
        events=tuple(
            EventPart(str(event), tuple(ParamPart(each.name, each.type.__name__, each.optional) for each in params))
            for event, params in machine.events.items()
        ),
        effects=None if machine.effects is None else tuple(map(str, machine.effects)),
        transitions=tuple(_row(row) for row in machine.transitions),
    )


def json_of(machine: Machine[Any, Any]) -> str:
    """The document as text, indented."""
    return msgspec.json.format(msgspec.json.encode(document_of(machine)), indent=2).decode() + "\n"


def read_document(text: str | bytes) -> MachineDocument:
    """The document in ``text``. Raises ``msgspec.ValidationError`` or ``msgspec.DecodeError`` with the place."""
    return msgspec.json.decode(text, type=MachineDocument)


def json_schema() -> str:
    """The JSON Schema (2020-12) of a document, as text."""
    schema = msgspec.json.schema(MachineDocument)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A machine of holdstate"}
    return msgspec.json.format(msgspec.json.encode(head | schema), indent=2).decode() + "\n"


def enums_of(machine: Machine[Any, Any]) -> dict[str, type[Enum]]:
    """The enumerations of fields and parameters, by their names in order."""
    declared: list[Field | Param] = [*machine.fields, *(each for params in machine.events.values() for each in params)]
    used = {each.type.__name__: each.type for each in declared if issubclass(each.type, Enum)}
    return {name: used[name] for name in sorted(used)}


def _enums(machine: Machine[Any, Any]) -> tuple[EnumPart, ...]:
    used = enums_of(machine)
    return tuple(EnumPart(name, tuple(member_name(each) for each in members)) for name, members in used.items())


def _field(declared: Field) -> FieldPart:
    return FieldPart(declared.name, declared.type.__name__, declared.optional, _constant(declared.default))


def _row(row: Transition[Any, Any]) -> RowPart:
    return RowPart(
        event=str(row.event),
        source=tuple(map(str, row.source)),
        target=str(row.target),
        guard=node_of(row.guard),
        text=row.guard.text(),
        sets=tuple(SetPart(name, node_of(value), value.text()) for name, value in row.sets),
        emits=tuple(map(str, row.emits)),
        doc=row.doc,
        group=row.group,
    )


def member_name(member: Enum) -> str:
    """What a member of an enumeration is stored and shown as: its value where that is a text, else its name."""
    return str(member) if isinstance(member, StrEnum) else member.name


def _constant(value: Value) -> ExpressionNode:
    if isinstance(value, Enum):
        return MemberNode(type(value).__name__, member_name(value))
    return IdNode(value) if isinstance(value, UUID) else PlainNode(value)


def node_of(expression: Expression) -> ExpressionNode:
    """An expression as nodes of a document."""
    made: ExpressionNode
    match expression:
        case FieldRef(name):
            made = FieldNode(name)
        case ParamRef(name):
            made = ParamNode(name)
        case Const(value):
            made = _constant(value)
        case PlusOne(operand):
            made = PlusOneNode(node_of(operand))
        case Comparison(comparator, left, right):
            made = CompareNode(comparator.value, node_of(left), node_of(right))
        case IsNone(operand):
            made = IsNoneNode(node_of(operand))
        case IsIn(operand, options):
            made = IsInNode(node_of(operand), tuple(map(node_of, options)))
        case Not(operand):
            made = NotNode(node_of(operand))
        case And(operands):
            made = AndNode(tuple(map(node_of, operands)))
        case _:
            assert isinstance(expression, Or), "the set of nodes is closed"
            made = OrNode(tuple(map(node_of, expression.operands)))
    return made
