"""Webhooks over HTTP, kept through crashes: `.venv/bin/python examples/webhook_receiver.py`

    curl -i http://127.0.0.1:8000/webhooks/my-repository -H 'X-GitHub-Event: ping' -H 'X-GitHub-Delivery: 1' -d '{}'

``POST /webhooks/{runtime}`` answers

- 202 once the delivery is on disk; it is worked off by itself, also after a crash
- 200 for a delivery that came before, with what became of it; 409 where its content was another then. With
  ``Prefer: wait=N`` (RFC 7240) it waits up to N seconds for the end of its work
- 429 with Retry-After when too much waits; 503 with Retry-After while the service stops, or the store fails
- 400 and 413 for what is no delivery, or too large a one

``GET /status`` tells how the service is doing. SIGTERM drains: runs under way end, what waits stays in the store.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from webhook_handler import append, summary

from holdstate import (
    ActiveRun,
    Backoff,
    Deduplicated,
    ExternalEventInput,
    InputState,
    InvalidInput,
    LmdbStore,
    Rejected,
    RejectionCode,
    RetryPolicy,
    RuntimeService,
    RuntimeSettings,
    ServiceClosed,
    ServiceSettings,
    ServiceState,
    StoreError,
)

LARGEST_BODY_BYTES = 1024 * 1024
LONGEST_WAIT_SECONDS = 60
STATUS_OF = {RejectionCode.OVERLOADED: 429, RejectionCode.TOO_LARGE: 413}

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[Mapping[str, Any]]]


class Summaries:
    """The executor: a line of text for each delivery. It may be called again for a delivery after a crash."""

    def __init__(self, log: str | None, seconds: float) -> None:
        self._log = log
        self._seconds = seconds

    async def apply(self, run: ActiveRun) -> bytes:
        """The lines, as the result of the run."""
        keys = [record.admission.idempotency_key for record in run.records]
        await asyncio.to_thread(append, self._log, {"run_id": str(run.run_id), "runtime": run.runtime_id, "keys": keys})
        await asyncio.sleep(self._seconds)
        events = [given for given in run.inputs if isinstance(given, ExternalEventInput)]
        lines = [summary(event.event_type, event.payload) for event in events if isinstance(event.payload, dict)]
        return "\n".join(lines).encode()


# -- the application -----------------------------------------------------------------------------------------------


async def receive(request: Request) -> Response:
    """One delivery."""
    given = ExternalEventInput.new(
        required_header(request, "X-GitHub-Event"),
        await json_object(request),
        idempotency_key=required_header(request, "X-GitHub-Delivery"),
    )
    seconds = preferred_wait(request)
    service: RuntimeService = request.state.service
    runtime_id = request.path_params["runtime"]
    outcome = await service.ingest(runtime_id, given)
    if isinstance(outcome, Rejected):
        seconds = outcome.retry_after_seconds
        headers = None if seconds is None else {"Retry-After": str(max(math.ceil(seconds), 1))}
        return answer(STATUS_OF.get(outcome.code, 400), headers, error=outcome.reason, code=outcome.code)
    if not isinstance(outcome, Deduplicated):
        return answer(202, id=str(outcome.input_id), state=outcome.record.state)
    if outcome.same_payload:
        state = await state_after(service, runtime_id, outcome, seconds) if seconds else outcome.existing_state
        return answer(200, id=str(outcome.existing_id), state=state)
    return answer(409, id=str(outcome.existing_id), error="this delivery id was used with other content")


async def state_after(
    service: RuntimeService, runtime_id: str, known: Deduplicated, seconds: float
) -> InputState | None:
    """The state of what came before when its work has ended, or when the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await service.wait(runtime_id, known.existing_id)
    return await service.input_state(runtime_id, known.existing_id)


async def status(request: Request) -> Response:
    """How the service is doing; waits for nothing."""
    service: RuntimeService = request.state.service
    now = service.status()
    return answer(
        503 if now.state is ServiceState.UNKNOWN else 200,
        state=now.state,
        cause=now.cause,
        active=now.active_inputs,
        queued_bytes=now.queued_bytes,
        runs_under_way=now.runs_under_way,
        open_runtimes=now.open_runtimes,
        parked=now.parked,
        overdue=[each.runtime_id for each in now.overdue],
        oldest_queued_seconds=now.oldest_queued_seconds,
    )


def answer(status_code: int, headers: Mapping[str, str] | None = None, **facts: object) -> Response:
    return JSONResponse(facts, status_code, headers)


def required_header(request: Request, name: str) -> str:
    value = request.headers.get(name)
    if not value:
        raise HTTPException(400, f"the header {name} is missing")
    return value


def preferred_wait(request: Request) -> int:
    """How many seconds the sender would wait, 60 at most."""
    wait = re.search(r"\bwait=(\d+)", request.headers.get("Prefer", ""))
    return 0 if wait is None else min(int(wait[1]), LONGEST_WAIT_SECONDS)


async def json_object(request: Request) -> dict[str, Any]:
    """The body, read no further than it may be long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY_BYTES} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is no JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "the body is no JSON object")
    return value


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer(error.status_code, error.headers, error=error.detail)


async def no_runtime_id(request: Request, error: Exception) -> Response:
    return answer(400, error=str(error))


async def not_now(request: Request, error: Exception) -> Response:
    """Nothing is known of the delivery: the sender has to come again, with the same id."""
    return answer(503, {"Retry-After": "1"}, error=str(error))


def application(lifespan: Lifespan) -> Starlette:
    """``lifespan`` yields the service as ``{"service": …}``."""
    return Starlette(
        routes=[
            Route("/webhooks/{runtime:path}", receive, methods=["POST"]),
            Route("/status", status),
        ],
        exception_handlers={
            HTTPException: refused,
            InvalidInput: no_runtime_id,
            ServiceClosed: not_now,
            StoreError: not_now,
        },
        lifespan=lifespan,
    )


def lifespan_of(options: argparse.Namespace) -> Lifespan:
    """Opens the store and the service before the first request, and drains them after the last."""
    settings = ServiceSettings(
        # A crash counts as an attempt, too: allow for some. Deliveries are worked off alone, not in batches.
        runtime=RuntimeSettings(retry=RetryPolicy(20, Backoff(0.5, max_seconds=60.0)), max_batch=1),
        max_active_total=options.max_active,
        drain_seconds=options.drain_seconds,
    )
    executor = Summaries(options.log, options.seconds)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        with LmdbStore.open(options.store) as store:
            async with RuntimeService(store, executor, settings=settings) as service:
                yield {"service": service}

    return lifespan


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(description="Receives GitHub webhooks.")
    parser.add_argument("--store", default="webhooks", metavar="FOLDER", help="where deliveries are kept")
    parser.add_argument("--port", type=int, default=8000, help="on 127.0.0.1; 0 for any")
    parser.add_argument("--max-active", type=int, default=10_000, metavar="N", help="deliveries that may wait")
    parser.add_argument("--drain-seconds", type=float, default=30.0, metavar="N", help="for runs under way at the end")
    parser.add_argument("--log", metavar="FILE", help="append a line when an execution starts")
    parser.add_argument("--seconds", type=float, default=0.0, metavar="N", help="how long an execution takes")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(application(lifespan_of(options)), log_level="warning", timeout_graceful_shutdown=10)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
