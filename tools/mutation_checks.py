"""What may notice a mutant: lint, the matrices written by hand, the stories on both stores, and the explorer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

from attrs import frozen

from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.policy import DEFAULT_POLICY
from ..spec.runtime_state import RUNTIME_STATE
from ..spec.vocabulary import CommandName
from ..stores.lmdb_store import LmdbStore
from ..stores.memory_store import MemoryStore
from .agreement import disagreements
from .explorer import Explorer, Limits, Verdict
from .explorer_machine import MachineModel
from .explorer_outcomes import WholeBounds
from .explorer_whole import Whole
from .mutation import Check, Part, Tables
from .policy_matrix import policy_disagreements
from .stories import STORIES, expected, told

ALL: Final = frozenset(Part)
_INTEGERS: Final = 1
_MOST_STATES: Final = 20_000

_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - a folder with a name of its own is made in it

_ONE: Final = WholeBounds(kinds=("prompt",), faults=False)
WHOLE_BOUNDS: Final = (
    _ONE,
    WholeBounds(kinds=("prompt",), runs=1, crashes=1),
    WholeBounds(inputs=2, kinds=("event",), faults=False, runs=1, crashes=0),
)
"""What the whole is explored within: a second each."""


@final
@frozen
class FunctionCheck:
    """A check that is a function of the tables."""

    name: str
    parts: frozenset[Part]
    notices: Callable[[Tables], str | None]


def _machines(tables: Tables) -> list[Machine[Any, Any]]:
    """The changed machine; both where none is changed."""
    shipped = (INPUT_LIFECYCLE, RUNTIME_STATE)
    machines = [tables.inputs, tables.runtimes]
    return [each for each in machines if each not in shipped] or machines


def _lint(tables: Tables) -> str | None:
    for machine in _machines(tables):
        for finding in machine.lint():
            return f"{finding.code}: {finding.message}"
    missing = [name for name in CommandName if name not in tables.commands]
    return f"no row for {missing[0]}" if missing else None


def _matrices(tables: Tables) -> str | None:
    for machine in _machines(tables) if tables.policy is DEFAULT_POLICY else ():
        for found in disagreements(machine):
            return found
    return next(policy_disagreements(tables.policy), None)


def _explored_machines(tables: Tables) -> str | None:
    for machine in _machines(tables):
        report = Explorer(MachineModel(machine, integers=_INTEGERS)).run(Limits(_MOST_STATES))
        if report.violation is not None:
            return report.violation.problems[0]
    return None


def _explored_whole(_: Tables) -> str | None:
    for bounds in WHOLE_BOUNDS:
        try:
            report = Explorer(Whole(bounds)).run(Limits(_MOST_STATES))
        except Exception as error:  # noqa: BLE001 - a wrong change may raise anything
            return f"{type(error).__name__}: {error}"
        if report.verdict is Verdict.VIOLATED and report.violation is not None:
            return report.violation.problems[0]
    return None


_expected = cache(expected)


def _difference(name: str, lines: Sequence[str]) -> str | None:
    wanted = _expected()[name]
    for number, (line, other) in enumerate(zip(lines, wanted, strict=False), 1):
        if line != other:
            return f"{name}, line {number}: {line!r}, not {other!r}"
    if len(lines) == len(wanted):
        return None
    return f"{name}: {len(lines)} lines, not {len(wanted)}"


def _stories_in_memory(_: Tables) -> str | None:
    for name, story in STORIES.items():
        found = _difference(name, told(story, MemoryStore()))
        if found is not None:
            return found
    return None


def _stories_on_lmdb(_: Tables) -> str | None:
    # In memory where the system has such a place: what is looked at are the rows, and a sync shows nothing of them.
    place = _SHARED_MEMORY if Path(_SHARED_MEMORY).is_dir() else None
    with TemporaryDirectory(prefix="holdstate-mutant-", dir=place) as folder:
        for name, story in STORIES.items():
            with LmdbStore.open(Path(folder) / name) as store:
                found = _difference(name, told(story, store))
            if found is not None:
                return found
    return None


CHECKS: Final[tuple[Check, ...]] = (
    FunctionCheck("lint", frozenset({Part.MACHINE, Part.COMMANDS}), _lint),
    FunctionCheck("matrices", frozenset({Part.MACHINE, Part.POLICY}), _matrices),
    FunctionCheck("machine explorer", frozenset({Part.MACHINE}), _explored_machines),
    FunctionCheck("stories in memory", ALL, _stories_in_memory),
    FunctionCheck("stories on lmdb", frozenset({Part.CODE}), _stories_on_lmdb),
    FunctionCheck("whole explorer", ALL, _explored_whole),
)
"""In the order of their cost."""
