"""How the two machines are coupled: which command sends which events to the runtime and to which inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, final

from attrs import frozen

from ..spec.commands import COMMANDS, InputGroup, Rule
from ..spec.vocabulary import InputEvent, RuntimeEvent

NAME: Final = "coupling"
TITLE: Final = "Which command moves which machine."


@final
@frozen
class Coupled:
    """One command: what it sends to the runtime, and to each selection of inputs, in order."""

    command: str
    runtime: tuple[RuntimeEvent, ...]
    inputs: tuple[tuple[str, tuple[InputEvent, ...]], ...]


def coupling() -> tuple[Coupled, ...]:
    """Every command, in the order of the table."""
    return tuple(
        Coupled(str(row.name), row.sends, tuple((str(group.select), _events(group)) for group in row.inputs))
        for row in COMMANDS.values()
    )


def _events(group: InputGroup) -> tuple[InputEvent, ...]:
    return tuple(dict.fromkeys(event for rule in group.rules for event in _sent(rule)))


def _sent(rule: Rule) -> Iterator[InputEvent]:
    yield from (send.event for send in rule.sends)
    for each in rule.then:
        yield from _sent(each)


def coupling_mermaid() -> str:
    """A Mermaid flowchart: runtime events on the left, commands in the middle, events of inputs on the right."""
    rows = coupling()
    lines = ["flowchart LR", *_box("runtime_state", "r", (each for row in rows for each in row.runtime))]
    lines += _box("commands", "c", (row.command for row in rows))
    lines += _box("input_lifecycle", "i", (each for row in rows for _, events in row.inputs for each in events))
    for row in rows:
        lines += [f"    r_{event} --- c_{row.command}" for event in row.runtime]
        lines += [f"    c_{row.command} --> i_{event}" for event in _inputs(row)]
    return "\n".join(lines)


def _box(title: str, letter: str, names: Iterable[str]) -> list[str]:
    inside = [f"        {letter}_{name}[{name}]" for name in dict.fromkeys(map(str, names))]
    return [f"    subgraph {title}", *inside, "    end"]


def coupling_dot() -> str:
    """A graph for Graphviz of the same."""
    rows = coupling()
    lines = [
        f"digraph {NAME} {{",
        '  graph [rankdir=LR, ranksep=1.6, nodesep=0.12, bgcolor="#ffffff"]',
        '  node [shape=box, style="rounded,filled", fillcolor="#ffffff", color="#59636e", height=0.3]',
        '  node [fontname="monospace", fontcolor="#1f2328", fontsize=11]',
        '  edge [color="#59636e", arrowsize=0.6]',
    ]
    for row in rows:
        command = f"c_{row.command}"
        lines.append(f'  {command} [label="{row.command}", fillcolor="#ddf4ff", color="#0969da", class="first"]')
        lines += [f"  r_{event} -> {command} [dir=back]" for event in row.runtime]
        lines += [f"  {command} -> i_{event}" for event in _inputs(row)]
    for event in dict.fromkeys(event for row in rows for event in row.runtime):
        lines.append(f'  r_{event} [label="{event}"]')
    for other in dict.fromkeys(event for row in rows for event in _inputs(row)):
        lines.append(f'  i_{other} [label="{other}"]')
    return "\n".join((*lines, "}"))


def _inputs(row: Coupled) -> tuple[InputEvent, ...]:
    return tuple(dict.fromkeys(event for _, events in row.inputs for event in events))
