"""What a test can get wrong before anything is played, told in terms of the test and not of what would break later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, final

from ...spec.errors import HoldstateError, SpecError
from ...spec.machine import Machine


@final
class HarnessMisused(HoldstateError, TypeError):
    """An adapter, a machine, a path or values are not what the harness takes. ``what`` names the argument, ``problem``
    says what it is and what is wanted.
    """

    def __init__(self, what: str, problem: str) -> None:
        self.what = what
        self.problem = problem
        super().__init__(f"{what}: {problem}")


_NEEDED = ("start", "fire", "state")
_OPTIONAL = ("fields", "crash", "restart", "after_crash", "panes", "stop")


def check_machine(machine: object) -> None:
    """Raises HarnessMisused for what is no machine."""
    if not isinstance(machine, Machine):
        raise HarnessMisused("machine", f"{_a(machine)} is no Machine; give what is compiled, not what compile() makes")


def check_adapter_maker(made: object) -> None:
    """Raises HarnessMisused for an adapter in place of what makes one."""
    if not callable(made):
        raise HarnessMisused(
            "adapter", f"{_a(made)} cannot be called; give the class, or a function that makes a new adapter each time"
        )


def check_adapter(adapter: object) -> None:
    """Raises HarnessMisused for an adapter without the methods that there must be, or with half of those that go
    together.
    """
    where = f"adapter {type(adapter).__name__}"
    for name in _NEEDED:
        if not callable(getattr(adapter, name, None)):
            raise HarnessMisused(where, f"it has no method {name}(); it needs {', '.join(_NEEDED)}")
    for name in _OPTIONAL:
        if getattr(adapter, name, None) is not None and not callable(getattr(adapter, name)):
            raise HarnessMisused(where, f"{name} is {getattr(adapter, name)!r}, not a method")
    for name, other in (("crash", "restart"), ("restart", "crash"), ("after_crash", "crash")):
        if callable(getattr(adapter, name, None)) and not callable(getattr(adapter, other, None)):
            raise HarnessMisused(where, f"it has {name}() and no {other}(), so it would never be crashed; add it")


def checked_refusals(adapter: object, given: object) -> tuple[type[Exception], ...]:
    """``refusals`` of an adapter. Raises HarnessMisused where they are not exception classes."""
    kinds = tuple(given) if isinstance(given, Iterable) else (given,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise HarnessMisused(
                f"adapter {type(adapter).__name__}", f"refusals holds {kind!r}; it is a tuple of exception classes"
            )
    return kinds


def checked_fields(adapter: object, told: object, known: Iterable[str]) -> dict[str, object]:
    """What ``fields()`` told. Raises HarnessMisused for a name that the machine does not have: it would never be
    compared.
    """
    where = f"adapter {type(adapter).__name__}"
    if not isinstance(told, Mapping):
        raise HarnessMisused(where, f"fields() returned {told!r}; it returns fields of the machine by name")
    names = tuple(known)
    for name in told:
        if name not in names:
            declared = ", ".join(names) or "none"
            raise HarnessMisused(where, f"fields() tells of {name!r}, the fields of the machine are: {declared}")
    return dict(told)


def checked_panes(adapter: object, told: object) -> dict[str, Mapping[str, object]]:
    """What ``panes()`` told. Raises HarnessMisused for anything but mappings by name."""
    if not isinstance(told, Mapping) or not all(isinstance(each, Mapping) for each in told.values()):
        where = f"adapter {type(adapter).__name__}"
        raise HarnessMisused(where, f"panes() returned {told!r}; it returns what is shown of each part, by its name")
    return dict(told)


def check_parameters(machine: Machine[Any, Any], given: Mapping[str, object], wanted: type, kind: str) -> None:
    """Raises SpecError for a key that names no parameter, HarnessMisused for an empty or wrong value."""
    check_machine(machine)
    params = [(event, param.name) for event in machine.events for param in machine.events[event]]
    known = {name for event, param in params for name in (param, f"{event}.{param}")}
    for key, value in given.items():
        if key not in known:
            where = f"machine {machine.name!r}, values for {key!r}"
            raise SpecError(where, "no event declares that parameter; name it event.parameter, or parameter")
        if not isinstance(value, wanted) or isinstance(value, str) or value in ((), []):
            raise HarnessMisused(f"machine {machine.name!r}, values for {key!r}", f"{value!r} is not {kind}")


def _a(thing: object) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"
