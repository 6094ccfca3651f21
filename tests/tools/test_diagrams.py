"""Pictures: they show every row, nothing in them overlaps, and every format can be read by what reads it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve
from hypothesis import given, settings

from holdstate.spec import COMMANDS, INPUT_LIFECYCLE, RUNTIME_STATE, Field, Machine, RowGroup, Transition, field
from holdstate.tools.coupling import coupling
from holdstate.tools.coupling_svg import coupling_svg
from holdstate.tools.diagram_command import machine_svg
from holdstate.tools.diagram_lanes import Rail, lanes
from holdstate.tools.diagram_layout import layout_of
from holdstate.tools.diagram_parts import parts_of
from holdstate.tools.diagram_text import LABEL, SMALL
from holdstate.tools.diagrams import dot, mermaid

from .machines import TICKET
from .pictures import machines, problems
from .support import call

SHIPPED = (INPUT_LIFECYCLE, RUNTIME_STATE)
MACHINES = (*SHIPPED, TICKET)
by_name = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


@by_name
@pytest.mark.parametrize("numbered", [False, True])
def test_nothing_in_a_picture_overlaps(machine: Machine[Any, Any], *, numbered: bool) -> None:
    """No label touches another one or a state, and no line runs through either or along another line."""
    assert list(problems(layout_of(parts_of(machine), numbered=numbered))) == []


@settings(max_examples=150)
@given(machine=machines())
def test_nothing_overlaps_in_the_picture_of_any_machine(machine: Machine[Any, Any]) -> None:
    """Whatever the shape of the machine and the length of its names."""
    assert list(problems(layout_of(parts_of(machine)))) == []


@by_name
def test_every_row_is_in_the_picture(machine: Machine[Any, Any]) -> None:
    """A line, or a loop in its state, from each source of each row; those of all live states begin at the frame."""
    parts = parts_of(machine)
    lines = {(line.source, line.target) for line in layout_of(parts).lines}
    loops = {(loop.state, loop.state) for loop in parts.loops}
    for number, row in enumerate(machine.transitions):
        for source in map(str, row.source):
            assert lines | loops >= {(source, str(row.target))} or ("", str(row.target)) in lines
        drawn = [*(pair for arrow in parts.arrows for rows in arrow.rows for pair in rows)]
        drawn += [(loop.state, each) for loop in parts.loops for each in loop.rows]
        assert {source for source, each in drawn if each == number} == set(map(str, row.source))


@by_name
def test_a_picture_is_one_file_of_well_formed_svg(machine: Machine[Any, Any]) -> None:
    """It names every event, refers to nothing outside, is dark where that is preferred; the same each time."""
    text = machine_svg(machine)
    assert text == machine_svg(machine)
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    words = " ".join(html.unescape(each) for each in re.findall(r">([^<>]+)</text>", text))
    for row in machine.transitions:
        assert all(word in words for word in re.findall(r"\w+?_?(?=_|\b)", str(row.event)))
    assert [each for each in ("http", "url(", "<script", "<image") if each in text.partition(">")[2]] == []
    assert "@media (prefers-color-scheme: dark)" in text


@by_name
@pytest.mark.parametrize("form", ["svg", "mermaid", "dot", "html"])
def test_detail_tells_every_condition_and_assignment(machine: Machine[Any, Any], form: str) -> None:
    """And only detail does."""
    detailed, plain = (
        _unescaped(_drawn(machine, form, detail=detail)).partition("<h2>")[0] for detail in (True, False)
    )
    for row in machine.transitions:
        for text in (row.guard.text(), *(f"{name} = {value.text()}" for name, value in row.sets)):
            if text != "true":
                assert _squeezed(text) in _squeezed(detailed)
                assert _squeezed(text) not in _squeezed(plain)


def test_an_edge_tells_the_rows_of_its_own_source_alone() -> None:
    """Also where two states lead to one by the same event, each under a condition of its own."""
    small = _machine(2, ("pause", (0,), 2), ("pause", (1,), 2))
    first, second = small.transitions
    rows = (
        evolve(first, guard=field("n").lt(5), sets={"n": 1}),
        evolve(second, guard=field("n").ge(5), sets={"n": 2}),
    )
    machine = evolve(small, fields=(Field("n", int, default=0),), transitions=rows)
    edges = re.findall(r'"(\w)" -> "c" \[.*label="([^"]*)"', dot(machine, detail=True))
    assert edges == [("a", "pause [n < 5] n = 1"), ("b", "pause [n >= 5] n = 2")]


def _drawn(machine: Machine[Any, Any], form: str, *, detail: bool) -> str:
    name = machine.name if machine in SHIPPED else "tests.tools.machines:TICKET"
    return call("spec", "diagram", name, "--format", form, *(["--detail"] if detail else [])).stdout


def _unescaped(text: str) -> str:
    """The words of a picture, without the escapes of Mermaid, DOT and XML."""
    text = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)
    return html.unescape(re.sub(r"</text>\n<text[^>]*>", "", text).replace('\\"', '"'))


def _squeezed(text: str) -> str:
    return re.sub(r"[\s\\]+", "", text)


@by_name
@pytest.mark.parametrize("detail", [False, True])
def test_every_word_of_a_file_is_inside(machine: Machine[Any, Any], *, detail: bool) -> None:
    """Legend and notes too, even those that are longer than the picture is wide."""
    for drawn in (machine, evolve(machine, transitions=machine.transitions[:1])):
        root = ET.fromstring(machine_svg(drawn, detail=detail))
        width, height = int(root.attrib["width"]), int(root.attrib["height"])
        for element in root.iter("{http://www.w3.org/2000/svg}text"):
            assert 0 < int(element.attrib["y"]) < height
            if element.attrib["class"] == "small":
                assert int(element.attrib["x"]) + SMALL.width(element.text or "") < width


def test_a_legend_tells_the_colours_where_there_is_more_than_one() -> None:
    """And only those that are there."""
    assert ">recovery<" in machine_svg(INPUT_LIFECYCLE)
    assert ">giving up<" in machine_svg(INPUT_LIFECYCLE)
    small = machine_svg(_machine(2, ("go", (0,), 1), ("mend", (1,), 0), groups={"mend": RowGroup.RECOVERY}))
    assert (">step<" in small, ">recovery<" in small, ">giving up<" in small) == (True, True, False)
    assert ">step<" not in machine_svg(TICKET)


def test_mermaid_gives_plain_names_to_states_that_have_none() -> None:
    """A state whose name Mermaid could not read, or keeps for itself, has an alias with its name as a label."""
    text = mermaid(TICKET)
    for line in text.splitlines()[1:]:
        assert re.fullmatch(r' +(state "[^"]+" as \w+|(\[\*\]|\w+) --> (\[\*\]|\w+)(: [\w ,.()=+#;\-]+)?)', line), line
    assert 'state "stag#34;ing#92;" as state_' in text


def _machine(
    live: int,
    *rows: tuple[str, tuple[int, ...], int],
    names: str = "abcdefg",
    groups: Mapping[str, RowGroup] = MappingProxyType({}),
) -> Machine[Any, Any]:
    """Rows as event, numbers of the sources, number of the target; the first ``live`` states are not terminal."""
    states = StrEnum("states", {f"S{number}": name for number, name in enumerate(names)})  # type: ignore[misc]
    events = StrEnum("events", {event.upper(): event for event, _, _ in rows})  # type: ignore[misc]
    every: list[Any] = list(states)
    return Machine(
        name="small",
        states=states,
        initial=every[0],
        terminal=every[live:],
        events=dict.fromkeys(events, ()),
        transitions=[
            Transition(
                events(event),
                [every[each] for each in source],
                every[to],
                group=groups.get(event, RowGroup.STEP),
            )
            for event, source, to in rows
        ],
    )


@pytest.mark.parametrize(
    ("live", "rows", "kinds"),
    [
        (4, [("end", (0, 1), 4)], ["step"]),
        (4, [("end", (0, 1, 2), 4)], ["giving up"]),
        (4, [("back", (1, 2, 3), 0)], ["step"]),
        (4, [("mend", (1, 2, 3), 0)], ["recovery"]),
        (4, [("mend", (1, 2, 3), 4)], ["giving up"]),
        (4, [("drop", (1,), 4)], ["giving up"]),
        (4, [("recover_it", (1,), 0)], ["step"]),
    ],
)
def test_an_arrow_is_drawn_as_the_group_of_its_rows(
    live: int, rows: list[tuple[str, tuple[int, ...], int]], kinds: list[str]
) -> None:
    """A name says nothing; three states that end in the same way are giving up, whatever their rows say."""
    groups = {"mend": RowGroup.RECOVERY, "drop": RowGroup.GIVING_UP}
    assert [arrow.kind for arrow in parts_of(_machine(live, *rows, groups=groups)).arrows] == kinds


def test_what_belongs_to_a_state_or_an_event_says_so() -> None:
    """Each state; each line with its head and its label tells where it leads from and to, by which events."""
    picture = machine_svg(RUNTIME_STATE)
    for state in RUNTIME_STATE.states:
        assert picture.count(f'<g data-state="{state}">') == 1
    begins = 'data-from="idle" data-to="attached" data-events="attach"'
    marked = (("path", "wire"), ("polygon", "head"), ("text", "label"))
    assert [picture.count(f'<{each} class="{kind} step" {begins}') for each, kind in marked] == [1, 1, 1]
    assert 'data-from="" data-to="stopped" data-events="stop"' in picture


def test_a_frame_is_drawn_where_an_event_ends_every_live_state() -> None:
    """Of which there are three or more; one that leads to a live state has none, and other sources have arrows."""
    framed = parts_of(_machine(3, ("end", (0, 1, 2, 4), 3)))
    assert [arrow.sources for arrow in framed.arrows] == [("e",), ()]
    for other in (
        _machine(2, ("end", (0, 1), 2)),
        _machine(4, ("end", (0, 1, 2), 4)),
        _machine(4, ("go", (0, 1, 2, 3), 0)),
    ):
        assert not parts_of(other).has_common
        assert layout_of(parts_of(other)).frame is None


def test_lanes_cross_as_seldom_as_they_can() -> None:
    """The longer rail takes the nearer lane where that saves crossings; rails that do not meet share a lane."""
    long, short = Rail((10,), (90,)), Rail((5,), (20,))
    assert long.crossings_before(short) < short.crossings_before(long)
    assert lanes([long, short]) == [0, 1]
    assert lanes([Rail((0, 20)), Rail((40, 60)), Rail((0, 60))]) == [0, 0, 1]


def test_mermaid_escapes_its_own_escapes() -> None:
    """A name with a hash and a semicolon stays one name."""
    text = mermaid(_machine(1, ("go", (0,), 0), names="#;"))
    assert 'state "#35;" as state_1' in text
    assert 'state "#59;" as state_2' in text


def test_mermaid_draws_an_event_of_every_live_state_once() -> None:
    """Stop leads from the box of all live states, not from each of them; the input lifecycle has no such event."""
    lines = [line.strip() for line in mermaid(RUNTIME_STATE).splitlines()]
    assert [line for line in lines if line.endswith(": stop")] == ["live --> stopped: stop"]
    assert "state live {" in lines
    assert "live" not in mermaid(INPUT_LIFECYCLE)


@pytest.mark.parametrize("name", ["input_lifecycle", "runtime_state", "coupling", "tests.tools.machines:TICKET"])
def test_graphviz_draws_every_machine(name: str, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """SVG in its layout, dark too; PNG."""
    require_tool("dot")
    svg, png = tmp_path / "drawn.svg", tmp_path / "drawn.png"
    assert call("spec", "diagram", name, "--graphviz", "-o", svg).exit_code == 0
    assert call("spec", "diagram", name, "--format", "png", "-o", png).exit_code == 0
    assert "prefers-color-scheme: dark" in svg.read_text(encoding="utf-8")
    assert ET.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert png.read_bytes().startswith(b"\x89PNG")


def test_without_graphviz_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A usage error; our own layout needs nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = call("spec", "diagram", "runtime_state", "--format", "png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "install Graphviz" in result.stderr
    assert call("spec", "diagram", "runtime_state").stdout.startswith("<svg")


def test_what_graphviz_does_not_take_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With its own words."""
    dot = tmp_path / "dot"
    dot.write_text("#!/bin/sh\necho 'syntax error' >&2\nexit 1\n", encoding="utf-8")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    result = call("spec", "diagram", "coupling", "--graphviz")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "`dot` failed: syntax error" in result.stderr


