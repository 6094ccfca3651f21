"""What is well formed in a machine and still wrong."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar, final

from attrs import frozen

if TYPE_CHECKING:
    from .machine import Machine

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@final
class FindingCode(StrEnum):
    UNREACHABLE_STATE = "unreachable_state"
    TRAPPED_STATE = "trapped_state"
    OVERLAPPING_GUARDS = "overlapping_guards"
    UNDECLARED_EXIT = "undeclared_exit"
    UNUSED_EXIT = "unused_exit"
    UNUSED_FIELD = "unused_field"
    UNUSED_PARAM = "unused_param"
    UNUSED_EVENT = "unused_event"
    UNUSED_EFFECT = "unused_effect"
    DEAD_ROW = "dead_row"
    UNDEFINED_VALUE = "undefined_value"
    UNDECIDED = "undecided"


@final
@frozen
class Finding:
    """``place`` is where to look in ``machine``; ``message`` says what is wrong and why it matters."""

    code: FindingCode
    machine: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.machine}: {self.place}: {self.message} [{self.code}]"


def lint_machine(machine: Machine[S, E]) -> tuple[Finding, ...]:
    return ()
