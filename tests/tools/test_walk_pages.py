"""``spec html``: what is in the pages, and how the command behaves. Browsers look at them in ``tests/browser``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE, TransitionRefused
from holdstate.tools.explorer_driver import DriverSteps
from holdstate.tools.explorer_outcomes import FATES, WholeBounds
from holdstate.tools.machine_document import json_of
from holdstate.tools.walk_graph import WholeIsBroken, walk_fates, whole_graph

from .support import call

BOUNDS = WholeBounds(inputs=1, kinds=("prompt",), runs=1, crashes=1, symmetry=False)
SMALL = ("--inputs", 1, "--runs", 1, "--crashes", 1)


def _data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.parametrize("machine", [INPUT_LIFECYCLE, RUNTIME_STATE], ids=lambda machine: machine.name)
def test_the_page_has_the_document_of_its_machine(machine: Any, tmp_path: Path) -> None:
    """That which ``spec export`` writes, and what members of enumerations are told as."""
    path = tmp_path / "page.html"
    assert call("spec", "html", machine.name, "-o", path).exit_code == 0
    data = _data(path.read_text(encoding="utf-8"))
    assert data["document"] == json.loads(json_of(machine))
    assert {name for name, _ in data["texts"].items()} == {each["name"] for each in data["document"]["enums"]}


def test_a_machine_of_a_user_and_stdout() -> None:
    """The page goes to stdout where no file is named; it loads nothing."""
    result = call("spec", "html", "tests.tools.machines:TICKET")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("<!DOCTYPE html>")
    assert "http" not in re.sub(r'http-equiv|xmlns="http://www.w3.org/2000/svg"', "", result.stdout)
    assert _data(result.stdout)["document"]["name"] == "ticket machine"


@pytest.mark.parametrize("name", ["nothing", "no.module:X", "holdstate.spec:COMMANDS"])
def test_what_is_no_machine_is_a_usage_error(name: str) -> None:
    """Nothing is written."""
    result = call("spec", "html", name)
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_page_of_the_whole_keeps_to_its_bounds(tmp_path: Path) -> None:
    """With every fate there are more states; a limit is told on stderr, and in the page with where it was hit."""
    sizes = {}
    for words in ((), ("--every-fate",), ("--no-faults",), ("--limit", 50)):
        path = tmp_path / "whole.html"
        result = call("spec", "html", "whole", *SMALL, *words, "-o", path)
        assert result.exit_code == 0
        data = _data(path.read_text(encoding="utf-8"))
        sizes[words] = len(data["states"])
        assert max(crashes for _, _, crashes, *_ in data["states"]) == 1
        is_limited = words == ("--limit", 50)
        assert (data["limit"] == "50 states") is is_limited
        assert ("ends at the limit of 50 states" in result.stderr) is is_limited
        assert [len(each) for each in data["states"]] == [6] * data["followed"] + [3] * (
            len(data["states"]) - data["followed"]
        )
        assert (data["followed"] < len(data["states"])) is is_limited
    assert sizes["--every-fate",] > sizes[()] > sizes["--no-faults",] > sizes["--limit", 50] >= 50


def test_fates_are_parted_from_their_calls() -> None:
    """Every fate of the page is one of the explorer's, and no call has one in its name."""
    graph = whole_graph(BOUNDS, 8000, walk_fates(is_every=True))
    assert {fate for _, _, fate in graph["actions"]} == {each.label for each in FATES}
    assert all(": " not in each for _, each, _ in graph["actions"])
    assert all("-0000-" not in reason for reason in graph["reasons"])


def test_older_drivers_are_told_apart() -> None:
    """Those that are fenced off have a pane and moves of their own."""
    graph = whole_graph(evolve(BOUNDS, openers=2), 400, walk_fates(is_every=False))
    assert {"store", "driver", "older driver"} <= set(graph["panes"])
    assert any(is_older for is_older, _, _ in graph["actions"])


def test_a_broken_whole_has_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the explorer finds wrong is told instead, and where to look."""
    decide = DriverSteps.decide

    def broken(self: DriverSteps, *given: Any) -> Any:
        decided = decide(self, *given)
        decided.problems = ("planted: it is",)
        return decided

    monkeypatch.setattr(DriverSteps, "decide", broken)
    with pytest.raises(WholeIsBroken, match=r"planted: it is; see `holdstate spec check`"):
        whole_graph(BOUNDS, 8000, walk_fates(is_every=False))


def test_the_reason_of_the_page_is_that_of_the_refusal() -> None:
    """A refused transition has its words in the graph."""
    graph = whole_graph(BOUNDS, 8000, walk_fates(is_every=False))
    refused = TransitionRefused("runtime_state", "attached", "attach", "no row")
    assert str(refused) in graph["reasons"]
