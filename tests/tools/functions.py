"""Functions that tests name with ``--handler``."""

from __future__ import annotations

import asyncio
from typing import Any

from holdstate import PermanentFailure, TransientFailure, TryLater
from holdstate.runtime.inputs import ExternalEventInput, PromptInput
from holdstate.runtime.outcomes import Run, RunOutput
from holdstate.tools import TryAgainLater

seen: list[Any] = []


def payloads(run: Run) -> list[Any]:
    """What the inputs of a run hold."""
    return [each.payload if isinstance(each, ExternalEventInput) else each for each in run.inputs]


def echo(run: Run) -> list[Any]:
    """Answers with the payloads, as JSON."""
    return payloads(run)


async def echo_async(run: Run) -> list[Any]:
    """The same, later."""
    await asyncio.sleep(0)
    return payloads(run)


class Echo:
    """An object with an async ``__call__``."""

    async def __call__(self, run: Run) -> str:
        await asyncio.sleep(0)
        return "called"


echo_object = Echo()


def nothing(run: Run) -> None:
    """No result."""


def text(run: Run) -> str:
    """The text of prompts, else what kind each input is."""
    return ",".join(each.text if isinstance(each, PromptInput) else str(each.kind) for each in run.inputs)


def binary(run: Run) -> bytes:
    """Bytes that are no UTF-8."""
    return b"\xff\x00"


def output(run: Run) -> RunOutput:
    """A whole output."""
    return RunOutput(session_snapshot=b"snapshot", result=b"result", message_count=2)


def no_json(run: Run) -> object:
    """Something that cannot be kept."""
    return object()


def broken(run: Run) -> None:
    """Fails every time."""
    raise ValueError("no such\nluck")


def exits(run: Run) -> None:
    """Tries to end the program."""
    raise SystemExit(7)


def interrupts(run: Run) -> None:
    """Raises what Ctrl-C raises."""
    raise KeyboardInterrupt


def output_of_text(run: Run) -> RunOutput:
    """An output that cannot be stored."""
    return RunOutput(result="text")  # type: ignore[arg-type]


def stops_iteration(run: Run) -> None:
    """Raises what no future may hold."""
    raise StopIteration


def hopeless(run: Run) -> None:
    """Fails for good."""
    raise PermanentFailure("never")


def flaky(run: Run) -> None:
    """Fails with words of its own."""
    raise TransientFailure("no\nluck")


def speechless(run: Run) -> None:
    """Fails for good and says nothing."""
    raise PermanentFailure("")


def an_hour(run: Run) -> None:
    """Not now, and it says when."""
    raise TryLater(3600.0)


async def cancels_itself(run: Run) -> None:
    """Is cancelled by nobody else."""
    raise asyncio.CancelledError


async def hangs(run: Run) -> None:
    """Never ends by itself."""
    seen.append("hangs")
    await asyncio.Event().wait()


def second_time(run: Run) -> str:
    """Not now at first, then done."""
    seen.append(run.run_id)
    if len(seen) == 1:
        raise TryAgainLater
    return f"attempt {run.attempt}"


def poisoned(run: Run) -> str:
    """Fails for payloads that say so."""
    if any(isinstance(payload, dict) and payload.get("bad") for payload in payloads(run)):
        raise ValueError("bad payload")
    seen.append(payloads(run))
    return "fine"


not_callable = 3
