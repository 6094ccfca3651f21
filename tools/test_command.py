"""``holdstate test``: what holdstate is tested with, for your own machine and disk."""

from __future__ import annotations

import click

from .kill_command import kill
from .replay_command import replay
from .run_group import run


@click.group()
def test() -> None:
    """Test a store on this machine, play failures again, and see what the tests notice."""


test.add_command(kill)
test.add_command(replay)
test.add_command(run)
