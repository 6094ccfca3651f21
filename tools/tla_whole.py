"""The whole in TLA+: the generated module ``tables``, the hand-written module ``whole``, and the bounds for TLC.

Each configuration looks at something else: every kind of input, two inputs that meet, two drivers, progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final, final

from attrs import frozen

from ..spec.tla import tla_set
from ..spec.vocabulary import CommandName
from .explorer_outcomes import WholeBounds
from .tla_tables import MODULE, ModelTables, tables_module

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
    "one_input_per_key",
    "index_equals_rows",
    "counts_equal_rows",
    "memory_equals_store",
    "handed_out_run_is_current",
    "command_ends_in_its_state",
    "tables_fit",
)
"""What TLC checks in every state; all but the last are names of ``spec/``."""

STEP_PROPERTIES: Final = (
    "acked_is_durable",
    "terminal_inputs_are_frozen",
    "attempts_never_fall",
    "batch_is_a_prefix",
    "epoch_never_falls",
    "retired_is_sticky",
    "run_end_returns_where_it_began",
)
"""What TLC checks of every step, under names of ``spec/`` too."""

PROJECTION: Final = "Projection"
LIVENESS: Final = "every_input_ends"

_ALL_COMMANDS: Final = tuple(command for command in CommandName if command is not CommandName.OPEN)
_C: Final = CommandName


FATES: Final = ("done", "caller gone", "crash before", "crash after")
FAULTS: Final = ("refused", "unknown, landed", "unknown, lost", "doubt, landed", "doubt, lost")


@final
@frozen(kw_only=True)
class WholeConfiguration:
    """One configuration: see the constants of ``whole.tla``. ``faults`` is how many commits go wrong without a crash,
    a caller who is gone included; None: any number of those that the bounds allow. ``is_fair``: for the liveness
    property, under fairness.
    """

    about: str
    bounds: WholeBounds
    commands: tuple[CommandName, ...] = _ALL_COMMANDS
    faults: int | None = None
    is_fair: bool = False


_FAIR_COMMANDS: Final = (
    *(_C.ACCEPT, _C.BEGIN_RUN, _C.BOUNDARY_APPLIED, _C.RUN_COMPLETED, _C.RUN_FAILED),
    *(_C.CANCEL, _C.RETIRE, _C.STOP, _C.RECYCLE, _C.RECOVER),
)

CONFIGURATIONS: Final[Mapping[str, WholeConfiguration]] = MappingProxyType(
    {
        "whole_kinds": WholeConfiguration(
            about="One input of every kind, every fault.", bounds=WholeBounds(runs=1, crashes=1)
        ),
        "whole_pairs": WholeConfiguration(
            about="Two inputs that meet in a run or in a scope.",
            bounds=WholeBounds(kinds=("event", "progress"), inputs=2, runs=1, crashes=1, faults=False),
        ),
        "whole_fencing": WholeConfiguration(
            about="Two drivers, every fault.",
            bounds=WholeBounds(kinds=("event",), openers=2, runs=1, crashes=0),
        ),
        "whole_liveness": WholeConfiguration(
            about="Two inputs, as many runs as they can take, a crash: every durable input ends.",
            bounds=WholeBounds(kinds=("event",), inputs=2, runs=5, crashes=1, faults=False),
            commands=_FAIR_COMMANDS,
            faults=0,
            is_fair=True,
        ),
        "whole_liveness_faults": WholeConfiguration(
            about="One input, as many runs as it can take, a crash and two faults: it ends.",
            bounds=WholeBounds(kinds=("event",), runs=5, crashes=1),
            commands=_FAIR_COMMANDS,
            faults=2,
            is_fair=True,
        ),
    }
)
"""What CI runs, by the name of the .cfg. Those without fairness find as many states as the explorer."""


def whole_files(tables: ModelTables | None = None) -> dict[str, str]:
    """The text of every file of the whole, by name."""
    configurations = {f"{name}.cfg": configuration(bounds) for name, bounds in CONFIGURATIONS.items()}
    return {f"{MODULE}.tla": tables_module(tables), f"{WHOLE}.tla": whole_module(), **configurations}


def whole_module() -> str:
    """The text of ``whole.tla``, which is written by hand."""
    return (files(__package__) / f"{WHOLE}.tla").read_text(encoding="utf-8")


def configuration(bounds: WholeConfiguration) -> str:
    """The .cfg with these bounds."""
    limits = bounds.bounds
    constants = {
        "None": "None",
        "Refused": "Refused",
        "Drivers": f"{{{', '.join(f'd{number + 1}' for number in range(limits.openers))}}}",
        "Kinds": tla_set(limits.kinds),
        "Commands": tla_set(bounds.commands),
        "Fates": tla_set((*FATES, *FAULTS) if limits.faults else FATES),
        "Inputs": limits.inputs,
        "Runs": limits.runs,
        "Crashes": limits.crashes,
        "Faults": bounds.faults,
        "Revisions": 2 if bounds.is_fair else None,
        "Boundaries": limits.boundaries,
        "EmptyReceipts": limits.empty_receipts,
        "MaxAttempts": limits.max_attempts,
        "MaxBatch": limits.max_batch,
    }
    checked = ["SPECIFICATION Spec", f"VIEW {PROJECTION}"]
    checked += [f"INVARIANT {name}" for name in INVARIANTS]
    checked += [f"PROPERTY {name}" for name in STEP_PROPERTIES]
    if bounds.is_fair:  # what the projection leaves out would be missing from the cycles that liveness is about
        checked = ["SPECIFICATION FairSpec", f"PROPERTY {LIVENESS}"]
    given = [f"    {name} = {value}" for name, value in constants.items()]
    return "\n".join((f"\\* {bounds.about}", *checked, "CONSTANTS", *given, ""))
