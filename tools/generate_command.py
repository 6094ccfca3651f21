"""``holdstate generate``: everything under docs/generated/, made from the tables, and whether what is there is that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from ..spec.tla_machine import TlaBounds
from .coupling import NAME as COUPLING
from .diagram_command import diagram_of
from .export_command import machine_files
from .machine_document import json_of, json_schema
from .machine_names import MACHINES
from .machine_scxml import scxml_of
from .options import option
from .output import ExitCode, note, write_result
from .plain_tables import GENERATED, plain_tables
from .tla_whole import whole_files

FOLDER: Final = Path("docs/generated")
SCHEMA: Final = "machine.schema.json"
_DRAWN: Final = {"svg": "svg", "mermaid": "mmd", "dot": "dot", "md": "md"}


def generated_files() -> dict[str, str]:
    """The text of every file, by its path in the folder. The same tables give the same bytes."""
    files = {f"tla/{name}": text for name, text in whole_files().items()}
    for name in (*MACHINES, COUPLING):
        for form, suffix in _DRAWN.items():
            drawn = diagram_of(name, form)
            assert isinstance(drawn, str), "no other program draws these"
            files[f"{name}.{suffix}"] = drawn
    for machine in MACHINES.values():
        files |= {f"tla/{name}": text for name, text in machine_files(machine, TlaBounds()).items()}
        files[f"{machine.name}.scxml"] = scxml_of(machine)
        files[f"{machine.name}.json"] = json_of(machine)
    tables = plain_tables()
    files |= {f"{name}.md": tables[name].markdown(name) for name in GENERATED}
    return files | {SCHEMA: json_schema()}


def drift(folder: Path, expected: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with each file of ``folder`` that is not as expected: ``differs``, ``missing``, ``left over``."""
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    found = [(name, "left over") for name in there if name not in expected]
    for name, text in expected.items():
        if name not in there:
            found.append((name, "missing"))
        elif there[name].read_bytes() != text.encode():
            found.append((name, "differs"))
    return sorted(found)


@click.command()
@option(
    "--output", "-o", "folder", type=click.Path(file_okay=False, path_type=Path), default=FOLDER, help="The folder."
)
@option("--check", "is_checked", is_flag=True, help="Write nothing; exit 1 where the folder is not up to date.")
def generate(*, folder: Path, is_checked: bool) -> ExitCode:
    """Write pictures, tables, SCXML, JSON and TLA+ of the shipped machines, and take away what is left over.

    With --check nothing is written: each file that differs, is missing, or is left over is named.
    """
    expected = generated_files()
    found = drift(folder, expected)
    if is_checked:
        for name, problem in found:
            write_result(f"{folder / name}: {problem}")
        if found:
            note("run `holdstate generate` and commit what it writes")
        return ExitCode.FINDING if found else ExitCode.OK
    for name, problem in found:
        path = folder / name
        if problem == "left over":
            path.unlink()
            note(f"removed {path}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(expected[name].encode())
        note(f"wrote {path}")
    return ExitCode.OK
