"""Values as TLC prints them, read back: ``None``, truth values, ints, texts, tuples, sets, records, functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, final

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>\"(?:[^\"\\]|\\.)*\")|(?P<int>-?\d+)|(?P<name>[A-Za-z_]\w*)|(?P<sign><<|>>|\|->|:>|@@|/\\|[\[\](){},=]))"
)
_NAMED: Final = {"TRUE": True, "FALSE": False, "None": None}
_ESCAPE: Final = re.compile(r"\\(.)")


@final
class _Tokens:
    """What is still to be read, one token looked at ahead."""

    def __init__(self, text: str) -> None:
        self._rest = self._split(text)
        self.kind, self.token = next(self._rest)

    @staticmethod
    def _split(text: str) -> Iterator[tuple[str, str]]:
        at, text = 0, text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise ValueError(f"{text[at : at + 40]!r} is no value of TLC")
            at = found.end()
            yield str(found.lastgroup), found[str(found.lastgroup)]
        while True:
            yield "", ""

    def take(self, expected: str | None = None) -> str:
        token = self.token
        if expected is not None and token != expected:
            raise ValueError(f"{token!r} stands where {expected!r} should")
        self.kind, self.token = next(self._rest)
        return token

    def accepts(self, token: str) -> bool:
        if self.token != token or self.kind == "text":
            return False
        self.take()
        return True


def read_value(text: str) -> Any:
    """One value. Tuples become tuples, sets frozensets (of hashable members), records and functions dicts.

    Raises ValueError where the text is none.
    """
    tokens = _Tokens(text)
    value = _value(tokens)
    if tokens.kind:
        raise ValueError(f"{tokens.token!r} stands after the value")
    return value


def read_state(text: str) -> dict[str, Any]:
    r"""A state as a conjunction: ``/\ x = 1 /\ y = "a"``, or one equation alone."""
    tokens, state = _Tokens(text), {}
    while tokens.kind:
        tokens.accepts("/\\")
        name = tokens.take()
        tokens.take("=")
        state[name] = _value(tokens)
    return state


def frozen_value(value: Any) -> Any:
    """``value`` with dicts as sorted tuples of pairs, so that it can be a member of a set."""
    if isinstance(value, dict):
        return tuple(sorted((name, frozen_value(each)) for name, each in value.items()))
    return tuple(map(frozen_value, value)) if isinstance(value, tuple) else value


def _value(tokens: _Tokens) -> Any:
    kind, token = tokens.kind, tokens.take()
    match kind:
        case "text":
            return _ESCAPE.sub(r"\1", token[1:-1])
        case "int":
            return int(token)
        case "name":
            return _NAMED.get(token, token)
    return _compound(tokens, token)


def _compound(tokens: _Tokens, opening: str) -> Any:
    match opening:
        case "<<":
            return tuple(_items(tokens, ">>"))
        case "{":
            return frozenset(frozen_value(each) for each in _items(tokens, "}"))
        case "[":
            return dict(_pairs(tokens, "|->", ",", "]"))
        case "(":
            return dict(_pairs(tokens, ":>", "@@", ")"))
    raise ValueError(f"{opening!r} begins no value of TLC")


def _items(tokens: _Tokens, end: str) -> Iterator[Any]:
    while not tokens.accepts(end):
        yield _value(tokens)
        tokens.accepts(",")


def _pairs(tokens: _Tokens, arrow: str, separator: str, end: str) -> Iterator[tuple[Any, Any]]:
    while not tokens.accepts(end):
        name = _value(tokens)
        tokens.take(arrow)
        yield name, _value(tokens)
        tokens.accepts(separator)
