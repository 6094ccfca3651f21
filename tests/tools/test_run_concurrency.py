"""``holdstate run --concurrency``: runs of several runtimes at once, and never two of one.

Handlers meet at barriers and gates, so that what is under way at once is known and not a matter of time.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from holdstate import PermanentFailure
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.environment import RuntimeSettings
from holdstate.runtime.errors import Fenced, StoreError
from holdstate.runtime.inputs import ExternalEventInput
from holdstate.runtime.outcomes import Run
from holdstate.runtime.store import InputFilter, RuntimeStore
from holdstate.spec.vocabulary import InputState
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.stores.memory_store import MemoryStore
from holdstate.tools import TryAgainLater
from holdstate.tools.handlers import FunctionHandler
from holdstate.tools.line_reader import sources_of
from holdstate.tools.run_job import Job, JobOptions
from holdstate.tools.run_report import Report
from holdstate.tools.run_source import FieldPath, LineRules
from tests.faults import FaultyStore, Plan

from .support import LineLog, answers, call, finish, start, wait_for_ends, write_lines

PARKED = 130
SECONDS = 60.0
"""How long a run of a test may wait for others before it counts as hanging."""

LogEntry = tuple[str, str, int]


class Floor:
    """A handler that logs ``(begin|end, runtime, n)``, and in between does what the test says."""

    def __init__(self, between: Callable[[Floor, str, int], Any] | None = None) -> None:
        self.log: list[LogEntry] = []
        self.under_way: Counter[str] = Counter()
        self.most = 0
        self.changed = asyncio.Condition()
        self._between = between

    async def __call__(self, run: Run) -> int:
        given = run.inputs[0]
        assert isinstance(given, ExternalEventInput)
        number: int = given.payload["n"]  # type: ignore[index,call-overload,assignment]
        await self._note("begin", run.runtime_id, number, 1)
        try:
            if self._between is not None:
                await self._between(self, run.runtime_id, number)
        finally:
            await self._note("end", run.runtime_id, number, -1)
        return number

    async def _note(self, what: str, runtime: str, number: int, change: int) -> None:
        self.log.append((what, runtime, number))
        self.under_way[runtime] += change
        self.most = max(self.most, self.under_way.total())
        async with self.changed:
            self.changed.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for other runs; a test whose condition never comes fails."""
        async with asyncio.timeout(SECONDS), self.changed:
            await self.changed.wait_for(holds)

    def of(self, runtime: str) -> list[tuple[str, int]]:
        """The log of one runtime."""
        return [(what, number) for what, each, number in self.log if each == runtime]


def one_after_the_other(numbers: Sequence[int]) -> list[tuple[str, int]]:
    """The log of a runtime whose runs never overlap and keep their order."""
    return [(what, number) for number in numbers for what in ("begin", "end")]


def job_of(path: Path, floor: Floor, concurrency: int, store: RuntimeStore, **given: Any) -> Job:
    """The work under test, with runtimes by the field ``r``."""
    settings = RuntimeSettings(max_batch=1)
    options = JobOptions(
        sources=sources_of([str(path)], None),
        rules=LineRules("main", FieldPath(("r",)), None, FieldPath(("event",)), settings.limits),
        settings=settings,
        read_ahead=given.pop("read_ahead", 1000),
        timeout=None,
        retry_delay=0.001,
        grace=1.0,
        concurrency=concurrency,
    )
    return Job(store, FunctionHandler(floor, max_result_bytes=100), options, Report())


def lines_of(folder: Path, runtimes: Sequence[str], count: int) -> Path:
    """``count`` lines for each runtime, by turns; ``n`` counts within a runtime."""
    values = [{"r": runtime, "n": number} for number in range(count) for runtime in runtimes]
    return write_lines(folder / "lines", values)


