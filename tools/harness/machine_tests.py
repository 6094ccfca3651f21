"""A Hypothesis test made from a machine and an adapter, and the same without Hypothesis along paths of the table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, StrEnum
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar, Final, cast
from unittest import TestCase
from uuid import UUID

from hypothesis import Phase
from hypothesis import settings as Settings  # noqa: N812 - it is a class
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ...spec.machine import Param
from .adapters import NewAdapter
from .misuse import HarnessMisused, check_adapter_maker, check_parameters
from .moves import AnyMachine, Choices, Move, Values, check_values, chosen, worth_trying
from .paths import Path as MovePath
from .paths import refusals_at
from .player import Broken, Invariant, Player
from .replay import Subject, file_name, write_failure
from .shrinking import smaller

FAILURES_VARIABLE: Final = "HOLDSTATE_FAILURES"
FAILURES_FOLDER: Final = ".holdstate-failures"

Strategies = Mapping[str, st.SearchStrategy[Any]]


def failures_folder() -> Path:
    """Where failures are written: the environment variable ``HOLDSTATE_FAILURES``, else ``.holdstate-failures``."""
    return Path(os.environ.get(FAILURES_VARIABLE) or FAILURES_FOLDER)


class MachineHarness(RuleBasedStateMachine):
    """Plays random moves on a machine and a system side by side. Made by ``machine_harness``.

    ``TestCase`` is what pytest runs. It makes a failure small, writes it and raises it.
    """

    subject: ClassVar[Subject]
    strategies: ClassVar[Strategies]
    failures: ClassVar[list[Broken]]
    """The last one that was played, if any."""

    @initialize()
    def begin(self) -> None:
        """Bring both up."""
        subject = self.subject
        self.player = Player(subject.machine, subject.new_adapter, subject.invariants)
        self._guarded(None)

    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """One move of one kind. A single rule, since Hypothesis leaves rules out of most examples."""
        choices = self.choices()
        kinds = ["advance"] * 5 + ["vary"] * 2 if choices.taken else ["begin anew"]
        kinds += ["miss"] * 2 if choices.missed else []
        kinds += ["disturb"] * 2 + (["crash"] if self.player.can_crash() else [])
        makers = {
            "advance": self._advance,
            "vary": self._vary,
            "miss": self._miss,
            "disturb": self._disturb,
            "crash": self._crash,
            "begin anew": self._begin_anew,
        }
        makers[data.draw(st.sampled_from(kinds), label="kind")](data)

    def _advance(self, data: st.DataObject) -> None:
        """A row of the present state is taken, where its parameters have no strategy that decides otherwise."""
        self._make(data, self._drawn(data, self.choices().taken))

    def _vary(self, data: st.DataObject) -> None:
        """The same, but one parameter has any value at all."""
        move = self._drawn(data, self.choices().taken)
        declared = self.subject.machine.events[cast("StrEnum", move.event)]
        if declared:
            param = data.draw(st.sampled_from(declared), label="parameter")
            move = Move(move.event, {**move.params, param.name: data.draw(strategy_of(param), label="value")})
        self._make(data, move)

    def _miss(self, data: st.DataObject) -> None:
        """An event that has a row here, with parameters that its guard refuses, often just so."""
        self._make(data, self._drawn(data, self.choices().missed))

    def _disturb(self, data: st.DataObject) -> None:
        """Any event with any parameters, so mostly a refused one."""
        event = data.draw(st.sampled_from(tuple(self.subject.machine.events)), label="event")
        params = {
            param.name: data.draw(self._values(event, param), label=param.name)
            for param in self.subject.machine.events[event]
        }
        self._guarded(Move(event, params))

    def _crash(self, _data: st.DataObject) -> None:
        """The system dies and comes back."""
        self._guarded(Move(None))

    def _begin_anew(self, _data: st.DataObject) -> None:
        """Nothing more can happen to this system; the next one."""
        self.player.close()
        self.begin()

    def choices(self) -> Choices:
        """What may be worth doing in the present state."""
        player = self.player
        return Choices.at(player.machine, player.state, tuple(player.fields.items()))

    def _drawn(self, data: st.DataObject, among: Sequence[Sequence[Move]]) -> Move:
        group = among[data.draw(st.integers(0, len(among) - 1), label="row")]
        drawn: Move = data.draw(st.sampled_from(group), label="move")
        return drawn

    def _make(self, data: st.DataObject, move: Move) -> None:
        """Make ``move``, with what the given strategies say in place of its parameters."""
        self._guarded(Move(move.event, {**move.params, **self._overridden(data, move)}))

    def teardown(self) -> None:
        """End the example."""
        if hasattr(self, "player"):
            self.player.close()

    def _overridden(self, data: st.DataObject, move: Move) -> dict[str, Any]:
        """Values from the given strategies."""
        event = cast("StrEnum", move.event)
        given = {param.name: chosen(self.strategies, event, param) for param in self.subject.machine.events[event]}
        return {name: data.draw(values, label=name) for name, values in given.items() if values is not None}

    def _values(self, event: StrEnum, param: Param) -> st.SearchStrategy[Any]:
        given = chosen(self.strategies, event, param)
        if given is not None:
            return given
        known = worth_trying(self.subject.machine, param, self.player.fields)
        return st.sampled_from(known) | strategy_of(param)

    def _guarded(self, move: Move | None) -> None:
        """Make a move (None: start), and keep what breaks."""
        try:
            if move is None:
                self.player.start()
            else:
                self.player.play(move)
        except Broken as broken:
            self.failures[:] = [broken]
            raise


def strategy_of(param: Param) -> st.SearchStrategy[Any]:
    """Any value of the declared type, None too where it is optional."""
    kinds: dict[type, st.SearchStrategy[Any]] = {
        int: st.integers(),
        str: st.text(max_size=20),
        bool: st.booleans(),
        UUID: st.uuids(),
    }
    values = st.sampled_from(param.type) if issubclass(param.type, Enum) else kinds[param.type]
    return st.none() | values if param.optional else values


def machine_harness(
    machine: AnyMachine,
    adapter: NewAdapter,
    *,
    params: Strategies | None = None,
    invariants: Iterable[Invariant] = (),
    settings: Settings | None = None,
    name: str | None = None,
) -> type[MachineHarness]:
    """A rule-based state machine that plays ``machine`` against what ``adapter()`` makes; its ``TestCase`` is a test.

    ``params`` are strategies for parameters, by ``event.param`` or ``param``; without one, values come from the
    declared type, and from the constants and fields that guards compare with. ``settings`` are Hypothesis's, but for
    the phases shrink and explain: the harness makes a failure small itself. It is written into ``failures_folder()``
    under ``name`` (by default that of the machine), see ``file_name``.

    Raises SpecError for a strategy of a parameter that is not declared, HarnessMisused for what is no machine, no
    strategy or no maker of adapters.
    """
    strategies = dict(params or {})
    check_adapter_maker(adapter)
    check_parameters(machine, strategies, st.SearchStrategy, "a strategy of Hypothesis")
    subject = Subject(machine, adapter, tuple(invariants))
    given = settings or Settings()
    phases = set(given.phases) - {Phase.explain, Phase.shrink}  # see shrinking.py
    wanted = Settings(given, phases=phases, report_multiple_bugs=False)
    title = name or machine.name
    parts = {"subject": subject, "strategies": strategies, "failures": [], "__module__": MachineHarness.__module__}
    harness = cast("type[MachineHarness]", type(f"{_class_name(title)}Harness", (MachineHarness,), parts))
    setattr(harness, "TestCase", _test_case(harness, subject, title, wanted))  # noqa: B010 - a property of the base
    return harness


def _class_name(title: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"\W|_", title))


def _test_case(harness: type[MachineHarness], subject: Subject, name: str, wanted: Settings) -> type[TestCase]:
    class MachineTestCase(TestCase):
        settings = wanted

        def runTest(self) -> None:  # noqa: N802 - unittest's name
            """The system does what the machine says."""
            harness.failures.clear()
            try:
                run_state_machine_as_test(harness, settings=self.settings)
            except Exception:
                if not harness.failures:  # it is no failure of the system
                    raise
            if harness.failures:
                broken = smaller(subject, harness.failures[-1])
                tell(broken, subject, name)
                raise broken

    MachineTestCase.__name__ = MachineTestCase.__qualname__ = f"Test{_class_name(name)}"
    return MachineTestCase


def tell(broken: Broken, subject: Subject, name: str) -> None:
    """Write the failure, and add to it what happened and how to see it again."""
    from ..trace_text import trace_text

    path = write_failure(broken, subject, name, failures_folder())
    broken.add_note(trace_text(broken.trace))
    broken.add_note(f"replay it: holdstate test replay {quote(str(path))}")
    broken.add_note(f"look at it: {path.with_name(f'{file_name(name)}.html')}")


def check_paths(
    machine: AnyMachine,
    adapter: NewAdapter,
    paths: Iterable[MovePath],
    *,
    invariants: Iterable[Invariant] = (),
    values: Values | None = None,
    refusals: bool = True,
    name: str | None = None,
) -> int:
    """Play every path, and the empty one, on a system of its own, without Hypothesis; returns how many were played.

    At the end of each, every event that is refused there is tried too (unless not ``refusals``), with ``values`` as in
    ``all_paths``, and where the adapter can, the system is crashed and restarted. Raises Broken for the first path that
    fails, after writing it, SpecError and HarnessMisused for arguments that cannot be played.
    """
    check_values(machine, values)
    subject = Subject(machine, adapter, tuple(invariants))
    played = 0
    for path in chain([()], paths):
        _check_path(path)
        player = Player(machine, adapter, subject.invariants)
        try:
            player.start()
            for move in path:
                player.play(move)
            if refusals:
                for move in refusals_at(machine, player.state, dict(player.fields), values):
                    player.play(move)
            if player.can_crash():
                player.play(Move(None))
        except Broken as error:
            broken: Broken | None = error
        else:
            broken = None
        finally:
            player.close()
        if broken is not None:
            broken = smaller(subject, broken)
            tell(broken, subject, name or machine.name)
            raise broken
        played += 1
    return played


def _check_path(path: object) -> None:
    if not (isinstance(path, Sequence) and all(isinstance(move, Move) for move in path)):
        raise HarnessMisused("paths", f"{path!r} is no path; give several paths, each a sequence of Move")
