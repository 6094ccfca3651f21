"""The random test of a machine against a system: every kind of bug is found, shrunk, written and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import TestCase

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from holdstate.spec import Machine, SpecError, TransitionRefused
from holdstate.tools.harness import Broken, Moment, coverage_of, machine_harness, pair_cover
from holdstate.tools.harness.machine_tests import FAILURES_VARIABLE, failures_folder
from holdstate.tools.harness.player import Player
from holdstate.tools.harness.replay import read_replay

from .shop import BUGS, ORDER, AsyncShop, Event, Generous, Order, Shop, Speed, nobody_pays_much, paid_is_shown

QUICK = settings(derandomize=True, database=None, deadline=None, stateful_step_count=30)

TestShop = machine_harness(ORDER, Shop, invariants=[paid_is_shown], settings=settings(QUICK, max_examples=30)).TestCase
TestAsyncShop = machine_harness(ORDER, AsyncShop, settings=settings(QUICK, max_examples=15)).TestCase


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where failures go."""
    monkeypatch.setenv(FAILURES_VARIABLE, str(tmp_path / "failures"))
    return tmp_path / "failures"


def failure_of(test_case: type[TestCase]) -> Broken:
    with pytest.raises(Broken) as caught:
        test_case("runTest").debug()
    return caught.value


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: str(bug.__name__))
def test_every_kind_of_bug_is_found_and_shrunk(bug: Callable[[], Shop], folder: Path) -> None:
    """Each planted bug breaks the rule that it is about, in at most three moves, and is written as three files."""
    broken = failure_of(machine_harness(ORDER, bug, settings=QUICK).TestCase)
    assert BUGS[bug] in broken.rule
    assert len(broken.moves) <= 3
    assert sorted(path.name for path in folder.iterdir()) == ["order.html", "order.itf.json", "order.replay.json"]
    written = read_replay(folder / "order.replay.json")
    assert written.rule == broken.rule
    assert len(written.moves) <= len(broken.moves)
    assert len(written.trace.steps) == len(written.moves) + 1
    assert written.trace.steps[0].action == "initial state"
    if bug is Generous:
        assert [(move.event, move.params["amount"]) for move in broken.moves] == [(Event.PAY, 1), (Event.REFUND, 2)]
        assert "guard not met: amount <= paid" in broken.problem
    notes = "\n".join(broken.__notes__)
    assert f"replay it: holdstate test replay {folder / 'order.replay.json'}" in notes
    assert f"broken: {broken.rule}" in notes


def test_an_invariant_is_checked_after_every_step() -> None:
    """It may return False, a text, or assert; its name is the rule."""
    shown = failure_of(machine_harness(ORDER, Shop, invariants=[nobody_pays_much], settings=QUICK).TestCase)
    assert (shown.rule, shown.problem) == ("invariant nobody_pays_much", "it does not hold")

    def told(moment: Moment) -> str | None:
        return "it shipped" if moment.state is Order.SHIPPED else None

    def asserted(moment: Moment) -> None:
        assert moment.state is not Order.CANCELLED, "it was cancelled"

    async def waited(moment: Moment) -> bool:
        return bool(moment.fields["tag"] == "")

    wanted = {told: "it shipped", asserted: "it was cancelled", waited: "it does not hold"}
    for invariant, problem in wanted.items():
        broken = failure_of(machine_harness(ORDER, Shop, invariants=[invariant], settings=QUICK).TestCase)
        assert broken.problem.startswith(problem)


def test_strategies_of_ones_own_are_the_only_source_of_a_parameter() -> None:
    """By parameter, or by event and parameter, which wins."""
    seen: set[tuple[str, Any]] = set()

    class Watching(Shop):
        def fire(self, event: str, params: Any) -> None:
            seen.update((event, params[name]) for name in ("amount", "speed") if name in params)
            super().fire(event, params)

    params = {"amount": st.just(7), "refund.amount": st.sampled_from([8, 9]), "speed": st.just(Speed.FAST)}
    machine_harness(ORDER, Watching, params=params, settings=settings(QUICK, max_examples=20)).TestCase(
        "runTest"
    ).debug()
    assert seen == {("pay", 7), ("refund", 8), ("refund", 9), ("ship", Speed.FAST)}


