"""A small store with something to see in it, for the pictures of what a store holds: the same one each time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final
from uuid import UUID

from attrs import define, field

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import Environment, RuntimeSettings
from ..runtime.ids import InputId
from ..runtime.inputs import ExternalEventInput
from ..runtime.outcomes import RunOutput
from ..spec.machine import Machine
from ..stores.lmdb_store import LmdbStore
from .diagram_live import live_overlay
from .diagram_overlay import Overlay
from .history_page import history_page
from .history_views import history_view
from .input_history import history_of
from .store_page import store_page

START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUSY: Final = "webhooks/main"
_TRIED: Final = "delivery 3"


@final
@define
class _Clock:
    """Time that passes as it is told, and ids that count up."""

    at: datetime = START
    numbers: Iterator[int] = field(factory=lambda: count(1))

    def environment(self) -> Environment:
        return Environment(now=lambda: self.at, new_id=self.new_id, chance=lambda: 0.5)

    def new_id(self) -> UUID:
        """A UUIDv7 of this moment."""
        millis = int(self.at.timestamp() * 1000)
        return UUID(int=millis << 80 | 7 << 76 | 2 << 62 | next(self.numbers))

    def passes(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


async def _fill(store: LmdbStore, clock: _Clock) -> None:
    """Deliveries that are worked off, one that fails, one whose process dies, and some that wait."""
    settings = RuntimeSettings(event_log=True, max_batch=1)
    for name, deliveries in ((BUSY, 9), ("webhooks/docs", 4), ("chat", 2)):
        driver = await PersistentRuntimeDriver.open(name, store, settings=settings, environment=clock.environment())
        for number in range(deliveries):
            given = ExternalEventInput.new(
                "push", {"n": number}, idempotency_key=f"delivery {number}", id=InputId(clock.new_id())
            )
            await driver.accept_input(given)
            clock.passes(0.4)
        for number in range(deliveries - 2):
            run = await driver.begin_run()
            clock.passes(2.5)
            if run is None:
                break
            if number == 3:  # noqa: PLR2004 - the one that the page of a life shows
                await driver.fail_run(run, "the handler said 503")
                clock.passes(60.0)
                run = await driver.begin_run()
                clock.passes(1.5)
                driver.release()  # as if its process had died
                driver = await PersistentRuntimeDriver.open(
                    name, store, settings=settings, environment=clock.environment()
                )
                clock.passes(0.5)
                run = await driver.begin_run()
                clock.passes(1.0)
            if run is not None:
                await driver.complete_run(run, RunOutput(result=b"done"))
        clock.passes(30.0)
        await driver.close()


@contextmanager
def _store() -> Iterator[tuple[LmdbStore, datetime]]:
    clock = _Clock()
    with TemporaryDirectory() as folder, LmdbStore.open(Path(folder) / "state") as store:
        with ThreadPoolExecutor(max_workers=1) as aside:  # the caller may have a loop of its own
            aside.submit(asyncio.run, _fill(store, clock)).result()
        yield store, clock.at


def stat_page() -> str:
    """What ``holdstate store stat --html`` writes of it."""
    with _store() as (store, now):
        return store_page(store, BUSY, now)


def life_page() -> str:
    """What ``holdstate store history --html`` writes of the input that failed, was lost, and came to its end."""
    with _store() as (store, now), store.reading() as reader:
        runtime, record = reader.load_record(BUSY), reader.find_by_key(BUSY, _TRIED)
        assert runtime is not None and record is not None, "it is in the store"  # noqa: PT018 - no test
        told = history_of(reader, runtime, record)
        return history_page(told, history_view(told, reader), now)


def figures_of(machine: Machine[Any, Any]) -> Overlay:
    """What ``holdstate spec diagram --store`` puts on the picture of ``machine``."""
    with _store() as (store, now):
        return live_overlay(store, machine, None, now)
