"""Every example runs: the blocks of the pages, the examples in docstrings, the scripts; every link leads somewhere."""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .pages import Block, blocks, broken_links

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "holdstate"
FOLDERS = ("spec", "runtime", "stores", "tools")

TOP_LEVEL = sorted(ROOT.glob("*.md"))
PAGES = TOP_LEVEL + sorted(
    path for folder in ("docs", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.md")
)
PAGES_WITH_EXAMPLES = [page for page in PAGES if page.name != "CHANGELOG.md"]  # its examples hold for past versions
MODULES = sorted(
    ".".join(("holdstate", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__main__.py"
)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _environment() -> dict[str, str]:
    """The environment in which ``holdstate`` and ``python`` are those of this test."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _run_python(block: Block, page: Path, module: ModuleType, runner: asyncio.Runner) -> None:
    """Runs one block in the page's namespace; a traceback shows the line of the page."""
    source = "\n" * (block.line - 1) + block.content
    code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        top_level: Coroutine[Any, Any, None] = eval(code, vars(module))
        runner.run(top_level)
    else:
        exec(code, vars(module))


def _run_console(command: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}(exit code {done.returncode})"


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=_name)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run in order, in one namespace and one empty folder; ``await`` may stand outside functions."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.chdir(tmp_path)
    with asyncio.Runner() as runner:
        for block in blocks(page):
            if block.language == "python":
                _run_python(block, page, module, runner)
            elif block.language == "console":
                for command in block.commands():
                    _run_console(command, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """A relative link names a file of the project and, if it has an anchor, a heading of that page."""
    assert broken_links(page, ROOT) == []


@pytest.mark.parametrize("name", MODULES)
def test_every_example_in_a_docstring_holds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ``>>>`` examples of a module give what they say; a module without any can at least be imported."""
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_example_script_runs(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each script of examples/ ends with exit code 0 in an empty folder."""
    for script in sorted((ROOT / "examples").glob("*.py")):
        with subtests.test(script=script.name):
            _run_console(f"python '{script}'", tmp_path_factory.mktemp("example"))
