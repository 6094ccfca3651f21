"""Modules of users, imported by name. What goes wrong in them is theirs, and is told with its place in their code."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from pathlib import PurePath
from types import ModuleType
from typing import Final, final

from ..spec.errors import HoldstateError
from .output import sentence_of

_NOT_THEIRS: Final = sys.stdlib_module_names | {__name__.partition(".")[0]}


@final
class Unloadable(HoldstateError, ImportError):
    """``module`` cannot be imported; ``problem`` says why, and where in its code."""

    def __init__(self, module: str, problem: str) -> None:
        self.module = module
        self.problem = problem
        super().__init__(f"{module}: {problem}")


def load_module(name: str) -> ModuleType:
    """The module of that name. Raises Unloadable, whatever its code raises."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise Unloadable(name, f"{name!r} is no name of a module; write it as an import does, without folders or .py")
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        raise Unloadable(name, told(error)) from error


def told(error: BaseException) -> str:
    """The type of an error, its words in one line, and the place in the user's code."""
    words = error.msg if isinstance(error, SyntaxError) else sentence_of(error)
    return f"{type(error).__name__}: {words}{place_in(error)}"


def place_in(error: BaseException) -> str:
    """`` (FILE:LINE)`` of the innermost code that is neither ours nor Python's own; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return _place(error.filename, error.lineno)
    theirs = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _NOT_THEIRS
    ]
    named = [each for each in theirs if not each[0].startswith("<")]
    return _place(*named[-1]) if named else ""


def _place(file: str, line: int | None) -> str:
    return f" ({PurePath(file).name}:{line})"