def test_a_strategy_for_a_parameter_that_nobody_declares_is_refused() -> None:
    """The error names it."""
    with pytest.raises(SpecError, match="price"):
        machine_harness(ORDER, Shop, params={"price": st.just(1)})


def test_values_of_a_wrong_type_are_a_mistake_of_the_test() -> None:
    """SpecError, not a failure of the system."""
    harness = machine_harness(ORDER, Shop, params={"amount": st.just("7")}, settings=QUICK)
    with pytest.raises(SpecError, match="amount"):
        harness.TestCase("runTest").debug()


def test_random_play_takes_all_that_can_be_taken() -> None:
    """Rows, refusals, and the pairs of rows but for one: a tag pays nothing, so that there is nobody to refund."""
    machine = Machine(
        name="covered",
        states=Order,
        initial=ORDER.initial,
        terminal=ORDER.terminal,
        fields=ORDER.fields,
        events=ORDER.events,
        transitions=ORDER.transitions,
    )
    machine_harness(machine, Shop, settings=settings(QUICK, max_examples=60)).TestCase("runTest").debug()
    facts = coverage_of(machine).as_dict()
    for what in ("transitions", "refusals"):
        assert facts[what]["taken"] == facts[what]["of"], (what, facts)
    assert facts["pairs_never_taken"] == list(pair_cover(machine).missing)
    assert facts["pairs_never_taken"] == ["cart --tag--> paid (row 2) then paid --refund--> cancelled (row 5)"]
    assert facts["crashes"] > 0


def test_what_a_restart_brings_back_may_differ_from_what_was() -> None:
    """``after_crash`` says what: here nothing paid is kept, and the cart comes back."""

    class Memoryless(Shop):
        def restart(self) -> None:
            self.start()

        def after_crash(self, state: Order, fields: dict[str, object]) -> tuple[Order, dict[str, object]]:
            assert state in Order
            return Order.CART, {name: ORDER.compile().initial_fields()[name] for name in fields}

    machine_harness(ORDER, Memoryless, settings=settings(QUICK, max_examples=20)).TestCase("runTest").debug()


def test_an_adapter_that_cannot_crash_is_never_crashed() -> None:
    """And one is stopped after each example, awaited where it is async."""
    made: list[AsyncShop] = []

    def new_adapter() -> AsyncShop:
        made.append(AsyncShop())
        return made[-1]

    machine_harness(ORDER, new_adapter, settings=settings(QUICK, max_examples=5)).TestCase("runTest").debug()
    assert made
    assert all(each.stopped for each in made)
    player = Player(ORDER, Shop)
    player.start()
    assert player.can_crash()
    player.close()


def test_table_refusals_are_refusals_where_an_adapter_names_none() -> None:
    """TransitionRefused is the default, so that a system that runs a table needs no words of its own."""

    class Plain:
        def start(self) -> None:
            self.now = ORDER.initial

        def state(self) -> object:
            return self.now

        def fire(self, event: str, params: Any) -> None:
            raise TransitionRefused("order", self.now, event, "it refuses everything")

    broken = failure_of(machine_harness(ORDER, Plain, settings=QUICK).TestCase)
    assert broken.rule == "the system refused an event of the table"


def test_failures_go_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else into a folder of that name in the current one."""
    monkeypatch.delenv(FAILURES_VARIABLE)
    assert failures_folder() == Path(".holdstate-failures")


class Transparent(Shop):
    """It shows what is in memory and what is stored too. It forgets what it ships."""

    def ship(self, *, speed: Speed, insured: bool) -> None:
        super().ship(speed=speed, insured=insured)
        self.row["state"] = Order.PAID

    def panes(self) -> dict[str, dict[str, Any]]:
        return {"memory": dict(self.row), "store": dict(self.stored), "system": {"state": "never shown"}}


def test_what_an_adapter_shows_besides_is_in_the_trace() -> None:
    """By its panes, after those that are compared, which it cannot replace; nothing of it is compared."""
    trace = failure_of(machine_harness(ORDER, Transparent, settings=QUICK).TestCase).trace
    assert {tuple(step.panes) for step in trace.steps} == {("machine", "system", "memory", "store")}
    last = trace.steps[-1].panes
    assert (last["machine"]["state"], last["system"]["state"]) == ("shipped", "paid")
    assert (last["memory"]["state"], last["store"]["state"]) == ("paid", "paid")
