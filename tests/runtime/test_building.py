"""Building records past their ``__init__``: nobody can tell them from others."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import attrs
import pytest
from attrs import Factory, evolve, field, frozen

from holdstate.runtime.building import builder
from holdstate.runtime.records import (
    Admission,
    Counts,
    InputRecord,
    RuntimeRecord,
    build_admission,
    build_counts,
    build_input_record,
    build_runtime_record,
)

from ..spec.images import an_input


@frozen(weakref_slot=False)
class Point:
    """A field without a default, one with, one that is made anew each time."""

    x: int
    y: int = 2
    names: list[str] = Factory(list)
    origin: str | None = Factory(lambda: "here")


build_point = builder(Point)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((1,), {}),
        ((1, 5), {}),
        ((), {"x": 1, "y": 0}),
        ((1, 2, ["a"]), {}),
        ((1,), {"names": ["b"], "y": 4}),
        ((1,), {"origin": None}),
    ],
)
def test_what_is_built_is_what_the_class_makes(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    """By position and by name, with defaults, and an empty value that was given is kept."""
    built, made = build_point(*given, **named), Point(*given, **named)
    assert type(built) is Point
    assert built == made
    assert (repr(built), attrs.astuple(built)) == (repr(made), attrs.astuple(made))


def test_what_is_built_is_as_frozen_as_any() -> None:
    """No field can be set or removed, nothing can be added, and a changed copy is another object."""
    built = build_point(1)
    for name in ("x", "other"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(built, name, 7)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del built.x
    assert evolve(built, x=7) == Point(7)
    assert built == Point(1)


def test_a_default_that_is_made_is_made_for_each() -> None:
    """Two objects never share what a factory made."""
    first, second = build_point(1), build_point(1)
    first.names.append("mine")
    assert second.names == []


def test_what_is_built_can_be_pickled_copied_and_hashed() -> None:
    """It is one of its class in every way that looks at the class."""
    record = an_input(1)
    names = [each.name for each in attrs.fields(InputRecord)]
    built = build_input_record(*(getattr(record, name) for name in names))
    for again in (pickle.loads(pickle.dumps(built)), copy.copy(built), copy.deepcopy(built)):
        assert type(again) is InputRecord
        assert again == record
    assert hash(built) == hash(record)


@pytest.mark.parametrize("given", [(), (1, 2, [], None, 5)])
def test_what_does_not_fit_is_a_type_error(given: tuple[Any, ...]) -> None:
    """As with the class."""
    with pytest.raises(TypeError):
        build_point(*given)
    with pytest.raises(TypeError):
        build_point(1, z=3)  # type: ignore[call-arg]


def test_the_records_of_the_hot_path_are_built_as_their_classes_make_them() -> None:
    """Field by field, with and without their defaults."""
    admission = an_input(1, stamp={"blobs": ("b",)}).admission
    whole: list[tuple[Any, Any, Any]] = [
        (Admission, build_admission, admission),
        (InputRecord, build_input_record, an_input(1, error="x", attempt_count=2)),
        (Counts, build_counts, Counts(1, 2, 3, 4, 5, 6)),
        (RuntimeRecord, build_runtime_record, RuntimeRecord("r", revision=3, counts=Counts(active=1))),
    ]
    for cls, build, record in whole:
        assert build(*(getattr(record, each.name) for each in attrs.fields(cls))) == record
    assert build_input_record(admission) == InputRecord(admission)
    assert build_counts() == Counts()
    assert build_runtime_record("r") == RuntimeRecord("r")


def _classes() -> dict[str, type]:
    @frozen
    class WeaklyReferenced:
        x: int

    @frozen(slots=False)
    class Unslotted:
        x: int

    @frozen(weakref_slot=False, cache_hash=True)
    class Caching:
        x: int

    @frozen(weakref_slot=False)
    class Inheriting(Point):
        z: int = 1

    @frozen(weakref_slot=False)
    class Validating:
        x: int = field(validator=attrs.validators.gt(0))

    @frozen(weakref_slot=False)
    class Converting:
        x: int = field(converter=int)

    @frozen(weakref_slot=False)
    class Hooked:
        x: int

        def __attrs_post_init__(self) -> None:
            """Any hook."""

    @frozen(weakref_slot=False)
    class Named:
        x: int = field(kw_only=True)

    @frozen(weakref_slot=False)
    class Hidden:
        _x: int

    @frozen(weakref_slot=False)
    class Fixed:
        x: int = field(init=False, default=1)

    @frozen(weakref_slot=False)
    class Depending:
        x: int
        y: int = field()

        @y.default
        def _twice(self) -> int:
            return 2 * self.x

    return {
        "weak references": WeaklyReferenced,
        "slots are not its fields": Unslotted,
        "slots are not": Caching,
        "inherit from nothing": Inheriting,
        "field x has a validator": Validating,
        "or a converter": Converting,
        "__attrs_post_init__": Hooked,
        "field x is not given by position": Named,
        "field _x is not given": Hidden,
        "under its own name": Fixed,
        "default of its field y depends": Depending,
    }


@pytest.mark.parametrize("problem", _classes())
def test_a_class_that_does_more_is_refused(problem: str) -> None:
    """Whatever would be skipped or could not be laid out alike is told by name."""
    cls = _classes()[problem]
    with pytest.raises(TypeError, match=f"{cls.__name__} cannot be built past its __init__: .*{problem}"):
        builder(cls)
