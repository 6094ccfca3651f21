"""Keys of a terminal, one by one, without Return and without being shown."""

from __future__ import annotations

import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_KEY: Final = re.compile(r"\x1b\[[0-9;]*[~A-Za-z]|\x1bO[A-Za-z]|.", re.DOTALL)
_ROOM: Final = 1024


@contextmanager
def pressed_keys() -> Iterator[Callable[[], str]]:
    """What waits for a key and returns it: a character, or the sequence that an arrow key sends; empty at the end.

    The terminal on stdin is set up for as long as this lasts; keys that come early are kept. Ctrl-C interrupts as ever.
    """
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    waiting: list[str] = []

    def key() -> str:
        if not waiting:
            waiting.extend(_KEY.findall(os.read(terminal, _ROOM).decode(errors="replace")))
        return waiting.pop(0) if waiting else ""

    tty.setcbreak(terminal, termios.TCSADRAIN)
    try:
        yield key
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
