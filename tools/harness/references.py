"""``module:NAME``: how files and processes name a thing of somebody's code, and how it is found again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import cast, final

from ...spec.errors import HoldstateError
from ..user_code import Unloadable, load_module


@final
class BadReference(HoldstateError, LookupError):
    """``reference`` leads nowhere; ``problem`` says why."""

    def __init__(self, reference: str, problem: str) -> None:
        self.reference = reference
        self.problem = problem
        super().__init__(f"{reference}: {problem}; name it as module:NAME, importable from here")


def reference_of(thing: object, near: object) -> str | None:
    """``module:NAME`` of ``thing``: looked for in its own module, in that of ``near``, then in all that are loaded."""
    modules = [getattr(thing, "__module__", None), getattr(near, "__module__", None)]
    for name in [*modules, *sys.modules]:
        module = sys.modules.get(name) if isinstance(name, str) else None
        found = None if module is None else _name_in(module, thing)
        if found is not None:
            return f"{name}:{found}"
    return None


def _name_in(module: ModuleType, thing: object) -> str | None:
    qualified = getattr(thing, "__qualname__", "")
    if qualified and _attribute(module, qualified) is thing:
        return cast("str", qualified)
    return next((name for name, value in list(vars(module).items()) if value is thing), None)


def _attribute(module: ModuleType, path: str) -> object:
    found: object = module
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def module_of(reference: str) -> ModuleType:
    """The module that a reference was found in."""
    return sys.modules[reference.partition(":")[0]]


def root_of(module: ModuleType) -> Path | None:
    """The folder from which ``module`` is imported by its name; None for one without a file."""
    file = getattr(module, "__file__", None)
    if not file:
        return None
    path = Path(file).resolve()
    return path.parents[module.__name__.count(".") + (path.name == "__init__.py")]


def resolve(reference: str) -> object:
    """What ``module:NAME`` names. Raises BadReference."""
    name, _, attribute = reference.partition(":")
    try:
        module = load_module(name)
    except Unloadable as error:
        raise BadReference(reference, f"cannot import {name}: {error.problem}") from error
    found = _attribute(module, attribute) if attribute else None
    if found is None:
        raise BadReference(reference, f"{name} has no {attribute or 'name after the colon'}")
    return found


@contextmanager
def importable(*folders: Path | None) -> Iterator[None]:
    """Modules in ``folders`` can be imported inside."""
    before = list(sys.path)
    sys.path[:0] = [str(each) for each in folders if each is not None]
    try:
        yield
    finally:
        sys.path[:] = before
