"""What the callers of a scale run were told, outside the store: it outlives a kill, and the store is held to it."""

from __future__ import annotations

import mmap
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

_BYTES: Final = 4


@final
class Ledger:
    """Two numbers for each runtime: how many of its inputs were acknowledged, and of how many the end was told.

    A mapped file: what a killed process wrote stays with the system, and costs nothing to write.
    """

    def __init__(self, path: Path, runtimes: int) -> None:
        size = 2 * runtimes * _BYTES
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self._bytes = memoryview(self._map)
        numbers = self._bytes.cast("I")
        self.acknowledged, self.ended = numbers[:runtimes], numbers[runtimes:]
        numbers.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for view in (self.acknowledged, self.ended, self._bytes):
            view.release()
        self._map.close()
