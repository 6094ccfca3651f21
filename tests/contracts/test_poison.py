"""An input that kills the process which works it off is set aside in the end, and takes nobody with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from holdstate.spec.vocabulary import AbandonReason, InputState
from holdstate.stores.lmdb_store import LmdbStore

from .kit import MAX_ATTEMPTS, accept, input_id, inputs_of, opened, prompt
from .poison import DEATHS, POISON


async def _fill(path: Path) -> None:
    with LmdbStore.open(path) as store:
        await accept(await opened(store), prompt(0), prompt(1, POISON), prompt(2))


@pytest.mark.parametrize("how", DEATHS)
def test_an_input_that_kills_its_process_is_tried_as_often_as_the_cap_says(
    tmp_path: Path, project_root: Path, how: str
) -> None:
    """Each death is counted before the next try; then it is abandoned, and what came before and after is done (C14)."""
    path = tmp_path / "store"
    asyncio.run(_fill(path))
    said = []
    for _ in range(MAX_ATTEMPTS + 3):
        done = subprocess.run(
            [sys.executable, "-m", "tests.contracts.poison", how, str(path)],
            cwd=project_root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said += done.stdout.split()
        if done.returncode == 0:
            break
    assert said == ["poisoned"] * MAX_ATTEMPTS
    with LmdbStore.open(path) as store:
        before, poison, after = inputs_of(store)
        assert (before.state, after.state) == (InputState.CONSUMED, InputState.CONSUMED)
        assert (poison.input_id, poison.state) == (input_id(1), InputState.ABANDONED)
        assert poison.terminal_outcome is not None
        assert poison.terminal_outcome.reason is AbandonReason.ATTEMPTS_EXHAUSTED
        assert poison.attempt_count == MAX_ATTEMPTS
        assert store.verify() == []
