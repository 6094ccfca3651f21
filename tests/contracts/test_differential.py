"""Stores agree; and the list of contracts is whole."""

from __future__ import annotations

import ast
import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate.runtime.blocks import ImageBlock
from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.outcomes import BoundaryApplied, Run, RunCompleted, RunOutput
from holdstate.runtime.records import RunBoundaryReceipt
from holdstate.runtime.settings import Limits, Retention
from holdstate.spec.vocabulary import AbandonReason, Durability, Lane, RunBoundary

from .kit import (
    SETTINGS,
    Home,
    LmdbHome,
    MemoryHome,
    event,
    input_id,
    inputs_of,
    message,
    opened,
    operation,
    outcome_of,
    progress,
    prompt,
    run_id,
    steer,
    world,
)

RULES = evolve(SETTINGS, max_batch=3, limits=Limits(max_active_inputs=6))
_NAMES = ("a", "b")
_MAKERS: list[Callable[..., Any]] = [prompt, steer, event, message, progress, operation]
_IMAGE = ImageBlock("image/png", data=b"pixels")
_STRANGER = run_id(99)

_CALLS = (
    "accept",
    "accept",
    "accept",
    "begin",
    "begin",
    "complete",
    "boundary",
    "completed",
    "fail",
    "fail for good",
    "cancel run",
    "cancel input",
    "stage more",
    "rollback",
    "consume",
    "abandon",
    "retire",
    "reset",
    "stop",
    "destroy",
    "recycle",
    "recover",
    "attach",
    "detach",
    "peek",
    "open",
    "crash",
    "read",
    "sweep",
    "prune",
)
_commands = st.tuples(st.sampled_from(_CALLS), st.integers(0, 1), st.integers(0, 11))


