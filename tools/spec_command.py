"""``holdstate spec``: what the tables say, and (in ``check_command``) whether all that they allow is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..spec.expressions import TRUE
from ..spec.machine import Machine, Transition
from .check_command import check
from .compare_command import compare
from .diagram_command import diagram
from .diff_command import diff
from .export_command import export
from .html_command import html
from .machine_names import MACHINES, machine_of
from .options import json_option
from .output import ExitCode, write_document, write_table
from .plain_tables import plain_tables

Columns = tuple[str, ...]
Rows = Sequence[tuple[str, ...]]

ROW_COLUMNS: Columns = ("event", "from", "to", "guard", "sets", "emits", "doc")


@click.group()
def spec() -> None:
    """Show the tables, and check all that they allow."""


spec.add_command(check)
spec.add_command(compare)
spec.add_command(diagram)
spec.add_command(diff)
spec.add_command(export)
spec.add_command(html)


@spec.command("list")
@json_option
def list_(*, json: bool) -> ExitCode:
    """The machines and the tables."""
    rows = [(name, str(len(machine.transitions)), machine.doc) for name, machine in MACHINES.items()]
    rows += [(name, str(len(table.rows)), table.doc) for name, table in plain_tables().items()]
    _write(("name", "rows", "what it says"), rows, as_json=json)
    return ExitCode.OK


@spec.command()
@click.argument("name")
@json_option
def show(name: str, *, json: bool) -> ExitCode:
    """The rows of the machine or table NAME; a machine of your own is module:NAME."""
    tables = plain_tables()
    table = tables.get(name)
    if table is not None:
        _write(table.columns, table.rows, as_json=json)
    else:
        _write(ROW_COLUMNS, [_row(row) for row in machine_of(name, tables).transitions], as_json=json)
    return ExitCode.OK


@spec.command()
@click.argument("names", nargs=-1)
@json_option
def lint(names: tuple[str, ...], *, json: bool) -> ExitCode:
    """What is well formed in the machines NAMES (all shipped ones) and still wrong. Exits 1 when something is."""
    machines: list[Machine[Any, Any]] = [machine_of(name) for name in names or MACHINES]
    found = [finding for machine in machines for finding in machine.lint()]
    rows = [(each.code.value, each.machine, each.place, each.message) for each in found]
    _write(("code", "machine", "place", "message"), rows, as_json=json)
    return ExitCode.FINDING if found else ExitCode.OK


def _write(columns: Columns, rows: Rows, *, as_json: bool) -> None:
    if as_json:
        write_document([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        write_table(columns, rows)


def _row(row: Transition[Any, Any]) -> tuple[str, ...]:
    guard = "" if row.guard == TRUE else row.guard.text()
    sets = ", ".join(f"{name} = {value.text()}" for name, value in row.sets)
    return (str(row.event), ", ".join(row.source), str(row.target), guard, sets, ", ".join(row.emits), row.doc)
