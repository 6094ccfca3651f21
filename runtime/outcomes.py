"""What commands answer."""

from __future__ import annotations

from typing import final

from attrs import frozen

from ..spec.policy import PolicyDecision
from ..spec.vocabulary import InputState
from .building import builder
from .ids import InputId, RunId
from .inputs import Input
from .records import InputRecord, RunBoundaryReceipt, TerminalOutcome
from .validation import RejectionCode


@final
@frozen(weakref_slot=False)
class Accepted:
    """The input was admitted; a durable one is in the store. ``replaced`` lists the inputs that ended for it."""

    input_id: InputId
    policy: PolicyDecision
    record: InputRecord
    replaced: tuple[InputId, ...] = ()


build_accepted = builder(Accepted)
"""``Accepted``, several times faster."""


@final
@frozen
class Deduplicated:
    """Nothing was stored: the id or the key was seen before in this runtime. What became of that input is told (C8)."""

    input_id: InputId
    existing_id: InputId
    existing_state: InputState
    terminal_outcome: TerminalOutcome | None
    same_payload: bool


@final
@frozen
class Rejected:
    """The input was refused and nothing was changed. ``path`` names the bad field where there is one.

    ``retry_after_seconds``: where a service is overloaded, after what time another attempt is worth it.
    """

    input_id: InputId | None
    code: RejectionCode
    reason: str
    path: str = ""
    retry_after_seconds: float | None = None


AcceptOutcome = Accepted | Deduplicated | Rejected


@final
@frozen
class Cancelled:
    """The input had not started and was given up."""

    input_id: InputId


@final
@frozen
class InFlight:
    """The input is in the current run; cancel the run instead."""

    input_id: InputId
    run_id: RunId


@final
@frozen
class Ended:
    """The input had ended before; nothing was changed."""

    input_id: InputId
    outcome: TerminalOutcome


@final
@frozen
class Unknown:
    """No such input in this runtime."""

    input_id: InputId


CancelOutcome = Cancelled | InFlight | Ended | Unknown


@final
@frozen
class RecoveryDetail:
    """What recovery did to one input."""

    input_id: InputId
    from_state: InputState
    to_state: InputState


@final
@frozen
class RecoveryReport:
    """``recovered`` inputs were looked at; ``requeued``, ``consumed`` and ``abandoned`` count the changed ones.

    ``set_aside`` names a row for each input that was left out because of it: see ``on_corrupt`` of the store.
    """

    recovered: int = 0
    requeued: int = 0
    consumed: int = 0
    abandoned: int = 0
    details: tuple[RecoveryDetail, ...] = ()
    set_aside: tuple[str, ...] = ()


@final
@frozen
class RetireReport:
    """``inputs_pending_drain`` inputs may still be worked off."""

    inputs_abandoned: int
    inputs_pending_drain: int


@final
@frozen
class EndReport:
    """What reset, stop, destroy and abandon_pending gave up, and what stop and destroy settled."""

    inputs_abandoned: int
    inputs_consumed: int = 0


@final
@frozen
class DetachReport:
    """What detach found."""

    was_attached: bool


@final
@frozen
class RunStarted:
    """An executor began to work. It changes nothing: the staging is what counts."""

    run_id: RunId


@final
@frozen
class BoundaryApplied:
    """``session_snapshot`` becomes the latest of the runtime; the receipt's digest must be its SHA-256."""

    run_id: RunId
    receipt: RunBoundaryReceipt
    session_snapshot: bytes | None = None
    result: bytes | None = None


@final
@frozen
class RunCompleted:
    """``consumed_input_ids`` must be the contributors of the run, in any order."""

    run_id: RunId
    consumed_input_ids: tuple[InputId, ...]
    result: bytes | None = None


@final
@frozen
class RunFailed:
    """A run ended badly. One that is not recoverable is not tried again, unless its inputs shared it (C15)."""

    run_id: RunId
    error: str
    recoverable: bool = True


@final
@frozen
class RunCancelled:
    """A run was called off, free of charge."""

    run_id: RunId


RunEvent = RunStarted | BoundaryApplied | RunCompleted | RunFailed | RunCancelled


@final
@frozen
class RunOutput:
    """What an executor made of a run: the new session snapshot, a result for its callers, and how many messages it
    wrote.
    """

    session_snapshot: bytes | None = None
    result: bytes | None = None
    message_count: int = 0


@final
@frozen
class Run:
    """A run that was handed out: its inputs are staged durably (C22). ``attempt`` counts the stagings of its first
    input.
    """

    run_id: RunId
    runtime_id: str
    input_ids: tuple[InputId, ...]
    inputs: tuple[Input, ...]
    records: tuple[InputRecord, ...]
    attempt: int


@final
@frozen
class Steers:
    """What a run took besides its batch: staged durably into it, in order."""

    inputs: tuple[Input, ...]
    records: tuple[InputRecord, ...]
