"""A validator for the part of JSON Schema that the schema of a machine uses; what it does not know, it refuses."""

from __future__ import annotations

from typing import Any

_KNOWN = {
    *("$ref", "$defs", "$schema", "title", "description", "type", "properties", "required", "additionalProperties"),
    *("enum", "anyOf", "items", "discriminator", "format", "default"),
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "null": type(None),
}


def errors(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "$") -> list[str]:
    """Where ``value`` is not what ``schema`` says."""
    assert set(schema) <= _KNOWN, f"the validator does not know {set(schema) - _KNOWN}"
    if "$ref" in schema:
        return errors(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, place)
    kind = schema.get("type")
    found: list[str] = []
    if "anyOf" in schema and all(errors(value, each, root, place) for each in schema["anyOf"]):
        found.append(f"{place}: none of {len(schema['anyOf'])} alternatives")
    elif "enum" in schema and value not in schema["enum"]:
        found.append(f"{place}: not in {schema['enum']}")
    elif kind and (not isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
        found.append(f"{place}: not of type {kind}")
    elif kind == "object":
        found += _object_errors(value, schema, root, place)
    elif kind == "array":
        found += (
            each for at, item in enumerate(value) for each in errors(item, schema["items"], root, f"{place}[{at}]")
        )
    return found


def _object_errors(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], place: str) -> list[str]:
    properties = schema["properties"]
    found = [f"{place}.{name}: missing" for name in schema["required"] if name not in value]
    if schema.get("additionalProperties") is False:
        found += [f"{place}.{name}: unknown" for name in value if name not in properties]
    for name in value.keys() & properties.keys():
        found += errors(value[name], properties[name], root, f"{place}.{name}")
    return found
