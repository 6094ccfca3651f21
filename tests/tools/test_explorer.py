"""The engine: what it visits, when it stops, what it calls wrong, and that it can be gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from holdstate.tools.explorer import Explorer, Limits, Progress, Report, Verdict
from holdstate.tools.explorer_file import CannotResume, resume, save
from holdstate.tools.explorer_machine import MachineModel
from holdstate.tools.explorer_outcomes import WholeBounds
from holdstate.tools.explorer_whole import Whole

from .explored import COUNTER, ENDLESS, ORDER, Counter

NO_LIMITS = Limits()


def test_every_state_is_visited_once() -> None:
    """Ten numbers, each reached by one or two moves; the longest shortest way has five."""
    report = Explorer(COUNTER).run(NO_LIMITS)
    assert (report.verdict, report.states, report.transitions, report.depth) == (Verdict.OK, 10, 17, 5)


def test_a_broken_invariant_comes_with_a_shortest_trace() -> None:
    """Five is three moves away."""
    report = Explorer(Counter(wrong=5)).run(NO_LIMITS)
    assert report.violation is not None
    assert report.violation.problems == ("never: it is that",)
    assert len(report.violation.trace) == 4
    assert report.violation.trace[0].action == ""
    assert report.violation.trace[-1].state == {"at": 5}


def test_an_initial_state_can_be_wrong() -> None:
    """The trace is that state alone."""
    report = Explorer(Counter(wrong=0)).run(NO_LIMITS)
    assert report.violation is not None
    assert [step.state for step in report.violation.trace] == [{"at": 0}]


def test_a_trap_breaks_progress() -> None:
    """From three nothing leads on: some way of taking the moves gets past it, not every way."""
    can, must = (Explorer(Counter(trap=3, progress=progress)).run(NO_LIMITS) for progress in Progress)
    assert can.violation is not None
    assert can.violation.trace[-1].state == {"at": 3}
    assert must.violation is not None
    assert must.violation.trace[-1].state == {"at": 0}
    assert must.violation.problems[0].startswith("progress: ")


def test_going_round_in_circles_is_no_progress_where_every_way_has_to_end() -> None:
    """Up and down for ever never ends, though it always could."""
    can, must = (Explorer(Counter(returns=True, progress=progress)).run(NO_LIMITS) for progress in Progress)
    assert (can.verdict, must.verdict) == (Verdict.OK, Verdict.VIOLATED)
    assert Explorer(Counter(progress=Progress.MUST_SETTLE)).run(NO_LIMITS).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("limits", "said"),
    [(Limits(states=100), "100 states"), (Limits(depth=7), "depth 7"), (Limits(memory_mib=1), "1 MiB")],
)
def test_a_limit_leaves_it_undecided(limits: Limits, said: str) -> None:
    """Never ok, although nothing wrong was seen; what waits is counted."""
    report = Explorer(ENDLESS).run(limits)
    assert report.verdict is Verdict.UNDECIDED
    assert report.limit is not None
    assert report.limit.startswith(said)
    assert report.waiting > 0


def test_a_depth_that_is_not_reached_is_no_limit() -> None:
    """All there is lies within five moves."""
    assert Explorer(COUNTER).run(Limits(depth=6)).verdict is Verdict.OK
    report = Explorer(COUNTER).run(Limits(depth=3))
    assert (report.verdict, report.states, report.depth) == (Verdict.UNDECIDED, 7, 2)


def test_the_watcher_hears_of_it() -> None:
    """Now and then, with what was found so far."""
    heard: list[Report] = []
    Explorer(ENDLESS).run(Limits(states=5000), heard.append)
    assert len(heard) > 2
    assert heard[-1].states > heard[0].states


def test_an_interrupted_expansion_is_taken_back_and_done_again() -> None:
    """What was found by half of the moves of a state would not be checked otherwise."""
    failing = Explorer(Counter(wrong=None))
    failing.run(Limits(states=4))
    before = (list(failing.graph.states), len(failing.graph.helpful), failing.graph.expanded)

    model = failing.model
    failing.model = Interrupting(failing.graph.expanded)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        failing.run(NO_LIMITS)
    assert (failing.graph.states, len(failing.graph.helpful), failing.graph.expanded) == before
    failing.model = model
    assert failing.run(NO_LIMITS).states == 10


class Interrupting:
    """Is interrupted while the states that were found are checked."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __getattr__(self, name: str) -> object:
        return getattr(COUNTER, name)

    def problems(self, state: int) -> tuple[str, ...]:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "bounds",
    [
        WholeBounds(kinds=("event",), runs=1, crashes=1),
        # A state of two drivers is a number of more than 64 bits.
        WholeBounds(kinds=("event",), runs=1, crashes=1, openers=2, faults=False),
    ],
    ids=["one", "two"],
)
def test_what_was_kept_is_gone_on_with(tmp_path: Path, bounds: WholeBounds) -> None:
    """The same states, transitions and depth as in one go, in the same order, with several drivers too."""
    whole = Explorer(Whole(bounds))
    at_once = whole.run(NO_LIMITS)
    assert at_once.verdict is Verdict.OK
    first = Explorer(Whole(bounds))
    assert first.run(Limits(states=1000)).verdict is Verdict.UNDECIDED
    save(tmp_path / "kept", first.model, first.graph)
    model = Whole(bounds)
    again = Explorer(model, resume(tmp_path / "kept", model))
    report = again.run(NO_LIMITS)
    assert (report.verdict, report.states, report.transitions, report.depth) == (
        at_once.verdict,
        at_once.states,
        at_once.transitions,
        at_once.depth,
    )
    shown = [[each.model.show(state) for state in each.graph.states[::50]] for each in (whole, again)]
    assert shown[0] == shown[1]


def test_a_kept_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Other bounds, another model, damage, and what never was one; the file is left as it is."""
    path = tmp_path / "kept"
    explorer = Explorer(COUNTER)
    explorer.run(Limits(states=3))
    save(path, COUNTER, explorer.graph)
    content = path.read_bytes()
    for model in (evolve(COUNTER, most=3), evolve(COUNTER, name="other")):
        with pytest.raises(CannotResume, match="start anew"):
            resume(path, model)
    with pytest.raises(CannotResume, match="its model: counter, asked for: other; start anew"):
        resume(path, evolve(COUNTER, name="other"))
    changed = evolve(ORDER, transitions=ORDER.transitions[:-1])
    save(path, MachineModel(ORDER), Explorer(MachineModel(ORDER)).graph)
    with pytest.raises(CannotResume, match="the machine has changed since, its tables are others; start anew"):
        resume(path, MachineModel(changed))
    path.write_bytes(content)
    for damaged in (content[:-9], b"", b"something else"):
        path.write_bytes(damaged)
        with pytest.raises(CannotResume, match="it is no saved exploration"):
            resume(path, COUNTER)
