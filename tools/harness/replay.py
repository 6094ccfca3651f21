"""A failure as a file, and the file as a failure again: the moves, and where machine, adapter and invariants are.

A replay file is JSON with a version. It needs nothing but the code that it names, Hypothesis least of all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast, final

import msgspec
from attrs import frozen

from ...spec.errors import HoldstateError
from ...spec.machine import Machine
from ..trace import Trace, TraceError
from ..trace_page import trace_page
from ..user_code import told
from .adapters import NewAdapter
from .moves import AnyMachine, Move, params_from_json, params_to_json
from .player import Broken, Invariant, Player
from .references import importable, module_of, reference_of, resolve, root_of

REPLAY_FORMAT: Final = "holdstate-replay"
REPLAY_VERSION: Final = 1


@final
class ReplayError(HoldstateError, ValueError):
    """A replay file cannot be played: it is none, or it does not name enough. ``where`` and ``problem`` say which."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where}: {problem}")


@final
@frozen
class Subject:
    """What is played: a machine, what makes the adapter, and the invariants."""

    machine: AnyMachine
    new_adapter: NewAdapter
    invariants: tuple[Invariant, ...] = ()


@final
@frozen
class Replay:
    """A replay file. References are ``module:NAME``, or None where a thing has no name of its own at module level.

    ``folder`` is what has to be importable from, as seen from the file. ``rule`` and ``problem`` are those of Broken.
    """

    machine: str | None
    adapter: str | None
    invariants: tuple[str | None, ...]
    folder: str | None
    moves: tuple[dict[str, object], ...]
    rule: str
    problem: str
    trace: Trace


@final
@frozen
class Outcome:
    """What playing a file gave: the failure now (None: everything holds), and whether it is the one of the file.

    ``unchecked`` counts invariants that could not be imported, so that a run without a failure proves less.
    """

    broken: Broken | None
    is_same: bool
    unchecked: int
    trace: Trace


# -- writing -----------------------------------------------------------------------------------------------------------


def file_name(name: str) -> str:
    """``name`` as a file and a shell take it: runs of anything but letters, digits, ``.`` and ``_`` are one ``-``."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "machine"


def write_failure(broken: Broken, subject: Subject, name: str, folder: Path) -> Path:
    """Write ``NAME.replay.json``, ``NAME.itf.json`` and ``NAME.html`` into ``folder``; returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name(name)
    path = folder / f"{name}.replay.json"
    machine = reference_of(subject.machine, subject.new_adapter)
    adapter = reference_of(subject.new_adapter, subject.new_adapter)
    home = adapter or machine
    root = None if home is None else root_of(module_of(home))
    document = {
        "format": REPLAY_FORMAT,
        "version": REPLAY_VERSION,
        "machine": machine,
        "adapter": adapter,
        "invariants": [reference_of(each, each) for each in subject.invariants],
        "folder": None if root is None else os.path.relpath(root, folder),
        "moves": [_move_to_json(subject.machine, move) for move in broken.moves],
        "broken": {"rule": broken.rule, "problem": broken.problem},
        "trace": broken.trace.to_json(),
    }
    _write(path, document)
    _write(folder / f"{name}.itf.json", broken.trace.to_itf())
    (folder / f"{name}.html").write_text(trace_page(broken.trace), encoding="utf-8")
    return path


def _write(path: Path, document: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def _move_to_json(machine: AnyMachine, move: Move) -> dict[str, object]:
    if move.event is None:
        return {"crash": True}
    return {"event": move.event.value, "params": params_to_json(machine, move)}


# -- reading -----------------------------------------------------------------------------------------------------------


def read_replay(path: Path) -> Replay:
    """The replay file at ``path``. Raises ReplayError for anything else and for a newer version, OSError."""
    where = str(path)
    try:
        document = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise ReplayError(where, f"it is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != REPLAY_FORMAT:
        raise ReplayError(where, f'it is no replay file: it has no "format": "{REPLAY_FORMAT}"')
    if document.get("version") != REPLAY_VERSION:
        found = document.get("version")
        raise ReplayError(where, f"its version is {found!r}, this holdstate reads {REPLAY_VERSION}; upgrade it")
    try:
        return Replay(
            document["machine"],
            document["adapter"],
            tuple(document["invariants"]),
            document["folder"],
            tuple(document["moves"]),
            document["broken"]["rule"],
            document["broken"]["problem"],
            Trace.from_json(document["trace"]),
        )
    except (KeyError, TypeError, TraceError) as error:
        raise ReplayError(where, f"it is not complete: {error!r}") from error


def subject_of(replay: Replay, path: Path, *, machine: str | None = None, adapter: str | None = None) -> Subject:
    """What the file names, imported; ``machine`` and ``adapter`` take the place of what it says.

    Raises ReplayError where a name is missing, BadReference where it leads nowhere.
    """
    folder = None if replay.folder is None else path.resolve().parent / replay.folder
    with importable(Path.cwd(), folder):
        found = load(machine or replay.machine, "machine", path)
        if not isinstance(found, Machine):
            raise ReplayError(str(path), f"{machine or replay.machine} is a {type(found).__name__}, not a Machine")
        made = load(adapter or replay.adapter, "adapter", path)
        if not callable(made):
            raise ReplayError(
                str(path), f"{adapter or replay.adapter} is a {type(made).__name__}, which makes no adapter"
            )
        invariants = tuple(load(each, "invariant", path) for each in replay.invariants if each is not None)
    return Subject(found, cast("NewAdapter", made), cast("tuple[Invariant, ...]", invariants))


def load(reference: str | None, what: str, path: Path) -> object:
    """What ``module:NAME`` names."""
    if reference is None:
        raise ReplayError(
            str(path), f"the {what} had no name at module level; give it one, or name it with --{what} module:NAME"
        )
    return resolve(reference)


def moves_of(replay: Replay, machine: AnyMachine, where: str) -> tuple[Move, ...]:
    """The moves of the file. Raises SpecError where they do not fit the machine, ReplayError where they are none."""
    try:
        return tuple(
            Move(None) if each.get("crash") else params_from_json(machine, str(each["event"]), _params(each))
            for each in replay.moves
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ReplayError(where, f"a move cannot be read: {error!r}") from error


def _params(move: Mapping[str, Any]) -> Mapping[str, object]:
    return cast("Mapping[str, object]", move.get("params", {}))


# -- playing -----------------------------------------------------------------------------------------------------------


def play(subject: Subject, moves: Sequence[Move]) -> tuple[Broken | None, Trace]:
    """Make ``moves`` from the start; what broke, if anything did, and the trace."""
    player = Player(subject.machine, subject.new_adapter, subject.invariants)
    try:
        player.start()
        for move in moves:
            player.play(move)
    except Broken as broken:
        return broken, broken.trace
    finally:
        player.close()
    return None, player.trace()


def play_again(replay: Replay, subject: Subject, where: str) -> Outcome:
    """Play the file. Raises ReplayError where the adapter cannot be made, or raises where it must not."""
    moves = moves_of(replay, subject.machine, where)
    try:
        broken, trace = play(subject, moves)
    except HoldstateError:
        raise
    except Exception as error:
        adapter = reference_of(subject.new_adapter, subject.new_adapter)
        raise ReplayError(adapter or where, f"the adapter cannot be played on: {told(error)}") from error
    is_same = broken is not None and broken.rule == replay.rule
    return Outcome(broken, is_same, sum(each is None for each in replay.invariants), trace)
