"""Lanes: which of the parallel vertical lines is nearest, so that as few wires as possible cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from attrs import frozen

_APART: Final = 10
"""Pixels between two wires that share a lane."""


@final
@frozen
class Rail:
    """The vertical part of a wire. ``near`` are the heights at which it is left towards the first lane, ``far`` those
    at which it is left the other way.
    """

    near: tuple[int, ...]
    far: tuple[int, ...] = ()

    @property
    def top(self) -> int:
        return min(self.near + self.far)

    @property
    def bottom(self) -> int:
        return max(self.near + self.far)

    def _crossed(self, heights: Sequence[int]) -> int:
        return sum(self.top <= height <= self.bottom for height in heights)

    def crossings_before(self, other: Rail) -> int:
        """How often the two cross where this one has a lane nearer to the first."""
        return self._crossed(other.near) + other._crossed(self.far)


def lanes(rails: Sequence[Rail]) -> list[int]:
    """The lane of each rail, counted from 0. Swaps neighbours as long as that saves crossings."""
    order = sorted(range(len(rails)), key=lambda each: (rails[each].bottom - rails[each].top, each))
    is_better = True
    while is_better:
        is_better = False
        for place in range(len(order) - 1):
            one, other = rails[order[place]], rails[order[place + 1]]
            if other.crossings_before(one) < one.crossings_before(other):
                order[place], order[place + 1] = order[place + 1], order[place]
                is_better = True
    found = [0] * len(rails)
    for number, each in enumerate(order):
        placed = order[:number]
        found[each] = next(
            lane
            for lane in range(number + 1)
            if all(_may_be_nearer(rails, each, other, found[other] - lane) for other in placed)
        )
    return found


def _may_be_nearer(rails: Sequence[Rail], each: int, other: int, by: int) -> bool:
    """Whether ``each`` can be so many lanes nearer than ``other``, which the order puts before it."""
    one, before = rails[each], rails[other]
    if by < 0:
        return True
    if by > 0:
        return one.crossings_before(before) <= before.crossings_before(one)
    return one.top >= before.bottom + _APART or before.top >= one.bottom + _APART
