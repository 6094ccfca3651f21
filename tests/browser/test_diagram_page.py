"""Pictures of machines in a browser: text fits where it was measured to fit, by day and by night, on a phone too."""

from __future__ import annotations

import pytest

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE
from holdstate.tools.diagram_command import diagram_of
from holdstate.tools.diagram_text import LABEL, NAME, SMALL

from .conftest import Open

pytestmark = pytest.mark.asyncio(loop_scope="package")

NAMES = (INPUT_LIFECYCLE.name, RUNTIME_STATE.name, "coupling", "tests.tools.machines:TICKET")
FONTS = {"name": NAME, "label": LABEL, "small": SMALL, "heading": NAME}


def _page(name: str) -> str:
    page = diagram_of(name, "html", detail=True)
    assert isinstance(page, str)
    return page


@pytest.mark.parametrize("name", NAMES)
async def test_no_text_is_wider_than_it_was_measured(open_page: Open, name: str) -> None:
    """In the fonts of this machine, which the layout does not know; and none leaves its picture."""
    shown = await open_page(_page(name))
    script = """all => all.map(each => {
      const box = each.getBBox(), all = each.ownerSVGElement.viewBox.baseVal;
      const inside = box.x > 0 && box.y > 0 && box.x + box.width < all.width && box.y + box.height < all.height;
      return [each.textContent, each.classList[0], each.getComputedTextLength(), inside];
    })"""
    found = await shown.page.locator("svg text").evaluate_all(script)
    assert len(found) > 10
    assert [text for text, kind, width, inside in found if width > FONTS[kind].width(text) or not inside] == []
    assert shown.troubles == []


@pytest.mark.parametrize("name", NAMES)
async def test_a_page_is_light_or_dark_as_its_reader_prefers(open_page: Open, name: str) -> None:
    """Panel and text change places; the content security policy lets the style of the picture in."""
    colours = []
    for dark in (False, True):
        shown = await open_page(_page(name), dark=dark)
        colours.append((await shown.colour("svg .panel", "fill"), await shown.colour("svg text.label", "fill")))
        assert shown.troubles == []
    (light_panel, light_text), (dark_panel, dark_text) = colours
    assert (light_panel, dark_panel) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)")
    assert light_text != dark_text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [390, 830, 1400])
async def test_a_page_never_scrolls_sideways(open_page: Open, name: str, width: int) -> None:
    """The picture shrinks, and wide tables scroll by themselves."""
    shown = await open_page(_page(name), width=width)
    assert await shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert shown.troubles == []
