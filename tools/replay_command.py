"""``holdstate test replay FILE``: play a failure of the harness again, without Hypothesis."""

from __future__ import annotations

from pathlib import Path

import click

from .output import ExitCode, note, write_document
from .quantities import counted


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--machine", metavar="module:NAME", help="Play against this machine, whatever the file says.")
@click.option("--adapter", metavar="module:NAME", help="Play on what this makes, whatever the file says.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the trace of this run as a page.")
@click.option("--itf", type=click.Path(dir_okay=False, path_type=Path), help="Write the trace of this run in ITF.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def replay(
    file: Path, machine: str | None, adapter: str | None, html: Path | None, itf: Path | None, *, as_json: bool
) -> int:
    """Play the failure in FILE again.

    Exits 0 when nothing fails any more, 1 when something does (the same or another failure), 2 when FILE or what it
    names cannot be used, 3 when nothing fails but an invariant of the failing test could not be imported.
    """
    from .harness.replay import play_again, read_replay, subject_of
    from .trace_file import write_trace_files
    from .trace_terminal import write_trace

    wanted = read_replay(file)
    outcome = play_again(wanted, subject_of(wanted, file, machine=machine, adapter=adapter), str(file))
    verdict, code = _verdict(is_broken=outcome.broken is not None, is_same=outcome.is_same, unchecked=outcome.unchecked)
    if as_json:
        broken = None if outcome.broken is None else str(outcome.broken)
        write_document({"verdict": verdict, "broken": broken, "trace": outcome.trace.to_json()})
    else:
        write_trace(outcome.trace)
        note(f"{verdict}; the file says: {wanted.rule}: {wanted.problem}")
    write_trace_files(outcome.trace, html, itf)
    return code


def _verdict(*, is_broken: bool, is_same: bool, unchecked: int) -> tuple[str, ExitCode]:
    if is_broken:
        return "reproduced" if is_same else "it fails in another way", ExitCode.FINDING
    if unchecked:
        invariants = counted(unchecked, "invariant")
        return f"nothing fails, but {invariants} without a name could not be imported", ExitCode.UNDECIDED
    return "nothing fails any more", ExitCode.OK
