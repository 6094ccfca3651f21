"""``holdstate test run crash``: crashes on the real thing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from .campaign_worker import ACK_EARLY
from .crash_flip import UNCHECKED, FlipCampaign
from .crash_host import CARELESS, HostCampaign
from .crash_host_faults import HOST_FAULTS
from .crash_page import crash_page
from .crash_pool import scratch_folder
from .crash_power import CONTROLS, PowerCampaign
from .crash_report import CrashReport
from .crash_syscall import ERRORS, SyscallCampaign
from .output import note, write_document, write_result, write_table

_FLIPS: Final = 5000
_LIVES: Final = 10 * len(HOST_FAULTS)
_CONTROLS: Final = {"power": CONTROLS, "syscall": (ACK_EARLY,), "flip": (UNCHECKED,), "host": (CARELESS,)}


@click.command()
@click.option(
    "--kind",
    type=click.Choice([*_CONTROLS]),
    default="power",
    show_default=True,
    help="What goes wrong.",
)
@click.option("--states", type=click.IntRange(1), default=5000, show_default=True, help="power: states of the disk.")
@click.option(
    "--cases",
    type=click.IntRange(1),
    help=f"syscall: no more than so many (all); flip: how many ({_FLIPS}); host: how many ({_LIVES}).",
)
@click.option(
    "--fault",
    "faults",
    type=click.Choice([*HOST_FAULTS]),
    multiple=True,
    help="host: what the machine does to the store; may be repeated (all, in turn).",
)
@click.option(
    "--error",
    "errors",
    type=click.Choice(ERRORS),
    multiple=True,
    help="syscall: what a call fails with, besides the kill; may be repeated (all).",
)
@click.option("--lasting", is_flag=True, help="syscall: a call that fails goes on failing; without the kills.")
@click.option("--seed", type=int, default=1, show_default=True, help="Draws what the store does and what is tried.")
@click.option(
    "--steps", type=click.IntRange(2), default=120, show_default=True, help="power: steps of each recorded run."
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="How many check at once.")
@click.option(
    "--path",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the files are made and looked at; the shared memory of the machine by default, where it has one.",
)
@click.option(
    "--control",
    type=click.Choice(sorted({each for known in _CONTROLS.values() for each in known})),
    help="Break a promise on purpose: this has to be found.",
)
@click.option("--matrix", is_flag=True, help="Show the outcomes by crash point and command.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the matrix as a page.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def crash(
    *,
    kind: str,
    states: int,
    cases: int | None,
    faults: tuple[str, ...],
    errors: tuple[str, ...],
    lasting: bool,
    seed: int,
    steps: int,
    processes: int,
    path: Path | None,
    control: str | None,
    html: Path | None,
    matrix: bool,
    as_json: bool,
) -> int:
    """Crash a store at every point of what it does, and check what is left. Linux; power and syscall with strace, some
    faults of host as root.

    Exits 1 when something is found, 3 when a case could not be decided.
    """
    with scratch_folder(path) as folder:
        control = control or ""
        _check_options(kind, control, faults, lasting=lasting)
        campaign: PowerCampaign | SyscallCampaign | FlipCampaign | HostCampaign
        if kind == "power":
            campaign = PowerCampaign(folder, states, seed, steps=steps, control=control, processes=processes)
        elif kind == "syscall":
            campaign = SyscallCampaign(
                folder, cases, seed, errors=errors or ERRORS, lasting=lasting, control=control, processes=processes
            )
        elif kind == "host":
            campaign = HostCampaign(folder, cases or _LIVES, seed, faults=faults, control=control, processes=processes)
        else:
            campaign = FlipCampaign(folder, cases or _FLIPS, seed, control=control, processes=processes)
        report = campaign.run(_tell)
    if html is not None:
        html.write_text(crash_page(report), encoding="utf-8")
    if as_json:
        write_document(report.as_dict())
    else:
        _show(report, matrix=matrix)
    return report.code


def _check_options(kind: str, control: str, faults: tuple[str, ...], *, lasting: bool) -> None:
    if faults and kind != "host":
        raise click.BadParameter(f"{kind} has none; it is for --kind host", param_hint="--fault")
    if lasting and kind != "syscall":
        raise click.BadParameter(
            f"errors of {kind} are not told to last; it is for --kind syscall", param_hint="--lasting"
        )
    if control and control not in _CONTROLS[kind]:
        raise click.BadParameter(f"{kind} has {', '.join(_CONTROLS[kind])}", param_hint="--control")


def _show(report: CrashReport, *, matrix: bool) -> None:
    counts = [("cases", report.cases), *((each, report.outcomes[each]) for each in report.known)]
    write_table(("", report.control or report.kind), [*report.facts.items(), *counts])
    if matrix:
        columns, rows = report.table()
        write_table(columns, rows)
    for finding in report.findings:
        write_result(finding)


def _tell(report: CrashReport) -> None:
    facts = ", ".join(f"{name} {value}" for name, value in report.facts.items())
    note(f"{facts}: {report.bad} broken")
