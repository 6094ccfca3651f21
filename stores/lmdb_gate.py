"""Who may use the environment now: many transactions, or one change of it (growth, reopening, closing)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock, get_ident
from typing import final


@final
class Gate:
    """Shared for transactions, at most one on a thread; exclusive for what must not meet a live transaction."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._condition = Condition(self._lock)
        self._inside: set[int] = set()
        """Threads by ident."""
        self._is_changing = False

    def enter(self) -> None:
        """Begin a transaction on this thread; ``leave`` ends it. Waits while the environment is being changed."""
        thread = get_ident()
        if thread in self._inside:
            raise _nested()
        # The lock itself: entering a condition is a call of Python more, on every transaction.
        with self._lock:
            while self._is_changing:
                self._condition.wait()
            self._inside.add(thread)

    def leave(self) -> None:
        """End the transaction of this thread."""
        with self._lock:
            self._inside.remove(get_ident())
            if self._is_changing and not self._inside:
                self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Waits until no transaction is open, and holds up new ones."""
        if get_ident() in self._inside:
            raise _nested()
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


def _nested() -> RuntimeError:
    # A second transaction would see another state than the first one, or wait for it for ever.
    return RuntimeError("this thread is inside a transaction of the store; leave `reading()` first")
