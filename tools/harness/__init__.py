"""The harness: what holdstate is tested with, for machines and stores of your own. Needs the extra ``[test]``.

``machine_tests``       a Hypothesis test from a ``Machine`` and an ``Adapter``; ``check_paths`` plays paths without it
``adapters``, ``moves`` the system under test; events with the parameters worth trying
``player``              machine and system side by side; ``Broken`` is what a failure raises
``paths``               all paths up to a length, and few that take every row or every pair of rows
``coverage``            which rows and pairs were taken, rare states
``replay``              a failure as a file, and the file as a failure again
``store_conformance``   ``RuntimeStoreConformance``: every promise of a store, as one class to subclass
``faulty_store``        any store with faults at its n-th call
``plugin``              the pytest plugin

The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapters import Adapter
    from .conformance_base import Capability, InnerFault, failing_at
    from .coverage import Coverage, collected, coverage_of
    from .faulty_store import Fault, FaultyStore, Plan, SimulatedCrash
    from .machine_tests import MachineHarness, check_paths, machine_harness
    from .moves import Move
    from .paths import Cover, all_paths, pair_cover, transition_cover
    from .player import Broken, Moment
    from .store_conformance import RuntimeStoreConformance

__all__ = [
    "Adapter",
    "Broken",
    "Capability",
    "Cover",
    "Coverage",
    "Fault",
    "FaultyStore",
    "InnerFault",
    "MachineHarness",
    "Moment",
    "Move",
    "Plan",
    "RuntimeStoreConformance",
    "SimulatedCrash",
    "all_paths",
    "check_paths",
    "collected",
    "coverage_of",
    "failing_at",
    "machine_harness",
    "pair_cover",
    "transition_cover",
]

_MODULES = {
    "Adapter": "adapters",
    "Broken": "player",
    "Capability": "conformance_base",
    "Cover": "paths",
    "Coverage": "coverage",
    "Fault": "faulty_store",
    "FaultyStore": "faulty_store",
    "InnerFault": "conformance_base",
    "MachineHarness": "machine_tests",
    "Moment": "player",
    "Move": "moves",
    "Plan": "faulty_store",
    "RuntimeStoreConformance": "store_conformance",
    "SimulatedCrash": "faulty_store",
    "all_paths": "paths",
    "check_paths": "machine_tests",
    "collected": "coverage",
    "coverage_of": "coverage",
    "failing_at": "conformance_base",
    "machine_harness": "machine_tests",
    "pair_cover": "paths",
    "transition_cover": "paths",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
