"""Building frozen records on the hot path.

The ``__init__`` that attrs writes for a frozen class goes through ``object.__setattr__``, some 94 ns a field; setting
the slots of a plain object takes some 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, ParamSpec, TypeVar, cast

import attrs

P = ParamSpec("P")
T = TypeVar("T")

_UNSET: Final = object()
_HOOKS: Final = ("__attrs_pre_init__", "__attrs_post_init__", "__attrs_init__")


def builder(cls: Callable[P, T]) -> Callable[P, T]:
    """A function that takes what the frozen slotted attrs class ``cls`` takes and gives what it gives, several times
    faster. Raises TypeError for a class that does more when it is made than to set its fields, and for one with
    ``weakref_slot``, for CPython lets an object change its class only where both lay their slots out alike.
    """
    made = cast("type", cls)
    problem = next(_problems(made), None)
    if problem is not None:
        raise TypeError(f"{made.__name__} cannot be built past its __init__: {problem}")
    defaults: dict[str, object] = {"cls": cls, "new": object.__new__, "open_": _open_twin(made), "unset": _UNSET}
    params, lines = [], []
    for field in attrs.fields(made):
        name = field.name
        value = name
        if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]  # a class that attrs types as a function
            defaults[f"make_{name}"] = cast("Any", field.default).factory
            params.append(f"{name}=unset")
            value = f"make_{name}() if {name} is unset else {name}"
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
    exec(compile("\n".join(source), f"<builder of {made.__name__}>", "exec"), defaults)  # noqa: S102 - only names of fields go in
    return cast("Callable[P, T]", defaults["build"])


def _problems(cls: type) -> Iterator[str]:
    names = [field.name for field in attrs.fields(cls)]
    slots = tuple(cls.__dict__.get("__slots__", ()))
    if "__weakref__" in slots:
        yield "it has a slot for weak references; give it weakref_slot=False"
    if sorted(slots) != sorted(names) or cls.__mro__ != (cls, object):
        yield "its slots are not its fields; it has to be slotted and to inherit from nothing"
    yield from (f"it has {hook}" for hook in _HOOKS if hasattr(cls, hook))
    for field in attrs.fields(cls):
        if field.validator is not None or field.converter is not None:
            yield f"its field {field.name} has a validator or a converter"
        if field.kw_only or not field.init or field.alias != field.name:
            yield f"its field {field.name} is not given by position under its own name"
        if getattr(field.default, "takes_self", False):
            yield f"the default of its field {field.name} depends on the other ones"


def _open_twin(cls: type) -> type:
    """A class of the same layout as ``cls`` that takes assignments: an object of it can become one of ``cls``."""
    return type(f"Open{cls.__name__}", (), {"__slots__": tuple(cls.__slots__)})  # type: ignore[attr-defined]  # slotted
