"""The conformance suite fails a store with a planted bug, by the name of what the bug breaks."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

BROKEN = Path(__file__).with_name("broken_stores.py")
PLUGIN = "holdstate.tools.harness.plugin"

CAUGHT = {
    "MemberByMember": {"test_group_is_all_or_nothing", "test_group_is_one_transaction_in_the_books"},
    "SnapshotAside": {"test_commit_is_atomic_at_every_inner_write"},
    "LostFence": {
        "test_older_owner_is_fenced",
        "test_commit_of_an_older_epoch_is_refused_inside_the_store",
        "test_refused_member_of_a_group_fails_alone",
        "test_consume_once",
    },
    "KeysOfEndedLost": {"test_same_calls_give_what_the_memory_store_gives", "test_keys_are_found_as_they_were_given"},
    "ResultsLost": {"test_effect_exactly_once", "test_checkpoint_validity"},
    "WrittenLate": {"test_killed_process_loses_nothing_acknowledged"},
}
"""What has to fail, at least, for each bug."""
CHOSEN = (
    "MemberByMember or SnapshotAside or (LostFence and (fenced or epoch or refused or consume_once))"
    " or (KeysOfEndedLost and (same_calls or keys_are))"
    " or (ResultsLost and (effect or checkpoint)) or (WrittenLate and killed)"
)
"""What is run: the bugs that break everything are shown where they matter."""


def plugin_arguments() -> list[str]:
    """What loads the plugin where holdstate is not installed but found on the path."""
    known = any(each.value == PLUGIN for each in entry_points(group="pytest11"))
    return [] if known else ["-p", PLUGIN]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The tests that failed, by store."""
    options = ["-q", "--tb=no", "-rf", "-p", "no:cacheprovider", f"--basetemp={tmp_path_factory.mktemp('broken')}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugin_arguments(), "-k", CHOSEN, str(BROKEN)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=BROKEN.parents[2],
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    for store, test in re.findall(r"^FAILED \S+::Test(\w+)::(\w+)", done.stdout, re.MULTILINE):
        found.setdefault(store, set()).add(test)
    return found


@pytest.mark.parametrize("store", CAUGHT)
def test_a_planted_bug_fails_by_name(store: str, failed: dict[str, set[str]]) -> None:
    """A commit that is not atomic, a lost fence, lost keys or results, an early acknowledgement: each is found."""
    assert CAUGHT[store] <= failed[store], failed[store]


def test_a_bug_fails_what_it_breaks_and_not_everything(failed: dict[str, set[str]]) -> None:
    """So that the names that fail say where to look; a snapshot beside the store is not refused with its commit."""
    assert failed["MemberByMember"] == CAUGHT["MemberByMember"]
    refused = {"test_older_owner_is_fenced", "test_refused_member_leaves_no_row_of_any_kind"}
    assert failed["SnapshotAside"] == CAUGHT["SnapshotAside"] | refused
