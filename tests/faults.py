"""The faults that the shipped harness puts between a driver and its store, for the tests of holdstate itself."""

from __future__ import annotations

from holdstate.tools.harness.faulty_store import (
    READ_FAULTS,
    Fault,
    FaultyStore,
    Plan,
    SimulatedCrash,
    read_faults,
    write_faults,
)

__all__ = ["READ_FAULTS", "Fault", "FaultyStore", "Plan", "SimulatedCrash", "read_faults", "write_faults"]
