"""The same driver over a private memory store: nothing outlives the process."""

from __future__ import annotations

from typing import Self, final

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.environment import Environment, RuntimeSettings
from ..runtime.store import RuntimeStore
from .memory_store import MemoryStore


@final
class EphemeralRuntimeDriver(PersistentRuntimeDriver):
    """``PersistentRuntimeDriver`` over a ``MemoryStore`` of its own."""

    @classmethod
    async def open(
        cls,
        runtime_id: str = "ephemeral",
        store: RuntimeStore | None = None,
        *,
        settings: RuntimeSettings | None = None,
        environment: Environment | None = None,
    ) -> Self:
        """A new runtime in memory; give a ``MemoryStore`` to open the same one again."""
        return await super().open(
            runtime_id,
            MemoryStore() if store is None else store,
            settings=settings,
            environment=environment,
        )
