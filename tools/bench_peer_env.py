"""The separate environment with other libraries, for ``holdstate bench --peers``: made once, kept, told on stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .bench_peers import PEERS
from .bench_setting import RowLeftOut
from .output import note

PINS: Final = MappingProxyType(
    {
        "litequeue": "0.9",
        "persist-queue": "1.1.0",
        "eventsourcing": "9.5.6",
        "dbos": "3.4.0",
        "langgraph-checkpoint-sqlite": "3.1.2",
    }
)
"""What is installed, and in which version."""

_VERSION: Final = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


def default_directory() -> Path:
    """Where the environment of this interpreter is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "holdstate" / f"bench-peers-{sys.version_info.major}.{sys.version_info.minor}"


def interpreters(names: Iterable[str], directory: Path) -> tuple[dict[str, Path], list[RowLeftOut]]:
    """The interpreter for each of ``names``, whose packages are installed then, and those that cannot be had."""
    found: dict[str, Path] = {}
    missing: list[RowLeftOut] = []
    for name in names:
        package = PEERS[name].package
        if package is None:
            found[name] = Path(sys.executable)
            continue
        why = _environment(directory) or _install(directory, package)
        if why:
            missing.append(RowLeftOut(name, why))
            note(f"{name}: left out, for {why}")
        else:
            found[name] = _python(directory)
    return found, missing


def _python(directory: Path) -> Path:
    return directory / "bin" / "python"


def _environment(directory: Path) -> str:
    """Make the environment where there is none. Why that cannot be, or nothing."""
    if _python(directory).exists():
        return ""
    note(f"making an environment for other libraries in {directory} (once)")
    return _run([sys.executable, "-m", "venv", str(directory)])[1]


def _install(directory: Path, package: str) -> str:
    """Install a package where its version is not there yet. Why that cannot be, or nothing."""
    python, wanted = str(_python(directory)), PINS[package]
    version, _ = _run([python, "-c", _VERSION, package])
    if version == wanted:
        return ""
    note(f"installing {package}=={wanted} there")
    words = ["install", "--quiet", "--disable-pip-version-check", f"{package}=={wanted}"]
    return _run([python, "-m", "pip", *words])[1]


def _run(command: list[str]) -> tuple[str, str]:
    """What a command says, and what its last word was where it failed."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        return "", f"{command[0]} cannot be started ({error.strerror})"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    return "", last_line(done.stderr or done.stdout) or f"{command[0]} ended with {done.returncode}"


def last_line(text: str) -> str:
    """The last one that says something; where pip tells an error and then a hint, the error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [""])[-1]
