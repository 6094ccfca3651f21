"""The page of a trace in a browser: keys, links, what is marked, the crash line, what broke, and what it never does."""

from __future__ import annotations

import pytest
from attrs import evolve

from holdstate.tools.explorer import TraceStep, Violation
from holdstate.tools.explorer_trace import explorer_trace
from holdstate.tools.trace import Panes, Step, Trace
from holdstate.tools.trace_page import trace_page

from .conftest import Open

pytestmark = pytest.mark.asyncio(loop_scope="package")

_IDLE = {"state": "idle", "next_input": 1}
_QUEUED = {"number": 1, "kind": "prompt", "state": "queued"}
_RUNNING = {"state": "running", "next_input": 2, "run": 0}
_PENDING = {**_QUEUED, "state": "applied_pending_consumption"}

TRACE = explorer_trace(
    "whole",
    Violation(
        ("receipt_is_accounted_for: input 1 is queued, yet a receipt of run 0 lists it",),
        (
            TraceStep("", {"store": None, "drivers": []}),
            TraceStep("open", {"store": {"runtime": _IDLE}, "drivers": [{"runtime": _IDLE}]}),
            TraceStep(
                "begin_run",
                {
                    "store": {"runtime": _RUNNING, "inputs": [{**_QUEUED, "state": "staged"}]},
                    "drivers": [{"runtime": _RUNNING, "inputs": [{**_QUEUED, "state": "staged"}], "held": 0}],
                },
            ),
            TraceStep(
                "checkpoint: crash after its commit",
                {"store": {"runtime": _RUNNING, "inputs": [_PENDING], "receipts": [{"run": 0}]}, "drivers": []},
            ),
            TraceStep(
                "open",
                {
                    "store": {"runtime": {**_IDLE, "next_input": 2}, "inputs": [_QUEUED], "receipts": [{"run": 0}]},
                    "drivers": [{"runtime": {**_IDLE, "next_input": 3}, "inputs": [_QUEUED]}],
                },
            ),
        ),
    ),
)
PAGE = trace_page(TRACE)

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>&#x3c;"
    "{{7*7}}\u202e</article></script>"
)
"""It would run in a page that lets it."""


async def test_it_opens_at_the_last_step_and_says_what_broke(open_page: Open) -> None:
    """The invariant by its name on top, in the list at its step, and with all that is known in that step."""
    shown = await open_page(PAGE)
    assert await shown.step() == "4"
    assert await shown.text("header .broke") == "✗ receipt_is_accounted_for at step 4"
    assert await shown.text("nav a[aria-current] .fell") == "✗ receipt_is_accounted_for"
    assert await shown.texts(".fell-here") == ["✗ " + TRACE.broken]
    assert await shown.texts("article .fell-here") == await shown.texts(".fell-here")
    await shown.press("ArrowUp")
    assert await shown.texts(".fell-here") == []
    assert shown.troubles == []


async def test_keys_walk_through_the_steps(open_page: Open) -> None:
    """Arrows, j and k, n and p by one step, Home and End to the ends, and no further. Address and focus follow."""
    shown = await open_page(PAGE)
    seen = [await shown.step()]
    for key in ("ArrowUp", "ArrowLeft", "k", "p", "ArrowUp", "ArrowDown", "ArrowRight", "j", "n", "j", "Home", "End"):
        await shown.press(key)
        seen.append(await shown.step())
    assert seen == ["4", "3", "2", "1", "0", "0", "1", "2", "3", "4", "4", "0", "4"]
    await shown.press("k")
    await shown.page.wait_for_url("**/page.html#3")
    assert await shown.page.evaluate("document.activeElement.dataset.step") == "3"
    assert await shown.page.locator("nav a[aria-current=step]").count() == 1
    assert shown.troubles == []


async def test_keys_of_the_browser_are_left_alone(open_page: Open) -> None:
    """With Control, Alt or Meta nothing moves."""
    shown = await open_page(PAGE)
    await shown.press("Control+Home", "Alt+ArrowUp", "Meta+k")
    assert await shown.step() == "4"


@pytest.mark.parametrize(("fragment", "step"), [("#2", "2"), ("#0", "0"), ("#99", "4"), ("#x", "4"), ("", "4")])
async def test_a_step_has_an_address(fragment: str, step: str, open_page: Open) -> None:
    """What leads nowhere leads to the last step."""
    shown = await open_page(PAGE, fragment)
    assert await shown.step() == step
    assert await shown.page.locator("nav a[aria-current]").get_attribute("data-step") == step


