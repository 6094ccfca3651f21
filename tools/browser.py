"""A headless Chromium: that of the system, driven by playwright (extra ``[dev]``), which downloads none."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Final, final

from ..spec.errors import HoldstateError

CHROMIUM_VARIABLE: Final = "HOLDSTATE_CHROMIUM"
PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")


@final
class BrowserMissing(HoldstateError):
    """A page is to be looked at, and there is no browser, or nothing that drives it."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"{problem}; install it, or name a Chromium with {CHROMIUM_VARIABLE}=PATH")


def find_chromium() -> str | None:
    """The browser that ``HOLDSTATE_CHROMIUM`` names, or the one on the path."""
    named = os.environ.get(CHROMIUM_VARIABLE)
    return named or next(filter(None, map(shutil.which, PROGRAMS)), None)


def missing() -> str | None:
    """What is not installed here, in a sentence."""
    if find_spec("playwright") is None:
        return "playwright is not installed, which drives the browser (pip install 'holdstate[dev]')"
    found = find_chromium()
    if found is None or shutil.which(found) is None:
        return "no chromium is installed" if found is None else f"{found} is no program"
    return None


def chromium() -> str:
    """The path of the browser. Raises BrowserMissing."""
    problem, found = missing(), find_chromium()
    if problem is not None or found is None:
        raise BrowserMissing(problem or "no chromium is installed")
    return found
