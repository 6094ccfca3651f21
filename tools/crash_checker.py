"""The process that opens what a crash may have left. A damaged file may kill it; then another one takes its place.

Jobs come on stdin and answers go to stdout, both as MessagePack behind a length of 4 bytes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Final

import msgspec

from ..runtime.driver import PersistentRuntimeDriver
from ..runtime.errors import NotReady
from ..runtime.ids import InputId, RunId
from ..runtime.inputs import PromptInput
from ..runtime.outcomes import RunOutput
from ..spec.errors import HoldstateError
from ..stores.lmdb_rows import TABLES
from ..stores.lmdb_store import LmdbStore
from .campaign_checks import History, check_store
from .crash_disk import Image
from .crash_worker import CRASH_SETTINGS, RUNTIMES, Source

STORE: Final = "store"
_ASIDE: Final = ".holdstate-aside"
_LATER: Final = datetime(2026, 1, 2, tzinfo=UTC)
_LOCK_BYTES: Final = 8192
_SECONDS: Final = 60


def write_message(stream: BinaryIO, message: Any) -> None:
    """One message, flushed."""
    content = msgspec.msgpack.encode(message)
    stream.write(len(content).to_bytes(4, "big") + content)
    stream.flush()


def read_message(stream: BinaryIO) -> Any:
    """The next message; None when the other side is gone."""
    head = stream.read(4)
    return None if len(head) < 4 else msgspec.msgpack.decode(stream.read(int.from_bytes(head, "big")))  # noqa: PLR2004


def place(folder: Path, content: bytes, length: int, layout: str, lock: int) -> Path:
    """Lay the files out as a crash left them; returns where the store has to be.

    ``layout``: ``store``, ``aside`` (under the temporary name of a creation), ``empty`` (a directory without files) or
    ``none``. ``lock``: 0 no lock file, 1 one of zeros, else one of junk.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if layout == "none":
        return folder / STORE
    directory = folder / (_ASIDE if layout == "aside" else STORE)
    directory.mkdir(mode=0o700)
    if layout != "empty":
        with (directory / "data.mdb").open("wb") as file:
            file.write(content)
            file.truncate(length)
        if lock:
            junk = bytes(_LOCK_BYTES) if lock == 1 else Random(lock).randbytes(_LOCK_BYTES)
            (directory / "lock.mdb").write_bytes(junk)
    return folder / STORE


def digest_of(store: LmdbStore) -> bytes:
    """All rows of all tables, as stored."""
    digest = blake2b(digest_size=16)
    with store._environment.reading() as rows:  # noqa: SLF001 - below every other way to look at it
        for table in TABLES:
            digest.update(b"table " + table)
            for key, value in rows.scan(table, b""):
                digest.update(len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value)
    return digest.digest()


def check(path: Path, *, deep: bool, histories: Sequence[History] = (), blobs: Sequence[str] = ()) -> dict[str, Any]:
    """Open the store at ``path`` and read all of it; ``deep``: audit it, recover it, work on it, open it once more.

    It has to be as one of ``histories`` says, where there are any, and to hold ``blobs``.
    """
    answer: dict[str, Any] = {"problem": "", "findings": []}
    try:
        with LmdbStore.open(path) as store:
            answer["digest"] = digest_of(store)
            if deep:
                history = _look(store, histories, answer)
                answer["findings"] += [f"lost: blob {each}" for each in blobs if store.get_blob(each) is None]
                asyncio.run(_recover_and_work(store, history, answer))
        if deep:
            with LmdbStore.open(path) as store:
                answer["continued"] = digest_of(store)
                answer["findings"] += _audit(store)
            _check_structure(path, answer)
    except HoldstateError as error:
        answer["problem"] = f"{type(error).__name__}: {error}"
    return answer


def _audit(store: LmdbStore) -> list[str]:
    return [f"verify: {each.check}: {each.where}: {each.problem}" for each in store.verify()]


def _look(store: LmdbStore, histories: Sequence[History], answer: dict[str, Any]) -> History | None:
    """The history that the store is as, the first one where it is as none."""
    if not histories:
        answer["findings"] += _audit(store)
        return None
    verdicts = [check_store(store, each) for each in histories]
    chosen = next((place for place, each in enumerate(verdicts) if not each["findings"]), 0)
    answer["findings"] += verdicts[chosen]["findings"]
    answer["landed"] = verdicts[chosen]["landed"]
    return histories[chosen]


async def _recover_and_work(store: LmdbStore, history: History | None, answer: dict[str, Any]) -> None:
    source = Source("after the crash", _LATER)
    drivers = [
        await PersistentRuntimeDriver.open(name, store, settings=CRASH_SETTINGS, environment=source.environment())
        for name in RUNTIMES
    ]
    answer["recovered"] = digest_of(store)
    if history is not None:
        calls = history.calls[: answer["landed"]] + [{"op": "open", "rt": name} for name in RUNTIMES]
        calls = [{**call, "n": number} for number, call in enumerate(calls)]
        # All of it is there: a later call would be another state.
        done: dict[int, object] = {len(calls) - 1: "opened"}
        answer["findings"] += [f"recovered: {each}" for each in check_store(store, History(calls, done))["findings"]]
    for driver in drivers:
        try:
            given = PromptInput.new("on it goes", id=InputId(source.new_id()))
            await driver.accept_input(source.dated(given))
        except NotReady:
            continue
        run = await driver.begin_run(RunId(source.new_id()))
        if run is not None:
            await driver.complete_run(run, RunOutput(session_snapshot=b"later", result=b"done"))
        await driver.close()


def _check_structure(path: Path, answer: dict[str, Any]) -> None:
    from lmdb import verify

    problems: list[Any] = verify.verify(str(path / "data.mdb"), subdir=False)  # type: ignore[no-untyped-call]
    answer["findings"] += [f"structure: {each}" for each in problems]


def serve(do: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer jobs until stdin ends. A job that takes longer than a minute ends the process."""
    while (job := read_message(sys.stdin.buffer)) is not None:
        signal.alarm(_SECONDS)
        answer = do(job)
        signal.alarm(0)
        write_message(sys.stdout.buffer, answer)


def main(arguments: list[str]) -> None:
    """``FOLDER``: where the files of each job are laid out."""
    folder = Path(arguments[0]) / f"checker-{os.getpid()}"
    base = b""

    def do(job: dict[str, Any]) -> dict[str, Any]:
        nonlocal base
        histories = [History(calls, dict(answers)) for calls, answers in job["histories"]]
        if "path" in job:
            return check(Path(job["path"]), deep=True, histories=histories, blobs=job["blobs"])
        if job["base"] is not None:
            base = job["base"]
        kept = tuple((offset, data) for offset, data in job["kept"])
        content = Image(base, kept, job["length"], job["fill"], job["written"]).content()
        path = place(folder, content, job["length"], job["layout"], job["lock"])
        return check(path, deep=job["deep"], histories=histories)

    serve(do)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
