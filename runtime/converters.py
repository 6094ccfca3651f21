"""The functions that cattrs writes for inputs, from records to dicts and back, and the words for what is wrong.

Encoding leaves UUIDs, enums and bytes as they are (msgspec writes them) and leaves defaults out. Decoding is strict: a
field has exactly its type, an unknown one is refused, and the first error is told with its path.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from types import NoneType
from typing import Any, Final, TypeAlias, get_args, get_origin
from uuid import UUID

import msgspec
from attrs import fields, has
from cattrs import Converter
from cattrs.errors import AttributeValidationNote, ClassValidationError, ForbiddenExtraKeysError
from cattrs.fns import identity
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ..spec.vocabulary import Durability, HandlingMode
from .blocks import Block, ImageBlock, TextBlock
from .errors import InvalidInput
from .headers import (
    EXTERNAL,
    FLOW,
    OPERATOR,
    PEER,
    SYSTEM,
    ExternalSource,
    FlowSource,
    OperatorSource,
    PeerSource,
    Source,
    SystemSource,
)
from .ids import IdempotencyKey, SupersessionKey
from .inputs import (
    ContinuationInput,
    Convention,
    ExternalEventInput,
    FlowStepInput,
    Input,
    OperationInput,
    PeerInput,
    PeerMessage,
    PeerRequest,
    PeerResponseProgress,
    PeerResponseTerminal,
    PromptInput,
    ResponsePhase,
    ResponseStatus,
)
from .json_values import path_of
from .rejections import RejectionCode

Hook: TypeAlias = Callable[[Any, Any], Any]

INPUT_CLASSES: Final[dict[str, type[Input]]] = {
    "prompt": PromptInput,
    "peer": PeerInput,
    "flow_step": FlowStepInput,
    "external_event": ExternalEventInput,
    "continuation": ContinuationInput,
    "operation": OperationInput,
}
DEFAULT_SOURCES: Final[dict[str, Source]] = {
    "prompt": OPERATOR,
    "peer": PEER,
    "flow_step": FLOW,
    "external_event": EXTERNAL,
    "continuation": SYSTEM,
    "operation": SYSTEM,
}
_SOURCES: Final[dict[str, type]] = {
    "operator": OperatorSource,
    "peer": PeerSource,
    "flow": FlowSource,
    "system": SystemSource,
    "external": ExternalSource,
}
_BLOCKS: Final[dict[str, type]] = {"text": TextBlock, "image": ImageBlock}
_CONVENTIONS: Final[dict[str, type]] = {
    "message": PeerMessage,
    "request": PeerRequest,
    "response_progress": PeerResponseProgress,
    "response_terminal": PeerResponseTerminal,
}
TAG: Final = "type"
TAGS: Final[dict[type, str]] = {cls: tag for tags in (_SOURCES, _BLOCKS, _CONVENTIONS) for tag, cls in tags.items()}

# -- records to dicts ----------------------------------------------------------------------------------------------


def new_encoder() -> Converter:
    """A converter that turns the parts of inputs into dicts for msgspec."""
    converter = Converter(omit_if_default=True)
    converter.register_unstructure_hook(UUID, identity)
    converter.register_unstructure_hook(bytes, identity)
    converter.register_unstructure_hook(datetime, as_utc)
    converter.register_unstructure_hook_func(_is_enum, identity)
    converter.register_unstructure_hook_func(_is_json, identity)
    converter.register_unstructure_hook_func(_is_optional_text, identity)
    hooks = {cls: _tagging(tag, make_dict_unstructure_fn(cls, converter)) for cls, tag in TAGS.items()}
    for cls, hook in hooks.items():
        converter.register_unstructure_hook(cls, hook)
    converter.register_unstructure_hook_func(lambda cls: cls == Source, lambda source: hooks[type(source)](source))
    return converter


def own_fields_encoder(converter: Converter, cls: type[Input]) -> Callable[[Any], dict[str, Any]]:
    """The function from an input of ``cls`` to a dict of its own fields: all but the header."""
    return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True, header=override(omit=True))


def as_utc(time: datetime) -> datetime:
    """The same instant with UTC as its zone."""
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def _tagging(tag: str, encode: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    def with_tag(value: object) -> dict[str, Any]:
        return {TAG: tag, **encode(value)}

    return with_tag


def _is_enum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Enum)


def _is_optional_text(cls: Any) -> bool:
    return get_args(cls) in {(IdempotencyKey, NoneType), (SupersessionKey, NoneType), (str, NoneType)}


def _is_json(cls: Any) -> bool:
    # JSON and JSONObject | None; they cannot be compared, since what they refer to may be resolved or not.
    return any(get_origin(member) is dict for member in get_args(cls))


# -- dicts to records ----------------------------------------------------------------------------------------------


def new_decoder() -> Converter:
    """A converter that reads the wire form strictly. ``first_problem`` makes one error of those that it raises."""
    converter = Converter(forbid_extra_keys=True)
    for cls, hook in _LEAVES.items():
        converter.register_structure_hook(cls, hook)
    converter.register_structure_hook_func(_is_json, _as_is)
    converter.register_structure_hook_factory(_is_tuple, _tuple_hook)
    converter.register_structure_hook_factory(has, _object_hook)
    for union, classes in ((Source, _SOURCES), (Block, _BLOCKS), (Convention, _CONVENTIONS)):
        converter.register_structure_hook(union, _tagged_hook(classes, converter))
    converter.register_structure_hook(Convention | None, _tagged_hook(_CONVENTIONS, converter, optional=True))
    return converter


def _refuse(wanted: str, value: object) -> InvalidInput:
    return InvalidInput("", f"must be {wanted}, not {type(value).__name__}")


def _exactly(wanted: type, words: str) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not wanted:
            raise _refuse(words, value)
        return value

    return structure


def _as_is(value: Any, _: Any) -> Any:
    return value  # check_shape walks JSON, and names the place within it


def _uuid(value: Any, _: Any) -> UUID:
    if type(value) is not str:
        raise _refuse("a UUID as text", value)
    try:
        return msgspec.convert(value, UUID)
    except msgspec.ValidationError as error:
        raise InvalidInput("", "must be a UUID such as 0190b0a1-7c1e-7000-8000-0123456789ab") from error


def _time(value: Any, _: Any) -> datetime:
    if type(value) is not str:
        raise _refuse("a time as text", value)
    try:
        time = msgspec.convert(value, datetime)
        if time.tzinfo is not None:
            return as_utc(time)
    except (msgspec.ValidationError, OverflowError) as error:
        raise InvalidInput(
            "", "must be an RFC 3339 time such as 2025-01-31T12:00:00Z, in the years 1 to 9999"
        ) from error
    raise InvalidInput("", "has no time zone; write Z for UTC at its end", RejectionCode.NAIVE_TIMESTAMP)


def _base64(value: Any, _: Any) -> bytes:
    if type(value) is not str:
        raise _refuse("base64 text", value)
    try:
        return b64decode(value, validate=True)
    except ValueError as error:
        raise InvalidInput("", "must be base64 (RFC 4648, section 4)") from error


def _enum(value: Any, cls: Any) -> Any:
    member = cls._value2member_map_.get(value) if type(value) is str else None
    if member is None:
        raise InvalidInput("", f"must be one of {', '.join(cls)}")
    return member


_LEAVES: Final[dict[Any, Hook]] = {
    str: _exactly(str, "text"),
    int: _exactly(int, "a whole number"),
    bool: _exactly(bool, "true or false"),
    UUID: _uuid,
    datetime: _time,
    bytes: _base64,
    # Each by name: a StrEnum without a hook of its own gets the one for str.
    Durability: _enum,
    HandlingMode: _enum,
    ResponsePhase: _enum,
    ResponseStatus: _enum,
}


def _is_tuple(cls: Any) -> bool:
    return get_origin(cls) is tuple


def _tuple_hook(cls: Any, converter: Converter) -> Hook:
    item_class = get_args(cls)[0]
    item_hook = converter.get_structure_hook(item_class)

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _refuse("a list", value)
        items = []
        for index, item in enumerate(value):
            try:
                items.append(item_hook(item, item_class))
            except (InvalidInput, ClassValidationError) as error:
                raise first_problem(error, f"[{index}]") from error
        return tuple(items)

    return structure


def _object_hook(cls: Any, converter: Converter) -> Hook:
    read = make_dict_structure_fn(cls, converter)

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _refuse("an object", value)
        return read(value, cls)

    return structure


def _tagged_hook(classes: dict[str, type], converter: Converter, *, optional: bool = False) -> Hook:
    hooks = {tag: (cls, converter.get_structure_hook(cls)) for tag, cls in classes.items()}

    def structure(value: Any, _: Any) -> Any:
        if value is None and optional:
            return None
        if type(value) is not dict:
            raise _refuse("an object", value)
        cls, hook = pick(hooks, value, TAG)
        return hook({key: item for key, item in value.items() if key != TAG}, cls)

    return structure


def pick(choices: dict[str, Any], value: dict[Any, Any], tag: str) -> Any:
    """The choice that ``value[tag]`` names; InvalidInput when it is missing or names none."""
    name = value.get(tag)
    if type(name) is not str or name not in choices:
        said = "must be" if tag in value else "is missing; it must be"
        raise InvalidInput(tag, f"{said} one of {', '.join(choices)}")
    return choices[name]


def first_problem(error: Exception, path: str = "") -> InvalidInput:
    """The first of the errors that a structure function raised, as one with its path under ``path``."""
    if isinstance(error, InvalidInput):
        return InvalidInput(_join(path, error.path), error.problem, error.code)
    if isinstance(error, ClassValidationError):
        first = error.exceptions[0]
        names = [note.name for note in getattr(first, "__notes__", ()) if isinstance(note, AttributeValidationNote)]
        return first_problem(first, _join(path, names[0] if names else ""))
    if isinstance(error, ForbiddenExtraKeysError):
        unknown = min(map(str, error.extra_fields))
        known = ", ".join(attribute.name for attribute in fields(error.cl))
        return InvalidInput(_join(path, path_of(("", unknown))), f"is not a field here; there are: {known or 'none'}")
    return InvalidInput(path, "is missing")  # the KeyError of a field without a default


def _join(path: str, step: str) -> str:
    return f"{path}.{step}" if path and step and not step.startswith("[") else path + step
