"""A store of one's own, on SQLite: `.venv/bin/python examples/sqlite_store.py`

One file, one transaction for each group; all that docs/stores.md asks of a store, and nothing to make it fast. The
command submits three inputs, works them off, and shows that sending them again is answered from the file.
"""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Any
from uuid import UUID

from holdstate import PersistentRuntimeDriver, PromptInput, Retention, RunOutput
from holdstate.runtime.errors import EventsPruned, Fenced, StoreClosed, StoreCorruption, StoreError
from holdstate.runtime.events import EventEnvelope, offset_of
from holdstate.runtime.records import IN_FLIGHT_STATES, InputRecord, RunBoundaryReceipt, RuntimeRecord
from holdstate.runtime.store import (
    Claim,
    Commit,
    Finding,
    InputFilter,
    InputPage,
    InputWrite,
    LoadedRuntime,
    Pruned,
    Reader,
    ResultRef,
    StoreStats,
    WriteResult,
    Written,
)
from holdstate.spec.errors import HoldstateError
from holdstate.stores.audit import StoredBlob, StoredRuntime, audit

TABLES = """
CREATE TABLE IF NOT EXISTS runtime (id TEXT PRIMARY KEY, record BLOB);
CREATE TABLE IF NOT EXISTS input (runtime TEXT, place INTEGER, id BLOB, key TEXT, ended INTEGER, record BLOB, body BLOB,
    PRIMARY KEY (runtime, place), UNIQUE (runtime, id), UNIQUE (runtime, key));
CREATE TABLE IF NOT EXISTS receipt (runtime TEXT, run BLOB, sequence INTEGER, record BLOB,
    PRIMARY KEY (runtime, run, sequence));
CREATE TABLE IF NOT EXISTS result (runtime TEXT, run BLOB, sequence INTEGER, content BLOB, ref BLOB,
    PRIMARY KEY (runtime, run, sequence));
CREATE TABLE IF NOT EXISTS snapshot (runtime TEXT PRIMARY KEY, content BLOB);
CREATE TABLE IF NOT EXISTS event (runtime TEXT, place INTEGER, record BLOB, PRIMARY KEY (runtime, place));
CREATE TABLE IF NOT EXISTS pruned (runtime TEXT PRIMARY KEY, record BLOB);
CREATE TABLE IF NOT EXISTS blob (id TEXT PRIMARY KEY, content BLOB, held INTEGER);
CREATE TABLE IF NOT EXISTS blob_ref (blob TEXT, runtime TEXT, place INTEGER, PRIMARY KEY (blob, runtime, place));
"""


