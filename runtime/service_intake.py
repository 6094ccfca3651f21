"""How inputs come into a service: validated, given room, queued for a commit, and answered when that has landed."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar, cast, final

from attrs import evolve, frozen

from ..spec.vocabulary import Durability
from .admission import deduplicated
from .admitting import Prepared, prepare_input
from .backpressure import RoomQueue
from .errors import InputRejected
from .handles import Admitted, Ending
from .ids import check_runtime_id
from .inputs import Input
from .observation import Observation
from .open_runtime import OpenRuntime
from .outcomes import AcceptOutcome, Deduplicated, Rejected
from .pool import RuntimePool
from .rejections import RejectionCode
from .service_settings import ServiceSettings
from .status import STATS_SECONDS

A = TypeVar("A", AcceptOutcome, Admitted)

MOST_UNSETTLED: Final = 1000
"""How many submitted inputs may wait for their commits; the next one waits until there are fewer."""


@final
@frozen
class Submission:
    """An input on its way into the store. ``answer`` gets what admission says, or why it failed, as a value; ``ending``
    the end of an ephemeral one, which no store tells of.
    """

    answer: asyncio.Future[Admitted]
    entry: OpenRuntime | None = None
    ending: asyncio.Future[Ending] | None = None


@final
class Intake:
    """The door of one service."""

    def __init__(self, pool: RuntimePool, observed: Observation, settings: ServiceSettings) -> None:
        self._pool = pool
        self._observed = observed
        self._settings = settings
        self._door = RoomQueue()

    async def ingest(self, runtime_id: str, given: Input) -> AcceptOutcome:
        """Admit an input; returns when that is durable. A caller who leaves takes it back if its turn has not come."""
        prepared = self._prepared(runtime_id, given)
        if isinstance(prepared, Rejected):
            return self._told(prepared)
        if not self._reserve(runtime_id, prepared):
            return await self._known(runtime_id, prepared) or self._turned_away(prepared)
        try:
            async with self._pool.use(runtime_id) as entry:
                entry.queue.enter()
                try:
                    outcome = await entry.driver.accept_prepared(prepared)
                finally:
                    entry.queue.settled()
        finally:
            self._observed.load.release(runtime_id, prepared.input.header.id)
        return self._told(outcome)

    async def submit(self, runtime_id: str, given: Input, *, wait_for_room: bool) -> Submission:
        """Queue an input for its commit; what comes of it is told later. Inputs of one task keep their order."""
        prepared = self._prepared(runtime_id, given)
        if isinstance(prepared, Rejected):
            told = self._told(prepared)
            if isinstance(told, Rejected) and told.input_id is None:
                raise InputRejected(told)
            return _answered(told)
        if self._door.unsettled >= MOST_UNSETTLED:
            await self._door.until(lambda: self._door.unsettled < MOST_UNSETTLED)
        refusal = await self._room_for(runtime_id, prepared, wait_for_room=wait_for_room)
        if refusal is not None:
            return _answered(refusal)
        try:
            async with self._pool.use(runtime_id) as entry:
                if wait_for_room:
                    await entry.queue.until(lambda: self._has_room(entry))
                return self._queued(entry, prepared)
        except BaseException:
            self._observed.load.release(runtime_id, prepared.input.header.id)
            raise

    # -- before the commit -----------------------------------------------------------------------------------------

    def _prepared(self, runtime_id: str, given: Input) -> Prepared | Rejected:
        self._pool.check_open()
        check_runtime_id(runtime_id)
        if self._observed.telemetry is not None:
            given = self._observed.telemetry.stamped(given)
        return prepare_input(given, self._settings.runtime.limits)

    def _reserve(self, runtime_id: str, prepared: Prepared) -> bool:
        return self._observed.load.reserve(runtime_id, prepared.input.header.id, _size_bytes(prepared))

    async def _room_for(self, runtime_id: str, prepared: Prepared, *, wait_for_room: bool) -> AcceptOutcome | None:
        """None once room is reserved among all runtimes; else the answer."""
        load = self._observed.load
        is_next = not (wait_for_room and load.queue.is_waited_for)
        if is_next and self._reserve(runtime_id, prepared):
            return None
        known = await self._known(runtime_id, prepared)
        if known is not None:
            return known
        if not wait_for_room or not load.could_take(_size_bytes(prepared)):
            return self._turned_away(prepared)

        def is_let_in() -> bool:
            self._pool.check_open()
            self._observed.gauge.refresh()
            return self._reserve(runtime_id, prepared)

        await load.queue.until(is_let_in, STATS_SECONDS)
        return None

    def _has_room(self, entry: OpenRuntime) -> bool:
        """Whether the runtime takes one more; if not, it is worked off, what wakes nobody included."""
        self._pool.check_open()
        is_open = self._pool.get(entry.driver.runtime_id) is entry
        taken = len(entry.driver.image.inputs) + entry.queue.unsettled
        if is_open and taken >= self._settings.runtime.limits.max_active_inputs:
            entry.wake()
            return False
        return True

    async def _known(self, runtime_id: str, prepared: Prepared) -> Deduplicated | None:
        """There is no room. Nothing is opened; who comes again still hears what became of the first try (C8)."""
        self._observed.gauge.refresh()
        header = prepared.input.header
        existing = await self._pool.input_record(runtime_id, header.id)
        if existing is None and header.idempotency_key is not None:
            existing = await self._pool.find(runtime_id, header.idempotency_key)
        return None if existing is None else deduplicated(header.id, prepared.fingerprint, existing)

    def _turned_away(self, prepared: Prepared) -> AcceptOutcome:
        return self._told(self._observed.load.refusal(prepared.input.header.id))

    # -- the commit ------------------------------------------------------------------------------------------------

    def _queued(self, entry: OpenRuntime, prepared: Prepared) -> Submission:
        """Nothing is awaited here: who submits first is admitted first."""
        header = prepared.input.header
        answer: asyncio.Future[Admitted] = asyncio.get_running_loop().create_future()
        call = entry.driver.accept_soon(prepared)
        self._door.enter()
        entry.queue.enter()

        def settle(admitted: object) -> None:
            self._observed.load.release(entry.driver.runtime_id, header.id)
            self._door.settled()
            entry.queue.settled()
            answer.set_result(self._told(cast("Admitted", admitted)))

        self._pool.hold(entry, call, settle)
        is_ephemeral = header.durability is Durability.EPHEMERAL
        return Submission(answer, entry, entry.waiters.future(header.id) if is_ephemeral else None)

    def _told(self, outcome: A) -> A:
        """What the caller hears of ``outcome``; refusals are counted."""
        if not isinstance(outcome, Rejected):
            return outcome
        if outcome.code is RejectionCode.OVERLOADED and outcome.retry_after_seconds is None:
            outcome = evolve(outcome, retry_after_seconds=self._observed.load.retry_after())
        if self._observed.telemetry is not None:
            self._observed.telemetry.refused(outcome)
        return outcome


def _size_bytes(prepared: Prepared) -> int:
    return len(prepared.body) + sum(len(content) for _, content in prepared.blobs)


def _answered(answer: AcceptOutcome) -> Submission:
    future: asyncio.Future[Admitted] = asyncio.get_running_loop().create_future()
    future.set_result(answer)
    return Submission(future)
