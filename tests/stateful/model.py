"""What a runtime must do, said again on plain lists and dicts: the oracle of the stateful tests.

It shares nothing with the core: no machine, no command table, no image. States, kinds and reasons are plain words. A
method changes the model and returns what the driver must answer, or raises ``Refused`` with the name of the error and
changes nothing. ``crash`` is what the death of the process and the next open do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, TypeAlias

ENDED = ("consumed", "superseded", "coalesced", "abandoned")
IN_FLIGHT = ("staged", "applied_pending_consumption")
NO_DERIVED_KINDS = ("prompt", "peer_message", "peer_request", "peer_response_terminal", "flow_step")
NO_DERIVED_SOURCES = ("operator", "peer", "external")
BY_KIND_STEER = ("peer_response_progress", "continuation")

Id: TypeAlias = Any
"""Of an input or of a run; the model compares ids and nothing else."""

Answer: TypeAlias = tuple[Any, ...]


class Refused(Exception):
    """The driver must raise the error of this name, and nothing is changed."""


@dataclass
class Given:
    """An input as the model is told of it."""

    id: Id
    kind: str
    mode: str | None = None
    source: str = "operator"
    durability: str = "durable"
    key: str | None = None
    scope: str | None = None
    intent: str | None = None
    content: str = ""


@dataclass(frozen=True)
class Receipt:
    run: Id
    sequence: int
    inputs: tuple[Id, ...]
    boundary: str
    messages: int = 0
    digest: str | None = None


@dataclass
class Item:
    """One admitted input."""

    given: Given
    place: tuple[int, int]
    lane: str
    wakes: bool
    state: str = "queued"
    run: Id | None = None
    sequence: int | None = None
    attempts: int = 0
    failures: int = 0
    outcome: Answer | None = None
    due: float | None = None
    result: bytes | None = None

    @property
    def ephemeral(self) -> bool:
        return self.given.durability == "ephemeral"

    @property
    def prompt(self) -> bool:
        return self.given.kind == "prompt" and self.lane == "queue"


@dataclass
class Rules:
    """The settings, and the policy where it is not the ordinary one."""

    max_attempts: int = 3
    max_batch: int = 3
    max_active: int = 10
    backoff: tuple[float, float, float, float] = (1.0, 2.0, 5.0, 0.5)
    """First wait in seconds, factor, longest wait, spread."""
    superseding: tuple[str, ...] = ("flow_step",)
    coalescing: tuple[str, ...] = ("peer_response_progress",)
    priority: tuple[str, ...] = ("peer_response_terminal",)


@dataclass
class Model:
    rules: Rules = field(default_factory=Rules)
    state: str = "idle"
    run: Id | None = None
    back_to: str | None = None
    contributors: list[Id] = field(default_factory=list)
    boundaries: int = 0
    shared: bool = False
    last: tuple[Id, str] | None = None
    items: dict[Id, Item] = field(default_factory=dict)
    counter: int = 0
    receipts: dict[tuple[Id, int], Receipt] = field(default_factory=dict)
    snapshot: bytes | None = None
    # volatile
    opened: Id | None = None
    held: Id | None = None
    taken: tuple[Id, ...] = ()
    """Staged by ``take_steers`` in the group that is foretold."""
    untold: tuple[Id, ...] = ()
    """The same of a group whose callers were told nothing."""
    silent: frozenset[str] = frozenset()
    wake: bool = False
    process: bool = False
    now: float = 0.0
    jitter: float = 0.5

    def copy(self) -> Model:
        """One that shares nothing which changes."""
        items = {input_id: replace(item) for input_id, item in self.items.items()}
        return replace(self, contributors=list(self.contributors), items=items, receipts=dict(self.receipts))

    # -- looking ------------------------------------------------------------------------------------------------------

    def active(self) -> list[Item]:
        found = [item for item in self.items.values() if item.state not in ENDED]
        return sorted(found, key=lambda item: item.place)

    def lane(self, lane: str) -> list[Item]:
        return [item for item in self.active() if item.state == "queued" and item.lane == lane]

    def queue(self) -> list[Id]:
        """What waits, in the order in which it is worked off."""
        return [item.given.id for item in (*self.lane("steer"), *self.lane("queue"))]

    def staged(self) -> list[Item]:
        return [self.items[each] for each in self.contributors if self.items[each].state == "staged"]

    def next_batch(self) -> list[Item]:
        for lane in ("steer", "queue"):
            batch = self._front(self.lane(lane))
            if batch:
                return batch
        return []

    def _front(self, waiting: list[Item]) -> list[Item]:
        if not waiting or self._waits(waiting[0]):
            return []
        if waiting[0].failures or waiting[0].prompt:
            return waiting[:1]
        front = []
        for item in waiting:
            if item.failures or item.prompt:
                break
            front.append(item)
        return front[: 1 if self.rules.max_attempts == 1 else self.rules.max_batch]

    def _waits(self, item: Item) -> bool:
        """A wait that is longer than any there is comes of a clock that was set back, and is none."""
        _, _, longest, spread = self.rules.backoff
        return item.due is not None and self.now < item.due <= self.now + longest * (1.0 + spread)

    def steer_prefix(self) -> list[Item]:
        """What may join the current run: no failure of a shared run may end an input (C15)."""
        staged = self.staged()
        room = self.rules.max_batch
        if self.rules.max_attempts == 1:
            room = 1 - len(staged)
        if any(item.failures for item in staged):
            room = 0
        front: list[Item] = []
        for item in self.lane("steer"):
            if item.failures or len(front) >= room:
                break
            front.append(item)
        return front

    # -- inputs -------------------------------------------------------------------------------------------------------

    def accept(self, given: Given) -> Answer:
        if given.durability == "derived" and (given.kind in NO_DERIVED_KINDS or given.source in NO_DERIVED_SOURCES):
            return ("rejected", "derived_forbidden")
        if given.durability == "ephemeral" and given.key is not None:
            return ("rejected", "key_needs_durable")
        seen = self.items.get(given.id) or self._by_key(given.key)
        if seen is not None:
            same = (seen.given.kind, seen.given.mode, seen.given.intent, seen.given.content) == (
                given.kind,
                given.mode,
                given.intent,
                given.content,
            )
            return ("deduplicated", seen.given.id, seen.state, seen.outcome, same)
        if self.state not in ("idle", "attached", "running") or (self.state == "running" and self.back_to == "retired"):
            raise Refused("NotReady")
        if len(self.active()) >= self.rules.max_active:
            return ("rejected", "overloaded")
        return self._admit(given)

    def _by_key(self, key: str | None) -> Item | None:
        if key is None:
            return None
        return next((item for item in self.items.values() if item.given.key == key), None)

    def _admit(self, given: Given) -> Answer:
        idle = self.state != "running"
        wake, interrupts, ever = self._policy(given, idle=idle)
        by_kind = given.mode is None
        steer = given.mode == "steer" or (by_kind and given.kind in BY_KIND_STEER)
        first = by_kind and given.kind in (*self.rules.priority, "operation")
        self.counter += 1
        item = Item(given, (0 if first else 1, self.counter), "steer" if steer else "queue", ever)
        self.items[given.id] = item
        replaced: list[Id] = []
        if given.kind == "operation":
            self._end(item, "consumed")
        else:
            replaced = self._replace(given, by_kind=by_kind)
            self.wake = self.wake or (idle and wake == "wake_if_idle")
            self.process = self.process or (steer and (wake != "none" or interrupts))
        return ("accepted", given.id, tuple(replaced))

    def _policy(self, given: Given, *, idle: bool) -> tuple[str, bool, bool]:
        """Wake, whether it interrupts, and whether it may ever wake an idle runtime."""
        silent = given.kind == "peer_request" and given.intent in self.silent
        if given.mode == "queue":
            row: tuple[str, str, bool, bool] = ("wake_if_idle", "none", False, False)
        elif given.mode == "steer":
            row = ("wake_if_idle", "interrupt_yielding", True, True)
        elif given.kind in ("peer_message", "peer_request"):
            row = ("wake_if_idle", "interrupt_yielding", False, True)
        elif given.kind in ("peer_response_progress", "operation"):
            row = ("none", "none", False, False)
        else:
            row = ("wake_if_idle", "none", False, False)
        wake_idle, wake_busy, interrupts_idle, interrupts_busy = row
        wake = "none" if silent else (wake_idle if idle else wake_busy)
        return wake, interrupts_idle if idle else interrupts_busy, not silent and wake_idle != "none"

    def _replace(self, given: Given, *, by_kind: bool) -> list[Id]:
        replacing = by_kind and given.kind in (*self.rules.superseding, *self.rules.coalescing)
        if given.scope is None or not replacing:
            return []
        how = "coalesced" if given.kind in self.rules.coalescing else "superseded"
        replaced = []
        for old in self.active():
            same = (old.given.kind, old.given.scope) == (given.kind, given.scope)
            lesser = old.ephemeral or given.durability != "ephemeral"
            if same and lesser and old.state == "queued" and old.given.id != given.id:
                replaced.append(old.given.id)
                self._end(old, how, given.id)
        return replaced

    def _end(self, item: Item, how: str, *more: Any) -> None:
        item.state, item.outcome, item.due = how, (how, *more), None
        if item.ephemeral:
            del self.items[item.given.id]

    def cancel_input(self, input_id: Id) -> Answer:
        item = self.items.get(input_id)
        if item is None:
            return ("unknown",)
        if item.state in ENDED:
            return ("ended", item.outcome)
        if item.state in IN_FLIGHT:
            return ("in_flight", item.run)
        self._end(item, "abandoned", "cancelled", None)
        return ("cancelled",)

    def abandon_pending(self, reason: str, error: str | None) -> Answer:
        outside = [item for item in self.active() if item.state == "queued"]
        for item in outside:
            self._end(item, "abandoned", reason, error)
        return (len(outside), 0)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def begin_run(self, run_id: Id, *, minted: bool) -> Answer:
        """The ids that are handed out, empty when there is nothing to do."""
        if self.opened is not None:
            raise Refused("RunInProgress")
        return self._begin(run_id, None, used=not minted and self._has_receipt(run_id))

    def _has_receipt(self, run_id: Id) -> bool:
        return any(run == run_id for run, _ in self.receipts)

    def _begin(self, run_id: Id, named: tuple[Id, ...] | None, *, used: bool = False) -> Answer:
        if used or run_id == self.run or (self.last is not None and self.last[0] == run_id):
            raise Refused("RunIdReused")
        if self.run is not None:
            raise Refused("RunInProgress")
        if self.state not in ("idle", "attached", "retired"):
            raise Refused("TransitionRefused")
        batch = self._prefix(self.next_batch(), named)
        if not batch:
            return ()
        self.run, self.back_to, self.state = run_id, self.state, "running"
        self.contributors, self.boundaries, self.shared = [], 0, False
        self._stage(batch)
        self.opened, self.held = None, run_id
        return tuple(item.given.id for item in batch)

    @staticmethod
    def _prefix(available: list[Item], named: tuple[Id, ...] | None) -> list[Item]:
        if named is None:
            return available
        if not named or tuple(item.given.id for item in available[: len(named)]) != named:
            raise Refused("BatchRefused")
        return available[: len(named)]

    def _stage(self, batch: list[Item]) -> None:
        for item in batch:
            item.state, item.run, item.due = "staged", self.run, None
            item.attempts += 1
            self.contributors.append(item.given.id)
        self.shared = self.shared or len(self.contributors) > 1

    def start_run(self, run_id: Id) -> Answer:
        if self.run is not None or self.opened is not None:
            raise Refused("RunInProgress")
        if self.state not in ("idle", "attached", "retired"):
            raise Refused("TransitionRefused")
        if self._has_receipt(run_id) or (self.last is not None and self.last[0] == run_id):
            raise Refused("RunIdReused")
        self.opened = run_id
        return ()

    def stage_batch(self, ids: tuple[Id, ...], run_id: Id) -> Answer:
        if self.run == run_id:
            self._stage(self._prefix(self.steer_prefix(), ids))
            return ()
        if self.opened != run_id:
            raise Refused("RunNotCurrent")
        self._begin(run_id, ids)
        return ()

    def take_steers(self, run_id: Id) -> Answer:
        self._need(run_id)
        batch = self.steer_prefix()
        self._stage(batch)
        ids = tuple(item.given.id for item in batch)
        self.taken += ids
        return ids

    def boundary(self, run_id: Id, receipt: Receipt, snapshot: bytes | None, result: bytes | None) -> Answer:
        if receipt.run != run_id:
            raise Refused("ContributorsRefused")
        stored = self.receipts.get((run_id, receipt.sequence))
        if stored is not None:
            if stored == receipt:
                return ()
            raise Refused("ReceiptConflict")
        self._need(run_id)
        staged = self.staged()
        wanted = self._receipt(staged, snapshot, receipt.messages)
        if receipt != wanted and (staged or (receipt.boundary, wanted.boundary) != ("run_checkpoint", "run_start")):
            raise Refused("ContributorsRefused")
        if (receipt.sequence, receipt.inputs, receipt.digest) != (wanted.sequence, wanted.inputs, wanted.digest):
            raise Refused("ContributorsRefused")
        self.receipts[run_id, receipt.sequence] = receipt
        self._settle_boundary(staged, snapshot, result)
        return ()

    def _receipt(self, staged: list[Item], snapshot: bytes | None, messages: int) -> Receipt:
        """The receipt that lists what is staged now."""
        assert self.run is not None
        return Receipt(
            self.run,
            self.boundaries,
            tuple(item.given.id for item in staged),
            "run_checkpoint" if staged and staged[0].lane == "steer" else "run_start",
            messages,
            None if snapshot is None else sha256(snapshot).hexdigest(),
        )

    def _settle_boundary(self, staged: list[Item], snapshot: bytes | None, result: bytes | None) -> None:
        for item in staged:
            item.state, item.sequence, item.due = "applied_pending_consumption", self.boundaries, None
            if result is not None:
                item.result = result
        self.boundaries += 1
        if snapshot is not None:
            self.snapshot = snapshot

    def _mint(self, snapshot: bytes | None) -> None:
        staged = self.staged()
        receipt = self._receipt(staged, snapshot, 0)
        self.receipts[receipt.run, receipt.sequence] = receipt
        self._settle_boundary(staged, snapshot, None)

    def _need(self, run_id: Id) -> None:
        if self.run is None or self.run != run_id:
            raise Refused("RunNotCurrent")

    def complete_run(self, run_id: Id, snapshot: bytes | None, result: bytes | None) -> Answer:
        if self.run == run_id and (self.staged() or self.boundaries == 0 or snapshot is not None):
            self._mint(snapshot)
        return self.run_completed(run_id, None, result)

    def complete_current(self) -> Answer:
        if self.run is not None:
            return self.run_completed(self.run, None, None)
        if self.opened is not None:
            raise Refused("RunIncomplete")
        if self.last is not None and self.last[1] == "completed":
            return ()
        raise Refused("RunNotCurrent")

    def run_completed(self, run_id: Id, consumed: tuple[Id, ...] | None, result: bytes | None) -> Answer:
        if self.run != run_id and self.last == (run_id, "completed"):
            return ()
        self._need(run_id)
        if self.staged() or self.boundaries == 0:
            raise Refused("RunIncomplete")
        if consumed is not None and sorted(consumed) != sorted(self.contributors):
            raise Refused("ContributorsRefused")
        for item in self._consume_pending():
            if result is not None:
                item.result = result
        self._leave("completed")
        return ()

    def _consume_pending(self) -> list[Item]:
        pending = [item for item in self.active() if item.state == "applied_pending_consumption"]
        for item in pending:
            self._end(item, "consumed")
        return pending

    def _leave(self, how: str) -> None:
        assert self.run is not None
        if self.state == "running":
            assert self.back_to is not None
            self.state = self.back_to
        self._clear(how)

    def _clear(self, how: str) -> None:
        if self.run is not None:
            self.last = (self.run, how)
        self.run, self.back_to, self.held = None, None, None
        self.taken, self.untold = (), ()
        self.contributors, self.boundaries, self.shared = [], 0, False

    def fail_run(self, run_id: Id, error: str, *, recoverable: bool) -> Answer:
        if self.opened == run_id:
            self.opened = None
            return ()
        if self.run != run_id and self.last == (run_id, "failed"):
            return ()
        self._need(run_id)
        staged, alone = self.staged(), not self.shared
        self._consume_pending()
        for item in staged:
            if not recoverable and alone:
                self._end(item, "abandoned", "failed", error)
            else:
                self._failed(item, error)
        self._leave("failed")
        self.wake = self.wake or any(item.state == "queued" for item in staged)
        return ()

    def _failed(self, item: Item, error: str | None) -> None:
        """By a run that failed with ``error``, or by a crash, which is nobody's error and makes nobody wait."""
        item.failures += 1
        if item.failures >= self.rules.max_attempts:
            self._end(item, "abandoned", "attempts_exhausted", error)
            return
        item.state = "queued"
        first, factor, longest, spread = self.rules.backoff
        seconds = min(first * factor ** (item.failures - 1), longest) * (1.0 + spread * (2.0 * self.jitter - 1.0))
        item.due = self.now + seconds if error is not None and seconds > 0.0 else None

    def cancel_run(self, run_id: Id) -> Answer:
        if self.opened == run_id:
            self.opened = None
            return ()
        if self.run != run_id and self.last == (run_id, "cancelled"):
            return ()
        self._need(run_id)
        staged = self.staged()
        for item in staged:
            item.state = "queued"
        self._consume_pending()
        self._leave("cancelled")
        self.wake = self.wake or bool(staged)
        return ()

    def apply_input(self, input_id: Id, run_id: Id) -> Answer:
        self._need(run_id)
        if [item.given.id for item in self.staged()] != [input_id]:
            raise Refused("ContributorsRefused")
        self._mint(None)
        return ()

    def rollback_staged(self, ids: tuple[Id, ...]) -> Answer:
        if self.run is None:
            raise Refused("RunNotCurrent")
        for item in self._named(ids, "staged"):
            item.state = "queued"
            self.contributors.remove(item.given.id)
            self.taken = tuple(each for each in self.taken if each != item.given.id)
        return ()

    def consume_inputs(self, ids: tuple[Id, ...], run_id: Id) -> Answer:
        self._need(run_id)
        for item in self._named(ids, "applied_pending_consumption"):
            self.contributors.remove(item.given.id)
            self._end(item, "consumed")
        return ()

    def _named(self, ids: tuple[Id, ...], state: str) -> list[Item]:
        known = [each for each in self.contributors if self.items[each].state == state]
        if not ids or len(set(ids)) != len(ids) or not set(ids) <= set(known):
            raise Refused("ContributorsRefused")
        return [self.items[each] for each in ids]

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    def attach(self) -> Answer:
        if self.state == "idle":
            self.state = "attached"
        elif (self.state, self.back_to) == ("running", "idle"):
            self.back_to = "attached"
        else:
            raise Refused("TransitionRefused")
        return ()

    def detach(self) -> Answer:
        if self.state == "attached":
            self.state = "idle"
        elif (self.state, self.back_to) == ("running", "attached"):
            self.back_to = "idle"
        else:
            return (False,)
        return (True,)

    def retire(self) -> Answer:
        if self.state in ("stopped", "destroyed"):
            raise Refused("TransitionRefused")
        self.state = "retired"
        return (0, len(self.active()))

    def reset(self) -> Answer:
        if self.run is not None:
            raise Refused("RunInProgress")
        if self.state in ("stopped", "destroyed"):
            raise Refused("TransitionRefused")
        given_up = self.active()
        for item in given_up:
            self._end(item, "abandoned", "reset", None)
        self.state, self.opened = "idle", None
        return (len(given_up), 0)

    def stop(self) -> Answer:
        if self.state == "destroyed":
            raise Refused("TransitionRefused")
        return self._close_down("stopped")

    def destroy(self) -> Answer:
        return self._close_down("destroyed")

    def _close_down(self, state: str) -> Answer:
        self.opened = None
        if self.state == state:
            return (0, 0)
        consumed = self._consume_pending()
        given_up = self.active()
        for item in given_up:
            self._end(item, "abandoned", state, None)
        self.state = state
        self._clear(state)
        return (len(given_up), len(consumed))

    def recycle(self) -> Answer:
        if self.state not in ("idle", "attached", "retired") or self.run is not None:
            raise Refused("TransitionRefused")
        self.state, self.opened = "idle", None
        return self._report(len(self.active()))

    def recover(self) -> Answer:
        if self.run is not None and self.run == self.held:
            raise Refused("RunInProgress")
        self.opened = None
        return self._settle()

    def resume(self) -> Answer:
        return ()

    def crash(self) -> Answer:
        """The process died and somebody opened the runtime: the answer is the recovery report."""
        for item in [item for item in self.items.values() if item.ephemeral]:
            del self.items[item.given.id]
        self.contributors = [each for each in self.contributors if each in self.items]
        self.opened = self.held = None
        self.untold = ()
        self.silent, self.wake, self.process = frozenset(), False, False
        return self._settle()

    def _settle(self) -> Answer:
        if self.state in ("stopped", "destroyed"):
            return (0, 0, 0, 0)
        looked_at = len(self.active())
        staged = self.staged()
        consumed = self._consume_pending()
        for item in staged:
            self._failed(item, None)
        requeued = sum(item.state == "queued" for item in staged)
        self.state = "retired" if "retired" in (self.state, self.back_to) else "idle"
        self._clear("recovered")
        return self._report(looked_at, requeued, len(consumed), len(staged) - requeued)

    def _report(self, looked_at: int, requeued: int = 0, consumed: int = 0, abandoned: int = 0) -> Answer:
        self.wake = self.wake or any(item.wakes for item in self.active() if item.state == "queued")
        return (looked_at, requeued, consumed, abandoned)

    def drop_orphan(self) -> None:
        """A run that nobody was handed is taken back, and so is what nobody heard of in one that somebody was."""
        if self.run is not None and self.run != self.held:
            self.cancel_run(self.run)
        elif self.untold:
            self.rollback_staged(self.untold)
        self.untold = ()
