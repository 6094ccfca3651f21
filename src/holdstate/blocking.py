"""The service without ``await``, for scripts, threads, notebooks and web workers: see ``runtime/blocking.py``."""

from .runtime.blocking import (
    BlockingExecutor,
    BlockingInputHandle,
    BlockingRun,
    BlockingRuntimeService,
    BlockingSubscription,
)

__all__ = ["BlockingExecutor", "BlockingInputHandle", "BlockingRun", "BlockingRuntimeService", "BlockingSubscription"]
