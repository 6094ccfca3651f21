"""What one command changes: made by the core, applied by the image, merged into a commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, final

from attrs import define

from .events import Announcement, EventEnvelope
from .ids import InputId
from .records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from .store import ResultRef

NO_BODIES: Final[Mapping[InputId, bytes]] = MappingProxyType({})


@final
@define
class Delta:
    """The new versions of what changed. Nothing in it has happened yet.

    ``changes`` pairs each input record with its new version, in order; ``bodies`` holds the encoded inputs to add;
    ``stored`` is False where only volatile memory changes; ``events`` are the announcements as the log keeps them, from
    the building of the commit on.
    """

    runtime: RuntimeRecord
    changes: Sequence[tuple[InputRecord | None, InputRecord | None]] = ()
    bodies: Mapping[InputId, bytes] = NO_BODIES
    blobs: tuple[tuple[str, bytes], ...] = ()
    receipts: Sequence[RunBoundaryReceipt] = ()
    results: Sequence[tuple[ResultRef, bytes]] = ()
    snapshot: bytes | None = None
    announcements: Sequence[Announcement] = ()
    events: Sequence[EventEnvelope] = ()
    outcome: object = None
    wake: bool = False
    process: bool = False
    stored: bool = False
