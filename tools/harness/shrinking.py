"""A failure made small: without the moves that it does not need, and with the simplest parameters that still fail.

Hypothesis would shrink what it drew, other examples of the same run included, and plays a slow system for minutes. Here
moves are left out and parameters replaced, and what is left is played again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, cast, final
from uuid import UUID

from attrs import define, evolve

from ...spec.expressions import Value
from .moves import Move
from .player import Broken
from .replay import Subject, play

MOST_PLAYS: Final = 2000
"""How often a failure is played while it is made smaller."""


def smaller(subject: Subject, broken: Broken) -> Broken:
    """The same failure with fewer moves and simpler parameters, as far as ``MOST_PLAYS`` lead. One that does not happen
    again when it is played again comes back as it is, with a note that says so.
    """
    shrinking = _Shrinking(subject, broken)
    if not shrinking.happens(broken.moves):
        broken.add_note(
            "it did not happen again when the same moves were played again: the system is not deterministic"
        )
        return broken
    while True:
        size = shrinking.size()
        shrinking.leave_out()
        shrinking.simplify()
        if shrinking.size() == size:
            return shrinking.broken


@final
@define
class _Shrinking:
    subject: Subject
    broken: Broken
    plays: int = 0

    def size(self) -> tuple[object, ...]:
        """What goes down."""
        return tuple(move.text() for move in self.broken.moves)

    def leave_out(self) -> None:
        """Runs of moves, long ones first. The last move is the one that fails."""
        length = max(len(self.broken.moves) // 2, 1)
        while length:
            place = len(self.broken.moves) - 1 - length
            while place >= 0:
                moves = self.broken.moves
                self.happens(moves[:place] + moves[place + length :])
                place = min(place, len(self.broken.moves) - 1) - length
            length //= 2

    def simplify(self) -> None:
        """Each value that a parameter has: in all moves at once, for moves that have to agree, then in each alone."""
        for value in dict.fromkeys(_keyed(each) for move in self.broken.moves for each in move.params.values()):
            self._simplify(value[1], range(len(self.broken.moves)))
        for place in range(len(self.broken.moves)):
            for value in dict.fromkeys(map(_keyed, self.broken.moves[place].params.values())):
                self._simplify(value[1], range(place, place + 1))

    def _simplify(self, value: Value, places: Sequence[int]) -> None:
        found = True
        while found:
            found = False
            for simple in simpler(value):
                if self.happens(_replaced(self.broken.moves, places, value, simple)):
                    value, found = simple, True
                    break

    def happens(self, moves: Sequence[Move]) -> bool:
        """Whether these fail in the same way; then they are what is made smaller from here."""
        if self.plays >= MOST_PLAYS:
            return False
        self.plays += 1
        again, _trace = play(self.subject, moves)
        if again is None or again.rule != self.broken.rule or len(again.moves) > len(self.broken.moves):
            return False
        self.broken = again
        return True


def _keyed(value: Value) -> tuple[type, Value]:
    """``value`` apart from what is equal to it and of another type."""
    return type(value), value


def _replaced(moves: Sequence[Move], places: Sequence[int], value: Value, simple: Value) -> list[Move]:
    """``moves`` with ``simple`` for ``value`` in those at ``places``."""
    return [
        evolve(
            move, params={name: simple if _keyed(each) == _keyed(value) else each for name, each in move.params.items()}
        )
        if place in places
        else move
        for place, move in enumerate(moves)
    ]


def simpler(value: Value) -> Iterator[Value]:
    """Values of the same type that are simpler, the simplest first: less far from zero, shorter, earlier."""
    if isinstance(value, bool):
        yield from (False,) if value else ()
    elif isinstance(value, Enum):
        members = list(type(value))
        yield from cast("list[Value]", members[: members.index(value)])
    elif isinstance(value, UUID):
        yield from (UUID(int=number) for number in (1, 2) if number < value.int)
    elif isinstance(value, str):
        yield from _shorter(value)
    elif isinstance(value, int):
        yield from _nearer(value)


def _nearer(value: int) -> Iterator[int]:
    """Halfway to zero again and again, from zero on; what is positive is simpler than what is negative."""
    if value < 0:
        yield -value
    distance = abs(value)
    sign = 1 if value > 0 else -1
    while distance:
        yield value - sign * distance
        distance //= 2


def _shorter(value: str) -> Iterator[str]:
    """Without its parts, long ones first; then letters in place of others."""
    length = len(value)
    while length:
        for place in range(0, len(value), length):
            yield value[:place] + value[place + length :]
        length //= 2
    for place, letter in enumerate(value):
        for plain in "ab":
            if plain < letter or not letter.isascii():
                yield value[:place] + plain + value[place + 1 :]
