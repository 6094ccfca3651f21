"""A recorded trace played against the model of the disk: every point where the power may be cut, and its states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, final

from attrs import define, field, frozen

from .campaign_checks import History
from .crash_disk import Disk, Image
from .crash_trace import CREATION, Act, Event, TraceFailed
from .crash_worker import LAST

DATA_FILE: Final = "data.mdb"


@final
@frozen
class Point:
    """A cut here. The store must hold at least ``floor`` commits and can hold at most ``ceiling``."""

    number: int
    command: str
    moment: str
    floor: int
    ceiling: int
    layouts: tuple[str, ...]
    disk: Disk


@final
@frozen
class Commit:
    """What the file holds after a commit, in the order of the trace and without a cut."""

    number: int
    image: Image
    history: History | None


@final
@define
class _Names:
    """Which names of the store's directory are durable."""

    is_placed: bool = False
    is_placed_durably: bool = False
    is_file_durable: bool = False

    def layouts(self) -> tuple[str, ...]:
        """Where the file may be found after a cut."""
        if not self.is_placed:
            return ("none", "aside")
        found = ("store",) if self.is_file_durable else ("store", "empty")
        return found if self.is_placed_durably else (*found, "none", "aside")


@final
@define
class _Position:
    """Where the replay is. A new store has ``created`` commits: so many has one that is made anew, too."""

    created: int
    disk: Disk = field(factory=Disk)
    names: _Names = field(factory=_Names)
    command: str = CREATION
    floor: int = 0
    commits: int = 0
    number: int = 0

    def point(self, moment: str) -> Point:
        """A cut here."""
        self.number += 1
        ceiling = max(self.commits, self.created)
        return Point(self.number, self.command, moment, self.floor, ceiling, self.names.layouts(), self.disk)


@final
class Replay:
    """``events`` of one trace of a store at ``store``; ``dropped`` flushes (by number, from 0) did nothing."""

    def __init__(self, events: Sequence[Event], store: str, *, dropped: frozenset[int] = frozenset()) -> None:
        self._events = events
        self._store = store
        self._parent = store.rpartition("/")[0]
        self._dropped = dropped
        self._floors = _floors(events)
        self._created = next((number for number, each in _numbered(events) if each.act is Act.RENAME), 0)
        self.flushes: list[tuple[str, str]] = []
        """What was flushed so far, during which command: ``pages``, ``meta``, ``part`` (the meta page of a commit that
        another one follows before anything is answered) or ``name`` (a directory).
        """

    def points(self) -> Iterator[Point]:
        """Every point, with the disk as it is there. The disk changes when the next point is asked for."""
        self.flushes.clear()
        now = _Position(self._created)
        for place, event in enumerate(self._events):
            if event.act is Act.SAY:
                now.command = event.said.get("op", now.command)
                if "ack" in event.said or "done" in event.said:
                    # What was committed before an answer has to be there; and what a step committed, once it is done.
                    now.floor = max(now.floor, now.commits, self._floors.get(event.said.get("done", -1), 0))
                    yield now.point("answered")
            elif event.act is Act.RENAME:
                now.names.is_placed = True
                yield now.point("renamed")
            elif event.act is Act.SYNC:
                what = "pages" if event.file.endswith(DATA_FILE) else "name"
                yield now.point(f"{what} not synced")
                if self._flushed(what, now.command):
                    self._sync(event, now)
                yield now.point(f"{what} synced")
            elif event.act is Act.WRITE:
                yield from self._written(place, event, now)

    def _written(self, place: int, event: Event, now: _Position) -> Iterator[Point]:
        if not event.file.endswith(DATA_FILE):
            raise TraceFailed(f"a write to {event.file} is not in the model of the disk")
        sectors = now.disk.write(event.offset, event.data, event.size)
        if event.is_synced:
            now.commits += 1
            yield now.point("meta not synced")
            if self._flushed("meta" if self._is_answered(place) else "part", now.command):
                now.disk.sync(sectors)
            yield now.point("meta synced")

    def _is_answered(self, place: int) -> bool:
        """Whether something is said before the commit after the one at ``place``."""
        later = (event for event in islice(self._events, place + 1, None) if event.act is Act.SAY or event.is_synced)
        following = next(later, None)
        return following is not None and following.act is Act.SAY

    def _flushed(self, what: str, command: str) -> bool:
        self.flushes.append((what, command))
        return len(self.flushes) - 1 not in self._dropped

    def _sync(self, event: Event, now: _Position) -> None:
        if event.file.endswith(DATA_FILE):
            now.disk.sync()
        elif event.file == self._parent:
            now.names.is_placed_durably = now.names.is_placed
        else:
            now.names.is_file_durable = True

    def commits(self) -> Iterator[Commit]:
        """The content after each commit since the store has its name; the first one is the new store."""
        disk, talk = Disk(), _Talk()
        number, is_placed = 0, False
        for event in self._events:
            if event.act is Act.SAY:
                talk.hear(event.said)
            elif event.act is Act.RENAME:
                is_placed = True
                yield Commit(number, disk.latest(), None)
            elif event.act is Act.WRITE:
                disk.write(event.offset, event.data, event.size)
                number += event.is_synced
                if event.is_synced and is_placed:
                    yield Commit(number, disk.latest(), talk.history())


@final
@define
class _Talk:
    """What the worker said until now."""

    calls: list[dict[str, Any]] = field(factory=list)
    answers: dict[int, object] = field(factory=dict)
    is_modelled: bool = True

    def hear(self, said: dict[str, Any]) -> None:
        if "call" in said:
            self.calls.append(said["call"])
        elif "ack" in said:
            self.answers[said["ack"]] = said["answer"]
        elif said.get("op") == LAST:
            self.is_modelled = False

    def history(self) -> History | None:
        return History(list(self.calls), dict(self.answers)) if self.is_modelled else None


def _numbered(events: Sequence[Event]) -> Iterator[tuple[int, Event]]:
    """Each event with the number of commits before it."""
    commits = 0
    for event in events:
        yield commits, event
        commits += event.act is Act.WRITE and event.is_synced


def _floors(events: Sequence[Event]) -> dict[int, int]:
    """How many commits each step needs: those before the next step begins."""
    commits, step, floors = 0, -1, {}
    for event in events:
        if event.act is Act.SAY and "step" in event.said:
            step = event.said["step"]
        commits += event.act is Act.WRITE and event.is_synced
        floors[step] = commits
    return floors
