"""Where a test shows how a fault is met, the same test fails with a planted bug. A check without that proves nothing.

The commands have controls of their own: ``test_crash_power``, ``test_crash_syscall``, ``test_crash_flip``,
``test_campaign``, ``test_explorer_controls``, ``test_mutation``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from ..planted_bugs import PLANTED, VARIABLE

PROCESSES: Final = "tests/stores/test_lmdb_processes.py::"
DAMAGE: Final = "tests/stores/test_lmdb_damage.py::"
MOUNTS: Final = frozenset({"a read-only disk is an error like any other"})
SECONDS: Final = 120

FOUND_BY: Final = {
    "a read-only disk is an error like any other": PROCESSES + "test_a_read_only_file_system_is_said_to_be_one",
    "a full disk is an error like any other": PROCESSES + "test_a_file_that_may_not_grow_is_a_full_store",
    "the map does not grow": "tests/stores/test_lmdb_faults.py::test_a_full_map_grows_and_nobody_notices",
    "a file is mapped unseen": DAMAGE + "test_a_file_that_was_cut_off_is_refused_before_it_is_mapped",
    "the format of a store is not looked at": DAMAGE + "test_a_store_of_a_newer_format_is_left_untouched",
    "places of dead readers are kept": PROCESSES + "test_a_killed_reader_keeps_no_pages",
    "a file that went is not missed": DAMAGE + "test_a_file_that_was_removed_takes_no_more_commits",
    "a fork is not noticed": PROCESSES + "test_a_fork_is_refused_until_it_opens_the_store_itself",
    "the epoch is not compared": PROCESSES + "test_of_two_processes_the_newer_holds_the_runtime",
    "like keys are the same": "tests/contracts/test_store.py::test_hostile_runtime_ids_and_keys_never_share_rows",
    "there is always room": "tests/service/test_backpressure.py::"
    "test_the_total_of_inputs_is_never_exceeded_by_callers_who_come_at_once",
    "any value is taken": "tests/contracts/test_admission.py -k refused",
    "only exceptions of an executor are caught": "tests/service/test_run_ends.py::"
    "test_whatever_an_executor_raises_is_a_failure_of_its_run",
    "a crash costs an input nothing": "tests/contracts/test_poison.py",
    "who leaves takes the commit along": "tests/contracts/test_admission.py::"
    "test_caller_cancelled_at_any_await_leaves_a_whole_command_or_none",
    "flush: an unknown result counts as not landed": "tests/runtime/test_flush.py::"
    "test_a_commit_that_landed_unnoticed_is_answered_as_done",
}

COUNTS: Final = "tests/guard/test_counts.py::"
SYNCS: Final = "tests/guard/test_kernel_syncs.py::test_the_kernel_syncs_once_for_each_commit"
GROWTH: Final = "tests/guard/test_growth.py::"
GUARDED_BY: Final = {
    "every accept commits twice": (
        COUNTS + "test_an_operation_writes_what_the_table_says",
        COUNTS + "test_the_file_counts_as_many_commits",
        COUNTS + "test_lives_in_a_service_write_what_the_table_says",
        SYNCS,
    ),
    "every accept puts a row more": (
        COUNTS + "test_an_operation_writes_what_the_table_says",
        COUNTS + "test_lives_in_a_service_write_what_the_table_says",
    ),
    "a commit has every input": (GROWTH + "test_rows_do_not_depend_on_other_inputs",),
    "a step copies the state": (
        GROWTH + "test_memory_of_a_command_does_not_depend_on_other_inputs",
        GROWTH + "test_time_of_a_step_beside_many_inputs_is_that_beside_few",
    ),
    "publishing copies the state": (GROWTH + "test_memory_of_a_command_does_not_depend_on_other_inputs",),
    "publishing walks the state": (
        GROWTH + "test_calls_of_functions_do_not_depend_on_other_inputs",
        GROWTH + "test_time_beside_many_inputs_is_that_beside_few",
    ),
}
"""What costs more than it has to, and every guard that notices it."""

CONTROLS: Final = [*FOUND_BY.items(), *((bug, guard) for bug, guards in GUARDED_BY.items() for guard in guards)]


@pytest.mark.parametrize(("bug", "found_by"), CONTROLS)
def test_a_planted_bug_is_found(
    bug: str, found_by: str, project_root: Path, require_tool: Callable[[str], str]
) -> None:
    """The test that is named beside it fails, and says so by itself or dies of it."""
    if bug in MOUNTS:
        require_tool("mount")
    if found_by == SYNCS:
        require_tool("strace")
    options = ["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "tests.planted_bugs"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *found_by.split()],
        cwd=project_root,
        env={**os.environ, VARIABLE: bug, "HOLDSTATE_HYPOTHESIS_PROFILE": "as_found"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    died = done.returncode < 0 or "! KeyboardInterrupt !" in done.stdout
    assert died or (done.returncode == 1 and " failed" in done.stdout), done.stdout[-2000:] + done.stderr[-2000:]


def test_every_bug_is_tried() -> None:
    """None is listed and forgotten."""
    assert PLANTED.keys() <= FOUND_BY.keys() | GUARDED_BY.keys()
