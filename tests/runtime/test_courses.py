"""What the tables made of one new input is kept for the next one like it: nobody can tell it from asking them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from holdstate.runtime import admission, core
from holdstate.runtime import commands as c
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.inputs import Input, OperationInput
from holdstate.runtime.outcomes import Accepted
from holdstate.runtime.stepper import Stepper
from holdstate.spec.commands import COMMANDS, CommandRow, Rule, Selection, Send
from holdstate.spec.expressions import const, field, param
from holdstate.spec.input_lifecycle import INPUT_LIFECYCLE
from holdstate.spec.vocabulary import CommandName, Durability, EventCode, InputEvent, InputState, RuntimeEvent

from .cores import Core, event, prompt

ACCEPT = COMMANDS[CommandName.ACCEPT]


def watch(monkeypatch: pytest.MonkeyPatch) -> list[Stepper]:
    """Who asks the tables from now on."""
    asked: list[Stepper] = []
    send = Stepper.send

    def noted(stepper: Stepper, *named: Any) -> None:
        asked.append(stepper)
        send(stepper, *named)

    monkeypatch.setattr(Stepper, "send", noted)
    return asked


@pytest.fixture(autouse=True)
def asked_again(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """No course is known yet."""
    courses: dict[Any, Any] = {}
    monkeypatch.setattr(admission, "_courses", courses)
    return courses


GIVEN: dict[str, Callable[[], Input]] = {
    "prompt": prompt,
    "with a key": lambda: event(idempotency_key="k"),
    "ephemeral": lambda: event(durability=Durability.EPHEMERAL),
    "consumed on accept": lambda: OperationInput.new("o", {}),
}


@pytest.mark.parametrize("before", ["idle", "running"])
@pytest.mark.parametrize("kind", GIVEN)
def test_a_kept_course_gives_what_the_tables_give(
    monkeypatch: pytest.MonkeyPatch, asked_again: dict[Any, Any], kind: str, before: str
) -> None:
    """The same delta to the last field: records, counts, announcements, signals, outcome."""
    runtime = Core()
    runtime.accept(event())
    if before == "running":
        runtime.begin()
    asked = watch(monkeypatch)
    asked_again.clear()
    given = GIVEN[kind]()
    command = runtime.accept_command(given)
    first = core.step(runtime.image, command, runtime.settings)
    kept = core.step(runtime.image, command, runtime.settings)
    assert len(asked) == 1, "the second one did not ask the tables"
    assert kept == first
    assert isinstance(first.outcome, Accepted)
    assert len(asked_again) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda row: evolve(row, announces=(EventCode.INPUT_ACCEPTED,)),
        lambda row: evolve(row, sends=(RuntimeEvent.RETIRE,)),
        lambda row: evolve(row, commits=frozenset()),
        lambda row: _with_rule(row, when=field("attempt_count").eq(0)),
        lambda row: _with_rule(row, when=param("by").is_some()),
        lambda row: _with_rule(row, sends=(Send(InputEvent.QUEUE), Send(InputEvent.STAGE))),
        lambda row: _with_rule(row, sends=(Send(InputEvent.QUEUE, {"by": const(None)}),)),
        lambda row: _with_rule(row, then=(Rule((InputState.QUEUED,), (Send(InputEvent.COALESCE),)),)),
    ],
)
def test_a_row_that_looks_at_more_is_asked_each_time(change: Callable[[CommandRow], CommandRow]) -> None:
    """Nothing is kept where another new input could take another course."""
    assert admission._is_same_for_all(ACCEPT, INPUT_LIFECYCLE.compile())
    assert not admission._is_same_for_all(change(ACCEPT), INPUT_LIFECYCLE.compile())


def test_nothing_is_kept_of_a_row_that_looks_at_more(
    monkeypatch: pytest.MonkeyPatch, asked_again: dict[Any, Any]
) -> None:
    """Each input is sent through the tables."""
    careful = _with_rule(ACCEPT, when=field("attempt_count").eq(0))
    monkeypatch.setattr(core, "COMMANDS", {**COMMANDS, CommandName.ACCEPT: careful})
    runtime, asked = Core(), watch(monkeypatch)
    runtime.accept(event())
    runtime.accept(event())
    assert len(asked) == 2
    assert asked_again == {}


def _with_rule(row: CommandRow, **changes: Any) -> CommandRow:
    new, *others = row.inputs
    assert new.select is Selection.NEW
    rule = evolve(Rule((InputState.ACCEPTED,), (Send(InputEvent.QUEUE),)), **changes)
    return evolve(row, inputs=(evolve(new, rules=(rule,)), *others))


def test_another_table_is_another_course(monkeypatch: pytest.MonkeyPatch) -> None:
    """A course belongs to the tables that made it."""
    runtime = Core()
    runtime.accept(event())
    monkeypatch.setattr(core, "COMMANDS", {**COMMANDS, CommandName.ACCEPT: evolve(ACCEPT, doc="another row")})
    asked = watch(monkeypatch)
    runtime.accept(event())
    assert len(asked) == 1


def test_few_courses_are_kept(asked_again: dict[Any, Any]) -> None:
    """Settings without number do not fill memory."""
    for number in range(200):
        runtime = Core(RuntimeSettings(max_history=number + 1))
        runtime.accept(event())
        runtime.do(c.Retire(runtime.at))
    assert 0 < len(asked_again) <= admission._KEPT_COURSES
