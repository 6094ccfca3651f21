"""The webhook receiver: what it answers, and that its answers hold however often it is killed."""

from __future__ import annotations

import importlib
import json
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from attrs import Factory, define, frozen

from holdstate import (
    InputFilter,
    InputRecord,
    InputState,
    LmdbStore,
    MemoryStore,
    RunBoundaryReceipt,
    RunId,
    RuntimeService,
)

from ..faults import FaultyStore, Plan
from .programs import DEADLINE_SECONDS, need_modules
from .receiver import Client, Delivery, Receiver

CLIENTS = 64
KILLS = 5
PER_CLIENT = 10
TERMINATED = (0, -signal.SIGTERM)
FAR_AHEAD = 1_000_000
PING = Delivery("octocat/hello", "delivery-1", "ping", b'{"zen":"Design for failure."}')
OTHER = Delivery("octocat/hello", "delivery-2", "ping", b"{}")


@pytest.fixture
def receiver(project_root: Path, tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(project_root, tmp_path) as made:
        yield made


# -- what it answers -----------------------------------------------------------------------------------------------


def test_a_delivery_is_taken_once_and_what_came_of_it_is_told(receiver: Receiver) -> None:
    """202, then 200 for the same content, and 409 for other content under the same id (C8); also after a kill."""
    receiver.start()
    with Client(receiver) as client:
        first = client.post(PING)
        assert first.status == 202
        repeated = client.consumed(PING)
        assert (repeated.status, repeated.facts["id"]) == (200, first.facts["id"])
        assert client.post(PING, b'{"zen":"Other."}').status == 409
        receiver.end(signal.SIGKILL)
        receiver.start()
        assert client.post(PING).facts == repeated.facts
        assert client.post(PING, b'{"zen":"Other."}').status == 409
    receiver.end(signal.SIGTERM)
    with LmdbStore.open(receiver.store, read_only=True) as store:
        (record,) = _records(store, PING.runtime)
        assert str(record.input_id) == first.facts["id"]


def test_a_sender_may_wait_for_the_end_and_runs_out_of_patience(receiver: Receiver) -> None:
    """``Prefer: wait`` bounds the answer, not the work: it is still under way afterwards."""
    receiver.start("--seconds", "3600", "--drain-seconds", "0")
    with Client(receiver) as client:
        first = client.post(PING)
        waited = client.post(PING, prefer="respond-async, wait=1")
        assert (waited.status, waited.facts) == (200, {"id": first.facts["id"], "state": "staged"})
    assert receiver.end(signal.SIGTERM) in TERMINATED


def test_a_full_receiver_says_when_to_come_again_and_still_knows_what_it_took(receiver: Receiver) -> None:
    """429 with Retry-After for a new delivery, 200 and 409 for one that came before; a restart frees the room."""
    receiver.start("--max-active", "1", "--seconds", "3600", "--drain-seconds", "0")
    with Client(receiver) as client:
        assert client.post(PING).status == 202
        refused = client.post(OTHER)
        assert (refused.status, refused.facts["code"]) == (429, "overloaded")
        assert int(refused.retry_after or 0) >= 1
        assert client.post(PING).status == 200
        assert client.post(PING, b"{}").status == 409
        assert receiver.end(signal.SIGTERM) in TERMINATED
        receiver.start()
        client.consumed(PING)
        assert client.post(OTHER).status == 202  # nothing of it was kept when it was refused


def test_a_receiver_whose_store_is_gone_says_that_it_does_not_know(receiver: Receiver) -> None:
    """503 with Retry-After, never 202; where the store is back, the same delivery is taken."""
    receiver.start()
    with Client(receiver) as client:
        assert client.post(PING).status == 202
        client.consumed(PING)
        gone = receiver.store.rename(receiver.store.with_name("gone"))
        for _ in range(2):
            refused = client.post(OTHER)
            assert (refused.status, refused.retry_after) == (503, "1")
            assert "cannot be found any more" in refused.facts["error"]
        receiver.end(signal.SIGKILL)
        gone.rename(receiver.store)
        receiver.start()
        assert client.post(OTHER).status == 202
        assert client.post(PING).status == 200


async def test_a_receiver_that_stops_or_whose_store_fails_asks_for_another_try(
    project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After, and nothing is kept of it."""
    need_modules("starlette", "uvicorn")
    monkeypatch.syspath_prepend(str(project_root / "examples"))
    example: Any = importlib.import_module("webhook_receiver")
    inner = MemoryStore()
    store = FaultyStore(inner)
    service = RuntimeService(store, example.Summaries(None, 0.0))

    async def post() -> tuple[int, str | None]:
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/webhooks/{PING.runtime}",
            "headers": [(b"x-github-event", b"ping"), (b"x-github-delivery", b"1")],
            "query_string": b"",
            "state": {"service": service},
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": PING.body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await example.application(None)(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers.get("retry-after")

    async with service:
        store.arm(Plan(write=0, failing_writes=1))
        assert [await post(), await post()] == [(503, "1")] * 2
        assert inner.list_inputs(InputFilter(PING.runtime)).records == ()
        assert await post() == (202, None)
    assert await post() == (503, "1")


def test_what_is_no_delivery_is_refused_and_nothing_is_kept(receiver: Receiver) -> None:
    """400 and 413; the status tells of no input."""
    receiver.start()
    headers = {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "1"}
    with Client(receiver) as client:
        for body in (b"", b"{", b"[1]", b"\xff", b'{"number":1e999}', b'{"number":99999999999999999999}'):
            assert client.ask("POST", "/webhooks/a", body, headers).status == 400, body
        for missing in headers:
            rest = {name: value for name, value in headers.items() if name != missing}
            assert client.ask("POST", "/webhooks/a", b"{}", rest).status == 400
        assert client.ask("POST", "/webhooks/" + "a" * 300, b"{}", headers).status == 400
        assert client.ask("POST", "/webhooks/a", b'{"a":"' + b"a" * 1024 * 1024 + b'"}', headers).status == 413
        # What the limit of bytes lets pass, the limit of the runtime may not: its own encoding is a little longer.
        assert client.ask("POST", "/webhooks/a", b'{"a":"' + b"a" * (1024 * 1024 - 8) + b'"}', headers).status == 413
        assert client.ask("POST", "/status").status == 405
        status = client.ask("GET", "/status")
        assert (status.status, status.facts["state"], status.facts["active"]) == (200, "ok", 0)
    receiver.end(signal.SIGTERM)
    with LmdbStore.open(receiver.store, read_only=True) as store:
        assert store.list_runtimes() == ()


def test_a_run_under_way_ends_before_the_receiver_does(receiver: Receiver) -> None:
    """SIGTERM in the middle of a run: it is consumed when the process has ended."""
    receiver.start("--seconds", "0.3")
    with Client(receiver) as client:
        client.post(PING)
        while client.post(PING).facts["state"] != "staged":
            pass  # it is told so on another request; the client has a deadline
    assert receiver.end(signal.SIGTERM) in TERMINATED
    with LmdbStore.open(receiver.store, read_only=True) as store:
        assert [record.state for record in _records(store, PING.runtime)] == [InputState.CONSUMED]


# -- killed --------------------------------------------------------------------------------------------------------


@define
class Answers:
    """What 64 clients heard. ``ids``: the id that each delivery was answered with first."""

    ids: dict[str, str] = Factory(dict)
    taken: set[str] = Factory(set)
    unanswered: int = 0
    has_failed: bool = False
    changed: threading.Condition = Factory(threading.Condition)

    def heard(self, key: str, status: int, input_id: str) -> None:
        with self.changed:
            self.ids[key] = input_id
            if status == 202:
                self.taken.add(key)
            self.changed.notify_all()

    def failed(self) -> None:
        with self.changed:
            self.has_failed = True
            self.changed.notify_all()

    def wait_for(self, count: int) -> bool:
        """Until so many deliveries were answered; False when a client has failed."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.has_failed or len(self.ids) >= count, DEADLINE_SECONDS)
            return not self.has_failed


@frozen
class Stored:
    """What the store holds in the end."""

    records: dict[str, InputRecord]
    receipts: dict[UUID, list[RunBoundaryReceipt]]
    runs: dict[str, list[RunId]]
    findings: int


def test_64_clients_lose_nothing_while_the_receiver_is_killed_five_times(
    receiver: Receiver, project_root: Path
) -> None:
    """Every delivery that was answered is consumed once, whatever was killed in the middle; no id is used twice."""
    deliveries = _deliveries(project_root, CLIENTS * PER_CLIENT)
    answers = Answers()
    receiver.start("--seconds", "0.002")
    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [threads.submit(_client, receiver, deliveries[number::CLIENTS], answers) for number in range(CLIENTS)]
        for kill in range(1, KILLS + 1):
            if not answers.wait_for(len(deliveries) * kill // (KILLS + 1)):
                break  # the client tells why
            receiver.end(signal.SIGKILL)
            receiver.start("--seconds", "0.002")
        for client in clients:
            client.result()
    assert receiver.end(signal.SIGTERM) in TERMINATED
    stored = _stored(receiver)
    assert stored.findings == 0
    _check(deliveries, answers, stored)
    executions = sum(map(len, stored.runs.values()))
    again = sum(len(runs) > 1 for runs in stored.runs.values())
    print(f"{len(deliveries)} deliveries, {len(answers.taken)} answered 202, {answers.unanswered} requests unanswered")
    print(f"{executions} executions, {again} deliveries executed more than once, {stored.findings} findings")


def _deliveries(project_root: Path, count: int) -> list[Delivery]:
    lines = (project_root / "examples" / "github-webhooks.jsonl").read_text(encoding="utf-8").splitlines()
    webhooks = [json.loads(line) for line in lines]
    made = []
    for number in range(count):
        webhook = webhooks[number % len(webhooks)]
        runtime = (webhook["payload"].get("repository") or {}).get("full_name", "none")
        made.append(Delivery(runtime, f"delivery-{number}", webhook["event"], json.dumps(webhook["payload"]).encode()))
    return made


def _client(receiver: Receiver, deliveries: list[Delivery], answers: Answers) -> None:
    try:
        _deliver(receiver, deliveries, answers)
    except BaseException:
        answers.failed()
        raise


def _deliver(receiver: Receiver, deliveries: list[Delivery], answers: Answers) -> None:
    """Some of the deliveries are sent twice, of some then a forged copy."""
    with Client(receiver) as client:
        for number, delivery in enumerate(deliveries):
            answer = client.post(delivery)
            assert answer.status in (200, 202), answer  # 200: a killed receiver had taken it and could not say so
            answers.heard(delivery.key, answer.status, answer.facts["id"])
            if number % 3 == 0:
                assert client.post(delivery).status == 200
            if number % 5 == 0:
                assert client.post(delivery, b'{"forged":true}').status == 409
        for delivery in deliveries:
            assert client.consumed(delivery).facts["id"] == answers.ids[delivery.key]
        with answers.changed:
            answers.unanswered += client.unanswered


def _records(store: LmdbStore, runtime_id: str) -> tuple[InputRecord, ...]:
    return store.list_inputs(InputFilter(runtime_id), limit=FAR_AHEAD).records


def _stored(receiver: Receiver) -> Stored:
    runs: dict[str, list[RunId]] = defaultdict(list)
    for line in receiver.log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        for key in entry["keys"]:
            runs[key].append(RunId(UUID(entry["run_id"])))
    records: dict[str, InputRecord] = {}
    receipts: dict[UUID, list[RunBoundaryReceipt]] = defaultdict(list)
    with LmdbStore.open(receiver.store, read_only=True) as store:
        for runtime in store.list_runtimes(limit=FAR_AHEAD):
            found = 0
            mine = _records(store, runtime.runtime_id)
            for run_id in {run_id for record in mine for run_id in runs[record.admission.idempotency_key or ""]}:
                receipt = store.load_receipt(runtime.runtime_id, run_id, 0)
                if receipt is not None:
                    found += 1
                    for input_id in receipt.contributing_input_ids:
                        receipts[input_id].append(receipt)
            assert found == runtime.counts.receipts  # there is none that the executor does not know of
            records |= {record.admission.idempotency_key or "": record for record in mine}
            assert runtime.counts.ended == len(mine)
        return Stored(records, receipts, runs, len(store.verify()))


def _check(deliveries: list[Delivery], answers: Answers, stored: Stored) -> None:
    keys = {delivery.key for delivery in deliveries}
    assert set(answers.ids) == set(stored.records) == keys
    assert answers.taken
    assert Counter(record.state for record in stored.records.values()) == {InputState.CONSUMED: len(keys)}
    for key, record in stored.records.items():
        assert str(record.input_id) == answers.ids[key]
        (receipt,) = stored.receipts[record.input_id]
        assert stored.runs[key][-1] == receipt.run_id  # once it was consumed, it was not executed again
        assert len(stored.runs[key]) <= KILLS + 1
