"""What an event loop will do from here, as a digest: equal digests stand for states with the same futures.

A digest covers everything that is reachable from the callbacks that are ready, the timers and the main task: objects
with all their attributes, closures, and of each coroutine where it waits and its variables. Which object refers to
which counts, addresses do not; of minted ids counts where they occur (C13: nothing depends on their values). The walk
is closed: an object of a type that it does not know is an error (``UnknownState``), so nothing that could make a
difference is left out by accident. Left out on purpose is what no code under test reads: names of tasks, context
variables, what modules hold, statistics of a store, and how far the source of chance has come, which mints ids alone.

The order of the ready callbacks does not count, as whoever asks tries all of them. Where the walk cannot tell which of
two unordered things comes first, equal states may get two digests; that costs time, and hides nothing.
"""

from __future__ import annotations

import asyncio
import gc
import marshal
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import cache, partial
from hashlib import blake2b
from logging import Logger
from random import Random
from threading import RLock
from typing import Any, Final, final
from uuid import UUID

from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.service_settings import ServiceSettings
from holdstate.stores.memory_store import MemoryStore

STATISTICS: Final = frozenset((MemoryStore, name) for name in ("_commits", "_rows_written", "_bytes_written"))
"""Attributes that only ``stats`` of a store reads, which nothing under test asks for meanwhile."""

SIGNATURE: Final = 150
"""Tokens by which unordered things are put in order."""

_HEAP_TYPE: Final = 1 << 9
"""Of ``type.__flags__``: a class that was made by a class statement, so that its attributes are all there is."""

Expanded = tuple[Any, Iterable[Any]]


@final
class UnknownState(AssertionError):
    """The walk met something whose state it cannot read."""

    def __init__(self, found: object) -> None:
        self.found = found
        super().__init__(f"a {type(found).__module__}.{type(found).__qualname__} is reachable: {found!r}")


def digest_of(ready: Iterable[asyncio.Handle], others: Iterable[object]) -> bytes:
    """A digest of the state of a loop: what is ready, in any order, and ``others`` in theirs."""
    walk = Walk()
    walk.visit([*_in_order(ready), "others", *others])
    return blake2b(marshal.dumps(walk.tokens, 2), digest_size=16).digest()


@final
class Walk:
    """One traversal, depth first; ``tokens`` describe the graph up to the identity of its objects."""

    def __init__(self, limit: int | None = None) -> None:
        self.tokens: list[Any] = []
        self._limit = limit
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []
        self._ids: dict[UUID, int] = {}

    def visit(self, roots: Iterable[object]) -> None:
        """Add what is reachable from ``roots``."""
        tokens, numbers, kept, ids = self.tokens, self._numbers, self._kept, self._ids
        waiting = list(roots)[::-1]
        while waiting and (self._limit is None or len(tokens) < self._limit):
            found = waiting.pop()
            kind = type(found)
            if kind in _ATOMS:
                tokens.append(found)
            elif isinstance(found, UUID):
                tokens.append(("id", ids.setdefault(found, len(ids))))
            elif id(found) in numbers:
                tokens.append((numbers[id(found)],))
            else:
                numbers[id(found)] = len(numbers)
                kept.append(found)  # so that no other object gets its address
                label, parts = _expander_of(kind)(found)
                children = list(parts)
                tokens += (label, len(children))
                children.reverse()
                waiting += children


def _in_order(unordered: Iterable[Any]) -> list[Any]:
    things = list(unordered)
    return things if len(things) < 2 else sorted(things, key=_signature)


def _signature(thing: object) -> bytes:
    walk = Walk(SIGNATURE)
    walk.visit([thing])
    return marshal.dumps(walk.tokens, 2)


# -- what is in an object ----------------------------------------------------------------------------------------------


def _items(found: Mapping[Any, Any]) -> Expanded:
    return type(found).__qualname__, [each for pair in found.items() for each in pair]


def _set(found: Iterable[Any]) -> Expanded:
    return "set", _in_order(found)


def _sequence(found: Iterable[Any]) -> Expanded:
    return type(found).__qualname__, found


def _nothing(found: Any) -> Expanded:
    return type(found).__qualname__, ()


def _named(found: Any) -> Expanded:
    return f"{getattr(found, '__module__', '')} {getattr(found, '__qualname__', None) or found.__name__}", ()


def _shown(found: object) -> Expanded:
    return repr(found), ()


def _function(found: types.FunctionType) -> Expanded:
    label = f"{found.__module__} {found.__qualname__} {found.__code__.co_firstlineno}"
    return label, (*(found.__closure__ or ()), found.__defaults__, found.__kwdefaults__)


def _cell(found: types.CellType) -> Expanded:
    try:
        return "cell", (found.cell_contents,)
    except ValueError:
        return "empty cell", ()


def _method(found: types.MethodType) -> Expanded:
    return "method", (found.__func__, found.__self__)


def _builtin(found: Any) -> Expanded:
    return f"builtin {found.__name__}", (found.__self__,)


