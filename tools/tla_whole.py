"""The whole in TLA+: the generated module ``tables``, the hand-written module ``whole``, and the bounds for TLC.

Each configuration looks at something else: every kind of input, two inputs that meet, two drivers, progress.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final, final

from attrs import frozen

from ..spec.tla import tla_set
from ..spec.vocabulary import CommandName, RuntimeState
from .explorer_kinds import KINDS
from .tla_tables import MODULE, ModelTables, tables_module
from .tla_values import frozen_value

WHOLE: Final = "whole"

INVARIANTS: Final = (
    "terminal_runtime_has_no_active_inputs",
    "running_has_a_current_run",
    "in_flight_belongs_to_current_run",
    "accepted_is_untouched",
    "boundary_needs_application",
    "outcome_matches_state",
    "attempts_are_bounded",
    "consumed_has_a_receipt",
    "consumed_exactly",
    "receipt_is_accounted_for",
    "one_boundary_per_input",
    "successor_exists",
    "stored_state_is_resumable",
    "acked_is_durable",
    "memory_equals_store",
    "command_ends_in_its_state",
    "tables_fit",
)
"""What TLC checks in every state; all but the last are names of ``spec/``."""

STEP_PROPERTIES: Final = (
    "terminal_inputs_are_frozen",
    "attempts_never_fall",
    "retired_is_sticky",
    "run_end_returns_where_it_began",
)
"""What TLC checks of every step, under names of ``spec/``."""

LIVENESS: Final = "every_input_ends"

_ALL_COMMANDS: Final = tuple(command for command in CommandName if command is not CommandName.OPEN)
_C: Final = CommandName


@final
@frozen(kw_only=True)
class WholeConfiguration:
    """One configuration: see the constants of ``whole.tla``. ``is_fair``: for the liveness property, under fairness."""

    about: str
    kinds: tuple[str, ...] = tuple(KINDS)
    commands: tuple[CommandName, ...] = _ALL_COMMANDS
    fates: tuple[str, ...] = ("done", "crash before", "crash after")
    drivers: int = 1
    inputs: int = 1
    runs: int = 1
    crashes: int = 1
    boundaries: int = 1
    empty_receipts: int = 0
    stagings: int = 2
    max_attempts: int = 2
    max_batch: int = 2
    is_fair: bool = False


_IN_DOUBT: Final = ("doubt, landed", "doubt, lost")
_FAIR_COMMANDS: Final = (
    *(_C.ACCEPT, _C.BEGIN_RUN, _C.BOUNDARY_APPLIED, _C.RUN_COMPLETED, _C.RUN_FAILED),
    *(_C.CANCEL, _C.RETIRE, _C.STOP, _C.RECYCLE, _C.RECOVER),
)

CONFIGURATIONS: Final[Mapping[str, WholeConfiguration]] = MappingProxyType(
    {
        "whole_kinds": WholeConfiguration(about="One input of every kind, two runs.", runs=2),
        "whole_pairs": WholeConfiguration(
            about="Two inputs that meet in a run or in a scope.", kinds=("event", "progress"), inputs=2
        ),
        "whole_fencing": WholeConfiguration(
            about="Two drivers, and commits of which nobody knows whether they landed.",
            kinds=("event",),
            drivers=2,
            fates=("done", "crash before", "crash after", *_IN_DOUBT),
        ),
        "whole_liveness": WholeConfiguration(
            about="Two inputs, as many runs as they can take: every durable input ends.",
            kinds=("event",),
            commands=_FAIR_COMMANDS,
            fates=("done", "crash before", "crash after", *_IN_DOUBT),
            inputs=2,
            runs=5,
            is_fair=True,
        ),
    }
)
"""What CI runs, by the name of the .cfg."""


def whole_files(tables: ModelTables | None = None) -> dict[str, str]:
    """The text of every file of the whole, by name."""
    configurations = {f"{name}.cfg": configuration(bounds) for name, bounds in CONFIGURATIONS.items()}
    return {f"{MODULE}.tla": tables_module(tables), f"{WHOLE}.tla": whole_module(), **configurations}


def whole_module() -> str:
    """The text of ``whole.tla``, which is written by hand."""
    return (files(__package__) / f"{WHOLE}.tla").read_text(encoding="utf-8")


def configuration(bounds: WholeConfiguration) -> str:
    """The .cfg with these bounds."""
    constants = {
        "None": "None",
        "Refused": "Refused",
        "Drivers": f"{{{', '.join(f'd{number + 1}' for number in range(bounds.drivers))}}}",
        "Kinds": tla_set(bounds.kinds),
        "Commands": tla_set(bounds.commands),
        "Fates": tla_set(bounds.fates),
        "Inputs": bounds.inputs,
        "Runs": bounds.runs,
        "Crashes": bounds.crashes,
        "Boundaries": bounds.boundaries,
        "EmptyReceipts": bounds.empty_receipts,
        "Stagings": bounds.stagings,
        "MaxAttempts": bounds.max_attempts,
        "MaxBatch": bounds.max_batch,
    }
    checked = ["SPECIFICATION Spec", "CONSTRAINT InBounds"]
    checked += [f"INVARIANT {name}" for name in INVARIANTS]
    checked += [f"PROPERTY {name}" for name in STEP_PROPERTIES]
    if bounds.is_fair:  # a state beyond a constraint would be an end that nobody promised
        checked = ["SPECIFICATION FairSpec", f"PROPERTY {LIVENESS}"]
    given = [f"    {name} = {value}" for name, value in constants.items()]
    return "\n".join((f"\\* {bounds.about}", *checked, "CONSTANTS", *given, ""))


# -- the projection over which explorations are compared ---------------------------------------------------------------

_LEFT_OUT: Final = frozenset({"attempt_count", "error"})


def projection(store: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What a value of ``store`` says of the runtime, its inputs and receipts, without how often an input was staged and
    the texts of errors; None for a store in which nobody opened the runtime.

    It is (runtime, inputs, receipts) as sorted pairs of names and values, so that it can be a member of a set.
    """
    if store["rt"]["state"] == RuntimeState.INITIALIZING:
        return None
    rows = {
        number: {name: value for name, value in row.items() if name not in _LEFT_OUT}
        for number, row in numbered(store["in"]).items()
    }
    return frozen_value(store["rt"]), frozen_value(rows), store["receipts"]


def stored_states(values: Iterable[Mapping[str, Any]]) -> frozenset[tuple[Any, ...] | None]:
    """The distinct projections of the values of ``store``."""
    return frozenset(projection(value) for value in values)


def numbered(function: Any) -> dict[int, Any]:
    """A function over numbers as a dict, also where TLC prints it as a tuple."""
    if isinstance(function, tuple):
        return {number + 1: value for number, value in enumerate(function)}
    return dict(function)
