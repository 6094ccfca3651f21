"""What the runtime raises on purpose: one class per cause, facts as attributes, the sentence written here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final
from uuid import UUID

from ..spec.errors import HoldstateError
from ..spec.vocabulary import RuntimeState
from .rejections import RejectionCode

if TYPE_CHECKING:
    from .outcomes import Rejected


@final
class InvalidInput(HoldstateError, ValueError):
    """A value from outside is not what it must be.

    ``path`` names the place (``header.source.step_index``; empty for the whole), ``problem`` says what is wrong and
    what is wanted, ``code`` is the word for it (see ``RejectionCode``).
    """

    def __init__(self, path: str, problem: str, code: RejectionCode = RejectionCode.INVALID_FIELD) -> None:
        self.path = path
        self.problem = problem
        self.code = code
        super().__init__(f"{path or 'input'}: {problem}")

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, str, RejectionCode]]:
        return type(self), (self.path, self.problem, self.code)


_FINAL: Final = frozenset({RuntimeState.STOPPED, RuntimeState.DESTROYED})
"""States of a runtime that nothing leads back from."""

# -- refused commands: nothing was changed -------------------------------------------------------------------------


@final
class NotReady(HoldstateError):
    """The runtime takes no input in its present ``state``."""

    def __init__(self, runtime_id: str, state: str) -> None:
        self.runtime_id = runtime_id
        self.state = state
        remedy = "for good; use another runtime" if state in _FINAL else "now; reset or recycle it, or use another one"
        super().__init__(f"runtime {runtime_id!r} is {state} and takes no input {remedy}")


@final
class RunNotCurrent(HoldstateError):
    """``command`` speaks of a run that is not the current one (C20, C26)."""

    def __init__(self, command: str, run_id: UUID | None, current_run_id: UUID | None) -> None:
        self.command = command
        self.run_id = run_id
        self.current_run_id = current_run_id
        current = f"run {current_run_id} is" if current_run_id else "no run is"
        named = "there is no current run; begin one first"
        if run_id is not None:
            named = f"run {run_id} is not current ({current}); drop what the old run made"
        super().__init__(f"{command}: {named}")


@final
class RunInProgress(HoldstateError):
    """``command`` needs that no run is current, or that nobody holds it."""

    def __init__(self, command: str, run_id: UUID) -> None:
        self.command = command
        self.run_id = run_id
        super().__init__(f"{command}: run {run_id} is in progress; complete, fail or cancel it first")


@final
class RunIdReused(HoldstateError, ValueError):
    """A run id was given that has been used before; run ids are used once."""

    def __init__(self, run_id: UUID) -> None:
        self.run_id = run_id
        super().__init__(f"run id {run_id} was used before in this runtime; mint a new one")


@final
class RunIncomplete(HoldstateError):
    """A completion came before every contributor was covered by a boundary, or without any boundary."""

    def __init__(self, run_id: UUID, staged: int, receipts: int) -> None:
        self.run_id = run_id
        self.staged = staged
        self.receipts = receipts
        super().__init__(
            f"run {run_id} cannot complete: {staged} contributors are still staged and {receipts} boundaries are "
            "committed; commit a boundary that lists the staged ones first"
        )


@final
class BatchRefused(HoldstateError, ValueError):
    """What was to be staged is not a prefix of the next batch (C12)."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"{problem}; stage a non-empty prefix of the next batch")


@final
class ContributorsRefused(HoldstateError, ValueError):
    """The named inputs are not the contributors that the command needs (C20)."""

    def __init__(self, command: str, run_id: UUID | None, problem: str) -> None:
        self.command = command
        self.run_id = run_id
        self.problem = problem
        super().__init__(f"{command} of run {run_id}: {problem}")


@final
class ReceiptConflict(HoldstateError):
    """Another receipt is stored under the same run and sequence (C20)."""

    def __init__(self, run_id: UUID, sequence: int) -> None:
        self.run_id = run_id
        self.sequence = sequence
        super().__init__(
            f"run {run_id} has a different receipt with sequence {sequence}; a committed boundary never changes"
        )


@final
class DriverClosed(HoldstateError):
    """The driver was closed or fenced; open the runtime anew."""

    def __init__(self, runtime_id: str) -> None:
        self.runtime_id = runtime_id
        super().__init__(f"the driver of runtime {runtime_id!r} is closed; open the runtime anew")


@final
class InvariantViolated(HoldstateError):
    """Debug mode found a named invariant broken after a command: a bug in holdstate or in a store."""

    def __init__(self, runtime_id: str, findings: tuple[str, ...]) -> None:
        self.runtime_id = runtime_id
        self.findings = findings
        super().__init__(f"runtime {runtime_id!r}: " + "; ".join(findings))


@final
class EventsPruned(HoldstateError):
    """A reader of the event log asked for events that retention removed; ``first_available`` is the first offset that
    is left, or will be given next.
    """

    def __init__(self, runtime_id: str, first_available: int) -> None:
        self.runtime_id = runtime_id
        self.first_available = first_available
        super().__init__(
            f"runtime {runtime_id!r}: the events before offset {first_available} were pruned; go on after "
            f"{first_available - 1}, or keep them longer (Retention.keep_events_seconds)"
        )


# -- stores --------------------------------------------------------------------------------------------------------


