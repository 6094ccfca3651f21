"""Bugs of every kind of fault, planted on purpose: the tests that show how a fault is met have to find them.

``HOLDSTATE_PLANTED=NAME python -m pytest -p tests.planted_bugs …`` runs tests with one of them, the programs that these
start included. No source is edited.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any, Final

from attrs import evolve

from holdstate.runtime import admitting, core, recovery, worker
from holdstate.runtime.actor import Actor
from holdstate.runtime.backpressure import Load
from holdstate.runtime.executor import ActiveRun, Executor, Verdict, _failure_of, _output_of
from holdstate.runtime.flush import GroupCommitter
from holdstate.runtime.store import InputWrite
from holdstate.runtime.turn import Member
from holdstate.spec.vocabulary import InputState
from holdstate.stores import lmdb_environment, lmdb_errors, lmdb_opening, lmdb_reader, lmdb_writer
from holdstate.stores.codec import encode_number
from holdstate.stores.codec_envelope import sealed
from holdstate.stores.lmdb_environment import StoreEnvironment
from holdstate.stores.lmdb_rows import FORMAT_KEY, META, ORDERS, STORE_FORMAT, input_key
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.lmdb_writer import GroupWriter, releases
from holdstate.tools.mutants_commit import commit_mutants, constantly, nothing

VARIABLE: Final = "HOLDSTATE_PLANTED"
Change = tuple[Any, str, object]


def _same_key_for_like_names(prefix: bytes, key: str) -> bytes:
    return prefix + key.strip().casefold().encode()[:32].ljust(32)


def _epoch_is_not_compared(self: Any, commit: Any, prefix: bytes) -> int:
    stored = self._stored_fence(prefix, commit.runtime.runtime_id)
    return int(stored.next_order)


async def _only_exceptions_are_caught(executor: Executor, run: ActiveRun) -> Verdict:
    try:
        return _output_of(await executor.apply(run))
    except Exception as error:  # noqa: BLE001 - user code
        return _failure_of(error)


def _a_crash_is_free(stepper: Any, active: Any) -> Any:
    for before in active:
        after = stepper.after(before)
        if after is not before and after.state is InputState.QUEUED:
            stepper.amend(evolve(after, failure_count=before.failure_count))
    return _report(stepper, active)


def _a_leaver_takes_its_commit_along(committer: Any, done: Any) -> None:
    group, _, _ = committer._in_flight
    if group.decided and all(each.call.future.cancelled() for each in group.decided):
        for member in group.members.values():
            member.undo()
    _finish(committer, done)


def _any_file_will_do(environment: StoreEnvironment) -> os.stat_result:
    return environment.path.stat()


def _every_accept_commits_twice(store: LmdbStore, group: Any) -> Any:
    write = _prepare(store, group)

    def twice() -> Any:
        results = write()
        store._environment.write(lambda rows: rows.put(META, FORMAT_KEY, encode_number(STORE_FORMAT)))
        return results

    return write if releases(group) else twice


def _every_accept_puts_a_row_more(made: Any, prefix: bytes, place: bytes, write: Any) -> None:
    _draft_admission(made, prefix, place, write)
    input_id = write.record.admission.input_id
    made.puts.append(sealed(ORDERS, input_key(prefix, input_id), encode_number(write.record.order)))


def _a_commit_has_every_input(member: Member) -> Any:
    commit = _commit(member)
    changed = {write.record.input_id for write in commit.inputs}
    others = [each for each in member.actor.image.active() if each.input_id not in changed]
    return evolve(commit, inputs=[*commit.inputs, *(InputWrite(each, is_new=False, body=None) for each in others)])


def _a_step_copies_the_state(image: Any, command: Any, settings: Any) -> Any:
    copy = list(image.inputs.items())
    delta = _step(image, command, settings)
    assert len(copy) == len(image.inputs)
    return delta


def _publishing_copies_the_state(actor: Actor, deltas: Any) -> None:
    copy = dict(actor.image.inputs)
    _publish(actor, deltas)
    assert copy.keys() == actor.image.inputs.keys()


def _publishing_walks_the_state(actor: Actor, deltas: Any) -> None:
    assert all(record.is_terminal is False for record in actor.image.inputs.values())
    _publish(actor, deltas)


_report, _finish = recovery._report, GroupCommitter._finish
_prepare, _draft_admission, _commit = LmdbStore.prepare, lmdb_writer._draft_admission, Member.commit
_step, _publish = core.step, Actor.publish

PLANTED: Final[dict[str, tuple[Change, ...]]] = {
    "a read-only disk is an error like any other": ((lmdb_errors, "_READ_ONLY", frozenset()),),
    "a full disk is an error like any other": ((lmdb_errors, "_FULL", frozenset()),),
    "the map does not grow": ((StoreEnvironment, "_grow", constantly(value=False)),),
    "a file is mapped unseen": ((lmdb_opening, "check_data_file", nothing),),
    "the format of a store is not looked at": ((lmdb_opening, "_check_format", nothing),),
    "places of dead readers are kept": (
        (lmdb_opening, "clear_dead_readers", nothing),
        (lmdb_environment, "clear_dead_readers", nothing),
    ),
    "a file that went is not missed": ((StoreEnvironment, "_check_file", _any_file_will_do),),
    "a fork is not noticed": ((StoreEnvironment, "_check_process", nothing),),
    "the epoch is not compared": ((GroupWriter, "_fence", _epoch_is_not_compared),),
    "like keys are the same": (
        (lmdb_reader, "idempotency_key", _same_key_for_like_names),
        (lmdb_writer, "idempotency_key", _same_key_for_like_names),
    ),
    "there is always room": ((Load, "reserve", constantly(value=True)),),
    "any value is taken": ((admitting, "check_input", constantly(None)), (admitting, "check_size", constantly(None))),
    "only exceptions of an executor are caught": ((worker, "executed", _only_exceptions_are_caught),),
    "who leaves takes the commit along": ((GroupCommitter, "_finish", _a_leaver_takes_its_commit_along),),
    "a crash costs an input nothing": ((recovery, "_report", _a_crash_is_free),),
    "every accept commits twice": ((LmdbStore, "prepare", _every_accept_commits_twice),),
    "every accept puts a row more": ((lmdb_writer, "_draft_admission", _every_accept_puts_a_row_more),),
    "a commit has every input": ((Member, "commit", _a_commit_has_every_input),),
    "a step copies the state": ((core, "step", _a_step_copies_the_state),),
    "publishing copies the state": ((Actor, "publish", _publishing_copies_the_state),),
    "publishing walks the state": ((Actor, "publish", _publishing_walks_the_state),),
}
"""By what is wrong: what is replaced by what. Mutants of commit and recovery, by their names, may be planted too."""

_FOR_GOOD: Final = ExitStack()


def plant_what_is_asked() -> None:
    """Plant the bug that the environment names, if it does."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return
    if name in PLANTED:
        for owner, attribute, value in PLANTED[name]:
            assert hasattr(owner, attribute), f"there is no {attribute} any more"
            setattr(owner, attribute, value)
    else:
        (mutant,) = (each for each in commit_mutants() if each.name == name)
        _FOR_GOOD.enter_context(mutant.patch())


def pytest_configure() -> None:
    """As a plugin of pytest: before any test is imported."""
    plant_what_is_asked()
