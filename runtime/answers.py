"""How a caller is answered, and whether anybody else wants the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from .errors import StoreError


def is_idle(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether nothing but the running callback is ready; False where the loop does not tell."""
    # The stock loop's own queue, which asyncio does not give out; another loop may have none.
    ready: Collection[object] | None = getattr(loop, "_ready", None)
    return ready is not None and not ready


def is_gone(future: asyncio.Future[object]) -> bool:
    """Whether nobody waits for ``future`` any more."""
    return future.cancelled() or future.get_loop().is_closed()


def answer_to(future: asyncio.Future[object], answer: object) -> None:
    """Give ``answer`` to a caller who is still there."""
    if future.done() or future.get_loop().is_closed():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def as_store_error(error: Exception, *, applied: bool | None) -> StoreError:
    if isinstance(error, StoreError):
        return error
    return StoreError(f"the store failed with {type(error).__name__}: {error}", applied=applied, cause=error)
