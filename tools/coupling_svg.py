"""The coupling as a picture: a row per command, with the events that it sends as chips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.runtime_state import RUNTIME_STATE
from .coupling import TITLE, Coupled, coupling
from .diagram_parts import ArrowKind, parts_of
from .diagram_svg import page
from .diagram_text import LABEL

_MARGIN: Final = 20
_CHIP: Final = 24
_GAP: Final = 6
_PAD: Final = 8
_COMMAND: Final = 142
_RUNTIME: Final = 138
_INPUTS: Final = 360
_CLASS: Final = {ArrowKind.STEP: "step", ArrowKind.RECOVERY: "recovery", ArrowKind.GIVING_UP: "giving"}


def coupling_svg() -> str:
    """The whole file."""
    kinds = _kinds(RUNTIME_STATE) | _kinds(INPUT_LIFECYCLE)
    left, middle = _MARGIN + _COMMAND, _MARGIN + _COMMAND + _RUNTIME
    width = middle + _INPUTS + _MARGIN
    drawn = [
        _text("heading", _MARGIN, 42, "command"),
        _text("heading", left, 42, "runtime"),
        _text("heading", middle, 42, "inputs"),
    ]
    y = 56
    for row in coupling():
        drawn.append(f'<path class="rule" d="M{_MARGIN} {y}H{width - _MARGIN}"/>')
        runtime, first = _chips(row.runtime, left, y + _PAD, _RUNTIME - 2 * _GAP, kinds)
        inputs, second = _groups(row, middle, y + _PAD, kinds)
        drawn += [_text("label step", _MARGIN, y + _PAD + 17, row.command, bold=True), *runtime, *inputs]
        y = max(first, second, y + _PAD + _CHIP) + _PAD
    return page(TITLE, width, y + _MARGIN - _PAD, drawn)


def _groups(row: Coupled, x: int, y: int, kinds: dict[str, str]) -> tuple[list[str], int]:
    """What is sent to inputs, each selection above its events."""
    drawn = []
    for select, events in row.inputs:
        drawn.append(_text("small", x, y + 12, select))
        chips, y = _chips(events, x, y + 18, _INPUTS, kinds)
        drawn += chips
        y += _GAP
    return drawn, y - (_GAP if row.inputs else 0)


def _chips(events: Sequence[str], x: int, y: int, width: int, kinds: dict[str, str]) -> tuple[list[str], int]:
    """Events side by side, in as many lines as they need; gives where they end."""
    drawn, at = [], x
    for event in events:
        wide = LABEL.width(event) + 2 * _PAD
        if at > x and at + wide > x + width:
            at, y = x, y + _CHIP + _GAP
        kind = kinds[str(event)]
        drawn.append(f'<rect class="chip {kind}" x="{at}" y="{y}" width="{wide}" height="{_CHIP}" rx="6"/>')
        drawn.append(_text(f"label {kind}", at + _PAD, y + 17, event))
        at += wide + _GAP
    return drawn, y + _CHIP if events else y


def _kinds(machine: Machine[Any, Any]) -> dict[str, str]:
    """How each event is coloured: as its arrows are in the picture of its machine."""
    parts = parts_of(machine)
    kinds = {str(event): _CLASS[ArrowKind.STEP] for event in machine.events}
    return kinds | {event: _CLASS[arrow.kind] for arrow in parts.arrows for event in arrow.events}


def _text(kind: str, x: int, y: int, text: str, *, bold: bool = False) -> str:
    style = ' font-weight="600"' if bold else ""
    return f'<text class="{kind}" x="{x}" y="{y}"{style}>{escape(text)}</text>'
