"""The page of the whole in a browser: what the explorer found is what a person walks through."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import quote

import pytest

from holdstate.tools.explorer import Explorer, Limits
from holdstate.tools.explorer_outcomes import WholeBounds
from holdstate.tools.explorer_trace import panes_of
from holdstate.tools.explorer_whole import Whole
from holdstate.tools.trace_view import leaves_of
from holdstate.tools.walk_graph import WALK_STATES, walk_fates, whole_graph
from holdstate.tools.walk_whole import whole_page

from .conftest import Open, Opened

pytestmark = pytest.mark.asyncio(loop_scope="package")

BOUNDS = WholeBounds(inputs=1, kinds=("prompt",), runs=1, crashes=1, symmetry=False)
FATES = walk_fates(is_every=False)
CRASHED = ("open", "accept prompt 1", "begin_run", "checkpoint: crash after its commit")


@cache
def _graph(limit: int = WALK_STATES) -> dict[str, Any]:
    return whole_graph(BOUNDS, limit, FATES)


@cache
def _page(limit: int = WALK_STATES) -> str:
    return whole_page(_graph(limit))


def _address(*steps: str) -> str:
    return "#" + "/".join(quote(step, safe="") for step in steps)


async def _take(shown: Opened, call: str) -> None:
    await shown.page.get_by_role("button", name=call, exact=True).click()


ALL = """() => data.states.map((_, id) => {
  const { leads, refused, still } = moves(id), named_ = each => named[each];
  const panes = [...panesOf(id)].filter(([, values]) => values.size).map(([pane, values]) =>
    [pane, [...values].map(([path, text]) => [...data.paths[path], text])]);
  return [panes, [...leads].map(([action, target]) => [named[action], target]),
    [...refused].map(([action, why]) => [named[action], data.reasons[why]]), still.map(named_)];
})"""


async def test_the_page_holds_what_the_explorer_finds(open_page: Open) -> None:
    """State by state: every value in every pane, every move with its target, every other call with its refusal."""
    shown = await open_page(_page())
    found = await shown.page.evaluate(ALL)
    model = Whole(BOUNDS, FATES)
    explorer = Explorer(model)
    explorer.run(Limits())
    place = {state: number for number, state in enumerate(explorer.graph.states)}
    assert len(found) == len(place) > 900
    for (panes, leads, refused, still), state in zip(found, explorer.graph.states, strict=True):
        leaves = {pane: values for pane, values in leaves_of(panes_of(model.show(state))).items() if values}
        there = {pane: {(*group.split(), name): text for group, name, text in values} for pane, values in panes}
        assert {
            pane: {tuple(filter(None, path)): text for path, text in values.items()} for pane, values in there.items()
        } == leaves
        every = model.moves(state)
        assert dict(leads) == {move.action: place[move.target] for move in every if move.target != state}
        assert {*still, *(call for call, _ in refused)} >= {move.action for move in every if move.target == state}
        assert {call for call, _ in refused} == {call for call, _ in model.refusals(state)}
    assert shown.troubles == []


async def test_a_crash_after_a_commit_is_walked_through(open_page: Open) -> None:
    """Store and memory side by side; the driver is gone, and opening makes of the store what recovery does."""
    shown = await open_page(_page())
    for call in ("open", "accept prompt 1", "begin_run"):
        await _take(shown, call)
    assert await shown.texts("#panes thead th") == ["store", "driver"]
    assert "state\tqueued → staged\tqueued → staged" in "\n".join(await shown.texts("#panes tr.changed"))
    await shown.page.get_by_label("crash after its commit").check()
    await _take(shown, "checkpoint")
    assert await shown.page.evaluate("decodeURIComponent(location.hash)") == "#" + "/".join(CRASHED)
    assert await shown.texts("#panes thead th") == ["store", "driver gone"]
    assert await shown.text("#none") == "Nobody has it open: open it to go on."
    assert (
        await shown.text("#bounds") == "inputs at most 1\nruns 1 of 1\ncrashes 1 of 1\nkinds prompt\ndrivers at most 1"
    )
    await shown.page.get_by_label("it lands").check()
    await _take(shown, "open")
    assert "state\tapplied_pending_consumption → consumed" in "\n".join(await shown.texts("#panes tr.changed"))
    assert shown.troubles == []


async def test_an_unknown_result_is_settled_by_the_next_call(open_page: Open) -> None:
    """Of a commit that landed the caller hears nothing bad; of one that did not, memory is as before."""
    shown = await open_page(_page(), _address("open"))
    await shown.page.get_by_label("result unknown, it did not land").check()
    await _take(shown, "accept prompt 1")
    assert (await shown.texts("#trace .more"))[-1] == "driver: behind none → true"
    await shown.page.get_by_label("it lands", exact=True).check()
    await _take(shown, "accept prompt 1")
    assert "store, driver: inputs 1 new, queued" in (await shown.texts("#trace .more"))[-1]


async def test_what_is_refused_says_why(open_page: Open) -> None:
    """In the words of the library, with numbers for ids; an ending that a call has not is not offered."""
    shown = await open_page(_page(), _address(*CRASHED[:3]))
    told = dict(each.split("\n") for each in await shown.texts("#refused li"))
    assert told["reset"] == "reset: run 0 is in progress; complete, fail or cancel it first"
    assert told["recycle"] == "runtime_state: event 'recycle' is refused in state 'running': no row"
    await shown.page.get_by_label("crash after its commit").check()
    attach = shown.page.locator("li[data-call=attach]")
    assert await attach.locator("button").get_attribute("aria-disabled") == "true"
    assert await attach.locator(".outcome").inner_text() == "it has no such ending here"
    await attach.locator("button").dispatch_event("click")
    assert len(await shown.texts("#trace li")) == 4


@pytest.mark.parametrize(
    ("steps", "said", "shown_steps"),
    [
        (("open", "begin_run", "open"), "step 2, begin_run: it changes nothing here", 2),
        (("open", "accept prompt 7"), "nothing of that name can happen", 2),
        ((*CRASHED[:3], "reset"), "step 4, reset: it is refused: reset: run 0 is in progress", 4),
        (("crash",), "step 1, crash: it cannot happen here", 1),
    ],
)
async def test_an_address_that_does_not_fit_is_told(
    open_page: Open, steps: tuple[str, ...], said: str, shown_steps: int
) -> None:
    """And the page shows what fits."""
    shown = await open_page(_page(), _address(*steps))
    assert said in await shown.text("#notice")
    assert len(await shown.texts("#trace li")) == shown_steps
    assert shown.troubles == []


async def test_where_a_limit_was_hit_the_page_says_that_it_ends(open_page: Open) -> None:
    """Nothing is offered there, and going back is."""
    assert _graph(20)["limit"] == "20 states"
    shown = await open_page(_page(20), _address("open"))
    assert not await shown.page.locator("#end").is_visible()
    for _ in range(5):
        if await shown.page.locator("#end").is_visible():
            break
        await shown.page.locator("#calls button[aria-disabled=false]").first.click()
    assert "the limit of 20 states was hit" in await shown.text("#end")
    assert await shown.texts("li[data-call], #refused li") == []
    await shown.press("ArrowLeft")
    assert not await shown.page.locator("#end").is_visible()
    assert shown.troubles == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 900, 1400])
async def test_it_fits_every_window(open_page: Open, width: int, dark: bool) -> None:  # noqa: FBT001
    """No sideways scrolling, nothing cut off in the panes, by day and by night."""
    for steps in (CRASHED[:3], CRASHED):
        shown = await open_page(_page(), _address(*steps), dark=dark, width=width)
        assert await shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        wide = "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).length"
        assert await shown.page.locator("#panes td, #panes th, #memory, #trace").evaluate_all(wide) == 0
        assert shown.troubles == []
