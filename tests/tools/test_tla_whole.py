"""The whole in TLA+, checked by TLC: nothing is violated, and the explorer finds exactly the same states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from holdstate.spec import COMMANDS, INVARIANTS, STEP_PROPERTIES
from holdstate.spec.relations import RELATIONS
from holdstate.tools import tla_whole
from holdstate.tools.explorer import Explorer, Limits, Verdict
from holdstate.tools.explorer_kinds import KINDS
from holdstate.tools.explorer_outcomes import WholeBounds
from holdstate.tools.explorer_whole import Whole
from holdstate.tools.output import ExitCode
from holdstate.tools.tla_comparison import Comparison, compared
from holdstate.tools.tla_projection import explored, explored_in_full, model_checked
from holdstate.tools.tla_whole import CONFIGURATIONS, WHOLE, WholeConfiguration, configuration, whole_files
from holdstate.tools.tlc import TlcReport, TlcVerdict

from .broken_tables import FAIR
from .support import call

pytestmark = pytest.mark.usefixtures("untraced")

Tlc = Callable[..., TlcReport]

SMALL = WholeBounds(kinds=("prompt",), runs=1, crashes=1)


def _write(folder: Path, bounds: WholeConfiguration) -> None:
    for name, text in {**whole_files(), "bounds.cfg": configuration(bounds)}.items():
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, each in CONFIGURATIONS.items() if not each.is_fair])
def test_the_explorer_and_tlc_find_the_same_number_of_states(name: str, tlc: Tlc, tmp_path: Path) -> None:
    """And nothing wrong: the real core, recovery and store, and the modules that are made from the tables, with every
    command, crashes, commits of unknown result, and a second opener.
    """
    shipped = CONFIGURATIONS[name]
    _write(tmp_path, shipped)
    found = compared(tmp_path, name, shipped.bounds)
    tlc_report, report = found.model_checked, found.explored
    print(f"{name}: {found.projected} states; TLC generated {tlc_report.generated}, the explorer {report.transitions}")
    assert (tlc_report.verdict, tlc_report.trace, report.verdict) == (TlcVerdict.OK, (), Verdict.OK)
    assert found.problem == ""
    assert found.projected > 10_000


@pytest.mark.parametrize("name", [name for name, each in CONFIGURATIONS.items() if each.is_fair])
def test_every_durable_input_ends(name: str, tlc: Tlc, tmp_path: Path) -> None:
    """Liveness under fairness, with as many runs as the inputs can take."""
    _write(tmp_path, CONFIGURATIONS[name])
    report = tlc(tmp_path, WHOLE, name)
    print(f"{name}: {report.distinct} distinct states, {report.generated} generated")
    assert (report.verdict, report.problem, report.trace) == (TlcVerdict.OK, None, ())
    assert report.distinct > 5_000


@pytest.mark.parametrize(("runs", "verdict"), [(2, TlcVerdict.OK), (1, TlcVerdict.PROPERTY)])
def test_the_runs_that_are_given_are_needed(runs: int, verdict: TlcVerdict, tlc: Tlc, tmp_path: Path) -> None:
    """A control for liveness: with one run fewer than an input can take, it never ends."""
    _write(tmp_path, evolve(FAIR, bounds=evolve(FAIR.bounds, runs=runs)))
    assert tlc(tmp_path, WHOLE, "bounds").verdict is verdict


@pytest.mark.parametrize(
    "bounds", [SMALL, evolve(SMALL, openers=2, crashes=0, faults=False)], ids=["faults", "two openers"]
)
def test_the_states_are_the_same_ones(bounds: WholeBounds, tlc: Tlc, tmp_path: Path) -> None:
    """Not just as many: every projected state of one is one of the other's."""
    _write(tmp_path, WholeConfiguration(about="Small.", bounds=bounds))
    report = tlc(tmp_path, WHOLE, "bounds", with_graph=True)
    assert report.graph is not None
    whole = Whole(evolve(bounds, symmetry=False))
    explorer = Explorer(whole)
    assert explorer.run(Limits()).verdict is Verdict.OK
    theirs = model_checked(report.graph.states.values())
    assert explored_in_full(whole, explorer.graph.states) == theirs
    assert len(theirs) == report.distinct == len(explored(whole, explorer.graph.states)) > 1_000


