"""Building frozen records on the hot path.

The ``__init__`` that attrs writes for a frozen class goes through ``object.__setattr__``, some 94 ns a field; setting
the slots of a plain object takes some 15.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import attrs

P = ParamSpec("P")
T = TypeVar("T")


def builder(cls: Callable[P, T]) -> Callable[P, T]:
    """A function that takes what the frozen slotted attrs class ``cls`` takes and gives what it gives, several times
    faster. The class must have no validators, converters and hooks, and ``weakref_slot=False``, for CPython lets an
    object change its class only where both lay their slots out alike.
    """
    fields = attrs.fields(cast("type", cls))
    defaults: dict[str, object] = {"cls": cls, "new": object.__new__, "open_": _open_twin(cast("type", cls))}
    params, lines = [], []
    for field in fields:
        name = field.name
        value = name
        if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]  # a class that attrs types as a function
            defaults[f"make_{name}"] = cast("Any", field.default).factory
            params.append(f"{name}=None")
            value = f"make_{name}() if {name} is None else {name}"
        elif field.default is attrs.NOTHING:
            params.append(name)
        else:
            defaults[f"default_{name}"] = field.default
            params.append(f"{name}=default_{name}")
        lines.append(f"    self.{name} = {value}")
    source = [
        f"def build({', '.join(params)}):",
        "    self = new(open_)",
        *lines,
        "    self.__class__ = cls",
        "    return self",
    ]
    exec(compile("\n".join(source), f"<builder of {cast('type', cls).__name__}>", "exec"), defaults)  # noqa: S102 - only names of fields go in
    return cast("Callable[P, T]", defaults["build"])


def _open_twin(cls: type) -> type:
    """A class of the same layout as ``cls`` that takes assignments: an object of it can become one of ``cls``."""
    return type(f"Open{cls.__name__}", (), {"__slots__": tuple(cls.__slots__)})  # type: ignore[attr-defined]  # slotted
