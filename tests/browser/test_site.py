"""The documentation site in a browser: every page fits a phone, nothing is fetched from elsewhere, pictures keep their
size and are light or dark as the page is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="package")

PICTURES = {"_images/input_lifecycle.svg", "_images/runtime_state.svg", "_images/coupling.svg"}
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
WIDER_THAN_THE_WINDOW = "document.documentElement.scrollWidth > innerWidth"
SIZES = """() => [...document.querySelectorAll("article img")].map(each =>
  [each.getAttribute("src"), each.getBoundingClientRect().width === each.naturalWidth && each.naturalWidth > 0])"""


async def test_every_page_fits_a_phone_and_a_window(browser: Browser, site: Path) -> None:
    """No page is wider than its window: code and tables move by themselves. Nothing is fetched from elsewhere."""
    troubles: list[str] = []
    pages = sorted(site.rglob("*.html"))  # noqa: ASYNC240 - nothing else goes on
    for width in (390, 900):
        context = await browser.new_context(viewport={"width": width, "height": 800})
        page = await context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(request.url))
        page.on("request", lambda request: None if request.url.startswith("file:") else troubles.append(request.url))
        for path in pages:
            await page.goto(path.as_uri())
            if await page.evaluate(WIDER_THAN_THE_WINDOW):
                troubles.append(f"{path.relative_to(site)} is wider than {width}")
        await context.close()
    assert len(pages) > 40
    assert troubles == []


@pytest.mark.parametrize("width", [390, 900])
async def test_pictures_of_machines_keep_their_size(browser: Browser, site: Path, width: int) -> None:
    """On a narrow screen too."""
    context = await browser.new_context(viewport={"width": width, "height": 800})
    page = await context.new_page()
    await page.goto((site / "machines.html").as_uri())
    sizes = dict(await page.evaluate(SIZES))
    await context.close()
    assert sizes == dict.fromkeys(PICTURES, True)


async def _ground(page: Page) -> bytes:
    """A piece of the first picture where nothing is drawn but its ground."""
    box = await page.locator("article img").first.bounding_box()
    assert box is not None
    return await page.screenshot(clip={"x": box["x"] + 400, "y": box["y"] + 20, "width": 16, "height": 8})


async def test_a_picture_follows_the_switch_of_the_page(browser: Browser, site: Path) -> None:
    """Also where the reader's system says otherwise: a picture is as dark as the page behind it."""
    grounds: dict[tuple[str, str], bytes] = {}
    for system in SCHEMES:
        context = await browser.new_context(viewport={"width": 900, "height": 800}, color_scheme=system)
        page = await context.new_page()
        await page.goto((site / "machines.html").as_uri())
        for switch in ("auto", *SCHEMES):
            await page.evaluate(f"document.body.dataset.theme = {switch!r}")
            grounds[system, switch] = await _ground(page)
        await context.close()
    for kind, other in (SCHEMES, SCHEMES[::-1]):
        assert grounds[kind, "auto"] == grounds[kind, kind] == grounds[other, kind] != grounds[other, "auto"]


async def test_a_word_can_be_searched_for_without_a_network(browser: Browser, site: Path) -> None:
    """The index is a script beside the pages."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{(site / 'search.html').as_uri()}?q=quarantine")
    await page.locator("#search-results li a").first.wait_for(timeout=30_000)
    found = await page.locator("#search-results li a").all_inner_texts()
    await context.close()
    assert any("Reliability" in title for title in found)
