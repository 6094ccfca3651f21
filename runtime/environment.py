"""What a driver is given from outside: its rules, and its sources of time, ids and chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import final
from uuid import UUID

from attrs import field, frozen, validators

from ..spec.policy import DEFAULT_POLICY, Policy
from .ids import new_uuid7, utc_now
from .settings import Limits, Retention, RetryPolicy


@final
@frozen
class RuntimeSettings:
    """The rules of one runtime.

    ``max_batch`` bounds a run's inputs (1 and more), ``max_history`` the transitions kept with an input, ``max_events``
    the undelivered events. ``event_log`` writes each event in the commit of its command, a row each. ``debug`` checks
    the named invariants after every command, in time proportional to the runtime.
    """

    policy: Policy = DEFAULT_POLICY
    retry: RetryPolicy = field(factory=RetryPolicy)
    limits: Limits = field(factory=Limits)
    retention: Retention = field(factory=Retention)
    max_batch: int = field(default=256, validator=validators.ge(1))
    max_history: int = field(default=32, validator=validators.ge(1))
    max_events: int = field(default=10_000, validator=validators.ge(1))
    event_log: bool = False
    debug: bool = False


@final
@frozen
class Environment:
    """Clock, id factory and randomness. Tests inject their own; the core sees only the values."""

    now: Callable[[], datetime] = utc_now
    new_id: Callable[[], UUID] = new_uuid7
    chance: Callable[[], float] = random.random