@pytest.mark.parametrize("form", ["svg", "mermaid", "dot", "md", "html"])
def test_the_coupling_shows_every_command_with_what_it_sends(form: str) -> None:
    """Each command, each event of the runtime and of an input that a command sends."""
    text = call("spec", "diagram", "coupling", "--format", form).stdout
    for row in coupling():
        assert row.command in text
        for event in (*row.runtime, *(event for _, events in row.inputs for event in events)):
            assert event in text
    assert {row.command for row in coupling()} == set(COMMANDS)


def test_the_coupling_has_room_for_every_word() -> None:
    """Words are in the picture, and those of one line do not touch."""
    root = ET.fromstring(coupling_svg())
    width = int(root.attrib["width"])
    lines: dict[str, list[tuple[int, int]]] = {}
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        font = SMALL if element.attrib["class"] == "small" else LABEL
        start = int(element.attrib["x"])
        lines.setdefault(element.attrib["y"], []).append((start, start + font.width(element.text or "")))
    for words in lines.values():
        assert all(end < start for (_, end), (start, _) in pairwise(sorted(words)))
        assert max(end for _, end in words) < width


def test_a_page_needs_nothing_else() -> None:
    """Picture and tables in one file, without a script or a reference to anything."""
    text = call("spec", "diagram", "input_lifecycle", "--format", "html").stdout
    assert "<svg" in text
    assert text.count("<tr>") == 4 + 9 + 8 + 14 + 15
    assert "<code>not (failure_<wbr>count + 1 &lt; max_<wbr>attempts)</code>" in text
    assert re.findall(r"<script|<link|<img|src=|href=|style=\"", text) == []
    assert text.count("<style>") == 1  # which the content security policy lets in


@pytest.mark.parametrize(
    ("name", "said"), [("nothing", "not a machine"), ("tests.tools.explored:COUNTER", "not a Machine")]
)
def test_what_cannot_be_drawn_is_a_usage_error(name: str, said: str) -> None:
    """Told in one line."""
    result = call("spec", "diagram", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("runtime_state", "--graphviz", "--format", "dot"),
        ("coupling", "--detail"),
        ("runtime_state", "--detail", "--format", "md"),
    ],
)
def test_an_option_that_would_do_nothing_is_a_usage_error(words: tuple[str, ...]) -> None:
    """It is told, not passed over."""
    result = call("spec", "diagram", *words)
    assert (result.exit_code, result.stdout) == (2, "")
