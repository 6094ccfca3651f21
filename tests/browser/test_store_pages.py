"""The pages of a store and of one of its inputs in a browser: of a real store whose process was killed inside a run."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdstate import LmdbStore, PersistentRuntimeDriver, PromptInput, RunOutput, RuntimeSettings
from holdstate.stores.lmdb_rows import TABLES
from holdstate.tools.history_page import history_page
from holdstate.tools.history_views import history_view
from holdstate.tools.input_history import history_of
from holdstate.tools.store_page import store_page

from ..tools.support import call
from .conftest import Open
from .test_trace_page import HOSTILE

pytestmark = pytest.mark.asyncio(loop_scope="package")

LAYOUTS = [(1400, False), (830, True), (390, False), (390, True)]


def page_of(store: Path, *words: object) -> str:
    """A page by the command line."""
    group, *rest = words
    result = call("store", group, store, *rest, "--html", "-")
    assert result.exit_code == 0, result.stderr
    return result.stdout


def diagram(store: Path, name: str = "input_lifecycle") -> str:
    """The picture of a machine with the figures of the store, as a page."""
    result = call("spec", "diagram", name, "--store", store, "--format", "html")
    assert result.exit_code == 0, result.stderr
    return result.stdout


# -- the life of one input -----------------------------------------------------------------------------------------


async def test_a_crash_is_seen_at_its_place(open_page: Open, recovered: Path) -> None:
    """A line before the moment in which it was found, between the last two times that are known."""
    shown = await open_page(page_of(recovered, "history", "--key", "hangs"))
    assert await shown.text("h1 .state") == "consumed"
    assert (await shown.texts("header p"))[0] == "It ended: consumed."
    kinds = [
        await each.get_attribute("class")
        for each in await shown.page.locator("li.moment").all()
        if await each.is_visible()
    ]
    assert kinds == ["moment admitted", "moment run", "moment crash", "moment run", "moment good"]
    (line,) = await shown.texts(".crash-line")
    assert re.fullmatch(r"crash or takeover between [\d-]+ ([\d:.]+) and ([\d-]+ )?([\d:.]+)", line)
    assert await shown.page.locator("li.crash .crash-line").count() == 1
    dash = "getComputedStyle(document.querySelector('.crash-line'), '::after').borderTopStyle"
    assert await shown.page.evaluate(dash) == "dashed"
    assert (await shown.texts("dd"))[:6] == ["2", "1", "1", "1", "queue, number 3", "main"]
    assert (await shown.texts("dt"))[:4] == ["attempts", "failures", "crashes known", "recoveries"]
    assert shown.troubles == []


async def test_the_strip_is_as_wide_as_its_time(open_page: Open, recovered: Path) -> None:
    """Every state has a part of it, in order; what was lost is marked; a screen reader is told what it is."""
    shown = await open_page(page_of(recovered, "history", "--key", "hangs"))
    bands = await shown.page.locator(".strip rect").evaluate_all(
        "all => all.map(each => [each.getAttribute('class'), +each.getAttribute('x'), +each.getAttribute('width')])"
    )
    states = [kind for kind, _, _ in bands if not kind.endswith("-mark")]
    assert states[:4] == ["waits", "runs", "waits", "runs"]
    assert [kind for kind, _, _ in bands if kind.endswith("-mark")] == ["crash-mark"]
    assert all(x >= 0 and width >= 1 for _, x, width in bands)
    starts = [x for kind, x, _ in bands if not kind.endswith("-mark")]
    assert starts == sorted(starts)
    assert (await shown.page.get_attribute(".strip svg", "aria-label") or "").startswith("Its states over ")
    assert "found lost after a crash" in await shown.text(".legend")


async def test_a_gap_is_drawn_as_one(open_page: Open, tmp_path: Path) -> None:
    """Dashed in the list, left blank in the strip; offsets of the log are told; hostile texts stay texts."""

    async def play(store: LmdbStore) -> PromptInput:
        settings = RuntimeSettings(max_history=3, event_log=True)
        driver = await PersistentRuntimeDriver.open("chat", store, settings=settings)
        prompt = PromptInput.new(HOSTILE, idempotency_key=re.sub(r"\W", "_", HOSTILE) + "<b>")
        await driver.accept_input(prompt)
        run = await driver.begin_run()
        assert run is not None
        await driver.complete_run(run, RunOutput(result=HOSTILE.encode()))
        return prompt

    with LmdbStore.open(tmp_path / "store") as store:
        prompt = await play(store)
        with store.reading() as reader:
            runtime, record = reader.load_record("chat"), reader.load_input("chat", prompt.header.id)
            assert runtime is not None
            assert record is not None
            history = history_of(reader, runtime, record)
            page = history_page(history, history_view(history, reader), datetime.now(UTC))
    shown = await open_page(page)
    assert await shown.texts("li.gap .fact") == ["2 transitions no longer kept with the record"]
    border = "getComputedStyle(document.querySelector('li.gap')).borderLeftStyle"
    assert await shown.page.evaluate(border) == "dashed"
    assert "not kept" in await shown.text(".strip .legend")
    assert (await shown.texts("li.moment:last-child .logged"))[0].startswith("event ")
    assert await shown.page.locator("img, b:not(.legend b), script").count() == 0
    assert any(HOSTILE in each for each in await shown.texts(".facts td"))
    assert shown.troubles == []


# -- the store -----------------------------------------------------------------------------------------------------


async def test_the_page_of_a_store_adds_up(open_page: Open, crashed: Path) -> None:
    """Sub-databases, pages and bytes; states; the chart ends at what was admitted and ended."""
    shown = await open_page(page_of(crashed, "stat"))
    with LmdbStore.open(crashed, read_only=True) as opened:
        space = opened.space()
    assert (space.used_pages + space.free_pages) * space.page_bytes + space.ahead_bytes == space.file_bytes
    assert await shown.texts("tbody th code") == [table.decode() for table in TABLES]
    pages = [int(each) for each in await shown.texts("tr:has(th code) td:nth-of-type(3)")]
    assert pages == [table.pages for table in space.tables]
    assert f"{space.used_pages}" in await shown.text("tfoot")
    assert f"The file is {space.file_bytes:,} bytes long" in await shown.text("main")
    states = dict(zip(await shown.texts(".pair tbody th"), await shown.texts(".pair td.number"), strict=True))
    assert {state: count for state, count in states.items() if count != "0"} == {
        "running": "1",
        "queued": "1",
        "staged": "1",
        "consumed": "1",
        "abandoned": "1",
    }
    await shown.page.click("summary")
    assert (await shown.texts("details tr:last-child td")) == ["4", "2", "2"]
    assert await shown.page.get_attribute(".chart svg", "aria-label") == (
        "Admitted rises to 4, ended to 2; the table below has the numbers"
    )
    assert await shown.texts("h2") == [
        "Runtimes by state",
        "Inputs by state",
        "Growth",
        "Where the bytes are",
        "Runtimes",
    ]
    assert shown.troubles == []


async def test_lanes_are_in_the_order_in_which_they_are_begun(open_page: Open, crashed: Path) -> None:
    """What is in hand, the steer lane, the queue lane."""
    shown = await open_page(page_of(crashed, "stat", "--runtime", "main"))
    assert await shown.texts("section h3") == [
        "In the current run, in staging order 1 input",
        "The steer lane, from its front 0 inputs",
        "The queue lane, from its front 1 input",
    ]
    (in_hand, waiting) = await shown.texts("section:has(h3) tbody tr")
    assert in_hand.split("\t")[:4] == ["3", "hangs", "1", "0"]
    assert waiting.split("\t")[:4] == ["4", "waits", "0", "0"]
    assert shown.troubles == []


async def test_what_a_failure_holds_back_stands_out(open_page: Open, tmp_path: Path) -> None:
    """For how long, until when; and that it is over, once it is. Only so many of a lane are listed."""
    with LmdbStore.open(tmp_path / "store") as store:
        driver = await PersistentRuntimeDriver.open("<b>chat</b>", store)
        for number in range(60):
            await driver.accept_input(PromptInput.new(f"{number}"))
        run = await driver.begin_run()
        assert run is not None
        await driver.fail_run(run, "no")
        record = store.load_input("<b>chat</b>", run.inputs[0].header.id)
        assert record is not None
        assert record.not_before is not None
        before = store_page(store, "<b>chat</b>", record.not_before - timedelta(seconds=90))
        after = store_page(store, "<b>chat</b>", record.not_before + timedelta(seconds=1))
    shown = await open_page(before)
    (held,) = await shown.texts("td.held")
    assert held.startswith("for 1.5 min, until ")
    assert "10 more inputs." in await shown.text("main")
    assert await shown.texts("h2 b") == []
    assert "Lanes of <b>chat</b>" in await shown.texts("h2")
    over = await open_page(after)
    assert await over.texts("td.held") == []
    assert "which is over" in await over.text("main")
    assert shown.troubles == over.troubles == []


async def test_an_empty_store_has_a_page(open_page: Open, tmp_path: Path) -> None:
    """Without a chart, which it says."""
    LmdbStore.open(tmp_path / "store").close()
    shown = await open_page(page_of(tmp_path / "store", "stat"))
    assert "There is nothing to compare yet" in await shown.text("main")
    assert await shown.page.locator(".chart").count() == 0
    assert shown.troubles == []


# -- all of them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "dark"), LAYOUTS)
async def test_no_page_scrolls_sideways(open_page: Open, crashed: Path, width: int, dark: bool) -> None:  # noqa: FBT001
    """On a phone wide tables and pictures scroll by themselves, with keys too; nothing is blank, light and dark."""
    pages = [
        page_of(crashed, "stat", "--runtime", "main"),
        page_of(crashed, "history", "--key", "hangs"),
        diagram(crashed),
        diagram(crashed, "runtime_state"),
    ]
    for page in pages:
        shown = await open_page(page, width=width, dark=dark)
        assert await shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await shown.in_view("h1, h2, p, td, dd, svg") > 2
        scrolling = await shown.page.locator("main *").evaluate_all(
            "all => all.filter(each => each.scrollWidth > each.clientWidth + 1"
            " && ['auto', 'scroll'].includes(getComputedStyle(each).overflowX) && each.tabIndex < 0).length"
        )
        assert scrolling == 0
        ground, ink = await shown.colour("body"), await shown.colour("body", "color")
        assert ground != ink
        assert shown.troubles == []


async def test_a_picture_with_figures_fits_its_words(open_page: Open, crashed: Path) -> None:
    """No text is wider than it was measured, and none leaves the picture."""
    shown = await open_page(diagram(crashed))
    script = """all => all.map(each => {
      const box = each.getBBox(), all = each.ownerSVGElement.viewBox.baseVal;
      return [each.textContent, box.x > 0 && box.y > 0 && box.x + box.width < all.width
        && box.y + box.height < all.height];
    })"""
    found = await shown.page.locator("svg text").evaluate_all(script)
    assert [told for told, is_inside in found if not is_inside] == []
    assert "stage ×5" in " ".join(told for told, _ in found)
    dashes = await shown.page.locator("path.wire.unreached").first.evaluate(
        "each => getComputedStyle(each).strokeDasharray"
    )
    assert dashes != "none"
    assert shown.troubles == []


async def test_pages_are_read_while_a_store_is_written(tmp_path: Path) -> None:
    """Nothing is held that a writer waits for, and every page is whole."""
    with LmdbStore.open(tmp_path / "store") as store:
        driver = await PersistentRuntimeDriver.open("chat", store)
        for number in range(3):
            await asyncio.gather(*(driver.accept_input(PromptInput.new(f"{each}")) for each in range(100)))
            page = store_page(store, "chat", datetime.now(UTC))
            assert f"<dd>{(number + 1) * 100:,}</dd>" in page
