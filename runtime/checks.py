"""What driver, service and stores refuse at the door, before anything is changed: a value that could not be stored, or
that is no such thing at all.
"""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import Final, TypeVar

from ..spec.vocabulary import RunBoundary
from .errors import InvalidInput
from .ids import RunId, check_uuid, check_uuids
from .outcomes import BoundaryApplied, Run, RunCompleted, RunEvent, RunOutput
from .records import RunBoundaryReceipt
from .settings import is_number

E = TypeVar("E", bound=StrEnum)
S = TypeVar("S")

LARGEST_NUMBER: Final = 2**63 - 1
LARGEST_SEQUENCE: Final = 2**64 - 1


def check_store(store: S) -> S:
    """``store``, which has to be an open one; the path of one is none."""
    if isinstance(store, type) or not hasattr(store, "prepare"):
        kind = store.__name__ if isinstance(store, type) else f"a {type(store).__name__}"
        raise InvalidInput("store", f"must be an open store, not {kind}; open one with LmdbStore.open(path)")
    return store


def check_count(value: object, path: str, most: int = LARGEST_NUMBER) -> None:
    """``value`` has to be a whole number from 0 to ``most``."""
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidInput(path, f"must be a whole number from 0 to {most}")


def check_sequence(value: object, path: str) -> None:
    """``value`` has to be what a receipt of a run can be counted as."""
    check_count(value, path, LARGEST_SEQUENCE)


def check_seconds(value: object, path: str) -> None:
    """``value`` has to be a time above 0 that ends."""
    if not is_number(value) or not 0 < value < inf:
        raise InvalidInput(path, f"must be a finite number above 0; it is {value!r}")


def check_after(after: object) -> None:
    """``after`` has to be None or a whole number, of any size: there may be nothing behind it."""
    if after is not None and type(after) is not int:
        raise InvalidInput("after", f"must be a whole number or None, not {type(after).__name__}")


def member_of(words: type[E], value: str, path: str) -> E:
    """``value`` as one of ``words``; InvalidInput names them where it is none."""
    try:
        return words(value)
    except ValueError:
        raise InvalidInput(path, f"must be one of {', '.join(map(repr, map(str, words)))}; it is {value!r}") from None


def run_id_of(run: Run | RunId | None) -> RunId:
    """The id of a run that is told by itself or by its id."""
    if isinstance(run, Run):
        return run.run_id
    if run is None:
        raise InvalidInput("run", "is None, which begin_run answers when there is nothing to do; give a Run or its id")
    return check_uuid(run, "run")


def output_of(output: object) -> RunOutput:
    """What a run gave, None being nothing; InvalidInput for what could not be stored of it."""
    if output is None:
        return RunOutput()
    if not isinstance(output, RunOutput):
        raise InvalidInput("output", f"must be a RunOutput or None, not {type(output).__name__}")
    _check_bytes(output.session_snapshot, "session_snapshot")
    _check_bytes(output.result, "result")
    check_count(output.message_count, "message_count")
    return output


def _check_bytes(value: object, path: str) -> None:
    if value is not None and not isinstance(value, bytes):
        raise InvalidInput(path, f"must be bytes or None, not {type(value).__name__}")


def error_text(error: object) -> str | None:
    """``error`` as it is stored: words for people, so lone surrogates are escaped and not refused."""
    if error is None:
        return None
    if not isinstance(error, str):
        raise InvalidInput("error", f"must be text or None, not {type(error).__name__}; give what str() makes of it")
    return error.encode("utf-8", "backslashreplace").decode()


def check_instance(value: object, wanted: type, path: str, advice: str = "") -> None:
    """``value`` has to be a ``wanted``; ``advice`` ends the sentence that refuses it."""
    if not isinstance(value, wanted):
        raise InvalidInput(path, f"must be a {wanted.__name__}, not {type(value).__name__}{advice}")


def check_run_event(event: object) -> None:
    """Whether ``event`` is one of a run, and its parts are what they must be; of a failure ``error_text`` has the rest.

    Whether they fit the run is for the core to say.
    """
    if not isinstance(event, RunEvent):
        names = "RunStarted, BoundaryApplied, RunCompleted, RunFailed or RunCancelled"
        raise InvalidInput("event", f"must be a {names}, not {type(event).__name__}")
    check_uuid(event.run_id, "event.run_id")
    if isinstance(event, BoundaryApplied):
        check_instance(event.receipt, RunBoundaryReceipt, "event.receipt")
        _check_receipt(event.receipt)
        _check_bytes(event.session_snapshot, "event.session_snapshot")
        _check_bytes(event.result, "event.result")
    elif isinstance(event, RunCompleted):
        check_uuids(event.consumed_input_ids, "event.consumed_input_ids")
        _check_bytes(event.result, "event.result")


def _check_receipt(receipt: RunBoundaryReceipt) -> None:
    check_uuid(receipt.run_id, "event.receipt.run_id")
    check_instance(receipt.boundary, RunBoundary, "event.receipt.boundary")
    check_uuids(receipt.contributing_input_ids, "event.receipt.contributing_input_ids")
    check_sequence(receipt.sequence, "event.receipt.sequence")
    check_count(receipt.message_count, "event.receipt.message_count")
