"""Replays recorded runs of the reference implementation against a driver, step by step.

Where holdstate differs on purpose, a named ``Difference`` rewrites what the reference answered into what holdstate must
answer; everything else has to be equal. ``tests/data/README.md`` says where the recordings come from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum
from itertools import count
from typing import final
from uuid import UUID

import pytest
from attrs import define, field, frozen

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.errors import NotReady
from holdstate.runtime.ids import InputId, RunId
from holdstate.runtime.outcomes import (
    Accepted,
    BoundaryApplied,
    Deduplicated,
    DetachReport,
    EndReport,
    Rejected,
    RetireReport,
    RunCancelled,
    RunCompleted,
    RunFailed,
)
from holdstate.runtime.records import RunBoundaryReceipt
from holdstate.runtime.rejections import RejectionCode
from holdstate.runtime.settings import Backoff, RetryPolicy
from holdstate.runtime.store import RuntimeStore
from holdstate.spec.vocabulary import Lane, RunBoundary, RuntimeControl

from .recordings import TIME, Answer, Command, Trace, build_input, recorded_policy

SETTINGS = RuntimeSettings(retry=RetryPolicy(max_attempts=100, backoff=Backoff(initial_seconds=0.0)), debug=True)


# -- the differences -----------------------------------------------------------------------------------------------


@final
class Difference(StrEnum):
    """Every way in which an answer may differ from the recorded one, in the words of the design."""

    STAGING_IS_STORED = "a staged input is stored as staged, and its runtime as running"
    RECORD_FROM_FIRST_OPEN = "the stored runtime record exists from the first open"
    NO_WAKE_AFTER_CRASH = "after a crash, inputs whose policy wakes nobody raise no wake"
    REPORT_COUNTS_MORE = "a recovery report counts what it found staged, and what it consumed, too"
    REJECTION_TEXT = "a rejection has a code and a text of its own"
    NOTHING_INTO_RETIRED = "a run that began in retired takes no input (the reference stranded it): the trace splits"
    PROMPT_ALONE = "a prompt runs alone after a crash too (the reference forgot that it is one): the trace splits"
    RETRY_ALONE = "an input that failed before runs alone: the trace splits there"


@define
class Progress:
    """What is known of the inputs of a trace from its commands and recorded answers alone."""

    commands: dict[int, Command] = field(factory=dict)
    failed: set[int] = field(factory=set)
    retired: bool = False
    before: Answer = field(factory=dict)

    def note(self, command: Command, answer: Answer) -> None:
        if answer["outcome"] == "accepted":
            self.commands[command["n"]] = command
        if command["op"] in ("run_failed", "crash"):
            self.failed.update(self.staged())
        if answer["runtime_state"] != "running":
            self.retired = answer["runtime_state"] == "retired"
        self.before = answer

    def staged(self) -> set[int]:
        """What the last recorded answer said is staged."""
        return self._in("staged")

    def pending(self) -> set[int]:
        """What the last recorded answer said is pending consumption."""
        return self._in("applied_pending_consumption")

    def _in(self, wanted: str) -> set[int]:
        return {int(number) for number, state in self.before.get("inputs", {}).items() if state == wanted}

    def is_prompt(self, number: int) -> bool:
        """Whether this input is a prompt in the queue lane."""
        command = self.commands[number]
        return command["kind"] == "prompt" and command.get("handling_mode") != "steer"

    def wakes(self, number: int) -> bool:
        """Whether the policy lets this input wake an idle runtime: only progress of a peer does not."""
        return bool(self.commands[number]["kind"] != "peer_response_progress")


def wanted(command: Command, recorded: Answer, progress: Progress) -> tuple[Answer, set[Difference]]:
    """The answer that holdstate must give, and which differences made it differ from the recorded one."""
    answer = json.loads(json.dumps(recorded))
    used: set[Difference] = set()

    def change(part: str, value: object, why: Difference) -> None:
        if answer[part] != value:
            answer[part] = value
            used.add(why)

    stored = {
        number: "staged" if answer["inputs"].get(number) == "staged" and state == "queued" else state
        for number, state in answer["stored"].items()
    }
    change("stored", stored, Difference.STAGING_IS_STORED)
    if answer["stored_runtime_state"] is None:
        change("stored_runtime_state", "idle", Difference.RECORD_FROM_FIRST_OPEN)
    if answer["runtime_state"] == "running":
        change("stored_runtime_state", "running", Difference.STAGING_IS_STORED)
    if command["op"] == "crash":
        queued = (*answer["queue"], *answer["steer_queue"])
        change("wake", any(map(progress.wakes, queued)), Difference.NO_WAKE_AFTER_CRASH)
        looked_at = answer["report"]["inputs_recovered"] + len(progress.pending())
        report = {**answer["report"], "inputs_recovered": looked_at, "inputs_requeued": len(progress.staged())}
        change("report", report, Difference.REPORT_COUNTS_MORE)
    if answer["reason"] is not None:
        change("reason", RejectionCode.DERIVED_FORBIDDEN.value, Difference.REJECTION_TEXT)
    return answer, used


def began_retired(command: Command, recorded: Answer, progress: Progress) -> bool:
    """Whether the reference admitted an input into a run that began in retired."""
    return bool(recorded["outcome"] == "accepted" and recorded["runtime_state"] == "running" and progress.retired)


def batch_split(batch: list[int], progress: Progress) -> tuple[list[int], Difference]:
    """The prefix of a recorded batch that runs here, and why it is shorter."""
    failed = next((place for place, number in enumerate(batch) if number in progress.failed), len(batch))
    prompt = next((place for place, number in enumerate(batch) if progress.is_prompt(number)), len(batch))
    why = Difference.RETRY_ALONE if failed <= prompt else Difference.PROMPT_ALONE
    return batch[: max(1, min(failed, prompt))], why


# -- one replay ----------------------------------------------------------------------------------------------------


@final
@frozen
class Replayed:
    """``compared`` steps agreed; ``split`` is the difference that ended the trace early, None where it was whole."""

    compared: int
    split: Difference | None
    used: Counter[Difference]


@final
class Replay:
    """One trace against one driver. Ids, time and chance are made here, so that a replay is the same every time."""

    def __init__(self, store: RuntimeStore, runtime_id: str = "trace") -> None:
        ids = count(1 << 64)
        self._environment = Environment(now=lambda: TIME, new_id=lambda: UUID(int=next(ids)), chance=lambda: 0.5)
        self._store = store
        self._runtime_id = runtime_id
        self._driver: PersistentRuntimeDriver
        self._numbers: dict[InputId, int] = {}
        self._batch: tuple[InputId, ...] = ()
        self._boundary = RunBoundary.RUN_START
        self._commands: dict[str, Callable[[Command], Awaitable[Answer]]] = {
            "accept": self._accept,
            "attach": self._attach,
            "detach": self._detach,
            "start_batch": self._start_batch,
            "boundary": self._boundary_applied,
            "run_completed": self._run_completed,
            "run_failed": self._run_failed,
            "run_cancelled": self._run_cancelled,
            "retire": self._retire,
            "reset": self._reset,
            "stop": self._stop,
            "destroy": self._destroy,
            "crash": self._crash,
        }

    async def run(self, trace: Trace) -> Replayed:
        """Replays ``trace``; AssertionError names the first step whose answer differs from what it must be."""
        await self._open()
        self._driver.take_wake_requested()
        progress = Progress()
        used: Counter[Difference] = Counter()
        for place, (command, recorded) in enumerate(trace):
            if began_retired(command, recorded, progress):
                with pytest.raises(NotReady):
                    await self.answer(command)
                return Replayed(place, Difference.NOTHING_INTO_RETIRED, used)
            answer = await self.answer(command)
            expected, differences = wanted(command, recorded, progress)
            if command["op"] == "start_batch" and answer["batch"] != expected["batch"]:
                batch, why = batch_split(expected["batch"], progress)
                assert answer["batch"] == batch, f"step {place}: {command}: {answer['batch']} != {batch}"
                return Replayed(place, why, used)
            assert answer == expected, "\n".join(_unequal(place, command, answer, expected))
            progress.note(command, recorded)
            used.update(differences)
        return Replayed(len(trace), None, used)

    async def answer(self, command: Command) -> Answer:
        """What the driver answers to one command, in the words of the recordings."""
        said = await self._commands[command["op"]](command)
        image = self._driver._actor.image
        stored = self._store.load_runtime(self._runtime_id)
        assert stored is not None
        return {
            "result": "ok",
            "outcome": None,
            "existing": None,
            "reason": None,
            "policy": None,
            "batch": None,
            "boundary": None,
            "report": None,
            **said,
            "runtime_state": self._driver.runtime_state.value,
            "inputs": {str(number): str(await self._driver.input_state(id)) for id, number in self._numbers.items()},
            "queue": [self._numbers[record.input_id] for record in image.lane(Lane.QUEUE)],
            "steer_queue": [self._numbers[record.input_id] for record in image.lane(Lane.STEER)],
            "wake": self._driver.take_wake_requested(),
            "process": self._driver.take_process_requested(),
            "stored": {str(number): self._stored_state(id) for id, number in self._numbers.items()},
            "stored_runtime_state": stored.record.state.value,
        }

    def _stored_state(self, input_id: InputId) -> str | None:
        record = self._store.load_input(self._runtime_id, input_id)
        return None if record is None else record.state.value

    async def _open(self) -> None:
        self._driver = await PersistentRuntimeDriver.open(
            self._runtime_id, self._store, settings=SETTINGS, environment=self._environment
        )

    # -- one method per recorded command -------------------------------------------------------------------------

    async def _accept(self, command: Command) -> Answer:
        given = build_input(command)
        outcome = await self._driver.accept_input(given)
        if isinstance(outcome, Accepted):
            self._numbers[outcome.input_id] = command["n"]
            return {"outcome": "accepted", "policy": recorded_policy(outcome.policy)}
        if isinstance(outcome, Deduplicated):
            return {"outcome": "deduplicated", "existing": self._numbers[outcome.existing_id]}
        assert isinstance(outcome, Rejected)
        return {"outcome": "rejected", "reason": outcome.code.value}

    async def _attach(self, command: Command) -> Answer:
        await self._driver.attach()
        return {}

    async def _detach(self, command: Command) -> Answer:
        report: DetachReport = await self._driver.detach()
        return {"report": {"was_attached": report.was_attached}}

    async def _start_batch(self, command: Command) -> Answer:
        run = await self._driver.begin_run(_run_id(command))
        assert run is not None
        self._batch = run.input_ids
        self._boundary = run.records[0].admission.boundary
        return {"batch": [self._numbers[input_id] for input_id in run.input_ids], "boundary": self._boundary.value}

    async def _boundary_applied(self, command: Command) -> Answer:
        receipt = RunBoundaryReceipt(_run_id(command), self._boundary, self._batch, command["seq"])
        await self._driver.on_run_event(BoundaryApplied(receipt.run_id, receipt))
        return {}

    async def _run_completed(self, command: Command) -> Answer:
        await self._driver.on_run_event(RunCompleted(_run_id(command), self._batch))
        return {}

    async def _run_failed(self, command: Command) -> Answer:
        await self._driver.on_run_event(RunFailed(_run_id(command), "failed", recoverable=True))
        return {}

    async def _run_cancelled(self, command: Command) -> Answer:
        await self._driver.on_run_event(RunCancelled(_run_id(command)))
        return {}

    async def _retire(self, command: Command) -> Answer:
        report: RetireReport = await self._driver.retire()
        pending = report.inputs_pending_drain
        return {"report": {"inputs_abandoned": report.inputs_abandoned, "inputs_pending_drain": pending}}

    async def _reset(self, command: Command) -> Answer:
        return _ended(await self._driver.reset())

    async def _stop(self, command: Command) -> Answer:
        await self._driver.on_runtime_control(RuntimeControl.STOP)
        return {}

    async def _destroy(self, command: Command) -> Answer:
        return _ended(await self._driver.destroy())

    async def _crash(self, command: Command) -> Answer:
        await self._open()
        report = self._driver.recovery_report
        return {
            "report": {
                "inputs_abandoned": report.abandoned,
                "inputs_recovered": report.recovered,
                "inputs_requeued": report.requeued,
            }
        }


def _ended(report: EndReport) -> Answer:
    return {"report": {"inputs_abandoned": report.inputs_abandoned}}


def _run_id(command: Command) -> RunId:
    return RunId(UUID(int=1 << 32 | command["run"]))


def _unequal(place: int, command: Command, answer: Answer, expected: Answer) -> Iterator[str]:
    yield f"step {place}: {json.dumps(command)}"
    for part, value in expected.items():
        if answer[part] != value:
            yield f"  {part}: holdstate {answer[part]!r}, the reference {value!r}"
