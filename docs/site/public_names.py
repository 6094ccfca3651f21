"""Names in the reference: each is documented once, under the module that users import it from, and linked from wherever
a signature names the module that it is written in.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Final

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

NEEDS_A_DOCSTRING: Final = {"class", "exception", "function", "method", "property"}

# Users are given these, or open them; how one is built is nobody's business, and may change.
NOT_BUILT_BY_USERS: Final = {
    "holdstate.ActiveRun",
    "holdstate.EphemeralRuntimeDriver",
    "holdstate.InputHandle",
    "holdstate.LmdbStore",
    "holdstate.PersistentRuntimeDriver",
    "holdstate.Subscription",
    "holdstate.TransitionTable",
    "holdstate.blocking.BlockingInputHandle",
    "holdstate.blocking.BlockingRun",
    "holdstate.blocking.BlockingSubscription",
    "holdstate.tools.harness.Broken",
}

# Shown although no docstring says more than the name does.
SAY_IT_THEMSELVES: Final = {
    *("eq", "ne", "lt", "le", "gt", "ge", "is_none", "is_some", "plus_one"),
    *("runtime_id", "run_id", "input_id", "is_idle", "is_idle_or_attached"),
}

_logger = logging.getLogger(__name__)


def named(path: str) -> object | None:
    """What ``path`` names, a module with attributes; None where it names nothing."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found
    return None


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Element | None:
    """A link to ``holdstate.runtime.records.InputRecord`` leads to ``holdstate.InputRecord``, which is the same."""
    if node.get("refdomain") != "py" or not node["reftarget"].startswith("holdstate."):
        return None
    wanted, last = named(node["reftarget"]), node["reftarget"].rpartition(".")[2]
    domain = env.domains.python_domain
    for target in domain.objects:
        if wanted is not None and target.rpartition(".")[2] == last and named(target) is wanted:
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)
    return None


def hide_constructor(
    app: Sphinx, what: str, name: str, obj: object, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """No parameters for what users do not build."""
    return ("", "") if name in NOT_BUILT_BY_USERS else None


def demand_docstring(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """What is shown without a word about it is a mistake of ours."""
    is_silent = not any(line.strip() for line in lines)
    if is_silent and what in NEEDS_A_DOCSTRING and name.rpartition(".")[2] not in SAY_IT_THEMSELVES:
        _logger.warning("%s has no docstring", name, type="public_names")


def demand_members(app: Sphinx, what: str, name: str, obj: object, is_skipped: bool, options: Any) -> bool | None:
    """A public method or property without a docstring would not be shown at all."""
    own = inspect.isroutine(obj) or isinstance(obj, property)
    if not is_skipped or not own or name.startswith("_") or inspect.getdoc(obj):
        return None
    if name not in SAY_IT_THEMSELVES:
        _logger.warning("%s %r has no docstring", what, name, type="public_names", location=app.env.docname)
    return False


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("autodoc-process-docstring", demand_docstring)
    app.connect("autodoc-skip-member", demand_members)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
