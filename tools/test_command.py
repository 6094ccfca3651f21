"""``holdstate test``: what holdstate is tested with, for your own machine and disk."""

from __future__ import annotations

import click

from .kill_command import kill


@click.group()
def test() -> None:
    """Test a store on this machine."""


test.add_command(kill)
