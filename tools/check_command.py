"""``holdstate spec check``: explore every state that a machine, or the whole, can reach."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any, Final, final

import click

from ..spec.machine import Machine
from .explorer import Explorer, Graph, Limits, Model, Report, Verdict
from .explorer_file import resume as resumed
from .explorer_file import save as saved
from .explorer_machine import DEFAULT_IDS, DEFAULT_INTEGERS, MachineModel
from .explorer_outcomes import DEFAULTS, WholeBounds
from .explorer_report import as_document, progress_line, told
from .explorer_trace import explorer_trace
from .explorer_whole import Whole
from .machine_names import BadMachine, named
from .options import json_option, option, refuse_given
from .output import ExitCode, note, write_document, write_result
from .trace_file import write_trace_files
from .trace_terminal import write_trace
from .whole_options import WHOLE_PARAMETERS, whole_options

WHOLE: Final = "whole"
TOLD_EVERY_SECONDS: Final = 2.0
EXITS: Final = {
    Verdict.OK: ExitCode.OK,
    Verdict.VIOLATED: ExitCode.FINDING,
    Verdict.UNDECIDED: ExitCode.UNDECIDED,
}
_MACHINE_PARAMETERS: Final = ("integers", "ids")
_MODEL_PARTS: Final = (
    "name",
    "bounds",
    "progress",
    "initial",
    "moves",
    "problems",
    "is_settled",
    "show",
    "dump",
    "load",
)


def model_of(name: str, bounds: WholeBounds, integers: int, ids: int, *, symmetry: bool) -> Model[Any]:
    """The whole, a machine, or a model of one's own (``module:NAME``)."""
    if name == WHOLE:
        return Whole(bounds)
    found = named(name, (WHOLE,))
    if isinstance(found, Machine):
        return MachineModel(found, integers=integers, ids=ids, symmetry=symmetry)
    missing = [part for part in _MODEL_PARTS if not hasattr(found, part)]
    if missing:
        raise BadMachine(name, f"it is neither a Machine nor a Model: it has no {missing[0]}")
    refuse_given((*_MACHINE_PARAMETERS, "symmetry"), f"is for machines; {name} is a model with bounds of its own")
    model: Model[Any] = found
    return model


@click.command()
@click.argument("what", default=WHOLE)
@whole_options
@option("--backoff/--no-backoff", default=DEFAULTS.backoff, help="whole: What failed waits until time passes.")
@option("--integers", type=click.IntRange(0, 1000), default=DEFAULT_INTEGERS, help="machine: Integers from 0 to this.")
@option("--ids", type=click.IntRange(1, 10), default=DEFAULT_IDS, help="machine: Ids and texts, without symmetry.")
@option("--symmetry/--no-symmetry", default=True, help="States that differ in names alone are one state.")
@option("--depth", type=click.IntRange(1), help="Stop after so many moves from the start.")
@option("--limit", type=click.IntRange(1), default=5_000_000, help="Stop at so many states.")
@option("--memory", type=click.IntRange(64), help="Stop at so many MiB.")
@option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Where to keep what is undecided.")
@option("--resume", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Go on with what was kept.")
@option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the trace as a page.")
@option("--itf", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the trace in ITF.")
@json_option
def check(
    what: str,
    *,
    depth: int | None,
    limit: int,
    memory: int | None,
    save: Path | None,
    resume: Path | None,
    html: Path | None,
    itf: Path | None,
    json: bool,
    **given: Any,
) -> ExitCode:
    """Explore every state that WHAT can reach, within bounds.

    WHAT is the whole runtime with its store (whole), input_lifecycle, runtime_state, or module:NAME for a machine of
    your own. Exits 1 with the shortest trace when something is wrong, 3 when a limit was hit before the end.
    """
    if what == WHOLE:
        refuse_given(_MACHINE_PARAMETERS, "is for machines; the whole has --inputs, --runs and the others of `whole:`")
    else:
        refuse_given(WHOLE_PARAMETERS, f"is for the whole; {what} has no such bounds")
    integers, ids, symmetry = given.pop("integers"), given.pop("ids"), given["symmetry"]
    if what == WHOLE and not symmetry and given["runs"] is None:
        raise click.UsageError("--no-symmetry never uses the name of a run again: give --runs")
    model = model_of(what, WholeBounds(**given), integers, ids, symmetry=symmetry)
    explorer = Explorer(model, None if resume is None else resumed(resume, model))
    try:
        report = explorer.run(Limits(limit, depth, memory), _Teller())
    except KeyboardInterrupt:
        _keep(save, model, explorer.graph)
        raise
    if report.verdict is Verdict.UNDECIDED:
        _keep(save, model, explorer.graph)
    trace = None if report.violation is None else explorer_trace(model.name, report.violation)
    if trace is not None:
        write_trace_files(trace, html, itf)
    elif html is not None or itf is not None:
        note("nothing is broken, so no trace was written")
    if json:
        write_document(as_document(model.name, model.bounds, report))
    else:
        for line in told(model.name, report):
            write_result(line)
        if trace is not None:
            write_trace(trace)
    return EXITS[report.verdict]


def _keep(path: Path | None, model: Model[Any], graph: Graph[Any]) -> None:
    if path is not None:
        saved(path, model, graph)
        note(f"kept in {path}; go on with --resume {path}")


@final
class _Teller:
    """Tells how far it is, now and then."""

    def __init__(self) -> None:
        self._told = perf_counter()

    def __call__(self, report: Report) -> None:
        now = perf_counter()
        if now - self._told >= TOLD_EVERY_SECONDS:
            self._told = now
            note(progress_line(report))
