"""What is counted: commits, steps of the core, rows put and deleted by table, bytes, calls of functions, memory.

Rows are counted at the transaction of LMDB itself, whoever in the store writes them.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import pytest
from attrs import define, field

from holdstate.runtime import core
from holdstate.runtime.collector import paused_collector
from holdstate.stores import lmdb_environment
from holdstate.stores.lmdb_rows import Rows


@final
@define
class Meter:
    """Counts since the last ``reset``."""

    commits: int = 0
    steps: int = 0
    puts: Counter[str] = field(factory=Counter)
    deletes: Counter[str] = field(factory=Counter)
    bytes_put: int = 0

    def reset(self) -> None:
        """Begin to count anew."""
        self.commits = self.steps = self.bytes_put = 0
        self.puts.clear()
        self.deletes.clear()

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Count one row that is written."""
        self.puts[table] += 1
        self.bytes_put += len(key) + len(value)


@final
class CountingCursor:
    """A cursor of LMDB that counts; whatever writes in a way that is not counted here is refused."""

    def __init__(self, cursor: Any, table: str, meter: Meter) -> None:
        self._cursor, self._table, self._meter = cursor, table, meter

    def __enter__(self) -> CountingCursor:
        self._cursor.__enter__()
        return self

    def __exit__(self, *why: object) -> object:
        return self._cursor.__exit__(*why)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def __getattr__(self, name: str) -> Any:
        assert name not in {"replace", "pop"}, f"the guard does not count {name}"
        return getattr(self._cursor, name)

    def putmulti(self, items: Any, *how: Any, **named: Any) -> Any:
        items = list(items)
        for key, value in items:
            self._meter.put(self._table, key, value)
        return self._cursor.putmulti(items, *how, **named)

    def put(self, key: bytes, value: bytes, *how: Any, **named: Any) -> Any:
        self._meter.put(self._table, key, value)
        return self._cursor.put(key, value, *how, **named)

    def delete(self, *how: Any, **named: Any) -> Any:
        removed = self._cursor.delete(*how, **named)
        self._meter.deletes[self._table] += bool(removed)
        return removed


@final
class CountingTransaction:
    """A transaction of LMDB that counts; whatever writes in a way that is not counted here is refused."""

    def __init__(self, txn: Any, databases: Mapping[bytes, Any], meter: Meter) -> None:
        self._txn, self._meter = txn, meter
        self._tables = {id(database): table.decode() for table, database in databases.items()}

    def __getattr__(self, name: str) -> Any:
        assert name not in {"replace", "pop", "drop"}, f"the guard does not count {name}"
        return getattr(self._txn, name)

    def put(self, key: bytes, value: bytes, *given: Any, db: Any = None) -> Any:
        how = list(given)
        if db is None:  # as the last one by position
            *how, db = how
        self._meter.put(self._tables[id(db)], key, value)
        return self._txn.put(key, value, *how, db=db)

    def delete(self, key: bytes, value: bytes = b"", db: Any = None) -> Any:
        removed = self._txn.delete(key, value, db)
        self._meter.deletes[self._tables[id(db)]] += bool(removed)
        return removed

    def cursor(self, db: Any = None) -> CountingCursor:
        return CountingCursor(self._txn.cursor(db), self._tables[id(db)], self._meter)

    def commit(self) -> None:
        self._txn.commit()
        self._meter.commits += 1


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what every LMDB store of this process writes that is opened inside, and every step of the core."""
    meter = Meter()
    step = core.step

    def counted_step(*given: Any) -> Any:
        meter.steps += 1
        return step(*given)

    def counted_rows(txn: Any, databases: Any) -> Rows:
        return Rows(CountingTransaction(txn, databases, meter), databases)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "step", counted_step)
        patch.setattr(lmdb_environment, "Rows", counted_rows)
        yield meter


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Count the calls of functions inside, those in C too: ``"calls"`` of the counter that is given."""
    found: Counter[str] = Counter()

    def note(frame: object, event: str, argument: object) -> None:
        if event in {"call", "c_call"}:
            found["calls"] += 1

    before = sys.getprofile()
    with paused_collector():  # which calls back who asked for that
        sys.setprofile(note)
        try:
            yield found
        finally:
            sys.setprofile(before)


@contextmanager
def measured_memory() -> Iterator[Counter[str]]:
    """The most memory that was in use at once inside, beyond what was before: ``"bytes"`` of the counter."""
    found: Counter[str] = Counter()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield found
        _, most = tracemalloc.get_traced_memory()
        found["bytes"] = most - before
    finally:
        tracemalloc.stop()
