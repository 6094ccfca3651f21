"""A trace: what was done, step by step, and what every part looked like after each step. One record for all producers.

A producer (the harness, the explorer, a model checker) makes ``Step``s whose ``panes`` hold plain values, and the trace
can be kept as JSON, exchanged as ITF (``trace_itf``), shown as a page (``trace_page``) and as text (``trace_text``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeAlias, cast, final
from uuid import UUID

import attrs
import msgspec
from attrs import frozen

from ..spec.errors import HoldstateError
from .trace_itf import Plain, itf_of, plain_of_itf

Panes: TypeAlias = Mapping[str, Mapping[str, Plain]]
"""The variables by name, in named groups that are shown side by side: ``{"machine": {…}, "system": {…}}``."""

TRACE_FORMAT: Final = "holdstate-trace"
TRACE_VERSION: Final = 1
ITF_DESCRIPTION: Final = "https://apalache-mc.org/docs/adr/015adr-trace.html"


@final
class TraceError(HoldstateError, ValueError):
    """A file is not a trace that this version reads. ``where`` names the place, ``problem`` says what is wrong."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        self.problem = problem
        super().__init__(f"{where}: {problem}")


def plain(value: object) -> Plain:
    """``value`` as a trace keeps it: enum members by their value, UUIDs as text, sets sorted, keys as text.

    What has no plain form is shown by its ``repr``.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(each) for each in value), key=repr)
    return str(value) if isinstance(value, UUID) else repr(value)


@final
@frozen
class Step:
    """``action`` with its parameters, and everything as it is after it. ``note`` says in words what came of it.

    ``is_crash``: the process died here, and what is shown is what was there afterwards.
    """

    action: str
    panes: Panes
    params: Mapping[str, Plain] = attrs.field(factory=dict)
    note: str = ""
    is_crash: bool = False

    def text(self) -> str:
        """The action as a call: ``pay(amount=5)``."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        return f"{self.action}({shown})" if shown else self.action


