"""A trace in a terminal: wide, narrow, piped, and walked through with keys."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click import unstyle
from rich.console import Console

from holdstate.tools import trace_terminal
from holdstate.tools.trace import Step, Trace
from holdstate.tools.trace_terminal import walk, write_step, write_trace
from holdstate.tools.trace_text import trace_text

from .support import DEADLINE_SECONDS, call, command

TRACE = Trace(
    "a shop",
    "harness",
    (
        Step("start", {"store": {"state": "cart"}, "memory": {"state": "cart"}}),
        Step(
            "pay", {"store": {"state": "paid", "order": {"paid": 2}}, "memory": {"state": "cart"}}, {"amount": 2}, "odd"
        ),
        Step("crash", {"store": {"state": "paid", "order": {"paid": 2}}}, is_crash=True),
        Step("wait", {"store": {"state": "paid", "order": {"paid": 2}}}),
    ),
    "paid_is_shipped: it is not",
    3,
)

Terminal = Callable[[int, int], None]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Returns a function that makes stdout a terminal of so many columns and rows."""

    def sized(width: int, height: int) -> None:
        monkeypatch.setattr(
            trace_terminal,
            "new_console",
            lambda: Console(force_terminal=True, color_system="standard", width=width, height=height, _environ={}),
        )

    return sized


def _lines(text: str) -> list[str]:
    """What is written, without the rules below headings."""
    lines = (line.rstrip() for line in unstyle(text).splitlines())
    return [line for line in lines if not line or line.strip("─")]


