"""A call that finds the loop idle is flushed at once; whatever else is ready is waited for, and nobody is kept out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from holdstate.runtime import commit_thread, flush
from holdstate.runtime.answers import is_idle
from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.errors import StoreError
from holdstate.runtime.flush import MOST_IN_A_ROW, committer_of
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.outcomes import Accepted
from holdstate.runtime.turn import Turn
from holdstate.stores.memory_store import MemoryStore
from tests.faults import Fault, FaultyStore, Plan


@pytest.fixture(autouse=True)
def unthreaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, commits stay on the loop."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", inf)


async def opened(store: Any, runtime_id: str = "r") -> Driver:
    """A driver, with nothing left to do on the loop."""
    driver = await Driver.open(runtime_id, store)
    await asyncio.sleep(0)
    return driver


def accept(driver: Driver) -> Coroutine[Any, Any, object]:
    return driver.accept_input(PromptInput.new("a"))


def outcome_at_once(call: Coroutine[Any, Any, object]) -> object:
    """What ``call`` returns without a turn of the loop; None where it waits for one."""
    try:
        call.send(None)
    except StopIteration as stopped:
        return stopped.value
    call.close()
    return None


def revision(turn: Turn) -> int:
    return turn.actor.image.runtime.revision


async def test_a_lone_call_is_a_commit_without_a_turn_of_the_loop() -> None:
    """It is committed and answered before its caller would have been suspended."""
    store = MemoryStore()
    driver = await opened(store)
    before = store.stats().commits
    assert isinstance(outcome_at_once(accept(driver)), Accepted)
    assert store.stats().commits == before + 1
    assert len(await driver.active_input_ids()) == 1


async def test_a_lone_call_that_fails_says_so_and_the_next_one_goes_on() -> None:
    """The error is the caller's, nothing is left queued."""
    store = FaultyStore(MemoryStore())
    driver = await opened(store)
    store.arm(Plan(Fault.REFUSED, write=0))
    with pytest.raises(StoreError) as told:
        outcome_at_once(accept(driver))
    assert told.value.__cause__ is not told.value
    assert isinstance(outcome_at_once(accept(driver)), Accepted)


async def test_a_call_waits_for_whoever_is_ready_too() -> None:
    """Nothing is committed while somebody else is about to run; both then share one commit."""
    store = MemoryStore()
    one, two = await opened(store, "one"), await opened(store, "two")
    before = store.stats().commits
    other = asyncio.ensure_future(accept(two))
    assert isinstance(await accept(one), Accepted)
    assert isinstance(await other, Accepted)
    assert store.stats().commits == before + 1


async def test_tasks_that_are_woken_together_share_their_commits() -> None:
    """64 that wait for one event commit once, the one that runs last among them: all others were ready before."""
    store = MemoryStore()
    drivers = [await opened(store, str(number)) for number in range(64)]
    event = asyncio.Event()

    async def woken(driver: Driver) -> None:
        await event.wait()
        await accept(driver)
        await accept(driver)

    tasks = [asyncio.ensure_future(woken(driver)) for driver in drivers]
    await asyncio.sleep(0)
    before = store.stats().commits
    event.set()
    await asyncio.gather(*tasks)
    assert store.stats().commits == before + 2


async def test_what_is_submitted_waits_for_the_turn_to_end() -> None:
    """Whoever does not await its call at once has it in a group with what follows, the lone call after it too."""
    store = MemoryStore()
    driver = await opened(store)
    future = committer_of(store).submit(driver._actor, revision)
    assert not future.done()
    called = committer_of(store).call(driver._actor, revision)
    assert not called.done()
    assert await called == await future


def test_a_loop_that_does_not_tell_what_is_ready_is_never_idle() -> None:
    """Another loop than asyncio's own has no such queue."""
    assert not is_idle(None)
    assert not is_idle(SimpleNamespace())  # type: ignore[arg-type]  # no loop at all
    assert is_idle(SimpleNamespace(_ready=[]))  # type: ignore[arg-type]
    assert not is_idle(SimpleNamespace(_ready=[1]))  # type: ignore[arg-type]


async def test_on_a_loop_that_is_never_idle_every_call_takes_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works as for many callers: in groups."""
    store = MemoryStore()
    driver = await opened(store)
    monkeypatch.setattr(flush, "is_idle", lambda _: False)
    before = store.stats().commits
    assert outcome_at_once(accept(driver)) is None
    assert isinstance(await accept(driver), Accepted)
    assert store.stats().commits == before + 1
    assert len(await driver.active_input_ids()) == 2


async def _timer(seen: Callable[[], None]) -> Callable[[], object]:
    return asyncio.get_running_loop().call_later(0, seen).cancel


async def _socket(seen: Callable[[], None]) -> Callable[[], object]:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.send(b"x")

    def read() -> None:
        loop.remove_reader(ours)
        seen()

    loop.add_reader(ours, read)

    def close() -> None:
        loop.remove_reader(ours)
        ours.close()
        theirs.close()

    return close


@pytest.mark.parametrize("source", [_timer, _socket])
async def test_calls_in_a_row_keep_nobody_out_for_long(source: Any) -> None:
    """After some, one goes through the loop, which looks for timers and input meanwhile."""
    store = MemoryStore()
    driver = await opened(store)
    committer_of(store)._in_a_row = 0
    committer_of(store)._held_seconds = -inf  # however slow this machine is
    seen: list[int] = []
    calls = 0
    close = await source(lambda: seen.append(calls))
    try:
        for number in range(MOST_IN_A_ROW + 1):
            assert seen == []
            calls = number + 1
            await accept(driver)
        assert seen == [MOST_IN_A_ROW + 1]
        committer_of(store)._held_seconds = -inf
        for _ in range(MOST_IN_A_ROW):
            assert isinstance(outcome_at_once(accept(driver)), Accepted)
        assert outcome_at_once(accept(driver)) is None
    finally:
        close()


async def test_calls_whose_commits_take_long_go_through_the_loop_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the time in commits that counts: where none is left, the next call goes through the loop."""
    driver = await opened(MemoryStore())
    committer = driver._committer
    monkeypatch.setattr(flush, "LONGEST_HOLD_SECONDS", 1.0)
    committer._held_seconds = 1.0
    assert outcome_at_once(accept(driver)) is None
    await asyncio.sleep(0)
    held = committer._held_seconds
    assert 0.0 <= held < 1.0
    assert isinstance(outcome_at_once(accept(driver)), Accepted)
    assert committer._held_seconds > held


@pytest.mark.parametrize("threshold", [inf, -1.0])
async def test_a_call_from_a_listener_is_no_flush_within_a_flush(
    monkeypatch: pytest.MonkeyPatch, threshold: float
) -> None:
    """It waits until all of the group are answered, also where the group was written on the thread."""
    store = MemoryStore()
    driver = await opened(store)
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", threshold)
    committer = committer_of(store)
    called: list[asyncio.Future[object]] = []
    early: list[bool] = []

    def listen(_: object) -> None:
        called.append(committer.call(driver._actor, revision))
        early.append(called[-1].done())

    driver._actor.listener = listen
    assert isinstance(await accept(driver), Accepted)
    driver._actor.listener = None
    assert early == [False]
    assert await called[0] == driver._actor.image.runtime.revision
