"""What one command changes: made by the core, applied by the image, merged into a commit."""

from __future__ import annotations

from typing import final

from attrs import define, field

from .events import Announcement, EventEnvelope
from .ids import InputId
from .records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from .store import ResultRef


@final
@define
class Delta:
    """The new versions of what changed. Nothing in it has happened yet.

    ``changes`` pairs each input record with its new version, in order; ``bodies`` holds the encoded inputs to add;
    ``stored`` is False where only volatile memory changes; ``events`` are the announcements as the log keeps them, from
    the building of the commit on.
    """

    runtime: RuntimeRecord
    changes: list[tuple[InputRecord | None, InputRecord | None]] = field(factory=list)
    bodies: dict[InputId, bytes] = field(factory=dict)
    blobs: tuple[tuple[str, bytes], ...] = ()
    receipts: list[RunBoundaryReceipt] = field(factory=list)
    results: list[tuple[ResultRef, bytes]] = field(factory=list)
    snapshot: bytes | None = None
    announcements: list[Announcement] = field(factory=list)
    events: list[EventEnvelope] = field(factory=list)
    outcome: object = None
    wake: bool = False
    process: bool = False
    stored: bool = False
