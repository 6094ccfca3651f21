"""What a driver may be asked in a state: every command of the command table, with each argument that matters.

Each call is what the driver's method of that name decides in its turn; where it can be, it is that very function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, final

from attrs import evolve, frozen

from ..runtime import calls
from ..runtime import commands as c
from ..runtime.ids import RunId
from ..runtime.outcomes import BoundaryApplied, RunFailed, RunOutput
from ..runtime.turn import Turn
from ..spec.vocabulary import AbandonReason, InputState
from .explorer_codec import Codec
from .explorer_kinds import INPUT_IDS, RESULT, RUN_IDS
from .explorer_rows import InputRow, Memory, ReceiptRow

_STAGED = InputState.STAGED.value
_PENDING = InputState.APPLIED_PENDING_CONSUMPTION.value
_WITH_RESULT = RunOutput(result=RESULT)


@final
@frozen
class Call:
    """One call on one driver. ``accepts``: the input that its answer acknowledges; ``begins``: it takes a new run id;
    ``helps``: a driver that takes what it may take does it, or an executor that ends each run, well or badly.
    """

    label: str
    decide: Callable[[Turn], object]
    accepts: int | None = None
    alone: bool = False
    begins: bool = False
    helps: bool = False


def _command(make: Callable[..., c.Command], *arguments: Any) -> Callable[[Turn], object]:
    return lambda turn: turn.step(make(turn.at, *arguments))


def _ending(make: Callable[..., c.Command]) -> Callable[[Turn], object]:
    def decide(turn: Turn) -> object:
        outcome = turn.step(make(turn.at))
        turn.actor.opened_run = None
        return outcome

    return decide


_LIFECYCLE = (
    Call("attach", _command(c.Attach)),
    Call("detach", _command(c.Detach)),
    Call("retire", _command(c.Retire)),
    Call("reset", _ending(c.Reset)),
    Call("stop", _ending(c.Stop)),
    Call("destroy", _ending(c.Destroy)),
    Call("recycle", _ending(c.Recycle)),
    Call("resume", _command(c.Resume)),
    Call("recover", calls.recover, alone=True),
    Call("abandon_pending", partial(calls.abandon_pending, reason=AbandonReason.FAILED, error="given up")),
)


class CallBounds(Protocol):
    """How far calls go: see ``WholeBounds``."""

    @property
    def inputs(self) -> int: ...
    @property
    def kinds(self) -> Sequence[str]: ...
    @property
    def boundaries(self) -> int: ...


def calls_of(memory: Memory, codec: Codec, bounds: CallBounds, fresh_run: int, *, may_begin: bool) -> Iterator[Call]:
    """What can be asked of a driver with ``memory``; the next run gets the number ``fresh_run``."""
    yield from chain(
        _accepts(memory, codec, bounds),
        _begins(memory, fresh_run) if may_begin else (),
        _run_calls(memory, bounds, fresh_run),
        (
            Call(f"cancel input {row.number}", partial(calls.cancel_input, input_id=INPUT_IDS[row.number]))
            for row in memory.inputs
        ),
        _LIFECYCLE,
    )


def _accepts(memory: Memory, codec: Codec, bounds: CallBounds) -> Iterator[Call]:
    number = memory.following
    for kind in bounds.kinds if number <= bounds.inputs else ():
        prepared = codec.prepared(kind, number)
        durable = not codec.is_ephemeral(kind)
        if durable or not memory.stale:
            acknowledged = number if durable else None
            yield Call(f"accept {kind} {number}", partial(calls.accept, prepared=prepared), accepts=acknowledged)
    for row in memory.inputs:
        yield _again(row, codec)


def _again(row: InputRow, codec: Codec) -> Call:
    return Call(
        f"accept input {row.number} again", partial(calls.accept, prepared=codec.prepared(row.kind, row.number))
    )


def _begins(memory: Memory, fresh_run: int) -> Iterator[Call]:
    yield Call("begin_run", partial(calls.begin_run, given=None), begins=True, helps=True)
    run = memory.runtime.run
    waiting = {InputState.QUEUED.value} if run is None else {InputState.QUEUED.value, _STAGED}
    queued = [row for row in memory.inputs if row.state in waiting]
    if (run is None or run != memory.held) and len(queued) > 1:  # one that nobody holds is called off before
        for row in queued:
            yield Call(
                f"begin_run of input {row.number} alone", partial(_begin_alone, row.number, fresh_run), begins=True
            )


def _begin_alone(number: int, fresh_run: int, turn: Turn) -> object:
    """What ``stage_batch`` does with a run that ``start_run`` opened."""
    run_id = RUN_IDS[fresh_run]
    outcome = turn.step(c.BeginRun(turn.at, run_id, (INPUT_IDS[number],)))
    turn.after_commit.append(lambda: turn.actor.hand_out(run_id))
    return outcome


def _run_calls(memory: Memory, bounds: CallBounds, fresh_run: int) -> Iterator[Call]:
    """What an executor says of the current run, and the same of another one."""
    run = memory.runtime.run
    if run is not None:
        yield from _ends(RUN_IDS[run], "")
        yield Call("complete_run with a result", partial(calls.complete_run, run_id=RUN_IDS[run], output=_WITH_RESULT))
        yield Call("take_steers", partial(calls.take_steers, run_id=RUN_IDS[run], staged=[]))
        if memory.runtime.boundaries < bounds.boundaries:
            yield Call(
                "checkpoint", partial(calls.minted_boundary, run_id=RUN_IDS[run], output=RunOutput(), with_result=True)
            )
        yield Call("completion of the run alone", calls.complete_current)
        yield from _parts(memory, RUN_IDS[run])
    other = memory.runtime.last_run if memory.runtime.last_run is not None else fresh_run
    if other != run:
        yield from _ends(RUN_IDS[other], " of a run that is not current")


def _ends(run_id: RunId, suffix: str) -> Iterator[Call]:
    complete = partial(calls.complete_run, run_id=run_id, output=RunOutput())
    yield Call(f"complete_run{suffix}", complete, helps=not suffix)
    for recoverable, how in ((True, "fail_run"), (False, "fail_run for good")):
        failed = partial(calls.fail_run, event=RunFailed(run_id, "it failed", recoverable))
        yield Call(how + suffix, failed, helps=not suffix)
    yield Call(f"cancel_run{suffix}", partial(calls.cancel_run, run_id=run_id))


def _parts(memory: Memory, run_id: RunId) -> Iterator[Call]:
    """Calls about some of the contributors."""
    for row in memory.inputs:
        input_id = INPUT_IDS[row.number]
        if row.state == _STAGED:
            yield Call(f"rollback_staged input {row.number}", _command(c.RollbackStaged, (input_id,)))
        if row.state == _PENDING:
            yield Call(f"consume_inputs input {row.number}", _command(c.ConsumeInputs, run_id, (input_id,)))
    steers = [
        row for row in memory.inputs if row.kind in {"steer", "progress"} and row.state == InputState.QUEUED.value
    ]
    for row in steers if len(steers) > 1 else ():
        yield Call(f"stage_more input {row.number} alone", _command(c.StageMore, run_id, (INPUT_IDS[row.number],)))


# -- calls that meet what is stored and not in memory ------------------------------------------------------------------


def input_calls(row: InputRow, memory: Memory, codec: Codec) -> Iterator[Call]:
    """What a driver may be asked about an input that ended: it comes again, by its id or its key; it is cancelled."""
    number = memory.following
    yield _again(row, codec)
    yield Call(f"cancel ended input {row.number}", partial(calls.cancel_input, input_id=INPUT_IDS[row.number]))
    prepared = codec.prepared(row.kind, row.number)
    key = prepared.input.header.idempotency_key
    if key is not None:
        header = evolve(prepared.input.header, id=INPUT_IDS[number])
        prepared = evolve(prepared, input=evolve(prepared.input, header=header))
        yield Call(f"accept the key of input {row.number} again", partial(calls.accept, prepared=prepared))


def receipt_calls(row: ReceiptRow, codec: Codec) -> Iterator[Call]:
    """What a driver may be asked about a boundary that is stored: the same again, and another one in its place."""
    receipt = codec.receipt(row)
    for given, label in ((receipt, "again"), (evolve(receipt, message_count=1), "with another content")):
        event = BoundaryApplied(receipt.run_id, given)
        yield Call(f"boundary {row.sequence} of run {row.run} {label}", partial(calls.run_event, event=event))
    yield Call(f"begin_run under the used id of run {row.run}", partial(calls.begin_run, given=receipt.run_id))
