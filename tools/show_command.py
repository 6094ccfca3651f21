"""``holdstate test show FILE``: a failing trace, whoever found it, in the terminal or as a page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .output import ExitCode, write_document


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--step", type=click.IntRange(0), help="Show all that is there at this step.")
@click.option("--walk", "is_walked", is_flag=True, help="Walk through the steps with the arrow keys.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the trace as a page.")
@click.option("--itf", type=click.Path(dir_okay=False, path_type=Path), help="Write the trace in ITF.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(
    file: Path, step: int | None, html: Path | None, itf: Path | None, *, is_walked: bool, as_json: bool
) -> ExitCode:
    """Show the trace in FILE: a replay file, ITF by any tool, what TLC printed, or a trace of holdstate as JSON.

    Exits 0, whatever the trace tells; 2 when FILE is none.
    """
    from .terminal_keys import pressed_keys
    from .trace_file import read_trace, write_trace_files
    from .trace_terminal import walk, write_step, write_trace

    if is_walked and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("--walk needs a terminal; without it the trace is text")
    trace = read_trace(file)
    if step is not None and step >= len(trace.steps):
        raise click.BadParameter(f"the last step is {len(trace.steps) - 1}", param_hint="--step")
    write_trace_files(trace, html, itf)
    if as_json:
        write_document(trace.to_json())
    elif is_walked:
        with pressed_keys() as key:
            walk(trace, key)
    elif step is not None:
        write_step(trace, step)
    elif html is None and itf is None:
        write_trace(trace)
    return ExitCode.OK