async def test_an_address_that_changes_leads_to_its_step(open_page: Open) -> None:
    """As when it is typed over, and by a click on a step, on the arrows of a step, or on what broke."""
    shown = await open_page(PAGE, "#1")
    await shown.page.evaluate("location.hash = '#3'")
    await shown.page.wait_for_selector("article[id='3'].current")
    await shown.page.click("nav a[data-step='2']")
    assert await shown.step() == "2"
    await shown.page.click("article.current a[rel=next]")
    await shown.page.click("article.current a[rel=prev]")
    assert await shown.step() == "2"
    await shown.page.click("header .broke a")
    assert await shown.step() == "4"


async def test_an_address_that_was_just_typed_is_not_written_over(open_page: Open) -> None:
    """The page writes the address a moment after a step; what a reader typed in that moment counts."""
    shown = await open_page(PAGE, "#1")
    await shown.page.evaluate("window.setTimeout = later => { window.late = later; return 0; }")
    await shown.press("ArrowDown")
    await shown.page.evaluate("location.hash = '#4'; late()")
    await shown.page.wait_for_selector("article[id='4'].current", timeout=5_000)
    await shown.press("ArrowUp")
    assert await shown.page.evaluate("late(); location.hash") == "#3"


async def test_store_and_memory_are_side_by_side(open_page: Open) -> None:
    """One table, a row for what both have, marked where they differ."""
    shown = await open_page(PAGE)
    board = "article.current .board"
    assert await shown.texts(f"{board} thead th") == ["store", "driver new"]
    row = f"{board} tr:has(th:text-is('next_input'))"
    assert await shown.texts(f"{row} > *") == ["next_input", "2", "3", "≠"]
    assert await shown.texts(f"{board} tr:has(th:text-is('kind')) > *") == ["kind", "prompt", "prompt", ""]


async def test_what_changed_is_marked(open_page: Open) -> None:
    """Before and after in a cell of another colour, and nothing else has it; ``c`` hides the rest."""
    shown = await open_page(PAGE, "#3")
    marked = "article.current td.changed"
    assert await shown.texts(marked) == ["staged → applied_pending_consumption", "0"]
    assert await shown.colour(marked) not in {
        await shown.colour("article.current td:not(.changed)"),
        await shown.colour("body"),
    }
    assert await shown.texts("article.current .changed th") == ["state", "run"]
    everything = len(await shown.texts("article.current tbody th[scope=row]"))
    await shown.press("c")
    assert await shown.page.is_checked("#only")
    assert await shown.texts("article.current tbody th[scope=row]") == ["state", "run"]
    await shown.press("c")
    assert len(await shown.texts("article.current tbody th[scope=row]")) == everything > 2


async def test_what_comes_with_a_new_part_is_not_hidden(open_page: Open) -> None:
    """``c`` leaves all that a driver has when it appears, and what the store changed."""
    shown = await open_page(PAGE, "#4")
    await shown.press("c")
    assert await shown.texts("article.current tbody tr:has(th:text-is('kind')) > *") == ["kind", "prompt", "prompt", ""]
    assert await shown.texts("article.current tbody th[scope=rowgroup]") == ["runtime", "inputs 1"]


async def test_the_crash_line_is_at_its_step(open_page: Open) -> None:
    """In the list and in the step, where the driver is gone; no other step has one."""
    shown = await open_page(PAGE, "#3")
    assert await shown.texts("nav .crash") == ["crash"]
    assert await shown.texts("nav a[data-step='3'] .crash") == ["crash"]
    assert await shown.texts("article .crash") == ["crash: below is what was there afterwards"]
    assert await shown.texts("article.current thead th") == ["store", "driver gone"]
    dash = "getComputedStyle(document.querySelector('nav .crash'), '::after').borderTopStyle"
    assert await shown.page.evaluate(dash) == "dashed"
    await shown.press("j")
    assert await shown.texts("article .crash") == []


@pytest.mark.parametrize("width", [1400, 800, 400])
@pytest.mark.parametrize("dark", [False, True])
async def test_the_page_is_not_blank(width: int, dark: bool, open_page: Open) -> None:  # noqa: FBT001
    """Steps, values and what broke are in view, and nothing is wider than the window."""
    shown = await open_page(PAGE, dark=dark, width=width)
    assert await shown.in_view("nav a .what") == len(TRACE.steps)
    assert await shown.in_view("article.current .fell-here") == 1
    assert await shown.in_view("article.current tbody td") > 8
    assert await shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(await shown.page.screenshot()) > 10_000
    assert shown.troubles == []


