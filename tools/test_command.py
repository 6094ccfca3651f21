"""``holdstate test``: what holdstate is tested with, for your own machine and disk."""

from __future__ import annotations

import click

from .crash_command import run
from .kill_command import kill
from .replay_command import replay


@click.group()
def test() -> None:
    """Test a store on this machine, and play failures again."""


test.add_command(kill)
test.add_command(replay)
test.add_command(run)
