"""Values in the Informal Trace Format of Apalache (ADR 015, https://apalache-mc.org/docs/adr/015adr-trace.html)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, Union, cast

Plain: TypeAlias = Union[bool, int, float, str, "Sequence[Plain]", "Mapping[str, Plain]", None]
"""A value of a trace."""

_NONE: Final = {"tag": "None", "value": {"#tup": []}}


def itf_of(value: Plain) -> object:
    """``value`` in ITF: integers as ``#bigint`` whatever their size, None as the variant ``None``."""
    if value is None:
        return _NONE
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return {"#bigint": str(value)}
    if isinstance(value, float):
        return {"#unserializable": repr(value)}
    if isinstance(value, Mapping):
        return {name: itf_of(each) for name, each in value.items()}
    return [itf_of(each) for each in value]


def plain_of_itf(value: object) -> Plain:
    """The plain form of a value in ITF: tuples and sets become lists, a map becomes an object with text for keys."""
    if isinstance(value, Mapping):
        return _plain_of_object(value)
    if isinstance(value, list):
        return [plain_of_itf(each) for each in value]
    return cast("Plain", value)


def _plain_of_object(value: Mapping[str, object]) -> Plain:
    if "#bigint" in value:
        return int(cast("str", value["#bigint"]))
    if "#unserializable" in value:
        return _number_or_text(str(value["#unserializable"]))
    for tag in ("#tup", "#set"):
        if tag in value:
            return [plain_of_itf(each) for each in cast("list[object]", value[tag])]
    if "#map" in value:
        pairs = cast("list[tuple[object, object]]", value["#map"])
        return {_key(plain_of_itf(key)): plain_of_itf(each) for key, each in pairs}
    if value.get("tag") == "None" and set(value) == {"tag", "value"}:
        return None
    return {name: plain_of_itf(each) for name, each in value.items()}


def _key(value: Plain) -> str:
    return value if isinstance(value, str) else repr(value)


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
