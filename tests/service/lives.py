"""A world around one service after another: their one store, their executors, who waits, and what must hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from math import inf
from random import Random
from typing import Any, ClassVar, Final
from unittest.mock import patch

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from holdstate.runtime import commit_thread, status
from holdstate.runtime.errors import StoreError
from holdstate.runtime.ids import InputId
from holdstate.runtime.open_runtime import OpenRuntime
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.status import ServiceState
from holdstate.runtime.subscriptions import EventGap, Subscription
from holdstate.spec.policy import DEFAULT_POLICY
from holdstate.spec.relations import handed_out_run_is_current, memory_equals_store
from holdstate.spec.vocabulary import InputKind, QueueMode

from ..faults import Fault, FaultyStore, Plan
from ..stateful.harness import memory_view, stored_view
from .kit import SETTINGS, service_over, waiting_rules
from .promises import Promises, waiting
from .restless import HANG_SECONDS, RUN_TIMEOUT, Restless
from .virtual_loop import VirtualLoop, _end

RUNTIMES: Final = 3
FOR_EVER: Final = 10**9
TINY: Final = 3
"""How many events a slow reader's buffer holds."""

POLICY: Final = evolve(
    DEFAULT_POLICY,
    by_kind={
        **DEFAULT_POLICY.by_kind,
        InputKind.FLOW_STEP: evolve(DEFAULT_POLICY.by_kind[InputKind.FLOW_STEP], queue_mode=QueueMode.SUPERSEDE),
    },
)
"""Steps of a flow supersede."""

RULES: Final = evolve(waiting_rules(1.0), policy=POLICY, event_log=True, max_events=10_000)
CHAOS: Final = evolve(
    SETTINGS, runtime=RULES, run_timeout=RUN_TIMEOUT, max_open=2, max_runs=2, hang_seconds=HANG_SECONDS
)


