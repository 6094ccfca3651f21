"""``holdstate test``: what holdstate is tested with, for your own machine and disk."""

from __future__ import annotations

import click

from .kill_command import kill
from .replay_command import replay
from .run_group import run
from .show_command import show


@click.group()
def test() -> None:
    """Test a store on this machine, play failures again, look at them, and see what the tests notice."""


test.add_command(kill)
test.add_command(replay)
test.add_command(run)
test.add_command(show)
