"""The seeded set: every broken table, and every broken protocol, is noticed by TLC and by the explorer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve

from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE, Machine, SpecError
from holdstate.tools.explorer import Explorer, Limits, Verdict
from holdstate.tools.explorer_outcomes import FATES, Fate, WholeBounds
from holdstate.tools.explorer_whole import Whole
from holdstate.tools.mutation import Tables, installed, replaced
from holdstate.tools.tla_whole import WHOLE, configuration, whole_files
from holdstate.tools.tlc import TlcReport, TlcVerdict

from .broken_protocols import CONTESTED, FAULTY, PLANTED, Planted
from .broken_tables import BROKEN, EVENT, REPLACING, Broken, Sort

pytestmark = pytest.mark.usefixtures("untraced")

Tlc = Callable[..., TlcReport]
AT_ONCE: Final = 2
"""Checkers at the same time."""


def _named(broken: Broken | Planted) -> str:
    return broken.broken


def _files(broken: Broken | Planted) -> dict[str, str]:
    files = whole_files(broken.tables if isinstance(broken, Broken) else None)
    if isinstance(broken, Planted):
        assert files["whole.tla"].count(broken.text) == 1, broken.text
        files["whole.tla"] = files["whole.tla"].replace(broken.text, broken.by)
    return {**files, "bounds.cfg": configuration(broken.configuration)}


@pytest.fixture(scope="module")
def checked(tlc: Tlc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[TlcReport]]]:
    """What TLC says of each, as it comes."""

    def run(folder: Path) -> TlcReport:
        return tlc(folder, WHOLE, "bounds")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {}
        for broken in (*BROKEN, *PLANTED):
            folder = tmp_path_factory.mktemp("broken")
            for name, text in _files(broken).items():
                (folder / name).write_text(text, encoding="utf-8")
            futures[broken.broken] = pool.submit(run, folder)
        yield futures
        for each in futures.values():
            each.cancel()


def _problems(bounds: WholeBounds, fates: Sequence[Fate] = FATES) -> tuple[str, ...]:
    """What the explorer says is wrong."""
    report = Explorer(Whole(evolve(bounds, symmetry=bounds.runs is None), fates)).run(Limits(states=20_000))
    assert report.verdict is not Verdict.UNDECIDED
    return () if report.violation is None else report.violation.problems


def _judge(broken: Broken | Planted, problems: Sequence[str], report: TlcReport) -> None:
    print(f"{broken.sort} | {broken.broken} | TLC: {report.problem} | explorer: {'; '.join(problems)[:80]}")
    assert report.verdict is not TlcVerdict.OK
    assert broken.tlc in str(report.problem)
    assert len(report.trace) > 1
    assert any(problem.startswith(broken.explorer) for problem in problems), problems


@pytest.mark.parametrize("broken", BROKEN, ids=_named)
def test_a_broken_table_is_noticed_by_both(broken: Broken, checked: dict[str, Future[TlcReport]]) -> None:
    """A table with one thing wrong breaks the property that speaks of it, in TLC and in the explorer."""
    tables = broken.tables
    with installed(Tables(inputs=tables.inputs, runtimes=tables.runtimes, commands=dict(tables.commands))):
        problems = _problems(broken.explored)
    _judge(broken, problems, checked[broken.broken].result())


@pytest.mark.parametrize("planted", PLANTED, ids=_named)
def test_a_broken_protocol_is_noticed_by_both(planted: Planted, checked: dict[str, Future[TlcReport]]) -> None:
    """The fence, the answer, memory, recovery and the store, each wrong in one place of the module and of the code."""
    with replaced(*planted.changes):
        problems = _problems(planted.bounds, planted.fates)
    _judge(planted, problems, checked[planted.broken].result())


@pytest.mark.parametrize("bounds", [EVENT, REPLACING, FAULTY, CONTESTED])
def test_nothing_is_noticed_where_nothing_is_broken(bounds: WholeBounds) -> None:
    """The explorer is content with the shipped tables within the bounds of the controls; of TLC the test of the whole
    shows it.
    """
    assert _problems(bounds) == ()


def test_every_sort_of_mistake_is_in_the_set() -> None:
    """Rows, targets, assignments, guards, rules, the fence, the answer, memory, recovery, the store."""
    assert {broken.sort for broken in (*BROKEN, *PLANTED)} == set(Sort)
    names = [broken.broken for broken in (*BROKEN, *PLANTED)]
    assert len(set(names)) == len(names)


def test_swapped_assignments_of_a_row_do_not_come_about() -> None:
    """Why the swapped ones are of two rows each: within a row no two assignments have the same type, and a machine that
    is given the value of another type is refused.
    """
    tried = 0
    machines: tuple[Machine[Any, Any], ...] = (INPUT_LIFECYCLE, RUNTIME_STATE)
    for machine in machines:
        for number, row in enumerate(machine.transitions):
            sets = dict(row.sets)
            for one, other in combinations(sets, 2):
                if sets[one] == sets[other]:
                    continue
                swapped = evolve(row, sets={**sets, one: sets[other], other: sets[one]})
                rows = (*machine.transitions[:number], swapped, *machine.transitions[number + 1 :])
                with pytest.raises(SpecError):
                    evolve(machine, transitions=rows)
                tried += 1
    assert tried > 0