class World(RuleBasedStateMachine):
    """Subclasses give the rules. ``taken`` counts over all examples what happened."""

    taken: ClassVar[Counter[str]] = Counter()

    @initialize(seed=st.integers(0, 2**16), surprise=st.sampled_from([0.0, 0.1, 0.5]))
    def begin(self, seed: int, surprise: float) -> None:
        """``surprise``: how often the loop picks another callback than asyncio would."""
        random = Random(f"order {seed}")
        self.loop = VirtualLoop(lambda ready: random.randrange(ready) if random.random() < surprise else 0)
        self.patches = ExitStack()
        self.patches.enter_context(patch.object(commit_thread, "LONG_COMMIT_SECONDS", inf))
        self.patches.enter_context(patch.object(status, "STATS_SECONDS", inf))
        self.promises = Promises()
        self.generations = [0] * RUNTIMES
        self.waiters: set[asyncio.Task[None]] = set()
        self.events_read = 0
        self.services = 0
        self.is_whole = True
        """Whether nothing went wrong yet that a status would tell."""
        self.has_failed = False
        self.perform(self._start())

    # -- the world -------------------------------------------------------------------------------------------------

    def perform(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Do one step on the loop. What is left to do goes on with the next one."""
        self.has_failed = True
        try:
            result = self.loop.run_until_complete(step)
        finally:
            asyncio.set_event_loop(None)
        self.has_failed = False
        return result

    async def _start(self) -> None:
        self.services += 1
        self.store = FaultyStore(self.promises.store)
        self.executor = Restless(self.promises)
        self.service: RuntimeService = service_over(self.store, self.executor, CHAOS, seed=self.services)
        if self.services > 1:  # what a dead process still does in memory is nobody's news
            self.all_events.deliver = lambda events: None  # type: ignore[method-assign]  # noqa: ARG005 - as below
        self.all_events: Subscription = self.service.subscribe(buffer=FOR_EVER)
        self.all_events.deliver = self.promises.delivered  # type: ignore[method-assign]  # at the moment itself
        self.some_events: Subscription = self.service.subscribe(buffer=TINY)
        self.events_read = len(self.promises.published)
        self.service.listen(self.promises.ended)
        await self.service.__aenter__()

    def name(self, number: int) -> str:
        return f"r{number}.{self.generations[number]}"

    def _expect_to_be_called_off(self, reason: str, *names: str) -> None:
        for name in names or [entry.driver.runtime_id for entry in self.service._pool]:
            self.promises.calls_off.setdefault(name, set()).add(reason)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A caller may hear that the store failed; then the status says so too, and it takes no time (C29, C47)."""
        began = self.loop.time()
        try:
            yield
        except StoreError:
            self.is_whole = False
            self.taken["told of a failure"] += 1
            self._check_degraded()
        finally:
            assert self.loop.time() == began, "C29: a call waited for something"

    def _check_degraded(self) -> None:
        """Until something is committed again: what was refused lasts as long as nothing else is written."""
        told, plan = self.service.status(), self.store.plan
        if plan.fault is Fault.REFUSED and self.store.writes == (plan.write or 0) + 1:
            assert told.state is ServiceState.DEGRADED, told
            assert told.cause is not None

    def _wait(self, name: str, input_id: Callable[[], InputId], outcome: Any) -> None:
        waiter = self.loop.create_task(waiting(self.promises, name, input_id, outcome))
        self.waiters.add(waiter)

    async def _read_events(self, most: int) -> None:
        for _ in range(most):
            if not self.some_events._pending:
                break
            read = await anext(self.some_events)
            if isinstance(read, EventGap):
                self.events_read += read.missed
                self.taken["gap"] += 1
            else:
                assert read == self.promises.published[self.events_read], "C45"
                self.events_read += 1

    # -- what holds after every step -------------------------------------------------------------------------------

    @invariant()
    def all_holds(self) -> None:
        if hasattr(self, "service"):
            self._check_promises()
            for entry in self.service._pool:
                self._check_runtime(entry)
            self.perform(self._check_status())

    def _check_promises(self) -> None:
        self.promises.check_stored()
        assert not self.promises.broken, self.promises.broken
        assert not self.loop.troubles, self.loop.troubles
        for waiter in [each for each in self.waiters if each.done()]:
            self.waiters.remove(waiter)
            waiter.result()

    def _check_runtime(self, entry: OpenRuntime) -> None:
        driver, worker = entry.driver, entry.worker
        actor, name = driver._actor, driver.runtime_id
        assert worker is not None
        if actor.doubt is not None or actor.finished is not None:
            self.taken["in doubt"] += 1
            return
        image = actor.image
        memory, stored = memory_view(driver, self.promises.store), stored_view(self.promises.store, name)
        assert not list(memory_equals_store(memory, stored, saw_ephemeral=False))
        assert not list(handed_out_run_is_current(actor.handed_out, memory))
        assert image.runtime.current_run_id is None or worker.task is not None, "C24: nobody works on the current run"
        if worker.active is not None and image.runtime.current_run_id != worker.active.run_id:
            assert worker.active.token.is_cancelled, "C33: an executor works on for a run that was ended"
        if name in self.promises.offsets:
            assert self.promises.offsets[name] + 1 == image.runtime.counts.events, "C45: not all was published"
        if worker.task is None and worker._timer is None and not worker._is_paused:
            left = [record for record in image.queued() if record.admission.wakes]
            assert not left, f"C16: {name} sleeps over {left}"
            self.taken["sleeps over what wakes nobody"] += any(image.queued())

    async def _check_status(self) -> None:
        """Told at once, whatever hangs, and equal to what is in memory (C47)."""
        told, entries = self.service.status(), list(self.service._pool)
        images = [entry.driver._actor.image for entry in entries]
        assert told.open_runtimes == len(entries)
        assert told.inputs == Counter(record.state for image in images for record in image.active())
        assert told.runtimes == Counter(image.runtime.state for image in images)
        assert told.runs_under_way == sum(image.runtime.current_run_id is not None for image in images)
        assert told.state is not ServiceState.UNKNOWN
        if self.is_whole and not self.executor.done["deaf"]:
            assert told.state is ServiceState.OK, told
        self.taken[f"status {told.state}"] += 1
        self.taken["status while it runs"] += told.runs_under_way > 0

    # -- the end ---------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if hasattr(self, "service") and not self.has_failed and not self.promises.broken:
                self.perform(self._end_calmly())
                self._check_promises()
                self.taken.update(self.executor.done + self.promises.waited)
        finally:
            with suppress(AssertionError):
                _end(self.loop)
            self.patches.close()
            self.loop.close()

    async def _end_calmly(self) -> None:
        """Nothing fails any more: whoever was told yes sees the input end."""
        self.taken.update(self.executor.done)
        self._expect_to_be_called_off("the service is closing")
        self.store.arm(Plan())
        await self.service.close(3.0)
        self.executor.is_alive = False
        self.promises.charge_in_flight()
        await self._start()
        self.executor.is_calm = True
        for runtime in self.promises.store.list_runtimes():
            if not runtime.is_terminal:
                await self.service.wake(runtime.runtime_id)  # news wake nobody
        async with asyncio.timeout(1_000):
            for name, input_id in self.promises.given:
                self.promises.outcome(name, input_id, await self.service.wait(name, input_id))
        await self._read_events(FOR_EVER)
        await asyncio.sleep(100.0)
        assert not self.service._pool._pins, "a runtime is held open though nobody calls"
        assert len(self.service._pool) <= CHAOS.max_open, "runtimes stay open though nothing needs them"
        await self.service.close()
        self.promises.check_log()
        self.promises.check_end(runtime.runtime_id for runtime in self.promises.store.list_runtimes())
        if self.waiters:
            _, waiting = await asyncio.wait(self.waiters, timeout=1.0)
            assert not waiting, "C46: somebody is never told"
