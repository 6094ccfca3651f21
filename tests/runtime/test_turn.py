"""What a call sees of those before it in its group, and what it looks up in the store."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from holdstate.runtime.blocks import ImageBlock
from holdstate.runtime.driver import PersistentRuntimeDriver as Driver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import RunIdReused, StoreCorruption
from holdstate.runtime.ids import RunId
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.outcomes import Accepted, BoundaryApplied, Rejected, RunOutput
from holdstate.runtime.records import RunBoundaryReceipt
from holdstate.runtime.rejections import RejectionCode
from holdstate.runtime.settings import Retention
from holdstate.spec.vocabulary import Durability, RunBoundary
from holdstate.stores.memory_store import MemoryStore

PIXEL = b"pixel"
INLINE = ImageBlock("image/png", data=PIXEL)
RUN = RunId(UUID(int=1, version=4))


async def opened(store: MemoryStore, settings: RuntimeSettings | None = None) -> Driver:
    return await Driver.open("r", store, settings=settings or RuntimeSettings(debug=True))


async def test_a_read_sees_what_the_calls_before_it_in_its_group_wrote() -> None:
    """It waits for their commit, so nothing it tells can be taken back (C18)."""
    store = MemoryStore()
    driver = await opened(store, RuntimeSettings(retention=Retention(keep_payloads=True)))
    given = PromptInput.new("a", (INLINE,), idempotency_key="k")
    receipt = RunBoundaryReceipt(RUN, RunBoundary.RUN_START, (given.header.id,))
    event = BoundaryApplied(RUN, receipt, None, b"result")
    answers: list[Any] = await asyncio.gather(
        driver.accept_input(given),
        driver.begin_run(RUN),
        driver.on_run_event(event),
        driver.on_run_event(event),
        driver.boundary_receipt(RUN, 0),
        driver.input_result(given.header.id),
        driver.complete_run(RUN, RunOutput(b"snapshot")),
        driver.session_snapshot(),
        driver.find_by_key("k"),
        driver.persisted_input(given.header.id),
    )
    run, stored, result, snapshot, record, persisted = (answers[each] for each in (1, 4, 5, 7, 8, 9))
    assert run.inputs == (given,)
    assert (stored, result, snapshot) == (receipt, b"result", b"snapshot")
    assert record.input_id == given.header.id
    assert persisted == given
    assert store.verify() == []


async def test_a_run_id_that_was_used_earlier_in_the_group_is_refused() -> None:
    """Its receipt is decided, though not stored yet."""
    driver = await opened(MemoryStore())
    answers = await asyncio.gather(
        *(driver.accept_input(PromptInput.new(text)) for text in "ab"),
        driver.begin_run(RUN),
        driver.complete_run(RUN),
        driver.begin_run(RUN),
        return_exceptions=True,
    )
    assert isinstance(answers[-1], RunIdReused)


async def test_images_come_back_inline_from_the_group_and_from_the_store() -> None:
    """The executor gets the input as it was given, whichever call admitted it, and whether it is durable or not."""
    driver = await opened(MemoryStore())
    light = PromptInput.new("a", (INLINE,), durability=Durability.EPHEMERAL)
    for given in (PromptInput.new("a", (INLINE,)), light):
        await driver.accept_input(given)
        run = await driver.begin_run()
        assert run is not None
        assert run.inputs == (given,)
        await driver.complete_run(run)


async def test_a_blob_reference_needs_a_blob() -> None:
    """Rejected where there is none, in the store and in what the group decided; nothing is changed (C4, C41)."""
    store = MemoryStore()
    driver = await opened(store)
    blob_id = store.put_blob(b"kept")
    for durability in (Durability.DURABLE, Durability.EPHEMERAL):
        found = await driver.accept_input(
            PromptInput.new("a", (ImageBlock("image/png", blob=blob_id),), durability=durability)
        )
        assert isinstance(found, Accepted)
        missing = await driver.accept_input(
            PromptInput.new("a", (ImageBlock("image/png", blob=f"sha256:{'0' * 64}"),), durability=durability)
        )
        assert isinstance(missing, Rejected)
        assert missing.code is RejectionCode.BLOB_MISSING
    assert len(await driver.active_input_ids()) == 2


async def test_a_blob_of_the_same_group_counts_as_there() -> None:
    """The first accept brings the image, the second refers to it; one commit holds both."""
    store = MemoryStore()
    driver = await opened(store)
    first = await driver.accept_input(PromptInput.new("a", (INLINE,)))
    assert isinstance(first, Accepted)
    (blob_id,) = first.record.admission.blobs
    other = await Driver.open("other", MemoryStore())
    reference = PromptInput.new("b", (ImageBlock("image/png", blob=blob_id),))
    answers = await asyncio.gather(other.accept_input(PromptInput.new("a", (INLINE,))), other.accept_input(reference))
    assert [type(answer) for answer in answers] == [Accepted, Accepted]


async def test_an_active_input_without_its_payload_or_blob_is_corruption() -> None:
    """C38: told with the place, and no run begins."""
    store = MemoryStore()
    driver = await opened(store)
    given = PromptInput.new("a", (INLINE,))
    await driver.accept_input(given)
    blobs = dict(store._tables.blobs)
    store._tables.blobs.clear()
    with pytest.raises(StoreCorruption, match="blob sha256:"):
        await driver.begin_run()
    store._tables.blobs.update(blobs)
    store._tables.rows["r"].bodies.clear()
    for call in (driver.begin_run, driver.dequeue_next):
        with pytest.raises(StoreCorruption, match="payload is not in the store"):
            await call()
    assert len(await driver.active_input_ids()) == 1
