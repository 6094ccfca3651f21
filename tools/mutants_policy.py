"""Mutants of the policy table: every row without it, and every part of it with each other value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Any

from attrs import evolve, fields

from ..spec.policy import DEFAULT_POLICY, PolicyRow
from ..spec.vocabulary import HandlingMode, InputKind
from .mutation import Mutant, Part, Tables


def policy_mutants() -> Iterator[Mutant]:
    """All mutants of the shipped policy."""
    for kind, row in DEFAULT_POLICY.by_kind.items():
        yield _mutant(f"{kind}: dropped", by_kind=_without(DEFAULT_POLICY.by_kind, kind))
        for change, changed in _changes(row):
            yield _mutant(f"{kind}: {change}", by_kind={**DEFAULT_POLICY.by_kind, kind: changed})
    for mode, row in DEFAULT_POLICY.by_handling_mode.items():
        modes: Mapping[HandlingMode, PolicyRow] = DEFAULT_POLICY.by_handling_mode
        yield _mutant(f"handling mode {mode}: dropped", by_handling_mode=_without(modes, mode))
        for change, changed in _changes(row):
            yield _mutant(f"handling mode {mode}: {change}", by_handling_mode={**modes, mode: changed})
    for change, changed in _changes(DEFAULT_POLICY.otherwise):
        yield _mutant(f"any other kind: {change}", otherwise=changed)
    for kind in InputKind:
        silent = DEFAULT_POLICY.silent_transcript ^ {kind}
        yield _mutant(f"silent transcript: the other way for {kind}", silent_transcript=silent)


def _mutant(name: str, **changes: Any) -> Mutant:
    return Mutant(Part.POLICY, name, partial(_tables, changes))


def _tables(changes: dict[str, Any]) -> Tables:
    return Tables(policy=evolve(DEFAULT_POLICY, **changes))


def _without(rows: Mapping[Any, PolicyRow], left_out: StrEnum) -> dict[Any, PolicyRow]:
    return {key: row for key, row in rows.items() if key != left_out}


def _changes(row: PolicyRow) -> Iterator[tuple[str, PolicyRow]]:
    for part in fields(PolicyRow):
        value = getattr(row, part.name)
        others = (not value,) if isinstance(value, bool) else tuple(each for each in type(value) if each is not value)
        for other in others:
            yield f"{part.name} is {str(other).lower()}", evolve(row, **{part.name: other})
