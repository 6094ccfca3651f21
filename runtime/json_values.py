"""JSON values and JSON text from outside: judged without recursion, so that no depth can exhaust the stack."""

from __future__ import annotations

import json
import re
from collections import Counter
from math import isfinite, nan
from typing import Any, Final, NoReturn, TypeAlias

from .errors import InvalidInput
from .ids import text_problem
from .inputs import JSON
from .rejections import RejectionCode
from .settings import DEEPEST, LARGEST_BYTES

SMALLEST_INTEGER: Final = -(2**63)
LARGEST_INTEGER: Final = 2**64 - 1
OUT_OF_RANGE: Final = LARGEST_INTEGER + 1

# A place is the path of the whole value, or a place within and a key or an index: text is made of it on refusal only.
Place: TypeAlias = "str | tuple[Place, str | int]"

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_KEY_SHOWN: Final = 60
# A string, closed or not, or a bracket. Possessive, so that no text makes it backtrack.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


def refuse(place: Place, problem: str, code: RejectionCode = RejectionCode.INVALID_FIELD) -> NoReturn:
    """Raise InvalidInput for ``place``."""
    raise InvalidInput(path_of(place), problem, code)


def path_of(place: Place) -> str:
    """The path of a place as people write it: ``payload.items[3]["odd key"]``."""
    steps: list[str] = []
    while not isinstance(place, str):
        place, key = place
        if isinstance(key, int):
            steps.append(f"[{key}]")
        elif _WORD.fullmatch(key):
            steps.append(f".{key[:_LONGEST_KEY_SHOWN]}")
        else:
            steps.append(f"[{json.dumps(key[:_LONGEST_KEY_SHOWN])}]")
    return (place + "".join(reversed(steps))).removeprefix(".")


def over_payload(max_bytes: int) -> str:
    """What is wrong with a part of an input that is larger than what the parts before it leave."""
    return f"takes the input over {max_bytes} bytes (Limits.max_payload_bytes)"


def check_encodable(text: str, place: Place) -> None:
    """InvalidInput when ``text`` has a lone surrogate."""
    problem = text_problem(text)
    if problem is not None:
        refuse(place, problem, RejectionCode.NOT_ENCODABLE)


def check_json(value: Any, path: str, *, max_depth: int, max_bytes: int, used: int = 0) -> int:
    """The fewest bytes that ``value`` can take as JSON text; InvalidInput when it is not plain JSON or over a limit.

    Plain is None, bool, int, float, str, list and dict by exact type. The bytes bound the walk also where one list is
    in another many times, the depth bounds it where a list is in itself. ``used`` of them are taken already.
    """
    left = allowed = max_bytes - used
    stack: list[tuple[Place, Any, int]] = []
    left -= _check_leaf(value, path, stack, 1)
    while stack:
        place, node, depth = stack.pop()
        if depth > max_depth:
            refuse(place, f"is more than {max_depth} levels deep (Limits.max_depth)", RejectionCode.TOO_DEEP)
        left -= len('"":0,' if type(node) is dict else "0,") * len(node)
        if left < 0:
            break
        if type(node) is dict:
            for key, item in node.items():
                if type(key) is not str:
                    problem = f"has a key that is {type(key).__name__}; JSON has text keys only"
                    refuse(place, problem, RejectionCode.NOT_ENCODABLE)
                left -= _check_leaf(key, (place, key), stack, 0) + _check_leaf(item, (place, key), stack, depth + 1)
        else:
            for index, item in enumerate(node):
                left -= _check_leaf(item, (place, index), stack, depth + 1)
    if left < 0:
        refuse(path, over_payload(max_bytes), RejectionCode.TOO_LARGE)
    return allowed - left


def _check_leaf(value: Any, place: Place, stack: list[tuple[Place, Any, int]], depth: int) -> int:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            check_encodable(value, place)
        return len(value)
    if kind is dict or kind is list:
        stack.append((place, value, depth))
    elif kind is int:
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            problem = "is out of range; a number must fit into -2**63 to 2**64 - 1, or be a finite double"
            refuse(place, problem, RejectionCode.NUMBER_OUT_OF_RANGE)
    elif kind is float:
        if not isfinite(value):
            refuse(place, "must be finite; JSON has no NaN and no infinity", RejectionCode.NOT_ENCODABLE)
    elif value is not None and kind is not bool:
        problem = f"must be plain JSON (None, bool, int, float, str, list, dict), not {kind.__name__}"
        refuse(place, problem, RejectionCode.NOT_ENCODABLE)
    return 0


# -- text ----------------------------------------------------------------------------------------------------------


def strict_json(text: str | bytes, *, max_depth: int = DEEPEST) -> JSON:
    """The value of one JSON text in UTF-8.

    InvalidInput, with the path of the value or the position in the text, for: what is not JSON, a key that occurs twice
    in an object, NaN and Infinity, numbers out of range, more than ``max_depth`` levels, text that is not Unicode.
    """
    if isinstance(text, bytes):
        text = _decoded(text)
    _check_depth(text, max_depth)
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        problem = f"is not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise InvalidInput("", problem, RejectionCode.NOT_ENCODABLE) from error
    except RecursionError as error:
        raise InvalidInput("", "is nested deeper than the stack allows", RejectionCode.TOO_DEEP) from error
    check_json(value, "", max_depth=max_depth, max_bytes=LARGEST_BYTES)
    return value  # type: ignore[no-any-return]  # check_json has just told what it is


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start}; encode the text as UTF-8"
        raise InvalidInput("", problem, RejectionCode.NOT_ENCODABLE) from error


def _check_depth(text: str, max_depth: int) -> None:
    if text.count("[") + text.count("{") <= max_depth:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > max_depth:
                problem = f"is more than {max_depth} levels deep at character {token.start()}"
                raise InvalidInput("", problem, RejectionCode.TOO_DEEP)
        elif first in "]}":
            depth -= 1


def _integer(digits: str) -> int:
    # Longer ones are out of range anyway, and int() takes quadratic time or refuses them.
    return int(digits) if len(digits) <= len(str(SMALLEST_INTEGER)) else OUT_OF_RANGE


def _float(digits: str) -> float | int:
    number = float(digits)
    return number if isfinite(number) else OUT_OF_RANGE


def _constant(_name: str) -> float:
    return nan


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    value = dict(pairs)
    if len(value) != len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise InvalidInput(path_of(("", key)), "occurs twice in one object; each key may occur once")
    return value
