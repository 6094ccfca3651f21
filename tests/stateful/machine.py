"""Every command of the driver in any order, over a store that fails as planned, beside the model.

A rule draws one or more calls. They are made in one turn of the loop; the model says what each must answer and what is
there afterwards, whatever the planned fault does: the state before the group or the one after it, nothing between.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, Final, final

from attrs import evolve, frozen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import Fenced, StoreError
from holdstate.runtime.outcomes import BoundaryApplied, RunCancelled, RunCompleted, RunFailed, RunOutput, RunStarted
from holdstate.runtime.records import RunBoundaryReceipt
from holdstate.runtime.store import RuntimeStore
from holdstate.spec.invariants import check_image
from holdstate.spec.relations import acked_is_durable, handed_out_run_is_current, memory_equals_store
from holdstate.spec.step_properties import check_step
from holdstate.spec.views import View
from holdstate.spec.vocabulary import AbandonReason, CommandName, RunBoundary, RuntimeControl
from tests.faults import Fault, FaultyStore, Plan

from .harness import Clock, Loop, differences, memory_view, plain, plain_receipt, real_input, settings_of, stored_view
from .model import Answer, Given, Model, Refused, Rules

FOREVER: Final = 10**9
EARLY: Final = (("rejected", "derived_forbidden"), ("rejected", "key_needs_durable"))
"""What is answered before the store is asked."""

INTENTS: Final = ("ask", "tell")


@final
@frozen
class Op:
    """One call: its name, the model's side, the driver's side, and the command that its step is judged as."""

    name: str
    model: Callable[[Model], Answer]
    real: Callable[[PersistentRuntimeDriver], Awaitable[Any]]
    command: CommandName | None = None


@final
@frozen
class Doubt:
    """A commit that the driver knows nothing of: what the model is once that is cleared up, and the first cause."""

    settled: Model
    problem: str | None


class DriverMachine(RuleBasedStateMachine):
    """Subclasses give ``new_store``; ``taken`` counts over all examples what happened."""

    taken: ClassVar[Counter[str]]
    vanishing: ClassVar[bool] = True
    """Whether turns of the loop can be counted: where commits run on a thread they cannot."""

    def new_store(self) -> RuntimeStore:
        raise AssertionError("each kind of store has a machine of its own")

    def drop_store(self) -> None:
        self.store.close()

    # -- the world ----------------------------------------------------------------------------------------------------

    @initialize(attempts=st.sampled_from([1, 2, 3, 3]), batch=st.sampled_from([1, 3]))
    def begin(self, attempts: int, batch: int) -> None:
        self.clock, self.loop = Clock(), Loop()
        self.inner = self.new_store()
        self.store = FaultyStore(self.inner)
        self.rules_in_force = Rules(max_attempts=attempts, max_batch=batch)
        self.number = 0
        self.driver: PersistentRuntimeDriver | None = None
        self.old: PersistentRuntimeDriver | None = None
        self._move_on()

    def _move_on(self) -> None:
        """Another runtime of the same store."""
        self.number += 1
        self.runtime_id = f"runtime {self.number}"
        self.model = Model(self.rules_in_force)
        self.doubt: Doubt | None = None
        self.acknowledged: set[Any] = set()
        self.runs: list[Any] = []
        self.inputs: list[Given] = []
        self.sent: list[BoundaryApplied] = []
        self.saw_ephemeral = False
        self.old = None
        self._open()

    def _open(self) -> None:
        """Open, however often that takes; the fault in wait may strike here."""
        before = None if self.inner.load_runtime(self.runtime_id) is None else stored_view(self.inner, self.runtime_id)
        if self.doubt is not None:
            self.model, self.doubt = self.doubt.settled, None
        struck, report = self.store.struck, self.model.crash()
        while True:
            try:
                driver = self.loop.one(
                    lambda: PersistentRuntimeDriver.open(
                        self.runtime_id,
                        self.store,
                        settings=settings_of(self.rules_in_force),
                        environment=self.clock.environment(),
                    )
                )
                break
            except StoreError as error:
                assert error.applied is not True
        self.driver = driver
        self.saw_ephemeral = False
        if self.store.struck == struck:
            assert plain(driver.recovery_report) == report
            if before is not None:
                self._judge(before, CommandName.OPEN)
        else:
            self.taken["fault while opening"] += 1

    @property
    def failing(self) -> bool:
        return self.store._failing_reads > 0

    # -- one group of calls -------------------------------------------------------------------------------------------

    def perform(self, *ops: Op) -> list[Any]:
        """Make the calls of ``ops`` in one turn of the loop and hold what happens against the model."""
        driver = self.driver
        assert driver is not None
        failing = self.failing
        if self.doubt is not None and not failing:
            self.model, self.doubt = self.doubt.settled, None
            self.taken["doubt cleared up"] += 1
        before, after, wanted = self._foretell(ops)
        seen = None if failing or len(ops) > 1 or before.run != before.held else memory_view(driver, self.inner)
        struck = self.store.struck
        answers = self.loop.run(*((lambda op=op: op.real(driver)) for op in ops))
        if failing:
            self._all_refused(answers, wanted)
        elif self.store.struck > struck:
            self._struck(before, after, answers, wanted)
        else:
            self._as_foretold(after, answers, wanted, ops)
            if seen is not None and ops[0].command is not None and not isinstance(wanted[0], Refused):
                self._judge(seen, ops[0].command)
        return answers

    def _foretell(self, ops: tuple[Op, ...]) -> tuple[Model, Model, list[Answer | Refused]]:
        before = self.model
        before.now, before.jitter = self.clock.seconds, self.clock.jitter
        after = before.copy()
        after.drop_orphan()
        wanted: list[Answer | Refused] = []
        for op in ops:
            trial = after.copy()
            try:
                wanted.append(op.model(trial))
                after = trial
            except Refused as refusal:
                wanted.append(refusal)
        if all(each in EARLY for each in wanted if not isinstance(each, Refused)) and not any(
            isinstance(each, Refused) for each in wanted
        ):
            after = before
        return before, after, wanted

    def _as_foretold(self, after: Model, answers: list[Any], wanted: list[Answer | Refused], ops: tuple[Op, ...]) -> None:
        for answer, want, op in zip(answers, wanted, ops, strict=True):
            self._compare(answer, want)
            effective = not isinstance(want, Refused) and want[:1] not in (("rejected",), ("deduplicated",))
            self.taken[op.name if effective else f"{op.name} refused"] += 1
        self.model = after

    def _compare(self, answer: Any, want: Answer | Refused) -> None:
        if isinstance(want, Refused):
            assert isinstance(answer, Exception), f"expected {want}, got {answer!r}"
            assert type(answer).__name__ == str(want), f"expected {want}, got {answer!r}"
            return
        if isinstance(answer, BaseException):
            raise AssertionError(f"expected {want}, got {answer!r}") from answer
        assert plain(answer) == want
        if want[0:1] == ("accepted",) and answer.record.admission.durability.value != "ephemeral":
            self.acknowledged.add(answer.input_id)

    def _all_refused(self, answers: list[Any], wanted: list[Answer | Refused]) -> None:
        """The store cannot be read: nothing is decided, and in doubt the first cause is told (C35)."""
        for answer, want in zip(answers, wanted, strict=True):
            if want in EARLY:
                assert plain(answer) == want
                continue
            assert isinstance(answer, StoreError), answer
            if self.doubt is None:
                assert answer.applied is False
            else:
                assert (answer.applied, answer.problem) == (None, self.doubt.problem)
            self.taken["refused while unreadable"] += 1

    def _struck(self, before: Model, after: Model, answers: list[Any], wanted: list[Answer | Refused]) -> None:
        plan = self.store.plan
        self.taken[f"fault: {plan.fault.value}"] += 1
        if plan.fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}:
            self.model = after if plan.fault is Fault.DIES_AFTER else before
            self.driver = None
            return
        unreadable = plan.fault is not Fault.REFUSED and plan.failing_reads > 0
        landed = plan.fault is Fault.LANDED
        problems: set[str] = set()
        for answer, want in zip(answers, wanted, strict=True):
            if isinstance(want, Refused) or want in EARLY or (landed and not unreadable):
                self._compare(answer, want)
                continue
            assert isinstance(answer, StoreError), answer
            assert answer.applied is (None if unreadable else False)
            problems.add(answer.problem)
        if unreadable:
            self.taken["doubt"] += 1
            self.doubt = Doubt(self._settled(before, after) if landed else before, problems.pop() if problems else None)
        elif landed:
            self.model = after
        else:
            self.model = before

    @staticmethod
    def _settled(before: Model, after: Model) -> Model:
        """``after``, whose callers were told nothing: nobody holds a run that it began or opened."""
        settled = after.copy()
        settled.held = before.held if after.run is not None and after.run == before.held else None
        settled.opened = before.opened if after.opened == before.opened else None
        return settled

    def _judge(self, before: View, command: CommandName) -> None:
        assert self.driver is not None
        after = memory_view(self.driver, self.inner)
        if (command, after.runtime.revision) in {
            (each, before.runtime.revision) for each in (CommandName.BEGIN_RUN, CommandName.STAGE_MORE)
        }:
            return  # there was nothing to stage
        assert not check_step(before, command, after)

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def all_agrees(self) -> None:
        if getattr(self, "driver", None) is None or self.driver is None:
            return
        findings = self.inner.verify()
        assert not findings, findings
        stored = stored_view(self.inner, self.runtime_id)
        assert not list(acked_is_durable(stored, self.acknowledged))
        if self.doubt is not None:
            return
        actor = self.driver._actor
        memory = View(actor.image.runtime, actor.image.active())
        assert not check_image(memory, at_rest=False)
        assert not list(memory_equals_store(memory, stored, saw_ephemeral=self.saw_ephemeral))
        assert not list(handed_out_run_is_current(actor.handed_out, memory))
        found = differences(self.model, self.driver, self.inner)
        assert not found, "\n".join(found)
        assert actor.committed is actor.image.runtime

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.loop.close()
        self.drop_store()

    # -- inputs -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.driver is None)
    @rule()
    def open_after_the_crash(self) -> None:
        self.store.arm(Plan())
        self.taken["crash by a fault"] += 1
        self._open()

    def _draw_given(self, data: st.DataObject) -> Given:
        kind = data.draw(st.sampled_from(KINDS), label="kind")
        modes: tuple[str | None, ...] = (None, None, "queue", "steer")
        if kind in {"external_event", "continuation"}:
            modes = ("queue", "steer")
        elif kind not in {"prompt", "flow_step"}:
            modes = (None,)
        again = self.inputs and data.draw(st.integers(0, 7), label="again") == 0
        given = Given(
            data.draw(st.sampled_from(self.inputs)).id if again else self.clock.new_id(),
            kind,
            data.draw(st.sampled_from(modes)),
            data.draw(st.sampled_from(SOURCES_OF[kind])),
            data.draw(st.sampled_from(("durable",) * 6 + ("ephemeral",) * 2 + ("derived",))),
            data.draw(st.sampled_from((None, None, None, "k1", "k2", "k3"))),
            data.draw(st.sampled_from((None, "s1", "s1", "s2"))),
            data.draw(st.sampled_from(INTENTS)) if kind == "peer_request" else None,
            data.draw(st.sampled_from(("a", "b"))),
        )
        self.inputs.append(given)
        self.saw_ephemeral = self.saw_ephemeral or given.durability == "ephemeral"
        return given

    def _accept(self, given: Given) -> Op:
        name = f"accept {given.kind}"
        return Op(name, lambda m: m.accept(given), lambda d: d.accept_input(real_input(given)), CommandName.ACCEPT)

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

    def _likely(self, data: st.DataObject, anything: tuple[str, ...]) -> str:
        """The name of a command that has something to do in the present state, or sometimes of any."""
        model = self.model
        if data.draw(st.integers(0, 5), label="anything") == 0:
            return data.draw(st.sampled_from(anything))
        if model.run is not None:
            names = ["boundary", "boundary", "complete_run", "run_completed", "fail_run", "cancel_run", "stage_batch"]
            names += ["fail_event", "cancel_event"]
            if len(model.staged()) == 1:
                names.append("apply_input")
            if model.staged():
                names.append("rollback_staged")
            if len(model.staged()) < len(model.contributors):
                names += ["consume_inputs", "consume_inputs", "complete_current", "complete_current"]
        elif model.opened is not None:
            names = ["stage_batch", "stage_batch", "stage_batch", "cancel_run", "complete_current"]
        elif model.next_batch():
            names = ["begin_given", "begin_given", "start_run", "cancel_input"]
        else:
            names = ["accept"]
        return data.draw(st.sampled_from(names))

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

    @precondition(
        lambda self: self.vanishing and self.driver is not None and self.doubt is None and not self.failing
    )
    @rule(turns=st.integers(0, 4))
    def begin_and_vanish(self, turns: int) -> None:
        """The caller of begin_run is cancelled after some turns of the loop: no run is left over (C10)."""
        driver = self.driver
        assert driver is not None
        if self.store.plan.write is not None:
            self.store.arm(Plan())

        async def vanish() -> bool:
            task = asyncio.get_running_loop().create_task(driver.begin_run())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            for _ in range(5):
                await asyncio.sleep(0)
            return task.cancelled()

        drawn, last = self.clock.drawn, driver._actor.image.runtime.last_run
        gone = self.loop.one(vanish)
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

    def _minted(self, drawn: int) -> Any:
        return Clock(drawn=drawn).new_id()

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data(), name=st.sampled_from(("attach", "attach", "detach", "resume")))
    def executor_comes_or_goes(self, data: st.DataObject, name: str) -> None:
        self.perform(self._draw_op(data, name))

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data(), name=st.sampled_from(("retire", "reset", "recycle", "recover")), really=st.integers(0, 3))
    def lifecycle(self, data: st.DataObject, name: str, really: int) -> None:
        if really == 0 or (name == "recycle" and self.model.state == "retired"):
            self.perform(self._draw_op(data, name))

    @precondition(lambda self: self.driver is not None)
    @rule(data=st.data(), often=st.integers(1, 2), stay=st.booleans(), really=st.integers(0, 7))
    def close_down(self, data: st.DataObject, often: int, stay: bool, really: int) -> None:
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
        numbers = [event.sequence for event in self.driver.drain_events()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True

    @precondition(lambda self: self.driver is not None and self.store.plan.write is None)
    @rule(fault=st.sampled_from(list(Fault)), failing_reads=st.integers(0, 3))
    def arm(self, fault: Fault, failing_reads: int) -> None:
        """The next writing call fails."""
        dies = fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}
        reads, writes = (FOREVER, FOREVER) if dies else (failing_reads, 0)
        self._arm(Plan(fault, write=0, failing_reads=reads, failing_writes=writes))

    def _arm(self, plan: Plan) -> None:
        if not self.failing:
            self.store.arm(plan)

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
        assert isinstance(answer, Fenced) or type(answer).__name__ == "NotReady", answer
        after = stored_view(self.inner, self.runtime_id)
        assert (before.runtime, before.active, before.stored.ended) == (  # type: ignore[union-attr]
            after.runtime,
            after.active,
            after.stored.ended,  # type: ignore[union-attr]
        )
        self.taken["fenced"] += isinstance(answer, Fenced)

    # -- single calls -------------------------------------------------------------------------------------------------

    def _draw_op(self, data: st.DataObject, name: str) -> Op:
        return getattr(self, f"_op_{name}")(data)  # type: ignore[no-any-return]

    def _op_accept(self, data: st.DataObject) -> Op:
        return self._accept(self._draw_given(data))

    def _some_id(self, data: st.DataObject) -> Any:
        known = [*self.model.items, *(each.id for each in self.inputs[-5:])]
        return data.draw(st.sampled_from(known)) if known else self.clock.new_id()

    def _op_cancel_input(self, data: st.DataObject) -> Op:
        queued = self.model.queue()
        input_id = data.draw(st.sampled_from(queued)) if queued and data.draw(st.booleans()) else self._some_id(data)
        return Op(
            "cancel_input", lambda m: m.cancel_input(input_id), lambda d: d.cancel_input(input_id), CommandName.CANCEL
        )

    def _op_abandon_pending(self, data: st.DataObject) -> Op:
        reason = data.draw(st.sampled_from((AbandonReason.RETIRED, AbandonReason.FAILED, AbandonReason.CANCELLED)))
        error = data.draw(st.sampled_from((None, "why")))
        return Op(
            "abandon_pending",
            lambda m: m.abandon_pending(reason.value, error),
            lambda d: d.abandon_pending_inputs(reason, error),
            CommandName.ABANDON_PENDING,
        )

    def _run(self, data: st.DataObject) -> Any:
        """The current or the opened run mostly, else one of before, else a new one."""
        likely = [each for each in (self.model.run, self.model.opened) if each is not None]
        if likely and data.draw(st.integers(0, 5), label="likely") > 0:
            return likely[0]
        return self._any_run(data)

    def _any_run(self, data: st.DataObject) -> Any:
        if self.runs and data.draw(st.integers(0, 5), label="old") == 0:
            return data.draw(st.sampled_from(self.runs[-4:]))
        self.runs.append(self.clock.new_id())
        return self.runs[-1]

    def _op_begin_run(self, data: st.DataObject) -> Op:
        clock = self.clock

        def real(driver: PersistentRuntimeDriver) -> Awaitable[Any]:
            return driver.begin_run()

        # The driver mints the id as the next one of the clock, unless calls before it in the group mint too.
        return Op("begin_run", lambda m: self._remember_run(m, clock.drawn), real, CommandName.BEGIN_RUN)

    def _remember_run(self, model: Model, drawn: int) -> Answer:
        run_id = self._minted(drawn)
        answer = model.begin_run(run_id, minted=True)
        if answer:
            self.runs.append(run_id)
        return answer

    def _op_begin_given(self, data: st.DataObject) -> Op:
        run_id = self._any_run(data)
        return Op(
            "begin_run, given id",
            lambda m: m.begin_run(run_id, minted=False),
            lambda d: d.begin_run(run_id),
            CommandName.BEGIN_RUN,
        )

    def _op_start_run(self, data: st.DataObject) -> Op:
        run_id = self._any_run(data)
        return Op("start_run", lambda m: m.start_run(run_id), lambda d: d.start_run(run_id))

    def _op_stage_batch(self, data: st.DataObject) -> Op:
        model, run_id = self.model, self._run(data)
        more = run_id == model.run
        model.now = self.clock.seconds
        ids = [item.given.id for item in (model.steer_prefix() if more else model.next_batch())]
        ids = ids[: data.draw(st.integers(1, 3))]
        if data.draw(st.integers(0, 5), label="wrong batch") == 0:
            ids = data.draw(st.sampled_from(([], ids[::-1], [*ids, self.clock.new_id()], ids[1:])))
        batch = tuple(ids)
        command = CommandName.STAGE_MORE if more else CommandName.BEGIN_RUN
        name = "stage_batch, more" if more else "stage_batch, begin"
        if len(batch) == 1:
            one = batch[0]
            return Op(name, lambda m: m.stage_batch(batch, run_id), lambda d: d.stage_input(one, run_id), command)
        return Op(name, lambda m: m.stage_batch(batch, run_id), lambda d: d.stage_batch(batch, run_id), command)

    def _op_boundary(self, data: st.DataObject) -> Op:
        snapshot = data.draw(st.sampled_from((None, b"snapshot 1", b"snapshot 2")))
        result = data.draw(st.sampled_from((None, None, b"of a boundary")))
        run_id = self.model.run or self._run(data)
        return self._send(BoundaryApplied(run_id, self._receipt(run_id, snapshot), snapshot, result))

    def _receipt(self, run_id: Any, snapshot: bytes | None) -> RunBoundaryReceipt:
        model = self.model
        if model.run is None:
            return RunBoundaryReceipt(run_id, RunBoundary.RUN_START, ())
        told = model._receipt(model.staged(), snapshot, 7)
        return RunBoundaryReceipt(
            run_id, RunBoundary(told.boundary), told.inputs, told.sequence, told.messages, told.digest
        )

    def _send(self, event: BoundaryApplied, name: str = "boundary") -> Op:
        self.sent.append(event)
        receipt = plain_receipt(event.receipt)
        return Op(
            name,
            lambda m: m.boundary(event.run_id, receipt, event.session_snapshot, event.result),
            lambda d: d.on_run_event(event),
            CommandName.BOUNDARY_APPLIED,
        )

    def _op_bad_boundary(self, data: st.DataObject) -> Op:
        run_id = self.model.run or self.clock.new_id()
        good = self._receipt(run_id, None)
        ids = good.contributing_input_ids
        old = data.draw(st.sampled_from(self.sent[-4:])) if self.sent else None
        events = [
            BoundaryApplied(self._any_run(data), good),
            BoundaryApplied(run_id, evolve(good, sequence=good.sequence + 1)),
            BoundaryApplied(run_id, evolve(good, contributing_input_ids=ids[1:])),
            BoundaryApplied(run_id, evolve(good, contributing_input_ids=ids[::-1])),
            BoundaryApplied(run_id, evolve(good, contributing_input_ids=(*ids, self.clock.new_id()))),
            BoundaryApplied(run_id, evolve(good, conversation_digest="0" * 64), b"other"),
            BoundaryApplied(run_id, evolve(good, boundary=RunBoundary.RUN_CHECKPOINT)),
        ]
        if old is not None:
            events += [old, old, BoundaryApplied(old.run_id, evolve(old.receipt, message_count=8))]
        return self._send(data.draw(st.sampled_from(events)), "boundary, bad or again")

    def _op_complete_run(self, data: st.DataObject) -> Op:
        run_id = self._run(data)
        snapshot = data.draw(st.sampled_from((None, b"last snapshot")))
        result = data.draw(st.sampled_from((None, b"result")))
        output = RunOutput(snapshot, result)
        return Op(
            "complete_run",
            lambda m: m.complete_run(run_id, snapshot, result),
            lambda d: d.complete_run(run_id, output),
            CommandName.RUN_COMPLETED,
        )

    def _op_complete_current(self, data: st.DataObject) -> Op:
        return Op(
            "complete_run, current",
            lambda m: m.complete_current(),
            lambda d: d.complete_run(),
            CommandName.RUN_COMPLETED,
        )

    def _op_run_completed(self, data: st.DataObject) -> Op:
        run_id, ids = self._run(data), tuple(self.model.contributors)
        consumed = data.draw(st.sampled_from((ids, ids, ids[::-1], ids[1:], ids * 2)))
        event = RunCompleted(run_id, consumed, data.draw(st.sampled_from((None, b"by event"))))
        return Op(
            "run_completed",
            lambda m: m.run_completed(run_id, consumed, event.result),
            lambda d: d.on_run_event(event),
            CommandName.RUN_COMPLETED,
        )

    def _op_fail_run(self, data: st.DataObject) -> Op:
        run_id, recoverable = self._run(data), data.draw(st.booleans())
        return Op(
            "fail_run, recoverable" if recoverable else "fail_run, for good",
            lambda m: m.fail_run(run_id, "broken", recoverable=recoverable),
            lambda d: d.fail_run(run_id, "broken", recoverable=recoverable),
            CommandName.RUN_FAILED,
        )

    def _op_fail_event(self, data: st.DataObject) -> Op:
        run_id = self._run(data)
        return Op(
            "run_failed",
            lambda m: m.fail_run(run_id, "event", recoverable=True),
            lambda d: d.on_run_event(RunFailed(run_id, "event")),
            CommandName.RUN_FAILED,
        )

    def _op_cancel_run(self, data: st.DataObject) -> Op:
        run_id = self._run(data)
        return Op(
            "cancel_run",
            lambda m: m.cancel_run(run_id),
            lambda d: d.cancel_run(run_id),
            CommandName.RUN_CANCELLED,
        )

    def _op_cancel_event(self, data: st.DataObject) -> Op:
        run_id = self._run(data)
        if data.draw(st.booleans()):
            return Op("run_started", lambda m: (), lambda d: d.on_run_event(RunStarted(run_id)))
        return Op(
            "run_cancelled",
            lambda m: m.cancel_run(run_id),
            lambda d: d.on_run_event(RunCancelled(run_id)),
            CommandName.RUN_CANCELLED,
        )

    def _contributors(self, data: st.DataObject, state: str) -> tuple[Any, ...]:
        ids = [each for each in self.model.contributors if self.model.items[each].state == state]
        ids = ids[: data.draw(st.integers(1, 3))]
        if data.draw(st.integers(0, 5), label="wrong ids") == 0:
            ids = data.draw(st.sampled_from(([], ids * 2, [*ids, self._some_id(data)])))
        return tuple(ids)

    def _op_apply_input(self, data: st.DataObject) -> Op:
        run_id, ids = self._run(data), self._contributors(data, "staged")
        input_id = ids[0] if ids else self._some_id(data)
        return Op(
            "apply_input",
            lambda m: m.apply_input(input_id, run_id),
            lambda d: d.apply_input(input_id, run_id),
            CommandName.BOUNDARY_APPLIED,
        )

    def _op_consume_inputs(self, data: st.DataObject) -> Op:
        run_id, ids = self._run(data), self._contributors(data, "applied_pending_consumption")
        return Op(
            "consume_inputs",
            lambda m: m.consume_inputs(ids, run_id),
            lambda d: d.consume_inputs(ids, run_id),
            CommandName.CONSUME_INPUTS,
        )

    def _op_rollback_staged(self, data: st.DataObject) -> Op:
        ids = self._contributors(data, "staged")
        return Op(
            "rollback_staged",
            lambda m: m.rollback_staged(ids),
            lambda d: d.rollback_staged(ids),
            CommandName.ROLLBACK_STAGED,
        )

    def _op_attach(self, data: st.DataObject) -> Op:
        return Op("attach", lambda m: m.attach(), lambda d: d.attach(), CommandName.ATTACH)

    def _op_detach(self, data: st.DataObject) -> Op:
        return Op("detach", lambda m: m.detach(), lambda d: d.detach())

    def _op_resume(self, data: st.DataObject) -> Op:
        return Op(
            "resume",
            lambda m: m.resume(),
            lambda d: d.on_runtime_control(RuntimeControl.RESUME),
            CommandName.RESUME,
        )

    def _op_retire(self, data: st.DataObject) -> Op:
        return Op("retire", lambda m: m.retire(), lambda d: d.retire(), CommandName.RETIRE)

    def _op_reset(self, data: st.DataObject) -> Op:
        return Op("reset", lambda m: m.reset(), lambda d: d.reset(), CommandName.RESET)

    def _op_recycle(self, data: st.DataObject) -> Op:
        return Op("recycle", lambda m: m.recycle(), lambda d: d.recycle_preserving_work(), CommandName.RECYCLE)

    def _op_recover(self, data: st.DataObject) -> Op:
        return Op("recover", lambda m: m.recover(), lambda d: d.recover(), CommandName.RECOVER)

    def _op_close_down(self, data: st.DataObject) -> Op:
        how = data.draw(st.sampled_from(("stop", "destroy", "control")))
        if how == "stop":
            return Op("stop", lambda m: m.stop(), lambda d: d.stop(), CommandName.STOP)
        if how == "destroy":
            return Op("destroy", lambda m: m.destroy(), lambda d: d.destroy(), CommandName.DESTROY)
        return Op(
            "stop by control",
            lambda m: () if m.stop() else (),
            lambda d: d.on_runtime_control(RuntimeControl.STOP),
            CommandName.STOP,
        )


SOURCES_OF: Final = {
    "prompt": ("operator", "system"),
    "peer_message": ("peer", "system"),
    "peer_request": ("peer",),
    "peer_response_progress": ("peer", "system", "system"),
    "peer_response_terminal": ("peer",),
    "flow_step": ("flow",),
    "external_event": ("external", "system"),
    "continuation": ("system",),
    "operation": ("system", "flow"),
}
KINDS: Final = tuple(SOURCES_OF)
WORKING: Final = (
    *("boundary", "bad_boundary", "bad_boundary", "apply_input", "stage_batch", "begin_given", "start_run"),
    *("complete_run", "complete_current", "run_completed", "fail_run", "fail_event", "cancel_run", "cancel_event"),
    *("consume_inputs", "rollback_staged"),
)
"""What an executor calls."""

GROUPED: Final = (
    *WORKING,
    *("accept", "accept", "cancel_input", "abandon_pending", "attach", "detach", "retire", "reset", "recycle"),
    "close_down",
)
"""What may share a group whose answers can be foretold: a run id that is minted could not."""

EFFECTIVE: Final = (
    *(f"accept {kind}" for kind in KINDS),
    *("begin_run", "begin_run, given id", "start_run", "stage_batch, begin", "stage_batch, more", "boundary"),
    *("complete_run", "complete_run, current", "run_completed", "fail_run, recoverable", "fail_run, for good"),
    *("run_failed", "cancel_run", "run_cancelled", "run_started", "apply_input", "consume_inputs", "rollback_staged"),
    *("cancel_input", "abandon_pending", "silent intents", "attach", "detach", "resume", "retire", "reset", "recycle"),
    *("recover", "stop", "destroy", "stop by control", "crash", "crash by a fault", "second opener", "fenced"),
    *(f"fault: {fault.value}" for fault in Fault),
    *("fault while opening", "doubt", "doubt cleared up", "refused while unreadable", "begin and vanish"),
    *("group of accepts", "group of anything"),
)
"""What a campaign has to have done at least once, each with effect."""
