"""The kill campaign: it finds nothing on a sound store, and what is planted on one that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from holdstate.runtime.driver import PersistentRuntimeDriver
from holdstate.runtime.ids import RunId
from holdstate.runtime.outcomes import RunOutput
from holdstate.stores.lmdb_store import LmdbStore
from holdstate.tools.campaign import Campaign, WorkerFailed
from holdstate.tools.campaign_checks import History, check_store, read_ledger
from holdstate.tools.campaign_model import Operation
from holdstate.tools.campaign_worker import SETTINGS, new_input
from holdstate.tools.kill_command import kill

KILLS = 100
RUN = "018f0000-0000-7000-8000-0000000000ff"


def test_nothing_acknowledged_is_lost_in_a_campaign(tmp_path: Path) -> None:
    """After each SIGKILL the store holds a prefix of the calls with every acknowledged one and audits clean (C1)."""
    report = Campaign(tmp_path, KILLS, seed=1).run()
    assert report.findings == []
    assert report.kills == KILLS
    assert report.acknowledged > 5 * KILLS
    assert report.consumed > KILLS
    assert {"accept", "begin", "complete", "boundary", "fail", "call_off", "open"} <= report.operations.keys()


@pytest.mark.parametrize("seed", [1, 2])
def test_an_early_acknowledgement_is_caught(tmp_path: Path, seed: int) -> None:
    """Control: a worker that acknowledges before it awaits is found out."""
    report = Campaign(tmp_path, KILLS, seed, sabotage="ack-early").run()
    assert report.lost == 1
    assert f"seed {seed}: lost: the store holds" in report.findings[0]


def test_a_worker_that_fails_by_itself_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A campaign that cannot work is an error, and never a clean report."""
    (tmp_path / "store").write_text("not a directory")
    with pytest.raises(WorkerFailed) as caught:
        Campaign(tmp_path, 1, seed=1).run()
    assert (caught.value.kill, caught.value.code) == (0, 1)
    assert "Traceback" in capfd.readouterr().err


def test_the_command_prints_its_counts(tmp_path: Path) -> None:
    """``holdstate test kill --json`` prints one document and leaves nothing behind."""
    result = CliRunner().invoke(kill, ["--kills", "2", "--json", "--path", str(tmp_path)], standalone_mode=False)
    assert result.return_value == 0
    assert json.loads(result.stdout)["kills"] == 2
    assert list(tmp_path.iterdir()) == []


def test_the_command_keeps_what_it_found(tmp_path: Path) -> None:
    """On a finding the exit code is 1, seed and kill are named, and store and ledger are kept."""
    options = ["--kills", str(KILLS), "--seed", "3", "--path", str(tmp_path), "--sabotage", "ack-early"]
    result = CliRunner().invoke(kill, options, standalone_mode=False)
    assert result.return_value == 1
    assert "seed 3: lost:" in result.stdout
    (kept,) = tmp_path.iterdir()
    assert {"store", "ledger.jsonl"} <= {each.name for each in kept.iterdir()}


# -- what the checks find ----------------------------------------------------------------------------------------------


def _id(number: int) -> str:
    return str(UUID(int=(0x018F << 112) + (7 << 76) + (2 << 62) + number))


def _calls() -> list[Operation]:
    accepts: list[Operation] = [
        {"op": "accept", "rt": "one", "id": _id(number), "kind": "prompt", "key": f"key {number}"}
        for number in range(3)
    ]
    complete: Operation = {"op": "complete", "rt": "one", "run": RUN, "snapshot": "s", "result": "r"}
    return [{"op": "open", "rt": "one"}, *accepts, {"op": "begin", "rt": "one", "run": RUN}, complete]


ANSWERS: list[object] = ["opened", "accepted", "accepted", "accepted", [_id(0)], "done"]


