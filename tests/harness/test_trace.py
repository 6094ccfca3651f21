"""Traces: JSON and ITF there and back, what changed, the page, the text."""

from __future__ import annotations

import json
import re
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.tools.trace import Step, Trace, TraceError, plain
from holdstate.tools.trace_file import read_trace
from holdstate.tools.trace_page import trace_page
from holdstate.tools.trace_text import trace_text
from holdstate.tools.trace_view import TraceView

TRACE = Trace(
    "a shop: pays </script> twice",
    "harness",
    (
        Step("start", {"machine": {"state": "cart", "paid": 0}, "system": {"state": "cart", "paid": 0}}),
        Step("pay", {"machine": {"state": "paid", "paid": 2}, "system": {"state": "paid"}}, {"amount": 2, "by": None}),
        Step(
            "crash", {"machine": {"state": "paid", "paid": 2}, "system": {"state": "cart"}}, {}, "and <b>back</b>", True
        ),
    ),
    "the states differ: <paid> & cart",
)

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
_panes = st.fixed_dictionaries({"a": st.dictionaries(st.sampled_from("xyz"), _values, min_size=1)})
_steps = st.builds(
    Step,
    st.text(max_size=5),
    _panes | st.fixed_dictionaries({"a": st.just({"x": 1}), "a_b": st.dictionaries(st.sampled_from("xy"), _values)}),
    st.dictionaries(st.sampled_from("pq"), _values),
    st.text(max_size=5),
    st.booleans(),
)
_traces = st.builds(
    Trace,
    st.text(max_size=5),
    st.text(max_size=5),
    st.lists(_steps, min_size=1, max_size=4).map(tuple),
    st.text(max_size=5),
    st.none() | st.just(0),
)


@given(_traces)
def test_a_trace_comes_back_from_json_as_it_was(trace: Trace) -> None:
    """Through text."""
    assert Trace.from_json(json.loads(json.dumps(trace.to_json()))) == trace


@given(_traces)
def test_a_trace_comes_back_from_itf_as_it_was(trace: Trace) -> None:
    """Through text; a pane without variables leaves no trace in ITF."""
    wanted = Trace(
        trace.title,
        trace.source,
        tuple(
            Step(each.action, {p: v for p, v in each.panes.items() if v}, each.params, each.note, each.is_crash)
            for each in trace.steps
        ),
        trace.broken,
        trace.loop,
    )
    assert Trace.from_itf(json.loads(json.dumps(trace.to_itf()))) == wanted


def test_itf_is_written_as_its_description_says() -> None:
    """Integers of any size as #bigint, None as a variant, #meta with format and index, every variable in vars."""
    itf: dict[str, Any] = TRACE.to_itf()
    assert itf["#meta"]["format"] == "ITF"
    assert itf["#meta"]["format-description"] == "https://apalache-mc.org/docs/adr/015adr-trace.html"
    assert itf["vars"] == ["machine_state", "machine_paid", "system_state", "system_paid"]
    assert [state["#meta"]["index"] for state in itf["states"]] == [0, 1, 2]
    assert itf["states"][1]["machine_paid"] == {"#bigint": "2"}
    assert itf["states"][1]["#meta"]["params"]["by"] == {"tag": "None", "value": {"#tup": []}}
    assert "loop" not in itf


