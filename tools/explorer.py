"""The engine of ``holdstate spec check``: every state that a model can reach, breadth first, so that the trace to the
first thing that is wrong is a shortest one.

It knows nothing of what it explores: a ``Model`` says where to start, what can happen in a state, and what has to hold.
A state is its own fingerprint: two states are the same exactly if they are equal, so a model hands out canonical ones.
"""

from __future__ import annotations

import gc
import resource
import sys
from array import array
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import pairwise
from time import perf_counter, process_time
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, final

from attrs import define, field, frozen

S = TypeVar("S", bound=Hashable)

COLLECT_AFTER: Final = 200_000
"""Objects that are made between two collections of garbage."""

LOOK_EVERY: Final = 512
"""States between two looks at the clock and the memory."""


@final
class Move(NamedTuple, Generic[S]):
    """One thing that can happen in a state. ``helps``: it is one of the moves that progress relies on. ``problems``:
    what is wrong with the step itself, whatever it leads to.
    """

    action: str
    target: S
    helps: bool = False
    problems: tuple[str, ...] = ()


@final
class Progress(StrEnum):
    """How the moves that help have to lead to a settled state from everywhere: some way of taking them does, or every
    way does, in finitely many moves.
    """

    CAN_SETTLE = "can settle"
    MUST_SETTLE = "must settle"


class Model(Protocol[S]):
    """What can be explored. All answers are deterministic: the same state has the same moves in the same order."""

    @property
    def name(self) -> str: ...

    @property
    def bounds(self) -> Mapping[str, Any]:
        """What was left out, as plain JSON: the explored states are all there are within these bounds."""
        ...

    @property
    def progress(self) -> Progress:
        """What is demanded of the moves that help."""
        ...

    def initial(self) -> Sequence[S]:
        """Where everything starts."""
        ...

    def moves(self, state: S) -> Sequence[Move[S]]:
        """Everything that is enabled in ``state``, with what it leads to."""
        ...

    def problems(self, state: S) -> Sequence[str]:
        """The invariants that ``state`` breaks, each as ``name: problem``."""
        ...

    def is_settled(self, state: S) -> bool:
        """Nothing is left to be done."""
        ...

    def show(self, state: S) -> dict[str, Any]:
        """``state`` as plain JSON, for people."""
        ...

    def dump(self, states: Sequence[S]) -> Any:
        """``states`` as plain JSON values, to be saved."""
        ...

    def load(self, dumped: Any) -> list[S]:
        """The states of ``dump``. Called on a model that has explored nothing yet."""
        ...


@final
class Verdict(StrEnum):
    """``OK``: all states within the bounds were seen, and nothing is wrong. ``UNDECIDED``: a limit was hit before."""

    OK = "ok"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


@final
@frozen
class Limits:
    """When to give up. None: never."""

    states: int | None = None
    depth: int | None = None
    memory_mib: int | None = None


@final
@frozen
class TraceStep:
    """``action`` (empty for the first) led to ``state``."""

    action: str
    state: dict[str, Any]


@final
@frozen
class Violation:
    """What is wrong, and one of the shortest ways there."""

    problems: tuple[str, ...]
    trace: tuple[TraceStep, ...]


@final
@frozen
class Report:
    """What an exploration saw. ``waiting`` states were found and not expanded; ``limit`` says why. ``core_seconds`` are
    those of the ``seconds`` in which this process had a core.
    """

    verdict: Verdict
    states: int
    transitions: int
    depth: int
    waiting: int
    seconds: float
    core_seconds: float
    limit: str | None = None
    violation: Violation | None = None


@final
@define
class Graph(Generic[S]):
    """What was found so far. ``parents`` and ``ordinals`` say by which move of which state each one was found first;
    ``helpful`` holds pairs of source and target.
    """

    states: list[S] = field(factory=list)
    parents: array[int] = field(factory=lambda: array("I"))
    ordinals: array[int] = field(factory=lambda: array("I"))
    helpful: array[int] = field(factory=lambda: array("I"))
    expanded: int = 0
    depth: int = 0
    level_end: int = 0
    """Where the states of the present depth end."""
    transitions: int = 0


Watch = Callable[[Report], None]


def _nobody(report: Report) -> None:
    """Nobody watches."""


