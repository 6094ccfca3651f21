"""How much a stateful test does: the same little in every run of the suite, as much as one likes when exploring."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

SHARED_MEMORY: Final = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""Where the sync of a commit costs nothing, or None for the usual place of temporary files."""


def scaled(*, examples: int, steps: int) -> settings:
    """``examples`` of ``steps`` in the ci profile; the explore profile takes twenty times as many, and new ones."""
    exploring = os.environ.get("HOLDSTATE_HYPOTHESIS_PROFILE") == "explore"
    return settings(
        max_examples=examples * (20 if exploring else 1),
        stateful_step_count=steps,
        derandomize=not exploring,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def run_until_tried(machine: type[Any], wanted: Iterable[str], config: settings) -> None:
    """Run ``machine`` until each of ``wanted`` was met at least once: five turns at most, nearly always one.

    Hypothesis draws among the constants of the modules that are imported, so what the examples of a turn do also
    depends on which tests came before.
    """
    machine.taken.clear()
    missing = list(wanted)
    for turn in range(5):
        seed(turn)(machine)
        run_state_machine_as_test(machine, settings=config)
        missing = [name for name in missing if not machine.taken[name]]
        if not missing:
            return
    raise AssertionError(f"never met: {missing}")
