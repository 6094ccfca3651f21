"""Named invariants over more than one image: what was acknowledged, memory beside the store, what came first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, cast, final
from uuid import UUID

from attrs import AttrsInstance, asdict, frozen

from .views import Image, InputView, RuntimeView, all_inputs
from .vocabulary import Durability, RuntimeState

Problems = Iterator[str]

RELATIONS: Mapping[str, str] = MappingProxyType(
    {
        "acked_is_durable": "A durable input that was acknowledged is stored.",
        "memory_equals_store": "A fresh load equals what is in memory, apart from the volatile part.",
        "handed_out_run_is_current": "A run that an executor holds is the current one until its end.",
        "nothing_before_its_commit": "No outcome, event or signal precedes its commit (C18).",
    }
)
"""The functions of this module by name, with what each says."""


def acked_is_durable(stored: Image, acknowledged: Iterable[UUID]) -> Problems:
    """``acknowledged``: ids of durable and derived inputs that were accepted and not pruned since."""
    known = {each.input_id for each in all_inputs(stored)}
    for input_id in acknowledged:
        if input_id not in known:
            yield f"input {input_id} was acknowledged and is not stored"


def memory_equals_store(memory: Image, stored: Image, *, saw_ephemeral: bool = True) -> Problems:
    """Compares every field of the runtime record and of each stored input; both must be attrs classes.

    Volatile are: attached (stored as idle), ephemeral inputs, and the order keys that those took. ``saw_ephemeral``
    False says that there never were any, so that the next order keys have to agree too.
    """
    here, there = _fields(memory.runtime), _fields(stored.runtime)
    ahead = here.pop("next_order") - there.pop("next_order")
    if ahead < 0 or (ahead > 0 and not saw_ephemeral):
        yield f"next_order is {ahead:+} from what is stored"
    for name in here.keys() | there.keys():
        if here.get(name) != there.get(name):
            yield f"{name} is {here.get(name)!r}, stored is {there.get(name)!r}"
    kept, found = _durable(memory), _durable(stored)
    for input_id in kept.keys() | found.keys():
        if kept.get(input_id) != found.get(input_id):
            here_is, there_is = _named(kept.get(input_id)), _named(found.get(input_id))
            yield f"input {input_id} is {here_is} in memory and {there_is} in the store"


def _fields(runtime: RuntimeView) -> dict[str, Any]:
    fields = asdict(cast("AttrsInstance", runtime), recurse=False)
    for name in ("state", "pre_run_state"):
        if fields[name] is RuntimeState.ATTACHED:
            fields[name] = RuntimeState.IDLE
    return fields


def _durable(image: Image) -> dict[UUID, InputView]:
    return {each.input_id: each for each in image.active if each.admission.durability is not Durability.EPHEMERAL}


def _named(each: InputView | None) -> str:
    return "missing" if each is None else f"{each.state} ({each!r})"


def handed_out_run_is_current(handed_out: UUID | None, image: Image) -> Problems:
    """``handed_out``: the run that an executor holds, until its end, a fence, or a reload that did not find it."""
    if handed_out is not None and image.runtime.current_run_id != handed_out:
        yield f"run {handed_out} is handed out, current is {image.runtime.current_run_id}"


@final
class Sort(Enum):
    """What was seen to happen: a commit that reached the store, or something that speaks of it."""

    COMMITTED = "committed"
    PUBLISHED = "published"


@final
@frozen
class Occurrence:
    """One thing that was seen, with the revision of the runtime that it belongs to."""

    sort: Sort
    revision: int
    what: str = ""


def nothing_before_its_commit(seen: Iterable[Occurrence]) -> Problems:
    """``seen``: what happened to one runtime, first to last. An outcome, event or signal is PUBLISHED."""
    committed = 0
    for each in seen:
        if each.sort is Sort.COMMITTED:
            committed = max(committed, each.revision)
        elif each.revision > committed:
            yield f"{each.what or 'something'} of revision {each.revision} was published, committed is {committed}"
