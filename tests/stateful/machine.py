"""Every command of the driver in any order, over a store that fails as planned, beside the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdstate.runtime.errors import Fenced, NotReady
from holdstate.runtime.outcomes import Rejected
from tests.faults import Fault, Plan

from .harness import real_input, stored_view
from .model import Given, Refused
from .operations import GROUPED, INTENTS, KINDS, WORKING, Operations
from .world import FOREVER

TEN_YEARS: Final = 10 * 365.25 * 86400.0
FARTHEST: Final = 5 * TEN_YEARS


async def vanish(call: Callable[[], Coroutine[Any, Any, object]], turns: int) -> bool:
    """Make ``call`` and cancel its caller after some turns of the loop; whether it was still there to be cancelled."""
    task = asyncio.get_running_loop().create_task(call())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    for _ in range(5):
        await asyncio.sleep(0)
    return task.cancelled()


class DriverMachine(Operations):
    """Subclasses give ``new_store``."""

    # -- inputs -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.driver is None)
    @rule()
    def open_after_the_crash(self) -> None:
        self.store.arm(Plan())
        self.taken["crash by a fault"] += 1
        self._open()

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        self.perform(self._accept(self._draw_given(data)))

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data(), many=st.integers(2, 5))
    def accept_together(self, data: st.DataObject, many: int) -> None:
        self.perform(*(self._accept(self._draw_given(data)) for _ in range(many)))
        self.taken["group of accepts"] += 1

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data(), many=st.integers(2, 4))
    def together(self, data: st.DataObject, many: int) -> None:
        """Several commands of any kind in one group, each drawn for what those before it leave."""
        model, ops = self.model, []
        self.model = model.copy()
        try:
            for _ in range(many):
                ops.append(self._draw_op(data, self._likely(data, GROUPED)))
                with suppress(Refused):
                    ops[-1].model(self.model)
        finally:
            self.model = model
        self.perform(*ops)
        self.taken["group of anything"] += 1

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """What an executor would do next."""
        name = self._likely(data, WORKING)
        self.perform(self._draw_op(data, "begin_run" if name == "begin_given" else name))

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data())
    def work_on(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.integers(1, 4))):
            if self.driver is not None:
                self.work(data)

    @precondition(lambda self: self.driver is not None and self.doubt is None)
    @rule(intents=st.sets(st.sampled_from(INTENTS)))
    def silence(self, intents: set[str]) -> None:
        assert self.driver is not None
        self.driver.set_silent_comms_intents(intents)
        self.model.silent = frozenset(intents)
        self.taken["silent intents"] += bool(intents)

    # -- runs ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data(), jitter=st.sampled_from((0.0, 0.25, 0.5, 0.999)))
    def report_of_a_run(self, data: st.DataObject, jitter: float) -> None:
        self.clock.jitter = jitter
        self.perform(self._draw_op(data, data.draw(st.sampled_from(WORKING))))

    @precondition(lambda self: self.vanishing and self.driver is not None and self.doubt is None and not self.failing)
    @rule(turns=st.integers(0, 4))
    def begin_and_vanish(self, turns: int) -> None:
        """The caller of begin_run is cancelled after some turns of the loop: no run is left over (C10)."""
        driver = self.driver
        assert driver is not None
        if self.store.plan.write is not None:
            self.store.arm(Plan())

        drawn, last = self.clock.drawn, driver._actor.image.runtime.last_run
        gone = self.loop.one(lambda: vanish(driver.begin_run, turns))
        self.model.now = self.clock.seconds
        begun = self.model.copy()
        begun.drop_orphan()
        try:
            begun.begin_run(self._minted(drawn), minted=True)
        except Refused:
            return
        if not gone:
            self.model = begun
        elif driver._actor.image.runtime.last_run != last:
            begun.held = None
            begun.drop_orphan()
            self.model = begun
            self.taken["begin and vanish"] += 1

    @precondition(
        lambda self: (
            self.vanishing
            and self.driver is not None
            and self.model.run is not None
            and self.model.run == self.model.held
            and not (self.doubt or self.failing or self.model.untold)
        )
    )
    @rule(turns=st.integers(0, 4))
    def take_and_vanish(self, turns: int) -> None:
        """The caller of take_steers is cancelled after some turns of the loop: nothing that it staged is left (C10)."""
        driver, run_id = self.driver, self.model.run
        assert driver is not None
        assert run_id is not None
        if self.store.plan.write is not None:
            self.store.arm(Plan())
        self.inputs.append(Given(self.clock.new_id(), "prompt", "steer"))
        self.perform(self._accept(self.inputs[-1]))
        before = [record.attempt_count for record in driver.image.active()]
        gone = self.loop.one(lambda: vanish(lambda: driver.take_steers(run_id), turns))
        if not gone:
            self.model.take_steers(run_id)
        elif [record.attempt_count for record in driver.image.active()] != before:
            self.model.untold = self.model.take_steers(run_id)
            self.model.drop_orphan()
            self.taken["take and vanish"] += 1

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data(), name=st.sampled_from(("attach", "attach", "detach", "resume")))
    def executor_comes_or_goes(self, data: st.DataObject, name: str) -> None:
        self.perform(self._draw_op(data, name))

    @precondition(lambda self: self.driver is not None)
    @rule(
        data=st.data(),
        name=st.sampled_from(("retire", "retire", "abandon_pending", "reset", "recycle", "recover")),
        really=st.integers(0, 3),
    )
    def lifecycle(self, data: st.DataObject, name: str, really: int) -> None:
        if really == 0 or (name == "recycle" and self.model.state == "retired"):
            self.perform(self._draw_op(data, name))

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data(), often=st.integers(1, 2), stay=st.integers(0, 1), really=st.integers(0, 7))
    def close_down(self, data: st.DataObject, often: int, stay: int, really: int) -> None:
        if really == 0:
            for _ in range(often):
                if self.driver is not None:
                    self.perform(self._draw_op(data, "close_down"))
            if not stay and self.doubt is None and self.driver is not None and not self.failing:
                self._move_on()

    @precondition(lambda self: self.driver is not None and self.model.state in {"stopped", "destroyed"})
    @rule()
    def another_runtime(self) -> None:
        if self.doubt is None and not self.failing:
            self._move_on()

    # -- around it ----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.3, 1.0, 2.5, 10.0)))
    def time_passes(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @rule(seconds=st.sampled_from((1.0, 4.0, 3600.0, TEN_YEARS)), back=st.booleans())
    def the_clock_jumps(self, seconds: float, *, back: bool) -> None:
        """As when it is set, in either direction: order is by sequence, and no wait gets longer than the longest."""
        if abs(self.clock.seconds) > FARTHEST:
            self.clock.seconds = 0.0
        else:
            self.clock.seconds += -seconds if back else seconds
        self.taken["clock set back" if back else "clock set forward"] += 1

    @precondition(lambda self: self.driver is not None and self.doubt is None)
    @rule()
    def take_signals(self) -> None:
        assert self.driver is not None
        assert self.driver.take_wake_requested() is self.model.wake
        assert self.driver.take_process_requested() is self.model.process
        self.model.wake = self.model.process = False

    @precondition(lambda self: self.driver is not None)
    @rule()
    def drain(self) -> None:
        assert self.driver is not None
        numbers = [number for event in self.driver.drain_events() if (number := event.sequence) is not None]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)) if numbers else ())

    @precondition(
        lambda self: (
            self.driver is not None and not self.failing and (self.store.plan.write is None or self.store.struck > 0)
        )
    )
    @rule(fault=st.sampled_from(list(Fault)), failing_reads=st.integers(0, 3))
    def arm(self, fault: Fault, failing_reads: int) -> None:
        """The next writing call fails."""
        dies = fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}
        reads, writes = (FOREVER, FOREVER) if dies else (failing_reads, 0)
        self.store.arm(Plan(fault, write=0, failing_reads=reads, failing_writes=writes))

    @precondition(lambda self: self.driver is not None and self.store.struck > 0 and not self.failing)
    @rule()
    def disarm(self) -> None:
        self.store.arm(Plan())

    @precondition(lambda self: self.driver is not None)
    @rule(really=st.integers(0, 2))
    def crash(self, really: int) -> None:
        if really:
            return
        if self.store.plan.fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}:
            self.store.arm(Plan())
        self.driver = None
        self.taken["crash"] += 1
        self._open()

    @precondition(lambda self: self.driver is not None)
    @rule(really=st.integers(0, 3))
    def somebody_else_opens(self, really: int) -> None:
        if really:
            return
        if self.store.plan.fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}:
            self.store.arm(Plan())
        self.old = self.driver
        self._open()
        self.taken["second opener"] += 1

    @precondition(lambda self: self.driver is not None and self.old is not None and not self.failing)
    @rule(data=st.data())
    def the_old_one_is_fenced(self, data: st.DataObject) -> None:
        """Whatever an older holder does changes nothing (C32)."""
        old = self.old
        assert old is not None
        if self.store.plan.write is not None:
            self.store.arm(Plan())
        given = Given(self.clock.new_id(), "prompt")
        before = stored_view(self.inner, self.runtime_id)
        (answer,) = self.loop.run(lambda: old.accept_input(real_input(given)))
        assert isinstance(answer, Fenced | NotReady | Rejected), answer  # all that it can know of its limits is old
        after = stored_view(self.inner, self.runtime_id)
        assert (before.runtime, before.active, before.stored.ended) == (  # type: ignore[union-attr]
            after.runtime,
            after.active,
            after.stored.ended,  # type: ignore[union-attr]
        )
        self.taken["fenced"] += isinstance(answer, Fenced)


EFFECTIVE: Final = (
    *(f"accept {kind}" for kind in KINDS),
    *("begin_run", "begin_run, given id", "start_run", "stage_batch, begin", "stage_batch, more", "boundary"),
    *("complete_run", "complete_run, current", "run_completed", "fail_run, recoverable", "fail_run, for good"),
    *("run_failed", "cancel_run", "run_cancelled", "run_started", "apply_input", "consume_inputs", "rollback_staged"),
    *("cancel_input", "abandon_pending", "silent intents", "attach", "detach", "resume", "retire", "reset", "recycle"),
    *("recover", "stop", "destroy", "stop by control", "crash", "crash by a fault", "second opener", "fenced"),
    *(f"fault: {fault.value}" for fault in Fault),
    *(
        "fault while opening",
        "doubt",
        "doubt cleared up",
        "refused while unreadable",
        "answered while unreadable",
        "begin and vanish",
        "take_steers",
        "take and vanish",
    ),
    *("group of accepts", "group of anything", "clock set back", "clock set forward"),
)
"""What a campaign has to have done at least once, each with effect."""
