"""Garbage collection is held back while a large group is made, and only then."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from holdstate.runtime.collector import paused_collector
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.flush import FEW, committer_of
from holdstate.runtime.turn import Turn
from holdstate.stores.memory_store import MemoryStore


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """As it is in a program that does not care, before and after."""
    assert gc.isenabled()
    yield
    gc.enable()


def test_it_is_paused_inside_and_goes_on_after_an_error() -> None:
    """Whatever happens inside."""
    seen = []

    def fail() -> None:
        with paused_collector():
            seen.append(gc.isenabled())
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert seen == [False]
    assert gc.isenabled()


def test_a_program_that_turned_it_off_keeps_it_off() -> None:
    """It is not ours to turn on."""
    gc.disable()
    with paused_collector():
        assert not gc.isenabled()
    assert not gc.isenabled()


@pytest.mark.parametrize(("calls", "paused"), [(FEW, False), (FEW + 1, True)])
async def test_a_large_group_is_decided_without_it(calls: int, *, paused: bool) -> None:
    """A small one need not: what it makes is little."""
    store = MemoryStore()
    async with await PersistentRuntimeDriver.open("r", store) as driver:

        def seen(_: Turn) -> bool:
            return not gc.isenabled()

        futures = [committer_of(store).submit(driver._actor, seen) for _ in range(calls)]
        assert await asyncio.gather(*futures) == [paused] * calls
    assert gc.isenabled()
