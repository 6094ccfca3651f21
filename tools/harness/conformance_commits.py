"""The conformance suite: a commit is all or nothing, an older owner commits nothing, a fault changes nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from attrs import evolve

from ...runtime.driver import PersistentRuntimeDriver
from ...runtime.errors import Fenced, StoreError
from ...runtime.outcomes import Run, RunOutput
from ...runtime.store import Claim, Commit, LoadedRuntime, Written
from ...spec.errors import HoldstateError
from ...spec.vocabulary import RuntimeState
from .conformance_base import (
    Capability,
    ConformanceBase,
    Home,
    assert_session_is_that_of_the_receipts,
    assert_sound,
    run,
)
from .faulty_store import DEATHS, Fault, Plan, SimulatedCrash, dying, write_faults
from .hand_commits import opening, touched, two_runtimes
from .workload import RUNTIME, Scribe, content_of, event, opened, outcome_of, progress, prompt, taken, whole

_MANY = 1000
Act = Callable[[PersistentRuntimeDriver, Any], Awaitable[object]]


class CommitsConformance(ConformanceBase):
    """Atomicity, fencing, and faults at every call and inside it."""

    # -- atomicity ------------------------------------------------------------------------------------------------

    def test_group_is_all_or_nothing(self, home: Home) -> None:
        """A group whose last member fails in an unforeseen way leaves nothing of the others (C2, C19)."""
        run(two_runtimes(home.store))
        before = whole(home.store)

        def fail(_loaded: LoadedRuntime | None) -> Commit:
            raise ZeroDivisionError

        group: list[Commit | Claim] = [touched(home.store, "one"), touched(home.store, "two"), Claim("three", fail)]
        with pytest.raises(ZeroDivisionError):
            home.store.commit(group)
        assert whole(home.store) == before, "a part of the group was written"
        assert whole(home.crash()) == before, "a part of the group was written"
        assert_sound(home.store)

    def test_refused_member_of_a_group_fails_alone(self, home: Home) -> None:
        """A fenced member and one that builds on an old revision are refused, their neighbours are written."""
        run(two_runtimes(home.store))
        good, fenced = touched(home.store, "one"), touched(home.store, "two")
        fenced.epoch -= 1
        fenced.runtime = evolve(fenced.runtime, epoch=fenced.epoch)
        before = content_of(home.store, "two")
        results = home.store.commit([fenced, good, touched(home.store, "two", late=1)])
        assert [type(each) for each in results] == [Fenced, Written, StoreError]
        assert content_of(home.store, "two") == before
        written = home.store.load_runtime("one")
        assert written is not None
        assert written.record == good.runtime
        assert_sound(home.store)

    def test_commit_is_atomic_at_every_inner_write(self, home: Home) -> None:
        """Failing any one of the store's own writes leaves the state before the commit, and a retry works (C37)."""
        self.needs(Capability.FAIL_INSIDE, "what a fault inside a commit leaves")
        for name in _ACTS:
            step, struck = 0, True
            while struck:
                struck = self._failed_inside(home, name, step)
                step += 1
            assert step > 1, f"{name} made no write that could fail"

    def _failed_inside(self, home: Home, name: str, step: int) -> bool:
        prepare, act = _ACTS[name]
        where = f"{name}, inner write {step}"

        async def play() -> bool:
            driver = await opened(home.store, where)
            prepared = await prepare(driver)
            before = content_of(home.store, where)
            outcome: object = None
            with self.fail_inside(home.store, step) as fault:
                try:
                    outcome = await act(driver, prepared)
                except (HoldstateError, OSError) as error:
                    outcome = error
            if not fault.struck:
                assert not isinstance(outcome, Exception), outcome
                return False
            left = content_of(home.store, where)
            if isinstance(outcome, Exception) and getattr(outcome, "applied", False) is False:
                assert left == before, f"{where}: a commit that was refused left something behind"
            assert_sound(home.store)
            assert_session_is_that_of_the_receipts(home.store, where)
            await _until_readable(driver)
            await _finished(home, where)
            return True

        return run(play())

    # -- fencing --------------------------------------------------------------------------------------------------

    def test_older_owner_is_fenced(self, home: Home) -> None:
        """Once a runtime was opened anew, no commit of the older owner changes anything (C32)."""

        async def play() -> None:
            old = await opened(home.store)
            await taken(old, event(1), event(2))
            held = await old.begin_run()
            assert held is not None
            new = await opened(home.store, seed="new")
            before = whole(home.store)
            calls: list[Callable[[], Awaitable[object]]] = [lambda: old.complete_run(held, RunOutput(b"[]", b"old"))]
            calls += [lambda: old.accept_input(event(3)), old.stop, old.begin_run]
            for place, call in enumerate(calls):
                with pytest.raises(HoldstateError if place else Fenced):
                    await call()
                assert whole(home.store) == before, "an older owner changed the store"
            assert await Scribe().work_off(new) > 0

        run(play())
        assert_sound(home.store)

    def test_commit_of_an_older_epoch_is_refused_inside_the_store(self, home: Home) -> None:
        """The store itself compares the epoch, whatever the commit says of its revision (C32)."""
        run(two_runtimes(home.store))
        stale = touched(home.store, "one")
        home.store.claim("one", opening("one"))
        before = whole(home.store)
        for revision in range(stale.base_revision, stale.base_revision + 3):
            stale.base_revision = revision
            stale.runtime = evolve(stale.runtime, revision=revision + 1)
            (result,) = home.store.commit([stale])
            assert isinstance(result, Fenced), f"a commit of epoch {stale.epoch} was not fenced: {result!r}"
            assert whole(home.store) == before

    def test_every_opening_raises_the_epoch(self, home: Home) -> None:
        """By one, over reopenings too; a claim that does not is refused."""

        async def epochs() -> list[int]:
            found = []
            for seed in range(3):
                await opened(home.crash(), seed=seed)
                loaded = home.store.load_runtime(RUNTIME)
                assert loaded is not None
                found.append(loaded.record.epoch)
            return found

        assert run(epochs()) == [1, 2, 3]
        before = whole(home.store)

        def same_epoch(loaded: LoadedRuntime | None) -> Commit:
            assert loaded is not None
            return Commit(evolve(loaded.record, revision=loaded.record.revision + 1), 3, loaded.record.revision)

        with pytest.raises(StoreError):
            home.store.claim(RUNTIME, same_epoch)
        assert whole(home.store) == before

    def test_commit_on_an_old_revision_is_refused(self, home: Home) -> None:
        """Two commits on one revision: the second is refused and changes nothing."""
        run(two_runtimes(home.store))
        first, second = touched(home.store, "one"), touched(home.store, "one")
        assert isinstance(home.store.commit([first])[0], Written)
        before = whole(home.store)
        assert isinstance(home.store.commit([second])[0], StoreError)
        assert isinstance(home.store.commit([touched(home.store, "one", runtime_id="none")])[0], HoldstateError)
        assert whole(home.store) == before

    # -- faults at every call -------------------------------------------------------------------------------------

    def test_faults_at_every_call_are_told_and_change_nothing_else(self, home: Home) -> None:
        """Refused, unknown, landed, dead before and after, at each writing call: what was answered is what is stored,
        and sending everything again ends everything once (C34, C35, C36).
        """
        for name in _ACTS:
            writes = run(self._under(home, name, Plan()))
            for plan in write_faults(writes):
                dies = plan.fault in DEATHS and plan.write is not None
                run(self._under(home, name, dying(plan.fault, plan.write or 0) if dies else plan))

    async def _under(self, home: Home, name: str, plan: Plan) -> int:
        prepare, act = _ACTS[name]
        where = f"{name}, {'no fault' if plan.write is None else _told(plan)}"
        seam = home.faulty()
        driver = await opened(seam, where)
        prepared = await prepare(driver)
        before = content_of(home.store, where)
        seam.arm(plan)
        try:
            outcome: object = await act(driver, prepared)
        except (HoldstateError, SimulatedCrash) as error:
            outcome = error
        writes = seam.writes
        assert seam.struck == (plan.write is not None), where
        if plan.write == 0 and plan.fault in {Fault.REFUSED, Fault.UNKNOWN, Fault.DIES_BEFORE}:
            assert content_of(home.store, where) == before, f"{where}: a call that failed left something behind"
        seam.arm(Plan())
        if plan.fault not in DEATHS or plan.write is None:
            assert not isinstance(outcome, Exception) or isinstance(outcome, StoreError), where
            await _until_readable(driver)
        await _finished(home, where)
        return writes


