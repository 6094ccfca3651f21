"""What becomes of a runtime's part of a group once it is written, or is not."""

from __future__ import annotations

from collections.abc import Collection

from ..spec.errors import HoldstateError
from .actor import Actor, Doubt
from .errors import Fenced, StoreError
from .group import Group
from .records import RuntimeRecord
from .store import RuntimeStore
from .turn import Member


def publish(group: Group, failed: Collection[str]) -> None:
    """Let events and signals of the runtimes go out that are not among ``failed`` (C18)."""
    for runtime_id, member in group.members.items():
        if runtime_id not in failed:
            member.actor.publish([delta for delta, _ in member.deltas])


def take_back(member: Member, error: HoldstateError) -> None:
    """The store refused this part: memory is as before, and a driver that is fenced off is finished."""
    member.undo()
    if isinstance(error, Fenced):
        member.actor.fence(error)


def read_back(store: RuntimeStore, member: Member, error: StoreError) -> HoldstateError | None:
    """None when the commit landed; else what its callers are told. Unreadable: the runtime is in doubt (C35)."""
    actor = member.actor
    wanted = actor.image.runtime.revision
    try:
        with store.reading() as reader:
            stored = reader.load_record(actor.runtime_id)
    except Exception:  # noqa: BLE001 - whatever keeps it from being read back
        cause = error.known_to_be(applied=None)
        actor.doubt = Doubt(cause, [delta for delta, _ in member.deltas], wanted, actor.opened_run)
        return cause
    return verdict(actor, stored, wanted, error)


def verdict(actor: Actor, stored: RuntimeRecord | None, wanted: int, error: StoreError) -> HoldstateError | None:
    """What the revision that is stored says of a commit that would have made it ``wanted``."""
    try:
        actor.check_epoch(stored)
    except Fenced as fenced:
        return fenced
    if stored is not None and stored.revision == wanted:
        return None
    return error.known_to_be(applied=False)