class SqliteStore:
    """Any thread and any process may use the file; a view holds up writers of its own process."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.lock = RLock()
        self.generation = 0
        self.commits = self.rows_written = self.bytes_written = 0
        self.db: sqlite3.Connection | None = None
        self.connect()

    def connect(self) -> None:
        self.db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(TABLES)

    def close(self) -> None:
        with self.lock:
            if self.db is not None:
                self.db.close()
            self.db = None

    def run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if self.db is None:
            raise StoreClosed("the store was closed")
        return self.db.execute(sql, values)

    def change(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self.run(sql, *values)

    def one(self, sql: str, *values: Any) -> Any:
        row = self.run(sql, *values).fetchone()
        return None if row is None else row[0]

    def row(self, sql: str, *values: Any) -> Any:
        found = self.one(sql, *values)
        return None if found is None else pickle.loads(found)

    def rows(self, sql: str, *values: Any) -> tuple[Any, ...]:
        return tuple(pickle.loads(row[0]) for row in self.run(sql, *values).fetchall())

    # -- writing

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self.lock:
            self.run("BEGIN IMMEDIATE")
            try:
                before = self.db.total_changes
                yield
                changed = self.db.total_changes - before
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            try:
                self.db.execute("COMMIT")
            except sqlite3.Error as error:
                self.generation += 1
                self.db.close()
                self.connect()
                raise StoreError("the commit failed", applied=None, cause=error) from error
            self.commits += 1 if changed else 0
            self.rows_written += changed

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        members = tuple(group)

        def write() -> list[WriteResult]:
            try:
                with self.writing():
                    return [self.member(each) for each in members]
            except sqlite3.Error as error:
                raise StoreError("sqlite failed", applied=False, cause=error) from error

        return write

    def commit(self, group: Sequence[Commit | Claim]) -> list[WriteResult]:
        return self.prepare(group)()

    def claim(self, runtime_id: str, settle: Callable[[LoadedRuntime | None], Commit]) -> LoadedRuntime:
        with self.lock:
            (result,) = self.commit([Claim(runtime_id, settle)])
            if isinstance(result, HoldstateError):
                raise result
            return self.load_runtime(runtime_id)

    def member(self, member: Commit | Claim) -> WriteResult:
        try:
            commit = self.settled(member) if isinstance(member, Claim) else self.fenced(member)
            self.check(commit)
        except HoldstateError as error:
            return error
        self.put(commit)
        return Written(commit)

    def settled(self, claim: Claim) -> Commit:
        loaded = self.load_runtime(claim.runtime_id)
        commit = claim.settle(loaded)
        epoch, revision = (loaded.record.epoch, loaded.record.revision) if loaded else (0, 0)
        if commit.runtime.runtime_id != claim.runtime_id or commit.runtime.epoch != epoch + 1:
            raise StoreError("a claim has to raise the epoch by one")
        if commit.base_revision != revision:
            raise StoreError("the claim builds on another revision")
        return commit

    def fenced(self, commit: Commit) -> Commit:
        runtime_id = commit.runtime.runtime_id
        stored = self.load_record(runtime_id)
        if stored is None:
            raise StoreError("the runtime is not stored")
        if stored.epoch > commit.epoch:
            raise Fenced(runtime_id, commit.epoch, stored.epoch)
        if stored.epoch != commit.epoch or stored.revision != commit.base_revision:
            raise StoreError("it builds on another revision")
        return commit

    def check(self, commit: Commit) -> None:
        runtime_id = commit.runtime.runtime_id
        given = {digest for digest, _ in commit.blobs}
        for write in commit.inputs:
            if write.is_new:
                self.check_new(runtime_id, write, given)
            else:
                self.check_active(runtime_id, write.record)
        for receipt in commit.receipts:
            if self.load_receipt(runtime_id, receipt.run_id, receipt.sequence) is not None:
                raise StoreError(f"receipt {receipt.sequence} of run {receipt.run_id} is stored already")
        for event in commit.events:
            if self.one("SELECT 1 FROM event WHERE runtime=? AND place=?", runtime_id, offset_of(event)):
                raise StoreError(f"event {event.offset} is stored already")

    def check_active(self, runtime_id: str, record: InputRecord) -> None:
        sql = "SELECT id FROM input WHERE runtime=? AND place=? AND NOT ended"
        if self.one(sql, runtime_id, record.order) != record.input_id.bytes:
            raise StoreError(f"input {record.input_id} is not an active one of the runtime")

    def check_new(self, runtime_id: str, write: InputWrite, given: set[str]) -> None:
        admission = write.record.admission
        sql = "SELECT 1 FROM input WHERE runtime=? AND (id=? OR place=? OR key=?)"
        key = admission.idempotency_key
        if self.one(sql, runtime_id, admission.input_id.bytes, admission.order, key):
            raise StoreError(f"input {admission.input_id}, its order key or its idempotency key is stored already")
        missing = [each for each in admission.blobs if each not in given and not self.blob_exists(each)]
        if missing and not write.drop_body:
            raise StoreError(f"input {admission.input_id} refers to the blob {missing[0]}, which is not stored")

    def put(self, commit: Commit) -> None:
        runtime_id = commit.runtime.runtime_id
        self.put_runtime(commit)
        for digest, content in commit.blobs:
            self.change("INSERT OR IGNORE INTO blob VALUES (?, ?, 0)", digest, content)
        for write in commit.inputs:
            self.put_input(runtime_id, write)
        for receipt in commit.receipts:
            self.put_receipt(runtime_id, receipt)
        for ref, content in commit.results:
            self.put_result(runtime_id, ref, content)
        for event in commit.events:
            self.put_event(runtime_id, event)
        if commit.snapshot is not None:
            self.put_snapshot(runtime_id, commit.snapshot)
        self.drop_unreferenced(digest for digest, _ in commit.blobs)

    def put_runtime(self, commit: Commit) -> None:
        self.change(
            "INSERT OR REPLACE INTO runtime VALUES (?, ?)", commit.runtime.runtime_id, pickle.dumps(commit.runtime)
        )

    def put_receipt(self, runtime_id: str, receipt: RunBoundaryReceipt) -> None:
        self.change(
            "INSERT INTO receipt VALUES (?, ?, ?, ?)",
            runtime_id,
            receipt.run_id.bytes,
            receipt.sequence,
            pickle.dumps(receipt),
        )

    def put_result(self, runtime_id: str, ref: ResultRef, content: bytes) -> None:
        sequence = -1 if ref.sequence is None else ref.sequence
        self.change(
            "INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?, ?)",
            runtime_id,
            ref.run_id.bytes,
            sequence,
            content,
            pickle.dumps(ref),
        )

    def put_event(self, runtime_id: str, event: EventEnvelope) -> None:
        self.change("INSERT INTO event VALUES (?, ?, ?)", runtime_id, offset_of(event), pickle.dumps(event))

    def put_snapshot(self, runtime_id: str, content: bytes) -> None:
        self.change("INSERT OR REPLACE INTO snapshot VALUES (?, ?)", runtime_id, content)

    def put_input(self, runtime_id: str, write: InputWrite) -> None:
        record, admission = write.record, write.record.admission
        row = pickle.dumps(record)
        if write.is_new:
            body = None if write.drop_body else write.body
            self.change(
                "INSERT INTO input VALUES (?, ?, ?, ?, ?, ?, ?)",
                runtime_id,
                admission.order,
                admission.input_id.bytes,
                admission.idempotency_key,
                record.is_terminal,
                row,
                body,
            )
            if body is not None:
                for digest in admission.blobs:
                    self.change("INSERT OR IGNORE INTO blob_ref VALUES (?, ?, ?)", digest, runtime_id, admission.order)
        else:
            self.change(
                "UPDATE input SET ended=?, record=? WHERE runtime=? AND place=?",
                record.is_terminal,
                row,
                runtime_id,
                admission.order,
            )
        if write.drop_body:
            self.drop_body(runtime_id, record)

    def drop_body(self, runtime_id: str, record: InputRecord) -> None:
        self.change("UPDATE input SET body=NULL WHERE runtime=? AND place=?", runtime_id, record.order)
        self.change("DELETE FROM blob_ref WHERE runtime=? AND place=?", runtime_id, record.order)
        self.drop_unreferenced(record.admission.blobs)

    def drop_unreferenced(self, digests: Iterable[str]) -> None:
        for digest in digests:
            self.change(
                "DELETE FROM blob WHERE id=? AND NOT held AND NOT EXISTS (SELECT 1 FROM blob_ref WHERE blob=?)",
                digest,
                digest,
            )

    def put_blob(self, content: bytes) -> str:
        digest = f"sha256:{sha256(content).hexdigest()}"
        with self.writing():
            self.change("INSERT INTO blob VALUES (?, ?, 1) ON CONFLICT (id) DO UPDATE SET held=1", digest, content)
        return digest

    def sweep_blobs(self) -> int:
        with self.writing():
            self.change("UPDATE blob SET held=0 WHERE held")
            return self.change("DELETE FROM blob WHERE id NOT IN (SELECT blob FROM blob_ref)").rowcount

    def prune(self, retention: Retention, *, now: datetime) -> Pruned:
        total = Pruned()
        with self.writing():
            for (runtime_id,) in self.run("SELECT id FROM runtime").fetchall():
                pruned = Pruned()
                if retention.keep_ended_seconds is not None:
                    pruned = self.prune_inputs(runtime_id, now - timedelta(seconds=retention.keep_ended_seconds))
                if retention.keep_events_seconds is not None:
                    before = now - timedelta(seconds=retention.keep_events_seconds)
                    pruned = pruned.plus(self.prune_events(runtime_id, before))
                if pruned != Pruned():
                    stored = self.pruned(runtime_id).plus(pruned)
                    self.change("INSERT OR REPLACE INTO pruned VALUES (?, ?)", runtime_id, pickle.dumps(stored))
                    total = total.plus(pruned)
        return total

    def pruned(self, runtime_id: str) -> Pruned:
        return self.row("SELECT record FROM pruned WHERE runtime=?", runtime_id) or Pruned()

    def prune_events(self, runtime_id: str, before: datetime) -> Pruned:
        count = 0
        for event in self.rows("SELECT record FROM event WHERE runtime=? ORDER BY place", runtime_id):
            if event.at >= before:
                break
            self.change("DELETE FROM event WHERE runtime=? AND place=?", runtime_id, offset_of(event))
            count += 1
        return Pruned(events=count)

    def prune_inputs(self, runtime_id: str, before: datetime) -> Pruned:
        inputs = self.rows("SELECT record FROM input WHERE runtime=?", runtime_id)
        doomed = {each.input_id: each for each in inputs if each.is_terminal and ended_at(each) < before}
        staying = [each for each in inputs if each.input_id not in doomed]
        while staying:
            successor = staying.pop().successor_id
            if successor in doomed:
                staying.append(doomed.pop(successor))
        for record in doomed.values():
            self.drop_body(runtime_id, record)
            self.change("DELETE FROM input WHERE runtime=? AND place=?", runtime_id, record.order)
        keys = sum(each.admission.idempotency_key is not None for each in doomed.values())
        left = [each for each in inputs if each.input_id not in doomed]
        needed = {each.last_run_id for each in left} | {self.load_record(runtime_id).current_run_id}
        ids = {each.input_id for each in left}
        receipts = self.rows("SELECT record FROM receipt WHERE runtime=?", runtime_id)
        needed |= {each.run_id for each in receipts if not ids.isdisjoint(each.stored_input_ids)}
        gone = [0, 0]
        for place, table in enumerate(("receipt", "result")):
            for (run,) in self.run(f"SELECT DISTINCT run FROM {table} WHERE runtime=?", runtime_id).fetchall():
                if run not in {each.bytes for each in needed if each is not None}:
                    gone[place] += self.change(
                        f"DELETE FROM {table} WHERE runtime=? AND run=?", runtime_id, run
                    ).rowcount
        return Pruned(len(doomed), keys, *gone)

    # -- reading

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        with self.lock:
            if self.db is not None and self.db.in_transaction:
                yield self
                return
            self.run("BEGIN")
            try:
                yield self
            finally:
                self.run("ROLLBACK")

    def load_runtime(self, runtime_id: str) -> LoadedRuntime | None:
        with self.lock:
            record = self.load_record(runtime_id)
            if record is None:
                return None
            inputs = self.rows("SELECT record FROM input WHERE runtime=? AND NOT ended ORDER BY place", runtime_id)
            if len(inputs) != record.counts.active:
                raise StoreCorruption(
                    f"runtime {runtime_id!r}", f"{len(inputs)} active inputs, the record counts {record.counts.active}"
                )
            runs = sorted({each.last_run_id for each in inputs if each.state in IN_FLIGHT_STATES and each.last_run_id})
            receipts = [
                r
                for run in runs
                for r in self.rows(
                    "SELECT record FROM receipt WHERE runtime=? AND run=? ORDER BY sequence", runtime_id, run.bytes
                )
            ]
            return LoadedRuntime(record, inputs, tuple(receipts))

    def load_record(self, runtime_id: str) -> RuntimeRecord | None:
        with self.lock:
            return self.row("SELECT record FROM runtime WHERE id=?", runtime_id)

    def load_input(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        with self.lock:
            return self.row("SELECT record FROM input WHERE runtime=? AND id=?", runtime_id, input_id.bytes)

    def find_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        with self.lock:
            return self.row("SELECT record FROM input WHERE runtime=? AND key=?", runtime_id, key)

    def load_ended(self, runtime_id: str, input_id: UUID) -> InputRecord | None:
        record = self.load_input(runtime_id, input_id)
        return record if record is not None and record.is_terminal else None

    def find_ended_by_key(self, runtime_id: str, key: str) -> InputRecord | None:
        record = self.find_by_key(runtime_id, key)
        return record if record is not None and record.is_terminal else None

    def load_body(self, runtime_id: str, record: InputRecord) -> bytes | None:
        with self.lock:
            return self.one("SELECT body FROM input WHERE runtime=? AND place=?", runtime_id, record.order)

    def load_receipt(self, runtime_id: str, run_id: UUID, sequence: int) -> RunBoundaryReceipt | None:
        with self.lock:
            return self.row(
                "SELECT record FROM receipt WHERE runtime=? AND run=? AND sequence=?",
                runtime_id,
                run_id.bytes,
                sequence,
            )

    def has_receipt(self, runtime_id: str, run_id: UUID) -> bool:
        with self.lock:
            return bool(self.one("SELECT 1 FROM receipt WHERE runtime=? AND run=?", runtime_id, run_id.bytes))

    def load_result(self, runtime_id: str, ref: ResultRef) -> bytes | None:
        with self.lock:
            sequence = -1 if ref.sequence is None else ref.sequence
            return self.one(
                "SELECT content FROM result WHERE runtime=? AND run=? AND sequence=?",
                runtime_id,
                ref.run_id.bytes,
                sequence,
            )

    def load_session_snapshot(self, runtime_id: str) -> bytes | None:
        with self.lock:
            return self.one("SELECT content FROM snapshot WHERE runtime=?", runtime_id)

    def load_events(self, runtime_id: str, after: int | None = None, limit: int = 1000) -> tuple[EventEnvelope, ...]:
        with self.lock:
            record = self.load_record(runtime_id)
            first = 0 if after is None else max(after + 1, 0)
            if record is None or first >= record.counts.events or limit < 1:
                return ()
            dropped = self.pruned(runtime_id).events
            if first < dropped:
                raise EventsPruned(runtime_id, dropped)
            last = min(first + limit, record.counts.events)
            events = self.rows(
                "SELECT record FROM event WHERE runtime=? AND place>=? AND place<? ORDER BY place",
                runtime_id,
                first,
                last,
            )
            if len(events) != last - first:
                raise StoreCorruption(f"runtime {runtime_id!r}", "an event is missing")
            return events

    def list_runtimes(self, *, after: str | None = None, limit: int = 1000) -> tuple[RuntimeRecord, ...]:
        with self.lock:
            return self.rows("SELECT record FROM runtime WHERE id>? ORDER BY id LIMIT ?", after or "", max(limit, 0))

    def list_inputs(self, wanted: InputFilter, *, after: int | None = None, limit: int = 1000) -> InputPage:
        with self.lock:
            low = -(2**63) if after is None else after
            found = []
            for record in self.rows(
                "SELECT record FROM input WHERE runtime=? AND place>? ORDER BY place", wanted.runtime_id, low
            ):
                if wanted.states is not None and record.state not in wanted.states:
                    continue
                if wanted.kinds is not None and record.admission.kind not in wanted.kinds:
                    continue
                if len(found) >= limit:
                    return InputPage(tuple(found), found[-1].order if found else after)
                found.append(record)
            return InputPage(tuple(found), None)

    def get_blob(self, blob_id: str) -> bytes | None:
        with self.lock:
            return self.one("SELECT content FROM blob WHERE id=?", blob_id)

    def blob_exists(self, blob_id: str) -> bool:
        return self.get_blob(blob_id) is not None

    # -- the whole

    def verify(self) -> list[Finding]:
        with self.reading():
            runtimes = [self.stored(each) for each in self.rows("SELECT record FROM runtime")]
            blobs = [StoredBlob(i, c, bool(h)) for i, c, h in self.run("SELECT id, content, held FROM blob").fetchall()]
            return list(audit(runtimes, blobs))

    def stored(self, record: RuntimeRecord) -> StoredRuntime:
        name = record.runtime_id
        inputs = self.rows("SELECT record FROM input WHERE runtime=? ORDER BY place", name)
        return StoredRuntime(
            record=record,
            active=[each for each in inputs if not each.is_terminal],
            ended=[each for each in inputs if each.is_terminal],
            bodies={row[0] for row in self.run("SELECT place FROM input WHERE runtime=? AND body IS NOT NULL", name)},
            orders={each.input_id: each.order for each in inputs},
            keys={
                each.admission.idempotency_key: each.input_id
                for each in inputs
                if each.admission.idempotency_key is not None
            },
            receipts=list(self.rows("SELECT record FROM receipt WHERE runtime=?", name)),
            results=set(self.rows("SELECT ref FROM result WHERE runtime=?", name)),
            events=[row[0] for row in self.run("SELECT place FROM event WHERE runtime=? ORDER BY place", name)],
            has_snapshot=self.load_session_snapshot(name) is not None,
            blob_refs={(b, p) for b, p in self.run("SELECT blob, place FROM blob_ref WHERE runtime=?", name)},
            pruned=self.pruned(name),
        )

    def stats(self) -> StoreStats:
        with self.lock:

            def count(sql: str) -> int:
                return int(self.one(f"SELECT count(*) FROM {sql}"))

            return StoreStats(
                runtimes=count("runtime"),
                active_inputs=count("input WHERE NOT ended"),
                ended_inputs=count("input WHERE ended"),
                blobs=count("blob"),
                body_bytes=self.one("SELECT coalesce(sum(length(body)), 0) FROM input"),
                commits=self.commits,
                rows_written=self.rows_written,
                bytes_written=self.bytes_written,
                size_bytes=self.one("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"),
                generation=self.generation,
            )


def ended_at(record: InputRecord) -> datetime:
    return record.history[-1].at if record.history else record.admission.admitted_at


async def main() -> None:
    """Submit, work off, submit again."""
    with tempfile.TemporaryDirectory() as folder:
        for title in ("first", "again"):
            store = SqliteStore(Path(folder) / "state.sqlite")
            driver = await PersistentRuntimeDriver.open("chat", store)
            for number in range(3):
                given = PromptInput.new(f"hello {number}", idempotency_key=f"message-{number}")
                print(title, type(await driver.accept_input(given)).__name__)
            while (run := await driver.begin_run()) is not None:
                await driver.complete_run(run, RunOutput(b"session", run.inputs[0].text.upper().encode()))
            record = await driver.find_by_key("message-2")
            print(title, record and await driver.input_result(record.input_id))
            await driver.close()
            assert store.verify() == []
            store.close()


if __name__ == "__main__":
    asyncio.run(main())
