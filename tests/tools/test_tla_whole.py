"""The whole in TLA+, checked by TLC: nothing is violated, broken tables are noticed, and the explorer sees the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdstate.spec import COMMANDS, INVARIANTS, STEP_PROPERTIES
from holdstate.spec.relations import RELATIONS
from holdstate.tools import tla_whole
from holdstate.tools.explorer import Explorer, Limits, Verdict
from holdstate.tools.explorer_kinds import KINDS
from holdstate.tools.explorer_outcomes import WholeBounds
from holdstate.tools.explorer_rows import Disk
from holdstate.tools.explorer_whole import Whole
from holdstate.tools.tla_tables import ModelTables
from holdstate.tools.tla_values import frozen_value
from holdstate.tools.tla_whole import (
    CONFIGURATIONS,
    WHOLE,
    WholeConfiguration,
    configuration,
    stored_states,
    whole_files,
)
from holdstate.tools.tlc import TlcReport, TlcVerdict

from .broken_tables import BROKEN, PLANTED, Broken, Planted

pytestmark = pytest.mark.usefixtures("untraced")

Tlc = Callable[..., TlcReport]


def _write(folder: Path, bounds: WholeConfiguration, tables: ModelTables | None = None) -> None:
    for name, text in {**whole_files(tables), "bounds.cfg": configuration(bounds)}.items():
        (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_tlc_finds_nothing_wrong_with_the_whole(name: str, tlc: Tlc, tmp_path: Path) -> None:
    """Invariants, properties of steps, and that every durable input ends, in every configuration that is shipped."""
    _write(tmp_path, CONFIGURATIONS[name])
    report = tlc(tmp_path, WHOLE, name)
    print(f"{name}: {report.distinct} distinct states, {report.generated} generated, depth {report.depth}")
    assert (report.verdict, report.problem, report.trace) == (TlcVerdict.OK, None, ())
    assert report.distinct > 5_000


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.broken)
def test_a_broken_table_is_noticed(broken: Broken, tlc: Tlc, tmp_path: Path) -> None:
    """A table with one thing wrong violates the property that speaks of it, and TLC shows the way there."""
    _write(tmp_path, broken.bounds, broken.tables)
    report = tlc(tmp_path, WHOLE, "bounds")
    assert report.verdict is not TlcVerdict.OK
    assert any(name in str(report.problem) for name in broken.noticed_by), report.problem
    assert len(report.trace) > 1


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.broken)
def test_a_broken_protocol_is_noticed(planted: Planted, tlc: Tlc, tmp_path: Path) -> None:
    """The hand-written part with one thing wrong, likewise: fencing, acknowledging, reading back, recovering."""
    _write(tmp_path, planted.bounds)
    whole = tmp_path / "whole.tla"
    text = whole.read_text(encoding="utf-8")
    assert text.count(planted.text) == 1
    whole.write_text(text.replace(planted.text, planted.by), encoding="utf-8")
    report = tlc(tmp_path, WHOLE, "bounds")
    assert any(name in str(report.problem) for name in planted.noticed_by), report.problem


def test_the_runs_that_are_given_are_needed(tlc: Tlc, tmp_path: Path) -> None:
    """A control for liveness: with one run fewer than all inputs can take, one of them never ends."""
    fair = CONFIGURATIONS["whole_liveness"]
    text = configuration(fair).replace(f"Runs = {fair.runs}", f"Runs = {fair.runs - 1}")
    _write(tmp_path, fair)
    (tmp_path / "bounds.cfg").write_text(text, encoding="utf-8")
    assert tlc(tmp_path, WHOLE, "bounds").verdict is TlcVerdict.PROPERTY


# -- the explorer ------------------------------------------------------------------------------------------------------


def _projection(disk: Disk | None) -> Any:
    """What ``tla_whole.projection`` makes of the same store."""
    if disk is None:
        return None
    row = disk.runtime
    runtime = {
        "state": row.state,
        "current_run_id": row.run,
        "pre_run_state": row.returns_to,
        "contributors": row.contributors,
        "boundary_count": row.boundaries,
        "shared_run": row.shared,
        "next_order": row.next_input,
    }
    inputs = {
        each.number: {
            "kind": each.kind,
            "state": each.state,
            "last_run_id": each.run,
            "last_boundary_sequence": each.sequence,
            "failure_count": each.failures,
            "terminal_outcome": each.outcome,
            "successor_id": each.successor,
            "abandon_reason": each.reason,
        }
        for each in disk.inputs
    }
    receipts = frozenset(
        frozen_value(
            {
                "run_id": each.run,
                "sequence": each.sequence,
                "inputs": tuple(number for number in each.inputs if number not in each.ephemeral),
                "ephemeral": each.ephemeral,
            }
        )
        for each in disk.receipts
    )
    return frozen_value(runtime), frozen_value(inputs), receipts


_SMALL = WholeConfiguration(about="One input of every kind, two runs.", runs=2)
_PAIR = WholeConfiguration(about="A prompt and what steers it.", kinds=("prompt", "steer"), inputs=2)


@pytest.mark.parametrize("bounds", [_SMALL, _PAIR], ids=["one of every kind", "two that meet"])
def test_the_explorer_stores_what_tlc_stores(bounds: WholeConfiguration, tlc: Tlc, tmp_path: Path) -> None:
    """The real core over a memory store and the TLA+ of the tables reach the same stored states, not just as many."""
    _write(tmp_path, bounds)
    report = tlc(tmp_path, WHOLE, "bounds", values_of="store")
    assert report.verdict is TlcVerdict.OK
    whole = Whole(
        WholeBounds(
            inputs=bounds.inputs,
            kinds=bounds.kinds,
            openers=bounds.drivers,
            runs=bounds.runs,
            crashes=bounds.crashes,
            boundaries=bounds.boundaries,
            empty_receipts=bounds.empty_receipts,
            max_attempts=bounds.max_attempts,
            max_batch=bounds.max_batch,
            faults=False,
            symmetry=False,
        )
    )
    explorer = Explorer(whole)
    assert explorer.run(Limits()).verdict is Verdict.OK
    disks = {whole._states.unpack(state).disk for state in explorer.graph.states}
    explored = frozenset(_projection(whole._disks.rows[disk]) for disk in disks)
    stored = stored_states(report.values)
    print(f"{len(stored)} stored states: TLC {report.distinct} states, explorer {len(explorer.graph.states)}")
    assert stored == explored
    assert len(stored) > 1_000


# -- the text ----------------------------------------------------------------------------------------------------------


def test_the_names_are_those_of_the_specification() -> None:
    """Every property that TLC checks stands in spec/ under the same name, or says what only this model has."""
    known = {*INVARIANTS, *STEP_PROPERTIES, *RELATIONS}
    checked = {*tla_whole.INVARIANTS, *tla_whole.STEP_PROPERTIES}
    assert checked - known == {"tables_fit"}
    unspoken = {"queue_order_is_total", "one_input_per_key", "counts_equal_rows", "index_equals_rows", "log_has_no_gap"}
    unspoken |= {"order_is_kept", "batch_is_a_prefix", "epoch_never_falls"}
    unspoken |= {"handed_out_run_is_current", "nothing_before_its_commit"}
    assert known - checked == unspoken


def test_every_command_and_kind_is_met() -> None:
    """The shipped configurations together give every command, and one of them sends every kind."""
    given = {command for bounds in CONFIGURATIONS.values() for command in bounds.commands}
    assert {*given, "open"} == set(COMMANDS)
    assert any(set(bounds.kinds) == set(KINDS) for bounds in CONFIGURATIONS.values())


def test_a_store_that_nobody_opened_is_no_state() -> None:
    """And a function from 1 on, which TLC prints as a tuple, is read as what it is."""
    row = {"state": "queued", "attempt_count": 3, "error": None}
    runtime = {"state": "idle"}
    assert tla_whole.projection({"rt": {"state": "initializing"}, "in": (), "receipts": frozenset()}) is None
    by_tuple = tla_whole.projection({"rt": runtime, "in": (row,), "receipts": frozenset()})
    assert by_tuple == tla_whole.projection({"rt": runtime, "in": {1: row}, "receipts": frozenset()})
    assert "attempt_count" not in repr(by_tuple)