def test_a_wide_terminal_has_store_and_memory_side_by_side(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step with what it changed; the crash line, what is gone, what differs, the loop, and what broke."""
    terminal(80, 24)
    write_trace(TRACE)
    assert _lines(capsys.readouterr().out) == [
        "a shop   harness",
        "0  start",
        "        store   memory",
        "state   cart    cart",
        "1  pay(amount=2)   odd",
        "         store         memory",
        "state    cart → paid   cart     ≠",
        "order",
        "  paid   2             –",
        "2  crash",
        "   ╌╌╌╌╌╌ crash ╌╌╌╌╌╌",
        "   store   memory gone",
        "3  wait",
        "and on from step 3, for ever",
        "✗ paid_is_shipped: it is not",
    ]


def test_a_narrow_terminal_has_one_pane_after_the_other(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    """No line is wider than it, and nothing is lost."""
    terminal(24, 24)
    write_trace(TRACE)
    lines = _lines(capsys.readouterr().out)
    assert max(map(len, lines)) <= 24
    at = lines.index("1  pay(amount=2)   odd")
    assert lines[at + 1 : at + 5] == [
        "         store",
        "state    cart → paid",
        "order",
        "  paid   2",
    ]


def test_a_pipe_gets_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    """The same as failure messages have, without colours."""
    write_trace(TRACE)
    assert capsys.readouterr().out == f"{trace_text(TRACE)}\n"


def test_one_step_has_everything_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """What did not change too; the last one says what broke."""
    write_step(TRACE, 3)
    lines = _lines(capsys.readouterr().out)
    assert lines[:1] == ["3  wait"]
    assert lines[2:] == [
        "state    paid    –",
        "order",
        "  paid   2       –",
        "nothing that is shown changed",
        "and on from step 3, for ever",
        "✗ paid_is_shipped: it is not",
    ]


def _keys(*keys: str) -> Callable[[], str]:
    left: Iterator[str] = iter(keys)
    return lambda: next(left)


def _screens(written: str) -> list[str]:
    """What was drawn before each key."""
    return unstyle(written).split("q: leave")[:-1]


def _step_of(screen: str) -> str:
    """The step on the right; the list on the left has one space before each name."""
    (found,) = re.findall(r"(\d)  (?:start|pay|crash|wait)", screen)
    return str(found)


def test_walking_shows_a_step_beside_the_list_of_all(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    """It begins at the last step; arrows, Home and End move, no further than the ends; another key does nothing."""
    terminal(80, 24)
    walk(TRACE, _keys("\x1b[A", "\x1b[H", "\x1b[A", "x", "j", "\x1b[F", "\x1b[B", "q"))
    written = capsys.readouterr().out
    screens = _screens(written)
    assert [_step_of(screen) for screen in screens] == ["3", "2", "0", "0", "0", "1", "3", "3"]
    assert all(name in screen for screen in screens for name in ("  0 start", "╌  2 crash", "✗  3 wait"))
    assert "\x1b[7m" in written


def test_a_step_that_is_too_long_for_the_screen_shows_what_changed(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """And ``c`` shows that at once."""
    many = {f"v{number}": number for number in range(40)}
    trace = Trace("t", "s", (Step("a", {"p": many}), Step("b", {"p": {**many, "v20": "new"}})))
    terminal(60, 20)
    walk(trace, _keys("q"))
    written = unstyle(capsys.readouterr().out)
    assert "20 → new" in written
    assert "v21" not in written
    terminal(60, 60)
    walk(trace, _keys("c", "q"))
    whole, changed = _screens(capsys.readouterr().out)
    assert ("v21" in whole, "v21" in changed, "20 → new" in changed) == (True, False, True)


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The trace in ITF."""
    path = tmp_path / "a.itf.json"
    path.write_text(json.dumps(TRACE.to_itf()), encoding="utf-8")
    return path


def test_show_shows_a_file(file: Path) -> None:
    """As text, one step of it, as JSON, as a page, in ITF; exit code 0."""
    shown = call("test", "show", file)
    assert (shown.exit_code, shown.stdout) == (0, f"{trace_text(TRACE)}\n")
    assert "memory gone" in call("test", "show", file, "--step", 2).stdout
    assert Trace.from_json(json.loads(call("test", "show", file, "--json").stdout)) == TRACE
    page, itf = file.with_suffix(".html"), file.with_name("b.itf.json")
    written = call("test", "show", file, "--html", page, "--itf", itf)
    assert (written.stdout, written.stderr.splitlines()) == ("", [f"wrote {page}", f"wrote {itf}"])
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads(itf.read_bytes()) == TRACE.to_itf()


def test_show_refuses_what_is_no_trace_and_a_step_that_is_not_there(file: Path) -> None:
    """Exit code 2, one line, and nothing is written."""
    page = file.with_suffix(".html")
    beyond = call("test", "show", file, "--step", 4, "--html", page)
    assert (beyond.exit_code, beyond.stderr.splitlines()[-1]) == (
        2,
        "error: Invalid value for --step: the last step is 3",
    )
    file.write_text("{}", encoding="utf-8")
    bad = call("test", "show", file, "--html", page)
    assert (bad.exit_code, bad.stdout) == (2, "")
    assert bad.stderr.startswith(f"error: {file}: ")
    assert not page.exists()


def test_walking_needs_a_terminal(file: Path) -> None:
    """In a pipe nobody presses keys."""
    result = call("test", "show", file, "--walk")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--walk needs a terminal" in result.stderr


def _in_a_terminal(*words: object, **variables: str) -> tuple[subprocess.Popen[bytes], int]:
    """The program in a terminal of 80 columns and 24 rows, and our end of that."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", **variables}
    process = subprocess.Popen(command(*words), stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    return process, ours


def test_walking_in_a_real_terminal(file: Path) -> None:
    """Keys count one by one, those that come at once too, and without Return; the screen is given back."""
    process, terminal = _in_a_terminal("test", "show", file, "--walk")
    assert _step_of(_read_until(terminal, "q: leave")) == "3"
    os.write(terminal, b"\x1b[A")
    assert _step_of(_read_until(terminal, "q: leave")) == "2"
    os.write(terminal, b"j\x1bOA\x1b[Hj")
    assert [_step_of(_read_until(terminal, "q: leave")) for _ in range(4)] == ["3", "2", "0", "1"]
    os.write(terminal, b"q")
    _read_until(terminal, "\x1b[?1049l", is_raw=True)
    assert process.wait(timeout=DEADLINE_SECONDS) == 0
    os.close(terminal)


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}], ids=["colours", "none wanted"])
def test_a_real_terminal_has_colours_where_they_are_wanted(file: Path, variables: dict[str, str]) -> None:
    """What a value has become stands out; NO_COLOR is honoured."""
    process, terminal = _in_a_terminal("test", "show", file, **variables)
    written = _read_until(terminal, "it is not", is_raw=True)
    assert ("\x1b[1;33mpaid" in written) == (not variables)
    assert "cart → " in unstyle(written)
    assert process.wait(timeout=DEADLINE_SECONDS) == 0
    os.close(terminal)


def _read_until(terminal: int, wanted: str, *, is_raw: bool = False) -> str:
    """What was written up to the first ``wanted``, byte by byte, so that nothing of what follows is lost."""
    seen = b""
    while True:
        text = seen.decode(errors="replace")
        text = text if is_raw else unstyle(text)
        if wanted in text:
            return text
        assert select.select([terminal], [], [], DEADLINE_SECONDS)[0], seen
        seen += os.read(terminal, 1)
