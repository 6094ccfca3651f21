"""Mutants: one small wrong change each, of a table or of a step of commit and recovery, and which check notices it.

A mutant never changes a source file. One of a table is a new table, put where the compiled ones are used; one of a step
replaces the function for a while. Checks are asked in the order of their cost, and the first one that notices ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from enum import StrEnum
from typing import Any, Final, Protocol, final

from attrs import Factory, define, frozen

from ..runtime import calls, core, stepper
from ..spec.commands import COMMANDS, CommandRow
from ..spec.errors import SpecError
from ..spec.input_lifecycle import INPUT_LIFECYCLE
from ..spec.machine import Machine
from ..spec.policy import DEFAULT_POLICY, Policy
from ..spec.runtime_state import RUNTIME_STATE
from ..spec.vocabulary import CommandName
from . import explorer_kinds

CONSTRUCTION: Final = "construction"
"""What notices a table that is ill-formed: it cannot be built."""


@final
class Part(StrEnum):
    """What a mutant changes."""

    MACHINE = "machine"
    COMMANDS = "commands"
    POLICY = "policy"
    CODE = "code"


@final
@frozen
class Tables:
    """All tables that the runtime interprets: the shipped ones, or with one change."""

    inputs: Machine[Any, Any] = INPUT_LIFECYCLE
    runtimes: Machine[Any, Any] = RUNTIME_STATE
    commands: dict[CommandName, CommandRow] = Factory(lambda: dict(COMMANDS))
    policy: Policy = DEFAULT_POLICY


Patch = Callable[[], AbstractContextManager[None]]


@contextmanager
def unchanged() -> Iterator[None]:
    """The patch of a mutant that leaves the code as it is."""
    yield


@contextmanager
def replaced(*changes: tuple[Any, str, object]) -> Iterator[None]:
    """Attributes of classes and modules with other values, until it is left."""
    with ExitStack() as stack:
        for owner, name, value in changes:
            stack.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, value)
        yield


@final
@frozen
class Mutant:
    """One wrong change: ``tables`` makes the tables (SpecError where they are ill-formed), ``patch`` the code."""

    part: Part
    name: str
    tables: Callable[[], Tables] = Tables
    patch: Patch = unchanged

    @property
    def label(self) -> str:
        """How reports and the list of equivalent mutants name it."""
        return f"{self.part}: {self.name}"

    @contextmanager
    def installed(self) -> Iterator[Tables]:
        """The tables and the code with this change, until it is left. Raises SpecError where a table is ill-formed."""
        tables = self.tables()
        with installed(tables), self.patch():
            yield tables


@contextmanager
def installed(tables: Tables) -> Iterator[None]:
    """``tables`` in the places where the runtime and the explorer use the shipped ones."""
    runtimes = tables.runtimes.compile()
    with replaced(
        (stepper, "INPUTS", tables.inputs.compile()),
        (stepper, "RUNTIMES", runtimes),
        (calls, "RUNTIMES", runtimes),
        (core, "COMMANDS", tables.commands),
        (explorer_kinds, "DEFAULT_POLICY", tables.policy),
    ):
        yield


class Check(Protocol):
    """Something that may notice a mutant. ``parts`` are the parts of which it says anything."""

    @property
    def name(self) -> str: ...

    @property
    def parts(self) -> frozenset[Part]: ...

    def notices(self, tables: Tables) -> str | None:
        """What is wrong with what is installed now, which includes ``tables``; None where nothing is."""
        ...


@final
@frozen
class Trial:
    """What became of one mutant: ``noticed`` has the first check that noticed it and what that said; ``died`` says how
    the process ended that tried it, if it did, and then nobody knows.
    """

    mutant: Mutant
    noticed: tuple[str, str] | None = None
    died: str | None = None

    @property
    def survived(self) -> bool:
        return self.noticed is None and self.died is None


def tried(mutant: Mutant, checks: Sequence[Check]) -> Trial:
    """Ask each check in turn until one notices ``mutant``."""
    try:
        with mutant.installed() as tables:
            for check in checks:
                if mutant.part not in check.parts:
                    continue
                found = check.notices(tables)
                if found is not None:
                    return Trial(mutant, (check.name, found))
    except SpecError as error:
        return Trial(mutant, (CONSTRUCTION, str(error)))
    return Trial(mutant)


@final
@define
class Score:
    """What the trials come to. ``explained`` are the survivors that are known to be equivalent, with the reason;
    ``died`` the mutants that nobody knows of, with how their process ended.
    """

    trials: list[Trial]
    equivalents: dict[str, str]

    @property
    def noticed(self) -> dict[str, int]:
        """How many mutants each check noticed first."""
        counts: dict[str, int] = {}
        for trial in self.trials:
            if trial.noticed is not None:
                counts[trial.noticed[0]] = counts.get(trial.noticed[0], 0) + 1
        return counts

    @property
    def survivors(self) -> list[str]:
        return [trial.mutant.label for trial in self.trials if trial.survived]

    @property
    def explained(self) -> dict[str, str]:
        return {label: self.equivalents[label] for label in self.survivors if label in self.equivalents}

    @property
    def unexplained(self) -> list[str]:
        return [label for label in self.survivors if label not in self.equivalents]

    @property
    def died(self) -> dict[str, str]:
        return {trial.mutant.label: trial.died for trial in self.trials if trial.died is not None}

    @property
    def percent(self) -> float:
        """Of the mutants that are not known to be equivalent, those that were noticed."""
        counted = len(self.trials) - len(self.explained)
        return 100.0 if counted == 0 else 100.0 * (counted - len(self.unexplained) - len(self.died)) / counted
