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
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
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
        timeout=300,  # against what hangs, not what is slow
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}(exit code {done.returncode})"


@contextmanager
def _forgetting_modules_of(folder: Path) -> Iterator[None]:
    """The next page may show another file under the same name."""
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _run_page(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Runs the blocks of ``page`` in ``folder`` and returns the namespace that they leave."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)  # as for a program that lies there
    with asyncio.Runner() as runner, _forgetting_modules_of(folder):
        for block in blocks(page):
            if block.file:
                (folder / block.file).write_text(block.content, encoding="utf-8")
            elif block.language == "python":
                _run_python(block, page, module, runner)
            elif block.language == "console":
                for command in block.commands():
                    _run_console(command, folder)
    return module


@pytest.mark.parametrize("page", PAGES_WITH_EXAMPLES, ids=_name)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run in order, in one namespace and one empty folder; ``await`` needs no function."""
    _run_page(page, tmp_path, monkeypatch)


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
    """Each script of examples/ ends with exit code 0 in an empty folder, but for those with tests of their own."""
    for script in sorted((ROOT / "examples").glob("*.py")):
        if (ROOT / "tests" / "examples" / f"test_{script.name}").exists():
            continue
        with subtests.test(script=script.name):
            _run_console(f"python '{script}'", tmp_path_factory.mktemp("example"))


def test_blocks_share_namespace_folder_and_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later block sees what an earlier one left: names, files, and the event loop of a top-level ``await``."""
    page = tmp_path / "page.md"
    first = "import asyncio\nfrom pathlib import Path\nloop = asyncio.get_running_loop()\nawait asyncio.sleep(0)\n"
    second = "async with asyncio.timeout(None):\n    same = asyncio.get_running_loop() is loop\nPath('left').touch()\n"
    third = "if __name__ == '__main__':\n    left = Path('left').exists()\n"
    page.write_text("\n".join(f"```python\n{block}```\n" for block in (first, second, third)), encoding="utf-8")
    module = _run_page(page, tmp_path, monkeypatch)
    assert (module.same, module.left) == (True, True)


def test_a_block_that_shows_a_file_is_written_for_the_blocks_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python file too, which is not run by itself."""
    page = tmp_path / "page.md"
    shown = "```python file=shown.py\nraise SystemExit\n```\n\n```text file=a.txt\nhello\n```\n"
    used = (
        "```python\nfrom pathlib import Path\nread = [Path(name).read_text() for name in ('shown.py', 'a.txt')]\n```\n"
    )
    page.write_text(f"{shown}\n{used}", encoding="utf-8")
    assert _run_page(page, tmp_path, monkeypatch).read == ["raise SystemExit\n", "hello\n"]


def test_a_page_imports_the_files_that_it_shows_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pages may show files of one name, each with another content."""
    found = []
    for content in ("first", "second"):
        folder = tmp_path / content
        folder.mkdir()
        page = folder / "page.md"
        shown = f"```python file=shown_by_pages.py\nword = {content!r}\n```\n"
        page.write_text(f"{shown}\n```python\nfrom shown_by_pages import word\n```\n", encoding="utf-8")
        found.append(_run_page(page, folder, monkeypatch).word)
    assert found == ["first", "second"]


def test_a_failing_block_names_page_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback points into the page, so that a reader finds the example."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\nassert x == 2\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError) as failed:
        _run_page(page, tmp_path, monkeypatch)
    assert (str(failed.traceback[-1].path), failed.traceback[-1].lineno + 1) == (str(page), 5)


def test_a_failing_command_shows_its_output(tmp_path: Path) -> None:
    """Any exit code but 0 fails, within a pipe too."""
    with pytest.raises(AssertionError, match=r"(?s)wrong.*\(exit code 3\)"):
        _run_console("(echo wrong >&2; exit 3) | cat", tmp_path)
