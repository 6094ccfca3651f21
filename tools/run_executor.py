"""A handler of ``holdstate run`` as the executor of a service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import final

from ..runtime.executor import ActiveRun, PermanentFailure, TransientFailure, TryLater
from ..runtime.outcomes import Run, RunOutput
from ..runtime.worker import TIMEOUT
from .handlers import Done, Handler, Later
from .run_report import Report


@final
class HandlerExecutor:
    """Gives each run to the handler and tells the report of what went wrong.

    ``place_of`` names the line that a run is about. ``on_broken`` hears of a handler that could not even be started;
    its run is called off, free of charge.
    """

    def __init__(
        self,
        handler: Handler,
        report: Report,
        place_of: Callable[[ActiveRun], str],
        on_broken: Callable[[OSError], None],
        *,
        timeout: float | None,
        retry_delay: float,
    ) -> None:
        self._handler = handler
        self._report = report
        self._place_of = place_of
        self._on_broken = on_broken
        self._timeout = timeout
        self._retry_delay = retry_delay

    async def apply(self, run: ActiveRun) -> RunOutput:
        """What the handler made of the run, or its words for why it made nothing."""
        self._report.tally.runs += 1
        handed = Run(run.run_id, run.runtime_id, run.input_ids, run.inputs, run.records, run.attempt)
        try:
            verdict = await self._handler.handle(handed)
        except asyncio.CancelledError:
            if run.token.reason == TIMEOUT:
                self._failed(run, f"timed out after {self._timeout:g} s (--timeout)")
            raise
        except OSError as error:
            self._on_broken(error)
            raise TryLater(self._retry_delay) from error
        if isinstance(verdict, Done):
            return verdict.output
        if isinstance(verdict, Later):
            self._report.tally.put_off += 1
            raise TryLater(self._retry_delay if verdict.seconds is None else verdict.seconds)
        self._failed(run, verdict.error)
        raise TransientFailure(verdict.error) if verdict.recoverable else PermanentFailure(verdict.error)

    def _failed(self, run: ActiveRun, error: str) -> None:
        self._report.failed(run.runtime_id, self._place_of(run), run.attempt, error)