@final
class Explorer(Generic[S]):
    """One exploration, which can be gone on with after it hit a limit."""

    def __init__(self, model: Model[S], graph: Graph[S] | None = None) -> None:
        self.model = model
        self.graph: Graph[S] = Graph() if graph is None else graph
        self._seen: dict[S, int] = {state: number for number, state in enumerate(self.graph.states)}
        self._started = perf_counter(), process_time()

    def run(self, limits: Limits, watch: Watch = _nobody) -> Report:
        """Explore until nothing is left, something is wrong, or a limit is hit. ``watch`` hears of it now and then.

        An interrupt (``KeyboardInterrupt``) leaves a graph that can be saved and gone on with.
        """
        self._started = perf_counter(), process_time()
        with _seldom_collecting():
            return self._run(limits, watch)

    def _run(self, limits: Limits, watch: Watch) -> Report:
        violation = self._start() if not self.graph.states else None
        limit = None
        while violation is None and self.graph.expanded < len(self.graph.states):
            limit = self._limit(limits)
            if limit is not None:
                break
            if self.graph.expanded % LOOK_EVERY == 0:
                watch(self._report(Verdict.UNDECIDED))
            violation = self._expand(self.graph.expanded)
        if violation is not None:
            return self._report(Verdict.VIOLATED, violation=violation)
        if limit is not None:
            return self._report(Verdict.UNDECIDED, limit=limit)
        stuck = next(self.stuck(), None)
        if stuck is not None:
            problem = f"progress: from here the moves that help do not lead to an end ({self.model.progress})"
            return self._report(Verdict.VIOLATED, violation=self._violation((problem,), stuck))
        return self._report(Verdict.OK)

    def _start(self) -> Violation | None:
        for state in self.model.initial():
            if state not in self._seen:
                self._add(state, 0, 0)
        self.graph.level_end = len(self.graph.states)
        for number, state in enumerate(self.graph.states):
            problems = tuple(self.model.problems(state))
            if problems:
                return self._violation(problems, number)
        return None

    def _add(self, state: S, parent: int, ordinal: int) -> int:
        graph, number = self.graph, len(self.graph.states)
        self._seen[state] = number
        graph.states.append(state)
        graph.parents.append(parent)
        graph.ordinals.append(ordinal)
        return number

    def _expand(self, source: int) -> Violation | None:
        graph, model = self.graph, self.model
        if source == graph.level_end:
            graph.depth += 1
            graph.level_end = len(graph.states)
        known, edges = len(graph.states), len(graph.helpful)
        try:
            moves = model.moves(graph.states[source])
            violation = self._follow(source, moves, known)
        except BaseException:
            self._forget(known, edges)
            raise
        graph.transitions += len(moves)
        graph.expanded += 1
        return violation

    def _follow(self, source: int, moves: Sequence[Move[S]], known: int) -> Violation | None:
        graph, seen, model = self.graph, self._seen, self.model
        for ordinal, (_, state, helps, problems) in enumerate(moves):
            if problems:
                return self._violation_of_move(source, moves[ordinal])
            target = seen.get(state)
            if target is None:
                target = self._add(state, source, ordinal)
            if helps and target != source:
                graph.helpful.append(source)
                graph.helpful.append(target)
        for number in range(known, len(graph.states)):
            found = tuple(model.problems(graph.states[number]))
            if found:
                return self._violation(found, number)
        return None

    def _forget(self, known: int, edges: int) -> None:
        """Take back what an interrupted expansion added, so that it can be done again."""
        graph = self.graph
        for state in graph.states[known:]:
            del self._seen[state]
        del graph.states[known:], graph.parents[known:], graph.ordinals[known:], graph.helpful[edges:]

    def _limit(self, limits: Limits) -> str | None:
        graph = self.graph
        if limits.states is not None and len(graph.states) >= limits.states:
            return f"{limits.states} states"
        at_end = graph.expanded == graph.level_end
        if limits.depth is not None and graph.depth + at_end >= limits.depth:
            return f"depth {limits.depth}"
        if limits.memory_mib is not None and graph.expanded % LOOK_EVERY == 0 and memory_mib() > limits.memory_mib:
            return f"{limits.memory_mib} MiB of memory"
        return None

    # -- what can still end ----------------------------------------------------------------------------------------

    def stuck(self) -> Iterator[int]:
        """The states from which the moves that help do not lead to a settled one, nearest to the start first."""
        graph = self.graph
        before: dict[int, list[int]] = {}
        open_ways = [0] * len(graph.states)
        for at in range(0, len(graph.helpful), 2):
            source, target = graph.helpful[at], graph.helpful[at + 1]
            before.setdefault(target, []).append(source)
            open_ways[source] += 1
        must = self.model.progress is Progress.MUST_SETTLE
        pending = [number for number, state in enumerate(graph.states) if self.model.is_settled(state)]
        settles = bytearray(len(graph.states))
        for number in pending:
            settles[number] = True
        while pending:
            for source in before.get(pending.pop(), ()):
                open_ways[source] -= 1
                if not settles[source] and not (must and open_ways[source]):
                    settles[source] = True
                    pending.append(source)
        return (number for number, does in enumerate(settles) if not does)

    # -- traces ----------------------------------------------------------------------------------------------------

    def trace(self, number: int) -> tuple[TraceStep, ...]:
        """A shortest way to state ``number``: its moves are worked out again."""
        graph, model = self.graph, self.model
        path = [number]
        roots = set(model.initial())
        while graph.states[path[-1]] not in roots:
            path.append(graph.parents[path[-1]])
        path.reverse()
        steps = [TraceStep("", model.show(graph.states[path[0]]))]
        for parent, child in pairwise(path):
            move = model.moves(graph.states[parent])[graph.ordinals[child]]
            steps.append(TraceStep(move.action, model.show(move.target)))
        return tuple(steps)

    def _violation(self, problems: tuple[str, ...], number: int) -> Violation:
        return Violation(problems, self.trace(number))

    def _violation_of_move(self, source: int, move: Move[S]) -> Violation:
        last = TraceStep(move.action, self.model.show(move.target))
        return Violation(move.problems, (*self.trace(source), last))

    def _report(self, verdict: Verdict, *, limit: str | None = None, violation: Violation | None = None) -> Report:
        graph = self.graph
        return Report(
            verdict,
            len(graph.states),
            graph.transitions,
            graph.depth,
            len(graph.states) - graph.expanded,
            perf_counter() - self._started[0],
            process_time() - self._started[1],
            limit,
            violation,
        )


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """What was found stays, so that looking for garbage in it again and again is a fifth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def memory_mib() -> float:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
