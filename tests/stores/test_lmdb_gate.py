"""Who may use the LMDB environment: what changes it meets no transaction, and no transaction meets a change."""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue
from threading import Thread

import pytest

from holdstate.stores.lmdb_gate import Gate

SECONDS = 60


class Watched:
    """A gate, and what happens at it: somebody ``waits``, or is ``inside``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = Gate()
        self.seen: Queue[str] = Queue()
        wait = self.gate._condition.wait

        def watched() -> bool:
            self.seen.put("waits")
            return wait(SECONDS)

        monkeypatch.setattr(self.gate._condition, "wait", watched)

    def next(self) -> str:
        return self.seen.get(timeout=SECONDS)

    def read(self) -> None:
        self.gate.enter()
        self.seen.put("inside")
        self.gate.leave()

    def change(self) -> None:
        with self.gate.exclusive():
            self.seen.put("inside")


@pytest.mark.parametrize("comes", [Watched.read, Watched.change])
def test_nobody_comes_in_while_the_environment_is_changed(
    monkeypatch: pytest.MonkeyPatch, comes: Callable[[Watched], None]
) -> None:
    """Neither a transaction nor another change; afterwards who waited goes on."""
    watched = Watched(monkeypatch)
    other = Thread(target=comes, args=(watched,))
    with watched.gate.exclusive():
        other.start()
        assert watched.next() == "waits"
        assert watched.seen.empty()
    assert watched.next() == "inside"
    other.join(SECONDS)


def test_a_change_waits_for_the_transactions_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """And holds up those that come meanwhile, so that it has its turn."""
    watched = Watched(monkeypatch)
    watched.gate.enter()
    changer, reader = Thread(target=watched.change), Thread(target=watched.read)
    changer.start()
    assert watched.next() == "waits"
    reader.start()
    assert watched.next() == "waits"
    watched.gate.leave()
    changer.join(SECONDS)
    reader.join(SECONDS)
    seen = [watched.next(), *watched.seen.queue]
    assert seen.count("inside") == 2


def test_a_thread_is_in_one_transaction_at_most() -> None:
    """Another one, or a change, inside of it would wait for itself; it is refused, and the first one goes on."""
    gate = Gate()
    gate.enter()
    with pytest.raises(RuntimeError, match="inside a transaction"):
        gate.enter()
    with pytest.raises(RuntimeError, match="inside a transaction"), gate.exclusive():
        pass
    gate.leave()
    with gate.exclusive():
        pass
