"""A store of a new user, written from docs/stores.md, in a folder and in processes of its own: it passes the suite with
every capability; with one promise broken at a time it fails by the name of that promise.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from .test_plugin import pytest_in

STORE = Path(__file__).resolve().parents[2] / "examples" / "sqlite_store.py"

SUITE = """
import pytest
from holdstate.tools.harness import Capability, RuntimeStoreConformance, failing_at
from sqlite_store import SqliteStore


class Fast(SqliteStore):
    def connect(self):
        super().connect()
        self.run("PRAGMA synchronous = OFF")  # a disk is not what is tried here


class Suite(RuntimeStoreConformance):
    capabilities = frozenset(Capability)
    programs = 3
    kills = 2

    def fail_inside(self, store, step):
        return failing_at(step, store, "change")
"""

SOUND = f"""{SUITE}

class TestSound(Suite):
    factory = "test_sound:Fast"
"""

BROKEN: dict[str, tuple[str, str]] = {
    "MemberByMember": (
        "test_group_is_all_or_nothing",
        """
    def member(self, member):
        result = super().member(member)
        self.run("COMMIT")
        self.run("BEGIN IMMEDIATE")
        return result
""",
    ),
    "RecordBeforeRows": (
        "test_commit_is_atomic_at_every_inner_write",
        """
    def put_runtime(self, commit):
        super().put_runtime(commit)
        self.run("COMMIT")
        self.run("BEGIN IMMEDIATE")
""",
    ),
    "LostFence": (
        "test_commit_of_an_older_epoch_is_refused_inside_the_store",
        """
    def fenced(self, commit):
        return commit
""",
    ),
    "NewerEpochLetIn": (
        "test_commit_of_an_epoch_that_nobody_claimed_is_refused",
        """
    def fenced(self, commit):
        stored = self.load_record(commit.runtime.runtime_id)
        return commit if stored and stored.epoch < commit.epoch else super().fenced(commit)
""",
    ),
    "FenceAsFailure": (
        "test_fenced_commit_is_answered_as_fenced",
        """
    def fenced(self, commit):
        try:
            return super().fenced(commit)
        except Fenced as error:
            raise StoreError("fenced") from error
""",
    ),
    "ClaimUnchecked": (
        "test_claim_that_does_not_raise_its_runtime_s_epoch_by_one_is_refused",
        """
    def settled(self, claim):
        return claim.settle(self.load_runtime(claim.runtime_id))
""",
    ),
    "StaleClaim": (
        "test_claim_returns_the_runtime_as_it_committed_it",
        """
    def claim(self, runtime_id, settle):
        before = self.load_runtime(runtime_id)
        return super().claim(runtime_id, settle) if before is None else super().claim(runtime_id, settle) and before
""",
    ),
    "AcknowledgedEarly": (
        "test_killed_process_loses_nothing_acknowledged",
        """
    count = 0

    @contextmanager
    def writing(self):
        with self.lock:
            if not self.db.in_transaction:
                self.run("BEGIN IMMEDIATE")
            yield
            self.count += 1
            if self.count % 3 == 0:
                self.run("COMMIT")
""",
    ),
    "LostOnReopening": (
        "test_what_was_written_is_there_after_reopening",
        """
    def connect(self):
        super().connect()
        self.run("DELETE FROM event WHERE place > 3")
""",
    ),
    "KeysForgotten": (
        "test_keys_are_found_as_they_were_given",
        """
    def put_input(self, runtime_id, write):
        super().put_input(runtime_id, write)
        if write.record.is_terminal:
            self.run("UPDATE input SET key=NULL WHERE runtime=? AND place=?", runtime_id, write.record.order)
""",
    ),
    "IndexRowMissing": (
        "test_every_read_answers_as_the_memory_store_does",
        """
    def load_input(self, runtime_id, input_id):
        found = super().load_input(runtime_id, input_id)
        return None if found and found.is_terminal and found.order % 2 else found