class _Player:
    """One store with a driver for each of two runtimes, driven by a script; ``seen`` is all that can be observed."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.drivers: dict[str, PersistentRuntimeDriver] = {}
        self.runs: dict[str, Run] = {}
        self.worlds = 0
        self.seen: list[object] = []

    async def open(self, name: str) -> None:
        self.worlds += 1
        self.drivers[name] = await opened(self.home.store, name, settings=RULES, environment=world(self.worlds))

    async def play(self, script: list[tuple[str, int, int]]) -> None:
        for name in _NAMES:
            await self.open(name)
        for word, runtime, pick in script:
            name = _NAMES[runtime]
            outcome = await outcome_of(self._act(name, word, pick))
            if isinstance(outcome, Run):
                self.runs[name] = outcome
            seen = (type(outcome), str(outcome)) if isinstance(outcome, Exception) else outcome
            driver = self.drivers[name]
            self.seen.append((word, seen, driver.runtime_state, self.stored(name), driver.drain_events()))
            assert self.home.store.verify() == []

    def stored(self, name: str) -> object:
        store = self.home.store
        loaded = store.load_runtime(name)
        assert loaded is not None
        inputs = sorted(loaded.inputs, key=lambda record: record.order)
        receipts = sorted(loaded.receipts, key=lambda receipt: (receipt.run_id, receipt.sequence))
        return loaded.record, inputs, receipts, inputs_of(store, name), store.load_session_snapshot(name)

    def _receipt(self, name: str, pick: int) -> RunBoundaryReceipt:
        image = self.drivers[name]._actor.image
        staged = image.staged()
        current = image.runtime.current_run_id or _STRANGER
        boundary = staged[0].admission.boundary if staged else RunBoundary.RUN_START
        sequence = image.runtime.boundary_count if pick % 4 else 0
        return RunBoundaryReceipt(current, boundary, tuple(each.input_id for each in staged), sequence, pick % 3)

    async def _act(self, name: str, word: str, pick: int) -> object:
        driver, run = self.drivers[name], self.runs.get(name)
        current = _STRANGER if run is None else run.run_id
        if word == "accept":
            durability = Durability.EPHEMERAL if pick == 11 else Durability.DURABLE
            make = _MAKERS[pick % len(_MAKERS)]
            parts: dict[str, Any] = {"idempotency_key": f"key {pick % 4}" if pick % 2 else None}
            given_ = make(len(self.seen) % 20, supersession_key="s", durability=durability, **parts)
            return await driver.accept_input(evolve(given_, blocks=(_IMAGE,)) if make in {prompt, message} else given_)
        if word in {"attach", "detach", "retire", "reset", "stop", "destroy", "recover"}:
            return await getattr(driver, word)()
        contributors = driver._actor.image.runtime.contributors
        front = tuple(driver._actor.image.lanes[Lane.STEER].values())[:1]
        acts: dict[str, Callable[[], Any]] = {
            "begin": driver.begin_run,
            "complete": lambda: driver.complete_run(current, RunOutput(b"snapshot %d" % pick, b"result %d" % pick)),
            "boundary": lambda: driver.on_run_event(BoundaryApplied(current, self._receipt(name, pick), None, b"r")),
            "completed": lambda: driver.on_run_event(RunCompleted(current, contributors[pick % 2 :])),
            "fail": lambda: driver.fail_run(current, "no"),
            "fail for good": lambda: driver.fail_run(current, "no", recoverable=False),
            "cancel run": lambda: driver.cancel_run(current),
            "cancel input": lambda: driver.cancel_input(input_id(pick)),
            "stage more": lambda: driver.stage_batch(front, current),
            "rollback": lambda: driver.rollback_staged(contributors[:1]),
            "consume": lambda: driver.consume_inputs(contributors[:1], current),
            "abandon": lambda: driver.abandon_pending_inputs(AbandonReason.CANCELLED),
            "recycle": driver.recycle_preserving_work,
            "peek": driver.dequeue_next,
            "open": lambda: self.open(name),
            "crash": self._crash,
            "read": lambda: self._read(name, pick),
            "sweep": lambda: _answer(self.home.store.sweep_blobs()),
            "prune": lambda: _answer(self._prune(pick)),
        }
        return await acts[word]()

    def _prune(self, pick: int) -> object:
        # An age at which some have passed their retention: the clock of a world counts milliseconds.
        environment = world(self.worlds)
        return self.home.store.prune(Retention(keep_ended_seconds=pick / 100), now=environment.now())

    async def _crash(self) -> None:
        self.home.crash()
        self.runs.clear()
        for name in _NAMES:
            await self.open(name)

    async def _read(self, name: str, pick: int) -> object:
        driver, run = self.drivers[name], self.runs.get(name)
        return (
            await driver.input_record(input_id(pick)),
            await driver.persisted_input(input_id(pick)),
            await driver.input_result(input_id(pick)),
            await driver.find_by_key(f"key {pick % 4}"),
            await driver.active_input_ids(),
            None if run is None else await driver.boundary_receipt(run.run_id, 0),
            driver.recovery_report,
            self.home.store.list_runtimes(),
            self.home.store.stats().blobs,
        )


async def _answer(answer: object) -> object:
    return answer


@settings(max_examples=120)
@given(st.lists(_commands, min_size=4, max_size=18))
def test_memory_and_lmdb_stores_give_the_same_results_for_the_same_commands(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int, int]]
) -> None:
    """The same commands, crashes among them, give the same answers, errors, events and rows on both stores (C48)."""
    path = tmp_path_factory.mktemp("differential")
    players = _Player(MemoryHome()), _Player(LmdbHome(path / "store"))
    for player in players:
        asyncio.run(player.play(script))
        player.home.close()
    shutil.rmtree(path)
    first, second = (player.seen for player in players)
    for one, other in zip(first, second, strict=True):
        assert one == other


# -- the list ---------------------------------------------------------------------------------------------------------

WANTED = {*range(1, 16), *range(17, 29), *range(30, 45), 48}
_NUMBER = re.compile(r"\bC(\d+)\b")


def _contracts() -> dict[str, set[int]]:
    """Of every test in this folder: the contracts that its docstring names."""
    found: dict[str, set[int]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                name = f"{path.name}::{node.name}"
                found[name] = {int(number) for number in _NUMBER.findall(ast.get_docstring(node) or "")}
    return found


def test_every_contract_of_the_list_has_a_test() -> None:
    """Each contract from C1 to C48 that this folder is about is named by a test, and each test but this names one."""
    found = _contracts()
    assert set().union(*found.values()) >= WANTED
    assert [name for name, numbers in found.items() if not numbers] == []
