"""Jobs from many threads, by the blocking side: `.venv/bin/python examples/job_runner.py`

It starts the jobs as a process of its own and kills it with SIGKILL in the middle of one. Then it starts it again: the
producers submit the same jobs under the same keys, get the stored results of those that were done, and wait for the
rest. ``--producers N --jobs N`` set how many threads submit how many jobs each; ``--store FOLDER`` keeps the store.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from holdstate import (
    Backoff,
    Completed,
    Deduplicated,
    ExternalEventInput,
    LmdbStore,
    PermanentFailure,
    RetryPolicy,
    RuntimeSettings,
    ServiceSettings,
)
from holdstate.blocking import BlockingRun, BlockingRuntimeService

PATIENCE_SECONDS = 60.0


class Primes:
    """The executor: counts primes, each run on a thread of its own. ``stall_at`` is a job that never ends."""

    def __init__(self, stall_at: str | None) -> None:
        self._stall_at = stall_at

    def apply(self, run: BlockingRun) -> bytes:
        """One job; it may be given again after a crash, so what it does outside must bear that."""
        (job,) = run.inputs  # max_batch=1
        key = job.header.idempotency_key
        tell(step="started", job=key, attempt=run.attempt)
        if key == self._stall_at:
            threading.Event().wait()
        if not isinstance(job, ExternalEventInput) or not isinstance(job.payload, int):
            raise PermanentFailure("this is no job")
        return str(primes_below(job.payload)).encode()


def primes_below(limit: int) -> int:
    """How many there are, by the sieve."""
    sieve = bytearray([1]) * limit
    sieve[:2] = bytes(min(limit, 2))
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return sum(sieve)


def tell(**facts: object) -> None:
    """One line on stdout, whole, whichever threads write at the same time."""
    os.write(sys.stdout.fileno(), json.dumps(facts).encode() + b"\n")


# -- the jobs ------------------------------------------------------------------------------------------------------


def produce(service: BlockingRuntimeService, producer: int, jobs: int) -> None:
    """One thread: submit every job, many to a commit, then wait for every result."""
    runtime_id = f"producer-{producer}"
    handles = {}
    for number in range(jobs):
        key = f"{runtime_id}-job-{number}"
        job = ExternalEventInput.new("count-primes", limit_of(producer, number), idempotency_key=key)
        handles[key] = service.submit(runtime_id, job)
    for key, handle in handles.items():
        outcome = handle.outcome(PATIENCE_SECONDS)
        result = int(outcome.result or 0) if isinstance(outcome, Completed) else str(outcome)
        tell(step="done", job=key, result=result, was_known=isinstance(handle.accepted, Deduplicated))


def limit_of(producer: int, number: int) -> int:
    return 1000 * (producer + 1) + 100 * number


def work(options: argparse.Namespace) -> None:
    """All producers at once, on one service."""
    settings = ServiceSettings(runtime=RuntimeSettings(retry=RetryPolicy(5, Backoff(0.1)), max_batch=1))
    with (
        LmdbStore.open(options.store) as store,
        BlockingRuntimeService(store, Primes(options.stall_at), settings=settings) as service,
        ThreadPoolExecutor(options.producers) as threads,
    ):
        started = [threads.submit(produce, service, number, options.jobs) for number in range(options.producers)]
        for producer in started:
            producer.result()


# -- the demonstration ---------------------------------------------------------------------------------------------


def run_jobs(options: argparse.Namespace, stall_at: str | None) -> tuple[int, list[dict[str, Any]]]:
    """Run the jobs as a process, and kill it where one stalls; returns its exit code and what it told."""
    words = [sys.executable, __file__, "--work", "--store", options.store]
    words += ["--producers", str(options.producers), "--jobs", str(options.jobs)]
    told = []
    with subprocess.Popen(
        words if stall_at is None else [*words, "--stall-at", stall_at], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(json.loads(line))
            if stall_at is not None and (told[-1]["step"], told[-1]["job"]) == ("started", stall_at):
                process.kill()
    return process.returncode, told


def demonstrate(options: argparse.Namespace) -> None:
    """Kill, go on, count."""
    stall_at = f"producer-0-job-{options.jobs // 2}"
    code, before = run_jobs(options, stall_at)
    assert code == -signal.SIGKILL, f"the jobs ended by themselves, with exit code {code}"
    print(f"killed in the middle of {stall_at}; {count(before, 'started')} executions had begun")
    code, after = run_jobs(options, None)
    assert code == 0, f"the jobs failed with exit code {code}"
    results = {each["job"]: each["result"] for each in after if each["step"] == "done"}
    right = sum(
        results.get(f"producer-{producer}-job-{number}") == primes_below(limit_of(producer, number))
        for producer in range(options.producers)
        for number in range(options.jobs)
    )
    with LmdbStore.open(options.store, read_only=True) as store:
        runtimes = store.list_runtimes()
        findings = store.verify()
    print(f"started again; {count(after, 'started')} executions began")
    print(f"jobs: {options.producers * options.jobs}")
    print(f"results that are right: {right}")
    print(f"jobs that the killed process had stored: {sum(each.get('was_known', False) for each in after)}")
    print(f"runs that count: {sum(runtime.counts.receipts for runtime in runtimes)}")
    print(f"findings of the auditor: {len(findings)}")


def count(told: list[dict[str, Any]], step: str) -> int:
    return sum(each["step"] == step for each in told)


def main() -> None:
    """The demonstration, or with ``--work`` the jobs alone."""
    parser = argparse.ArgumentParser(description="Jobs from many threads, kept through a kill.")
    parser.add_argument("--store", metavar="FOLDER", help="where the jobs are kept; default: a temporary folder")
    parser.add_argument("--producers", type=int, default=8, metavar="N", help="how many threads submit jobs")
    parser.add_argument("--jobs", type=int, default=10, metavar="N", help="how many jobs each of them submits")
    parser.add_argument("--work", action="store_true", help="only work; what happens goes to stdout")
    parser.add_argument("--stall-at", metavar="JOB", help="let this job never end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdstate-jobs-") as folder:
        options.store = options.store or str(Path(folder) / "store")
        if options.work:
            work(options)
        else:
            demonstrate(options)


if __name__ == "__main__":
    main()
