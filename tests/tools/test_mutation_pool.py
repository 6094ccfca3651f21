"""Mutants in several processes: one that takes its process with it is told, and costs nothing but itself."""

from __future__ import annotations

import os
import signal
from multiprocessing import active_children

import pytest

from holdstate.tools.mutation import Mutant, Part, Trial
from holdstate.tools.mutation_pool import tried_in_processes
from holdstate.tools.mutation_run import mutants, sample, trials


def work(label: str) -> tuple[str, str] | None:
    """Does what the label says, in the process of the mutant."""
    word = label.rpartition(" ")[2]
    if word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "exits":
        os._exit(7)
    if word == "endless":
        signal.pause()
    return None if word == "survives" else ("check", f"{word} in {os.getpid()}")


def chosen(*words: str) -> list[Mutant]:
    return [Mutant(Part.CODE, f"{number} {word}") for number, word in enumerate(words)]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_mutant_that_kills_its_process_is_told_and_the_rest_goes_on(jobs: int) -> None:
    """By a real SIGKILL or an exit: the others have their verdicts, in their order."""
    given = chosen("noticed", "killed", "survives", "exits", "noticed", "killed", "noticed")
    found = list(tried_in_processes(given, jobs, work))
    assert [trial.mutant for trial in found] == given
    ends = [trial.died for trial in found]
    killed = "its process was killed by SIGKILL"
    assert ends == [None, killed, None, "exit code 7", None, killed, None]
    assert [trial.survived for trial in found] == [False, False, True, False, False, False, False]
    assert [trial.noticed is not None for trial in found] == [True, False, False, False, True, False, True]
    assert active_children() == []


def test_a_mutant_that_never_ends_is_told_and_the_rest_goes_on() -> None:
    """After its time its process is killed."""
    found = list(tried_in_processes(chosen("endless", "survives"), 1, work, most_seconds=3.0))
    assert found == [Trial(found[0].mutant, died="it took too long"), Trial(found[1].mutant)]


def test_a_process_that_dies_with_nothing_in_hand_costs_no_mutant() -> None:
    """It is replaced before it is given one."""
    found = []
    for trial in tried_in_processes(chosen("noticed", "survives", "noticed"), 1, work):
        found.append(trial)
        for child in active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
    assert [trial.died for trial in found] == [None, None, None]
    assert [trial.survived for trial in found] == [False, True, False]


def test_processes_come_to_what_one_comes_to() -> None:
    """The same verdicts in the same order, with real mutants."""
    given = sample(mutants(Part.POLICY), 6, 3)
    told: list[Trial] = []
    assert trials(given, jobs=2, tell=told.append) == trials(given) == told
