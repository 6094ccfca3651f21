"""What a driver is given from outside: its rules, and its sources of time, ids and chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import final
from uuid import UUID

from attrs import field, frozen

from ..spec.policy import DEFAULT_POLICY, Policy
from .ids import in_utc, new_uuid7, utc_now
from .settings import Limits, Retention, RetryPolicy, function, instance, whole


@final
@frozen
class RuntimeSettings:
    """The rules of one runtime.

    ``max_batch`` bounds a run's inputs (1 and more), ``max_history`` the transitions kept with an input, ``max_events``
    the undelivered events. ``event_log`` writes each event in the commit of its command, a row each. ``debug`` checks
    the named invariants after every command, in time proportional to the runtime.
    """

    policy: Policy = field(default=DEFAULT_POLICY, validator=instance(Policy))
    retry: RetryPolicy = field(factory=RetryPolicy, validator=instance(RetryPolicy))
    limits: Limits = field(factory=Limits, validator=instance(Limits))
    retention: Retention = field(factory=Retention, validator=instance(Retention))
    max_batch: int = field(default=256, validator=whole(1))
    max_history: int = field(default=32, validator=whole(1))
    max_events: int = field(default=10_000, validator=whole(1))
    event_log: bool = field(default=False, validator=instance(bool))
    debug: bool = field(default=False, validator=instance(bool))


@final
@frozen
class Environment:
    """Clock, id factory and randomness. Tests inject their own; the core sees only the values.

    ``now`` may give the time in any zone, but not a naive one.
    """

    _now: Callable[[], datetime] = field(default=utc_now, validator=function, alias="now")
    new_id: Callable[[], UUID] = field(default=new_uuid7, validator=function)
    chance: Callable[[], float] = field(default=random.random, validator=function)

    def now(self) -> datetime:
        """The time, in UTC. Raises InvalidInput where the clock gives a naive one."""
        return in_utc(self._now(), "Environment.now")