async def test_dark_is_dark_and_light_is_light(open_page: Open) -> None:
    """As the system says: ground, and text on it."""
    for dark in (False, True):
        shown = await open_page(PAGE, dark=dark)
        ground, ink = await shown.colour("body"), await shown.colour("body", "color")
        assert (_lightness(ground) < _lightness(ink)) == dark
        assert abs(_lightness(ground) - _lightness(ink)) > 150


def _lightness(colour: str) -> float:
    """The mean of red, green and blue, from 0 to 255."""
    channels = [float(each) for each in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(channels) / 3


async def test_it_can_be_read_without_scripts(open_page: Open) -> None:
    """The last step by itself, every other one by its link."""
    shown = await open_page(PAGE, scripts=False)
    assert await shown.step() == "4"
    await shown.page.click("nav a[data-step='2']")
    assert await shown.step() == "2"
    await shown.page.click("article:target a[rel=next]")
    assert await shown.step() == "3"


async def test_steps_are_reached_with_the_tabulator(open_page: Open) -> None:
    """Every step is a link, and Return opens it."""
    shown = await open_page(PAGE, "#4")
    await shown.page.focus("nav a[data-step='0']")
    await shown.press("Tab", "Enter")
    assert await shown.step() == "1"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert await shown.page.evaluate(outline) == "solid"


async def test_hostile_texts_stay_texts(open_page: Open) -> None:
    """In every place of a trace: they are shown as they are, nothing of them runs, nothing is asked for."""
    panes: Panes = {HOSTILE: {HOSTILE: {HOSTILE: HOSTILE}, "list": [HOSTILE, {HOSTILE: HOSTILE}]}}
    steps = (Step(HOSTILE, panes), Step(HOSTILE, {HOSTILE: {}}, {HOSTILE: HOSTILE}, HOSTILE, is_crash=True))
    other: Panes = {HOSTILE: {HOSTILE: {HOSTILE: f"{HOSTILE} 2", "new": HOSTILE}, "list": [HOSTILE]}}
    last = (steps[0], Step(HOSTILE, other), steps[0])
    trace = Trace(HOSTILE, HOSTILE, (*steps, *last), f"{HOSTILE}: {HOSTILE}\n{HOSTILE}", 0)
    shown = await open_page(trace_page(trace))
    await shown.press("Home", "j", "j", "j", "c")
    assert await shown.page.locator("td.changed ins, td.changed del").count() > 4
    assert await shown.page.locator("img, svg, script:not([id])").count() == 1  # the script of the page itself
    said = await shown.text("h1")
    assert said == HOSTILE.replace("\u202e", "\\u202e")
    assert shown.troubles == []


async def test_a_script_that_got_in_would_not_run(open_page: Open) -> None:
    """The policy of the page lets its own script and style in, by their digests, and no others: a second wall."""
    smuggled = "<script>alert(1)</script><img src='https://example.com/x.png' onerror='alert(2)'><p style='top: 0'>x"
    shown = await open_page(PAGE.replace("</main>", f"{smuggled}</main>"))
    await shown.press("k")
    assert await shown.step() == "3"
    assert not [each for each in shown.troubles if each.startswith("dialog")]
    blocked = [
        each for each in shown.troubles if "Content Security Policy" in each or "Content-Security-Policy" in each
    ]
    assert len(blocked) >= 3


async def test_a_trace_without_a_failure_has_none(open_page: Open) -> None:
    """Nothing is said to be broken; a loop is told."""
    shown = await open_page(trace_page(evolve(TRACE, broken="", loop=1)))
    assert await shown.texts(".broke, .fell, .fell-here") == []
    assert await shown.text("nav .again") == "↻\nand on from step 1, for ever"
    await shown.page.click("nav .again")
    assert await shown.step() == "1"


async def test_a_long_trace_keeps_its_step_in_view(open_page: Open) -> None:
    """The list follows the keys."""
    steps = tuple(Step(f"go {number}", {"state": {"at": number}}) for number in range(200))
    shown = await open_page(trace_page(Trace("long", "test", steps)))
    await shown.press("Home", *["j"] * 100)
    assert await shown.step() == "100"
    assert await shown.in_view("nav a[aria-current]") == 1