def test_what_only_one_finds_is_noticed(tlc: Tlc, tmp_path: Path) -> None:
    """A control for the comparison: TLC is given a crash fewer, and the text of the problem has both counts."""
    _write(tmp_path, WholeConfiguration(about="No crash.", bounds=evolve(SMALL, crashes=0, faults=False)))
    found = compared(tmp_path, "bounds", evolve(SMALL, faults=False))
    assert found.problem == f"TLC finds {found.model_checked.distinct} states, the explorer {found.projected}"
    assert found.model_checked.distinct < found.projected


# -- the text ----------------------------------------------------------------------------------------------------------


def test_the_names_are_those_of_the_specification() -> None:
    """Every property that TLC checks stands in spec/ under the same name, or says what only this model has; docs/tla.md
    says of each of the others why it cannot be said here.
    """
    known = {*INVARIANTS, *STEP_PROPERTIES, *RELATIONS}
    checked = {*tla_whole.INVARIANTS, *tla_whole.STEP_PROPERTIES}
    assert checked - known == {"tables_fit"}
    assert known - checked == {"queue_order_is_total", "log_has_no_gap", "order_is_kept", "nothing_before_its_commit"}


def test_what_cannot_be_said_is_explained(project_root: Path) -> None:
    """Each property of spec/ that has no form in TLA+ is named in the documentation."""
    text = (project_root / "docs" / "tla.md").read_text(encoding="utf-8")
    for name in {*INVARIANTS, *STEP_PROPERTIES, *RELATIONS} - {*tla_whole.INVARIANTS, *tla_whole.STEP_PROPERTIES}:
        assert f"`{name}`" in text


def test_every_command_and_kind_is_met() -> None:
    """Of the shipped configurations one sends every kind, and those that are compared give every command."""
    compared_ones = [each for each in CONFIGURATIONS.values() if not each.is_fair]
    assert all({*each.commands, "open"} == set(COMMANDS) for each in compared_ones)
    assert any(set(each.bounds.kinds) == set(KINDS) for each in compared_ones)
    assert any(each.bounds.faults and each.bounds.openers > 1 for each in compared_ones)


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_tells_both_counts(tlc: Tlc) -> None:
    """As lines, and as one document."""
    bounds = ("--kinds", "operation", "--runs", "1", "--crashes", "0", "--no-faults")
    result = call("spec", "compare", *bounds)
    assert result.exit_code == ExitCode.OK, result.output
    document = json.loads(call("spec", "compare", *bounds, "--json").stdout)
    assert result.stdout.splitlines()[0] == f"equal: {document['states']} states"
    assert document["tlc"]["states"] == document["states"] <= document["explorer"]["states"]


def test_the_command_needs_runs() -> None:
    """Without symmetry there is no end of names otherwise."""
    result = call("spec", "compare")
    assert result.exit_code == ExitCode.USAGE
    assert "--runs" in result.stderr


def test_a_difference_is_a_finding(tlc: Tlc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, with the sentence; and 3 where TLC does not end."""
    bounds = ("--kinds", "operation", "--runs", "1", "--crashes", "0", "--no-faults")

    def other(folder: Path, name: str, bounds: WholeBounds) -> Comparison:
        return evolve(compared(folder, name, bounds), projected=7)

    monkeypatch.setattr("holdstate.tools.compare_command.compared", other)
    result = call("spec", "compare", *bounds)
    assert (result.exit_code, result.stdout.splitlines()[0][-20:]) == (ExitCode.FINDING, "states, the explorer 7"[-20:])
    monkeypatch.setattr("holdstate.tools.tlc.DEADLINE_SECONDS", 0.001)
    assert call("spec", "compare", *bounds).exit_code == ExitCode.UNDECIDED
