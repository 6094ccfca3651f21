"""Every diagram and page that holdstate makes, each by a name and as one document that a browser shows.

A new one is one line in ``PICTURES``; ``screenshots`` looks at all of them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import Any, Final, final

from attrs import frozen

from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.runtime_state import RUNTIME_STATE
from .coupling import NAME as COUPLING
from .crash_page import crash_page
from .crash_report import CrashReport
from .diagram_command import diagram_of
from .diagram_overlay import Overlay
from .page import page, text
from .picture_store import figures_of, life_page, stat_page
from .trace import Step, Trace
from .trace_itf import Plain
from .trace_page import trace_page
from .walk_graph import WALK_BOUNDS, WALK_STATES, walk_fates, whole_graph
from .walk_machine import machine_page
from .walk_whole import whole_page

INPUTS, RUNTIMES = INPUT_LIFECYCLE.name, RUNTIME_STATE.name


@final
@frozen
class Picture:
    """``make`` gives the HTML of a page, which is opened at ``fragment``."""

    make: Callable[[], str]
    fragment: str = ""


def _diagram(name: str, *, detail: bool = False, overlay: Overlay | None = None) -> str:
    """An SVG as a page of text shows it: as wide as there is room, by its own light or dark."""
    drawn = diagram_of(name, "svg", detail=detail, overlay=overlay)
    source = b64encode(drawn.encode() if isinstance(drawn, str) else drawn).decode()
    body = f'<main><img alt="{text(name)}" src="data:image/svg+xml;base64,{source}"></main>'
    shown = page(name, "main { padding: 16px; } img { max-width: 100%; }", body)
    return shown.replace("default-src 'none'", "default-src 'none'; img-src data:")


def _figures(machine: Machine[Any, Any]) -> str:
    return _diagram(machine.name, overlay=figures_of(machine))


def _diagram_page(name: str) -> str:
    made = diagram_of(name, "html")
    assert isinstance(made, str), "it is no picture in bytes"
    return made


def _trace() -> str:
    """A crash between a commit and its answer, and what opening makes of it."""
    record: dict[str, Plain] = {
        "runtime": {"state": "running", "run": 0, "revision": 7},
        "inputs": {"1": {"state": "staged", "run": 0}},
    }
    done: dict[str, Plain] = {
        "runtime": {"state": "idle", "revision": 8},
        "inputs": {"1": {"state": "consumed", "run": 0}},
    }
    steps = (
        Step("start", {"store": record, "driver": record}),
        Step("complete_run", {"store": done, "driver": done}, {"run": 0}, "one commit", is_crash=False),
        Step("complete_run: crash after its commit", {"store": done}, {}, "", is_crash=True),
        Step("open", {"store": done, "driver": {**done, "held": None}}, {}, "nothing is run again"),
    )
    return trace_page(Trace("a crash after a commit", "an example", steps, "consumed_once: it is an example"))


def _crash_matrix() -> str:
    report = CrashReport("power", 7, facts={"crash points": 312, "seconds": 41.5})
    points = ("pages not synced", "data synced, meta not", "meta synced", "answered")
    for place, point in enumerate(points):
        for command in ("open", "accept", "begin_run", "checkpoint", "complete_run"):
            for _ in range(40 + 7 * place):
                report.count(point, command, "ok")
    report.count(points[1], "accept", "undecided", "the checker did not answer")
    return crash_page(report)


@cache
def _whole() -> str:
    return whole_page(whole_graph(WALK_BOUNDS, WALK_STATES, walk_fates(is_every=False)))


_RUNNING: Final = "#open/accept%20prompt%201/begin_run"
_CRASHED: Final = f"{_RUNNING}/checkpoint%3A%20crash%20after%20its%20commit"
_WALKED: Final = (
    "#queue/stage&run_id=00000000-0000-0000-0000-000000000001/apply&run_id=00000000-0000-0000-0000-000000000001"
)
_WALKS: Final = {
    "walk-input": Picture(cache(partial(machine_page, INPUT_LIFECYCLE))),
    "walk-input-applied": Picture(cache(partial(machine_page, INPUT_LIFECYCLE)), _WALKED),
    "walk-input-ended": Picture(cache(partial(machine_page, INPUT_LIFECYCLE)), "#consume_on_accept"),
    "walk-input-notice": Picture(cache(partial(machine_page, INPUT_LIFECYCLE)), "#queue/queue"),
    "walk-whole": Picture(_whole),
    "walk-whole-run": Picture(_whole, _RUNNING),
    "walk-whole-crash": Picture(_whole, _CRASHED),
    "walk-runtime": Picture(cache(partial(machine_page, RUNTIME_STATE)), "#initialize/attach"),
}

PICTURES: Final[Mapping[str, Picture]] = MappingProxyType(
    {
        **{f"diagram-{name}": Picture(partial(_diagram, name)) for name in (INPUTS, RUNTIMES, COUPLING)},
        **{f"diagram-{name}-detail": Picture(partial(_diagram, name, detail=True)) for name in (INPUTS, RUNTIMES)},
        **{f"page-{name}": Picture(partial(_diagram_page, name)) for name in (INPUTS, RUNTIMES, COUPLING)},
        **_WALKS,
        **{f"figures-{each.name}": Picture(partial(_figures, each)) for each in (INPUT_LIFECYCLE, RUNTIME_STATE)},
        "store": Picture(stat_page),
        "history": Picture(life_page),
        "trace": Picture(_trace),
        "crash-matrix": Picture(_crash_matrix),
    }
)
