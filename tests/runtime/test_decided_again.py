"""What the store refuses is decided again, once, by what the store says then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest

from holdstate.runtime import commit_thread
from holdstate.runtime.blocks import ImageBlock
from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.errors import StoreError
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.outcomes import Accepted, Rejected
from holdstate.runtime.rejections import RejectionCode
from holdstate.runtime.store import Claim, Commit, WriteResult
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore


class Swept:
    """A store whose blobs somebody else sweeps between the encoding of a group and its write."""

    def __init__(self, store: LmdbStore | MemoryStore) -> None:
        self.store = store
        self.sweeps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        write = self.store.prepare(group)
        if self.sweeps:
            self.sweeps -= 1
            self.store.sweep_blobs()
        return write


@pytest.fixture(params=["lmdb", "memory"])
def swept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Swept]:
    if request.param == "memory":
        yield Swept(MemoryStore())
        return
    with LmdbStore.open(tmp_path / "store") as store:
        yield Swept(store)


@pytest.fixture(params=["on the loop", "on the thread"], autouse=True)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of commits."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", inf if request.param == "on the loop" else -1.0)


def with_image(blob: str) -> PromptInput:
    return PromptInput.new("look", (ImageBlock("image/png", blob=blob),))


async def test_a_blob_that_is_swept_before_the_write_rejects_its_input_alone(swept: Swept) -> None:
    """C4, C18: who shares the commit is admitted, in order, and nobody is told that the store failed."""
    driver, other = [await Driver.open(name, swept) for name in ("r", "other")]
    image = with_image(swept.store.put_blob(b"image"))
    first, last, beside = (PromptInput.new(text) for text in ("first", "last", "beside"))
    swept.sweeps = 1
    calls = [driver.accept_input(each) for each in (first, image, last)]
    *outcomes, apart = await asyncio.gather(*calls, other.accept_input(beside))
    assert [type(outcome) for outcome in outcomes] == [Accepted, Rejected, Accepted]
    assert isinstance(outcomes[1], Rejected)
    assert outcomes[1].code is RejectionCode.BLOB_MISSING
    assert isinstance(apart, Accepted)
    assert await driver.active_input_ids() == (first.header.id, last.header.id)
    assert swept.store.verify() == []


async def test_alone_it_is_rejected_too(swept: Swept) -> None:
    """The answer does not depend on company."""
    driver = await Driver.open("r", swept)
    swept.sweeps = 1
    outcome = await driver.accept_input(with_image(swept.store.put_blob(b"image")))
    assert isinstance(outcome, Rejected)
    assert outcome.code is RejectionCode.BLOB_MISSING


class Refusing(Swept):
    """A store that refuses every commit while it is told to, and calls somebody each time."""

    asked = 0

    def refused(self) -> None:
        """To be replaced."""

    def prepare(self, group: Sequence[Commit | Claim]) -> Callable[[], list[WriteResult]]:
        if not self.sweeps:
            return super().prepare(group)
        self.asked += 1
        self.refused()
        return lambda: [StoreError("no") for _ in group]


async def test_a_store_that_always_refuses_is_asked_twice() -> None:
    """Then the callers are told, memory is as before, and others are not held up."""
    store = Refusing(MemoryStore())
    driver = await Driver.open("r", store)
    store.sweeps = 1
    calls = [driver.accept_input(PromptInput.new(text)) for text in "ab"]
    told = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(each) for each in told] == ["no (nothing was applied)"] * 2
    assert store.asked == 2
    store.sweeps = 0
    assert isinstance(await driver.accept_input(PromptInput.new("c")), Accepted)
    assert len(await driver.active_input_ids()) == 1


async def test_a_call_is_decided_twice_however_many_come_after_it() -> None:
    """New calls that join it at each try give it no third one."""
    store = Refusing(MemoryStore())
    driver = await Driver.open("r", store)
    later: list[asyncio.Future[object]] = []
    store.refused = lambda: later.append(asyncio.ensure_future(driver.accept_input(PromptInput.new("later"))))  # type: ignore[method-assign]
    store.sweeps = 1
    with pytest.raises(StoreError):
        await driver.accept_input(PromptInput.new("a"))
    assert store.asked == 2
    store.sweeps = 0
    assert [type(each) for each in await asyncio.gather(*later)] == [Accepted] * 2
