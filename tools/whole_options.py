"""The options of commands that explore the whole: how far, and with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from attrs import fields

from .explorer_kinds import KINDS
from .explorer_outcomes import DEFAULTS, WholeBounds
from .explorer_rows import NAMES
from .options import option

C = TypeVar("C", bound=Callable[..., Any])

WHOLE_PARAMETERS: Final = frozenset(each.name for each in fields(WholeBounds)) - {"symmetry"}
"""The parameters that say something of the whole only."""


def kind_names(text: str) -> tuple[str, ...]:
    """The type of an option that is a list of kinds with commas between them."""
    kinds = tuple(each.strip() for each in text.split(",") if each.strip())
    if not kinds or len(set(kinds)) < len(kinds) or any(kind not in KINDS for kind in kinds):
        raise click.BadParameter(f"give each once of {', '.join(KINDS)}, with commas between them")
    return kinds


_number: Final = click.IntRange(1, NAMES - 2)


def whole_options(command: C) -> C:
    """Give ``command`` the fields of ``WholeBounds`` as options, but for symmetry and backoff."""
    return whole_options_from(DEFAULTS)(command)


def whole_options_from(bounds: WholeBounds) -> Callable[[C], C]:
    """The same with ``bounds`` as what holds without them."""

    def decorated(command: C) -> C:
        for each in reversed(_options(bounds)):
            command = each(command)
        return command

    return decorated


def _options(bounds: WholeBounds) -> tuple[Callable[[Any], Any], ...]:
    counted = "; any number without it" if bounds.runs is None else ""
    return (
        option("--inputs", type=_number, default=bounds.inputs, help="whole: Inputs that a state speaks of at most."),
        option("--kinds", type=kind_names, default=",".join(bounds.kinds), help="whole: What is sent."),
        option("--openers", type=click.IntRange(1, 3), default=bounds.openers, help="whole: Drivers at once."),
        option("--runs", type=_number, default=bounds.runs, help=f"whole: Runs in all{counted}."),
        option(
            "--crashes", type=click.IntRange(0, 200), default=bounds.crashes, help=f"whole: Crashes in all{counted}."
        ),
        option("--boundaries", type=_number, default=bounds.boundaries, help="whole: Checkpoints of a run."),
        option(
            "--empty-receipts",
            type=click.IntRange(0),
            default=bounds.empty_receipts,
            help="whole: Receipts that list nothing.",
        ),
        option(
            "--attempts", "max_attempts", type=_number, default=bounds.max_attempts, help="whole: The cap on failures."
        ),
        option(
            "--batch", "max_batch", type=_number, default=bounds.max_batch, help="whole: Inputs of a batch at most."
        ),
        option("--faults/--no-faults", default=bounds.faults, help="whole: Commits that fail, and of unknown result."),
    )
