"""The picture of a run of the bench in a browser: its words fit, by day and by night, on a phone too."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdstate.tools.bench_output import Outcome
from holdstate.tools.bench_setting import SIZES, Bench, Line
from holdstate.tools.bench_svg import picture_of
from holdstate.tools.page import page

from .conftest import Open

pytestmark = pytest.mark.asyncio(loop_scope="package")

LINES = [
    Line("accept", "accept, one caller", "times raw", 1, 1, "µs", 1.59, 1.45, 1.63, 1.6, 1.3),
    Line("software", "accept to consumed, store on a tmpfs", "µs", 180, 1, "µs", 180, 170, 400, 160.0),
    Line("written", "written to the file by one of 64 gathered accepts", "bytes each", ratio=962, low=897, high=1089),
    Line("service", "accept to consumed, 64 runtimes at once", "times the rate of 3 raw commits", ratio=2.7, high=3),
]  # fmt: skip


def _page(tmp_path: Path) -> str:
    outcome = Outcome("full", Bench(tmp_path, SIZES["full"]), list(LINES))
    drawn = picture_of(outcome)
    style = drawn[drawn.index("<style>") + len("<style>") : drawn.index("</style>")]
    return page("bench", f"svg {{ max-width: 100%; height: auto; }}{style}", drawn.replace(style, ""))


@pytest.mark.parametrize("width", [390, 900])
async def test_no_words_leave_the_picture(open_page: Open, tmp_path: Path, width: int) -> None:
    """Nor do bars, and the page does not scroll sideways."""
    shown = await open_page(_page(tmp_path), width=width)
    script = """all => all.filter(each => {
      const box = each.getBBox(), all = each.ownerSVGElement.viewBox.baseVal;
      return box.x <= 0 || box.y <= 0 || box.x + box.width >= all.width || box.y + box.height >= all.height;
    }).map(each => each.textContent || each.outerHTML)"""
    assert await shown.page.locator("svg text").count() > len(LINES) * 2
    assert await shown.page.locator("svg text, svg rect:not(.panel), svg path").evaluate_all(script) == []
    assert await shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_the_picture_is_light_or_dark_as_its_reader_prefers(open_page: Open, tmp_path: Path) -> None:
    """Panel and words change places."""
    found = []
    for dark in (False, True):
        shown = await open_page(_page(tmp_path), dark=dark)
        found.append((await shown.colour("svg .panel", "fill"), await shown.colour("svg text.label", "fill")))
    assert found == [("rgb(255, 255, 255)", "rgb(31, 35, 40)"), ("rgb(13, 17, 23)", "rgb(230, 237, 243)")]
