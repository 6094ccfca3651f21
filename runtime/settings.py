"""Limits, retries and retention: every setting has a default, a unit in its name, and is checked when it is given."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeGuard, TypeVar, final

from attrs import field, frozen

from .errors import InvalidInput

if TYPE_CHECKING:
    from attrs import Attribute

T = TypeVar("T")

# The encoder and decoder of JSON recurse once per level, on the caller's stack.
DEEPEST: Final = 256
LARGEST_BYTES: Final = 256 * 1024 * 1024
MIB: Final = 1024 * 1024
YEAR_SECONDS: Final = 31_536_000.0

Check = Callable[[object, "Attribute[Any]", object], None]
"""What attrs asks about a value that is given to a field."""


def whole(low: int, high: int | None = None) -> Check:
    """A whole number from ``low`` on."""
    wanted = f"at least {low}" if high is None else f"from {low} to {high}"

    def check(settings: object, attribute: Attribute[Any], value: object) -> None:
        if type(value) is not int or value < low or (high is not None and value > high):
            _refuse(settings, attribute, f"must be a whole number, {wanted}", value)

    return check


def is_number(value: object) -> TypeGuard[float]:
    """Whether ``value`` is an int or a float, and no bool."""
    return type(value) in (int, float)


def number(low: float, high: float | None = None) -> Check:
    """A finite number from ``low`` on."""
    wanted = f"at least {low}" if high is None else f"from {low} to {high}"

    def check(settings: object, attribute: Attribute[Any], value: object) -> None:
        if not is_number(value) or not low <= value < inf or (high is not None and value > high):
            _refuse(settings, attribute, f"must be a finite number, {wanted}", value)

    return check


def above_zero(settings: object, attribute: Attribute[Any], value: object) -> None:
    """A finite number above 0."""
    if not is_number(value) or not 0 < value < inf:
        _refuse(settings, attribute, "must be a finite number above 0", value)


def optional(check: Check) -> Check:
    """None, or what ``check`` takes."""

    def check_if_given(settings: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None:
            check(settings, attribute, value)

    return check_if_given


def instance(wanted: type) -> Check:
    """An object of exactly that class."""

    def check(settings: object, attribute: Attribute[Any], value: object) -> None:
        if type(value) is not wanted:
            _refuse(settings, attribute, f"must be a {wanted.__name__}", value)

    return check


def function(settings: object, attribute: Attribute[Any], value: object) -> None:
    """Something that can be called."""
    if not callable(value):
        _refuse(settings, attribute, "must be a function", value)


def given_or_default(given: T | None, wanted: type[T], path: str) -> T:
    """``given``, or a ``wanted`` with all its defaults; InvalidInput for an object of another class."""
    if given is None:
        return wanted()
    if type(given) is not wanted:
        raise InvalidInput(path, f"must be a {wanted.__name__}, not {type(given).__name__}")
    return given


def _refuse(settings: object, attribute: Attribute[Any], wanted: str, value: object) -> None:
    raise InvalidInput(f"{type(settings).__name__}.{attribute.alias}", f"{wanted}; it is {value!r}")


@final
@frozen
class Limits:
    """What one runtime takes at most. ``max_payload_bytes`` is the encoded body without images; JSON integers always
    have to fit into -2**63 to 2**64 - 1.
    """

    max_active_inputs: int = field(default=100_000, validator=whole(1))
    max_payload_bytes: int = field(default=MIB, validator=whole(1024, LARGEST_BYTES))
    max_blob_bytes: int = field(default=16 * MIB, validator=whole(1, LARGEST_BYTES))
    max_blobs: int = field(default=64, validator=whole(0, 1_000_000))
    max_depth: int = field(default=64, validator=whole(1, DEEPEST))


HARD_LIMITS: Final = Limits(
    max_payload_bytes=LARGEST_BYTES, max_blob_bytes=LARGEST_BYTES, max_blobs=1_000_000, max_depth=DEEPEST
)


@final
@frozen
class Backoff:
    """How long an input that failed waits: ``initial_seconds * factor ** (failures - 1)``, at most ``max_seconds``,
    then spread by plus or minus the fraction ``jitter``.
    """

    initial_seconds: float = field(default=1.0, validator=number(0.0))
    factor: float = field(default=2.0, validator=number(1.0))
    max_seconds: float = field(default=300.0, validator=number(0.0, YEAR_SECONDS))
    jitter: float = field(default=0.5, validator=number(0.0, 1.0))

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

    max_attempts: int = field(default=5, validator=whole(1))
    backoff: Backoff = field(default=Backoff(), validator=instance(Backoff))


@final
@frozen
class Retention:
    """What stays of ended inputs: their payloads or not, and their rows for how many seconds (None: for ever).

    ``keep_events_seconds`` is for the event log; its front goes, up to the first event that is younger.
    """

    keep_payloads: bool = field(default=False, validator=instance(bool))
    keep_ended_seconds: float | None = field(default=None, validator=optional(number(0.0, 100 * YEAR_SECONDS)))
    keep_events_seconds: float | None = field(default=None, validator=optional(number(0.0, 100 * YEAR_SECONDS)))
