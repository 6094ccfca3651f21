"""Where the commits of one store run: on the loop while they are short, else on a thread that holds nobody up."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar, final

T = TypeVar("T")

LONG_COMMIT_SECONDS = 0.005
"""While commits take less on average they run on the loop: a thread would cost more than it gives."""

_NEWEST_SHARE = 0.2
"""Of the newest commit in the average."""


@final
class CommitThread:
    """How long commits take, and the thread for those that take long; it is started when the first one does."""

    def __init__(self) -> None:
        self.average_seconds = 0.0
        self._pool: ThreadPoolExecutor | None = None

    @property
    def is_started(self) -> bool:
        return self._pool is not None

    @property
    def is_wanted(self) -> bool:
        """Whether commits take so long that the next one should run here."""
        return self.average_seconds > LONG_COMMIT_SECONDS

    def note(self, seconds: float) -> None:
        """A commit took so long."""
        self.average_seconds += (seconds - self.average_seconds) * _NEWEST_SHARE

    def start(
        self, write: Callable[[], T], loop: AbstractEventLoop, finish: Callable[[Future[T]], None]
    ) -> Future[T] | None:
        """Run ``write`` on the thread, then ``finish`` on ``loop``, unless that is closed by then. None where the
        program is ending, and threads take nothing more.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="holdstate-commit")
        try:
            future = self._pool.submit(self._timed, write)
        except RuntimeError:
            return None

        def wake(done: Future[T]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, done)

        future.add_done_callback(wake)
        return future

    def _timed(self, write: Callable[[], T]) -> T:
        started = perf_counter()
        results = write()
        self.note(perf_counter() - started)
        return results
