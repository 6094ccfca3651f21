"""One trace for whatever found it: the explorer, TLC, and files by whatever tool."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.tools.explorer import Explorer, Limits, Violation
from holdstate.tools.explorer import TraceStep as Found
from holdstate.tools.explorer_outcomes import FATES, Fate, WholeBounds
from holdstate.tools.explorer_trace import explorer_trace
from holdstate.tools.explorer_whole import Whole
from holdstate.tools.tlc import Counterexample, read_counterexample
from holdstate.tools.tlc_trace import tlc_trace
from holdstate.tools.trace import Trace, TraceError
from holdstate.tools.trace_file import read_trace, write_trace_files
from holdstate.tools.trace_page import trace_page
from holdstate.tools.trace_text import trace_text

from .explored import COUNTER
from .support import call

# -- the explorer ------------------------------------------------------------------------------------------------------


def test_the_store_and_the_driver_of_the_whole_are_panes() -> None:
    """Inputs by number in both, so that they are side by side; the crash is at its step; the invariant is named."""
    early = Fate("told, then crash before its commit", lands=False, memory=None, answered=True, is_crash=True)
    bounds = WholeBounds(inputs=1, kinds=("prompt",), openers=1, boundaries=1, empty_receipts=0, faults=False)
    report = Explorer(Whole(bounds, (*FATES, early))).run(Limits(states=20_000))
    assert report.violation is not None
    trace = explorer_trace("whole", report.violation)
    assert [step.text() for step in trace.steps] == [
        "start",
        "open",
        "accept prompt 1: told, then crash before its commit",
    ]
    assert [step.is_crash for step in trace.steps] == [False, False, True]
    assert [list(step.panes) for step in trace.steps] == [["store"], ["store", "driver"], ["store"]]
    assert trace.broken_name == "acked_is_durable"


def test_a_driver_that_is_fenced_off_has_a_pane_of_its_own() -> None:
    """By what it is, not by its place: the one that holds the runtime is the driver; inputs come by number."""
    inputs = [{"number": 2, "kind": "prompt"}, {"number": 3, "kind": "event"}]
    memory = {"runtime": {"state": "idle"}, "inputs": inputs, "doubt": {"inputs": inputs[:1]}}
    stale = {**memory, "stale": True}
    trace = explorer_trace(
        "whole", Violation(("a: b", "c: d"), (Found("", {"store": None, "drivers": [memory, stale, stale]}),))
    )
    panes = trace.steps[0].panes
    assert list(panes) == ["store", "driver", "older driver", "older driver 2"]
    assert panes["store"] == {}
    assert panes["driver"]["inputs"] == {"2": {"kind": "prompt"}, "3": {"kind": "event"}}
    assert panes["driver"]["doubt"] == {"inputs": {"2": {"kind": "prompt"}}}
    assert trace.broken == "a: b\nc: d"


def test_a_crash_is_known_by_its_word() -> None:
    """Every fate that is a crash has it in its label, and no other fate has."""
    for fate in FATES:
        step = Found(f"accept prompt 1: {fate.label}", {"at": 1})
        (shown,) = explorer_trace("m", Violation((), (step,))).steps
        assert shown.is_crash == fate.is_crash, fate.label


def test_another_model_has_one_pane() -> None:
    """What its states show."""
    (step,) = explorer_trace(COUNTER.name, Violation(("p",), (Found("", {"at": 5}),))).steps
    assert (step.panes, step.action) == ({"state": {"at": 5}}, "start")


# -- TLC ---------------------------------------------------------------------------------------------------------------

HEAD = "TLC2 Version 2.15\nError: Invariant small is violated.\nError: The behavior up to this point is:\n"
FIRST = "State 1: <Initial predicate>\n/\\ x = 1\n/\\ held = {[a |-> 1], [a |-> 2]}\n\n"
UNKNOWN = "nobody knows whether its commit landed"
SECOND = "State 2: <Go(1) line 4, col 1 to line 5, col 2 of module m>\n/\\ x = 2\n/\\ held = {}\n\n"


def test_what_tlc_printed_is_read(tmp_path: Path) -> None:
    """Steps, values and the name of what is violated."""
    path = tmp_path / "tlc.txt"
    path.write_text(HEAD + FIRST + SECOND, encoding="utf-8")
    trace = read_trace(path)
    assert (trace.title, trace.source, trace.loop) == ("tlc.txt", "TLC", None)
    assert trace.broken == "small: TLC says: Invariant small is violated."
    assert [step.action for step in trace.steps] == ["Initial predicate", "Go"]
    assert [step.panes["state"]["x"] for step in trace.steps] == [1, 2]
    assert trace.steps[0].panes["state"]["held"] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("end", "loop"),
    [
        ("State 3: Stuttering\n", 1),
        ("State 3: <Stuttering>\n", 1),
        ("Back to state 1: <Go line 4 of module m>\n", 0),
        ("Back to state 2\n", 1),
        ("Back to state 9\n", 1),
        ("", None),
    ],
)
def test_a_counterexample_to_liveness_has_a_loop(end: str, loop: int | None) -> None:
    """To itself where nothing happens any more; never to a step that is not there."""
    assert read_counterexample(FIRST + SECOND + end).loop == loop


def test_a_first_state_that_is_wrong_is_a_step() -> None:
    """TLC prints it in another way."""
    output = "Error: Invariant small is violated by the initial state:\n/\\ x = 9\n\nFinished\n"
    assert read_counterexample(output).steps == (("Initial predicate", {"x": 9}),)


def test_no_counterexample_is_told(tmp_path: Path) -> None:
    """As is one that is cut off."""
    path = tmp_path / "tlc.txt"
    path.write_text("TLC2 Version 2.15\nModel checking completed. No error has been found.\n", encoding="utf-8")
    with pytest.raises(TraceError, match="it found no counterexample"):
        read_trace(path)
    path.write_text(HEAD + "State 1: <Initial predicate>\n/\\ x = <<1,\n\n", encoding="utf-8")
    with pytest.raises(TraceError, match="a state cannot be read"):
        read_trace(path)


RECORD = {"state": "queued", "kind": "event", "error": None}
IMAGE = {"epoch": 1, "revision": 2, "rt": {"state": "idle", "run": None}, "in": (RECORD,)}
MEMORY = {**IMAGE, "held": None, "behind": False, "doubt": None}
DOUBT = {**MEMORY, "doubt": {"revision": 3, "rt": {"state": "running"}, "in": ()}}


def _whole(**changes: object) -> dict[str, object]:
    receipts = frozenset({(("inputs", (1,)), ("run_id", 0))})
    store = {"epoch": 1, "revision": 2, "rt": {"state": "idle"}, "in": {1: RECORD, 3: RECORD}, "receipts": receipts}
    memory = {"d1": MEMORY, "d2": None}
    rest = {"acked": frozenset({1}), "runs": 0, "crashes": 0, "faults": 0, "misfit": None}
    return {"store": {**store, "keys": (), "counts": {"active": 2}}, "memory": memory, **rest, **changes}


def test_the_whole_of_tlc_has_its_store_and_drivers_side_by_side() -> None:
    """Under the same names as the explorer's where both have them, without what is not there."""
    state = _whole(memory={"d1": DOUBT, "d2": None})
    panes = tlc_trace("w", Counterexample("", (("Initial predicate", state),))).steps[0].panes
    record = {"state": "queued", "kind": "event"}
    assert panes["store"] == {
        "epoch": 1,
        "revision": 2,
        "runtime": {"state": "idle"},
        "inputs": {"1": record, "3": record},
        "receipts": [{"inputs": [1], "run_id": 0}],
        "counts": {"active": 2},
    }
    assert panes["driver d1"] == {
        "epoch": 1,
        "revision": 2,
        "runtime": {"state": "idle"},
        "inputs": {"1": record},
        "behind": False,
        "doubt": {"revision": 3, "runtime": {"state": "running"}},
    }
    assert "driver d2" not in panes
    assert panes["model"] == {"acked": [1], "runs": 0, "crashes": 0, "faults": 0, "misfit": None}


