"""The page of a machine in a browser: it steps as the compiled table does, by mouse, by keys and by its address."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, StrEnum
from itertools import islice, product
from typing import Any
from uuid import UUID

import pytest

from holdstate.spec import (
    INPUT_LIFECYCLE,
    RUNTIME_STATE,
    Field,
    Machine,
    Param,
    SpecError,
    Transition,
    TransitionRefused,
    const,
    field,
    param,
)
from holdstate.spec.expressions import Const
from holdstate.tools.explorer import Explorer, Limits
from holdstate.tools.explorer_machine import MachineModel
from holdstate.tools.machine_document import member_name
from holdstate.tools.walk_machine import machine_page
from tests.tools.machines import TICKET

from .conftest import Open, Opened

pytestmark = pytest.mark.asyncio(loop_scope="package")

CASES_OF_A_PAIR = 4000
ONE, TWO = UUID(int=1), UUID("0123abcd-0000-4000-8000-ffffffffffff")


class Light(StrEnum):
    RED = "red'"
    GREEN = 'gr"een'
    OFF = "off\n\u200b"


class Push(StrEnum):
    PUSH = "push &/=#%"
    COUNT = "count"
    ORDER = "order"
    NEVER = "it's"


class Weight(Enum):
    LIGHT = 1
    HEAVY = "much"


TRAFFIC = Machine(
    name="it's a light",
    states=Light,
    initial=Light.RED,
    terminal={Light.OFF},
    fields=(
        Field("__proto__", int, default=2**53),
        Field("weight", Weight, default=Weight.HEAVY),
        Field("note", str, optional=True),
        Field("limit", int, optional=True),
    ),
    events={
        Push.PUSH: (Param("text", str), Param("constructor", Weight, optional=True)),
        Push.COUNT: (Param("limit", int, optional=True), Param("sure", bool)),
        Push.ORDER: (Param("id", UUID, optional=True),),
        Push.NEVER: (),
    },
    transitions=(
        Transition(
            Push.PUSH,
            Light.RED,
            Light.GREEN,
            guard=param("text").ne("") & (param("constructor").is_none() | field("weight").eq(param("constructor"))),
            sets={"note": param("text"), "__proto__": field("__proto__").plus_one()},
            emits=("a", "b"),
        ),
        Transition(Push.PUSH, Light.GREEN, Light.RED, guard=param("text").is_in("x", "\U0001f600 é\t\\")),
        Transition(Push.COUNT, (Light.RED, Light.GREEN), Light.GREEN, guard=param("limit").plus_one().gt(2**53 + 1)),
        Transition(
            Push.COUNT,
            Light.RED,
            Light.OFF,
            guard=param("sure").eq(True) & field("limit").is_some() & field("limit").le(param("limit")),
            sets={"limit": param("limit").plus_one()},
        ),
        Transition(Push.ORDER, Light.GREEN, Light.OFF, guard=~param("id").eq(TWO) & const(True), sets={"limit": None}),
        Transition(Push.NEVER, Light.RED, Light.RED, sets={"weight": Weight.LIGHT}),
    ),
)

MACHINES = (INPUT_LIFECYCLE, RUNTIME_STATE, TICKET, TRAFFIC)
by_name = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


# -- the same as the compiled table --------------------------------------------------------------------------------


def _domain(machine: Machine[Any, Any], declared: Field | Param) -> list[object]:
    constants = [
        node.value
        for row in machine.transitions
        for part in (row.guard, *(value for _, value in row.sets))
        for node in part.walk()
        if isinstance(node, Const) and type(node.value) is declared.type
    ]
    found: list[object]
    if declared.type is bool:
        found = [False, True]
    elif issubclass(declared.type, Enum):
        found = list(declared.type)
    elif declared.type is int:
        numbers = [each + more for each in constants if isinstance(each, int) for more in (-1, 0, 1)]
        found = list(dict.fromkeys([0, 1, 2, -3, 2**53 + 1, *numbers]))
    elif declared.type is str:
        found = list(
            dict.fromkeys(["", "x", "it's", "both ' and \"", "\U0001f600 é\t\\", "\u200b\x01\xa0", *constants])
        )
    else:
        found = list(dict.fromkeys([ONE, TWO, *constants]))
    return [*found, None] if declared.optional else found


def _cases(machine: Machine[Any, Any]) -> Iterator[tuple[Any, Any, dict[str, object], dict[str, object]]]:
    """Every state and event, with all that its rows read: the fields that matter, every parameter."""
    first = machine.compile().initial_fields()
    for state, event in machine.matrix():
        rows = [row for row in machine.transitions if row.event == event and state in row.source]
        read = {
            name
            for row in rows
            for part in (row.guard, *(value for _, value in row.sets))
            for name in part.names().fields
        }
        declared: list[Field | Param] = [each for each in machine.fields if each.name in read]
        count, params = len(declared), machine.events[event]
        every = product(*(_domain(machine, each) for each in (*declared, *params)))
        for values in islice(every, CASES_OF_A_PAIR if rows else 1):
            fields = first | {each.name: value for each, value in zip(declared, values[:count], strict=True)}
            given = {each.name: value for each, value in zip(params, values[count:], strict=True)}
            yield state, event, fields, given
            if rows and None in given.values():  # left out is the same as none
                yield state, event, fields, {name: value for name, value in given.items() if value is not None}


def _written(values: dict[str, Any]) -> list[list[Any]]:
    """Values as the page has them, whole numbers as text."""
    return [[name, "int" if type(value) is int else "", _plain(value)] for name, value in values.items()]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return member_name(value)
    return str(value) if type(value) is int or isinstance(value, UUID) else value


def _expected(machine: Machine[Any, Any], case: tuple[Any, Any, dict[str, object], dict[str, object]]) -> list[Any]:
    try:
        step = machine.compile().step(*case, check=True)
    except TransitionRefused as refused:
        return ["Refused", refused.reason]
    except SpecError as error:
        return ["NoValue", error.problem]
    return [str(step.target), _written(step.sets), list(step.emits), step.row]


STEPS = """cases => {
  const read = values => new Map(values.map(([name, type, value]) => [name, type === "int" ? BigInt(value) : value]));
  const written = values => [...values].map(([name, value]) =>
    typeof value === "bigint" ? [name, "int", String(value)] : [name, "", value]);
  return cases.map(([state, event, fields, params]) => {
    try {
      const step = table.step({ state, fields: read(fields) }, event, read(params));
      return [step.target, written(step.sets), step.emits, step.row];
    } catch (error) { return [error.constructor.name, error.message]; }
  });
}"""


@by_name
async def test_the_page_steps_as_the_compiled_table_does(open_page: Open, machine: Machine[Any, Any]) -> None:
    """Every state, event and case of parameters: target, fields, effects and row, or the same words of refusal."""
    shown = await open_page(machine_page(machine))
    cases = list(_cases(machine))
    given = [[str(state), str(event), _written(fields), _written(params)] for state, event, fields, params in cases]
    found = await shown.page.evaluate(STEPS, given)
    expected = [_expected(machine, case) for case in cases]
    assert len(cases) > len(machine.matrix())
    assert {len(each) for each in expected} == {2, 4}
    wrong = [each for each in zip(given, found, expected, strict=True) if each[1] != each[2]]
    assert wrong[:3] == []
    assert shown.troubles == []


async def test_guards_without_a_value_are_told_in_the_words_of_the_library(open_page: Open) -> None:
    """The cases above have some, so that they cannot agree by never getting there."""
    assert sum(_expected(TRAFFIC, case)[0] == "NoValue" for case in _cases(TRAFFIC)) > 10
    shown = await open_page(machine_page(TRAFFIC))
    await shown.page.locator("li[data-event=count] select").select_option(label="none")
    assert (await shown.texts("li[data-event=count] .outcome"))[0].startswith("no value for limit = none")


@pytest.mark.parametrize("machine", MACHINES[:3], ids=lambda machine: machine.name)
async def test_what_the_page_offers_is_what_the_explorer_finds_possible(
    open_page: Open, machine: Machine[Any, Any]
) -> None:
    """In each state, on the way by which the explorer reaches it first: the rest is refused, and says why."""
    model = MachineModel(machine)
    explorer = Explorer(model)
    explorer.run(Limits(states=400))
    seen: set[str] = set()
    shown = await open_page(machine_page(machine))
    for state, values in explorer.graph.states:
        if state in seen:
            continue
        seen.add(state)
        fields = {each.name: value for each, value in zip(machine.fields, values, strict=True)}
        found = await shown.page.evaluate(
            """([state, fields]) => {
              const point = { state, fields: new Map(fields.map(([name, type, value]) =>
                [name, type === "int" ? BigInt(value) : value])) };
              return [...table.events.keys()].filter(event => table.outlook(point, event).possible);
            }""",
            [str(state), _written(fields)],
        )
        possible = {move.action.partition("(")[0] for move in model.moves((state, values))}
        assert set(found) >= possible, f"{state} {fields}"
        assert set(found) <= {str(event) for event in machine.compile().events(state)}
    assert len(seen) > 2


# -- walking -------------------------------------------------------------------------------------------------------


async def _take(shown: Opened, event: str) -> None:
    await shown.page.get_by_role("button", name=event, exact=True).click()


async def _fragment(shown: Opened) -> str:
    return str(await shown.page.evaluate("location.hash"))


async def test_a_person_clicks_through_a_life(open_page: Open) -> None:
    """Buttons take events with chosen parameters; fields show what changed; trace and address tell the way."""
    shown = await open_page(machine_page(INPUT_LIFECYCLE))
    assert await shown.text("#state") == "accepted"
    await _take(shown, "queue")
    await shown.page.locator("li[data-event=stage] select").select_option(label="id 2")
    await _take(shown, "stage")
    assert await shown.text("#state") == "staged"
    assert await shown.texts("#fields tr.changed") == ["last_run_id\tnone → id 2", "attempt_count\t0 → 1"]
    assert await shown.texts("#trace code") == ["start", "queue", "stage(run_id = id 2)"]
    assert await _fragment(shown) == f"#queue/stage&run_id={UUID(int=2)}"
    assert await shown.text("#live") == (
        "stage(run_id = id 2): the state is staged. Possible: rollback, rollback_failed, exhaust, apply, abandon, "
        "recover_queue."
    )
    assert shown.troubles == []


async def test_a_refused_event_says_why_and_does_nothing(open_page: Open) -> None:
    """In the words of the table; another parameter may change that."""
    shown = await open_page(machine_page(INPUT_LIFECYCLE), f"#queue/stage&run_id={ONE}")
    apply = shown.page.locator("li[data-event=apply]")
    await apply.locator("select").select_option(label="id 2")
    reason = await apply.locator(".outcome").inner_text()
    assert reason == f"guard not met: last_run_id = run_id (last_run_id = {ONE}, run_id = {UUID(int=2)})"
    await apply.locator("button").dispatch_event("click")
    assert await shown.text("#state") == "staged"
    assert await shown.text("#live") == f"apply is refused: {reason}"
    assert await shown.page.locator("#refused li[data-event=queue] .outcome").inner_text() == "no row"
    await apply.locator("select").select_option(label="id 1")
    await apply.locator("button").click()
    assert await shown.text("#state") == "applied"


async def test_any_value_can_be_typed(open_page: Open) -> None:
    """One that is none is told, and the event waits; a text with marks comes back from the address as it was."""
    shown = await open_page(machine_page(TRAFFIC))
    push = shown.page.locator("li[data-event^=push]")
    await push.locator("select").first.select_option(label="other …")
    await push.locator("input[type=text]").fill("a/b&c=d #é'")
    await push.locator("button").click()
    assert await shown.text("#state") == 'gr"een'
    again = await open_page(machine_page(TRAFFIC), await _fragment(shown))
    assert await again.texts("#fields tr:nth-child(3) td") == ['none → "a/b&c=d #é\'"']
    count = again.page.locator("li[data-event=count]")
    await count.locator("select").select_option(label="other …")
    await count.locator("input[type=text]").fill("1.5")
    assert await count.locator(".outcome").inner_text() == "limit has to be a whole number, not '1.5'"
    assert await count.locator("button").get_attribute("aria-disabled") == "true"
    await count.locator("input[type=text]").fill(str(2**64))
    await count.locator("button").click()
    assert (await again.texts("#trace code"))[-1] == f"count(limit = {2**64}, sure = false)"
    assert (await again.texts("#live, #notice"))[-1].startswith("count(")
    assert again.troubles == shown.troubles == []


async def test_steps_are_undone_and_done_again(open_page: Open) -> None:
    """By buttons, by keys, and by the trace; another event forgets what was undone."""
    shown = await open_page(machine_page(RUNTIME_STATE), "#initialize/attach/retire")
    assert await shown.text("#state") == "retired"
    await shown.press("ArrowLeft", "u")
    assert await shown.text("#state") == "idle"
    assert await _fragment(shown) == "#initialize"
    assert await shown.page.locator("#trace a.undone").count() == 2
    await shown.press("ArrowRight", "r")
    assert await shown.text("#state") == "retired"
    await shown.press("Home")
    assert (await shown.text("#state"), await _fragment(shown)) == ("initializing", "")
    await shown.press("End", "Control+z")
    assert await shown.text("#state") == "attached"
    await shown.press("Control+Shift+z")
    assert await shown.text("#state") == "retired"
    await shown.page.locator("#trace a").nth(1).click()
    assert await shown.text("#state") == "idle"
    await _take(shown, "stop")
    assert await shown.texts("#trace code") == ["start", "initialize", "stop"]
    assert await shown.text("#possible-count") == "1"
    await shown.press("ArrowRight")
    assert await shown.text("#live") == "There is nothing to do again."
    await shown.page.locator("#restart").click()
    await shown.page.locator("#undo").dispatch_event("click")
    assert await shown.text("#live") == "This is the start."
    assert shown.troubles == []


async def test_it_is_walked_by_keys_alone(open_page: Open) -> None:
    """Down to an event, Enter takes it, and the next event has the focus; keys in a form are those of the form."""
    shown = await open_page(machine_page(INPUT_LIFECYCLE))
    await shown.press("ArrowDown", "Enter")
    assert await shown.text("#state") == "queued"
    focused = "document.activeElement.closest('li').dataset.event"
    assert await shown.page.evaluate(focused) == "stage"
    await shown.press("ArrowDown", "ArrowDown", "ArrowUp")
    assert await shown.page.evaluate(focused) == "supersede"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert await shown.page.evaluate(outline) == "solid"
    select = shown.page.locator("li[data-event=stage] select")
    await select.focus()
    await shown.press("ArrowLeft", "u", "Home")
    assert await shown.text("#state") == "queued"


@pytest.mark.parametrize(
    ("fragment", "state", "said"),
    [
        ("queue/queue", "queued", "step 2, queue: no row"),
        ("queue/no%20such", "queued", "step 2, no such: the machine has no such event"),
        ("queue/stage", "queued", "step 2, stage: its parameter run_id is missing"),
        ("queue/stage&run_id=7", "queued", "run_id has to be an id (UUID), not '7'"),
        ("queue/stage&other=7", "queued", "the event has no parameter 'other'"),
        ("queue/stage&run_id", "queued", "the event has no parameter 'run_id'"),
        ("abandon&reason=never", "accepted", "reason has to be one of"),
        ("recover_queue&receipt_lists=true", "accepted", "guard not met: not (receipt_lists = true)"),
        ("%E0%A4", "accepted", "it is not written as an address is"),
        ("//", "accepted", "the machine has no such event"),
    ],
)
async def test_an_address_that_does_not_fit_is_told(open_page: Open, fragment: str, state: str, said: str) -> None:
    """Plainly, and the page shows what fits; going on takes the notice away."""
    shown = await open_page(machine_page(INPUT_LIFECYCLE), f"#{fragment}")
    notice = await shown.text("#notice")
    assert notice.startswith("The address does not fit: step")
    assert said in notice
    assert await shown.text("#state") == state
    await shown.page.locator("#possible button").first.click()
    assert not await shown.page.locator("#notice").is_visible()
    assert shown.troubles == []


async def test_another_address_in_the_same_window_is_opened(open_page: Open) -> None:
    """As when somebody pastes a link."""
    shown = await open_page(machine_page(RUNTIME_STATE), "#initialize")
    await shown.page.evaluate("location.hash = 'initialize/retire'")
    await shown.page.wait_for_function("document.getElementById('state').textContent === 'retired'")
    assert await shown.texts("#trace code") == ["start", "initialize", "retire"]


# -- the picture ---------------------------------------------------------------------------------------------------


async def test_the_picture_shows_where_it_is_and_what_leads_on(open_page: Open) -> None:
    """The state, and the lines of events that can happen with some parameter, no others."""
    shown = await open_page(machine_page(INPUT_LIFECYCLE), "#queue")
    here = "all => all.map(each => each.dataset.state)"
    assert await shown.page.locator("svg g.here").evaluate_all(here) == ["queued"]
    assert await shown.page.locator("svg g.was").evaluate_all(here) == ["accepted"]
    lines = "all => all.map(each => `${each.dataset.from}>${each.dataset.to}`).sort()"
    assert await shown.page.locator("svg path.wire.open").evaluate_all(lines) == [
        "queued>abandoned",
        "queued>coalesced",
        "queued>staged",
        "queued>superseded",
    ]
    words = "all => all.map(each => each.textContent).sort()"
    assert await shown.page.locator("svg tspan.open").evaluate_all(words) == [
        "abandon",
        "coalesce",
        "stage",
        "supersede",
    ]


async def test_a_line_of_the_picture_takes_its_event(open_page: Open) -> None:
    """Where there is nothing to choose; else the focus goes to where it is chosen, and what cannot happen is told."""
    shown = await open_page(machine_page(RUNTIME_STATE), "#initialize")
    await shown.page.locator("svg .hit[data-to=attached][data-events=attach]").dispatch_event("click")
    assert await shown.text("#state") == "attached"
    await shown.page.locator("svg tspan.open[data-event=detach]").click()
    assert await shown.text("#state") == "idle"
    await shown.page.locator("svg text.small tspan[data-event=reset]").click()
    assert (await shown.texts("#trace code"))[-1] == "reset"
    await shown.page.locator("svg .hit[data-from=idle][data-to=running]").dispatch_event("click")
    assert await shown.page.evaluate("document.activeElement.textContent") == "begin_run"
    await shown.page.locator("svg .hit[data-from=attached][data-to=idle][data-events=detach]").dispatch_event("click")
    assert await shown.text("#live") == "detach is not possible here."
    assert await shown.text("#state") == "idle"
    assert shown.troubles == []


# -- for everybody -------------------------------------------------------------------------------------------------


@by_name
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 900, 1400])
async def test_it_fits_every_window(open_page: Open, machine: Machine[Any, Any], width: int, dark: bool) -> None:  # noqa: FBT001
    """No sideways scrolling; on a phone the state comes first and the picture has its size."""
    shown = await open_page(machine_page(machine), dark=dark, width=width)
    assert await shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await shown.in_view("#state, #undo, #possible button") >= 3
    if width == 390:
        size = "svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
        assert await shown.page.locator("#picture svg").evaluate(size) == pytest.approx(1, abs=0.01)
        tops = "all => all.map(each => [each.getBoundingClientRect().top, each.id]).sort((a, b) => a[0] - b[0])"
        order = await shown.page.locator("#now, #events, #drawn, #steps").evaluate_all(tops)
        assert [name for _, name in order] == ["now", "events", "drawn", "steps"]
    assert shown.troubles == []


async def test_every_control_has_a_name(open_page: Open) -> None:
    """For those who hear the page; changes are announced, and a notice is an alert."""
    shown = await open_page(machine_page(INPUT_LIFECYCLE), f"#queue/stage&run_id={ONE}")
    unnamed = """all => all.filter(each => !(each.labels?.[0]?.textContent ?? each.textContent).trim()
      && !each.getAttribute("aria-label")).map(each => each.outerHTML)"""
    assert await shown.page.locator("button, select, input").evaluate_all(unnamed) == []
    assert await shown.page.locator("#live").get_attribute("aria-live") == "polite"
    assert await shown.page.locator("#notice").get_attribute("role") == "alert"
    described = "all => all.every(each => document.getElementById(each.getAttribute('aria-describedby')))"
    assert await shown.page.locator("button.take").evaluate_all(described)
    keys = await shown.text(".keys")
    assert keys.split("\n")[:3] == ["← u undo", "→ r do again", "Home End to the start, the end"]


async def test_without_scripts_there_is_the_picture_and_a_word(open_page: Open) -> None:
    """Not a blank page."""
    shown = await open_page(machine_page(INPUT_LIFECYCLE), scripts=False)
    assert "needs scripts" in await shown.text("#unscripted")
    assert await shown.page.locator("#picture svg text").count() > 10


async def test_hostile_names_are_shown_as_they_are(open_page: Open) -> None:
    """Marks of HTML and of addresses in the names of a machine change nothing."""
    states = StrEnum("states", {"A": "</script><b>", "B": "<!-- b"})
    events = StrEnum("events", {"GO": "<img src=x onerror=alert(1)>"})
    (start, end), (go,) = list(states), list(events)
    machine: Machine[Any, Any] = Machine(
        name="<i>",
        doc="</title>",
        states=states,
        initial=start,
        terminal={end},
        events={go: ()},
        transitions=[Transition(go, start, end)],
    )
    shown = await open_page(machine_page(machine))
    assert await shown.text("#state") == "</script><b>"
    await shown.page.locator("#possible button").click()
    assert await shown.text("#state") == "<!-- b"
    again = await open_page(machine_page(machine), await _fragment(shown))
    assert (await again.text("#state"), await again.texts("#trace code")) == ("<!-- b", ["start", str(go)])
    assert await shown.page.locator("img").count() == 0
    assert shown.troubles == again.troubles == []
