"""One runtime that a service has open, and those who are told of what ends in it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from .backpressure import RoomQueue
from .driver import PersistentRuntimeDriver
from .handles import Waiters
from .records import InputRecord
from .status import Tally
from .worker import RuntimeWorker

EndListener = Callable[[str, InputRecord], None]
"""Told of an input that ended: its runtime and its record. It must return at once and not raise."""


@define(eq=False)
class OpenRuntime:
    """One runtime of the service: its driver, who waits, its worker, what it counts, and who waits for room in it."""

    driver: PersistentRuntimeDriver
    waiters: Waiters
    worker: RuntimeWorker | None
    tally: Tally
    queue: RoomQueue = field(factory=RoomQueue)

    @property
    def is_busy(self) -> bool:
        """Whether it has something that is lost, or late, when it is closed."""
        return bool(self.driver.image.bodies) or (self.worker is not None and self.worker.is_busy)

    def wake(self) -> None:
        """Start the worker, whatever the runtime asked for."""
        if self.worker is not None:
            self.worker.kick()

    def kick(self) -> None:
        """Start the worker if the runtime asked for it."""
        if self.worker is not None:
            wake, process = self.driver.take_wake_requested(), self.driver.take_process_requested()
            if wake or process:
                self.worker.kick()
