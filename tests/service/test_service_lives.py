"""The service as a whole: any life of it keeps its promises, whatever arrives, fails, hangs and crashes.

Hypothesis draws what callers do to three runtimes, of which two may be open and two may run at once, what each input
makes the executor do, which call of the store fails and how, when the process dies, and in which order the callbacks of
the event loop run. After every step all that can be seen is held against ``Promises`` and against the named invariants.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
)

from holdstate.runtime.errors import NotReady, RunInProgress, StoreError, WaitTimedOut
from holdstate.runtime.outcomes import Accepted, AcceptOutcome, Cancelled, Deduplicated, Ended, EndReport
from holdstate.runtime.status import ServiceState
from holdstate.spec.errors import TransitionRefused
from holdstate.spec.vocabulary import AbandonReason, RuntimeState

from ..faults import Fault, FaultyStore, Plan
from ..stateful.campaign import run_until_tried, scaled
from ..stateful.harness import stored_view
from .kit import event, flow_step, progress, prompt, steer
from .lives import FOR_EVER, RUNTIMES, World
from .restless import ENDINGS, ON_THE_WAY

REFUSALS: Final = (TransitionRefused, NotReady, RunInProgress)
KINDS: Final[dict[str, Callable[..., Any]]] = {
    "prompt": prompt,
    "event": event,
    "flow step": partial(flow_step, supersession_key="flow"),
    "steer": steer,
    "progress": partial(progress, supersession_key="news"),
}
ENDED_BY: Final = {
    "retire": AbandonReason.RETIRED,
    "reset": AbandonReason.RESET,
    "stop": AbandonReason.STOPPED,
    "destroy": AbandonReason.DESTROYED,
}
CALLS_OFF: Final = {"stop": "stopped", "destroy": "destroyed"}
ENDS_IN: Final = {"retire": RuntimeState.RETIRED, "stop": RuntimeState.STOPPED, "destroy": RuntimeState.DESTROYED}

numbers = st.integers(0, RUNTIMES - 1)
endings = st.sampled_from([*ENDINGS, "ok", "ok", "raise"])
scripts = st.builds(
    lambda often, way, end: " ".join([str(often), *way, end]),
    st.sampled_from([1, 1, 2, 9]),
    st.lists(st.sampled_from(ON_THE_WAY), max_size=3),
    endings,
)
faults = st.sampled_from([Fault.REFUSED, Fault.UNKNOWN, Fault.LANDED])
commands = st.sampled_from(["recycle", "recover", "reset", "retire", "recycle", "reset", "stop", "destroy"])
rarely = st.sampled_from([False, False, True])


class Life(World):
    """What happens to the services, and what each call must answer."""

    # -- inputs ----------------------------------------------------------------------------------------------------

    @rule(number=numbers, kind=st.sampled_from(sorted(KINDS)), script=scripts, key=st.sampled_from([None, None, "k"]))
    def submit(self, number: int, kind: str, script: str, key: str | None) -> None:
        self.perform(self._submit(number, kind, script, key))

    @rule(
        number=numbers,
        way=st.lists(st.sampled_from(ON_THE_WAY), min_size=1, max_size=4),
        end=endings,
        kind=st.sampled_from(["steer", "progress"]),
        seconds=st.sampled_from([0.0, 0.3, 0.6]),
    )
    def steer_a_run(self, number: int, way: list[str], end: str, kind: str, seconds: float) -> None:
        """Something arrives for a run that is on its way."""
        self.submit(number, "prompt", " ".join(["1", "wait", *way, end]), None)
        self.time_passes(seconds)
        self.submit(number, kind, "1 ok", None)
        self.time_passes(0.3)

    @rule(number=numbers, kind=st.sampled_from(sorted(KINDS)), given=st.lists(scripts, min_size=2, max_size=4))
    def submit_together(self, number: int, kind: str, given: list[str]) -> None:
        async def together() -> None:
            await asyncio.gather(*(self._submit(number, kind, script, None) for script in given))

        self.perform(together())

    async def _submit(self, number: int, kind: str, script: str, key: str | None) -> None:
        name, given = self.name(number), KINDS[kind](script, idempotency_key=key)
        with self._told(), suppress(*REFUSALS):
            handle = await self.service.submit(name, given)
            self._wait(name, lambda: handle.input_id, handle.outcome())
            answer: AcceptOutcome = await handle.accepted
            if isinstance(answer, Accepted):
                self.promises.given[name, answer.input_id] = given
                self.taken[f"accepted {kind}"] += 1
            else:
                assert isinstance(answer, Deduplicated), answer
                self._wait(name, lambda: handle.input_id, self.service.wait(name, answer.existing_id))
                self.taken["deduplicated"] += 1

    @precondition(lambda self: self.promises.given)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Twice: the second time changes nothing (C26)."""
        name, input_id = data.draw(st.sampled_from(list(self.promises.given)))

        async def cancel() -> None:
            self.promises.cancelled.add((name, input_id))
            with self._told():
                answer = await self.service.cancel(name, input_id)
                if not isinstance(answer, Cancelled):
                    return
                record = self.promises.store.load_input(name, input_id)
                assert record is not None
                assert record.terminal_outcome is not None
                again = await self.service.cancel(name, input_id)
                assert again == Ended(input_id, record.terminal_outcome)
                assert self.promises.store.load_input(name, input_id) == record
                self.taken["cancelled"] += 1

        self.perform(cancel())

    @precondition(lambda self: self.promises.given)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.2, 2.0]))
    def wait_for_so_long(self, data: st.DataObject, seconds: float) -> None:
        """Patience that runs out cancels nothing, and who leaves does not either."""
        name, input_id = data.draw(st.sampled_from(list(self.promises.given)))

        async def wait() -> None:
            with self._told_later():
                async with asyncio.timeout(seconds):
                    self.promises.outcome(name, input_id, await self.service.wait(name, input_id))

        self.perform(wait())

    @contextmanager
    def _told_later(self) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, WaitTimedOut):
            self.taken["ran out of patience"] += 1

    # -- runs and time -----------------------------------------------------------------------------------------------

    @rule(number=numbers)
    def interrupt(self, number: int) -> None:
        async def interrupt() -> None:
            name = self.name(number)
            with self._told():
                entry = self.service._pool.get(name)
                run = None if entry is None or entry.worker is None else entry.worker.active
                if run is not None:
                    self.promises.interrupted.add(run.run_id)
                if await self.service.interrupt(name):
                    self.taken["interrupted"] += 1

        self.perform(interrupt())

    @rule(seconds=st.sampled_from([0.0, 0.3, 0.7, 1.1, 6.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.perform(asyncio.sleep(seconds))

    @rule(turns=st.integers(1, 30))
    def a_few_turns(self, turns: int) -> None:
        async def turn() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.perform(turn())

    @rule(number=numbers)
    def wake(self, number: int) -> None:
        async def wake() -> None:
            with self._told():
                await self.service.wake(self.name(number))

        self.perform(wake())

    # -- lifecycle -------------------------------------------------------------------------------------------------

    @rule(number=numbers, command=commands, fault=st.none() | faults, failing_reads=st.integers(0, 2), really=rarely)
    def lifecycle(
        self,
        number: int,
        command: str,
        fault: Fault | None,
        failing_reads: int,
        really: bool,  # noqa: FBT001 - drawn
    ) -> None:
        """One that fails leaves the state before it or the one after it, succeeds then, and is done once (C27)."""
        if not really:
            return
        if fault is not None:
            self._arm(Plan(fault, write=0, failing_reads=failing_reads))
        self.perform(self._until_done(self.name(number), command))
        self._move_on(number)

    @rule(number=numbers, chosen=st.lists(commands, min_size=2, max_size=4), really=rarely)
    def lifecycle_together(self, number: int, chosen: list[str], really: bool) -> None:  # noqa: FBT001 - drawn
        """They serialise: each finds what another one left, and none a mixture (C29)."""
        if not really:
            return
        name = self.name(number)

        async def together() -> None:
            await asyncio.gather(*(self._until_done(name, command, repeat=False) for command in chosen))

        self.perform(together())
        self._move_on(number)

    async def _until_done(self, name: str, command: str, *, repeat: bool = True) -> None:
        report = None
        try:
            while report is None:
                was = self._state(name)
                report = await self._call(name, command)
                if report is None and repeat and self.store.plan.fault is Fault.REFUSED:
                    self.taken["lifecycle left as before"] += 1
                    assert self._state(name) is was or ENDS_IN.get(command) is not self._state(name), "C27"
        except REFUSALS:
            self.taken[f"{command} refused"] += 1
            return
        self.taken[command] += 1
        if repeat and command in ENDS_IN:
            before = self.promises.store.load_runtime(name)
            assert before is not None
            assert before.record.state is ENDS_IN[command]
            report = await self._call(name, command)
            while report is None:
                report = await self._call(name, command)
            after = self.promises.store.load_runtime(name)
            assert after is not None
            if before.record.revision == after.record.revision and isinstance(report, EndReport):
                assert report == EndReport(0)
            # Meanwhile a retired runtime may have gone on with what it had.
            drains = after.record.state is RuntimeState.RUNNING and after.record.pre_run_state is before.record.state
            assert after.record.state is before.record.state or drains

    async def _call(self, name: str, command: str) -> Any:
        """What the command reports; None where the store failed."""
        ended = self.promises.ended_by.get(ENDED_BY.get(command), Counter())
        ended[name] += 1
        if command in CALLS_OFF:
            self._expect_to_be_called_off(CALLS_OFF[command], name)
        if command == "recover":
            self.promises.charge_in_flight()
        report = None
        try:
            with self._told():
                report = await getattr(self.service, command)(name)
        except REFUSALS:
            ended[name] -= 1  # it changed nothing (C28)
            raise
        return report

    def _state(self, name: str) -> RuntimeState | None:
        loaded = self.promises.store.load_runtime(name)
        return None if loaded is None else loaded.record.state

    def _move_on(self, number: int) -> None:
        """A runtime that has ended gives its place to another one."""
        loaded = self.promises.store.load_runtime(self.name(number))
        if loaded is not None and loaded.record.is_terminal:
            self.generations[number] += 1

    @rule(number=numbers)
    def come_too_late(self, number: int) -> None:
        """What comes for a runtime that has ended is refused, and changes nothing."""
        if not self.generations[number]:
            return
        name = f"r{number}.{self.generations[number] - 1}"

        async def come() -> None:
            before = stored_view(self.promises.store, name)
            with self._told():
                try:
                    handle = await self.service.submit(name, prompt("1 ok"))
                    answer = await handle.accepted
                except NotReady:
                    self.taken["too late"] += 1
                else:
                    raise AssertionError(answer)
            after = stored_view(self.promises.store, name)
            assert (after.runtime.state, after.runtime.counts) == (before.runtime.state, before.runtime.counts)

        self.perform(come())

    # -- failures --------------------------------------------------------------------------------------------------

    def _arm(self, plan: Plan) -> None:
        self.store.arm(plan)
        self.is_whole = False

    @rule(fault=faults, write=st.integers(0, 4), failing_reads=st.integers(0, 2))
    def a_write_fails(self, fault: Fault, write: int, failing_reads: int) -> None:
        self._arm(Plan(fault, write=write, failing_reads=failing_reads))

    @rule(fault=faults, write=st.integers(0, 6), number=numbers, script=scripts, really=rarely)
    def die_at_a_write(
        self,
        fault: Fault,
        write: int,
        number: int,
        script: str,
        really: bool,  # noqa: FBT001 - drawn
    ) -> None:
        """Before it takes effect or after; nothing that the process does then reaches the store."""
        if not really:
            return
        self._arm(Plan(fault, write=write, failing_reads=FOR_EVER, failing_writes=FOR_EVER))
        self.submit(number, "prompt", script, None)
        self.time_passes(0.7)
        self.taken[f"died at a write, {fault.value}"] += self.store.struck
        self.crash()

    @rule(really=rarely)
    def crash_now(self, really: bool) -> None:  # noqa: FBT001 - drawn
        if really:
            self.crash()

    def crash(self) -> None:
        """The process is gone: its store takes nothing from it any more, and another service takes over."""

        async def crash() -> None:
            gone, self.executor.is_alive = self.service, False
            self.store.arm(Plan(read=0, write=0, failing_reads=FOR_EVER, failing_writes=FOR_EVER))
            for call in (lambda: self.store.put_blob(b""), lambda: self.store.get_blob("")):
                with suppress(StoreError):
                    call()
            self.promises.charge_in_flight()
            await self._start()
            await gone.close(0.0)

        self.perform(crash())
        self.taken["crashed"] += 1

    @rule(patience=st.sampled_from([0.0, 3.0, 30.0]), really=rarely)
    def close_and_open_again(self, patience: float, really: bool) -> None:  # noqa: FBT001 - drawn
        if not really:
            return

        async def again() -> None:
            self._expect_to_be_called_off("the service is closing")
            executor = self.executor
            await self.service.close(patience)
            executor.is_alive = False
            self.promises.charge_in_flight()  # of a run whose end could not be stored
            await self._start()

        self.perform(again())
        self.taken["closed"] += 1

    @rule()
    def the_counters_cannot_be_read(self) -> None:
        """Unknown is told apart from degraded, and is over with the next reading (C47)."""

        async def look() -> None:
            gauge = self.service._observed.gauge
            before = self.service.status().state
            with patch.object(FaultyStore, "stats", side_effect=StoreError("injected")):
                gauge.read_now()
            assert self.service.status().state is ServiceState.UNKNOWN
            gauge.read_now()
            assert self.service.status().state is before

        self.perform(look())

    # -- events ----------------------------------------------------------------------------------------------------

    @rule(most=st.integers(1, 10))
    def read_some_events(self, most: int) -> None:
        """A slow reader gets what everybody gets, but for gaps of exactly what it missed (C45)."""
        self.perform(self._read_events(most))


TRIED: Final = (
    *(f"accepted {kind}" for kind in KINDS),
    *(*ON_THE_WAY, *ENDINGS, "entered", "steered", "ignored its cancellation", "interrupted", "cancelled"),
    *("deduplicated", "ran out of patience", "gap", "too late", "sleeps over what wakes nobody"),
    *("retire", "recycle", "recover", "reset", "stop", "destroy"),
    *("reset refused", "recycle refused", "recover refused"),
    *(f"died at a write, {fault.value}" for fault in (Fault.REFUSED, Fault.UNKNOWN, Fault.LANDED)),
    *("crashed", "closed", "told of a failure", "in doubt", "lifecycle left as before"),
    *("status ok", "status degraded", "status while it runs"),
    *("Completed", "Abandoned", "Superseded", "WaitFailed", "followed"),
)
"""What has to have happened at least once."""


def test_any_life_of_a_service_keeps_its_promises(caplog: pytest.LogCaptureFixture) -> None:
    """C1, C5, C14, C16, C18 to C29 and C45 to C47, over three runtimes with room for two."""
    caplog.set_level(logging.CRITICAL)
    run_until_tried(Life, TRIED, scaled(examples=150, steps=50))
