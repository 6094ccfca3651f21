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
_COUNTED: Final = ("mutants", "noticed", "equivalent", "survived", "died")


@click.command()
@option("--only", type=click.Choice([part.value for part in Part]), help="Mutants of one part.")
@option("--limit", type=click.IntRange(1), help="Try so many of them, drawn by the seed.")
@option("--seed", type=int, default=1, help="Draws the mutants of --limit.")
@option("--jobs", type=click.IntRange(1, 64), default=1, help="Processes at once.")
@json_option
def mutate(*, only: str | None, limit: int | None, seed: int, jobs: int, json: bool) -> ExitCode:
    """Change one thing at a time in the tables and in the steps of commit and recovery, and see which check notices.

    Exits 1 when a change is noticed by no check and is not known to be equivalent, and when a check finds something
    wrong without any change; 3 when all that is undecided is what became of a change whose process died (--jobs).
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
    if score.unexplained:
        return ExitCode.FINDING
    return ExitCode.UNDECIDED if score.died else ExitCode.OK


def as_document(score: Score) -> dict[str, Any]:
    """The score as plain JSON values."""
    return {
        "mutants": len(score.trials),
        "percent": round(score.percent, 2),
        "noticed": score.noticed,
        "by_part": {part.value: counts for part, counts in _by_part(score).items()},
        "survivors": score.unexplained,
        "equivalent": score.explained,
        "died": score.died,
        "trials": [
            {
                "mutant": trial.mutant.label,
                "check": None if trial.noticed is None else trial.noticed[0],
                "said": trial.died if trial.noticed is None else trial.noticed[1],
            }
            for trial in score.trials
        ],
    }


def _by_part(score: Score) -> dict[Part, dict[str, int]]:
    counts: dict[Part, dict[str, int]] = {}
    for trial in score.trials:
        of_part = counts.setdefault(trial.mutant.part, dict.fromkeys(_COUNTED, 0))
        of_part["mutants"] += 1
        if trial.died is not None:
            of_part["died"] += 1
        elif not trial.survived:
            of_part["noticed"] += 1
        else:
            of_part["equivalent" if trial.mutant.label in score.equivalents else "survived"] += 1
    return counts


def _write(score: Score) -> None:
    write_table(("part", *_COUNTED), [(part.value, *counts.values()) for part, counts in _by_part(score).items()])
    write_table(("noticed first by", "mutants"), list(score.noticed.items()))
    for label, reason in score.explained.items():
        write_result(f"equivalent: {label}: {reason}")
    for label in score.unexplained:
        write_result(f"survived: {label}")
    for label, how in score.died.items():
        write_result(f"died: {label}: {how}")
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