async def _finished(home: Home, where: str) -> None:
    """Whoever opens the store next sends everything again, works it off, and finds all of it ended, once."""
    driver = await opened(home.crash(), where, seed="after")
    assert_session_is_that_of_the_receipts(home.store, where)
    if driver.runtime_state is RuntimeState.RETIRED:
        await driver.recycle_preserving_work()
    await taken(driver, *_GIVEN)
    await Scribe().work_off(driver)
    assert await driver.active_input_ids() == (), where
    assert_sound(home.store)
    assert_session_is_that_of_the_receipts(home.store, where)


def _told(plan: Plan) -> str:
    """A plan in words that make a runtime id."""
    rest = f", {plan.failing_reads} failing reads" if 0 < plan.failing_reads < _MANY else ""
    return f"{plan.fault.value} at writing call {plan.write}{rest}"


async def _until_readable(driver: PersistentRuntimeDriver, limit: int = 10) -> None:
    for _ in range(limit):
        if not isinstance(await outcome_of(driver.active_input_ids()), StoreError):
            return
    raise AssertionError("one fault made the driver unusable for good")


# -- what is done under a fault ----------------------------------------------------------------------------------------

_GIVEN = (event(1, idempotency_key="key"), event(2), progress(3, supersession_key="s"), prompt(4))


async def _nothing(_driver: PersistentRuntimeDriver) -> None:
    """Nothing was there before."""


async def _accepted(driver: PersistentRuntimeDriver) -> None:
    await taken(driver, *_GIVEN[:3])


async def _begun(driver: PersistentRuntimeDriver) -> tuple[Run, RunOutput]:
    """One run has ended, the next one is in hand."""
    await _accepted(driver)
    scribe = Scribe()
    first = await driver.begin_run()
    assert first is not None
    await driver.complete_run(first, await scribe.output(driver, first))
    second = await driver.begin_run()
    assert second is not None
    return second, await scribe.output(driver, second)


_REPLACING = progress(5, supersession_key="s", idempotency_key="other")

_ACTS: dict[str, tuple[Callable[[PersistentRuntimeDriver], Awaitable[Any]], Act]] = {
    "accept": (_nothing, lambda driver, _before: driver.accept_input(_GIVEN[0])),
    "accept that replaces": (_accepted, lambda driver, _before: driver.accept_input(_REPLACING)),
    "begin": (_accepted, lambda driver, _before: driver.begin_run()),
    "complete": (_begun, lambda driver, before: driver.complete_run(*before)),
    "retire": (_accepted, lambda driver, _before: driver.retire()),
}
