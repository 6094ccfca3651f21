"""``holdstate test run mutate``: change every row and every step, and see which check notices."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final, final

import click

from .mutation import Part, Score, Trial
from .mutation_equivalents import EQUIVALENTS
from .mutation_run import control, mutants, sample, trials
from .options import json_option, option
from .output import ExitCode, note, write_document, write_result, write_table

TOLD_EVERY_SECONDS: Final = 5.0


@click.command()
@option("--only", type=click.Choice([part.value for part in Part]), help="Mutants of one part.")
@option("--limit", type=click.IntRange(1), help="Try so many of them, drawn by the seed.")
@option("--seed", type=int, default=1, help="Draws the mutants of --limit.")
@option("--jobs", type=click.IntRange(1, 64), default=1, help="Processes at once.")
@json_option
def mutate(*, only: str | None, limit: int | None, seed: int, jobs: int, json: bool) -> ExitCode:
    """Change one thing at a time in the tables and in the steps of commit and recovery, and see which check notices.

    Exits 1 when a change is noticed by no check and is not known to be equivalent, and when a check finds something
    wrong without any change.
    """
    wrong = control()
    for finding in wrong:
        note(f"error: without any change, {finding}")
    if wrong:
        return ExitCode.FINDING
    chosen = sample(mutants(None if only is None else Part(only)), limit, seed)
    score = Score(trials(chosen, jobs=jobs, tell=_Teller(len(chosen))), EQUIVALENTS)
    if json:
        write_document(as_document(score))
    else:
        _write(score)
    return ExitCode.FINDING if score.unexplained else ExitCode.OK


def as_document(score: Score) -> dict[str, Any]:
    """The score as plain JSON values."""
    return {
        "mutants": len(score.trials),
        "percent": round(score.percent, 2),
        "noticed": score.noticed,
        "by_part": {part.value: counts for part, counts in _by_part(score).items()},
        "survivors": score.unexplained,
        "equivalent": score.explained,
        "trials": [
            {
                "mutant": trial.mutant.label,
                "check": None if trial.noticed is None else trial.noticed[0],
                "said": None if trial.noticed is None else trial.noticed[1],
            }
            for trial in score.trials
        ],
    }


def _by_part(score: Score) -> dict[Part, dict[str, int]]:
    counts: dict[Part, dict[str, int]] = {}
    for trial in score.trials:
        of_part = counts.setdefault(trial.mutant.part, {"mutants": 0, "noticed": 0, "equivalent": 0, "survived": 0})
        of_part["mutants"] += 1
        if not trial.survived:
            of_part["noticed"] += 1
        else:
            of_part["equivalent" if trial.mutant.label in score.equivalents else "survived"] += 1
    return counts


def _write(score: Score) -> None:
    columns = ("part", "mutants", "noticed", "equivalent", "survived")
    write_table(columns, [(part.value, *counts.values()) for part, counts in _by_part(score).items()])
    write_table(("noticed first by", "mutants"), list(score.noticed.items()))
    for label, reason in score.explained.items():
        write_result(f"equivalent: {label}: {reason}")
    for label in score.unexplained:
        write_result(f"survived: {label}")
    write_result(f"{score.percent:.2f} % of {len(score.trials) - len(score.explained)} mutants are noticed")


@final
class _Teller:
    """Tells how far it is, now and then."""

    def __init__(self, of: int) -> None:
        self._of = of
        self._tried = self._survived = 0
        self._told = perf_counter()

    def __call__(self, trial: Trial) -> None:
        self._tried += 1
        self._survived += trial.survived
        now = perf_counter()
        if now - self._told >= TOLD_EVERY_SECONDS:
            self._told = now
            note(f"{self._tried} of {self._of} tried, {self._survived} survived")
