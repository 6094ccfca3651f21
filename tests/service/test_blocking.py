"""The blocking side: the same names, from any thread, with the errors of the service and no way to hang."""

from __future__ import annotations

import asyncio
import inspect
import os
import queue
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from holdstate.blocking import BlockingRun, BlockingRuntimeService
from holdstate.runtime import commit_thread, loop_thread
from holdstate.runtime.blocking_executor import OnThreads
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import (
    CallTimedOut,
    InputRejected,
    InvalidInput,
    RunNotCurrent,
    ServiceClosed,
    ServiceForked,
    StoreError,
    WaitTimedOut,
    WouldDeadlock,
)
from holdstate.runtime.events import EventEnvelope
from holdstate.runtime.executor import ActiveRun, PermanentFailure
from holdstate.runtime.handles import Abandoned, Completed, WaitFailed
from holdstate.runtime.ids import EventId, InputId, RunId, new_uuid7
from holdstate.runtime.inputs import ContinuationInput, PromptInput
from holdstate.runtime.loop_thread import LoopThread
from holdstate.runtime.outcomes import Accepted, Cancelled, Rejected, RunOutput
from holdstate.runtime.service import RuntimeService
from holdstate.runtime.service_settings import ServiceSettings
from holdstate.runtime.settings import Backoff, Limits, RetryPolicy
from holdstate.runtime.status import ServiceState
from holdstate.spec.vocabulary import EventCode, HandlingMode, InputState, RuntimeControl, RuntimeState
from holdstate.stores.memory_store import MemoryStore

from ..faults import FaultyStore, Plan
from .watching import START

AT_ONCE = ServiceSettings(runtime=RuntimeSettings(retry=RetryPolicy(2, Backoff(initial_seconds=0.0))))


class Working:
    """Does what the text of the first input says, on its thread."""

    def __init__(self) -> None:
        self.began: threading.Semaphore = threading.Semaphore(0)
        self.gate = threading.Event()
        self.told: list[tuple[str, RuntimeControl]] = []
        self.runs: list[BlockingRun] = []

    def apply(self, run: BlockingRun) -> RunOutput | bytes | None:
        text = getattr(run.inputs[0], "text", "")
        self.runs.append(run)
        self.began.release()
        if text == "wait":
            assert self.gate.wait(10)
        elif text == "permanent":
            raise PermanentFailure("never")
        elif text == "exit":
            raise SystemExit("bye")
        elif text == "stop":
            raise StopIteration
        return str(text).encode()

    def control(self, runtime_id: str, control: RuntimeControl) -> None:
        self.told.append((runtime_id, control))


@pytest.fixture
def working() -> Working:
    return Working()


# -- the same service ----------------------------------------------------------------------------------------------


