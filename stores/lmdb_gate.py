"""Who may use the environment now: many transactions, or one change of it (growth, reopening, closing)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock, local
from typing import final


@final
class Gate:
    """Shared for transactions, at most one on a thread; exclusive for what must not meet a live transaction."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._condition = Condition(self._lock)
        self._inside = 0
        self._is_changing = False
        self._thread = local()

    def enter(self) -> None:
        """Begin a transaction on this thread; ``leave`` ends it. Waits while the environment is being changed."""
        self._refuse_nesting()
        # The lock itself: entering a condition is a call of Python more, on every transaction.
        with self._lock:
            while self._is_changing:
                self._condition.wait()
            self._inside += 1
        self._thread.is_inside = True

    def leave(self) -> None:
        """End the transaction of this thread."""
        self._thread.is_inside = False
        with self._lock:
            self._inside -= 1
            if self._is_changing and not self._inside:
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Waits until no transaction is open, and holds up new ones."""
        self._refuse_nesting()
        with self._condition:
            while self._is_changing:
                self._condition.wait()
            self._is_changing = True
            while self._inside:
                self._condition.wait()
        try:
            yield
        finally:
            with self._condition:
                self._is_changing = False
                self._condition.notify_all()

    def _refuse_nesting(self) -> None:
        # A second transaction would see another state than the first one, or wait for it for ever.
        if getattr(self._thread, "is_inside", False):
            raise RuntimeError("this thread is inside a transaction of the store; leave `reading()` first")
