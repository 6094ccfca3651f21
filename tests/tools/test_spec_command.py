"""``holdstate spec``: what it shows, how it explores, and its exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from holdstate.runtime import core
from holdstate.spec.commands import COMMANDS
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.vocabulary import HandlingMode, InputKind
from holdstate.tools import check_command
from holdstate.tools.explorer import Explorer
from holdstate.tools.trace_file import read_trace

from .support import call

EXPLORED = "tests.tools.explored"
SMALL = ("--kinds", "prompt", "--no-faults")


def test_the_tables_are_listed_and_shown() -> None:
    """As a table and as JSON; each that is listed can be shown."""
    listed = json.loads(call("spec", "list", "--json").stdout)
    assert {"input_lifecycle", "runtime_state", "commands", "policy", "properties"} == {each["name"] for each in listed}
    for each in listed:
        rows = json.loads(call("spec", "show", each["name"], "--json").stdout)
        assert len(rows) == int(each["rows"])
    text = call("spec", "show", "runtime_state").stdout
    assert "current_run_id is none" in text
    assert "INPUT_LIFECYCLE" not in call("spec", "list").stdout


def test_the_policy_is_shown_row_by_row() -> None:
    """What the table says of each kind and of each handling mode; what has no row of its own comes last."""
    rows = {row["input"]: row for row in json.loads(call("spec", "show", "policy", "--json").stdout)}
    assert set(rows) == {
        *(f"handling mode {mode}, whatever the kind" for mode in HandlingMode),
        *map(str, DEFAULT_POLICY.by_kind),
        "any other kind",
    }
    operation = DEFAULT_POLICY.by_kind[InputKind.OPERATION]
    shown = rows["operation"]
    assert (shown["apply"], shown["consumed"], shown["lane"]) == (operation.apply, operation.consume, operation.route)
    assert (shown["transcript"], rows["prompt"]["transcript"]) == ("no", "yes")


def test_lint_finds_nothing_in_the_shipped_machines() -> None:
    """And says so with 0; a machine of one's own with a finding ends with 1."""
    assert call("spec", "lint").exit_code == 0
    result = call("spec", "lint", "holdstate.spec:RUNTIME_STATE", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    broken = call("spec", "lint", f"{EXPLORED}:TRAPPED", "--json")
    assert (broken.exit_code, json.loads(broken.stdout)[0]["code"]) == (1, "unreachable_state")


def test_a_machine_is_checked() -> None:
    """Ok with 0, and the counts."""
    result = call("spec", "check", "runtime_state", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["verdict"], document["model"]) == (0, "ok", "runtime_state")
    assert document["states"] == 17
    assert document["bounds"]["symmetry"] is True


def test_a_model_of_ones_own_is_checked() -> None:
    """A Machine or a Model, as module:NAME."""
    assert call("spec", "check", f"{EXPLORED}:ORDER").exit_code == 0
    assert "counter: ok" in call("spec", "check", f"{EXPLORED}:COUNTER").stdout
    result = call("spec", "check", f"{EXPLORED}:TRAPPED")
    assert result.exit_code == 1
    assert "progress: " in result.stdout
    assert "  1  pay(amount = 1)\n" in result.stdout
    assert "state: cart → paid" in result.stdout


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no_such_machine", "it is not a machine"),
        ("no.such.module:NAME", "it cannot be loaded"),
        (f"{EXPLORED}:NO_SUCH", "it cannot be loaded"),
        (f"{EXPLORED}:NO_MODEL", "neither a Machine nor a Model"),
    ],
)
def test_what_cannot_be_checked_is_a_usage_error(what: str, said: str) -> None:
    """Told in one line."""
    result = call("spec", "check", what)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("A = 1\nB = one\n", "NameError: name 'one' is not defined (mine.py:2)"),
        ("\nA = (\n", "SyntaxError: '(' was never closed (mine.py:2)"),
        ("from enum import StrEnum\nS = StrEnum('S', 'A')\nA = S.B\n", "AttributeError: B (mine.py:3)"),
        ("import json\n\nA = json.loads('{')\n", "(mine.py:3)"),
        ("raise SystemExit(0)\n", "SystemExit: 0 (mine.py:1)"),
        ("from holdstate.spec import Machine\nA = Machine(colour=1)\n", "TypeError: Machine.__init__() "),
        ("from holdstate.spec import Machine\nA = Machine(colour=1)\n", "(mine.py:2)"),
        ("B = 1\n", "module 'mine' has no attribute 'A'"),
    ],
)
@pytest.mark.parametrize("command", ["lint", "show", "check", "html", "diagram", "export"])
def test_a_mistake_in_the_users_code_is_told_with_its_place(
    command: str, code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, with file and line; it is no bug of ours."""
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    result = call("spec", command, "mine:A", *(("-o", tmp_path) if command == "export" else ()))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: mine:A: it cannot be loaded: ")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("command", "others"),
    [
        ("show", ["commands", "policy", "properties"]),
        ("check", ["whole"]),
        ("html", ["whole"]),
        ("export", ["whole"]),
        ("diagram", ["coupling"]),
        ("lint", []),
    ],
)
def test_what_is_no_machine_is_told_with_all_that_the_command_takes(
    command: str, others: list[str], tmp_path: Path
) -> None:
    """The shipped machines, and what else it knows by name."""
    result = call("spec", command, "nope", *(("-o", tmp_path) if command == "export" else ()))
    names = ", ".join(["input_lifecycle", "runtime_state", *others])
    assert result.stderr == f"error: nope: it is not a machine; give one of {names}, or module:NAME\n"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "runtime_state", "--openers", 2),
        ("check", "runtime_state", "--no-faults"),
        ("check", "runtime_state", "--backoff"),
        ("check", "whole", "--integers", 2),
        ("check", "--ids", 2),
        ("check", f"{EXPLORED}:COUNTER", "--ids", 2),
        ("check", f"{EXPLORED}:COUNTER", "--no-symmetry"),
        ("check", f"{EXPLORED}:COUNTER", "--kinds", "prompt"),
        ("html", "runtime_state", "--limit", 3),
        ("html", "runtime_state", "--every-fate"),
        ("html", "runtime_state", "--inputs", 2),
    ],
)
def test_options_that_would_do_nothing_are_usage_errors(words: tuple[object, ...]) -> None:
    """The option is named, and what it is for."""
    result = call("spec", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    option = next(str(word) for word in words if str(word).startswith("--")).replace("--no-", "--")
    assert f"error: {option}" in result.stderr
    assert " is for " in result.stderr


def test_an_option_for_something_else_may_be_in_the_environment() -> None:
    """It is there for every call."""
    assert call("spec", "check", "runtime_state", env={"HOLDSTATE_SPEC_CHECK_OPENERS": "2"}).exit_code == 0


def test_a_path_is_no_name_of_a_module() -> None:
    """It is told how to write it."""
    result = call("spec", "lint", "./mine:A")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'./mine' is no name of a module; write it as an import does" in result.stderr


def test_show_takes_machines_only() -> None:
    """A model has no rows."""
    result = call("spec", "show", f"{EXPLORED}:COUNTER")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "not a Machine" in result.stderr


@pytest.mark.parametrize("words", [("--kinds", "prompt,prompt"), ("--kinds", ""), ("--kinds", "x"), ("--no-symmetry",)])
def test_bounds_that_make_no_sense_are_usage_errors(words: tuple[str, ...]) -> None:
    """Nothing is explored."""
    result = call("spec", "check", *words)
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_whole_is_checked() -> None:
    """Ok with 0."""
    result = call("spec", "check", *SMALL)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "whole: ok")


def test_the_trace_of_a_violation_is_written(tmp_path: Path) -> None:
    """As a page and in ITF; where nothing is broken stderr says that there is none."""
    page, itf = tmp_path / "a.html", tmp_path / "a.itf.json"
    assert (
        call("spec", "check", f"{EXPLORED}:ORDER", "--html", page).stderr
        == "nothing is broken, so no trace was written\n"
    )
    assert not page.exists()
    assert call("spec", "check", f"{EXPLORED}:TRAPPED", "--html", page, "--itf", itf).exit_code == 1
    assert "progress" in page.read_text(encoding="utf-8")
    assert read_trace(itf).broken_name == "progress"


def test_a_violation_is_told_with_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1; each step says what it changed. As JSON the trace has whole states."""
    from types import MappingProxyType

    from attrs import evolve

    from holdstate.spec.vocabulary import CommandName

    row = evolve(COMMANDS[CommandName.STOP], inputs=())
    monkeypatch.setattr(core, "COMMANDS", MappingProxyType({**COMMANDS, CommandName.STOP: row}))
    result = call("spec", "check", *SMALL)
    assert result.exit_code == 1
    assert "terminal_runtime_has_no_active_inputs: " in result.stdout
    assert "  3  stop\n" in result.stdout
    assert "store: runtime.state: idle → stopped" in result.stdout
    document = json.loads(call("spec", "check", *SMALL, "--json").stdout)
    assert [step["action"] for step in document["violation"]["trace"]] == ["start", "open", "accept prompt 1", "stop"]
    assert document["violation"]["trace"][-1]["state"]["store"]["runtime"]["state"] == "stopped"


def test_a_limit_is_told_and_gone_on_from(tmp_path: Path) -> None:
    """Exit code 3, then, with what was kept, 0."""
    path = tmp_path / "kept"
    result = call("spec", "check", *SMALL, "--limit", 300, "--save", path)
    assert result.exit_code == 3
    assert "undecided: stopped at 300 states" in result.stdout
    assert f"--resume {path}" in result.stderr
    again = call("spec", "check", *SMALL, "--resume", path)
    assert (again.exit_code, again.stdout.splitlines()[0]) == (0, "whole: ok")
    other = call("spec", "check", "--kinds", "event", "--resume", path)
    assert (other.exit_code, other.stdout) == (2, "")


def test_an_interrupt_keeps_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Explorer, "_expand", interrupted)
    result = call("spec", "check", *SMALL, "--save", tmp_path / "kept")
    assert result.exit_code == 130
    assert (tmp_path / "kept").exists()


def test_progress_is_told_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """States a second, what waits, how deep."""
    monkeypatch.setattr(check_command, "TOLD_EVERY_SECONDS", 0.0)
    result = call("spec", "check", f"{EXPLORED}:ENDLESS", "--limit", 3000)
    assert result.exit_code == 3
    assert "states/s" in result.stderr
    assert "states/s" not in result.stdout.splitlines()[0]
