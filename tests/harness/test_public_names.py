"""The names that ``holdstate.tools.harness`` exports."""

from __future__ import annotations

import inspect
import re

import pytest

from holdstate import tools
from holdstate.tools import harness


def test_every_name_resolves_and_is_documented() -> None:
    """Each once, with a docstring; nothing else resolves."""
    assert len(harness.__all__) == len(set(harness.__all__))
    for name in harness.__all__:
        assert inspect.getdoc(getattr(harness, name)), name
    for package in (harness, tools):
        with pytest.raises(AttributeError, match="no_such_name"):
            getattr(package, "no_such_name")  # noqa: B009 - the lookup is what is tested


def test_type_checkers_see_what_is_loaded() -> None:
    """The import block for type checkers names each exported name with the module that it is loaded from."""
    block = inspect.getsource(harness).partition("if TYPE_CHECKING:")[2].partition("__all__")[0]
    seen = {
        name.strip(): module
        for module, names in re.findall(r"from \.(\w+) import ([\w, ]+)$", block, re.MULTILINE)
        for name in names.split(",")
    }
    assert seen == harness._MODULES
    assert set(seen) == set(harness.__all__)
