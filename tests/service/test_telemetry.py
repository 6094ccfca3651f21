"""What the outside is told: log records without payloads, and spans and metrics where OpenTelemetry is installed."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import Any

import pytest
from attrs import evolve
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags, TraceState

from holdstate.runtime import telemetry
from holdstate.runtime.executor import ActiveRun, TryLater
from holdstate.runtime.handles import Completed
from holdstate.runtime.headers import TraceContext
from holdstate.runtime.inputs import ContinuationInput, Input, PromptInput
from holdstate.runtime.outcomes import Rejected
from holdstate.runtime.settings import Limits
from holdstate.runtime.validation import check_input
from holdstate.runtime.wire import decode_body, encode_body, input_from_wire, input_to_wire
from holdstate.spec.vocabulary import EventCode, HandlingMode

from .watching import Gated, Watched

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Seen:
    """Spans and metrics of one test."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._reader])

    def runs(self) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.name == "holdstate.run"]

    def metrics(self) -> dict[str, dict[str, Any]]:
        """By name and by the values of the attributes: the value, or the sum of a histogram."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: {
                ",".join(map(str, (point.attributes or {}).values())): _value(point)
                for point in metric.data.data_points
            }
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def _value(point: Any) -> object:
    return point.sum if hasattr(point, "sum") else point.value


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found = Seen()
    monkeypatch.setattr(trace, "get_tracer", found.tracers.get_tracer)
    monkeypatch.setattr(metrics, "get_meter", found.meters.get_meter)
    return found


# -- the trace context of an input ---------------------------------------------------------------------------------


def with_context(parent: Any, state: Any = None) -> Input:
    given = PromptInput.new("x")
    return evolve(given, header=evolve(given.header, trace_context=TraceContext(parent, state)))


@pytest.mark.parametrize("state", [None, "vendor=value,other=1"])
def test_a_trace_context_survives_wire_and_body(state: str | None) -> None:
    """It comes back as it was, and is left out where there is none."""
    given = with_context(PARENT, state)
    assert check_input(given, Limits()) is None
    assert input_from_wire(input_to_wire(given)) == given
    assert decode_body(encode_body(given)) == given
    assert b"trace_context" not in encode_body(PromptInput.new("x"))


@pytest.mark.parametrize(
    ("parent", "state", "path"),
    [
        (PARENT.upper(), None, "traceparent"),
        ("01" + PARENT[2:], None, "traceparent"),
        (PARENT + "-", None, "traceparent"),
        ("00-" + "0" * 32 + PARENT[35:], None, "traceparent"),
        (PARENT[:36] + "0" * 16 + "-01", None, "traceparent"),
        (None, None, "traceparent"),
        (PARENT, "", "tracestate"),
        (PARENT, "a" * 513, "tracestate"),
        (PARENT, "a=\n", "tracestate"),
        (PARENT, 1, "tracestate"),
    ],
)
def test_a_bad_trace_context_is_refused_with_its_path(parent: Any, state: Any, path: str) -> None:
    """Version 00 in lower case, no zero ids, a bounded state in printable ASCII."""
    rejection = check_input(with_context(parent, state), Limits())
    assert rejection is not None
    assert rejection.path == f"header.trace_context.{path}"


def test_a_trace_context_of_another_class_is_refused() -> None:
    """A plain dict has its place in the wire form alone."""
    given = PromptInput.new("x")
    given = evolve(given, header=evolve(given.header, trace_context={"traceparent": PARENT}))  # type: ignore[arg-type]
    rejection = check_input(given, Limits())
    assert rejection is not None
    assert rejection.path == "header.trace_context"


# -- spans ---------------------------------------------------------------------------------------------------------


async def test_a_run_links_to_the_spans_that_sent_its_inputs(seen: Seen) -> None:
    """The caller's span is stored with the input; the run is a trace of its own, linked to it, steers included."""
    executor = Steered()
    tracer = seen.tracers.get_tracer("test")
    async with Watched(executor) as watched:
        with tracer.start_as_current_span("first") as first:
            handle = await watched.service.submit("a", PromptInput.new("x"))
        await executor.began.get()
        with tracer.start_as_current_span("second") as second:
            steer = ContinuationInput.new("go", handling_mode=HandlingMode.STEER)
            await watched.service.ingest("a", steer)
        executor.gate.set()
        await handle.outcome(10)
        (run,) = seen.runs()
        linked = [link.context.span_id for link in run.links]
        assert linked == [first.get_span_context().span_id, second.get_span_context().span_id]
        assert run.parent is None
        assert (run.attributes or {})["holdstate.runtime_id"] == "a"
        assert executor.inner == run.get_span_context()
        assert run.status.status_code is StatusCode.UNSET


