"""Makes the stored fixture of the released format: ``python -m tests.contracts.make_fixture``, for a new format only.

What is stored was left behind by a crash in the middle of a run; ``expected.json`` records what opening it gives.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import lmdb

from holdstate.runtime.blocks import ImageBlock
from holdstate.runtime.outcomes import BoundaryApplied, RunOutput
from holdstate.runtime.records import RunBoundaryReceipt
from holdstate.runtime.store import RuntimeStore
from holdstate.spec.vocabulary import RunBoundary
from holdstate.stores.lmdb_store import LmdbStore

from .kit import (
    DATA_FILE,
    accept,
    begun,
    event,
    input_id,
    inputs_of,
    message,
    opened,
    operation,
    progress,
    prompt,
    steer,
    world,
)

FIXTURE = Path(__file__).parents[1] / "data" / "store-format-1"


async def _live(store: RuntimeStore) -> None:
    """Rows of every kind: two runtimes with ended and active inputs, a boundary in an open run, a retired one."""
    image = ImageBlock("image/png", data=b"pixels")
    driver = await opened(store, "session")
    await accept(driver, prompt(1, "hello", idempotency_key="first"), operation(2), message(3, blocks=(image,)))
    await driver.complete_run(await begun(driver), RunOutput(b"snapshot of one", b"result of one", 2))
    await driver.fail_run(await begun(driver), "it rained")
    await accept(driver, progress(4, supersession_key="s"), progress(5, supersession_key="s"))
    await driver.cancel_input(input_id(5))
    run = await begun(driver)
    receipt = RunBoundaryReceipt(run.run_id, RunBoundary.RUN_START, run.input_ids, 0, 3)
    await driver.on_run_event(BoundaryApplied(run.run_id, receipt, result=b"result of three"))
    await accept(driver, steer(6), steer(7), event(8, idempotency_key="last\0"))
    await driver.stage_input(input_id(6), run.run_id)
    retired = await opened(store, "lane/ü", environment=world(1))
    await accept(retired, prompt(1), prompt(2))
    await begun(retired)
    await retired.retire()
    gone = await opened(store, "gone", environment=world(2))
    await accept(gone, prompt(1))
    await gone.destroy()


async def facts_of(store: RuntimeStore) -> dict[str, Any]:
    """What opening each runtime of the fixture recovers, as JSON."""
    facts: dict[str, Any] = {}
    for number, record in enumerate(store.list_runtimes()):
        driver = await opened(store, record.runtime_id, environment=world(10 + number))
        report = driver.recovery_report
        snapshot = store.load_session_snapshot(record.runtime_id)
        inputs = []
        for each in inputs_of(store, record.runtime_id):
            result = await driver.input_result(each.input_id)
            body = await driver.persisted_input(each.input_id)
            key = each.admission.idempotency_key
            assert key is None or await driver.find_by_key(key) == each
            inputs.append(
                {
                    "id": str(each.input_id),
                    "key": key,
                    "state": each.state,
                    "lane": each.admission.lane,
                    "outcome": each.outcome_kind,
                    "reason": each.abandon_reason,
                    "successor": each.successor_id and str(each.successor_id),
                    "failures": each.failure_count,
                    "attempts": each.attempt_count,
                    "history": [f"{entry.reason}: {entry.to_state}" for entry in each.history],
                    "result": result and result.decode(),
                    "has_payload": body is not None,
                }
            )
        facts[record.runtime_id] = {
            "report": [report.recovered, report.requeued, report.consumed, report.abandoned],
            "state": driver.runtime_state,
            "epoch": driver._actor.image.runtime.epoch,
            "snapshot": snapshot and snapshot.decode(),
            "inputs": inputs,
        }
    return facts


def _copy(path: Path) -> None:
    """The data file without the zeros behind its last page, which a store does not need."""
    with lmdb.open(str(path), max_dbs=20, lib_version=0, readonly=True) as env:
        used = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    (FIXTURE / DATA_FILE).write_bytes((path / DATA_FILE).read_bytes()[:used])


def main() -> None:
    """Write the fixture and what it recovers to."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "store"
        with LmdbStore.open(path) as store:
            asyncio.run(_live(store))
        FIXTURE.mkdir(parents=True, exist_ok=True)
        _copy(path)
        with LmdbStore.open(path) as store:
            facts = asyncio.run(facts_of(store))
    (FIXTURE / "expected.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
