"""``holdstate scale``: many inputs through many runtimes, with a kill in the middle, as curves."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from .campaign import campaign_directory
from .options import FiniteRange
from .output import ExitCode, note, write_document, write_result, write_table, write_to
from .quantities import bytes_text, counted, duration_text
from .scale_plan import Plan
from .scale_run import Pruning, Recovery, Report, Sample, scale
from .scale_svg import COLUMNS, curves_svg, table_rows

_SAMPLES: Final = 50
_PRUNINGS: Final = 10
_TOLD_EVERY: Final = 5


@click.command(name="scale")
@click.option("--inputs", type=click.IntRange(1), default=2_000, show_default=True, help="How many inputs in all.")
@click.option(
    "--runtimes", type=click.IntRange(1), default=100, show_default=True, help="How many runtimes share them."
)
@click.option("--callers", type=click.IntRange(1), default=64, show_default=True, help="How many bring inputs at once.")
@click.option(
    "--visit", type=click.IntRange(1), default=5, show_default=True, help="Inputs in a row of one caller to a runtime."
)
@click.option(
    "--kill-at",
    type=FiniteRange(0, 1, max_open=True),
    default=0.5,
    show_default=True,
    help="The share of the inputs after which the process is killed; 0 for never.",
)
@click.option("--retention", type=FiniteRange(0), help="Seconds for which ended inputs stay; without it they all do.")
@click.option("--seed", type=int, default=1, show_default=True, help="Gives the inputs their keys and contents.")
@click.option(
    "--path",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the store is made; its disk is what is measured. A temporary directory by default.",
)
@click.option("--svg", metavar="FILE", help="Write the curves; - for stdout, instead of the table.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document with every sample.")
def scale_command(
    *,
    inputs: int,
    runtimes: int,
    callers: int,
    visit: int,
    kill_at: float,
    retention: float | None,
    seed: int,
    path: Path | None,
    svg: str | None,
    as_json: bool,
) -> ExitCode:
    """Bring many inputs through many runtimes of one service, and watch throughput, file and memory.

    The process that works is killed with SIGKILL in the middle and started again. In the end every input of every
    runtime is counted in the store: consumed once, in order. Exits 1 when one is not, and keeps the store.
    """
    if runtimes > inputs:
        raise click.UsageError(f"{runtimes} runtimes need an input each; there are {inputs}")
    if as_json and svg == "-":
        raise click.UsageError("give one of --json and --svg -")
    sample_every, prune_every = max(1, inputs // _SAMPLES), max(1, inputs // _PRUNINGS)
    plan = Plan(inputs, runtimes, seed, callers, visit, sample_every, retention, prune_every)
    with campaign_directory(path, "holdstate-scale-") as directory:
        report = scale(directory, plan, kill_at, _tell)
        if report.broken:
            (directory / "keep").touch()
            note(f"the store is kept in {directory}")
    if svg is not None:
        write_to(svg, curves_svg(report))
    if as_json:
        write_document(report.as_dict())
    elif svg != "-":
        _show(report)
    for each in report.broken:
        note(str(each))
    note(f"{counted(len(report.broken), 'broken promise')}" if report.broken else "every promise held")
    return ExitCode.FINDING if report.broken else ExitCode.OK


def _tell(sample: Sample, number: int) -> None:
    if number % _TOLD_EVERY == 0:
        note(f"{sample.lives:,} inputs, {sample.rate:,.0f} a second, {bytes_text(sample.file_bytes)}")


def _show(report: Report) -> None:
    write_table(COLUMNS, table_rows(report.samples))
    for line in (_of_recovery(report.recovery), _of_prunings(report.prunings), _of_all(report)):
        if line:
            write_result(line)


def _of_all(report: Report) -> str:
    plan = report.plan
    rate = report.lives / report.working_seconds if report.working_seconds else 0.0
    return (
        f"{counted(plan.inputs, 'input')} through {counted(plan.runtimes, 'runtime')}: "
        f"{duration_text(report.working_seconds)} of work, {rate:,.0f} lives a second; "
        f"counted and audited in {duration_text(report.check_seconds)}"
    )


def _of_recovery(found: Recovery | None) -> str:
    if found is None:
        return ""
    rest = "" if found.recovered is None else f", all of them after {duration_text(found.recovered)}"
    return (
        f"killed after {found.lives:,} with {counted(found.left, 'input')} under way; started again: Python and imports"
        f" {duration_text(found.started)}, store open after {duration_text(found.opened)}, first input ended after"
        f" {duration_text(found.first)}{rest}"
    )


def _of_prunings(found: list[Pruning]) -> str:
    if not found:
        return ""
    seconds, commits = sum(each.seconds for each in found), sum(each.commits for each in found)
    inputs = sum(each.inputs for each in found)
    return (
        f"pruned {len(found)} times, {duration_text(seconds)} in all: {counted(inputs, 'ended input')} went, beside "
        f"which and for which there were {commits:,} commits"
    )