def test_what_became_of_a_commit_is_told_of_tlc_too() -> None:
    """A crash before or after it, an opening that dies, doubt, fencing; TLC prints states only."""
    first = _whole()
    store: Any = first["store"]
    nobody = {"d1": None, "d2": None}
    written, claimed = {**store, "revision": 3}, {**store, "epoch": 2}
    behind, doubt = ({"d1": each, "d2": None} for each in ({**MEMORY, "behind": True}, DOUBT))
    told = {
        "done": ("Stop", first, _whole(store=written), (False, "")),
        "open": ("Open", first, _whole(store=claimed, memory={"d1": MEMORY, "d2": MEMORY}), (False, "")),
        "open, crash": ("Open", first, _whole(store=claimed), (True, "its commit landed")),
        "crash": ("Crash", first, _whole(memory=nobody), (True, "")),
        "crash after": ("Stop", first, _whole(memory=nobody, store=written), (True, "its commit landed")),
        "doubt": ("Stop", first, _whole(memory=doubt), (False, f"{UNKNOWN}; it did not")),
        "behind": ("Stop", first, _whole(memory=behind, store=written), (False, f"{UNKNOWN}; it did")),
        "still": ("ReadBack", _whole(memory=doubt), _whole(memory=doubt), (False, "")),
        "fenced": ("Stop", _whole(store=claimed), _whole(store=claimed, memory=nobody), (False, "fenced off")),
        "fenced, crash": ("Crash", _whole(store=claimed), _whole(store=claimed, memory=nobody), (True, "")),
    }
    for name, (action, before, now, expected) in told.items():
        step = tlc_trace("w", Counterexample("", (("A", before), (action, now)))).steps[1]
        assert (step.is_crash, step.note) == expected, name


# -- files -------------------------------------------------------------------------------------------------------------

