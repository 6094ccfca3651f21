"""The runtimes that ``holdstate run`` has open, each with the lines it still owes an answer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, final

from attrs import Factory, define, frozen

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import RuntimeSettings
from ..runtime.ids import InputId
from ..runtime.store import RuntimeStore
from .run_source import Line

MAX_OPEN_IDLE: Final = 256
"""Runtimes that owe nothing are kept open up to this number: opening one costs a commit."""


@final
@frozen
class Waiter:
    """A line whose input has not ended. ``deduplicated``: the input was there before the line came."""

    line: Line
    deduplicated: bool


@final
@define(eq=False)
class OpenRuntime:
    """An open runtime. ``waiting`` are the lines that wait, by input; ``active`` counts its active inputs.

    ``needs_room``: a line waits until it has fewer active inputs. ``is_scheduled``: a worker has it, or will get it.
    """

    driver: PersistentRuntimeDriver
    active: int
    waiting: dict[InputId, list[Waiter]] = Factory(dict)
    needs_room: bool = False
    is_scheduled: bool = False

    @property
    def has_work(self) -> bool:
        return bool(self.waiting) or self.needs_room


@final
class Runtimes:
    """Opens runtimes on demand, and closes those that were idle for longest."""

    def __init__(self, store: RuntimeStore, settings: RuntimeSettings) -> None:
        self._store = store
        self._settings = settings
        self._open: OrderedDict[str, OpenRuntime] = OrderedDict()

    async def get(self, runtime_id: str) -> OpenRuntime:
        """The runtime, claimed and recovered."""
        known = self._open.get(runtime_id)
        if known is not None:
            self._open.move_to_end(runtime_id)
            return known
        driver = await PersistentRuntimeDriver.open(runtime_id, self._store, settings=self._settings)
        opened = OpenRuntime(driver, len(await driver.active_input_ids()))
        self._open[runtime_id] = opened
        return opened

    async def trim(self) -> None:
        """Close what was idle for longest, beyond ``MAX_OPEN_IDLE``."""
        idle = [key for key, each in self._open.items() if not (each.has_work or each.is_scheduled)]
        for runtime_id in idle[: max(len(idle) - MAX_OPEN_IDLE, 0)]:
            await self._open.pop(runtime_id).driver.close()
