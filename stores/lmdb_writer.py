"""One group of commits and claims inside one write transaction: every check of a member before its first put.

Rows are collected and written together, many of them in the order of tables and keys; a refused member adds none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, final

from ..runtime.errors import Fenced, StoreError
from ..runtime.events import offset_of
from ..runtime.records import FIRST_ORDER, TERMINAL_INPUT_STATES, InputRecord, RuntimeRecord
from ..runtime.store import Claim, Commit, InputWrite, WriteResult, Written
from ..spec.errors import HoldstateError
from ..spec.invariants import PRIORITY_SHIFT
from .codec import Fence, decode_number, encode_key, encode_number, encode_receipt, encode_runtime
from .codec_envelope import sealed
from .codec_events import encode_event
from .codec_inputs import encode_input
from .lmdb_quarantine import Quarantine
from .lmdb_reader import LmdbReader
from .lmdb_rows import (
    ACTIVE,
    BLOB_REFS,
    BLOBS,
    BODIES,
    ENDED,
    EVENTS,
    FIRST_ORDINAL,
    KEYS,
    META,
    NAMES,
    ORDERS,
    ORDINAL_KEY,
    RECEIPTS,
    RESULTS,
    RUNTIMES,
    SNAPSHOTS,
    Rows,
    blob_key,
    body_key,
    event_key,
    idempotency_key,
    input_key,
    order_key,
    ordinal_prefix,
    receipt_key,
    result_key,
    state_key,
)


@final
class Draft:
    """What one commit writes, encoded; ``expected`` rows have to be there before, ``unexpected`` ones must not.

    Those two name the row in words and what completes them, put together only for a refusal.
    """

    __slots__ = (
        "blobs",
        "deletes",
        "expected",
        "kept_bodies",
        "needed_blobs",
        "puts",
        "released_blobs",
        "unexpected",
    )

    # By hand: factories cost as much again, on every commit.
    def __init__(self) -> None:
        self.puts: list[tuple[bytes, bytes, bytes]] = []
        self.deletes: list[tuple[bytes, bytes]] = []
        self.kept_bodies: list[bytes] = []
        self.expected: list[tuple[bytes, bytes, str, object]] = []
        self.unexpected: list[tuple[bytes, bytes, str, object]] = []
        self.blobs: dict[bytes, bytes] = {}
        self.needed_blobs: dict[str, str] = {}
        self.released_blobs: set[bytes] = set()


def merged(drafts: Sequence[Draft]) -> Draft:
    """All that ``drafts`` write. Their checks are done by now. They stay as they are: a write may be made again."""
    made = Draft()
    for each in drafts:
        made.puts += each.puts
        made.deletes += each.deletes
        made.kept_bodies += each.kept_bodies
        made.blobs.update(each.blobs)
        made.released_blobs |= each.released_blobs
    return made


def draft(prefix: bytes, commit: Commit) -> Draft:
    """Encode ``commit`` for the runtime whose keys start with ``prefix``. Raises StoreError for what cannot be."""
    try:
        return _encoded(prefix, commit)
    except Exception as error:
        raise _refused(commit, f"it cannot be encoded, {type(error).__name__}: {error}") from error


def _encoded(prefix: bytes, commit: Commit) -> Draft:
    made = Draft()
    put = made.puts.append
    put(sealed(RUNTIMES, prefix, encode_runtime(commit.runtime)))
    for write in commit.inputs:
        _draft_input(made, prefix, write)
    for receipt in commit.receipts:
        key = receipt_key(prefix, receipt.run_id, receipt.sequence)
        made.unexpected.append((RECEIPTS, key, f"receipt {receipt.sequence} of run", receipt.run_id))
        put(sealed(RECEIPTS, key, encode_receipt(receipt)))
    for ref, result in commit.results:
        put(sealed(RESULTS, result_key(prefix, ref), result))
    for event in commit.events:
        place = event_key(prefix, offset_of(event))
        made.unexpected.append((EVENTS, place, "event", event.offset))
        put(sealed(EVENTS, place, encode_event(event)))
    if commit.snapshot is not None:
        put(sealed(SNAPSHOTS, prefix, commit.snapshot))
    for blob_id, content in commit.blobs:
        digest = blob_key(blob_id)
        # A blob that nothing in the commit refers to would only wait for the next sweep.
        if digest is not None and blob_id in made.needed_blobs:
            made.blobs[digest] = content
    return made


def _draft_input(made: Draft, prefix: bytes, write: InputWrite) -> None:
    record = write.record
    place = order_key(prefix, record.admission.order)
    state = state_key(place)
    if write.is_new:
        _draft_admission(made, prefix, place, write)
    else:
        made.expected.append((ACTIVE, state, "input", record.admission.input_id))
    if record.state not in TERMINAL_INPUT_STATES:
        made.puts.append(sealed(ACTIVE, state, encode_input(record)))
        return
    _draft_end(made, prefix, place, record)
    if write.is_new:
        return
    made.deletes.append((ACTIVE, state))
    if write.drop_body:
        release_body(made, ACTIVE, place, record)
    else:
        made.kept_bodies.append(body_key(place))


def _draft_admission(made: Draft, prefix: bytes, place: bytes, write: InputWrite) -> None:
    admission = write.record.admission
    input_id = admission.input_id
    made.unexpected.append((ORDERS, input_key(prefix, input_id), "input", input_id))
    key = admission.idempotency_key
    if key is not None:
        made.unexpected.append((KEYS, idempotency_key(prefix, key), "the idempotency key of input", input_id))
    if write.body is None:
        return
    table = BODIES if write.record.is_terminal else ACTIVE
    made.puts.append(sealed(table, body_key(place), write.body))
    for blob_id in admission.blobs:
        made.needed_blobs[blob_id] = f"input {input_id} refers to the blob {blob_id}"
        digest = blob_key(blob_id)
        if digest is not None:
            made.puts.append(sealed(BLOB_REFS, digest + place, b""))


def _draft_end(made: Draft, prefix: bytes, place: bytes, record: InputRecord) -> None:
    """An ended input is found by its index rows; an active one is in the memory of who holds the runtime."""
    admission = record.admission
    put = made.puts.append
    put(sealed(ENDED, place, encode_input(record)))
    put(sealed(ORDERS, input_key(prefix, admission.input_id), encode_number(admission.order)))
    key = admission.idempotency_key
    if key is not None:
        put(sealed(KEYS, idempotency_key(prefix, key), encode_key(admission.input_id, key)))


def release_body(made: Draft, table: bytes, place: bytes, record: InputRecord) -> None:
    """Remove the body of an input from ``table``, and the blobs that it was the last to refer to."""
    made.deletes.append((table, body_key(place)))
    for blob_id in record.admission.blobs:
        digest = blob_key(blob_id)
        if digest is not None:
            made.deletes.append((BLOB_REFS, digest + place))
            made.released_blobs.add(digest)


def write_draft(rows: Rows, made: Draft) -> None:
    """Write what was collected. References come before the blobs that lost one, which go when none is left."""
    for digest, content in made.blobs.items():
        if rows.get(BLOBS, digest) is None:
            rows.put(BLOBS, digest, content)
    rows.put_all(made.puts)
    for key in made.kept_bodies:
        rows.move(key, ACTIVE, BODIES)
    for table, key in made.deletes:
        rows.delete(table, key)
    for digest in made.released_blobs:
        if not rows.has_prefix(BLOB_REFS, digest):
            rows.delete(BLOBS, digest)


def releases(group: Sequence[Commit | Claim]) -> bool:
    """Whether none of ``group`` brings new inputs; all else makes room sooner or later."""
    return not any(write.is_new for member in group if isinstance(member, Commit) for write in member.inputs)


@final
class Prepared(NamedTuple):
    """A member of a group; ``made`` is its encoded form for ``prefix``, where that was known beforehand."""

    member: Commit | Claim
    prefix: bytes | None = None
    made: Draft | None = None

    @property
    def runtime_id(self) -> str:
        member = self.member
        return member.runtime_id if isinstance(member, Claim) else member.runtime.runtime_id


def prepare_group(group: Sequence[Commit | Claim], ordinals: dict[str, bytes]) -> list[Prepared]:
    """Encode commits of runtimes whose prefix is known; everything else is encoded inside the transaction."""
    made: list[Prepared] = []
    for member in group:
        prefix = None if isinstance(member, Claim) else ordinals.get(member.runtime.runtime_id)
        made.append(_prepared(member, prefix))
    return made


def _prepared(member: Commit | Claim, prefix: bytes | None) -> Prepared:
    if prefix is None or isinstance(member, Claim):
        return Prepared(member)
    try:
        return Prepared(member, prefix, draft(prefix, member))
    except StoreError:
        return Prepared(member)  # when its turn comes it is refused, and the others are written


_KEPT_RUNTIMES: Final = 10_000
WrittenRuntimes = dict[bytes, tuple[bytes, RuntimeRecord]]
"""By prefix, a value of ``runtimes`` as it was put and its record: what has the same bytes need not be decoded."""


@final
class GroupWriter:
    """Writes one group. ``created`` are the prefixes of new runtimes, to be known once the transaction is committed."""

    def __init__(
        self, rows: Rows, ordinals: dict[str, bytes], written: WrittenRuntimes, quarantine: Quarantine | None
    ) -> None:
        self.created: dict[str, bytes] = {}
        self._rows = rows
        self._ordinals = ordinals
        self._written = written
        self._quarantine = quarantine

    def write(self, group: Sequence[Prepared]) -> list[WriteResult]:
        """One result per member, in their order."""
        results: list[WriteResult] = []
        wave: list[Draft] = []
        runtimes: set[str] = set()
        for prepared in group:
            if runtimes and prepared.runtime_id in runtimes:
                # It builds on what an earlier member of the group wrote.
                write_draft(self._rows, merged(wave))
                wave.clear()
                runtimes.clear()
            try:
                commit, made = self._decide(prepared)
            except HoldstateError as error:
                results.append(error)
                continue
            runtimes.add(commit.runtime.runtime_id)
            wave.append(made)
            results.append(Written(commit))
        write_draft(self._rows, wave[0] if len(wave) == 1 else merged(wave))
        return results

    def _decide(self, prepared: Prepared) -> tuple[Commit, Draft]:
        member, known, made = prepared
        if isinstance(member, Claim):
            commit, next_order = self._settle(member)
            prefix = self._reader().prefix(member.runtime_id)
        else:
            commit = member
            runtime_id = commit.runtime.runtime_id
            prefix = self._ordinals.get(runtime_id) or self._reader().prefix(runtime_id)
            if prefix != known:
                made = None
            next_order = self._fence(commit, prefix)
        _check_orders(commit, next_order)
        if made is None:
            made = draft(prefix or self._next_prefix(), commit)
        self._check_rows(commit, made)
        self._note_runtime(made, commit.runtime)
        if prefix is None:
            self._create(commit.runtime.runtime_id)
        return commit, made

    def _reader(self) -> LmdbReader:
        return LmdbReader(self._rows, self._ordinals, self._quarantine)

    def _settle(self, claim: Claim) -> tuple[Commit, int]:
        """What the claim makes of the runtime, and the next order key that is stored."""
        loaded = self._reader().load_runtime(claim.runtime_id)
        epoch, revision = (0, 0) if loaded is None else (loaded.record.epoch, loaded.record.revision)
        commit = claim.settle(loaded)
        if commit.runtime.runtime_id != claim.runtime_id or commit.runtime.epoch != epoch + 1:
            raise _refused(commit, f"a claim of {claim.runtime_id!r} has to raise its epoch from {epoch} by one")
        if commit.base_revision != revision:
            raise _refused(commit, f"it builds on revision {commit.base_revision}, stored is {revision}")
        return commit, FIRST_ORDER if loaded is None else loaded.record.next_order

    def _fence(self, commit: Commit, prefix: bytes | None) -> int:
        """The next order key that is stored."""
        runtime_id = commit.runtime.runtime_id
        stored = None if prefix is None else self._stored_fence(prefix, runtime_id)
        if stored is None:
            raise _refused(commit, "the runtime is not stored; open it first")
        epoch, revision = stored.epoch, stored.revision
        if epoch > commit.epoch:
            raise Fenced(runtime_id, commit.epoch, epoch)
        if epoch != commit.epoch or revision != commit.base_revision:
            raise _refused(
                commit,
                f"it builds on epoch {commit.epoch} and revision {commit.base_revision}, "
                f"stored are {epoch} and {revision}",
            )
        return stored.next_order

    def _stored_fence(self, prefix: bytes, runtime_id: str) -> Fence | RuntimeRecord | None:
        known = self._written.get(prefix)
        if known is not None and known[1].runtime_id == runtime_id and known[0] == self._rows.get(RUNTIMES, prefix):
            return known[1]
        return self._reader().fence_at(prefix, runtime_id)

    def _note_runtime(self, made: Draft, runtime: RuntimeRecord) -> None:
        """Keep what the first row of ``made`` says; that the commit fails is no harm, for it is told by its bytes."""
        _, prefix, value = made.puts[0]
        if len(self._written) >= _KEPT_RUNTIMES:
            self._written.clear()
        self._written[prefix] = (value, runtime)

    def _check_rows(self, commit: Commit, made: Draft) -> None:
        get = self._rows.get
        for table, key, what, which in made.expected:
            if get(table, key) is None:
                raise _refused(commit, f"{what} {which} is not an active one of the runtime")
        for table, key, what, which in made.unexpected:
            if get(table, key) is not None:
                raise _refused(commit, f"{what} {which} is stored already")
        for blob_id, problem in made.needed_blobs.items():
            digest = blob_key(blob_id)
            if digest is None or (digest not in made.blobs and self._rows.get(BLOBS, digest) is None):
                raise _refused(commit, f"{problem}, which is not stored")

    def _next_prefix(self) -> bytes:
        ordinal = self._rows.read(META, ORDINAL_KEY, decode_number)
        return ordinal_prefix(FIRST_ORDINAL if ordinal is None else ordinal)

    def _create(self, runtime_id: str) -> None:
        """Give the next ordinal to a new runtime. At once, as the next new one of the group gets the one after it."""
        prefix = self._next_prefix()
        ordinal = int.from_bytes(prefix, "big")
        self._rows.put(NAMES, runtime_id.encode(), encode_number(ordinal))
        self._rows.put(META, ORDINAL_KEY, encode_number(ordinal + 1))
        self.created[runtime_id] = prefix


def _check_orders(commit: Commit, next_order: int) -> None:
    # Order keys count up in the record that the fence compares, so one below its counter may be taken and no other can:
    # there is no need to look at the rows.
    for write in commit.inputs:
        order = write.record.order
        if write.is_new and (order + PRIORITY_SHIFT if order < 0 else order) < next_order:
            raise _refused(commit, f"order key {order} is stored already: the next one is {next_order}")


def _refused(commit: Commit, why: str) -> StoreError:
    return StoreError(f"commit of runtime {commit.runtime.runtime_id!r} refused: {why}", applied=False)