async def test_the_span_of_a_run_that_is_put_off_is_no_error(seen: Seen) -> None:
    """``TryLater`` is a wish, and the span of the next attempt is another one."""

    class Later:
        runs = 0

        async def apply(self, run: ActiveRun) -> None:
            self.runs += 1
            if self.runs == 1:
                raise TryLater(0.001)

    async with Watched(Later()) as watched:
        handle = await watched.service.submit("a", PromptInput.new("x"))
        assert isinstance(await handle.outcome(10), Completed)
        assert [run.status.status_code for run in seen.runs()] == [StatusCode.UNSET] * 2


class Steered:
    """Takes what arrived for its run, and notes which span was current meanwhile."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[ActiveRun] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.inner: object = None

    async def apply(self, run: ActiveRun) -> None:
        self.inner = trace.get_current_span().get_span_context()
        self.began.put_nowait(run)
        await self.gate.wait()
        await run.checkpoint()
        await run.take_steers()


async def test_a_failed_run_names_the_class_of_its_error_alone(seen: Seen) -> None:
    """The text of an error may hold what was in a payload."""
    executor = Gated()
    executor.gate.set()
    async with Watched(executor) as watched, watched.service.subscribe("a", codes=[EventCode.RUN_FAILED]) as failures:
        await watched.service.ingest("a", PromptInput.new("fail"))
        await anext(failures)
        (run,) = seen.runs()
        assert (run.status.status_code, run.status.description) == (StatusCode.ERROR, "ValueError")
        assert run.links == ()
        assert run.events == ()


async def test_a_run_that_was_called_off_says_why(seen: Seen) -> None:
    """The reason of the call-off is an attribute of its span."""
    executor = Gated()
    async with Watched(executor) as watched:
        await watched.service.ingest("a", PromptInput.new("x"))
        await executor.began.get()
        async with watched.service.subscribe("a", codes=[EventCode.RUN_CANCELLED]) as ends:
            assert await watched.service.interrupt("a")
            await anext(ends)
        await executor.began.get()
        assert [(run.attributes or {}).get("holdstate.called_off") for run in seen.runs()] == ["interrupted"]


async def test_what_carries_a_context_already_keeps_it(seen: Seen) -> None:
    """A relay that filled it in knows better; and what is no input is refused, not stamped."""
    async with Watched() as watched:
        given = with_context(PARENT)
        with seen.tracers.get_tracer("test").start_as_current_span("relay"):
            await watched.service.ingest("a", given)
            nonsense: Any = "nonsense"
            assert isinstance(await watched.service.ingest("a", nonsense), Rejected)
        body = watched.store.reading()
        with body as reader:
            record = reader.load_input("a", given.header.id)
            assert record is not None
            stored = reader.load_body("a", record)
        assert stored is not None
        assert decode_body(stored).header.trace_context == TraceContext(PARENT)


@pytest.mark.parametrize(("entries", "kept"), [(1, True), (32, False)])
def test_a_state_that_is_too_long_is_left_out(entries: int, *, kept: bool) -> None:
    """The parent counts; a state of more than 512 characters is dropped, as the recommendation allows."""
    state = TraceState([(f"key{number}", "v" * 30) for number in range(entries)])
    context = SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    with trace.use_span(NonRecordingSpan(context)):
        stamped = telemetry.Telemetry().stamped(PromptInput.new("x"))
    assert stamped.header.trace_context is not None
    assert (stamped.header.trace_context.tracestate is not None) is kept


# -- metrics -------------------------------------------------------------------------------------------------------


async def test_metrics_count_what_was_admitted_refused_and_ended(seen: Seen) -> None:
    """By outcome, with how long runs took and how many inputs are active."""
    executor = Gated()
    async with Watched(executor) as watched:
        handle = await watched.service.submit("a", PromptInput.new("x"))
        await executor.began.get()
        watched.clock.pass_time(3.0)
        queued = PromptInput.new("y")
        await watched.service.ingest("a", queued)
        assert seen.metrics()["holdstate.inputs.active"] == {"": 2}
        await watched.service.cancel("a", queued.header.id)
        await watched.service.submit("a", PromptInput.new("\ud800"))
        executor.gate.set()
        await handle.outcome(10)
        assert seen.metrics() == {
            "holdstate.inputs.accepted": {"": 2},
            "holdstate.inputs.ended": {"abandoned": 1, "consumed": 1},
            "holdstate.inputs.refused": {"not_encodable": 1},
            "holdstate.run.duration": {"completed": 3.0},
            "holdstate.inputs.active": {"": 0},
        }


# -- without OpenTelemetry -----------------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra was not installed."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)


@pytest.mark.usefixtures("bare")
def test_without_a_provider_there_is_no_telemetry_to_pay_for() -> None:
    """What OpenTelemetry gives out until a program sets it up tells nobody."""
    assert telemetry.telemetry_if_set_up() is None


@pytest.mark.parametrize("what", ["tracers", "meters"])
def test_one_provider_is_enough(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Spans alone, or metrics alone."""
    found = Seen()
    if what == "tracers":
        monkeypatch.setattr(trace, "get_tracer", found.tracers.get_tracer)
    else:
        monkeypatch.setattr(metrics, "get_meter", found.meters.get_meter)
    assert telemetry.telemetry_if_set_up() is not None


