"""Real processes, real SIGKILL: what was acknowledged is there, and nothing is there in part.

``HOLDSTATE_KILLS=n`` kills n times per contract (10 by default).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import Factory, define

from holdstate.spec.vocabulary import AbandonReason, InputState, Lane

from . import worker
from .kit import MAX_ATTEMPTS
from .worker import Found, Row

KILLS = int(os.environ.get("HOLDSTATE_KILLS", "10"))
SEED = os.environ.get("HOLDSTATE_KILL_SEED", "1")
PATIENCE_SECONDS = 60.0

_spawner = multiprocessing.get_context("forkserver")
_spawner.set_forkserver_preload(["tests.contracts.worker"])


@define
class Life:
    """What one child said, in order: what it found, and what it did until it was killed."""

    found: Found
    said: list[tuple[Any, ...]] = Factory(list)

    def facts(self, word: str) -> list[str]:
        """All that was said after ``word``."""
        return [str(fact) for message in self.said if message[0] == word for fact in message[1:]]

    @property
    def interrupted(self) -> list[str]:
        """What was being called when the child died."""
        last = self.said[-1] if self.said else ("nothing",)
        return [str(fact) for fact in last[1:]] if last[0] == "calling" else []


def _lives(path: Path, name: str) -> Iterator[Life]:
    """One life after the other, each killed at a point drawn from the seed; the last is only asked what it found."""
    random = Random(f"{SEED} {name}")
    for number in range(KILLS + 1):
        ours, theirs = _spawner.Pipe(duplex=False)
        child = _spawner.Process(target=worker.work, args=(path, name, number + 1, theirs))
        child.start()
        theirs.close()
        try:
            assert ours.poll(PATIENCE_SECONDS), "the child does not say what it found"
            (word, found) = ours.recv()
            assert word == "found"
            life = Life(found)
            if number < KILLS:
                for _ in range(random.randint(0, 12) if name != "C14" else random.randint(12, 24)):
                    assert ours.poll(PATIENCE_SECONDS), "the child does not work"
                    life.said.append(ours.recv())
                    if life.said[-1] == ("holding",):
                        break
                # Somewhere within the next few commits: the pipe is waited on for a drawn time.
                if ours.poll(0):
                    life.said.append(ours.recv())
                deadline = random.uniform(0, 0.003)
                while ours.poll(deadline):
                    life.said.append(ours.recv())
                    deadline /= 2
            child.kill()
            child.join(PATIENCE_SECONDS)
            assert child.exitcode == -9
            _drain(ours, life)
            yield life
        finally:
            child.kill()
            child.join(PATIENCE_SECONDS)
            ours.close()


def _drain(connection: Any, life: Life) -> None:
    """What the child had said before it died and nobody had read. A message cut off by the kill was never sent."""
    try:
        while connection.poll(0):
            life.said.append(connection.recv())
    except (EOFError, OSError):
        return


def _sound(found: Found) -> None:
    assert found.problems == ()
    assert not found.run_is_open
    active = [row for row in found.rows if row.state == InputState.QUEUED]
    assert sorted(found.queue) == sorted(row.id for row in active)
    assert all(row.has_body is (row.state == InputState.QUEUED) for row in found.rows)


def _check_lives(path: Path, name: str, check: Callable[[Life, Life], None]) -> None:
    before: Life | None = None
    did_something = 0
    for life in _lives(path, name):
        _sound(life.found)
        if before is not None:
            assert life.found.epoch == before.found.epoch + 1
            check(before, life)
            did_something += bool(before.said)
        before = life
    assert did_something > KILLS // 2, "the kills missed the work"


def _by_id(found: Found) -> dict[str, Row]:
    return {row.id: row for row in found.rows}


def test_acknowledged_inputs_survive_sigkill_in_their_places(tmp_path: Path) -> None:
    """What was accepted before a SIGKILL is there after it, exactly, in its lane and place (C1)."""

    def check(before: Life, after: Life) -> None:
        known = [row.id for row in before.found.rows]
        accepted = before.facts("accepted")
        found = [row.id for row in after.found.rows]
        assert found[: len(known) + len(accepted)] == known + accepted
        extra = found[len(known) + len(accepted) :]
        # What was on its way is there as a whole group or not at all.
        assert extra in ([], before.interrupted)
        rows = sorted(after.found.rows, key=lambda row: (row.lane == Lane.QUEUE, row.order))
        assert after.found.queue == tuple(row.id for row in rows)

    _check_lives(tmp_path / "store", "C1", check)


def test_replacement_survives_sigkill_whole(tmp_path: Path) -> None:
    """After a SIGKILL in a chain of supersessions exactly one input lives, every other names its successor (C2)."""

    def check(before: Life, after: Life) -> None:
        accepted = before.facts("accepted")
        rows = after.found.rows
        live = [row.id for row in rows if row.state == InputState.QUEUED]
        newest = (accepted or [row.id for row in before.found.rows] or before.interrupted)[-1:]
        assert live in (newest, before.interrupted)
        assert set(accepted) <= set(_by_id(after.found))
        assert [row.successor for row in rows[:-1]] == [row.id for row in rows[1:]]
        assert all(row.state == InputState.SUPERSEDED for row in rows[:-1])

    _check_lives(tmp_path / "store", "C2", check)


def test_crash_is_counted_once_and_never_beyond_the_cap(tmp_path: Path) -> None:
    """A SIGKILL in a run costs each of its inputs one failure; called-off runs cost none; counts never fall (C14)."""
    costs: list[int] = []

    def check(before: Life, after: Life) -> None:
        old = _by_id(before.found)
        begun = [message[2:] for message in before.said if message[0] == "begun"]
        for row in after.found.rows:
            was = old.get(row.id)
            failures, attempts = (was.failures, was.attempts) if was else (0, 0)
            times = sum(row.id in ids for ids in begun)
            assert row.failures in {failures, failures + 1}
            assert attempts + times <= row.attempts <= attempts + times + 1
            assert row.failures <= min(row.attempts, MAX_ATTEMPTS)
            assert (row.reason == AbandonReason.ATTEMPTS_EXHAUSTED) is (row.failures == MAX_ATTEMPTS)
            costs.append(row.failures - failures)
        if before.said and (before.said[-1][0] == "holding" or (before.said[-1][0] == "begun" and len(begun) % 4)):
            # Nothing was called since: the run was in hand when the child died.
            assert all(
                _by_id(after.found)[each].failures == (old[each].failures if each in old else 0) + 1
                for each in begun[-1]
            )

    _check_lives(tmp_path / "store", "C14", check)
    assert sum(costs) > 0


def test_boundary_and_completion_survive_sigkill_whole(tmp_path: Path) -> None:
    """After a SIGKILL there is all of (snapshot, receipt, record, result) of a completed run, or none of it (C19)."""

    def check(before: Life, after: Life) -> None:
        rows = _by_id(after.found)
        completed = [row for row in after.found.rows if row.state == InputState.CONSUMED]
        assert set(before.facts("completed")) <= {row.id for row in completed}
        assert all(row.result == row.id.encode() for row in completed)
        assert all(row.result is None for row in rows.values() if row.state != InputState.CONSUMED)
        assert after.found.receipts == len(completed)
        done = before.facts("completed")
        newest = [each for each in (*done[-1:], *before.interrupted) if rows[each].state == InputState.CONSUMED]
        expected = newest[-1].encode() if newest else before.found.snapshot
        assert after.found.snapshot == expected

    _check_lives(tmp_path / "store", "C19", check)


def test_staging_is_stored_when_the_executor_is_entered(tmp_path: Path) -> None:
    """A run that an executor was entered with is in the store after a SIGKILL, and counted (C22)."""
    entered = []

    def check(before: Life, after: Life) -> None:
        rows = _by_id(after.found)
        left = set(before.facts("left"))
        for message in before.said:
            if message[0] == "entered":
                run, name = message[1], message[2]
                entered.append(name)
                assert rows[name].last_run == run
                assert rows[name].attempts >= 1
                unfinished = run not in left and rows[name].state != InputState.CONSUMED
                assert not unfinished or rows[name].failures >= 1

    _check_lives(tmp_path / "store", "C22", check)
    assert entered


def test_disk_without_room_is_a_typed_error_and_work_goes_on_with_room(tmp_path: Path) -> None:
    """A write beyond what the disk takes: StoreError, nothing applied; once there is room it succeeds (C43)."""
    ours, theirs = _spawner.Pipe(duplex=False)
    child = _spawner.Process(target=worker.fill, args=(tmp_path / "store", theirs))
    child.start()
    theirs.close()
    assert ours.poll(PATIENCE_SECONDS)
    _, name, applied, queued, problems = ours.recv()
    child.join(PATIENCE_SECONDS)
    assert name in {"StoreError", "StoreFull"}
    assert (applied, queued, problems) == (False, 0, [])
    assert child.exitcode == 0


@pytest.mark.skipif(KILLS < 1, reason="HOLDSTATE_KILLS=0 asks for no kills")
def test_kills_are_asked_for() -> None:
    """The campaign runs with at least one kill per contract (C1, C2, C14, C19, C22)."""
    assert KILLS >= 1
