"""The operations that are counted, with fixed ids and times, so that their bytes are the same in every run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from types import MappingProxyType
from typing import Final, final
from uuid import UUID

from attrs import define, field

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import Environment
from holdstate.runtime.executor import ActiveRun
from holdstate.runtime.handles import Completed
from holdstate.runtime.ids import InputId
from holdstate.runtime.inputs import ExternalEventInput, PromptInput
from holdstate.runtime.outcomes import Accepted, Deduplicated, RunOutput
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.store import RuntimeStore

GATHERED: Final = 64
_NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_VERSION_7: Final = (0x018F << 112) + (7 << 76) + (2 << 62)
_FIRST_BEHIND: Final = 10_000_000
"""Numbers of inputs that an operation brings; a crowd that waits or has ended has the smaller ones."""


@final
@define
class Setting:
    """A store, and sources that give the same ids and times in every run."""

    store: RuntimeStore
    _numbers: count[int] = field(factory=lambda: count(_FIRST_BEHIND))
    _ids: count[int] = field(factory=lambda: count(1))

    def environment(self) -> Environment:
        """Ids count up, and so does the clock, by a millisecond each time."""
        return Environment(
            now=lambda: _NOON + timedelta(milliseconds=next(self._ids)),
            new_id=lambda: UUID(int=_VERSION_7 + (1 << 61) + next(self._ids)),
            chance=lambda: 0.5,
        )

    def new_input(self, *, keyed: bool = True) -> ExternalEventInput:
        """An event of 200 characters."""
        return event(next(self._numbers), keyed=keyed)

    def new_prompt(self) -> PromptInput:
        """A prompt of 200 characters."""
        return prompt(next(self._numbers))

    async def open(self, runtime_id: str = "one") -> PersistentRuntimeDriver:
        """A driver for a runtime, made where there is none."""
        return await PersistentRuntimeDriver.open(runtime_id, self.store, environment=self.environment())

    @asynccontextmanager
    async def service(self) -> AsyncIterator[RuntimeService]:
        """A service over the store whose executor answers at once."""
        async with RuntimeService(self.store, Answering(), environment=self.environment()) as service:
            yield service


def event(number: int, *, keyed: bool = True) -> ExternalEventInput:
    """The event of that number."""
    key = f"key {number:08}" if keyed else None
    return ExternalEventInput.new(
        "guard", "x" * 200, id=InputId(UUID(int=_VERSION_7 + number)), idempotency_key=key, timestamp=_NOON
    )


def prompt(number: int) -> PromptInput:
    """The prompt of that number, which has a run of its own."""
    given = event(number)
    return PromptInput(given.header, "x" * 200)


@final
class Answering:
    """An executor that has a result and a snapshot at once."""

    async def apply(self, run: ActiveRun) -> RunOutput:
        """The same for every run."""
        return RunOutput(session_snapshot=b"snapshot", result=b"result")


Operation = Callable[[], Awaitable[None]]
"""What is counted; what has to be there before was made already."""

Preparing = Callable[[Setting, PersistentRuntimeDriver], Awaitable[Operation]]


async def _accept(setting: Setting, driver: PersistentRuntimeDriver, *, keyed: bool = False) -> Operation:
    given = setting.new_input(keyed=keyed)

    async def accept() -> None:
        assert type(await driver.accept_input(given)) is Accepted

    return accept


async def _accept_keyed(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    return await _accept(setting, driver, keyed=True)


async def _accept_again(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    given = setting.new_input()
    await driver.accept_input(given)

    async def again() -> None:
        assert type(await driver.accept_input(given)) is Deduplicated

    return again


async def _accept_together(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    inputs = [setting.new_input() for _ in range(GATHERED)]

    async def together() -> None:
        outcomes = await asyncio.gather(*map(driver.accept_input, inputs))
        assert {type(outcome) for outcome in outcomes} == {Accepted}

    return together


async def _accept_apart(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    drivers = [await setting.open(f"of {number:02}") for number in range(GATHERED)]

    async def apart() -> None:
        outcomes = await asyncio.gather(*(each.accept_input(setting.new_input()) for each in drivers))
        assert {type(outcome) for outcome in outcomes} == {Accepted}

    return apart


async def _lifecycle(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    given = setting.new_input()

    async def lifecycle() -> None:
        await driver.accept_input(given)
        run = await driver.begin_run()
        assert run is not None
        await driver.complete_run(run, RunOutput(session_snapshot=b"snapshot", result=b"result"))

    return lifecycle


async def _failure(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    await driver.accept_input(setting.new_input())
    run = await driver.begin_run()
    assert run is not None

    async def failure() -> None:
        await driver.fail_run(run, "no luck")

    return failure


async def _cancel(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    given = setting.new_input()
    await driver.accept_input(given)

    async def cancel() -> None:
        await driver.cancel_input(given.header.id)

    return cancel


async def _nothing_to_do(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    async def idle() -> None:
        assert await driver.begin_run() is None
        await driver.attach()
        await driver.detach()

    return idle


async def _first_opening(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    async def opening() -> None:
        (await setting.open("new")).release()

    return opening


async def _opening(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    driver.release()

    async def opening() -> None:
        (await setting.open()).release()

    return opening


async def _recovery(setting: Setting, driver: PersistentRuntimeDriver) -> Operation:
    """Two inputs of a run that nobody ended are queued again."""
    await asyncio.gather(*(driver.accept_input(setting.new_input()) for _ in range(2)))
    assert await driver.begin_run() is not None
    return await _opening(setting, driver)


OPERATIONS: Final[Mapping[str, Preparing]] = MappingProxyType(
    {
        "accept": _accept,
        "accept with a key": _accept_keyed,
        "accept again": _accept_again,
        "64 accepts at once": _accept_together,
        "64 accepts at once on 64 runtimes": _accept_apart,
        "accept, begin, complete": _lifecycle,
        "fail a run": _failure,
        "cancel an input": _cancel,
        "nothing to begin": _nothing_to_do,
        "open a new runtime": _first_opening,
        "open a runtime": _opening,
        "open and recover a run": _recovery,
    }
)


async def serve(service: RuntimeService, setting: Setting, runtimes: int) -> None:
    """One life on each of so many runtimes of a service at once, from submit to the outcome."""

    async def life(number: int) -> None:
        handle = await service.submit(f"served {number:02}", setting.new_input())
        assert type(await handle.outcome()) is Completed

    await asyncio.gather(*map(life, range(runtimes)))


async def crowd(driver: PersistentRuntimeDriver, inputs: int, *, ended: bool = False) -> None:
    """Admit so many inputs, and work them off where they are to have ended. Of those that wait each has a run alone."""
    make = event if ended else prompt
    await asyncio.gather(*(driver.accept_input(make(number)) for number in range(inputs)))
    while ended and (run := await driver.begin_run()) is not None:
        await driver.complete_run(run)
