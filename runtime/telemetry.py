"""What a service tells the outside world: log records, and spans and metrics where OpenTelemetry is installed.

Records go to the logger ``holdstate.service`` with ``event``, ``runtime_id``, ``input_id`` and ``run_id`` as
attributes. Nothing of a payload, a result or an error's text is in a record of an event, a span or a metric.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, final

from attrs import evolve

from ..spec.vocabulary import EventCode
from .delta import Delta
from .events import Announcement
from .executor import ActiveRun, Executor, TryLater
from .headers import InputHeader, TraceContext, tracestate_problem
from .inputs import Input
from .outcomes import Rejected, RunOutput

if TYPE_CHECKING:
    from opentelemetry.trace import Link

LOGGER: Final = logging.getLogger("holdstate.service")
LOGGER.addHandler(logging.NullHandler())  # a program that set up no logging gets none from a library

_LEVELS: Final = {
    EventCode.RUN_FAILED: logging.WARNING,
    EventCode.INPUT_ABANDONED: logging.WARNING,
}
_ENDS_OF_INPUTS: Final = frozenset(
    {EventCode.INPUT_CONSUMED, EventCode.INPUT_SUPERSEDED, EventCode.INPUT_COALESCED, EventCode.INPUT_ABANDONED}
)
_ENDS_OF_RUNS: Final = frozenset({EventCode.RUN_COMPLETED, EventCode.RUN_FAILED, EventCode.RUN_CANCELLED})


def log_events(runtime_id: str, events: Iterable[Announcement]) -> None:
    """One record for each event: failed runs and abandoned inputs as warnings, the others for debugging."""
    for event in events:
        level = _LEVELS.get(event.code, logging.DEBUG)
        if LOGGER.isEnabledFor(level):
            extra = {
                "event": str(event.code),
                "runtime_id": runtime_id,
                "input_id": None if event.input_id is None else str(event.input_id),
                "run_id": None if event.run_id is None else str(event.run_id),
            }
            LOGGER.log(level, "%s", event.code, extra=extra)


def telemetry_if_set_up() -> Telemetry | None:
    """Spans and metrics over the providers that the program has set up; None without any, or without
    ``holdstate[otel]``.
    """
    try:
        made = Telemetry()
    except ImportError:
        return None
    return made if made.is_set_up else None


@final
class Telemetry:
    """Spans and metrics of one service, all named ``holdstate.…``."""

    def __init__(self) -> None:
        from opentelemetry import metrics, trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._no_context = Context
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer("holdstate")
        meter = metrics.get_meter("holdstate")
        # What OpenTelemetry gives out until there is a provider: it costs the same and tells nobody.
        self.is_set_up = not all(type(each).__name__.strip("_").startswith("Proxy") for each in (self._tracer, meter))
        self._accepted = meter.create_counter("holdstate.inputs.accepted", "{input}", "inputs admitted")
        self._ended = meter.create_counter("holdstate.inputs.ended", "{input}", "inputs ended, by outcome")
        self._refused = meter.create_counter("holdstate.inputs.refused", "{input}", "inputs refused, by code")
        self._durations = meter.create_histogram("holdstate.run.duration", "s", "time from begin to end, by ending")
        self._depth = meter.create_gauge("holdstate.inputs.active", "{input}", "inputs admitted and not ended")

    # -- the trace of an input -------------------------------------------------------------------------------------

    def stamped(self, given: Input) -> Input:
        """``given`` with the span that is current now, unless it carries one already."""
        header = getattr(given, "header", None)
        if type(header) is not InputHeader or header.trace_context is not None:
            return given
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        if "traceparent" not in carrier:
            return given
        state = carrier.get("tracestate")
        if state is not None and tracestate_problem(state) is not None:
            state = None
        return evolve(given, header=evolve(header, trace_context=TraceContext(carrier["traceparent"], state)))

    def links(self, inputs: Iterable[Input]) -> Iterator[Link]:
        """A link to each span that sent one of ``inputs``."""
        for given in inputs:
            context = given.header.trace_context
            if context is not None:
                carrier = {"traceparent": context.traceparent, "tracestate": context.tracestate or ""}
                sender = self._trace.get_current_span(self._propagator.extract(carrier))
                yield self._trace.Link(sender.get_span_context())

    @contextmanager
    def run_span(self, run: ActiveRun) -> Iterator[None]:
        """A span for the work of an executor, current meanwhile, linked to who sent the inputs, steers included."""
        attributes = {"holdstate.runtime_id": run.runtime_id, "holdstate.run_id": str(run.run_id)}
        first = len(run.inputs)
        with self._tracer.start_as_current_span(
            "holdstate.run",
            context=self._no_context(),  # whoever woke the worker up is not its parent
            links=list(self.links(run.inputs)),
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            span.set_attribute("holdstate.attempt", run.attempt)
            try:
                yield
            except TryLater:
                raise  # it is no failure
            except Exception as error:
                span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, type(error).__name__))
                raise
            finally:
                for link in self.links(run.inputs[first:]):
                    span.add_link(link.context)
                if run.token.reason is not None:
                    span.set_attribute("holdstate.called_off", run.token.reason)

    # -- metrics ---------------------------------------------------------------------------------------------------

    def refused(self, rejection: Rejected) -> None:
        """Count an input that was refused."""
        self._refused.add(1, {"code": str(rejection.code)})

    def committed(self, deltas: Iterable[Delta], run_since: datetime | None, active: int) -> None:
        """Count what a commit announced. ``run_since`` is when the run began that was current before it."""
        for delta in deltas:
            for event in delta.announcements:
                if event.code is EventCode.INPUT_ACCEPTED:
                    self._accepted.add(1)
                elif event.code in _ENDS_OF_INPUTS:
                    self._ended.add(1, {"outcome": event.code.removeprefix("input.")})
                elif event.code is EventCode.RUN_STARTED:
                    run_since = event.at
                elif event.code in _ENDS_OF_RUNS and run_since is not None:
                    seconds = max((event.at - run_since).total_seconds(), 0.0)
                    self._durations.record(seconds, {"ending": event.code.removeprefix("run.")})
                    run_since = None
        self._depth.set(active)


@final
class TracedExecutor:
    """An executor whose work shows as spans."""

    def __init__(self, executor: Executor, telemetry: Telemetry) -> None:
        self._executor = executor
        self._telemetry = telemetry

    async def apply(self, run: ActiveRun) -> RunOutput | bytes | None:
        """The work of the executor, within a span."""
        with self._telemetry.run_span(run):
            return await self._executor.apply(run)
