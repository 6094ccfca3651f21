"""What operations cost beside many inputs: the same as beside few. So nothing copies or walks the whole state (C3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final, final
from uuid import UUID

import pytest
from attrs import evolve, frozen

from holdstate.runtime import core
from holdstate.runtime.commands import Accept, BeginRun
from holdstate.runtime.delta import Delta
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.ids import RunId
from holdstate.runtime.outcomes import RunOutput
from holdstate.spec.vocabulary import InputState
from holdstate.stores.memory_store import MemoryStore

from ..runtime.cores import NOON, a_record, prepared
from .counted import counted
from .meter import counted_calls, measured_memory
from .operations import Setting, crowd
from .table import TABLE

FEW, MANY = 10, 20_000
CROWDS: Final = (FEW, 1_000, MANY)
FAR_BEHIND: Final = 1_000_000_000
GROWING: Final = ("accept, begin, complete", "cancel an input", "accept with a key")
"""What is done again and again; to open a runtime is to load what waits in it."""

WIDER_NUMBERS: Final = 100
"""Bytes: counters and order keys take more digits beside many."""
MORE_CALLS: Final = 40
"""Of some thousand: the sorted queue of a lane is a list of lists, and beside many there are more of them."""
MORE_MEMORY: Final = 32 * 1024
"""Bytes; a copy of 20,000 references alone takes five times as much."""
SLACK: Final = 3.0
"""Times; what touches every one of 20,000 inputs takes far longer than that beside what touches ten."""
TIMES: Final = 5
"""The least of so many counts, as a list that is split now and then is paid for by the inputs before."""
ROUNDS, CALLS, STEPS = 9, 20, 10
"""Rounds in which few and many take turns; and in each so many lives, or decisions of the core."""


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("ended", [False, True], ids=["active", "ended"])
@pytest.mark.parametrize("inputs", CROWDS)
def test_rows_do_not_depend_on_other_inputs(tmp_path: Path, inputs: int, ended: bool) -> None:  # noqa: FBT001
    """Beside 10, 1,000 and 20,000 inputs that wait or have ended: the rows, commits and steps of the table."""
    found = counted(tmp_path / "store", GROWING, inputs=inputs, ended=ended)
    assert all(abs(found[each].bytes - TABLE[each].bytes) <= WIDER_NUMBERS for each in GROWING)
    assert {each: evolve(found[each], bytes=0) for each in GROWING} == {
        each: evolve(TABLE[each], bytes=0) for each in GROWING
    }


@final
@frozen
class Crowd:
    """A runtime over a store in memory, in which inputs wait. All but the first few are in its image alone, behind
    whatever comes: so that it is made in a moment, with a bug planted too.
    """

    runner: asyncio.Runner
    setting: Setting
    driver: PersistentRuntimeDriver


@pytest.fixture(scope="module")
def crowds() -> Iterator[tuple[Crowd, Crowd]]:
    """One with few inputs and one with many, which take turns on one event loop."""

    async def crowded(inputs: int) -> tuple[Setting, PersistentRuntimeDriver]:
        setting = Setting(MemoryStore())
        driver = await setting.open()
        await crowd(driver, FEW)
        behind = [a_record(InputState.QUEUED, FAR_BEHIND + number) for number in range(inputs - FEW)]
        driver._actor.image.apply(Delta(driver._actor.image.runtime, [(None, record) for record in behind]))
        return setting, driver

    with asyncio.Runner() as runner:
        yield Crowd(runner, *runner.run(crowded(FEW))), Crowd(runner, *runner.run(crowded(MANY)))


async def _life(setting: Setting, driver: PersistentRuntimeDriver) -> None:
    await driver.accept_input(setting.new_prompt())
    run = await driver.begin_run()
    assert run is not None
    await driver.complete_run(run, RunOutput(session_snapshot=b"snapshot", result=b"result"))


async def _cancel(setting: Setting, driver: PersistentRuntimeDriver) -> None:
    given = setting.new_input()
    await driver.accept_input(given)
    await driver.cancel_input(given.header.id)


Doing = Callable[[Setting, PersistentRuntimeDriver], Awaitable[None]]
# Each leaves as many inputs as there were.
LIVES: Final[dict[str, Doing]] = {"accept, begin, complete": _life, "accept, cancel": _cancel}


async def _calls(doing: Doing, of: Crowd) -> int:
    with counted_calls() as found:
        await doing(of.setting, of.driver)
    return found["calls"]


async def _memory(doing: Doing, of: Crowd) -> int:
    with measured_memory() as found:
        await doing(of.setting, of.driver)
    return found["bytes"]


async def _seconds(doing: Doing, of: Crowd) -> float:
    started = perf_counter()
    for _ in range(CALLS):
        await doing(of.setting, of.driver)
    return perf_counter() - started


async def _step_seconds(of: Crowd) -> float:
    """Decisions on an accept and on a begin; the image stays as it is."""
    image, settings = of.driver._actor.image, of.driver._actor.settings
    accept = prepared(of.setting.new_input())
    run_id = RunId(UUID(int=1))
    started = perf_counter()
    for _ in range(STEPS):
        core.step(image, Accept(NOON, accept.input, accept.body, accept.fingerprint), settings)
        core.step(image, BeginRun(NOON, run_id), settings)
    return perf_counter() - started


@pytest.mark.parametrize("life", LIVES)
def test_calls_of_functions_do_not_depend_on_other_inputs(crowds: tuple[Crowd, Crowd], life: str) -> None:
    """Counted by the interpreter, calls in C too: a loop over what waits would be thousands."""
    few, many = (min(each.runner.run(_calls(LIVES[life], each)) for _ in range(TIMES)) for each in crowds)
    assert many <= few + MORE_CALLS


@pytest.mark.parametrize("life", LIVES)
def test_memory_of_a_command_does_not_depend_on_other_inputs(crowds: tuple[Crowd, Crowd], life: str) -> None:
    """A copy that is made by one call in C makes no more calls, but it takes memory."""
    few, many = (min(each.runner.run(_memory(LIVES[life], each)) for _ in range(TIMES)) for each in crowds)
    assert many <= few + MORE_MEMORY


@pytest.mark.parametrize("life", LIVES)
def test_time_beside_many_inputs_is_that_beside_few(crowds: tuple[Crowd, Crowd], untraced: None, life: str) -> None:
    """The median of pairs that were taken in turn: what the machine does meanwhile hits both."""
    pairs = [[each.runner.run(_seconds(LIVES[life], each)) for each in crowds] for _ in range(ROUNDS)]
    assert median(many / few for few, many in pairs) <= SLACK


def test_time_of_a_step_beside_many_inputs_is_that_beside_few(crowds: tuple[Crowd, Crowd], untraced: None) -> None:
    """Without a driver around it a decision takes so little that any copy would show."""
    pairs = [[each.runner.run(_step_seconds(each)) for each in crowds] for _ in range(ROUNDS)]
    assert median(many / few for few, many in pairs) <= SLACK
