"""All that the whole can do within small bounds, as a document for a page: what is in the store and in memory in every
state, what leads on from there, and which calls are refused and why. The explorer finds it with the real core.

Everything that repeats (panes, texts, lists of refusals) is there once and named by its number.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final, TypeVar, final

from attrs import define, field

from ..spec.errors import HoldstateError
from .explorer import Explorer, Limits, Verdict
from .explorer_kinds import INPUT_IDS, RUN_IDS, RUNTIME
from .explorer_outcomes import FATES, Fate, WholeBounds
from .explorer_trace import panes_of
from .explorer_whole import OLDER, Whole
from .trace_view import Leaves, leaves_of, path_order, visible

WALK_BOUNDS: Final = WholeBounds(inputs=1, kinds=("prompt",), runs=2, crashes=2, symmetry=False)
"""What the page of the whole has in it: one input, over two runs and two crashes."""

WALK_STATES: Final = 8_000
"""More of them would make a page of more than two megabytes."""

_SHOWN: Final = frozenset(
    {
        "",
        "crash before its commit",
        "crash after its commit",
        "result unknown, it landed",
        "result unknown, it did not land",
    }
)
REFUSED_BY_STORE: Final = "refused by the store"

H = TypeVar("H", bound=Hashable)


@final
class WholeIsBroken(HoldstateError):
    """The explorer found something wrong, which ``holdstate spec check`` tells at length."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"the whole breaks a promise within these bounds: {problem}; see `holdstate spec check`")


@final
@define
class _Interned:
    """Things by the order in which they came."""

    numbers: dict[Any, int] = field(factory=dict)

    def number(self, thing: Hashable) -> int:
        return self.numbers.setdefault(thing, len(self.numbers))

    def all(self) -> list[Any]:
        return list(self.numbers)


def walk_fates(*, is_every: bool) -> tuple[Fate, ...]:
    """What may become of a commit in a page: every fate, or it lands, a crash before or after it, an unknown result."""
    return tuple(each for each in FATES if is_every or each.label in _SHOWN)


def whole_graph(bounds: WholeBounds, limit: int, fates: Iterable[Fate]) -> dict[str, Any]:
    """The document. States beyond ``limit`` are not followed further: they are the last ones and have no moves.

    Raises WholeIsBroken where the explorer finds something wrong on the way.
    """
    model = Whole(bounds, tuple(fates))
    explorer = Explorer(model)
    report = explorer.run(Limits(states=limit))
    if report.violation is not None:
        raise WholeIsBroken("; ".join(report.violation.problems))
    states, expanded = explorer.graph.states, explorer.graph.expanded
    shown = [leaves_of(panes_of(model.show(state))) for state in states]
    place = {state: number for number, state in enumerate(states)}
    panes, told, moves = _Panes(shown), _Told(), []
    for number, state in enumerate(states):
        if number < expanded:
            moves.append(told.moves(model, state, place))
    rows = []
    for number, state in enumerate(states):
        parted = model.parted(state)
        rows.append(
            [panes.of(shown[number]), parted.runs, parted.crashes, *(moves[number] if number < expanded else ())]
        )
    return {
        "bounds": model.bounds,
        "limit": report.limit if report.verdict is Verdict.UNDECIDED else None,
        "followed": expanded,
        **panes.document(),
        **told.document(),
        "states": rows,
    }


@final
class _Panes:
    """What stands in each pane."""

    def __init__(self, shown: list[Leaves]) -> None:
        order = path_order(shown)
        self._paths = {path: number for number, path in enumerate(sorted(order, key=order.__getitem__))}
        self._names, self._texts, self._parts = _Interned(), _Interned(), _Interned()

    def of(self, leaves: Leaves) -> list[int]:
        """Pairs of a pane and what is in it."""
        found = []
        for name, values in leaves.items():
            cells = sorted((self._paths[path], self._texts.number(value)) for path, value in values.items())
            found += [self._names.number(name), self._parts.number(tuple(each for cell in cells for each in cell))]
        return found

    def document(self) -> dict[str, Any]:
        paths = [(" ".join(map(visible, path[:-1])), visible(path[-1])) for path in self._paths]
        return {"panes": self._names.all(), "paths": paths, "texts": self._texts.all(), "parts": self._parts.all()}


@final
class _Told:
    """The moves by name, and why calls are refused."""

    def __init__(self) -> None:
        self._actions, self._reasons, self._lists = _Interned(), _Interned(), _Interned()

    def moves(self, model: Whole, state: int, place: Mapping[int, int]) -> list[Any]:
        """Pairs of an action and where it leads; the refused calls with their reasons; those that change nothing."""
        refused = dict(model.refusals(state))
        leads, still = [], []
        for move in model.moves(state):
            action = self._actions.number(move.action)
            if move.target != state:
                leads += [action, place[move.target]]
            elif move.action not in refused:
                still.append(action)
        reasons = [(self._actions.number(call), self._reasons.number(_plain(why))) for call, why in refused.items()]
        return [
            leads,
            self._lists.number(tuple(each for pair in reasons for each in pair)),
            self._lists.number(tuple(dict.fromkeys(still))),
        ]

    def document(self) -> dict[str, Any]:
        actions = [_parts(action) for action in self._actions.all()]
        return {"actions": actions, "reasons": self._reasons.all(), "lists": self._lists.all()}


def _parts(action: str) -> tuple[bool, str, str]:
    """Whether it is about an older driver, the call, and what becomes of its commit."""
    is_older, call = action.startswith(OLDER), action.removeprefix(OLDER)
    for fate in (*(each.label for each in FATES), REFUSED_BY_STORE):
        if fate and call.endswith(f": {fate}"):
            return is_older, call.removesuffix(f": {fate}"), fate
    return is_older, call, ""


_NAMES: Final = {
    **{str(each): f"input {number}" for number, each in enumerate(INPUT_IDS)},
    **{str(each): f"run {number}" for number, each in enumerate(RUN_IDS)},
}


def _plain(reason: str) -> str:
    """A reason with the numbers of inputs and runs for their ids."""
    for each, name in _NAMES.items():
        kind, _, number = name.partition(" ")
        reason = reason.replace(f"{kind} {each}", name).replace(each, number)
    return reason.replace(f"runtime '{RUNTIME}': ", "").replace(f"runtime {RUNTIME}: ", "")
