"""The ``holdstate`` program. A command is loaded when it is called, so that the others cost nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn, cast, final

import click

from ..spec.errors import HoldstateError
from .output import ExitCode, OutputClosed, end, exit_code_of, note, sentence_of

# One line per command: its name and where the click command is.
COMMANDS: Final = {
    "bench": ".bench_command:bench",
    "generate": ".generate_command:generate",
    "run": ".run_command:run",
    "scale": ".scale_command:scale_command",
    "spec": ".spec_command:spec",
    "store": ".store_command:store",
    "test": ".test_command:test",
}

DEBUG_VARIABLE: Final = "HOLDSTATE_DEBUG"


@final
class Program(click.Group):
    """A group whose commands are loaded by name, and which ends every error as one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, name = where.partition(":")
        return cast("click.Command", getattr(import_module(module, __package__), name))

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *others: Any, **extra: Any
    ) -> NoReturn:
        """Run the program and exit: 0 fine, 1 a finding, 2 usage or configuration, 3 undecided, 130 interrupted."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name, *others, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            note(error.format_message())
            code = ExitCode.USAGE
        except click.ClickException as error:
            code = _tell_usage(error)
        except click.Abort:
            code = ExitCode.INTERRUPTED
        except OutputClosed:
            code = ExitCode.OK
        except (HoldstateError, OSError) as error:
            note(f"error: {sentence_of(error)}")
            code = exit_code_of(error)
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            problem = f"{type(error).__name__}: {sentence_of(error)}"
            note(f"error: this is a bug in holdstate: {problem}; set {DEBUG_VARIABLE}=1 to see where, and report it")
            code = ExitCode.UNDECIDED
        end(int(code or ExitCode.OK))


def _tell_usage(error: click.ClickException) -> ExitCode:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        note(error.ctx.get_usage())
    note(f"error: {error.format_message()}")
    return ExitCode.USAGE


@click.command(
    cls=Program,
    name="holdstate",
    context_settings={
        "auto_envvar_prefix": "HOLDSTATE",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.version_option(package_name="holdstate", message="%(prog)s %(version)s")
def cli() -> None:
    """Durable runtimes for agents and jobs.

    Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 a finding, 2 usage or configuration,
    3 undecided, 130 interrupted.
    """


def main() -> NoReturn:
    """The console entry."""
    cli.main(prog_name="holdstate")
