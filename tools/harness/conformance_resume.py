"""The conformance suite: the six properties of crash and resume, each at every place where a process can die.

A story is told once to count its writing calls, then once for each of them and each way to die there (before the call
took effect, and after). What is there afterwards is resumed by whoever opens the store next.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import final

from attrs import frozen

from ...runtime.driver import PersistentRuntimeDriver
from ...runtime.errors import Fenced
from ...runtime.ids import InputId
from ...runtime.outcomes import Deduplicated
from ...runtime.records import RunBoundaryReceipt
from ...runtime.store import ResultRef, RuntimeStore
from ...spec.errors import HoldstateError
from ...spec.vocabulary import InputState
from .conformance_base import (
    Capability,
    ConformanceBase,
    Home,
    assert_session_is_that_of_the_receipts,
    assert_sound,
    run,
)
from .faulty_store import DEATHS, Fault, FaultyStore, SimulatedCrash, dying
from .workload import (
    Content,
    Scribe,
    content_of,
    essence,
    event,
    opened,
    operation,
    outcome_of,
    prompt,
    session_of,
    taken,
)

GIVEN = (
    event(1, idempotency_key="one"),
    event(2),
    event(3),
    prompt(4, idempotency_key="four"),
    event(5, supersession_key="s"),
    operation(6),
)


@final
@frozen
class Death:
    """One crash, of a runtime of its own: where, and what it left."""

    where: str
    runtime_id: str
    left: Content | None
    scribe: Scribe
    """Who worked before the crash; it may go on."""


class ResumeConformance(ConformanceBase):
    """Prefix continuation, effect exactly once, fork determinism, checkpoint validity, consume once, recovery
    determinism.
    """

    def test_prefix_continuation(self, home: Home) -> None:
        """What was committed before a crash is a prefix of what is there after resuming, which is what an uninterrupted
        session comes to: nothing is lost, repeated or reordered (C1, C13, C19).
        """
        run(_tell(home.store, "uninterrupted", Scribe()))
        run(_resume(home.store, "uninterrupted", Scribe()))
        uninterrupted = session_of(home.store.load_session_snapshot("uninterrupted"))
        for death in self._deaths(home):
            before = [] if death.left is None else session_of(death.left.snapshot)
            run(_resume(home.store, death.runtime_id, Scribe()))
            session = session_of(home.store.load_session_snapshot(death.runtime_id))
            assert session[: len(before)] == before, f"{death.where}: what was committed is not how it goes on"
            assert session == uninterrupted, f"{death.where}: another session than without a crash"
        assert_sound(home.store)

    def test_effect_exactly_once(self, home: Home) -> None:
        """However often a run was executed, each input is consumed by exactly one boundary, its result is that of that
        run, and sending it again gives that outcome and no second run (C5, C8, C20).
        """
        for death in self._deaths(home):
            run(_resume(home.store, death.runtime_id, death.scribe))
            content = _content(home, death)
            _assert_each_consumed_once(content, death.where)
            assert_session_is_that_of_the_receipts(home.store, death.runtime_id)
            for ref, result in content.results:
                given = [str(each.input_id) for each in content.inputs if ResultRef.of(each) == ref]
                assert session_of(result) == given, f"{death.where}: a result is that of another run"
            again = run(_sent_again(home.store, death.runtime_id))
            assert again == [True] * len(GIVEN), f"{death.where}: a retry was not answered as done"
            assert run(_resume(home.store, death.runtime_id, Scribe(), "third")) == 0, f"{death.where}: a second run"
        assert_sound(home.store)

    def test_fork_determinism(self, homes: Callable[[], Home]) -> None:
        """Two copies of what a crash left, resumed alike, come to the same end, and neither changes the other (C31).
        A store that cannot be copied is told the same story twice.
        """
        home = homes()
        deaths = list(self._deaths(home))
        fork = homes() if Capability.DURABLE not in self.capabilities else self._copied(home)
        try:
            if Capability.DURABLE not in self.capabilities:
                assert list(self._deaths(fork)) == deaths, "the same crashes left something else the second time"
            for death in deaths:
                run(_resume(fork.store, death.runtime_id, Scribe()))
                untouched = content_of(home.store, death.runtime_id)
                assert untouched == death.left, f"{death.where}: resuming one copy changed the other"
            for death in deaths:
                run(_resume(home.store, death.runtime_id, Scribe()))
                ends = [content_of(each.store, death.runtime_id) for each in (home, fork)]
                assert ends[0] == ends[1], f"{death.where}: two copies came to different ends"
        finally:
            fork.store.close()

    def _copied(self, home: Home) -> Home:
        """A copy of the files of a closed store, opened."""
        home.store.close()
        copy = home.location.with_name(f"{home.location.name}-fork")
        (shutil.copytree if home.location.is_dir() else shutil.copyfile)(home.location, copy)
        home.store = self.open_store(home.location)
        return Home(self, copy)

    def test_checkpoint_validity(self, home: Home) -> None:
        """Whenever a process dies, snapshot, receipts, records and results in the store are those of one boundary: its
        digest fits, its contributors are pending or consumed, and nobody else's are (C19, C21).
        """
        for death in self._deaths(home):
            if death.left is not None:
                _assert_checkpoint_is_whole(death.left, death.where)
                assert_session_is_that_of_the_receipts(home.store, death.runtime_id)
            assert_sound(home.store)

    def test_consume_once(self, home: Home) -> None:
        """Two resume at once what a crash left: each input is consumed once, by one of them, and the other is fenced
        (C5, C32).
        """
        for death in self._deaths(home):
            outcomes = run(_resume_twice_at_once(home.store, death.runtime_id))
            fenced = [each for each in outcomes if isinstance(each, Exception)]
            assert len(fenced) == 1, f"{death.where}: {outcomes}"
            assert isinstance(fenced[0], Fenced), f"{death.where}: {fenced[0]!r}"
            _assert_each_consumed_once(_content(home, death), death.where)
            assert_session_is_that_of_the_receipts(home.store, death.runtime_id)
        assert_sound(home.store)

    def test_recovery_determinism(self, home: Home) -> None:
        """Opening twice in a row, or dying inside an opening and opening again, recovers what one opening recovers
        (C23, C31).
        """
        once: dict[str, object] = {}
        for death in self._deaths(home):
            run(_open_once(home.store, death.runtime_id))
            once[death.where] = essence(content_of(home.store, death.runtime_id))
        for fault in DEATHS:
            for death in self._deaths(home, f"{fault.value} again, "):
                run(_dies_opening(home, death.runtime_id, fault))
                home.crash()
                for seed in range(2):
                    run(_open_once(home.store, death.runtime_id, seed))
                again = essence(content_of(home.store, death.runtime_id))
                assert again == once[death.where], (
                    f"{death.where}: {fault.value} while opening changed what is recovered"
                )
        assert_sound(home.store)

    def _deaths(self, home: Home, tag: str = "") -> Iterator[Death]:
        """The story, with a crash at each of its writing calls; each time it is that of another runtime."""
        seam = home.faulty()
        run(_tell(seam, f"{tag}alive", Scribe()))
        for number in range(seam.writes):
            for fault in DEATHS:
                where, scribe = f"{fault.value} writing call {number}", Scribe()
                run(_dies_telling(home.faulty(dying(fault, number)), f"{tag}{where}", scribe))
                yield Death(where, f"{tag}{where}", content_of(home.crash(), f"{tag}{where}"), scribe)


def _content(home: Home, death: Death) -> Content:
    content = content_of(home.store, death.runtime_id)
    assert content is not None, f"{death.where}: the runtime is gone"
    return content


async def _tell(store: RuntimeStore, runtime_id: str, scribe: Scribe) -> None:
    """Inputs come, one run ends, more inputs come, and another run is given a checkpoint before it ends."""
    driver = await opened(store, runtime_id)
    await asyncio.gather(*(taken(driver, each) for each in GIVEN[:3]))
    first = await driver.begin_run()
    assert first is not None
    await driver.complete_run(first, await scribe.output(driver, first))
    await taken(driver, *GIVEN[3:])
    second = await driver.begin_run()
    assert second is not None
    await driver.checkpoint(second, await scribe.output(driver, second))
    await driver.complete_run()


async def _dies_telling(seam: FaultyStore, runtime_id: str, scribe: Scribe) -> None:
    with suppress(HoldstateError, SimulatedCrash):
        await _tell(seam, runtime_id, scribe)
    assert seam.struck == 1, "the story was told otherwise this time"


async def _resume(store: RuntimeStore, runtime_id: str, scribe: Scribe, seed: object = "resumed") -> int:
    """Whoever comes next: sends everything again, and works off what is there. How many runs that took."""
    driver = await opened(store, runtime_id, seed=seed)
    await taken(driver, *GIVEN)
    runs = await scribe.work_off(driver)
    assert await driver.active_input_ids() == ()
    return runs


async def _open_once(store: RuntimeStore, runtime_id: str, seed: object = "resumed") -> None:
    driver = await opened(store, runtime_id, seed=seed)
    driver.release()


async def _dies_opening(home: Home, runtime_id: str, fault: Fault) -> None:
    seam = home.faulty(dying(fault, 0))
    with suppress(HoldstateError, SimulatedCrash):
        await opened(seam, runtime_id, seed="dies")
    assert seam.struck == 1, "opening wrote nothing"


async def _sent_again(store: RuntimeStore, runtime_id: str) -> list[bool]:
    driver = await opened(store, runtime_id, seed="again")
    outcomes = [await driver.accept_input(each) for each in GIVEN]
    return [isinstance(each, Deduplicated) and each.existing_state is InputState.CONSUMED for each in outcomes]


async def _resume_twice_at_once(store: RuntimeStore, runtime_id: str) -> list[object]:
    """Two owners, their calls interleaved."""

    async def resumed(seed: str) -> object:
        driver = await opened(store, runtime_id, seed=seed)
        return await outcome_of(_work(driver))

    return list(await asyncio.gather(resumed("first"), resumed("second")))


async def _work(driver: PersistentRuntimeDriver) -> int:
    await taken(driver, *GIVEN)
    return await Scribe().work_off(driver)


def _assert_checkpoint_is_whole(content: Content, where: str) -> None:
    boundaries = content.consumed_by()
    for record in content.inputs:
        listed = boundaries.get(record.input_id, [])
        committed = record.last_boundary_sequence is not None
        assert len(listed) == committed, f"{where}: {record.input_id} is {record.state}, with {len(listed)} boundaries"
    last = _last(content)
    if last is not None:
        digest = None if content.snapshot is None else sha256(content.snapshot).hexdigest()
        digests = {each.conversation_digest for each in content.receipts}
        assert digest in digests, f"{where}: the session is not that of any boundary"
        assert last.message_count == len(session_of(content.snapshot)), f"{where}: the session is not that of the last"
    assert all(result is not None for _ref, result in content.results), f"{where}: a result is missing"


def _last(content: Content) -> RunBoundaryReceipt | None:
    return max(content.receipts, key=lambda each: each.message_count, default=None)


def _assert_each_consumed_once(content: Content, where: str) -> None:
    boundaries: dict[InputId, list[RunBoundaryReceipt]] = content.consumed_by()
    for record in content.inputs:
        assert record.state is InputState.CONSUMED, f"{where}: {record.input_id} is {record.state}"
        assert len(boundaries.get(record.input_id, [])) == (record.attempt_count > 0), f"{where}: {record.input_id}"
