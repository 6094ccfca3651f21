"""What is committed as generated is what the tables give today."""

from __future__ import annotations

from pathlib import Path

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE
from holdstate.spec.tla_machine import TlaBounds
from holdstate.tools.export_command import machine_files
from holdstate.tools.tla_whole import whole_files


def test_the_committed_modules_are_those_of_the_tables(project_root: Path) -> None:
    """File by file and no other; ``holdstate spec export NAME -o docs/generated/tla`` writes them anew."""
    expected = whole_files()
    for machine in (INPUT_LIFECYCLE, RUNTIME_STATE):
        expected |= machine_files(machine, TlaBounds())
    folder = project_root / "docs" / "generated" / "tla"
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert sorted(committed) == sorted(expected)
    for name, text in expected.items():
        assert committed[name] == text, f"{name} is not what the tables give"
