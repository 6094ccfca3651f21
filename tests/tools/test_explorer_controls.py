"""Controls: a bug that is planted in the whole has to be found, with a trace that leads to it."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime import core, recovery, stepper
from holdstate.runtime.actor import Actor
from holdstate.runtime.store import Claim, Commit
from holdstate.runtime.turn import Member
from holdstate.spec.commands import COMMANDS, CommandRow
from holdstate.spec.expressions import TRUE
from holdstate.spec.input_lifecycle import INPUT_LIFECYCLE
from holdstate.spec.machine import Machine, Transition
from holdstate.spec.vocabulary import CommandName, InputEvent, InputState
from holdstate.stores.memory_tables import Tables
from holdstate.tools.explorer import Explorer, Limits, Report, Verdict
from holdstate.tools.explorer_outcomes import FATES, Fate, WholeBounds
from holdstate.tools.explorer_whole import Whole

pytestmark = pytest.mark.usefixtures("untraced")

Patch = pytest.MonkeyPatch

SMALL = WholeBounds(inputs=1, kinds=("prompt",), openers=1, boundaries=1, empty_receipts=0, faults=False)
FAULTY = evolve(SMALL, faults=True)
CONTESTED = evolve(SMALL, openers=2)


def _explore(bounds: WholeBounds, fates: tuple[Fate, ...] = FATES) -> Report:
    return Explorer(Whole(bounds, fates)).run(Limits(states=20_000))


def _with_command(patch: Patch, name: CommandName, change: Callable[[CommandRow], CommandRow]) -> None:
    patch.setattr(core, "COMMANDS", MappingProxyType({**COMMANDS, name: change(COMMANDS[name])}))


def _remade(rows: tuple[Transition[InputState, InputEvent], ...]) -> Machine[InputState, InputEvent]:
    whole = INPUT_LIFECYCLE
    return Machine(
        name=whole.name,
        states=whole.states,
        initial=whole.initial,
        terminal=whole.terminal,
        fields=whole.fields,
        events=whole.events,
        transitions=rows,
    )


def _with_row(patch: Patch, event: InputEvent, **changes: Any) -> None:
    def changed(row: Transition[InputState, InputEvent]) -> Transition[InputState, InputEvent]:
        given = {"guard": row.guard, "sets": dict(row.sets), "emits": row.emits, **changes}
        return Transition(row.event, row.source, row.target, **given)

    rows = tuple(changed(row) if row.event is event else row for row in INPUT_LIFECYCLE.transitions)
    patch.setattr(stepper, "INPUTS", _remade(rows).compile())


def _a_failure_is_not_counted(patch: Patch) -> None:
    """A broken table: rollback_failed leaves the count as it was, so an input fails for ever."""
    _with_row(patch, InputEvent.ROLLBACK_FAILED, sets={})


def _a_cap_is_not_looked_at(patch: Patch) -> None:
    """A broken table: the guard of rollback_failed is gone, and what a failure does at the cap too."""
    _with_row(patch, InputEvent.ROLLBACK_FAILED, guard=TRUE)
    group = COMMANDS[CommandName.RUN_FAILED].inputs[0]
    rules = tuple(rule for rule in group.rules if rule.sends[0].event is not InputEvent.EXHAUST)
    _with_command(patch, CommandName.RUN_FAILED, lambda row: evolve(row, inputs=(evolve(group, rules=rules),)))


def _stop_forgets_what_is_staged(patch: Patch) -> None:
    """A broken table: stop gives up what is queued only."""
    group = COMMANDS[CommandName.STOP].inputs[0]
    rules = tuple(
        evolve(rule, states=tuple(each for each in rule.states if each is not InputState.STAGED))
        for rule in group.rules
    )
    _with_command(patch, CommandName.STOP, lambda row: evolve(row, inputs=(evolve(group, rules=rules),)))


def _recovery_leaves_staged_inputs(patch: Patch) -> None:
    """A dropped recovery row: an open leaves what was staged."""
    group = COMMANDS[CommandName.OPEN].inputs[0]
    rules = tuple(rule for rule in group.rules if InputState.STAGED not in rule.states)
    _with_command(patch, CommandName.OPEN, lambda row: evolve(row, inputs=(evolve(group, rules=rules),)))


def _recovery_ignores_receipts(patch: Patch) -> None:
    """A dropped fact: recovery takes no notice of the boundary that was committed."""
    patch.setattr(recovery, "_identity", lambda *_: {"consumes_on_accept": False, "receipt_lists": False})


def _a_refused_commit_stays_in_memory(patch: Patch) -> None:
    """A commit that is applied before it is known to have landed, and never taken back."""
    patch.setattr(Member, "undo", lambda _: None)


def _a_doubt_is_forgotten(patch: Patch) -> None:
    """A commit of unknown result is taken for one that did not land."""

    def compare(actor: Actor, turn: object, generation: int) -> None:
        actor.doubt, actor.generation = None, generation

    patch.setattr(Actor, "_compare", compare)


def _nobody_is_fenced(patch: Patch) -> None:
    """The lost fence: a commit is let in whatever epoch and revision it builds on."""

    def decide(tables: Tables, member: Commit | Claim) -> Commit:
        return tables._settle(member) if isinstance(member, Claim) else member

    patch.setattr(Tables, "decide", decide)


def _half_a_commit_is_written(patch: Patch) -> None:
    """A commit that is not atomic: the receipt is lost."""
    write = Tables.write

    def torn(tables: Tables, commit: Commit, undo: object) -> None:
        commit.receipts.clear()
        write(tables, commit, undo)  # type: ignore[arg-type]

    patch.setattr(Tables, "write", torn)


PLANTED = (
    (_a_failure_is_not_counted, FAULTY, "progress"),
    (_a_cap_is_not_looked_at, SMALL, "attempts_are_bounded"),
    (_stop_forgets_what_is_staged, SMALL, "terminal_runtime_has_no_active_inputs"),
    (_recovery_leaves_staged_inputs, SMALL, "in_flight_belongs_to_current_run"),
    (_recovery_ignores_receipts, SMALL, "receipt_is_accounted_for"),
    (_a_refused_commit_stays_in_memory, FAULTY, "refusal_changes_nothing"),
    (_a_doubt_is_forgotten, FAULTY, "memory_equals_store"),
    (_nobody_is_fenced, CONTESTED, "older_openers_change_nothing"),
    (_half_a_commit_is_written, SMALL, "counts_equal_rows"),
)


@pytest.mark.parametrize(
    ("plant", "bounds", "name"), PLANTED, ids=[plant.__name__.strip("_") for plant, _, _ in PLANTED]
)
def test_a_planted_bug_is_found(
    plant: Callable[[Patch], None], bounds: WholeBounds, name: str, monkeypatch: Patch
) -> None:
    """The verdict is a violation, the property is named, and the trace starts with nothing stored."""
    plant(monkeypatch)
    report = _explore(bounds)
    assert report.verdict is Verdict.VIOLATED
    assert report.violation is not None
    assert any(problem.startswith(name) for problem in report.violation.problems), report.violation.problems
    assert report.violation.trace[0].state["store"] is None


def test_an_answer_before_its_commit_is_found() -> None:
    """C18: where the caller is told and the process dies before the commit, an acknowledged input is lost."""
    early = Fate("told, then crash before its commit", lands=False, memory=None, answered=True, is_crash=True)
    report = _explore(SMALL, (*FATES, early))
    assert report.violation is not None
    assert report.violation.problems[0].startswith("acked_is_durable")
    assert [step.action for step in report.violation.trace] == [
        "",
        "open",
        "accept prompt 1: told, then crash before its commit",
    ]


def test_without_a_planted_bug_nothing_is_found() -> None:
    """The controls show something only because these bounds are clean."""
    assert _explore(SMALL).verdict is Verdict.OK
