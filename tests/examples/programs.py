"""How tests run an example: by the command in its first line, from the folder of the project."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from ..needs import do_without

DEADLINE_SECONDS = 60.0
"""Nothing waits longer. What is waited for takes a fraction of it, also on a slow machine."""


def command_of(project_root: Path, name: str) -> list[str]:
    """The words of the command, with the Python that runs the tests in place of the one that ``make demo`` installs."""
    first = (project_root / "examples" / name).read_text(encoding="utf-8").partition("\n")[0]
    command = re.search(r"`(.+)`$", first)
    assert command is not None, f"the first line of {name} does not end with a command: {first}"
    python, *words = shlex.split(command[1])
    assert (python, words[0]) == (".venv/bin/python", f"examples/{name}")
    return [sys.executable, *words]


def need_modules(*names: str) -> None:
    """Skip the test where one of these is not installed, or fail it (``HOLDSTATE_REQUIRE_ALL``)."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        do_without(f"this test needs {' and '.join(missing)}; install the extra dev")
