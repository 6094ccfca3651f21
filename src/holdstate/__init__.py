"""holdstate: durable runtimes for agents and jobs, driven by transition tables.

``spec``     tables that say what may happen, and the language they are written in
``runtime``  the core that interprets them, the driver, the records
``stores``   where records are kept: LMDB, memory
``tools``    the command line and what checks and shows the rest

The names below are loaded when they are first used, so that ``import holdstate`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spec.errors import HoldstateError

    __version__: str

__all__ = ["HoldstateError", "__version__"]

# Where each name of __all__ lives. tests/packaging/test_public_api.py holds it against __all__ and the import block.
_MODULES = {
    "HoldstateError": "spec.errors",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version(__name__)
    elif name in _MODULES:
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    else:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
