"""The explorer and TLC over the whole, under the same bounds: both have to find as many states."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import final

from attrs import evolve, frozen

from .explorer import Explorer, Limits, Report
from .explorer_outcomes import WholeBounds
from .explorer_whole import Whole
from .tla_projection import explored
from .tla_whole import WHOLE
from .tlc import TlcReport, run_tlc


@final
@frozen
class Comparison:
    """What both found. ``projected`` of the explorer's states are distinct over what both know; TLC counts these alone,
    in ``model_checked.distinct``.
    """

    model_checked: TlcReport
    explored: Report
    projected: int

    @property
    def problem(self) -> str:
        """What is wrong, in a sentence; empty where nothing is, and both counts are equal."""
        if self.model_checked.problem:
            return self.model_checked.problem
        if self.explored.violation is not None:
            return self.explored.violation.problems[0]
        if self.model_checked.distinct != self.projected:
            return f"TLC finds {self.model_checked.distinct} states, the explorer {self.projected}"
        return ""


def compared(folder: Path, name: str, bounds: WholeBounds) -> Comparison:
    """TLC over the module of the whole in ``folder`` with the configuration ``name``, which has these ``bounds``, and
    the explorer at the same time, without symmetry.

    Raises what ``run_tlc`` raises.
    """
    whole = Whole(evolve(bounds, symmetry=False, backoff=False))
    explorer = Explorer(whole)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(run_tlc, folder, WHOLE, name)
        report = explorer.run(Limits())
        projected = explored(whole, explorer.graph.states)
        return Comparison(other.result(), report, len(projected))
