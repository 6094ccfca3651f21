"""What a test needs beyond the library: without it the test is skipped, or fails where everything is required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def do_without(notice: str) -> NoReturn:
    """Skip the test that is running; under ``HOLDSTATE_REQUIRE_ALL`` it fails. ``notice`` says what is missing."""
    if os.environ.get("HOLDSTATE_REQUIRE_ALL"):
        pytest.fail(f"{notice} (HOLDSTATE_REQUIRE_ALL is set)", pytrace=False)
    pytest.skip(notice)
