"""What ``on_corrupt="quarantine"`` sets aside: rows that cannot be read. They stay as they are, and are named."""

from __future__ import annotations

from typing import final
from uuid import UUID

from ..runtime.errors import StoreCorruption
from ..runtime.records import InputRecord
from ..runtime.store import Finding


@final
class Quarantine:
    """Rows of one store that were met since it was opened, each once. For all threads of the process."""

    def __init__(self) -> None:
        self._met: dict[str, Finding] = {}
        self._known: dict[tuple[bytes, UUID | str], str] = {}

    def take(self, error: StoreCorruption) -> str:
        """Remember a row that cannot be read; returns its name."""
        self._met[error.where] = Finding("row_is_readable", error.where, error.problem)
        return error.where

    def set_aside(self, prefix: bytes, record: InputRecord, error: StoreCorruption) -> str:
        """``take`` for an input whose own row can be read: its id and its key stay known."""
        where = self.take(error)
        self._known[prefix, record.input_id] = where
        if record.admission.idempotency_key is not None:
            self._known[prefix, record.admission.idempotency_key] = where
        return where

    def check(self, prefix: bytes, known: UUID | str) -> None:
        """StoreCorruption where this id or key of the runtime is that of an input that was set aside (C7)."""
        where = self._known.get((prefix, known))
        if where is not None:
            raise StoreCorruption(
                where, f"so the input under {str(known)!r} was set aside, and what became of it is unknown"
            )

    def findings(self) -> tuple[Finding, ...]:
        """All of them, in the order in which they were met."""
        return tuple(self._met.values())
