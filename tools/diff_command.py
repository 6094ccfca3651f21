"""``holdstate spec diff``: what changed between two machines, and whether stored records still fit."""

from __future__ import annotations

from pathlib import Path
from typing import final

import click
import msgspec

from ..spec.errors import HoldstateError
from .machine_difference import COLUMNS, differences, is_breaking
from .machine_document import MachineDocument, document_of, read_document
from .machine_names import machine_of
from .options import json_option
from .output import ExitCode, write_document, write_result, write_table
from .quantities import counted


@final
class BadDocument(HoldstateError, ValueError):
    """The file ``path`` is not a machine that was exported as JSON."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}; `holdstate spec export NAME --format json` writes such a file")


def document_at(name: str) -> MachineDocument:
    """The document of a machine by name, or in a file. Raises BadDocument or BadMachine."""
    path = Path(name)
    if path.suffix != ".json" and not path.is_file():
        return document_of(machine_of(name))
    try:
        document = read_document(path.read_bytes())
    except msgspec.DecodeError as error:
        raise BadDocument(path, str(error)) from error
    problem = _problem(document)
    if problem:
        raise BadDocument(path, problem)
    return document


def _problem(document: MachineDocument) -> str:
    """What is named and not declared; empty where there is nothing."""
    states, events = {each.name for each in document.states}, {each.name for each in document.events}
    fields = {each.name for each in document.fields}
    used = {document.initial, *(each.state for each in document.terminal_exits)}
    used |= {state for row in document.transitions for state in (*row.source, row.target)}
    sent = {row.event for row in document.transitions} | {each.event for each in document.terminal_exits}
    kept = {each.field for row in document.transitions for each in row.sets}
    for kind, names, declared in (("state", used, states), ("event", sent, events), ("field", kept, fields)):
        if names - declared:
            return f"{kind} {min(names - declared)!r} is not declared"
    return ""


@click.command()
@click.argument("before")
@click.argument("after")
@json_option
def diff(before: str, after: str, *, json: bool) -> ExitCode:
    """Rows, states, fields and events that differ between the machines BEFORE and AFTER.

    Each is a shipped machine, module:NAME, or a file that `spec export --format json` wrote. Says of each change
    whether records that were stored before it still fit. Exits 0 when the machines are the same, 1 when they differ,
    2 when one of them cannot be read.
    """
    changes = differences(document_at(before), document_at(after))
    breaking = is_breaking(changes)
    if json:
        told = [dict(zip(("change", "part", "place", "detail", "breaks"), each.row(), strict=True)) for each in changes]
        write_document({"same": not changes, "breaking": breaking, "changes": told})
    elif changes:
        write_table(COLUMNS, [each.row() for each in changes])
        write_result(f"{counted(len(changes), 'change')}; stored records {'do not all fit' if breaking else 'fit'}")
    else:
        write_result("the same")
    return ExitCode.FINDING if changes else ExitCode.OK
