"""A machine that fails a store: no room, no writing, other files, other processes. Each case is a life of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, final

from . import crash_report as outcomes
from .crash_host_faults import HOST_FAULTS
from .crash_pool import Answer, Pool
from .crash_power import problem_of
from .crash_report import CrashReport

CARELESS: Final = "careless"
"""The control: nothing is done about the fault."""
_WORKER: Final = "holdstate.tools.crash_host_worker"
_ANY: Final = "none"


@final
class HostCampaign:
    """``cases`` lives, drawn from ``seed``, with each of ``faults`` in turn; ``folder`` is scratch."""

    def __init__(
        self,
        folder: Path,
        cases: int,
        seed: int,
        *,
        faults: Sequence[str] = (),
        control: str = "",
        processes: int = 1,
    ) -> None:
        self._folder = folder
        self._cases = cases
        self._faults = tuple(faults) or tuple(HOST_FAULTS)
        self._processes = processes
        self._acknowledged = 0
        self._refused = 0
        self.report = CrashReport("host", seed, control)

    def run(self, tell: Callable[[CrashReport], None] | None = None) -> CrashReport:
        """All cases."""
        with Pool(self._folder, self._processes, _WORKER) as pool:
            for number in range(self._cases):
                fault = self._faults[number % len(self._faults)]
                seed = f"{self.report.seed}/{number}"
                job = {"fault": fault, "seed": seed, "careless": self.report.control == CARELESS}
                pool.submit(job, self._judge_of(fault, seed))
            pool.drain()
        self.report.facts.update(
            {
                "calls acknowledged": self._acknowledged,
                "calls refused for the fault": self._refused,
            }
        )
        if tell is not None:
            tell(self.report)
        return self.report

    def _judge_of(self, fault: str, seed: str) -> Callable[[Answer], None]:
        def receive(answer: Answer) -> None:
            refused: dict[str, int] = answer.get("refused", {})
            self._acknowledged += answer.get("acknowledged", 0)
            self._refused += sum(refused.values())
            command = next(iter(refused), _ANY)
            outcome, why = problem_of(answer) or (outcomes.OK, "")
            if "untried" in answer:
                outcome, why = outcomes.UNDECIDED, answer["untried"]
            elif outcome == outcomes.OK and not refused:
                outcome, why = outcomes.UNDECIDED, "the fault met no call"
            self.report.count(fault, command, outcome, f"{why} (seed {seed})" if why else "")

        return receive
