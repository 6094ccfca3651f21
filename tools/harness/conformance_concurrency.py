"""The conformance suite: many callers at once, on one loop and on several threads."""

from __future__ import annotations

import asyncio
from threading import Thread

from ...runtime.outcomes import Accepted
from ...runtime.store import RuntimeStore
from .conformance_base import (
    Capability,
    ConformanceBase,
    Home,
    assert_session_is_that_of_the_receipts,
    assert_sound,
    run,
)
from .workload import RUNTIME, Scribe, content_of, event, inputs_of, opened

CALLERS = 40
KEYS = 8
RUNTIMES = 5


class ConcurrencyConformance(ConformanceBase):
    """Tasks, runtimes and threads that share a store."""

    def test_tasks_that_send_the_same_keys_make_one_input_each(self, home: Home) -> None:
        """Many callers at once with few keys: one input per key, and each is consumed once (C5)."""

        async def play() -> None:
            driver = await opened(home.store)
            sent = [event(n, idempotency_key=f"key {n % KEYS}") for n in range(CALLERS)]
            outcomes = await asyncio.gather(*(driver.accept_input(each) for each in sent))
            assert sum(isinstance(each, Accepted) for each in outcomes) == KEYS
            await Scribe().work_off(driver)

        run(play())
        assert len(inputs_of(home.store)) == KEYS
        assert_session_is_that_of_the_receipts(home.store)
        assert_sound(home.store)

    def test_runtimes_that_work_at_once_do_not_touch_each_other(self, home: Home) -> None:
        """Several runtimes accept and work off in the same turns of the loop, each its own inputs in its own order."""

        async def one(name: str) -> None:
            driver = await opened(home.store, name, seed=name)
            for number in range(RUNTIMES):
                await driver.accept_input(event(number))
            await Scribe().work_off(driver)

        async def play() -> None:
            await asyncio.gather(*(one(f"runtime {number}") for number in range(RUNTIMES)))

        run(play())
        sessions = {home.store.load_session_snapshot(f"runtime {number}") for number in range(RUNTIMES)}
        assert len(sessions) == 1, "the same work came to different ends"
        assert_sound(home.store)

    def test_reader_on_another_thread_sees_whole_commits(self, home: Home) -> None:
        """Each view shows the runtime as one commit left it, whatever is being written meanwhile (C19)."""
        self.needs(Capability.THREADS, "reading while another thread writes")
        failures: list[BaseException] = []

        def write() -> None:
            try:
                run(_written(home.store))
            except BaseException as error:  # noqa: BLE001 - told by the other thread
                failures.append(error)

        writer = Thread(target=write)
        writer.start()
        views = 0
        while writer.is_alive() or not views:
            views += _look(home.store)
        writer.join()
        assert failures == []
        content = content_of(home.store)
        assert content is not None
        assert_session_is_that_of_the_receipts(home.store)
        assert_sound(home.store)


async def _written(store: RuntimeStore) -> None:
    driver = await opened(store)
    scribe = Scribe()
    for first in range(0, CALLERS, 4):
        await asyncio.gather(*(driver.accept_input(event(first + number)) for number in range(4)))
        await scribe.work_off(driver)


def _look(store: RuntimeStore) -> bool:
    """One view; whether the runtime was there."""
    with store.reading() as reader:
        loaded = reader.load_runtime(RUNTIME)
        if loaded is None:
            return False
        assert len(loaded.inputs) == loaded.record.counts.active, "a view shows a part of a commit"
        assert reader.load_record(RUNTIME) == loaded.record, "one view shows two states"
        snapshot = reader.load_session_snapshot(RUNTIME)
        assert (snapshot is not None) == loaded.record.has_snapshot, "a view shows a part of a commit"
    return True
