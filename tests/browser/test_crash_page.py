"""The matrix of a crash campaign in a browser."""

from __future__ import annotations

import pytest

from holdstate.tools.crash_page import crash_page
from holdstate.tools.crash_report import CrashReport

from .conftest import Open

pytestmark = pytest.mark.asyncio(loop_scope="package")


def _report(*outcomes: tuple[str, str, str, str], control: str = "") -> CrashReport:
    report = CrashReport("power", 7, control, facts={"crash points": 1234})
    for point, command, outcome, finding in outcomes:
        report.count(point, command, outcome, finding)
    return report


GOOD = _report(("pages not synced", "open", "ok", ""), ("answered", "accept", "ok", ""))
BAD = _report(
    ("pages not synced", "open", "ok", ""),
    ("pages not synced", "open", "lost", "step 3 <img src=x onerror=alert(1)> is missing"),
    ("answered", "accept", "undecided", "the checker did not answer"),
    control="drop-all-flushes",
)


async def test_the_matrix_has_a_row_for_each_point_and_a_column_for_each_command(open_page: Open) -> None:
    """With sums, and nothing where nothing was tried."""
    shown = await open_page(crash_page(GOOD))
    assert await shown.texts(".matrix thead th") == ["crash point", "open", "accept", "all"]
    assert await shown.texts(".matrix tbody tr:first-child > *") == ["pages not synced", "1ok", "·", "1"]
    assert await shown.texts(".matrix tfoot > tr > *") == ["all", "1", "1", "2"]
    assert await shown.text(".verdict") == "✓ no promise was broken"
    assert await shown.texts("dl > div") == ["cases\n2", "seed\n7", "crash points\n1,234"]
    assert shown.troubles == []


async def test_what_broke_a_promise_stands_out(open_page: Open) -> None:
    """Verdict, cells and findings by their colour; a hostile text is shown as it is."""
    shown = await open_page(crash_page(BAD))
    assert await shown.text(".verdict") == "✗ 1 case broke a promise"
    assert "drop-all-flushes" in await shown.text("header")
    colours = {await shown.colour(f".matrix td.{kind}") for kind in ("bad", "open", "none")}
    assert len(colours) == 3
    assert await shown.texts("li.bad") == ["lostpages not synced, open: step 3 <img src=x onerror=alert(1)> is missing"]
    assert await shown.page.locator("img").count() == 0
    assert shown.troubles == []


async def test_nothing_that_ran_is_no_success() -> None:
    """An empty campaign and an undecided one are not green."""
    assert "no case ran" in crash_page(_report())
    assert "1 case undecided" in crash_page(_report(("a", "b", "undecided", "")))


@pytest.mark.parametrize("width", [1400, 800, 400])
@pytest.mark.parametrize("dark", [False, True])
async def test_the_page_is_not_blank(width: int, dark: bool, open_page: Open) -> None:  # noqa: FBT001
    """Verdict, matrix and outcomes are in view, light and dark; only the matrix may be wider than the window."""
    shown = await open_page(crash_page(BAD), dark=dark, width=width)
    assert await shown.in_view(".verdict, .matrix td.bad, .legend tr, li") >= 9
    assert await shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(await shown.page.screenshot()) > 10_000
    assert shown.troubles == []
