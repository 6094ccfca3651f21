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
        self._condition = Condition(Lock())
        self._inside = 0
        self._is_changing = False
        self._thread = local()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """One transaction. RuntimeError when this thread is in one: a second would see another state, or deadlock."""
        if getattr(self._thread, "is_inside", False):
            raise RuntimeError("this thread is inside a transaction of the store; leave `reading()` first")
        with self._condition:
            while self._is_changing:
                self._condition.wait()
            self._inside += 1
        self._thread.is_inside = True
        try:
            yield
        finally:
            self._thread.is_inside = False
            with self._condition:
                self._inside -= 1
                if not self._inside:
                    self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Waits until no transaction is open, and holds up new ones."""
        if getattr(self._thread, "is_inside", False):
            raise RuntimeError("this thread is inside a transaction of the store; leave `reading()` first")
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
