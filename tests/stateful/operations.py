"""Single calls, each drawn for the present state: the driver's side and the model's side of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

from attrs import evolve
from hypothesis import strategies as st

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.ids import InputId
from holdstate.runtime.outcomes import BoundaryApplied, RunCancelled, RunCompleted, RunFailed, RunOutput, RunStarted
from holdstate.runtime.records import RunBoundaryReceipt
from holdstate.spec.vocabulary import AbandonReason, CommandName, RunBoundary, RuntimeControl

from .harness import plain_receipt, real_input
from .model import Answer, Given, Model
from .world import Op, World

INTENTS: Final = ("ask", "tell")

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
    *("consume_inputs", "rollback_staged", "take_steers"),
)
"""What an executor calls."""

GROUPED: Final = (
    *WORKING,
    *("accept", "accept", "cancel_input", "abandon_pending", "attach", "detach", "retire", "reset", "recycle"),
    "close_down",
)
"""What may share a group whose answers can be foretold: a run id that is minted could not."""


class Operations(World):
    """Draws calls. ``_op_<name>`` makes one."""

    def _draw_given(self, data: st.DataObject) -> Given:
        kind = data.draw(st.sampled_from(KINDS), label="kind")
        modes: tuple[str | None, ...] = (None, None, "queue", "steer")
        if kind in {"external_event", "continuation"}:
            modes = ("queue", "steer")
        elif kind not in {"prompt", "flow_step"}:
            modes = (None,)
        # The id of an ephemeral input that ended is not used again: nothing remembers it but the receipt that lists it.
        light = {each.id for each in self.inputs if each.durability == "ephemeral"}
        known = [each.id for each in self.inputs if each.id in self.model.items or each.id not in light]
        again = known and data.draw(st.integers(0, 7), label="again") == 0
        given = Given(
            data.draw(st.sampled_from(known)) if again else self.clock.new_id(),
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
            if model.steer_prefix():
                names += ["take_steers", "take_steers"]
            if len(model.staged()) < len(model.contributors):
                names += ["consume_inputs", "consume_inputs", "complete_current", "complete_current"]
        elif model.opened is not None:
            names = ["stage_batch", "stage_batch", "stage_batch", "cancel_run", "complete_current"]
        elif model.next_batch():
            names = ["begin_given", "begin_given", "start_run", "cancel_input"]
        else:
            names = ["accept"]
        return data.draw(st.sampled_from(names))

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
        likely = queued and data.draw(st.integers(0, 1), label="likely") == 0
        input_id = data.draw(st.sampled_from(queued)) if likely else self._some_id(data)
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

    def _op_take_steers(self, data: st.DataObject) -> Op:
        run_id = self._run(data)
        return Op(
            "take_steers", lambda m: m.take_steers(run_id), lambda d: d.take_steers(run_id), CommandName.STAGE_MORE
        )

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
        run_id: Any = self.model.run or self.clock.new_id()
        good = self._receipt(run_id, None)
        ids, stranger = good.contributing_input_ids, InputId(self.clock.new_id())
        old = data.draw(st.sampled_from(self.sent[-4:])) if self.sent else None
        events = [
            BoundaryApplied(self._any_run(data), good),
            BoundaryApplied(run_id, evolve(good, sequence=good.sequence + 1)),
            BoundaryApplied(run_id, evolve(good, contributing_input_ids=ids[1:])),
            BoundaryApplied(run_id, evolve(good, contributing_input_ids=ids[::-1])),
            BoundaryApplied(run_id, evolve(good, contributing_input_ids=(*ids, stranger))),
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
            return Op("run_started", lambda _: (), lambda d: d.on_run_event(RunStarted(run_id)))
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
            lambda m: m.stop()[:0],
            lambda d: d.on_runtime_control(RuntimeControl.STOP),
            CommandName.STOP,
        )
