"""The public names as an object of test: they resolve, are documented, have one home, and cost little to import."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys

import pytest

PACKAGES = ("holdstate.spec", "holdstate.runtime", "holdstate.stores", "holdstate.tools")
LAZY = ("hypothesis", "statemachine", "click", "rich", "psycopg")
ROUNDS = 7


def _exports(package: str) -> list[str]:
    return list(getattr(importlib.import_module(package), "__all__", ()))


def _own_docstring(exported: object) -> str | None:
    """The docstring that was written for ``exported`` itself: a class does not pass with that of its base."""
    return vars(exported).get("__doc__") if inspect.isclass(exported) else inspect.getdoc(exported)


def _generated(exported: type, docstring: str) -> bool:
    """Whether the docstring is the signature that a named tuple or a data class gets by itself."""
    return docstring.startswith(f"{exported.__name__}(")


@pytest.mark.parametrize("package", ["holdstate", *PACKAGES])
def test_every_exported_name_resolves_and_is_documented(package: str) -> None:
    """Each name of __all__ is there, and each class, function and module among them has a docstring of its own."""
    module = importlib.import_module(package)
    undocumented = []
    for name in _exports(package):
        exported = getattr(module, name)
        if inspect.isclass(exported) or inspect.isroutine(exported) or inspect.ismodule(exported):
            docstring = _own_docstring(exported)
            if not docstring or (inspect.isclass(exported) and _generated(exported, docstring)):
                undocumented.append(name)
    assert module.__doc__
    assert undocumented == []


def test_every_name_is_exported_by_one_package() -> None:
    """No list repeats a name, and no name is exported by two of the four packages."""
    exported = [name for package in PACKAGES for name in _exports(package)]
    assert sorted(exported) == sorted(set(exported))
    assert len(_exports("holdstate")) == len(set(_exports("holdstate")))


def test_the_top_level_lists_its_names_once_and_sorted() -> None:
    """holdstate.__all__, its table of modules, and dir() name the same things, and nothing else resolves."""
    import holdstate

    assert set(holdstate.__all__) == {*holdstate._MODULES, "__version__"}
    assert set(holdstate.__all__) <= set(dir(holdstate))
    with pytest.raises(AttributeError, match="no_such_name") as refused:
        holdstate.no_such_name  # noqa: B018 - the lookup is what is tested
    assert refused.value.name == "no_such_name"


def test_type_checkers_see_what_the_top_level_loads() -> None:
    """The import block for type checkers names each exported name with the module that it is loaded from."""
    import holdstate

    block = inspect.getsource(holdstate).partition("if TYPE_CHECKING:")[2].partition("__all__")[0]
    seen = {
        name.strip(): module
        for module, plain, listed in re.findall(
            r"from \.([\w.]+) import (?:([\w, ]+)$|\(([^)]*)\))", block, re.MULTILINE
        )
        for name in (plain or listed).split(",")
        if name.strip()
    }
    assert seen == holdstate._MODULES


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=True)


def test_import_leaves_heavy_libraries_alone() -> None:
    """``import holdstate`` loads nothing that only the tools, the harness or an extra need."""
    loaded = _python("-c", "import sys, holdstate; print(*sys.modules)").stdout.split()
    assert "holdstate" in loaded
    assert [library for library in LAZY if library in loaded] == []


def _import_microseconds(module: str) -> int:
    """The cumulative time that the interpreter itself reports for the import of ``module``, in a process of its own."""
    report = _python("-X", "importtime", "-c", f"import {module}").stderr
    (cumulative,) = re.findall(rf"^import time: +\d+ \| +(\d+) \| {re.escape(module)}$", report, re.MULTILINE)
    return int(cumulative)


def test_import_costs_at_most_two_and_a_half_times_that_of_asyncio() -> None:
    """The least of several paired rounds: a busy machine makes a round slow, never fast."""
    rounds = [(_import_microseconds("holdstate"), _import_microseconds("asyncio")) for _ in range(ROUNDS)]
    holdstate, asyncio = (min(column) for column in zip(*rounds, strict=True))
    assert holdstate <= 2.5 * asyncio
