"""Pictures of machines, made from the rows that run: Mermaid and DOT. Our own SVG is in ``diagram_svg``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final, TypeVar

from ..spec.machine import Machine
from .diagram_parts import MANY, Arrow, ArrowKind, Parts, parts_of, row_text

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

_PLAIN: Final = re.compile(r"[^\W\d]\w*", re.ASCII)
_MERMAID_WORDS: Final = frozenset(
    [
        "as",
        "class",
        "classdef",
        "choice",
        "default",
        "direction",
        "end",
        "fork",
        "join",
        "live",
        "note",
        "state",
        "style",
    ]
)
_COLOUR: Final = {ArrowKind.STEP: "#59636e", ArrowKind.RECOVERY: "#0969da", ArrowKind.GIVING_UP: "#bc4c00"}

_DOT_HEAD: Final = (
    '  graph [rankdir=TB, compound=true, bgcolor="#ffffff", nodesep=0.4, ranksep=0.45, fontname="monospace"]',
    '  node [shape=box, style="rounded,filled", fillcolor="#ffffff", color="#59636e"]',
    '  node [fontcolor="#1f2328", fontname="monospace", fontsize=12]',
    '  edge [color="#59636e", fontcolor="#1f2328", fontname="monospace", fontsize=10, arrowsize=0.7]',
    '  "" [shape=point, width=0.12, color="#59636e", fillcolor="#59636e"]',
)

Label = Callable[[str, Iterable[int]], str]


def mermaid(machine: Machine[S, E], *, detail: bool = False) -> str:
    """A Mermaid state diagram: one arrow per pair of states, labelled with its events, with ``detail`` also with rows.

    An event that leads from every state that is not terminal to the same one is drawn once, from a box around them.
    """
    parts = parts_of(machine)
    label = _labels(machine, "; ", detail=detail)
    names = _names((*parts.live, *parts.terminal), lambda name: name.lower() in _MERMAID_WORDS)
    arrows: dict[tuple[str, str], list[str]] = {}
    for arrow in parts.arrows:
        for source in arrow.sources or ("",):
            words = arrows.setdefault((names[source] if source else "live", names[arrow.target]), [])
            words += (label(event, rows) for event, rows in arrow.events_from([source] if source else []))
    for loop in parts.loops:
        arrows.setdefault((names[loop.state], names[loop.state]), []).append(label(loop.event, loop.rows))
    drawn = {pair: f"{pair[0]} --> {pair[1]}: {_mermaid_text(', '.join(words))}" for pair, words in arrows.items()}
    live = {names[state] for state in parts.live}
    inside = [pair for pair in drawn if parts.has_common and live >= set(pair)]
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{_mermaid_text(name)}" as {alias}' for name, alias in names.items() if name != alias]
    lines.append(f"    [*] --> {names[parts.initial]}")
    if parts.has_common:
        lines += ["    state live {", *(f"        {drawn[pair]}" for pair in inside), "    }"]
    lines += [f"    {line}" for pair, line in drawn.items() if pair not in inside]
    lines += [f"    {names[state]} --> [*]" for state in parts.terminal]
    return "\n".join(lines)


def dot(machine: Machine[S, E], *, detail: bool = False) -> str:
    """A graph for Graphviz. An event that many states share meets in a point and goes on as one arrow."""
    parts = parts_of(machine)
    label = _labels(machine, "\n", detail=detail)
    lines = [f"digraph {_quoted(machine.name)} {{", *_DOT_HEAD]
    frame = (
        ['    style="rounded,filled" fillcolor="#f6f8fa" color="#d1d9e0"'] if parts.has_common else ["    style=invis"]
    )
    lines += ["  subgraph cluster_live {", *frame, *(f"    {_state(state, parts)}" for state in parts.live), "  }"]
    lines += [f"  {_state(state, parts)}" for state in parts.terminal]
    lines.append(f'  "" -> {_quoted(parts.initial)}')
    for number, arrow in enumerate(parts.arrows):
        words = [label(event, rows) for event, rows in arrow.events_from(arrow.sources)]
        lines += _edges(arrow, "\n".join(words), parts, number)
    for state in dict.fromkeys(loop.state for loop in parts.loops):
        words = [label(loop.event, loop.rows) for loop in parts.loops if loop.state == state]
        lines.append(f"  {_quoted(state)} -> {_quoted(state)} [label={_quoted(chr(10).join(words))}]")
    return "\n".join((*lines, "}"))


def _edges(arrow: Arrow, words: str, parts: Parts, number: int) -> list[str]:
    colour = f'color="{_COLOUR[arrow.kind]}", fontcolor="{_COLOUR[arrow.kind]}", class="{arrow.kind.name.lower()}"'
    place = {state: number for number, state in enumerate((*parts.live, *parts.terminal))}

    def edge(source: str, target: str, end: str, given: str, *, goes_back: bool) -> str:
        # Ranks follow the order of the states: an arrow back is drawn as one from its end to its beginning.
        pair, way = (f"{target} -> {source}", "back") if goes_back else (f"{source} -> {target}", "forward")
        head = f"arrow{'tail' if goes_back else 'head'}={end}"
        return f"  {pair} [dir={way}, {head}, {given}{colour}]"

    target, label = _quoted(arrow.target), f"label={_quoted(words)}, "
    if not arrow.sources:
        return [edge(_quoted(parts.live[-1]), target, "normal", f"ltail=cluster_live, {label}", goes_back=False)]
    after = [each for each in arrow.sources if place[each] > place[arrow.target]]
    if len(arrow.sources) < MANY:
        return [edge(_quoted(each), target, "normal", label, goes_back=each in after) for each in arrow.sources]
    meet = f"meet{number}"
    return [
        f'  {meet} [shape=point, width=0.02, color="{_COLOUR[arrow.kind]}"]',
        *(edge(_quoted(each), meet, "none", "", goes_back=each in after) for each in arrow.sources),
        edge(meet, target, "normal", label, goes_back=len(after) > 1),
    ]


def _state(state: str, parts: Parts) -> str:
    if state == parts.initial:
        return f'{_quoted(state)} [fillcolor="#ddf4ff", color="#0969da", class="first"]'
    return (
        f'{_quoted(state)} [peripheries=2, fillcolor="#eef1f4", class="end"]'
        if state in parts.terminal
        else _quoted(state)
    )


def _labels(machine: Machine[Any, Any], between: str, *, detail: bool) -> Label:
    """How an event is told: by its name, with ``detail`` with the conditions and assignments of its rows."""

    def label(event: str, rows: Iterable[int]) -> str:
        told = [text for number in rows if (text := row_text(machine.transitions[number]))] if detail else []
        return f"{event} {between.join(told)}" if told else event

    return label


def _names(states: Iterable[str], is_taken: Callable[[str], bool]) -> dict[str, str]:
    """A name for each state that needs no quotes."""
    return {
        state: state if _PLAIN.fullmatch(state) and not is_taken(state) else f"state_{number}"
        for number, state in enumerate(states, start=1)
    }


def _mermaid_text(text: str) -> str:
    """Text in which nothing is punctuation of Mermaid's."""
    return re.sub(r"[^\w ,.()=+\-]", lambda match: f"#{ord(match[0])};", text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
