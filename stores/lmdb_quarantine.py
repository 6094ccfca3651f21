"""What ``on_corrupt="quarantine"`` sets aside: rows that cannot be read. They stay as they are, and are named."""

from __future__ import annotations

from typing import final

from ..runtime.errors import StoreCorruption
from ..runtime.store import Finding


@final
class Quarantine:
    """Rows of one store that were met since it was opened, each once. For all threads of the process."""

    def __init__(self) -> None:
        self._met: dict[str, Finding] = {}

    def take(self, error: StoreCorruption) -> str:
        """Remember a row that cannot be read; returns its name."""
        self._met[error.where] = Finding("row_is_readable", error.where, error.problem)
        return error.where

    def findings(self) -> tuple[Finding, ...]:
        """All of them, in the order in which they were met."""
        return tuple(self._met.values())
