"""Four things that step a machine: compiled table, python-statemachine class, TLA+ module, driver (C50).

Each is a function from a case, an event with its parameters in a state with its fields, to the state and the fields
after it, or to None where it is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import StrEnum
from itertools import product
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from attrs import Factory, define, evolve, frozen
from statemachine.exceptions import TransitionNotAllowed

from holdstate.runtime import core
from holdstate.runtime.commands import Command
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.ids import RunId
from holdstate.runtime.image import RuntimeImage
from holdstate.runtime.inputs import PromptInput
from holdstate.runtime.outcomes import Accepted
from holdstate.runtime.records import InputRecord, RuntimeRecord, stored_form
from holdstate.spec import COMMANDS, CommandRow, Expression, Machine, TransitionRefused, const
from holdstate.spec.commands import InputGroup, Rule, Selection, Send
from holdstate.spec.tla import tla_value
from holdstate.spec.tla_machine import TlaBounds, domain_of, read_fields
from holdstate.spec.vocabulary import CommandName, InputState, RuntimeState
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools.explorer_kinds import NOW
from holdstate.tools.mutation import replaced
from holdstate.tools.tla_agreement import graph_steps
from holdstate.tools.tla_values import read_value
from holdstate.tools.tlc import StateGraph

AnyMachine = Machine[Any, Any]
After = tuple[StrEnum, Mapping[str, object]]
Side = Callable[["Case"], After | None]

BOUNDS: Final = TlaBounds()
RUNTIME: Final = "agreement"
_NAMES: Final = {f"id{number + 1}": UUID(int=number + 1) for number in range(BOUNDS.ids)}
_NAME_OF: Final = {value: name for name, value in _NAMES.items()}


@frozen
class Case:
    """One thing that is tried. ``guards`` are the outcomes of the guards of the rows of this state and event, in order:
    with the state and the event they name the cell.
    """

    state: Any
    fields: Mapping[str, Any]
    event: Any
    params: Mapping[str, Any]
    guards: tuple[bool, ...]

    @property
    def cell(self) -> tuple[StrEnum, StrEnum, tuple[bool, ...]]:
        return self.state, self.event, self.guards


def cases(machine: AnyMachine) -> Iterator[Case]:
    """Every state with every value of the fields that rows read, and every event with every value of its parameters."""
    read = read_fields(machine)
    domains = [_domain(machine, each) if each in read else (each.default,) for each in machine.fields]
    names = [each.name for each in machine.fields]
    situations = [dict(zip(names, values, strict=True)) for values in product(*domains)]
    for state in machine.states:
        for event, declared in machine.events.items():
            rows = [row for row in machine.transitions if row.event == event and state in row.source]
            tried = [
                dict(zip((each.name for each in declared), given, strict=True))
                for given in product(*(_domain(machine, each) for each in declared))
            ]
            for fields, params in product(situations, tried):
                guards = tuple(bool(row.guard.evaluate(fields, params)) for row in rows)
                yield Case(state, fields, event, params, guards)


def _domain(machine: AnyMachine, declared: Any) -> tuple[Any, ...]:
    values = domain_of(declared, machine, BOUNDS)
    return tuple(_NAMES.get(value, value) if isinstance(value, str) else value for value in values)


# -- the sides ---------------------------------------------------------------------------------------------------------


def compiled(machine: AnyMachine) -> Side:
    """The compiled table."""
    table = machine.compile()

    def step(case: Case) -> After | None:
        try:
            found = table.step(case.state, case.event, dict(case.fields), dict(case.params))
        except TransitionRefused:
            return None
        return found.target, {**case.fields, **found.sets}

    return step


def chart(machine: AnyMachine) -> Side:
    """The class of ``Machine.statechart()``."""
    made: Any = machine.statechart()

    def step(case: Case) -> After | None:
        each = made(start_value=case.state, fields=dict(case.fields))
        try:
            each.send(case.event, **case.params)
        except TransitionNotAllowed:
            return None
        return each.current, each.fields

    return step


def model_checked(machine: AnyMachine, graph: StateGraph) -> Side:
    """TLC's graph of the module of single steps."""
    found = {(before, step): after for before, step, after in graph_steps(machine, graph)}
    states = {str(state): state for state in machine.states}
    spelled = {_spelled(value): value for value in _values(machine)}

    def step(case: Case) -> After | None:
        before = (str(case.state), *map(_spelled, case.fields.values()))
        after = found.get((before, (str(case.event), *map(_spelled, case.params.values()))))
        if after is None:
            return None
        values = (spelled.get(value, value) for value in after[1:])
        return states[after[0]], dict(zip(case.fields, values, strict=True))

    return step


def _spelled(value: Any) -> Any:
    """A value as it comes back from TLC."""
    return read_value(tla_value(_NAME_OF.get(value, value)))


