"""An event loop on a thread of its own, and the way in from other threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, wait
from typing import Any, TypeVar, final

from .errors import CallTimedOut, ServiceClosed, ServiceForked, WouldDeadlock

T = TypeVar("T")

LEAVE_SECONDS = 5.0
"""How long tasks get to end when the loop is stopped; those that ignore it are left behind."""


@final
class LoopThread:
    """Runs until ``stop``. Any thread but its own may call, of the process that made it."""

    def __init__(self, name: str) -> None:
        self.owner_pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, make: Callable[[], Coroutine[Any, Any, T]], seconds: float | None = None) -> T:
        """The result of the coroutine that ``make`` makes, run on the loop in the context of the caller.

        Raises ``CallTimedOut`` after ``seconds``; what was under way is cancelled then, and where the caller is
        interrupted.
        """
        if os.getpid() != self.owner_pid:
            raise ServiceForked(self.owner_pid)
        if threading.current_thread() is self._thread:
            raise WouldDeadlock
        with self._lock:  # so that nothing is given to a loop that is about to close
            if self._is_stopped:
                raise ServiceClosed
            future = asyncio.run_coroutine_threadsafe(make(), self._loop)
        try:
            wait([future], seconds)
        except BaseException:
            future.cancel()
            raise
        if seconds is not None and future.cancel():
            raise CallTimedOut(seconds)
        try:
            return future.result()
        except CancelledError:
            raise ServiceClosed from None

    def stop(self) -> None:
        """End the loop and wait for its thread; calls under way hear ``ServiceClosed``. Stopping twice is fine."""
        with self._lock:
            if not self._is_stopped:
                self._is_stopped = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:  # also when a task raised SystemExit
            with self._lock:
                self._is_stopped = True
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks, timeout=LEAVE_SECONDS))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
