"""Power cuts: every point of a recorded run of the store, and the states that the disk may hold there.

Each state is opened, read whole, and has to equal the content after one of the commits, no earlier than the last one
that was acknowledged. Some are also audited, recovered by the driver, worked on and opened again; what comes out has to
be what comes out where nothing was cut, and that was compared with the model of the kill campaign.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Final, final

from attrs import define, field, frozen

from . import crash_report as outcomes
from .campaign_worker import ACK_EARLY
from .crash_checker import STORE
from .crash_pool import DIED as PROCESS_DIED
from .crash_pool import TOO_LONG, Answer, Pool
from .crash_replay import Commit, Point, Replay
from .crash_report import CrashReport
from .crash_trace import CREATION, Event, TraceFailed, read_trace, record

WORKER: Final = "holdstate.tools.crash_worker"
CONTROLS: Final = (ACK_EARLY, "drop-flush", "drop-all-flushes")
_MOST_A_POINT: Final = 1200
_DEEP: Final = 0.04
_WINDOW: Final = 4
"""Flushes after a dropped one in which it is looked for."""


@final
@define
class _References:
    """What the store holds after each commit, by digest, and what recovery makes of it."""

    places: dict[bytes, list[int]] = field(factory=dict)
    answers: dict[int, Answer] = field(factory=dict)


@final
@frozen
class _Turn:
    """One recorded run and what it has to leave."""

    number: int
    events: list[Event]
    store: str
    pool: Pool
    references: _References


@final
class PowerCampaign:
    """About ``states`` distinct states, drawn from ``seed``, of runs of ``steps`` steps each. ``folder`` is scratch."""

    def __init__(
        self, folder: Path, states: int, seed: int, *, steps: int = 120, control: str = "", processes: int = 1
    ) -> None:
        self._folder = folder
        self._states = states
        self._steps = steps
        self._control = control
        self._processes = processes
        self._seen: set[bytes] = set()
        self._deep = 0
        self._commits = 0
        self._points = 0
        self.report = CrashReport("power", seed, control)

    def run(self, tell: Callable[[CrashReport], None] | None = None) -> CrashReport:
        """Record and cut until so many states were seen. Raises TraceFailed when a run cannot be recorded."""
        with Pool(self._folder, self._processes) as pool:
            for number in count():
                turn = self._begin(number, pool)
                if self._control == "drop-flush":
                    self._drop_each(turn)
                else:
                    every = range(10 * len(turn.events)) if self._control == "drop-all-flushes" else ()
                    replay = Replay(turn.events, turn.store, dropped=frozenset(every))
                    self._cut(turn, replay, self._states - len(self._seen))
                self._tell(number + 1)
                if tell is not None:
                    tell(self.report)
                if len(self._seen) >= self._states or self._control:
                    return self.report
        raise AssertionError("unreachable: the turns do not end")

    def _begin(self, number: int, pool: Pool) -> _Turn:
        events, store = self._record(number)
        return _Turn(number, events, store, pool, self._refer(pool, events, store))

    def _record(self, turn: int) -> tuple[list[Event], str]:
        folder = self._folder / f"turn-{turn}"
        folder.mkdir()
        store = folder / STORE
        sabotage = self._control if self._control == ACK_EARLY else ""
        trace = self._folder / "trace"
        record(WORKER, [str(store), f"{self.report.seed}/{turn}", str(self._steps), sabotage], trace)
        events = list(read_trace(trace, folder))
        trace.unlink()
        return events, str(store)

    def _tell(self, runs: int) -> None:
        self.report.facts.update(
            {
                "distinct states": len(self._seen),
                "recovered and worked on": self._deep,
                "crash points": self._points,
                "commits": self._commits,
                "recorded runs": runs,
            }
        )

    # -- what has to be there ------------------------------------------------------------------------------------

    def _refer(self, pool: Pool, events: list[Event], store: str) -> _References:
        references = _References()
        for commit in Replay(events, store).commits():
            self._commits += 1
            known = commit.history
            histories = [] if known is None else [(known.calls, list(known.answers.items()))]
            job = {"layout": "store", "lock": 0, "deep": True, "histories": histories}
            pool.submit(job, self._receiver_of(references, commit), commit.image)
        pool.drain()
        return references

    @staticmethod
    def _receiver_of(references: _References, commit: Commit) -> Callable[[Answer], None]:
        def receive(answer: Answer) -> None:
            if answer["problem"] or answer["findings"]:
                problems = [answer["problem"], *answer["findings"]]
                raise TraceFailed(f"without any cut the store is not sound after commit {commit.number}: {problems}")
            references.places.setdefault(answer["digest"], []).append(commit.number)
            references.answers[commit.number] = answer

        return receive

    # -- cuts ----------------------------------------------------------------------------------------------------

    def _cut(self, turn: _Turn, replay: Replay, states: int, flushes: range | None = None) -> None:
        """About ``states`` states, of the points at which so many ``flushes`` were seen."""

        def is_looked_at() -> bool:
            return flushes is None or len(replay.flushes) in flushes

        open_points = sum(is_looked_at() and not point.disk.is_settled for point in replay.points())
        budget = min(_MOST_A_POINT, max(2, 1 + 2 * states // max(1, open_points)))
        for point in replay.points():
            if not is_looked_at():
                continue
            self._points += 1
            self._cut_at(turn, point, budget)
            if flushes is None and not self._control and len(self._seen) >= self._states:
                break
        turn.pool.drain()

    def _cut_at(self, turn: _Turn, point: Point, budget: int) -> None:
        seed = self.report.seed
        chance = Random(f"{seed}/{turn.number}/{point.number}")
        for name, image in point.disk.states(chance, budget):
            layout = chance.choice(point.layouts)
            lock = chance.choice((0, 1, chance.getrandbits(30)))
            self._seen.add(name + layout.encode())
            deep = chance.random() < _DEEP
            self._deep += deep
            job = {"layout": layout, "lock": lock, "deep": deep, "histories": []}
            where = f"seed {seed}, run {turn.number}, point {point.number}, {layout}, state {name.hex()}"
            turn.pool.submit(job, self._judge_of(point, turn.references, where), image)

    def _judge_of(self, point: Point, references: _References, where: str) -> Callable[[Answer], None]:
        def receive(answer: Answer) -> None:
            outcome, why = judge(answer, references.places, references.answers, point.floor, point.ceiling)
            finding = f"{why} ({where})" if outcome != outcomes.OK else ""
            self.report.count(point.moment, point.command, outcome, finding)

        return receive

    def _drop_each(self, turn: _Turn) -> None:
        """Each flush of the commits is left out, alone, and has to be missed.

        Others are not: those of the creation, of directories, and of a commit that another one of the same call follows
        are repeated before anything is acknowledged.
        """
        replay = Replay(turn.events, turn.store)
        for _ in replay.points():
            pass
        flushes = [(number, *each) for number, each in enumerate(replay.flushes) if CREATION not in each]
        chosen = [(number, what, command) for number, what, command in flushes if what in {"pages", "meta"}]
        unnoticed = []
        for number, what, command in chosen:
            before = self.report.bad
            dropping = Replay(turn.events, turn.store, dropped=frozenset({number}))
            self._cut(turn, dropping, self._states // len(chosen), range(number, number + _WINDOW))
            if self.report.bad == before:
                unnoticed.append(f"{what} of {command} ({number})")
        self.report.facts["flushes dropped, one by one"] = len(chosen)
        self.report.facts["not noticed"] = ", ".join(unnoticed) or 0


def judge(
    answer: Answer, places: dict[bytes, list[int]], whole: dict[int, Answer], floor: int, ceiling: int
) -> tuple[str, str]:
    """Outcome and reason: the answer of the checker against what the commits left where nothing was cut."""
    problem = problem_of(answer)
    if problem is not None:
        return problem
    found = places.get(answer["digest"])
    if found is None:
        return outcomes.PARTIAL, "its rows are those of no prefix of the commits"
    legal = [number for number in found if floor <= number <= ceiling]
    if not legal:
        if max(found) < floor:
            return outcomes.LOST, f"it holds {max(found)} of {floor} acknowledged commits"
        return outcomes.PARTIAL, f"it holds commit {min(found)} of {ceiling} that were written"
    return _judge_recovery(answer, [whole[number] for number in legal])


def problem_of(answer: Answer) -> tuple[str, str] | None:
    """What the checker could not do or found by itself."""
    problem = answer["problem"]
    if problem:
        outcome = outcomes.DIED if problem.startswith(PROCESS_DIED) else outcomes.REFUSED
        return outcomes.UNDECIDED if problem == TOO_LONG else outcome, problem
    if answer["findings"]:
        return _class_of(answer["findings"]), "; ".join(answer["findings"][:3])
    return None


def _class_of(findings: list[str]) -> str:
    if any("consumed twice" in each for each in findings):
        return outcomes.REPEATED
    return outcomes.LOST if any("lost: " in each for each in findings) else outcomes.PARTIAL


def _judge_recovery(answer: Answer, whole: list[Answer]) -> tuple[str, str]:
    for part in ("recovered", "continued"):
        if part in answer and answer[part] not in [each[part] for each in whole]:
            return outcomes.REPEATED, f"the store, {part}, is not what it is where nothing was cut"
    return outcomes.OK, ""
