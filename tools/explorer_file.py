"""An exploration on disk: saved when a limit was hit or somebody interrupted it, and gone on with later."""

from __future__ import annotations

import zlib
from array import array
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar, final

import msgspec

from ..spec.commands import COMMANDS
from ..spec.errors import HoldstateError
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.runtime_state import RUNTIME_STATE
from .explorer import Graph, Model

S = TypeVar("S")

FORMAT: Final = "holdstate exploration"
VERSION: Final = 2


@final
class CannotResume(HoldstateError, ValueError):
    """``path`` is not an exploration that can be gone on with here."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


def save(path: Path, model: Model[Any], graph: Graph[Any]) -> None:
    """Write ``graph``, all of it or nothing: a file that was there stays until the new one is whole."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "model": model.name,
        "bounds": dict(model.bounds),
        "tables": tables_digest(getattr(model, "machine", None)),
        "counts": [graph.expanded, graph.depth, graph.level_end, graph.transitions],
        "arrays": [_packed(each) for each in (graph.parents, graph.ordinals, graph.helpful)],
        "states": model.dump(graph.states),
    }
    content = zlib.compress(msgspec.msgpack.encode(document), 1)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def resume(path: Path, model: Model[Any]) -> Graph[Any]:
    """The graph of ``path``. Raises ``CannotResume`` where it is of another version, another model, other bounds or
    other tables, or damaged.
    """
    try:
        document: Any = msgspec.msgpack.decode(zlib.decompress(path.read_bytes()))
    except (zlib.error, msgspec.DecodeError) as error:
        raise CannotResume(path, f"it is no saved exploration, or damaged ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CannotResume(path, "it is no saved exploration")
    wanted = {
        "version": VERSION,
        "model": model.name,
        "bounds": dict(model.bounds),
        "tables": tables_digest(getattr(model, "machine", None)),
    }
    for name, value in wanted.items():
        found = document.get(name)
        if found != value:
            problem = f"its {name}: {found}, asked for: {value}"
            if name == "tables":
                problem = "the machine has changed since, its tables are others"
            raise CannotResume(path, f"{problem}; start anew")
    graph: Graph[Any] = Graph(model.load(document["states"]))
    graph.parents, graph.ordinals, graph.helpful = (_unpacked(each) for each in document["arrays"])
    graph.expanded, graph.depth, graph.level_end, graph.transitions = document["counts"]
    return graph


def tables_digest(machine: Machine[Any, Any] | None) -> str:
    """What the tables say, as a digest: those of ``machine``, or without one the shipped ones."""
    machines = (INPUT_LIFECYCLE, RUNTIME_STATE) if machine is None else (machine,)
    parts = [
        repr((each.name, each.states.__members__, each.fields, list(each.events.items()), each.transitions))
        + repr((each.initial, sorted(each.terminal), sorted(each.terminal_exits)))
        for each in machines
    ]
    if machine is None:
        parts += [repr((row.name, row.needs, row.done_in, row.sends, row.inputs)) for row in COMMANDS.values()]
    return sha256("\n".join(parts).encode()).hexdigest()


def _packed(numbers: array[int]) -> bytes:
    return array("Q", numbers).tobytes()


def _unpacked(content: bytes) -> array[int]:
    wide = array("Q")
    wide.frombytes(content)
    return array("I", wide)
