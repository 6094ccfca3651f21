"""Coverage: what is counted, what is rare, and what it says."""

from __future__ import annotations

import attrs
import pytest

from holdstate.tools.harness import Coverage, Move, collected, coverage_of
from holdstate.tools.harness.coverage import MOST_TOLD, edges_of, lines_of, merged, pairs_of
from holdstate.tools.harness.player import Player

from .shop import ORDER, Event, Order, Shop

TAG = Move(Event.TAG, {"tag": "a"})
CRASH = Move(None)


@pytest.fixture
def coverage() -> Coverage:
    """Of a machine of its own, played twice over."""
    machine = attrs.evolve(ORDER, name="counted")
    for moves in ([TAG, TAG, CRASH, TAG], [TAG, Move(Event.CANCEL)]):
        player = Player(machine, Shop)
        player.start()
        for move in moves:
            player.play(move)
        player.close()
    return coverage_of(machine)


def test_rows_pairs_refusals_and_crashes_are_counted(coverage: Coverage) -> None:
    """By source state; what came before a crash makes no pair with what came after it."""
    assert {(edge.row, edge.source): count for edge, count in coverage.edges.items()} == {
        (1, Order.CART): 2,
        (1, Order.PAID): 2,
    }
    assert {(one.source, two.source): count for (one, two), count in coverage.pairs.items()} == {
        (Order.CART, Order.PAID): 1
    }
    assert dict(coverage.refused) == {("paid", "cancel"): 1}
    assert dict(coverage.states) == {"cart": 2, "paid": 4}
    assert coverage.crashes == 1


def test_what_there_is_to_take_is_the_table_whole(coverage: Coverage) -> None:
    """Rows by source state, pairs that meet in a state, pairs of state and event that something can refuse."""
    assert len(edges_of(ORDER)) == sum(len(row.source) for row in ORDER.transitions)
    assert all(one.target is two.source for one, two in pairs_of(ORDER))
    facts = coverage.as_dict()
    assert facts["refusals"] == {"taken": 1, "of": len(Order) * len(Event) - 1}  # a cart can always be cancelled
    assert facts["transitions"] == {"taken": 2, "of": len(edges_of(ORDER))}
    assert len(facts["never_taken"]) == len(edges_of(ORDER)) - 2
    assert len(facts["pairs_never_taken"]) == len(pairs_of(ORDER)) - 1
    assert len(facts["never_refused"]) == facts["refusals"]["of"] - 1
    assert "pay in shipped" in facts["never_refused"]
    assert "cancel in paid" not in facts["never_refused"]


def test_rare_states_come_with_their_visits_the_rarest_first(coverage: Coverage) -> None:
    """Those that were never reached, and those below a part of all visits."""
    assert coverage.rare_states() == (("shipped", 0), ("cancelled", 0))
    assert coverage.rare_states(0.4) == (("shipped", 0), ("cancelled", 0), ("cart", 2))
    lines = list(coverage.lines())
    assert lines[0].startswith("counted: 2 of 6 transitions, 1 of ")
    assert lines[0].endswith("; 4 steps, 1 refused, 1 crashes")
    assert "  never taken: paid --ship--> shipped (row 3)" in lines
    assert "  rare state: shipped (0 visits)" in lines
    assert f"  never refused: {len(Order) * len(Event) - 2 - MOST_TOLD} more, which the JSON file lists" in lines


def test_what_was_played_is_collected_by_machine(coverage: Coverage) -> None:
    """By name; two machines of one name are two."""
    assert coverage in collected()
    names = [each.machine.name for each in collected()]
    assert names == sorted(names)
    assert coverage_of(attrs.evolve(ORDER, name="counted")) is not coverage


def test_what_several_processes_took_adds_up(coverage: Coverage) -> None:
    """Counts are summed, what is missing is missing in all, and machines of one name that differ stay apart."""
    other = attrs.evolve(ORDER, name="counted")
    player = Player(other, Shop)
    player.start()
    player.play(Move(Event.CANCEL))
    player.close()
    one, two = coverage.as_dict(), coverage_of(other).as_dict()
    (both,) = merged([one, two])
    assert both["steps"] == one["steps"] + two["steps"]
    assert both["states"] == {"cart": 3, "paid": 4, "shipped": 0, "cancelled": 1}
    assert both["taken"] == {**one["taken"], **two["taken"]}
    assert both["transitions"] == {"taken": 3, "of": one["transitions"]["of"]}
    assert both["never_taken"] == [edge for edge in one["never_taken"] if edge in two["never_taken"]]
    assert both["refusals"]["taken"] == 1
    assert both["rare_states"] == ["shipped"]
    assert len(merged([one, {**two, "tables": "others"}])) == 2
    assert list(lines_of(one)) == list(coverage.lines())
