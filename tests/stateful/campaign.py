"""How much a stateful test does: the same little in every run of the suite, as much as one likes when exploring."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, settings

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
