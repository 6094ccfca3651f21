"""``holdstate run``: JSON Lines worked off durably."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import click

from ..runtime.environment import RuntimeSettings
from ..runtime.settings import Backoff, RetryPolicy
from ..stores.lmdb_store import LmdbStore
from .exec_handler import ExecHandler
from .handlers import FunctionHandler, Handler, load_function
from .line_reader import STDIN, sources_of
from .options import DEFAULT_RUNTIME, STORE_VARIABLE, FiniteRange, field_path, option, runtime_id
from .output import ExitCode, leave_behind
from .run_job import Job, JobOptions
from .run_report import Report
from .run_source import FieldPath, LineRules

MIB: Final = 1024 * 1024
MAX_ATTEMPTS: Final = 5
SECONDS: Final = FiniteRange(min=0)
SECONDS_ABOVE_ZERO: Final = FiniteRange(min=0, min_open=True)
COUNT: Final = click.IntRange(min=1)
LONGEST_BACKOFF_SECONDS: Final = 300.0

LAST_WAIT_SECONDS: Final = 1.0
"""How long what is left of handlers at the end may take. It has ignored its cancellation by then for longer."""

THREADS: Final = "holdstate-to-thread"
"""How threads of ``asyncio.to_thread`` are named."""


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@option(
    "--store", required=True, envvar=STORE_VARIABLE, type=click.Path(file_okay=False), help="The store; made if new."
)
@option("--exec", metavar="CMD", help="Shell command that works a run off: JSON on stdin, result on stdout.")
@option("--handler", metavar="MODULE:FUNCTION", help="Python function, sync or async, that takes a Run.")
@option(
    "--runtime", default=DEFAULT_RUNTIME, metavar="NAME", type=runtime_id, help="The runtime of lines that name none."
)
@option("--runtime-field", metavar="A.B", type=field_path, help="Each value of this field has a runtime of its own.")
@option("--key-field", metavar="A.B", type=field_path, help="The field that makes a line count once.")
@option("--job", help="Name of the work, for keys of lines; default: the path of the file.")
@option(
    "--event-field", default="event", metavar="A.B", type=field_path, help="The event type of a line; without it: line."
)
@option("--concurrency", default=1, type=COUNT, help="Most runs under way at once, each of another runtime.")
@option("--max-batch", default=1, type=COUNT, help="Most inputs in one run.")
@option("--max-attempts", default=MAX_ATTEMPTS, type=COUNT, help="An input is given up after as many failed runs.")
@option("--backoff", default=1.0, type=SECONDS, help="Seconds before the second attempt; doubled for each one more.")
@option("--retry-delay", default=5.0, type=SECONDS_ABOVE_ZERO, help="Seconds before a run that said: not now.")
@option("--timeout", type=SECONDS_ABOVE_ZERO, help="Seconds that one run may take; default: no limit.")
@option("--grace", default=10.0, type=SECONDS, help="Seconds that runs under way have when we are stopped.")
@option("--max-result-bytes", default=MIB, type=click.IntRange(min=0), help="Longest result of a run.")
@option("--read-ahead", default=1000, type=COUNT, help="Most lines that are accepted and not yet worked off.")
def run(files: tuple[str, ...], store: str, exec: str | None, handler: str | None, **given: Any) -> ExitCode:
    """Work off JSON Lines durably, each line once.

    Every line of the FILEs (stdin without any, or for -) becomes an input in the store before it is worked on. Run the
    same command again after a crash, and it goes on where it stopped: nothing is lost, nothing is consumed twice, and
    each line is answered by one JSON line on stdout.
    """
    if (exec is None) == (handler is None):
        raise click.UsageError("give exactly one of --exec CMD and --handler MODULE:FUNCTION")
    names = files or (STDIN,)
    _check_stdin(names, has_keys=given["job"] is not None or given["key_field"] is not None)
    if given["job"] == "":
        raise click.BadParameter("must not be empty", param_hint="--job")
    return _run_and_leave(_run(store, exec, handler, _options(names, given), given["max_result_bytes"]))


def _check_stdin(names: tuple[str, ...], *, has_keys: bool) -> None:
    if names.count(STDIN) > 1:
        raise click.UsageError("stdin (-) can be read once")
    if STDIN in names and not has_keys:
        raise click.UsageError("lines from stdin need --job NAME or --key-field a.b, to be known again after a crash")


def _options(names: tuple[str, ...], given: dict[str, Any]) -> JobOptions:
    initial: float = given["backoff"]
    backoff = Backoff(initial_seconds=initial, max_seconds=max(LONGEST_BACKOFF_SECONDS, initial))
    retry = RetryPolicy(max_attempts=given["max_attempts"], backoff=backoff)
    settings = RuntimeSettings(retry=retry, max_batch=given["max_batch"])
    runtime_field: FieldPath | None = given["runtime_field"]
    return JobOptions(
        sources=sources_of(names, given["job"]),
        rules=LineRules(given["runtime"], runtime_field, given["key_field"], given["event_field"], settings.limits),
        settings=settings,
        read_ahead=given["read_ahead"],
        timeout=given["timeout"],
        retry_delay=given["retry_delay"],
        grace=given["grace"],
        concurrency=given["concurrency"],
    )


def _run_and_leave(work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    """As ``asyncio.run``, which would wait for ever for a handler that ignores its cancellation, or that waits for a
    thread of ``asyncio.to_thread`` which does not end.
    """
    runner = asyncio.Runner()
    loop = runner.get_loop()
    pool = ThreadPoolExecutor(thread_name_prefix=THREADS)
    loop.set_default_executor(pool)
    try:
        return runner.run(work)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            _, tasks = loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_WAIT_SECONDS))
        threads = [each for each in threading.enumerate() if each.name.startswith(THREADS)]
        for each in threads:
            each.join(LAST_WAIT_SECONDS / len(threads))
        hanging = [*tasks, *(each for each in threads if each.is_alive())]
        if hanging:
            leave_behind(runner, *hanging)
        else:
            runner.close()


async def _run(
    store_path: str, command: str | None, function: str | None, options: JobOptions, max_result_bytes: int
) -> ExitCode:
    handler: Handler
    if command is not None:
        handler = ExecHandler(command, max_result_bytes=max_result_bytes)
    else:
        assert function is not None
        handler = FunctionHandler(load_function(function), max_result_bytes=max_result_bytes)
    try:
        async with LmdbStore.open(store_path) as store:
            return await _work(Job(store, handler, options, report := Report()), report)
    finally:
        handler.close()


async def _work(job: Job, report: Report) -> ExitCode:
    try:
        with report.progress():
            is_complete = await job.work()
    finally:
        report.summary()
    if not is_complete:
        return ExitCode.INTERRUPTED
    tally = report.tally
    return ExitCode.FINDING if tally.abandoned or tally.found_abandoned else ExitCode.OK