def _suspended(prefix: str) -> Callable[[Any], Expanded]:
    def expand(found: Any) -> Expanded:
        code, frame = getattr(found, f"{prefix}_code"), getattr(found, f"{prefix}_frame")
        if frame is None:
            return f"ended {code.co_qualname}", ()
        local = frame.f_locals
        names = " ".join(local)
        if code is _WAIT:
            parts = [value for name, value in local.items() if name != "f"] + [found.cr_await]
        else:
            parts = [each for each in gc.get_referents(found) if not (each is local or type(each) in _PARTS_OF_A_FRAME)]
        if type(local) is dict:
            local.clear()  # a copy that the frame keeps until it is asked again; it must not keep anything alive
        return f"{code.co_qualname} {code.co_firstlineno} {frame.f_lasti} {names}", parts

    return expand


def _future(found: Any) -> Expanded:
    failure = found._exception
    parts = [found._state, found._callbacks, failure if failure is not None or not found.done() else _result(found)]
    parts.append(getattr(found, "__dict__", None))
    if issubclass(type(found), asyncio.Task):
        parts += [found.get_coro(), found._fut_waiter, found._must_cancel, found.cancelling(), found._cancel_message]
    return type(found).__name__, parts


def _result(found: asyncio.Future[Any]) -> Any:
    return None if found.cancelled() else found.result()


def _handle(found: Any) -> Expanded:
    when = found.when() if isinstance(found, asyncio.TimerHandle) else 0.0
    return f"handle {found._cancelled} {when}", (found._args, found._callback)


def _partial(found: partial[Any]) -> Expanded:
    return "partial", (found.func, found.args, found.keywords)


def _error(found: BaseException) -> Expanded:
    return type(found).__qualname__, (found.args, vars(found), found.__cause__, found.__context__)


def _referents(found: object) -> Expanded:
    return type(found).__qualname__, gc.get_referents(found)


def _reduced(found: Any) -> Expanded:
    return type(found).__qualname__, found.__reduce__()[1:]


def _attributes(found: object) -> Expanded:
    kind: Any = type(found)
    names = [*_slots_of(kind), *(name for name in getattr(found, "__dict__", ()) if (kind, name) not in STATISTICS)]
    parts = [part for name in names for part in (name, getattr(found, name, None))]
    return f"{kind.__module__} {kind.__qualname__}", parts


@cache
def _slots_of(kind: Any) -> tuple[str, ...]:
    names: list[str] = []
    for each in kind.__mro__:
        slots = each.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else slots
    return tuple(name for name in names if name not in {"__weakref__", "__dict__"})


_ATOMS: Final = frozenset({int, float, bool, str, bytes, type(None), type(Ellipsis)})

_PARTS_OF_A_FRAME: Final = frozenset({types.FrameType, types.CodeType, types.TracebackType})

_WAIT: Final = asyncio.tasks._wait.__code__  # type: ignore[attr-defined]
"""Keeps the last one of a set that it went through, which one depends on addresses, and never looks at it again."""

_OPAQUE: Final = {
    "async_generator_asend",
    "async_generator_athrow",
    "coroutine_wrapper",
    "FutureIter",
    "TaskStepMethWrapper",
    "method-wrapper",
}
"""Parts of the interpreter that only hold on to something; where they stand follows from the coroutine around them."""

_EXPANDERS: Final[dict[type, Callable[[Any], Expanded]]] = {
    **dict.fromkeys((dict, OrderedDict, types.MappingProxyType), _items),
    **dict.fromkeys((list, tuple, deque), _sequence),
    **dict.fromkeys((set, frozenset), _set),
    **dict.fromkeys((Context, Logger, types.ModuleType, type(RLock()), Random, object), _nothing),
    **dict.fromkeys((RuntimeSettings, ServiceSettings), _nothing),
    **dict.fromkeys((datetime, timedelta, timezone), _shown),
    **dict.fromkeys((type(iter([])), type(iter(())), type(iter({})), type(iter({}.values()))), _reduced),
    types.FunctionType: _function,
    types.CellType: _cell,
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin,
    types.CoroutineType: _suspended("cr"),
    types.GeneratorType: _suspended("gi"),
    types.AsyncGeneratorType: _suspended("ag"),
    asyncio.Future: _future,
    asyncio.Task: _future,
    asyncio.Handle: _handle,
    asyncio.TimerHandle: _handle,
    partial: _partial,
    weakref.ref: lambda found: ("ref", (found(),)),
}


_BY_BASE: Final[tuple[tuple[type, Callable[[Any], Expanded]], ...]] = (
    (type, _named),
    (Enum, _shown),
    (asyncio.AbstractEventLoop, _nothing),
    (asyncio.Future, _future),
    (BaseException, _error),
    (dict, _items),
    (tuple, _sequence),
    (list, _sequence),
)


def _expander_of(kind: type) -> Callable[[Any], Expanded]:
    expander = _EXPANDERS.get(kind)
    if expander is None:
        expander = _EXPANDERS[kind] = _choose(kind)
    return expander


def _choose(kind: type) -> Callable[[Any], Expanded]:
    for base, expander in _BY_BASE:
        if issubclass(kind, base):
            return expander
    if kind.__name__ in _OPAQUE:
        return _referents
    is_plain = all(each.__flags__ & _HEAP_TYPE for each in kind.__mro__[:-1])
    return _attributes if is_plain else _refused


def _refused(found: object) -> Expanded:
    raise UnknownState(found)
