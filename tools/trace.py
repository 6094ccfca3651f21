"""A trace: what was done, step by step, and what every part looked like after each step. One record for all producers.

A producer (the harness, the explorer, a model checker) makes ``Step``s whose ``panes`` hold plain values, and the trace
can be kept as JSON, exchanged as ITF (``trace_itf``), shown as a page (``trace_page``) and as text (``trace_text``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeAlias, cast, final
from uuid import UUID

import attrs
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
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair cannot be written
    if value is None or isinstance(value, bool | int | float):
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

    @property
    def broken_name(self) -> str:
        """The name of what is broken, where ``broken`` is ``name: what was seen``; else all of its first line."""
        return self.broken.strip().split("\n")[0].partition(": ")[0]

    def label(self, number: int) -> str:
        """What step ``number`` is called; tools that tell no action are helped out."""
        return self.steps[number].text() or ("start" if number == 0 else "step")

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
            steps = tuple(_step_of_json(each) for each in _list(document["steps"], "steps"))
            texts = (_text(document["title"], "title"), _text(document["source"], "source"))
            return Trace(*texts, _some(steps), _text(document["broken"], "broken"), _loop(document["loop"], steps))
        except (KeyError, TypeError, ValueError) as error:
            raise TraceError("trace", f"it is not complete: {_told(error)}") from error

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
        meta = _mapping_or_nothing(document.get("#meta"))
        ours = _mapping_or_nothing(meta.get("holdstate"))
        panes = _mapping_or_nothing(ours.get("panes"))
        try:
            steps = _some(tuple(_step_of_itf(_mapping(state, "a state"), panes) for state in document["states"]))
            loop = _loop(document.get("loop"), steps)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise TraceError("ITF", f"a state cannot be read: {_told(error)}") from error
        status = str(meta.get("status", ""))
        violated = "" if status in _FINE else f"{meta.get('source', 'the source')} says: {status}"
        title, source = str(meta.get("description", "")), str(meta.get("source", "ITF"))
        return Trace(title, source, steps, str(ours.get("broken", violated)), loop)


_FINE: Final = frozenset({"", "ok", "passed", "success"})
_NOTHING: Final[Mapping[str, object]] = {}
_ACTION, _PICKS = "mbt::actionTaken", "mbt::nondetPicks"  # how Quint tells what was done


def _mapping_or_nothing(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else _NOTHING


# -- reading what anybody may have written -----------------------------------------------------------------------------


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} is {type(value).__name__}, not an object")
    return cast("Mapping[str, Any]", value)


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"{what} is {type(value).__name__}, not a list")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is {type(value).__name__}, not a text")
    return value


def _some(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if not steps:
        raise ValueError("there is no step")
    return steps


def _loop(value: object, steps: tuple[Step, ...]) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < len(steps):
        raise ValueError(f"loop is {value!r}, not a step")
    return value


def _step_of_json(value: object) -> Step:
    step = _mapping(value, "a step")
    panes = {
        pane: dict(_mapping(variables, f"pane {pane}")) for pane, variables in _mapping(step["panes"], "panes").items()
    }
    action, note, is_crash = _text(step["action"], "action"), _text(step["note"], "note"), step["is_crash"] is True
    return Step(action, panes, dict(_mapping(step["params"], "params")), note, is_crash)


def _step_of_itf(state: Mapping[str, object], panes: Mapping[str, object]) -> Step:
    meta = _mapping_or_nothing(state.get("#meta"))
    found: dict[str, dict[str, Plain]] = {}
    for variable, value in state.items():
        if variable not in {"#meta", _ACTION, _PICKS}:
            pane, name = cast("list[object]", panes.get(variable, ["state", variable]))
            found.setdefault(_text(pane, "a pane"), {})[_text(name, "a variable")] = plain_of_itf(value)
    action = str(meta.get("action", state.get(_ACTION, "")))
    params = _mapping(plain_of_itf(meta["params"]), "params") if "params" in meta else _picks(state.get(_PICKS))
    return Step(action, found, params, str(meta.get("note", "")), meta.get("crash") is True)


def _picks(value: object) -> Mapping[str, Plain]:
    """What Quint drew, without what an action drew nothing for."""
    variants = {name: _mapping_or_nothing(each) for name, each in _mapping_or_nothing(value).items()}
    return {name: plain_of_itf(each["value"]) for name, each in variants.items() if each.get("tag") == "Some"}
