"""What a line of JSON Lines is: an input, the runtime it is for, and the key that makes it count once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from json import JSONDecodeError
from pathlib import PurePath
from typing import Final, final

from attrs import evolve, frozen

from ..runtime.errors import InvalidInput
from ..runtime.headers import ExternalSource, InputHeader
from ..runtime.ids import IdempotencyKey, runtime_id_problem
from ..runtime.inputs import JSON, ExternalEventInput, Input
from ..runtime.settings import Limits
from ..runtime.validation import check_input, strict_json
from ..runtime.wire import INPUT_TAG, input_from_wire
from ..spec.errors import HoldstateError
from ..spec.vocabulary import Durability
from .line_reader import MAX_LINE_BYTES, RawLine

DEFAULT_EVENT: Final = "line"
_SHOWN_CHARACTERS: Final = 60
_HASH_BYTES: Final = 16
_SETTING: Final = re.compile(r" \(Limits\.\w+\)")
"""The setting that an error names, which a command does not have."""


@final
class BadLine(HoldstateError, ValueError):
    """A line that is no input. Nothing of it was accepted, and what was before it is safe.

    ``source`` and ``line`` say where; ``column`` (from 1) or ``path`` what in it.
    """

    def __init__(self, source: str, line: int, problem: str, *, column: int | None = None, path: str = "") -> None:
        self.source = source
        self.line = line
        self.column = column
        self.path = path
        self.problem = problem = _SETTING.sub("", problem)
        place = f"{source}:{line}" if column is None else f"{source}:{line}:{column}"
        field = f"{path}: " if path else ""
        super().__init__(f"{place}: {field}{problem}; mend the line and run the command again")

    @classmethod
    def at(cls, raw: RawLine, problem: str, *, column: int | None = None, path: str = "") -> BadLine:
        """The error about ``raw``."""
        return cls(raw.source.name, raw.number, problem, column=column, path=path)


@final
@frozen
class FieldPath:
    """A path of object keys, written ``a.b``."""

    keys: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> FieldPath:
        """ValueError when a key is empty."""
        keys = tuple(text.split("."))
        if not all(keys):
            raise ValueError(f"{text!r} has an empty key; write keys with dots between them, such as payload.id")
        return cls(keys)

    def find(self, value: JSON) -> JSON:
        """What is at the path; None when there is nothing."""
        for key in self.keys:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    def __str__(self) -> str:
        return ".".join(self.keys)


@final
@frozen
class LineRules:
    """How lines become inputs: see ``holdstate run --help``."""

    runtime: str
    runtime_field: FieldPath | None
    key_field: FieldPath | None
    event_field: FieldPath
    limits: Limits


@final
@frozen
class Line:
    """A line that is an input."""

    source: str
    number: int
    runtime_id: str
    input: Input


def read_lines(raws: Sequence[RawLine], rules: LineRules) -> tuple[list[Line], BadLine | None]:
    """The inputs of ``raws`` up to the first bad line, and that. Blank lines are skipped."""
    lines: list[Line] = []
    for raw in raws:
        if raw.is_too_long or raw.text.strip():
            try:
                lines.append(read_line(raw, rules))
            except BadLine as bad:
                return lines, bad
    return lines, None


def read_line(raw: RawLine, rules: LineRules) -> Line:
    """The input of one line; BadLine when it is none."""
    if raw.is_too_long:
        raise BadLine.at(raw, f"is longer than {MAX_LINE_BYTES} bytes")
    value = _parse(raw)
    runtime_id = _runtime_of(raw, value, rules)
    key = IdempotencyKey(_key_of(raw, value, rules))
    try:
        given = _input_of(raw, value, key, rules)
    except InvalidInput as error:
        raise BadLine.at(raw, error.problem, path=error.path) from error
    rejection = check_input(given, rules.limits)
    if rejection is not None:
        raise BadLine.at(raw, rejection.reason.removeprefix(f"{rejection.path}: "), path=rejection.path)
    return Line(raw.source.name, raw.number, runtime_id, given)


def _parse(raw: RawLine) -> JSON:
    try:
        return strict_json(raw.text)
    except InvalidInput as error:
        cause = error.__cause__
        if isinstance(cause, JSONDecodeError):
            raise BadLine.at(raw, f"is not JSON: {cause.msg}", column=cause.colno) from error
        raise BadLine.at(raw, error.problem, path=error.path) from error


def _runtime_of(raw: RawLine, value: JSON, rules: LineRules) -> str:
    if rules.runtime_field is None:
        return rules.runtime
    name = _scalar(rules.runtime_field.find(value))
    if name is None:
        return rules.runtime
    problem = runtime_id_problem(name)
    if problem is not None:
        raise BadLine.at(raw, f"is no runtime id: {problem}", path=str(rules.runtime_field))
    return name


def _scalar(value: JSON) -> str | None:
    """Text as it is, numbers and booleans as JSON writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return value if isinstance(value, str) else None


def _key_of(raw: RawLine, value: JSON, rules: LineRules) -> str:
    if rules.key_field is None:
        return derived_key(raw)
    key = rules.key_field.find(value)
    if isinstance(key, bool) or not isinstance(key, str | int | float):
        problem = "must be text or a number, because it is the key of the line (--key-field)"
        raise BadLine.at(raw, problem, path=str(rules.key_field))
    return str(key)


def derived_key(raw: RawLine) -> str:
    """The key of a line by its job, its number and its bytes. The job is hashed in; the name in front is for people."""
    job = raw.source.job
    digest = blake2b(b"\0".join((job.encode(errors="surrogateescape"), raw.text)), digest_size=_HASH_BYTES).hexdigest()
    return f"{_shown(job)}:{raw.job_number}:{digest}"


def _shown(job: str) -> str:
    return _encodable(PurePath(job).name[-_SHOWN_CHARACTERS:])


def _encodable(text: str) -> str:
    """A file name may hold bytes that are no UTF-8; they are shown as question marks."""
    return text.encode(errors="replace").decode()


def _input_of(raw: RawLine, value: JSON, key: IdempotencyKey, rules: LineRules) -> Input:
    if isinstance(value, dict) and INPUT_TAG in value:
        whole = input_from_wire(value, limits=rules.limits)
        if whole.header.durability is Durability.EPHEMERAL:
            problem = "must be durable or derived, because an ephemeral input is forgotten in a crash"
            raise InvalidInput("header.durability", problem)
        return whole if whole.header.idempotency_key is not None else _with_header(whole, key)
    event_type = rules.event_field.find(value)
    return ExternalEventInput.new(
        event_type if isinstance(event_type, str) else DEFAULT_EVENT,
        value,
        source=ExternalSource(_encodable(raw.source.job)),
        idempotency_key=key,
    )


def _with_header(whole: Input, key: IdempotencyKey) -> Input:
    header: InputHeader = evolve(whole.header, idempotency_key=key)
    return evolve(whole, header=header)
