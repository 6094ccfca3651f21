"""The job runner: every job has its result once, also of a process that was killed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdstate import InputFilter, InputState, LmdbStore

from .programs import DEADLINE_SECONDS, command_of

PRODUCERS = 8
JOBS = PRODUCERS * 10


def test_every_job_that_eight_threads_submit_has_its_result_though_the_process_was_killed(
    project_root: Path, tmp_path: Path
) -> None:
    """By what the program says, and by its store: one run per job counts, each attempt but the last was cut off."""
    command = [*command_of(project_root, "job_runner.py"), "--store", str(tmp_path / "store")]
    done = subprocess.run(
        command, cwd=project_root, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("killed in the middle of producer-0-job-5")
    said = dict(line.split(": ") for line in done.stdout.splitlines() if ": " in line)
    assert said.pop("jobs that the killed process had stored").isdigit()
    assert said == {
        "jobs": str(JOBS),
        "results that are right": str(JOBS),
        "runs that count": str(JOBS),
        "findings of the auditor": "0",
    }
    with LmdbStore.open(tmp_path / "store", read_only=True) as store:
        runtimes = store.list_runtimes()
        assert len(runtimes) == PRODUCERS
        records = [record for each in runtimes for record in store.list_inputs(InputFilter(each.runtime_id)).records]
    assert len(records) == len({record.last_run_id for record in records}) == JOBS
    assert {record.state for record in records} == {InputState.CONSUMED}
    attempts = {record.admission.idempotency_key: record.attempt_count for record in records}
    assert attempts["producer-0-job-5"] == 2
    assert max(attempts.values()) == 2
