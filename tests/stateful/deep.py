"""The stateful tests as a campaign: random commands, faults, crashes and jumps of the clock, so many steps, by a seed.

    python -m tests.stateful.deep --steps 1000000 --seed 1

The suite takes some twenty thousand steps, always the same. The same seed and number take the same steps again. Exits 1
when the driver and the model disagree, with the shortest sequence of calls that Hypothesis finds.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections import Counter
from math import inf
from time import perf_counter
from typing import Final
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from holdstate.runtime import commit_thread

from .machine import DriverMachine
from .test_stateful_lmdb import LmdbMachine
from .test_stateful_memory import MemoryMachine
from .world import World

MACHINES: Final[dict[str, type[DriverMachine]]] = {"memory": MemoryMachine, "lmdb": LmdbMachine}
STEPS_OF_AN_EXAMPLE: Final = 100
EXAMPLES: Final = 20
"""In one turn of Hypothesis, which has a seed of its own."""
PHASES: Final = (Phase.generate, Phase.shrink)


def go_deep(machine: type[DriverMachine], steps: int, number: int) -> Counter[str]:
    """Take at least ``steps`` steps of ``machine``, drawn from ``number``. Returns what was done; raises what fails."""
    machine.taken.clear()
    World.steps.clear()
    turn = 0
    with patch.object(commit_thread, "LONG_COMMIT_SECONDS", inf):  # on the loop, however busy the machine is
        while counted() < steps:
            seed(f"{number}/{turn}")(machine)
            run_state_machine_as_test(machine, settings=_settings())
            turn += 1
            print(f"{counted()} steps", file=sys.stderr, flush=True)
    return machine.taken


def counted() -> int:
    """Rules that were taken: the look after an example's beginning is none."""
    return World.steps["taken"] - World.steps["begun"]


def _settings() -> settings:
    return settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS_OF_AN_EXAMPLE,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=True,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )


def main() -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(prog="python -m tests.stateful.deep")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=sorted(MACHINES), default="memory")
    asked = parser.parse_args()
    started = perf_counter()
    try:
        taken = go_deep(MACHINES[asked.store], asked.steps, asked.seed)
    except Exception:  # noqa: BLE001 - whatever an invariant raised
        traceback.print_exc()
        print(f"{counted()} steps on {asked.store}, seed {asked.seed}: broken")
        return 1
    for what, times in sorted(taken.items()):
        print(f"{times:>10} {what}")
    examples, seconds = World.steps["begun"], perf_counter() - started
    print(f"{counted()} steps in {examples} lives on {asked.store}, seed {asked.seed}: none broken; {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
