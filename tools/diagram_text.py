"""How wide text is at most, and where it may be broken. Names are code, so pictures set everything in monospace."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from math import ceil
from typing import Final, final

from attrs import frozen

FAMILY: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_EM_PER_COLUMN: Final = 0.61
"""No common monospace font is wider (DejaVu Sans Mono has 0.602)."""


@final
@frozen
class Font:
    """A size, and the height of a line; both in pixels."""

    size: int
    line: int

    def width(self, text: str) -> int:
        """The pixels that ``text`` takes at most."""
        return ceil(columns(text) * self.size * _EM_PER_COLUMN)


NAME: Final = Font(15, 18)
LABEL: Final = Font(13, 16)
SMALL: Final = Font(12, 17)


def columns(text: str) -> int:
    """How many columns of a monospace font ``text`` takes; some letters of East Asia take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def wrapped(name: str, most: int) -> tuple[str, ...]:
    """A name in lines of ``most`` columns, broken after ``_``, ``-``, ``.`` and blanks; a longer word stays whole."""
    return _filled(re.findall(r"[^_\-. ]*[_\-. ]?", name)[:-1], most)


def listed(names: Iterable[str], most: int) -> tuple[str, ...]:
    """Names with commas between them, in lines of ``most`` columns; no name is broken."""
    *before, last = names
    return _filled([*(f"{name}, " for name in before), last], most)


def paragraph(text: str, most: int) -> tuple[str, ...]:
    """Words in lines of ``most`` columns, the second one and those after it indented."""
    first, *others = _filled(re.findall(r"\S+\s*", text), most - 4)
    return (first, *(f"    {line}" for line in others))


def _filled(words: Iterable[str], most: int) -> tuple[str, ...]:
    lines = [""]
    for word in words:
        if lines[-1] and columns((lines[-1] + word).rstrip()) > most:
            lines.append("")
        lines[-1] += word
    return tuple(line.rstrip() for line in lines)
