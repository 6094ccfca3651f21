"""One runtime, its model and a store that fails as planned: calls are made beside the model and held against it.

Calls of one group are made in one turn of the loop. The model says what each must answer and what is there afterwards,
whatever the planned fault does: the state before the group or the one after it, nothing between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, final

from attrs import frozen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.errors import StoreError
from holdstate.runtime.outcomes import BoundaryApplied
from holdstate.runtime.store import RuntimeStore
from holdstate.spec.invariants import check_image
from holdstate.spec.relations import acked_is_durable, handed_out_run_is_current, memory_equals_store
from holdstate.spec.step_properties import check_step
from holdstate.spec.views import View
from holdstate.spec.vocabulary import CommandName
from tests.faults import Fault, FaultyStore, Plan

from .harness import Clock, Loop, differences, memory_view, plain, settings_of, stored_view
from .model import Answer, Given, Model, Refused, Rules

FOREVER: Final = 10**9
EARLY: Final = (("rejected", "derived_forbidden"), ("rejected", "key_needs_durable"))
"""What is answered before the store is asked."""


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


class World(RuleBasedStateMachine):
    """Subclasses give ``new_store``; ``taken`` counts over all examples what happened."""

    taken: ClassVar[Counter[str]]
    steps: ClassVar[Counter[str]] = Counter()
    """Rules that were taken, over all examples of all machines; ``begun`` counts the examples."""
    vanishing: ClassVar[bool] = True
    """Whether turns of the loop can be counted: where commits run on a thread they cannot."""

    def new_store(self) -> RuntimeStore:
        raise AssertionError("each kind of store has a machine of its own")

    def drop_store(self) -> None:
        self.store.close()

    # -- the world ----------------------------------------------------------------------------------------------------

    @initialize(attempts=st.sampled_from([1, 2, 3, 3]), batch=st.sampled_from([1, 3]))
    def begin(self, attempts: int, batch: int) -> None:
        self.steps["begun"] += 1
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
        died, driver = False, self._claim()
        while driver is None:
            if self.failing_for_good:  # the process died in it: the next one has a store that works
                self.store.arm(Plan())
                died = True
            driver = self._claim()
        self.driver = driver
        self.saw_ephemeral = False
        if self.store.struck == struck and not died:
            assert plain(driver.recovery_report) == report
            if before is not None:
                self._judge(before, CommandName.OPEN)
        else:
            self.taken["fault while opening"] += 1

    def _claim(self) -> PersistentRuntimeDriver | None:
        """One try to open; None where the store failed and said so."""
        settings, environment = settings_of(self.rules_in_force), self.clock.environment()
        (answer,) = self.loop.run(
            lambda: PersistentRuntimeDriver.open(
                self.runtime_id, self.store, settings=settings, environment=environment
            )
        )
        if isinstance(answer, PersistentRuntimeDriver):
            return answer
        assert isinstance(answer, StoreError), answer
        assert answer.applied is not True
        return None

    def _minted(self, drawn: int) -> Any:
        return Clock(drawn=drawn).new_id()

    @property
    def failing(self) -> bool:
        return self.store._failing_reads > 0

    @property
    def failing_for_good(self) -> bool:
        return self.store._failing_reads > FOREVER // 2

    # -- one group of calls -------------------------------------------------------------------------------------------

    def perform(self, *ops: Op) -> list[Any]:
        """Make the calls of ``ops`` in one turn of the loop and hold what happens against the model."""
        driver = self.driver
        assert driver is not None
        failing, drawn = self.failing, self.clock.drawn
        before, after, wanted = self._foretell(ops)
        if self.doubt is not None and not failing and any(want not in EARLY for want in wanted):
            self.model, self.doubt = self.doubt.settled, None
            self.taken["doubt cleared up"] += 1
            before, after, wanted = self._foretell(ops)
        # One command from a state that is known: what care takes before it would be part of the step.
        is_clear = driver._actor.doubt is None and before.run == before.held and not before.untold
        one = len(ops) == 1 and not failing and is_clear
        seen = memory_view(driver, self.inner) if one else None
        struck = self.store.struck
        answers = self.loop.run(*((lambda op=op: op.real(driver)) for op in ops))
        if failing and self.doubt is not None:
            self._all_refused(answers, wanted)
        elif failing:
            # A run id that is minted is foretold by what was drawn before.
            self.clock.drawn, drawn = drawn, self.clock.drawn
            self._as_far_as_nobody_looks(before, answers, ops)
            self.clock.drawn = drawn
        elif self.store.struck > struck:
            self._struck(before, after, answers, wanted)
        else:
            self._as_foretold(after, answers, wanted, ops)
            if seen is not None and ops[0].command is not None and not isinstance(wanted[0], Refused):
                self._judge(seen, ops[0].command)
        return answers

    def _foretell(self, ops: tuple[Op, ...]) -> tuple[Model, Model, list[Answer | Refused]]:
        before = self.model
        before.now, before.jitter, before.taken = self.clock.seconds, self.clock.jitter, ()
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

    def _as_foretold(
        self, after: Model, answers: list[Any], wanted: list[Answer | Refused], ops: tuple[Op, ...]
    ) -> None:
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
        assert not isinstance(answer, BaseException), f"expected {want}, got {answer!r}"
        assert plain(answer) == want
        if want[0:1] == ("accepted",) and answer.record.admission.durability.value != "ephemeral":
            self.acknowledged.add(answer.input_id)

    def _all_refused(self, answers: list[Any], wanted: list[Answer | Refused]) -> None:
        """In doubt, and the store cannot be read: nothing is decided, and the first cause is told (C35)."""
        assert self.doubt is not None
        for answer, want in zip(answers, wanted, strict=True):
            if want in EARLY:
                assert plain(answer) == want
                continue
            assert isinstance(answer, StoreError), answer
            assert (answer.applied, answer.problem) == (None, self.doubt.problem)
            self.taken["refused while unreadable"] += 1

    def _as_far_as_nobody_looks(self, before: Model, answers: list[Any], ops: tuple[Op, ...]) -> None:
        """The store cannot be read: who has to look into it is refused, everybody else is answered as ever."""
        assert self.driver is not None
        after = before.copy()
        image = self.driver._actor.image
        if image.runtime.current_run_id != before.run or not set(before.untold) <= set(image.runtime.contributors):
            after.drop_orphan()
        for answer, op in zip(answers, ops, strict=True):
            if isinstance(answer, StoreError):
                assert answer.applied is False
                self.taken["refused while unreadable"] += 1
                continue
            trial = after.copy()
            try:
                want: Answer | Refused = op.model(trial)
                after = trial
            except Refused as refusal:
                want = refusal
            self._compare(answer, want)
            self.taken["answered while unreadable"] += not isinstance(want, Refused) and want[:1] != ("rejected",)
        self.model = after

    def _struck(self, before: Model, after: Model, answers: list[Any], wanted: list[Answer | Refused]) -> None:
        plan = self.store.plan
        self.taken[f"fault: {plan.fault.value}"] += 1
        if plan.fault in {Fault.DIES_BEFORE, Fault.DIES_AFTER}:
            self.model = after if plan.fault is Fault.DIES_AFTER else before
            self.driver = None
            return
        unreadable = plan.fault is not Fault.REFUSED and plan.failing_reads > 0
        landed = plan.fault is Fault.LANDED
        asked = [(answer, want) for answer, want in zip(answers, wanted, strict=True) if want not in EARLY]
        if landed and not unreadable and len(asked) == 1 and isinstance(asked[0][0], StoreError):
            # An old input that came alone was presumed to be new: its write landed and was refused by the store.
            ((answer, want),) = asked
            assert not isinstance(want, Refused), answer
            assert want[:1] == ("deduplicated",), answer
            assert answer.applied is False
            self.taken["a refused write landed"] += 1
            self.model = before
            return
        problems: set[str] = set()
        for answer, want in zip(answers, wanted, strict=True):
            # A refusal that rests on what the group decided before it shares its fate (C18).
            refused = isinstance(want, Refused) and not isinstance(answer, StoreError)
            if refused or want in EARLY or (landed and not unreadable):
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
        """``after``, whose callers were told nothing: nobody holds a run that it began or opened, nor its steers."""
        settled = after.copy()
        settled.held = before.held if after.run is not None and after.run == before.held else None
        settled.opened = before.opened if after.opened == before.opened else None
        settled.untold = tuple(each for each in after.taken if after.items[each].state == "staged")
        return settled

    def _judge(self, before: View, command: CommandName) -> None:
        assert self.driver is not None
        after = memory_view(self.driver, self.inner)
        if (command, after.runtime.revision) in {
            (each, before.runtime.revision) for each in (CommandName.BEGIN_RUN, CommandName.STAGE_MORE)
        }:
            return  # there was nothing to stage
        findings = check_step(before, command, after)
        assert not findings, findings

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def all_agrees(self) -> None:
        self.steps["taken"] += 1
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
        apart = list(memory_equals_store(memory, stored, saw_ephemeral=self.saw_ephemeral))
        assert not apart, apart
        assert not list(handed_out_run_is_current(actor.handed_out, memory))
        found = differences(self.model, self.driver, self.inner)
        assert not found, "\n".join(found)
        assert actor.committed is actor.image.runtime

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.loop.close()
        self.drop_store()
