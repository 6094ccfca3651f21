"""Opening a runtime: claim, recover and commit in one transaction of the store."""

from __future__ import annotations

from typing import cast

from attrs import evolve

from . import core
from .actor import Actor
from .checks import check_store
from .commands import Open
from .environment import Environment, RuntimeSettings
from .errors import StoreError
from .flush import committer_of
from .ids import check_runtime_id
from .image import RuntimeImage
from .outcomes import RecoveryReport
from .records import RuntimeRecord
from .settings import given_or_default
from .store import Claim, Commit, LoadedRuntime, RuntimeStore
from .turn import Member

CLAIM_ATTEMPTS = 3
"""A claim whose result is unknown is made again: claiming twice raises the epoch twice and recovers the same (C31)."""


async def open_runtime(
    runtime_id: str, store: RuntimeStore, settings: RuntimeSettings | None, environment: Environment | None
) -> tuple[Actor, RecoveryReport]:
    """Claim ``runtime_id`` and settle what a crash left; a new runtime is created."""
    check_store(store)
    check_runtime_id(runtime_id)
    rules = given_or_default(settings, RuntimeSettings, "settings")
    sources = given_or_default(environment, Environment, "environment")
    opened: list[tuple[Actor, Member, RecoveryReport]] = []

    def settle(loaded: LoadedRuntime | None) -> Commit:
        opened[:] = [_settle(runtime_id, loaded, rules, sources, store.generation)]
        return opened[0][1].commit()

    left = CLAIM_ATTEMPTS
    while True:
        left -= 1
        try:
            await committer_of(store).open(Claim(runtime_id, settle))
            break
        except StoreError as error:
            if error.applied is not None or left == 0:
                raise
    actor, member, report = opened[0]
    actor.generation = store.generation
    actor.publish([delta for delta, _ in member.deltas])
    return actor, report


def _settle(
    runtime_id: str,
    loaded: LoadedRuntime | None,
    settings: RuntimeSettings,
    environment: Environment,
    generation: int,
) -> tuple[Actor, Member, RecoveryReport]:
    at = environment.now()
    if loaded is None:
        loaded = LoadedRuntime(RuntimeRecord(runtime_id, created_at=at))
    image = RuntimeImage(loaded.record, loaded.inputs, set_aside=len(loaded.set_aside))
    actor = Actor(runtime_id, image, settings, environment, generation)
    member = Member(actor)
    delta = core.step(image, Open(at, loaded.receipts), settings)
    member.add([(delta, image.apply(delta))])
    return actor, member, evolve(cast("RecoveryReport", delta.outcome), set_aside=loaded.set_aside)
