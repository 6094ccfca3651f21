"""``holdstate test kill``: the kill campaign."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from .campaign import Campaign, Report, campaign_directory
from .output import ExitCode, note, write_document, write_table

_COUNTS: Final = (
    ("kills", "kills"),
    ("calls acknowledged", "acknowledged"),
    ("in flight at a kill and landed", "unacknowledged"),
    ("in flight at a kill and not landed", "dropped"),
    ("inputs", "inputs"),
    ("consumed", "consumed"),
    ("lost", "lost"),
    ("consumed twice", "consumed_twice"),
    ("partial commits", "partial_commits"),
    ("wrong answers", "wrong_answers"),
    ("verify findings", "verify_findings"),
)
_TOLD_EVERY: Final = 50


@click.command()
@click.option("--kills", type=click.IntRange(1), default=100, show_default=True, help="How many children are killed.")
@click.option("--seed", type=int, default=1, show_default=True, help="Draws the calls and the moments of the kills.")
@click.option(
    "--path",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the store is made; its disk is what is tested. A temporary directory by default.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--sabotage", type=click.Choice(["", "ack-early"]), default="", hidden=True)
def kill(kills: int, seed: int, path: Path | None, *, as_json: bool, sabotage: str) -> int:
    """Kill processes that work on a store, and check after each kill that nothing acknowledged is lost.

    Exits 1 when something is found, with the seed and the number of the kill, and keeps the store.
    """
    with campaign_directory(path) as directory:
        report = Campaign(directory, kills, seed, sabotage).run(_tell)
        if report.findings:
            (directory / "keep").touch()
            note(f"the store and the ledger of its calls are kept in {directory}")
    if as_json:
        write_document(report.as_dict())
    else:
        document = report.as_dict()
        write_table(("", "count"), [(label, document[name]) for label, name in _COUNTS])
        for finding in report.findings:
            click.echo(finding)
    return ExitCode.FINDING if report.findings else ExitCode.OK


def _tell(report: Report) -> None:
    if report.kills and report.kills % _TOLD_EVERY == 0:
        note(f"{report.kills} kills, {report.acknowledged} calls acknowledged, {len(report.findings)} findings")
