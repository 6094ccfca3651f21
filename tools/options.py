"""Options that several commands share, and the types of their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import isfinite
from typing import Any, Final, TypeVar, final

import click
from click.core import ParameterSource

from ..runtime.errors import InvalidInput
from ..runtime.ids import check_runtime_id, text_problem
from .run_source import FieldPath

F = TypeVar("F", bound=Callable[..., Any])

option: Final = partial(click.option, show_envvar=True, show_default=True)
"""An option whose help shows its default and its environment variable (``HOLDSTATE_<COMMAND>_<OPTION>``)."""

STORE_VARIABLE: Final = "HOLDSTATE_STORE"
DEFAULT_RUNTIME: Final = "main"

STORE: Final = click.Path(exists=True, file_okay=False)
"""The type of a path to an existing store."""


@final
class FiniteRange(click.FloatRange):
    """The type of an option that is a number within bounds. Neither ``nan`` nor ``inf`` is one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


def field_path(text: str) -> FieldPath:
    """The type of an option that is a path of keys such as ``payload.id``."""
    try:
        return FieldPath.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def runtime_id(text: str) -> str:
    """The type of an option that is a runtime id."""
    try:
        return check_runtime_id(text)
    except InvalidInput as error:
        raise click.BadParameter(error.problem) from error


def text(value: str) -> str:
    """The type of an option that is text. A shell also hands over bytes that are none."""
    problem = text_problem(value)
    if problem is not None:
        raise click.BadParameter(problem)
    return value


def refuse_given(names: Iterable[str], why: str) -> None:
    """UsageError where one of these parameters of the command that runs is on its command line. In the environment it
    may be: that is for other calls too.
    """
    context = click.get_current_context()
    wanted = frozenset(names)
    for each in context.command.params:
        if each.name in wanted and context.get_parameter_source(each.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{'/'.join((*each.opts, *each.secondary_opts))} {why}")


def json_option(function: F) -> F:
    """``--json``: one document."""
    return option("--json", is_flag=True, help="One JSON document instead of a table.")(function)


def store_argument(function: F) -> F:
    """``PATH``: an existing store."""
    return click.argument("path", type=STORE, envvar=STORE_VARIABLE)(function)
