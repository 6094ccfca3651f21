"""Group commit: all calls of one turn of the loop, from all drivers of a store, in one write transaction.

``docs/architecture.md`` has the rule. One committer per store, found by ``committer_of``; it belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from contextlib import nullcontext
from time import perf_counter
from typing import cast, final
from weakref import WeakValueDictionary

from ..spec.errors import HoldstateError
from .actor import Actor
from .answers import answer_to, as_store_error, is_gone, is_idle
from .collector import paused_collector
from .commit_thread import CommitThread
from .errors import StoreError, WrongLoop
from .group import Call, Decided, Group, Opening
from .settling import publish, read_back, take_back
from .store import Claim, RuntimeStore, WriteResult, Written
from .store_view import StoreView
from .turn import Member, Turn

MOST_IN_A_ROW = 32
"""Calls that are flushed at once before one goes through the loop, which looks for input and timers meanwhile."""

LONGEST_HOLD_SECONDS = 0.01
"""Time that such calls may spend in commits before one goes through the loop."""

FEW = 8
"""A group of more calls is decided and written with the garbage collector paused."""

MAX_GROUP = 512
"""Calls in one group, so that the loop is never held for long."""


@final
class GroupCommitter:
    """The queue of one store, and the only caller of its writing function while drivers are open."""

    def __init__(self, store: RuntimeStore) -> None:
        self._store = store
        self._queue: deque[Call | Opening] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._is_flushing = False
        self._in_a_row = 0
        self._held_seconds = 0.0
        self._in_flight: tuple[Group, list[Member | Opening], ThreadFuture[list[WriteResult]]] | None = None
        self._thread = CommitThread()

    @property
    def store(self) -> RuntimeStore:
        return self._store

    # -- what drivers call -----------------------------------------------------------------------------------------

    def submit(self, actor: Actor, decide: Callable[[Turn], object], *, alone: bool = False) -> asyncio.Future[object]:
        """Queue a call. Cancelling the future while the call is queued takes it back; later the call happens."""
        future = self._new_future()
        self._enqueue(Call(actor, decide, future, alone))
        return future

    def call(self, actor: Actor, decide: Callable[[Turn], object], *, alone: bool = False) -> asyncio.Future[object]:
        """``submit`` for a caller who awaits the future at once. Where nothing else is ready to run on the loop, the
        group would have this one call: then it is flushed before this returns.
        """
        future = self._new_future()
        call = Call(actor, decide, future, alone)
        if self._scheduled or self._is_flushing or self._in_flight is not None:
            self._queue.append(call)
        elif self._in_a_row < MOST_IN_A_ROW and self._held_seconds < LONGEST_HOLD_SECONDS and is_idle(self._loop):
            self._in_a_row += 1
            self._is_flushing = True
            try:
                self._flush_one(call)
            finally:
                self._end_flush()
        else:
            self._in_a_row, self._held_seconds = 0, 0.0
            self._enqueue(call)
        return future

    def submit_quietly(self, actor: Actor, decide: Callable[[Turn], object]) -> None:
        """Queue a call that nobody waits for; a failure is left to the next open, which recovers the same."""
        self.submit(actor, decide).add_done_callback(lambda future: future.cancelled() or future.exception())

    def open(self, claim: Claim) -> asyncio.Future[object]:
        """Queue a claim; the future gets the ``Commit`` that took effect."""
        future = self._new_future()
        self._enqueue(Opening(claim, future))
        return future

    def _new_future(self) -> asyncio.Future[object]:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._adopt(loop)
        return loop.create_future()

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and not self._loop.is_closed():
            raise WrongLoop
        # Calls that wait died with their loop; a commit under way has happened or not, and is settled on this one.
        self._queue.clear()
        self._scheduled = False
        self._loop = loop
        if self._in_flight is not None:
            self._finish(self._in_flight[2])

    def _enqueue(self, entry: Call | Opening) -> None:
        self._queue.append(entry)
        self._schedule()

    def _schedule(self) -> None:
        # What is queued from within a flush is seen to at its end, for it may leave a write under way.
        if not self._scheduled and not self._is_flushing and self._in_flight is None and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    # -- one flush -------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._scheduled = False
        self._is_flushing = True
        queue = self._queue
        try:
            if len(queue) == 1 and isinstance(queue[0], Call):
                self._flush_one(cast("Call", queue.popleft()))
            else:
                with paused_collector() if len(queue) > FEW else nullcontext():
                    self._flush_queue()
        finally:
            self._end_flush()

    def _end_flush(self) -> None:
        self._is_flushing = False
        if self._queue:
            self._schedule()

    def _flush_one(self, call: Call) -> None:
        """A flush of one call. What is out of the ordinary is left to a group.

        An input that nobody in memory knows is presumed to be new, for the write looks into the store anyway. Where
        the store refuses it, nothing was changed, and the call is decided again by what the store says; once.
        """
        if call.future.cancelled():
            return
        needs_care = call.actor.needs_care(self._store.generation)
        if needs_care or self._thread.is_wanted or not self._flush_plainly(call):
            self._queue.appendleft(call)
            self._flush_queue(presumes_new=not needs_care)

    def _flush_plainly(self, call: Call) -> bool:
        """Decide, write and answer ``call``, as straight as it goes; False where it has to look first."""
        actor, view = call.actor, StoreView(self._store)
        member = Member(actor)
        turn = Turn(actor, member, view, presumes_new=not call.looks_first)
        try:
            try:
                actor.check_open()
                outcome = call.decide(turn)
            finally:
                view.close()
            member.add(turn.applied)
        except Exception as error:  # noqa: BLE001 - whatever refused the call, its caller hears of it
            turn.take_back()
            call.future.set_exception(error)
            return True
        if member.is_stored:
            try:
                result = self._write_one(member)
            except StoreError as error:
                group = Group()
                group.members[actor.runtime_id] = member
                group.decided.append(Decided(call, outcome, turn))
                self._settle_failure(group, (member,), error)
                return True
            if not isinstance(result, Written):
                if isinstance(result, StoreError) and not call.looks_first:
                    member.undo()
                    call.looks_first = True
                    return False
                take_back(member, result)
                call.future.set_exception(result)
                return True
        actor.publish([delta for delta, _ in member.deltas])
        # Its caller is still there: nothing else ran on the loop since the call was taken up.
        for effect in turn.after_commit:
            effect()
        call.future.set_result(outcome)
        return True

    def _write_one(self, member: Member) -> WriteResult:
        """Raises ``StoreError``, whose ``applied`` says what is known, where the store raised anything."""
        applied: bool | None = False
        try:
            write = self._store.prepare([member.commit()])
            applied, started = None, perf_counter()
            (result,) = write()
        except StoreError:
            raise
        except Exception as error:
            raise as_store_error(error, applied=applied) from error
        taken = perf_counter() - started
        self._held_seconds += taken
        self._thread.note(taken)
        return result

    def _flush_queue(self, *, presumes_new: bool = False) -> None:
        group, view = Group(presumes_new=presumes_new), StoreView(self._store)
        self._decide_all(group, view)
        self._write_group(group, view)

    def _write_group(self, group: Group, view: StoreView) -> None:
        writing = group.writing()
        try:
            view.close()
            items = [each.commit() if isinstance(each, Member) else each.claim for each in writing]
            write = self._store.prepare(items) if items else list
        except Exception as error:  # noqa: BLE001 - nothing was written yet, whatever it was
            self._settle_failure(group, writing, as_store_error(error, applied=False))
            return
        if items and self._thread.is_wanted and self._loop is not None:
            future = self._thread.start(write, self._loop, self._finish)
            if future is not None:
                self._in_flight = (group, writing, future)
                return
        self._write_here(group, writing, write)

    def _decide_all(self, group: Group, view: StoreView) -> None:
        """Decide the queued calls in order; a call that cannot join this group waits with all later ones of its
        runtime.
        """
        waiting: list[Call | Opening] = []
        held: set[str] = set()
        for _ in range(min(len(self._queue), MAX_GROUP)):
            entry = self._queue.popleft()
            runtime_id = entry.claim.runtime_id if isinstance(entry, Opening) else entry.actor.runtime_id
            if entry.future.cancelled():
                continue
            if runtime_id in held or not group.may_join(entry, runtime_id):
                held.add(runtime_id)
                waiting.append(entry)
            elif isinstance(entry, Opening):
                group.openings[runtime_id] = entry
            elif not self._decide(group, entry, view):
                held.add(runtime_id)
                group.postponed.append(entry)
        self._queue.extendleft(reversed(waiting))

    def _decide(self, group: Group, call: Call, view: StoreView) -> bool:
        """Decide or refuse ``call``; False where it has to wait, because care was taken that it needs in the store."""
        actor = call.actor
        member = group.members.get(actor.runtime_id) or Member(actor)
        turn = Turn(actor, member, view, presumes_new=group.presumes_new and not call.looks_first)
        try:
            actor.check_open()
            if not member.deltas and actor.needs_care(self._store.generation):
                actor.take_care(turn, self._store.generation)
                self._keep(group, member, turn)
                if call.alone and member.deltas:
                    return False
                turn = Turn(actor, member, view)
            if member.deltas:
                member.merge()
            outcome = call.decide(turn)
            self._keep(group, member, turn)
        except Exception as error:  # noqa: BLE001 - whatever refused the call, its caller hears of it
            turn.take_back()
            if not member.deltas:
                call.future.set_exception(error)
                return True
            outcome = error  # it may rest on what is not committed yet (C18)
        group.decided.append(Decided(call, outcome, turn))
        return True

    @staticmethod
    def _keep(group: Group, member: Member, turn: Turn) -> None:
        member.add(turn.applied)
        group.members[member.actor.runtime_id] = member

    # -- the write -------------------------------------------------------------------------------------------------

    def _write_here(
        self, group: Group, writing: Sequence[Member | Opening], write: Callable[[], list[WriteResult]]
    ) -> None:
        started = perf_counter()
        try:
            results = write()
        except Exception as error:  # noqa: BLE001 - a failure of its own kind says nothing of the commit
            self._settle_failure(group, writing, as_store_error(error, applied=None))
        else:
            if writing:
                self._thread.note(perf_counter() - started)
            self._settle(group, writing, results)

    def _finish(self, done: ThreadFuture[list[WriteResult]]) -> None:
        assert self._in_flight is not None, "a commit is settled once, by its loop or by the one that adopts it"
        group, writing, _ = self._in_flight
        self._in_flight = None
        self._is_flushing = True
        try:
            results = done.result()
        except Exception as error:  # noqa: BLE001 - as in _write_here
            self._settle_failure(group, writing, as_store_error(error, applied=None))
        else:
            self._settle(group, writing, results)
        finally:
            self._end_flush()

    # -- after the write -------------------------------------------------------------------------------------------

    def _settle(self, group: Group, writing: Sequence[Member | Opening], results: Sequence[WriteResult]) -> None:
        failed: dict[str, HoldstateError] = {}
        for item, result in zip(writing, results, strict=True):
            if isinstance(item, Opening):
                answer_to(item.future, result.commit if isinstance(result, Written) else result)
            elif not isinstance(result, Written):
                take_back(item, result)
                failed[item.actor.runtime_id] = result
                if isinstance(result, StoreError):
                    self._decide_again(group.take_first_tries(item.actor))
        publish(group, failed)
        self._answer_all(group, failed)

    def _decide_again(self, calls: Sequence[Call]) -> None:
        """The store refused what came of ``calls``: it is not as it was presumed to be, or no longer as it was when
        they looked. They are next in line, to be decided by what it says now.
        """
        for call in calls:
            call.looks_first = True
        self._queue.extendleft(reversed(calls))

    def _answer_all(self, group: Group, failed: dict[str, HoldstateError]) -> None:
        for decided in group.decided:
            call, turn = decided.call, decided.turn
            error = failed.get(call.actor.runtime_id) if failed else None
            if error is None and (turn.after_commit or turn.when_abandoned is not None):
                self._take_effect(decided)
            answer_to(call.future, decided.outcome if error is None else error)
        for call in group.postponed:
            error = failed.get(call.actor.runtime_id)
            if error is not None:
                answer_to(call.future, error)
            elif not is_gone(call.future):
                self._queue.appendleft(call)

    def _take_effect(self, decided: Decided) -> None:
        """Let what the call meant to do after its commit happen, unless its caller is gone: then a run it began goes
        back.
        """
        abandoned = decided.turn.when_abandoned if is_gone(decided.call.future) else None
        if abandoned is not None:
            self.submit_quietly(decided.call.actor, abandoned)
            return
        for effect in decided.turn.after_commit:
            effect()

    def _settle_failure(self, group: Group, writing: Sequence[Member | Opening], error: StoreError) -> None:
        """The whole group failed. Where it is unknown whether it landed, each runtime's revision is read back."""
        failed: dict[str, HoldstateError] = {}
        writing_members = [item for item in writing if isinstance(item, Member)]
        for item in writing:
            if isinstance(item, Opening):
                answer_to(item.future, error)
        for member in writing_members:
            verdict = error if error.applied is False else read_back(self._store, member, error)
            if verdict is not None:
                failed[member.actor.runtime_id] = verdict
                member.undo()
        publish(group, failed)
        self._answer_all(group, failed)


_committers: WeakValueDictionary[int, GroupCommitter] = WeakValueDictionary()


def committer_of(store: RuntimeStore) -> GroupCommitter:
    """The committer of ``store``: one for as long as anybody uses it. It holds the store, so no id is seen twice."""
    committer = _committers.get(id(store))
    if committer is None:
        committer = _committers[id(store)] = GroupCommitter(store)
    return committer
