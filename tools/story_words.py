"""How a story tells what it sees: short lines that are the same every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, final
from uuid import UUID

from attrs import fields, has

from ..runtime.events import EventEnvelope
from ..runtime.inputs import Input
from ..runtime.outcomes import Accepted, Rejected, Run, Steers
from ..runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..spec.errors import TransitionRefused
from ..spec.policy import PolicyDecision


@final
class Words:
    """Names ids: inputs by their numbers, minted ones in the order in which they are met."""

    def __init__(self, runs_from: int) -> None:
        self._runs_from = runs_from
        self._runs: dict[UUID, str] = {}

    def id(self, value: UUID) -> str:
        """A number for an input, a letter for a run."""
        if value.int < self._runs_from:
            return f"#{value.int}"
        return self._runs.setdefault(value, f"run {chr(ord('A') + len(self._runs))}")

    def of(self, value: object) -> str:
        """Whatever a call answers, or the kind of error that it raised."""
        match value:
            case UUID():
                told = self.id(value)
            case bytes():
                told = repr(value)[1:]
            case Accepted():
                replaced = "".join(f", replaces {self.id(each)}" for each in value.replaced)
                told = f"Accepted {self.id(value.input_id)}{replaced}"
            case Rejected():
                told = f"Rejected {value.code}"
            case Run():
                told = f"{self.id(value.run_id)} of {self._ids(value.input_ids)}, attempt {value.attempt}"
            case Steers():
                told = f"takes {self._ids([each.input_id for each in value.records])}"
            case RunBoundaryReceipt():
                listed = self._ids(value.contributing_input_ids)
                told = f"receipt {value.sequence} of {self.id(value.run_id)} at {value.boundary}: {listed}"
            case TransitionRefused():
                told = f"TransitionRefused {value.event} in {value.state}"
            case Exception():
                applied = getattr(value, "applied", None)
                told = f"{type(value).__name__}{'' if applied is None else f' applied={applied}'}"
            case _:
                told = self._other(value)
        return told

    def _ids(self, ids: Sequence[UUID]) -> str:
        return " ".join(map(self.id, ids)) or "nothing"

    def _other(self, value: Any) -> str:
        if isinstance(value, Enum):
            return str(value.value)
        if isinstance(value, tuple | list):
            return " ".join(map(self.of, value)) or "nothing"
        if isinstance(value, Mapping) or value is None or not has(type(value)):
            return str(value)
        if isinstance(value, Input):
            return f"{value.kind} {self.id(value.header.id)}"
        parts = []
        for each in fields(type(value)):
            part = getattr(value, each.name)
            if part not in (None, (), 0) or isinstance(part, bool):
                parts.append(f"{each.name}={self.of(part)}")
        return f"{type(value).__name__}({', '.join(parts)})"

    def event(self, event: EventEnvelope) -> str:
        """Code, input, run, state and outcome."""
        parts: list[str] = [event.code.value]
        parts += [self.id(each) for each in (event.input_id, event.run_id) if each is not None]
        if event.state is not None:
            parts.append(f"({event.state})")
        if event.outcome is not None:
            reason = f" {event.outcome.reason}" if event.outcome.reason else ""
            parts.append(f"({event.outcome.kind}{reason})")
        return " ".join(parts)

    def runtime(self, record: RuntimeRecord) -> str:
        """One line of a stored runtime."""
        counts = record.counts
        parts = [
            str(record.state),
            f"epoch {record.epoch} revision {record.revision} order {record.next_order}",
            f"rows {counts.active}+{counts.ended} keys {counts.keys} receipts {counts.receipts}",
        ]
        parts[-1] += f" results {counts.results} events {counts.events}"
        if record.current_run_id is not None:
            shared = ", shared" if record.shared_run else ""
            parts.append(f"{self.id(record.current_run_id)} of {self._ids(record.contributors)}{shared}")
        if record.boundary_count:
            parts.append(f"boundaries {record.boundary_count}")
        if record.pre_run_state is not None:
            parts.append(f"back to {record.pre_run_state}")
        if record.last_run is not None:
            parts.append(f"last {self.id(record.last_run.run_id)} {record.last_run.ending}")
        if record.has_snapshot:
            parts.append("snapshot")
        return ", ".join(parts)

    def input(self, record: InputRecord) -> str:
        """One line of a stored input."""
        parts = [f"{self.id(record.input_id)} {record.state}", f"{record.attempt_count}/{record.failure_count}"]
        optional = (
            ("run", None if record.last_run_id is None else self.id(record.last_run_id)),
            ("boundary", record.last_boundary_sequence),
            ("outcome", record.outcome_kind),
            ("by", None if record.successor_id is None else self.id(record.successor_id)),
            ("reason", record.abandon_reason),
            ("error", record.error),
            ("cap", record.failure_cap),
            ("recovered", record.recovery_count or None),
            ("result", record.result_source),
            ("waits until", None if record.not_before is None else record.not_before.strftime("%M:%S")),
        )
        parts += [f"{name} {value}" for name, value in optional if value is not None]
        decision: PolicyDecision = record.admission.decision
        if record.admission.lane.value != "queue":
            parts.append(record.admission.lane.value)
        if not decision.record_transcript:
            parts.append("silent")
        path = " ".join(entry.reason.value for entry in record.history)
        return ", ".join(parts) + f" [{path}]"
