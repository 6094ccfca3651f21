"""Files that are not what was written: cut off, of a later format, with damaged rows. See ``crash_host_faults``."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Final
from unittest.mock import patch
from zlib import crc32

from ..runtime.errors import StoreCorruption, StoreTooNew
from ..spec.errors import HoldstateError
from ..stores import codec_envelope, lmdb_opening
from ..stores.codec import encode_number
from ..stores.codec_envelope import ENVELOPE_BYTES, ROW_FORMAT, row_name
from ..stores.lmdb_rows import FORMAT_KEY, META, STORE_FORMAT, TABLES, Rows
from ..stores.lmdb_store import LmdbStore
from ..stores.lmdb_verification import verify_store
from .crash_checker import digest_of
from .crash_host_case import Case
from .crash_worker import RUNTIMES

_VERSIONS: Final = (20, 4096 + 20)
"""Where LMDB has the version of its format in the two meta pages, with pages of 4096 bytes."""
_OF_INPUTS: Final = frozenset({b"active", b"ended", b"orders", b"keys", b"receipts", b"results", b"snapshots"})
"""Tables whose rows belong to inputs: what is damaged in one of them costs those alone."""
_STEPS: Final = 6


async def cut_off(case: Case) -> None:
    """The file is cut off at any length; then the whole one is put back."""
    before = digest_of(case.store)
    case.leave()
    whole = case.data.read_bytes()
    used = len(whole.rstrip(b"\0"))
    for _ in range(_STEPS):
        cut = whole[: case.chance.randrange(used)]
        case.data.write_bytes(cut)
        try:
            with LmdbStore.open(case.path) as store:
                # Free pages alone are missing.
                if digest_of(store) != before or store.verify():
                    case.wrong(f"cut off at {len(cut)} of {used} bytes, it is not what it was")
        except StoreCorruption:
            case.refused["open"] += 1
            if case.data.read_bytes() != cut:
                case.wrong("the file that was refused was changed")
        except HoldstateError as error:
            case.wrong(f"cut off at {len(cut)} of {used} bytes, it was refused with {type(error).__name__}: {error}")
        case.data.write_bytes(whole)
    await case.enter()


async def newer_store(case: Case) -> None:
    """The store, or LMDB's file, has the number of a later format."""
    later = case.chance.randint(1, 100)
    number = STORE_FORMAT + later
    if case.chance.random() < 0.5:  # noqa: PLR2004 - one or the other
        case.store._environment.write(lambda rows: rows.put(META, FORMAT_KEY, encode_number(number)))  # noqa: SLF001
        case.leave()
    else:
        case.leave()
        content = bytearray(case.data.read_bytes())
        for place in _VERSIONS:
            content[place : place + 4] = (1 + later).to_bytes(4, "little")
        case.data.write_bytes(content)
    before = case.data.read_bytes()
    for read_only in (False, True):
        case.refuse(StoreTooNew, lambda: LmdbStore.open(case.path, read_only=read_only), "open")  # noqa: B023
    if case.data.read_bytes() != before:
        case.wrong("the newer store was changed")
    _make_older(case)
    await case.enter()


def _make_older(case: Case) -> None:
    content = bytearray(case.data.read_bytes())
    for place in _VERSIONS:
        content[place : place + 4] = (1).to_bytes(4, "little")
    case.data.write_bytes(content)
    with patch.object(lmdb_opening, "_check_format", lambda *_: None), LmdbStore.open(case.path) as store:
        store._environment.write(lambda rows: rows.put(META, FORMAT_KEY, encode_number(STORE_FORMAT)))  # noqa: SLF001


async def newer_row(case: Case) -> None:
    """One row of any table has a later format: told by its name when it is read, and by the auditor."""
    environment = case.store._environment  # noqa: SLF001 - below every other way to write a row
    with environment.reading() as rows:
        everything = [(table, key, value) for table in TABLES for key, value in rows.scan(table, b"")]
    for _ in range(_STEPS):
        table, key, value = case.chance.choice([each for each in everything if each[0] != META])
        version = bytes([ROW_FORMAT + case.chance.randint(1, 100)])
        payload = value[ENVELOPE_BYTES:]
        sealed_for = b"active" if table == b"bodies" else table
        checksum = crc32(payload, crc32(sealed_for + b"\0" + key + version))
        newer = version + checksum.to_bytes(4, "big") + payload
        rows = environment.enter(write=True)
        try:
            rows.txn.put(key, newer, db=rows._databases[table])  # noqa: SLF001 - it is never committed
            name = row_name(table, key)
            case.refuse(StoreTooNew, lambda: codec_envelope.unseal(table, key, rows.get(table, key) or b""), "read")  # noqa: B023
            if not any(name in finding.where for finding in verify_store(rows)):
                case.wrong(f"the auditor does not name {name}")
        finally:
            environment.leave(rows)


async def damaged_rows(case: Case) -> None:
    """A copy with damaged rows is worked off with ``on_corrupt="quarantine"``."""
    before = {name: case.active_of(name) for name in RUNTIMES}
    path = case.path.parent / "damaged"
    with case.store.reading():
        shutil.copytree(case.path, path)
    (path / "lock.mdb").unlink()
    damaged = _damage_some(path, case.chance)
    copy = Case(path, f"{case.chance.random()}", {"on_corrupt": "quarantine"})
    copy.tolerated = frozenset(damaged)
    await copy.start()
    await copy.work(_STEPS, {"accept": 2, "begin": 1, "end": 1}, met=(StoreCorruption,))
    await copy.work_off()
    case.refused["open"] += 1
    case.findings += copy.findings
    for name, ids in before.items():
        for input_id in ids:
            try:
                record = copy.store.load_input(name, input_id)
            except StoreCorruption as error:
                if error.where not in damaged:
                    case.wrong(f"input {input_id} is put down to {error.where}, which is whole")
            else:
                if record is None or not record.is_terminal:
                    case.wrong(f"input {input_id} of {name} was neither worked off nor set aside")
    with copy.store._environment.reading() as rows:  # noqa: SLF001 - below every other way to look at it
        left = {row_name(table, key): value for table in TABLES for key, value in rows.scan(table, b"")}
    # The body of an input that ended otherwise is moved, as it is.
    values = set(left.values())
    if any(value not in values for value in damaged.values()):
        case.wrong("the bytes of a damaged row were changed")
    copy.leave()
    shutil.rmtree(path)


def _damage_some(path: Path, chance: Random) -> dict[str, bytes]:
    """Turn a bit in one to three rows; names and bytes as they are then. Whole runtimes are left out."""
    with LmdbStore.open(path) as store:
        environment = store._environment  # noqa: SLF001
        with environment.reading() as rows:
            everything = [(table, key, value) for table in TABLES for key, value in rows.scan(table, b"")]
        chosen = [each for each in everything if each[0] in _OF_INPUTS]
        damaged = {}
        for table, key, value in chance.sample(chosen, min(len(chosen), chance.randint(1, 3))):
            changed = bytearray(value)
            place = chance.randrange(8 * len(changed))
            changed[place // 8] ^= 1 << place % 8
            damaged[table, key] = bytes(changed)

        def put(rows: Rows) -> None:
            for (table, key), value in damaged.items():
                rows.txn.put(key, value, db=rows._databases[table])  # noqa: SLF001
            rows.changes += 1

        environment.write(put)
    return {row_name(table, key): value for (table, key), value in damaged.items()}
