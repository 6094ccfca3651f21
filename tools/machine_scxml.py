"""A machine as SCXML (W3C), with Python's expressions, as python-statemachine loads it.

Fields are its data, parameters are ``_event.data``, effects are told with ``<log>``. What no row allows is ignored, as
SCXML has it. An optional parameter that is left out has to be sent as None. A name that means something to the reader
gets a prefix, and so does a parameter that is called like a field, which it would hide.
"""

from __future__ import annotations

import html
import keyword
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final
from uuid import UUID
from xml.sax.saxutils import escape, quoteattr

from ..spec.errors import SpecError
from ..spec.expressions import (
    TRUE,
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
)
from ..spec.machine import Machine, Transition
from ..spec.statechart import KEPT_BY_SEND
from .machine_document import member_name

_TAKEN: Final = frozenset(
    {
        *("event_data", "machine", "event", "model", "transition", "state", "source", "target"),
        *("previous_configuration", "new_configuration", "In"),
        *("true", "false", "null", *keyword.kwlist),
    }
)
"""Names that mean something to python-statemachine, or to Python."""
_PREFIXED: Final = ("_", "field_", "next_", "param_")
"""How a name may not begin: it is private there, or might be one of those that are made here."""
_SPACE: Final = "http://www.w3.org/2005/07/scxml"
_WORD: Final = re.compile(r"[^\W\d][\w.\-]*")
_READ_AS_CODE: Final = re.compile(r"\b(?:true|false|null)\b|===|!==|&&|\|\||&#?\w+;?")
"""What a reader of SCXML may take for ECMAScript or an entity, in texts too."""


def scxml_of(machine: Machine[Any, Any]) -> str:
    """The document. Raises SpecError for a state or an event whose name SCXML cannot hold."""
    for each in (*machine.states.__members__.values(), *machine.events):
        if not _WORD.fullmatch(str(each)):
            raise SpecError(
                f"machine {machine.name!r}", f"{str(each)!r} is no name in SCXML; give the member another value"
            )
    params = param_ids(machine)
    left = {state for row in machine.transitions for state in row.source}
    name = quoteattr(re.sub(r"\W", "_", machine.name))
    initial = quoteattr(str(machine.initial))
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<scxml xmlns="{_SPACE}" version="1.0" datamodel="python" name={name} initial={initial}>',
        *(f"  <!-- parameter {each} is sent as {sent} -->" for each, sent in params.items() if each != sent),
    ]
    if machine.fields:
        lines.append("  <datamodel>")
        data = {data_id(field.name): _constant(field.default) for field in machine.fields}
        data |= {_next(name): "None" for row in machine.transitions for name in _late(row)}
        lines += [f"    <data id={quoteattr(name)} expr={quoteattr(value)}/>" for name, value in data.items()]
        lines.append("  </datamodel>")
    for state in machine.states:
        identity = quoteattr(str(state))
        rows = [row for row in machine.transitions if state in row.source]
        if state not in left:
            lines.append(f"  <{'final' if state in machine.terminal else 'state'} id={identity}/>")
        else:
            inside = (line for row in rows for line in _transition(row, params))
            lines += [f"  <state id={identity}>", *inside, "  </state>"]
    return "\n".join((*lines, "</scxml>", ""))


def data_id(field: str) -> str:
    """The name of a field in the document: another one where the name means something to its reader."""
    return f"field_{field}" if field in _TAKEN or field.startswith(_PREFIXED) else field


def param_ids(machine: Machine[Any, Any]) -> dict[str, str]:
    """The name under which each parameter is sent: another one where a field has it too, or it means something."""
    taken = {*_TAKEN, *KEPT_BY_SEND, "get", *(field.name for field in machine.fields)}
    names = (declared.name for params in machine.events.values() for declared in params)
    return {name: f"param_{name}" if name in taken or name.startswith(_PREFIXED) else name for name in names}


def _transition(row: Transition[Any, Any], params: Mapping[str, str]) -> list[str]:
    cond = "" if row.guard == TRUE else f" cond={quoteattr(_source(row.guard, params))}"
    opening = f"    <transition event={quoteattr(str(row.event))}{cond} target={quoteattr(str(row.target))}"
    inside = [
        *_assigns(row, params),
        *(f'      <log label="emits" expr={quoteattr(_constant(str(each)))}/>' for each in row.emits),
    ]
    told = [f"    <!-- {escape(row.doc).replace('--', '- -')} -->"] if row.doc else []
    return [*told, f"{opening}/>"] if not inside else [*told, f"{opening}>", *inside, "    </transition>"]


def _late(row: Transition[Any, Any]) -> list[str]:
    """The fields that an assignment after their own reads: they are set last, as ours are all made at once."""
    return [
        name
        for at, (name, _) in enumerate(row.sets)
        if any(name in value.names().fields for _, value in row.sets[at + 1 :])
    ]


def _assigns(row: Transition[Any, Any], params: Mapping[str, str]) -> list[str]:
    late = _late(row)
    now = [(_next(name) if name in late else data_id(name), _source(value, params)) for name, value in row.sets]
    then = [(data_id(name), _next(name)) for name in late]
    return [f"      <assign location={quoteattr(name)} expr={quoteattr(source)}/>" for name, source in (*now, *then)]


def _next(field: str) -> str:
    """Where the value of a field waits until all have been worked out."""
    return f"next_{field}"


def _source(expression: Expression, params: Mapping[str, str]) -> str:
    match expression:
        case FieldRef(name):
            source = data_id(name)
        case ParamRef(name):
            source = f"_event.data.{params[name]}"
        case Const(value):
            source = _constant(value)
        case PlusOne(operand):
            source = f"({_source(operand, params)} + 1)"
        case Comparison(comparator, left, right):
            sign = "==" if comparator is Comparator.EQ else comparator.value
            source = f"({_source(left, params)} {sign} {_source(right, params)})"
        case IsNone(operand):
            source = f"({_source(operand, params)} == None)"
        case IsIn(operand, options):
            source = _joined("or", [f"({_source(operand, params)} == {_source(option, params)})" for option in options])
        case Not(operand):
            source = f"(not {_source(operand, params)})"
        case _:
            assert isinstance(expression, And | Or), "the set of nodes is closed"
            source = _joined(type(expression).__name__.lower(), [_source(each, params) for each in expression.operands])
    return source


def _joined(word: str, parts: Sequence[str]) -> str:
    return f"({f' {word} '.join(parts)})"


def _constant(value: object) -> str:
    if isinstance(value, Enum):
        return _text(member_name(value))
    if isinstance(value, str | UUID):
        return _text(str(value))
    return repr(value)


def _text(text: str) -> str:
    """A text as Python has it, in pieces where a reader would take a part of it for code."""
    if html.unescape(text) == text and not _READ_AS_CODE.search(text):
        return repr(text)
    return " ".join(map(repr, text))