def _public(cls: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in vars(cls).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


def test_names_and_parameters_are_those_of_the_service() -> None:
    """What holds for one is found in the other."""
    assert _public(BlockingRuntimeService) == _public(RuntimeService)


def test_inputs_are_worked_off_and_everything_can_be_asked(working: Working) -> None:
    """Submit, outcome, state, result, receipts, snapshot, key, list, status: without await."""
    with BlockingRuntimeService(MemoryStore(), working) as service:
        handle = service.submit("a", PromptInput.new("x", idempotency_key="k"))
        assert isinstance(handle.accepted, Accepted)
        assert handle.outcome(10) == Completed(handle.input_id, b"x")
        assert service.wait("a", handle.input_id) == handle.outcome()
        record = service.find("a", "k")
        assert record is not None
        assert record == service.input_record("a", handle.input_id)
        assert service.input_state("a", handle.input_id) is InputState.CONSUMED
        assert service.input_result("a", handle.input_id) == b"x"
        assert record.last_run_id is not None
        assert service.load_boundary_receipt("a", record.last_run_id, 0) is not None
        assert service.load_session_snapshot("a") is None
        assert [each.runtime_id for each in service.list_runtimes()] == ["a"]
        assert service.runtime_state("a") in (RuntimeState.ATTACHED, RuntimeState.IDLE)
        assert service.status().state is ServiceState.OK


def test_lifecycle_commands_answer(working: Working) -> None:
    """Retire, recycle, recover, reset, stop, destroy; the executor is told of stop on a thread of its own."""
    with BlockingRuntimeService(MemoryStore(), working) as service:
        assert service.retire("a").inputs_pending_drain == 0
        assert service.recycle("a").recovered == 0
        assert service.recover("a").recovered == 0
        assert service.reset("a").inputs_abandoned == 0
        assert service.interrupt("a") is False
        assert service.stop("a").inputs_abandoned == 0
        assert service.destroy("b").inputs_abandoned == 0
        assert ("a", RuntimeControl.STOP) in working.told


def test_an_acceptance_that_takes_too_long_is_not_taken_back(working: Working, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told so, and finds out later; the input goes on (C10)."""
    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", -1.0)
    go_on, original = threading.Event(), MemoryStore.prepare

    def slow(store: MemoryStore, group: Any) -> Any:
        write = original(store, group)
        return lambda: (go_on.wait(10), write())[1]

    with BlockingRuntimeService(MemoryStore(), working, call_seconds=0.05) as service:
        service.interrupt("a")
        monkeypatch.setattr(MemoryStore, "prepare", slow)
        handle = service.submit("a", PromptInput.new("x"))
        with pytest.raises(CallTimedOut):
            _ = handle.accepted
        go_on.set()
        assert handle.outcome(10) == Completed(handle.input_id, b"x")
        assert isinstance(handle.accepted, Accepted)


def test_a_failure_of_the_store_that_a_thread_lets_through_is_not_charged() -> None:
    """As on the loop: the run is called off and tried again."""
    store, tries = FaultyStore(MemoryStore()), iter([True, False])

    class Keeps:
        def apply(self, run: BlockingRun) -> bytes:
            if next(tries):
                waiting.wait(10)
                store.arm(Plan(write=0))
            run.checkpoint(b"half")
            return b"done"

    waiting = threading.Event()
    with BlockingRuntimeService(store, Keeps()) as service:
        handle = service.submit("a", PromptInput.new("x"))
        assert isinstance(handle.accepted, Accepted)
        waiting.set()
        while not isinstance(outcome := handle.outcome(10), Completed):
            assert isinstance(outcome, WaitFailed)
        record = service.input_record("a", handle.input_id)
        assert record is not None
        assert (record.attempt_count, record.failure_count) == (2, 0)


def test_ends_are_listened_to_and_held_work_is_woken() -> None:
    """``listen``, ``may_run`` and ``wake`` work from any thread, and so does waiting for room."""
    allowed: set[str] = set()
    rules = RuntimeSettings(limits=Limits(max_active_inputs=1))
    settings = ServiceSettings(runtime=rules, may_run=allowed.__contains__)
    heard: queue.SimpleQueue[tuple[str, InputState]] = queue.SimpleQueue()
    with BlockingRuntimeService(MemoryStore(), Working(), settings=settings) as service:
        service.listen(lambda runtime_id, record: heard.put((runtime_id, record.state)))
        handle = service.submit("a", PromptInput.new("x"))
        assert isinstance(handle.accepted, Accepted)
        with pytest.raises(WaitTimedOut):
            handle.outcome(0.05)
        allowed.add("a")
        service.wake("a")
        assert isinstance(service.submit("a", PromptInput.new("y"), wait_for_room=True).accepted, Accepted)
        for _ in range(2):
            assert heard.get(timeout=10) == ("a", InputState.CONSUMED)


def test_what_ended_a_service_can_be_waited_for(working: Working) -> None:
    """With ``stop_on_failure``: the failure itself is returned."""
    store = FaultyStore(MemoryStore())
    with BlockingRuntimeService(store, working, settings=ServiceSettings(stop_on_failure=True)) as service:
        store.arm(Plan(write=0))
        with pytest.raises(StoreError):
            service.submit("a", PromptInput.new("x"))
        assert isinstance(service.failure(), StoreError)


def test_without_an_executor_inputs_wait() -> None:
    """They can be cancelled; nothing is worked off."""
    with BlockingRuntimeService(MemoryStore()) as service:
        given = PromptInput.new("x")
        assert isinstance(service.ingest("a", given), Accepted)
        assert isinstance(service.cancel("a", given.header.id), Cancelled)


def test_an_asynchronous_executor_runs_on_the_loop() -> None:
    """It needs no thread for a run."""

    class Asynchronous:
        async def apply(self, run: ActiveRun) -> bytes:
            return threading.current_thread().name.encode()

    with BlockingRuntimeService(MemoryStore(), Asynchronous()) as service:
        handle = service.submit("a", PromptInput.new("x"))
        assert handle.outcome(10) == Completed(handle.input_id, b"holdstate-service")


def test_events_arrive_and_end_with_the_service(working: Working) -> None:
    """A subscription is an iterator; the log and events from outside are there too."""
    settings = ServiceSettings(runtime=RuntimeSettings(event_log=True))
    with BlockingRuntimeService(MemoryStore(), working, settings=settings) as service:
        with service.subscribe("a", codes=[EventCode.INPUT_ACCEPTED]) as subscription:
            handle = service.submit("a", PromptInput.new("x"))
            event = next(subscription)
            assert isinstance(event, EventEnvelope)
            assert event.input_id == handle.input_id
            with pytest.raises(CallTimedOut):
                subscription.next(0.0)
            outside = EventEnvelope(EventId(new_uuid7()), None, "a", EventCode.INPUT_ACCEPTED, START)
            service.publish_event("a", outside)
            assert subscription.next(10) == outside
        assert list(subscription) == []
        handle.outcome(10)
        assert service.events("a")[0].offset == 0
        last = service.subscribe()
    assert list(last) == []
    last.close()


# -- runs on threads -----------------------------------------------------------------------------------------------


def test_a_run_on_a_thread_can_checkpoint_and_take_steers() -> None:
    """Both wait for their commit on the thread of the run."""
    seen: list[Any] = []
    arrived = threading.Event()

    class Steered:
        def apply(self, run: BlockingRun) -> bytes:
            assert arrived.wait(10)
            receipt = run.checkpoint(b"snapshot", message_count=2)
            steers = run.take_steers()
            seen.extend([receipt, steers, run.session_snapshot, run.attempt, run.runtime_id, run.is_called_off])
            seen.extend([run.run_id, run.input_ids, len(run.records), len(run.inputs), run.turn_metadata])
            return b"done"

    with BlockingRuntimeService(MemoryStore(), Steered()) as service:
        handle = service.submit("a", PromptInput.new("x"))
        steer = service.submit("a", ContinuationInput.new("go", handling_mode=HandlingMode.STEER))
        arrived.set()
        assert isinstance(handle.outcome(10), Completed)
        assert isinstance(steer.outcome(10), Completed)
        assert service.load_session_snapshot("a") == b"snapshot"
    receipt, steers, *others = seen
    assert receipt.message_count == 2
    assert [each.header.id for each in steers] == [steer.input_id]
    assert others[:4] == [b"snapshot", 1, "a", False]
    assert others[5] == (handle.input_id, steer.input_id)


@pytest.mark.parametrize(
    ("text", "error"), [("permanent", "never"), ("exit", "SystemExit: bye"), ("stop", "StopIteration")]
)
def test_whatever_a_thread_raises_fails_its_run_alone(working: Working, text: str, error: str) -> None:
    """Also what would end a program or confuse a loop; the service goes on."""
    with BlockingRuntimeService(MemoryStore(), working, settings=AT_ONCE) as service:
        outcome = service.submit("a", PromptInput.new(text)).outcome(10)
        assert isinstance(outcome, Abandoned)
        assert error in (outcome.error or "")
        assert isinstance(service.submit("b", PromptInput.new("x")).outcome(10), Completed)


def test_a_run_that_was_called_off_cannot_commit_any_more(working: Working) -> None:
    """Its thread sees it, and what it makes is refused; the input is tried again."""
    refused = threading.Event()

    class Stubborn:
        def __init__(self) -> None:
            self.began = threading.Semaphore(0)
            self.gate = threading.Event()

        def apply(self, run: BlockingRun) -> bytes:
            if run.attempt == 1:
                self.began.release()
                assert self.gate.wait(10)
                assert run.is_called_off
                try:
                    run.checkpoint(b"too late")
                except RunNotCurrent:
                    refused.set()
            return b"second"

    stubborn = Stubborn()
    with BlockingRuntimeService(MemoryStore(), stubborn) as service:
        handle = service.submit("a", PromptInput.new("x"))
        assert stubborn.began.acquire(timeout=10)
        assert service.interrupt("a")
        assert handle.outcome(10) == Completed(handle.input_id, b"second")
        stubborn.gate.set()
        assert refused.wait(10)
        assert service.load_session_snapshot("a") is None


async def test_an_executor_without_control_is_told_nothing() -> None:
    """Control is optional on threads too."""

    class Plain:
        def apply(self, run: BlockingRun) -> None:
            """Not called here."""

    loop = LoopThread("test")
    await OnThreads(Plain(), loop).control("a", RuntimeControl.STOP)
    loop.stop()


# -- many threads, and threads of all sorts ------------------------------------------------------------------------


def test_many_threads_at_once(working: Working) -> None:
    """Each gets its own answer, and what they made adds up."""
    with BlockingRuntimeService(MemoryStore(), working) as service, ThreadPoolExecutor(8) as threads:

        def one(number: int) -> object:
            handle = service.submit(f"r{number % 5}", PromptInput.new(str(number)))
            outcome = handle.outcome(30)
            return outcome == Completed(handle.input_id, str(number).encode())

        assert all(threads.map(one, range(100)))


async def test_a_thread_with_a_running_loop_may_call(working: Working) -> None:
    """As a notebook does: the call blocks that loop, and nothing else."""
    with BlockingRuntimeService(MemoryStore(), working) as service:
        assert isinstance(service.submit("a", PromptInput.new("x")).outcome(10), Completed)


def test_the_context_of_the_caller_goes_along() -> None:
    """So that a span that is current on the calling thread is found by the service."""
    variable: ContextVar[str] = ContextVar("variable", default="none")
    loop = LoopThread("test")

    async def read() -> str:
        return variable.get()

    token = variable.set("mine")
    assert loop.call(read) == "mine"
    variable.reset(token)
    loop.stop()


def test_errors_come_through_with_their_types() -> None:
    """As the service raised them, with their attributes."""
    with BlockingRuntimeService(MemoryStore()) as service:
        handle = service.submit("a", PromptInput.new("\ud800"))
        assert isinstance(handle.accepted, Rejected)
        with pytest.raises(InputRejected) as rejected:
            handle.outcome()
        assert rejected.value.rejection.path == "text"
        with pytest.raises(InvalidInput):
            service.retire("\n")
        with pytest.raises(WaitTimedOut):
            service.submit("a", PromptInput.new("x")).outcome(0.0)
        missing = service.wait("a", InputId(new_uuid7()))
        assert "UnknownInput" in repr(missing)
        assert service.load_boundary_receipt("a", RunId(new_uuid7()), 0) is None


def test_a_service_that_cannot_start_leaves_no_thread() -> None:
    """The error of the constructor comes through."""
    before = threading.active_count()
    nonsense: Any = "nonsense"
    with pytest.raises(InvalidInput, match="settings: must be a ServiceSettings, not str"):
        BlockingRuntimeService(MemoryStore(), settings=nonsense)
    assert threading.active_count() == before


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "5"])
def test_a_call_is_given_a_time_that_ends(seconds: Any) -> None:
    """What is none is refused before a thread is started."""
    before = threading.active_count()
    with pytest.raises(InvalidInput, match=r"^call_seconds: must be a finite number above 0"):
        BlockingRuntimeService(MemoryStore(), call_seconds=seconds)
    assert threading.active_count() == before


# -- patience, interrupts, the own thread, forks -------------------------------------------------------------------


class Stuck:
    """A coroutine on a loop that waits until it is let go, and says how it ended."""

    def __init__(self) -> None:
        self.is_waiting = threading.Event()
        self.ended = threading.Event()

    async def wait(self) -> None:
        self.is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


def test_a_call_that_takes_too_long_is_taken_back() -> None:
    """The caller hears how long it waited; what was waiting is cancelled."""
    loop, stuck = LoopThread("test"), Stuck()
    with pytest.raises(CallTimedOut) as raised:
        loop.call(stuck.wait, 0.01)
    assert raised.value.seconds == 0.01
    assert not stuck.is_waiting.is_set() or stuck.ended.wait(10)
    loop.stop()


def test_an_interrupted_caller_leaves_the_service_consistent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while waiting: the call is cancelled, and the next one works."""
    with BlockingRuntimeService(MemoryStore()) as service:
        given = PromptInput.new("x")
        service.ingest("a", given)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(loop_thread, "wait", interrupt)
            with pytest.raises(KeyboardInterrupt):
                service.wait("a", given.header.id)
            with pytest.raises(KeyboardInterrupt):
                service.ingest("a", PromptInput.new("y", idempotency_key="k"))
        assert isinstance(service.cancel("a", given.header.id), Cancelled)
        again = service.ingest("a", PromptInput.new("y", idempotency_key="k"))
        assert service.find("a", "k") is not None
        assert type(again).__name__ in ("Accepted", "Deduplicated")


def test_what_an_interrupted_caller_waited_for_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes on in the background that nobody waits for."""
    loop, stuck = LoopThread("test"), Stuck()

    def interrupt(*_: object) -> None:
        assert stuck.is_waiting.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop_thread, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.call(stuck.wait)
    assert stuck.ended.wait(10)
    loop.stop()


def test_the_thread_of_the_service_may_not_call() -> None:
    """It would wait for itself; the error says what to do, and the run fails by it in place of hanging."""
    found: list[BlockingRuntimeService] = []

    class Nested:
        async def apply(self, run: ActiveRun) -> None:
            with pytest.raises(WouldDeadlock):
                found[0].ingest("b", PromptInput.new("y"))
            with pytest.raises(WouldDeadlock):
                found[0].close()
            await found[0].service.ingest("b", PromptInput.new("y"))

    with BlockingRuntimeService(MemoryStore(), Nested()) as service:
        found.append(service)
        assert isinstance(service.submit("a", PromptInput.new("x")).outcome(10), Completed)


def test_a_child_of_a_fork_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls are refused and its close does nothing: both belong to the parent."""
    service = BlockingRuntimeService(MemoryStore())
    owner = os.getpid()
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: owner + 1)
        with pytest.raises(ServiceForked) as raised:
            service.status()
        assert raised.value.owner_pid == owner
        service.close()
        service._close_at_exit()
    assert service.status().state is ServiceState.OK
    service.close()


# -- the end -------------------------------------------------------------------------------------------------------


def test_a_closed_service_refuses_and_closing_again_is_fine() -> None:
    """Its thread is gone."""
    service = BlockingRuntimeService(MemoryStore())
    service.close()
    service.close()
    with pytest.raises(ServiceClosed):
        service.status()


def test_closing_waits_for_runs_and_a_second_close_calls_them_off(working: Working) -> None:
    """Both return when it is closed; the input waits in the store for the next start."""
    store = MemoryStore()
    service = BlockingRuntimeService(store, working)
    handle = service.submit("a", PromptInput.new("wait"))
    assert working.began.acquire(timeout=10)
    first = threading.Thread(target=service.close, args=(3600.0,))
    first.start()
    _until(lambda: service._closing is not None)
    service.close()
    first.join(10)
    assert not first.is_alive()
    assert working.runs[0].is_called_off
    working.gate.set()
    record = store.load_input("a", handle.input_id)
    assert record is not None
    assert record.state is InputState.QUEUED


def _until(holds: Callable[[], bool]) -> None:
    """Gives other threads their turn until ``holds``; fails after a minute."""
    deadline = time.monotonic() + 60.0
    while not holds():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        threading.Event().wait(0.001)


def test_calls_under_way_hear_that_the_loop_was_stopped() -> None:
    """Nobody waits for ever for a loop that ended; what ignores its cancellation is left behind."""
    loop, stuck = LoopThread("test"), Stuck()
    heard: list[type[BaseException]] = []

    def call() -> None:
        try:
            loop.call(stuck.wait)
        except ServiceClosed as error:
            heard.append(type(error))

    caller = threading.Thread(target=call)
    caller.start()
    assert stuck.is_waiting.wait(10)
    loop.stop()
    caller.join(10)
    assert heard == [ServiceClosed]
    with pytest.raises(ServiceClosed):
        loop.call(stuck.wait)


def test_the_end_of_the_program_calls_runs_off(working: Working) -> None:
    """Without waiting for them; closing it afterwards is fine."""
    service = BlockingRuntimeService(MemoryStore(), working)
    service.submit("a", PromptInput.new("wait"))
    assert working.began.acquire(timeout=10)
    service._close_at_exit()
    assert working.runs[0].is_called_off
    working.gate.set()
    service.close()
    service._close_at_exit()


def test_commits_go_on_where_threads_take_no_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the program ends, a commit that would be made on a thread is made on the loop."""

    def refuse(*_: object) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(commit_thread, "LONG_COMMIT_SECONDS", -1.0)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    with BlockingRuntimeService(MemoryStore()) as service:
        given = PromptInput.new("x")
        assert isinstance(service.ingest("a", given), Accepted)
        assert service.input_state("a", given.header.id) is InputState.QUEUED


def test_the_backlog_of_an_earlier_service_is_worked_off(working: Working) -> None:
    """What was accepted before the start needs no further input to go on."""
    store = MemoryStore()
    given = PromptInput.new("x")
    with BlockingRuntimeService(store) as service:
        service.ingest("a", given)
    with BlockingRuntimeService(store, working) as service:
        assert working.began.acquire(timeout=10)
        assert service.wait("a", given.header.id) == Completed(given.header.id, b"x")


PROGRAM = """
    import sys
    from holdstate.blocking import BlockingRuntimeService
    from holdstate.runtime import commit_thread
    from holdstate import LmdbStore, PromptInput
    import threading

    class Waiting:
        def apply(self, run):
            began.set()
            threading.Event().wait()

    commit_thread.LONG_COMMIT_SECONDS = float(sys.argv[2])
    began = threading.Event()
    store = LmdbStore.open(sys.argv[1])
    service = BlockingRuntimeService(store, Waiting())
    service.submit("a", PromptInput.new("x"))
    began.wait()
    print("left open")
"""


@pytest.mark.parametrize("long_commit_seconds", [-1.0, 1000.0], ids=["commits on a thread", "commits on the loop"])
def test_a_service_that_nobody_closed_does_not_hold_up_the_end_of_the_program(
    tmp_path: Path, long_commit_seconds: float
) -> None:
    """At exit its runs are called off, also those whose threads hang; the input is queued in the store.

    By then Python takes no more work for threads: the last commits are made on the loop.
    """
    from holdstate.stores.lmdb_store import LmdbStore

    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path / "store"), str(long_commit_seconds)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left open\n", "")
    with LmdbStore.open(tmp_path / "store") as store:
        loaded = store.load_runtime("a")
    assert loaded is not None
    assert [(record.state, record.failure_count) for record in loaded.inputs] == [(InputState.QUEUED, 0)]
    assert loaded.record.current_run_id is None