async def test_runs_of_different_runtimes_go_on_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of four runs waits until the other three have begun; in a runtime they come one after the other (C13)."""
    names = ["a", "b", "c", "d"]

    async def meet(floor: Floor, runtime: str, number: int) -> None:
        await floor.until(lambda: sum(what == "begin" and n >= number for what, _, n in floor.log) >= len(names))

    floor = Floor(meet)
    assert await job_of(lines_of(tmp_path, names, 5), floor, 4, MemoryStore()).work()
    assert all(floor.of(name) == one_after_the_other(range(5)) for name in names)
    assert floor.most == 4
    told = answers(capsys.readouterr().out)
    assert all([each["result"] for each in told if each["runtime"] == name] == list("01234") for name in names)
    assert sorted(each["line"] for each in told) == list(range(1, 21))


@pytest.mark.parametrize("concurrency", [1, 2, 3])
@pytest.mark.parametrize("read_ahead", [1, 3, 1000])
async def test_no_more_runs_go_on_than_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], concurrency: int, read_ahead: int
) -> None:
    """The floor fills up where lines are read ahead so far, never beyond; nothing is lost on the way."""
    names = ["a", "b", "c", "d", "e"]
    most = min(concurrency, read_ahead)

    async def fill(floor: Floor, runtime: str, number: int) -> None:
        if number == 0 and floor.most < most:
            await floor.until(lambda: floor.most >= most)
        for _ in range(20):  # turns of the loop, in which one run too many would begin
            await asyncio.sleep(0)

    floor = Floor(fill)
    assert await job_of(lines_of(tmp_path, names, 4), floor, concurrency, MemoryStore(), read_ahead=read_ahead).work()
    assert floor.most == most
    assert all(floor.of(name) == one_after_the_other(range(4)) for name in names)
    assert sorted(each["line"] for each in answers(capsys.readouterr().out)) == list(range(1, 21))


async def test_one_runtime_takes_one_place_however_many_there_are(tmp_path: Path) -> None:
    """Runs of one runtime follow each other while others wait for a place of their own (C29)."""

    async def hold(floor: Floor, runtime: str, number: int) -> None:
        if runtime == "slow":
            await floor.until(lambda: ("end", "fast", 3) in floor.log)

    floor = Floor(hold)
    path = write_lines(
        tmp_path / "lines", [{"r": name, "n": number} for name in ("slow", "fast") for number in range(4)]
    )
    assert await job_of(path, floor, 8, MemoryStore()).work()
    assert floor.of("slow") == one_after_the_other(range(4))
    assert floor.of("fast") == one_after_the_other(range(4))
    assert floor.log.index(("end", "fast", 3)) < floor.log.index(("end", "slow", 0))
    assert floor.most == 2


async def test_a_run_that_is_put_off_gives_its_place_back(tmp_path: Path) -> None:
    """The only other place is held until the runtime that was put off came again; nothing is charged (C14)."""

    async def later(floor: Floor, runtime: str, number: int) -> None:
        begun = floor.log.count(("begin", "busy", 0))
        if runtime == "busy" and begun == 1:
            raise TryAgainLater
        if runtime == "holds":
            await floor.until(lambda: ("end", "third", 0) in floor.log and floor.log.count(("end", "busy", 0)) == 2)

    store = MemoryStore()
    floor = Floor(later)
    assert await job_of(lines_of(tmp_path, ["busy", "holds", "third"], 1), floor, 2, store).work()
    (record,) = store.list_inputs(InputFilter("busy")).records
    assert (record.state, record.attempt_count, record.failure_count) == (InputState.CONSUMED, 2, 0)
    assert floor.most == 2


async def test_a_failure_of_the_store_ends_all_runs_with_its_cause(tmp_path: Path) -> None:
    """Whoever meets it: the runs that others have in hand are called off, and none of them is charged (C14)."""

    async def hold(floor: Floor, runtime: str, number: int) -> None:
        await floor.until(lambda: floor.most == 3)
        if runtime != "a":
            await asyncio.Event().wait()

    path = lines_of(tmp_path, ["a", "b", "c"], 1)
    for number in range(4):  # opening, accepting, beginning, and the end of the first run
        inner = MemoryStore()
        store = FaultyStore(inner, Plan(write=number))
        async with asyncio.timeout(SECONDS):
            with pytest.raises(StoreError) as failed:
                await job_of(path, Floor(hold), 3, store).work()
        assert (failed.value.applied, store.struck) == (False, 1)
        assert inner.verify() == []
        stored = [record for name in ("a", "b", "c") for record in inner.list_inputs(InputFilter(name)).records]
        assert [record.failure_count for record in stored] == [0] * (0 if number < 2 else 3)


async def test_another_opener_of_one_runtime_ends_the_work_and_charges_nobody(tmp_path: Path) -> None:
    """Fenced comes out; the runs of other runtimes are rolled back free of charge (C32, C14)."""
    store = MemoryStore()

    async def hold(floor: Floor, runtime: str, number: int) -> None:
        await floor.until(lambda: floor.most == 3)
        if runtime != "b":
            await asyncio.Event().wait()
        await PersistentRuntimeDriver.open("b", store)

    with pytest.raises(Fenced, match="'b' was opened by somebody else"):
        await job_of(lines_of(tmp_path, ["a", "b", "c"], 1), Floor(hold), 3, store).work()
    for name in ("a", "c"):
        (record,) = store.list_inputs(InputFilter(name)).records
        assert (record.state, record.attempt_count, record.failure_count) == (InputState.QUEUED, 1, 0)


async def test_a_line_that_is_given_up_holds_no_other_runtime_up(tmp_path: Path) -> None:
    """Its runtime goes on with the next one, the others never noticed."""

    async def fail(floor: Floor, runtime: str, number: int) -> None:
        if (runtime, number) == ("a", 0):
            await floor.until(lambda: floor.most == 2)
            raise PermanentFailure("never")
        if (runtime, number) == ("b", 0):
            await floor.until(lambda: ("end", "a", 1) in floor.log)

    store = MemoryStore()
    floor = Floor(fail)
    assert await job_of(lines_of(tmp_path, ["a", "b"], 2), floor, 2, store).work()
    states = {name: [each.state for each in store.list_inputs(InputFilter(name)).records] for name in ("a", "b")}
    assert states == {"a": [InputState.ABANDONED, InputState.CONSUMED], "b": [InputState.CONSUMED] * 2}


# -- as a process --------------------------------------------------------------------------------------------------


class Scene:
    """Lines of three runtimes, a store, and a command that logs its begin and waits for a gate before it ends."""

    names = ("a", "b", "c")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = lines_of(folder, self.names, 2)
        self.store = folder / "store"
        self.log = LineLog(folder / "log")
        self.gate = folder / "gate"
        os.mkfifo(folder / "never")
        wait = f"while [ ! -e {self.gate} ]; do read -r _ < {folder}/never; done"
        read = 'read -r given; runtime=$(echo "$given" | sed -E "s/.*\\"runtime\\":\\"([a-z])\\".*/\\1/")'
        number = 'number=$(echo "$given" | sed -E "s/.*\\"n\\":([0-9]+).*/\\1/")'
        begin, end = (self.log.add(f"{what} $runtime $number $$") for what in ("begin", "end"))
        self.handler = f"{read}; {number}; {begin}; {wait}; {end}; echo done $number"

    def words(self, *options: object) -> list[object]:
        """The command under test."""
        given = ("--runtime-field", "r", "--concurrency", 3, *options)
        return ["run", self.lines, "--store", self.store, *given, "--exec", self.handler]

    def all_begun(self) -> list[int]:
        """Waits until each runtime has a run under way; the processes of these runs."""
        begun = [line.split() for line in self.log.wait(3)]
        assert sorted((what, runtime, number) for what, runtime, number, _ in begun) == [
            ("begin", name, "0") for name in self.names
        ]
        return [int(pid) for *_, pid in begun]

    def open_gate(self) -> None:
        """Lets every run end, those that wait already too."""
        self.gate.touch()
        try:
            os.close(os.open(self.folder / "never", os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            assert error.errno == 6, error  # noqa: PT017 - ENXIO: nobody reads

    def of(self, runtime: str) -> list[tuple[str, int]]:
        """The log of one runtime."""
        entries = [line.split() for line in self.log.lines()]
        return [(what, int(number)) for what, each, number, _ in entries if each == runtime]

    def records(self, runtime: str) -> list[tuple[InputState, int, int]]:
        """State, attempts and failures of its inputs, after an audit."""
        with LmdbStore.open(self.store, read_only=True) as opened:
            assert opened.verify() == []
            found = opened.list_inputs(InputFilter(runtime)).records
        return [(each.state, each.attempt_count, each.failure_count) for each in found]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_kill_with_several_runs_under_way_loses_nothing_and_doubles_nothing(scene: Scene) -> None:
    """SIGKILL takes all commands along; the next command goes on in order in every runtime (C1, C13, C14)."""
    process = start(*scene.words())
    pids = scene.all_begun()
    process.kill()
    assert finish(process)[:2] == (-signal.SIGKILL, [])
    wait_for_ends(pids)
    scene.open_gate()
    code, told, stderr = finish(start(*scene.words("--backoff", 0)))
    assert (code, sorted(each["line"] for each in told)) == (0, [1, 2, 3, 4, 5, 6])
    assert "accepted 0, deduplicated 6, runs 6, consumed 6" in stderr
    for name in scene.names:
        assert [(each["result"], each["attempts"]) for each in told if each["runtime"] == name] == [
            ("done 0\n", 2),
            ("done 1\n", 1),
        ]
        assert scene.of(name) == [("begin", 0), *one_after_the_other(range(2))]
        assert [state for state, *_ in scene.records(name)] == [InputState.CONSUMED] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_all_runs_under_way_finish(scene: Scene, number: signal.Signals) -> None:
    """Within --grace; no other run is begun, and the exit is 130."""
    process = start(*scene.words("--grace", 3600))
    scene.all_begun()
    process.send_signal(number)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"stopping; ")
    scene.open_gate()
    code, told, _ = finish(process)
    assert (code, sorted(each["line"] for each in told)) == (PARKED, [1, 2, 3])
    for name in scene.names:
        assert scene.records(name) == [(InputState.CONSUMED, 1, 0), (InputState.QUEUED, 0, 0)]


def test_runs_that_do_not_finish_in_time_are_all_rolled_back_free_of_charge(scene: Scene) -> None:
    """Their processes are gone, no failure is charged, and the next command does all of it (C14)."""
    process = start(*scene.words("--grace", 0))
    pids = scene.all_begun()
    process.send_signal(signal.SIGTERM)
    assert finish(process)[:2] == (PARKED, [])
    wait_for_ends(pids)
    for name in scene.names:
        assert scene.records(name) == [(InputState.QUEUED, 1, 0), (InputState.QUEUED, 0, 0)]
    scene.open_gate()
    code, told, _ = finish(start(*scene.words()))
    assert (code, sorted(each["line"] for each in told)) == (0, [1, 2, 3, 4, 5, 6])


def test_a_second_signal_aborts_all_runs_at_once(scene: Scene) -> None:
    """Whatever --grace says; still nothing is charged."""
    process = start(*scene.words("--grace", 3600))
    pids = scene.all_begun()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"stopping; ")
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == PARKED
    wait_for_ends(pids)
    assert [scene.records(name)[0] for name in scene.names] == [(InputState.QUEUED, 1, 0)] * 3


def test_commands_of_two_runtimes_talk_to_each_other(tmp_path: Path) -> None:
    """One opens a pipe to write, the other to read, and both wait for each other in that; an abandoned line: exit 1."""
    os.mkfifo(tmp_path / "pipe")
    lines = write_lines(tmp_path / "lines", [{"r": "reader"}, {"r": "writer"}, {"r": "fails"}])
    talk = f"*reader*) cat {tmp_path}/pipe;; *writer*) echo hello > {tmp_path}/pipe;; *) exit 9;;"
    options = ("--runtime-field", "r", "--max-attempts", 1, "--timeout", SECONDS, "--concurrency", 2)
    handler = f'read -r given; case "$given" in {talk} esac'
    result = call("run", lines, "--store", tmp_path / "store", *options, "--exec", handler)
    told = {each["runtime"]: (each["state"], each["result"]) for each in answers(result)}
    assert told == {"reader": ("consumed", "hello\n"), "writer": ("consumed", ""), "fails": ("abandoned", None)}
    assert result.exit_code == 1


def test_a_bad_line_waits_for_all_runs_before_it(tmp_path: Path) -> None:
    """Exit code 2, and what comes before is done in every runtime."""
    path = tmp_path / "lines"
    good = [json.dumps({"r": f"r{number}"}) for number in range(5)]
    path.write_text("\n".join([*good, "{", '{"r": "after"}']), encoding="utf-8")
    options = ("--store", tmp_path / "store", "--runtime-field", "r", "--concurrency", 4)
    result = call("run", path, *options, "--exec", "cat >/dev/null; echo ok")
    assert (result.exit_code, sorted(each["line"] for each in answers(result))) == (2, [1, 2, 3, 4, 5])
    assert f"error: {path}:6:" in result.stderr


def test_at_least_one_run_goes_on(tmp_path: Path) -> None:
    """--concurrency 0 is a usage error, before the store is touched."""
    path = write_lines(tmp_path / "lines", [1])
    result = call("run", path, "--store", tmp_path / "store", "--concurrency", 0, "--exec", "cat")
    assert (result.exit_code, result.stdout, (tmp_path / "store").exists()) == (2, "", False)