async def _store_after(path: Path, calls: list[Operation]) -> LmdbStore:
    store = LmdbStore.open(path)
    driver = await PersistentRuntimeDriver.open("one", store, settings=SETTINGS)
    for call in calls:
        if call["op"] == "accept":
            await driver.accept_input(new_input(call))
        elif call["op"] == "begin":
            await driver.begin_run(RunId(UUID(call["run"])))
        elif call["op"] == "complete":
            output = RunOutput(call["snapshot"].encode(), call["result"].encode())
            await driver.complete_run(RunId(UUID(call["run"])), output)
    return store


def _numbered(calls: list[Operation]) -> list[Operation]:
    return [{"n": number, **call} for number, call in enumerate(calls)]


def _history(calls: list[Operation], acknowledged: int) -> History:
    return History(_numbered(calls), dict(enumerate(ANSWERS[:acknowledged])))


@pytest.mark.parametrize("landed", range(1, 7))
async def test_a_store_that_holds_more_than_was_acknowledged_is_sound(tmp_path: Path, landed: int) -> None:
    """Calls in flight at the kill may have landed: how many is told, and none is a finding."""
    calls = _calls()
    with await _store_after(tmp_path / "store", calls[:landed]) as store:
        verdict = check_store(store, _history(calls, 1))
    assert verdict["findings"] == []
    assert (verdict["landed"], verdict["unacknowledged"]) == (landed, landed - 1)


@pytest.mark.parametrize("landed", range(1, 6))
async def test_a_lost_call_is_found(tmp_path: Path, landed: int) -> None:
    """A store that lacks an acknowledged call is bad, and the calls that are lost are named."""
    calls = _calls()
    with await _store_after(tmp_path / "store", calls[:landed]) as store:
        verdict = check_store(store, _history(calls, 6))
    (finding,) = verdict["findings"]
    assert finding.startswith(f"lost: the store holds {landed} of 6 acknowledged calls; lost are {landed} ")


@pytest.mark.parametrize("missing", range(1, 4))
async def test_a_state_that_no_prefix_leads_to_is_found(tmp_path: Path, missing: int) -> None:
    """A store that holds a later call without an earlier one holds half of something."""
    calls = _calls()
    held = [call for number, call in enumerate(calls) if number != missing]
    with await _store_after(tmp_path / "store", held) as store:
        verdict = check_store(store, _history(calls, 6))
    assert verdict["findings"]
    assert all(each.startswith("partial commit: ") for each in verdict["findings"])


async def test_a_wrong_answer_is_found(tmp_path: Path) -> None:
    """What a call answered has to be what the model says of it."""
    calls = _calls()
    history = _history(calls, 6)
    history.answers[4] = [_id(1)]
    with await _store_after(tmp_path / "store", calls) as store:
        verdict = check_store(store, history)
    (finding,) = verdict["findings"]
    assert finding.startswith("answer: call 4 (begin of one) said")


async def test_a_refusal_holds_nothing(tmp_path: Path) -> None:
    """A call that was refused is answered before the commit of those before it: they may be missing after a kill."""
    calls = _calls()
    calls.insert(2, {"op": "complete", "rt": "one", "run": RUN, "snapshot": "s", "result": "r"})
    history = History(_numbered(calls), {0: "opened", 2: "refused"})
    with await _store_after(tmp_path / "store", calls[:1]) as store:
        verdict = check_store(store, history)
    assert (verdict["findings"], verdict["landed"]) == ([], 1)


def test_a_ledger_forgets_calls_that_had_not_landed(tmp_path: Path) -> None:
    """After a check the history goes on with what the store held, and never below it."""
    lines: list[dict[str, Any]] = [{"call": {"n": number, "op": "open", "rt": "one"}} for number in range(3)]
    lines += [{"ack": 0, "answer": "opened"}, {"ack": 2, "answer": "refused"}, {"landed": 2}]
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("\n".join(map(json.dumps, lines)))
    history = read_ledger(ledger)
    assert [call["n"] for call in history.calls] == [0, 1]
    assert (history.answers, history.acknowledged) == ({0: "opened"}, 2)
