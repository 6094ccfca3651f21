"""``holdstate test run``: campaigns that take a while. A verb is loaded when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast, final

import click

# One line per verb: its name and where the click command is.
VERBS: Final = {
    "crash": ".crash_command:crash",
    "mutate": ".mutate_command:mutate",
}


@final
class Verbs(click.Group):
    """A group whose commands are loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = VERBS.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        return cast("click.Command", getattr(import_module(module, __package__), name))


@click.command(cls=Verbs)
def run() -> None:
    """Campaigns: crashes of a real store, mutants of the tables and the code."""
