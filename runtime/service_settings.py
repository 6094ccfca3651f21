"""How a service works: bounds on what is open, under way and waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from attrs import field, frozen

from .environment import RuntimeSettings
from .settings import MIB, above_zero, function, instance, number, optional, whole


@final
@frozen
class ServiceSettings:
    """Runtimes share ``runtime``; sizes are counts, times are seconds.

    ``max_open`` bounds the open runtimes that nothing keeps open, ``max_runs`` the runs under way at once,
    ``run_timeout`` a run (None: unbounded), ``hang_seconds`` how long an executor may take to end after it was
    cancelled, and ``drain_seconds`` how long ``close`` waits for runs before it calls them off. With ``resume_backlog``
    entering the service claims every runtime in which a service before it left work; without, work waits until its
    runtime is used.

    Beyond ``max_active_total`` inputs that have not ended, or ``max_queued_bytes`` of their payloads and images, inputs
    are rejected as overloaded. A run under way for more than ``overdue_seconds`` shows as overdue in the status.

    ``may_run`` is asked before each run with the id of its runtime; where it says no, the work stays queued until
    ``RuntimeService.wake``. With ``stop_on_failure`` the service tries nothing again: the first failure of the store,
    or the first runtime that somebody else opened, closes it (``RuntimeService.failure``).
    """

    runtime: RuntimeSettings = field(factory=RuntimeSettings, validator=instance(RuntimeSettings))
    max_open: int = field(default=1000, validator=whole(1))
    max_runs: int = field(default=64, validator=whole(1))
    run_timeout: float | None = field(default=None, validator=optional(above_zero))
    hang_seconds: float = field(default=5.0, validator=number(0.0))
    drain_seconds: float = field(default=30.0, validator=number(0.0))
    resume_backlog: bool = field(default=True, validator=instance(bool))
    max_active_total: int = field(default=1_000_000, validator=whole(1))
    max_queued_bytes: int = field(default=1024 * MIB, validator=whole(1))
    overdue_seconds: float = field(default=300.0, validator=above_zero)
    may_run: Callable[[str], bool] | None = field(default=None, validator=optional(function))
    stop_on_failure: bool = field(default=False, validator=instance(bool))
