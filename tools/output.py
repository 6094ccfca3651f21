"""Exit codes and the two streams: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

import click
import msgspec

from ..runtime.errors import Fenced, StoreCorruption
from ..spec.errors import HoldstateError

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH: Final = 10_000
"""Columns of a table that no terminal shows, so that no cell is wrapped."""


@final
class ExitCode(IntEnum):
    """What the exit code of every command says."""

    OK = 0
    FINDING = 1
    USAGE = 2
    UNDECIDED = 3
    INTERRUPTED = 130


@final
class OutputClosed(Exception):
    """Nobody reads stdout any more, as in ``… | head``. A command that only shows something ends in peace then."""


@final
class NotFound(HoldstateError, LookupError):
    """What was asked for is not in the store."""

    def __init__(self, what: str, path: str) -> None:
        self.what = what
        self.path = path
        super().__init__(f"{what} is not in the store {path}; `holdstate store list` shows what is")


_LEFT_BEHIND: Final[list[object]] = []


def leave_behind(*work: object) -> None:
    """Keep what does not end as it is. To destroy a task runs its code, and Python waits for threads: see ``end``."""
    _LEFT_BEHIND.extend(work)


def end(code: int) -> NoReturn:
    """Exit; where something was left behind at once, because it would keep Python from ending."""
    if _LEFT_BEHIND:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def exit_code_of(error: BaseException) -> ExitCode:
    """Fenced and a corrupt store are findings; every other refusal or failure asks for another call."""
    return ExitCode.FINDING if isinstance(error, Fenced | StoreCorruption) else ExitCode.USAGE


def call_alone(command: click.Command, failed: ExitCode = ExitCode.USAGE) -> ExitCode:
    """Run a command that is a program of its own; an error is told in one line, ``failed`` is its exit code."""
    try:
        return ExitCode(command.main(standalone_mode=False) or ExitCode.OK)
    except click.ClickException as error:
        note(f"error: {error.format_message()}")
        return ExitCode.USAGE
    except click.Abort:
        return ExitCode.INTERRUPTED
    except (HoldstateError, OSError) as error:
        note(f"error: {sentence_of(error)}")
        return failed


def sentence_of(error: BaseException) -> str:
    """The error in one line. An OSError is told without its number."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, HoldstateError):
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"{place}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def to_json(value: object) -> str:
    """Plain JSON values as one line of text."""
    return msgspec.json.encode(value).decode()


def write_document(value: object) -> None:
    """One JSON document on stdout, indented."""
    write_result(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def write_lines(values: Iterable[object]) -> None:
    """A stream of JSON values on stdout, one a line."""
    for value in values:
        write_result(to_json(value))


def write_result(text: str) -> None:
    """One line on stdout, flushed, so that a reader has it now. OutputClosed where there is no reader."""
    _echo(text, nl=True)


def write_to(path: str, content: str | bytes) -> None:
    """Write a file with its folder, or stdout where ``path`` is ``-``. OutputClosed where nobody reads stdout."""
    if path == "-":
        _echo(content, nl=False)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
    note(f"wrote {path}")


def _echo(content: str | bytes, *, nl: bool) -> None:
    try:
        click.echo(content, nl=nl)
        sys.stdout.flush()
    except BrokenPipeError as error:
        # What is left in the buffer would raise once more when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise OutputClosed from error


def note(text: str) -> None:
    """One line on stderr. Looks ``sys.stderr`` up, which a progress bar replaces while it is shown."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def new_console(*, stderr: bool = False) -> Console:
    """A rich console on stdout or stderr; NO_COLOR is honoured by rich itself."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=False)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """A table on stdout."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    # Captured first: rich ends the program by itself when a pipe is closed.
    console = new_console()
    with console.capture() as captured:
        console.print(table)
    write_result(captured.get().removesuffix("\n"))
