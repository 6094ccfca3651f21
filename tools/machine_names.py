"""Machines by name, for the commands that take one: a shipped one, or ``module:NAME``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, final

from ..spec.errors import HoldstateError
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.runtime_state import RUNTIME_STATE
from .user_code import Unloadable, load_module

MACHINES: Final[Mapping[str, Machine[Any, Any]]] = MappingProxyType(
    {machine.name: machine for machine in (INPUT_LIFECYCLE, RUNTIME_STATE)}
)


@final
class BadMachine(HoldstateError, ValueError):
    """``name`` names nothing that can be loaded, or something else than a machine."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"{name}: {problem}")


def named(name: str, others: Iterable[str] = ()) -> Any:
    """The shipped machine of that name, or whatever ``module:NAME`` names. Raises ``BadMachine``, which also tells of
    the ``others`` that the command takes.
    """
    if name in MACHINES:
        return MACHINES[name]
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise BadMachine(name, f"it is not a machine; give one of {', '.join((*MACHINES, *others))}, or module:NAME")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a module in the working directory is found, as with `python -m`
    try:
        loaded = load_module(module)
    except Unloadable as error:
        raise BadMachine(name, f"it cannot be loaded: {error.problem}") from error
    try:
        return getattr(loaded, attribute)
    except AttributeError as error:
        raise BadMachine(name, f"it cannot be loaded: {error}") from error


def machine_of(name: str, others: Iterable[str] = ()) -> Machine[Any, Any]:
    """The machine that ``name`` names, as ``named``."""
    found = named(name, others)
    if not isinstance(found, Machine):
        raise BadMachine(name, f"it is a {type(found).__name__}, not a Machine")
    return found
