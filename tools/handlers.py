"""What works a run off, and how that can end. Here: a Python function; ``exec_handler`` runs a command."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, cast, final

import msgspec
from attrs import frozen

from ..runtime.executor import PermanentFailure, TransientFailure, TryLater
from ..runtime.outcomes import Run, RunOutput
from ..spec.errors import HoldstateError
from .user_code import Unloadable, load_module, place_in

ERROR_BYTES: Final = 4096
"""How much of an error is kept with an input."""

CLEAN_UP_SECONDS: Final = 10.0
"""How long an async function may take to end when it is cancelled; then its run ends without it."""


@final
class TryAgainLater(Exception):
    """Raised by a handler: not now. The run is taken back free of charge and begun again after ``--retry-delay``."""


@final
class BadHandler(HoldstateError, ValueError):
    """``--handler`` does not name a function that can be loaded."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"--handler {name}: {problem}")


@final
@frozen
class Done:
    """The run did its work."""

    output: RunOutput


@final
@frozen
class Later:
    """Not now, and free of charge: again after so many seconds, or after ``--retry-delay``."""

    seconds: float | None = None


@final
@frozen
class Failed:
    """The run went wrong; ``recoverable``: another attempt may help."""

    error: str
    recoverable: bool = True


Verdict: TypeAlias = Done | Later | Failed


class Handler(Protocol):
    """Works runs off, several at once where they are of different runtimes. Cancelling ``handle`` stops the work of its
    run, and what that started is gone when the call ends.
    """

    async def handle(self, run: Run) -> Verdict:
        """Work one run off. Raises nothing but ``asyncio.CancelledError`` and ``OSError``."""
        ...

    @property
    def end_seconds(self) -> float:
        """How long ``handle`` may take to end when it is cancelled."""
        ...

    def hurry(self) -> None:
        """From now on a cancelled run is stopped without any delay."""
        ...

    def close(self) -> None:
        """No run comes any more."""
        ...


def bounded(result: bytes | None, max_result_bytes: int) -> Verdict:
    """Done with ``result``, or Failed where that is too large to keep."""
    if result is not None and len(result) > max_result_bytes:
        return Failed(f"the result has {len(result)} bytes; {max_result_bytes} are allowed (--max-result-bytes)")
    return Done(RunOutput(result=result))


def short_error(text: str) -> str:
    """The end of an error text, as it is kept: well-formed and at most ``ERROR_BYTES`` long."""
    return text.encode(errors="replace")[-ERROR_BYTES:].decode(errors="ignore").strip()


# -- functions -----------------------------------------------------------------------------------------------------


def load_function(name: str) -> Callable[[Run], Any]:
    """What ``module:function`` names; the working directory is searched too. BadHandler when there is no function."""
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise BadHandler(name, "write it as module:function")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = load_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except Unloadable as error:
        raise BadHandler(name, f"cannot be loaded: {error.problem}") from error
    except AttributeError as error:
        raise BadHandler(name, f"cannot be loaded: {error}") from error
    if not callable(found):
        raise BadHandler(name, f"is {type(found).__name__}; it must be a function that takes a Run")
    return cast("Callable[[Run], Any]", found)


@final
class FunctionHandler:
    """Calls a function with each ``Run``: an async one on the loop, any other in a thread.

    The function returns bytes, text, any JSON value, None or a ``RunOutput``. A thread cannot be stopped: when its run
    is cancelled or out of time, what the function still does is ignored.
    """

    def __init__(self, function: Callable[[Run], Any], *, max_result_bytes: int) -> None:
        self._function = function
        self._max_result_bytes = max_result_bytes
        called = getattr(function, "__call__", function)  # noqa: B004 - an object may have an async __call__
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)

    async def handle(self, run: Run) -> Verdict:
        """Call the function; what it raises fails the run."""
        task = asyncio.current_task()
        try:
            returned = await (self._function(run) if self._is_async else _in_thread(self._function, run))
        except asyncio.CancelledError:
            if task is not None and task.cancelling():
                raise
            return Failed("the handler cancelled itself")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is user code
            return _verdict_on(error)
        return self._verdict(returned)

    def _verdict(self, returned: object) -> Verdict:
        if isinstance(returned, RunOutput):
            verdict = bounded(returned.result, self._max_result_bytes)
            return Done(returned) if isinstance(verdict, Done) else verdict
        try:
            return bounded(_result_bytes(returned), self._max_result_bytes)
        except (TypeError, ValueError, RecursionError) as error:
            return Failed(short_error(f"what the handler returned cannot be kept as a result: {error}"))

    @property
    def end_seconds(self) -> float:
        """An async function may clean up for as long."""
        return CLEAN_UP_SECONDS

    def hurry(self) -> None:
        """A function has nothing to hurry."""

    def close(self) -> None:
        """A function holds nothing open."""


def _result_bytes(returned: object) -> bytes | None:
    if returned is None:
        return None
    if isinstance(returned, bytes | bytearray | memoryview):
        return bytes(returned)
    if isinstance(returned, str):
        return returned.encode()
    return msgspec.json.encode(returned)


def _verdict_on(error: BaseException) -> Verdict:
    if isinstance(error, TryAgainLater):
        return Later()
    if isinstance(error, TryLater):
        return Later(error.seconds)
    if isinstance(error, TransientFailure | PermanentFailure):
        return Failed(short_error(error.problem) or "no reason given", isinstance(error, TransientFailure))
    return Failed(short_error(_told(error)))


def _told(error: BaseException) -> str:
    """The error and the place in the handler's code where it was raised."""
    return f"{type(error).__name__}: {error}{place_in(error)}"


def _in_thread(function: Callable[[Run], Any], run: Run) -> asyncio.Future[Any]:
    """The outcome of ``function(run)`` in a daemon thread of its own: one that hangs keeps nobody from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def deliver(returned: object, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(returned)
        else:
            future.set_exception(error)

    def work() -> None:
        returned, problem = None, None
        try:
            returned = function(run)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the run must learn of it
            problem = RuntimeError("StopIteration") if isinstance(error, StopIteration) else error
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, returned, problem)

    threading.Thread(target=work, name=f"holdstate-run-{run.run_id}", daemon=True).start()
    return future