APALACHE = {
    "#meta": {
        "format": "ITF",
        "format-description": "https://apalache-mc.org/docs/adr/015adr-trace.html",
        "varTypes": {"bank_of_boat": "Str", "who_is_on_bank": "(Str -> Set(PERSON))"},
        "description": "Created by Apalache on Tue Nov 08 10:00:00 CET 2022",
    },
    "params": ["N"],
    "vars": ["bank_of_boat", "who_is_on_bank"],
    "states": [
        {
            "#meta": {"index": 0},
            "N": {"#bigint": "2"},
            "bank_of_boat": "E",
            "who_is_on_bank": {"#map": [["E", {"#set": ["c1", "m1"]}], ["W", {"#set": []}]]},
        },
        {
            "#meta": {"index": 1},
            "N": {"#bigint": "2"},
            "bank_of_boat": "W",
            "who_is_on_bank": {"#map": [["E", {"#set": ["c1"]}], ["W", {"#set": ["m1"]}]]},
        },
    ],
}
"""As Apalache writes it (ADR 015's example)."""


def test_a_file_by_apalache_is_shown(tmp_path: Path) -> None:
    """It has no actions, and does not say that it is a failure."""
    path = tmp_path / "violation1.itf.json"
    path.write_text(json.dumps(APALACHE), encoding="utf-8")
    trace = read_trace(path)
    assert trace_text(trace).splitlines() == [
        "Created by Apalache on Tue Nov 08 10:00:00 CET 2022",
        "  0  start",
        "        state: N = 2, bank_of_boat = E, who_is_on_bank.E = [c1, m1], who_is_on_bank.W = []",
        "  1  step",
        "        state: bank_of_boat: E → W, who_is_on_bank.E: [c1, m1] → [c1], who_is_on_bank.W: [] → [m1]",
    ]


def test_a_replay_file_is_shown_by_its_trace(tmp_path: Path) -> None:
    """Its moves are for ``holdstate test replay``."""
    trace = Trace.from_itf(APALACHE)
    path = tmp_path / "a.replay.json"
    path.write_text(
        json.dumps({"format": "holdstate-replay", "version": 1, "trace": trace.to_json()}), encoding="utf-8"
    )
    assert read_trace(path) == trace


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"5",
        b"{}",
        b"\xff\xfe",
        b'{"format": "holdstate-replay"}',
        b'{"format": "holdstate-trace", "version": 1}',
        b'{"vars": [], "states": []}',
        b'{"vars": [], "states": [{"x": {"#bigint": "1e9"}}]}',
        b'{"vars": [], "states": [{"x": {"#bigint": "' + b"9" * 5000 + b'"}}]}',
        b'{"vars": [], "states": [{"x": ' + b"[" * 800 + b"]" * 800 + b"}]}",
        b"[" * 100_000,
    ],
    ids=range(12),
)
def test_what_is_no_trace_is_refused_with_the_name_of_the_file(content: bytes, tmp_path: Path) -> None:
    """A typed error, whatever is in it."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=rf"^{re.escape(str(path))}: "):
        read_trace(path)


def test_a_document_with_other_states_is_no_trace(tmp_path: Path) -> None:
    """An exported machine has states too. ITF is known by its variables or by its name."""
    path = tmp_path / "machine.json"
    assert call("spec", "export", "runtime_state", "--format", "json", "-o", path).exit_code == 0
    shown = call("test", "show", path)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert "it is JSON, but no trace" in shown.stderr
    states: list[object] = [{"x": 1}]
    for known in ({"vars": ["x"]}, {"#meta": {"format": "ITF"}}):
        path.write_text(json.dumps({**known, "states": states}), encoding="utf-8")
        assert len(read_trace(path).steps) == 1


_OF_ITF = ("#meta", "#map", "#set", "#tup", "#bigint", "#unserializable", "tag", "value", "index")
_OF_TOOLS = ("mbt::actionTaken", "mbt::nondetPicks", "holdstate", "panes", "params", "action", "crash")
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["x", *_OF_ITF, *_OF_TOOLS]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(states=st.lists(_json, max_size=3), meta=_json, loop=_json)
def test_any_document_is_refused_or_can_be_shown(states: list[object], meta: object, loop: object) -> None:
    """Nothing that is read breaks the page or the text."""
    try:
        trace = Trace.from_itf({"states": states, "#meta": meta, "loop": loop})
    except TraceError:
        return
    assert trace_page(trace).endswith("</html>\n")
    assert trace_text(trace)
    assert Trace.from_json(json.loads(json.dumps(trace.to_json()))) == trace


def test_files_are_written_where_they_are_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page, ITF, both or none; stderr says where."""
    trace = Trace.from_itf(APALACHE)
    write_trace_files(trace, None, None)
    assert list(tmp_path.iterdir()) == []
    write_trace_files(trace, tmp_path / "a.html", tmp_path / "a.itf.json")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == trace_page(trace)
    assert read_trace(tmp_path / "a.itf.json") == trace
    assert capsys.readouterr().err.splitlines() == [f"wrote {tmp_path / 'a.html'}", f"wrote {tmp_path / 'a.itf.json'}"]
