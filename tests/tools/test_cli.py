"""The program as a whole: exit codes, one line per error, environment variables, streams."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import holdstate
from holdstate.runtime.errors import Fenced, StoreCorruption, StoreFull
from holdstate.tools import cli as cli_module
from holdstate.tools.output import ExitCode, exit_code_of, sentence_of

from .support import DEADLINE_SECONDS, answers, call, command, write_lines


def test_the_version_is_that_of_the_package() -> None:
    """On stdout, exit code 0."""
    result = call("--version")
    assert (result.exit_code, result.stdout) == (0, f"holdstate {holdstate.__version__}\n")


@pytest.mark.parametrize("words", [(), ("no-such-command",), ("run", "--no-such-option"), ("store",)])
def test_what_is_not_a_command_is_a_usage_error(words: tuple[str, ...]) -> None:
    """Exit code 2, told on stderr."""
    result = call(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: holdstate" in result.stderr


@pytest.mark.parametrize("words", [("-h",), ("run", "--help"), ("store", "-h"), ("store", "list", "-h")])
def test_help_is_a_result(words: tuple[str, ...]) -> None:
    """On stdout, exit code 0."""
    result = call(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Usage: holdstate" in result.stdout


def _options_without_variable(group: click.Command, ctx: click.Context) -> list[str]:
    found = []
    if isinstance(group, click.Group):
        for name in group.list_commands(ctx):
            inner = group.get_command(ctx, name)
            assert inner is not None
            found += _options_without_variable(inner, click.Context(inner, parent=ctx, info_name=name))
        return found
    for parameter in group.params:
        if isinstance(parameter, click.Option) and not (parameter.envvar or parameter.allow_from_autoenv):
            found.append(f"{ctx.command_path} {parameter.opts[0]}")
    return found


def test_every_option_has_an_environment_variable() -> None:
    """Named HOLDSTATE_<COMMAND>_<OPTION>, and HOLDSTATE_STORE for the store."""
    ctx = click.Context(cli_module.cli, info_name="holdstate", auto_envvar_prefix="HOLDSTATE")
    run = cli_module.cli.get_command(ctx, "run")
    assert run is not None
    assert _options_without_variable(run, click.Context(run, parent=ctx, info_name="run")) == []
    text = call("run", "--help").stdout
    names = re.findall(r"^  --([a-z-]+)", text, re.MULTILINE)
    flat = re.sub(r"\s+", " ", text)
    missing = [name for name in names if f"HOLDSTATE_RUN_{name.upper().replace('-', '_')}" not in flat]
    assert missing == ["store"]
    assert "HOLDSTATE_STORE" in flat


def test_environment_variables_set_options(tmp_path: Path) -> None:
    """As if they had been given."""
    path = write_lines(tmp_path / "lines", [{"r": "a"}])
    store = str(tmp_path / "store")
    env = {"HOLDSTATE_STORE": store, "HOLDSTATE_RUN_EXEC": "cat", "HOLDSTATE_RUN_RUNTIME_FIELD": "r"}
    result = call("run", path, env=env)
    assert (result.exit_code, answers(result)[0]["runtime"]) == (0, "a")
    result = call("store", "list", env={"HOLDSTATE_STORE": store, "HOLDSTATE_STORE_LIST_NDJSON": "1"})
    assert answers(result)[0]["runtime_id"] == "a"


def test_an_error_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    """What the system refuses is told with the place."""
    (tmp_path / "file").touch()
    path = write_lines(tmp_path / "lines", [1])
    result = call("run", path, "--store", tmp_path / "file" / "store", "--exec", "cat")
    (error,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert (result.exit_code, error[:7]) == (2, "error: ")
    assert str(tmp_path / "file") in error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Fenced("r", 1, 2), ExitCode.FINDING),
        (StoreCorruption("row", "is gone"), ExitCode.FINDING),
        (StoreFull("the disk is full"), ExitCode.USAGE),
        (OSError(2, "No such file", "here"), ExitCode.USAGE),
    ],
)
def test_an_exit_code_says_what_kind_of_error_it_was(error: Exception, code: ExitCode) -> None:
    """1 for what was found wrong, 2 for what asks for another call."""
    assert exit_code_of(error) is code


def test_a_sentence_is_one_line() -> None:
    """Also where the error has several, or none."""
    told = [
        sentence_of(error)
        for error in (OSError(2, "No such file", "here"), OSError(5, "Broken"), ValueError("a\n b"), ValueError())
    ]
    assert told == ["here: No such file", "Broken", "a b", "ValueError"]


def test_a_bug_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3; with HOLDSTATE_DEBUG it is raised."""

    def broken() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(cli_module.Program, "get_command", lambda *_: click.Command("run", callback=broken))
    result = call("run")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "error: this is a bug in holdstate: ZeroDivisionError: oh; set HOLDSTATE_DEBUG=1" in result.stderr
    monkeypatch.setenv("HOLDSTATE_DEBUG", "1")
    assert isinstance(CliRunner().invoke(cli_module.cli, ["run"]).exception, ZeroDivisionError)


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """In commands that have nothing to park."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_module.Program, "get_command", lambda *_: click.Command("run", callback=interrupted))
    assert call("run").exit_code == 130


def test_colours_come_to_a_terminal_only_and_not_with_no_color(tmp_path: Path) -> None:
    """A table in a pipe, and one with NO_COLOR, has no escape sequence."""
    path = write_lines(tmp_path / "lines", [1])
    call("run", path, "--store", tmp_path / "store", "--exec", "cat")
    words = command("store", "list", tmp_path / "store")
    plain = subprocess.run(words, capture_output=True, check=True, timeout=DEADLINE_SECONDS).stdout
    assert b"main" in plain
    assert b"\x1b" not in plain
    shown = {key: _in_a_terminal(words, {"TERM": "xterm-256color", **extra}) for key, extra in _TERMINALS.items()}
    assert b"\x1b[1m" in shown["colour"]
    assert b"\x1b[3" not in shown["no colour"]


_TERMINALS: dict[str, dict[str, str]] = {"colour": {}, "no colour": {"NO_COLOR": "1"}}


def _in_a_terminal(words: list[str], extra: dict[str, str], stdout: Path | None = None) -> bytes:
    """What a program writes to a pseudo-terminal, which is its stderr and, without ``stdout``, its stdout."""
    import os
    import pty

    ours, theirs = pty.openpty()
    output = os.dup(theirs) if stdout is None else os.open(stdout, os.O_WRONLY | os.O_CREAT, 0o600)
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=output, stderr=theirs, env={**os.environ, **extra}, close_fds=True
    )
    os.close(theirs)
    os.close(output)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert process.wait(DEADLINE_SECONDS) == 0, seen
    return seen


def test_a_bar_is_shown_on_a_terminal_while_results_go_elsewhere(tmp_path: Path) -> None:
    """The results in the file are whole; the summary follows the bar."""
    path = write_lines(tmp_path / "lines", [1, 2, 3])
    words = command("run", path, "--store", tmp_path / "store", "--exec", "echo told >&2; echo done")
    seen = _in_a_terminal(words, {"TERM": "xterm"}, stdout=tmp_path / "out")
    assert [each["result"] for each in answers((tmp_path / "out").read_text(encoding="utf-8"))] == ["done\n"] * 3
    assert b"lines" in seen
    assert b"3/3" in seen or b"2/3" in seen
    assert b"accepted 3, deduplicated 0, runs 3" in seen


def test_the_module_is_the_program() -> None:
    """``python -m holdstate``."""
    done = subprocess.run([sys.executable, "-m", "holdstate", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"holdstate {holdstate.__version__}\n"