def test_itf_of_other_tools_is_read() -> None:
    """Tuples, sets, maps, unserializable values, actions of Quint; a violation is told."""
    document = {
        "#meta": {"format": "ITF", "source": "bank.qnt", "status": "violation", "description": "found"},
        "vars": ["x", "mbt::actionTaken"],
        "states": [
            {
                "#meta": {"index": 0},
                "mbt::actionTaken": "init",
                "mbt::nondetPicks": {
                    "who": {"tag": "Some", "value": "ann"},
                    "far": {"tag": "None", "value": {"#tup": []}},
                },
                "x": {
                    "#map": [[{"#bigint": "1"}, {"#set": [1, 2]}], ["k", {"#tup": ["a", {"#unserializable": "Nat"}]}]]
                },
            }
        ],
        "loop": 0,
    }
    trace = Trace.from_itf(document)
    assert trace.steps[0].action == "init"
    assert trace.steps[0].text() == "init(who='ann')"
    assert trace.steps[0].panes == {"state": {"x": {"1": [1, 2], "k": ["a", "Nat"]}}}
    assert (trace.title, trace.broken, trace.loop) == ("found", "bank.qnt says: violation", 0)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"format": "holdstate-trace", "version": 2},
        {"format": "holdstate-trace", "version": 1, "steps": [{}]},
        {**TRACE.to_json(), "steps": []},
        {**TRACE.to_json(), "steps": 1},
        {**TRACE.to_json(), "steps": ["step"]},
        {**TRACE.to_json(), "title": 5},
        {**TRACE.to_json(), "loop": 3},
        {**TRACE.to_json(), "loop": True},
    ],
)
def test_what_is_no_trace_is_refused(document: object) -> None:
    """With a typed error, a newer version too."""
    with pytest.raises(TraceError):
        Trace.from_json(document)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"states": 1},
        {"states": []},
        {"states": [{"x": {"#bigint": "x"}}]},
        {"states": [1]},
        {"states": [{"x": {"#map": 5}}]},
        {"states": [{"x": 1}], "loop": "a"},
        {"states": [{"x": 1}], "loop": 1},
        {"states": [{"x": 1}], "#meta": {"holdstate": {"panes": {"x": "p"}}}},
        {"states": [{"x": 1}], "#meta": {"holdstate": {"panes": {"x": [1, 2]}}}},
    ],
)
def test_what_is_no_itf_is_refused(document: object) -> None:
    """With a typed error."""
    with pytest.raises(TraceError):
        Trace.from_itf(document)


def test_a_file_is_read_by_what_is_in_it(tmp_path: Path) -> None:
    """Ours or ITF; anything else is refused with its name."""
    path = tmp_path / "trace"
    for document in (TRACE.to_json(), TRACE.to_itf()):
        path.write_text(json.dumps(document), encoding="utf-8")
        assert read_trace(path) == TRACE
    path.write_text("no", encoding="utf-8")
    with pytest.raises(TraceError, match=re.escape(str(path))):
        read_trace(path)


def test_values_of_python_become_plain() -> None:
    """Enum members by value, UUIDs as text, sets sorted, keys as text, the rest by its repr."""

    class Light(StrEnum):
        RED = "red"

    number = Enum("number", {"ONE": 1})
    value = {Light.RED: {3, 1, 2}, 5: (UUID(int=1), number.ONE), "x": [b"raw", 1.5, None, "\ud800"]}
    assert plain(value) == {
        "red": [1, 2, 3],
        "5": ["00000000-0000-0000-0000-000000000001", 1],
        "x": ["b'raw'", 1.5, None, "\\ud800"],
    }


def test_changes_are_those_of_the_step() -> None:
    """What became different, came or went, in which pane; nothing for the first step."""
    view = TraceView(TRACE)
    changed = []
    for number in range(3):
        (board,) = view.boards(number)
        cells = [
            (row.path, pane, cell) for row in board.rows for pane, cell in zip(board.panes, row.cells, strict=True)
        ]
        changed.append({(path, pane) for path, pane, cell in cells if cell.is_changed})
    assert changed[0] == set()
    assert changed[1] == {("state", "machine"), ("paid", "machine"), ("state", "system"), ("paid", "system")}
    assert changed[2] == {("state", "system")}


def test_the_page_needs_nothing_else() -> None:
    """No address but those of its own steps, and nothing of the data taken for markup."""
    page = trace_page(TRACE)
    assert set(re.findall(r'(?:src|href)="([^"]*)"|(https?://)|(@import)|(url\()', page)) == {
        (f"#{number}", "", "", "") for number in range(3)
    }
    assert page.count("</script>") == 1
    assert "<b>back</b>" not in page
    assert "&lt;/script&gt;" in page


def test_the_text_shows_steps_changes_the_crash_and_what_broke() -> None:
    """A line for each step, and below it what changed in each pane."""
    assert trace_text(TRACE).splitlines() == [
        "a shop: pays </script> twice",
        "  0  start",
        "        machine: state = cart, paid = 0",
        "        system: state = cart, paid = 0",
        "  1  pay(amount=2, by=None)",
        "        machine: state: cart → paid, paid: 0 → 2",
        "        system: state: cart → paid, paid: 0 → gone",
        "  2  crash   (and <b>back</b>)",
        "     ~ ~ ~ crash ~ ~ ~",
        "        system: state: paid → cart",
        "broken: the states differ: <paid> & cart",
    ]
    looping = Trace("t", "s", TRACE.steps[:1], "", 0)
    assert trace_text(looping).splitlines()[-1] == "  and on from step 0 for ever"