def _values(machine: AnyMachine) -> set[Any]:
    """Members of enums, ids and texts, which TLC has under other names."""
    declared = (*machine.fields, *(param for params in machine.events.values() for param in params))
    values = {value for each in declared for value in _domain(machine, each)}
    values |= {value.value for row in machine.transitions for _, value in row.sets if hasattr(value, "value")}
    return {value for value in values if not isinstance(value, int) and value is not None}


# -- the driver --------------------------------------------------------------------------------------------------------

_INPUT_FIELDS: Final = MappingProxyType({"terminal_outcome": "outcome_kind"})
"""Where a record has another name for a field of its machine."""


@define
class _Probe(Command):
    """Stands for the command whose row the probe has; ``params`` are what the runtime's event brings along."""

    name = CommandName.ATTACH
    params: Mapping[str, Any] = Factory(dict)

    def facts(self) -> dict[str, object]:
        return dict(self.params)


@define
class _InputProbe(Command):
    name = CommandName.CANCEL
    input_id: Any = None


class Driver:
    """A real driver over a memory store, put into any state, and asked to send one event by a row of its own."""

    def __init__(self, driver: PersistentRuntimeDriver, store: MemoryStore, record: InputRecord) -> None:
        self._driver = driver
        self._store = store
        self._runtime = driver._actor.image.runtime
        self._record = record

    @classmethod
    async def open(cls) -> Driver:
        """One runtime with one queued prompt."""
        store = MemoryStore()
        settings = RuntimeSettings(max_history=1)
        driver = await PersistentRuntimeDriver.open(
            RUNTIME, store, settings=settings, environment=Environment(now=lambda: NOW)
        )
        accepted = await driver.accept_input(PromptInput.new("prompt", timestamp=NOW))
        assert isinstance(accepted, Accepted)
        return cls(driver, store, accepted.record)

    def _place(self, runtime: RuntimeRecord, record: InputRecord) -> None:
        """Memory and store hold these two, with whatever revision they had."""
        actor = self._driver._actor
        runtime = evolve(runtime, revision=actor.image.runtime.revision)
        actor.image = RuntimeImage(runtime, (record,))
        actor.image.inputs[record.input_id] = record  # one that ended, too
        actor.committed, actor.handed_out = runtime, runtime.current_run_id
        tables = self._store._tables
        rows = tables.rows[RUNTIME]
        rows.ended.clear()
        rows.active[record.order] = record
        rows.bodies.setdefault(record.order, b"")
        tables.records[RUNTIME] = stored_form(runtime)

    async def input_step(self, case: Case) -> After | None:
        """An event of the machine of inputs, as the one rule of a command that names the input."""
        fields = {_INPUT_FIELDS.get(name, name): value for name, value in case.fields.items()}
        self._place(self._runtime, evolve(self._record, state=case.state, **fields))
        given: dict[str, Expression] = {name: const(value) for name, value in case.params.items()}
        rule = Rule(tuple(InputState), (Send(case.event, given),))
        row = CommandRow(CommandName.CANCEL, "A probe.", inputs=(InputGroup(Selection.NAMED, (rule,)),))
        if not await self._send(row, _InputProbe(NOW, self._record.input_id)):
            return None
        rows = self._store._tables.rows[RUNTIME]
        stored = rows.find(self._record.input_id)
        assert stored is not None
        remembered = self._driver._actor.image.inputs.get(self._record.input_id)
        assert remembered == (None if stored.is_terminal else stored)
        return stored.state, {name: getattr(stored, _INPUT_FIELDS.get(name, name)) for name in case.fields}

    async def runtime_step(self, case: Case) -> After | None:
        """An event of the machine of runtimes, as the one event of a command."""
        fields = dict(case.fields)
        run = fields["current_run_id"]
        fields["current_run_id"] = None if run is None else RunId(run)
        self._place(evolve(self._runtime, state=case.state, **fields), self._record)
        row = CommandRow(CommandName.ATTACH, "A probe.", sends=(case.event,))
        if not await self._send(row, _Probe(NOW, case.params)):
            return None
        runtime = self._driver._actor.image.runtime
        assert stored_form(runtime) == self._store.load_record(RUNTIME)
        return runtime.state, {name: getattr(runtime, name) for name in case.fields}

    async def _send(self, row: CommandRow, probe: Command) -> bool:
        """Whether the driver took it; where it refuses, memory and store are as before."""
        actor = self._driver._actor
        before = (actor.image.runtime, dict(actor.image.inputs), self._store.load_record(RUNTIME))
        with replaced((core, "COMMANDS", {**COMMANDS, row.name: row})):
            try:
                await self._driver._command(lambda _: probe)
            except TransitionRefused:
                assert before == (actor.image.runtime, actor.image.inputs, self._store.load_record(RUNTIME))
                return False
        return True


AsyncSide = Callable[[Case], Awaitable[After | None]]


def driven(machine: AnyMachine, driver: Driver) -> AsyncSide:
    """The driver's side of ``machine``, which is one of the two that a runtime has."""
    return driver.runtime_step if machine.states is RuntimeState else driver.input_step