async def test_without_the_extra_nothing_is_stamped_and_all_works() -> None:
    """Inputs are stored without a context, refusals are counted nowhere."""
    executor = Gated()
    executor.gate.set()
    async with Watched(executor) as watched:
        given = PromptInput.new("x")
        await (await watched.service.submit("a", given)).outcome(10)
        assert isinstance(await watched.service.ingest("a", PromptInput.new("\ud800")), Rejected)


def test_the_service_alone_imports_no_opentelemetry() -> None:
    """The modules are loaded when a service is made, and only where they are installed."""
    program = "import sys, holdstate.runtime.service as s; print([m for m in sys.modules if m.startswith('opentele')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- logging -------------------------------------------------------------------------------------------------------


async def test_records_of_events_are_structured_and_hold_no_payload(caplog: pytest.LogCaptureFixture) -> None:
    """Runtime, input, run and code are attributes; neither texts nor errors of executors show."""
    executor = Gated()
    executor.gate.set()
    with caplog.at_level(logging.DEBUG, "holdstate.service"):
        async with Watched(executor) as watched, watched.service.subscribe(codes=[EventCode.RUN_FAILED]) as failures:
            given = PromptInput.new("fail")
            await watched.service.ingest("a", given)
            await anext(failures)
    records = [vars(record) for record in caplog.records]
    accepted = next(record for record in records if record["event"] == "input.accepted")
    assert (accepted["runtime_id"], accepted["input_id"]) == ("a", str(given.header.id))
    failed = next(record for record in records if record["event"] == "run.failed")
    assert failed["levelno"] == logging.WARNING
    assert len(failed["run_id"]) == 36
    assert "secret" not in caplog.text
    assert "secret" not in str(records)


async def test_levels_that_are_off_cost_no_record(caplog: pytest.LogCaptureFixture) -> None:
    """At the default level ordinary events make no record."""
    with caplog.at_level(logging.WARNING, "holdstate.service"):
        async with Watched() as watched:
            await watched.service.ingest("a", PromptInput.new("x"))
    assert caplog.records == []
