"""Processes beside: one that opens the runtimes too, a child, one that is killed inside a view. See
``crash_host_faults``.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, final

from ..runtime.errors import Fenced, StoreForked
from ..stores.lmdb_store import LmdbStore
from .crash_checker import digest_of
from .crash_host_case import DISTURBED, Case
from .crash_worker import RUNTIMES

_STEPS: Final = 6
_TRIES: Final = 20


@final
class Rival:
    """Another process: it opens the runtimes when it is told, works, and later finds out that it was replaced."""

    def __init__(self, path: Path, seed: str) -> None:
        self._path = path
        self._seed = seed
        self._case: Case | None = None
        self._runner = asyncio.Runner()

    def __call__(self, question: Any) -> Any:
        return self._runner.run(self._claim(question) if self._case is None else self._learn())

    async def _claim(self, first: int) -> dict[str, Any]:
        case = self._case = Case(self._path, self._seed, {}, first=first)
        await case.start()
        await case.work(_STEPS, {"accept": 3, "begin": 2, "end": 2, "cancel": 1})
        return {"lines": case.lines, "calls": case.calls, "findings": case.findings}

    async def _learn(self) -> dict[str, Any]:
        case = self._case
        assert case is not None
        await _find_out(case)
        return {"findings": case.findings}


async def _find_out(case: Case) -> None:
    """Somebody else holds the runtimes of this process: nothing that it does changes a row."""
    before = digest_of(case.store)
    for name in RUNTIMES:
        for _ in range(_TRIES):
            # What was sent before is answered from memory.
            if not await case.do("accept", name, (Fenced,)):
                break
        else:
            case.wrong(f"an older owner of {name} was not fenced")
    if digest_of(case.store) != before:
        case.wrong("an older owner changed rows")


async def newer_owner(case: Case) -> None:
    """Another process opens the runtimes; is stopped; this one takes them back; the other goes on."""
    (rival,) = case.others
    told = rival.ask(case.calls)
    if told is None:
        case.wrong("the other process died")
        return
    case.findings += told["findings"]
    case.join(told["lines"], told["calls"])
    await _find_out(case)
    rival.signal(signal.SIGSTOP)
    await case.take_back()
    await case.work(_STEPS, DISTURBED)
    rival.tell("go on")
    rival.signal(signal.SIGCONT)
    case.findings += (rival.hear() or {"findings": ["the other process died"]})["findings"]


async def fork(case: Case) -> None:
    """The process forks with the store open."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if _is_refused_in_the_child(case) else 1
        finally:
            os._exit(code)
    await case.work(2, DISTURBED)
    case.refused["any"] += 1
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):  # noqa: ASYNC222 - nobody else is on this loop
        case.wrong("the child was not refused, or could not open the store itself")


def _is_refused_in_the_child(case: Case) -> bool:
    store = case.store
    calls: tuple[Callable[[], Any], ...] = (
        store.stats,
        store.verify,
        store.list_runtimes,
        lambda: store.put_blob(b"of the child"),
        lambda: store.load_runtime("one"),
    )
    for call in calls:
        try:
            call()
        except StoreForked:
            continue
        return False
    store.close()
    with LmdbStore.open(case.path) as own:
        return own.verify() == []


@final
class ViewOfAnother:
    """Another process that stays inside a view of the store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._before: Any = None
        self._reader: Any = None

    def __call__(self, _: Any) -> Any:
        if self._reader is None:
            store = self._stack.enter_context(LmdbStore.open(self._path, read_only=True))
            self._reader = self._stack.enter_context(store.reading())
            self._before = self._reader.load_runtime("one")
            return True
        return bool(self._reader.load_runtime("one") == self._before)


async def killed_reader(case: Case) -> None:
    """Of two processes inside a view one is killed: its place is given back, the other one's view stays as it is."""
    killed, living = case.others
    if not killed.ask("look") or not living.ask("look"):
        case.wrong("a reader died")
        return
    await case.work(2, DISTURBED)
    killed.signal(signal.SIGKILL)
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - as above
    await case.work(2, DISTURBED)
    case.leave()
    await case.enter()
    environment = case.store._environment._env  # noqa: SLF001 - LMDB's own account of its readers
    assert environment is not None
    readers = environment.readers().split()
    case.refused["open"] += 1
    if str(killed.pid) in readers:
        case.wrong("the place of a dead reader is kept")
    if str(living.pid) not in readers:
        case.wrong("the place of a living reader is gone")
    if not living.ask("look again"):
        case.wrong("a view is not what it was")