""",
    ),
    "IdReused": (
        "test_id_key_or_order_that_is_taken_is_refused",
        """
    def check_new(self, runtime_id, write, given):
        self.run("DELETE FROM input WHERE runtime=? AND id=?", runtime_id, write.record.input_id.bytes)
        super().check_new(runtime_id, write, given)
""",
    ),
    "EndedRewritten": (
        "test_input_that_ended_is_never_written_again",
        """
    def check_active(self, runtime_id, record):
        pass
""",
    ),
    "ReceiptOverwritten": (
        "test_receipt_and_event_that_are_stored_are_never_overwritten",
        """
    def check(self, commit):
        super().check(evolve(commit, receipts=[]))

    def put_receipt(self, runtime_id, receipt):
        self.run("DELETE FROM receipt WHERE runtime=? AND run=?", runtime_id, receipt.run_id.bytes)
        super().put_receipt(runtime_id, receipt)
""",
    ),
    "BlobUnchecked": (
        "test_input_that_needs_a_blob_that_is_not_stored_is_refused",
        """
    def check_new(self, runtime_id, write, given):
        super().check_new(runtime_id, write, {*given, *write.record.admission.blobs})
""",
    ),
    "BlobOfOthersDropped": (
        "test_shared_blob_stays_until_the_last_input_that_needs_it",
        """
    def drop_unreferenced(self, digests):
        for digest in digests:
            self.run("DELETE FROM blob WHERE id=? AND NOT held AND (SELECT count(*) FROM blob_ref WHERE blob=?) < 2",
                     digest, digest)
""",
    ),
    "HoldForgotten": (
        "test_blob_that_was_put_by_itself_stays_until_it_is_swept",
        """
    def drop_unreferenced(self, digests):
        for digest in digests:
            self.run("DELETE FROM blob WHERE id=? AND id NOT IN (SELECT blob FROM blob_ref)", digest)
""",
    ),
    "GroupDecidedAtOnce": (
        "test_members_of_one_runtime_in_a_group_see_each_other_in_their_order",
        """
    def put(self, commit):
        self.late.append(commit)

    @contextmanager
    def writing(self):
        self.late = []
        with super().writing():
            yield
            for commit in self.late:
                super().put(commit)
""",
    ),
    "PreparedIsWritten": (
        "test_preparing_writes_nothing",
        """
    def prepare(self, group):
        results = super().prepare(group)()
        return lambda: results
""",
    ),
    "FencedWhilePreparing": (
        "test_prepared_commit_is_compared_when_it_is_written",
        """
    def prepare(self, group):
        with self.lock:
            early = {id(each): isinstance(each, Claim) or self.fenced(each) for each in group}
        write = super().prepare(group)

        def unfenced():
            known, self.fenced = self.fenced, lambda commit: early.get(id(commit)) and commit
            try:
                return write()
            finally:
                self.fenced = known

        return unfenced
""",
    ),
    "LossUnnoticed": (
        "test_rows_that_are_missing_are_told",
        """
    def load_runtime(self, runtime_id):
        try:
            return super().load_runtime(runtime_id)
        except StoreCorruption:
            return None
""",
    ),
    "CommitsUncounted": (
        "test_group_is_one_transaction_in_the_books",
        """
    def member(self, member):
        self.commits += 1
        return super().member(member)
""",
    ),
    "OrderOfLetters": (
        "test_ids_never_share_rows",
        """
    def list_runtimes(self, *, after=None, limit=1000):
        return tuple(sorted(super().list_runtimes(after=after, limit=limit), key=lambda each: each.runtime_id.lower()))
""",
    ),
    "FaultSwallowed": (
        "test_commit_is_atomic_at_every_inner_write",
        """
    def put_result(self, runtime_id, ref, content):
        try:
            super().put_result(runtime_id, ref, content)
        except OSError:
            self.generation += 0
""",
    ),
    "LandedToldAsRefused": (
        "test_commit_is_atomic_at_every_inner_write",
        """
    def prepare(self, group):
        write = super().prepare(group)

        def checked():
            results = write()
            try:
                self.change("SELECT 1")
            except OSError as error:
                raise StoreError("a look after the commit failed") from error
            return results

        return checked
