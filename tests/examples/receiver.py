"""The webhook receiver as a process that can be killed and started again, and clients that do not give up."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import frozen

from .programs import DEADLINE_SECONDS, command_of, need_modules


@frozen
class Delivery:
    """What GitHub sends once, or again."""

    runtime: str
    key: str
    event: str
    body: bytes


@frozen
class Answer:
    """What the receiver said."""

    status: int
    facts: dict[str, Any]
    retry_after: str | None


class Receiver:
    """The process; ``ready`` is set while there is one that listens."""

    def __init__(self, project_root: Path, folder: Path) -> None:
        need_modules("starlette", "uvicorn")
        self.store = folder / "store"
        self.log = folder / "log"
        self._root = project_root
        self._command = command_of(project_root, "webhook_receiver.py")
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.ready = threading.Event()

    def start(self, *options: str) -> None:
        """Returns when it listens. It may not have opened its store yet; whoever asks waits for that."""
        words = [*self._command, "--port", "0", "--store", str(self.store), "--log", str(self.log), *options]
        self._process = subprocess.Popen(words, cwd=self._root, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], DEADLINE_SECONDS)[0], "the receiver says nothing"
        line = self._process.stdout.readline()
        assert line.startswith("listening on "), f"the receiver ended: {line!r}"
        self.port = int(line.rpartition(":")[2])
        self.ready.set()

    def end(self, number: signal.Signals) -> int:
        """Send it a signal and wait for its end; returns its exit code."""
        assert self._process is not None
        assert self._process.stdout is not None
        self.ready.clear()
        self._process.send_signal(number)
        code = self._process.wait(DEADLINE_SECONDS)
        self._process.stdout.close()
        self._process = None
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.end(signal.SIGKILL)


class Client:
    """One connection at a time. Asks again, as senders do, where no answer came."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._connection: HTTPConnection | None = None
        self._deadline = time.monotonic() + DEADLINE_SECONDS
        self.unanswered = 0

    def post(self, delivery: Delivery, body: bytes | None = None, prefer: str = "") -> Answer:
        """Deliver until there is an answer; ``body`` in place of its own."""
        headers = {"X-GitHub-Event": delivery.event, "X-GitHub-Delivery": delivery.key, "Prefer": prefer}
        return self.ask("POST", f"/webhooks/{delivery.runtime}", delivery.body if body is None else body, headers)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """The answer to one request, sent as often as it takes."""
        while True:
            assert self._receiver.ready.wait(DEADLINE_SECONDS)
            assert time.monotonic() < self._deadline, f"no answer to {method} {path}"
            try:
                return self._asked(method, path, body, headers or {})
            except (OSError, HTTPException):
                self.unanswered += 1
                self.close()

    def consumed(self, delivery: Delivery) -> Answer:
        """Deliver it again, which was answered before; the receiver answers when it is consumed."""
        answer = self.post(delivery, prefer=f"wait={DEADLINE_SECONDS:.0f}")
        assert (answer.status, answer.facts["state"]) == (200, "consumed"), answer  # 202 would say that it was lost
        return answer

    def _asked(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self._receiver.port, timeout=DEADLINE_SECONDS)
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        return Answer(response.status, json.loads(response.read()), response.headers["Retry-After"])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
