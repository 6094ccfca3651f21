"""How long, how often, how many and how much, in words that are short enough for a picture."""

from __future__ import annotations

from datetime import datetime
from typing import Final

_UNITS: Final = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0))


def duration_text(seconds: float) -> str:
    """``250 ms``, ``12 s``, ``4 min``, ``2.5 h``, ``3 d``: two digits at least, and a fraction only below ten."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    name, unit = next((each for each in reversed(_UNITS) if seconds >= each[1]), _UNITS[0])
    return f"{_figure(seconds / unit)} {name}"


def rate_text(count: int, seconds: float) -> str:
    """``count`` in so many seconds as a rate: ``4/min``. The unit is never longer than ``seconds``, so that nothing is
    said of a time that nobody looked at; empty where there is no such unit, or nothing to tell.
    """
    units = [(name, unit) for name, unit in _UNITS if unit <= seconds]
    if not count or not units:
        return ""
    name, unit = next(((name, unit) for name, unit in units if count * unit / seconds >= 1), units[-1])
    return f"{_figure(count * unit / seconds)}/{name}"


def moment_text(at: datetime) -> str:
    """A time to the second, in UTC: ``2026-03-01 12:30:05 UTC``."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def bytes_text(count: int) -> str:
    """``512 B``, ``4 KiB``, ``1.5 MiB``."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:  # noqa: PLR2004 - of the next unit
        value, units = value / 1024, units[1:]
    return f"{_figure(value)} {units[0]}" if count else "0 B"


def counted(count: int, noun: str) -> str:
    """``1 input``, ``2,000 inputs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _figure(value: float) -> str:
    if value >= 9.95:  # noqa: PLR2004 - what would be written as 10.0
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 0.95 else f"{value:.2g}"  # noqa: PLR2004 - as above
