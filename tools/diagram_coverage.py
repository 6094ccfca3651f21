"""What a test run took of a machine, on its picture: the file that ``pytest --holdstate-coverage=FILE.json`` writes."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final, final

import msgspec

from ..spec.errors import HoldstateError
from ..spec.machine import Machine
from .diagram_overlay import Overlay, edges_section
from .diagram_parts import Edge
from .explorer_file import tables_digest
from .harness.coverage import edges_of
from .machine_markdown import Section, code

FORMAT: Final = "holdstate-coverage"
VERSION: Final = 1
STDIN: Final = "-"


@final
class BadCoverage(HoldstateError, ValueError):
    """The file ``path`` is not coverage, or not of the machine that is drawn."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}; `pytest --holdstate-coverage=FILE.json` writes such a file")


class _Played(msgspec.Struct):
    """What is read of one machine."""

    machine: str
    tables: str
    steps: int
    refused: int
    crashes: int
    states: dict[str, int]
    taken: dict[str, int]
    never_taken: list[str]


class _File(msgspec.Struct):
    format: str
    version: int
    machines: list[_Played]


def coverage_overlay(machine: Machine[Any, Any], path: str) -> Overlay:
    """The figures of ``machine`` in a file, or in stdin where ``path`` is ``-``. Raises BadCoverage, OSError."""
    edges = {each.text(): (str(each.source), each.row) for each in edges_of(machine)}
    found = _of_machine(machine, path, edges)
    taken: Counter[Edge] = Counter()
    states: Counter[str] = Counter()
    for each in found:
        taken.update({edges[text]: count for text, count in each.taken.items()})
        states.update(each.states)
    reached = sum(count > 0 for count in taken.values())
    steps, refused, crashes = (sum(getattr(each, of) for each in found) for of in ("steps", "refused", "crashes"))
    caption = (
        f"{'stdin' if path == STDIN else Path(path).name}: {reached} of {len(edges)} transitions were taken, in "
        f"{steps:,} steps; {refused:,} events were refused, {crashes:,} crashes. A transition is a row from one of its "
        f"states."
    )
    names = [str(state) for state in machine.states]
    visits = [(code(state), f"{states[state]:,}" if states[state] else "never") for state in names]
    return Overlay(
        {state: (f"{states[state]:,} visits" if states[state] != 1 else "1 visit",) for state in names},
        taken,
        (caption,),
        unvisited=frozenset(state for state in names if not states[state]),
        sections=(
            Section("States visited", ("state", "visits"), visits),
            edges_section(machine, taken, 0, "How often each row was taken, from each of its states."),
        ),
    )


def _of_machine(machine: Machine[Any, Any], path: str, edges: dict[str, Edge]) -> list[_Played]:
    """What is there about a machine of that name with these edges; two tests may have played one each."""
    content = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    try:
        file = msgspec.json.decode(content, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadCoverage(path, f"it is not the coverage of a test run: {error}") from error
    if (file.format, file.version) != (FORMAT, VERSION):
        problem = f"it is {file.format!r} of version {file.version}, not {FORMAT!r} of version {VERSION}"
        raise BadCoverage(path, problem)
    named = [each for each in file.machines if each.machine == machine.name]
    if not named:
        others = ", ".join(sorted({each.machine for each in file.machines})) or "none"
        raise BadCoverage(path, f"it says nothing of the machine {machine.name!r}; it has: {others}")
    names = {str(state) for state in machine.states}
    digest = tables_digest(machine)
    found = [
        each
        for each in named
        if {*each.taken, *each.never_taken} == edges.keys() and each.states.keys() == names and each.tables == digest
    ]
    if not found:
        told = {*named[0].taken, *named[0].never_taken}
        other = next(iter(sorted(told ^ edges.keys())), "")
        where = f"the transition {other!r} is in only one of them" if other else "its states or rows changed"
        raise BadCoverage(path, f"its {machine.name!r} is not the machine as it is now: {where}; run the tests again")
    if any(count < 0 for each in found for count in (*each.taken.values(), *each.states.values())):
        raise BadCoverage(path, "it has a negative count")
    return found
