"""What ``holdstate run`` tells: a JSON line per answer on stdout, a progress bar and a summary on stderr."""

from __future__ import annotations

import sys
from base64 import b64encode
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Any, Final, final

from attrs import define

from ..runtime.inputs import JSON
from ..runtime.records import InputRecord
from ..runtime.wire import to_wire
from ..spec.errors import HoldstateError
from ..spec.vocabulary import OutcomeKind
from .output import OutputClosed, new_console, note, to_json, write_result
from .run_source import Line

_SHOWN_CHARACTERS: Final = 300


@final
class AnswersUnread(HoldstateError):
    """Nobody reads the answers any more. What was not told is told by the next command."""

    def __init__(self) -> None:
        super().__init__("stdout was closed by its reader; run the same command again to go on where it stopped")


@final
@define(eq=False)
class Waiter:
    """A line that waits for its answer. ``deduplicated``: its input was there before it came; ``is_admitted``: that it
    has an input is certain by now.
    """

    line: Line
    deduplicated: bool = False
    is_admitted: bool = False


@final
@define
class Tally:
    """What a command did, counted. ``consumed``, ``abandoned`` and ``replaced`` are inputs that ended in this command;
    ``found_abandoned`` are lines that an earlier one had given up.
    """

    accepted: int = 0
    deduplicated: int = 0
    differing: int = 0
    runs: int = 0
    consumed: int = 0
    abandoned: int = 0
    replaced: int = 0
    found_abandoned: int = 0
    failed_attempts: int = 0
    put_off: int = 0


@final
class Report:
    """Counts, and tells what ended in the order in which it ended."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._started = monotonic()
        self._bar: Any = None
        self._task: Any = None

    def progress(self) -> AbstractContextManager[Any]:
        """A progress bar, if stderr is a terminal and the results do not go to one."""
        if not sys.stderr.isatty() or sys.stdout.isatty():
            return nullcontext()
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=new_console(stderr=True), redirect_stdout=False, transient=True)
        self._task = self._bar.add_task("lines", total=0)
        return self._bar  # type: ignore[no-any-return]  # rich is typed, but imported only here

    def lines_taken(self, count: int) -> None:
        """``count`` more lines are to be answered."""
        if self._bar is not None:
            self._bar.update(self._task, total=self._bar.tasks[0].total + count)

    def ended(self, runtime_id: str, record: InputRecord, result: bytes | None, waiters: list[Waiter]) -> None:
        """An input ended now: one answer for each line that waits for it, or one for an input of an earlier command."""
        kind = record.outcome_kind
        if kind is OutcomeKind.ABANDONED:
            self.tally.abandoned += 1
        elif kind in (OutcomeKind.SUPERSEDED, OutcomeKind.COALESCED):
            self.tally.replaced += 1
        else:
            self.tally.consumed += 1
        if not waiters:
            _write(answer(runtime_id, record, result, None, deduplicated=False))
        for waiter in waiters:
            self._answer(answer(runtime_id, record, result, waiter.line, deduplicated=waiter.deduplicated))

    def ended_before(self, runtime_id: str, record: InputRecord, result: bytes | None, waiters: list[Waiter]) -> None:
        """The input of a line had ended before this command, or before this line."""
        for waiter in waiters:
            self.tally.found_abandoned += record.outcome_kind is OutcomeKind.ABANDONED
            self._answer(answer(runtime_id, record, result, waiter.line, deduplicated=True))

    def _answer(self, told: dict[str, JSON]) -> None:
        _write(told)
        if self._bar is not None:
            self._bar.advance(self._task)

    def failed(self, runtime_id: str, place: str, attempt: int, error: str) -> None:
        """One run went wrong."""
        self.tally.failed_attempts += 1
        note(f"{place} in {runtime_id}: attempt {attempt} failed: {' '.join(error.split())[-_SHOWN_CHARACTERS:]}")

    def stopping(self, grace: float) -> None:
        """A signal came."""
        note(f"stopping; runs that are going on have {grace:g} s to end (--grace), another signal stops them at once")

    def summary(self) -> None:
        """The totals, in one line on stderr."""
        tally = self.tally
        parts = [
            f"accepted {tally.accepted}",
            f"deduplicated {tally.deduplicated}",
            f"runs {tally.runs}",
            f"consumed {tally.consumed}",
            f"abandoned {tally.abandoned}",
            f"failed attempts {tally.failed_attempts}",
        ]
        if tally.replaced:
            parts.append(f"replaced {tally.replaced}")
        if tally.put_off:
            parts.append(f"put off {tally.put_off}")
        if tally.differing:
            parts.append(f"deduplicated with another content {tally.differing}")
        note(f"{', '.join(parts)}; {monotonic() - self._started:.1f} s")


def _write(told: dict[str, JSON]) -> None:
    try:
        write_result(to_json(told))
    except OutputClosed as error:
        raise AnswersUnread from error


def answer(
    runtime_id: str, record: InputRecord, result: bytes | None, line: Line | None, *, deduplicated: bool
) -> dict[str, JSON]:
    """One line of output."""
    text, is_base64 = result_text(result)
    return {
        "source": None if line is None else line.source,
        "line": None if line is None else line.number,
        "runtime": runtime_id,
        "input_id": str(record.input_id),
        "key": record.admission.idempotency_key,
        "state": str(record.state),
        "outcome": outcome_view(record),
        "attempts": record.attempt_count,
        "deduplicated": deduplicated,
        "result": text,
        "result_is_base64": is_base64,
    }


def outcome_view(record: InputRecord) -> JSON:
    """How an input ended; None while it has not."""
    outcome = record.terminal_outcome
    if outcome is None:
        return None
    return {
        "kind": str(outcome.kind),
        "reason": to_wire(outcome.reason),
        "successor": to_wire(outcome.successor_id),
        "error": outcome.error,
    }


def result_text(result: bytes | None) -> tuple[str | None, bool]:
    """A result as JSON can hold it: as text where it is UTF-8, else in base64, and which of the two it is."""
    if result is None:
        return None, False
    try:
        return result.decode(), False
    except UnicodeDecodeError:
        return b64encode(result).decode(), True