class StoreError(HoldstateError):
    """The store failed. ``applied``: True or False where it is known whether the commit took effect, None where it is
    not.
    """

    def __init__(self, problem: str, *, applied: bool | None = False, cause: BaseException | None = None) -> None:
        self.problem = problem
        self.applied = applied
        self.__cause__ = cause
        known = {
            True: "the commit was applied",
            False: "nothing was applied",
            None: "whether it was applied is unknown",
        }
        super().__init__(f"{problem} ({known[applied]})")

    def known_to_be(self, *, applied: bool | None) -> StoreError:
        """The same failure of a commit, with what was found out since."""
        kind = type(self) if isinstance(self, StoreFull | StoreReadOnly) else StoreError
        return kind(self.problem, applied=applied, cause=self.__cause__)


@final
class StoreFull(StoreError):
    """The map has reached its cap or the disk is full. The store stays usable; make room and try again (C43)."""


@final
class StoreReadOnly(StoreError):
    """The store was opened read-only, or its file system is."""


@final
class StoreCorruption(StoreError):
    """A row is not what was written, or rows are missing. ``where`` names it; nothing was written (C38)."""

    def __init__(self, where: str, problem: str) -> None:
        self.where = where
        super().__init__(f"corrupt store: {where}: {problem}; run `holdstate store verify` and restore a copy")


@final
class StoreTooNew(StoreError):
    """The store, or a row of it, was written by a newer version of holdstate; it was left untouched (C40)."""

    def __init__(self, where: str, found: int, known: int) -> None:
        self.where = where
        self.found = found
        self.known = known
        super().__init__(f"{where} has format {found}, this version reads up to {known}; upgrade holdstate")


@final
class StoreInUse(StoreError):
    """This process has the store open already; share the open store instead."""


@final
class StoreClosed(StoreError):
    """The store was closed."""


@final
class StoreForked(StoreError):
    """The store was opened in another process and inherited by fork; open it anew in this process."""


@final
class StoreLost(StoreError):
    """The file under the store was removed or replaced; what is committed now would be lost."""


@final
class WrongLoop(HoldstateError, RuntimeError):
    """The store belongs to another event loop that is still alive."""

    def __init__(self) -> None:
        super().__init__("this store belongs to another event loop; use one loop per store, or open the store there")


@final
class Fenced(HoldstateError):
    """A newer opener holds the runtime; this driver is finished. Never retried (C32)."""

    def __init__(self, runtime_id: str, epoch: int, stored_epoch: int) -> None:
        self.runtime_id = runtime_id
        self.epoch = epoch
        self.stored_epoch = stored_epoch
        super().__init__(
            f"runtime {runtime_id!r} was opened by somebody else (epoch {stored_epoch}, ours is {epoch}); "
            "this driver is finished, open the runtime anew to take it back"
        )


# -- the service ---------------------------------------------------------------------------------------------------


@final
class ServiceClosed(HoldstateError):
    """The service is closing or closed; what was accepted is in the store and goes on at the next start."""

    def __init__(self) -> None:
        super().__init__("the service is closed; start it again to go on")


@final
class WaitTimedOut(HoldstateError, TimeoutError):
    """A caller ran out of patience. The input goes on; ask again with its id or key."""

    def __init__(self, input_id: UUID, seconds: float) -> None:
        self.input_id = input_id
        self.seconds = seconds
        super().__init__(f"input {input_id} has not ended within {seconds:g} s; it goes on, ask again")


@final
class UnknownInput(HoldstateError, LookupError):
    """There is no such input in that runtime, or retention removed it."""

    def __init__(self, runtime_id: str, input_id: UUID) -> None:
        self.runtime_id = runtime_id
        self.input_id = input_id
        super().__init__(f"runtime {runtime_id!r} has no input {input_id}; check both ids")


@final
class InputRejected(HoldstateError, ValueError):
    """A submitted input was refused; ``rejection`` says why. Nothing was stored."""

    def __init__(self, rejection: Rejected) -> None:
        self.rejection = rejection
        super().__init__(f"{rejection.code}: {rejection.path or 'input'}: {rejection.reason}")


@final
class EventLogOff(HoldstateError):
    """Events were asked for again, and this service writes no log of them."""

    def __init__(self, runtime_id: str) -> None:
        self.runtime_id = runtime_id
        super().__init__(
            f"the events of runtime {runtime_id!r} are not logged; open the service with "
            "RuntimeSettings(event_log=True), or subscribe to what comes"
        )


@final
class ServiceForked(HoldstateError):
    """A blocking service was inherited by fork; its thread is in the process ``owner_pid``. Open one of your own."""

    def __init__(self, owner_pid: int) -> None:
        self.owner_pid = owner_pid
        super().__init__(
            f"this service belongs to process {owner_pid} and its thread was not inherited by fork; "
            "open the store and the service after the fork"
        )


@final
class WouldDeadlock(HoldstateError, RuntimeError):
    """A blocking service was called from the thread that has to do the work."""

    def __init__(self) -> None:
        super().__init__(
            "this call would wait for its own thread for ever; from an async executor or a callback, await the methods "
            "of `service.service` in place of it"
        )


@final
class CallTimedOut(HoldstateError, TimeoutError):
    """A blocking call took longer than was allowed. It was taken back if it had not begun; else it happened, so ask
    again with the same id or key.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the service did not answer within {seconds:g} s; ask again with the same id or key")