""",
    ),
    "RefusedLeavesBlobs": (
        "test_refused_member_leaves_no_row_of_any_kind",
        """
    def member(self, member):
        for digest, content in getattr(member, "blobs", ()):
            self.run("INSERT OR IGNORE INTO blob VALUES (?, ?, 1)", digest, content)
        return super().member(member)
""",
    ),
    "NeededResultsPruned": (
        "test_retention_removes_what_the_memory_store_removes",
        """
    def prune_inputs(self, runtime_id, before):
        self.run("DELETE FROM result WHERE runtime=? AND sequence=0", runtime_id)
        return super().prune_inputs(runtime_id, before)
""",
    ),
    "CurrentRunPruned": (
        "test_retention_leaves_what_the_current_run_committed",
        """
    def load_record(self, runtime_id):
        record = super().load_record(runtime_id)
        return evolve(record, current_run_id=None) if record and self.pruning else record

    pruning = False

    def prune_inputs(self, runtime_id, before):
        self.pruning = True
        try:
            return super().prune_inputs(runtime_id, before)
        finally:
            self.pruning = False
""",
    ),
    "SuccessorPruned": (
        "test_retention_removes_what_the_memory_store_removes",
        """
    def rows(self, sql, *values):
        found = super().rows(sql, *values)
        blind = sql == "SELECT record FROM input WHERE runtime=?"
        return tuple(evolve(each, successor_id=None) for each in found) if blind else found
""",
    ),
    "ReceiptsNotLoaded": (
        "test_loaded_runtime_has_its_active_inputs_and_the_receipts_that_recovery_needs",
        """
    def load_runtime(self, runtime_id):
        loaded = super().load_runtime(runtime_id)
        return loaded and evolve(loaded, receipts=loaded.receipts[:1])
""",
    ),
    "RecoveryByChance": (
        "test_recovery_determinism",
        """
    opened = 0

    def connect(self):
        super().connect()
        type(self).opened += 1

    def load_runtime(self, runtime_id):
        loaded = super().load_runtime(runtime_id)
        more = self.opened % 2
        return loaded and evolve(
            loaded, inputs=tuple(evolve(each, failure_count=each.failure_count + more) for each in loaded.inputs)
        )
""",
    ),
    "ViewIsNone": (
        "test_view_stays_as_it_was_while_another_thread_writes",
        """
    @contextmanager
    def reading(self):
        yield self
""",
    ),
}
"""For each broken promise the test that has to fail, and what the store does otherwise."""


def broken_module() -> str:
    """All broken stores and a suite for each."""
    parts = [SUITE, "from contextlib import contextmanager\nfrom attrs import evolve\nfrom sqlite_store import *\n"]
    for name, (_test, body) in BROKEN.items():
        parts.append(f"class {name}(Fast):{body}\n")
        parts.append(f'class Test{name}(Suite):\n    factory = "test_broken:{name}"\n')
    return "\n".join(parts)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(STORE, folder)
    (folder / "test_sound.py").write_text(SOUND, encoding="utf-8")
    (folder / "test_broken.py").write_text(broken_module(), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def failed(project: Path) -> set[tuple[str, str]]:
    """The tests that failed, each run on the store that it is about."""
    chosen = [f"test_broken.py::Test{name}::{test}" for name, (test, _body) in BROKEN.items()]
    done = pytest_in(project, "--tb=no", "-rf", f"--basetemp={project / 'broken'}", *chosen)
    assert done.returncode == 1, done.stdout + done.stderr
    return set(re.findall(r"^FAILED \S+::Test(\w+)::(\w+)", done.stdout, re.MULTILINE))


def test_a_sound_store_passes_everything(project: Path) -> None:
    """With every capability: no test fails and none is skipped."""
    done = pytest_in(project, "test_sound.py", f"--basetemp={project / 'sound'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("store", BROKEN)
def test_a_broken_promise_fails_by_its_name(store: str, failed: set[tuple[str, str]]) -> None:
    """What the store does otherwise is found by the test that is named after it."""
    assert (store, BROKEN[store][0]) in failed
