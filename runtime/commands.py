"""Commands as the core takes them: the time, new ids and everything that had to be read from the store are already
inside.

They live for one step, so they are plain slotted classes. ``facts()`` are the parameters that rules and machine rows
read.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, final

from attrs import define

from ..spec.vocabulary import AbandonReason, CommandName
from .ids import InputId, RunId
from .inputs import Input
from .records import InputRecord, RunBoundaryReceipt


@define
class Command:
    """``at`` is the time of the command, aware, in UTC."""

    name: ClassVar[CommandName]
    at: datetime

    def facts(self) -> dict[str, object]:
        return {}


@final
@define
class Accept(Command):
    """``existing`` is the input that was seen under the same id or key; ``missing_blob`` a blob reference with nothing
    behind it.
    """

    name = CommandName.ACCEPT
    input: Input
    body: bytes
    fingerprint: bytes
    blobs: tuple[tuple[str, bytes], ...] = ()
    blob_ids: tuple[str, ...] = ()
    existing: InputRecord | None = None
    missing_blob: str | None = None
    silent_intents: frozenset[str] = frozenset()


@define
class Settle(Command):
    """Shared by open, recover and recycle: ``receipts`` are the stored ones of the runs that the active inputs were
    staged by.
    """

    receipts: tuple[RunBoundaryReceipt, ...] = ()
    handed_out: bool = False

    def facts(self) -> dict[str, object]:
        return {"handed_out": self.handed_out}


@final
@define
class Open(Settle):
    name = CommandName.OPEN


@final
@define
class Recover(Settle):
    name = CommandName.RECOVER


@final
@define
class Recycle(Settle):
    name = CommandName.RECYCLE


@final
@define
class Attach(Command):
    name = CommandName.ATTACH


@final
@define
class Detach(Command):
    name = CommandName.DETACH


@define
class Stage(Command):
    """``batch`` None: the whole next batch."""

    run_id: RunId
    batch: tuple[InputId, ...] | None = None

    def facts(self) -> dict[str, object]:
        return {"run_id": self.run_id}


@final
@define
class BeginRun(Stage):
    """``run_id_used`` says that a receipt of a run of that id is stored."""

    name = CommandName.BEGIN_RUN
    run_id_used: bool = False


@final
@define
class StageMore(Stage):
    name = CommandName.STAGE_MORE


@final
@define
class ApplyBoundary(Command):
    """``stored`` is the receipt that the store has under the same run and sequence."""

    name = CommandName.BOUNDARY_APPLIED
    receipt: RunBoundaryReceipt
    snapshot: bytes | None = None
    result: bytes | None = None
    stored: RunBoundaryReceipt | None = None

    def facts(self) -> dict[str, object]:
        return {"run_id": self.receipt.run_id, "sequence": self.receipt.sequence}


@final
@define
class CompleteRun(Command):
    """``consumed`` None: whatever the contributors are."""

    name = CommandName.RUN_COMPLETED
    run_id: RunId
    result: bytes | None = None
    consumed: tuple[InputId, ...] | None = None

    def facts(self) -> dict[str, object]:
        return {"run_id": self.run_id}


@final
@define
class FailRun(Command):
    """``jitter`` is a draw from [0, 1) for the backoff."""

    name = CommandName.RUN_FAILED
    run_id: RunId
    error: str | None
    recoverable: bool = True
    jitter: float = 0.5

    def facts(self) -> dict[str, object]:
        return {"run_id": self.run_id, "error": self.error, "recoverable": self.recoverable}


@final
@define
class CancelRun(Command):
    name = CommandName.RUN_CANCELLED
    run_id: RunId

    def facts(self) -> dict[str, object]:
        return {"run_id": self.run_id}


@final
@define
class RollbackStaged(Command):
    name = CommandName.ROLLBACK_STAGED
    input_ids: tuple[InputId, ...]


@final
@define
class ConsumeInputs(Command):
    name = CommandName.CONSUME_INPUTS
    run_id: RunId
    input_ids: tuple[InputId, ...]

    def facts(self) -> dict[str, object]:
        return {"run_id": self.run_id}


@final
@define
class CancelInput(Command):
    """``existing`` is the ended input of that id, if the store has one."""

    name = CommandName.CANCEL
    input_id: InputId
    existing: InputRecord | None = None


@final
@define
class AbandonPending(Command):
    name = CommandName.ABANDON_PENDING
    reason: AbandonReason
    error: str | None = None

    def facts(self) -> dict[str, object]:
        return {"reason": self.reason, "error": self.error}


@final
@define
class Retire(Command):
    name = CommandName.RETIRE


@final
@define
class Reset(Command):
    name = CommandName.RESET


@final
@define
class Stop(Command):
    name = CommandName.STOP


@final
@define
class Destroy(Command):
    name = CommandName.DESTROY


@final
@define
class Resume(Command):
    name = CommandName.RESUME
