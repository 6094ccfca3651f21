"""``holdstate spec compare``: the explorer and TLC over the whole, under the same bounds."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from .explorer import Verdict
from .explorer_outcomes import WholeBounds
from .options import json_option
from .output import ExitCode, note, write_document, write_result
from .tla_comparison import compared
from .tla_whole import WholeConfiguration, configuration, whole_files
from .tlc import TlcUndecided, TlcVerdict
from .whole_options import whole_options

BOUNDS = "bounds"


@click.command()
@whole_options
@json_option
def compare(*, json: bool, **given: Any) -> ExitCode:
    """Explore the whole with the explorer and with TLC, and compare how many states they find.

    The explorer runs the real core, recovery and store; TLC the modules that are made from the tables. Exits 1 where
    one of them finds something wrong or their counts differ, 3 where TLC does not end. Needs --runs.
    """
    if given["runs"] is None:
        raise click.UsageError("names are never used again here: give --runs")
    bounds = WholeBounds(**given)
    try:
        with TemporaryDirectory(prefix="holdstate-compare-") as folder:
            texts = configuration(WholeConfiguration(about="The bounds of the command line.", bounds=bounds))
            for name, text in {**whole_files(), f"{BOUNDS}.cfg": texts}.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            found = compared(Path(folder), BOUNDS, bounds)
    except TlcUndecided as undecided:
        note(f"undecided: {undecided}")
        return ExitCode.UNDECIDED
    report = found.explored
    checked = found.model_checked
    counts: dict[str, dict[str, float]] = {
        "explorer": {"states": report.states, "transitions": report.transitions, "seconds": round(report.seconds, 1)},
        "tlc": {"states": checked.distinct, "generated": checked.generated, "seconds": round(checked.seconds, 1)},
    }
    if json:
        write_document({"problem": found.problem, "states": found.projected, **counts})
    else:
        write_result(found.problem or f"equal: {found.projected} states")
        for who, what in counts.items():
            write_result(f"{who}: " + ", ".join(f"{value} {name}" for name, value in what.items()))
    is_well = not found.problem and report.verdict is Verdict.OK and checked.verdict is TlcVerdict.OK
    return ExitCode.OK if is_well else ExitCode.FINDING
