"""What one flush gathers: calls, claims, and what each runtime's part of the group is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import final

from attrs import define

from .actor import Actor
from .store import Claim
from .turn import Member, Turn


@define(eq=False)
class Call:
    """One call on an open runtime. ``decide`` runs in its turn, with the loop held: it must not call user code."""

    actor: Actor
    decide: Callable[[Turn], object]
    future: asyncio.Future[object]
    alone: bool = False
    """Needs the store as it is: nothing of the same runtime may be decided earlier in its group."""
    looks_first: bool = False
    """The store refused what came of it when it was decided before."""


@define(eq=False)
class Opening:
    """One claim. The future gets the commit that took effect."""

    claim: Claim
    future: asyncio.Future[object]


@define(eq=False)
class Decided:
    """A call whose answer waits for the commit of its group."""

    call: Call
    outcome: object
    turn: Turn


@final
class Group:
    """What one flush gathered: at most one member per runtime. ``presumes_new``: it has one call, see ``Turn``."""

    def __init__(self, *, presumes_new: bool = False) -> None:
        self.presumes_new = presumes_new
        self.members: dict[str, Member] = {}
        self.openings: dict[str, Opening] = {}
        self.decided: list[Decided] = []
        self.postponed: list[Call] = []

    def writing(self) -> list[Member | Opening]:
        """The members that write."""
        writing: list[Member | Opening] = [member for member in self.members.values() if member.is_stored]
        if self.openings:
            writing += self.openings.values()
        return writing

    def take_first_tries(self, actor: Actor) -> list[Call]:
        """Take out the calls of one runtime that were not decided before this, in their order."""

        def is_taken(call: Call) -> bool:
            return call.actor is actor and not call.looks_first

        taken = [call for call in [*(each.call for each in self.decided), *self.postponed] if is_taken(call)]
        self.decided = [each for each in self.decided if not is_taken(each.call)]
        self.postponed = [call for call in self.postponed if not is_taken(call)]
        return taken

    def may_join(self, entry: Call | Opening, runtime_id: str) -> bool:
        """Whether ``entry`` can be decided in this group: one member per runtime, and nobody beside a claim."""
        member = self.members.get(runtime_id)
        if runtime_id in self.openings:
            return False
        if isinstance(entry, Opening):
            return member is None
        return member is None or (member.actor is entry.actor and not (entry.alone and member.deltas))
