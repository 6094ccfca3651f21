"""All mutants, a seeded sample of them, and the survivors that are known to be equivalent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain
from logging import CRITICAL, getLogger
from random import Random
from typing import Final

from .mutants_commands import command_mutants
from .mutants_commit import commit_mutants
from .mutants_machines import machine_mutants
from .mutants_policy import policy_mutants
from .mutants_stores import store_mutants
from .mutation import Mutant, Part, Tables, Trial, tried
from .mutation_checks import CHECKS
from .mutation_equivalents import EQUIVALENTS
from .mutation_pool import tried_in_processes

__all__ = ["EQUIVALENTS", "control", "mutants", "sample", "trials"]

_SOURCES: Final = (machine_mutants, policy_mutants, command_mutants, commit_mutants, store_mutants)


def mutants(part: Part | None = None) -> list[Mutant]:
    """All mutants, or those of one part."""
    made = chain.from_iterable(source() for source in _SOURCES)
    return [mutant for mutant in made if part is None or mutant.part is part]


def sample(found: Sequence[Mutant], limit: int | None, seed: int) -> list[Mutant]:
    """``limit`` of the mutants, drawn by ``seed``, in their order; all without a limit."""
    if limit is None or limit >= len(found):
        return list(found)
    drawn = set(Random(seed).sample(range(len(found)), limit))
    return [mutant for number, mutant in enumerate(found) if number in drawn]


def control() -> list[str]:
    """What the checks say of what is shipped: nothing, or no score means anything."""
    told = ((check.name, check.notices(Tables())) for check in CHECKS)
    return [f"{name}: {found}" for name, found in told if found is not None]


def trials(chosen: Sequence[Mutant], *, jobs: int = 1, tell: Callable[[Trial], None] | None = None) -> list[Trial]:
    """Try each of the mutants, in their order; with ``jobs`` in so many processes, which may die."""
    found: list[Trial] = []
    for trial in _tried_here(chosen) if jobs == 1 else tried_in_processes(chosen, jobs, noticed):
        found.append(trial)
        if tell is not None:
            tell(trial)
    return found


def _tried_here(chosen: Sequence[Mutant]) -> Iterator[Trial]:
    # A mutant may break a callback of the event loop, which asyncio would log: it is told as a story that never ends.
    logger = getLogger("asyncio")
    level = logger.level
    logger.setLevel(CRITICAL + 1)
    try:
        for mutant in chosen:
            yield tried(mutant, CHECKS)
    finally:
        logger.setLevel(level)


@cache
def _by_label() -> dict[str, Mutant]:
    return {mutant.label: mutant for mutant in mutants()}


def noticed(label: str) -> tuple[str, str] | None:
    """Which check notices the mutant with that label first, and what it says."""
    (trial,) = _tried_here([_by_label()[label]])
    return trial.noticed