@final
@frozen
class Trace:
    """The steps from the initial state on: ``steps[0]`` is how it began. ``broken`` says what does not hold at the last
    one; it is empty for a trace that only shows something. ``loop`` is the step that the last one leads back to.
    """

    title: str
    source: str
    steps: tuple[Step, ...]
    broken: str = ""
    loop: int | None = None

    def changes(self, number: int) -> frozenset[tuple[str, str]]:
        """The (pane, variable) pairs that step ``number`` changed, came with or took away; none for the first."""
        if number == 0:
            return frozenset()
        before, after = self.steps[number - 1].panes, self.steps[number].panes
        return frozenset(
            (pane, name)
            for pane in {*before, *after}
            for name in {*before.get(pane, {}), *after.get(pane, {})}
            if _missing_or(before, pane, name) != _missing_or(after, pane, name)
        )

    # -- as JSON ------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, object]:
        """Plain JSON, with format and version."""
        steps = [attrs.asdict(step, recurse=False) for step in self.steps]
        facts = {"title": self.title, "source": self.source, "steps": steps, "broken": self.broken, "loop": self.loop}
        return {"format": TRACE_FORMAT, "version": TRACE_VERSION, **facts}

    @staticmethod
    def from_json(document: object) -> Trace:
        """The trace that ``to_json`` wrote. Raises TraceError for anything else, and for a newer version."""
        if not isinstance(document, Mapping) or document.get("format") != TRACE_FORMAT:
            raise TraceError("trace", f'it has no "format": "{TRACE_FORMAT}"')
        if document.get("version") != TRACE_VERSION:
            found = document.get("version")
            raise TraceError("trace", f"its version is {found!r}, this holdstate reads {TRACE_VERSION}; upgrade it")
        try:
            return _structure(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TraceError("trace", f"it is not complete: {type(error).__name__}: {error}") from error

    # -- as ITF -------------------------------------------------------------------------------------------------------

    def to_itf(self) -> dict[str, object]:
        """In the Informal Trace Format of Apalache (ADR 015). Variables of several panes are named ``pane_variable``;
        ``#meta`` says which is which, so that ``from_itf`` gives this trace again.
        """
        several = len({pane for step in self.steps for pane in step.panes}) > 1
        names: dict[str, list[str]] = {}
        states: list[dict[str, object]] = []
        for index, step in enumerate(self.steps):
            meta = {"index": index, "action": step.action, "params": itf_of(dict(step.params)), "note": step.note}
            state: dict[str, object] = {"#meta": {**meta, "crash": step.is_crash}}
            for pane, variables in step.panes.items():
                for name, value in variables.items():
                    variable = f"{pane}_{name}" if several else name
                    names[variable] = [pane, name]
                    state[variable] = itf_of(value)
            states.append(state)
        meta_of_all: dict[str, object] = {
            "format": "ITF",
            "format-description": ITF_DESCRIPTION,
            "source": self.source,
            "status": "violation" if self.broken else "ok",
            "description": self.title,
            "holdstate": {"panes": names, "broken": self.broken},
        }
        looped = {} if self.loop is None else {"loop": self.loop}
        return {"#meta": meta_of_all, "params": [], "vars": list(names), "states": states, **looped}

    @staticmethod
    def from_itf(document: object) -> Trace:
        """A trace in ITF, by whatever tool; one of ours comes back as it was. Raises TraceError for anything else."""
        if not isinstance(document, Mapping) or not isinstance(document.get("states"), list):
            raise TraceError("ITF", 'it has no list of "states"')
        meta = _mapping(document.get("#meta"))
        ours = _mapping(meta.get("holdstate"))
        panes = _mapping(ours.get("panes"))
        try:
            steps = tuple(_step_of_itf(state, panes) for state in document["states"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TraceError("ITF", f"a state cannot be read: {type(error).__name__}: {error}") from error
        status = str(meta.get("status", ""))
        violated = "" if status in _FINE else f"{meta.get('source', 'the source')} says: {status}"
        return Trace(
            str(meta.get("description", "")),
            str(meta.get("source", "ITF")),
            steps,
            str(ours.get("broken", violated)),
            cast("int | None", document.get("loop")),
        )


_FINE: Final = frozenset({"", "ok", "passed", "success"})
_NOTHING: Final[Mapping[str, object]] = {}


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else _NOTHING


def _missing_or(panes: Panes, pane: str, name: str) -> tuple[Plain, ...]:
    variables = panes.get(pane, {})
    return (variables[name],) if name in variables else ()


def _structure(document: Mapping[str, object]) -> Trace:
    steps = tuple(
        Step(
            each["action"],
            {pane: dict(variables) for pane, variables in each["panes"].items()},
            dict(each["params"]),
            each["note"],
            each["is_crash"],
        )
        for each in cast("Iterable[dict[str, Any]]", document["steps"])
    )
    loop = cast("int | None", document["loop"])
    return Trace(str(document["title"]), str(document["source"]), steps, str(document["broken"]), loop)


def _step_of_itf(state: Mapping[str, object], panes: Mapping[str, object]) -> Step:
    meta = _mapping(state.get("#meta"))
    found: dict[str, dict[str, Plain]] = {}
    for variable, value in state.items():
        if variable != "#meta":
            pane, name = cast("list[str]", panes.get(variable, ["state", variable]))
            found.setdefault(pane, {})[name] = plain_of_itf(value)
    action = str(meta.get("action", state.get("mbt::actionTaken", "")))
    params = cast("dict[str, Plain]", plain_of_itf(meta.get("params", {})))
    return Step(action, found, params, str(meta.get("note", "")), bool(meta.get("crash", False)))


def read_trace(path: Path) -> Trace:
    """The trace in a file: ours, or ITF. Raises TraceError, OSError."""
    try:
        document = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise TraceError(str(path), f"it is not JSON: {error}") from error
    if isinstance(document, dict) and "states" in document and "format" not in document:
        return Trace.from_itf(document)
    return Trace.from_json(document)
