"""Other libraries that keep work on disk, one class each, for ``holdstate bench --peers``.

A program of its own (``bench_peers.py NAME WORK DIRECTORY``), run by the interpreter of another environment, so nothing
of holdstate is imported. On stdout it says its version, and then answers each line of stdin by one of JSON: ``do N``
with the seconds that N works took, ``check`` with what the database holds and how durable its connections are.

All of them stand on SQLite. Every connection is set to WAL and ``synchronous=FULL``, which syncs each commit, as ours
are; a library that undoes that for itself is set again, and what holds is read back at the end.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sqlite3
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import metadata
from itertools import count
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

TEXT = "x" * 200
FULL = 2
LOOKS = 100


class Watched:
    """All connections to SQLite that this process opens: each is made durable, and asked in the end."""

    def __init__(self) -> None:
        self._connect: Callable[..., sqlite3.Connection] = sqlite3.connect
        self._opened: list[sqlite3.Connection] = []
        sqlite3.connect = sqlite3.dbapi2.connect = self.connect  # type: ignore[assignment]  # for libraries

    def connect(self, *given: Any, **named: Any) -> sqlite3.Connection:
        """``sqlite3.connect``; the connection may also be asked by the thread that does so in the end."""
        made = self._connect(*given, **{**named, "check_same_thread": False})
        self._opened.append(made)
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("PRAGMA synchronous=FULL")
        return made

    def make_durable(self) -> None:
        """Once more where it is needed, after a library has set what it likes."""
        for each in self._opened:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed by now
                # One that is as it should be may be in use on another thread, and is let alone.
                if _pragma(each, "synchronous") != FULL:
                    each.execute("PRAGMA synchronous=FULL")

    def weakest(self) -> tuple[str, int]:
        """Journal mode and synchronous of the connection that promises least, of those that are open."""
        found = []
        for each in self._opened:
            with contextlib.suppress(sqlite3.ProgrammingError):
                found.append((_pragma(each, "journal_mode"), _pragma(each, "synchronous")))
        # On disk by whatever journal, but for those that are in memory alone.
        return min(found, key=lambda each: (each[0] == "wal", each[1])) if found else ("none", 0)

    def count(self, path: Path, query: str) -> int:
        """What a connection of its own finds."""
        with contextlib.closing(self._connect(path)) as connection:
            return int(connection.execute(query).fetchone()[0])


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    """A setting. Where another thread of the library uses the connection just now, the next look tells it."""
    for last in (*[False] * LOOKS, True):
        try:
            # A row may be a tuple, or whatever the library made of it.
            (value,) = tuple(connection.execute(f"PRAGMA {name}").fetchone())
        except sqlite3.ProgrammingError:
            raise
        except (sqlite3.Error, TypeError):
            if last:
                raise
            sleep(0.01)
        else:
            return value
    raise AssertionError(name)


class Peer(ABC):
    """One library. The queries count, in ``file``, the works that were made durable, and those of them that ended."""

    package: str | None = None
    """What is installed for it; None where Python has it."""
    file: Path
    accepted: str
    ended: str

    @abstractmethod
    def __init__(self, directory: Path) -> None: ...

    @abstractmethod
    def accept(self) -> object:
        """Make a work durable."""

    @abstractmethod
    def live(self) -> object:
        """Make one durable, take one, and end that one with a result."""


class Sqlite(Peer):
    """By hand: a table with a unique key; insert, claim, finish, a commit each."""

    accepted = "SELECT count(*) FROM work"
    ended = "SELECT count(*) FROM work WHERE state = 'ended'"

    def __init__(self, directory: Path) -> None:
        self.file = directory / "work.db"
        self._numbers = count()
        self._connection = sqlite3.connect(self.file, isolation_level=None)
        self._connection.execute(
            "CREATE TABLE work (id INTEGER PRIMARY KEY, key TEXT UNIQUE, state TEXT, body TEXT, result TEXT)"
        )
        self._connection.execute("CREATE INDEX by_state ON work (state, id)")

    def accept(self) -> object:
        row = (f"bench {next(self._numbers)}", TEXT)
        return self._connection.execute("INSERT INTO work (key, state, body) VALUES (?, 'queued', ?)", row)

    def live(self) -> object:
        self.accept()
        query = (
            "UPDATE work SET state = 'taken' WHERE id = (SELECT min(id) FROM work WHERE state = 'queued') RETURNING id"
        )
        taken = self._connection.execute(query).fetchall()[0]
        return self._connection.execute("UPDATE work SET state = 'ended', result = 'result' WHERE id = ?", taken)


class LiteQueue(Peer):
    """put; pop and done."""

    package = "litequeue"
    accepted = "SELECT count(*) FROM Queue"
    ended = "SELECT count(*) FROM Queue WHERE status = 2"

    def __init__(self, directory: Path) -> None:
        self.file = directory / "queue.db"
        self._queue = importlib.import_module("litequeue").LiteQueue(self.file)

    def accept(self) -> object:
        return self._queue.put(TEXT)

    def live(self) -> object:
        self.accept()
        return self._queue.done(self._queue.pop().message_id)


class PersistQueue(Peer):
    """SQLiteAckQueue: put; get and ack."""

    package = "persist-queue"
    accepted = "SELECT count(*) FROM ack_queue_default"
    ended = "SELECT count(*) FROM ack_queue_default WHERE status = 5"

    def __init__(self, directory: Path) -> None:
        self.file = directory / "data.db"
        made = importlib.import_module("persistqueue").SQLiteAckQueue
        self._queue = made(str(directory), auto_commit=True, multithreading=True)

    def accept(self) -> object:
        return self._queue.put(TEXT)

    def live(self) -> object:
        self.accept()
        taken = self._queue.get(raw=True)
        return self._queue.ack(id=taken["pqid"])


class EventSourcing(Peer):
    """An aggregate for each work, kept in memory: its creation, its start and its end are events, saved one by one."""

    package = "eventsourcing"
    accepted = "SELECT count(*) FROM stored_events WHERE originator_version = 1"
    ended = "SELECT count(*) FROM stored_events WHERE originator_version = 3"

    def __init__(self, directory: Path) -> None:
        self.file = directory / "events.db"
        domain = importlib.import_module("eventsourcing.domain")
        application = importlib.import_module("eventsourcing.application")
        environment = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(self.file)}
        self._application = application.Application(environment)

        class Work(domain.Aggregate):  # type: ignore[misc,name-defined]  # what it is comes with the library
            @domain.event("Accepted")  # type: ignore[untyped-decorator]
            def __init__(self, text: str) -> None:
                self.text = text
                self.result = ""

            @domain.event("Taken")  # type: ignore[untyped-decorator]
            def take(self) -> None:
                self.result = "none yet"

            @domain.event("Ended")  # type: ignore[untyped-decorator]
            def end(self, result: str) -> None:
                self.result = result

        self._new: Callable[[str], Any] = Work

    def accept(self) -> object:
        return self._saved(self._new(TEXT))

    def live(self) -> object:
        made = self._saved(self._new(TEXT))
        made.take()
        self._saved(made)
        made.end("result")
        return self._saved(made)

    def _saved(self, made: Any) -> Any:
        self._application.save(made)
        return made


class Dbos(Peer):
    """Enqueued for a queue that nobody listens to; a life is a workflow with one step, called where it runs."""

    package = "dbos"
    accepted = "SELECT count(*) FROM workflow_status"
    ended = "SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'"

    def __init__(self, directory: Path) -> None:
        self.file = directory / "dbos.db"
        url = f"sqlite:///{self.file}"
        dbos = importlib.import_module("dbos")
        config = {"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"}
        dbos.DBOS(config=config)

        @dbos.DBOS.step()  # type: ignore[untyped-decorator]
        def step(text: str) -> str:
            return "result"

        @dbos.DBOS.workflow()  # type: ignore[untyped-decorator]
        def work(text: str) -> Any:
            return step(text)

        dbos.DBOS.launch()
        self._client = dbos.DBOSClient(system_database_url=url)
        self._work = work

    def accept(self) -> object:
        return self._client.enqueue({"queue_name": "nobody", "workflow_name": "work"}, TEXT)

    def live(self) -> object:
        return self._work(TEXT)


class LangGraph(Peer):
    """SqliteSaver as a graph calls it: a thread for each work; its input, the writes of a task, its last state."""

    package = "langgraph-checkpoint-sqlite"
    accepted = "SELECT count(*) FROM checkpoints WHERE instr(CAST(metadata AS TEXT), '\"input\"')"
    ended = "SELECT count(*) FROM checkpoints WHERE instr(CAST(metadata AS TEXT), '\"loop\"')"

    def __init__(self, directory: Path) -> None:
        self.file = directory / "checkpoints.db"
        self._numbers = count()
        self._empty = importlib.import_module("langgraph.checkpoint.base").empty_checkpoint
        self._saver = importlib.import_module("langgraph.checkpoint.sqlite").SqliteSaver(
            sqlite3.connect(self.file, check_same_thread=False)
        )
        self._saver.setup()

    def _put(self, config: Any, values: dict[str, str], source: str, step: int) -> Any:
        return self._saver.put(
            config, {**self._empty(), "channel_values": values}, {"source": source, "step": step}, {}
        )

    def accept(self) -> Any:
        thread = {"configurable": {"thread_id": str(next(self._numbers)), "checkpoint_ns": ""}}
        return self._put(thread, {"text": TEXT}, "input", -1)

    def live(self) -> object:
        put = self.accept()
        self._saver.put_writes(put, [("result", "result")], str(uuid.uuid4()))
        return self._put(put, {"text": TEXT, "result": "result"}, "loop", 0)


PEERS: dict[str, type[Peer]] = {
    "sqlite": Sqlite,
    "litequeue": LiteQueue,
    "persist-queue": PersistQueue,
    "eventsourcing": EventSourcing,
    "dbos": Dbos,
    "langgraph": LangGraph,
}


def serve(name: str, work: str, directory: Path) -> None:
    """Answer line by line until stdin ends."""
    # What a library prints is not an answer.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    watched = Watched()
    made = PEERS[name](directory)
    watched.make_durable()
    does = made.accept if work == "accept" else made.live
    package = made.package
    answer({"version": sqlite3.sqlite_version if package is None else metadata.version(package)})
    for line in sys.stdin:
        order, _, times = line.strip().partition(" ")
        if order == "do":
            started = perf_counter()
            for _ in range(int(times)):
                does()
            answer(perf_counter() - started)
        else:
            mode, synchronous = watched.weakest()
            counts = [watched.count(made.file, query) for query in (made.accepted, made.ended)]
            answer({"accepted": counts[0], "ended": counts[1], "journal": mode, "synchronous": synchronous})


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    # Threads that a library left behind are not waited for.
    os._exit(0)
