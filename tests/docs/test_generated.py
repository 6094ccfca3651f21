"""What is committed as generated is what the tables give today; ``holdstate generate`` writes it anew."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.vocabulary import InputKind
from holdstate.tools import generate_command, machine_names, plain_tables
from holdstate.tools.cli import cli
from holdstate.tools.generate_command import FOLDER, drift, generated_files

from .pages import links


def _call(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="holdstate")


def test_the_committed_files_are_those_of_the_tables(project_root: Path) -> None:
    """File by file and no other."""
    assert drift(project_root / FOLDER, generated_files()) == []


def test_a_fresh_folder_is_written_and_then_up_to_date(tmp_path: Path) -> None:
    """Twice the same bytes; the second time nothing is written."""
    first = _call("generate", "-o", tmp_path / "new")
    assert (first.exit_code, first.stderr.count("wrote")) == (0, len(generated_files()))
    again = _call("generate", "-o", tmp_path / "new")
    assert (again.exit_code, again.stderr) == (0, "")
    assert _call("generate", "-o", tmp_path / "new", "--check").exit_code == 0


def test_check_names_what_differs_is_missing_or_left_over(tmp_path: Path) -> None:
    """And changes nothing; without --check all three are put right."""
    _call("generate", "-o", tmp_path)
    (tmp_path / "coupling.svg").write_text("other", encoding="utf-8")
    (tmp_path / "tla" / "whole.tla").unlink()
    (tmp_path / "old.md").touch()
    checked = _call("generate", "-o", tmp_path, "--check")
    assert checked.exit_code == 1
    assert checked.stdout.splitlines() == [
        f"{tmp_path}/coupling.svg: differs",
        f"{tmp_path}/old.md: left over",
        f"{tmp_path}/tla/whole.tla: missing",
    ]
    assert ((tmp_path / "coupling.svg").read_text(encoding="utf-8"), (tmp_path / "old.md").exists()) == ("other", True)
    assert _call("generate", "-o", tmp_path).exit_code == 0
    assert drift(tmp_path, generated_files()) == []


def test_check_fails_where_there_is_no_folder(tmp_path: Path) -> None:
    """Everything is missing."""
    checked = _call("generate", "-o", tmp_path / "none", "--check")
    assert (checked.exit_code, len(checked.stdout.splitlines())) == (1, len(generated_files()))


def test_check_fails_when_a_table_changes_without_its_files(
    project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row less in a machine is seen in each of its files."""
    machine = machine_names.MACHINES["runtime_state"]
    changed = attrs.evolve(machine, transitions=machine.transitions[:-1])
    changed_machines = {**machine_names.MACHINES, machine.name: changed}
    for module in (machine_names, generate_command):
        monkeypatch.setattr(module, "MACHINES", changed_machines)
    found = dict(drift(project_root / FOLDER, generated_files()))
    for suffix in ("svg", "mmd", "dot", "md", "json", "scxml"):
        assert found[f"runtime_state.{suffix}"] == "differs"
    assert found["tla/runtime_state.tla"] == "differs"
    assert not [name for name in found if name.startswith(("input_lifecycle", "coupling"))]


@pytest.mark.parametrize("table", ["policy", "properties"])
def test_check_fails_when_a_plain_table_changes(
    project_root: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """A kind that gets another row, a property that goes."""
    if table == "policy":
        by_kind = {**DEFAULT_POLICY.by_kind, InputKind.PROMPT: DEFAULT_POLICY.by_kind[InputKind.OPERATION]}
        monkeypatch.setattr(plain_tables, "DEFAULT_POLICY", attrs.evolve(DEFAULT_POLICY, by_kind=by_kind))
    else:
        monkeypatch.setattr(plain_tables, "RELATIONS", {})
    assert drift(project_root / FOLDER, generated_files()) == [(f"{table}.md", "differs")]


def test_the_readme_shows_the_pictures_of_the_two_machines(project_root: Path) -> None:
    """As they were generated, and leads to that of their coupling."""
    shown = [link for link in links(project_root / "README.md") if link.endswith(".svg")]
    assert shown == [f"{FOLDER}/{name}.svg" for name in ("input_lifecycle", "runtime_state", "coupling")]
