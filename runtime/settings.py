"""Limits, retries and retention: every setting has a default, a unit in its name, and is checked when it is given."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, final

from attrs import field, frozen

from .errors import InvalidInput

if TYPE_CHECKING:
    from attrs import Attribute

# The encoder and decoder of JSON recurse once per level, on the caller's stack.
DEEPEST: Final = 256
LARGEST_BYTES: Final = 256 * 1024 * 1024
MIB: Final = 1024 * 1024
YEAR_SECONDS: Final = 31_536_000.0


def _whole(low: int, high: int | None = None) -> Callable[[object, Attribute[Any], object], None]:
    wanted = f"at least {low}" if high is None else f"from {low} to {high}"

    def check(settings: object, attribute: Attribute[Any], value: object) -> None:
        if type(value) is not int or value < low or (high is not None and value > high):
            _refuse(settings, attribute, f"must be a whole number, {wanted}", value)

    return check


def _number(low: float, high: float | None = None) -> Callable[[object, Attribute[Any], object], None]:
    wanted = f"at least {low}" if high is None else f"from {low} to {high}"

    def check(settings: object, attribute: Attribute[Any], value: object) -> None:
        fits = type(value) in (int, float) and isinstance(value, (int, float)) and isfinite(value) and value >= low
        if not fits or (high is not None and isinstance(value, (int, float)) and value > high):
            _refuse(settings, attribute, f"must be a finite number, {wanted}", value)

    return check


def _optional(
    check: Callable[[object, Attribute[Any], object], None],
) -> Callable[[object, Attribute[Any], object], None]:
    def check_if_given(settings: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None:
            check(settings, attribute, value)

    return check_if_given


def _instance(wanted: type) -> Callable[[object, Attribute[Any], object], None]:
    def check(settings: object, attribute: Attribute[Any], value: object) -> None:
        if type(value) is not wanted:
            _refuse(settings, attribute, f"must be a {wanted.__name__}", value)

    return check


def _refuse(settings: object, attribute: Attribute[Any], wanted: str, value: object) -> None:
    raise InvalidInput(f"{type(settings).__name__}.{attribute.name}", f"{wanted}; it is {value!r}")


@final
@frozen
class Limits:
    """What one runtime takes at most. ``max_payload_bytes`` is the encoded body without images; JSON integers always
    have to fit into -2**63 to 2**64 - 1.
    """

    max_active_inputs: int = field(default=100_000, validator=_whole(1))
    max_payload_bytes: int = field(default=MIB, validator=_whole(1024, LARGEST_BYTES))
    max_blob_bytes: int = field(default=16 * MIB, validator=_whole(1, LARGEST_BYTES))
    max_blobs: int = field(default=64, validator=_whole(0, 1_000_000))
    max_depth: int = field(default=64, validator=_whole(1, DEEPEST))


HARD_LIMITS: Final = Limits(
    max_payload_bytes=LARGEST_BYTES, max_blob_bytes=LARGEST_BYTES, max_blobs=1_000_000, max_depth=DEEPEST
)


@final
@frozen
class Backoff:
    """How long an input that failed waits: ``initial_seconds * factor ** (failures - 1)``, at most ``max_seconds``,
    then spread by plus or minus the fraction ``jitter``.
    """

    initial_seconds: float = field(default=1.0, validator=_number(0.0))
    factor: float = field(default=2.0, validator=_number(1.0))
    max_seconds: float = field(default=300.0, validator=_number(0.0, YEAR_SECONDS))
    jitter: float = field(default=0.5, validator=_number(0.0, 1.0))

    def delay(self, failures: int, jitter: float) -> float:
        """Seconds to wait after the ``failures``-th failure (from 1); ``jitter`` is a draw from [0, 1)."""
        try:
            growth = float(self.factor) ** max(failures - 1, 0)
        except OverflowError:
            growth = float("inf")
        wait = min(self.initial_seconds * growth, self.max_seconds) if self.initial_seconds else 0.0
        return wait * (1.0 + self.jitter * (2.0 * jitter - 1.0))


@final
@frozen
class RetryPolicy:
    """An input is abandoned when its ``max_attempts``-th run fails or crashes; a cancelled run is not counted."""

    max_attempts: int = field(default=5, validator=_whole(1))
    backoff: Backoff = field(default=Backoff(), validator=_instance(Backoff))


@final
@frozen
class Retention:
    """What stays of ended inputs: their payloads or not, and their rows for how many seconds (None: for ever).

    ``keep_events_seconds`` is for the event log; its front goes, up to the first event that is younger.
    """

    keep_payloads: bool = field(default=False, validator=_instance(bool))
    keep_ended_seconds: float | None = field(default=None, validator=_optional(_number(0.0, 100 * YEAR_SECONDS)))
    keep_events_seconds: float | None = field(default=None, validator=_optional(_number(0.0, 100 * YEAR_SECONDS)))
