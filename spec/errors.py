"""The root of all holdstate errors, and what the table language raises."""

from __future__ import annotations

from typing import final


class HoldstateError(Exception):
    """Root of every error that holdstate raises on purpose. Facts are attributes, the constructor words them."""


@final
class SpecError(HoldstateError, ValueError):
    """A machine, a policy or a table is not well formed. ``where`` names the place, ``problem`` says what to mend."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where}: {problem}")


@final
class TransitionRefused(HoldstateError):
    """No row of ``machine`` takes ``event`` in ``state`` (or every guard said no). Nothing was changed."""

    def __init__(self, machine: str, state: str, event: str, reason: str) -> None:
        self.machine = machine
        self.state = state
        self.event = event
        self.reason = reason
        super().__init__(f"{machine}: event {event!r} is refused in state {state!r}: {reason}")
