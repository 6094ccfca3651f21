"""What a trace shows at a step: which panes are side by side, what counts as a change, how values are written."""

from __future__ import annotations

import re
from typing import Any

import pytest

from holdstate.tools.trace import Step, Trace
from holdstate.tools.trace_text import trace_text
from holdstate.tools.trace_view import Board, TraceView, value_text, visible, visible_lines


def _view(*panes: Any) -> TraceView:
    return TraceView(Trace("t", "s", tuple(Step(f"step {number}", each) for number, each in enumerate(panes))))


def _shape(boards: tuple[Board, ...]) -> list[tuple[tuple[str, ...], list[str]]]:
    return [(board.panes, [row.path for row in board.rows]) for board in boards]


def test_panes_that_share_a_value_are_on_one_board() -> None:
    """Anywhere in the trace; also where a third one joins two that had nothing in common."""
    view = _view({"a": {"x": 1}, "b": {"y": 2}, "c": {"z": 3}}, {"d": {"x": 1, "y": 2}})
    assert _shape(view.boards(0)) == [(("a", "b", "d"), ["x", "y"]), (("c",), ["z"])]


def test_rows_keep_their_order() -> None:
    """Values by themselves first, then what is inside variables, each by when it was first seen."""
    view = _view(
        {"a": {"runtime": {"state": "idle"}, "inputs": {"1": {"kind": "k"}}}},
        {"a": {"held": 0, "inputs": {"2": {"kind": "k"}, "1": {"kind": "k", "run": 0}}, "runtime": {"state": "idle"}}},
    )
    rows = [row for board in view.boards(1) for row in board.rows]
    assert [row.path for row in rows] == ["held", "runtime.state", "inputs.1.kind", "inputs.1.run", "inputs.2.kind"]
    assert [row.group for row in rows] == ["", "runtime", "inputs 1", "inputs 1", "inputs 2"]


def test_a_list_of_records_is_taken_apart_and_one_of_values_is_not() -> None:
    """By their places, from 1."""
    view = _view({"a": {"receipts": [{"run": 0}, {"run": 1}], "pairs": [[0, 1]], "none": {}, "empty": []}})
    (board,) = view.boards(0)
    assert [(row.path, row.cells[0].after) for row in board.rows] == [
        ("pairs", "[[0, 1]]"),
        ("none", "{}"),
        ("empty", "[]"),
        ("receipts.1.run", "0"),
        ("receipts.2.run", "1"),
    ]


def test_nothing_changes_at_the_first_step() -> None:
    """There is nothing before it."""
    (board,) = _view({"a": {"x": 1}}).boards(0)
    assert (board.is_changed, board.changed(), board.summary()) == (False, (), ())


def test_a_pane_that_comes_or_goes_is_one_change() -> None:
    """And none of each value in it; where it is not there, it is absent."""
    view = _view({"store": {"x": 1}}, {"store": {"x": 1}, "driver": {"x": 1}}, {"store": {"x": 2}}, {"store": {"x": 2}})
    came, went, after = (view.boards(number)[0] for number in (1, 2, 3))
    driver = frozenset({"driver"})
    assert (came.came, came.changed()) == (driver, ())
    assert came.summary() == ("driver new",)
    assert (went.gone, went.absent) == (driver, driver)
    assert went.summary() == ("driver gone", "x 1 → 2")
    assert (after.gone, after.absent, after.is_changed) == (frozenset(), driver, False)


def test_a_summary_tells_the_most_telling_first_and_what_is_shared_once() -> None:
    """Other values before groups that came or went, these before single values that did."""
    before = {"old": {"a": 1, "b": 2}, "one": {"state": "idle"}}
    after = {"one": {"state": "running", "run": 0}, "two": {"c": 1, "d": 2}}
    view = _view({"m": before, "s": before}, {"m": after, "s": after})
    assert view.boards(1)[0].summary() == ("one.state idle → running", "old gone", "two new", "one.run 0")


def test_what_differs_between_panes_is_told_and_what_one_has_not_is_not() -> None:
    """A value that only one of them has is no difference."""
    (board,) = _view({"a": {"x": 1, "y": 1, "z": 1}, "b": {"x": 1, "y": 2}}).boards(0)
    assert [row.name for row in board.rows if row.is_apart] == ["y"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        ("none", '"none"'),
        (True, "true"),
        ("true", '"true"'),
        (5, "5"),
        ("5", '"5"'),
        (1.5, "1.5"),
        ("", '""'),
        (" a", '" a"'),
        ("[a]", '"[a]"'),
        ("queued", "queued"),
        ("a, b", "a, b"),
        (["a", "b, c", None, [1]], '[a, "b, c", none, [1]]'),
        ([], "[]"),
        ({}, "{}"),
        ("a\nb", "a\\nb"),
    ],
)
def test_a_text_is_never_taken_for_another_value(value: Any, text: str) -> None:
    """Quotation marks stand where they are needed."""
    assert value_text(value) == text


def test_what_has_no_shape_is_written_as_an_escape() -> None:
    """Nothing can move the cursor, ring, clear the screen or turn the line; other scripts stay as they are."""
    assert visible("é 中 🙂") == "é 中 🙂"
    assert visible("\x1b[2J\x07\r\n\u202e\u200b\ud800") == "\\x1b[2J\\x07\\r\\n\\u202e\\u200b\\ud800"
    assert visible_lines("a\nb\r") == "a\nb\\r"


def test_no_control_character_of_a_trace_reaches_the_text() -> None:
    """Wherever it stands."""
    bad = "\x1b]0;x\x07"
    step = Step(bad, {bad: {bad: {bad: bad}, "list": [bad]}}, {"p": bad}, bad, is_crash=True)
    text = trace_text(Trace(bad, bad, (step, step), bad, 0))
    assert re.findall(r"[^\n -~→]", text) == []
