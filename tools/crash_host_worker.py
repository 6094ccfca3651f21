"""The process in which a machine fails a store: one case at a time, each in a new store. Messages are as elsewhere."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import ExitStack
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from ..runtime import commit_thread
from ..spec.errors import HoldstateError
from .crash_checker import STORE, check, serve
from .crash_host_case import DISTURBED, Case, Other
from .crash_host_faults import DISK_BYTES, HOST_FAULTS, HostFault, options_of
from .crash_mounts import leave_the_namespace, small_disk


def tried(folder: Path, name: str, seed: str, *, is_careless: bool) -> dict[str, Any]:
    """One case: what was wrong, what was refused, and what ``crash_checker`` says of the store that is left."""
    fault = HOST_FAULTS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / STORE
    with ExitStack() as stack:
        if fault.mounts:
            path = folder / "disk" / STORE
            stack.enter_context(small_disk(path.parent, DISK_BYTES))
        with ExitStack() as control:
            if is_careless:
                control.enter_context(fault.planted())
            others = tuple(Other(each(path, f"{seed}/{place}")) for place, each in enumerate(fault.others))
            for other in others:
                stack.callback(other.end)
            try:
                case = asyncio.run(_live(path, name, fault, seed, others))
            except HoldstateError as error:
                return {"problem": f"{type(error).__name__}: {error}", "findings": []}
        answer = check(path, deep=True, histories=[case.history()], blobs=case.blobs)
    return {
        "problem": answer["problem"],
        "findings": case.findings + answer["findings"],
        "refused": dict(case.refused),
        "acknowledged": case.acknowledged,
    }


async def _live(path: Path, name: str, fault: HostFault, seed: str, others: tuple[Other, ...]) -> Case:
    chance = Random(f"{seed}/{name}")
    options = options_of(name, chance)
    case = Case(path, seed, options)
    case.others = others
    await case.start()
    await case.work(chance.randint(2, 8))
    await fault.run(case)
    # It is over: without a restart, all goes on.
    await case.work(chance.randint(3, 8), DISTURBED)
    case.leave()
    return case


def main(arguments: list[str]) -> None:
    """``FOLDER``: where the stores are made."""
    folder = Path(arguments[0]) / f"host-{os.getpid()}"
    commit_thread.LONG_COMMIT_SECONDS = inf
    may_mount = leave_the_namespace()

    def do(job: dict[str, Any]) -> dict[str, Any]:
        if HOST_FAULTS[job["fault"]].mounts and not may_mount:
            return {"problem": "", "findings": [], "untried": "only root may mount a file system"}
        return tried(folder, job["fault"], job["seed"], is_careless=job["careless"])

    serve(do)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
