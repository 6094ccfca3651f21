"""``python -m holdstate.tools.screenshots``: every diagram and page as a PNG, by a headless Chromium.

Each is shown at each width, light and dark. What is wider than the window, or says anything in the console of the
browser, is a finding.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, final

import click
from attrs import frozen

from .browser import chromium
from .output import ExitCode, call_alone, write_document, write_table
from .pictures import PICTURES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

README_WIDTH: Final = 900
PHONE_WIDTH: Final = 390
HEIGHT: Final = 800
SCHEMES: Final = {"light": ("light",), "dark": ("dark",), "both": ("light", "dark")}
_SETTLED_MS: Final = 300
"""The longest animation of a page, which pictures wait for."""


@final
@frozen
class Shot:
    """One PNG. ``width`` is that of the window; ``problem`` is empty where all is well."""

    name: str
    width: int
    scheme: str
    path: Path
    height: int
    size: int
    problem: str = ""

    def row(self) -> tuple[str, ...]:
        return (
            self.name,
            str(self.width),
            self.scheme,
            f"{self.width} × {self.height}",
            f"{self.size:,}",
            str(self.path),
            self.problem,
        )


COLUMNS: Final = ("name", "width", "scheme", "pixels", "bytes", "file", "problem")


def take_screenshots(folder: Path, names: Sequence[str], widths: Sequence[int], schemes: Sequence[str]) -> list[Shot]:
    """Write the PNGs of ``names`` into ``folder``. Raises BrowserMissing."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    shots = []
    with sync_playwright() as playwright, TemporaryDirectory() as pages:
        browser = playwright.chromium.launch(executable_path=program)
        for name in names:
            source = Path(pages, f"{name}.html")
            source.write_text(PICTURES[name].make(), encoding="utf-8")
            address = f"{source.as_uri()}{PICTURES[name].fragment}"
            for scheme, width in product(schemes, widths):
                shots.append(_shot(browser, address, folder / f"{name}-{width}-{scheme}.png", width))
        browser.close()
    return shots


def _shot(browser: Browser, address: str, path: Path, width: int) -> Shot:
    name, _, scheme = path.stem.rsplit("-", 2)
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    try:
        shown, troubles = context.new_page(), list[str]()
        shown.on("console", lambda message: troubles.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        shown.goto(address)
        shown.wait_for_timeout(_SETTLED_MS)
        wide, height = shown.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]",
        )
        shown.screenshot(path=path, full_page=True)
    finally:
        context.close()
    if wide > width:
        troubles.insert(0, f"it is {wide} pixels wide, {wide - width} more than the window")
    return Shot(name, width, scheme, path, max(height, HEIGHT), path.stat().st_size, "; ".join(troubles))


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, type=click.Choice(tuple(PICTURES)))
@click.option(
    "--output",
    "-o",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the PNGs.",
)
@click.option(
    "--width",
    "widths",
    type=click.IntRange(200, 4000),
    multiple=True,
    default=(README_WIDTH, PHONE_WIDTH),
    show_default=True,
    help="Of the window; may be given several times.",
)
@click.option("--scheme", type=click.Choice(tuple(SCHEMES)), default="both", show_default=True, help="Light or dark.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
def screenshots(
    names: tuple[str, ...], folder: Path, widths: tuple[int, ...], scheme: str, *, as_json: bool
) -> ExitCode:
    """Write a PNG of each diagram and page NAME (all of them).

    Exits 1 when a page is wider than its window, or the browser complains about one.
    """
    shots = take_screenshots(folder, names or tuple(PICTURES), tuple(dict.fromkeys(widths)), SCHEMES[scheme])
    if as_json:
        write_document([dict(zip(COLUMNS, each.row(), strict=True)) for each in shots])
    else:
        write_table(COLUMNS, [each.row() for each in shots])
    return ExitCode.FINDING if any(each.problem for each in shots) else ExitCode.OK


if __name__ == "__main__":
    sys.exit(call_alone(screenshots))
