"""What is in a store, on the picture of a machine: how many are in each state and since when, what was taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import Any

from ..runtime.records import TERMINAL_INPUT_STATES
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.runtime_state import RUNTIME_STATE
from ..spec.vocabulary import InputState
from ..stores.lmdb_store import LmdbStore
from .diagram_overlay import Overlay, edges_section
from .diagram_parts import Edge
from .machine_markdown import Section, code
from .quantities import counted, duration_text, moment_text
from .store_survey import Step, Survey, survey

_EDGES = (
    "How often each row was taken from each of its states, as far as the histories kept with the inputs tell; the rate "
    "is over the time that they span."
)


def live_overlay(store: LmdbStore, machine: Machine[Any, Any], runtime: str | None, now: datetime) -> Overlay:
    """The figures of one of the two machines, from all runtimes or from one. Raises NotFound."""
    found = survey(store, runtime)
    place = f"{store.path.name}, {f'runtime {runtime}' if runtime else counted(len(found.runtimes), 'runtime')}"
    place = f"{place}, at {moment_text(now)}"
    return _runtimes(found, place) if machine is RUNTIME_STATE else _inputs(found, place, now)


def _runtimes(found: Survey, place: str) -> Overlay:
    states = [(str(state), found.runtime_states[state]) for state in RUNTIME_STATE.states]
    caption = (
        f"{place}. Attached and recovering are never stored; of its own state a runtime keeps no history, so no "
        "edge has a count."
    )
    rows = [(code(state), f"{count:,}" if count else "none") for state, count in states]
    figures = {state: (counted(count, "runtime"),) for state, count in states if count}
    return Overlay(figures, None, (caption,), sections=(Section("Runtimes now", ("state", "runtimes"), rows),))


def _inputs(found: Survey, place: str, now: datetime) -> Overlay:
    edges = edges_taken(found.steps)
    figures, rows = {}, []
    for state in InputState:
        count, ages = found.states[state], ages_of(found.since.get(state, ()), now)
        if count:
            figures[str(state)] = (counted(count, "input"), *_ages(state, ages))
        told = (duration_text(each) for each in (ages[0], median(ages), ages[-1])) if ages else ("", "", "")
        rows.append((code(str(state)), f"{count:,}" if count else "none", *told))
    columns = ("state", "inputs", "for: shortest", "median", "longest")
    text = "How long they have been in their state: since their last transition."
    sections = (
        Section("Inputs now", columns, rows, text),
        edges_section(INPUT_LIFECYCLE, edges, found.seconds, _EDGES),
    )
    return Overlay(figures, edges, _caption(found, place), found.seconds, sections=sections)


def ages_of(times: Sequence[datetime], now: datetime) -> list[float]:
    """Seconds since these times, the shortest first; a clock that was set back gives none below 0."""
    return sorted(max(0.0, (now - each).total_seconds()) for each in times)


def _ages(state: InputState, ages: Sequence[float]) -> tuple[str, ...]:
    """Of inputs that wait, the longest wait counts; of those that ended, when the last one did."""
    if not ages:
        return ()
    if state in TERMINAL_INPUT_STATES:
        return (f"last {duration_text(ages[0])} ago",)
    if len(ages) == 1:
        return (f"for {duration_text(ages[0])}",)
    return (f"median {duration_text(median(ages))}", f"oldest {duration_text(ages[-1])}")


def edges_taken(steps: Counter[Step]) -> dict[Edge, int]:
    """How often each edge of the input lifecycle was taken."""
    place = {
        (source, row.event, row.target): (str(source), number)
        for number, row in enumerate(INPUT_LIFECYCLE.transitions)
        for source in row.source
    }
    return {place[step]: count for step, count in steps.items()}


def _caption(found: Survey, place: str) -> tuple[str, ...]:
    kept = sum(found.steps.values())
    active = sum(count for state, count in found.states.items() if state not in TERMINAL_INPUT_STATES)
    total = sum(found.states.values())
    told = f"{place}: {counted(total, 'input')}, {active:,} of them active."
    if found.first is None or found.last is None:
        return (f"{told} No transition is kept with any of them.",)
    span = f"{duration_text(found.seconds)} from {moment_text(found.first)} on"
    lost = []
    if found.dropped:
        lost.append(f"{counted(found.dropped, 'older transition')}, which histories that are full have dropped")
    if found.pruned:
        lost.append(f"those of {counted(found.pruned, 'ended input')} that retention removed")
    if found.untimed:
        lost.append(f"those of {counted(found.untimed, 'input')} without a history")
    basis = f"Counts and rates rest on the {counted(kept, 'transition')} kept with them, over {span}"
    return (told, f"{basis}; not counted: {'; '.join(lost)}." if lost else f"{basis}, which is all of them.")
