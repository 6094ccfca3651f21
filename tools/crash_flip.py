"""Damage: the bytes of any row changed through LMDB, and any bit of any page of the file turned.

A damaged row has to be found by its checksum and named by the auditor. A damaged page may end the process that maps it;
what counts is that no row is ever returned with a content that it never had.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final, final

from ..runtime.errors import StoreCorruption, StoreTooNew
from ..stores.codec_envelope import ENVELOPE_BYTES, seal, unseal
from ..stores.lmdb_rows import TABLES, Rows
from ..stores.lmdb_store import LmdbStore
from ..stores.lmdb_verification import verify_store
from .crash_pool import TOO_LONG, Answer, Pool
from .crash_power import WORKER
from .crash_report import DETECTED, ENDED, UNDECIDED, WRONG, CrashReport
from .crash_trace import TraceFailed

UNCHECKED: Final = "unchecked"
"""The control: rows are sealed again after they were changed, and read without a look at their checksum."""
_STEPS: Final = "accept,begin,end,accept,blob,accept,begin,end,accept,begin,end,cancel,accept,begin"
_CHECKER: Final = "holdstate.tools.crash_flip_checker"
_PAGE: Final = 4096
_SHARE_OF_PAGES: Final = 10
"""One in so many cases is a page."""


@final
class FlipCampaign:
    """``cases`` damages, drawn from ``seed``, of a store that a worker left in ``folder``."""

    def __init__(self, folder: Path, cases: int, seed: int, *, control: str = "", processes: int = 1) -> None:
        self._folder = folder
        self._cases = cases
        self._is_checked = control != UNCHECKED
        self._processes = processes
        self._chance = Random(seed)
        self.report = CrashReport("flip", seed, control)

    def run(self, tell: Callable[[CrashReport], None] | None = None) -> CrashReport:
        """Damage rows, then pages. Raises TraceFailed when there is no store to begin with."""
        path = self._folder / "store"
        command = [sys.executable, "-m", WORKER, str(path), str(self.report.seed), _STEPS, ""]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TraceFailed(f"the worker ended with exit code {done.returncode}: {done.stderr.strip()[-500:]}")
        pages = self._cases // _SHARE_OF_PAGES
        self.report.facts.update({"rows damaged": self._cases - pages, "bits of pages turned": pages})
        self._damage_rows(path, self._cases - pages)
        if tell is not None:
            tell(self.report)
        self._damage_pages((path / "data.mdb").read_bytes(), pages)
        return self.report

    # -- rows ----------------------------------------------------------------------------------------------------

    def _damage_rows(self, path: Path, count: int) -> None:
        with LmdbStore.open(path) as store:
            environment = store._environment  # noqa: SLF001 - nobody else changes rows without sealing them
            with environment.reading() as rows:
                everything = [(table, key, value) for table in TABLES for key, value in rows.scan(table, b"")]
            self.report.facts["rows"] = len(everything)
            for number in range(count):
                table, key, value = self._chance.choice(everything)
                damaged = self._damage(table, key, value)
                rows = environment.enter(write=True)
                try:
                    outcome, why = self._look(rows, table, key, damaged)
                finally:
                    environment.leave(rows)
                finding = f"{why} (seed {self.report.seed}, case {number})" if outcome != DETECTED else ""
                self.report.count("row", table.decode(), outcome, finding)

    def _damage(self, table: bytes, key: bytes, value: bytes) -> bytes:
        """One to four bits turned, or a byte more or less. The control seals the result."""
        damaged = bytearray(value)
        what = self._chance.randrange(10)
        if what == 0:
            damaged.append(self._chance.randrange(256))
        elif what == 1:
            del damaged[self._chance.randrange(len(damaged))]
        for place in self._chance.sample(range(8 * len(damaged)), self._chance.randint(1, 4)) if what > 1 else ():
            damaged[place // 8] ^= 1 << place % 8
        return bytes(damaged) if self._is_checked else seal(table, key, bytes(damaged[ENVELOPE_BYTES:]))

    @staticmethod
    def _look(rows: Rows, table: bytes, key: bytes, damaged: bytes) -> tuple[str, str]:
        rows.txn.put(key, damaged, db=rows._databases[table])  # noqa: SLF001 - it is never committed
        name = f"{table.decode()} row {key.hex()}"
        try:
            unseal(table, key, rows.get(table, key) or b"")
        except StoreTooNew:
            return WRONG, f"{name} was taken for one of a newer format"
        except StoreCorruption as error:
            if name != error.where:
                return WRONG, f"the damage of {name} was put down to {error.where}"
        else:
            return WRONG, f"{name} was read as if it were whole"
        named = any(name in finding.where for finding in verify_store(rows))
        return (DETECTED, "") if named else (WRONG, f"the auditor does not name {name}")

    # -- pages ---------------------------------------------------------------------------------------------------

    def _damage_pages(self, content: bytes, count: int) -> None:
        # Zeros behind the last page mean nothing.
        content = content.rstrip(b"\0")
        content = content.ljust(-(-len(content) // _PAGE) * _PAGE, b"\0")
        with Pool(self._folder, self._processes, _CHECKER) as pool:
            for _ in range(count):
                place = self._chance.randrange(8 * len(content))
                job = {"place": place, "is_checked": self._is_checked}
                pool.submit(job, self._judge_of(place), content=content)
            pool.drain()

    def _judge_of(self, place: int) -> Callable[[Answer], None]:
        page, bit = divmod(place, 8 * _PAGE)
        kind = "meta page" if page < 2 else "page"  # noqa: PLR2004 - LMDB has two

        def receive(answer: Answer) -> None:
            problem = answer.get("problem", "")
            outcome = answer["outcome"] if not problem else ENDED
            outcome = UNDECIDED if problem == TOO_LONG else outcome
            finding = f"bit {bit} of page {page} (seed {self.report.seed})" if outcome == WRONG else ""
            self.report.count(kind, "file", outcome, finding)

        return receive
