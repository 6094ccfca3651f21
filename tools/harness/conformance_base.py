"""What the parts of the conformance suite share: how a store is opened, what it says it can, and what always holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum, unique
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast, final
from unittest.mock import patch

import pytest
from attrs import define, field

from ...runtime.store import RuntimeStore
from ...spec.errors import HoldstateError
from .faulty_store import FaultyStore, Plan
from .references import resolve
from .workload import RUNTIME, content_of, runtimes_of, session_of

T = TypeVar("T")


@final
@unique
class Capability(StrEnum):
    """What a store can do beyond the protocol. What is not declared is not tested, and a skipped test says so."""

    DURABLE = "durable"
    """What was written is there after ``close()`` and another ``open_store`` of the same place."""
    PROCESSES = "processes"
    """Several processes may have it open, and a killed one harms nobody. Needs ``factory``."""
    THREADS = "threads"
    """It may be read on one thread while another one writes."""
    FAIL_INSIDE = "fail_inside"
    """``fail_inside`` can make its own inner writes fail."""


@final
class SuiteMisused(HoldstateError, TypeError):
    """A conformance class does not say enough; the sentence says what to add."""

    def __init__(self, suite: str, problem: str) -> None:
        self.suite = suite
        self.problem = problem
        super().__init__(f"{suite}: {problem}")


class InnerFault(Protocol):
    """What ``fail_inside`` gives: whether the fault struck."""

    struck: bool


@final
@define(eq=False)
class Home:
    """One place with a store in it. ``store`` is the open store; faults are put before it by ``faulty``."""

    suite: ConformanceBase
    location: Path
    store: RuntimeStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = self.suite.open_store(self.location)

    def crash(self) -> RuntimeStore:
        """The process ends: whoever used the store is gone. A durable store is opened anew."""
        if Capability.DURABLE in self.suite.capabilities:
            self.store.close()
            self.store = self.suite.open_store(self.location)
        return self.store

    def faulty(self, plan: Plan | None = None) -> FaultyStore:
        """The store behind faults."""
        return FaultyStore(self.store, plan or Plan())


class ConformanceBase:
    """See ``RuntimeStoreConformance``."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    factory: ClassVar[str] = ""
    kills: ClassVar[int] = 10
    seed: ClassVar[int] = 1

    # -- what a subclass says -------------------------------------------------------------------------------------

    def open_store(self, location: Path) -> RuntimeStore:
        """An open store in ``location``, a path that nothing else uses; a durable one keeps there what it keeps.

        By default ``factory``, a ``module:NAME``, is called with the path.
        """
        if not self.factory:
            raise SuiteMisused(type(self).__name__, "override open_store(), or set factory = 'module:NAME'")
        return cast("Callable[[str], RuntimeStore]", resolve(self.factory))(str(location))

    def fail_inside(self, store: RuntimeStore, step: int) -> AbstractContextManager[InnerFault]:
        """For ``FAIL_INSIDE``: inside, the ``step``-th inner write of ``store`` (from 0) raises; ``struck`` says
        whether there was one.
        """
        raise SuiteMisused(type(self).__name__, "Capability.FAIL_INSIDE is declared: override fail_inside()")

    # -- what the tests use ---------------------------------------------------------------------------------------

    def needs(self, capability: Capability, what: str) -> None:
        """Skip, with a notice, where the store does not say that it can."""
        if capability not in self.capabilities:
            pytest.skip(f"{type(self).__name__} does not declare Capability.{capability.name}: {what} is not tried")

    def place(self, tmp_path: Path) -> Path:
        """The folder in which stores are made: one for each test. Override it for another disk."""
        return tmp_path

    @pytest.fixture
    def homes(self, tmp_path: Path) -> Iterator[Callable[[], Home]]:
        """Makes homes, each of its own, and closes them at the end."""
        made: list[Home] = []

        def new_home() -> Home:
            made.append(Home(self, self.place(tmp_path) / f"store-{len(made)}"))
            return made[-1]

        yield new_home
        for home in made:
            home.store.close()

    @pytest.fixture
    def home(self, homes: Callable[[], Home]) -> Home:
        """One home."""
        return homes()


def run(main: Coroutine[Any, Any, T]) -> T:
    """``main`` to its end, in a loop of its own."""
    return asyncio.run(main)


def assert_sound(store: RuntimeStore) -> None:
    """``verify`` finds nothing, and what each runtime's record counts is there."""
    assert store.verify() == []
    for record in runtimes_of(store):
        content = content_of(store, record.runtime_id)
        assert content is not None
        active = sum(not each.is_terminal for each in content.inputs)
        counted = (record.counts.active, record.counts.ended, record.counts.keys, record.counts.receipts)
        assert counted == (active, len(content.inputs) - active, len(content.keys), len(content.receipts))
        assert record.has_snapshot == (content.snapshot is not None)


def assert_session_is_that_of_the_receipts(store: RuntimeStore, runtime_id: str = RUNTIME) -> None:
    """The session of ``Scribe`` lists exactly the inputs that boundaries list, each once."""
    content = content_of(store, runtime_id)
    assert content is not None
    session = session_of(content.snapshot)
    listed = [str(each) for receipt in content.receipts for each in receipt.contributing_input_ids]
    assert sorted(session) == sorted(listed), "the session and the receipts were not committed together"
    assert len(set(session)) == len(session), "an input is in the session twice"


@contextmanager
def failing_at(step: int, owner: object, name: str) -> Iterator[Countdown]:
    """Help for ``fail_inside``: inside, the ``step``-th call (from 0) of the method ``name`` of ``owner``, a class or
    an object, raises OSError before it does anything.
    """
    method, countdown = getattr(owner, name), Countdown(step)

    def counted(*given: Any, **named: Any) -> Any:
        countdown.count()
        return method(*given, **named)

    with patch.object(owner, name, counted):
        yield countdown


@final
@define(eq=False)
class Countdown:
    """Counts calls down and raises OSError at the one that was named."""

    left: int
    struck: bool = False

    def count(self) -> None:
        """One call more."""
        self.left -= 1
        if self.left == -1:
            self.struck = True
            raise OSError("injected: an inner write failed")
