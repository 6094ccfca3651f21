"""A headless Chromium: that of the system (Debian's ``chromium``), driven by playwright, which downloads none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, final

import pytest_asyncio
from attrs import define, field

from holdstate.tools.browser import find_chromium, missing

from ..needs import do_without

if TYPE_CHECKING:
    from playwright.async_api import Browser, Dialog, Page


@final
@define
class Opened:
    """A page in the browser, with what went wrong in it: messages of the console, errors, dialogs, requests."""

    page: Page
    troubles: list[str] = field(factory=list)

    async def text(self, selector: str) -> str:
        """What can be read there."""
        return await self.page.locator(selector).inner_text()

    async def texts(self, selector: str) -> list[str]:
        """What can be read in each place that is shown."""
        return [await each.inner_text() for each in await self.page.locator(selector).all() if await each.is_visible()]

    async def press(self, *keys: str) -> None:
        """One key after the other."""
        for key in keys:
            await self.page.keyboard.press(key)

    async def step(self) -> str:
        """The one step that is shown."""
        (number,) = [
            await each.get_attribute("id")
            for each in await self.page.locator("article").all()
            if await each.is_visible()
        ]
        return str(number)

    async def colour(self, selector: str, which: str = "backgroundColor") -> str:
        """A computed colour of the first place."""
        return str(await self.page.locator(selector).first.evaluate(f"each => getComputedStyle(each).{which}"))

    async def in_view(self, selector: str) -> int:
        """How many of these have an area inside the window."""
        script = """all => all.filter(each => {
          const box = each.getBoundingClientRect();
          return box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0
            && box.top < innerHeight && box.left < innerWidth && getComputedStyle(each).visibility === "visible";
        }).length"""
        return int(await self.page.locator(selector).evaluate_all(script))


Open = Callable[..., Awaitable[Opened]]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests here; without it they are skipped, or fail."""
    notice = missing()
    if notice is not None:
        do_without(notice)
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=find_chromium(), timeout=120_000)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="package")
async def open_page(browser: Browser, tmp_path: Path) -> AsyncIterator[Open]:
    """Returns a function that opens the text of a page from a file, as a user does."""
    contexts = []

    async def opened(
        content: str, fragment: str = "", *, dark: bool = False, scripts: bool = True, width: int = 1400
    ) -> Opened:
        path = tmp_path / "page.html"
        path.write_text(content, encoding="utf-8")
        context = await browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        contexts.append(context)
        found = Opened(await context.new_page())
        page, address = found.page, f"{path.as_uri()}{fragment}"

        async def dismiss(dialog: Dialog) -> None:
            found.troubles.append(f"dialog: {dialog.message}")
            await dialog.dismiss()

        page.on("console", lambda message: found.troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: found.troubles.append(f"error: {error}"))
        page.on("dialog", dismiss)
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(path.as_uri()) else found.troubles.append(f"request: {request.url}")
            ),
        )
        await page.goto(address)
        return found

    yield opened
    for context in contexts:
        await context.close()
