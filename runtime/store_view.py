"""What one flush sees of the store."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import final

from .answers import as_store_error
from .errors import StoreError
from .store import Reader, RuntimeStore


@final
class StoreView:
    """What the store holds, as of the first look that a flush takes into it. Most flushes need none."""

    __slots__ = ("_failure", "_opened", "_reader", "_store")

    def __init__(self, store: RuntimeStore) -> None:
        self._store = store
        self._opened: AbstractContextManager[Reader] | None = None
        self._reader: Reader | None = None
        self._failure: StoreError | None = None

    @property
    def reader(self) -> Reader:
        """The same one until ``close``. Raises ``StoreError``, the same one too, where the store cannot be read."""
        if self._reader is None:
            if self._failure is None:
                self._open()
            if self._failure is not None:
                raise self._failure.with_traceback(None)
        assert self._reader is not None, "it was opened, or it has failed"
        return self._reader

    def _open(self) -> None:
        try:
            opened = self._store.reading()
            self._reader = opened.__enter__()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to who looks
            self._failure = as_store_error(error, applied=False)
        else:
            self._opened = opened

    def close(self) -> None:
        """Leave the store, if it was looked into."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            opened.__exit__(None, None, None)
