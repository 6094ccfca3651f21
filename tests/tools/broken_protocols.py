"""Protocols that are broken in one place, outside of the tables: in the module of the whole, and in the runtime."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve, frozen

from holdstate.runtime import recovery
from holdstate.runtime.actor import Actor
from holdstate.runtime.outcomes import RecoveryReport
from holdstate.runtime.store import Claim, Commit
from holdstate.runtime.turn import Member
from holdstate.stores.memory_tables import Tables
from holdstate.tools.explorer_outcomes import FATES, Fate, WholeBounds
from holdstate.tools.tla_whole import WholeConfiguration

from .broken_tables import EVENT, Sort

Change = tuple[Any, str, object]

FAULTY: Final = WholeBounds(kinds=("event",), runs=1, crashes=0)
CONTESTED: Final = evolve(EVENT, openers=2, runs=1, crashes=0)


@frozen
class Planted:
    """A bug outside of the tables: ``text`` of ``whole.tla`` is replaced by ``by``; the runtime gets ``changes`` in
    place of its own, or commits an additional ``fate``.
    """

    sort: Sort
    broken: str
    text: str
    by: str
    tlc: str
    explorer: str
    bounds: WholeBounds = EVENT
    changes: tuple[Change, ...] = ()
    fates: tuple[Fate, ...] = FATES

    @property
    def configuration(self) -> WholeConfiguration:
        """What TLC explores."""
        return WholeConfiguration(about=self.broken, bounds=self.bounds)


def _decides_unfenced(tables: Tables, member: Commit | Claim) -> Commit:
    return tables._settle(member) if isinstance(member, Claim) else member


def _stays(_: Member) -> None:
    """A commit that did not land is not taken back."""


def _forgets(actor: Actor, _: object, generation: int) -> None:
    """A commit of unknown result is taken for one that did not land."""
    actor.doubt, actor.generation = None, generation


def _settles_nothing(*_: object) -> RecoveryReport:
    return RecoveryReport()


def _sees_no_receipt(*_: object) -> dict[str, object]:
    return {"consumes_on_accept": False, "receipt_lists": False}


_write = Tables.write


def _writes_no_receipt(tables: Tables, commit: Commit, undo: Any) -> None:
    commit.receipts = []
    _write(tables, commit, undo)


def _writes_no_key(tables: Tables, commit: Commit, undo: Any) -> None:
    _write(tables, commit, undo)
    tables.rows[commit.runtime.runtime_id].keys.clear()


_EARLY = Fate("told, then crash before its commit", lands=False, memory=None, answered=True, is_crash=True)

PLANTED: Final = (
    Planted(
        Sort.FENCE,
        "a fenced driver commits",
        "    IF IsFenced(d)\n    THEN /\\ memory' = [memory EXCEPT ![d] = None] \\* it is finished",
        "    IF FALSE\n    THEN /\\ memory' = [memory EXCEPT ![d] = None]",
        "memory_equals_store",
        "older_openers_change_nothing",
        CONTESTED,
        ((Tables, "decide", _decides_unfenced),),
    ),
    Planted(
        Sort.ACK,
        "an answer goes out before its commit",
        "IF fate \\in Told THEN acked",
        "IF TRUE THEN acked",
        "acked_is_durable",
        "acked_is_durable",
        fates=(*FATES, _EARLY),
    ),
    Planted(
        Sort.APPLY,
        "memory keeps what the disk refused",
        '[] fate = "refused" -> @',
        '[] fate = "refused" -> landed',
        "memory_equals_store",
        "refusal_changes_nothing",
        FAULTY,
        ((Member, "undo", _stays),),
    ),
    Planted(
        Sort.APPLY,
        "a commit in doubt counts as lost",
        "IF doubt # None /\\ store.revision = doubt.revision\n              THEN",
        "IF FALSE\n              THEN",
        "memory_equals_store",
        "memory_equals_store",
        FAULTY,
        ((Actor, "_compare", _forgets),),
    ),
    Planted(
        Sort.RECOVERY,
        "an open skips recovery of the inputs",
        "ELSE Change(img, RecoverRuntime(img.rt, NotHeld), Settled(img, OpenActive))",
        "ELSE Change(img, RecoverRuntime(img.rt, NotHeld), Nothing)",
        "in_flight_belongs_to_current_run",
        "in_flight_belongs_to_current_run",
        changes=((recovery, "_settle_inputs", _settles_nothing),),
    ),
    Planted(
        Sort.RECOVERY,
        "recovery does not look at receipts",
        "receipt.run_id = r.last_run_id /\\ n \\in Range(receipt.inputs)",
        "FALSE",
        "receipt_is_accounted_for",
        "receipt_is_accounted_for",
        changes=((recovery, "_identity", _sees_no_receipt),),
    ),
    Planted(
        Sort.STORE,
        "a receipt is lost on the way to the store",
        "!.receipts = @ \\cup change.receipts,",
        "!.receipts = @,",
        "one_boundary_per_input",
        "counts_equal_rows",
        changes=((Tables, "write", _writes_no_receipt),),
    ),
    Planted(
        Sort.STORE,
        "the key index is not written",
        "!.keys = [key \\in {rows[n].key : n \\in keyed} |-> CHOOSE n \\in keyed : rows[n].key = key] @@ @,",
        "!.keys = @,",
        "index_equals_rows",
        "index_equals_rows",
        changes=((Tables, "write", _writes_no_key),),
    ),
)
