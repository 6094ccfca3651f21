"""A handler of ``holdstate run`` as the executor of a service."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from ..runtime.executor import ActiveRun, PermanentFailure, TransientFailure, TryLater
from ..runtime.outcomes import Run, RunOutput
from .handlers import Done, Handler, Later
from .run_report import Report


@final
class HandlerExecutor:
    """Gives each run to the handler.

    ``on_begin`` hears of each run before that. ``on_broken`` hears of a handler that could not even be started; its run
    is called off, free of charge.
    """

    def __init__(
        self,
        handler: Handler,
        report: Report,
        on_begin: Callable[[ActiveRun], None],
        on_broken: Callable[[OSError], None],
        *,
        retry_delay: float,
    ) -> None:
        self._handler = handler
        self._report = report
        self._on_begin = on_begin
        self._on_broken = on_broken
        self._retry_delay = retry_delay

    async def apply(self, run: ActiveRun) -> RunOutput:
        """What the handler made of the run, or its words for why it made nothing."""
        self._report.tally.runs += 1
        self._on_begin(run)
        handed = Run(run.run_id, run.runtime_id, run.input_ids, run.inputs, run.records, run.attempt)
        try:
            verdict = await self._handler.handle(handed)
        except OSError as error:
            self._on_broken(error)
            raise TryLater(self._retry_delay) from error
        if isinstance(verdict, Done):
            return verdict.output
        if isinstance(verdict, Later):
            self._report.tally.put_off += 1
            raise TryLater(self._retry_delay if verdict.seconds is None else verdict.seconds)
        raise TransientFailure(verdict.error) if verdict.recoverable else PermanentFailure(verdict.error)
