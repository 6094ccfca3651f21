"""Words for times, rates and sizes."""

from __future__ import annotations

import pytest

from holdstate.tools.quantities import bytes_text, counted, duration_text, rate_text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.25, "250 ms"),
        (1, "1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59, "59 s"),
        (60, "1 min"),
        (150, "2.5 min"),
        (3600, "1 h"),
        (86400 * 1234, "1,234 d"),
    ],
)
def test_a_duration_is_told_in_its_largest_unit(seconds: float, words: str) -> None:
    """With a fraction below ten only."""
    assert duration_text(seconds) == words


@pytest.mark.parametrize(
    ("count", "seconds", "words"),
    [
        (0, 100, ""),
        (5, 0.5, ""),
        (30, 10, "3/s"),
        (1, 10, "0.1/s"),
        (30, 600, "3/min"),
        (1, 600, "0.1/min"),
        (4, 7200, "2/h"),
        (1, 86400 * 2, "0.5/d"),
    ],
)
def test_a_rate_says_nothing_of_a_time_that_nobody_looked_at(count: int, seconds: float, words: str) -> None:
    """Its unit is never longer than what was looked at, and it is at least one of it where it can be."""
    assert rate_text(count, seconds) == words


def test_sizes_and_counts_are_told_in_words() -> None:
    """In units of 1024, and with an s for all but one."""
    assert [bytes_text(each) for each in (0, 512, 4096, 1536 * 1024, 2**50)] == [
        "0 B",
        "512 B",
        "4 KiB",
        "1.5 MiB",
        "1,024 TiB",
    ]
    assert [counted(each, "input") for each in (0, 1, 2000)] == ["0 inputs", "1 input", "2,000 inputs"]
