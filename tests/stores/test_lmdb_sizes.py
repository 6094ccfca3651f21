"""Rows of every length around the lengths at which LMDB stores them otherwise: in a page, or in pages of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.outcomes import RunOutput
from holdstate.stores.lmdb_store import LmdbStore

PAGE = 4096
EDGES = (PAGE // 2, PAGE, 2 * PAGE, 3 * PAGE)
"""Where a row no longer fits twice into a page, and where it needs one page more."""
AROUND = 180
"""Bytes before and after an edge: the lengths of keys, headers and envelopes lie within."""
TOGETHER = 60


async def test_payloads_results_and_snapshots_of_every_length_around_a_page_come_back(tmp_path: Path) -> None:
    """Each is read whole by who works it off, also by the next opening; the file stays sound."""
    lengths = [edge + more for edge in EDGES for more in range(-AROUND, AROUND)]
    texts = [chr(97 + number % 26) * length for number, length in enumerate(lengths)]
    path = tmp_path / "store"
    with LmdbStore.open(path) as store:
        driver = await Driver.open("r", store)
        for start in range(0, len(texts), TOGETHER):
            await asyncio.gather(
                *(driver.accept_input(PromptInput.new(text)) for text in texts[start : start + TOGETHER])
            )
    with LmdbStore.open(path) as store:
        driver = await Driver.open("r", store)
        assert store.verify() == []
        for text in texts:
            run = await driver.begin_run()
            assert run is not None
            (given,) = run.inputs
            assert isinstance(given, PromptInput)
            assert given.text == text
            await driver.complete_run(run, RunOutput(session_snapshot=text.encode(), result=text[::-1].encode()))
            assert store.load_session_snapshot("r") == text.encode()
            assert await driver.input_result(given.header.id) == text[::-1].encode()
        assert store.verify() == []
    with LmdbStore.open(path, read_only=True) as store:
        assert store.stats().ended_inputs == len(texts)
        assert store.verify() == []
