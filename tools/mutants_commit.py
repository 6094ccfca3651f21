"""Mutants of the steps of commit and recovery in the runtime: skipped, done too early, or half done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from attrs import evolve

from ..runtime import calls, flush, opening, recovery, settling, turn
from ..runtime.actor import Actor
from ..runtime.errors import StoreError
from ..runtime.flush import GroupCommitter
from ..runtime.group import Call, Group
from ..runtime.store import WriteResult, Written
from ..runtime.turn import Member, Merged, Turn
from .mutation import Mutant, Part, replaced

Change = tuple[Any, str, object]


def commit_mutants() -> Iterator[Mutant]:
    """All of them, by name."""
    for name, changes in _STEPS.items():
        yield Mutant(Part.CODE, name, patch=partial(replaced, *changes))


def nothing(*_given: object, **_named: object) -> None:
    """In place of a step that is skipped."""


def constantly(value: object) -> Callable[..., object]:
    """In place of a question: always the same answer."""

    def answer(*_given: object, **_named: object) -> object:
        return value

    return answer


# -- the flush ---------------------------------------------------------------------------------------------------------


def _answered_early(committer: GroupCommitter, group: Group, writing: Any, write: Any) -> None:
    committer._answer_all(group, {})  # noqa: SLF001
    _write_here(committer, group, writing, write)


def _published_early(committer: GroupCommitter, group: Group, writing: Any, write: Any) -> None:
    for member in group.members.values():
        member.actor.publish([delta for delta, _ in member.deltas])
    _write_here(committer, group, writing, write)


def _told_nothing_failed(committer: GroupCommitter, group: Group, _: Any) -> None:
    _answer_all(committer, group, {})


def _last_comes_first(committer: GroupCommitter, group: Group, reader: Any) -> None:
    committer._queue.reverse()  # noqa: SLF001
    _decide_all(committer, group, reader)


def _never_gives_back(committer: GroupCommitter, decided: Any) -> None:
    decided.turn.when_abandoned = None
    _take_effect(committer, decided)


def _not_landed(_: object, member: Member, error: StoreError) -> StoreError:
    return StoreError(error.problem, applied=False)


def _fenced_off_but_open(member: Member, error: object) -> None:
    member.undo()


def _thread_forgets(committer: GroupCommitter, done: Any) -> None:
    flight = committer._in_flight  # noqa: SLF001
    assert flight is not None, "a commit is under way"
    flight[0].decided[:] = flight[0].decided[:1]
    _finish(committer, done)


def _published_early_alone(committer: GroupCommitter, member: Member) -> WriteResult:
    member.actor.publish([delta for delta, _ in member.deltas])
    return _write_one(committer, member)


def _refusal_is_done(committer: GroupCommitter, member: Member) -> WriteResult:
    result = _write_one(committer, member)
    return result if isinstance(result, Written) else Written(member.commit())


def _failure_is_done(committer: GroupCommitter, member: Member) -> WriteResult:
    try:
        return _write_one(committer, member)
    except StoreError:
        return Written(member.commit())


def _presumption_is_told(committer: GroupCommitter, call: Call) -> None:
    if call.actor.needs_care(committer.store.generation):
        _flush_one(committer, call)
    elif not _flush_plainly(committer, call):
        call.future.set_exception(StoreError("it was presumed to be new, and is not", applied=False))


_write_one, _flush_one = GroupCommitter._write_one, GroupCommitter._flush_one  # noqa: SLF001
_flush_plainly = GroupCommitter._flush_plainly  # noqa: SLF001
_write_here, _answer_all = GroupCommitter._write_here, GroupCommitter._answer_all  # noqa: SLF001
_decide_all, _take_effect = GroupCommitter._decide_all, GroupCommitter._take_effect  # noqa: SLF001
_finish = GroupCommitter._finish  # noqa: SLF001

# -- what a commit holds -----------------------------------------------------------------------------------------------


def _commit_with(**changes: Callable[[Any, Member], object]) -> tuple[Change]:
    made = Member.commit

    def commit(member: Member) -> object:
        found: Any = made(member)
        return evolve(found, **{name: change(getattr(found, name), member) for name, change in changes.items()})

    return ((Member, "commit", commit),)


def _first_version_stays(merged: Merged, delta: Any) -> None:
    before = dict(merged.writes)
    _add(merged, delta)
    merged.writes.update(before)


def _without_of(name: str) -> Change:
    def add(merged: Merged, delta: Any) -> None:
        _add(merged, delta)
        value = getattr(merged, name)
        if value:
            setattr(merged, name, None if isinstance(value, bytes) else {})

    return (Merged, "add", add)


_add = Merged.add


def _undo_in_order(member: Member) -> None:
    for _, inverse in member.deltas:
        member.actor.image.apply(inverse)
    member.actor.opened_run = member.opened_run


def _undo_half(member: Member) -> None:
    member.deltas[:] = member.deltas[-1:]
    _undo(member)


_undo = Member.undo

# -- doubt and care ----------------------------------------------------------------------------------------------------


def _doubt_is_forgotten(actor: Actor, _: object, generation: int) -> None:
    actor.doubt, actor.generation = None, generation


def _doubt_is_told_but_not_applied(actor: Actor, given: Turn, generation: int) -> None:
    if actor.doubt is not None:
        actor.doubt.deltas = []
    _compare(actor, given, generation)


def _volatile_is_lost(actor: Actor, loaded: Any) -> object:
    actor.image.bodies.clear()
    return _with_volatile(actor, loaded)


def _nothing_is_published_but_memory(actor: Actor, deltas: list[Any]) -> None:
    _publish(actor, [])
    del deltas


_compare, _with_volatile, _publish = Actor._compare, Actor._with_volatile, Actor.publish  # noqa: SLF001

# -- recovery ----------------------------------------------------------------------------------------------------------


def _claimed_with(epoch: int, revision: int) -> Change:
    def claimed(image: Any, delta: Any) -> object:
        before = image.runtime
        delta.runtime = evolve(delta.runtime, epoch=before.epoch + epoch, revision=before.revision + revision)
        delta.stored = True
        return delta

    return (recovery, "_claimed", claimed)


def _receipts_are(listed: bool) -> Change:  # noqa: FBT001 - a constant in a table
    def identity(record: Any, _: object) -> dict[str, object]:
        return {"consumes_on_accept": record.admission.decision.consumes_on_accept, "receipt_lists": listed}

    return (recovery, "_identity", identity)


def _identity_unchecked(record: Any, listed: Any) -> dict[str, object]:
    run_id = record.last_run_id
    return {
        "consumes_on_accept": record.admission.decision.consumes_on_accept,
        "receipt_lists": run_id is not None and record.input_id in listed.get(run_id, ()),
    }


def _uncounted(stepper: Any, active: Any) -> object:
    report = _report(stepper, active)
    for before in active:
        after = stepper.after(before)
        if after is not before:
            stepper.amend(evolve(after, recovery_count=before.recovery_count))
    return report


_report, _untouched = recovery._report, recovery._untouched  # noqa: SLF001


def _untouched_unchecked(image: Any, command: Any) -> object:
    return _untouched(type(image)(evolve(image.runtime, current_run_id=None)), command)


_STEPS: Final[dict[str, tuple[Change, ...]]] = {
    "flush: the caller is answered before the write": ((GroupCommitter, "_write_here", _answered_early),),
    "flush: published before the write": ((GroupCommitter, "_write_here", _published_early),),
    "flush: a failed commit is answered as done": ((GroupCommitter, "_answer_all", _told_nothing_failed),),
    "flush: the last call is decided first": ((GroupCommitter, "_decide_all", _last_comes_first),),
    "flush: what is to happen after the commit does not": ((GroupCommitter, "_take_effect", staticmethod(nothing)),),
    "flush: a run whose caller is gone is kept": ((GroupCommitter, "_take_effect", _never_gives_back),),
    "flush: an unknown result counts as not landed": ((flush, "read_back", _not_landed),),
    "flush: an unknown result counts as landed": ((flush, "read_back", constantly(None)),),
    "flush: any revision counts as landed": ((settling, "verdict", constantly(None)),),
    "flush: a refused member is not taken back": ((flush, "take_back", nothing),),
    "flush: a fenced driver goes on": ((flush, "take_back", _fenced_off_but_open),),
    "flush: a thread's commit answers the first call alone": ((GroupCommitter, "_finish", _thread_forgets),),
    "flush: alone, published before the write": ((GroupCommitter, "_write_one", _published_early_alone),),
    "flush: alone, a refusal counts as done": ((GroupCommitter, "_write_one", _refusal_is_done),),
    "flush: alone, a failure counts as done": ((GroupCommitter, "_write_one", _failure_is_done),),
    "flush: alone, what was presumed to be new is refused": ((GroupCommitter, "_flush_one", _presumption_is_told),),
    "flush: in company, a refusal is told at once": ((Group, "take_first_tries", constantly([])),),
    "calls: whatever comes alone is presumed to be new": ((calls, "_is_unknown", constantly(True)),),
    "flush: any call may join a group": ((Group, "may_join", constantly(True)),),
    "turn: a refused call is not taken back": ((Turn, "take_back", nothing),),
    "turn: what was stepped is not kept": ((Member, "add", nothing),),
    "turn: a failed commit is not undone": ((Member, "undo", nothing),),
    "turn: undone in the wrong order": ((Member, "undo", _undo_in_order),),
    "turn: only the last step is undone": ((Member, "undo", _undo_half),),
    "turn: of a row that changed twice the first version is written": ((Merged, "add", _first_version_stays),),
    "turn: a merged commit has no receipts": (_without_of("receipts"),),
    "turn: a merged commit has no results": (_without_of("results"),),
    "turn: a merged commit has no snapshot": (_without_of("snapshot"),),
    "turn: a group forgets its keys": (_without_of("keys"),),
    "turn: a group forgets its blobs": (_without_of("blobs"),),
    "turn: the last input is not written": _commit_with(inputs=lambda inputs, _: inputs[:-1]),
    "turn: inputs are written the other way round": _commit_with(inputs=lambda inputs, _: inputs[::-1]),
    "turn: no input is new": _commit_with(inputs=lambda inputs, _: [evolve(each, is_new=False) for each in inputs]),
    "turn: payloads are not stored": _commit_with(
        inputs=lambda inputs, _: [evolve(each, body=None) for each in inputs]
    ),
    "turn: payloads are never dropped": _commit_with(
        inputs=lambda inputs, _: [evolve(each, drop_body=False) for each in inputs]
    ),
    "turn: receipts are not written": _commit_with(receipts=lambda *_: []),
    "turn: results are not written": _commit_with(results=lambda *_: []),
    "turn: blobs are not written": _commit_with(blobs=lambda *_: []),
    "turn: the snapshot is not written": _commit_with(snapshot=lambda *_: None),
    "turn: the log is not written": _commit_with(events=lambda *_: []),
    "turn: the log is written backwards": _commit_with(events=lambda events, _: events[::-1]),
    "turn: attached is stored": _commit_with(runtime=lambda _, member: member.actor.image.runtime),
    "turn: counts are not stored": _commit_with(
        runtime=lambda runtime, member: evolve(runtime, counts=member.actor.committed.counts)
    ),
    "turn: the revision is not raised": _commit_with(
        runtime=lambda runtime, member: evolve(runtime, revision=member.base_revision)
    ),
    "turn: builds on the revision after it": _commit_with(base_revision=lambda base, _: base + 1),
    "turn: claims an older epoch": _commit_with(epoch=lambda epoch, _: epoch - 1),
    "turn: ephemeral inputs are written": ((turn, "_EPHEMERAL", None),),
    "actor: nothing is published": ((Actor, "publish", nothing),),
    "actor: events and signals are not published": ((Actor, "publish", _nothing_is_published_but_memory),),
    "actor: no care is taken": ((Actor, "needs_care", constantly(False)),),
    "actor: care settles nothing": ((Actor, "take_care", nothing),),
    "actor: a doubt is forgotten": ((Actor, "_compare", _doubt_is_forgotten),),
    "actor: a doubt that landed is not applied": ((Actor, "_compare", _doubt_is_told_but_not_applied),),
    "actor: a run is never handed out": ((Actor, "hand_out", nothing),),
    "actor: a fenced driver is not finished": ((Actor, "fence", nothing),),
    "actor: the epoch is not looked at": ((Actor, "check_epoch", nothing),),
    "actor: a reload loses ephemeral inputs": ((Actor, "_with_volatile", _volatile_is_lost),),
    "opening: a claim of unknown result is not made again": ((opening, "CLAIM_ATTEMPTS", 1),),
    "recovery: the epoch is not raised": (_claimed_with(0, 1),),
    "recovery: the epoch is raised twice": (_claimed_with(2, 1),),
    "recovery: an opening does not raise the revision": (_claimed_with(1, 0),),
    "recovery: no receipt is looked at": (_receipts_are(listed=False),),
    "recovery: every input counts as listed": (_receipts_are(listed=True),),
    "recovery: a listed input that is not applied is let through": ((recovery, "_identity", _identity_unchecked),),
    "recovery: order keys are not checked": ((recovery, "_check_orders", nothing),),
    "recovery: what has ended is not checked": ((recovery, "_untouched", _untouched_unchecked),),
    "recovery: recovering what is settled commits": ((recovery, "_without_idle_commit", lambda _, delta: delta),),
    "recovery: recoveries are not counted": ((recovery, "_report", _uncounted),),
    "recovery: nothing wakes for what is queued": ((recovery, "_queued_after", constantly(())),),
}
