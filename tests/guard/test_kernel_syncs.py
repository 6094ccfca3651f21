"""What the kernel is asked for: one sync of the file for each commit that the table counts, and no other."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from .operations import OPERATIONS
from .table import OF_A_SERVICE, TABLE

PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from holdstate.stores.lmdb_store import LmdbStore
from tests.guard.operations import OPERATIONS, Setting, serve
from tests.planted_bugs import plant_what_is_asked

plant_what_is_asked()

def mark(name):  # seen by strace between the syncs
    os.access(f"/guard/{name}", os.F_OK)

async def main():
    for operation in OPERATIONS:
        with LmdbStore.open(Path(sys.argv[1]) / operation) as store:
            setting = Setting(store)
            prepared = await OPERATIONS[operation](setting, await setting.open())
            mark(operation)
            await prepared()
            mark("nothing")
    with LmdbStore.open(Path(sys.argv[1]) / "served") as store:
        setting = Setting(store)
        async with setting.service() as service:
            await serve(service, setting, 64)
            mark("served")
            await serve(service, setting, 64)
            mark("nothing")

asyncio.run(main())
"""
MARK = re.compile(r'access(?:at2?)?\(.*"/guard/([^"]*)"')
SYNC = re.compile(r"\b(fdatasync|fsync|msync|sync_file_range|syncfs)\(")


@pytest.fixture(scope="module")
def syncs(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]) -> dict[str, int]:
    """By operation, how often the kernel was asked to sync anything."""
    folder = tmp_path_factory.mktemp("syncs")
    calls = "trace=fdatasync,fsync,msync,sync_file_range,syncfs,faccessat,faccessat2,?access"
    traced = [require_tool("strace"), "-f", "-qq", "-e", calls, "-o", str(folder / "trace")]
    subprocess.run([*traced, sys.executable, "-c", PROGRAM, str(folder)], check=True)
    found: dict[str, int] = {}
    now = "nothing"
    for line in (folder / "trace").read_text(encoding="utf-8").splitlines():
        if mark := MARK.search(line):
            now = mark[1]
            found.setdefault(now, 0)
        elif SYNC.search(line):
            found[now] = found.get(now, 0) + 1
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_kernel_syncs_once_for_each_commit(syncs: dict[str, int], operation: str) -> None:
    """Counted from outside, whoever asks for it, and by whatever call."""
    assert syncs[operation] == TABLE[operation].commits


def test_64_lives_at_once_are_three_syncs(syncs: dict[str, int]) -> None:
    """In a service, where they share them."""
    assert syncs["served"] == OF_A_SERVICE[64].commits
