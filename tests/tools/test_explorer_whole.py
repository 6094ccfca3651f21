"""The whole: the shipped tables, core, recovery and memory store have no fault within the bounds that CI explores."""

from __future__ import annotations

import pytest
from attrs import evolve

from holdstate.runtime.inputs import Input
from holdstate.spec.policy import DEFAULT_POLICY, Policy
from holdstate.spec.vocabulary import HandlingMode, InputKind, RoutingDisposition
from holdstate.tools.explorer import Explorer, Limits, Report, Verdict
from holdstate.tools.explorer_kinds import KINDS, explored_policy
from holdstate.tools.explorer_outcomes import FATES, WholeBounds
from holdstate.tools.explorer_rows import as_json
from holdstate.tools.explorer_whole import Whole

pytestmark = pytest.mark.usefixtures("untraced")

FAULTY = WholeBounds(kinds=("prompt",), openers=2, runs=1)
ENDLESS = WholeBounds(kinds=("prompt",), openers=2, faults=False)
EVERY_KIND = WholeBounds(runs=1)
SMALL = WholeBounds(kinds=("prompt",), faults=False)
SHARED = evolve(SMALL, inputs=2, kinds=("event", "fleeting"), runs=1, crashes=0)
FORGOTTEN = evolve(SMALL, inputs=2, kinds=("fleeting",), runs=1, crashes=1)


def _explore(bounds: WholeBounds) -> Report:
    return Explorer(Whole(bounds)).run(Limits(states=1_000_000))


def test_the_whole_is_right_within_the_bounds_of_ci() -> None:
    """Over 200,000 states: two openers with every fault, two openers with any number of runs and crashes, and every
    kind of input with every fault.
    """
    reports = [_explore(bounds) for bounds in (FAULTY, ENDLESS, EVERY_KIND)]
    assert [report.verdict for report in reports] == [Verdict.OK] * 3, reports
    assert sum(report.states for report in reports) >= 200_000


@pytest.mark.parametrize(
    "bounds",
    [
        evolve(SMALL, backoff=True),
        evolve(SMALL, kinds=("steer",), max_attempts=1),
        evolve(SMALL, boundaries=2, empty_receipts=1, runs=1),
        evolve(SMALL, openers=2, crashes=1, runs=1),
        SHARED,
    ],
    ids=["backoff", "one attempt", "empty receipts", "a contested crash", "a shared batch"],
)
def test_other_bounds_are_right_too(bounds: WholeBounds) -> None:
    """Each turns something on that the larger ones leave out."""
    report = _explore(bounds)
    assert report.verdict is Verdict.OK
    assert report.states > 100


def test_an_exploration_is_deterministic() -> None:
    """The same states in the same order, and the same moves."""
    first, second = Explorer(Whole(SMALL)), Explorer(Whole(SMALL))
    for each in (first, second):
        each.run(Limits())
    assert first.graph.states == second.graph.states
    assert first.graph.ordinals == second.graph.ordinals
    last = first.graph.states[-1]
    assert first.model.show(last) == second.model.show(last)
    assert first.trace(len(first.graph.states) - 1) == second.trace(len(second.graph.states) - 1)


@pytest.mark.parametrize(("bounds", "exactly"), [(evolve(SMALL, runs=3, crashes=1), True), (FORGOTTEN, False)])
def test_states_that_differ_in_names_are_one_state(bounds: WholeBounds, exactly: bool) -> None:  # noqa: FBT001
    """Without symmetry there are more states; with their names closed up they are exactly those of the reduction. Where
    inputs are forgotten the reduction has more: a bound on those that are spoken of lets others come in their place.
    """
    reduced, plain = Whole(bounds), Whole(evolve(bounds, symmetry=False))
    one, other = Explorer(reduced), Explorer(plain)
    assert one.run(Limits()).verdict is other.run(Limits()).verdict is Verdict.OK
    closed = set()
    for state in other.graph.states:
        disk, drivers, runs, crashes = plain._states.unpack(state)
        disk = reduced._disks.number(plain._disks.rows[disk])
        memories = [reduced._memories.number(plain._memories.rows[memory]) for memory in drivers]
        closed.add(reduced._states.pack(disk, memories, runs, crashes))
    assert closed == set(one.graph.states) if exactly else closed < set(one.graph.states)
    assert len(other.graph.states) > len(closed)


def _class_of(policy: Policy, kind: InputKind, mode: HandlingMode | None) -> tuple[object, ...]:
    """What the core tells decisions apart by."""
    decision = policy.resolve(kind, mode, idle=True)
    is_steer = decision.route is RoutingDisposition.STEER
    return decision.consumes_on_accept, is_steer, decision.queue_mode, not is_steer and kind is InputKind.PROMPT


def test_every_class_of_decision_is_sent() -> None:
    """Each decision of the shipped policy has a kind that gets one of its class; the explored policy adds two."""
    stated: dict[InputKind, tuple[HandlingMode | None, ...]] = {
        InputKind.PROMPT: (None, *HandlingMode),
        InputKind.FLOW_STEP: (None, *HandlingMode),
        InputKind.EXTERNAL_EVENT: tuple(HandlingMode),
        InputKind.CONTINUATION: tuple(HandlingMode),
    }
    shipped = {_class_of(DEFAULT_POLICY, kind, mode) for kind in InputKind for mode in stated.get(kind, (None,))}
    inputs: list[Input] = [make(1) for make in KINDS.values()]
    sent = {_class_of(explored_policy(), given.kind, given.stated_handling_mode) for given in inputs}
    assert shipped <= sent
    assert len(sent) == len(shipped) + 2


def test_every_fate_has_a_name_of_its_own() -> None:
    """A trace says what became of each commit."""
    assert len({fate.label for fate in FATES}) == len(FATES)


def test_rows_are_shown_without_what_is_not_there() -> None:
    """Zeros are there."""
    model = Whole(SMALL)
    explorer = Explorer(model)
    explorer.run(Limits())
    shown = [as_json(row) for row in model._disks.rows[1:]]
    assert any(each["runtime"].get("run") == 0 for each in shown)
    assert all(None not in each["runtime"].values() for each in shown)
