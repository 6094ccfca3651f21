"""What a system under test has to offer, and how calls on it are made, sync or async."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias, final

from ...spec.errors import TransitionRefused
from .misuse import check_adapter, check_adapter_maker, checked_fields, checked_panes, checked_refusals


class Adapter(Protocol):
    """The system under test, as the harness drives it. Every method may also be ``async``.

    An adapter may have more, which is looked up by name::

        refusals        exceptions of ``fire`` that mean that the system refused (default: TransitionRefused)
        fields()        its fields by name, those of the machine or some of them; they are compared after each step
        crash()         take the system down as SIGKILL would; ``restart()`` then brings it up again from what it stored
        after_crash(state, fields)
                        the (state, fields) that must be there after a restart, given those before; the same by default
        panes()         more to be shown side by side in the trace of a failure, such as what is in memory and what is
                        stored: ``{"memory": {…}, "store": {…}}``; it is not compared
        stop()          clean up after an example
    """

    def start(self) -> object:
        """Bring the system up in the initial state of the machine."""
        ...

    def fire(self, event: str, params: Mapping[str, Any]) -> object:
        """Send one event with its parameters. Raises one of ``refusals`` where the system refuses it."""
        ...

    def state(self) -> object:
        """The state that the system is in: a member of the machine's states, or its value."""
        ...


NewAdapter: TypeAlias = Callable[[], Adapter]
"""Makes an adapter for each example: the class itself, mostly."""


@final
class System:
    """One adapter, and a loop of its own where it turns out to be async. Close it when done."""

    def __init__(self, new_adapter: NewAdapter) -> None:
        check_adapter_maker(new_adapter)
        self.adapter = new_adapter()
        check_adapter(self.adapter)
        self.refusals = checked_refusals(self.adapter, getattr(self.adapter, "refusals", (TransitionRefused,)))
        self._loop: asyncio.AbstractEventLoop | None = None

    def can(self, name: str) -> bool:
        """Whether the adapter has the optional method ``name``."""
        return callable(getattr(self.adapter, name, None))

    def call(self, name: str, *arguments: object) -> object:
        """What the method ``name`` returns, awaited where it has to be; None where the adapter has no such method."""
        method = getattr(self.adapter, name, None)
        return None if method is None else self.settle(method(*arguments))

    def settle(self, value: object) -> object:
        """``value``, awaited where it has to be."""
        if not inspect.isawaitable(value):
            return value
        if self._loop is None:
            self._loop = asyncio.new_event_loop()  # a Runner would look for signals at every call
        return self._loop.run_until_complete(value)

    def close(self) -> None:
        """Stop the adapter and end its loop."""
        try:
            self.call("stop")
        finally:
            if self._loop is not None:
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
                self._loop.close()


def panes_of(system: System) -> dict[str, Mapping[str, object]]:
    """What else the adapter wants to be shown; nothing where it has no ``panes()``."""
    return checked_panes(system.adapter, system.call("panes")) if system.can("panes") else {}


def fields_of(system: System, known: Iterable[str]) -> dict[str, object]:
    """The fields that the adapter tells of, each one of ``known``; none where it has no ``fields()``."""
    return checked_fields(system.adapter, system.call("fields"), known) if system.can("fields") else {}
