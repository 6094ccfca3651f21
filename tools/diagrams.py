"""Pictures of machines, made from the rows that run: Mermaid and DOT. Our own SVG is in ``diagram_svg``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final, TypeVar

from ..spec.machine import Machine
from .diagram_overlay import Labels, Overlay
from .diagram_parts import MANY, Arrow, ArrowKind, Edge, Parts, numbers_of, parts_of, row_text

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

_CAPTION_COLUMNS: Final = 90
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

Label = Callable[[str, Iterable[Edge]], str]


def mermaid(machine: Machine[S, E], *, detail: bool = False, overlay: Overlay | None = None) -> str:
    """A Mermaid state diagram: one arrow per pair of states, labelled with its events, with ``detail`` also with rows.

    An event that leads from every state that is not terminal to the same one is drawn once, from a box around them.
    """
    parts = parts_of(machine)
    labels = Labels(overlay=overlay)
    label = _labels(machine, "; ", labels, detail=detail)
    names = _names((*parts.live, *parts.terminal), lambda name: name.lower() in _MERMAID_WORDS)
    arrows: dict[tuple[str, str], list[str]] = {}
    for arrow in parts.arrows:
        for source in arrow.sources or ("",):
            words = arrows.setdefault((names[source] if source else "live", names[arrow.target]), [])
            words += (label(event, rows) for event, rows in arrow.events_from([source] if source else []))
    for loop in parts.loops:
        arrows.setdefault((names[loop.state], names[loop.state]), []).append(label(loop.event, loop.edges))
    drawn = {pair: f"{pair[0]} --> {pair[1]}: {_mermaid_text(', '.join(words))}" for pair, words in arrows.items()}
    live = {names[state] for state in parts.live}
    inside = [pair for pair in drawn if parts.has_common and live >= set(pair)]
    lines = ["stateDiagram-v2"]
    lines += [f'    state "{_mermaid_text(name)}" as {alias}' for name, alias in names.items() if name != alias]
    lines += [f"    {names[state]}: {_mermaid_text(line)}" for state in names for line in labels.figures(state)]
    lines.append(f"    [*] --> {names[parts.initial]}")
    if parts.has_common:
        lines += ["    state live {", *(f"        {drawn[pair]}" for pair in inside), "    }"]
    lines += [f"    {line}" for pair, line in drawn.items() if pair not in inside]
    lines += [f"    {names[state]} --> [*]" for state in parts.terminal]
    lines[:0] = [f"%% {line}" for line in _comment(overlay)]
    return "\n".join(lines)


def dot(machine: Machine[S, E], *, detail: bool = False, overlay: Overlay | None = None) -> str:
    """A graph for Graphviz. An event that many states share meets in a point and goes on as one arrow."""
    parts = parts_of(machine)
    labels = Labels(overlay=overlay)
    label = _labels(machine, "\n", labels, detail=detail)
    lines = [f"digraph {_quoted(machine.name)} {{", *_DOT_HEAD]
    frame = (
        ['    style="rounded,filled" fillcolor="#f6f8fa" color="#d1d9e0"'] if parts.has_common else ["    style=invis"]
    )
    told = {state: _state(state, parts, labels) for state in (*parts.live, *parts.terminal)}
    lines += ["  subgraph cluster_live {", *frame, *(f"    {told[state]}" for state in parts.live), "  }"]
    lines += [f"  {told[state]}" for state in parts.terminal]
    lines.append(f'  "" -> {_quoted(parts.initial)}')
    for number, arrow in enumerate(parts.arrows):
        lines += _edges(arrow, label, parts, number, labels)
    for state in dict.fromkeys(loop.state for loop in parts.loops):
        words = [label(loop.event, loop.edges) for loop in parts.loops if loop.state == state]
        lines.append(f"  {_quoted(state)} -> {_quoted(state)} [label={_quoted(chr(10).join(words))}]")
    if overlay is not None:
        # Last, so that no subgraph takes it over.
        lines.append(f"  graph [label={_quoted(_caption(overlay))}, fontsize=10]")
    return "\n".join((*lines, "}"))


def _edges(arrow: Arrow, label: Label, parts: Parts, number: int, labels: Labels) -> list[str]:
    colour = f'color="{_COLOUR[arrow.kind]}", fontcolor="{_COLOUR[arrow.kind]}", class="{arrow.kind.name.lower()}"'
    place = {state: number for number, state in enumerate((*parts.live, *parts.terminal))}

    def told(*sources: str) -> str:
        words = [label(event, edges) for event, edges in arrow.events_from(sources)]
        return f"label={_quoted(chr(10).join(words))}, {dashed(*sources)}"

    def dashed(*sources: str) -> str:
        edges = [edge for _, found in arrow.events_from(sources) for edge in found]
        return "style=dashed, " if labels.is_unreached(edges) else ""

    def edge(source: str, target: str, end: str, given: str, *, goes_back: bool) -> str:
        # Ranks follow the order of the states: an arrow back is drawn as one from its end to its beginning.
        pair, way = (f"{target} -> {source}", "back") if goes_back else (f"{source} -> {target}", "forward")
        head = f"arrow{'tail' if goes_back else 'head'}={end}"
        return f"  {pair} [dir={way}, {head}, {given}{colour}]"

    target = _quoted(arrow.target)
    if not arrow.sources:
        given = f"ltail=cluster_live, {told()}"
        return [edge(_quoted(parts.live[-1]), target, "normal", given, goes_back=False)]
    after = [each for each in arrow.sources if place[each] > place[arrow.target]]
    if len(arrow.sources) < MANY:
        return [edge(_quoted(each), target, "normal", told(each), goes_back=each in after) for each in arrow.sources]
    meet = f"meet{number}"
    return [
        f'  {meet} [shape=point, width=0.02, color="{_COLOUR[arrow.kind]}"]',
        *(edge(_quoted(each), meet, "none", dashed(each), goes_back=each in after) for each in arrow.sources),
        edge(meet, target, "normal", told(*arrow.sources), goes_back=len(after) > 1),
    ]


def _state(state: str, parts: Parts, labels: Labels) -> str:
    given = []
    figures = labels.figures(state)
    if figures:
        given.append(f"label={_quoted(chr(10).join((state, *figures)))}")
    if labels.is_unvisited(state):
        given.append('style="rounded,filled,dashed"')
    if state == parts.initial:
        given.append('fillcolor="#ddf4ff", color="#0969da", class="first"')
    elif state in parts.terminal:
        given.append('peripheries=2, fillcolor="#eef1f4", class="end"')
    return f"{_quoted(state)} [{', '.join(given)}]" if given else _quoted(state)


def _comment(overlay: Overlay | None) -> tuple[str, ...]:
    """The caption as lines without an end inside."""
    return () if overlay is None else tuple(" ".join(line.split()) for line in overlay.caption)


def _caption(overlay: Overlay) -> str:
    return "\n".join(line for each in overlay.caption for line in textwrap.wrap(each, _CAPTION_COLUMNS))


def _labels(machine: Machine[Any, Any], between: str, labels: Labels, *, detail: bool) -> Label:
    """How an event is told: by its name and figures, with ``detail`` with the conditions and assignments too."""

    def label(event: str, edges: Iterable[Edge]) -> str:
        edges = tuple(edges)
        rows = numbers_of(edges) if detail else ()
        told = [text for number in rows if (text := row_text(machine.transitions[number]))]
        name = labels.told(event, edges)
        return f"{name} {between.join(told)}" if told else name

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
