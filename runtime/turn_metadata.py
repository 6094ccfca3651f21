"""What the inputs of a run ask for, taken together: later scalars win, lists add up, objects merge key by key."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from .inputs import FlowStepInput, Input, PromptInput, TurnMetadata

_NOTHING = TurnMetadata()


def merged_metadata(inputs: Iterable[Input]) -> TurnMetadata:
    """The turn metadata of a batch, in staging order. An empty one where no input has any."""
    merged = _NOTHING
    for given in inputs:
        if isinstance(given, PromptInput | FlowStepInput) and given.turn_metadata is not None:
            merged = _merge(merged, given.turn_metadata)
    return merged


def _merge(first: TurnMetadata, second: TurnMetadata) -> TurnMetadata:
    changes: dict[str, Any] = {}
    for field in attrs.fields(TurnMetadata):
        old, new = getattr(first, field.name), getattr(second, field.name)
        if new is None:
            continue
        if isinstance(old, tuple) and isinstance(new, tuple):
            changes[field.name] = (*old, *new)
        elif isinstance(old, dict) and isinstance(new, dict):
            changes[field.name] = {**old, **new}
        else:
            changes[field.name] = new
    return attrs.evolve(first, **changes)
